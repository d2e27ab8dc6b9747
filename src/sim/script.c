/*
 * script — a file of tests in Lua: its cases, and one of them run; its methods are methods.h's, with lua/lunapool/test.lua over them.
 *
 * Tests are the operator's own programs: they have all of Lua's library.  The policy that they test has not: it runs in the VMs that it always has.
 *
 * Always: a simulation lives as long as its case runs;  an error in a case, also one that a violation raises, ends that case only.
 */
#include "script.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "methods.h"
#include "policy/control.h"

#define CASES_MAX 1000u
#define NODES_MAX 32
#define CLUSTERS_MAX ((int)SIM_CLUSTERS_MAX)
#define ROUTES 16 /* where several may take it, chance chooses */

/* ---- what only stands behind others --------------------------------------------------------------------------------------------------- */

static int n_case(lua_State *L)
{
	struct script *sc = script_of(L);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (sc->sim || sc->n == CASES_MAX)
		return luaL_error(L, sc->sim ? "a case cannot begin another" : "too many cases");
	sc->cases = mem_grow(sc->cases, (sc->n + 1) * sizeof *sc->cases);
	sc->cases[sc->n].name = mem_text(luaL_checkstring(L, 1));
	lua_settop(L, 2);
	sc->cases[sc->n].ref = luaL_ref(L, LUA_REGISTRYINDEX);
	sc->n++;
	return 0;
}

static int n_amount(lua_State *L)
{
	double n = 0;
	const struct amount_unit *u = amount_read(luaL_checkstring(L, 1), &n);
	if (u)
		lua_pushnumber(L, n * (u->seconds + u->bytes));
	else
		lua_pushnil(L);
	return 1;
}

static void push_route(lua_State *L, const struct sim_route *r)
{
	lua_createtable(L, 0, 3);
	lua_pushstring(L, *r->node ? r->node : NULL);
	lua_setfield(L, -2, "node");
	lua_pushstring(L, *r->error ? r->error : NULL);
	lua_setfield(L, -2, "refused");
	lua_pushstring(L, r->story);
	lua_setfield(L, -2, "story");
}

