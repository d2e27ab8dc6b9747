/*
 * view — the objects of a script: userdata whose fields C answers.
 *
 *   asked.c   query, statement, hint, client        places.c   clusters, nodes, lists of nodes
 *
 * A name of a field is a text that Lua keeps once, so it is recognised by its address: each class has a small table from addresses to
 * getters, made with the VM.  The objects themselves are made with the VM, too, and a call makes none.  What belongs to a call is an error in
 * any other.
 *
 * The fields that are asked for most stand in a table in front of that, where Lua looks by itself: a cluster's places for good, and of the
 * query what the call changes of it.  No script ever gets hold of that table.
 */
#include <string.h>

#include "priv.h"
#include "sql/class.h"

/* ---- handles ------------------------------------------------------------------------------------------------------------------ */

const struct handle *handle_at(lua_State *L, int index)
{
	return lua_touserdata(L, index); /* of others there are none: no script has light userdata */
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

const struct handle *check_handle(lua_State *L, int arg, enum handle_is is, const char *name)
{
	const struct handle *h = handle_at(L, arg);
	if (!h || h->is != is)
		luaL_typerror(L, arg, name);
	return h;
}

void push_handle(lua_State *L, size_t cluster_at, int at)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_HANDLES + (int)cluster_at * HANDLES_PER_CLUSTER + at);
}

void view_push_cluster(lua_State *L, size_t cluster_at)
{
	push_handle(L, cluster_at, HANDLE_OF_CLUSTER);
}

/* ---- classes ------------------------------------------------------------------------------------------------------------------- */

static const struct fields no_fields;
static const struct class
{
	const char *name;
	const struct fields *fields;
	lua_CFunction index, len, equal; /* NULL: by its fields; none */
} classes[] = {
	[HANDLE_QUERY] = { "query", &query_fields, NULL, NULL, NULL },
	[HANDLE_STATEMENT] = { "statement", &query_fields, NULL, NULL, NULL },
	[HANDLE_HINT] = { "hint", &hint_fields, NULL, NULL, NULL },
	[HANDLE_CLIENT] = { "client", &client_fields, NULL, NULL, NULL },
	[HANDLE_CLUSTER] = { "cluster", &cluster_fields, NULL, NULL, NULL },
	[HANDLE_NODE] = { "node", &node_fields, NULL, NULL, node_equal },
	[HANDLE_NODES] = { "list of nodes", &no_fields, nodes_index, nodes_len, NULL },
	[HANDLE_DECISION] = { "decision", &no_fields, NULL, NULL, NULL },
	[HANDLE_TAGS] = { "set of tags", &no_fields, tags_index, NULL, NULL },
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
	const char *key = lua_tolstring(L, 2, NULL);
	if (!h) /* Lua comes by way of the table in front */
		h = lua_touserdata(L, lua_upvalueindex(2));
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
		lua_rawgeti(L, lua_upvalueindex(1), (int)(f - classes[h->is].fields->at));
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
	for (size_t i = 0; i < c->fields->n; i++) {
		lua_pushstring(L, c->fields->at[i].name);
		struct field_slot *slot = slot_of(vm_of(L), is, lua_tostring(L, -1));
		*slot = (struct field_slot){ lua_tostring(L, -1), &c->fields->at[i] };
		lua_rawseti(L, -2, (int)i + 1000);
		if (!c->fields->at[i].method)
			continue;
		lua_pushcfunction(L, c->fields->at[i].method);
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

/* ---- tables in front --------------------------------------------------------------------------------------------------------------------- */

static void copy_fields(lua_State *L, int from, int to)
{
	for (lua_pushnil(L); lua_next(L, from);) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, to);
	}
}

/* The object on top gets one, which is pushed. */
static void push_front(lua_State *L, enum handle_is is)
{
	int object = lua_gettop(L), class = object + 1, own = object + 2, front = object + 3;
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_CLASSES + (int)is);
	lua_newtable(L);
	copy_fields(L, class, own);
	lua_newtable(L);
	lua_pushvalue(L, front);
	lua_setfield(L, own, "__index");
	lua_newtable(L);
	lua_getfield(L, class, "__index");
	lua_getupvalue(L, -1, 1);
	lua_remove(L, -2);
	lua_pushvalue(L, object);
	lua_pushcclosure(L, on_index, 2);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, front);
	lua_pushvalue(L, own);
	lua_setmetatable(L, object);
	lua_replace(L, class);
	lua_settop(L, class);
}

static void open_front_of_cluster(lua_State *L, size_t at)
{
	static const struct {
		const char *name;
		int at;
	} places[] = {
		{ "primary", HANDLE_OF_PRIMARY }, { "standbys", HANDLE_OF_STANDBYS }, { "any", HANDLE_OF_ANY }, { "nodes", HANDLE_OF_ALL }
	};
	push_handle(L, at, HANDLE_OF_CLUSTER);
	push_front(L, HANDLE_CLUSTER);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		push_handle(L, at, places[i].at);
		lua_setfield(L, -2, places[i].name);
	}
	lua_pop(L, 2);
}

static void open_front_of_query(lua_State *L)
{
	static const char *const keys[SHOWN_FIELDS] = {
		[SHOWN_IS_READ] = "is_read", [SHOWN_IN_TRANSACTION] = "in_transaction", [SHOWN_READ_ONLY] = "read_only"
	};
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_QUERY);
	push_front(L, HANDLE_QUERY);
	for (int i = 0; i < SHOWN_FIELDS; i++) {
		lua_pushboolean(L, 0);
		lua_setfield(L, -2, keys[i]); /* there is room for it from now on */
		lua_pushstring(L, keys[i]);
		lua_rawseti(L, LUA_REGISTRYINDEX, REF_KEY_SHOWN + i);
	}
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_SHOWN);
	lua_pop(L, 1);
	vm_of(L)->is_shown = true; /* none of them, but none is nil */
}

void view_show(struct policy_vm *vm, const struct policy_query *q)
{
	bool fields[SHOWN_FIELDS] = { q && q->class->is_read, q && q->in_transaction, q && q->read_only };
	if (LIKELY(vm->is_shown == (q != NULL) && memcmp(vm->shown, fields, sizeof fields) == 0))
		return;
	for (int i = 0; i < SHOWN_FIELDS; i++) {
		lua_pushvalue(vm->L, REF_KEY_SHOWN + i);
		if (q)
			lua_pushboolean(vm->L, fields[i]);
		else
			lua_pushnil(vm->L);
		lua_rawset(vm->L, REF_SHOWN);
	}
	vm->is_shown = q != NULL;
	memcpy(vm->shown, fields, sizeof fields);
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
	for (int i = 0; i < n; i++) {
		keep_handle(L, at, HANDLE_OF_NODES + i, HANDLE_NODE)->node_at = i;
		keep_handle(L, at, HANDLE_OF_TAGS + i, HANDLE_TAGS)->node_at = i;
	}
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
	for (size_t i = 0; i < conf->n_clusters; i++)
		open_front_of_cluster(L, i);
	open_front_of_query(L);
}
