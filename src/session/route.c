/*
 * route — which node runs a unit: a Query, or the extended messages up to a Sync.
 *
 *   a unit begins --all of it is here, and only reads--> a standby that is fit, and shows what this session must see: trip.c
 *                 --else--> the primary
 *   in a transaction    --> where its first unit went: awaytx.c
 *   behind units that are under way --> where they are, or it waits for them if it may not go there
 */
#include "base/clock.h"
#include "choice.h"
#include "policy/set.h"
#include "priv.h"

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

static inline void set_out(struct session *s, const struct topo_node *node, struct unit *u, struct slice unit)
{
	struct pool *pool = pool_sibling(s->pool, s->home->topo, node->id);
	if (!pool)
		return;
	if (u->tx)
		awaytx_begin(s, pool, node->pulse, u);
	trip_begin(s, pool, node->pulse, unit);
}

const char *route_name_of(const struct topo *topo, uint32_t node_id)
{
	const struct topo_node *n = topo_node(topo, node_id, NULL);
	return n ? n->name : "a node that is not configured any more";
}

void routes_on_topology(struct sessions *ss)
{
	const struct topo *topo = ss->topo;
	ss->routes = false;
	ss->routing = mem_grow(ss->routing, topo->n_clusters * sizeof *ss->routing);
	for (size_t i = 0; i < topo->n_clusters; i++) {
		struct routing *r = &ss->routing[i];
		r->conf = &topo->conf->clusters[i];
		r->vm = topo->policies ? policy_set_vm(topo->policies, ss->env.worker, i) : NULL;
		r->is_asked = (topo->clusters[i].n_nodes > 1 && r->conf->read_write_split) || r->vm;
		ss->routes |= r->is_asked;
	}
}

/* ---- the door ---------------------------------------------------------------------------------------------------------------------------------- */

/* Units before this one are under way and not in a transaction, as far as is known.  A COPY has its own way to end. */
bool route_is_behind_others(const struct session *s)
{
	const struct server *srv = s->srv;
	return srv->tx_status == 'I' && borrow_earlier_is_under_way(s) && !s->segment_open &&
	       replies_copy(&srv->replies) == REPLY_COPY_NONE;
}

/* Nothing ties the session to its server. */
bool route_is_free(const struct session *s)
{
	return (!s->srv || (route_is_behind_others(s) && s->topo_generation == s->home->topo->generation)) && s->vtx != VTX_FAILED &&
	       !s->pins && !s->skip_to_sync && !s->owed && !s->wait_failed && s->pool &&
	       pool_conf(s->pool)->mode != POOL_MODE_SESSION && !topo_holds(s->home->topo, s->database, TOPO_PAUSED);
}

