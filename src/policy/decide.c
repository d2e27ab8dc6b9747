/*
 * decide — what a hook returned becomes a policy_decision, or an error that says what would have been right.
 *
 * Nothing here may make Lua allocate: it runs outside protected calls.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "priv.h"

static bool complain(struct policy_vm *vm, enum policy_hook hook, const char *what)
{
	snprintf(vm->error, sizeof vm->error, "%s: %s", vm->where[hook], what);
	return false;
}

/* As the script calls it. */
static const char *name_of(const struct policy_vm *vm, int index)
{
	const struct handle *h = handle_at(vm->L, index);
	if (h && h->is == HANDLE_DECISION)
		return h->kind == POLICY_WAIT ? "lp.wait()" : "lp.reject()";
	return !h                      ? luaL_typename(vm->L, index)
	       : h->is == HANDLE_NODE  ? "a node"
	       : h->is == HANDLE_NODES ? "a list of nodes"
	                               : "that";
}

static bool complain_of_type(struct policy_vm *vm, enum policy_hook hook, int index, const char *wanted)
{
	bool has_article = handle_at(vm->L, index) != NULL;
	snprintf(vm->error, sizeof vm->error, "%s: it must return %s, not %s%s", vm->where[hook], wanted, has_article ? "" : "a ",
	         name_of(vm, index));
	return false;
}

static bool is_cluster(const struct policy_vm *vm, size_t at)
{
	return at < vm->topo->n_clusters;
}

static void decide_handle(const struct handle *h, struct policy_decision *out)
{
	const struct decision *d = (const struct decision *)h;
	if (h->is != HANDLE_DECISION) /* which is no place */
		out->cluster_at = h->cluster_at;
	switch (h->is) {
	case HANDLE_NODE:
		out->kind = h->node_at == NODE_PRIMARY ? POLICY_PRIMARY : POLICY_NODES;
		out->nodes = h->node_at == NODE_PRIMARY ? 0 : UINT64_C(1) << h->node_at;
		return;
	case HANDLE_NODES:
		out->nodes = h->nodes;
		out->kind = h->kind == POLICY_NODES && !h->nodes ? POLICY_NONE : h->kind;
		return;
	case HANDLE_DECISION:
		out->kind = h->kind;
		out->wait_ms = d->wait_ms;
		memcpy(out->sqlstate, d->sqlstate, sizeof out->sqlstate);
		memcpy(out->text, d->text, sizeof out->text);
		return;
	default:
		return;
	}
}

/* A table of nodes, all of one cluster. */
static bool decide_table(struct policy_vm *vm, enum policy_hook hook, int index, struct policy_decision *out)
{
	lua_State *L = vm->L;
	for (int i = 1; i <= (int)POLICY_NODES_MAX; i++) {
		lua_rawgeti(L, index, i);
		const struct handle *h = handle_at(L, -1);
		bool is_end = lua_isnil(L, -1);
		lua_pop(L, 1);
		if (is_end)
			break;
		if (!h || h->is != HANDLE_NODE)
			return complain(vm, hook, "it returned a list of something else than nodes");
		int at = h->node_at == NODE_PRIMARY ? vm->topo->clusters[h->cluster_at].primary : h->node_at;
		if (out->nodes && out->cluster_at != h->cluster_at)
			return complain(vm, hook, "it returned a list of nodes of several clusters");
		out->cluster_at = h->cluster_at;
		out->nodes |= at >= 0 ? UINT64_C(1) << at : 0;
	}
	out->kind = out->nodes ? POLICY_NODES : POLICY_NONE;
	return true;
}

static bool has_place(const struct policy_vm *vm, const struct policy_decision *out)
{
	if (!is_cluster(vm, out->cluster_at))
		return false;
	size_t n = vm->topo->clusters[out->cluster_at].n_nodes;
	return out->kind != POLICY_NODES || n >= POLICY_NODES_MAX || out->nodes >> n == 0;
}

static void take_reason(struct policy_vm *vm, char out[POLICY_REASON_MAX])
{
	size_t len;
	const char *text = lua_tolstring(vm->L, -1, &len);
	len = len < POLICY_REASON_MAX ? len : POLICY_REASON_MAX - 1;
	memcpy(out, text, len);
	out[len] = '\0';
}

