/* What a line looks like, and that no value can forge one. */
#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#include "unit.h"

static int fds[2];
static char line[16384];

static int setup(void **state)
{
	assert_int_equal(pipe(fds), 0);
	log_init(fds[1]);
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_KV);
	return 0;
}

static int teardown(void **state)
{
	log_init(STDERR_FILENO);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

/* The line behind its time stamp. */
static const char *got(void)
{
	ssize_t n = read(fds[0], line, sizeof line - 1);
	assert_true(n > 25);
	line[n] = '\0';
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	line[n - 1] = '\0';
	if (line[0] == '{')
		return line;
	assert_int_equal(line[10], 'T');
	assert_string_equal(strchr(line, 'Z'), line + 23);
	return line + 25;
}

static unsigned who(const struct log *log, struct log_kv *out, unsigned max)
{
	assert_true(max >= 2);
	out[0] = KV_INT("client", 42);
	out[1] = KV_STR("user", "app");
	return 2;
}

static void says_who_and_while_doing_what(void **state)
{
	struct log log = { .who = who };
	log_while(&log, "waiting for a server");
	log_info(&log, "client_closed", KV_STR("reason", "timeout"), KV_STR("none", NULL), KV_INT("ms", -12));
	assert_string_equal(got(), "info client_closed client=42 user=app while=\"waiting for a server\" reason=timeout ms=-12");
	log_warn(NULL, "plain");
	assert_string_equal(got(), "warn plain");
}

static void values_are_quoted_when_needed(void **state)
{
	log_info(NULL, "e", KV_STR("a", ""), KV_STR("b", "x=y"), KV_STR("c", "say \"hi\" \\"), KV_STR("d", "caf\xc3\xa9"));
	assert_string_equal(got(), "info e a=\"\" b=\"x=y\" c=\"say \\\"hi\\\" \\\\\" d=\"caf\xc3\xa9\"");
}

static void nothing_can_forge_a_line(void **state)
{
	log_info(NULL, "e", KV_STR("v", "x\n2026-01-31T12:00:00.123Z info forged\r\x1b[2J\x7f"));
	assert_string_equal(got(), "info e v=\"x\\n2026-01-31T12:00:00.123Z info forged\\r\\x1b[2J\\x7f\"");
	/* NUL, a lone continuation, an overlong slash, C1 control, a surrogate, a cut-off character */
	log_info(NULL, "e", KV_SLICE("v", slice_of("\0|\x80|\xc0\xaf|\xc2\x9b|\xed\xa0\x80|\xe2\x82", 16)));
	assert_string_equal(got(), "info e v=\"\\x00|\\x80|\\xc0\\xaf|\\xc2\\x9b|\\xed\\xa0\\x80|\\xe2\\x82\"");
}

static void errors_come_with_their_code(void **state)
{
	struct err err;
	assert_false(err_set(&err, "08006", "no answer from %s", "db1"));
	err_detail(&err, "asked %d times", 3);
	log_error(NULL, "e", KV_ERR(&err));
	assert_string_equal(got(), "error e sqlstate=08006 error=\"no answer from db1\" detail=\"asked 3 times\"");
}

static void json_is_one_object(void **state)
{
	struct log log = { .who = who, .doing = "x" };
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info(&log, "e", KV_STR("v", "a\"\n\x01\xff"), KV_INT("n", 1));
	const char *text = got();
	assert_memory_equal(text, "{\"time\":\"", 9);
	assert_string_equal(strstr(text, ",\"level\""),
	                    ",\"level\":\"info\",\"event\":\"e\",\"client\":42,\"user\":\"app\",\"while\":\"x\","
	                    "\"v\":\"a\\\"\\n\\u0001\\u00ff\",\"n\":1}");
}

static void below_the_level_nothing_is_written(void **state)
{
	int evaluated = 0;
	log_debug(NULL, "hidden", KV_INT("n", ++evaluated));
	assert_int_equal(evaluated, 0);
	log_info(NULL, "shown");
	assert_string_equal(got(), "info shown");
}

static void a_line_is_bounded_and_facts_stay_whole(void **state)
{
	char big[5000];
	memset(big, '\n', sizeof big);
	struct slice s = slice_of(big, sizeof big);
	log_info(NULL, "e", KV_SLICE("a", s), KV_SLICE("b", s), KV_INT("c", 7));
	const char *text = got();
	assert_true(strlen(text) < 8192);
	assert_null(strstr(text, " b="));
	assert_string_equal(strstr(text, " c="), " c=7 cut=1");
}

static void an_err_may_quote_itself(void **state)
{
	struct err err;
	err_set(&err, "XX000", "inner");
	err_hint(&err, "try again");
	err_set(&err, "58000", "outer: %s", err.text);
	assert_string_equal(err.text, "outer: inner");
	assert_string_equal(err.sqlstate, "58000");
	assert_string_equal(err.hint, "");
	assert_false(err_set(NULL, "58000", "nobody listens"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(says_who_and_while_doing_what, setup, teardown),
		cmocka_unit_test_setup_teardown(values_are_quoted_when_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_can_forge_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_come_with_their_code, setup, teardown),
		cmocka_unit_test_setup_teardown(json_is_one_object, setup, teardown),
		cmocka_unit_test_setup_teardown(below_the_level_nothing_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_is_bounded_and_facts_stay_whole, setup, teardown),
		cmocka_unit_test(an_err_may_quote_itself),
	};
	return UNIT_RUN(tests);
}
