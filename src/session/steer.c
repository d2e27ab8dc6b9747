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

static bool by_word(struct slice word, enum decider by, const char *whose, struct policy_decision *d)
{
	if (is_word(word, "primary"))
		decide_as(d, POLICY_PRIMARY, by, whose);
	else if (is_word(word, "standby") || is_word(word, "standbys"))
		decide_as(d, POLICY_STANDBYS, by, whose);
	else if (is_word(word, "any"))
		decide_as(d, POLICY_ANY, by, whose);
	else
		return false;
	return true;
}

static bool by_node(const struct topo_cluster *c, struct slice name, struct policy_decision *d)
{
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++)
		if (slice_equal(slice_text(c->nodes[i].name), name)) {
			d->nodes = UINT64_C(1) << i;
			decide_as(d, POLICY_NODES, DECIDER_HINT, "hint");
			return true;
		}
	return false;
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
		                          .ms_since_write = ms_since_write(s) };
}

static struct plan *plan_of(struct session *s, struct sql_class *class, uint64_t generation)
{
	struct steering *st = s->home->steering;
	uint64_t id = s->who;
	uint64_t h = ((uintptr_t) class >> 4) * UINT64_C(0x9e3779b97f4a7c15) ^ id * UINT64_C(0xc2b2ae3d27d4eb4f);
	struct plan *p;
	if (!st->plans)
		st->plans = mem_alloc(PLANS * sizeof *st->plans);
	p = &st->plans[(h >> 40) & (PLANS - 1)];
	if (LIKELY(p->class == class && p->who == id && p->generation == generation))
		return p;
	sql_class_unref(p->class);
	*p = (struct plan){ .who = id, .generation = generation };
	return p;
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
	p->decision.by = DECIDER_PLAN;
	p->decision.note = counted_note(s, vm, &p->decision);
	if (p->is_final)
		return &p->decision;
	policy_route(vm, topo, cluster_at, &q, now);
	now->by = DECIDER_ROUTE;
	now->note = counted_note(s, vm, now);
	return now;
}

static struct policy_vm *vm_of(const struct session *s, const struct topo_cluster *c)
{
	const struct topo *topo = s->home->topo;
	return topo->policies ? policy_set_vm(topo->policies, s->home->env.worker, (size_t)(c - topo->clusters)) : NULL;
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

const struct policy_decision *steer(struct session *s, const struct topo_cluster *c, const struct unit *u)
{
	struct policy_vm *vm = vm_of(s, c);
	struct policy_decision *d = &s->home->steering->now;
	const struct policy_decision *said;
	struct sql_hint hint;
	bool has_hint = sql_hint(u->text, &hint);
	nobody_says(d, c, s->home->topo);
	if (UNLIKELY(s->home->roams && vm && u->class))
		said = anywhere(s, c, vm, u, &hint, has_hint);
	else if (by_client(s, c, &hint, d))
		return d;
	else
		said = vm && u->class ? by_policy(s, c, vm, u, has_hint ? &hint : NULL) : d;
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

int steer_balance(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t nodes)
{
	struct policy_vm *vm = vm_of(s, UNLIKELY(s->home->roams) ? abroad_home(s) : c);
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
