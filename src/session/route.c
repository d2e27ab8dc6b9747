/*
 * route — which node runs a unit: a Query, or the extended messages up to a Sync.
 *
 *   a unit begins --all of it is here, and only reads--> a standby that is fit, and shows what this session must see: trip.c
 *                 --else--> the primary
 *   in a transaction    --> where its first unit went: awaytx.c
 *   behind units that are under way --> where they are, or it waits for them if it may not go there
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "policy/set.h"
#include "priv.h"
#include "topo/balance.h"

#define FRESH_RETRY_US (5 * US_PER_MS)

void route_on_ready(struct session *s)
{
	if (s->trip)
		s->trip->is_over = true;
	if (s->away)
		awaytx_on_ready(s);
	if (!s->unit_wrote || s->is_away)
		return;
	/* Its own session sees what a transaction wrote at its end at the earliest; for others COMMIT AND CHAIN is an end, too. */
	if (s->srv->tx_status != 'I' && !s->home->marks_writes)
		return;
	floor_note(s);
	if (s->srv->tx_status == 'I' && replies_is_empty(&s->srv->replies))
		s->unit_wrote = 0;
}

void route_on_lost(struct session *s)
{
	if (s->trip)
		pulse_eject(s->trip->pulse);
	if (!s->is_away && s->unit_wrote) {
		floor_note(s);
		s->unit_wrote = 0;
	}
}

/* ---- where to ---------------------------------------------------------------------------------------------------------------------------- */

const struct topo_cluster *route_cluster(const struct session *s)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d;
	if (LIKELY(s->pool && s->topo_generation == topo->generation))
		return &topo->clusters[pool_cluster_at(s->pool)];
	d = conf_database(topo->conf, s->database);
	return d ? &topo->clusters[abroad_at(s, d->cluster_at)] : NULL;
}

static const struct conf_cluster *conf_of(const struct session *s, const struct topo_cluster *c)
{
	return &session_conf(s)->clusters[c - s->home->topo->clusters];
}

struct choice {
	size_t n;
	const struct topo_node *nodes[POLICY_NODES_MAX];
	struct balance_candidate candidates[POLICY_NODES_MAX];
	uint64_t bits;
};

/* Those of MASK that may take a read of this session now; the primary if it is among them. */
static void candidates(struct session *s, const struct topo_cluster *c, uint64_t mask, struct choice *out)
{
	uint64_t now = loop_now_us(session_loop(s));
	uint64_t floor;
	bool is_settled = floor_settle(s, c, &floor);
	out->n = 0;
	out->bits = 0;
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++) {
		const struct topo_node *node = &c->nodes[i];
		bool is_primary = (int)i == c->primary;
		if (!(mask >> i & 1) ||
		    (!is_primary && !(is_settled && pulse_is_fit(node->pulse) && pulse_replayed(node->pulse) >= floor)))
			continue;
		out->nodes[out->n] = node;
		out->candidates[out->n] = balance_candidate(node, conf_of(s, c)->slow_start, now);
		if (is_primary)
			out->candidates[out->n].warmth = 1000;
		out->n++;
		out->bits |= UINT64_C(1) << i;
	}
}

static int index_of(const struct topo_cluster *c, const struct choice *from, int node_at)
{
	for (size_t i = 0; node_at >= 0 && i < from->n; i++)
		if (from->nodes[i] == &c->nodes[node_at])
			return (int)i;
	return -1;
}

/* Where a session stays that chooses once; -1: it may choose. */
static int index_of_kept(const struct session *s, const struct topo_cluster *c, const struct choice *from)
{
	if (LIKELY(conf_of(s, c)->balance_scope == CONF_SCOPE_STATEMENT))
		return -1;
	for (size_t i = 0; i < from->n; i++)
		if (from->nodes[i]->id == s->kept_id && from->candidates[i].weight)
			return (int)i;
	return -1;
}

