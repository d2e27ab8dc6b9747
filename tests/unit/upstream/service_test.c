/* service against a real server: answers, errors, deadlines, lost connections. */
#include "upstream/service.h"

#include "base/hash.h"
#include "base/log.h"
#include "pgserver.h"
#include "unitloop.h"

static struct pgdir dir;
static struct pgserver pg;

struct scene {
	struct loop *loop;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct service *service;
	bool is_done, frees_itself, asks_again;
	unsigned n;
	char values[4][64];
	struct err err;
	bool has_err;
};

static void on_answer(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct scene *s = arg;
	assert_false(s->is_done);
	s->is_done = true;
	s->n = n;
	for (unsigned i = 0; i < n && i < 4; i++)
		snprintf(s->values[i], sizeof s->values[i], "%s", values[i] ? values[i] : "(null)");
	s->has_err = err != NULL;
	if (err)
		s->err = *err;
	if (s->frees_itself) {
		service_free(s->service);
		s->service = NULL;
	}
	if (s->asks_again) {
		s->asks_again = s->is_done = false;
		assert_true(service_ask(s->service, "select 2", 20 * US_PER_S, on_answer, s));
	}
}

static void begin(struct scene *s, const char *host, uint16_t port, const char *user, const char *password)
{
	const struct service_target target = { .host = host, .port = port, .dbname = "postgres", .user = user, .password = password };
	*s = (struct scene){ .loop = loop_new(false), .resolver = resolver_new() };
	mailbox_open(&s->mailbox, s->loop, s);
	s->service = service_new(s->loop, s->resolver, &s->mailbox, &target);
}

static void end(struct scene *s)
{
	service_free(s->service);
	mailbox_close(&s->mailbox);
	resolver_free(s->resolver);
	loop_free(s->loop);
}

static void ask(struct scene *s, const char *sql, uint64_t timeout_us)
{
	s->is_done = false;
	assert_true(service_ask(s->service, sql, timeout_us, on_answer, s));
	assert_false(service_ask(s->service, "select 1", timeout_us, on_answer, s));
	assert_false(s->is_done);
	run_until(s->loop, is_flag_set, &s->is_done);
}

static void answers_over_one_connection(void **state)
{
	struct scene s;
	char pid[64];
	begin(&s, dir.path, pg.port, "postgres", "");
	ask(&s, "select pg_backend_pid(), null, current_setting('search_path'), current_setting('application_name')", 20 * US_PER_S);
	assert_false(s.has_err);
	assert_int_equal(s.n, 4);
	strcpy(pid, s.values[0]);
	assert_string_equal(s.values[1], "(null)");
	assert_string_equal(s.values[2], "pg_catalog");
	assert_string_equal(s.values[3], "lunapool");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	assert_string_equal(s.values[0], pid);
	end(&s);
}

static void no_row_is_no_values(void **state)
{
	struct scene s;
	begin(&s, dir.path, pg.port, "postgres", "");
	ask(&s, "select 1 where false", 20 * US_PER_S);
	assert_false(s.has_err);
	assert_int_equal(s.n, 0);
	end(&s);
}

static void on_rows(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct scene *s = arg;
	s->is_done = true;
	s->has_err = err != NULL;
	if (err)
		s->err = *err;
	s->n = rows ? service_rows_n(rows) : 0;
	for (unsigned i = 0; rows && i < s->n && i < 4; i++)
		snprintf(s->values[i], sizeof s->values[i], "%s|%s|%zu|%d", service_value(rows, i, 0), service_value(rows, i, 1),
		         service_value_len(rows, i, 1), service_is_null(rows, i, 1));
	if (rows) {
		assert_string_equal(service_value(rows, s->n, 0), "");
		assert_true(service_is_null(rows, 0, 2));
		assert_int_equal(service_value_len(rows, 0, 2), 0);
	}
}

static void ask_rows(struct scene *s, const char *sql)
{
	s->is_done = false;
	assert_true(service_ask_rows(s->service, sql, 20 * US_PER_S, on_rows, s));
	assert_false(service_ask(s->service, "select 1", US_PER_S, on_answer, s));
	run_until(s->loop, is_flag_set, &s->is_done);
}

static void many_rows(void **state)
{
	struct scene s;
	begin(&s, dir.path, pg.port, "postgres", "");
	ask_rows(&s, "select g, case when g <> 2 then repeat('x', g) end from generate_series(1, 5000) g");
	assert_false(s.has_err);
	assert_int_equal(s.n, 5000);
	assert_string_equal(s.values[0], "1|x|1|0");
	assert_string_equal(s.values[1], "2||0|1");
	assert_string_equal(s.values[2], "3|xxx|3|0");
	ask_rows(&s, "select 1/0");
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "22012");
	ask(&s, "select 7", 20 * US_PER_S); /* a single row again */
	assert_string_equal(s.values[0], "7");
	end(&s);
}

