/* The text of a command: which row of the table it is, and with what. */
#include <stdio.h>
#include <string.h>

#include "../../../src/admin/phrase.h"
#include "../../../src/admin/priv.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "unit.h"

/* As one line: the command, what it is with, or the error. */
static const char *parsed(const char *text)
{
	static char out[1000];
	struct call call;
	struct err err;
	if (!call_parse(slice_text(text), &call, &err)) {
		snprintf(out, sizeof out, "%s %s | %s", err.sqlstate, err.text, err.hint);
		assert_null(call.name);
		return out;
	}
	static const char *const kinds[] = {
		"nothing", "", "show-setting", "set-setting", "begin", "commit", "rollback", "deallocate"
	};
	snprintf(out, sizeof out, "%s%s%s%s%s%s", call.command ? call.command->words : kinds[call.kind], call.name ? " name=" : "",
	         call.name ? call.name : "", call.value ? " value=" : "", call.value ? call.value : "", call.until ? " until" : "");
	size_t n = strlen(out);
	if (call.number)
		n += (size_t)snprintf(out + n, sizeof out - n, " number=%llu", (unsigned long long)call.number);
	if (call.text)
		n += (size_t)snprintf(out + n, sizeof out - n, " text=%s", call.text);
	if (call.timeout_us)
		snprintf(out + n, sizeof out - n, " ms=%llu", (unsigned long long)(call.timeout_us / US_PER_MS));
	call_fini(&call);
	return out;
}

static void words_are_found_in_any_case_and_spacing(void **state)
{
	assert_string_equal(parsed("SHOW POOLS"), "SHOW POOLS");
	assert_string_equal(parsed("  show\n\tpools ;; "), "SHOW POOLS");
	assert_string_equal(parsed("/* who */ show -- what\n lists;"), "SHOW LISTS");
	assert_string_equal(parsed("select version"), "SHOW VERSION");
	assert_string_equal(parsed("Reload"), "RELOAD");
	assert_string_equal(parsed(""), "nothing");
	assert_string_equal(parsed(" ; -- nothing"), "nothing");
}

static void a_switchover_names_a_candidate_and_is_forced_or_tried(void **state)
{
	assert_string_equal(parsed("switchover"), "SWITCHOVER");
	assert_string_equal(parsed("switchover pg2"), "SWITCHOVER name=pg2");
	assert_string_equal(parsed("SWITCHOVER TO pg2 FORCE"), "SWITCHOVER name=pg2 number=1");
	assert_string_equal(parsed("switchover force"), "SWITCHOVER number=1");
	assert_string_equal(parsed("switchover to \"force\""), "SWITCHOVER name=force");
	assert_string_equal(parsed("switchover dry_run"), "SWITCHOVER DRY_RUN");
	assert_string_equal(parsed("switchover dry_run to pg2"), "SWITCHOVER DRY_RUN name=pg2");
	assert_string_equal(parsed("switchover to pg2 dry_run;"), "SWITCHOVER DRY_RUN name=pg2");
	assert_string_equal(parsed("switchover pg2 force dry_run"), "SWITCHOVER DRY_RUN name=pg2 number=1");
	for (size_t i = 0; i < 3; i++) {
		static const char *const wrong[] = { "switchover to pg2 pg3", "switchover force pg2", "switchover to pg2 forced" };
		struct call call;
		struct err err;
		assert_false(call_parse(slice_text(wrong[i]), &call, &err));
	}
}

static void a_failover_names_a_candidate_and_allows_a_loss(void **state)
{
	assert_string_equal(parsed("failover"), "FAILOVER");
	assert_string_equal(parsed("failover pg2"), "FAILOVER name=pg2");
	assert_string_equal(parsed("FAILOVER TO pg2"), "FAILOVER name=pg2");
	assert_string_equal(parsed("failover allow data loss"), "FAILOVER number=1");
	assert_string_equal(parsed("failover to pg2 allow_data_loss"), "FAILOVER name=pg2 number=1");
	assert_string_equal(parsed("failover pg2 allow data loss;"), "FAILOVER name=pg2 number=1");
	assert_string_equal(parsed("failover \"allow_data_loss\""), "FAILOVER name=allow_data_loss");
	assert_non_null(strstr(parsed("failover to pg2 pg3"), " | "));
	assert_non_null(strstr(parsed("failover allow data"), " | "));
	assert_non_null(strstr(parsed("failover pg2 to"), " | "));
}

static void nodes_may_have_a_time(void **state)
{
	assert_string_equal(parsed("drain node n1 2s"), "DRAIN name=n1 ms=2000");
	assert_string_equal(parsed("drain node"), "DRAIN name=node");
	assert_string_equal(parsed("recover node n1"), "RECOVER name=n1");
}

