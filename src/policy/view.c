/*
 * view — query, statement, client, cluster, node and lists of nodes, as a script sees them: userdata whose fields C answers.
 *
 * A name of a field is a text that Lua keeps once, so it is recognised by its address: each class has a small table from addresses to
 * getters, made with the VM.  The objects of clusters and nodes are made with the VM, too; a call makes none.  What they show is the call's own
 * topology and query; between calls, and in a call that has none, fields are errors.
 */
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "base/log.h"
#include "priv.h"
#include "sql/class.h"
#include "sql/facts.h"
#include "sql/hint.h"
#include "tbl/policy.h"

#define HANDLES_PER_CLUSTER (5 + (int)POLICY_NODES_MAX)
enum { HANDLE_OF_CLUSTER, HANDLE_OF_PRIMARY, HANDLE_OF_STANDBYS, HANDLE_OF_ANY, HANDLE_OF_ALL, HANDLE_OF_NODES };

/* A field is answered by a getter, which pushes one value; a method is a function of its own. */
struct field {
	const char *name;
	enum { SAME, NOW } when;
	void (*get)(lua_State *L, struct policy_vm *vm, const struct handle *h);
	lua_CFunction method;
};

/* ---- handles ------------------------------------------------------------------------------------------------------------------ */

const struct handle *handle_at(lua_State *L, int index)
{
	return lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;
}

void *view_new(lua_State *L, enum handle_is is, size_t size)
{
	struct handle *h = lua_newuserdata(L, size);
	memset(h, 0, size);
	h->is = is;
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_CLASSES + (int)is);
	lua_setmetatable(L, -2);
	return h;
}

static const struct handle *check_handle(lua_State *L, int arg, enum handle_is is, const char *name)
{
	const struct handle *h = handle_at(L, arg);
	if (!h || h->is != is)
		luaL_typerror(L, arg, name);
	return h;
}

static void push_handle(lua_State *L, size_t cluster_at, int at)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_HANDLES + (int)cluster_at * HANDLES_PER_CLUSTER + at);
}

void view_push_cluster(lua_State *L, size_t cluster_at)
{
	push_handle(L, cluster_at, HANDLE_OF_CLUSTER);
}

static const struct topo_cluster *cluster_of(lua_State *L, const struct policy_vm *vm, const struct handle *h)
{
	if (!vm->topo)
		luaL_error(L, "clusters can be looked at in a hook only");
	if (h->cluster_at >= vm->topo->n_clusters || h->cluster_at >= vm->n_clusters)
		luaL_error(L, "this cluster is gone");
	return &vm->topo->clusters[h->cluster_at];
}

