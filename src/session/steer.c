/*
 * steer — who is asked where a unit shall go, in this order:
 *
 *   the statement's own hint, the session's setting lunapool.route  ->  the cluster's policy: plan, then route  ->  its redirects
 *   ->  reads to the standbys
 *
 * What plan said holds for the statement, user and database until another policy is in force, so it is kept; a class is kept alive with it,
 * that no other takes its place in memory.  None of them can send what is not proven a read to a standby: route.c sees to that.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "ledger.h"
#include "policy/set.h"
#include "priv.h"
#include "sql/hint.h"

#define PLANS 512u /* a power of 2 */

struct plan {
	struct sql_class *class; /* a reference; NULL: free */
	uint64_t who, generation;
	bool is_final; /* route need not be asked */
	struct policy_decision decision;
};
struct steering {
	struct policy_decision now; /* what was decided, when it is not kept in a plan */
	struct settings *looked_up; /* a session's, from which these were taken last: a reference */
	const char *route, *application;
	struct plan *plans; /* PLANS of them, once a policy was asked */
	const struct policy_vm *noted_of;
	uint32_t noted;              /* what its route gave as reason last */
	uint64_t told_us, n_strange; /* of hints that were not understood: when the log was told last, how many since */
};

void steer_init(struct sessions *ss)
{
	ss->steering = mem_alloc(sizeof *ss->steering);
}

void steer_fini(struct sessions *ss)
{
	struct steering *st = ss->steering;
	for (unsigned i = 0; st->plans && i < PLANS; i++)
		sql_class_unref(st->plans[i].class);
	settings_unref(st->looked_up);
	mem_free(st->plans);
	mem_free(st);
}

/* What S has set; many have the same. */
static const struct steering *settings_of(const struct session *s)
{
	struct steering *st = s->home->steering;
	if (LIKELY(st->looked_up == s->vars))
		return st;
	settings_unref(st->looked_up);
	st->looked_up = settings_ref(s->vars);
	st->route = settings_get(s->vars, "lunapool.route");
	st->application = settings_get(s->vars, "application_name");
	return st;
}

/* ---- what the client says ----------------------------------------------------------------------------------------------------------------- */

static void decide_as(struct policy_decision *d, enum policy_kind kind, enum decider by, const char *reason)
{
	d->kind = kind;
	d->by = by;
	strcpy(d->reason, reason); /* one of the few words below */
}

static bool is_word(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp((const char *)s.at, word, s.len) == 0;
}

static enum policy_kind kind_of(struct slice word)
{
	if (is_word(word, "primary"))
		return POLICY_PRIMARY;
	if (is_word(word, "standby") || is_word(word, "standbys"))
		return POLICY_STANDBYS;
	return is_word(word, "any") ? POLICY_ANY : POLICY_NONE;
}

static bool by_word(struct slice word, enum decider by, const char *whose, struct policy_decision *d)
{
	enum policy_kind kind = kind_of(word);
	if (kind == POLICY_NONE)
		return false;
	decide_as(d, kind, by, whose);
	return true;
}

static uint64_t node_of(const struct topo_cluster *c, struct slice name)
{
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++)
		if (slice_equal(slice_text(c->nodes[i].name), name))
			return UINT64_C(1) << i;
	return 0;
}

static bool by_node(const struct topo_cluster *c, struct slice name, struct policy_decision *d)
{
	d->nodes = node_of(c, name);
	if (d->nodes)
		decide_as(d, POLICY_NODES, DECIDER_HINT, "hint");
	return d->nodes;
}

static bool by_client(const struct session *s, const struct topo_cluster *c, const struct sql_hint *hint,
                      struct policy_decision *d)
{
	const char *setting = settings_of(s)->route;
	if (hint->wants_primary)
		return decide_as(d, POLICY_PRIMARY, DECIDER_HINT, "hint"), true;
	if (hint->node.len && by_node(c, hint->node, d))
		return true;
	if (hint->route.len && by_word(hint->route, DECIDER_HINT, "hint", d))
		return true;
	return setting && by_word(slice_text(setting), DECIDER_SETTING, "setting lunapool.route", d);
}