/* One of the nodes of MASK; NULL: the primary. */
static const struct topo_node *choose(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t mask)
{
	struct choice from;
	candidates(s, c, mask, &from);
	int at = index_of_kept(s, c, &from);
	if (at < 0 && from.n == 1) /* it was named: its weight is a matter of those that were not */
		at = from.candidates[0].weight || !(mask & (mask - 1)) ? 0 : -1;
	if (at < 0 && from.n > 1)
		at = index_of(c, &from, steer_balance(s, c, u, from.bits));
	if (at < 0 && from.n > 1)
		at = balance_choose(conf_of(s, c)->balance, from.candidates, from.n, &s->home->turn, rand_fast());
	if (at >= 0)
		s->kept_id = from.nodes[at]->id;
	return at < 0 || from.nodes[at] == &c->nodes[c->primary] ? NULL : from.nodes[at];
}

static void set_out(struct session *s, const struct topo_node *node, struct unit *u, struct slice unit)
{
	struct pool *pool = pool_sibling(s->pool, s->home->topo, node->id);
	if (!pool)
		return;
	if (u->tx)
		awaytx_begin(s, pool, node->pulse, u);
	trip_begin(s, pool, node->pulse, unit);
}

static uint64_t nodes_of(const struct topo_cluster *c, const struct policy_decision *d)
{
	uint64_t primary = UINT64_C(1) << c->primary;
	switch (d->kind) {
	case POLICY_NODES:
		return d->nodes;
	case POLICY_ANY:
		return UINT64_MAX;
	case POLICY_STANDBYS:
	case POLICY_WAIT:
		return ~primary;
	default:
		return primary;
	}
}

const char *route_name_of(const struct topo *topo, uint32_t node_id)
{
	const struct topo_node *n = topo_node(topo, node_id, NULL);
	return n ? n->name : "a node that is not configured any more";
}

bool route_is_asked(const struct topo *topo, unsigned worker, size_t cluster_at)
{
	return (topo->clusters[cluster_at].n_nodes > 1 && topo->conf->clusters[cluster_at].read_write_split) ||
	       (topo->policies && policy_set_vm(topo->policies, worker, cluster_at));
}

/* ---- the door ---------------------------------------------------------------------------------------------------------------------------------- */

/* Units before this one are under way and not in a transaction, as far as is known.  A COPY has its own way to end. */
static bool is_behind_others(const struct session *s)
{
	const struct server *srv = s->srv;
	return srv->tx_status == 'I' && borrow_earlier_is_under_way(s) && !s->segment_open &&
	       replies_copy(&srv->replies) == REPLY_COPY_NONE;
}

/* Nothing ties the session to its server. */
static bool is_free(const struct session *s)
{
	return (!s->srv || (is_behind_others(s) && s->topo_generation == s->home->topo->generation)) && s->vtx != VTX_FAILED &&
	       !s->pins && !s->skip_to_sync && !s->owed && !s->wait_failed && s->pool &&
	       pool_conf(s->pool)->mode != POOL_MODE_SESSION && !topo_holds(s->home->topo, s->database, TOPO_PAUSED);
}

/* Until a standby shows what this session must see, as long as the policy lets it wait. */
static bool wait_for_standby(struct session *s, const struct topo_cluster *c, uint32_t most_ms)
{
	uint64_t now = loop_now_us(session_loop(s));
	if (s->held_since_us && now - s->held_since_us >= most_ms * US_PER_MS)
		return false;
	pulse_want(c->nodes[c->primary].pulse);
	dlist_push_back(&s->home->wait_fresh, &s->homeless);
	session_block(s, SESSION_WAIT_FRESH);
	if (!loop_timer_is_running(&s->home->fresh_retry))
		loop_timer_start(session_loop(s), &s->home->fresh_retry, FRESH_RETRY_US);
	return true;
}

static void refuse(struct session *s, const struct policy_decision *d)
{
	s->wait_failed = mem_alloc(sizeof *s->wait_failed);
	err_set(s->wait_failed, d->sqlstate, "%s", d->text);
}

static uint32_t how_of(const struct session *s, const struct topo_cluster *c, const struct unit *u,
                       const struct policy_decision *d)
{
	bool splits = conf_of(s, c)->read_write_split;
	uint64_t primary = c->primary < 0 ? 0 : UINT64_C(1) << c->primary;
	return HOW(d->by, d->kind, u->is_read) | (u->is_read && !splits ? HOW_NO_SPLIT : 0) |
	       (primary && (nodes_of(c, d) & primary) ? HOW_PRIMARY_TOO : 0) | (u->tx ? HOW_FIRST : 0);
}