/* ---- statement, query ------------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
	[SQL_OTHER] = "other",
	[SQL_OPAQUE] = "opaque",
	[SQL_SELECT] = "select",
	[SQL_INSERT] = "insert",
	[SQL_UPDATE] = "update",
	[SQL_DELETE] = "delete",
	[SQL_MERGE] = "merge",
	[SQL_COPY_IN] = "copy_in",
	[SQL_COPY_OUT] = "copy_out",
	[SQL_EXPLAIN] = "explain",
	[SQL_SHOW] = "show",
	[SQL_BEGIN] = "begin",
	[SQL_COMMIT] = "commit",
	[SQL_ROLLBACK] = "rollback",
	[SQL_SAVEPOINT] = "savepoint",
	[SQL_RELEASE] = "release",
	[SQL_ROLLBACK_TO] = "rollback_to",
	[SQL_PREPARE_TRANSACTION] = "prepare_transaction",
	[SQL_COMMIT_PREPARED] = "commit_prepared",
	[SQL_SET_TRANSACTION] = "set_transaction",
	[SQL_SET] = "set",
	[SQL_SET_LOCAL] = "set_local",
	[SQL_RESET] = "reset",
	[SQL_RESET_ALL] = "reset_all",
	[SQL_DISCARD_ALL] = "discard_all",
	[SQL_DISCARD_PLANS] = "discard_plans",
	[SQL_DISCARD_TEMP] = "discard_temp",
	[SQL_DISCARD_SEQUENCES] = "discard_sequences",
	[SQL_PREPARE] = "prepare",
	[SQL_EXECUTE] = "execute",
	[SQL_DEALLOCATE] = "deallocate",
	[SQL_DEALLOCATE_ALL] = "deallocate_all",
	[SQL_DECLARE] = "declare",
	[SQL_FETCH] = "fetch",
	[SQL_CLOSE] = "close",
	[SQL_CLOSE_ALL] = "close_all",
	[SQL_LISTEN] = "listen",
	[SQL_UNLISTEN] = "unlisten",
	[SQL_UNLISTEN_ALL] = "unlisten_all",
	[SQL_NOTIFY] = "notify",
	[SQL_LOCK] = "lock",
	[SQL_EMPTY] = "empty",
};

static void push_text(lua_State *L, const char *text)
{
	lua_pushstring(L, text ? text : "");
}

static void push_address(lua_State *L, const void *client, void (*put)(const void *, char *, size_t))
{
	char address[POLICY_NAME_MAX] = "";
	if (put)
		put(client, address, sizeof address);
	lua_pushstring(L, address);
}

static void query_text(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	struct slice t = vm->query->text;
	lua_pushlstring(L, (const char *)t.at, t.len < POLICY_TEXT_MAX ? t.len : POLICY_TEXT_MAX);
}

static void query_kind(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	lua_pushstring(L, c->n == 1 ? kind_names[c->part[0].kind] : "multi");
}

static void query_is_read(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->class->is_read);
}

static void query_unknown(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->class->is_opaque);
}

static void query_locks(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	bool locks = c->effects & SQL_LOCKS_ROWS;
	for (uint32_t i = 0; i < c->n; i++)
		locks |= c->part[i].kind == SQL_LOCK;
	lua_pushboolean(L, locks);
}

static void query_functions(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	int n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < c->n; i++)
		for (char **f = c->part[i].functions; f && *f; f++) {
			lua_pushstring(L, *f);
			lua_rawseti(L, -2, ++n);
		}
}

static bool is_relation(const char *touched)
{
	return *touched == FACTS_READ || *touched == FACTS_WRITE;
}

static void query_relations(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	int n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < c->n; i++)
		for (char **t = c->part[i].touched; t && *t; t++) {
			if (!is_relation(*t))
				continue;
			lua_pushstring(L, *t + 1);
			lua_rawseti(L, -2, ++n);
		}
}

static int query_touches(lua_State *L)
{
	const struct handle *h = handle_at(L, 1);
	const char *name = luaL_checkstring(L, 2), *dot = strrchr(name, '.');
	const struct policy_query *q = vm_of(L)->query;
	bool touches = false;
	if (!h || (h->is != HANDLE_QUERY && h->is != HANDLE_STATEMENT))
		return luaL_typerror(L, 1, "query");
	if (!q)
		return luaL_error(L, "there is no query now");
	for (uint32_t i = 0; i < q->class->n; i++)
		for (char **t = q->class->part[i].touched; t && *t; t++)
			touches |= is_relation(*t) && strcmp(*t + 1, dot ? dot + 1 : name) == 0;
	lua_pushboolean(L, touches);
	return 1;
}

static void query_user(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->user);
}

static void query_database(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->database);
}

static void query_application(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->application);
}

static void query_client_address(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_address(L, vm->query->client, vm->query->put_address);
}

static void query_in_transaction(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->in_transaction);
}

static void query_read_only(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->read_only);
}

static void query_wrote(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->wrote);
}

static void query_ms_since_write(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushnumber(L, vm->query->ms_since_write < 0 ? HUGE_VAL : (double)vm->query->ms_since_write);
}

static void query_class(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const char *workload = vm->query->workload;
	if (workload && *workload)
		lua_pushstring(L, workload);
	else
		lua_pushnil(L);
}

static void query_parameters(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushnumber(L, vm->query->n_parameters);
}

static void query_hint(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	if (vm->query->hint)
		lua_rawgeti(L, LUA_REGISTRYINDEX, REF_HINT);
	else
		lua_pushnil(L);
}

static void push_slice(lua_State *L, struct slice s)
{
	if (s.len)
		lua_pushlstring(L, (const char *)s.at, s.len);
	else
		lua_pushnil(L);
}

static void hint_route(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->wants_primary ? slice_text("primary") : vm->query->hint->route);
}

static void hint_node(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->node);
}

static void hint_class(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->class);
}

/* ---- client ---------------------------------------------------------------------------------------------------------------------- */

