/*
 * abroad — statements that the policy sends to another cluster than that of the session's database.
 *
 *   at home <--a unit that belongs elsewhere, while nothing ties the session to its server--> in another cluster
 *
 * Who is asked is the policy of the cluster of the database, wherever the session is; what it names no place for belongs to that cluster.  A
 * transaction stays where its first statement went, and a session with a pin where its server is: a statement for which the policy names a place in
 * another cluster is refused there, since it would find other data, or none.  What ends, sets or fetches belongs to what is there already.
 *
 * The catalogue is that of the cluster where the session is, so a unit is looked at again when it has moved.  What reads must show is kept for each
 * cluster: positions of one say nothing in another.
 */
#include <string.h>

#include "policy/set.h"
#include "priv.h"
#include "wire/reader.h"

struct stay { /* what is remembered of a cluster while the session is in another */
	uint32_t cluster, kept_id;
	struct floor floor;
};
struct stays {
	size_t n;
	struct stay at[];
};

/* ---- where it is ---------------------------------------------------------------------------------------------------------------------------- */

#define NOWHERE SIZE_MAX

static size_t cluster_of_id(const struct topo *topo, uint32_t id)
{
	for (size_t i = 0; i < topo->n_clusters; i++)
		if (topo->clusters[i].id == id)
			return i;
	return NOWHERE;
}

size_t abroad_at(const struct session *s, size_t home_at)
{
	size_t at = LIKELY(!s->visits) ? home_at : cluster_of_id(s->home->topo, s->visits);
	return at == NOWHERE ? home_at : at;
}

void abroad_on_topology(struct session *s)
{
	if (LIKELY(!s->visits) || cluster_of_id(s->home->topo, s->visits) != NOWHERE)
		return;
	s->visits = 0;
	if (s->wait_failed || !s->held_since_us)
		return;
	s->wait_failed = mem_alloc(sizeof *s->wait_failed);
	err_set(s->wait_failed, "57P01", "the cluster that the policy had sent this statement to is not configured any more");
}

static size_t home_of(const struct session *s)
{
	const struct topo *topo = s->home->topo;
	if (LIKELY(s->topo_generation == topo->generation))
		return s->home_at;
	const struct conf_database *d = conf_database(topo->conf, s->database);
	return d ? d->cluster_at : NOWHERE;
}

/* NOWHERE: its server's node is not configured any more. */
static size_t here(const struct session *s)
{
	size_t at;
	if (!s->srv)
		return abroad_at(s, s->home_at);
	return topo_node(s->home->topo, pool_node_id(s->srv->pool), &at) ? at : NOWHERE;
}

const struct topo_cluster *abroad_home(const struct session *s)
{
	size_t at = home_of(s);
	return at == NOWHERE ? NULL : &s->home->topo->clusters[at];
}

bool abroad_roams(const struct topo *topo)
{
	bool has_policy = false;
	for (size_t i = 0; i < topo->n_clusters; i++)
		has_policy |= *topo->conf->clusters[i].policy != '\0';
	return has_policy && topo->n_clusters > 1;
}

bool abroad_is_asked(const struct session *s)
{
	const struct topo *topo = s->home->topo;
	size_t at = home_of(s);
	bool has_failed =
	    s->vtx == VTX_FAILED || s->skip_to_sync || s->owed || s->wait_failed || (s->srv && s->srv->tx_status == 'E');
	bool copies = s->srv && replies_copy(&s->srv->replies) != REPLY_COPY_NONE;
	return !has_failed && !copies && at != NOWHERE && topo->policies && policy_set_vm(topo->policies, s->home->env.worker, at);
}

/* ---- what is asked about ------------------------------------------------------------------------------------------------------------------------ */

#define TEXT_WHOLE (256u * 1024) /* as query.c keeps it */

/* More of a message that its handler will wait for, too. */
static bool is_partly_here(const struct frame *f)
{
	if (frame_is_whole(f))
		return false;
	return f->type == 'Q' ? f->body_len <= TEXT_WHOLE : f->type == 'P' || frame_size(f) <= UNITS_MAX;
}

static bool take_class(struct session *s, struct unit *u, struct slice text)
{
	struct sql_class *class = sql_classify(s->home->env.cache, text, query_dialect(s));
	bool is_known = known_class(s, &class, text);
	u->text = text;
	u->class = class;
	return is_known;
}

/* A text that nobody keeps: what is here of it is all that can be told, and that it is not known what it does. */
static bool take_beginning(struct session *s, struct unit *u, struct slice text)
{
	u->text = text;
	u->class = known_beginning(s, text);
	return s->state == SESSION_READY;
}

