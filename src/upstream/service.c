/*
 * service — one question at a time to a node, by libpq, without ever blocking the loop.
 *
 *   idle ──service_ask()──► resolving ──► connecting ──► asking ──► idle        any ──deadline, error──► idle, not connected
 *     └─────────── (connected already) ───────────────────►┘
 *
 * In a simulation the world (upstream/world.h) takes libpq's place, from connecting to the answer; questions and deadlines stay here.
 *
 * Always: `fn` is set exactly while a question is open, and the timer runs exactly then;
 *         while connected and idle the socket is watched, so that a connection that died is not asked next time.
 */
#include "upstream/service.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dial.h"
#include "rows.h"

#define COLUMNS_MAX 16

enum service_state { SERVICE_IDLE, SERVICE_RESOLVING, SERVICE_CONNECTING, SERVICE_ASKING };
static const char *const state_names[] = { "idle", "resolving", "connecting", "asking" };

struct service {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct dial dial;
	enum service_state state;
	PGconn *conn;              /* NULL: not connected */
	const struct world *world; /* NULL: the network is real */
	bool is_in_touch;          /* connected, in the world */
	struct loop_io io;
	struct loop_timer timer;
	struct loop_defer begin;
	struct resolve_question *question;
	struct err err;
	/* The question. */
	char *sql, **parameters;
	unsigned n_parameters;
	bool is_bounded;
	unsigned max_rows;
	size_t bytes_left;
	uint64_t timeout_us;
	service_fn fn;
	service_rows_fn rows_fn; /* with service_ask_rows(): called instead */
	void *arg;
	void (*on_lost)(void *arg);
	void *lost_arg;
	PGresult *result; /* the first that came */
};

static void service_enter(struct service *s, enum service_state next)
{
	ASSERT(next == SERVICE_IDLE || next > s->state);
	log_debug(NULL, "service_state", KV_STR("host", s->dial.host), KV_INT("port", s->dial.port),
	          KV_STR("from", state_names[s->state]), KV_STR("to", state_names[next]));
	s->state = next;
}

/* -- the connection ------------------------------------------------------------------------------ */

static void on_io(struct loop_io *io, unsigned events);

/* libpq may have closed one socket and opened another with the same number: while it connects, each look begins afresh. */
static void watch(struct service *s, unsigned events)
{
	int fd = s->conn ? PQsocket(s->conn) : -1;
	if (fd != s->io.ev.fd || s->state == SERVICE_CONNECTING) {
		loop_io_set(s->loop, &s->io, 0);
		loop_io_init(&s->io, fd, on_io);
	}
	loop_io_set(s->loop, &s->io, fd < 0 ? 0 : events);
}

static void disconnect(struct service *s)
{
	s->is_in_touch = false;
	if (s->world)
		s->world->hang_up(s->world->arg, s);
	loop_io_set(s->loop, &s->io, 0);
	PQfinish(s->conn);
	s->conn = NULL;
}

static void free_question(struct service *s)
{
	mem_free(s->sql);
	for (unsigned i = 0; i < s->n_parameters; i++)
		mem_free(s->parameters[i]);
	mem_free(s->parameters);
	s->sql = NULL;
	s->parameters = NULL;
	s->n_parameters = 0;
	s->is_bounded = false;
}

static void end_question(struct service *s, const char *const *values, unsigned n, const struct err *err)
{
	service_fn fn = s->fn;
	service_rows_fn rows_fn = s->rows_fn;
	void *arg = s->arg;
	PGresult *result = s->result;
	resolve_forget(s->question);
	s->question = NULL;
	s->fn = NULL;
	s->rows_fn = NULL;
	s->result = NULL;
	free_question(s);
	loop_timer_stop(s->loop, &s->timer);
	loop_defer_cancel(&s->begin);
	service_enter(s, SERVICE_IDLE);
	watch(s, LOOP_READ);
	if (rows_fn) /* either may free S */
		rows_fn(arg, err ? NULL : (const struct service_rows *)result, err);
	else
		fn(arg, values, n, err);
	PQclear(result);
}

/* Closes the connection, then tells s->err. */
static void fail(struct service *s)
{
	struct err err = s->err;
	disconnect(s);
	end_question(s, NULL, 0, &err);
}

