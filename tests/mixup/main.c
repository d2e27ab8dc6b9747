/*
 * mixup CONNINFO CLIENTS STATEMENTS SLOTS [SEED] — runs the clients in one thread until so many statements were answered, then checks what is
 * left on the servers.  CONNINFO leads to the proxy; the environment's MIXUP_DIRECT leads to PostgreSQL itself, for the last look.
 * Says what it did on stdout; the status is 1 when anything was mixed up.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "mixup.h"

#define LIVES_MAX 200000
#define ANSWER_US 60000000ull /* nothing may take longer */

struct tally tally;
int slots_free;
uint64_t rng_state;
static const char *conninfo;
static bool is_ending;
static struct life {
	int id;
	unsigned life;
	long least, most;
} lives[LIVES_MAX];
static int lives_n;

uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

unsigned rnd(unsigned below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)(rng_state >> 33) % below;
}

void violation(struct client *c, enum category category, const char *fmt, ...)
{
	static const char *const names[] = { "row",       "setting", "role",        "temporary table", "notification", "lock",
		                                 "statement", "cursor",  "transaction", "cancel",          "commit",       "connection" };
	uint64_t before = tally.violations[category]++;
	if (before >= 12)
		return;
	printf("violation (%s) client %d life %u: ", names[category], c->id, c->life);
	va_list ap;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

/* MIXUP_TRACE=directory: what each life of each client sent and got. */
static void trace_begin(struct client *c)
{
	char path[512];
	const char *dir = getenv("MIXUP_TRACE");
	if (!dir || !*dir)
		return;
	snprintf(path, sizeof path, "%s/c%d-%u", dir, c->id, c->life);
	c->trace = fopen(path, "w");
	if (c->trace) {
		PQtrace(c->conn, c->trace);
		PQsetTraceFlags(c->conn, PQTRACE_SUPPRESS_TIMESTAMPS);
	}
}

static void trace_end(struct client *c)
{
	if (c->trace)
		fclose(c->trace);
	c->trace = NULL;
}

/* Half of the clients have a setting from their startup packet. */
static void client_start(struct client *c)
{
	char options[96] = "";
	c->life++;
	snprintf(c->defaults.v[WORK_MEM], sizeof c->defaults.v[0], "4MB");
	snprintf(c->defaults.v[LOCK_TIMEOUT], sizeof c->defaults.v[0], "0");
	snprintf(c->defaults.v[APP_NAME], sizeof c->defaults.v[0], "mixup%d", c->id);
	snprintf(c->defaults.v[SEARCH_PATH], sizeof c->defaults.v[0], "\"$user\", public");
	snprintf(c->defaults.v[ROLE], sizeof c->defaults.v[0], "postgres");
	if (c->id % 2) {
		snprintf(c->defaults.v[WORK_MEM], sizeof c->defaults.v[0], "%dkB", 65 + c->id * 20);
		snprintf(options, sizeof options, "-c work_mem=%s", c->defaults.v[WORK_MEM]);
	}
	const char *keys[] = { "dbname", "application_name", "options", NULL };
	const char *values[] = { conninfo, c->defaults.v[APP_NAME], options, NULL };
	c->conn = PQconnectStartParams(keys, values, 1);
	trace_begin(c);
	c->state = CLIENT_CONNECTING;
	c->poll_events = POLLOUT;
	c->sent_us = now_us();
	model_reset(c);
}

void client_gone(struct client *c, bool politely)
{
	if (lives_n < LIVES_MAX)
		lives[lives_n++] = (struct life){ c->id, c->life, c->committed - c->unsure, c->committed };
	if (!politely && PQsocket(c->conn) >= 0)
		shutdown(PQsocket(c->conn), SHUT_RDWR);
	PQfinish(c->conn);
	trace_end(c);
	c->conn = NULL;
	if (c->has_slot) {
		c->has_slot = false;
		slots_free++;
	}
	if (!is_ending)
		client_start(c);
}

static void client_lost(struct client *c, const char *why)
{
	violation(c, MIX_LOST, "%s: %s", why, PQerrorMessage(c->conn));
	client_gone(c, true);
}

/* Nothing that is sent here deserves one. */
static void client_noticed(void *arg, const PGresult *res)
{
	struct client *c = arg;
	violation(c, MIX_TRANSACTION, "%s after '%s'", PQresultErrorMessage(res),
	          c->met < c->expects ? PQresStatus(c->expect[c->met].status) : "the last answer");
}

static void client_logged_in(struct client *c)
{
	PQsetnonblocking(c->conn, 1);
	PQsetNoticeReceiver(c->conn, client_noticed, c);
	c->expects = c->met = 0;
	c->in_pipeline = c->copy_out_seen = c->wants_notify = c->vanishes = false;
	c->cancel_us = 0;
	char sql[128];
	snprintf(sql, sizeof sql, "insert into public.mix values (%d, %u, 0)", c->id, c->life);
	(void)PQsendQuery(c->conn, sql);
	expect_add(c, PGRES_COMMAND_OK, MIX_COMMIT);
	c->state = CLIENT_BUSY;
	c->sent_us = now_us();
}

static void client_connect_step(struct client *c)
{
	switch (PQconnectPoll(c->conn)) {
	case PGRES_POLLING_OK:
		client_logged_in(c);
		break;
	case PGRES_POLLING_READING:
		c->poll_events = POLLIN;
		break;
	case PGRES_POLLING_WRITING:
		c->poll_events = POLLOUT;
		break;
	default:
		violation(c, MIX_LOST, "login: %s", PQerrorMessage(c->conn));
		client_gone(c, true);
	}
}

/* Our own notification comes before the answer to our NOTIFY is complete; anything else must be for our channel while we listen. */
static void client_notified(struct client *c)
{
	PGnotify *n;
	char mine[32];
	snprintf(mine, sizeof mine, "ch%d", c->id);
	while ((n = PQnotifies(c->conn))) {
		tally.notifications++;
		if (!c->listening && !(c->state == CLIENT_BUSY))
			violation(c, MIX_NOTIFY, "got %s '%s' without LISTEN", n->relname, n->extra);
		if (strcmp(n->relname, mine) != 0)
			violation(c, MIX_NOTIFY, "got %s '%s'", n->relname, n->extra);
		if (c->wants_notify && strcmp(n->extra, c->notify) == 0)
			c->wants_notify = false;
		PQfreemem(n);
	}
}

static void judge_error(struct client *c, const struct expect *e, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (!state)
		state = "?????";
	if (e->may_cancel && strcmp(state, "57014") == 0) {
		tally.cancels_hit++;
		model_fail(c);
	} else if (strcmp(state, "57014") == 0)
		violation(c, MIX_CANCEL, "cancelled, but nobody asked: %s", PQresultErrorMessage(res));
	else if (e->status != PGRES_FATAL_ERROR)
		violation(c, e->category, "wanted %s '%s', got %s", PQresStatus(e->status), e->value, PQresultErrorMessage(res));
	else if (e->state[0] && strcmp(state, e->state) != 0)
		violation(c, e->category, "wanted %s, got %s", e->state, PQresultErrorMessage(res));
}

static void judge(struct client *c, const struct expect *e, const PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);
	if (status == PGRES_FATAL_ERROR) {
		judge_error(c, e, res);
		return;
	}
	if (status != e->status) {
		violation(c, e->category, "wanted %s '%s%s', got %s %s", PQresStatus(e->status), e->state, e->value, PQresStatus(status),
		          PQcmdStatus((PGresult *)res));
		return;
	}
	if (status != PGRES_TUPLES_OK || !e->value[0])
		return;
	const char *got = PQntuples(res) ? PQgetvalue(res, 0, 0) : "(no row)";
	if (strcmp(got, e->value) != 0)
		violation(c, e->is_probe ? model_probe_category(got, e->value) : e->category, "wanted '%s', got '%s'", e->value, got);
}

