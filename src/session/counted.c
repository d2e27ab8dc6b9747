/*
 * counted — each statement that is sent, or answered without a server, is noted in the worker's ledger: shape, node, who decided, and why.
 *
 * A unit's decision is made before its first message is taken (route.c), and kept in s->how and s->reason until its statements are sent.  The time of
 * a unit is that of the last statement in it, and is taken when nothing is under way in front of it; so of a pipeline only the first has one.
 *
 * Always: nothing of a statement but its shape is kept or logged.
 */
#include <stdio.h>

#include "base/rand.h"
#include "ledger.h"
#include "policy/set.h"
#include "priv.h"

const char *const decider_names[] = {
#define DECIDER(id, name) name,
#include "tbl/deciders.h"
};

void counted_begin(struct sessions *ss)
{
	ss->ledger = ledger_new();
}

void counted_end(struct sessions *ss)
{
	ledger_free(ss->ledger);
}

void counted_on_topology(struct sessions *ss)
{
	double share = (double)ss->topo->conf->log_routes / 1e6;
	ss->log_below = share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
}

/* ---- why -------------------------------------------------------------------------------------------------------------------------------- */

uint32_t counted_note(struct session *s, const struct policy_vm *vm, const struct policy_decision *d)
{
	struct ledger *l = s->home->ledger;
	enum policy_hook hook = d->by == DECIDER_PLAN ? POLICY_HOOK_PLAN : POLICY_HOOK_ROUTE;
	bool is_policys = d->by == DECIDER_PLAN || d->by == DECIDER_ROUTE;
	if (d->note && ledger_reason(l, d->note))
		return d->note;
	return ledger_note(l, vm ? policy_generation(vm) : 0, vm && is_policys ? policy_where(vm, hook) : "", d->reason);
}

void counted_returned(struct session *s, const char *why)
{
	s->how |= HOW_RETURNED;
	s->reason = ledger_note(s->home->ledger, 0, "", why);
}

/* On the primary, although somebody was asked. */
static const char *stayed(uint32_t how, const struct sql_class *class, char *out, size_t room)
{
	enum policy_kind kind = (enum policy_kind)HOW_KIND(how);
	if (!HOW_ONLY_READS(how) && class && class->why_primary) {
		snprintf(out, room, "%s%s%s", class->why_primary, class->blamed ? ": " : "", class->blamed ? class->blamed : "");
		return out;
	}
	if (how & HOW_FIRST && HOW_BY(how) == DECIDER_BUILT_IN)
		return "its transaction is for the primary";
	if (how & HOW_NO_SPLIT)
		return "reads stay on the primary (read_write_split)";
	if (kind == POLICY_PRIMARY && HOW_BY(how) != DECIDER_BUILT_IN)
		return "as decided";
	if (!HOW_ONLY_READS(how))
		return class && !unit_asks_for_rows(class) ? "it asks for no rows"
		                                           : "not all of it was here, or it has a row limit or a portal's name";
	return how & HOW_PRIMARY_TOO ? "as decided" : "no standby was fit and fresh enough";
}

static const char *undecided(uint32_t how)
{
	return how & HOW_TRANSACTION    ? "its transaction is there"
	       : how & HOW_PINNED       ? "its session keeps that server"
	       : how & HOW_SESSION_MODE ? "pool mode session"
	                                : "there was nothing to choose";
}

const char *counted_because(uint32_t how, const struct sql_class *class, char *out, size_t room)
{
	if (how & HOW_REFUSED)
		return "refused";
	if (how & HOW_HERE)
		return "it needs no server";
	if (how & HOW_RETURNED)
		return "a standby could not answer it";
	if (HOW_BY(how) == DECIDER_SESSION)
		return undecided(how);
	if (how & HOW_AWAY)
		return HOW_BY(how) == DECIDER_BUILT_IN ? "only reads" : "as decided";
	return stayed(how, class, out, room);
}

uint32_t counted_undecided(const struct session *s)
{
	if (session_status(s) != 'I' || s->begin_is || s->in_block)
		return HOW_TRANSACTION;
	if (s->pins & PIN_STATE)
		return HOW_PINNED;
	return pool_conf(s->pool)->mode == POOL_MODE_SESSION ? HOW_SESSION_MODE : 0;
}

