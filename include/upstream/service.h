/*
 * service — one question to a node by libpq, asynchronous: connection, one statement, its rows, a deadline.
 * For probes, orders and the secrets of users, in the control thread; client traffic never comes here.  libpq is seen behind this header only;
 * always hostaddr from our own resolver (or a socket directory), every option given, the PG* environment is cleared at start.
 */
#ifndef UPSTREAM_SERVICE_H
#define UPSTREAM_SERVICE_H

#include "conf/conf.h"
#include "net/mailbox.h"
#include "net/resolve.h"

struct service_target {
	const char *host, *dbname, *user, *password; /* password may be "" */
	uint16_t port;
	const struct conf_cluster *cluster; /* how TLS is meant there; NULL: off */
	uint64_t statement_timeout_us;      /* that the server itself heeds; 0: none */
};
/* A persistent connection that is (re)made when asked; one that dies while nobody asks is dropped quietly. */
struct service;
struct service *service_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                            const struct service_target *target);
void service_free(struct service *s); /* no callback afterwards; NULL is fine */
/* FN: a connection that nobody was asking over turned out to be closed.  It may ask, and may not free S. */
void service_on_lost(struct service *s, void (*fn)(void *arg), void *arg);
/* How many days the certificate has left that the server has shown; less than 0: it has expired.  False: not connected, or without TLS. */
bool service_certificate_days(const struct service *s, int *days);
bool service_is_for(const struct service *s, const struct service_target *target); /* made for the same */
/* Runs SQL (one statement, no parameters); FN gets the values of the first row (N columns, NULL for SQL NULL; n == 0: no row), or ERR.
 * FN comes from the loop, never from inside this call, and may ask again or free S.
 * ERR carries the server's SQLSTATE when the server said anything, also when it refused the login; 28000: its certificate, or ours, is no good;
 * 08001: not reached; 08006: lost, or no answer in time.
 * One question at a time: false while another is open.  Fails after TIMEOUT_US; the connection is then closed and made anew. */
typedef void (*service_fn)(void *arg, const char *const *values, unsigned n, const struct err *err);
bool service_ask(struct service *s, const char *sql, uint64_t timeout_us, service_fn fn, void *arg) MUST_CHECK;

/* The same for answers of many rows, which are held in memory until FN returns; ROWS is NULL when there is ERR. */
struct service_rows;
typedef void (*service_rows_fn)(void *arg, const struct service_rows *rows, const struct err *err);
bool service_ask_rows(struct service *s, const char *sql, uint64_t timeout_us, service_rows_fn fn, void *arg) MUST_CHECK;
/* … for a statement with one parameter, $1. */
bool service_ask_with(struct service *s, const char *sql, const char *parameter, uint64_t timeout_us, service_rows_fn fn,
                      void *arg) MUST_CHECK;
/* … for one with any parameters, and an answer of unknown size: beyond MAX_ROWS or MAX_BYTES it fails (54000), and the connection is closed. */
struct service_statement {
	const char *sql;
	unsigned n;
	const char *const *parameters; /* NULL among them is SQL NULL */
	unsigned max_rows;
	size_t max_bytes;
};
bool service_ask_bounded(struct service *s, const struct service_statement *statement, uint64_t timeout_us, service_rows_fn fn,
                         void *arg) MUST_CHECK;
unsigned service_columns_n(const struct service_rows *rows);
const char *service_column_name(const struct service_rows *rows, unsigned column);
unsigned service_column_type(const struct service_rows *rows, unsigned column); /* PostgreSQL's oid of it */
unsigned long long service_rows_affected(const struct service_rows *rows);      /* by a statement without rows, too */
unsigned service_rows_n(const struct service_rows *rows);
const char *service_value(const struct service_rows *rows, unsigned row,
                          unsigned column); /* "" for SQL NULL and what is not there */
bool service_is_null(const struct service_rows *rows, unsigned row, unsigned column);
size_t service_value_len(const struct service_rows *rows, unsigned row, unsigned column);

#endif
