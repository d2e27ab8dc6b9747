/*
 * options — the last table of an action: what may stand there, of which type, within which bounds.
 */
#include <string.h>

#include "priv.h"

void check_options(lua_State *L, int table, const char *const *known)
{
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		bool is_known = false;
		for (const char *const *k = known; *k; k++)
			is_known |= strcmp(*k, name) == 0;
		if (!is_known)
			luaL_error(L, "there is no option %s", name);
	}
}

double number_option(lua_State *L, int table, const char *name, double otherwise, double least, double most)
{
	lua_getfield(L, table, name);
	double value = luaL_optnumber(L, -1, otherwise);
	lua_pop(L, 1);
	if (!(value >= least && value <= most))
		luaL_error(L, "%s is from %f to %f", name, least, most);
	return value;
}

const char *text_option(lua_State *L, int table, const char *name, size_t *len)
{
	lua_getfield(L, table, name); /* it stays */
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "%s is a text", name);
	*len = 0;
	return lua_tolstring(L, -1, len);
}
