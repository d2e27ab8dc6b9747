/*
 * show_sockets — the views of clients and server connections.  Each worker writes the rows of its own, some clients at a time, so nobody's list is
 * looked at by another thread, and none is looked at for long.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "net/tls.h"
#include "priv.h"

#define COLUMNS(id) .columns = id##_columns, .n_columns = ARRAY_LEN(id##_columns)
#define SERVERS_AT UINT32_MAX /* a walk that has seen the clients: the servers are next */

/* ---- cells ------------------------------------------------------------------------------------------------------------ */

/* In microseconds, so that it is the same second each time. */
void cell_time(struct table *t, uint64_t then_us)
{
	char out[40];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t now_us = now.tv_sec * (int64_t)US_PER_S + now.tv_nsec / 1000;
	time_t then = (time_t)((now_us - (int64_t)(clock_us() - then_us)) / (int64_t)US_PER_S);
	strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&then, &tm));
	table_text(t, out);
}

/* addr and port: of a unix socket "unix" and the number in its name is not known, so 0. */
static void cells_addr(struct table *t, const struct addr *a)
{
	char text[INET6_ADDRSTRLEN] = "unix";
	if (a->sa.ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)&a->sa)->sin_addr, text, sizeof text);
	else if (a->sa.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&a->sa)->sin6_addr, text, sizeof text);
	table_text(t, text);
	table_int(t, addr_is_unix(a) ? 0 : addr_port(a));
}

static void cells_local_addr(struct table *t, const struct stream *s)
{
	struct addr a = { .len = sizeof a.sa };
	a.sa.ss_family = AF_UNIX;
	if (stream_fd(s) < 0 || getsockname(stream_fd(s), (struct sockaddr *)&a.sa, &a.len) != 0)
		a.sa.ss_family = AF_UNIX;
	cells_addr(t, &a);
}

static void cells_wait(struct table *t, uint64_t since_us)
{
	uint64_t now = clock_us(), wait = since_us && now > since_us ? now - since_us : 0;
	table_int(t, (int64_t)(wait / US_PER_S));
	table_int(t, (int64_t)(wait % US_PER_S));
}

static void cell_name(struct table *t, const char *kind, uint64_t id)
{
	char text[32] = "";
	if (id)
		snprintf(text, sizeof text, "%s%llu", kind, (unsigned long long)id);
	table_text(t, text);
}

static void cell_tls(struct table *t, const struct stream *s)
{
	const struct tls *tls = stream_tls(s);
	char text[120] = "";
	if (tls)
		snprintf(text, sizeof text, "%s/%s", tls_version(tls), tls_cipher(tls));
	table_text(t, text);
}

static void cell_application(struct table *t, const struct settings *told)
{
	const char *name = told ? settings_get(told, "application_name") : NULL;
	table_text(t, name ? name : "");
}

/* What SOCKETS adds: recv_pos … send_avail. */
static void cells_buffers(struct table *t, const struct stream *s)
{
	int64_t in = (int64_t)stream_unread(s), out = (int64_t)stream_backlog(s);
	table_int(t, in);
	table_int(t, 0);
	table_int(t, 0);
	table_int(t, 0);
	table_int(t, out);
	table_int(t, in);
	table_int(t, out);
}

/* ---- one socket ---------------------------------------------------------------------------------------------------------- */

enum kind { KIND_PLAIN, KIND_SOCKETS, KIND_ACTIVE }; /* CLIENTS and SERVERS; SOCKETS; ACTIVE_SOCKETS */
struct walk {
	struct table *t;
	enum kind kind;
};

static bool has_bytes(const struct stream *s)
{
	return stream_unread(s) || stream_backlog(s);
}

static void client_own_cells(struct table *t, const struct session_row *row)
{
	table_text(t, row->state);
	table_int(t, (int64_t)(clock_us() - row->since_us));
	table_text(t, or_null(row->pin));
	table_int(t, t->console->worker);
}

static void client_row(void *arg, const struct session_row *row)
{
	static const char *const states[][2] = { { "login", "cl_login" },
		                                     { "idle", "cl_active" },
		                                     { "active", "cl_active" },
		                                     { "waiting", "cl_waiting" },
		                                     { "active_cancel_req", "cl_active_cancel_req" } };
	const struct walk *walk = arg;
	struct table *t = walk->t;
	if (walk->kind == KIND_ACTIVE && !has_bytes(row->stream))
		return;
	table_row(t);
	table_text(t, "C");
	table_text(t, row->user ? row->user : "(nouser)");
	table_text(t, row->database ? row->database : "(nodb)");
	table_text(t, row->replication);
	table_text(t, states[row->doing][walk->kind != KIND_PLAIN]);
	cells_addr(t, &row->peer);
	cells_local_addr(t, row->stream);
	cell_time(t, row->connected_us);
	cell_time(t, row->since_us);
	cells_wait(t, row->waiting_since_us);
	table_int(t, row->is_leaving);
	cell_name(t, "c", row->id);
	cell_name(t, "s", row->server ? row->server->id : 0);
	table_int(t, 0);
	cell_tls(t, row->stream);
	table_text(t, row->application ? row->application : "");
	table_int(t, row->statements);
	table_int(t, (int64_t)row->id);
	if (walk->kind != KIND_PLAIN)
		cells_buffers(t, row->stream);
	else
		client_own_cells(t, row);
}

