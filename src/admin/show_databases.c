/*
 * show_databases — the views of databases and users: what the configuration says of them, and what all their pools have together.
 *
 * Clients are those that the limits count, from their login on; servers are those of the pools.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "priv.h"

#define COLUMNS(id) .columns = id##_columns, .n_columns = ARRAY_LEN(id##_columns)

/* ---- databases and users with what they have ---------------------------------------------------------------------------- */

static struct tally *tally_of(struct tallies *t, const char *name)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		t->at = mem_grow(t->at, t->cap * sizeof *t->at);
	}
	t->at[t->n] = (struct tally){ .name = mem_text(name) };
	return &t->at[t->n++];
}

struct tally_walk {
	struct tallies *out;
	enum tally_of of;
};

static void tally_pool(void *arg, const struct pool_row *row)
{
	const struct tally_walk *walk = arg;
	struct tally *t = tally_of(walk->out, walk->of == TALLY_USERS ? row->user : row->database);
	t->servers = pool_row_servers(row);
	t->counts = row->counts;
}

static void tally_clients(void *arg, struct slice name, int64_t taken)
{
	char *text = mem_textn((const char *)name.at, name.len);
	if (taken)
		tally_of(arg, text)->clients = taken;
	mem_free(text);
}

static void tally_past(void *arg, const char *database, const struct pool_counts *counts)
{
	tally_of(arg, database)->counts = *counts;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tally *)a)->name, ((const struct tally *)b)->name);
}

static void tallies_merge(struct tallies *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (n && strcmp(t->at[n - 1].name, t->at[i].name) == 0) {
			t->at[n - 1].servers += t->at[i].servers;
			t->at[n - 1].clients += t->at[i].clients;
			pool_counts_add(&t->at[n - 1].counts, &t->at[i].counts);
			mem_free(t->at[i].name);
		} else {
			t->at[n++] = t->at[i];
		}
	}
	t->n = n;
}

void tallies_gather(const struct console *c, enum tally_of of, struct tallies *out)
{
	const struct conf *conf = c->topo->conf;
	struct tally_walk walk = { out, of };
	*out = (struct tallies){ 0 };
	pool_registry_each(c->pool_registry, tally_pool, &walk);
	limits_each(pool_registry_limits(c->pool_registry), of == TALLY_USERS ? "client_user" : "client_db", tally_clients, out);
	if (of == TALLY_DATABASES) {
		pool_registry_each_past(c->pool_registry, tally_past, out);
		for (size_t i = 0; i < conf->n_databases; i++)
			if (strcmp(conf->databases[i].name, "*") != 0)
				tally_of(out, conf->databases[i].name);
	}
	for (size_t i = 0; of == TALLY_USERS && i < conf->n_users; i++)
		tally_of(out, conf->users[i].name);
	if (out->n)
		qsort(out->at, out->n, sizeof *out->at, by_name);
	tallies_merge(out);
}

void tallies_fini(struct tallies *t)
{
	for (size_t i = 0; i < t->n; i++)
		mem_free(t->at[i].name);
	mem_free(t->at);
}

static void free_tallies(struct items *items)
{
	tallies_fini(&(struct tallies){ .n = items->n, .at = items->at });
}

static void gather_tallies(const struct console *c, enum tally_of of, struct items *items)
{
	struct tallies t;
	tallies_gather(c, of, &t);
	*items = (struct items){ .at = t.at, .n = t.n, .free = free_tallies };
}

/* ---- DATABASES --------------------------------------------------------------------------------------------------------- */

static const struct column databases_columns[] = {
	{ "name", COLUMN_TEXT },
	{ "host", COLUMN_TEXT },
	{ "port", COLUMN_INT4 },
	{ "database", COLUMN_TEXT },
	{ "force_user", COLUMN_TEXT },
	{ "pool_size", COLUMN_INT4 },
	{ "min_pool_size", COLUMN_INT4 },
	{ "reserve_pool_size", COLUMN_INT4 },
	{ "server_lifetime", COLUMN_INT4 },
	{ "pool_mode", COLUMN_TEXT },
	{ "load_balance_hosts", COLUMN_TEXT },
	{ "max_connections", COLUMN_INT4 },
	{ "current_connections", COLUMN_INT4 },
	{ "max_client_connections", COLUMN_INT4 },
	{ "current_client_connections", COLUMN_INT4 },
	{ "paused", COLUMN_INT4 },
	{ "disabled", COLUMN_INT4 },
	{ "reserve_pool", COLUMN_INT4 }, /* as PgBouncer called it before 1.24: exporters still read it */
	{ "cluster", COLUMN_TEXT },
};

