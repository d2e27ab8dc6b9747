/*
 * sql — lp.sql(): one statement at a node, with parameters; its rows become tables.
 *
 * Each has a connection of its own, as the service role, that ends with it: nothing of one is left for the next, and who stops waiting
 * closes it.  The server is told the deadline, too, so that a statement ends there when nobody waits for it any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"
#include "upstream/service.h"

#define PARAMETERS_MAX 100
#define TIMEOUT_S 10.
#define TIMEOUT_MOST_S 86400.
#define ROWS 1000.
#define ROWS_MOST 100000.
#define BYTES_MAX (1u << 20)
#define EXACT_MOST 9007199254740992.0 /* 2^53 */

struct query {
	struct wait wait;
	struct fiber *fiber;
	struct service *service;
};

/* ---- the answer ---------------------------------------------------------------------------------------------------------------- */

/* Oids of pg_type that have a Lua type of their own; int8 only where a number is exact.  Everything else is text. */
static void push_value(lua_State *L, const struct service_rows *rows, unsigned row, unsigned column)
{
	enum { TYPE_BOOL = 16, TYPE_INT8 = 20, TYPE_INT2 = 21, TYPE_INT4 = 23, TYPE_OID = 26, TYPE_FLOAT4 = 700, TYPE_FLOAT8 = 701 };
	const char *text = service_value(rows, row, column);
	double number;
	switch (service_column_type(rows, column)) {
	case TYPE_BOOL:
		lua_pushboolean(L, text[0] == 't');
		return;
	case TYPE_INT8:
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_OID:
	case TYPE_FLOAT4:
	case TYPE_FLOAT8:
		number = strtod(text, NULL);
		if (service_column_type(rows, column) == TYPE_INT8 && (number >= EXACT_MOST || number <= -EXACT_MOST))
			break;
		lua_pushnumber(L, number);
		return;
	default:
		break;
	}
	lua_pushlstring(L, text, service_value_len(rows, row, column));
}

static void push_row(lua_State *L, const struct service_rows *rows, unsigned row)
{
	unsigned n = service_columns_n(rows);
	lua_createtable(L, 0, (int)n);
	for (unsigned i = 0; i < n; i++) {
		if (service_is_null(rows, row, i))
			continue;
		lua_pushstring(L, service_column_name(rows, i));
		push_value(L, rows, row, i);
		lua_rawset(L, -3);
	}
}

static int push_rows(lua_State *L, void *arg)
{
	const struct service_rows *rows = arg;
	unsigned n = service_rows_n(rows);
	lua_createtable(L, (int)n, 1);
	for (unsigned i = 0; i < n; i++) {
		push_row(L, rows, i);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_pushnumber(L, (double)service_rows_affected(rows));
	lua_setfield(L, -2, "affected");
	return 1;
}

static int push_failure(lua_State *L, void *arg)
{
	struct action_error e = { .kind = "sql", .err = *(const struct err *)arg, .status = -1 };
	if (strncmp(e.err.sqlstate, "08", 2) == 0)
		e.kind = "connect";
	return error_push(L, &e);
}

static void on_rows(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct query *q = arg;
	struct fiber *f = q->fiber;
	struct err copy = err ? *err : (struct err){ 0 };
	service_free(q->service);
	mem_free(q);
	if (err)
		fiber_wake(f, push_failure, &copy);
	else
		fiber_wake(f, push_rows, (void *)(uintptr_t)rows);
}

static void sql_cancel(struct wait *w)
{
	struct query *q = CONTAINER_OF(w, struct query, wait);
	service_free(q->service);
	mem_free(q);
}

/* ---- the question ---------------------------------------------------------------------------------------------------------------- */

static void take_parameters(lua_State *L, int table, struct service_statement *s)
{
	if (lua_isnil(L, table))
		return;
	luaL_checktype(L, table, LUA_TTABLE);
	int n = (int)lua_objlen(L, table);
	luaL_argcheck(L, n <= PARAMETERS_MAX, table, "more than 100 parameters");
	luaL_checkstack(L, n + 5, "too many parameters");
	const char **values = lua_newuserdata(L, ((size_t)n + 1) * sizeof *values);
	for (int i = 0; i < n; i++) {
		size_t len;
		lua_rawgeti(L, table, i + 1); /* it stays */
		if (lua_isboolean(L, -1))
			values[i] = lua_toboolean(L, -1) ? "true" : "false";
		else if (!(values[i] = lua_tolstring(L, -1, &len)) || strlen(values[i]) != len)
			luaL_error(L, "parameter %d is a %s, or has a zero byte", i + 1, luaL_typename(L, -1));
	}
	s->n = (unsigned)n;
	s->parameters = values;
}

static int refuse(lua_State *L, const char *why)
{
	struct err err;
	err_set(&err, "08001", "%s", why);
	return push_failure(L, &err);
}

int act_sql(lua_State *L)
{
	static const char *const known[] = { "timeout", "dbname", "rows", NULL };
	struct fiber *f = fiber_check(L);
	const struct conf_cluster *conf;
	struct service_statement s = { .max_bytes = BYTES_MAX };
	size_t len;
	lua_settop(L, 4);
	int node_at = policy_control_check_node(L, 1);
	s.sql = luaL_checklstring(L, 2, &len);
	luaL_argcheck(L, strlen(s.sql) == len, 2, "it has a zero byte");
	if (lua_isnil(L, 4)) {
		lua_newtable(L);
		lua_replace(L, 4);
	}
	luaL_checktype(L, 4, LUA_TTABLE);
	check_options(L, 4, known);
	double timeout_s = number_option(L, 4, "timeout", TIMEOUT_S, 0.001, TIMEOUT_MOST_S);
	s.max_rows = (unsigned)number_option(L, 4, "rows", ROWS, 1, ROWS_MOST);
	const char *dbname = text_option(L, 4, "dbname", &len);
	take_parameters(L, 3, &s);
	const struct conf_node *node = hook_vm_conf_node(f->run->vm, node_at, &conf);
	if (!node)
		return refuse(L, "the node is not in the configuration any more");
	if (!*conf->service_user)
		return refuse(L, "the cluster has no service_user");
	struct hooks *h = f->run->hooks;
	uint64_t timeout_us = (uint64_t)(timeout_s * (double)US_PER_S);
	struct service_target target = { .host = node->host,
		                             .port = (uint16_t)node->port,
		                             .dbname = dbname ? dbname : conf->service_dbname,
		                             .user = conf->service_user,
		                             .password = conf->service_password,
		                             .cluster = conf,
		                             .statement_timeout_us = timeout_us };
	struct query *q = mem_alloc(sizeof *q);
	*q = (struct query){ .wait = { .cancel = sql_cancel }, .fiber = f };
	snprintf(q->wait.what, sizeof q->wait.what, "sql at %.40s: %.40s", node->name, s.sql);
	q->service = service_new(h->env.loop, h->env.resolver, h->env.mailbox, &target);
	bool is_asked = service_ask_bounded(q->service, &s, timeout_us, on_rows, q);
	ASSERT(is_asked);
	return fiber_wait(L, f, &q->wait);
}
