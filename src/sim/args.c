/*
 * args — what methods of a simulation are given: the simulation itself, a node, a time, an amount.
 *
 * Always: what is wrong raises an error in the test, at its line.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "methods.h"
#include "priv.h"

struct script *script_of(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "lunapool.script");
	struct script *sc = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return sc;
}

struct sim *sim_at(lua_State *L)
{
	struct script *sc = script_of(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	if (!sc->sim)
		luaL_error(L, "a simulation lives as long as its case");
	if (!sim_has_begun(sc->sim))
		luaL_error(L, "begin with sim:cluster { primary = …, standbys = { … } }");
	return sc->sim;
}

int node_at(lua_State *L, const struct sim *s, int arg)
{
	int node = sim_node_named(s, luaL_checkstring(L, arg));
	luaL_argcheck(L, node >= 0, arg, "there is no such node");
	return node;
}

int cluster_at(lua_State *L, const struct sim *s, int arg)
{
	int cluster = lua_isnoneornil(L, arg) ? 0 : sim_cluster_named(s, luaL_checkstring(L, arg));
	luaL_argcheck(L, cluster >= 0, arg, "there is no such cluster");
	return cluster;
}

static const struct amount_unit units[] = { { "us", 1e-6, 0 }, { "ms", 1e-3, 0 },        { "s", 1, 0 },
	                                        { "min", 60, 0 },  { "h", 3600, 0 },         { "B", 0, 1 },
	                                        { "kB", 0, 1024 }, { "MB", 0, 1024 * 1024 }, { "GB", 0, 1024. * 1024 * 1024 } };

const struct amount_unit *amount_read(const char *text, double *n)
{
	char *end;
	*n = strtod(text, &end);
	for (size_t i = 0; end > text && *n >= 0 && i < ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].name) == 0)
			return &units[i];
	return NULL;
}

uint64_t us_at(lua_State *L, int arg)
{
	double n = 0;
	const struct amount_unit *u = lua_type(L, arg) == LUA_TSTRING ? amount_read(lua_tostring(L, arg), &n) : NULL;
	double seconds = lua_type(L, arg) == LUA_TNUMBER ? lua_tonumber(L, arg) : u && u->seconds > 0 ? n * u->seconds : -1;
	luaL_argcheck(L, seconds >= 0 && seconds <= 1e7, arg, "a time, as \"500ms\", \"10s\", or a number of seconds");
	return (uint64_t)(seconds * (double)US_PER_S);
}