static void client_user(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->user);
}

static void client_database(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->database);
}

static void client_application(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->application);
}

static void client_client_address(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_address(L, vm->client->client, vm->client->put_address);
}

/* ---- cluster --------------------------------------------------------------------------------------------------------------------- */

static bool is_fit(const struct topo_cluster *c, size_t node_at)
{
	return pulse_is_fit(c->nodes[node_at].pulse);
}

static uint64_t fit_standbys(const struct topo_cluster *c)
{
	uint64_t mask = 0;
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++)
		if ((int)i != c->primary && is_fit(c, i))
			mask |= UINT64_C(1) << i;
	return mask;
}

/* The same all through a call, however long it takes. */
static uint64_t fit_in_call(const struct policy_vm *vm, size_t cluster_at)
{
	struct fit *f = &vm->fit[cluster_at];
	if (f->call != vm->call) {
		f->mask = fit_standbys(&vm->topo->clusters[cluster_at]);
		f->call = vm->call;
	}
	return f->mask;
}

static uint64_t view_mask(const struct policy_vm *vm, const struct handle *nodes)
{
	const struct topo_cluster *c = &vm->topo->clusters[nodes->cluster_at];
	uint64_t primary = c->primary >= 0 && c->primary < (int)POLICY_NODES_MAX ? UINT64_C(1) << c->primary : 0;
	if (nodes->kind == POLICY_NODES)
		return nodes->nodes;
	return fit_in_call(vm, nodes->cluster_at) | (nodes->kind == POLICY_ANY ? primary : 0);
}

static void cluster_name(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushstring(L, cluster_of(L, vm, h)->name);
}

static void cluster_primary(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_handle(L, h->cluster_at, HANDLE_OF_PRIMARY);
}

static void cluster_standbys(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_handle(L, h->cluster_at, HANDLE_OF_STANDBYS);
}

static void cluster_any(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_handle(L, h->cluster_at, HANDLE_OF_ANY);
}

static void cluster_nodes(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_handle(L, h->cluster_at, HANDLE_OF_ALL);
}

static int cluster_node(lua_State *L)
{
	const struct handle *h = check_handle(L, 1, HANDLE_CLUSTER, "cluster");
	const char *name = luaL_checkstring(L, 2);
	const struct topo_cluster *c = cluster_of(L, vm_of(L), h);
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++)
		if (strcmp(c->nodes[i].name, name) == 0) {
			push_handle(L, h->cluster_at, HANDLE_OF_NODES + (int)i);
			return 1;
		}
	lua_pushnil(L);
	return 1;
}

static int cluster_candidates(lua_State *L)
{
	const struct handle *h = check_handle(L, 1, HANDLE_CLUSTER, "cluster");
	luaL_checktype(L, 2, LUA_TFUNCTION);
	cluster_of(L, vm_of(L), h);
	uint64_t fit = fit_in_call(vm_of(L), h->cluster_at), chosen = 0;
	for (int i = 0; i < (int)POLICY_NODES_MAX; i++) {
		if (!(fit >> i & 1))
			continue;
		lua_pushvalue(L, 2);
		push_handle(L, h->cluster_at, HANDLE_OF_NODES + i);
		lua_call(L, 1, 1);
		chosen |= lua_toboolean(L, -1) ? UINT64_C(1) << i : 0;
		lua_pop(L, 1);
	}
	struct handle *list = view_new(L, HANDLE_NODES, sizeof *list);
	list->cluster_at = h->cluster_at;
	list->kind = POLICY_NODES;
	list->nodes = chosen;
	return 1;
}

/* ---- lists of nodes ----------------------------------------------------------------------------------------------------------------- */

static uint64_t mask_now(lua_State *L, const struct handle *h)
{
	struct policy_vm *vm = vm_of(L);
	cluster_of(L, vm, h);
	if (vm->is_planning && h->kind != POLICY_NODES)
		luaL_error(L,
		           "which nodes these are changes, and what plan() answers is kept: return the list, or look at it in route()");
	return view_mask(vm, h);
}