/* ---- counting --------------------------------------------------------------------------------------------------------------------------- */

static const char *node_name(const struct sessions *ss, uint32_t id)
{
	size_t cluster_at;
	const struct topo_node *n = id ? topo_node(ss->topo, id, &cluster_at) : NULL;
	return n ? n->name : "";
}

static NOT_INLINE void tell(struct session *s, const struct ledger_row *r)
{
	char because[200], id[20];
	const struct ledger_reason *why = ledger_reason(s->home->ledger, r->reason);
	snprintf(id, sizeof id, "%016llx", (unsigned long long)r->shape_id);
	log_info(&s->log, "route", KV_STR("node", node_name(s->home, r->node_id)), KV_STR("by", decider_names[HOW_BY(r->how)]),
	         KV_STR("because", counted_because(r->how, r->class, because, sizeof because)),
	         KV_STR("reason", why && why->text[0] ? why->text : NULL), KV_STR("policy", why && why->place[0] ? why->place : NULL),
	         KV_STR("shape_id", id), KV_STR("shape", r->class && r->class->shape ? r->class->shape : NULL));
}

static inline void note(struct session *s, const struct ledger_key *key, uint32_t reason)
{
	struct ledger_row *r = ledger_row(s->home->ledger, key);
	r->count++;
	r->heat++;
	r->reason = reason;
	s->last = r->number;
	s->last_reason = reason;
	if (UNLIKELY(s->home->log_below) && rand_fast() <= s->home->log_below)
		tell(s, r);
}

void counted(struct session *s, struct sql_class *class)
{
	struct pool *pool = s->srv->pool;
	bool is_decided = s->home->routes && s->how;
	struct ledger_key key = { .pool_id = pool_id(pool),
		                      .node_id = pool_node_id(pool),
		                      .how = (is_decided ? s->how : counted_undecided(s)) | (s->is_away ? HOW_AWAY : 0),
		                      .class = class,
		                      .database = s->database };
	note(s, &key, is_decided ? s->reason : 0);
	if (!s->srv->replies.syncs)
		s->timed = s->last;
}

void counted_here(struct session *s, struct sql_class *class, uint32_t how)
{
	struct ledger_key key = { .pool_id = pool_id(s->pool), .how = how, .class = class, .database = s->database };
	note(s, &key, how & HOW_REFUSED ? s->reason : 0);
}

void counted_took(struct session *s, uint64_t us)
{
	struct ledger_row *r = ledger_numbered(s->home->ledger, s->timed);
	s->timed = 0;
	if (!r)
		return;
	r->timed++;
	r->time_us += us;
}

/* ---- for the console -------------------------------------------------------------------------------------------------------------------- */

static void tell_row(struct sessions *ss, const struct ledger_row *r, void (*fn)(void *arg, const struct session_route *r),
                     void *arg)
{
	char because[200];
	const struct ledger_reason *why = ledger_reason(ss->ledger, r->reason);
	struct session_route route = { .shape = r->class && r->class->shape ? r->class->shape : "",
		                           .database = r->database,
		                           .shape_id = r->shape_id,
		                           .node_id = r->node_id,
		                           .kind = r->class ? policy_kind_name(r->class) : "",
		                           .by = decider_names[HOW_BY(r->how)],
		                           .because = counted_because(r->how, r->class, because, sizeof because),
		                           .reason = why ? why->text : "",
		                           .place = why ? why->place : "",
		                           .is_read = r->class && r->class->is_read,
		                           .cached_by =
		                               r->class && sql_cache_holds(ss->env.cache, r->class) ? (uint16_t)(ss->env.worker + 1) : 0,
		                           .generation = why ? why->generation : 0,
		                           .count = r->count,
		                           .timed = r->timed,
		                           .time_us = r->time_us };
	fn(arg, &route);
}

void sessions_each_route(struct sessions *ss, void (*fn)(void *arg, const struct session_route *r), void *arg)
{
	struct session_route forgotten = { .count = ss->ledger->forgotten, .time_us = ss->ledger->forgotten_us };
	for (unsigned i = 0; i < LEDGER_ROWS; i++)
		if (ss->ledger->rows[i].number)
			tell_row(ss, &ss->ledger->rows[i], fn, arg);
	if (forgotten.count)
		fn(arg, &forgotten);
}
