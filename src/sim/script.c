/*
 * script — what tests see of a simulation: the methods of `sim`, in C, and lua/lunapool/test.lua over them.
 *
 * Tests are the operator's own programs: they have all of Lua's library.  The policy that they test has not: it runs in the VMs that it always has.
 *
 * Always: a simulation lives as long as its case runs;  an error in a case, also one that a violation raises, ends that case only.
 */
#include "script.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hooks/hooks.h"
#include "policy/control.h"
#include "priv.h"

#define CASES_MAX 1000u
#define NODES_MAX 16
#define COLUMNS_MAX 16
#define ROUTES 16 /* where several may take it, chance chooses */

struct script {
	lua_State *L;
	char path[PATH_MAX];
	size_t n;
	struct {
		char *name;
		int ref;
	} * cases;
	int methods;  /* a reference: the metatable of simulations */
	int programs; /* of the case: { pattern, function } */
	struct sim *sim;
};

static struct script *script_of(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "lunapool.script");
	struct script *sc = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return sc;
}

/* ---- arguments -------------------------------------------------------------------------------------------------------------- */

static struct sim *sim_at(lua_State *L)
{
	struct script *sc = script_of(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	if (!sc->sim)
		luaL_error(L, "a simulation lives as long as its case");
	if (!sim_has_begun(sc->sim))
		luaL_error(L, "begin with sim:cluster { primary = …, standbys = { … } }");
	return sc->sim;
}

static int node_at(lua_State *L, const struct sim *s, int arg)
{
	int node = sim_node_named(s, luaL_checkstring(L, arg));
	luaL_argcheck(L, node >= 0, arg, "there is no such node");
	return node;
}

static const struct unit {
	const char *name;
	double seconds, bytes;
} units[] = { { "us", 1e-6, 0 }, { "ms", 1e-3, 0 },        { "s", 1, 0 },
	          { "min", 60, 0 },  { "h", 3600, 0 },         { "B", 0, 1 },
	          { "kB", 0, 1024 }, { "MB", 0, 1024 * 1024 }, { "GB", 0, 1024. * 1024 * 1024 } };

/* "500ms", "64MB"; NULL: it is no such text. */
static const struct unit *read_amount(const char *text, double *n)
{
	char *end;
	*n = strtod(text, &end);
	for (size_t i = 0; end > text && *n >= 0 && i < ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].name) == 0)
			return &units[i];
	return NULL;
}

static uint64_t us_at(lua_State *L, int arg)
{
	double n = 0;
	const struct unit *u = lua_type(L, arg) == LUA_TSTRING ? read_amount(lua_tostring(L, arg), &n) : NULL;
	double seconds = lua_type(L, arg) == LUA_TNUMBER ? lua_tonumber(L, arg) : u && u->seconds > 0 ? n * u->seconds : -1;
	luaL_argcheck(L, seconds >= 0 && seconds <= 1e7, arg, "a time, as \"500ms\", \"10s\", or a number of seconds");
	return (uint64_t)(seconds * (double)US_PER_S);
}

/* ---- faults ------------------------------------------------------------------------------------------------------------------ */

static int with_node(lua_State *L, void (*fn)(struct sim *s, int node))
{
	struct sim *s = sim_at(L);
	fn(s, node_at(L, s, 2));
	return 0;
}

static int m_kill(lua_State *L)
{
	return with_node(L, sim_kill);
}

static int m_freeze(lua_State *L)
{
	return with_node(L, sim_freeze);
}

static int m_thaw(lua_State *L)
{
	return with_node(L, sim_thaw);
}

static int m_start(lua_State *L)
{
	return with_node(L, sim_start);
}

static void restart(struct sim *s, int node)
{
	sim_kill(s, node);
	sim_start(s, node);
}

static int m_restart(lua_State *L)
{
	return with_node(L, restart);
}

static int m_partition(lua_State *L)
{
	return with_node(L, sim_partition);
}

static int m_heal(lua_State *L)
{
	return with_node(L, sim_heal);
}

static int m_refuse(lua_State *L)
{
	return with_node(L, sim_refuse);
}

static int m_hang(lua_State *L)
{
	return with_node(L, sim_hang);
}

static int m_disk_full(lua_State *L)
{
	return with_node(L, sim_fill_disk);
}

static int m_return_as_primary(lua_State *L)
{
	return with_node(L, sim_return_as_primary);
}

