/*
 * show_pools — the views of pools, databases, users and limits.
 *
 * Rows of the registry are copied under its lock and written afterwards, some at a time.  What monitoring tools take for the name of a row is unique: in
 * SHOW POOLS (database, user), whatever the node.
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

/* ---- POOLS -------------------------------------------------------------------------------------------------------- */

static const struct column pools_columns[] = {
	{ "database", COLUMN_TEXT },
	{ "user", COLUMN_TEXT },
	{ "cl_active", COLUMN_INT4 },
	{ "cl_waiting", COLUMN_INT4 },
	{ "cl_active_cancel_req", COLUMN_INT4 },
	{ "cl_waiting_cancel_req", COLUMN_INT4 },
	{ "sv_active", COLUMN_INT4 },
	{ "sv_active_cancel", COLUMN_INT4 },
	{ "sv_being_canceled", COLUMN_INT4 },
	{ "sv_idle", COLUMN_INT4 },
	{ "sv_used", COLUMN_INT4 },
	{ "sv_tested", COLUMN_INT4 },
	{ "sv_login", COLUMN_INT4 },
	{ "maxwait", COLUMN_INT4 },
	{ "maxwait_us", COLUMN_INT4 },
	{ "pool_mode", COLUMN_TEXT },
	{ "load_balance_hosts", COLUMN_TEXT },
	{ "node", COLUMN_TEXT },
	{ "sv_pinned", COLUMN_INT4 },
	{ "pool_size", COLUMN_INT4 },
};

/* A row with its texts in one block. */
struct pool_copy {
	struct pool_row row;
	char *texts;
};

static char *copy_text(char **at, const char **text)
{
	char *to = *at;
	*at = stpcpy(to, *text) + 1;
	*text = to;
	return to;
}

struct gathering {
	struct items *items;
	size_t cap;
};

static void *gather_next(struct gathering *g, size_t size)
{
	struct items *items = g->items;
	if (items->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 16;
		items->at = mem_grow(items->at, g->cap * size);
	}
	return (char *)items->at + items->n++ * size;
}

static void gather_pool(void *arg, const struct pool_row *row)
{
	struct pool_copy *copy = gather_next(arg, sizeof *copy);
	copy->row = *row;
	copy->texts = mem_alloc(strlen(row->node) + strlen(row->database) + strlen(row->user) + 3);
	char *at = copy->texts;
	copy_text(&at, &copy->row.node);
	copy_text(&at, &copy->row.database);
	copy_text(&at, &copy->row.user);
}

static int by_database_and_user(const void *a, const void *b)
{
	const struct pool_row *x = &((const struct pool_copy *)a)->row, *y = &((const struct pool_copy *)b)->row;
	int order = strcmp(x->database, y->database);
	order = order ? order : strcmp(x->user, y->user);
	/* of the pools of one user on several nodes, that with clients gives its node's name first */
	return order ? order : x->clients > y->clients ? -1 : x->clients < y->clients;
}

static void add_row(struct pool_row *to, const struct pool_row *from)
{
	to->clients += from->clients;
	to->waiting += from->waiting;
	to->lent += from->lent;
	to->idle += from->idle;
	to->opening += from->opening;
	to->resetting += from->resetting;
	to->cancels += from->cancels;
	to->pinned += from->pinned;
	to->max_wait_us = from->max_wait_us > to->max_wait_us ? from->max_wait_us : to->max_wait_us;
}

static void join_node(struct pool_copy *to, const char *node)
{
	char *joined = NULL;
	if (asprintf(&joined, "%s,%s", to->row.node, node) < 0)
		return;
	size_t node_len = strlen(joined) + 1, database = strlen(to->row.database) + 1, user = strlen(to->row.user) + 1;
	char *texts = mem_alloc(node_len + database + user);
	memcpy(texts, joined, node_len);
	memcpy(texts + node_len, to->row.database, database);
	memcpy(texts + node_len + database, to->row.user, user);
	free(joined);
	mem_free(to->texts);
	to->texts = texts;
	to->row.node = texts;
	to->row.database = texts + node_len;
	to->row.user = texts + node_len + database;
}

static bool is_same(const struct pool_row *a, const struct pool_row *b)
{
	return strcmp(a->database, b->database) == 0 && strcmp(a->user, b->user) == 0;
}

/* After the sort: one row for each (database, user). */
static void merge_nodes(struct items *items)
{
	struct pool_copy *at = items->at;
	size_t n = 0;
	for (size_t i = 0; i < items->n; i++) {
		if (n && is_same(&at[n - 1].row, &at[i].row)) {
			add_row(&at[n - 1].row, &at[i].row);
			join_node(&at[n - 1], at[i].row.node);
			mem_free(at[i].texts);
		} else {
			at[n++] = at[i];
		}
	}
	items->n = n;
}

static void free_pools(struct items *items)
{
	struct pool_copy *at = items->at;
	for (size_t i = 0; i < items->n; i++)
		mem_free(at[i].texts);
	mem_free(items->at);
}

static void pools_gather(const struct console *c, struct items *items)
{
	struct gathering g = { .items = items };
	items->free = free_pools;
	pool_registry_each(c->pool_registry, gather_pool, &g);
	if (items->n)
		qsort(items->at, items->n, sizeof(struct pool_copy), by_database_and_user);
	merge_nodes(items);
}