static void copy_first_line(char *to, size_t cap, const char *text)
{
	size_t n = strcspn(text, "\n");
	snprintf(to, cap, "%.*s", (int)(n < cap ? n : cap), text);
}

static bool is_sqlstate(const char *at)
{
	for (int i = 0; i < 5; i++)
		if (!isdigit((unsigned char)at[i]) && !isupper((unsigned char)at[i]))
			return false;
	return at[5] == ':';
}

/*
 * libpq does not tell the SQLSTATE of a refused login; with PQERRORS_VERBOSE it stands in the text:
 * "connection to server … failed: FATAL:  28P01: password authentication failed …", its severity in the server's language.  A server whose
 * certificate is no good was reached, too: "SSL error: certificate verify failed", in our language, which is none (src/main.c sets no locale).
 */
static void note_connect_error(struct service *s)
{
	char line[sizeof s->err.text];
	char state[6] = "08001";
	copy_first_line(line, sizeof line, PQerrorMessage(s->conn));
	for (const char *at = strstr(line, ":  "); at; at = strstr(at + 1, ":  "))
		if (is_sqlstate(at + 3)) {
			memcpy(state, at + 3, 5);
			break;
		}
	bool is_distrusted = strcmp(state, "08001") == 0 && strstr(line, "certificate");
	err_set(&s->err, is_distrusted ? "28000" : state, "%s", line);
}

static void note_result_error(struct service *s, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE), *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	char line[sizeof s->err.text];
	copy_first_line(line, sizeof line, text ? text : PQresultErrorMessage(r));
	err_set(&s->err, state ? state : "08006", "%s", line);
}

static void note_lost(struct service *s)
{
	char line[sizeof s->err.text];
	copy_first_line(line, sizeof line, PQerrorMessage(s->conn));
	err_set(&s->err, "08006", "%s", line[0] ? line : "the server closed the connection");
}

/* -- asking -------------------------------------------------------------------------------------- */

static void finish_answer(struct service *s)
{
	const char *values[COLUMNS_MAX];
	const PGresult *r = s->result;
	unsigned n = 0;
	if (!r || (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)) {
		if (r)
			note_result_error(s, r);
		else
			note_lost(s);
		struct err err = s->err;
		if (PQstatus(s->conn) == CONNECTION_BAD)
			disconnect(s);
		end_question(s, NULL, 0, &err);
		return;
	}
	for (int rows = PQntuples(r), columns = PQnfields(r); rows > 0 && n < COLUMNS_MAX && (int)n < columns; n++)
		values[n] = PQgetisnull(r, 0, (int)n) ? NULL : PQgetvalue(r, 0, (int)n);
	end_question(s, values, n, NULL);
}

/* A row by itself joins those before it.  False: that would be too much. */
static bool add_row(struct service *s, PGresult *row)
{
	int at = s->result ? PQntuples(s->result) : 0;
	if (!s->result && !(s->result = PQcopyResult(row, PG_COPYRES_ATTRS)))
		die("out of memory: an answer's columns");
	for (int i = 0, n = PQnfields(row); i < n; i++) {
		size_t len = (size_t)PQgetlength(row, 0, i), cost = len + 32;
		if (at >= (int)s->max_rows || cost > s->bytes_left) {
			err_set(&s->err, "54000", "the answer is larger than %u rows, or than the bytes that it may have", s->max_rows);
			return false;
		}
		s->bytes_left -= cost;
		if (!PQsetvalue(s->result, at, i, PQgetisnull(row, 0, i) ? NULL : PQgetvalue(row, 0, i),
		                PQgetisnull(row, 0, i) ? -1 : (int)len))
			die("out of memory: an answer's row");
	}
	return true;
}

/* The first result counts; of one that comes row by row, all of them, or the error that ends it.  Takes R over. */
static bool take_result(struct service *s, PGresult *r)
{
	bool is_good = true;
	if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
		is_good = add_row(s, r);
	} else if (!s->result || (s->is_bounded && PQresultStatus(r) == PGRES_FATAL_ERROR)) {
		PQclear(s->result);
		s->result = r;
		return true;
	}
	PQclear(r);
	return is_good;
}