static bool look_text(struct session *s, const struct frame *f, struct unit *u)
{
	const uint8_t *at = f->body.at, *nul = memchr(at, 0, f->body.len);
	size_t len = f->body.len;
	if (f->type == 'P' && nul) { /* behind the name */
		len -= (size_t)(nul + 1 - at);
		at = nul + 1;
		nul = memchr(at, 0, len);
	}
	len = nul ? (size_t)(nul - at) : len;
	return nul && frame_is_whole(f) ? take_class(s, u, slice_of(at, len)) : take_beginning(s, u, slice_of(at, len));
}

static bool look_bind(struct session *s, const struct frame *f, struct unit *u)
{
	struct reader r;
	reader_init(&r, f->body);
	reader_text(&r);
	struct slice name = reader_text(&r);
	struct statement *st = reader_ok(&r) ? names_meant(s, name) : NULL;
	if (!st || !st->class)
		return reader_ok(&r); /* nobody's name is so long that it is not here yet */
	bool is_known = known_statement(s, st);
	u->text = statement_text(st);
	u->class = sql_class_ref(st->class);
	return is_known;
}

/* unit_look() looks at what may be a read on a standby; here every statement counts.  False: it must wait. */
bool abroad_look(struct session *s, struct slice in, struct unit *u)
{
	struct frame f;
	if (frame_next(in, FRAME_FROM_CLIENT, &f) != FRAME_OK || is_partly_here(&f) || !unit_look(s, in, u))
		return false;
	if (u->class || f.body_len > s->home->max_message)
		return true;
	if (f.type == 'Q' || f.type == 'P')
		return look_text(s, &f, u);
	return f.type == 'B' ? look_bind(s, &f, u) : true;
}

/* Others belong to the transaction, the session or the cursor that is there. */
#define PLACED_KINDS (DATA_KINDS | KIND(OPAQUE) | KIND(DECLARE))

bool abroad_concerns(const struct session *s, const struct unit *u, bool is_tied)
{
	return u->class && u->class->n && !(is_tied && (here(s) == NOWHERE || !kind_is_of(u->class->part[0].kind, PLACED_KINDS)));
}

/* ---- there ----------------------------------------------------------------------------------------------------------------------------------------- */

static struct stay *stay_in(struct session *s, uint32_t cluster)
{
	struct stays **all = &session_aside_of(s)->stays;
	size_t n = *all ? (*all)->n : 0;
	for (size_t i = 0; i < n; i++)
		if ((*all)->at[i].cluster == cluster)
			return &(*all)->at[i];
	*all = mem_grow(*all, sizeof **all + (n + 1) * sizeof(*all)->at[0]);
	(*all)->n = n + 1;
	(*all)->at[n] = (struct stay){ .cluster = cluster };
	return &(*all)->at[n];
}

void abroad_forget(struct session *s)
{
	if (!s->aside)
		return;
	mem_free(s->aside->stays);
	s->aside->stays = NULL;
}

static void move(struct session *s, size_t to)
{
	const struct topo *topo = s->home->topo;
	uint32_t from_id = topo->clusters[here(s)].id, to_id = topo->clusters[to].id;
	struct stay *stay = stay_in(s, from_id);
	stay->floor = s->floor;
	stay->kept_id = s->kept_id;
	stay = stay_in(s, to_id);
	s->floor = stay->floor;
	s->kept_id = stay->kept_id;
	s->visits = to == s->home_at ? 0 : to_id;
	borrow_pool_anew(s);
}

bool abroad_refuses(const struct session *s, size_t to, struct err *why)
{
	const struct topo *topo = s->home->topo;
	if (here(s) == to || here(s) == NOWHERE)
		return false;
	err_set(why, "0A000", "the policy sends this statement to the cluster \"%s\", but the %s is in the cluster \"%s\"",
	        topo->clusters[to].name,
	        s->away || (s->srv && s->srv->tx_status != 'I') ? "transaction" : "server that the session keeps",
	        topo->clusters[here(s)].name);
	if (s->pins)
		err_hint(why, "SHOW PINS in the console tells why it keeps its server.");
	return true;
}

enum abroad abroad_go(struct session *s, size_t to, bool is_tied, struct slice in, struct unit *u)
{
	if (here(s) == to)
		return ABROAD_THERE;
	if (is_tied && !borrow_earlier_is_under_way(s)) {
		struct err why;
		if (!abroad_refuses(s, to, &why))
			return ABROAD_THERE;
		s->wait_failed = mem_copy(&why, sizeof why);
		return ABROAD_REFUSED;
	}
	if (s->srv) { /* behind what is under way, which may end the transaction */
		s->unit_parts = 1;
		borrow_wait_for_earlier(s);
		return ABROAD_WAITS;
	}
	move(s, to);
	unit_drop(s, u);
	return abroad_look(s, in, u) ? ABROAD_THERE : ABROAD_WAITS;
}
