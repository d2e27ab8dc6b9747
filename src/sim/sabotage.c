/*
 * sabotage — methods that break nodes, hooks and Lunapool, and those that do what somebody else does by hand.
 */
#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#include "hooks/hooks.h"
#include "methods.h"
#include "priv.h"

static int with_node(lua_State *L, void (*fn)(struct sim *s, int node))
{
	struct sim *s = sim_at(L);
	fn(s, node_at(L, s, 2));
	return 0;
}

int m_kill(lua_State *L)
{
	return with_node(L, sim_kill);
}

int m_freeze(lua_State *L)
{
	return with_node(L, sim_freeze);
}

int m_thaw(lua_State *L)
{
	return with_node(L, sim_thaw);
}

int m_start(lua_State *L)
{
	return with_node(L, sim_start);
}

static void restart(struct sim *s, int node)
{
	sim_kill(s, node);
	sim_start(s, node);
}

int m_restart(lua_State *L)
{
	return with_node(L, restart);
}

/* sim:partition("pg2"), sim:partition("pg2", "pg1"), sim:partition("pg2", "lunapool") */
int m_partition(lua_State *L)
{
	struct sim *s = sim_at(L);
	if (lua_isnoneornil(L, 3))
		return with_node(L, sim_partition);
	bool is_us = strcmp(luaL_checkstring(L, 3), "lunapool") == 0;
	sim_cut(s, node_at(L, s, 2), is_us ? SIM_NONE : node_at(L, s, 3));
	return 0;
}

int m_tear_journal(lua_State *L)
{
	sim_tear_journal(sim_at(L));
	return 0;
}

int m_heal(lua_State *L)
{
	return with_node(L, sim_heal);
}

int m_refuse(lua_State *L)
{
	return with_node(L, sim_refuse);
}

int m_hang(lua_State *L)
{
	return with_node(L, sim_hang);
}

int m_disk_full(lua_State *L)
{
	return with_node(L, sim_fill_disk);
}

int m_return_as_primary(lua_State *L)
{
	return with_node(L, sim_return_as_primary);
}

int m_slow(lua_State *L)
{
	struct sim *s = sim_at(L);
	sim_slow(s, node_at(L, s, 2), us_at(L, 3));
	return 0;
}

/* Clients use a connection to it for so long. */
int m_busy(lua_State *L)
{
	struct sim *s = sim_at(L);
	sim_keep_busy(s, node_at(L, s, 2), us_at(L, 3));
	return 0;
}

int m_lag(lua_State *L)
{
	struct sim *s = sim_at(L);
	double n = 0;
	int node = node_at(L, s, 2);
	const struct amount_unit *u = amount_read(luaL_checkstring(L, 3), &n);
	luaL_argcheck(L, u && n < 1e9, 3, "bytes, as \"64MB\", or a time, as \"10s\"");
	if (u->bytes > 0)
		sim_lag_bytes(s, node, (uint64_t)(n * u->bytes));
	else
		sim_lag_time(s, node, us_at(L, 3));
	return 0;
}

/* sim:hook_fails("promote", "pg2", 3): the node may be left out, or nil, for any; the number, for all that come. */
static int with_hook(lua_State *L, void (*fn)(struct sim *s, const char *act, int node, unsigned n))
{
	static const char *const known[] = {
#define HOOK_WORD(name, ...) #name,
		POLICY_CONTROL_HOOKS(HOOK_WORD) NULL
	};
	struct sim *s = sim_at(L);
	const char *hook = known[luaL_checkoption(L, 2, NULL, known)];
	int node = lua_isnoneornil(L, 3) ? SIM_ALL : node_at(L, s, 3);
	fn(s, hook, node, (unsigned)luaL_optinteger(L, 4, INT_MAX));
	return 0;
}

int m_hook_fails(lua_State *L)
{
	return with_hook(L, sim_act_fails);
}

int m_hook_hangs(lua_State *L)
{
	return with_hook(L, sim_act_hangs);
}

int m_leader_dies_at(lua_State *L)
{
	static const char *const steps[] = {
#define STEP_WORD(id, word, ...) word,
		OPERATION_STEPS(STEP_WORD) NULL
	};
	struct sim *s = sim_at(L);
	sim_lunapool_dies_at(s, steps[luaL_checkoption(L, 2, NULL, steps)]);
	return 0;
}

int m_promote(lua_State *L)
{
	return with_node(L, sim_promote);
}

int m_follow(lua_State *L)
{
	struct sim *s = sim_at(L);
	sim_follow(s, node_at(L, s, 2), node_at(L, s, 3));
	return 0;
}

int m_rebuild(lua_State *L)
{
	struct sim *s = sim_at(L);
	int node = node_at(L, s, 2);
	luaL_argcheck(L, sim_is_down(s, node), 2, "it is up: kill it before");
	sim_rebuild(s, node);
	return 0;
}
