/*
 * undertake — who does what an operation wants done at a node: the policy's hook if it has one, else a deed by SQL; before a promotion, the fence.
 *
 * Always: an act's end is told once, from the loop, and its undertaking is gone by then;  the fence comes once for each operation.
 */
#include "keeperpriv.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ha/deeds.h"

struct undertaking { /* a deed for an act */
	struct dlist link;
	struct keeper *keeper;
	uint64_t id, timeout_us;
	enum ops_act what;
	char node[RECORD_NAME_MAX], primary[RECORD_NAME_MAX];
	struct deed *deed;
	struct hook_run *run; /* in its stead, or before it: fence() */
	struct loop_defer refused;
	struct err why;
};

static void undertaking_free(struct undertaking *u)
{
	dlist_remove(&u->link);
	deed_drop(u->deed);
	hooks_abandon(u->run);
	loop_defer_cancel(&u->refused);
	mem_free(u);
}

static void on_deed(void *arg, bool is_done, const struct err *err)
{
	struct undertaking *u = arg;
	struct keeper *k = u->keeper;
	uint64_t id = u->id;
	u->deed = NULL;
	undertaking_free(u);
	ops_on_act(k->ops, id, is_done, err);
}

static void on_hook(void *arg, const char *output, const struct err *err)
{
	struct undertaking *u = arg;
	struct keeper *k = u->keeper;
	uint64_t id = u->id;
	u->run = NULL;
	undertaking_free(u);
	ops_on_act(k->ops, id, !err, err);
}

static struct hook_operation about(const struct keeper *k)
{
	const struct record_operation *op = &ops_record(k->ops)->op;
	return (struct hook_operation){ .id = op->id,
		                            .epoch = op->epoch,
		                            .kind = operation_kind_word(op->kind),
		                            .attempt = op->attempt,
		                            .old_primary = op->source,
		                            .evidence = op->why };
}

static bool is_by_hook_only(enum ops_act what)
{
	return what == OPS_ACT_REJOIN || what == OPS_ACT_RECOVER;
}

static enum hook_name hook_of(enum ops_act what)
{
	return what == OPS_ACT_PROMOTE   ? HOOK_promote
	       : what == OPS_ACT_FENCE   ? HOOK_fence
	       : what == OPS_ACT_REJOIN  ? HOOK_rejoin
	       : what == OPS_ACT_RECOVER ? HOOK_recover
	                                 : HOOK_follow_primary;
}

/* By the policy, if it has a hook for that. */
static bool run_hook(struct undertaking *u)
{
	const struct keeper *k = u->keeper;
	enum hook_name hook = hook_of(u->what);
	const struct hook_operation op = about(k);
	struct err err;
	if (!k->env.hooks || !hooks_has(k->env.hooks, k->cluster, hook))
		return false;
	const char *primary = u->what == OPS_ACT_PROMOTE ? NULL : u->primary;
	u->run = hooks_run(k->env.hooks, k->cluster, hook, &op, u->node, primary, u->timeout_us, on_hook, u, &err);
	if (!u->run)
		log_warn(NULL, "hook_not_run", KV_STR("cluster", k->cluster), KV_STR("node", u->node), KV_ERR(&err),
		         KV_STR("effect", is_by_hook_only(u->what) ? "it is not done" : "it is done by SQL"));
	return u->run != NULL;
}

static struct service_target target_of(const struct conf_cluster *conf, const struct topo_node *n)
{
	return (struct service_target){ .host = n->host,
		                            .port = n->port,
		                            .dbname = conf->service_dbname,
		                            .user = conf->service_user,
		                            .password = conf->service_password,
		                            .cluster = conf };
}

/* The other standbys, as they call themselves.  Who has not been given a name is called so by PostgreSQL, be he whose he may. */
static size_t others(const struct undertaking *u, const char *names[RECORD_NODES_MAX])
{
	const struct record *r = ops_record(u->keeper->ops);
	size_t n = 0;
	for (size_t i = 0; i < r->n_nodes; i++)
		if (*r->nodes[i].alias && strcmp(r->nodes[i].name, u->node) != 0 && strcmp(r->nodes[i].alias, "walreceiver") != 0)
			names[n++] = r->nodes[i].alias;
	return n;
}

static struct deed *begin_deed(struct undertaking *u, const struct service_target *node, const struct service_target *primary)
{
	const struct deed_env env = { u->keeper->env.loop, u->keeper->env.resolver, u->keeper->env.mailbox };
	const char *names[RECORD_NODES_MAX];
	switch (u->what) {
	case OPS_ACT_SETTLE:
		return deed_settle(&env, node, u->timeout_us, on_deed, u);
	case OPS_ACT_CHECKPOINT:
		return deed_checkpoint(&env, node, u->timeout_us, on_deed, u);
	case OPS_ACT_PROMOTE:
		return deed_promote(&env, node, u->timeout_us, on_deed, u);
	case OPS_ACT_TIDY:
		return deed_tidy(&env, node, primary, names, others(u, names), u->timeout_us, on_deed, u);
	default: /* what is fetched once from another standby needs no slot there, which would be left behind */
		return deed_follow(&env, node, primary, u->what == OPS_ACT_FOLLOW, u->timeout_us, on_deed, u);
	}
}

static bool is_by_deed_only(enum ops_act what)
{
	return what == OPS_ACT_SETTLE || what == OPS_ACT_FETCH || what == OPS_ACT_TIDY || what == OPS_ACT_CHECKPOINT;
}

