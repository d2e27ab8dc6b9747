/*
 * route — which node runs a unit: a Query, or the extended messages up to a Sync.
 *
 *   a unit begins --all of it is here, and only reads--> a standby that is fit, and shows what this session must see: trip.c
 *                 --else--> the primary
 *   in a READ ONLY transaction the first unit decides; it goes over to the primary at the first one that a standby cannot do
 *
 * The floor is what a read elsewhere must show: the primary's position when the session's last write was over.  It is sampled, not asked
 * for: the first sample that was taken behind the write is the floor, and until there is one the primary takes the reads.
 */
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "priv.h"
#include "topo/balance.h"
#include "wire/reader.h"

#define UNITS_MAX 16384u                  /* bytes that are kept for the way back */
#define FLOOR_IS_TIME (UINT64_C(1) << 63) /* else a position; 0: none */

/* ---- what a session must see ------------------------------------------------------------------------------------------------------------ */

static void floor_note(struct session *s)
{
	s->floor = clock_us() | FLOOR_IS_TIME;
}

/* Whether the floor is known as a position. */
static bool floor_settle(struct session *s, const struct topo_node *primary)
{
	uint64_t asked_us, lsn;
	if (!(s->floor & FLOOR_IS_TIME))
		return true;
	if (!pulse_written(primary->pulse, &asked_us, &lsn) || asked_us < (s->floor & ~FLOOR_IS_TIME)) {
		pulse_want(primary->pulse);
		return false;
	}
	s->floor = lsn;
	return true;
}

void route_on_ready(struct session *s)
{
	if (s->trip)
		s->trip->is_over = true;
	if (!s->unit_wrote || s->is_away)
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

static const struct topo_cluster *cluster_of(const struct session *s)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d = conf_database(topo->conf, s->database);
	return d ? &topo->clusters[d->cluster_at] : NULL;
}

static const struct conf_cluster *conf_of(const struct session *s, const struct topo_cluster *c)
{
	return &session_conf(s)->clusters[c - s->home->topo->clusters];
}

static bool shows_floor(const struct session *s, const struct topo_node *n)
{
	return !s->floor || pulse_replayed(n->pulse) >= s->floor;
}

/* A standby for a read; NULL: the primary. */
static const struct topo_node *choose(struct session *s, const struct topo_cluster *c)
{
	enum { MOST = 64 };
	const struct conf_cluster *conf = conf_of(s, c);
	struct balance_candidate candidates[MOST];
	const struct topo_node *nodes[MOST];
	uint64_t now = clock_us();
	size_t n = 0;
	int chosen;
	if (c->primary < 0 || !floor_settle(s, &c->nodes[c->primary]))
		return NULL;
	for (size_t i = 0; i < c->n_nodes && n < MOST; i++) {
		const struct topo_node *node = &c->nodes[i];
		if ((int)i == c->primary || !pulse_is_fit(node->pulse) || !shows_floor(s, node))
			continue;
		nodes[n] = node;
		candidates[n++] = balance_candidate(node, conf->slow_start, now);
	}
	chosen = balance_choose(conf->balance, candidates, n, &s->home->turn, rand_fast());
	return chosen < 0 ? NULL : nodes[chosen];
}

static void set_out(struct session *s, const struct topo_node *node, struct slice units)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d = conf_database(topo->conf, s->database);
	struct pool_key key = { .node_id = node->id, .database = s->database, .user = *d->user ? d->user : s->user };
	struct pool *pool = pools_get(s->home->env.pools, topo, &key);
	if (pool)
		trip_begin(s, pool, node->pulse, units);
}

/* ---- what a unit is ------------------------------------------------------------------------------------------------------------------------ */

enum look { LOOK_READ, LOOK_NOT, LOOK_WAIT };

struct look_at { /* the extended messages of one unit */
	struct session *s;
	struct statement *unnamed; /* a reference: of a Parse in it */
	bool is_bound, runs;
};

/* Statements that return rows.  What begins or ends transactions has a way of its own. */
static bool is_query(enum sql_kind kind)
{
	return kind == SQL_SELECT || kind == SQL_EXPLAIN || kind == SQL_SHOW || kind == SQL_COPY_OUT;
}

static enum look look_class(const struct sql_class *class)
{
	if (!class || !class->is_read)
		return LOOK_NOT;
	for (uint32_t i = 0; i < class->n; i++)
		if (!is_query(class->part[i].kind))
			return LOOK_NOT;
	return LOOK_READ;
}

static enum look look_query(struct session *s, const struct frame *f)
{
	const uint8_t *nul = memchr(f->body.at, 0, f->body.len);
	struct slice text = slice_of(f->body.at, nul ? (size_t)(nul - f->body.at) : f->body.len);
	struct sql_class *class = sql_classify(s->home->env.cache, text, query_dialect(s));
	enum look look = known_class(s, &class, text) ? look_class(class) : LOOK_WAIT;
	sql_class_unref(class);
	return look;
}

static enum look look_statement(struct look_at *l, struct slice name)
{
	struct statement *st = !name.len && l->unnamed ? l->unnamed : names_meant(l->s, name);
	if (!st || st->names_statements)
		return LOOK_NOT;
	if (!known_statement(l->s, st))
		return LOOK_WAIT;
	return look_class(st->class);
}

