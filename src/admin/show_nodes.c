/*
 * show_nodes — the nodes of each cluster: what the topology says of their roles, their pulses of their health, and the pools of their servers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "ha/records.h"
#include "priv.h"

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
	{ "weight", COLUMN_INT4 },
	{ "in_flight", COLUMN_INT4 },
	{ "reads", COLUMN_INT8 },
	{ "statement_us", COLUMN_INT8 },
	{ "fit", COLUMN_TEXT },
	{ "why_not", COLUMN_TEXT },
	{ "since", COLUMN_TEXT },
	{ "lag_bytes", COLUMN_INT8 },
	{ "lag_ms", COLUMN_INT8 },
	{ "position", COLUMN_TEXT },
	{ "timeline", COLUMN_INT8 },
	{ "sync", COLUMN_TEXT },
	{ "latency_us", COLUMN_INT8 },
	{ "unseen", COLUMN_TEXT },
	{ "state", COLUMN_TEXT },
	{ "state_since", COLUMN_TEXT },
	{ "reason", COLUMN_TEXT },
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
	if (cluster->nodes[node_at].is_foreign)
		return "foreign";
	if (cluster->nodes[node_at].in_recovery)
		return "standby";
	return "unknown";
}

static void cell_known(struct table *t, uint64_t value, uint64_t unit)
{
	if (value == PULSE_UNKNOWN)
		table_null(t);
	else
		table_int(t, (int64_t)(value / unit));
}

/* As PostgreSQL writes it: how far it has written, or replayed. */
static void cell_position(struct table *t, const struct pulse *p, bool is_primary)
{
	char out[24];
	uint64_t asked_us, lsn = 0;
	bool is_known = is_primary ? pulse_written(p, &asked_us, &lsn) : (lsn = pulse_replayed(p)) != 0;
	snprintf(out, sizeof out, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
	table_text(t, is_known ? out : NULL);
}

/* A cluster's only node is never asked. */
static void pulse_cells(struct table *t, const struct topo_cluster *cluster, size_t node_at)
{
	const struct topo_node *n = &cluster->nodes[node_at];
	const struct pulse *p = n->pulse;
	bool is_primary = cluster->primary == (int)node_at;
	uint64_t timeline = pulse_timeline(p), time_ns = pulse_time_ns(p);
	table_int(t, n->weight);
	table_int(t, pulse_in_flight(p));
	table_int(t, (int64_t)pulse_reads(p));
	cell_known(t, time_ns ? time_ns : PULSE_UNKNOWN, 1000);
	if (is_primary)
		table_null(t);
	else
		table_yes(t, pulse_is_fit(p));
	table_text(t, is_primary ? NULL : pulse_why(p));
	cell_time(t, pulse_since_us(p));
	cell_known(t, pulse_lag_bytes(p), 1);
	cell_known(t, pulse_lag_us(p), US_PER_MS);
	cell_position(t, p, is_primary);
	cell_known(t, timeline ? timeline : PULSE_UNKNOWN, 1);
	table_text(t, pulse_sync(p));
	cell_known(t, pulse_latency_us(p), 1);
	table_text(t, pulse_unseen(p));
}

/* Why a node has a flag: the record says. */
struct asked_why {
	const char *cluster, *node;
	char why[RECORD_WHY_MAX];
};

static void find_why(void *arg, const struct records_view *v)
{
	struct asked_why *a = arg;
	if (strcmp(v->record->cluster, a->cluster) != 0)
		return;
	const struct record_node *said = record_node(v->record, a->node);
	bool is_drain = v->record->op.kind == OPERATION_DRAIN && strcmp(v->record->op.target, a->node) == 0;
	snprintf(a->why, sizeof a->why, "%s", said && said->flags ? said->why : is_drain ? v->record->op.why : "");
}

static void state_cells(struct table *t, const struct topo_cluster *cluster, size_t node_at)
{
	const struct topo_node *n = &cluster->nodes[node_at];
	struct asked_why asked = { cluster->name, n->name, "" };
	uint64_t since_us;
	enum node_state state = pulse_state(n->pulse, &since_us);
	bool is_primary = cluster->primary == (int)node_at;
	table_text(t, node_state_word(state));
	if (since_us)
		cell_time(t, since_us);
	else
		table_null(t);
	records_each(t->console->records, find_why, &asked);
	table_text(t, *asked.why                                  ? asked.why
	              : state == NODE_UP || state == NODE_UNKNOWN ? NULL
	              : is_primary                                ? "it does not answer as it should"
	                                                          : pulse_why(n->pulse));
}

static void node_row(struct table *t, const struct topo_cluster *cluster, size_t node_at)
{
	const struct topo_node *n = &cluster->nodes[node_at];
	struct node_sum sum = { .node_id = n->id };
	pool_registry_each(t->console->pool_registry, node_sum_add, &sum);
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
	pulse_cells(t, cluster, node_at);
	state_cells(t, cluster, node_at);
}

static void nodes_rows(struct table *t)
{
	const struct topo *topo = t->console->topo;
	for (size_t c = 0; c < topo->n_clusters; c++)
		for (size_t n = 0; n < topo->clusters[c].n_nodes; n++)
			node_row(t, &topo->clusters[c], n);
}
const struct view show_nodes = { .columns = nodes_columns, .n_columns = ARRAY_LEN(nodes_columns), .rows = nodes_rows };