static void pools_row(struct table *t, const struct items *items, size_t i)
{
	const struct pool_row *row = &((const struct pool_copy *)items->at)[i].row;
	table_row(t);
	table_text(t, row->database);
	table_text(t, row->user);
	table_int(t, row->clients > row->waiting ? row->clients - row->waiting : 0);
	table_int(t, row->waiting);
	table_int(t, row->cancels);
	table_int(t, 0); /* no cancel request waits: each has a connection of its own */
	table_int(t, row->lent);
	table_int(t, row->cancels);
	table_int(t, row->resetting);
	table_int(t, row->idle);
	table_int(t, 0); /* idle servers need no test before they are lent */
	table_int(t, row->resetting);
	table_int(t, row->opening);
	table_int(t, (int64_t)(row->max_wait_us / US_PER_S));
	table_int(t, (int64_t)(row->max_wait_us % US_PER_S));
	table_text(t, row->mode);
	table_null(t);
	table_text(t, row->node);
	table_int(t, row->pinned);
	table_int(t, row->size);
}
const struct view show_pools = { COLUMNS(pools), .gather = pools_gather, .row = pools_row };

/* ---- databases and users with what they have ---------------------------------------------------------------------------- */

static struct tally *tally_of(struct tallies *t, const char *name)
{
	t->at = mem_grow(t->at, (t->n + 1) * sizeof *t->at);
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
	t->servers = row->lent + row->idle + row->opening + row->resetting;
	t->clients = row->clients;
	t->counts = row->counts;
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
	struct tallies t = { items->n, items->at };
	tallies_fini(&t);
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

static void databases_gather(const struct console *c, struct items *items)
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
	table_null(t);
	table_int(t, e.size);
	table_int(t, e.min_size);
	table_int(t, e.reserve_size);
	table_int(t, (int64_t)(topo->conf->pool.server_lifetime / US_PER_S));
	table_text(t, pool_mode_name(e.mode));
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

static void users_gather(const struct console *c, struct items *items)
{
	gather_tallies(c, TALLY_USERS, items);
}

static void users_row(struct table *t, const struct items *items, size_t i)
{
	const struct tally *it = &((const struct tally *)items->at)[i];
	const struct conf_user *u = conf_user(t->console->topo->conf, it->name);
	char size[24] = "";
	if (u && u->pool_size >= 0)
		snprintf(size, sizeof size, "%9lld", (long long)u->pool_size);
	table_row(t);
	table_text(t, it->name);
	table_text(t, size);
	table_text(t, ""); /* the reserve is a database's */
	table_text(t, u ? or_null(pool_mode_name(u->pool_mode)) : NULL);
	table_int(t, u ? u->max_connections : 0);
	table_int(t, it->servers);
	table_int(t, u ? u->max_client_connections : 0);
	table_int(t, it->clients);
}
const struct view show_users = { COLUMNS(users), .gather = users_gather, .row = users_row };

/* ---- LIMITS ------------------------------------------------------------------------------------------------------------- */

static const struct column limits_columns[] = {
	{ "kind", COLUMN_TEXT },
	{ "name", COLUMN_TEXT },
	{ "taken", COLUMN_INT8 },
	{ "max", COLUMN_INT8 },
};

static void limit_row(struct table *t, const char *kind, const char *name, int64_t taken, int64_t max)
{
	table_row(t);
	table_text(t, kind);
	table_text(t, name);
	table_int(t, taken);
	if (max)
		table_int(t, max);
	else
		table_null(t); /* none */
}

struct node_servers {
	uint32_t node_id;
	int64_t servers;
};

static void node_servers_add(void *arg, const struct pool_row *row)
{
	struct node_servers *sum = arg;
	if (row->node_id == sum->node_id)
		sum->servers += row->lent + row->idle + row->opening + row->resetting;
}

static void node_limits(struct table *t)
{
	const struct topo *topo = t->console->topo;
	for (size_t c = 0; c < topo->n_clusters; c++)
		for (size_t n = 0; n < topo->clusters[c].n_nodes; n++) {
			const struct topo_node *node = &topo->clusters[c].nodes[n];
			struct node_servers sum = { .node_id = node->id };
			pool_registry_each(t->console->pool_registry, node_servers_add, &sum);
			limit_row(t, "servers of node", node->name, sum.servers, node->max_connections);
		}
}

static void limits_rows(struct table *t)
{
	const struct console *c = t->console;
	const struct conf *conf = c->topo->conf;
	struct tallies all;
	limit_row(t, "clients", "all", session_registry_clients(c->session_registry), conf->limits.max_clients);
	node_limits(t);
	tallies_gather(c, TALLY_DATABASES, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct conf_database *d = conf_database(conf, all.at[i].name);
		limit_row(t, "clients of database", all.at[i].name, all.at[i].clients, d ? d->max_client_connections : 0);
		limit_row(t, "servers of database", all.at[i].name, all.at[i].servers, d ? d->max_connections : 0);
	}
	tallies_fini(&all);
	tallies_gather(c, TALLY_USERS, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct conf_user *u = conf_user(conf, all.at[i].name);
		limit_row(t, "clients of user", all.at[i].name, all.at[i].clients, u ? u->max_client_connections : 0);
		limit_row(t, "servers of user", all.at[i].name, all.at[i].servers, u ? u->max_connections : 0);
	}
	tallies_fini(&all);
}
const struct view show_limits = { COLUMNS(limits), .rows = limits_rows };
