/*
 * table — what a policy's file returned: each name is one of a hook, of the right type, or an error with its file and line.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"
#include "tbl/policy.h"

static const char *const hook_names[] = {
#define HOOK_NAME(name, ...) #name,
	POLICY_HOOK_TABLE(HOOK_NAME)
};
static const char *const control_names[] = { POLICY_CONTROL_HOOKS(HOOK_NAME) };
/* Of the contract, but nobody would call them. */
static const char *const later_names[] = { "vip_up", "vip_down" };
static const char *const events[] = {
#define EVENT_NAME(name, ...) #name,
	POLICY_EVENTS(EVENT_NAME)
};

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The line on which the policy first says WORD: values, unlike functions, have none of their own. */
static int line_of(const struct source_file *f, const char *word)
{
	size_t len = strlen(word);
	int line = 1;
	for (const char *c = f->text; *c; c++) {
		line += *c == '\n';
		if ((c == f->text || !is_word(c[-1])) && strncmp(c, word, len) == 0 && !is_word(c[len]))
			return line;
	}
	return 1;
}

static NORETURN PRINTF_LIKE(3, 4) void complain(lua_State *L, const char *word, const char *fmt, ...)
{
	const struct source_file *f = vm_of(L)->source->files[0];
	va_list ap;
	va_start(ap, fmt);
	lua_pushfstring(L, "%s:%d: ", f->path, line_of(f, word));
	lua_pushvfstring(L, fmt, ap);
	va_end(ap);
	lua_concat(L, 2);
	lua_error(L);
	abort();
}

static int hook_named(const char *name)
{
	for (int i = 0; i < POLICY_HOOKS; i++)
		if (strcmp(hook_names[i], name) == 0)
			return i;
	return -1;
}

static bool is_one_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static NORETURN void refuse_name(lua_State *L, const char *name)
{
	if (is_one_of(later_names, ARRAY_LEN(later_names), name))
		complain(L, name, "the hook %s is not supported yet", name);
	complain(L, name,
	         "there is no hook %s: a policy has api, plan, route, admit, balance, failover, fence, promote, "
	         "follow_primary, tasks, on, every and selftest",
	         name);
}

static void check_function(lua_State *L, const char *name)
{
	if (!lua_isfunction(L, -1))
		complain(L, name, "%s is a function, not a %s", name, luaL_typename(L, -1));
}

static void take_hook(lua_State *L, int hook)
{
	struct policy_vm *vm = vm_of(L);
	lua_Debug ar;
	check_function(L, hook_names[hook]);
	lua_pushvalue(L, -1);
	lua_getinfo(L, ">S", &ar);
	snprintf(vm->where[hook], VM_WHERE_MAX, "%s:%d", ar.short_src, ar.linedefined);
	lua_pushvalue(L, -1);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_HOOKS + hook);
}

/* ---- tables of the control plane ------------------------------------------------------------------------------------------ */

static void check_task(lua_State *L, const char *name)
{
	if (!lua_isfunction(L, -1))
		complain(L, name, "the task %s is a function, not a %s", name, luaL_typename(L, -1));
}

static void check_event(lua_State *L, const char *name)
{
	if (!is_one_of(events, ARRAY_LEN(events), name))
		complain(L, name, "there is no event %s", name);
	if (!lua_isfunction(L, -1))
		complain(L, name, "on.%s is a function, not a %s", name, luaL_typename(L, -1));
}

static void check_every(lua_State *L, const char *name)
{
	if (!lua_istable(L, -1))
		complain(L, name, "every.%s is a table with seconds and run, not a %s", name, luaL_typename(L, -1));
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
		if (strcmp(key, "seconds") != 0 && strcmp(key, "run") != 0)
			complain(L, name, "every.%s has seconds and run, and nothing else", name);
	}
	lua_pushliteral(L, "seconds");
	lua_rawget(L, -2);
	double seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
	lua_pop(L, 1);
	if (!(seconds >= 0.01 && seconds <= 1e7))
		complain(L, name, "every.%s: seconds is a number from 0.01 on", name);
	lua_pushliteral(L, "run");
	lua_rawget(L, -2);
	if (!lua_isfunction(L, -1))
		complain(L, name, "every.%s: run is a function, not a %s", name, luaL_typename(L, -1));
	lua_pop(L, 1);
}

static const struct part {
	const char *name;
	void (*check)(lua_State *L, const char *name);
} parts[] = {
#define PART_check_tasks check_task
#define PART_check_on check_event
#define PART_check_every check_every
#define PART_ROW(name, ...) { #name, PART_check_##name },
	POLICY_TABLES(PART_ROW)
};

static const struct part *part_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strcmp(parts[i].name, name) == 0)
			return &parts[i];
	return NULL;
}

#define NAME_MAX_BYTES 60u

static void take_part(lua_State *L, const struct part *part)
{
	if (!lua_istable(L, -1))
		complain(L, part->name, "%s is a table, not a %s", part->name, luaL_typename(L, -1));
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING || lua_objlen(L, -2) > NAME_MAX_BYTES)
			complain(L, part->name, "%s has names of at most %d bytes", part->name, (int)NAME_MAX_BYTES);
		part->check(L, lua_tostring(L, -2));
	}
}

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

/* The value on top belongs to NAME. */
static void take_entry(lua_State *L, const char *name)
{
	int hook = hook_named(name);
	const struct part *part = part_named(name);
	if (hook >= 0)
		take_hook(L, hook);
	else if (part)
		take_part(L, part);
	else if (is_one_of(control_names, ARRAY_LEN(control_names), name))
		check_function(L, name);
	else if (strcmp(name, "selftest") == 0 && !lua_isfunction(L, -1))
		complain(L, name, "selftest is a function, not a %s", luaL_typename(L, -1));
	else if (strcmp(name, "selftest") != 0 && strcmp(name, "api") != 0)
		refuse_name(L, name);
}

static void check_api(lua_State *L, int table)
{
	lua_pushliteral(L, "api");
	lua_rawget(L, table);
	if (lua_type(L, -1) != LUA_TNUMBER || lua_tonumber(L, -1) != POLICY_API)
		complain(L, "api", "a policy begins with the version that it was written for: local M = { api = %d }", POLICY_API);
	lua_pop(L, 1);
}

static void take_table(lua_State *L, int table)
{
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			complain(L, "return", "a policy is a table of hooks by their names; it has a %s for a name", luaL_typename(L, -2));
		take_entry(L, lua_tostring(L, -2));
	}
}

static void run_selftest(lua_State *L, int table)
{
	lua_pushliteral(L, "selftest");
	lua_rawget(L, table);
	if (lua_isnil(L, -1))
		return;
	lua_call(L, 0, 2);
	if (lua_isboolean(L, -2) && !lua_toboolean(L, -2))
		complain(L, "selftest", "selftest says false%s%s", lua_isstring(L, -1) ? ": " : "",
		         lua_isstring(L, -1) ? lua_tostring(L, -1) : "");
}

int table_load(lua_State *L)
{
	struct policy_vm *vm = vm_of(L);
	lib_load(L, vm->source->files[0]);
	lua_call(L, 0, 1);
	if (!lua_istable(L, 1))
		complain(L, "return", "a policy returns a table of functions, not a %s", luaL_typename(L, 1));
	check_api(L, 1);
	take_table(L, 1);
	lua_pushvalue(L, 1);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_POLICY);
	run_selftest(L, 1);
	return 0;
}