static void undertake(struct undertaking *u)
{
	struct keeper *k = u->keeper;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	const struct topo_node *n = keeper_node(c, u->node), *p = keeper_node(c, u->primary);
	if (!n || (*u->primary && !p)) {
		err_set(&u->why, "42704", "%.100s is not configured any more", n ? u->primary : u->node);
		loop_defer(k->env.loop, &u->refused);
		return;
	}
	if (!is_by_deed_only(u->what) && run_hook(u))
		return;
	if (is_by_hook_only(u->what)) {
		err_set(&u->why, "55000", "the policy has no such hook any more, or it could not begin");
		loop_defer(k->env.loop, &u->refused);
		return;
	}
	const struct service_target node = target_of(conf, n), primary = target_of(conf, p ? p : n);
	u->deed = begin_deed(u, &node, &primary);
}

static void on_refused(struct loop_defer *d)
{
	struct undertaking *u = CONTAINER_OF(d, struct undertaking, refused);
	struct keeper *k = u->keeper;
	struct err why = u->why;
	uint64_t id = u->id;
	undertaking_free(u);
	ops_on_act(k->ops, id, false, &why);
}

/* ERR: the fence did not do it, which forbids the promotion or does not. */
static void go_on_unfenced(struct undertaking *u, const struct err *err)
{
	struct keeper *k = u->keeper;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	const char *source = ops_record(k->ops)->op.source;
	if (c && !conf->fence_required) {
		log_warn(NULL, "not_fenced", KV_STR("cluster", k->cluster), KV_STR("node", source), KV_ERR(err),
		         KV_STR("effect", "the promotion goes on, since fence_required does not forbid that"));
		undertake(u);
		return;
	}
	err_set(&u->why, "55000", "the old primary is not fenced: %.300s", err->text);
	loop_defer(k->env.loop, &u->refused);
}

static void on_fenced(void *arg, const char *output, const struct err *err)
{
	struct undertaking *u = arg;
	u->run = NULL;
	if (err) {
		go_on_unfenced(u, err);
		return;
	}
	u->keeper->fenced = ops_record(u->keeper->ops)->op.id;
	undertake(u);
}

/* True: that comes first. */
static bool begin_fence(struct undertaking *u)
{
	const struct keeper *k = u->keeper;
	const struct hook_operation op = about(k);
	struct err err;
	if (u->what != OPS_ACT_PROMOTE || k->fenced == op.id || !k->env.hooks || !hooks_has(k->env.hooks, k->cluster, HOOK_fence))
		return false;
	u->run = hooks_run(k->env.hooks, k->cluster, HOOK_fence, &op, op.old_primary, NULL, u->timeout_us, on_fenced, u, &err);
	if (!u->run)
		go_on_unfenced(u, &err);
	return true;
}

void undertake_act(void *arg, uint64_t id, enum ops_act what, const char *node, const char *primary, uint64_t timeout_us)
{
	struct keeper *k = arg;
	struct undertaking *u = mem_alloc(sizeof *u);
	*u = (struct undertaking){ .keeper = k, .id = id, .what = what, .timeout_us = timeout_us };
	snprintf(u->node, sizeof u->node, "%s", node);
	snprintf(u->primary, sizeof u->primary, "%s", primary);
	loop_defer_init(&u->refused, on_refused);
	dlist_push_back(&k->undertakings, &u->link);
	if (!begin_fence(u))
		undertake(u);
}

void undertake_forget(void *arg, uint64_t id)
{
	struct keeper *k = arg;
	DLIST_EACH(it, &k->undertakings)
	{
		struct undertaking *u = CONTAINER_OF(it, struct undertaking, link);
		if (u->id == id)
			undertaking_free(u);
	}
}

size_t undertake_choose(void *arg, const struct guard_verdict *verdicts, size_t *order, size_t n, char *why, size_t room)
{
	struct keeper *k = arg;
	const struct record_operation *op = &ops_record(k->ops)->op;
	struct hook_candidate candidates[RECORD_NODES_MAX];
	size_t places[RECORD_NODES_MAX], all = 0;
	struct hook_choice choice;
	if (!k->env.hooks)
		return n;
	for (size_t i = 0; i < n; i++, all++) {
		places[all] = order[i];
		candidates[all] = (struct hook_candidate){ k->nodes[order[i]].guard.name, NULL };
	}
	for (size_t i = 0; i < k->picture.n_nodes; i++) {
		if (verdicts[i].may)
			continue;
		places[all] = i;
		candidates[all++] = (struct hook_candidate){ k->nodes[i].guard.name, verdicts[i].why };
	}
	hooks_choose(k->env.hooks, k->cluster, op->source, op->why, candidates, all, &choice);
	snprintf(why, room, "%s", choice.why);
	if (choice.n == 0)
		return choice.is_nobody ? 0 : n;
	for (size_t i = 0; i < choice.n; i++)
		order[i] = places[choice.order[i]];
	return choice.n;
}

bool undertake_can(void *arg, enum ops_act what)
{
	const struct keeper *k = arg;
	return k->env.hooks && hooks_has(k->env.hooks, k->cluster, hook_of(what));
}

enum ops_returning undertake_returning(void *arg, const struct ops_returned *it)
{
	static const char *const states[] = { "away", "down", "standby", "writable" };
	const struct keeper *k = arg;
	const struct hook_return event = {
		.node = it->node, .state = states[it->is], .reason = it->why, .timeline = it->timeline, .tries = it->tries
	};
	enum hook_word word = k->env.hooks ? hooks_ask_of(k->env.hooks, k->cluster, &event) : HOOK_SAYS_QUARANTINE;
	return word == HOOK_SAYS_REJOIN ? OPS_REJOIN : word == HOOK_SAYS_ATTACH ? OPS_ATTACH : OPS_QUARANTINE;
}

void undertake_none(struct keeper *k)
{
	for (struct dlist *it; (it = dlist_first(&k->undertakings));)
		undertaking_free(CONTAINER_OF(it, struct undertaking, link));
}
