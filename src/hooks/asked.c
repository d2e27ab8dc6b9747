/*
 * asked — what operations ask of a policy: the decisions failover() and returning(), and actions such as promote().
 *
 * A decision is a call like those of the data plane: at once, bounded, and without it things are as if the policy had none.  An action is a
 * run.  Both may only choose among what C allows: a candidate that may not become primary is none, whatever the policy returns.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "priv.h"

static const char *const names[] = {
#define HOOK_NAME(name, ...) #name,
	POLICY_CONTROL_HOOKS(HOOK_NAME)
};

bool hooks_has(const struct hooks *h, const char *cluster, enum hook_name hook)
{
	struct hook_vm *v = hook_vm_of(h, cluster);
	return v && hook_vm_has(v, NULL, names[hook]);
}

/* ---- actions ------------------------------------------------------------------------------------------------------------------ */

struct asked {
	enum hook_name hook;
	const struct hook_operation *op;
	int node, primary, old; /* -1: none */
	enum hook_fate fate;
};

static void set_number(lua_State *L, const char *name, uint64_t value)
{
	lua_pushnumber(L, (double)value);
	lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static void set_node(lua_State *L, const char *name, int node)
{
	policy_control_push_node(L, node);
	lua_setfield(L, -2, name);
}

static void push_operation(lua_State *L, const struct asked *a)
{
	lua_createtable(L, 0, 10);
	set_number(L, "id", a->op->id);
	set_number(L, "epoch", a->op->epoch);
	set_number(L, "attempt", a->op->attempt);
	set_text(L, "kind", a->op->kind);
	set_text(L, "step", names[a->hook]);
	set_text(L, "evidence", a->op->evidence);
	set_node(L, "node", a->node);
	set_node(L, "primary", a->primary);
	set_node(L, "old_primary", a->old);
	policy_control_push_cluster(L);
	lua_setfield(L, -2, "cluster");
}

static int push_action(lua_State *L, void *arg)
{
	const struct asked *a = arg;
	if (a->fate == HOOK_RUNS)
		hook_vm_push(L, NULL, names[a->hook]);
	else
		lua_pushcfunction(L, a->fate == HOOK_FAILS ? act_fail : act_hang);
	push_operation(L, a);
	policy_control_push_node(L, a->node);
	if (a->primary < 0)
		return 2;
	policy_control_push_node(L, a->primary);
	return 3;
}

struct hook_run *hooks_run(struct hooks *h, const char *cluster, enum hook_name hook, const struct hook_operation *op,
                           const char *node, const char *primary, uint64_t timeout_us, hook_done_fn fn, void *arg,
                           struct err *err)
{
	struct hook_vm *v = hook_vm_of(h, cluster);
	if (!v) {
		err_set(err, "42704", "cluster %.60s has no policy", cluster);
		return NULL;
	}
	struct asked a = { .hook = hook,
		               .op = op,
		               .node = hook_vm_node(v, node),
		               .primary = primary ? hook_vm_node(v, primary) : -1,
		               .old = hook_vm_node(v, op->old_primary) };
	if (a.node < 0 || (primary && a.primary < 0)) {
		err_set(err, "42704", "node %.60s is not in the configuration any more", a.node < 0 ? node : primary);
		return NULL;
	}
	if (h->env.stage)
		a.fate = h->env.stage->begins(h->env.stage->arg, names[hook], node);
	struct run_spec spec = { .kind = RUN_HOOK, .name = names[hook], .push = push_action, .push_arg = &a, .fn = fn, .arg = arg };
	spec.timeout_us = timeout_us;
	spec.operation = op->id;
	spec.node = node;
	return run_begin(h, v, &spec, err);
}

/* ---- the decision failover --------------------------------------------------------------------------------------------------------------- */

/* In a simulation it may fail, or not come back in time, without having been asked. */
static const char *fate_of(struct hooks *h, enum hook_name hook, const char *node)
{
	enum hook_fate fate = h->env.stage ? h->env.stage->begins(h->env.stage->arg, names[hook], node) : HOOK_RUNS;
	return fate == HOOK_RUNS    ? NULL
	       : fate == HOOK_FAILS ? "the test has it fail"
	                            : "it does not come to an end: the test has it hang";
}

struct deciding {
	struct hook_vm *vm;
	const char *old_primary, *evidence;
	const struct hook_candidate *candidates;
	size_t n;
	struct hook_choice *out;
};

static void push_event(lua_State *L, const struct deciding *d)
{
	int at = 0;
	lua_createtable(L, 0, 4);
	set_text(L, "evidence", d->evidence);
	set_node(L, "old_primary", hook_vm_node(d->vm, d->old_primary));
	lua_newtable(L);
	lua_newtable(L);
	for (size_t i = 0; i < d->n; i++) {
		const struct hook_candidate *c = &d->candidates[i];
		int node = hook_vm_node(d->vm, c->name);
		if (c->refused) {
			set_text(L, c->name, c->refused);
		} else if (node >= 0) {
			policy_control_push_node(L, node);
			lua_rawseti(L, -3, ++at);
		}
	}
	lua_setfield(L, -3, "refused");
	lua_setfield(L, -2, "candidates");
}

/* One that it returned: the candidate of that name, once. */
static void take_node(lua_State *L, const struct deciding *d)
{
	struct hook_choice *out = d->out;
	int node = policy_control_node_at(L, -1);
	if (node < 0)
		luaL_error(L, "failover returned a %s where a node of this cluster is expected", luaL_typename(L, -1));
	const char *name = d->vm->shapes[d->vm->at].nodes[node];
	for (size_t i = 0; i < d->n; i++) {
		bool is_there = strcmp(d->candidates[i].name, name) != 0;
		for (size_t k = 0; k < out->n; k++)
			is_there |= out->order[k] == i;
		if (is_there)
			continue;
		if (d->candidates[i].refused)
			luaL_error(L, "failover returned %s, which may not become primary: %s", name, d->candidates[i].refused);
		out->order[out->n++] = i;
	}
}

static void take_answer(lua_State *L, const struct deciding *d)
{
	int answer = lua_gettop(L) - 1;
	if (lua_isnil(L, answer)) {
		d->out->is_nobody = lua_type(L, answer + 1) == LUA_TSTRING;
		snprintf(d->out->why, sizeof d->out->why, "%s", d->out->is_nobody ? lua_tostring(L, answer + 1) : "");
		return;
	}
	if (policy_control_node_at(L, answer) >= 0) {
		lua_pushvalue(L, answer);
		take_node(L, d);
		return;
	}
	if (!lua_istable(L, answer) && !lua_isuserdata(L, answer))
		luaL_error(L, "failover returned a %s, instead of nodes, or nil and why", luaL_typename(L, answer));
	for (int i = 1; i <= (int)HOOK_NODES_MAX; i++) {
		lua_pushinteger(L, i);
		lua_gettable(L, answer);
		if (lua_isnil(L, -1))
			break;
		take_node(L, d);
		lua_pop(L, 1);
	}
}

static void decide(lua_State *L, void *arg)
{
	const struct deciding *d = arg;
	hook_vm_push(L, NULL, "failover");
	push_event(L, d);
	policy_control_push_cluster(L);
	lua_call(L, 2, 2);
	take_answer(L, d);
}

void hooks_choose(struct hooks *h, const char *cluster, const char *old_primary, const char *evidence,
                  const struct hook_candidate *candidates, size_t n, struct hook_choice *out)
{
	struct hook_vm *v = hook_vm_of(h, cluster);
	struct deciding d = { v, old_primary, evidence, candidates, n, out };
	*out = (struct hook_choice){ 0 };
	if (!v || !hook_vm_has(v, NULL, "failover"))
		return;
	ASSERT(n <= HOOK_NODES_MAX);
	const char *fate = fate_of(h, HOOK_failover, old_primary);
	hook_vm_look(v, topo_latest(h->env.board));
	bool is_good = !fate && policy_control_protect(v->vm, decide, &d);
	hook_vm_look(v, NULL);
	if (is_good)
		return;
	*out = (struct hook_choice){ 0 };
	snprintf(out->why, sizeof out->why, "%s", fate ? fate : policy_control_error(v->vm));
	log_warn(NULL, "policy_failed", KV_STR("cluster", cluster), KV_STR("hook", "failover"), KV_STR("error", out->why));
}

/* ---- the decision returning ------------------------------------------------------------------------------------------------------ */

struct asking {
	struct hook_vm *vm;
	const struct hook_return *it;
	enum hook_word word;
};

static enum hook_word word_of(lua_State *L)
{
	static const char *const words[] = { "quarantine", "rejoin", "attach" };
	if (lua_isnil(L, -1))
		return HOOK_SAYS_QUARANTINE;
	for (int i = 0; lua_type(L, -1) == LUA_TSTRING && i < (int)ARRAY_LEN(words); i++)
		if (strcmp(lua_tostring(L, -1), words[i]) == 0)
			return (enum hook_word)i;
	luaL_error(L, "returning returned %s, instead of rejoin, attach or quarantine",
	           lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
	return HOOK_SAYS_QUARANTINE;
}

static void ask_of(lua_State *L, void *arg)
{
	struct asking *a = arg;
	int node = hook_vm_node(a->vm, a->it->node);
	if (node < 0)
		luaL_error(L, "node %s is not in the configuration any more", a->it->node);
	hook_vm_push(L, NULL, "returning");
	lua_createtable(L, 0, 4);
	set_text(L, "state", a->it->state);
	set_text(L, "reason", a->it->reason);
	set_number(L, "tries", a->it->tries);
	if (a->it->timeline)
		set_number(L, "timeline", a->it->timeline);
	policy_control_push_node(L, node);
	policy_control_push_cluster(L);
	lua_call(L, 3, 1);
	a->word = word_of(L);
}

enum hook_word hooks_ask_of(struct hooks *h, const char *cluster, const struct hook_return *it)
{
	struct hook_vm *v = hook_vm_of(h, cluster);
	struct asking a = { v, it, HOOK_SAYS_QUARANTINE };
	if (!v || !hook_vm_has(v, NULL, "returning"))
		return HOOK_SAYS_QUARANTINE;
	const char *fate = fate_of(h, HOOK_returning, it->node);
	hook_vm_look(v, topo_latest(h->env.board));
	bool is_good = !fate && policy_control_protect(v->vm, ask_of, &a);
	hook_vm_look(v, NULL);
	if (is_good)
		return a.word;
	log_warn(NULL, "policy_failed", KV_STR("cluster", cluster), KV_STR("hook", "returning"),
	         KV_STR("error", fate ? fate : policy_control_error(v->vm)), KV_STR("effect", "it stays in quarantine"));
	return HOOK_SAYS_QUARANTINE;
}
