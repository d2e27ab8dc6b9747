/*
 * asked — what is asked about, as a script sees it: statement, query, its hint, client.
 *
 * Getters push one value each, from the call's own query or client; view.c has made sure that there is one.
 */
#include <math.h>
#include <string.h>

#include "priv.h"
#include "sql/class.h"
#include "sql/classify.h"
#include "sql/facts.h"
#include "sql/hint.h"
#include "tbl/policy.h"

/* ---- statement, query ------------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
	[SQL_OTHER] = "other",
	[SQL_OPAQUE] = "opaque",
	[SQL_SELECT] = "select",
	[SQL_INSERT] = "insert",
	[SQL_UPDATE] = "update",
	[SQL_DELETE] = "delete",
	[SQL_MERGE] = "merge",
	[SQL_COPY_IN] = "copy_in",
	[SQL_COPY_OUT] = "copy_out",
	[SQL_EXPLAIN] = "explain",
	[SQL_SHOW] = "show",
	[SQL_BEGIN] = "begin",
	[SQL_COMMIT] = "commit",
	[SQL_ROLLBACK] = "rollback",
	[SQL_SAVEPOINT] = "savepoint",
	[SQL_RELEASE] = "release",
	[SQL_ROLLBACK_TO] = "rollback_to",
	[SQL_PREPARE_TRANSACTION] = "prepare_transaction",
	[SQL_COMMIT_PREPARED] = "commit_prepared",
	[SQL_SET_TRANSACTION] = "set_transaction",
	[SQL_SET] = "set",
	[SQL_SET_LOCAL] = "set_local",
	[SQL_RESET] = "reset",
	[SQL_RESET_ALL] = "reset_all",
	[SQL_DISCARD_ALL] = "discard_all",
	[SQL_DISCARD_PLANS] = "discard_plans",
	[SQL_DISCARD_TEMP] = "discard_temp",
	[SQL_DISCARD_SEQUENCES] = "discard_sequences",
	[SQL_PREPARE] = "prepare",
	[SQL_EXECUTE] = "execute",
	[SQL_DEALLOCATE] = "deallocate",
	[SQL_DEALLOCATE_ALL] = "deallocate_all",
	[SQL_DECLARE] = "declare",
	[SQL_FETCH] = "fetch",
	[SQL_CLOSE] = "close",
	[SQL_CLOSE_ALL] = "close_all",
	[SQL_LISTEN] = "listen",
	[SQL_UNLISTEN] = "unlisten",
	[SQL_UNLISTEN_ALL] = "unlisten_all",
	[SQL_NOTIFY] = "notify",
	[SQL_LOCK] = "lock",
	[SQL_EMPTY] = "empty",
};

_Static_assert(ARRAY_LEN(kind_names) == SQL_EMPTY + 1, "each kind has a name");

const char *policy_kind_name(const struct sql_class *class)
{
	return class->n == 1 ? kind_names[class->part[0].kind] : "multi";
}

static void push_text(lua_State *L, const char *text)
{
	lua_pushstring(L, text ? text : "");
}

static void push_address(lua_State *L, const void *client, void (*put)(const void *, char *, size_t))
{
	char address[POLICY_NAME_MAX] = "";
	if (put)
		put(client, address, sizeof address);
	lua_pushstring(L, address);
}

static void query_text(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	struct slice t = vm->query->text;
	lua_pushlstring(L, (const char *)t.at, t.len < POLICY_TEXT_MAX ? t.len : POLICY_TEXT_MAX);
}

static void query_kind(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushstring(L, policy_kind_name(vm->query->class));
}

static void query_is_read(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->class->is_read);
}

static void query_unknown(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->class->is_opaque);
}

static void query_locks(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	bool locks = c->effects & SQL_LOCKS_ROWS;
	for (uint32_t i = 0; i < c->n; i++)
		locks |= c->part[i].kind == SQL_LOCK;
	lua_pushboolean(L, locks);
}

static void query_functions(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	int n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < c->n; i++)
		for (char **f = c->part[i].functions; f && *f; f++) {
			lua_pushstring(L, *f);
			lua_rawseti(L, -2, ++n);
		}
}

static bool is_relation(const char *touched)
{
	return *touched == FACTS_READ || *touched == FACTS_WRITE;
}

static void query_relations(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const struct sql_class *c = vm->query->class;
	int n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < c->n; i++)
		for (char **t = c->part[i].touched; t && *t; t++) {
			if (!is_relation(*t))
				continue;
			lua_pushstring(L, *t + 1);
			lua_rawseti(L, -2, ++n);
		}
}

static int query_touches(lua_State *L)
{
	const struct handle *h = handle_at(L, 1);
	const char *name = luaL_checkstring(L, 2), *dot = strrchr(name, '.');
	const struct policy_query *q = vm_of(L)->query;
	bool touches = false;
	if (!h || (h->is != HANDLE_QUERY && h->is != HANDLE_STATEMENT))
		return luaL_typerror(L, 1, "query");
	if (!q)
		return luaL_error(L, "there is no query now");
	for (uint32_t i = 0; i < q->class->n; i++)
		for (char **t = q->class->part[i].touched; t && *t; t++)
			touches |= is_relation(*t) && strcmp(*t + 1, dot ? dot + 1 : name) == 0;
	lua_pushboolean(L, touches);
	return 1;
}

static void query_user(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->user);
}

static void query_database(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->database);
}

static void query_application(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->query->application);
}

static void query_client_address(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_address(L, vm->query->client, vm->query->put_address);
}

static void query_in_transaction(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->in_transaction);
}

static void query_read_only(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->read_only);
}

static void query_wrote(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->wrote);
}

static void query_stays(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushboolean(L, vm->query->stays);
}

static void query_ms_since_write(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushnumber(L, vm->query->ms_since_write < 0 ? HUGE_VAL : (double)vm->query->ms_since_write);
}

static void query_class(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	const char *workload = vm->query->workload;
	if (workload && *workload)
		lua_pushstring(L, workload);
	else
		lua_pushnil(L);
}

static void query_parameters(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	lua_pushnumber(L, sql_parameters(vm->query->text));
}

static void query_hint(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	if (vm->query->hint)
		lua_rawgeti(L, LUA_REGISTRYINDEX, REF_HINT);
	else
		lua_pushnil(L);
}

static void push_slice(lua_State *L, struct slice s)
{
	if (s.len)
		lua_pushlstring(L, (const char *)s.at, s.len);
	else
		lua_pushnil(L);
}

static void hint_route(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->wants_primary ? slice_text("primary") : vm->query->hint->route);
}

static void hint_node(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->node);
}

static void hint_class(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_slice(L, vm->query->hint->class);
}

/* ---- client ---------------------------------------------------------------------------------------------------------------------- */

