/*
 * teach — methods that say what the world of a test answers: its programs, its servers.
 *
 * Always: an error in a function of the test's fails the case, whoever has called it.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "hooks/stage.h"
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

/* Of a pattern and a function, which are the second and third argument: { pattern, function, matches = string.find }. */
static void push_lesson(lua_State *L)
{
	lua_createtable(L, 2, 1);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i + 1);
		lua_rawseti(L, -2, i);
	}
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "find");
	lua_setfield(L, 4, "matches");
}

/* The last one whose pattern fits: it and the request are on the stack.  False: none does. */
static bool push_answerer(lua_State *L, const struct script *sc, const struct stage_request *q)
{
	int top = lua_gettop(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
	lua_getfield(L, -1, "http");
	for (int i = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0; i >= 1; i--) {
		lua_rawgeti(L, top + 2, i);
		lua_rawgeti(L, -1, 2);
		lua_getfield(L, -2, "matches");
		lua_pushstring(L, q->url);
		lua_rawgeti(L, top + 3, 1);
		if (lua_pcall(L, 2, 1, 0) == 0 && lua_toboolean(L, -1)) {
			lua_pop(L, 1);
			return true;
		}
		lua_settop(L, top + 2);
	}
	return false;
}

static void push_request(lua_State *L, const struct stage_request *q)
{
	lua_createtable(L, 0, 3);
	lua_pushstring(L, q->method);
	lua_setfield(L, -2, "method");
	lua_pushstring(L, q->url);
	lua_setfield(L, -2, "url");
	if (q->body) {
		lua_pushlstring(L, q->body, q->body_len);
		lua_setfield(L, -2, "body");
	}
}

/* The function returns a status and a body, or nil and why there is no answer; behind them, how long that takes. */
uint64_t teach_on_request(void *arg, const struct stage_request *q, struct stage_reply *out)
{
	struct script *sc = arg;
	lua_State *L = sc->L;
	int top = lua_gettop(L);
	uint64_t us = 0;
	snprintf(out->why, sizeof out->why, "%s", "nobody answers there: a test says who does with sim:http()");
	if (push_answerer(L, sc, q)) {
		push_request(L, q);
		if (lua_pcall(L, 1, 3, 0) != 0) {
			sim_violate(sc->sim, "an answer of the test's: %s", lua_tostring(L, -1));
		} else if (lua_isnumber(L, -3)) {
			out->status = (long)lua_tointeger(L, -3);
			lua_pushvalue(L, -2);
			lua_setfield(L, LUA_REGISTRYINDEX, "lunapool.body"); /* it holds the text until the next answer */
			out->body = lua_isnil(L, -2) ? NULL : lua_tolstring(L, -2, &out->body_len);
		} else {
			snprintf(out->why, sizeof out->why, "%s", lua_isstring(L, -2) ? lua_tostring(L, -2) : "connection refused");
		}
		us = lua_isnumber(L, -1) ? (uint64_t)(lua_tonumber(L, -1) * (double)US_PER_S) : 0;
	}
	lua_settop(L, top);
	return us;
}

/* (pattern, fn) become a lesson, at 4, below the table of what programs do. */
static void take_lesson(lua_State *L)
{
	struct script *sc = script_of(L);
	sim_at(L);
	luaL_checkstring(L, 2);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_settop(L, 3);
	push_lesson(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
}

/* It is the last of the table on top. */
static int append_lesson(lua_State *L)
{
	lua_pushvalue(L, 4);
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
	return 0;
}

/* sim:http(pattern, fn): who answers requests for such addresses, and what. */
int m_http(lua_State *L)
{
	take_lesson(L);
	lua_getfield(L, -1, "http");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setfield(L, -3, "http");
	}
	return append_lesson(L);
}

/* sim:program(pattern, fn): a program that hooks run, and what it does here. */
int m_program(lua_State *L)
{
	take_lesson(L);
	return append_lesson(L);
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
