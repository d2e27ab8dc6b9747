/*
 * lib — what of Lua's library a policy may use, and how it gets at modules.
 *
 * Named here is what there is; everything else is absent: io, ffi, debug, coroutine, package, loading of text or bytecode, setfenv,
 * rawset, collectgarbage.  Globals and the library's tables are seen through a view that cannot be changed, and a global that does not
 * exist is an error where it is named, not a nil that decides something later.
 *
 * xpcall is absent, too: LuaJIT runs its handler with hooks off when the error was raised by a hook (lj_err.c: they come back when the stack is unwound),
 * so that a handler that does not end would never be stopped.
 */
#include <lualib.h>
#include <string.h>
#include <time.h>

#include "base/compiler.h"
#include "priv.h"

struct library {
	const char *name; /* "": globals */
	lua_CFunction open;
	const char *const *allowed;
};

static const char *const of_base[] = { "assert",   "error",    "ipairs",       "next",         "pairs",    "pcall",
	                                   "rawequal", "rawget",   "select",       "tonumber",     "tostring", "type",
	                                   "unpack",   "_VERSION", "getmetatable", "setmetatable", NULL };
static const char *const of_string[] = { "byte",  "char",  "find", "format",  "gmatch", "gsub",  "len",
	                                     "lower", "match", "rep",  "reverse", "sub",    "upper", NULL };
static const char *const of_table[] = { "concat", "insert", "maxn", "remove", "sort", NULL };
static const char *const of_math[] = { "abs",        "acos", "asin",  "atan", "atan2", "ceil", "cos",   "cosh",
	                                   "deg",        "exp",  "floor", "fmod", "frexp", "huge", "ldexp", "log",
	                                   "log10",      "max",  "min",   "modf", "pi",    "pow",  "rad",   "random",
	                                   "randomseed", "sin",  "sinh",  "sqrt", "tan",   "tanh", NULL };
static const char *const of_bit[] = { "arshift", "band", "bnot",   "bor",   "bswap", "bxor", "lshift",
	                                  "rol",     "ror",  "rshift", "tobit", "tohex", NULL };
static const char *const of_os[] = { "clock", "date", "difftime", "time", NULL };
static const struct library libraries[] = {
	{ "", luaopen_base, of_base },     { "string", luaopen_string, of_string }, { "table", luaopen_table, of_table },
	{ "math", luaopen_math, of_math }, { "bit", luaopen_bit, of_bit },          { "os", luaopen_os, of_os },
};

/* The time that policies see. */
static double wall_clock(lua_State *L)
{
	int64_t said = vm_of(L)->shared->clock;
	return (double)(said ? said : (int64_t)time(NULL));
}

/* Upvalue: Lua's own, which is given the time where the script gives none. */
static int lib_time(lua_State *L)
{
	if (lua_isnoneornil(L, 1)) {
		lua_pushnumber(L, wall_clock(L));
		return 1;
	}
	lua_settop(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

static int lib_date(lua_State *L)
{
	size_t len = 0;
	luaL_optlstring(L, 1, "", &len);
	luaL_argcheck(L, len <= 200, 1, "a format of at most 200 bytes");
	lua_settop(L, 2);
	if (lua_isnil(L, 1)) {
		lua_pushliteral(L, "%c");
		lua_replace(L, 1);
	}
	if (lua_isnil(L, 2)) {
		lua_pushnumber(L, wall_clock(L));
		lua_replace(L, 2);
	}
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 2, 1);
	return 1;
}

/* Ours, or charged for: whatever a single call of could take long. */
struct replacement {
	const char *library, *name;
	lua_CFunction ours; /* NULL: Lua's, charged for by its arguments, */
	double per_entry;   /* … so many steps for an entry of a table */
};
static const struct replacement replacements[] = {
	{ "string", "find", text_find, 0 },    { "string", "match", text_match, 0 }, { "string", "gmatch", text_gmatch, 0 },
	{ "string", "gsub", text_gsub, 0 },    { "string", "rep", text_rep, 0 },     { "string", "format", NULL, 0 },
	{ "string", "lower", NULL, 0 },        { "string", "upper", NULL, 0 },       { "string", "reverse", NULL, 0 },
	{ "table", "insert", text_insert, 0 }, { "table", "concat", NULL, 4 },       { "table", "sort", NULL, 16 },
	{ "table", "maxn", NULL, 0.25 },       { "", "unpack", NULL, 0.25 },         { "", "tonumber", NULL, 0 },
	{ "", "ipairs", view_pairs, 0 },       { "", "pairs", view_pairs, 0 },       { "os", "time", lib_time, 0 },
	{ "os", "date", lib_date, 0 },
};

static int refuse_change(lua_State *L)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
	return luaL_error(L, "%s cannot be set here: globals and modules do not change; write local", name);
}

