/*
 * counters — what is counted for each pool since the start, and what the console calls it.
 *
 *   X(field, total, average, global, bare, bare_average, how, sentence)
 *
 * total and average name columns of SHOW STATS ("total_" and "avg_" before them), global the rows of SHOW TOTALS, bare and bare_average columns of SHOW
 * STATS_TOTALS and STATS_AVERAGES.  The names are PgBouncer's, which calls one thing by many.
 * how: an average is so many a SECOND, or microseconds for each TRANSACTION or QUERY.
 */
#ifndef TBL_COUNTERS_H
#define TBL_COUNTERS_H

#define POOL_COUNTERS(X)                                                                                                        \
	X(assignments, server_assignment_count, server_assignment_count, server_assignment_count, server_assignment_count,          \
	  server_assignment_count, SECOND, "Times that a client was given a server.")                                               \
	X(transactions, xact_count, xact_count, xact_count, xact_count, xact_count, SECOND, "Transactions that ended.")             \
	X(queries, query_count, query_count, query_count, query_count, query_count, SECOND,                                         \
	  "Statements: each simple Query, each Execute.")                                                                           \
	X(bytes_in, received, recv, client_bytes, bytes_received, bytes_received, SECOND, "Bytes from clients.")                    \
	X(bytes_out, sent, sent, server_bytes, bytes_sent, bytes_sent, SECOND, "Bytes from servers, which go to clients.")          \
	X(xact_us, xact_time, xact_time, xact_time, xact_time, xact_time, TRANSACTION, "Microseconds spent in transactions.")       \
	X(query_us, query_time, query_time, query_time, query_time, query_time, QUERY,                                              \
	  "Microseconds in which servers had statements to answer.")                                                                \
	X(wait_us, wait_time, wait_time, wait_time, wait_time, wait_time, SECOND, "Microseconds that clients waited for a server.") \
	X(client_parses, client_parse_count, client_parse_count, ps_client_parse_count, client_parse_count, avg_client_parse_count, \
	  SECOND, "Statements that clients prepared by Parse.")                                                                     \
	X(server_parses, server_parse_count, server_parse_count, ps_server_parse_count, server_parse_count, avg_server_parse_count, \
	  SECOND, "Statements that were prepared on servers by Parse.")                                                             \
	X(binds, bind_count, bind_count, ps_bind_count, bind_count, avg_bind_count, SECOND, "Bind messages of clients.")            \
	X(logins, client_login_count, client_login_count, client_login_count, client_login_count, avg_client_login_count, SECOND,   \
	  "Clients that logged in.")

#endif