/* database, user, sql -> what came of it, several times */
static int n_routes(lua_State *L)
{
	struct script *sc = script_of(L);
	const char *database = luaL_checkstring(L, 1), *user = luaL_checkstring(L, 2), *sql = luaL_checkstring(L, 3);
	if (!sc->sim || !sim_has_begun(sc->sim))
		return luaL_error(L, "there is no cluster");
	struct sim_route *all = lua_newuserdata(L, ROUTES * sizeof *all);
	if (!sim_route(sc->sim, database, user, sql, ROUTES, all))
		return luaL_error(L, "Lunapool does not run now");
	lua_createtable(L, ROUTES, 0);
	for (int i = 0; i < ROUTES; i++) {
		push_route(L, &all[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* The field of the table on top; the table holds the text.  NULL: there is none. */
static const char *text_in(lua_State *L, const char *field)
{
	lua_getfield(L, -1, field);
	const char *text = lua_isnil(L, -1) ? NULL : luaL_checkstring(L, -1);
	lua_pop(L, 1);
	return text;
}

/* { name, names, texts of their blocks, settings, policy, sync, is_quiet }, on top -> OUT, and its nodes behind NODES. */
static void read_cluster(lua_State *L, struct sim_node *nodes, size_t room, struct sim_conf *out)
{
	*out = (struct sim_conf){ .name = text_in(L, "name"),
		                      .nodes = nodes,
		                      .settings = text_in(L, "settings"),
		                      .policy = text_in(L, "policy"),
		                      .sync = text_in(L, "sync") };
	lua_getfield(L, -1, "is_quiet");
	out->is_quiet = lua_toboolean(L, -1);
	lua_getfield(L, -2, "names");
	lua_getfield(L, -3, "texts");
	out->n = lua_objlen(L, -2);
	if (out->n > room)
		luaL_error(L, "at most %d nodes", NODES_MAX);
	for (size_t i = 0; i < out->n; i++, lua_pop(L, 2)) {
		lua_rawgeti(L, -2, (int)i + 1);
		lua_rawgeti(L, -2, (int)i + 1);
		nodes[i] = (struct sim_node){ luaL_checkstring(L, -2), luaL_checkstring(L, -1) };
	}
	lua_pop(L, 3);
}

/* a list of clusters -> what was wrong, or nil */
static int n_begin(lua_State *L)
{
	struct script *sc = script_of(L);
	struct sim_node nodes[NODES_MAX];
	struct sim_conf confs[SIM_CLUSTERS_MAX];
	struct err err;
	size_t n = lua_objlen(L, 1), used = 0;
	lua_settop(L, 1);
	if (!sc->sim || sim_has_begun(sc->sim))
		return luaL_error(L, sc->sim ? "a case begins once" : "a simulation lives as long as its case");
	if (n == 0 || n > CLUSTERS_MAX)
		return luaL_error(L, "one to %d clusters", CLUSTERS_MAX);
	for (size_t i = 0; i < n; i++, lua_pop(L, 1)) { /* the tables hold the texts */
		lua_rawgeti(L, 1, (int)i + 1);
		read_cluster(L, nodes + used, NODES_MAX - used, &confs[i]);
		used += confs[i].n;
	}
	lua_pushstring(L, sim_begin(sc->sim, confs, n, &err) ? NULL : err.text);
	return 1;
}

/* path, a list of { cluster, primary, sync, is_quiet } -> what was wrong, or nil */
static int n_configured(lua_State *L)
{
	struct script *sc = script_of(L);
	struct sim_start starts[SIM_CLUSTERS_MAX + 1];
	struct err err;
	const char *path = luaL_checkstring(L, 1);
	size_t n = lua_objlen(L, 2);
	lua_settop(L, 2);
	if (!sc->sim || sim_has_begun(sc->sim))
		return luaL_error(L, sc->sim ? "a case begins once" : "a simulation lives as long as its case");
	if (n > ARRAY_LEN(starts))
		return luaL_error(L, "too many clusters");
	for (size_t i = 0; i < n; i++, lua_pop(L, 1)) {
		lua_rawgeti(L, 2, (int)i + 1);
		starts[i] =
		    (struct sim_start){ .cluster = text_in(L, "cluster"), .primary = text_in(L, "primary"), .sync = text_in(L, "sync") };
		lua_getfield(L, -1, "is_quiet");
		starts[i].is_quiet = lua_toboolean(L, -1);
		lua_pop(L, 1);
	}
	lua_pushstring(L, sim_begin_configured(sc->sim, path, starts, n, &err) ? NULL : err.text);
	return 1;
}

/* ---- the module ----------------------------------------------------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {
#define METHOD(name) { #name, m_##name },
	METHODS(METHOD){ NULL, NULL }
};

static int open_module(lua_State *L)
{
	static const luaL_Reg natives[] = { { "case", n_case },   { "amount", n_amount },         { "routes", n_routes },
		                                { "begin", n_begin }, { "configured", n_configured }, { NULL, NULL } };
	struct script *sc = script_of(L);
	struct slice text = policy_control_part("test");
	if (luaL_loadbuffer(L, (const char *)text.at, text.len, "@lunapool/test.lua") != 0)
		return lua_error(L);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_newtable(L);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "__index");
	sc->methods = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	luaL_register(L, NULL, natives);
	lua_pushstring(L, sc->path);
	lua_setfield(L, -2, "path");
	lua_pushstring(L, sc->conf); /* NULL is nil */
	lua_setfield(L, -2, "conf");
	lua_call(L, 2, 1);
	return 1;
}

static int load(lua_State *L)
{
	struct script *sc = lua_touserdata(L, 1);
	luaL_openlibs(L);
	lua_pushlightuserdata(L, sc);
	lua_setfield(L, LUA_REGISTRYINDEX, "lunapool.script");
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, open_module);
	lua_setfield(L, -2, "lunapool.test");
	if (luaL_loadfile(L, sc->path) != 0)
		return lua_error(L);
	lua_call(L, 0, 0);
	return 0;
}

static void say_why(lua_State *L, char *why, size_t room)
{
	const char *text = lua_tostring(L, -1);
	snprintf(why, room, "%s", text ? text : "an error was raised that is no text");
	lua_pop(L, 1);
}

struct script *script_load(const char *path, const char *conf, char *why, size_t room)
{
	struct script *sc = mem_alloc(sizeof *sc);
	sc->conf = conf;
	if (!realpath(path, sc->path)) {
		snprintf(why, room, "%s: cannot be read", path);
		mem_free(sc);
		return NULL;
	}
	sc->L = luaL_newstate();
	if (!sc->L)
		die("out of memory: a Lua state");
	if (lua_cpcall(sc->L, load, sc) == 0)
		return sc;
	say_why(sc->L, why, room);
	script_free(sc);
	return NULL;
}

void script_free(struct script *sc)
{
	if (!sc)
		return;
	lua_close(sc->L);
	for (size_t i = 0; i < sc->n; i++)
		mem_free(sc->cases[i].name);
	mem_free(sc->cases);
	mem_free(sc);
}

size_t script_cases(const struct script *sc)
{
	return sc->n;
}

const char *script_name(const struct script *sc, size_t at)
{
	return sc->cases[at].name;
}

bool script_run(struct script *sc, size_t at, uint64_t seed, char *why, size_t room, void (*trace)(void *arg, const char *line),
                void *arg)
{
	lua_State *L = sc->L;
	sc->sim = sim_new(seed);
	sim_on_program(sc->sim, teach_on_program, sc);
	sim_on_request(sc->sim, teach_on_request, sc);
	lua_newtable(L);
	sc->programs = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->cases[at].ref);
	lua_newtable(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->methods);
	lua_setmetatable(L, -2);
	bool is_good = lua_pcall(L, 1, 0, 0) == 0;
	if (!is_good)
		say_why(L, why, room);
	else if (sim_violation(sc->sim))
		snprintf(why, room, "violated: %s", sim_violation(sc->sim));
	is_good = is_good && !sim_violation(sc->sim);
	if (!is_good)
		sim_trace(sc->sim, trace, arg);
	sim_free(sc->sim);
	sc->sim = NULL;
	luaL_unref(L, LUA_REGISTRYINDEX, sc->programs);
	return is_good;
}