static int refuse_unknown(lua_State *L)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
	return luaL_error(L, "there is no global %s", name);
}

void lib_freeze(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, refuse_change);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_replace(L, -2);
}

/* From the library on top. */
static void push_function(lua_State *L, const char *library, const char *name)
{
	lua_getfield(L, -1, name);
	for (size_t i = 0; i < ARRAY_LEN(replacements); i++) {
		const struct replacement *r = &replacements[i];
		if (strcmp(r->library, library) != 0 || strcmp(r->name, name) != 0)
			continue;
		if (r->ours)
			lua_pushcclosure(L, r->ours, 1); /* over Lua's */
		else
			text_charge(L, r->per_entry);
	}
}

/* A module of LuaJIT's makes a global table (or adds to that of globals); its allowed entries become those of the table on top. */
static void copy_allowed(lua_State *L, const struct library *lib)
{
	int to = lua_gettop(L);
	lua_pushcfunction(L, lib->open);
	lua_pushstring(L, lib->name);
	lua_call(L, 1, 0);
	if (*lib->name)
		lua_getglobal(L, lib->name);
	else
		lua_pushvalue(L, LUA_GLOBALSINDEX);
	for (const char *const *name = lib->allowed; *name; name++) {
		push_function(L, lib->name, *name);
		lua_setfield(L, to, *name);
	}
	lua_settop(L, to);
}

/* Methods of texts ("x"):upper() are what is allowed of string, and nobody gets at their table. */
static void limit_text_methods(lua_State *L, int string)
{
	lua_pushliteral(L, "");
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, string);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

static void add_libraries(lua_State *L, int globals)
{
	for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
		const struct library *lib = &libraries[i];
		if (!*lib->name) {
			lua_pushvalue(L, globals);
			copy_allowed(L, lib);
			lua_pop(L, 1);
			continue;
		}
		lua_newtable(L);
		copy_allowed(L, lib);
		if (strcmp(lib->name, "string") == 0)
			limit_text_methods(L, lua_gettop(L));
		lib_freeze(L);
		lua_setfield(L, globals, lib->name);
	}
}

/* ---- modules -------------------------------------------------------------------------------------------------------------- */

void lib_load(lua_State *L, const struct source_file *file)
{
	lua_pushfstring(L, "@%s", file->path);
	if (luaL_loadbufferx(L, file->text, file->len, lua_tostring(L, -1), "t") != LUA_OK)
		lua_error(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_GLOBALS);
	lua_setfenv(L, -2);
	lua_replace(L, -2);
}

static void load_module(lua_State *L, const char *name)
{
	struct source_file stock;
	struct err err;
	const struct source_file *f = stock_find(name, &stock) ? &stock : source_find(vm_of(L)->source, name, &err);
	if (!f)
		luaL_error(L, "%s", err.text);
	lib_load(L, f);
}

/* A module is run once; one that is not finished yet stands there as false. */
static int lib_require(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_LOADED);
	lua_getfield(L, 2, name);
	if (lua_isboolean(L, 3) && !lua_toboolean(L, 3))
		return luaL_error(L, "module %s requires itself, maybe through another one", name);
	if (!lua_isnil(L, 3))
		return 1;
	lua_pushboolean(L, 0);
	lua_setfield(L, 2, name);
	load_module(L, name);
	lua_call(L, 0, 1);
	if (lua_isnil(L, -1) || lua_isboolean(L, -1))
		return luaL_error(L, "module %s must return a table or a function", name);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

static void open_loaded(lua_State *L)
{
	lua_newtable(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_LP);
	lua_setfield(L, -2, "lunapool");
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_LOADED);
}

void lib_open(lua_State *L)
{
	lua_newtable(L);
	int globals = lua_gettop(L);
	add_libraries(L, globals);
	lua_pushcfunction(L, lib_require);
	lua_setfield(L, globals, "require");
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, refuse_unknown);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, globals);
	lib_freeze(L);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_GLOBALS);
	open_loaded(L);
}