static void server_row(void *arg, const struct server_row *row)
{
	const struct walk *walk = arg;
	struct table *t = walk->t;
	const struct server *srv = row->srv;
	uint64_t client = srv->borrower ? sessions_id_of(srv) : 0;
	char state[40];
	if (walk->kind == KIND_ACTIVE && !has_bytes(&srv->up.stream))
		return;
	snprintf(state, sizeof state, "%s%s", walk->kind == KIND_PLAIN ? "" : "sv_",
	         walk->kind != KIND_PLAIN && strcmp(row->state, "new") == 0 ? "login" : row->state);
	table_row(t);
	table_text(t, "S");
	table_text(t, row->user);
	table_text(t, row->database);
	table_text(t, "none");
	table_text(t, state);
	cells_addr(t, &srv->up.addr);
	cells_local_addr(t, &srv->up.stream);
	cell_time(t, row->opened_us);
	cell_time(t, client ? sessions_since_us_of(srv) : row->idle_since_us ? row->idle_since_us : row->opened_us);
	cells_wait(t, 0);
	table_int(t, row->must_close);
	cell_name(t, "s", row->id);
	cell_name(t, "c", client);
	table_int(t, srv->up.backend_pid);
	cell_tls(t, &srv->up.stream);
	cell_application(t, srv->up.reported);
	table_int(t, stmts_len(&srv->stmts));
	table_int(t, (int64_t)(row->id & INT32_MAX));
	if (walk->kind != KIND_PLAIN) {
		cells_buffers(t, &srv->up.stream);
		return;
	}
	table_text(t, row->node);
	table_int(t, t->console->worker);
}

/* Clients, then servers; the servers of a worker are few enough for one turn. */
static bool both(struct table *t, uint32_t *at, unsigned most, enum kind kind)
{
	struct walk walk = { t, kind };
	if (*at != SERVERS_AT) {
		if (!sessions_each(t->console->sessions, at, most, client_row, &walk))
			*at = SERVERS_AT;
		return true;
	}
	pools_each_server(t->console->pools, server_row, &walk);
	return false;
}

/* ---- CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS */

#define SOCKET_COLUMNS                                                                                                       \
	{ "type", COLUMN_TEXT }, { "user", COLUMN_TEXT }, { "database", COLUMN_TEXT }, { "replication", COLUMN_TEXT },           \
	    { "state", COLUMN_TEXT }, { "addr", COLUMN_TEXT }, { "port", COLUMN_INT4 }, { "local_addr", COLUMN_TEXT },           \
	    { "local_port", COLUMN_INT4 }, { "connect_time", COLUMN_TEXT }, { "request_time", COLUMN_TEXT },                     \
	    { "wait", COLUMN_INT4 }, { "wait_us", COLUMN_INT4 }, { "close_needed", COLUMN_INT4 }, { "ptr", COLUMN_TEXT },        \
	    { "link", COLUMN_TEXT }, { "remote_pid", COLUMN_INT4 }, { "tls", COLUMN_TEXT }, { "application_name", COLUMN_TEXT }, \
	    { "prepared_statements", COLUMN_INT4 },                                                                              \
	{                                                                                                                        \
		"id", COLUMN_INT4                                                                                                    \
	}
#define BUFFER_COLUMNS                                                                                                   \
	{ "recv_pos", COLUMN_INT4 }, { "pkt_pos", COLUMN_INT4 }, { "pkt_remain", COLUMN_INT4 }, { "send_pos", COLUMN_INT4 }, \
	    { "send_remain", COLUMN_INT4 }, { "pkt_avail", COLUMN_INT4 },                                                    \
	{                                                                                                                    \
		"send_avail", COLUMN_INT4                                                                                        \
	}

static const struct column clients_columns[] = {
	SOCKET_COLUMNS, { "doing", COLUMN_TEXT }, { "state_us", COLUMN_INT8 }, { "pin", COLUMN_TEXT }, { "worker", COLUMN_INT4 },
};

static bool clients_survey(struct table *t, uint32_t *at, unsigned most)
{
	struct walk walk = { t, KIND_PLAIN };
	return sessions_each(t->console->sessions, at, most, client_row, &walk);
}
const struct view show_clients = { COLUMNS(clients), .survey = clients_survey };