/* False: more must come. */
static bool copy_out(struct client *c, const struct expect *e)
{
	char *row;
	int n;
	while ((n = PQgetCopyData(c->conn, &row, 1)) > 0) {
		if (strcmp(row, e->value) != 0)
			violation(c, MIX_ROW, "COPY: wanted '%s', got '%s'", e->value, row);
		PQfreemem(row);
	}
	return n < 0;
}

/* False: it left in the middle. */
static bool copy_in(struct client *c, const struct expect *e)
{
	for (unsigned n = rnd(20); n > 0; n--)
		(void)PQputCopyData(c->conn, e->value, (int)strlen(e->value));
	if (rnd(20) == 0) {
		(void)PQflush(c->conn);
		tally.vanished++;
		client_gone(c, false);
		return false;
	}
	(void)PQputCopyEnd(c->conn, NULL);
	return true;
}

static void client_answered(struct client *c)
{
	if (c->in_pipeline)
		(void)PQexitPipelineMode(c->conn);
	client_notified(c);
	if (c->wants_notify)
		violation(c, MIX_NOTIFY, "its own notification '%s' did not come", c->notify);
	PGTransactionStatusType tx = PQtransactionStatus(c->conn);
	PGTransactionStatusType want = c->tx == 'I' ? PQTRANS_IDLE : c->tx == 'T' ? PQTRANS_INTRANS : PQTRANS_INERROR;
	if (tx != want) {
		violation(c, MIX_TRANSACTION, "transaction status is %d, wanted %d", tx, want);
		client_gone(c, false);
		return;
	}
	c->state = CLIENT_READY;
}