struct slice steer_strange(const struct topo_cluster *c, const struct sql_hint *hint, const struct policy_decision *d)
{
	bool is_policys = d->by == DECIDER_PLAN || d->by == DECIDER_ROUTE; /* which may have places and nodes of its own */
	if (hint->strange.len || is_policys)
		return hint->strange;
	return hint->node.len && !node_of(c, hint->node)                                        ? hint->node
	       : hint->route.len && !hint->wants_primary && kind_of(hint->route) == POLICY_NONE ? hint->route
	                                                                                        : slice_of(NULL, 0);
}

#define TELL_EVERY_US (60 * US_PER_S)

/* Once in a while, or it would be once for each statement. */
static void tell_strange(struct session *s, struct slice what)
{
	struct steering *st = s->home->steering;
	uint64_t now = loop_now_us(session_loop(s));
	st->n_strange++;
	if (st->told_us && now - st->told_us < TELL_EVERY_US)
		return;
	what.len = what.len < POLICY_NAME_MAX ? what.len : POLICY_NAME_MAX;
	log_warn(&s->log, "hint_not_understood", KV_SLICE("what", what), KV_INT("statements", (int64_t)st->n_strange));
	st->told_us = now;
	st->n_strange = 0;
}

static const char OWN[] = "lunapool.";

bool steer_takes_setting(const char *name, const char *value, struct err *e)
{
	if (strncasecmp(name, OWN, sizeof OWN - 1) != 0)
		return true;
	if (strcasecmp(name, "lunapool.route") != 0) {
		err_set(e, "42704", "unrecognized configuration parameter \"%.63s\"", name);
		err_hint(e, "Lunapool has one setting of its own: lunapool.route.");
		return false;
	}
	if (!*value || kind_of(slice_text(value)) != POLICY_NONE)
		return true;
	err_set(e, "22023", "invalid value for parameter \"lunapool.route\": \"%.63s\"", value);
	err_hint(e, "Available values: primary, standby, any.");
	return false;
}

bool steer_takes_settings(const struct sql_class *class, struct err *e)
{
	for (uint32_t i = 0; i < class->n; i++) {
		const struct sql_part *p = &class->part[i];
		bool sets = p->kind == SQL_SET || p->kind == SQL_SET_LOCAL || (p->effects & SQL_SET_CONFIG);
		if (sets && p->name && p->value && !steer_takes_setting(p->name, p->value, e))
			return false;
		for (char **m = p->more_settings; sets && m && m[0] && m[1]; m += 2)
			if (!steer_takes_setting(m[0], m[1], e))
				return false;
	}
	return true;
}

/* ---- what the policy says ------------------------------------------------------------------------------------------------------------------- */

static void put_address(const void *client, char *out, size_t room)
{
	const struct session *s = client;
	const struct addr peer = addr_lengthen(&s->peer);
	char text[ADDR_TEXT_MAX];
	snprintf(out, room, "%s", addr_text(&peer, text));
}

static int64_t ms_since_write(const struct session *s)
{
	return s->wrote_ms ? (int64_t)((uint32_t)(clock_us() / US_PER_MS) - s->wrote_ms) : -1;
}

static struct policy_query query_of(struct session *s, const struct unit *u, const struct sql_hint *hint)
{
	return (struct policy_query){ .text = u->text,
		                          .class = u->class,
		                          .hint = hint,
		                          .user = s->user,
		                          .database = s->database,
		                          .application = settings_of(s)->application,
		                          .client = s,
		                          .put_address = put_address,
		                          .workload = session_aside(s)->workload,
		                          .in_transaction = u->tx,
		                          .read_only = u->read_only,
		                          .wrote = s->srv && s->srv->tx_status == 'T' && s->unit_wrote,
		                          .stays = s->home->roams && route_is_tied(s),
		                          .ms_since_write = ms_since_write(s) };
}

static inline struct plan *plan_at(const struct steering *st, const struct sql_class *class, uint64_t who)
{
	uint64_t h = ((uintptr_t) class >> 4) * UINT64_C(0x9e3779b97f4a7c15) ^ who * UINT64_C(0xc2b2ae3d27d4eb4f);
	return &st->plans[(h >> 40) & (PLANS - 1)];
}

static inline bool is_of(const struct plan *p, const struct sql_class *class, uint64_t who, uint64_t generation)
{
	return p->class == class && p->who == who && p->generation == generation;
}

static struct plan *plan_of(struct session *s, struct sql_class *class, uint64_t generation)
{
	struct steering *st = s->home->steering;
	struct plan *p;
	if (!st->plans)
		st->plans = mem_alloc(PLANS * sizeof *st->plans);
	p = plan_at(st, class, s->who);
	if (LIKELY(is_of(p, class, s->who, generation)))
		return p;
	sql_class_unref(p->class);
	*p = (struct plan){ .who = s->who, .generation = generation };
	return p;
}

