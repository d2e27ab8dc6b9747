/*
 * ops — what a client does next: one statement, a pipeline, a COPY, something that pins, a cancel, or to vanish.
 * Each function sends and adds what must come.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mixup.h"

struct expect *expect_add(struct client *c, ExecStatusType status, enum category category)
{
	if (c->expects == MAX_EXPECT)
		abort();
	struct expect *e = &c->expect[c->expects++];
	memset(e, 0, sizeof *e);
	e->status = status;
	e->category = category;
	tally.statements += status != PGRES_PIPELINE_SYNC;
	return e;
}

void expect_value(struct client *c, enum category category, const char *fmt, ...)
{
	struct expect *e = expect_add(c, PGRES_TUPLES_OK, category);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->value, sizeof e->value, fmt, ap);
	va_end(ap);
}

void expect_error(struct client *c, const char *state, enum category category)
{
	struct expect *e = expect_add(c, PGRES_FATAL_ERROR, category);
	memcpy(e->state, state, 6);
	tally.errors++;
}

void send_query(struct client *c, const char *fmt, ...)
{
	char sql[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(sql, sizeof sql, fmt, ap);
	va_end(ap);
	if (rnd(2) && !strchr(sql, ';'))
		(void)PQsendQueryParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 0);
	else
		(void)PQsendQuery(c->conn, sql);
}

/* A command of one tag, refused in a failed transaction. */
bool command(struct client *c, enum category category, const char *sql)
{
	send_query(c, "%s", sql);
	if (failed(c)) {
		expect_error(c, "25P02", MIX_TRANSACTION);
		return false;
	}
	expect_add(c, PGRES_COMMAND_OK, category);
	return true;
}

void op_echo(struct client *c)
{
	unsigned n = rnd(1000000);
	send_query(c, "select 'c%d:%u'", c->id, n);
	if (failed(c))
		expect_error(c, "25P02", MIX_TRANSACTION);
	else
		expect_value(c, MIX_ROW, "c%d:%u", c->id, n);
}

static void op_parameters(struct client *c)
{
	char value[64];
	snprintf(value, sizeof value, "c%d:%u", c->id, rnd(1000000));
	const char *values[] = { value };
	(void)PQsendQueryParams(c->conn, "select $1::text, repeat('x', 100)", 1, NULL, values, NULL, NULL, 0);
	if (failed(c))
		expect_error(c, "25P02", MIX_TRANSACTION);
	else
		expect_value(c, MIX_ROW, "%s", value);
}

static void op_nothing(struct client *c)
{
	(void)PQsendQuery(c->conn, "");
	expect_add(c, PGRES_EMPTY_QUERY, MIX_ROW);
}

static void op_two_in_one(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	unsigned n = rnd(1000000);
	char sql[256];
	snprintf(sql, sizeof sql, "select 'c%d:%u'; select g, 'c%d:%u' from generate_series(1, 50) g; select 'c%d:end'", c->id, n,
	         c->id, n, c->id);
	(void)PQsendQuery(c->conn, sql);
	expect_value(c, MIX_ROW, "c%d:%u", c->id, n);
	expect_value(c, MIX_ROW, "1");
	expect_value(c, MIX_ROW, "c%d:end", c->id);
}

static void op_probe(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	char sql[2048], want[VALUE_MAX];
	model_probe(c, sql, sizeof sql, want, sizeof want);
	(void)(rnd(2) ? PQsendQuery(c->conn, sql) : PQsendQueryParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 0));
	expect_value(c, MIX_SETTING, "%s", want);
	c->expect[c->expects - 1].is_probe = true;
}

static void op_error(struct client *c)
{
	static const struct {
		const char *sql, *state;
	} wrong[] = { { "select 1/0", "22012" },      { "select nope", "42703" },   { "select * from nowhere", "42P01" },
		          { "execute nowhere", "26000" }, { "fetch nowhere", "34000" }, { "set work_mem = 'x'", "22023" } };
	unsigned k = rnd(sizeof wrong / sizeof *wrong);
	send_query(c, "%s", wrong[k].sql);
	expect_error(c, failed(c) ? "25P02" : wrong[k].state, MIX_TRANSACTION);
	model_fail(c);
}

/* -- settings and roles */

const char *setting_name(enum setting s)
{
	static const char *const names[] = { "work_mem", "lock_timeout", "application_name", "search_path", "role" };
	return names[s];
}