/* Takes what has come. */
static void client_read(struct client *c)
{
	if (!PQconsumeInput(c->conn)) {
		client_lost(c, "reading");
		return;
	}
	client_notified(c);
	int nothing = 0;
	while (c->state == CLIENT_BUSY && !PQisBusy(c->conn)) {
		struct expect *e = c->met < c->expects ? &c->expect[c->met] : NULL;
		if (e && e->status == PGRES_COPY_OUT && c->copy_out_seen) {
			if (!copy_out(c, e))
				return;
			c->copy_out_seen = false;
			c->met++;
			continue;
		}
		PGresult *res = PQgetResult(c->conn);
		if (!res) {
			if (!e) {
				client_answered(c);
				return;
			}
			if (!c->in_pipeline) {
				violation(c, e->category, "an answer is missing: wanted %s '%s'", PQresStatus(e->status), e->value);
				client_gone(c, false);
				return;
			}
			if (++nothing > 2)
				return;
			continue;
		}
		nothing = 0;
		if (!e) {
			violation(c, MIX_ROW, "an answer too many: %s %s", PQresStatus(PQresultStatus(res)), PQresultErrorMessage(res));
			PQclear(res);
			client_gone(c, false);
			return;
		}
		bool is_dead = PQstatus(c->conn) == CONNECTION_BAD;
		judge(c, e, res);
		ExecStatusType status = PQresultStatus(res);
		PQclear(res);
		if (is_dead) {
			client_lost(c, "the server closed");
			return;
		}
		if (status == PGRES_COPY_OUT && e->status == PGRES_COPY_OUT) {
			c->copy_out_seen = true;
			continue;
		}
		if (status == PGRES_COPY_IN && !copy_in(c, e))
			return;
		if (status == PGRES_FATAL_ERROR && !c->in_pipeline)
			c->met = c->expects; /* the rest of a Query is void */
		else
			c->met++;
		if (c->in_pipeline && c->met == c->expects)
			client_answered(c);
	}
}

static void client_cancel(struct client *c)
{
	char why[256];
	PGcancel *cancel = PQgetCancel(c->conn);
	if (!cancel || !PQcancel(cancel, why, sizeof why))
		violation(c, MIX_CANCEL, "PQcancel: %s", cancel ? why : "no key");
	PQfreeCancel(cancel);
	c->cancel_us = 0;
}

static void client_turn(struct client *c, short revents, uint64_t now)
{
	if (!c->conn)
		return;
	if (c->state == CLIENT_CONNECTING) {
		if (revents)
			client_connect_step(c);
	} else if (c->state == CLIENT_FLIGHT) {
		if (revents & (POLLIN | POLLHUP | POLLERR))
			flight_read(c);
		if (c->conn && c->state == CLIENT_FLIGHT && (flight_has_output(c) || rnd(3) == 0))
			flight_turn(c);
	} else if (revents & (POLLIN | POLLHUP | POLLERR))
		client_read(c);
	if (c->conn && (c->state == CLIENT_BUSY || c->state == CLIENT_FLIGHT) && c->cancel_us && now >= c->cancel_us)
		client_cancel(c);
	if (c->conn && c->state == CLIENT_BUSY && c->vanishes && rnd(3) == 0) {
		tally.vanished++;
		client_gone(c, false);
	} else if (c->conn && c->state != CLIENT_READY && now > c->sent_us + ANSWER_US) {
		violation(c, MIX_LOST, "no answer within a minute to %s '%s'",
		          c->state == CLIENT_FLIGHT ? "a flight"
		          : c->met < c->expects     ? PQresStatus(c->expect[c->met].status)
		                                    : "login",
		          c->state == CLIENT_BUSY && c->met < c->expects ? c->expect[c->met].value : "");
		client_gone(c, false);
	}
	if (c->conn && c->state == CLIENT_READY) {
		if (is_ending && c->tx == 'I')
			client_gone(c, true);
		else {
			ops_next(c);
			(void)PQflush(c->conn);
			if (c->vanishes && rnd(2)) {
				tally.vanished++;
				client_gone(c, rnd(4) == 0);
			}
		}
	}
}