/* route mostly gives the reason that it gave the time before. */
static uint32_t note_of_route(struct session *s, const struct policy_vm *vm, const struct policy_decision *d)
{
	struct steering *st = s->home->steering;
	const struct ledger_reason *r = ledger_reason(s->home->ledger, st->noted);
	if (!r || st->noted_of != vm || r->generation != policy_generation(vm) || strcmp(r->text, d->reason) != 0) {
		st->noted_of = vm;
		st->noted = counted_note(s, vm, d);
	}
	return st->noted;
}

static const struct policy_decision *by_policy(struct session *s, const struct topo_cluster *c, struct policy_vm *vm,
                                               const struct unit *u, const struct sql_hint *hint)
{
	const struct topo *topo = s->home->topo;
	size_t cluster_at = (size_t)(c - topo->clusters);
	struct policy_decision *now = &s->home->steering->now;
	struct plan *p = plan_of(s, u->class, policy_generation(vm));
	if (LIKELY(p->class && p->is_final && ledger_reason(s->home->ledger, p->decision.note)))
		return &p->decision;
	struct policy_query q = query_of(s, u, hint);
	if (!p->class) {
		p->is_final = policy_plan(vm, topo, cluster_at, &q, &p->decision);
		p->class = p->decision.has_failed ? NULL : sql_class_ref(u->class);
	}
	if (p->is_final) {
		p->decision.by = DECIDER_PLAN;
		p->decision.note = counted_note(s, vm, &p->decision);
		return &p->decision;
	}
	policy_route(vm, topo, cluster_at, &q, now);
	now->by = DECIDER_ROUTE;
	now->note = note_of_route(s, vm, now);
	return now;
}

/* All but the texts that belong to one. */
static void nobody_says(struct policy_decision *d, const struct topo_cluster *c, const struct topo *topo)
{
	d->kind = POLICY_NONE;
	d->by = DECIDER_BUILT_IN;
	d->has_failed = d->names_place = false;
	d->cluster_at = (size_t)(c - topo->clusters);
	d->nodes = 0;
	d->note = 0;
	d->reason[0] = '\0';
}

/* Where there are several clusters: which one is the policy's to say, whatever the client wants there. */
static const struct policy_decision *anywhere(struct session *s, const struct topo_cluster *c, struct policy_vm *vm,
                                              const struct unit *u, const struct sql_hint *hint, bool has_hint)
{
	const struct topo *topo = s->home->topo;
	struct policy_decision *d = &s->home->steering->now, said = *by_policy(s, c, vm, u, has_hint ? hint : NULL);
	said.names_place = said.kind >= POLICY_PRIMARY && said.kind <= POLICY_NODES;
	if (said.names_place && u->tx == UNIT_TX_IF_ASKED &&
	    said.by == DECIDER_PLAN) { /* of a transaction it says no more than where it is */
		said.kind = POLICY_PRIMARY;
		said.by = DECIDER_ROUTE;
	}
	c = said.names_place ? &topo->clusters[said.cluster_at] : c;
	nobody_says(d, c, topo);
	if (!by_client(s, c, hint, d))
		*d = said;
	d->names_place = said.names_place;
	return d;
}

/* What plan said of the statement before, where nobody else has a say; NULL: ask. */
static inline const struct policy_decision *planned(const struct session *s, struct policy_vm *vm, const struct unit *u)
{
	const struct steering *st = s->home->steering;
	const struct plan *p;
	if (!u->class || u->tx || UNLIKELY(sql_may_hint(u->text) || s->home->roams) || st->looked_up != s->vars || st->route)
		return NULL;
	p = plan_at(st, u->class, s->who);
	return is_of(p, u->class, s->who, policy_generation(vm)) && p->is_final && p->decision.kind != POLICY_NONE &&
	               ledger_reason(s->home->ledger, p->decision.note)
	           ? &p->decision
	           : NULL;
}

