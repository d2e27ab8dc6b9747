/*
 * asks — methods that give orders to Lunapool, and let time go on.
 */
#include <lauxlib.h>

#include "hooks/hooks.h"
#include "methods.h"
#include "priv.h"

/* True, or nil and why not. */
static int push_taken(lua_State *L, uint64_t order, const struct err *err)
{
	if (order) {
		lua_pushboolean(L, 1);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, err->text);
	return 2;
}

static int order(lua_State *L, enum ops_order what, int cluster, const char *node)
{
	struct err err;
	return push_taken(L, sim_order(sim_at(L), cluster, what, node, &err), &err);
}

/* About the node that is the second argument. */
static int order_about(lua_State *L, enum ops_order what)
{
	struct sim *s = sim_at(L);
	return order(L, what, sim_cluster_of(s, node_at(L, s, 2)), lua_tostring(L, 2));
}

int m_switchover(lua_State *L)
{
	return lua_isnoneornil(L, 2) ? order(L, OPS_ORDER_SWITCHOVER, cluster_at(L, sim_at(L), 3), "")
	                             : order_about(L, OPS_ORDER_SWITCHOVER);
}

int m_detach(lua_State *L)
{
	return order_about(L, OPS_ORDER_DETACH);
}

int m_attach(lua_State *L)
{
	return order_about(L, OPS_ORDER_ATTACH);
}

/* sim:drain("pg2", "10s"): it begins; without a time the configured one. */
int m_drain(lua_State *L)
{
	struct sim *s = sim_at(L);
	struct err err;
	int cluster = sim_cluster_of(s, node_at(L, s, 2));
	uint64_t us = lua_isnoneornil(L, 3) ? 0 : us_at(L, 3);
	return push_taken(L, sim_order_drain(s, cluster, lua_tostring(L, 2), us, &err), &err);
}

int m_maintenance(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TBOOLEAN);
	return order(L, lua_toboolean(L, 2) ? OPS_ORDER_PAUSE : OPS_ORDER_RESUME, cluster_at(L, sim_at(L), 3), "");
}

#define TASK_ARGS 20
#define TASK_US (3600 * US_PER_S)

/* sim:task("rolling-refresh", { dump = "/srv/dump" }, "reports"): true and what it said, or nil and why. */
int m_task(lua_State *L)
{
	struct sim *s = sim_at(L);
	struct hook_arg args[TASK_ARGS];
	size_t n = 0;
	const char *name = luaL_checkstring(L, 2);
	lua_settop(L, 4);
	if (!lua_isnil(L, 4))
		cluster_at(L, s, 4);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) { /* the table holds the texts */
			luaL_argcheck(L, n < TASK_ARGS && lua_type(L, -2) == LUA_TSTRING, 3, "arguments have names; at most 20");
			luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING || lua_isboolean(L, -1), 3, "arguments are texts, or true");
			args[n++] = (struct hook_arg){ lua_tostring(L, -2), lua_tostring(L, -1) };
		}
	}
	struct sim_task_end *end = lua_newuserdata(L, sizeof *end);
	if (!sim_task(s, lua_tostring(L, 4), name, args, n, TASK_US, end))
		return luaL_error(L, "violated: %s", sim_violation(s));
	if (end->is_good)
		lua_pushboolean(L, 1);
	else
		lua_pushnil(L);
	lua_pushstring(L, end->is_good ? end->output : end->why);
	return 2;
}

int m_run(lua_State *L)
{
	struct sim *s = sim_at(L);
	if (!sim_run(s, us_at(L, 2)))
		return luaL_error(L, "violated: %s", sim_violation(s));
	return 0;
}

int m_now(lua_State *L)
{
	lua_pushnumber(L, (double)sim_now_us(sim_at(L)) / (double)US_PER_S);
	return 1;
}