void setting_value(struct client *c, enum setting s, char *out, size_t size)
{
	unsigned k = 1 + rnd(9);
	switch (s) {
	case WORK_MEM:
		snprintf(out, size, "%ukB", 65 + (unsigned)c->id * 20 + 2 * k);
		break;
	case LOCK_TIMEOUT:
		snprintf(out, size, "%ums", 1000000 + (unsigned)c->id * 1000 + k);
		break;
	case APP_NAME:
		snprintf(out, size, "app_%d_%u", c->id, k);
		break;
	case SEARCH_PATH:
		snprintf(out, size, "mix_%d_%u, mix_s%u", c->id, k, k % 8);
		break;
	default:
		snprintf(out, size, "mix_role_%d", (c->id + (int)k) % 8);
		break;
	}
}

static void op_set(struct client *c)
{
	enum setting s = rnd(SETTINGS);
	char value[64];
	unsigned how = rnd(10);
	setting_value(c, s, value, sizeof value);
	if (how < 2) { /* back to the default */
		send_query(c, "reset %s", setting_name(s));
		snprintf(value, sizeof value, "%s", c->defaults.v[s]);
	} else if (how < 4 && s != ROLE) {
		const char *values[] = { value };
		char sql[128];
		snprintf(sql, sizeof sql, "select set_config('%s', $1, false)", setting_name(s));
		(void)PQsendQueryParams(c->conn, sql, 1, NULL, values, NULL, NULL, 0);
		if (failed(c)) {
			expect_error(c, "25P02", MIX_TRANSACTION);
			return;
		}
		expect_value(c, MIX_SETTING, "%s", value);
		snprintf(c->now.v[s], sizeof c->now.v[s], "%s", value);
		snprintf(c->session.v[s], sizeof c->session.v[s], "%s", value);
		return;
	} else
		send_query(c, s == SEARCH_PATH ? "set %s%s = %s" : "set %s%s = '%s'", how < 7 && c->tx != 'I' ? "local " : "",
		           setting_name(s), value);
	if (failed(c)) {
		expect_error(c, "25P02", MIX_TRANSACTION);
		return;
	}
	expect_add(c, PGRES_COMMAND_OK, MIX_SETTING);
	snprintf(c->now.v[s], sizeof c->now.v[s], "%s", value);
	bool is_local = how < 7 && c->tx != 'I' && !(how < 2);
	if (!is_local)
		snprintf(c->session.v[s], sizeof c->session.v[s], "%s", value);
}

/* -- transactions */

static void op_begin(struct client *c)
{
	command(c, MIX_TRANSACTION, rnd(3) ? "begin" : "begin isolation level read committed");
	model_begin(c);
	tally.transactions++;
}

static void op_end(struct client *c)
{
	if (rnd(3)) {
		send_query(c, "commit");
		if (c->tx == 'T')
			c->unsure = c->counted;
		model_commit(c);
	} else {
		send_query(c, "rollback");
		model_rollback(c);
	}
	expect_add(c, PGRES_COMMAND_OK, MIX_TRANSACTION);
}

static void op_save(struct client *c)
{
	if (command(c, MIX_TRANSACTION, "savepoint x"))
		model_save(c);
}

static void op_back_to_save(struct client *c)
{
	if (!c->has_save) {
		op_save(c);
		return;
	}
	send_query(c, "rollback to x");
	expect_add(c, PGRES_COMMAND_OK, MIX_TRANSACTION);
	model_back_to_save(c);
}

static void op_count(struct client *c)
{
	if (c->counted) {
		op_echo(c);
		return;
	}
	send_query(c, "update public.mix set n = n + 1 where id = %d and life = %u returning 'c%d:' || n", c->id, c->life, c->id);
	if (failed(c)) {
		expect_error(c, "25P02", MIX_TRANSACTION);
		return;
	}
	expect_value(c, MIX_COMMIT, "c%d:%ld", c->id, c->committed + 1);
	if (c->tx == 'T')
		c->counted = true;
	else {
		c->committed++;
		c->unsure = 1;
	}
}

static void op_sequence(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	(void)PQsendQuery(c->conn, "select nextval('public.mix_seq') = currval('public.mix_seq')");
	expect_value(c, MIX_ROW, "t");
}

/* -- prepared statements; protocol and SQL share the names */

static void op_prepare(struct client *c)
{
	unsigned k = rnd(8), version = rnd(1000);
	bool exists = c->statements & 1u << k;
	char name[16], sql[128];
	snprintf(name, sizeof name, "s%u", k);
	if (rnd(2)) {
		snprintf(sql, sizeof sql, "select 'c%d:%u:' || $1::text", c->id, version);
		(void)PQsendPrepare(c->conn, name, sql, 0, NULL);
	} else {
		snprintf(sql, sizeof sql, "prepare %s (text) as select 'c%d:%u:' || $1", name, c->id, version);
		(void)PQsendQuery(c->conn, sql);
	}
	if (failed(c) || exists) {
		expect_error(c, failed(c) ? "25P02" : "42P05", MIX_STATEMENT);
		model_fail(c);
		return;
	}
	expect_add(c, PGRES_COMMAND_OK, MIX_STATEMENT);
	c->statements |= 1u << k;
	c->version[k] = version;
}