/* The N-th of them, from 1; nil behind the last. */
static void push_nth(lua_State *L, const struct handle *h, uint64_t mask, int n)
{
	for (int i = 0; i < (int)POLICY_NODES_MAX; i++)
		if (mask >> i & 1 && --n == 0) {
			push_handle(L, h->cluster_at, HANDLE_OF_NODES + i);
			return;
		}
	lua_pushnil(L);
}

static int next_node(lua_State *L)
{
	const struct handle *h = check_handle(L, 1, HANDLE_NODES, "list of nodes");
	int n = (int)lua_tointeger(L, 2) + 1;
	lua_pushinteger(L, n);
	push_nth(L, h, mask_now(L, h), n);
	return lua_isnil(L, -1) ? 1 : 2;
}

/* ipairs and pairs, which take lists of nodes, too.  Upvalue: Lua's own. */
int view_pairs(lua_State *L)
{
	const struct handle *h = handle_at(L, 1);
	if (h && h->is == HANDLE_NODES) {
		mask_now(L, h);
		lua_pushcfunction(L, next_node);
		lua_pushvalue(L, 1);
		lua_pushinteger(L, 0);
		return 3;
	}
	lua_settop(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 1, 3);
	return 3;
}

static int nodes_index(lua_State *L)
{
	const struct handle *h = handle_at(L, 1);
	if (lua_type(L, 2) != LUA_TNUMBER)
		return luaL_error(L, "a list of nodes has numbers from 1 on, and nothing else");
	push_nth(L, h, mask_now(L, h), (int)lua_tointeger(L, 2));
	return 1;
}

static int nodes_len(lua_State *L)
{
	lua_pushinteger(L, __builtin_popcountll(mask_now(L, handle_at(L, 1))));
	return 1;
}

/* ---- node ------------------------------------------------------------------------------------------------------------------------------ */

/* NULL: it is the primary, and nobody is. */
static const struct topo_node *node_of(lua_State *L, const struct policy_vm *vm, const struct handle *h)
{
	const struct topo_cluster *c = cluster_of(L, vm, h);
	int at = h->node_at == NODE_PRIMARY ? c->primary : h->node_at;
	if (h->node_at == NODE_PRIMARY && vm->is_planning)
		luaL_error(L, "who is the primary changes, and what plan() answers is kept: ask in route()");
	if (h->node_at != NODE_PRIMARY && (size_t)at >= c->n_nodes)
		luaL_error(L, "this node is gone");
	return at < 0 ? NULL : &c->nodes[at];
}

/* The node that H is, or return having pushed nil. */
#define NODE_OR_NIL(n)                             \
	const struct topo_node *n = node_of(L, vm, h); \
	if (!n) {                                      \
		lua_pushnil(L);                            \
		return;                                    \
	}

static void node_name(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, n->name);
}

static void node_host(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, n->host);
}

static void node_port(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushinteger(L, n->port);
}

static void node_role(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, n == topo_primary(vm->topo, h->cluster_at) ? "primary" : n->in_recovery ? "standby" : "unknown");
}

static void node_status(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, n->is_reachable ? "up" : "down");
}

static void node_weight(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushnumber(L, n->weight);
}

static void node_is_fit(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushboolean(L, pulse_is_fit(n->pulse));
}

static void node_timeline(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushnumber(L, (double)pulse_timeline(n->pulse));
}

static void node_replay_lsn(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushnumber(L, (double)pulse_replayed(n->pulse));
}

/* What is not known is too much for whoever compares. */
static void push_measure(lua_State *L, uint64_t value, double unit)
{
	lua_pushnumber(L, value == PULSE_UNKNOWN ? HUGE_VAL : (double)value / unit);
}

static void node_lag_bytes(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	push_measure(L, pulse_lag_bytes(n->pulse), 1);
}

static void node_lag_ms(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	push_measure(L, pulse_lag_us(n->pulse), 1000);
}

static void node_latency_us(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	push_measure(L, pulse_latency_us(n->pulse), 1);
}

static void node_in_flight(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushnumber(L, pulse_in_flight(n->pulse));
}

static const struct topo_node *of_pair(lua_State *L, int arg)
{
	return node_of(L, vm_of(L), handle_at(L, arg));
}

/* The primary is the same as the node that is the primary. */
static int node_equal(lua_State *L)
{
	const struct topo_node *one = of_pair(L, 1);
	lua_pushboolean(L, one && one == of_pair(L, 2));
	return 1;
}

