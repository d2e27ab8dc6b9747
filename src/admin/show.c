/*
 * show — the smaller views of the console: each is its columns, then where its rows come from.
 *
 * Columns that PgBouncer has too carry its names and types and come in its order; our own come behind them.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/version.h"
#include "conf/users.h"
#include "priv.h"

#define COLUMNS(id) .columns = id##_columns, .n_columns = ARRAY_LEN(id##_columns)
#define VIEW(id) const struct view show_##id = { COLUMNS(id), .rows = id##_rows }

const char *or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

int64_t pool_row_servers(const struct pool_row *row)
{
	return row->lent + row->idle + row->opening + row->resetting;
}

void *items_add(struct items *items, size_t size)
{
	if (items->n == items->cap) {
		items->cap = items->cap ? 2 * items->cap : 16;
		items->at = mem_grow(items->at, items->cap * size);
	}
	return (char *)items->at + items->n++ * size;
}

/* ---- HELP, VERSION */

static const struct column help_columns[] = { { "command", COLUMN_TEXT },
	                                          { "description", COLUMN_TEXT },
	                                          { "level", COLUMN_TEXT } };

static void help_rows(struct table *t)
{
	char syntax[160];
	for (size_t i = 0; i < n_commands; i++) {
		table_row(t);
		table_text(t, command_syntax(&commands[i], syntax, sizeof syntax));
		table_text(t, commands[i].sentence);
		table_text(t, commands[i].level == LEVEL_ADMIN ? "admin" : "stats");
	}
}
VIEW(help);

static const struct column version_columns[] = { { "version", COLUMN_TEXT } };

static void version_rows(struct table *t)
{
	table_row(t);
	table_text(t, "Lunapool " LUNAPOOL_VERSION);
}
VIEW(version);

/* ---- what does not apply: columns for who reads them by name */

static void no_rows(struct table *t)
{
}
#define EMPTY_VIEW(id) const struct view show_##id = { COLUMNS(id), .rows = no_rows }

static const struct column dns_hosts_columns[] = { { "hostname", COLUMN_TEXT },
	                                               { "ttl", COLUMN_INT8 },
	                                               { "addrs", COLUMN_TEXT } };
EMPTY_VIEW(dns_hosts);

static const struct column dns_zones_columns[] = { { "zonename", COLUMN_TEXT },
	                                               { "serial", COLUMN_INT8 },
	                                               { "count", COLUMN_INT4 } };
EMPTY_VIEW(dns_zones);

static const struct column peers_columns[] = {
	{ "peer_id", COLUMN_INT4 },
	{ "host", COLUMN_TEXT },
	{ "port", COLUMN_INT4 },
	{ "pool_size", COLUMN_INT4 },
};
EMPTY_VIEW(peers);

static const struct column peer_pools_columns[] = {
	{ "peer_id", COLUMN_INT4 },
	{ "cl_active_cancel_req", COLUMN_INT4 },
	{ "cl_waiting_cancel_req", COLUMN_INT4 },
	{ "sv_active_cancel", COLUMN_INT4 },
	{ "sv_login", COLUMN_INT4 },
};
EMPTY_VIEW(peer_pools);

/* ---- STATE, LISTS */

static const struct column state_columns[] = { { "key", COLUMN_TEXT }, { "value", COLUMN_TEXT } };

static void state_row(struct table *t, const char *key, bool value)
{
	table_row(t);
	table_text(t, key);
	table_yes(t, value);
}

static void state_rows(struct table *t)
{
	const struct topo *topo = t->console->topo;
	bool is_paused = topo_said_of(topo, "*") & TOPO_PAUSED;
	state_row(t, "active", !is_paused);
	state_row(t, "paused", is_paused);
	state_row(t, "suspended", false);
	state_row(t, "databases_paused", topo_any(topo, TOPO_PAUSED) != NULL);
	state_row(t, "databases_disabled", topo_any(topo, TOPO_DISABLED) != NULL);
}
VIEW(state);

static const struct column lists_columns[] = { { "list", COLUMN_TEXT }, { "items", COLUMN_INT4 } };

struct list_sums {
	int64_t pools, servers;
};

static void list_sums_add(void *arg, const struct pool_row *row)
{
	struct list_sums *sums = arg;
	sums->pools++;
	sums->servers += pool_row_servers(row);
}

static void list_row(struct table *t, const char *name, int64_t items)
{
	table_row(t);
	table_text(t, name);
	table_int(t, items);
}