static const struct column servers_columns[] = { SOCKET_COLUMNS, { "node", COLUMN_TEXT }, { "worker", COLUMN_INT4 } };

static bool servers_survey(struct table *t, uint32_t *at, unsigned most)
{
	struct walk walk = { t, KIND_PLAIN };
	pools_each_server(t->console->pools, server_row, &walk);
	return false;
}
const struct view show_servers = { COLUMNS(servers), .survey = servers_survey };

static const struct column sockets_columns[] = { SOCKET_COLUMNS, BUFFER_COLUMNS };

static bool sockets_survey(struct table *t, uint32_t *at, unsigned most)
{
	return both(t, at, most, KIND_SOCKETS);
}
const struct view show_sockets = { COLUMNS(sockets), .survey = sockets_survey };

static bool active_sockets_survey(struct table *t, uint32_t *at, unsigned most)
{
	return both(t, at, most, KIND_ACTIVE);
}
const struct view show_active_sockets = { COLUMNS(sockets), .survey = active_sockets_survey };

/* ---- FDS: what PgBouncer hands over by it, without the secrets, for who looks at this process with other tools */

static const struct column fds_columns[] = {
	{ "fd", COLUMN_INT4 },
	{ "task", COLUMN_TEXT },
	{ "user", COLUMN_TEXT },
	{ "database", COLUMN_TEXT },
	{ "addr", COLUMN_TEXT },
	{ "port", COLUMN_INT4 },
	{ "cancel", COLUMN_INT8 },
	{ "link", COLUMN_INT4 },
	{ "client_encoding", COLUMN_TEXT },
	{ "std_strings", COLUMN_TEXT },
	{ "datestyle", COLUMN_TEXT },
	{ "timezone", COLUMN_TEXT },
	{ "password", COLUMN_TEXT },
	{ "scram_client_key", COLUMN_BYTEA },
	{ "scram_server_key", COLUMN_BYTEA },
};

static void cell_setting(struct table *t, const struct settings *told, const char *name)
{
	table_text(t, told ? settings_get(told, name) : NULL);
}

static void fd_cells(struct table *t, const struct stream *link, const struct settings *told)
{
	table_null(t); /* the cancel key */
	table_int(t, link ? stream_fd(link) : 0);
	cell_setting(t, told, "client_encoding");
	cell_setting(t, told, "standard_conforming_strings");
	cell_setting(t, told, "DateStyle");
	cell_setting(t, told, "TimeZone");
	table_null(t); /* password, keys */
	table_null(t);
	table_null(t);
}

static void client_fd_row(void *arg, const struct session_row *row)
{
	struct table *t = arg;
	table_row(t);
	table_int(t, stream_fd(row->stream));
	table_text(t, "client");
	table_text(t, row->user);
	table_text(t, row->database);
	cells_addr(t, &row->peer);
	fd_cells(t, row->server ? &row->server->up.stream : NULL, row->told);
}

static void server_fd_row(void *arg, const struct server_row *row)
{
	struct table *t = arg;
	table_row(t);
	table_int(t, stream_fd(&row->srv->up.stream));
	table_text(t, "server");
	table_text(t, row->user);
	table_text(t, row->database);
	cells_addr(t, &row->srv->up.addr);
	fd_cells(t, sessions_stream_of(row->srv), row->srv->up.reported);
}

static bool fds_survey(struct table *t, uint32_t *at, unsigned most)
{
	if (*at != SERVERS_AT) {
		if (!sessions_each(t->console->sessions, at, most, client_fd_row, t))
			*at = SERVERS_AT;
		return true;
	}
	pools_each_server(t->console->pools, server_fd_row, t);
	return false;
}
const struct view show_fds = { COLUMNS(fds), .survey = fds_survey };

/* ---- PINS */

static const struct column pins_columns[] = {
	{ "id", COLUMN_INT4 },    { "user", COLUMN_TEXT }, { "database", COLUMN_TEXT },         { "reason", COLUMN_TEXT },
	{ "state", COLUMN_TEXT }, { "addr", COLUMN_TEXT }, { "application_name", COLUMN_TEXT },
};

static void pin_row(void *arg, const struct session_row *row)
{
	struct table *t = arg;
	char peer[ADDR_TEXT_MAX];
	if (!or_null(row->pin))
		return;
	table_row(t);
	table_int(t, (int64_t)row->id);
	table_text(t, row->user);
	table_text(t, row->database);
	table_text(t, row->pin);
	table_text(t, row->state);
	table_text(t, addr_text(&row->peer, peer));
	table_text(t, row->application ? row->application : "");
}

static bool pins_survey(struct table *t, uint32_t *at, unsigned most)
{
	return sessions_each(t->console->sessions, at, most, pin_row, t);
}
const struct view show_pins = { COLUMNS(pins), .survey = pins_survey };
