/*
 * service — one question to a node by libpq, asynchronous: connection, one statement, its rows, a deadline.
 * For probes and orders of the control thread; client traffic never comes here.  libpq is used in this file only; always hostaddr
 * from our own resolver (or a socket directory), every option given, the PG* environment is cleared at start.
 */
#ifndef UPSTREAM_SERVICE_H
#define UPSTREAM_SERVICE_H

#include "net/mailbox.h"
#include "net/resolve.h"

struct service_target {
	const char *host, *dbname, *user, *password; /* password may be "" */
	uint16_t port;
};
/* A persistent connection that is (re)made when asked; one that dies while nobody asks is dropped quietly. */
struct service;
struct service *service_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                            const struct service_target *target);
void service_free(struct service *s); /* no callback afterwards; NULL is fine */
/* Runs SQL (one statement, no parameters); FN gets the values of the first row (N columns, NULL for SQL NULL; n == 0: no row), or ERR.
 * FN comes from the loop, never from inside this call, and may ask again or free S.
 * ERR carries the server's SQLSTATE when the server said anything, also when it refused the login; 08001: not reached; 08006: lost, or no answer in time.
 * One question at a time: false while another is open.  Fails after TIMEOUT_US; the connection is then closed and made anew. */
typedef void (*service_fn)(void *arg, const char *const *values, unsigned n, const struct err *err);
bool service_ask(struct service *s, const char *sql, uint64_t timeout_us, service_fn fn, void *arg) MUST_CHECK;

#endif