/* The first one.  False: it must wait. */
static bool go(struct session *s, const struct topo_cluster *c, struct unit *u, const struct policy_decision *d, struct slice in)
{
	const struct topo_node *node;
	if (d->kind == POLICY_REJECT) {
		counted_here(s, u->class, s->how | HOW_REFUSED);
		refuse(s, d);
		return true;
	}
	if (!u->is_read || !conf_of(s, c)->read_write_split)
		return true;
	node = choose(s, c, u, nodes_of(c, d));
	if (!node && d->kind == POLICY_WAIT && wait_for_standby(s, c, d->wait_ms))
		return false;
	if (node)
		set_out(s, node, u, slice_of(in.at, u->len));
	return true;
}

/* The node of the trip is among those of MASK, and may take one more. */
static bool leads_to(struct session *s, const struct topo_cluster *c, uint64_t mask)
{
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++)
		if (c->nodes[i].pulse == s->trip->pulse)
			return (mask >> i & 1) && pulse_is_fit(s->trip->pulse) && floor_is_shown(s, c, &c->nodes[i]);
	return false;
}

/* One behind others goes where they are, so that nobody waits, unless it is to go elsewhere: then when they are over.  False: it waits. */
static bool follow(struct session *s, const struct topo_cluster *c, const struct unit *u, const struct policy_decision *d,
                   struct slice in)
{
	uint64_t primary = UINT64_C(1) << c->primary;
	bool is_away = s->trip, goes = d->kind != POLICY_REJECT;
	if (is_away)
		goes = goes && u->is_read && !u->tx && conf_of(s, c)->read_write_split && leads_to(s, c, nodes_of(c, d)) &&
		       trip_join(s, slice_of(in.at, u->len));
	else if (u->is_read && conf_of(s, c)->read_write_split && d->kind == POLICY_NODES)
		goes = goes && (d->nodes & primary);
	if (!goes) {
		s->unit_parts = 1;
		borrow_wait_for_earlier(s);
	}
	return goes;
}

/* As far as weights decide. */
static void share_out(const struct topo_cluster *c, const struct choice *from, struct route_told *out)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < from->n; i++)
		sum += (uint64_t)from->candidates[i].weight * from->candidates[i].warmth;
	for (size_t i = 0; i < from->n && sum; i++)
		out->share[from->nodes[i] - c->nodes] =
		    (unsigned)((uint64_t)from->candidates[i].weight * from->candidates[i].warmth * 100 / sum);
}

/* A transaction on a standby that may write moves to the primary for it. */
static bool moves_home(const struct session *s, const struct unit *u)
{
	return s->away && !awaytx_is_home(s) && !u->is_read && !s->away->is_read_only;
}

static void explain_kept(const struct session *s, const struct topo_cluster *c, const struct unit *u, struct route_told *out)
{
	*out = (struct route_told){ .cluster = c, .how = counted_undecided(s), .name = c->nodes[c->primary].name };
	if (s->srv && !moves_home(s, u))
		out->name = route_name_of(s->home->topo, pool_node_id(s->srv->pool));
}

static bool is_tied(const struct session *s)
{
	return s->pins || s->away || (s->srv && !is_behind_others(s));
}

static enum unit_tx tx_of_tied(const struct session *s, const struct unit *u)
{
	return u->tx ? u->tx : s->srv && s->srv->tx_status == 'T' ? UNIT_TX_STAYS : UNIT_TX_NONE;
}

/* The policy may send it to another cluster, and there it cannot go. */
static void explain_elsewhere(struct session *s, const struct topo_cluster *home, const struct unit *u, struct policy_decision *d,
                              struct route_told *out)
{
	struct unit asked = *u;
	struct policy_decision said;
	struct err why;
	if (!abroad_is_asked(s) || !abroad_concerns(s, u, true))
		return;
	asked.tx = tx_of_tied(s, u);
	said = *steer(s, home, &asked);
	if (!said.names_place || !abroad_refuses(s, said.cluster_at, &why))
		return;
	*d = said;
	d->kind = POLICY_REJECT;
	snprintf(d->sqlstate, sizeof d->sqlstate, "%s", why.sqlstate);
	snprintf(d->text, sizeof d->text, "%.*s", (int)sizeof d->text - 1, why.text);
	out->how |= HOW_REFUSED;
}