static enum look look_parse(struct look_at *l, struct reader *r)
{
	struct slice name = reader_text(r), text = reader_text(r), types = slice_of(r->at, reader_left(r));
	if (!reader_ok(r) || name.len)
		return LOOK_NOT;
	statement_unref(l->s, l->unnamed);
	l->unnamed = statement_intern(l->s, text, types, false);
	return look_statement(l, name);
}

static enum look look_bind(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r), name = reader_text(r);
	l->is_bound = true;
	return reader_ok(r) && !portal.len ? look_statement(l, name) : LOOK_NOT;
}

static enum look look_describe(struct look_at *l, struct reader *r)
{
	uint8_t what = reader_u8(r);
	struct slice name = reader_text(r);
	if (!reader_ok(r))
		return LOOK_NOT;
	if (what == 'S')
		return look_statement(l, name);
	return what == 'P' && !name.len && l->is_bound ? LOOK_READ : LOOK_NOT;
}

static enum look look_execute(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r);
	uint32_t most = reader_u32(r);
	l->runs = true;
	return reader_ok(r) && !portal.len && !most && l->is_bound ? LOOK_READ : LOOK_NOT;
}

static enum look look_message(struct look_at *l, const struct frame *f)
{
	struct reader r;
	reader_init(&r, f->body);
	switch (f->type) {
	case 'P':
		return look_parse(l, &r);
	case 'B':
		return look_bind(l, &r);
	case 'D':
		return look_describe(l, &r);
	case 'E':
		return look_execute(l, &r);
	default:
		return LOOK_NOT;
	}
}

static bool look_next(const struct session *s, struct slice in, struct frame *f)
{
	return frame_next(in, FRAME_FROM_CLIENT, f) == FRAME_OK && frame_is_whole(f) && frame_size(f) <= UNITS_MAX &&
	       f->body_len <= s->home->max_message;
}

/* The unit that IN begins with; *LEN: its bytes, when it is a read. */
static enum look look_unit(struct session *s, struct slice in, size_t *len)
{
	struct look_at l = { .s = s };
	struct frame f;
	enum look look = LOOK_NOT;
	size_t at = 0;
	while (look_next(s, slice_skip(in, at), &f)) {
		if (f.type == 'Q' && !at) {
			*len = frame_size(&f);
			return look_query(s, &f);
		}
		at += frame_size(&f);
		if (f.type == 'S') {
			look = l.runs ? LOOK_READ : LOOK_NOT;
			break;
		}
		look = look_message(&l, &f);
		if (look != LOOK_READ)
			break;
		look = LOOK_NOT; /* unless a Sync follows */
	}
	statement_unref(s, l.unnamed);
	*len = at;
	return look;
}

/* All units that IN begins with and that only read; those behind them decide for themselves. */
static enum look look_units(struct session *s, struct slice in, size_t *len)
{
	size_t one;
	enum look first = look_unit(s, in, len);
	if (first != LOOK_READ)
		return first;
	while (*len < in.len && look_unit(s, slice_skip(in, *len), &one) == LOOK_READ && *len + one <= UNITS_MAX)
		*len += one;
	return *len <= UNITS_MAX ? LOOK_READ : LOOK_NOT;
}

/* ---- the door ---------------------------------------------------------------------------------------------------------------------------------- */

/* Nothing ties the session to the primary. */
static bool is_free(const struct session *s)
{
	return !s->srv && s->vtx == VTX_NONE && !s->pins && !s->skip_to_sync && !s->owed && !s->wait_failed && s->pool &&
	       pool_conf(s->pool)->mode != POOL_MODE_SESSION && !topo_holds(s->home->topo, s->database, TOPO_PAUSED);
}

static bool decide(struct session *s, struct slice in)
{
	const struct topo_cluster *c;
	const struct topo_node *node;
	size_t len;
	if (s->srv && s->is_away)
		borrow_give_back(s);
	if (!s->srv)
		borrow_pool(s);
	if (!is_free(s))
		return true;
	c = cluster_of(s);
	if (!c || c->n_nodes < 2 || !conf_of(s, c)->read_write_split)
		return true;
	switch (look_units(s, in, &len)) {
	case LOOK_WAIT:
		return false;
	case LOOK_NOT:
		return true;
	case LOOK_READ:
		break;
	}
	node = choose(s, c);
	if (node)
		set_out(s, node, slice_of(in.at, len));
	return true;
}

/* A message behind those of a trip waits until that is over. */
static bool trip_is_over(struct session *s)
{
	if (borrow_is_owed(s)) {
		borrow_wait_for_earlier(s);
		return false;
	}
	trip_end(s);
	return true;
}

bool route_unit(struct session *s, const struct frame *f, struct slice in)
{
	bool begins = !s->unit_open;
	s->unit_open = f->type != 'S' && f->type != 'Q' && f->type != 'F' && f->type != 'X' && f->type != 'd' && f->type != 'c' &&
	               f->type != 'f';
	if (s->trip && s->trip->taken < s->trip->len)
		return true;
	if (s->trip && s->trip->goes_back)
		return true;
	if (s->trip && !trip_is_over(s))
		goto wait;
	if (!begins || (f->type != 'Q' && !s->unit_open) || decide(s, in))
		return true;
wait:
	s->unit_open = !begins; /* it comes again */
	return false;
}