static void every_command_of_the_table_is_found_by_its_words(void **state)
{
	for (size_t i = 0; i < n_commands; i++) {
		char text[80];
		struct call call;
		struct err err;
		static const char *const args[] = {
			"", "", " db", "", " 1", "", " a.b = 1", " t", " n", " n 1s", "", " to n", " to n allow data loss"
		};
		const struct view *v = commands[i].view;
		snprintf(text, sizeof text, "%s%s", commands[i].words, v && v->syntax ? " select 1" : args[commands[i].args]);
		assert_true(call_parse(slice_text(text), &call, &err));
		assert_ptr_equal(call.command, &commands[i]);
		call_fini(&call);
	}
}

static void arguments_are_read(void **state)
{
	assert_string_equal(parsed("PAUSE"), "PAUSE");
	assert_string_equal(parsed("PAUSE shop"), "PAUSE name=shop");
	assert_string_equal(parsed("PAUSE shop 30s"), "PAUSE name=shop ms=30000");
	assert_string_equal(parsed("PAUSE 500ms"), "PAUSE ms=500");
	assert_string_equal(parsed("PAUSE 5"), "PAUSE ms=5000");
	assert_string_equal(parsed("PAUSE \"30s\""), "PAUSE name=30s");
	assert_string_equal(parsed("PAUSE \"30s\" 30S"), "PAUSE name=30s ms=30000");
	assert_string_equal(parsed("PAUSE 30db"), "PAUSE name=30db");
	assert_string_equal(parsed("RESUME \"my \"\"db\"\"\""), "RESUME name=my \"db\"");
	assert_string_equal(parsed("KILL_CLIENT 4711"), "KILL_CLIENT number=4711");
	assert_string_equal(parsed("SHUTDOWN"), "SHUTDOWN");
	assert_string_equal(parsed("shutdown wait_for_clients"), "SHUTDOWN until");
	assert_string_equal(parsed("SET pool.size=30"), "SET name=pool.size value=30");
	assert_string_equal(parsed("SET pool.size = '30'"), "SET name=pool.size value=30");
	assert_string_equal(parsed("set log_level TO debug;"), "SET name=log_level value=debug");
	assert_string_equal(parsed("RUN refresh"), "RUN name=refresh value=");
	assert_string_equal(parsed("run rolling-refresh dump='/srv/a b' force \"x y\" = 2"),
	                    "RUN name=rolling-refresh value=dump=/srv/a b\nforce\nx y=2\n");
	assert_string_equal(parsed("RUN t a ="),
	                    "08P01 the console does not understand \"RUN t a =\" | It should be: RUN task [key [= value]]…");
	assert_string_equal(parsed("RUN t 'a=b'"),
	                    "08P01 the console does not understand \"RUN t 'a=b'\" | It should be: RUN task [key [= value]]…");
	assert_string_equal(parsed("STOP TASK 12"), "STOP TASK number=12");
}