void route_explain(struct session *s, const struct topo_cluster *c, const struct unit *u, struct policy_decision *d,
                   struct route_told *out)
{
	struct choice from;
	const struct topo_node *node = NULL;
	uint64_t turn = s->home->turn;
	uint32_t kept = s->kept_id;
	*d = (struct policy_decision){ .by = DECIDER_SESSION };
	if (!is_free(s)) {
		const struct topo_cluster *here = route_cluster(s);
		explain_kept(s, here && here->primary >= 0 ? here : c, u, out);
		if (s->home->roams && is_tied(s))
			explain_elsewhere(s, c, u, d, out);
		return;
	}
	*d = *steer(s, c, u);
	c = &s->home->topo->clusters[d->cluster_at];
	*out =
	    (struct route_told){ .cluster = c, .is_free = true, .how = how_of(s, c, u, d), .name = "nothing: no primary is known" };
	if (c->primary < 0)
		return;
	out->is_read = u->is_read && conf_of(s, c)->read_write_split;
	out->meant = d->kind == POLICY_REJECT ? 0 : nodes_of(c, d);
	out->how |= d->kind == POLICY_REJECT ? HOW_REFUSED : 0;
	candidates(s, c, out->is_read ? out->meant : out->meant & UINT64_C(1) << c->primary, &from);
	out->may = from.bits;
	share_out(c, &from, out);
	if (out->is_read && out->meant)
		node = choose(s, c, u, out->meant);
	s->home->turn = turn;
	s->kept_id = kept;
	out->how |= node ? HOW_AWAY : 0;
	out->name = !out->meant ? "" : node ? node->name : c->nodes[c->primary].name;
}

/* Behind the messages of a trip nothing is sent before that is over. */
static bool comes_behind(struct session *s)
{
	if (s->trip)
		borrow_wait_for_earlier(s);
	return !s->trip;
}

/* BEGIN and SET TRANSACTION alone, which are decided with what follows, and the end of what has not begun. */
static bool decides_nothing(const struct unit *u)
{
	enum sql_kind kind = u->class ? u->class->part[0].kind : SQL_OTHER;
	if (u->begins)
		return !u->class || kind == SQL_BEGIN;
	return u->tx && (kind == SQL_COMMIT || kind == SQL_ROLLBACK || kind == SQL_SET_TRANSACTION);
}

static void note_how(struct session *s, const struct topo_cluster *c, const struct unit *u, const struct policy_decision *d)
{
	s->how = how_of(s, c, u, d);
	s->reason = d->note;
}

static bool go_or_follow(struct session *s, const struct topo_cluster *c, struct unit *u, struct slice in)
{
	const struct policy_decision *d = steer(s, c, u);
	note_how(s, c, u, d);
	return s->srv ? follow(s, c, u, d, in) : go(s, c, u, d, in);
}

/* ---- several clusters ------------------------------------------------------------------------------------------------------------------ */

/* Of one that is tied to its server: a unit that belongs to another cluster is going to fail.  False: it must wait. */
static bool stays(struct session *s, struct slice in, struct unit *u)
{
	if (!abroad_is_asked(s))
		return true;
	if (!abroad_look(s, in, u))
		return false;
	if (abroad_concerns(s, u, true)) {
		struct policy_decision d;
		u->tx = tx_of_tied(s, u);
		d = *steer(s, abroad_home(s), u);
		note_how(s, &s->home->topo->clusters[d.cluster_at], u, &d);
		enum abroad went = d.names_place ? abroad_go(s, d.cluster_at, true, in, u) : ABROAD_THERE;
		if (went == ABROAD_WAITS)
			return false;
		if (went == ABROAD_REFUSED)
			counted_here(s, u->class, s->how | HOW_REFUSED);
		s->how = 0;
	}
	unit_drop(s, u);
	*u = (struct unit){ 0 };
	return true;
}

/* BEGIN travels with the first statement, which says where: behind others it would be sent to where they are. */
static bool begins_behind(struct session *s)
{
	if (!s->srv)
		return comes_behind(s);
	s->unit_parts = 1;
	borrow_wait_for_earlier(s);
	return false;
}

