/*
 * show_limits — SHOW LIMITS: everything that is counted against a limit, how many there are and how many there may be.
 *
 * Of one kind, those with the most come first.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "priv.h"

static const struct column limits_columns[] = {
	{ "kind", COLUMN_TEXT },
	{ "name", COLUMN_TEXT },
	{ "taken", COLUMN_INT8 },
	{ "max", COLUMN_INT8 },
};

struct limit_item {
	const char *kind;
	char *name;
	int64_t taken, max; /* max: 0 is none */
};

static void add(struct items *items, const char *kind, const char *name, int64_t taken, int64_t max)
{
	*(struct limit_item *)items_add(items, sizeof(struct limit_item)) = (struct limit_item){ kind, mem_text(name), taken, max };
}

static void free_limits(struct items *items)
{
	struct limit_item *at = items->at;
	for (size_t i = 0; i < items->n; i++)
		mem_free(at[i].name);
	mem_free(at);
}

static int by_taken(const void *a, const void *b)
{
	const struct limit_item *x = a, *y = b;
	return x->taken > y->taken ? -1 : x->taken < y->taken ? 1 : strcmp(x->name, y->name);
}

static void sort_from(struct items *items, size_t from)
{
	if (items->n > from)
		qsort((struct limit_item *)items->at + from, items->n - from, sizeof(struct limit_item), by_taken);
}

/* ---- nodes, databases, users ----------------------------------------------------------------------------------------------- */

struct node_servers {
	uint32_t node_id;
	int64_t servers;
};

static void node_servers_add(void *arg, const struct pool_row *row)
{
	struct node_servers *sum = arg;
	if (row->node_id == sum->node_id)
		sum->servers += pool_row_servers(row);
}

static void add_nodes(const struct console *c, struct items *items)
{
	for (size_t k = 0; k < c->topo->n_clusters; k++)
		for (size_t n = 0; n < c->topo->clusters[k].n_nodes; n++) {
			const struct topo_node *node = &c->topo->clusters[k].nodes[n];
			struct node_servers sum = { .node_id = node->id };
			pool_registry_each(c->pool_registry, node_servers_add, &sum);
			add(items, "servers of node", node->name, sum.servers, node->max_connections);
		}
}

static void add_databases(const struct console *c, struct items *items)
{
	struct tallies all;
	tallies_gather(c, TALLY_DATABASES, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct conf_database *d = conf_database(c->topo->conf, all.at[i].name);
		add(items, "clients of database", all.at[i].name, all.at[i].clients, d ? d->max_client_connections : 0);
		add(items, "servers of database", all.at[i].name, all.at[i].servers, d ? d->max_connections : 0);
	}
	tallies_fini(&all);
}

static void add_users(const struct console *c, struct items *items)
{
	struct tallies all;
	tallies_gather(c, TALLY_USERS, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct conf_user *u = conf_user(c->topo->conf, all.at[i].name);
		add(items, "clients of user", all.at[i].name, all.at[i].clients, u ? u->max_client_connections : 0);
		add(items, "servers of user", all.at[i].name, all.at[i].servers, u ? u->max_connections : 0);
	}
	tallies_fini(&all);
}

/* ---- addresses --------------------------------------------------------------------------------------------------------------- */

struct address_walk {
	struct items *items;
	const char *kind;
	int64_t max;
};

static void add_address(const struct address_walk *walk, struct slice address, int64_t n)
{
	uint8_t bytes[16] = { 0 };
	char text[INET6_ADDRSTRLEN + sizeof "/64"];
	memcpy(bytes, address.at, address.len);
	inet_ntop(address.len == 4 ? AF_INET : AF_INET6, bytes, text, INET6_ADDRSTRLEN);
	if (address.len != 4)
		strcat(text, "/64");
	add(walk->items, walk->kind, text, n, walk->max);
}

static void add_clients_of(void *arg, struct slice address, int64_t clients)
{
	add_address(arg, address, clients);
}

static void add_failures_of(void *arg, struct slice address, unsigned failures)
{
	add_address(arg, address, failures);
}

static void add_addresses(const struct console *c, struct items *items)
{
	const struct conf_limits *l = &c->topo->conf->limits;
	struct address_walk walk = { items, "clients of address", l->max_clients_per_address };
	size_t from = items->n;
	session_registry_each_address(c->session_registry, add_clients_of, &walk);
	sort_from(items, from);
	walk.kind = "failed logins of address";
	walk.max = l->auth_failures_per_address;
	from = items->n;
	if (c->auth)
		auth_each_failing(c->auth, clock_us(), add_failures_of, &walk);
	sort_from(items, from);
}

/* ---- all ----------------------------------------------------------------------------------------------------------------------- */

static void limits_gather(const struct console *c, struct slice collected, struct items *items)
{
	const struct conf *conf = c->topo->conf;
	struct session_held_sum held;
	items->free = free_limits;
	add(items, "clients", "all", session_registry_clients(c->session_registry), conf->limits.max_clients);
	session_registry_held(c->session_registry, &held);
	add(items, "statements held", "all", held.statements, conf->limits.max_held);
	add(items, "bytes held", "all", held.bytes, (int64_t)conf->limits.max_held_bytes);
	add(items, "bytes of memory", "all", (int64_t)mem_in_use(), (int64_t)conf->memory_limit);
	add_nodes(c, items);
	add_databases(c, items);
	add_users(c, items);
	add_addresses(c, items);
}

static void limits_row(struct table *t, const struct items *items, size_t i)
{
	const struct limit_item *it = &((const struct limit_item *)items->at)[i];
	table_row(t);
	table_text(t, it->kind);
	table_text(t, it->name);
	table_int(t, it->taken);
	if (it->max)
		table_int(t, it->max);
	else
		table_null(t);
}
const struct view show_limits = {
	.columns = limits_columns, .n_columns = ARRAY_LEN(limits_columns), .gather = limits_gather, .row = limits_row
};