static void what_drivers_ask_of_every_server_is_answered(void **state)
{
	assert_string_equal(parsed("SHOW client_encoding"), "show-setting name=client_encoding value=UTF8");
	assert_string_equal(parsed("SHOW TRANSACTION ISOLATION LEVEL"),
	                    "show-setting name=transaction isolation level value=read committed");
	assert_string_equal(parsed("SET client_encoding TO 'utf-8'"), "set-setting");
	assert_string_equal(parsed("SET DATESTYLE TO 'ISO'"), "set-setting");
	assert_string_equal(parsed("SET extra_float_digits = 3"), "set-setting");
	assert_string_equal(parsed("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), "set-setting");
	assert_string_equal(parsed("SET client_encoding = latin1"), "22023 the console's client_encoding is always \"UTF8\" | ");
	assert_string_equal(parsed("SET DATESTYLE TO 'German'"), "22023 the console's datestyle is always \"ISO, MDY\" | ");
	assert_string_equal(parsed("BEGIN"), "begin");
	assert_string_equal(parsed("BEGIN ISOLATION LEVEL SERIALIZABLE"), "begin");
	assert_string_equal(parsed("start transaction read only"), "begin");
	assert_string_equal(parsed("COMMIT"), "commit");
	assert_string_equal(parsed("rollback;"), "rollback");
	assert_string_equal(parsed("DEALLOCATE ALL"), "deallocate");
	assert_string_equal(parsed("DEALLOCATE PREPARE x"), "deallocate name=x");
}

/* 08P01: by it pgcli sees that this is no database. */
static void what_is_not_known_is_a_protocol_violation_with_a_hint(void **state)
{
	static const char *const wrong[] = {
		"SHOW",         "POOLS",          "SELECT 1",        "SELECT version()", "SHOW POOLS; SHOW LISTS",
		"SHOW 'POOLS'", "\"SHOW\" POOLS", "SHOW \"unclosed", "COMMIT NOW",       "a b c d e f g h i j k l m n o"
	};
	assert_string_equal(parsed("SHOW POOL"),
	                    "08P01 the console does not understand \"SHOW POOL\" | SHOW HELP lists the commands.");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_memory_equal(parsed(wrong[i]), "08P01", 5);
	char longest[COMMAND_MAX + 100];
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_memory_equal(parsed(longest), "08P01", 5);
}

static void wrong_arguments_are_told_the_right_ones(void **state)
{
	assert_string_equal(parsed("KILL_CLIENT bob"),
	                    "08P01 the console does not understand \"KILL_CLIENT bob\" | It should be: KILL_CLIENT id");
	assert_non_null(strstr(parsed("DISABLE"), "DISABLE database"));
	assert_non_null(strstr(parsed("PAUSE a b"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("PAUSE shop 0s"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("PAUSE 0"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("PAUSE 5s 5s"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("PAUSE 9000h"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("PAUSE 99999999999999999999"), "PAUSE [database] [time]"));
	assert_non_null(strstr(parsed("RELOAD all"), "RELOAD"));
	assert_non_null(strstr(parsed("SET a b"), "SET key = value"));
	assert_non_null(strstr(parsed("SHUTDOWN soon"), "WAIT_FOR_SERVERS"));
	assert_non_null(strstr(parsed("SHOW POOLS NOW"), "SHOW POOLS"));
}

/* CVE-2026-6667 of PgBouncer: KILL_CLIENT was open to who may only look. */
static void only_looking_is_allowed_to_who_may_look(void **state)
{
	for (size_t i = 0; i < n_commands; i++)
		if (!commands[i].view)
			assert_int_equal(commands[i].level, LEVEL_ADMIN);
}

static void the_statement_of_explain_route_is_taken_as_it_is(void **state)
{
	assert_string_equal(parsed("EXPLAIN ROUTE select 1"), "EXPLAIN ROUTE text=select 1");
	assert_string_equal(parsed(" explain\n/* x */route /* node=a */ select 'a;b' ; "),
	                    "EXPLAIN ROUTE text=/* node=a */ select 'a;b' ; ");
	assert_string_equal(parsed("explain route for shop select a b c d e f g h i j k l m n"),
	                    "EXPLAIN ROUTE name=shop text=select a b c d e f g h i j k l m n");
	assert_string_equal(parsed("EXPLAIN ROUTE FOR my-shop AS ann select 1"),
	                    "EXPLAIN ROUTE name=my-shop value=ann text=select 1");
	assert_string_equal(parsed("EXPLAIN ROUTE FOR \"a \"\"b\" AS \"for\" select 1"),
	                    "EXPLAIN ROUTE name=a \"b value=for text=select 1");
	assert_string_equal(parsed("explain route(select 1)"), "EXPLAIN ROUTE text=(select 1)");
	assert_string_equal(parsed("explain route format select"), "EXPLAIN ROUTE text=format select");
	static const char *const wrong[] = { "EXPLAIN ROUTE",
		                                 "EXPLAIN ROUTE ; ",
		                                 "EXPLAIN ROUTE FOR",
		                                 "EXPLAIN ROUTE FOR shop",
		                                 "EXPLAIN ROUTE FOR shop AS",
		                                 "EXPLAIN ROUTE FOR \"shop",
		                                 "EXPLAIN ROUTE FOR \"\" a",
		                                 "EXPLAIN ROUTE FOR shop AS ann ;" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_non_null(strstr(parsed(wrong[i]), "EXPLAIN ROUTE [FOR database [AS user]] statement"));
	assert_non_null(strstr(parsed("EXPLAIN ROUTES a"), "does not understand"));
	assert_non_null(strstr(parsed("EXPLAIN select"), "does not understand"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_found_in_any_case_and_spacing),
		cmocka_unit_test(a_switchover_names_a_candidate_and_is_forced_or_tried),
		cmocka_unit_test(a_failover_names_a_candidate_and_allows_a_loss),
		cmocka_unit_test(nodes_may_have_a_time),
		cmocka_unit_test(every_command_of_the_table_is_found_by_its_words),
		cmocka_unit_test(the_statement_of_explain_route_is_taken_as_it_is),
		cmocka_unit_test(arguments_are_read),
		cmocka_unit_test(what_drivers_ask_of_every_server_is_answered),
		cmocka_unit_test(what_is_not_known_is_a_protocol_violation_with_a_hint),
		cmocka_unit_test(wrong_arguments_are_told_the_right_ones),
		cmocka_unit_test(only_looking_is_allowed_to_who_may_look),
	};
	return UNIT_RUN(tests);
}