static const struct policy_decision *decided(struct session *s, const struct topo_cluster *c, const struct unit *u,
                                             const struct sql_hint *hint, bool has_hint)
{
	struct policy_vm *vm = route_of(s, c)->vm;
	struct policy_decision *d = &s->home->steering->now;
	const struct policy_decision *said;
	nobody_says(d, c, s->home->topo);
	if (UNLIKELY(s->home->roams && vm && u->class))
		said = anywhere(s, c, vm, u, hint, has_hint);
	else if (by_client(s, c, hint, d))
		return d;
	else
		said = vm && u->class ? by_policy(s, c, vm, u, has_hint ? hint : NULL) : d;
	if (said->kind != POLICY_NONE &&
	    (said->names_place || !(u->tx == UNIT_TX_IF_ASKED && said->by == DECIDER_PLAN && said->kind != POLICY_REJECT)))
		return said; /* what plan says was not said of a transaction */
	bool is_read = u->is_read && u->tx != UNIT_TX_IF_ASKED;
	if (is_read && divert(s, c, d)) {
		d->note = counted_note(s, NULL, d);
		return d;
	}
	d->kind = is_read ? POLICY_STANDBYS : POLICY_PRIMARY; /* a reason that is there says why the policy failed */
	d->by = DECIDER_BUILT_IN;
	d->note = d->reason[0] ? d->note : 0;
	return d;
}

/* What nobody could make anything of is told, where nobody else has given a reason. */
static NOT_INLINE const struct policy_decision *with_strange(struct session *s, const struct policy_decision *d,
                                                             struct slice what)
{
	struct policy_decision *now = &s->home->steering->now;
	tell_strange(s, what);
	if (d == now && !now->note)
		now->note = ledger_note(s->home->ledger, 0, "", "its hint is not understood");
	return d;
}

const struct policy_decision *steer(struct session *s, const struct topo_cluster *c, const struct unit *u)
{
	struct policy_vm *vm = route_of(s, c)->vm;
	const struct policy_decision *d = vm && s->home->steering->plans ? planned(s, vm, u) : NULL;
	struct sql_hint hint = { 0 };
	if (LIKELY(d))
		return d;
	bool has_hint = sql_may_hint(u->text) && sql_hint(u->text, &hint);
	d = decided(s, c, u, &hint, has_hint);
	if (LIKELY(!has_hint && !hint.strange.len))
		return d;
	struct slice strange = steer_strange(&s->home->topo->clusters[d->cluster_at], &hint, d);
	return strange.len ? with_strange(s, d, strange) : d;
}

bool steer_repeats(const struct session *s, const struct topo_cluster *c, const struct policy_decision *d)
{
	const struct routing *r = route_of(s, c);
	if (d != &s->home->steering->now)
		return d->kind >= POLICY_PRIMARY && d->kind <= POLICY_NODES; /* a plan */
	return !r->vm && d->by == DECIDER_BUILT_IN && !r->conf->n_redirects;
}

int steer_balance(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t nodes)
{
	struct policy_vm *vm = route_of(s, UNLIKELY(s->home->roams) ? abroad_home(s) : c)->vm;
	if (LIKELY(!vm) || !u->class || !policy_has(vm, POLICY_HOOK_BALANCE))
		return -1;
	struct policy_query q = query_of(s, u, NULL);
	return policy_balance(vm, s->home->topo, (size_t)(c - s->home->topo->clusters), &q, nodes);
}

/* The console is no place to put anybody. */
static bool has_database(const void *client, const char *name)
{
	const struct conf *conf = session_conf(client);
	return conf_database(conf, name) && !console_is_named(conf, name);
}

bool steer_admit(struct session *s, struct err *e)
{
	const struct topo *topo = s->home->topo;
	size_t cluster_at = conf_database(topo->conf, s->database)->cluster_at;
	struct policy_vm *vm = topo->policies ? policy_set_vm(topo->policies, s->home->env.worker, cluster_at) : NULL;
	struct policy_client client = { .user = s->user,
		                            .database = s->database,
		                            .application = settings_get(s->vars, "application_name"),
		                            .client = s,
		                            .put_address = put_address,
		                            .has_database = has_database };
	struct policy_admission a;
	if (s->login->is_admitted || !vm)
		return true;
	policy_admit(vm, topo, cluster_at, &client, &a);
	if (a.is_rejected)
		return err_set(e, a.sqlstate, "%s", a.text);
	s->login->is_admitted = true;
	mem_free(session_aside(s)->workload);
	if (*a.workload || s->aside)
		session_aside_of(s)->workload = *a.workload ? mem_text(a.workload) : NULL;
	if (*a.database && strcmp(a.database, s->database) != 0)
		startup_move(s, a.database);
	return true;
}
