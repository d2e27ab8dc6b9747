/*
 * metrics — what GET /metrics tells: the answer and docs/metrics.md are made from these rows.
 *
 *   X(name, type, value, sentence)
 *
 * Each name begins with lunapool_; type is gauge, or counter, whose name ends in _total and which never falls while the program runs.  value: a double,
 * of `m`, which is what the table is about; NAN is left out.  The labels are those of the table: METRICS.
 */
#ifndef TBL_METRICS_H
#define TBL_METRICS_H

#define METRICS_PROGRAM(X)                                                                                                      \
	X("clients", gauge, m->clients, "Clients that are connected.")                                                              \
	X("max_clients", gauge, m->max_clients, "How many there may be.")                                                           \
	X("held_statements", gauge, m->held.statements, "Statements that wait for a primary while there is none.")                  \
	X("held_bytes", gauge, m->held.bytes, "What of them is kept.")                                                              \
	X("held_refused_total", counter, m->held.refused, "Statements that failed because max_held or max_held_bytes was reached.") \
	X("listens_moved_total", counter, m->listens_moved, "Times that a session listened again, on another server connection.")   \
	X("configuration_generation", gauge, m->generation, "Grows whenever something else holds: configuration, roles.")

/* struct tally: database */
#define METRICS_DATABASE(X)                                                                                                    \
	X("database_clients", gauge, m->clients, "Clients that have logged in.")                                                   \
	X("database_servers", gauge, m->servers, "Server connections.")                                                            \
	X("database_assignments_total", counter, m->counts.assignments, "Times that a client was given a server.")                 \
	X("database_transactions_total", counter, m->counts.transactions, "Transactions that ended.")                              \
	X("database_statements_total", counter, m->counts.queries, "Statements: each simple Query, each Execute.")                 \
	X("database_received_bytes_total", counter, m->counts.bytes_in, "Bytes from clients.")                                     \
	X("database_sent_bytes_total", counter, m->counts.bytes_out, "Bytes from servers, which go to clients.")                   \
	X("database_transaction_seconds_total", counter, m->counts.xact_us / 1e6, "Time spent in transactions.")                   \
	X("database_statement_seconds_total", counter, m->counts.query_us / 1e6, "Time in which servers had something to answer.") \
	X("database_wait_seconds_total", counter, m->counts.wait_us / 1e6, "Time that clients waited for a server.")               \
	X("database_logins_total", counter, m->counts.logins, "Clients that logged in.")

/* struct pool_row: database, user, node */
#define METRICS_POOL(X)                                                                    \
	X("pool_servers_active", gauge, m->lent, "Server connections that work for a client.") \
	X("pool_servers_idle", gauge, m->idle, "… that wait for one.")                         \
	X("pool_servers_opening", gauge, m->opening, "… that log in.")                         \
	X("pool_servers_pinned", gauge, m->pinned, "… that one client keeps: SHOW PINS.")      \
	X("pool_size", gauge, m->size, "How many there may be.")                               \
	X("pool_clients_waiting", gauge, m->waiting, "Clients in its queue.")                  \
	X("pool_longest_wait_seconds", gauge, m->max_wait_us / 1e6, "How long the first of them waits now.")

/* struct topo_node: cluster, node */
#define METRICS_NODE(X)                                                                                          \
	X("node_reachable", gauge, m->node->is_reachable, "1: it answers.")                                          \
	X("node_primary", gauge, m->is_primary, "1: statements that write go there.")                                \
	X("node_fit", gauge, m->is_primary ? NAN : pulse_is_fit(m->node->pulse), "Of a standby: 1, it takes reads.") \
	X("node_weight", gauge, m->node->weight, "Its share of the reads, as configured.")                           \
	X("node_statements_in_flight", gauge, pulse_in_flight(m->node->pulse), "Statements that it works on.")       \
	X("node_reads_total", counter, pulse_reads(m->node->pulse), "Reads that were sent there by choice.")         \
	X("node_lag_bytes", gauge, known(pulse_lag_bytes(m->node->pulse), 1), "WAL that it has yet to replay.")      \
	X("node_lag_seconds", gauge, known(pulse_lag_us(m->node->pulse), 1e6), "Age of what it shows.")              \
	X("node_probe_seconds", gauge, known(pulse_latency_us(m->node->pulse), 1e6), "How long its last answer to a probe took.")

/* struct records_view: cluster; only with failover and state_dir */
#define METRICS_RECORD(X)                                                                                                  \
	X("cluster_epoch", gauge, m->record->epoch, "Grows whenever another primary is recorded.")                             \
	X("cluster_timeline", gauge, m->record->timeline, "The primary's.")                                                    \
	X("cluster_maintenance", gauge, m->record->is_paused, "1: nothing is done without an order.")                          \
	X("cluster_operations_total", counter, m->record->last_id, "Operations that were begun: SHOW OPERATIONS.")             \
	X("cluster_operation_seconds", gauge, m->record->op.id ? m->now_ms / 1e3 : 0, "Since when one is under way; 0: none.") \
	X("cluster_operation_stuck", gauge, m->stuck != NULL, "1: it does not go on, and waits.")

/* struct policy_status: cluster */
#define METRICS_POLICY(X)                                                                                                    \
	X("policy_generation", gauge, m->generation, "Which one is in force.")                                                   \
	X("policy_calls_total", counter, m->calls, "Calls of its hooks for statements, since it was put in force.")              \
	X("policy_errors_total", counter, m->errors, "Calls that failed, or were stopped; built-in routing took their place.")   \
	X("policy_breaker_open", gauge, m->breaker == POLICY_BREAKER_OPEN, "1: it failed too often, and is left alone for now.") \
	X("policy_reload_failed", gauge, *m->refused != 0, "1: the last reload was refused; the one before stays in force.")     \
	X("policy_memory_bytes", gauge, m->bytes, "Memory of all workers' Lua.")

/* struct hook_metric: cluster, name */
#define METRICS_MEASURED(X) X("policy_value", gauge, m->value, "What a policy has measured: lp.metric().")

/* M(table, its rows' type, labels) */
#define METRICS(M)                                   \
	M(PROGRAM, struct program_metrics, "")           \
	M(DATABASE, struct tally, "database")            \
	M(POOL, struct pool_row, "database, user, node") \
	M(NODE, struct node_metrics, "cluster, node")    \
	M(RECORD, struct records_view, "cluster")        \
	M(POLICY, struct policy_status, "cluster")       \
	M(MEASURED, struct hook_metric, "cluster, name")

#endif