static void databases_gather(const struct console *c, struct slice collected, struct items *items)
{
	gather_tallies(c, TALLY_DATABASES, items);
}

/* A database that was served once and is not configured any more. */
static void unknown_database_row(struct table *t, const struct tally *it)
{
	table_row(t);
	table_text(t, it->name);
	while (t->n_cells < t->n_columns)
		if (t->columns[t->n_cells].type == COLUMN_INT4)
			table_int(t, 0);
		else
			table_null(t);
}

static void databases_row(struct table *t, const struct items *items, size_t i)
{
	const struct tally *it = &((const struct tally *)items->at)[i];
	const struct topo *topo = t->console->topo;
	const struct conf_database *d = conf_database(topo->conf, it->name);
	struct conf_effective e;
	if (!d) {
		unknown_database_row(t, it);
		return;
	}
	const struct topo_node *primary = topo_primary(topo, d->cluster_at);
	conf_effective(topo->conf, d, NULL, &e);
	table_row(t);
	table_text(t, it->name);
	table_text(t, primary ? primary->host : NULL);
	table_int(t, primary ? primary->port : 0);
	table_text(t, d->dbname[0] ? d->dbname : it->name);
	table_text(t, or_null(d->user));
	table_int(t, e.size);
	table_int(t, e.min_size);
	table_int(t, e.reserve_size);
	table_int(t, (int64_t)(topo->conf->pool.server_lifetime / US_PER_S));
	table_text(t, or_null(pool_mode_name(d->pool_mode))); /* of its own; SHOW POOLS has what is in force */
	table_null(t);
	table_int(t, d->max_connections);
	table_int(t, it->servers);
	table_int(t, d->max_client_connections);
	table_int(t, it->clients);
	table_int(t, topo_holds(topo, it->name, TOPO_PAUSED));
	table_int(t, topo_holds(topo, it->name, TOPO_DISABLED));
	table_int(t, e.reserve_size);
	table_text(t, topo->clusters[d->cluster_at].name);
}
const struct view show_databases = { COLUMNS(databases), .gather = databases_gather, .row = databases_row };

/* ---- USERS ------------------------------------------------------------------------------------------------------------- */

static const struct column users_columns[] = {
	{ "name", COLUMN_TEXT },
	{ "pool_size", COLUMN_TEXT },
	{ "reserve_pool_size", COLUMN_TEXT },
	{ "pool_mode", COLUMN_TEXT },
	{ "max_user_connections", COLUMN_INT4 },
	{ "current_connections", COLUMN_INT4 },
	{ "max_user_client_connections", COLUMN_INT4 },
	{ "current_client_connections", COLUMN_INT4 },
};

static void users_gather(const struct console *c, struct slice collected, struct items *items)
{
	gather_tallies(c, TALLY_USERS, items);
}

/* PgBouncer's way: a text, empty where the user has none of his own. */
static void cell_size(struct table *t, int64_t size)
{
	char text[24] = "";
	if (size >= 0)
		snprintf(text, sizeof text, "%9lld", (long long)size);
	table_text(t, text);
}

static void users_row(struct table *t, const struct items *items, size_t i)
{
	const struct tally *it = &((const struct tally *)items->at)[i];
	const struct conf_user *u = conf_user(t->console->topo->conf, it->name);
	table_row(t);
	table_text(t, it->name);
	cell_size(t, u ? u->pool_size : -1);
	cell_size(t, u ? u->reserve_pool_size : -1);
	table_text(t, u ? or_null(pool_mode_name(u->pool_mode)) : NULL);
	table_int(t, u ? u->max_connections : 0);
	table_int(t, it->servers);
	table_int(t, u ? u->max_client_connections : 0);
	table_int(t, it->clients);
}
const struct view show_users = { COLUMNS(users), .gather = users_gather, .row = users_row };