static int m_slow(lua_State *L)
{
	struct sim *s = sim_at(L);
	sim_slow(s, node_at(L, s, 2), us_at(L, 3));
	return 0;
}

static int m_lag(lua_State *L)
{
	struct sim *s = sim_at(L);
	double n = 0;
	int node = node_at(L, s, 2);
	const struct unit *u = read_amount(luaL_checkstring(L, 3), &n);
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

static int m_hook_fails(lua_State *L)
{
	return with_hook(L, sim_act_fails);
}

static int m_hook_hangs(lua_State *L)
{
	return with_hook(L, sim_act_hangs);
}

static int m_leader_dies_at(lua_State *L)
{
	static const char *const steps[] = {
#define STEP_WORD(id, word, ...) word,
		OPERATION_STEPS(STEP_WORD) NULL
	};
	struct sim *s = sim_at(L);
	sim_lunapool_dies_at(s, steps[luaL_checkoption(L, 2, NULL, steps)]);
	return 0;
}

/* ---- what others do ------------------------------------------------------------------------------------------------------------ */

static int m_promote(lua_State *L)
{
	return with_node(L, sim_promote);
}

static int m_follow(lua_State *L)
{
	struct sim *s = sim_at(L);
	sim_follow(s, node_at(L, s, 2), node_at(L, s, 3));
	return 0;
}

static int m_rebuild(lua_State *L)
{
	struct sim *s = sim_at(L);
	int node = node_at(L, s, 2);
	luaL_argcheck(L, sim_is_down(s, node), 2, "it is up: kill it before");
	sim_rebuild(s, node);
	return 0;
}

/* The function returns status and output; an error in it fails the case, at the end of the turn. */
static bool on_program(void *arg, const char *line, int *status, char *said, size_t room)
{
	struct script *sc = arg;
	lua_State *L = sc->L;
	int top = lua_gettop(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
	for (int i = (int)lua_objlen(L, -1); i >= 1; i--) {
		lua_rawgeti(L, top + 1, i);
		lua_rawgeti(L, -1, 2);
		lua_getfield(L, -2, "matches");
		lua_pushstring(L, line);
		lua_rawgeti(L, top + 2, 1);
		if (lua_pcall(L, 2, 1, 0) != 0 || !lua_toboolean(L, -1)) {
			lua_settop(L, top + 1);
			continue;
		}
		lua_pop(L, 1);
		lua_pushstring(L, line);
		if (lua_pcall(L, 1, 2, 0) != 0) {
			sim_violate(sc->sim, "a program of the test's: %s", lua_tostring(L, -1));
			lua_settop(L, top);
			return false;
		}
		*status = lua_isnumber(L, -2) ? (int)lua_tointeger(L, -2) : 0;
		snprintf(said, room, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "");
		lua_settop(L, top);
		return true;
	}
	lua_settop(L, top);
	return false;
}

/* sim:program(pattern, fn): a program that hooks run, and what it does here. */
static int m_program(lua_State *L)
{
	struct script *sc = script_of(L);
	sim_at(L);
	luaL_checkstring(L, 2);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_settop(L, 3);
	lua_createtable(L, 2, 1);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i + 1);
		lua_rawseti(L, -2, i);
	}
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "find");
	lua_setfield(L, 4, "matches");
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->programs);
	lua_pushvalue(L, 4);
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
	return 0;
}

/* ---- orders ------------------------------------------------------------------------------------------------------------------- */

static int order(lua_State *L, enum ops_order what, const char *node)
{
	struct err err;
	if (sim_order(sim_at(L), what, node, &err)) {
		lua_pushboolean(L, 1);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, err.text);
	return 2;
}

static int m_switchover(lua_State *L)
{
	return order(L, OPS_ORDER_SWITCHOVER, luaL_optstring(L, 2, ""));
}

static int m_detach(lua_State *L)
{
	return order(L, OPS_ORDER_DETACH, luaL_checkstring(L, 2));
}

static int m_attach(lua_State *L)
{
	return order(L, OPS_ORDER_ATTACH, luaL_checkstring(L, 2));
}

static int m_maintenance(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TBOOLEAN);
	return order(L, lua_toboolean(L, 2) ? OPS_ORDER_PAUSE : OPS_ORDER_RESUME, "");
}

#define TASK_ARGS 20
#define TASK_US (3600 * US_PER_S)