/* ---- classes -------------------------------------------------------------------------------------------------------------------------- */

#define QUERY_FIELD(n, type, when, ...) { #n, when, query_##n, NULL },
#define QUERY_METHOD(n, parameters, returns, when, ...) { #n, when, NULL, query_##n },
#define HINT_FIELD(n, type, when, ...) { #n, when, hint_##n, NULL },
#define CLIENT_FIELD(n, type, when, ...) { #n, when, client_##n, NULL },
#define CLUSTER_FIELD(n, type, when, ...) { #n, when, cluster_##n, NULL },
#define CLUSTER_METHOD(n, parameters, returns, when, ...) { #n, when, NULL, cluster_##n },
#define NODE_FIELD(n, type, when, ...) { #n, when, node_##n, NULL },
#define NO_METHOD(...)
static const struct field query_fields[] = { POLICY_STATEMENT(QUERY_FIELD, QUERY_METHOD) POLICY_QUERY(QUERY_FIELD, NO_METHOD) };
static const struct field hint_fields[] = { POLICY_HINT(HINT_FIELD, NO_METHOD) };
static const struct field client_fields[] = { POLICY_CLIENT(CLIENT_FIELD, NO_METHOD) };
static const struct field cluster_fields[] = { POLICY_CLUSTER(CLUSTER_FIELD, CLUSTER_METHOD) };
static const struct field node_fields[] = { POLICY_NODE(NODE_FIELD, NO_METHOD) };

static const struct class
{
	const char *name;
	const struct field *fields;
	size_t n_fields;
	lua_CFunction index, len, equal; /* NULL: by its fields; none */
} classes[] = {
	[HANDLE_QUERY] = { "query", query_fields, ARRAY_LEN(query_fields), NULL, NULL, NULL },
	[HANDLE_STATEMENT] = { "statement", query_fields, ARRAY_LEN(query_fields), NULL, NULL, NULL },
	[HANDLE_HINT] = { "hint", hint_fields, ARRAY_LEN(hint_fields), NULL, NULL, NULL },
	[HANDLE_CLIENT] = { "client", client_fields, ARRAY_LEN(client_fields), NULL, NULL, NULL },
	[HANDLE_CLUSTER] = { "cluster", cluster_fields, ARRAY_LEN(cluster_fields), NULL, NULL, NULL },
	[HANDLE_NODE] = { "node", node_fields, ARRAY_LEN(node_fields), NULL, NULL, node_equal },
	[HANDLE_NODES] = { "list of nodes", NULL, 0, nodes_index, nodes_len, NULL },
	[HANDLE_DECISION] = { "decision", NULL, 0, NULL, NULL, NULL },
};

static struct field_slot *slot_of(struct policy_vm *vm, enum handle_is is, const char *key)
{
	struct field_slot *slots = vm->fields + (size_t)is * FIELD_SLOTS;
	size_t at = (uintptr_t)key * 0x9E3779B97F4A7C15u >> 58;
	while (slots[at].key && slots[at].key != key)
		at = (at + 1) % FIELD_SLOTS;
	return &slots[at];
}

static bool is_there(const struct policy_vm *vm, enum handle_is is)
{
	switch (is) {
	case HANDLE_QUERY:
		return vm->query && !vm->is_planning;
	case HANDLE_STATEMENT:
		return vm->query && vm->is_planning;
	case HANDLE_HINT:
		return vm->query && vm->query->hint;
	case HANDLE_CLIENT:
		return vm->client != NULL;
	default:
		return true;
	}
}

static int refuse_field(lua_State *L, const struct handle *h)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
	return luaL_error(L, "a %s has no field %s", classes[h->is].name, name);
}

