/*
 * commands — what the console (database "lunapool") understands: dispatch, SHOW HELP and the manual are made from these rows.
 *
 *   X(id, word, sentence)      SHOW word is answered by the view show_<id> in admin/show.c
 */
#ifndef TBL_COMMANDS_H
#define TBL_COMMANDS_H

#define COMMANDS_SHOW(X)                                                                                          \
	X(help, "HELP", "These commands.")                                                                            \
	X(version, "VERSION", "Name and version of this program.")                                                    \
	X(pools, "POOLS",                                                                                             \
	  "One row for each node, database and user: clients, waiters and server connections, all workers together.") \
	X(nodes, "NODES", "The nodes of each cluster, who is primary, and the server connections to each.")           \
	X(clients, "CLIENTS", "One row for each client.")                                                             \
	X(pins, "PINS", "Clients that keep their server connection, and why.")                                        \
	X(stats, "STATS", "Counters of each pool since the start.")                                                   \
	X(config, "CONFIG", "Every setting in force, its default, and whether a reload changes it.")

#endif
