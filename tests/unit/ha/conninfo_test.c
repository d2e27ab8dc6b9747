/* conninfo: a URI turned to another primary, as libpq itself reads it: host and port are the new ones, and all else is as it was. */
#include "ha/conninfo.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/compiler.h"
#include "unit.h"

static const char *value_of(const PQconninfoOption *options, const char *key)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, key) == 0)
			return options->val ? options->val : "";
	return "";
}

static bool is_where(const char *key)
{
	return strcmp(key, "host") == 0 || strcmp(key, "hostaddr") == 0 || strcmp(key, "port") == 0;
}

static void expect_turned(const char *was, const char *host)
{
	char out[400], *error = NULL;
	assert_true(conninfo_is_uri(was));
	if (!conninfo_turn(was, host, 7, out, sizeof out))
		fail_msg("%s: not read", was);
	PQconninfoOption *before = PQconninfoParse(was, &error), *after = PQconninfoParse(out, &error);
	if (!before || !after)
		fail_msg("%s: %s: %s", was, out, error);
	assert_string_equal(value_of(after, "host"), host);
	assert_string_equal(value_of(after, "port"), "7");
	assert_string_equal(value_of(after, "hostaddr"), "");
	for (const PQconninfoOption *o = before; o->keyword; o++)
		if (!is_where(o->keyword) && strcmp(value_of(before, o->keyword), value_of(after, o->keyword)) != 0)
			fail_msg("%s: %s: %s", was, out, o->keyword);
	PQconninfoFree(before);
	PQconninfoFree(after);
}

static void libpq_reads_it_so(void **state)
{
	static const char *const uris[] = {
		"postgresql://",
		"postgres://r@a",
		"postgresql://r:p%40ss@a:5432/db?application_name=n1",
		"postgresql://r@a,b:1,c:2/?target_session_attrs=any&host=x&port=9&hostaddr=10.0.0.1&application_name=n%201",
		"postgresql://[::1]:5432/db",
		"postgres:///db?host=/tmp/x&user=me",
		"postgresql://a?sslmode=verify-full&sslrootcert=/etc/ca.pem",
		"postgresql://r:@a:1",
		"postgresql://%2Ftmp%2Fx/db",
		"postgresql://u@?application_name=x@y",
	};
	for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
		expect_turned(uris[i], "pg2.example");
		expect_turned(uris[i], "/run/a b&c=%");
		expect_turned(uris[i], "fe80::1%eth0");
	}
}

static void what_is_not_understood_is_refused(void **state)
{
	static const char *const wrong[] = { "postgresql://a/?x", "postgresql://a/?%68ost=b", "postgresql://a/?=b",
		                                 "postgres://a/?b=c&&d=e" };
	char out[200];
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_false(conninfo_turn(wrong[i], "h", 7, out, sizeof out));
	assert_false(conninfo_is_uri("host=a"));
	assert_false(conninfo_is_uri("postgresql:/a"));
	for (size_t room = 1; room < 40; room++)
		assert_false(conninfo_turn("postgresql://somebody@there/db", "h", 7, out, room));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libpq_reads_it_so),
		cmocka_unit_test(what_is_not_understood_is_refused),
	};
	return UNIT_RUN(tests);
}