static void op_execute(struct client *c)
{
	unsigned k = rnd(8), n = rnd(1000000);
	char name[16], value[32];
	snprintf(name, sizeof name, "s%u", k);
	snprintf(value, sizeof value, "%u", n);
	const char *values[] = { value };
	if (rnd(3))
		(void)PQsendQueryPrepared(c->conn, name, 1, values, NULL, NULL, 0);
	else {
		char sql[64];
		snprintf(sql, sizeof sql, "execute %s('%u')", name, n);
		(void)PQsendQuery(c->conn, sql);
	}
	if (failed(c)) {
		/* Bind of a statement that is not there says so, unless the transaction is asked first */
		expect_error(c, "", MIX_STATEMENT);
	} else if (c->statements & 1u << k)
		expect_value(c, MIX_STATEMENT, "c%d:%u:%u", c->id, c->version[k], n);
	else {
		expect_error(c, "26000", MIX_STATEMENT);
		model_fail(c);
	}
}

static void op_deallocate(struct client *c)
{
	unsigned k = rnd(9);
	if (failed(c)) {
		op_echo(c);
		return;
	}
	if (k == 8) {
		send_query(c, "deallocate all");
		expect_add(c, PGRES_COMMAND_OK, MIX_STATEMENT);
		c->statements = 0;
		return;
	}
	send_query(c, "deallocate s%u", k);
	if (c->statements & 1u << k) {
		expect_add(c, PGRES_COMMAND_OK, MIX_STATEMENT);
		c->statements &= ~(1u << k);
	} else {
		expect_error(c, "26000", MIX_STATEMENT);
		model_fail(c);
	}
}

static void op_discard(struct client *c)
{
	command(c, MIX_SETTING, "discard all");
	model_discard_all(c);
	if (c->has_slot) {
		c->has_slot = false;
		slots_free++;
	}
}

/* -- COPY, pipelines, cancels */

static void op_copy_out(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	char sql[128];
	snprintf(sql, sizeof sql, "copy (select 'c%d' from generate_series(1, %u)) to stdout", c->id, 1 + rnd(200));
	(void)PQsendQuery(c->conn, sql);
	snprintf(expect_add(c, PGRES_COPY_OUT, MIX_ROW)->value, VALUE_MAX, "c%d\n", c->id);
	expect_add(c, PGRES_COMMAND_OK, MIX_ROW);
}

static void op_copy_in(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	(void)PQsendQuery(c->conn, "copy public.mix_copy from stdin");
	snprintf(expect_add(c, PGRES_COPY_IN, MIX_ROW)->value, VALUE_MAX, "c%d\n", c->id);
	expect_add(c, PGRES_COMMAND_OK, MIX_ROW);
}

/* Segments of one to five statements, some with an error in the middle. */
static void op_pipeline(struct client *c)
{
	if (failed(c) || !PQenterPipelineMode(c->conn)) {
		op_echo(c);
		return;
	}
	c->in_pipeline = true;
	tally.pipelines++;
	for (unsigned segments = 1 + rnd(4); segments > 0; segments--) {
		struct vars session = c->session, now = c->now;
		bool void_now = false, is_implicit = c->tx == 'I';
		for (unsigned n = 1 + rnd(5); n > 0; n--) {
			char sql[128], value[64];
			const char *values[] = { value };
			snprintf(value, sizeof value, "c%d:%u", c->id, rnd(1000000));
			unsigned what = rnd(12), k = rnd(8);
			if (what == 0)
				(void)PQsendQueryParams(c->conn, "select 1/0", 0, NULL, NULL, NULL, NULL, 0);
			else if (what < 3) {
				snprintf(sql, sizeof sql, "s%u", k);
				(void)PQsendQueryPrepared(c->conn, sql, 1, values, NULL, NULL, 0);
			} else if (what == 3) {
				snprintf(sql, sizeof sql, "set application_name = '%s'", value);
				(void)PQsendQueryParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 0);
			} else
				(void)PQsendQueryParams(c->conn, "select $1::text", 1, NULL, values, NULL, NULL, 0);
			if (rnd(8) == 0)
				(void)PQsendFlushRequest(c->conn);
			if (void_now)
				expect_add(c, PGRES_PIPELINE_ABORTED, MIX_TRANSACTION);
			else if (failed(c)) {
				expect_error(c, what > 0 && what < 3 ? "" : "25P02", MIX_TRANSACTION);
				void_now = true;
			} else if (what == 0 || (what < 3 && !(c->statements & 1u << k))) {
				expect_error(c, what == 0 ? "22012" : "26000", MIX_STATEMENT);
				void_now = true;
				model_fail(c);
			} else if (what < 3)
				expect_value(c, MIX_STATEMENT, "c%d:%u:%s", c->id, c->version[k], value);
			else if (what == 3) {
				expect_add(c, PGRES_COMMAND_OK, MIX_SETTING);
				snprintf(c->now.v[APP_NAME], sizeof c->now.v[APP_NAME], "%s", value);
				snprintf(c->session.v[APP_NAME], sizeof c->session.v[APP_NAME], "%s", value);
			} else
				expect_value(c, MIX_ROW, "%s", value);
		}
		(void)PQpipelineSync(c->conn);
		expect_add(c, PGRES_PIPELINE_SYNC, MIX_TRANSACTION);
		if (is_implicit && void_now) { /* a segment is a transaction */
			c->session = session;
			c->now = now;
		}
	}
}

