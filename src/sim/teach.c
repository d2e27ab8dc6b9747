/*
 * teach — methods that say what the world of a test answers: its programs, its servers.
 *
 * Always: an error in a function of the test's fails the case, whoever has called it.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "methods.h"
#include "priv.h"

#define COLUMNS_MAX 16

/* The function returns status and output; an error in it fails the case, at the end of the turn. */
bool teach_on_program(void *arg, const char *line, int *status, char *said, size_t room)
{
	struct script *sc = arg;
	lua_State *L = sc->L;
	int top = lua_gettop(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
	for (int i = (int)lua_objlen(L, -1); i >= 1; i--) {
		lua_rawgeti(L, top + 1, i);
		lua_rawgeti(L, -1, 2);
		lua_getfield(L, -2, "matches");
		lua_pushstring(L, line);
		lua_rawgeti(L, top + 2, 1);
		if (lua_pcall(L, 2, 1, 0) != 0 || !lua_toboolean(L, -1)) {
			lua_settop(L, top + 1);
			continue;
		}
		lua_pop(L, 1);
		lua_pushstring(L, line);
		if (lua_pcall(L, 1, 2, 0) != 0) {
			sim_violate(sc->sim, "a program of the test's: %s", lua_tostring(L, -1));
			lua_settop(L, top);
			return false;
		}
		*status = lua_isnumber(L, -2) ? (int)lua_tointeger(L, -2) : 0;
		snprintf(said, room, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "");
		lua_settop(L, top);
		return true;
	}
	lua_settop(L, top);
	return false;
}

/* sim:program(pattern, fn): a program that hooks run, and what it does here. */
int m_program(lua_State *L)
{
	struct script *sc = script_of(L);
	sim_at(L);
	luaL_checkstring(L, 2);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_settop(L, 3);
	lua_createtable(L, 2, 1);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i + 1);
		lua_rawseti(L, -2, i);
	}
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "find");
	lua_setfield(L, 4, "matches");
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
	lua_pushvalue(L, 4);
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
	return 0;
}

struct rows {
	unsigned n_columns;
	const char *names[COLUMNS_MAX];
	unsigned types[COLUMNS_MAX];
};

static unsigned type_of(lua_State *L, int index)
{
	enum { TYPE_BOOL = 16, TYPE_TEXT = 25, TYPE_FLOAT8 = 701 };
	return lua_type(L, index) == LUA_TBOOLEAN ? TYPE_BOOL : lua_type(L, index) == LUA_TNUMBER ? TYPE_FLOAT8 : TYPE_TEXT;
}

/* The columns of all rows: those that any of them has. */
static void read_columns(lua_State *L, int rows, struct rows *out)
{
	for (int i = 1, n = (int)lua_objlen(L, rows); i <= n; i++) {
		lua_rawgeti(L, rows, i);
		luaL_argcheck(L, lua_istable(L, -1), rows, "a list of rows, each a table of values by columns' names");
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			unsigned at = 0;
			luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, rows, "columns have names");
			while (at < out->n_columns && strcmp(out->names[at], lua_tostring(L, -2)) != 0)
				at++;
			luaL_argcheck(L, at < COLUMNS_MAX, rows, "too many columns");
			out->n_columns += at == out->n_columns;
			out->names[at] = lua_tostring(L, -2); /* the row's key holds it */
			out->types[at] = type_of(L, -1);
		}
		lua_pop(L, 1);
	}
}

int m_answers(lua_State *L)
{
	struct sim *s = sim_at(L);
	struct rows r = { 0 };
	int node = lua_isnil(L, 2) ? SIM_ALL : node_at(L, s, 2);
	const char *sql = luaL_checkstring(L, 3);
	luaL_checktype(L, 4, LUA_TTABLE);
	lua_settop(L, 4);
	read_columns(L, 4, &r);
	unsigned n = (unsigned)lua_objlen(L, 4);
	const char **values = lua_newuserdata(L, ((size_t)n * r.n_columns + 1) * sizeof *values);
	luaL_checkstack(L, (int)(n * r.n_columns) + 10, "too many rows");
	for (unsigned i = 0; i < n; i++)
		for (unsigned c = 0; c < r.n_columns; c++) {
			lua_rawgeti(L, 4, (int)i + 1);
			lua_getfield(L, -1, r.names[c]); /* both stay, for the text's sake */
			values[i * r.n_columns + c] = lua_isboolean(L, -1) ? lua_toboolean(L, -1) ? "t" : "f" : lua_tostring(L, -1);
			lua_replace(L, -2);
		}
	const struct world_reply reply = { r.n_columns, n, r.names, r.types, values };
	if (!sim_teach(s, node, sql, &reply))
		return luaL_error(L, "too many answers");
	return 0;
}