static void step_asking(struct service *s)
{
	if (!PQconsumeInput(s->conn)) {
		note_lost(s);
		fail(s);
		return;
	}
	int unsent = PQflush(s->conn);
	while (!PQisBusy(s->conn)) {
		PGresult *r = PQgetResult(s->conn);
		if (!r) {
			finish_answer(s);
			return;
		}
		if (!take_result(s, r)) {
			fail(s);
			return;
		}
	}
	watch(s, unsent == 1 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void begin_asking(struct service *s)
{
	service_enter(s, SERVICE_ASKING);
	bool has_parameters = s->n_parameters > 0 || s->is_bounded;
	const char *const *values = (const char *const *)s->parameters;
	if (!(has_parameters ? PQsendQueryParams(s->conn, s->sql, (int)s->n_parameters, NULL, values, NULL, NULL, 0)
	                     : PQsendQuery(s->conn, s->sql)) ||
	    (s->is_bounded && !PQsetSingleRowMode(s->conn))) {
		note_lost(s);
		fail(s);
		return;
	}
	watch(s, PQflush(s->conn) == 1 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

/* -- connecting ---------------------------------------------------------------------------------- */

static void step_connecting(struct service *s)
{
	switch (PQconnectPoll(s->conn)) {
	case PGRES_POLLING_READING:
		watch(s, LOOP_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(s, LOOP_WRITE);
		break;
	case PGRES_POLLING_OK:
		PQsetnonblocking(s->conn, 1);
		loop_io_set(s->loop, &s->io, 0);
		begin_asking(s);
		break;
	default:
		note_connect_error(s);
		fail(s);
	}
}

static void begin_connecting(struct service *s, const char *host, const char *hostaddr)
{
	service_enter(s, SERVICE_CONNECTING);
	s->conn = dial_open(&s->dial, host, hostaddr);
	if (PQstatus(s->conn) == CONNECTION_BAD) {
		note_connect_error(s);
		fail(s);
		return;
	}
	watch(s, LOOP_WRITE);
}

static void on_answer(void *arg, const struct resolve_answer *answer)
{
	struct service *s = arg;
	char list[DIAL_HOSTS_MAX] = "";
	size_t len = 0;
	s->question = NULL;
	for (unsigned i = 0; i < answer->n; i++) {
		char one[64];
		const struct addr *a = &answer->at[i];
		if (getnameinfo((const struct sockaddr *)&a->sa, a->len, one, sizeof one, NULL, 0, NI_NUMERICHOST) == 0)
			len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? "," : "", one);
	}
	if (len > 0) {
		begin_connecting(s, NULL, list);
		return;
	}
	s->err = answer->err;
	fail(s);
}

static void find_host(struct service *s)
{
	struct addr numeric;
	if (s->dial.host[0] == '/' || s->dial.host[0] == '@') {
		begin_connecting(s, s->dial.host, NULL);
	} else if (addr_from_numeric(&numeric, s->dial.host, s->dial.port)) {
		begin_connecting(s, NULL, s->dial.host);
	} else {
		service_enter(s, SERVICE_RESOLVING);
		s->question = resolve_ask(s->resolver, s->dial.host, s->dial.port, s->mailbox, on_answer, s);
	}
}

/* -- events -------------------------------------------------------------------------------------- */

static void lose(struct service *s)
{
	disconnect(s);
	if (s->on_lost)
		s->on_lost(s->lost_arg);
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct service *s = CONTAINER_OF(io, struct service, io);
	if (s->state == SERVICE_CONNECTING)
		step_connecting(s);
	else if (s->state == SERVICE_ASKING)
		step_asking(s);
	else if (!PQconsumeInput(s->conn) || PQstatus(s->conn) == CONNECTION_BAD)
		lose(s);
}

static void on_deadline(struct loop_timer *t)
{
	struct service *s = CONTAINER_OF(t, struct service, timer);
	bool is_connected = s->state == SERVICE_ASKING;
	err_set(&s->err, is_connected ? "08006" : "08001", "%s %s:%u within %llu ms",
	        is_connected ? "no answer from" : "could not connect to", s->dial.host, s->dial.port,
	        (unsigned long long)(s->timeout_us / US_PER_MS));
	fail(s);
}

static void ask_world(struct service *s)
{
	const struct world_question q = { .host = s->dial.host,
		                              .port = s->dial.port,
		                              .is_connected = s->is_in_touch,
		                              .sql = s->sql,
		                              .n = s->n_parameters,
		                              .parameters = (const char *const *)s->parameters };
	service_enter(s, s->is_in_touch ? SERVICE_ASKING : SERVICE_CONNECTING);
	s->world->ask(s->world->arg, s, &q);
}

static void begin(struct loop_defer *d)
{
	struct service *s = CONTAINER_OF(d, struct service, begin);
	if (s->world)
		ask_world(s);
	else if (s->conn)
		begin_asking(s);
	else
		find_host(s);
}

/* -- public -------------------------------------------------------------------------------------- */

struct service *service_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                            const struct service_target *target)
{
	struct service *s = mem_alloc(sizeof *s);
	s->loop = loop;
	s->resolver = resolver;
	s->world = resolver_world(resolver);
	s->mailbox = mailbox;
	dial_init(&s->dial, target);
	loop_io_init(&s->io, -1, on_io);
	loop_timer_init(&s->timer, on_deadline);
	loop_defer_init(&s->begin, begin);
	return s;
}

void service_free(struct service *s)
{
	if (!s)
		return;
	resolve_forget(s->question);
	disconnect(s);
	loop_timer_stop(s->loop, &s->timer);
	loop_defer_cancel(&s->begin);
	PQclear(s->result);
	free_question(s);
	dial_free(&s->dial);
	mem_free(s);
}

void service_on_lost(struct service *s, void (*fn)(void *arg), void *arg)
{
	s->on_lost = fn;
	s->lost_arg = arg;
}

bool service_certificate_days(const struct service *s, int *days)
{
	return s->conn && s->state != SERVICE_CONNECTING && dial_certificate_days(s->conn, days);
}

bool service_is_for(const struct service *s, const struct service_target *t)
{
	return dial_is_for(&s->dial, t);
}

bool service_ask(struct service *s, const char *sql, uint64_t timeout_us, service_fn fn, void *arg)
{
	if (s->fn)
		return false;
	s->sql = mem_text(sql);
	s->timeout_us = timeout_us;
	s->fn = fn;
	s->arg = arg;
	loop_timer_start(s->loop, &s->timer, timeout_us);
	loop_defer(s->loop, &s->begin);
	return true;
}

static void no_values(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	/* stands for the function that takes rows */
}

bool service_ask_rows(struct service *s, const char *sql, uint64_t timeout_us, service_rows_fn fn, void *arg)
{
	if (!service_ask(s, sql, timeout_us, no_values, arg))
		return false;
	s->rows_fn = fn;
	return true;
}

static void keep_parameters(struct service *s, unsigned n, const char *const *parameters)
{
	s->parameters = mem_alloc((n + 1) * sizeof *s->parameters);
	for (s->n_parameters = 0; s->n_parameters < n; s->n_parameters++)
		s->parameters[s->n_parameters] = mem_text(parameters[s->n_parameters]);
}

bool service_ask_with(struct service *s, const char *sql, const char *parameter, uint64_t timeout_us, service_rows_fn fn,
                      void *arg)
{
	if (!service_ask_rows(s, sql, timeout_us, fn, arg))
		return false;
	keep_parameters(s, 1, &parameter);
	return true;
}

bool service_ask_bounded(struct service *s, const struct service_statement *statement, uint64_t timeout_us, service_rows_fn fn,
                         void *arg)
{
	if (!service_ask_rows(s, statement->sql, timeout_us, fn, arg))
		return false;
	keep_parameters(s, statement->n, statement->parameters);
	s->is_bounded = true;
	s->max_rows = statement->max_rows;
	s->bytes_left = statement->max_bytes;
	return true;
}

/* -- the world ------------------------------------------------------------------------------------ */

void service_on_connected(struct service *s)
{
	s->is_in_touch = true;
	service_enter(s, SERVICE_ASKING);
}

void service_on_reply(struct service *s, const struct world_reply *r)
{
	ASSERT(s->state == SERVICE_ASKING);
	s->result = rows_make(r);
	finish_answer(s);
}

void service_on_refused(struct service *s, const struct err *err, bool ends)
{
	struct err copy = *err;
	s->err = copy;
	if (ends)
		fail(s);
	else
		end_question(s, NULL, 0, &copy);
}

void service_on_closed(struct service *s)
{
	lose(s);
}
