/*
 * commands — what the console (database "lunapool") and `lunapool ctl` understand: parsing, access check, dispatch, SHOW HELP and the manual
 * are made from these rows.
 *
 *   SHOW(id, words, level, sentence)              answered from the view show_<id> in admin/
 *   DO(id, words, args, level, lines, sentence)   carried out by the control thread: do_<id>() or its alias in orders.c
 *
 * args: NONE; DATABASE, one or all of them; A_DATABASE; PAUSE, a database and a time, both may be left out; CLIENT, the id in SHOW CLIENTS;
 *       NODE, alone or as cluster.node, with or without NODE in front; NODE_TIME, and a time, which may be left out; CLUSTER, may be left out if there is one; CANDIDATE, a node, with or without TO, or nothing, and behind it FORCE or DRY_RUN; LOSS, the same, and ALLOW_DATA_LOSS behind it; UNTIL, of SHUTDOWN; SETTING, key = value; TASK, a task of a policy and what it is given.
 * level: STATS, who may look (auth stats_users), or ADMIN, who may do anything (auth admin_users).
 * lines: the column's name where the answer is lines of text; NULL where it is just done.
 */
#ifndef TBL_COMMANDS_H
#define TBL_COMMANDS_H

#define COMMANDS(SHOW, DO)                                                                                                       \
	SHOW(active_sockets, "SHOW ACTIVE_SOCKETS", STATS, "As SHOW SOCKETS, of connections with bytes under way.")                  \
	SHOW(clients, "SHOW CLIENTS", STATS, "One row for each client.")                                                             \
	SHOW(config, "SHOW CONFIG", STATS, "Every setting in force, its default, and whether a reload changes it.")                  \
	SHOW(databases, "SHOW DATABASES", STATS, "Databases that are configured or in use, their limits and what is taken of them.") \
	SHOW(dns_hosts, "SHOW DNS_HOSTS", STATS, "Empty: answers of the name service are not kept.")                                 \
	SHOW(dns_zones, "SHOW DNS_ZONES", STATS, "Empty: zones are not watched.")                                                    \
	SHOW(explain_route, "EXPLAIN ROUTE", STATS,                                                                                  \
	     "Where the statement would run now, if the user (who asks, if none is named) sent it in a session of his, and why.")    \
	SHOW(                                                                                                                        \
	    fds, "SHOW FDS", ADMIN,                                                                                                  \
	    "The descriptors of clients and server connections, for other tools; without cancel keys, passwords and other secrets.") \
	SHOW(help, "SHOW HELP", STATS, "These commands.")                                                                            \
	SHOW(limits, "SHOW LIMITS", STATS, "Whatever is counted against a limit: how many there are, and how many there may be.")    \
	SHOW(lists, "SHOW LISTS", STATS, "How many there are of each kind of thing.")                                                \
	SHOW(mem, "SHOW MEM", STATS, "Memory for what comes and goes, of each worker; where the size of one differs, it is NULL.")   \
	SHOW(metrics, "SHOW METRICS", STATS, "What policies have measured: lp.metric().")                                            \
	SHOW(nodes, "SHOW NODES", STATS, "The nodes of each cluster: role, server connections, fitness for reads, lag.")             \
	SHOW(operations, "SHOW OPERATIONS", STATS, "What is done about lost primaries, and what was: steps, candidates, and why.")   \
	SHOW(peers, "SHOW PEERS", STATS, "Empty: cancel requests need no peers.")                                                    \
	SHOW(peer_pools, "SHOW PEER_POOLS", STATS, "Empty: cancel requests need no peers.")                                          \
	SHOW(pins, "SHOW PINS", STATS, "Clients that keep their server connection, and why.")                                        \
	SHOW(policy, "SHOW POLICY", STATS,                                                                                           \
	     "Each cluster's Lua policy: whether it is used, what it took, its last error, and why the last reload was refused.")    \
	SHOW(pools, "SHOW POOLS", STATS, "One row for each database and user: clients, waiters and server connections.")             \
	SHOW(routes, "SHOW ROUTES", STATS, "What ran where, and why: the busiest shapes of statements first.")                       \
	SHOW(servers, "SHOW SERVERS", STATS, "One row for each server connection.")                                                  \
	SHOW(sockets, "SHOW SOCKETS", STATS, "Clients and server connections, with what is buffered for them.")                      \
	SHOW(state, "SHOW STATE", STATS, "Whether something is paused.")                                                             \
	SHOW(stats, "SHOW STATS", STATS, "Counters of each database since the start, and averages of late.")                         \
	SHOW(stats_averages, "SHOW STATS_AVERAGES", STATS, "The averages of SHOW STATS: over the last one to two stats_period.")     \
	SHOW(stats_totals, "SHOW STATS_TOTALS", STATS, "The counters of SHOW STATS.")                                                \
	SHOW(tasks, "SHOW TASKS", STATS,                                                                                             \
	     "What policies do in the control plane, and the last hundred that they did: tasks, what follows events, and timers.")   \
	SHOW(totals, "SHOW TOTALS", STATS, "The counters and averages of all databases together.")                                   \
	SHOW(users, "SHOW USERS", STATS, "Users that are configured or connected, their limits and what is taken of them.")          \
	SHOW(version, "SHOW VERSION", STATS, "Name and version of this program.")                                                    \
	DO(attach, "ATTACH", NODE, ADMIN, NULL, "Takes DETACH back.")                                                                \
	DO(detach, "DETACH", NODE, ADMIN, NULL,                                                                                      \
	   "Closes all connections to a standby and makes no new ones, nor promotes it, until ATTACH; also over a restart.")         \
	DO(disable, "DISABLE", A_DATABASE, ADMIN, NULL, "Lets no new client into the database; those who are there go on.")          \
	DO(drain, "DRAIN", NODE_TIME, ADMIN, NULL,                                                                                   \
	   "Begins nothing new at a standby, and detaches it when nobody uses it any more; until ATTACH. If that takes longer than " \
	   "the time given (node_drain_timeout), it goes on as before and DRAIN fails.")                                             \
	DO(enable, "ENABLE", A_DATABASE, ADMIN, NULL, "Takes DISABLE back.")                                                         \
	DO(failover, "FAILOVER", LOSS, ADMIN, NULL,                                                                                  \
	   "Makes a standby the primary when the primary is lost: with failover = manual, or where an automatic one waits. "         \
	   "ALLOW_DATA_LOSS: even if more would be lost than max_loss; with a node, even what was acknowledged.")                    \
	DO(kill, "KILL", DATABASE, ADMIN, NULL,                                                                                      \
	   "Closes the clients and server connections of the database at once, and leaves it paused.")                               \
	DO(kill_client, "KILL_CLIENT", CLIENT, ADMIN, NULL, "Closes one client.")                                                    \
	DO(maintenance_off, "MAINTENANCE OFF", CLUSTER, ADMIN, NULL, "Takes MAINTENANCE ON back.")                                   \
	DO(maintenance_on, "MAINTENANCE ON", CLUSTER, ADMIN, NULL,                                                                   \
	   "Nothing is done to the cluster by itself any more, also over a restart: no failover, no promotion is followed.")         \
	DO(pause, "PAUSE", PAUSE, ADMIN, NULL,                                                                                       \
	   "Gives no more servers to clients, who wait; returns when the running transactions have ended and every server "          \
	   "connection is closed. If that takes longer than the time given, everything goes on and PAUSE fails.")                    \
	DO(reconnect, "RECONNECT", DATABASE, ADMIN, NULL,                                                                            \
	   "Replaces each server connection: idle ones now, the others when they are given back.")                                   \
	DO(recover, "RECOVER", NODE, ADMIN, NULL,                                                                                    \
	   "Builds a node anew from the primary, with the policy's hook recover; returns when it streams. Until then, and if that "  \
	   "fails, it is in quarantine.")                                                                                            \
	DO(rejoin, "REJOIN", NODE, ADMIN, NULL,                                                                                      \
	   "Makes a node that is down, detached or in quarantine a standby again, with the policy's hook rejoin; as RECOVER.")       \
	DO(reload, "RELOAD", NONE, ADMIN, NULL, "Reads the configuration again; returns when it is in force.")                       \
	DO(reload_dry_run, "RELOAD DRY_RUN", NONE, ADMIN, "change", "Says what RELOAD would change, and changes nothing.")           \
	DO(resume, "RESUME", DATABASE, ADMIN, NULL, "Takes PAUSE and KILL back.")                                                    \
	DO(run, "RUN", TASK, ADMIN, "output",                                                                                        \
	   "Runs a task of a policy; returns what it said when it has ended. cluster = NAME says whose policy, if several have it. " \
	   "Who cancels RUN stops the task.")                                                                                        \
	DO(set, "SET", SETTING, ADMIN, NULL,                                                                                         \
	   "Changes a setting, named as in SHOW CONFIG, until the next RELOAD. Not those that need a restart, hold secrets, or "     \
	   "name files and sockets. A list is one text: 'a, b'.")                                                                    \
	DO(shutdown, "SHUTDOWN", UNTIL, ADMIN, NULL,                                                                                 \
	   "Ends the program: at once; WAIT_FOR_SERVERS: when the running transactions have ended; WAIT_FOR_CLIENTS: when the "      \
	   "clients have left.")                                                                                                     \
	DO(stop_task, "STOP TASK", CLIENT, ADMIN, NULL, "Stops what SHOW TASKS shows as running, by its id.")                        \
	DO(switchover, "SWITCHOVER", CANDIDATE, ADMIN, NULL,                                                                         \
	   "Makes a standby the primary, the best one if none is named: what would write waits meanwhile. Given up, with nothing "   \
	   "changed, if transactions do not end within switchover_timeout, or clients keep their server (SHOW PINS) for more than "  \
	   "LISTEN; it says which. FORCE: these lose it at once, the others behind that time.")                                      \
	DO(switchover_dry_run, "SWITCHOVER DRY_RUN", CANDIDATE, ADMIN, "finding",                                                    \
	   "Says what SWITCHOVER would do now: who would be the primary, what is thought of the others, which clients are in the "   \
	   "way; and does nothing.")                                                                                                 \
	DO(wait_close, "WAIT_CLOSE", DATABASE, ADMIN, NULL,                                                                          \
	   "Returns when no server connection is left that RECONNECT or a reload replaces.")