bool decide(struct policy_vm *vm, enum policy_hook hook, struct policy_decision *out)
{
	static const char wanted[] = "a node, a list of nodes, lp.reject(), lp.wait() or nothing";
	lua_State *L = vm->L;
	int index = lua_gettop(L) - 1;
	const struct handle *h = handle_at(L, index);
	int reason = lua_type(L, -1);
	if (reason != LUA_TNIL && reason != LUA_TSTRING)
		return complain(vm, hook, "its second value, the reason, must be a text");
	if (LIKELY(h && (h->is == HANDLE_NODE || h->is == HANDLE_NODES || h->is == HANDLE_DECISION))) {
		decide_handle(h, out);
	} else if (h) {
		return complain(vm, hook, "it must return a place: a cluster's primary, standbys, any, or some of its nodes");
	} else if (lua_istable(L, index)) {
		if (!decide_table(vm, hook, index, out))
			return false;
	} else if (!lua_isnil(L, index)) {
		return complain_of_type(vm, hook, index, wanted);
	}
	if (!has_place(vm, out))
		return complain(vm, hook, "it returned a node that is gone");
	if (reason == LUA_TSTRING)
		take_reason(vm, out->reason);
	return true;
}

static bool take_name(struct policy_vm *vm, int index, int key, char out[POLICY_NAME_MAX])
{
	lua_State *L = vm->L;
	size_t len = 0;
	lua_pushvalue(L, key);
	lua_rawget(L, index);
	bool is_good = lua_isnil(L, -1);
	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *text = lua_tolstring(L, -1, &len);
		is_good = len < POLICY_NAME_MAX && strlen(text) == len;
		if (is_good)
			memcpy(out, text, len + 1);
	}
	lua_pop(L, 1);
	return is_good;
}

static bool has_other_fields(lua_State *L, int index)
{
	bool is_known = true;
	for (lua_pushnil(L); is_known && lua_next(L, index); lua_pop(L, 1))
		is_known = lua_rawequal(L, -2, REF_KEY_CLASS) || lua_rawequal(L, -2, REF_KEY_DATABASE);
	return !is_known;
}

static bool take_database(struct policy_vm *vm, int index, struct policy_admission *out)
{
	if (!take_name(vm, index, REF_KEY_DATABASE, out->database))
		return complain(vm, POLICY_HOOK_ADMIT, "a database is a text of less than 64 bytes");
	if (!*out->database || vm->client->has_database(vm->client->client, out->database))
		return true;
	snprintf(vm->error, sizeof vm->error, "%s: there is no database \"%s\" for clients", vm->where[POLICY_HOOK_ADMIT],
	         out->database);
	return false;
}

static bool take_overrides(struct policy_vm *vm, int index, struct policy_admission *out)
{
	if (has_other_fields(vm->L, index))
		return complain(vm, POLICY_HOOK_ADMIT, "it returned a table with something else than database and class");
	if (!take_name(vm, index, REF_KEY_CLASS, out->workload))
		return complain(vm, POLICY_HOOK_ADMIT, "a class is a text of less than 64 bytes");
	return take_database(vm, index, out);
}

bool decide_admission(struct policy_vm *vm, struct policy_admission *out)
{
	int index = lua_gettop(vm->L) - 1;
	const struct handle *h = handle_at(vm->L, index);
	const struct decision *d = (const struct decision *)h;
	if (lua_isnil(vm->L, index))
		return true;
	if (lua_istable(vm->L, index))
		return take_overrides(vm, index, out);
	if (!h || h->is != HANDLE_DECISION || h->kind != POLICY_REJECT)
		return complain_of_type(vm, POLICY_HOOK_ADMIT, index, "nothing, lp.reject() or a table with database or class");
	out->is_rejected = true;
	memcpy(out->sqlstate, d->sqlstate, sizeof out->sqlstate);
	memcpy(out->text, d->text, sizeof out->text);
	return true;
}

bool decide_node(struct policy_vm *vm, size_t cluster_at, uint64_t nodes, int *out)
{
	int index = lua_gettop(vm->L) - 1;
	const struct handle *h = handle_at(vm->L, index);
	if (lua_isnil(vm->L, index))
		return true;
	if (!h || h->is != HANDLE_NODE || h->cluster_at != cluster_at)
		return complain_of_type(vm, POLICY_HOOK_BALANCE, index, "one of the nodes that it was given, or nothing");
	int at = h->node_at == NODE_PRIMARY ? vm->topo->clusters[cluster_at].primary : h->node_at;
	if (at < 0 || !(nodes >> at & 1))
		return complain(vm, POLICY_HOOK_BALANCE, "it returned a node that it was not given");
	*out = at;
	return true;
}
