/*
 * places — where a statement may run, as a script sees it: clusters, nodes, lists of nodes.
 *
 * An object is a cluster's index, and a node's, or which nodes a list means; what it shows is looked up in the call's own topology.
 * Which standbys are fit is settled when a call first asks, and stays so until it is over.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "priv.h"
#include "tbl/policy.h"

static const struct topo_cluster *cluster_of(lua_State *L, const struct policy_vm *vm, const struct handle *h)
{
	if (!vm->topo)
		luaL_error(L, "clusters can be looked at in a hook only");
	if (h->cluster_at >= vm->topo->n_clusters || h->cluster_at >= vm->n_clusters || !*vm->topo->clusters[h->cluster_at].name)
		luaL_error(L, "this cluster is gone");
	return &vm->topo->clusters[h->cluster_at];
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

static void cluster_epoch(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushnumber(L, (double)cluster_of(L, vm, h)->epoch);
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

int nodes_index(lua_State *L)
{
	const struct handle *h = handle_at(L, 1);
	if (lua_type(L, 2) != LUA_TNUMBER)
		return luaL_error(L, "a list of nodes has numbers from 1 on, and nothing else");
	push_nth(L, h, mask_now(L, h), (int)lua_tointeger(L, 2));
	return 1;
}

int nodes_len(lua_State *L)
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
	if (h->node_at != NODE_PRIMARY && ((size_t)at >= c->n_nodes || !*c->nodes[at].name))
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
	lua_pushstring(L, n->is_foreign                                ? "foreign"
	                  : n == topo_primary(vm->topo, h->cluster_at) ? "primary"
	                  : n->in_recovery                             ? "standby"
	                                                               : "unknown");
}

static void node_status(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, !n->is_reachable ? "down" : n->is_drained || n->is_draining ? "draining" : "up");
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

static void node_synchronous(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	lua_pushstring(L, pulse_sync(n->pulse)); /* NULL is nil */
}

/* By name: a control VM may have its own order.  OF: its cluster. */
static const struct conf_node *conf_of(const struct policy_vm *vm, const struct handle *h, const struct topo_node *n,
                                       const struct conf_cluster **of)
{
	const char *cluster = vm->topo->clusters[h->cluster_at].name;
	for (size_t i = 0; i < vm->topo->conf->n_clusters; i++) {
		const struct conf_cluster *c = &vm->topo->conf->clusters[i];
		*of = c;
		for (size_t k = 0; strcmp(c->name, cluster) == 0 && k < c->n_nodes; k++)
			if (strcmp(c->nodes[k].name, n->name) == 0)
				return &c->nodes[k];
	}
	return NULL;
}

#define CONF_OR_NIL(c)                                             \
	const struct conf_cluster *of;                                 \
	const struct topo_node *n = node_of(L, vm, h);                 \
	const struct conf_node *c = n ? conf_of(vm, h, n, &of) : NULL; \
	if (!c) {                                                      \
		lua_pushnil(L);                                            \
		return;                                                    \
	}

static void node_priority(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	CONF_OR_NIL(c);
	lua_pushnumber(L, (double)c->priority);
}

static void node_tags(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	NODE_OR_NIL(n);
	push_handle(L, h->cluster_at, HANDLE_OF_TAGS + (int)(n - vm->topo->clusters[h->cluster_at].nodes));
}

/* "dc=a": the key dc has the value a; "spare": the key is there. */
static void push_tag(lua_State *L, const struct conf_list *tags, const char *key, size_t len)
{
	for (size_t i = 0; i < tags->n; i++) {
		const char *tag = tags->at[i];
		if (strncmp(tag, key, len) != 0 || (tag[len] != '=' && tag[len]))
			continue;
		if (tag[len])
			lua_pushstring(L, tag + len + 1);
		else
			lua_pushboolean(L, true);
		return;
	}
	lua_pushnil(L);
}

int tags_index(lua_State *L)
{
	size_t len;
	struct policy_vm *vm = vm_of(L);
	const struct handle *h = handle_at(L, 1);
	const char *key = luaL_checklstring(L, 2, &len);
	const struct conf_cluster *of;
	const struct topo_node *n = node_of(L, vm, h);
	const struct conf_node *c = n ? conf_of(vm, h, n, &of) : NULL;
	if (c)
		push_tag(L, &c->tags, key, len);
	else
		lua_pushnil(L);
	return 1;
}

static void node_data_dir(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	CONF_OR_NIL(c);
	lua_pushstring(L, c->data_dir);
}

static void node_config_dir(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	CONF_OR_NIL(c);
	lua_pushstring(L, c->config_dir);
}

static void node_bin_dir(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	CONF_OR_NIL(c);
	lua_pushstring(L, c->bin_dir);
}

/* key='value', as libpq reads it. */
static void add_pair(luaL_Buffer *b, const char *key, const char *value)
{
	luaL_addstring(b, key);
	luaL_addstring(b, "='");
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			luaL_addchar(b, '\\');
		luaL_addchar(b, *value);
	}
	luaL_addstring(b, "' ");
}

static void node_conninfo(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	char port[16];
	luaL_Buffer b;
	CONF_OR_NIL(c);
	luaL_buffinit(L, &b);
	add_pair(&b, "host", c->host);
	add_pair(&b, "user", of->service_user);
	add_pair(&b, "dbname", of->service_dbname);
	snprintf(port, sizeof port, "port=%lld", (long long)c->port);
	luaL_addstring(&b, port);
	luaL_pushresult(&b);
}

static const struct topo_node *of_pair(lua_State *L, int arg)
{
	return node_of(L, vm_of(L), handle_at(L, arg));
}

/* The primary is the same as the node that is the primary. */
int node_equal(lua_State *L)
{
	const struct topo_node *one = of_pair(L, 1);
	lua_pushboolean(L, one && one == of_pair(L, 2));
	return 1;
}

#define CLUSTER_FIELD(n, type, when, ...) { #n, when, cluster_##n, NULL },
#define CLUSTER_METHOD(n, parameters, returns, when, ...) { #n, when, NULL, cluster_##n },
#define NODE_FIELD(n, type, when, ...) { #n, when, node_##n, NULL },
#define NO_METHOD(...)
static const struct field of_cluster[] = { POLICY_CLUSTER(CLUSTER_FIELD, CLUSTER_METHOD) };
static const struct field of_node[] = { POLICY_NODE(NODE_FIELD, NO_METHOD) };
const struct fields cluster_fields = { of_cluster, ARRAY_LEN(of_cluster) };
const struct fields node_fields = { of_node, ARRAY_LEN(of_node) };