static void op_cancel(struct client *c)
{
	if (failed(c)) {
		op_echo(c);
		return;
	}
	send_query(c, "select 'c%d' from pg_sleep(0.0%u)", c->id, rnd(9));
	expect_value(c, MIX_CANCEL, "c%d", c->id);
	c->expect[c->expects - 1].may_cancel = true;
	c->cancel_us = now_us() + rnd(15000);
	tally.cancels++;
}

/* Notifications come at any time, and then in the middle of a message for libpq. */
static void op_flight(struct client *c)
{
	if (c->listening)
		op_echo(c);
	else
		flight_begin(c);
}

struct op {
	unsigned weight;
	void (*run)(struct client *c);
};

static void pick(const struct op *ops, struct client *c)
{
	unsigned total = 0;
	for (const struct op *o = ops; o->run; o++)
		total += o->weight;
	unsigned at = rnd(total);
	for (; at >= ops->weight; ops++)
		at -= ops->weight;
	ops->run(c);
}

void ops_next(struct client *c)
{
	static const struct op outside[] = { { 20, op_echo },      { 15, op_parameters }, { 1, op_nothing },  { 8, op_two_in_one },
		                                 { 20, op_probe },     { 6, op_error },       { 18, op_set },     { 20, op_begin },
		                                 { 8, op_count },      { 3, op_sequence },    { 8, op_prepare },  { 14, op_execute },
		                                 { 4, op_deallocate }, { 4, op_temp },        { 5, op_listen },   { 4, op_lock },
		                                 { 4, op_hold },       { 2, op_discard },     { 5, op_copy_out }, { 4, op_copy_in },
		                                 { 20, op_pipeline },  { 2, op_cancel },      { 30, op_flight },  { 0, NULL } };
	static const struct op inside[] = { { 10, op_echo },      { 8, op_parameters }, { 8, op_probe },   { 3, op_error },
		                                { 12, op_set },       { 14, op_end },       { 6, op_save },    { 6, op_back_to_save },
		                                { 8, op_count },      { 3, op_sequence },   { 3, op_prepare }, { 6, op_execute },
		                                { 2, op_deallocate }, { 2, op_copy_out },   { 2, op_copy_in }, { 6, op_pipeline },
		                                { 1, op_cancel },     { 10, op_flight },    { 0, NULL } };
	static const struct op pinning[] = { { 10, op_temp },  { 10, op_listen }, { 10, op_lock }, { 10, op_hold },
		                                 { 10, op_probe }, { 4, op_discard }, { 0, NULL } };
	static const struct op after_error[] = { { 2, op_echo },         { 1, op_probe },   { 4, op_end },
		                                     { 2, op_back_to_save }, { 1, op_execute }, { 1, op_prepare },
		                                     { 1, op_set },          { 2, op_flight },  { 0, NULL } };
	c->expects = c->met = 0;
	c->in_pipeline = c->copy_out_seen = c->wants_notify = false;
	c->cancel_us = 0;
	c->unsure = 0;
	pick(c->tx == 'I' ? (c->has_slot && rnd(2) ? pinning : outside) : c->tx == 'T' ? inside : after_error, c);
	c->sent_us = now_us();
	c->vanishes = c->state != CLIENT_FLIGHT && rnd(150) == 0;
	if (c->state == CLIENT_FLIGHT)
		return;
	c->state = CLIENT_BUSY;
}