static void an_error_keeps_the_connection(void **state)
{
	struct scene s;
	char pid[64];
	begin(&s, dir.path, pg.port, "postgres", "");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	strcpy(pid, s.values[0]);
	ask(&s, "select 1/0", 20 * US_PER_S);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "22012");
	assert_string_equal(s.err.text, "division by zero");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	assert_string_equal(s.values[0], pid);
	end(&s);
}

static void a_deadline_ends_the_connection_and_the_next_question_makes_another(void **state)
{
	struct scene s;
	char pid[64];
	begin(&s, dir.path, pg.port, "postgres", "");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	strcpy(pid, s.values[0]);
	ask(&s, "select pg_sleep(100)", 50 * US_PER_MS);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "08006");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	assert_false(s.has_err);
	assert_string_not_equal(s.values[0], pid);
	end(&s);
}

/* The death is seen while nobody asks, so the next question does not run into it.  A process that is no more has closed its sockets. */
static bool has_ended(void *arg)
{
	return kill((pid_t)atoi(arg), 0) != 0;
}

static void a_killed_connection_is_made_anew(void **state)
{
	struct scene s;
	char pid[64], sql[128];
	begin(&s, dir.path, pg.port, "postgres", "");
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	strcpy(pid, s.values[0]);
	snprintf(sql, sizeof sql, "select pg_terminate_backend(%s)", pid);
	pgserver_sql(&pg, sql);
	run_until(s.loop, has_ended, pid);
	run_turns(s.loop, 3);
	ask(&s, "select pg_backend_pid()", 20 * US_PER_S);
	assert_false(s.has_err);
	assert_string_not_equal(s.values[0], pid);
	end(&s);
}

static void a_refused_login_has_the_servers_sqlstate(void **state)
{
	struct scene s;
	begin(&s, dir.path, pg.port, "nobody_like_this", "");
	ask(&s, "select 1", 20 * US_PER_S);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "28000");
	assert_non_null(strstr(s.err.text, "nobody_like_this"));
	end(&s);
}

static void passwords_are_scram(void **state)
{
	struct scene s;
	begin(&s, dir.path, pg.port, "prober", "right");
	ask(&s, "select current_user", 20 * US_PER_S);
	assert_false(s.has_err);
	assert_string_equal(s.values[0], "prober");
	end(&s);
	begin(&s, dir.path, pg.port, "prober", "wrong");
	ask(&s, "select 1", 20 * US_PER_S);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "28P01");
	assert_null(strstr(s.err.text, "wrong"));
	end(&s);
}

static void nobody_there_is_08001(void **state)
{
	struct scene s;
	begin(&s, dir.path, 1, "postgres", "");
	ask(&s, "select 1", 20 * US_PER_S);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "08001");
	end(&s);
	begin(&s, "no-such-host.invalid", 1, "postgres", "");
	ask(&s, "select 1", 20 * US_PER_S);
	assert_true(s.has_err);
	assert_string_equal(s.err.sqlstate, "08001");
	end(&s);
}

static void may_be_freed_or_asked_in_its_answer(void **state)
{
	struct scene s;
	begin(&s, dir.path, pg.port, "postgres", "");
	s.asks_again = true;
	ask(&s, "select 1", 20 * US_PER_S);
	assert_string_equal(s.values[0], "2");
	s.frees_itself = true;
	ask(&s, "select 3", 20 * US_PER_S);
	assert_string_equal(s.values[0], "3");
	end(&s);
	begin(&s, dir.path, 1, "postgres", "");
	s.frees_itself = true;
	ask(&s, "select 3", 20 * US_PER_S);
	assert_true(s.has_err);
	end(&s);
}

static void may_be_freed_while_asking(void **state)
{
	struct scene s;
	for (int turns = 0; turns < 12; turns++) {
		begin(&s, turns % 2 ? dir.path : "localhost", pg.port, "postgres", "");
		assert_true(service_ask(s.service, "select pg_sleep(100)", 20 * US_PER_S, on_answer, &s));
		run_turns(s.loop, turns);
		service_free(s.service);
		s.service = NULL;
		run_turns(s.loop, 2);
		assert_true(!s.is_done || s.has_err);
		end(&s);
	}
}

static int start(void **state)
{
	pgdir_init(&dir);
	char command[128];
	snprintf(command, sizeof command, "sed -i '1i local all prober scram-sha-256' %s/node0/pg_hba.conf", dir.path);
	assert_int_equal(system(command), 0);
	pgserver_start(&pg, &dir, 0);
	pgserver_sql(&pg, "create role prober login password 'right'");
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
		cmocka_unit_test(answers_over_one_connection),
		cmocka_unit_test(no_row_is_no_values),
		cmocka_unit_test(many_rows),
		cmocka_unit_test(an_error_keeps_the_connection),
		cmocka_unit_test(a_deadline_ends_the_connection_and_the_next_question_makes_another),
		cmocka_unit_test(a_killed_connection_is_made_anew),
		cmocka_unit_test(a_refused_login_has_the_servers_sqlstate),
		cmocka_unit_test(passwords_are_scram),
		cmocka_unit_test(nobody_there_is_08001),
		cmocka_unit_test(may_be_freed_or_asked_in_its_answer),
		cmocka_unit_test(may_be_freed_while_asking),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