static int on_index(lua_State *L)
{
	struct policy_vm *vm = vm_of(L);
	const struct handle *h = lua_touserdata(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
	const struct field *f = key ? slot_of(vm, h->is, key)->field : NULL;
	if (UNLIKELY(!f))
		return refuse_field(L, h);
	if (UNLIKELY(!is_there(vm, h->is)))
		return luaL_error(L, "this %s is of a call that is over", classes[h->is].name);
	if (UNLIKELY(vm->is_planning && f->when == NOW))
		return luaL_error(L, "%s changes, and what plan() answers is kept: ask for it in route()", f->name);
	if (f->get)
		f->get(L, vm, h);
	else
		lua_rawgeti(L, lua_upvalueindex(1), (int)(f - classes[h->is].fields));
	return 1;
}

static int on_newindex(lua_State *L)
{
	return luaL_error(L, "a %s cannot be changed", classes[handle_at(L, 1)->is].name);
}

static int on_tostring(lua_State *L)
{
	lua_pushstring(L, classes[handle_at(L, 1)->is].name);
	return 1;
}

/* The function that answers IS's fields; its upvalue holds their methods, and the names, so that these keep their addresses. */
static void push_index(lua_State *L, enum handle_is is)
{
	const struct class *c = &classes[is];
	lua_newtable(L);
	for (size_t i = 0; i < c->n_fields; i++) {
		lua_pushstring(L, c->fields[i].name);
		struct field_slot *slot = slot_of(vm_of(L), is, lua_tostring(L, -1));
		*slot = (struct field_slot){ lua_tostring(L, -1), &c->fields[i] };
		lua_rawseti(L, -2, (int)i + 1000);
		if (!c->fields[i].method)
			continue;
		lua_pushcfunction(L, c->fields[i].method);
		lua_rawseti(L, -2, (int)i);
	}
	lua_pushcclosure(L, c->index ? c->index : on_index, 1);
}

static void set_function(lua_State *L, const char *name, lua_CFunction fn)
{
	if (!fn)
		return;
	lua_pushcfunction(L, fn);
	lua_setfield(L, -2, name);
}

static void open_class(lua_State *L, enum handle_is is)
{
	lua_newtable(L);
	push_index(L, is);
	lua_setfield(L, -2, "__index");
	set_function(L, "__newindex", on_newindex);
	set_function(L, "__tostring", on_tostring);
	set_function(L, "__len", classes[is].len);
	set_function(L, "__eq", classes[is].equal);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_CLASSES + (int)is);
}

/* ---- objects ----------------------------------------------------------------------------------------------------------------------------- */

static struct handle *keep_handle(lua_State *L, size_t cluster_at, int at, enum handle_is is)
{
	struct handle *h = view_new(L, is, sizeof *h);
	h->cluster_at = cluster_at;
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_HANDLES + (int)cluster_at * HANDLES_PER_CLUSTER + at);
	return h;
}

static void open_cluster(lua_State *L, const struct conf_cluster *c, size_t at)
{
	int n = c->n_nodes < POLICY_NODES_MAX ? (int)c->n_nodes : (int)POLICY_NODES_MAX;
	keep_handle(L, at, HANDLE_OF_CLUSTER, HANDLE_CLUSTER);
	keep_handle(L, at, HANDLE_OF_PRIMARY, HANDLE_NODE)->node_at = NODE_PRIMARY;
	keep_handle(L, at, HANDLE_OF_STANDBYS, HANDLE_NODES)->kind = POLICY_STANDBYS;
	keep_handle(L, at, HANDLE_OF_ANY, HANDLE_NODES)->kind = POLICY_ANY;
	struct handle *all = keep_handle(L, at, HANDLE_OF_ALL, HANDLE_NODES);
	all->kind = POLICY_NODES;
	all->nodes = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
	for (int i = 0; i < n; i++)
		keep_handle(L, at, HANDLE_OF_NODES + i, HANDLE_NODE)->node_at = i;
}

static void keep_single(lua_State *L, enum handle_is is, int ref)
{
	view_new(L, is, sizeof(struct handle));
	lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

void view_open(lua_State *L, const struct conf *conf)
{
	for (int is = 0; is < HANDLE_KINDS; is++)
		open_class(L, (enum handle_is)is);
	for (size_t i = 0; i < conf->n_clusters; i++)
		open_cluster(L, &conf->clusters[i], i);
	keep_single(L, HANDLE_QUERY, REF_QUERY);
	keep_single(L, HANDLE_STATEMENT, REF_STATEMENT);
	keep_single(L, HANDLE_CLIENT, REF_CLIENT);
	keep_single(L, HANDLE_HINT, REF_HINT);
	view_new(L, HANDLE_NODES, sizeof(struct handle));
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_CHOICE);
	view_push_cluster(L, vm_of(L)->own_at);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_CLUSTER);
}