static void run(struct client *clients, int n, uint64_t statements)
{
	struct pollfd *fds = calloc((size_t)n, sizeof *fds);
	for (;;) {
		int open = 0;
		bool has_cancel = false;
		is_ending = is_ending || tally.statements >= statements;
		for (int i = 0; i < n; i++) {
			struct client *c = &clients[i];
			fds[i] = (struct pollfd){ .fd = c->conn ? PQsocket(c->conn) : -1,
				                      .events = (short)(c->conn && c->state == CLIENT_CONNECTING ? c->poll_events : POLLIN) };
			if (c->conn && c->state == CLIENT_BUSY && PQflush(c->conn) > 0)
				fds[i].events |= POLLOUT;
			if (c->conn && c->state == CLIENT_FLIGHT && flight_has_output(c))
				fds[i].events |= POLLOUT;
			open += c->conn != NULL;
			has_cancel |= c->conn && c->cancel_us;
		}
		if (!open)
			break;
		if (poll(fds, (nfds_t)n, has_cancel ? 2 : 100) < 0 && errno != EINTR)
			break;
		uint64_t now = now_us();
		for (int i = 0; i < n; i++)
			client_turn(&clients[i], fds[i].revents, now);
	}
	free(fds);
}

/* When all clients are gone: every life's row holds what it was told, and nothing is left on any server. */
static void last_look(void)
{
	PGconn *conn = PQconnectdb(getenv("MIXUP_DIRECT") ? getenv("MIXUP_DIRECT") : conninfo);
	struct client nobody = { .id = -1 };
	char sql[128];
	const char *left = "select count(*) from pg_locks l where locktype = 'advisory' and l.database = (select oid from "
	                   "pg_database where datname = current_database())";
	const char *busy = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and "
	                   "state <> 'idle'";
	for (uint64_t end = now_us() + 30000000;;) {
		PGresult *a = PQexec(conn, busy), *b = PQexec(conn, left);
		bool is_quiet =
		    PQntuples(a) && strcmp(PQgetvalue(a, 0, 0), "0") == 0 && PQntuples(b) && strcmp(PQgetvalue(b, 0, 0), "0") == 0;
		PQclear(a);
		PQclear(b);
		if (is_quiet)
			break;
		if (now_us() > end) {
			violation(&nobody, MIX_LOCK, "transactions or advisory locks are left on the servers: %s", PQerrorMessage(conn));
			break;
		}
	}
	PQclear(PQexec(conn, "create index on public.mix (id, life)"));
	for (int i = 0; i < lives_n; i++) {
		snprintf(sql, sizeof sql, "select n from public.mix where id = %d and life = %u", lives[i].id, lives[i].life);
		PGresult *res = PQexec(conn, sql);
		long n = PQntuples(res) ? atol(PQgetvalue(res, 0, 0)) : 0;
		if (n < lives[i].least || n > lives[i].most)
			violation(&nobody, MIX_COMMIT, "client %d life %u committed %ld to %ld times, the table says %ld", lives[i].id,
			          lives[i].life, lives[i].least, lives[i].most, n);
		PQclear(res);
	}
	PGresult *res = PQexec(conn, "select who, count(*) from public.mix_copy group by 1 having who !~ '^c[0-9]+$'");
	if (PQntuples(res))
		violation(&nobody, MIX_ROW, "COPY brought '%s'", PQgetvalue(res, 0, 0));
	PQclear(res);
	PQfinish(conn);
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: mixup CONNINFO CLIENTS STATEMENTS SLOTS [SEED [flights]]\n");
		return 2;
	}
	conninfo = argv[1];
	int n = atoi(argv[2]);
	slots_free = atoi(argv[4]);
	rng_state = argc > 5 ? strtoull(argv[5], NULL, 10) * 2654435769u + 1 : now_us();
	struct client *clients = calloc((size_t)n, sizeof *clients);
	uint64_t start = now_us();
	for (int i = 0; i < n; i++) {
		clients[i].id = i;
		client_start(&clients[i]);
	}
	run(clients, n, strtoull(argv[3], NULL, 10));
	double seconds = (double)(now_us() - start) / 1e6;
	last_look();
	uint64_t bad = 0;
	for (int i = 0; i < MIX_CATEGORIES; i++)
		bad += tally.violations[i];
	printf("%d clients: %lu statements in %.1f s, %lu transactions, %lu pipelines, %lu flights, %lu errors, %lu cancels (%lu "
	       "hit), %lu "
	       "vanished, %lu pins, %lu notifications\n",
	       n, tally.statements, seconds, tally.transactions, tally.pipelines, tally.flights, tally.errors, tally.cancels,
	       tally.cancels_hit, tally.vanished, tally.pins, tally.notifications);
	printf("violations: %lu (row %lu, setting %lu, role %lu, temporary table %lu, notification %lu, lock %lu, statement %lu, "
	       "cursor %lu, transaction %lu, cancel %lu, commit %lu, connection %lu)\n",
	       bad, tally.violations[0], tally.violations[1], tally.violations[2], tally.violations[3], tally.violations[4],
	       tally.violations[5], tally.violations[6], tally.violations[7], tally.violations[8], tally.violations[9],
	       tally.violations[10], tally.violations[11]);
	for (int i = 0; i < n; i++)
		free(clients[i].flight);
	free(clients);
	return bad != 0;
}