/* Until a standby shows what this session must see, as long as the policy lets it wait. */
static bool wait_for_standby(struct session *s, const struct topo_cluster *c, uint32_t most_ms)
{
	uint64_t now = loop_now_us(session_loop(s));
	if (c->primary < 0 || (s->held_since_us && now - s->held_since_us >= most_ms * US_PER_MS))
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

/* MEANT: choice_meant(). */
static inline uint32_t how_of(const struct session *s, const struct topo_cluster *c, const struct unit *u,
                              const struct policy_decision *d, uint64_t meant)
{
	uint32_t how = HOW(d->by, d->kind, u->is_read);
	if (u->is_read && !choice_conf(s, c)->read_write_split)
		how |= HOW_NO_SPLIT;
	if (c->primary >= 0 && (meant >> c->primary & 1))
		how |= HOW_PRIMARY_TOO;
	return u->tx ? how | HOW_FIRST : how;
}

uint32_t route_how(const struct session *s, const struct topo_cluster *c, const struct unit *u, const struct policy_decision *d)
{
	return how_of(s, c, u, d, c->primary < 0 ? 0 : choice_meant(c, d));
}

/* The first one.  False: it must wait. */
static bool go(struct session *s, const struct topo_cluster *c, struct unit *u, const struct policy_decision *d, uint64_t meant,
               struct slice in)
{
	const struct topo_node *node;
	if (d->kind == POLICY_REJECT) {
		counted_here(s, u->class, s->how | HOW_REFUSED);
		refuse(s, d);
		return true;
	}
	if (!u->is_read || !choice_conf(s, c)->read_write_split)
		return true;
	node = choice_make(s, c, u, meant);
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
	uint64_t primary = c->primary < 0 ? 0 : UINT64_C(1) << c->primary;
	bool is_away = s->trip, goes = d->kind != POLICY_REJECT;
	if (is_away)
		goes = goes && u->is_read && !u->tx && choice_conf(s, c)->read_write_split && leads_to(s, c, choice_meant(c, d)) &&
		       trip_join(s, slice_of(in.at, u->len));
	else if (u->is_read && choice_conf(s, c)->read_write_split && d->kind == POLICY_NODES)
		goes = goes && (d->nodes & primary);
	if (!goes) {
		s->unit_parts = 1;
		borrow_wait_for_earlier(s);
	}
	return goes;
}

bool route_is_tied(const struct session *s)
{
	return s->pins || s->away || (s->srv && !route_is_behind_others(s));
}

uint8_t route_tx_of_tied(const struct session *s, const struct unit *u)
{
	return u->tx ? u->tx : s->srv && s->srv->tx_status == 'T' ? UNIT_TX_STAYS : UNIT_TX_NONE;
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
	s->how = route_how(s, c, u, d);
	s->reason = d->note;
}

static bool go_or_follow(struct session *s, const struct topo_cluster *c, struct unit *u, struct slice in)
{
	const struct policy_decision *d = steer(s, c, u);
	uint64_t meant = choice_meant(c, d);
	s->how = how_of(s, c, u, d, meant);
	s->reason = d->note;
	if (u->is_read && !u->tx && !s->home->roams && steer_repeats(s, c, d))
		verdict_note(s, u, d, meant);
	return LIKELY(!s->srv) ? go(s, c, u, d, meant, in) : follow(s, c, u, d, in);
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
		u->tx = route_tx_of_tied(s, u);
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
	c = route_is_free(s) && !stays_home ? route_cluster(s) : NULL;
	if (!c) {
		if (d.kind == POLICY_REJECT)
			refuse(s, &d);
		return comes_behind(s);
	}
	return s->srv ? follow(s, c, u, &d, in) : go(s, c, u, &d, choice_meant(c, &d), in);
}

/* Of one that is in a transaction which is not the primary's yet, or may go to several clusters.  True: it is decided; *GOES: false: it must wait. */
static NOT_INLINE bool decide_otherwise(struct session *s, struct slice in, struct unit *u, bool *goes)
{
	*goes = false;
	if (answers_all_of(s, in))
		return *goes = comes_behind(s), true;
	if (s->away && awaytx_has_not_begun(s))
		awaytx_end(s);
	if (s->home->roams && route_is_tied(s) && !stays(s, in, u))
		return true;
	if (s->home->roams && !route_is_tied(s) && abroad_is_asked(s))
		return *goes = decide_anywhere(s, in, u), true;
	if (s->away)
		return *goes = awaytx_unit(s, in, u), true;
	if (s->vtx == VTX_DEFERRED && !awaytx_is_asked(s, in))
		return *goes = comes_behind(s), true;
	return false;
}

/* False: it must wait. */
static inline bool decide(struct session *s, struct slice in, struct unit *u)
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
	if (UNLIKELY(s->away || s->vtx == VTX_DEFERRED || s->home->roams) && decide_otherwise(s, in, u, &goes))
		return goes;
	c = route_is_free(s) ? route_cluster(s) : NULL;
	if (!c || !route_of(s, c)->is_asked)
		return comes_behind(s);
	if (!unit_look(s, in, u))
		return false;
	return UNLIKELY(decides_nothing(u)) ? comes_behind(s) : go_or_follow(s, c, u, in);
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

/* A unit begins, there is nothing that it could come behind, and the session is free (route_is_free()) in the cluster of its database. */
static inline bool is_at_rest(const struct session *s)
{
	return !s->srv && !s->trip && !s->away && !s->owed && !s->wait_failed && !s->held_since_us && s->vtx == VTX_NONE &&
	       !s->pins && !s->unit_open && !s->skip_to_sync && !s->visits && !s->home->roams && s->pool &&
	       s->topo_generation == s->home->topo->generation && pool_conf(s->pool)->mode != POOL_MODE_SESSION &&
	       !topo_holds(s->home->topo, s->database, TOPO_PAUSED);
}

/* A read that is here whole.  False: it must wait. */
static inline bool go_at_once(struct session *s, const struct topo_cluster *c, struct unit *u, struct slice in)
{
	const struct verdict *v = verdict_of(s, u);
	const struct topo_node *node;
	if (UNLIKELY(!v || !choice_conf(s, c)->read_write_split))
		return go_or_follow(s, c, u, in);
	s->how = v->how;
	s->reason = v->note;
	node = choice_make(s, c, u, v->meant);
	if (node)
		set_out(s, node, u, slice_of(in.at, u->len));
	return true;
}

/* False: it must wait. */
static inline bool set_off(struct session *s, const struct topo_cluster *c, const struct frame *f, struct slice in,
                           struct unit *u)
{
	s->unit_parts = 0;
	if (LIKELY(unit_glance(s, f, in, u)))
		return go_at_once(s, c, u, in);
	s->how = 0;
	return unit_look_again(s, in, u) && (UNLIKELY(decides_nothing(u)) || go_or_follow(s, c, u, in));
}

static NOT_INLINE bool route_other(struct session *s, const struct frame *f, struct slice in, struct unit *u)
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

bool route_unit(struct session *s, const struct frame *f, struct slice in, struct unit *u)
{
	const struct topo_cluster *c = &s->home->topo->clusters[s->home_at];
	bool goes;
	if ((f->type != 'Q' && f->type != 'B') || !is_at_rest(s) || !s->home->routing[s->home_at].is_asked)
		return route_other(s, f, in, u);
	s->unit_open = f->type == 'B';
	goes = set_off(s, c, f, in, u);
	if (!goes) /* it comes again */
		s->unit_open = 0;
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
	verdicts_init(ss);
	dlist_init(&ss->wait_fresh);
	loop_timer_init(&ss->fresh_retry, try_again);
}

void routes_fini(struct sessions *ss)
{
	loop_timer_stop(ss->loop, &ss->fresh_retry);
	steer_fini(ss);
	verdicts_fini(ss);
	mem_free(ss->routing);
	slab_fini(&ss->trips);
}
