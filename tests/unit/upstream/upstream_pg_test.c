/* upstream against a real server: every way to log in, cancel, and what it says when it refuses. */
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "pgserver.h"
#include "unitloop.h"
#include "upstream/upstream.h"
#include "wire/frame.h"

static struct pgdir dir;
static struct pgserver pg;

struct scene {
	struct loop *loop;
	struct engine *engine;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct upstream_env env;
	struct upstream up;
	bool is_ready, is_servers, is_done;
	struct err err;
	/* As the owner: what came until ReadyForQuery. */
	bool has_answer, is_cancelled;
	char sqlstate[6], value[64];
};

static void take_message(struct scene *s, const struct frame *f)
{
	if (f->type == 'Z')
		s->has_answer = true;
	for (size_t i = 0; f->type == 'E' && i + 6 < f->body.len; i++)
		if (f->body.at[i] == 0 && f->body.at[i + 1] == 'C')
			memcpy(s->sqlstate, f->body.at + i + 2, 5);
	if (f->type == 'D' && f->body.len > 6)
		snprintf(s->value, sizeof s->value, "%.*s", (int)f->body.len - 6, (const char *)f->body.at + 6);
}

static size_t owner_data(struct stream *st, struct slice bytes, struct lent *lent)
{
	struct frame f;
	size_t taken = 0;
	while (frame_next(slice_skip(bytes, taken), FRAME_FROM_SERVER, &f) == FRAME_OK && frame_is_whole(&f)) {
		take_message(st->owner, &f);
		taken += frame_size(&f);
	}
	return taken;
}

static void owner_closed(struct stream *st, enum stream_end why, int error)
{
	fail_msg("the server went away");
}

static const struct stream_ops owner_ops = { .on_data = owner_data, .on_closed = owner_closed };

static void on_ready(struct upstream *up)
{
	struct scene *s = CONTAINER_OF(up, struct scene, up);
	s->is_ready = s->is_done = true;
	up->stream.ops = &owner_ops;
	up->stream.owner = s;
}

static void on_failed(struct upstream *up, const struct err *err, bool is_servers)
{
	struct scene *s = CONTAINER_OF(up, struct scene, up);
	s->is_done = true;
	s->is_servers = is_servers;
	s->err = *err;
}

static const struct upstream_ops ops = { .on_ready = on_ready, .on_failed = on_failed };

static void begin(struct scene *s)
{
	*s = (struct scene){ .loop = loop_new(false), .resolver = resolver_new() };
	s->engine = engine_new(s->loop);
	mailbox_open(&s->mailbox, s->loop, s);
	s->env = (struct upstream_env){ s->engine, s->resolver, &s->mailbox, settings_table_new(), NULL, NULL };
}

static void end(struct scene *s)
{
	upstream_close(&s->up);
	mailbox_close(&s->mailbox);
	engine_free(s->engine);
	resolver_free(s->resolver);
	settings_table_free(s->env.settings);
	loop_free(s->loop);
}

static void log_in(struct scene *s, const char *user, const char *database, const char *password,
                   const struct upstream_keys *keys)
{
	const struct upstream_target target = { .host = dir.path,
		                                    .port = pg.port,
		                                    .database = database,
		                                    .user = user,
		                                    .password = password,
		                                    .keys = keys,
		                                    .timeout_us = 20 * US_PER_S };
	upstream_open(&s->up, &s->env, &target, &ops);
	run_until(s->loop, is_flag_set, &s->is_done);
}

static void send_query(struct scene *s, const char *sql)
{
	struct writer w;
	s->has_answer = false;
	writer_init_grow(&w);
	writer_begin(&w, 'Q');
	writer_text(&w, sql);
	writer_end(&w);
	stream_send(&s->up.stream, writer_slice(&w), NULL);
	writer_fini(&w);
}

static void answers(struct scene *s, const char *sql, const char *value)
{
	send_query(s, sql);
	run_until(s->loop, is_flag_set, &s->has_answer);
	assert_string_equal(s->value, value);
}

static void trust(void **state)
{
	struct scene s;
	begin(&s);
	log_in(&s, "postgres", "postgres", NULL, NULL);
	assert_true(s.is_ready);
	assert_non_null(settings_get(s.up.reported, "server_version"));
	assert_string_equal(settings_get(s.up.reported, "client_encoding"), "UTF8");
	assert_string_equal(settings_get(s.up.reported, "in_hot_standby"), "off");
	char pid[16];
	snprintf(pid, sizeof pid, "%u", s.up.backend_pid);
	answers(&s, "select pg_backend_pid()", pid);
	end(&s);
}

static void scram_by_password(void **state)
{
	struct scene s;
	begin(&s);
	log_in(&s, "scrammed", "postgres", "right", NULL);
	assert_true(s.is_ready);
	answers(&s, "select current_user", "scrammed");
	end(&s);
}

static void older_methods_by_password(void **state)
{
	static const char *const users[] = { "md5er", "cleartexter" };
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		struct scene s;
		begin(&s);
		log_in(&s, users[i], "postgres", "right", NULL);
		assert_true(s.is_ready);
		answers(&s, "select current_user", users[i]);
		end(&s);
	}
}