/* PgBouncer's names of settings, which tools read and hands know: shown by SHOW CONFIG and understood by SET. */
#define CONSOLE_ALIASES(X)                     \
	X("max_client_conn", "limits.max_clients") \
	X("default_pool_size", "pool.size")

/* What drivers ask of every server when they connect: SHOW answers the value, SET is accepted if it is the same or makes no difference here. */
#define CONSOLE_SESSION(X)                                    \
	X("application_name", "", ANY)                            \
	X("client_encoding", "UTF8", UTF8)                        \
	X("client_min_messages", "notice", ANY)                   \
	X("datestyle", "ISO, MDY", ISO)                           \
	X("default_transaction_isolation", "read committed", ANY) \
	X("default_transaction_read_only", "off", ANY)            \
	X("extra_float_digits", "1", ANY)                         \
	X("intervalstyle", "postgres", ANY)                       \
	X("lock_timeout", "0", ANY)                               \
	X("search_path", "\"$user\", public", ANY)                \
	X("server_encoding", "UTF8", UTF8)                        \
	X("server_version", "15.0", NEVER)                        \
	X("session characteristics as transaction", "", ANY)      \
	X("standard_conforming_strings", "on", ON)                \
	X("statement_timeout", "0", ANY)                          \
	X("timezone", "UTC", ANY)                                 \
	X("transaction isolation level", "read committed", ANY)   \
	X("transaction_isolation", "read committed", ANY)         \
	X("transaction_read_only", "off", ANY)

#endif