/* Of a session that the policy may send to another cluster.  False: it must wait. */
static bool decide_anywhere(struct session *s, struct slice in, struct unit *u)
{
	const struct topo_cluster *c;
	struct policy_decision d;
	if (!abroad_look(s, in, u))
		return false;
	if (decides_nothing(u))
		return begins_behind(s);
	if (!abroad_concerns(s, u, false))
		return comes_behind(s);
	d = *steer(s, abroad_home(s), u);
	note_how(s, &s->home->topo->clusters[d.cluster_at], u, &d);
	if (d.kind != POLICY_REJECT && abroad_go(s, d.cluster_at, false, in, u) == ABROAD_WAITS)
		return false;
	bool stays_home = s->vtx == VTX_DEFERRED && !awaytx_is_asked(s, in);
	c = is_free(s) && !stays_home ? route_cluster(s) : NULL;
	if (!c || c->primary < 0) {
		if (d.kind == POLICY_REJECT)
			refuse(s, &d);
		return comes_behind(s);
	}
	return s->srv ? follow(s, c, u, &d, in) : go(s, c, u, &d, in);
}

/* False: it must wait. */
static bool decide(struct session *s, struct slice in, struct unit *u)
{
	const struct topo_cluster *c;
	bool goes;
	if (s->srv && (s->is_away || s->unit_parts) && !s->trip)
		borrow_give_back(s);
	s->unit_parts = 0;
	if (!s->held_since_us) /* else it is the same that waited: what was decided of it holds */
		s->how = 0;
	if (!s->srv)
		borrow_pool(s);
	if (UNLIKELY(s->away || s->vtx == VTX_DEFERRED || s->home->roams) && answers_all_of(s, in))
		return comes_behind(s);
	if (UNLIKELY(s->away != NULL) && awaytx_has_not_begun(s))
		awaytx_end(s);
	if (UNLIKELY(s->home->roams)) {
		if (is_tied(s) && !stays(s, in, u))
			return false;
		if (!is_tied(s) && abroad_is_asked(s))
			return decide_anywhere(s, in, u);
	}
	if (UNLIKELY(s->away != NULL))
		return awaytx_unit(s, in, u);
	if (s->vtx == VTX_DEFERRED && !awaytx_is_asked(s, in))
		return comes_behind(s);
	c = is_free(s) ? route_cluster(s) : NULL;
	if (!c || c->primary < 0 || !route_is_asked(s->home->topo, s->home->env.worker, (size_t)(c - s->home->topo->clusters)))
		return comes_behind(s);
	goes = unit_look(s, in, u);
	if (goes)
		goes = decides_nothing(u) ? comes_behind(s) : go_or_follow(s, c, u, in);
	return goes;
}

/* A message behind which a unit, or what is none, is over. */
static bool is_last(uint8_t type)
{
	switch (type) {
	case 'S':
	case 'Q':
	case 'F':
	case 'X':
	case 'd':
	case 'c':
	case 'f':
		return true;
	default:
		return false;
	}
}

bool route_unit(struct session *s, const struct frame *f, struct slice in, struct unit *u)
{
	bool begins = !s->unit_open, goes;
	s->unit_open = !is_last(f->type);
	if (s->trip && (!trip_is_all_taken(s->trip) || s->trip->goes_back))
		return true;
	if (s->trip && !borrow_is_owed(s))
		trip_end(s);
	goes = begins && (f->type == 'Q' || s->unit_open || (f->type == 'F' && s->away)) ? decide(s, in, u) : comes_behind(s);
	if (!goes) /* it comes again */
		s->unit_open = !begins;
	return goes;
}

static void try_again(struct loop_timer *t)
{
	struct sessions *ss = CONTAINER_OF(t, struct sessions, fresh_retry);
	struct dlist waiting;
	dlist_take(&waiting, &ss->wait_fresh); /* some will wait again */
	DLIST_EACH(it, &waiting)
	session_unblock(CONTAINER_OF(it, struct session, homeless));
}

void routes_init(struct sessions *ss)
{
	slab_init(&ss->trips, sizeof(struct trip));
	steer_init(ss);
	dlist_init(&ss->wait_fresh);
	loop_timer_init(&ss->fresh_retry, try_again);
}

void routes_fini(struct sessions *ss)
{
	loop_timer_stop(engine_loop(ss->env.upstream.engine), &ss->fresh_retry);
	steer_fini(ss);
	slab_fini(&ss->trips);
}
