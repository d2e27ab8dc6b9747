/*
 * show — the views of the console: each is its columns, then the function that writes its rows.
 *
 * Columns that PgBouncer has too carry its names and types and come in its order; our own come behind them.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/version.h"
#include "priv.h"

#define VIEW(id) const struct view show_##id = { id##_columns, ARRAY_LEN(id##_columns), id##_rows }

static const char *or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

/* ---- HELP, VERSION */

static const struct column help_columns[] = { { "command", COLUMN_TEXT }, { "description", COLUMN_TEXT } };

static void help_rows(struct table *t)
{
#define HELP_ROW(id, word, sentence) \
	table_row(t);                    \
	table_text(t, "SHOW " word);     \
	table_text(t, sentence);
	COMMANDS_SHOW(HELP_ROW)
}
VIEW(help);

static const struct column version_columns[] = { { "version", COLUMN_TEXT } };

static void version_rows(struct table *t)
{
	table_row(t);
	table_text(t, "Lunapool " LUNAPOOL_VERSION);
}
VIEW(version);

/* ---- POOLS, STATS */

static const struct column pools_columns[] = {
	{ "database", COLUMN_TEXT },   { "user", COLUMN_TEXT },      { "cl_active", COLUMN_INT4 }, { "cl_waiting", COLUMN_INT4 },
	{ "sv_active", COLUMN_INT4 },  { "sv_idle", COLUMN_INT4 },   { "sv_login", COLUMN_INT4 },  { "maxwait", COLUMN_INT4 },
	{ "maxwait_us", COLUMN_INT4 }, { "pool_mode", COLUMN_TEXT }, { "node", COLUMN_TEXT },      { "sv_pinned", COLUMN_INT4 },
	{ "pool_size", COLUMN_INT4 },
};

static void pool_of(void *arg, const struct pool_row *row)
{
	struct table *t = arg;
	table_row(t);
	table_text(t, row->database);
	table_text(t, row->user);
	table_int(t, row->clients > row->waiting ? row->clients - row->waiting : 0);
	table_int(t, row->waiting);
	table_int(t, row->lent);
	table_int(t, row->idle);
	table_int(t, row->opening);
	table_int(t, (int64_t)(row->max_wait_us / US_PER_S));
	table_int(t, (int64_t)(row->max_wait_us % US_PER_S));
	table_text(t, row->mode);
	table_text(t, row->node);
	table_int(t, row->pinned);
	table_int(t, row->size);
}

static void pools_rows(struct table *t)
{
	pool_registry_each(t->console->pools, pool_of, t);
}
VIEW(pools);

static const struct column stats_columns[] = {
	{ "database", COLUMN_TEXT },
	{ "total_xact_count", COLUMN_NUMERIC },
	{ "total_query_count", COLUMN_NUMERIC },
	{ "total_received", COLUMN_NUMERIC },
	{ "total_sent", COLUMN_NUMERIC },
	{ "user", COLUMN_TEXT },
	{ "node", COLUMN_TEXT },
};

static void stats_of(void *arg, const struct pool_row *row)
{
	struct table *t = arg;
	table_row(t);
	table_text(t, row->database);
	table_int(t, (int64_t)row->transactions);
	table_int(t, (int64_t)row->queries);
	table_int(t, (int64_t)row->bytes_in);
	table_int(t, (int64_t)row->bytes_out);
	table_text(t, row->user);
	table_text(t, row->node);
}

static void stats_rows(struct table *t)
{
	pool_registry_each(t->console->pools, stats_of, t);
}
VIEW(stats);

/* ---- NODES */

static const struct column nodes_columns[] = {
	{ "cluster", COLUMN_TEXT },
	{ "node", COLUMN_TEXT },
	{ "host", COLUMN_TEXT },
	{ "port", COLUMN_INT4 },
	{ "role", COLUMN_TEXT },
	{ "reachable", COLUMN_TEXT },
	{ "sv_active", COLUMN_INT4 },
	{ "sv_idle", COLUMN_INT4 },
	{ "sv_login", COLUMN_INT4 },
	{ "waiting", COLUMN_INT4 },
	{ "max_connections", COLUMN_INT8 },
};

