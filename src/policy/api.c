/*
 * api — the module lunapool: decisions to return, other clusters, the log, and what all workers remember.
 */
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "policy/kv.h"
#include "priv.h"
#include "tbl/policy.h"

#define WAIT_MS_MAX 60000
#define LOG_TEXT_MAX 500u

static bool is_sqlstate(const char *s)
{
	return strlen(s) == 5 && strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5;
}

static int lp_reject(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len), *sqlstate = luaL_optstring(L, 2, "28000");
	if (strlen(text) != len)
		return luaL_error(L, "lp.reject() takes a text without NUL");
	if (!is_sqlstate(sqlstate) || strncmp(sqlstate, "00", 2) == 0)
		return luaL_error(L, "lp.reject() takes the SQLSTATE of an error: five digits or capitals");
	struct decision *d = view_new(L, HANDLE_DECISION, sizeof *d);
	d->handle.kind = POLICY_REJECT;
	strcpy(d->sqlstate, sqlstate);
	strncpy(d->text, text, sizeof d->text - 1);
	return 1;
}

static int lp_wait(lua_State *L)
{
	double ms = lua_tonumber(L, 1);
	if (!lua_isnumber(L, 1) || !(ms >= 0 && ms <= WAIT_MS_MAX))
		return luaL_error(L, "lp.wait() takes milliseconds, from 0 to 60000");
	struct decision *d = view_new(L, HANDLE_DECISION, sizeof *d);
	d->handle.kind = POLICY_WAIT;
	d->wait_ms = (uint32_t)ms;
	return 1;
}

static int lp_cluster(lua_State *L)
{
	const struct policy_vm *vm = vm_of(L);
	const char *name = luaL_checkstring(L, 1);
	if (!vm->topo)
		return luaL_error(L, "clusters can be looked at in a hook only");
	for (size_t i = 0; i < vm->topo->n_clusters && i < vm->n_clusters; i++)
		if (strcmp(vm->topo->clusters[i].name, name) == 0) {
			view_push_cluster(L, i);
			return 1;
		}
	lua_pushnil(L);
	return 1;
}

static int lp_hash(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	uint32_t hash = 2166136261u;
	vm_spend(L, (uint32_t)(len / 8));
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	lua_pushnumber(L, hash);
	return 1;
}

/* ---- log -------------------------------------------------------------------------------------------------------------------------- */

#define LOG_LINES_PER_SECOND 10u

static bool may_log(struct policy_vm *vm)
{
	uint64_t second = clock_us() / US_PER_S;
	if (second != vm->log_second) {
		if (vm->log_dropped)
			log_warn(NULL, "policy_log_dropped", KV_STR("cluster", vm->shared->cluster), KV_INT("lines", vm->log_dropped));
		vm->log_second = second;
		vm->log_lines = vm->log_dropped = 0;
	}
	if (vm->log_lines++ < LOG_LINES_PER_SECOND)
		return true;
	vm->log_dropped++;
	return false;
}

static int lp_log(lua_State *L)
{
	static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
	struct policy_vm *vm = vm_of(L);
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	enum log_level level = (enum log_level)luaL_checkoption(L, 2, "info", levels);
	struct slice shown = slice_of(text, len < LOG_TEXT_MAX ? len : LOG_TEXT_MAX);
	if (log_is_on(level) && may_log(vm))
		LOG_AT(level, NULL, "policy_log", KV_STR("cluster", vm->shared->cluster), KV_SLICE("text", shown));
	return 0;
}

/* ---- kv --------------------------------------------------------------------------------------------------------------------------- */

static struct slice check_key(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	luaL_argcheck(L, len <= POLICY_KV_KEY_MAX, 1, "longer than 256 bytes");
	return slice_of(text, len);
}

/* The third argument: seconds; 0 without end. */
static uint64_t check_ttl(lua_State *L)
{
	double seconds = luaL_optnumber(L, 3, 0);
	luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 3, "from 0 to 1e9 seconds");
	uint64_t us = (uint64_t)(seconds * (double)US_PER_S);
	return seconds > 0 && us == 0 ? 1 : us;
}

