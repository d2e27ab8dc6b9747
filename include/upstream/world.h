/*
 * world — what takes the network's place in a simulation: who would make a connection finds it in its resolver (resolver_world()) and asks it instead.
 *
 * Deadlines stay with who asks: the world answers later, or never.
 */
#ifndef UPSTREAM_WORLD_H
#define UPSTREAM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct service;
struct world_question {
	const char *host;
	uint16_t port;
	bool is_connected; /* else a connection is to be made first -> service_on_connected() */
	const char *sql;
	unsigned n; /* parameters */
	const char *const *parameters;
};
struct world {
	void *arg;
	/* -> service_on_reply(), service_on_refused(); Q is borrowed for the call. */
	void (*ask)(void *arg, struct service *who, const struct world_question *q);
	/* WHO waits for nothing any more, and has no connection; also of one that had none. */
	void (*hang_up)(void *arg, struct service *who);
	/* A struct knock -> knock_on_taken(), knock_on_end() (ha/knock.h). */
	void (*knock)(void *arg, void *who, const char *host, uint16_t port);
	void (*unknock)(void *arg, void *who);
};
struct world_reply {
	unsigned n_columns, n_rows;
	const char *const *names;  /* NULL: all are "c" */
	const unsigned *types;     /* oids; NULL: all are text */
	const char *const *values; /* row by row; NULL among them is SQL NULL */
};

/* What the world tells. */
void service_on_connected(struct service *s);
void service_on_reply(struct service *s, const struct world_reply *r);
/* ENDS: the connection, too, or there is none. */
void service_on_refused(struct service *s, const struct err *err, bool ends);
void service_on_closed(struct service *s); /* a connection that nobody was asking over */

#endif