/* What the pools of one node have together. */
struct node_sum {
	uint32_t node_id;
	int64_t lent, idle, opening, waiting;
};

static void node_sum_add(void *arg, const struct pool_row *row)
{
	struct node_sum *sum = arg;
	if (row->node_id != sum->node_id)
		return;
	sum->lent += row->lent;
	sum->idle += row->idle;
	sum->opening += row->opening;
	sum->waiting += row->waiting;
}

static const char *role_of(const struct topo_cluster *cluster, size_t node_at)
{
	if (cluster->primary == (int)node_at)
		return "primary";
	if (cluster->nodes[node_at].in_recovery)
		return "standby";
	return "unknown";
}

static void node_row(struct table *t, const struct topo_cluster *cluster, size_t node_at)
{
	const struct topo_node *n = &cluster->nodes[node_at];
	struct node_sum sum = { .node_id = n->id };
	pool_registry_each(t->console->pools, node_sum_add, &sum);
	table_row(t);
	table_text(t, cluster->name);
	table_text(t, n->name);
	table_text(t, n->host);
	table_int(t, n->port);
	table_text(t, role_of(cluster, node_at));
	table_yes(t, n->is_reachable);
	table_int(t, sum.lent);
	table_int(t, sum.idle);
	table_int(t, sum.opening);
	table_int(t, sum.waiting);
	table_int(t, n->max_connections);
}

static void nodes_rows(struct table *t)
{
	const struct topo *topo = t->console->topo;
	for (size_t c = 0; c < topo->n_clusters; c++)
		for (size_t n = 0; n < topo->clusters[c].n_nodes; n++)
			node_row(t, &topo->clusters[c], n);
}
VIEW(nodes);

/* ---- CLIENTS, PINS */

/* Local time of something that happened at THEN_US on the monotonic clock. */
static const char *wall_time(uint64_t then_us, char out[40])
{
	time_t then = time(NULL) - (time_t)((clock_us() - then_us) / US_PER_S);
	struct tm tm;
	strftime(out, 40, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&then, &tm));
	return out;
}

static const struct column clients_columns[] = {
	{ "type", COLUMN_TEXT },     { "user", COLUMN_TEXT },         { "database", COLUMN_TEXT },         { "state", COLUMN_TEXT },
	{ "addr", COLUMN_TEXT },     { "connect_time", COLUMN_TEXT }, { "application_name", COLUMN_TEXT }, { "id", COLUMN_INT8 },
	{ "state_us", COLUMN_INT8 }, { "pin", COLUMN_TEXT },
};

static void client_of(void *arg, const struct session_row *row)
{
	struct table *t = arg;
	char when[40];
	table_row(t);
	table_text(t, "C");
	table_text(t, or_null(row->user));
	table_text(t, or_null(row->database));
	table_text(t, row->state);
	table_text(t, row->address);
	table_text(t, wall_time(row->connected_us, when));
	table_text(t, row->application ? row->application : "");
	table_int(t, (int64_t)row->id);
	table_int(t, (int64_t)(clock_us() - row->state_since_us));
	table_text(t, or_null(row->pin));
}

static void clients_rows(struct table *t)
{
	session_registry_each(t->console->sessions, client_of, t);
}
VIEW(clients);

static const struct column pins_columns[] = {
	{ "id", COLUMN_INT8 },    { "user", COLUMN_TEXT }, { "database", COLUMN_TEXT },         { "reason", COLUMN_TEXT },
	{ "state", COLUMN_TEXT }, { "addr", COLUMN_TEXT }, { "application_name", COLUMN_TEXT },
};

static void pin_of(void *arg, const struct session_row *row)
{
	struct table *t = arg;
	if (!or_null(row->pin))
		return;
	table_row(t);
	table_int(t, (int64_t)row->id);
	table_text(t, row->user);
	table_text(t, row->database);
	table_text(t, row->pin);
	table_text(t, row->state);
	table_text(t, row->address);
	table_text(t, row->application ? row->application : "");
}

static void pins_rows(struct table *t)
{
	session_registry_each(t->console->sessions, pin_of, t);
}
VIEW(pins);

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

static void config_rows(struct table *t)
{
	conf_each(t->console->topo->conf, setting_of, t);
}
VIEW(config);