static void lists_rows(struct table *t)
{
	const struct console *c = t->console;
	struct list_sums sums = { 0 };
	struct tallies databases, users;
	pool_registry_each(c->pool_registry, list_sums_add, &sums);
	tallies_gather(c, TALLY_DATABASES, &databases);
	tallies_gather(c, TALLY_USERS, &users);
	int64_t welcomed = session_registry_welcomed(c->session_registry), all = 0;
	for (unsigned i = 0; i < c->n_workers; i++)
		all += session_registry_clients_of(c->session_registry, i);
	list_row(t, "databases", (int64_t)databases.n);
	list_row(t, "users", (int64_t)users.n);
	list_row(t, "peers", 0);
	list_row(t, "pools", sums.pools);
	list_row(t, "peer_pools", 0);
	list_row(t, "free_clients", 0);
	list_row(t, "used_clients", welcomed);
	list_row(t, "login_clients", all > welcomed ? all - welcomed : 0);
	list_row(t, "free_servers", 0);
	list_row(t, "used_servers", sums.servers);
	list_row(t, "dns_names", 0);
	list_row(t, "dns_zones", 0);
	list_row(t, "dns_queries", 0);
	list_row(t, "dns_pending", 0);
	tallies_fini(&databases);
	tallies_fini(&users);
}
VIEW(lists);

/* ---- MEM: each worker's own */

static const struct column mem_columns[] = {
	{ "name", COLUMN_TEXT }, { "size", COLUMN_INT4 },     { "used", COLUMN_INT4 },
	{ "free", COLUMN_INT4 }, { "memtotal", COLUMN_INT4 }, { "worker", COLUMN_INT4 },
};

/* SIZE or TOTAL 0: they have none that is known. */
static void mem_row(struct table *t, const char *name, size_t size, size_t used, size_t unused, size_t total)
{
	table_row(t);
	table_text(t, name);
	if (size)
		table_int(t, (int64_t)size);
	else
		table_null(t);
	table_int(t, (int64_t)used);
	table_int(t, (int64_t)unused);
	if (total || !used)
		table_int(t, (int64_t)total);
	else
		table_null(t);
	table_int(t, t->console->worker);
}

struct server_memory {
	size_t servers, statements;
};

static void server_memory_add(void *arg, const struct server_row *row)
{
	struct server_memory *m = arg;
	m->servers++;
	m->statements += stmts_len(&row->srv->stmts);
}

static bool mem_survey(struct table *t, uint32_t *at, unsigned most)
{
	struct session_memory m;
	struct server_memory v = { 0 };
	sessions_memory(t->console->sessions, &m);
	pools_each_server(t->console->pools, server_memory_add, &v);
	mem_row(t, "client_cache", m.session_bytes, m.sessions, m.sessions_free, m.session_bytes * (m.sessions + m.sessions_free));
	mem_row(t, "server_cache", sizeof(struct server), v.servers, 0, sizeof(struct server) * v.servers);
	mem_row(t, "client_prepared_statement_cache", 0, m.statements, 0, m.statement_bytes);
	mem_row(t, "server_prepared_statement_cache", 0, v.statements, 0, 0);
	return false;
}
const struct view show_mem = { COLUMNS(mem), .survey = mem_survey };

/* ---- CONFIG */

static const struct column config_columns[] = {
	{ "key", COLUMN_TEXT },
	{ "value", COLUMN_TEXT },
	{ "default", COLUMN_TEXT },
	{ "changeable", COLUMN_TEXT },
};

static void setting_of(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart)
{
	struct table *t = arg;
	table_row(t);
	table_text(t, name);
	table_text(t, value);
	table_text(t, dflt);
	table_yes(t, !needs_restart);
}

/* One of them again, under PgBouncer's name. */
struct alias {
	struct table *t;
	const char *name, *of;
};

static void alias_of(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart)
{
	const struct alias *a = arg;
	if (strcmp(name, a->of) == 0)
		setting_of(a->t, a->name, value, dflt, needs_restart);
}

static void config_rows(struct table *t)
{
#define ALIAS_ROW(its_name, its_of) { t, its_name, its_of },
	const struct alias aliases[] = { CONSOLE_ALIASES(ALIAS_ROW) };
	const struct conf *conf = t->console->topo->conf;
	conf_each(conf, setting_of, t);
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		conf_each(conf, alias_of, (void *)&aliases[i]);
	setting_of(t, "max_user_connections", "0", "0",
	           true); /* exporters ask for it; here each user has a limit of its own: SHOW USERS */
	setting_of(t, "max_db_connections", "0", "0", true); /* the same: SHOW DATABASES */
}
VIEW(config);
