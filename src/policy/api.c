/*
 * api — the module lunapool: decisions to return, and other clusters.
 */
#include <string.h>

#include "base/compiler.h"
#include "priv.h"
#include "tbl/policy.h"

#define WAIT_MS_MAX 60000

static bool is_sqlstate(const char *s)
{
	return strlen(s) == 5 && strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5;
}

static int lp_reject(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1), *sqlstate = luaL_optstring(L, 2, "28000");
	luaL_argcheck(L, is_sqlstate(sqlstate) && strncmp(sqlstate, "00", 2) != 0, 2,
	              "no SQLSTATE of an error: five digits or capitals");
	struct decision *d = view_new(L, HANDLE_DECISION, sizeof *d);
	d->handle.kind = POLICY_REJECT;
	strcpy(d->sqlstate, sqlstate);
	strncpy(d->text, text, sizeof d->text - 1);
	return 1;
}

static int lp_wait(lua_State *L)
{
	double ms = luaL_checknumber(L, 1);
	luaL_argcheck(L, ms >= 0 && ms <= WAIT_MS_MAX, 1, "from 0 to 60000 milliseconds");
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

void api_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
#define LP_FUNCTION(name, ...) { #name, lp_##name },
		POLICY_LP(LP_FUNCTION)
	};
	lua_newtable(L);
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		lua_pushcfunction(L, functions[i].func);
		lua_setfield(L, -2, functions[i].name);
	}
	lib_freeze(L);
}