/* sim:task("rolling-refresh", { dump = "/srv/dump" }): true and what it said, or nil and why. */
static int m_task(lua_State *L)
{
	struct sim *s = sim_at(L);
	struct hook_arg args[TASK_ARGS];
	size_t n = 0;
	const char *name = luaL_checkstring(L, 2);
	lua_settop(L, 3);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) { /* the table holds the texts */
			luaL_argcheck(L, n < TASK_ARGS && lua_type(L, -2) == LUA_TSTRING, 3, "arguments have names; at most 20");
			luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING || lua_isboolean(L, -1), 3, "arguments are texts, or true");
			args[n++] = (struct hook_arg){ lua_tostring(L, -2), lua_tostring(L, -1) };
		}
	}
	struct sim_task_end *end = lua_newuserdata(L, sizeof *end);
	if (!sim_task(s, name, args, n, TASK_US, end))
		return luaL_error(L, "violated: %s", sim_violation(s));
	if (end->is_good)
		lua_pushboolean(L, 1);
	else
		lua_pushnil(L);
	lua_pushstring(L, end->is_good ? end->output : end->why);
	return 2;
}

/* ---- time ---------------------------------------------------------------------------------------------------------------------- */

static int m_run(lua_State *L)
{
	struct sim *s = sim_at(L);
	if (!sim_run(s, us_at(L, 2)))
		return luaL_error(L, "violated: %s", sim_violation(s));
	return 0;
}

static int m_now(lua_State *L)
{
	lua_pushnumber(L, (double)sim_now_us(sim_at(L)) / (double)US_PER_S);
	return 1;
}

/* ---- what is ---------------------------------------------------------------------------------------------------------------------- */

static int m_primary(lua_State *L)
{
	lua_pushstring(L, sim_primary(sim_at(L))); /* NULL is nil */
	return 1;
}

static int m_write_outage(lua_State *L)
{
	lua_pushnumber(L, (double)sim_write_outage_us(sim_at(L)) / (double)US_PER_S);
	return 1;
}

static int push_count(lua_State *L, uint64_t n)
{
	lua_pushnumber(L, (double)n);
	return 1;
}

static int m_writes(lua_State *L)
{
	return push_count(L, sim_writes(sim_at(L)));
}

static int m_lost_writes(lua_State *L)
{
	return push_count(L, sim_lost_writes(sim_at(L)));
}

static int m_promotions(lua_State *L)
{
	return push_count(L, sim_promotions(sim_at(L)));
}

static int m_epoch(lua_State *L)
{
	return push_count(L, sim_record(sim_at(L))->epoch);
}

static int m_calls(lua_State *L)
{
	struct sim *s = sim_at(L);
	const char *hook = luaL_checkstring(L, 2);
	if (!lua_isnoneornil(L, 3))
		node_at(L, s, 3);
	return push_count(L, sim_called(s, hook, luaL_optstring(L, 3, NULL)));
}

static int m_is_up(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_up(s, node_at(L, s, 2)));
	return 1;
}

static int m_is_writable(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_writable(s, node_at(L, s, 2)));
	return 1;
}

static int m_is_streaming(lua_State *L)
{
	struct sim *s = sim_at(L);
	lua_pushboolean(L, sim_is_streaming(s, node_at(L, s, 2)));
	return 1;
}

/* Whether it is kept away, and why. */
static int m_is_quarantined(lua_State *L)
{
	struct sim *s = sim_at(L);
	node_at(L, s, 2);
	const struct record_node *said = record_node(sim_record(s), lua_tostring(L, 2));
	bool is = said && said->flags;
	lua_pushboolean(L, is);
	lua_pushstring(L, is ? said->why : NULL);
	return 2;
}

/* ---- lessons ------------------------------------------------------------------------------------------------------------------------ */

struct rows {
	unsigned n_columns;
	const char *names[COLUMNS_MAX];
	unsigned types[COLUMNS_MAX];
};

static unsigned type_of(lua_State *L, int index)
{
	enum { TYPE_BOOL = 16, TYPE_TEXT = 25, TYPE_FLOAT8 = 701 };
	return lua_type(L, index) == LUA_TBOOLEAN ? TYPE_BOOL : lua_type(L, index) == LUA_TNUMBER ? TYPE_FLOAT8 : TYPE_TEXT;
}

