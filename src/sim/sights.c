/*
 * sights — methods that say what is: by the journal, by the topology, by the nodes themselves.
 */
#include <lauxlib.h>

#include "methods.h"
#include "priv.h"

int m_primary(lua_State *L)
{
	const struct sim *s = sim_at(L);
	lua_pushstring(L, sim_primary(s, cluster_at(L, s, 2))); /* NULL is nil */
	return 1;
}

int m_write_outage(lua_State *L)
{
	const struct sim *s = sim_at(L);
	lua_pushnumber(L, (double)sim_write_outage_us(s, cluster_at(L, s, 2)) / (double)US_PER_S);
	return 1;
}

static int push_count(lua_State *L, uint64_t n)
{
	lua_pushnumber(L, (double)n);
	return 1;
}

int m_writes(lua_State *L)
{
	const struct sim *s = sim_at(L);
	return push_count(L, sim_writes(s, cluster_at(L, s, 2)));
}

int m_lost_writes(lua_State *L)
{
	const struct sim *s = sim_at(L);
	return push_count(L, sim_lost_writes(s, cluster_at(L, s, 2)));
}

int m_promotions(lua_State *L)
{
	const struct sim *s = sim_at(L);
	return push_count(L, sim_promotions(s, cluster_at(L, s, 2)));
}

int m_epoch(lua_State *L)
{
	const struct sim *s = sim_at(L);
	return push_count(L, sim_record(s, cluster_at(L, s, 2))->epoch);
}

int m_calls(lua_State *L)
{
	struct sim *s = sim_at(L);
	const char *hook = luaL_checkstring(L, 2);
	if (!lua_isnoneornil(L, 3))
		node_at(L, s, 3);
	return push_count(L, sim_called(s, hook, luaL_optstring(L, 3, NULL)));
}

int m_is_up(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_up(s, node_at(L, s, 2)));
	return 1;
}

int m_is_writable(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_writable(s, node_at(L, s, 2)));
	return 1;
}

int m_is_streaming(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_streaming(s, node_at(L, s, 2)));
	return 1;
}

/* Whether it is kept away, and why. */
int m_is_quarantined(lua_State *L)
{
	struct sim *s = sim_at(L);
	int node = node_at(L, s, 2);
	const struct record_node *said = record_node(sim_record(s, sim_cluster_of(s, node)), lua_tostring(L, 2));
	bool is = said && said->flags;
	lua_pushboolean(L, is);
	lua_pushstring(L, is ? said->why : NULL);
	return 2;
}
