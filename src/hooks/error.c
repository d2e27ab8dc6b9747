/*
 * error — why an action failed, as scripts see it: a table with kind, message and what else is known, whose tostring() is the message.
 */
#include <stdio.h>
#include <string.h>

#include "priv.h"

#define OUTPUT_SHOWN 2000 /* bytes of a failed command's output that a run keeps for its own */

static const char metatable; /* its address is the key */

static int error_tostring(lua_State *L)
{
	lua_settop(L, 1);
	lua_pushliteral(L, "message");
	lua_rawget(L, 1);
	return 1;
}

void error_open(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)&metatable);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, error_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_rawset(L, LUA_REGISTRYINDEX);
}

static void dress(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)&metatable);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_setmetatable(L, -2);
}

int error_push(lua_State *L, const struct action_error *e)
{
	lua_pushnil(L);
	lua_createtable(L, 0, 5);
	lua_pushstring(L, e->kind);
	lua_setfield(L, -2, "kind");
	lua_pushstring(L, e->err.text);
	lua_setfield(L, -2, "message");
	if (strcmp(e->kind, "sql") == 0 || strcmp(e->kind, "connect") == 0) {
		lua_pushstring(L, e->err.sqlstate);
		lua_setfield(L, -2, "sqlstate");
	}
	if (e->status >= 0) {
		lua_pushinteger(L, e->status);
		lua_setfield(L, -2, "status");
	}
	if (e->output.at) {
		lua_pushlstring(L, (const char *)e->output.at, e->output.len);
		lua_setfield(L, -2, "output");
	}
	dress(L);
	return 2;
}

int error_make(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	dress(L);
	return 1;
}

static struct slice text_at(lua_State *L, int index, const char *field)
{
	size_t len = 0;
	lua_pushstring(L, field);
	lua_rawget(L, index);
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
	lua_pop(L, 1); /* the table holds it */
	return text ? slice_of(text, len) : slice_of("", 0);
}

static void read_table(lua_State *L, int index, struct hook_run *run, struct err *err)
{
	struct slice message = text_at(L, index, "message"), output = text_at(L, index, "output");
	struct slice state = text_at(L, index, "sqlstate");
	if (message.len)
		err_set(err, "P0001", "%.*s", (int)(message.len < 380 ? message.len : 380), (const char *)message.at);
	else
		err_set(err, "P0001", "it failed with a table that has no message");
	if (state.len == 5)
		memcpy(err->sqlstate, state.at, 5);
	if (output.len > OUTPUT_SHOWN)
		output = slice_skip(output, output.len - OUTPUT_SHOWN);
	if (output.len && run)
		run_say(run, output);
}

void error_read(lua_State *L, int index, struct hook_run *run, struct err *err)
{
	size_t len;
	const char *text;
	switch (lua_type(L, index)) {
	case LUA_TSTRING:
		text = lua_tolstring(L, index, &len);
		err_set(err, "P0001", "%.*s", (int)(len < 380 ? len : 380), text);
		break;
	case LUA_TTABLE:
		read_table(L, index, run, err);
		break;
	case LUA_TNIL:
	case LUA_TNONE:
		err_set(err, "P0001", "it failed, and does not say why");
		break;
	default:
		err_set(err, "P0001", "it failed with a %s, which is neither a text nor an error", luaL_typename(L, index));
	}
}