static void check_value(lua_State *L, struct policy_value *v)
{
	const char *text;
	v->truth = false;
	v->number = 0;
	v->len = 0;
	switch (lua_type(L, 2)) {
	case LUA_TNIL:
		v->is = POLICY_KV_NIL;
		return;
	case LUA_TBOOLEAN:
		v->is = POLICY_KV_BOOL;
		v->truth = lua_toboolean(L, 2);
		return;
	case LUA_TNUMBER:
		v->is = POLICY_KV_NUMBER;
		v->number = lua_tonumber(L, 2);
		return;
	case LUA_TSTRING:
		v->is = POLICY_KV_TEXT;
		text = lua_tolstring(L, 2, &v->len);
		luaL_argcheck(L, v->len <= POLICY_KV_VALUE_MAX, 2, "longer than 1 kB");
		memcpy(v->text, text, v->len);
		return;
	}
	luaL_argerror(L, 2, "a text, number, boolean or nil expected");
}

static int kv_get(lua_State *L)
{
	struct policy_value v;
	policy_kv_get(vm_of(L)->kv, check_key(L), clock_us(), &v);
	switch (v.is) {
	case POLICY_KV_NIL:
		lua_pushnil(L);
		break;
	case POLICY_KV_BOOL:
		lua_pushboolean(L, v.truth);
		break;
	case POLICY_KV_NUMBER:
		lua_pushnumber(L, v.number);
		break;
	case POLICY_KV_TEXT:
		lua_pushlstring(L, v.text, v.len);
		break;
	}
	return 1;
}

static int kv_set(lua_State *L)
{
	struct policy_value v;
	struct slice key = check_key(L);
	check_value(L, &v);
	lua_pushboolean(L, policy_kv_set(vm_of(L)->kv, key, &v, clock_us(), check_ttl(L)));
	return 1;
}

static int kv_add(lua_State *L)
{
	double sum, by = luaL_checknumber(L, 2);
	if (policy_kv_add(vm_of(L)->kv, check_key(L), by, clock_us(), check_ttl(L), &sum))
		lua_pushnumber(L, sum);
	else
		lua_pushnil(L);
	return 1;
}

/* ---- the module --------------------------------------------------------------------------------------------------------------------- */

static void push_module(lua_State *L, const luaL_Reg *functions, size_t n)
{
	lua_newtable(L);
	for (size_t i = 0; i < n; i++) {
		lua_pushcfunction(L, functions[i].func);
		lua_setfield(L, -2, functions[i].name);
	}
}

/* Upvalue: its name. */
static int refuse_action(lua_State *L)
{
	return luaL_error(L, "lp.%s waits: only what the control plane calls may do that, tasks and kin",
	                  lua_tostring(L, lua_upvalueindex(1)));
}

static void push_refused(lua_State *L, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		lua_pushstring(L, names[i]);
		lua_pushcclosure(L, refuse_action, 1);
		lua_setfield(L, -2, names[i]);
	}
}

void api_open(lua_State *L)
{
	static const char *const actions[] = {
#define ACTION_NAME(name, ...) #name,
		POLICY_ACTIONS(ACTION_NAME)
	}, *const of_compat[] = { POLICY_COMPAT(ACTION_NAME) };
	static const luaL_Reg functions[] = {
#define LP_FUNCTION(name, ...) { #name, lp_##name },
		POLICY_LP(LP_FUNCTION)
	}, of_kv[] = {
#define KV_FUNCTION(name, ...) { #name, kv_##name },
		POLICY_KV(KV_FUNCTION)
	};
	push_module(L, functions, ARRAY_LEN(functions));
	push_module(L, of_kv, ARRAY_LEN(of_kv));
	lib_freeze(L);
	lua_setfield(L, -2, "kv");
	push_refused(L, actions, ARRAY_LEN(actions));
	lua_newtable(L);
	push_refused(L, of_compat, ARRAY_LEN(of_compat));
	lua_setfield(L, -2, "compat");
	lua_pushvalue(L, -1);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_MODULE);
	lib_freeze(L);
	lua_rawseti(L, LUA_REGISTRYINDEX, REF_LP);
}