/* The columns of all rows: those that any of them has. */
static void read_columns(lua_State *L, int rows, struct rows *out)
{
	for (int i = 1, n = (int)lua_objlen(L, rows); i <= n; i++) {
		lua_rawgeti(L, rows, i);
		luaL_argcheck(L, lua_istable(L, -1), rows, "a list of rows, each a table of values by columns' names");
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			unsigned at = 0;
			luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, rows, "columns have names");
			while (at < out->n_columns && strcmp(out->names[at], lua_tostring(L, -2)) != 0)
				at++;
			luaL_argcheck(L, at < COLUMNS_MAX, rows, "too many columns");
			out->n_columns += at == out->n_columns;
			out->names[at] = lua_tostring(L, -2); /* the row's key holds it */
			out->types[at] = type_of(L, -1);
		}
		lua_pop(L, 1);
	}
}

static int m_answers(lua_State *L)
{
	struct sim *s = sim_at(L);
	struct rows r = { 0 };
	int node = lua_isnil(L, 2) ? SIM_ALL : node_at(L, s, 2);
	const char *sql = luaL_checkstring(L, 3);
	luaL_checktype(L, 4, LUA_TTABLE);
	lua_settop(L, 4);
	read_columns(L, 4, &r);
	unsigned n = (unsigned)lua_objlen(L, 4);
	const char **values = lua_newuserdata(L, ((size_t)n * r.n_columns + 1) * sizeof *values);
	luaL_checkstack(L, (int)(n * r.n_columns) + 10, "too many rows");
	for (unsigned i = 0; i < n; i++)
		for (unsigned c = 0; c < r.n_columns; c++) {
			lua_rawgeti(L, 4, (int)i + 1);
			lua_getfield(L, -1, r.names[c]); /* both stay, for the text's sake */
			values[i * r.n_columns + c] = lua_isboolean(L, -1) ? lua_toboolean(L, -1) ? "t" : "f" : lua_tostring(L, -1);
			lua_replace(L, -2);
		}
	const struct world_reply reply = { r.n_columns, n, r.names, r.types, values };
	if (!sim_teach(s, node, sql, &reply))
		return luaL_error(L, "too many answers");
	return 0;
}

/* ---- what only stands behind others --------------------------------------------------------------------------------------------------- */

static int n_case(lua_State *L)
{
	struct script *sc = script_of(L);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (sc->sim || sc->n == CASES_MAX)
		return luaL_error(L, sc->sim ? "a case cannot begin another" : "too many cases");
	sc->cases = mem_grow(sc->cases, (sc->n + 1) * sizeof *sc->cases);
	sc->cases[sc->n].name = mem_text(luaL_checkstring(L, 1));
	lua_settop(L, 2);
	sc->cases[sc->n].ref = luaL_ref(L, LUA_REGISTRYINDEX);
	sc->n++;
	return 0;
}

static int n_amount(lua_State *L)
{
	double n = 0;
	const struct unit *u = read_amount(luaL_checkstring(L, 1), &n);
	if (u)
		lua_pushnumber(L, n * (u->seconds + u->bytes));
	else
		lua_pushnil(L);
	return 1;
}

static void push_route(lua_State *L, const struct sim_route *r)
{
	lua_createtable(L, 0, 3);
	lua_pushstring(L, *r->node ? r->node : NULL);
	lua_setfield(L, -2, "node");
	lua_pushstring(L, *r->error ? r->error : NULL);
	lua_setfield(L, -2, "refused");
	lua_pushstring(L, r->story);
	lua_setfield(L, -2, "story");
}

