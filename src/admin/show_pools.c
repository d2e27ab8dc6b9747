/*
 * show_pools — SHOW POOLS: a row for each (database, user), whatever the node, since monitoring tools take these two for a row's name.
 *
 *   each worker: clients that wait in no queue --collected--> rows of the registry, copied under its lock --sorted, merged--> written, some at a time
 *
 * Who waits for RESUME or for a primary is in no pool's queue; here he waits all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "priv.h"
#include "wire/reader.h"

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

static void gather_pool(void *arg, const struct pool_row *row)
{
	struct pool_copy *copy = items_add(arg, sizeof *copy);
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
	/* of the pools of one user on several nodes, that with clients gives its node's name first; who is in none has none */
	order = order ? order : !*x->node - !*y->node;
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
	if (!*node || asprintf(&joined, "%s,%s", to->row.node, node) < 0)
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

/* ---- who waits in no queue: database, user, how many that a pool counts, how many that none does, since when the first */

struct held_sum {
	uint32_t with_pool, without;
	uint64_t since_us;
};

static void add_held(void *arg, const struct session_held *held)
{
	struct map *sums = arg;
	struct writer key;
	writer_init_grow(&key);
	writer_text(&key, held->database);
	writer_text(&key, held->user);
	struct held_sum *sum = map_get(sums, writer_slice(&key));
	if (!sum) {
		sum = mem_alloc(sizeof *sum);
		sum->since_us = held->since_us;
		map_put(sums, writer_slice(&key), sum);
	}
	sum->with_pool += held->has_pool;
	sum->without += !held->has_pool;
	sum->since_us = held->since_us < sum->since_us ? held->since_us : sum->since_us;
	writer_fini(&key);
}

static void pools_collect(const struct console *c, struct writer *w)
{
	struct map sums = { 0 };
	struct slice key;
	void *value;
	sessions_each_held(c->sessions, add_held, &sums);
	for (uint32_t it = 0; map_next(&sums, &it, &key, &value);) {
		const struct held_sum *sum = value;
		writer_bytes(w, key);
		writer_u32(w, sum->with_pool);
		writer_u32(w, sum->without);
		writer_u32(w, (uint32_t)(sum->since_us >> 32));
		writer_u32(w, (uint32_t)sum->since_us);
		mem_free(value);
	}
	map_fini(&sums);
}

static void gather_held(const struct conf *conf, struct slice collected, struct items *items)
{
	struct reader r;
	uint64_t now = clock_us();
	for (reader_init(&r, collected); reader_left(&r);) {
		const char *database = (const char *)reader_text(&r).at, *user = (const char *)reader_text(&r).at;
		uint32_t with_pool = reader_u32(&r), without = reader_u32(&r);
		uint64_t since_us = (uint64_t)reader_u32(&r) << 32;
		since_us |= reader_u32(&r);
		const struct conf_database *d = conf_database(conf, database);
		struct conf_effective e = { 0 };
		if (d)
			conf_effective(conf, d, conf_user(conf, user), &e);
		gather_pool(items, &(struct pool_row){ .node = "",
		                                       .database = database,
		                                       .user = user,
		                                       .mode = d ? pool_mode_name(e.mode) : "",
		                                       .clients = without,
		                                       .waiting = with_pool + without,
		                                       .max_wait_us = now > since_us ? now - since_us : 0,
		                                       .size = e.size });
	}
}

static void pools_gather(const struct console *c, struct slice collected, struct items *items)
{
	items->free = free_pools;
	pool_registry_each(c->pool_registry, gather_pool, items);
	gather_held(c->topo->conf, collected, items);
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
	table_int(t, 0); /* who waits for the end of a cancel is being reset: sv_tested */
	table_int(t, row->idle);
	table_int(t, 0); /* idle servers need no test before they are lent */
	table_int(t, row->resetting);
	table_int(t, row->opening);
	table_int(t, (int64_t)(row->max_wait_us / US_PER_S));
	table_int(t, (int64_t)(row->max_wait_us % US_PER_S));
	table_text(t, row->mode);
	table_null(t);
	table_text(t, or_null(row->node));
	table_int(t, row->pinned);
	table_int(t, row->size);
}
const struct view show_pools = { COLUMNS(pools), .collect = pools_collect, .gather = pools_gather, .row = pools_row };