static void client_user(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->user);
}

static void client_database(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->database);
}

static void client_application(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_text(L, vm->client->application);
}

static void client_client_address(lua_State *L, struct policy_vm *vm, const struct handle *h)
{
	push_address(L, vm->client->client, vm->client->put_address);
}

#define QUERY_FIELD(n, type, when, ...) { #n, when, query_##n, NULL },
#define QUERY_METHOD(n, parameters, returns, when, ...) { #n, when, NULL, query_##n },
#define HINT_FIELD(n, type, when, ...) { #n, when, hint_##n, NULL },
#define CLIENT_FIELD(n, type, when, ...) { #n, when, client_##n, NULL },
#define NO_METHOD(...)
static const struct field of_query[] = { POLICY_STATEMENT(QUERY_FIELD, QUERY_METHOD) POLICY_QUERY(QUERY_FIELD, NO_METHOD) };
static const struct field of_hint[] = { POLICY_HINT(HINT_FIELD, NO_METHOD) };
static const struct field of_client[] = { POLICY_CLIENT(CLIENT_FIELD, NO_METHOD) };
const struct fields query_fields = { of_query, ARRAY_LEN(of_query) };
const struct fields hint_fields = { of_hint, ARRAY_LEN(of_hint) };
const struct fields client_fields = { of_client, ARRAY_LEN(of_client) };