/* As in a pass-through: the proxy knows the stored secret and learns the client's key from the client's own login. */
static void scram_by_keys(void **state)
{
	struct scene s;
	struct upstream_keys keys = { 0 };
	struct scram_client client;
	struct scram_server server;
	char first[SCRAM_TEXT_MAX], second[SCRAM_TEXT_MAX], third[SCRAM_TEXT_MAX];
	size_t n;
	PGconn *c = pgserver_connect(&pg);
	PGresult *r = PQexec(c, "select rolpassword from pg_authid where rolname = 'scrammed'");
	assert_true(scram_secret_parse(slice_text(PQgetvalue(r, 0, 0)), &keys.secret));
	PQclear(r);
	PQfinish(c);
	scram_client_init_password(&client, "right");
	scram_server_init(&server, &keys.secret, false);
	assert_true(scram_client_first(&client, first, &n));
	assert_true(scram_server_first(&server, slice_of(first, n), second, &n, NULL));
	assert_true(scram_client_final(&client, slice_of(second, n), third, &n, NULL));
	assert_true(scram_server_final(&server, slice_of(third, n), first, &n, NULL));
	assert_true(server.has_client_key);
	keys.has_scram = true;
	memcpy(keys.client_key, server.client_key, SCRAM_KEY);
	scram_client_fini(&client);
	scram_server_fini(&server);
	begin(&s);
	log_in(&s, "scrammed", "postgres", NULL, &keys);
	assert_true(s.is_ready);
	answers(&s, "select current_user", "scrammed");
	end(&s);
}

static void refusals(void **state)
{
	static const struct {
		const char *user, *database, *password, *sqlstate;
		bool is_servers;
	} rows[] = {
		{ "scrammed", "postgres", "wrong", "28P01", true }, { "scrammed", "postgres", NULL, "28P01", false },
		{ "md5er", "postgres", "wrong", "28P01", true },    { "cleartexter", "postgres", "wrong", "28P01", true },
		{ "md5er", "postgres", NULL, "28P01", false },      { "cleartexter", "postgres", NULL, "28P01", false },
		{ "rejected", "postgres", "right", "28000", true }, { "postgres", "no_such_database", NULL, "3D000", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s);
		log_in(&s, rows[i].user, rows[i].database, rows[i].password, NULL);
		assert_false(s.is_ready);
		assert_string_equal(s.err.sqlstate, rows[i].sqlstate);
		assert_int_equal(s.is_servers, rows[i].is_servers);
		end(&s);
	}
}

static void on_cancelled(void *arg, bool is_over)
{
	assert_true(is_over);
	((struct scene *)arg)->is_cancelled = true;
}

static void cancel_hits_the_statement_and_no_later_one(void **state)
{
	struct scene s;
	begin(&s);
	log_in(&s, "postgres", "postgres", NULL, NULL);
	for (int i = 0; i < 5; i++) {
		s.is_cancelled = false;
		send_query(&s, "select pg_sleep(100)");
		upstream_cancel(&s.env, &s.up.addr, NULL, s.up.backend_pid, slice_of(s.up.backend_key, s.up.backend_key_len),
		                on_cancelled, &s);
		run_until(s.loop, is_flag_set, &s.is_cancelled);
		/* The request may have overtaken the query: then it hit nothing, and another is needed. */
		while (!s.has_answer) {
			s.is_cancelled = false;
			upstream_cancel(&s.env, &s.up.addr, NULL, s.up.backend_pid, slice_of(s.up.backend_key, s.up.backend_key_len),
			                on_cancelled, &s);
			run_until(s.loop, is_flag_set, &s.is_cancelled);
			run_turns(s.loop, 2);
		}
		assert_string_equal(s.sqlstate, "57014");
		answers(&s, "select 42", "42");
	}
	end(&s);
}

static int start(void **state)
{
	char command[512];
	pgdir_init(&dir);
	snprintf(command, sizeof command,
	         "sed -i -e '1i local all scrammed scram-sha-256' -e '1i local all md5er md5' -e '1i local all cleartexter password' "
	         "-e '1i local all rejected reject' %s/node0/pg_hba.conf",
	         dir.path);
	assert_int_equal(system(command), 0);
	pgserver_start(&pg, &dir, 0);
	pgserver_sql(&pg, "create role scrammed login password 'right'");
	pgserver_sql(&pg, "create role cleartexter login password 'right'");
	pgserver_sql(&pg, "create role rejected login");
	pgserver_sql(&pg, "set password_encryption = 'md5'; create role md5er login password 'right'");
	return 0;
}

static int stop(void **state)
{
	pgserver_stop(&pg, SIGQUIT);
	pgdir_fini(&dir);
	return 0;
}

int main(void)
{
	hash_init();
	log_init(2);
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_KV);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trust),
		cmocka_unit_test(scram_by_password),
		cmocka_unit_test(older_methods_by_password),
		cmocka_unit_test(scram_by_keys),
		cmocka_unit_test(refusals),
		cmocka_unit_test(cancel_hits_the_statement_and_no_later_one),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