/* database, user, sql -> what came of it, several times */
static int n_routes(lua_State *L)
{
	struct script *sc = script_of(L);
	const char *database = luaL_checkstring(L, 1), *user = luaL_checkstring(L, 2), *sql = luaL_checkstring(L, 3);
	if (!sc->sim || !sim_has_begun(sc->sim))
		return luaL_error(L, "there is no cluster");
	struct sim_route *all = lua_newuserdata(L, ROUTES * sizeof *all);
	if (!sim_route(sc->sim, database, user, sql, ROUTES, all))
		return luaL_error(L, "Lunapool does not run now");
	lua_createtable(L, ROUTES, 0);
	for (int i = 0; i < ROUTES; i++) {
		push_route(L, &all[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* names, texts of their blocks, settings, policy, sync, has_clients -> what was wrong, or nil */
static int n_cluster(lua_State *L)
{
	struct script *sc = script_of(L);
	struct sim_node nodes[NODES_MAX];
	struct sim_conf conf = { .nodes = nodes };
	struct err err;
	size_t n = lua_objlen(L, 1);
	lua_settop(L, 6);
	if (!sc->sim || sim_has_begun(sc->sim))
		return luaL_error(L, sc->sim ? "a case has one cluster" : "a simulation lives as long as its case");
	if (n > NODES_MAX)
		return luaL_error(L, "at most %d nodes", NODES_MAX);
	for (conf.n = 0; conf.n < n; conf.n++) { /* the tables hold the texts */
		lua_rawgeti(L, 1, (int)conf.n + 1);
		lua_rawgeti(L, 2, (int)conf.n + 1);
		nodes[conf.n] = (struct sim_node){ luaL_checkstring(L, -2), luaL_checkstring(L, -1) };
		lua_settop(L, 6);
	}
	conf.settings = luaL_checkstring(L, 3);
	conf.policy = luaL_optstring(L, 4, NULL);
	conf.sync = luaL_optstring(L, 5, NULL);
	conf.is_quiet = !lua_toboolean(L, 6);
	lua_pushstring(L, sim_begin(sc->sim, &conf, &err) ? NULL : err.text);
	return 1;
}

/* ---- the module ----------------------------------------------------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {
#define METHOD(name) { #name, m_##name },
#include "methods.h"
	METHODS(METHOD){ NULL, NULL }
};

static int open_module(lua_State *L)
{
	static const luaL_Reg natives[] = {
		{ "case", n_case }, { "amount", n_amount }, { "routes", n_routes }, { "cluster", n_cluster }, { NULL, NULL }
	};
	struct script *sc = script_of(L);
	struct slice text = policy_control_part("test");
	if (luaL_loadbuffer(L, (const char *)text.at, text.len, "@lunapool/test.lua") != 0)
		return lua_error(L);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_newtable(L);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "__index");
	sc->methods = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	luaL_register(L, NULL, natives);
	lua_pushstring(L, sc->path);
	lua_setfield(L, -2, "path");
	lua_call(L, 2, 1);
	return 1;
}

static int load(lua_State *L)
{
	struct script *sc = lua_touserdata(L, 1);
	luaL_openlibs(L);
	lua_pushlightuserdata(L, sc);
	lua_setfield(L, LUA_REGISTRYINDEX, "lunapool.script");
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, open_module);
	lua_setfield(L, -2, "lunapool.test");
	if (luaL_loadfile(L, sc->path) != 0)
		return lua_error(L);
	lua_call(L, 0, 0);
	return 0;
}

static void say_why(lua_State *L, char *why, size_t room)
{
	const char *text = lua_tostring(L, -1);
	snprintf(why, room, "%s", text ? text : "an error was raised that is no text");
	lua_pop(L, 1);
}

struct script *script_load(const char *path, char *why, size_t room)
{
	struct script *sc = mem_alloc(sizeof *sc);
	if (!realpath(path, sc->path)) {
		snprintf(why, room, "%s: cannot be read", path);
		mem_free(sc);
		return NULL;
	}
	sc->L = luaL_newstate();
	if (!sc->L)
		die("out of memory: a Lua state");
	if (lua_cpcall(sc->L, load, sc) == 0)
		return sc;
	say_why(sc->L, why, room);
	script_free(sc);
	return NULL;
}

void script_free(struct script *sc)
{
	if (!sc)
		return;
	lua_close(sc->L);
	for (size_t i = 0; i < sc->n; i++)
		mem_free(sc->cases[i].name);
	mem_free(sc->cases);
	mem_free(sc);
}

size_t script_cases(const struct script *sc)
{
	return sc->n;
}

const char *script_name(const struct script *sc, size_t at)
{
	return sc->cases[at].name;
}

bool script_run(struct script *sc, size_t at, uint64_t seed, char *why, size_t room, void (*trace)(void *arg, const char *line),
                void *arg)
{
	lua_State *L = sc->L;
	sc->sim = sim_new(seed);
	sim_on_program(sc->sim, on_program, sc);
	lua_newtable(L);
	sc->programs = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->cases[at].ref);
	lua_newtable(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, sc->methods);
	lua_setmetatable(L, -2);
	bool is_good = lua_pcall(L, 1, 0, 0) == 0;
	if (!is_good)
		say_why(L, why, room);
	else if (sim_violation(sc->sim))
		snprintf(why, room, "violated: %s", sim_violation(sc->sim));
	is_good = is_good && !sim_violation(sc->sim);
	if (!is_good)
		sim_trace(sc->sim, trace, arg);
	sim_free(sc->sim);
	sc->sim = NULL;
	luaL_unref(L, LUA_REGISTRYINDEX, sc->programs);
	return is_good;
}
