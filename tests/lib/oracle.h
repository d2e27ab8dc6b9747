/* oracle — what Lua's own string.find says, beside ours: for small texts, since Lua's has no bound. */
#ifndef ORACLE_H
#define ORACLE_H

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "../../src/policy/match.h"
#include "base/slice.h"

#define ORACLE_STEPS 1000000u

static inline lua_State *oracle_open(void)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	return L;
}

static inline size_t oracle_put(char *out, size_t room, size_t len, const char *text, size_t n)
{
	len += (size_t)snprintf(out + len, room - len, " [");
	for (size_t i = 0; i < n && len + 8 < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%02x", (unsigned char)text[i]);
	return len + (size_t)snprintf(out + len, room - len, "]");
}

/* "nil", "error", or where the first match is and what its captures are. */
static inline void oracle_lua(lua_State *L, struct slice text, struct slice pattern, char *out, size_t room)
{
	lua_settop(L, 0);
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "find");
	lua_pushlstring(L, (const char *)text.at, text.len);
	lua_pushlstring(L, (const char *)pattern.at, pattern.len);
	if (lua_pcall(L, 2, LUA_MULTRET, 0) != LUA_OK) {
		snprintf(out, room, "error");
		return;
	}
	if (lua_isnil(L, 2)) {
		snprintf(out, room, "nil");
		return;
	}
	size_t len = (size_t)snprintf(out, room, "%d %d", (int)lua_tointeger(L, 2), (int)lua_tointeger(L, 3));
	for (int i = 4; i <= lua_gettop(L); i++) {
		size_t n;
		if (lua_type(L, i) == LUA_TNUMBER) {
			len += (size_t)snprintf(out + len, room - len, " %d", (int)lua_tointeger(L, i));
			continue;
		}
		const char *capture = lua_tolstring(L, i, &n);
		len = oracle_put(out, room, len, capture, n);
	}
}

static inline void oracle_ours(struct slice text, struct slice pattern, char *out, size_t room)
{
	struct pattern p;
	struct match m = { .pattern = &p, .text = (const char *)text.at, .len = text.len, .steps_left = ORACLE_STEPS };
	size_t end = MATCH_NONE, at = 0;
	if (pattern_compile(&p, (const char *)pattern.at, pattern.len, true)) {
		snprintf(out, room, "error");
		return;
	}
	for (; at <= text.len; at++)
		if ((end = match_at(&m, at)) != MATCH_NONE || p.is_anchored)
			break;
	if (m.is_over || end == MATCH_NONE) {
		snprintf(out, room, m.is_over ? "over" : "nil");
		return;
	}
	size_t len = (size_t)snprintf(out, room, "%d %d", (int)at + 1, (int)end);
	for (unsigned i = 0; i < p.n_captures; i++)
		if (m.captures[i].is_place)
			len += (size_t)snprintf(out + len, room - len, " %d", (int)m.captures[i].at + 1);
		else
			len = oracle_put(out, room, len, m.text + m.captures[i].at, m.captures[i].len);
}

#endif
