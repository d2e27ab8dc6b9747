/* Where prepared statements are named: each is put into brackets and the text compared. */
#include "sql/classify.h"

#include <stdio.h>

#include "base/compiler.h"
#include "unit.h"

static char kind_letter(uint8_t kind)
{
	return kind == SQL_PREPARE ? 'p' : kind == SQL_EXECUTE ? 'x' : 'd';
}

/* "EXECUTE foo" becomes "EXECUTE x[foo]". */
static void expect(const char *text, const char *marked)
{
	struct sql_name_at at[8];
	struct sql_dialect plain = { 0 };
	char out[400];
	size_t len = 0, from = 0;
	unsigned n = sql_prepared_names(slice_text(text), plain, at, ARRAY_LEN(at));
	assert_in_range(n, 0, ARRAY_LEN(at));
	for (unsigned i = 0; i < n; i++) {
		len += (size_t)snprintf(out + len, sizeof out - len, "%.*s%c[%.*s]", (int)(at[i].at - from), text + from,
		                        kind_letter(at[i].kind), (int)at[i].len, text + at[i].at);
		from = at[i].at + at[i].len;
	}
	snprintf(out + len, sizeof out - len, "%s", text + from);
	assert_string_equal(out, marked);
}

static void finds_names(void **state)
{
	expect("PREPARE Foo AS SELECT 1", "PREPARE p[Foo] AS SELECT 1");
	expect("prepare /* x */ \"A \"\"b\" (int) as select $1", "prepare /* x */ p[\"A \"\"b\"] (int) as select $1");
	expect("EXECUTE foo(1);execute bar", "EXECUTE x[foo](1);execute x[bar]");
	expect("DEALLOCATE foo; DEALLOCATE PREPARE \"x\"; deallocate prepare; deallocate prepare prepare",
	       "DEALLOCATE d[foo]; DEALLOCATE PREPARE d[\"x\"]; deallocate d[prepare]; deallocate prepare d[prepare]");
	expect("EXPLAIN ANALYZE VERBOSE EXECUTE foo (1)", "EXPLAIN ANALYZE VERBOSE EXECUTE x[foo] (1)");
	expect("EXPLAIN (COSTS off, SETTINGS (x)) EXECUTE foo", "EXPLAIN (COSTS off, SETTINGS (x)) EXECUTE x[foo]");
	expect("CREATE TEMP TABLE t (a, b) WITH (x = 1) AS EXECUTE foo(1) WITH NO DATA; select 1",
	       "CREATE TEMP TABLE t (a, b) WITH (x = 1) AS EXECUTE x[foo](1) WITH NO DATA; select 1");
	expect("EXPLAIN CREATE TABLE t AS EXECUTE foo", "EXPLAIN CREATE TABLE t AS EXECUTE x[foo]");
	expect("PREPARE transaction AS SELECT 1", "PREPARE p[transaction] AS SELECT 1");
	expect("EXECUTE U&\"a!0062\" UESCAPE '!' (1)", "EXECUTE x[U&\"a!0062\" UESCAPE '!'] (1)");
	expect("EXECUTE U&\"a\" (1)", "EXECUTE x[U&\"a\"] (1)");
}

static void leaves_the_rest(void **state)
{
	static const char *const texts[] = {
		"",
		"PREPARE TRANSACTION 'foo'",
		"DEALLOCATE ALL",
		"DEALLOCATE PREPARE ALL",
		"GRANT EXECUTE ON FUNCTION f() TO u",
		"CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()",
		"SELECT execute foo FROM t",
		"SELECT 'execute foo'; -- execute foo",
		"CREATE TABLE t (a int); SELECT 1 AS execute",
		"CREATE TABLE t AS SELECT 1 AS execute",
		"CREATE VIEW v AS SELECT execute FROM t",
		"EXECUTE",
		"PREPARE 'x'",
		"CREATE FUNCTION f() RETURNS int AS 'execute foo' LANGUAGE sql",
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		expect(texts[i], texts[i]);
}

static void counts_beyond_the_room(void **state)
{
	struct sql_name_at at[1];
	struct sql_dialect plain = { 0 };
	assert_int_equal(sql_prepared_names(slice_text("execute a; execute b; execute c"), plain, at, 1), 3);
	assert_int_equal(at[0].at, 8);
	assert_int_equal(sql_prepared_names(slice_of(NULL, 0), plain, at, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_names),
		cmocka_unit_test(leaves_the_rest),
		cmocka_unit_test(counts_beyond_the_room),
	};
	return UNIT_RUN(tests);
}
