/* What a class tells of each kind of statement. */
#include "sql/classify.h"

#include "base/hash.h"
#include "show.h"
#include "unit.h"

struct row {
	const char *text, *class;
};

static void check(const struct row *rows, size_t n)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < n; i++) {
		struct sql_class *c = sql_classify(cache, slice_text(rows[i].text), (struct sql_dialect){ 0 });
		char *shown = show_class(c);
		if (strcmp(shown, rows[i].class) != 0)
			fail_msg("%s\n  is  %s\n  not %s", rows[i].text, shown, rows[i].class);
		free(shown);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
}

static void reads_and_writes(void **state)
{
	static const struct row rows[] = {
		{ "SELECT a FROM t WHERE b = 1", "select" },
		{ "VALUES (1), (2)", "select" },
		{ "TABLE t", "select" },
		{ "SELECT lower('A'), count(*) FROM t", "select lower() count()" },
		{ "SELECT pg_catalog.lower('A'), coalesce(1, 2), extract(year from now())", "select lower() extract() now()" },
		{ "SELECT lower('A') OVER (ORDER BY lower('b'))", "select lower()" },
		{ "SELECT f(1)", "select +writes f() ?" },
		{ "SELECT s.lower('A')", "select +writes lower() ?" },
		{ "SELECT pg_sleep(1), pg_backend_pid()", "select +writes pg_sleep() pg_backend_pid()" },
		{ "SELECT 1 FOR UPDATE", "select +writes +locks_rows" },
		{ "SELECT * FROM (SELECT * FROM t FOR SHARE) x", "select +writes +locks_rows" },
		{ "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "select +writes" },
		{ "WITH x AS (SELECT 1) SELECT * FROM x", "select" },
		{ "SELECT 1 INTO t", "select +writes +ddl" },
		{ "INSERT INTO t VALUES (1, now())", "insert +writes now()" },
		{ "UPDATE t SET a = f(a)", "update +writes f() ?" },
		{ "DELETE FROM t", "delete +writes" },
		{ "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "merge +writes" },
		{ "COPY t FROM STDIN", "copy_in +writes" },
		{ "COPY t TO STDOUT", "copy_out" },
		{ "COPY (SELECT f(1)) TO STDOUT", "copy_out +writes f() ?" },
		{ "COPY (SELECT 1) TO STDOUT (FORMAT csv, DELIMITER ';')", "copy_out" },
		{ "COPY t FROM '/tmp/x'", "other +writes" },
		{ "COPY t TO PROGRAM 'cat'", "other +writes" },
		{ "SHOW work_mem", "show name=work_mem" },
		{ "EXPLAIN DELETE FROM t", "explain" },
		{ "EXPLAIN SELECT nextval('s')", "explain nextval()" },
		{ "EXPLAIN (COSTS off, ANALYZE) DELETE FROM t", "explain +writes" },
		{ "EXPLAIN (ANALYZE false) DELETE FROM t", "explain" },
		{ "EXPLAIN ANALYZE SELECT count(*) FROM t", "explain count()" },
		{ "EXPLAIN ANALYZE SELECT set_config('a.b', 'c', false)", "explain +writes +opaque_call set_config()" },
		{ "CREATE TABLE t (a int DEFAULT nextval('s'))", "other +writes +ddl" },
		{ "CREATE VIEW v AS SELECT f(1)", "other +writes +ddl" },
		{ "ALTER TABLE t ALTER a SET DEFAULT nextval('s')", "other +writes +ddl" },
		{ "ALTER TABLE t ADD a int DEFAULT nextval('s')", "other +writes +nextval +ddl nextval()" },
		{ "CREATE TABLE t AS SELECT f(1)", "other +writes +ddl f() ?" },
		{ "TRUNCATE t", "other +writes" },
		{ "GRANT SELECT ON t TO u", "other +writes +ddl" },
		{ "", "empty" },
		{ " ; ; -- nothing", "empty" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void transactions(void **state)
{
	static const struct row rows[] = {
		{ "BEGIN", "begin +plain_begin" },
		{ "begin work", "begin +plain_begin" },
		{ "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
		  "begin +plain_begin transaction_isolation=repeatable read transaction_read_only=on" },
		{ "BEGIN READ WRITE NOT DEFERRABLE", "begin +plain_begin transaction_read_only=off transaction_deferrable=off" },
		{ "BEGIN BEGIN", "opaque +writes +no_pipeline" },
		{ "COMMIT", "commit" },
		{ "END AND CHAIN", "commit +chain" },
		{ "ABORT", "rollback" },
		{ "ROLLBACK AND CHAIN", "rollback +chain" },
		{ "ROLLBACK AND NO CHAIN", "rollback" },
		{ "SAVEPOINT Abc", "savepoint name=abc" },
		{ "SAVEPOINT \"Abc\"", "savepoint name=Abc" },
		{ "RELEASE SAVEPOINT x", "release name=x" },
		{ "ROLLBACK TO x", "rollback_to name=x" },
		{ "PREPARE TRANSACTION 'x'", "prepare_tx +writes" },
		{ "COMMIT PREPARED 'x'", "commit_prepared +writes +no_pipeline" },
		{ "ROLLBACK PREPARED 'x'", "commit_prepared +writes +no_pipeline" },
		{ "SET TRANSACTION READ ONLY", "set_tx transaction_read_only=on" },
		{ "SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE", "set_tx transaction_isolation=serializable" },
		{ "SET TRANSACTION SNAPSHOT '0001'", "set_tx +clean_tx" },
		{ "SET transaction_read_only = on", "set_tx name=transaction_read_only value=on" },
		{ "SET CONSTRAINTS ALL DEFERRED", "set_tx" },
		{ "BEGIN; SELECT 1; COMMIT;", "begin +plain_begin; select; commit" },
		{ "LOCK TABLE t", "lock +writes" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void settings(void **state)
{
	static const struct row rows[] = {
		{ "SET work_mem = 64", "set name=work_mem value=64" },
		{ "SET SESSION \"Work_Mem\" TO '64MB'", "set name=work_mem value=64MB" },
		{ "SET LOCAL work_mem TO '64MB'", "set_local name=work_mem value=64MB" },
		{ "SET a.b = -1.5", "set name=a.b value=-1.5" },
		{ "SET enable_seqscan = off", "set name=enable_seqscan value=off" },
		{ "SET enable_seqscan = true", "set name=enable_seqscan value=true" },
		{ "SET application_name = ''", "set name=application_name value=" },
		{ "SET application_name = 'it''s' -- x", "set name=application_name value=it's" },
		{ "SET application_name = e'a\\nb'", "set name=application_name value=a\nb" },
		{ "SET application_name = $$x'y$$", "set name=application_name value=x'y" },
		{ "SET datestyle = ISO, DMY", "set name=datestyle value=iso, dmy" },
		{ "SET search_path = public", "set name=search_path value=public" },
		{ "SET search_path = \"$user\", public, 'Foo', \"select\", abc",
		  "set name=search_path value=\"$user\", public, \"Foo\", \"select\", abc" },
		{ "SET search_path = ''", "set name=search_path value=\"\"" },
		{ "SET search_path = 'a, b'", "set name=search_path value=\"a, b\"" },
		{ "SET search_path = 'a\"b'", "set name=search_path value=\"a\"\"b\"" },
		{ "SET search_path = pg_temp, public", "set +temp name=search_path value=pg_temp, public" },
		{ "SET search_path = \"$user\", pg_temp", "set +temp name=search_path value=\"$user\", pg_temp" },
		{ "SET search_path = public, pg_temp", "set name=search_path value=public, pg_temp" },
		{ "SET SCHEMA 'x'", "set name=search_path value=x" },
		{ "SET search_path TO DEFAULT", "reset name=search_path" },
		{ "SET LOCAL search_path TO DEFAULT", "set_local name=search_path" },
		{ "RESET search_path", "reset name=search_path" },
		{ "RESET ALL", "reset_all" },
		{ "SET TIME ZONE 'UTC'", "set name=timezone value=UTC" },
		{ "SET TimeZone = 'UTC'", "set name=timezone value=UTC" },
		{ "SET TIME ZONE -7", "set name=timezone value=-7" },
		{ "SET TIME ZONE LOCAL", "reset name=timezone" },
		{ "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "set name=timezone" },
		{ "RESET TIME ZONE", "reset name=timezone" },
		{ "SET NAMES 'LATIN1'", "set name=client_encoding value=LATIN1" },
		{ "SET NAMES DEFAULT", "reset name=client_encoding" },
		{ "SET ROLE bob", "set name=role value=bob" },
		{ "SET ROLE 'Bob'", "set name=role value=Bob" },
		{ "SET ROLE NONE", "set name=role value=none" },
		{ "SET LOCAL ROLE bob", "set_local name=role value=bob" },
		{ "RESET ROLE", "reset name=role" },
		{ "SET SESSION AUTHORIZATION bob", "set name=session_authorization value=bob" },
		{ "SET SESSION AUTHORIZATION DEFAULT", "reset name=session_authorization" },
		{ "RESET SESSION AUTHORIZATION", "reset name=session_authorization" },
		{ "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE, DEFERRABLE",
		  "set name=default_transaction_read_only value=on default_transaction_isolation=serializable "
		  "default_transaction_deferrable=on" },
		{ "SET work_mem FROM CURRENT", "set name=work_mem" },
		{ "SET seed = 0.5", "set +opaque_call name=seed value=0.5" },
		{ "ALTER ROLE bob SET work_mem = 1", "other +writes +defaults" },
		{ "ALTER USER bob RESET ALL", "other +writes +defaults" },
		{ "ALTER DATABASE d SET work_mem = 1", "other +writes +defaults" },
		{ "ALTER SYSTEM SET work_mem = 1", "other +writes +no_pipeline +defaults" },
		{ "DISCARD ALL", "discard_all +no_pipeline" },
		{ "DISCARD PLANS", "discard_plans" },
		{ "DISCARD TEMPORARY", "discard_temp" },
		{ "DISCARD SEQUENCES", "discard_sequences" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void set_config_calls(void **state)
{
	static const struct row rows[] = {
		{ "SELECT set_config('TimeZone', 'UTC', false)", "select +writes +set_config name=timezone value=UTC set_config()" },
		{ "SELECT pg_catalog.\"set_config\"('a.b', '', 'f')::text AS x",
		  "select +writes +set_config name=a.b value= set_config()" },
		{ "SELECT set_config('a.b'::text, 'x'::pg_catalog.varchar, true)",
		  "select +writes +set_config +local name=a.b value=x set_config()" },
		{ "SELECT set_config($1, $2::text, $3::bool)", "select +writes +set_config name=$1 value=$2 local=$3 set_config()" },
		{ "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'Some_Setting'",
		  "select +writes +set_config name=some_setting value=view set_config()" },
		{ "SELECT set_config(name, 'view', false) FROM pg_settings", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config(name, setting, false) FROM pg_settings WHERE name = 'x'",
		  "select +writes +opaque_call set_config()" },
		{ "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name <> 'x'",
		  "select +writes +opaque_call set_config()" },
		{ "UPDATE pg_settings SET setting = '1MB' WHERE name = 'work_mem'", "update +writes +opaque_call" },
		{ "UPDATE ONLY pg_catalog.pg_settings SET setting = $1", "update +writes +opaque_call" },
		{ "SELECT set_config('role', $7, true)", "select +writes +set_config +local name=role value=$7 set_config()" },
		{ "SELECT set_config('a.b', '1', false), set_config('c.d', '2', false)",
		  "select +writes +set_config name=a.b value=1 c.d=2 set_config()" },
		{ "SELECT set_config('a.b', $1, true), set_config('c.d', $2, true)", "select +writes +set_config +local set_config()" },
		{ "SELECT set_config('a.b', $1, true), set_config('c.d', $2, false)", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', '1', true), set_config('c.d', '2', false)", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('search_path', 'pg_temp', false)",
		  "select +writes +temp +set_config name=search_path value=pg_temp set_config()" },
		{ "SELECT set_config('a.b', NULL, false)", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.' || 'b', 'x', false)", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', $1::int::text, false)", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', 'x', false) FROM t", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', 'x', false) WHERE false", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', 'x', false) LIMIT 0", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config('a.b', 'x', false), generate_series(1, 0)",
		  "select +writes +opaque_call set_config() generate_series()" },
		{ "SELECT set_config('a.b', 'x', false), (SELECT set_config('a.b', 'y', false))",
		  "select +writes +opaque_call set_config()" },
		{ "SELECT (SELECT set_config('a.b', 'x', false))", "select +writes +opaque_call set_config()" },
		{ "SELECT 1 WHERE set_config('a.b', 'x', true) = ''", "select +writes +set_config +local set_config()" },
		{ "SELECT set_config(VARIADIC ARRAY['a'])", "select +writes +opaque_call set_config()" },
		{ "SELECT set_config(is_local => false, setting_name => 'a.b', new_value => 'x')",
		  "select +writes +opaque_call set_config()" },
		{ "INSERT INTO t SELECT set_config('a.b', 'x', false)", "insert +writes +opaque_call set_config()" },
		{ "COPY (SELECT set_config('a.b', 'x', false)) TO STDOUT", "copy_out +writes +opaque_call set_config()" },
		{ "PREPARE p AS SELECT set_config('a.b', 'x', false)", "prepare +writes +opaque_call +nested name=p set_config()" },
		{ "DECLARE c CURSOR FOR SELECT set_config('a.b', 'x', false)", "declare +writes +opaque_call name=c set_config()" },
		{ "SELECT U&\"set!005fconfig\" UESCAPE '!'('a.b', 'x', false)",
		  "select +writes +set_config name=a.b value=x set_config()" },
		{ "SELECT 'x', set_config('a.b', 'y', false)", "select +writes +set_config name=a.b value=y set_config()" },
		{ "SELECT other.set_config('a.b', 'y', false)", "select +writes set_config() ?" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void what_stays_in_the_session(void **state)
{
	static const struct row rows[] = {
		{ "CREATE TEMP TABLE t (a int)", "other +writes +temp +ddl" },
		{ "CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP", "other +writes +temp +ddl" },
		{ "CREATE TEMP VIEW v AS SELECT 1", "other +writes +temp +ddl" },
		{ "CREATE TEMP SEQUENCE s", "other +writes +temp +ddl" },
		{ "CREATE TEMP TABLE t AS SELECT 1", "other +writes +temp +ddl" },
		{ "CREATE TEMP TABLE t AS EXECUTE p(1)", "execute +writes +temp +ddl +nested name=p" },
		{ "SELECT 1 INTO TEMP t", "select +writes +temp +ddl" },
		{ "SELECT 1 INTO pg_temp.t", "select +writes +temp +ddl" },
		{ "SELECT * FROM pg_temp.t", "select +temp" },
		{ "SELECT pg_temp_3.f()", "select +writes +temp f() ?" },
		{ "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "other +writes +temp +ddl" },
		{ "DROP TABLE pg_temp.t", "other +writes +temp +ddl" },
		{ "SELECT NULL::pg_temp.t", "select +temp" },
		{ "SELECT 'pg_temp'", "select" },
		{ "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "declare +hold name=c" },
		{ "DECLARE c CURSOR FOR SELECT 1", "declare name=c" },
		{ "FETCH 10 FROM c", "fetch name=c" },
		{ "MOVE c", "fetch name=c" },
		{ "CLOSE c", "close name=c" },
		{ "CLOSE ALL", "close_all" },
		{ "LISTEN Foo", "listen +writes name=foo" },
		{ "UNLISTEN \"Foo\"", "unlisten name=Foo" },
		{ "UNLISTEN *", "unlisten_all" },
		{ "NOTIFY foo, 'x'", "notify +writes name=foo" },
		{ "SELECT pg_advisory_lock(1)", "select +writes +advisory pg_advisory_lock()" },
		{ "SELECT pg_try_advisory_lock_shared(1)", "select +writes +advisory pg_try_advisory_lock_shared()" },
		{ "SELECT pg_advisory_xact_lock(1)", "select +writes pg_advisory_xact_lock()" },
		{ "SELECT pg_advisory_unlock_all()", "select +writes +unlock_all pg_advisory_unlock_all()" },
		{ "SELECT pg_advisory_unlock_all() FROM t", "select +writes pg_advisory_unlock_all()" },
		{ "SELECT pg_advisory_unlock_all(), pg_advisory_lock(1)",
		  "select +writes +advisory pg_advisory_unlock_all() pg_advisory_lock()" },
		{ "INSERT INTO t VALUES (nextval('s'))", "insert +writes +nextval nextval()" },
		{ "SELECT setval('s', 1), currval('s'), lastval()", "select +writes +nextval +currval setval() currval() lastval()" },
		{ "SELECT dblink_connect('x')", "select +writes +opaque_call dblink_connect() ?" },
		{ "SELECT * FROM x.dblink('x') AS t(a int)", "select +writes +opaque_call dblink() ?" },
		{ "SELECT query_to_xml('select 1', true, true, '')", "select +writes +opaque_call query_to_xml()" },
		{ "PREPARE Foo AS SELECT nextval($1)", "prepare +writes +nextval +nested name=foo nextval()" },
		{ "EXECUTE foo(lower('X'))", "execute +writes name=foo lower()" },
		{ "EXPLAIN ANALYZE EXECUTE foo", "execute +writes +nested name=foo" },
		{ "EXPLAIN EXECUTE foo", "execute +nested name=foo" },
		{ "DEALLOCATE PREPARE foo", "deallocate name=foo" },
		{ "DEALLOCATE ALL", "deallocate_all" },
		{ "DO $$ begin end $$", "opaque +writes +no_pipeline" },
		{ "CALL p(1)", "opaque +writes +no_pipeline p() ?" },
		{ "LOAD 'x'", "opaque +writes +no_pipeline" },
		{ "SELEC 1", "opaque +writes +no_pipeline" },
		{ "SELECT 1 +", "select +writes" },
		{ "SELECT 1 + set_config", "select" },
		{ "SELECT set_config(", "opaque +writes +no_pipeline" },
		{ "SELECT 'unterminated", "opaque +writes +no_pipeline" },
		{ "SELECT JSON_TABLE (x COLUMNS (a int PATH '$'))", "select +writes" },
		{ "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a) VIRTUAL)", "other +writes +ddl +no_pipeline" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void what_refuses_a_transaction(void **state)
{
	static const struct row rows[] = {
		{ "VACUUM t", "other +writes +no_pipeline" },
		{ "ANALYZE t", "other +writes" },
		{ "CREATE DATABASE d", "other +writes +ddl +no_pipeline" },
		{ "DROP DATABASE d", "other +writes +ddl +no_pipeline" },
		{ "ALTER DATABASE d SET TABLESPACE x", "other +writes +ddl +no_pipeline" },
		{ "CREATE TABLESPACE x LOCATION '/x'", "other +writes +ddl +no_pipeline" },
		{ "DROP TABLESPACE x", "other +writes +ddl +no_pipeline" },
		{ "CREATE INDEX CONCURRENTLY i ON t (a)", "other +writes +ddl +no_pipeline" },
		{ "CREATE INDEX i ON t (a)", "other +writes +ddl" },
		{ "DROP INDEX CONCURRENTLY i", "other +writes +ddl +no_pipeline" },
		{ "REINDEX INDEX CONCURRENTLY i", "other +writes +no_pipeline" },
		{ "REINDEX DATABASE d", "other +writes +no_pipeline" },
		{ "CLUSTER", "other +writes +no_pipeline" },
		{ "ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "other +writes +ddl +no_pipeline" },
		{ "ALTER TABLE t DETACH PARTITION p", "other +writes +ddl" },
		{ "ALTER TYPE e ADD VALUE 'x'", "other +writes +ddl" },
		{ "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", "other +writes +ddl +no_pipeline" },
		{ "DROP SUBSCRIPTION s", "other +writes +ddl +no_pipeline" },
		{ "ALTER SUBSCRIPTION s REFRESH PUBLICATION", "other +writes +ddl +no_pipeline" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void expect(struct slice text, struct sql_dialect dialect, const char *class)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct sql_class *c = sql_classify(cache, text, dialect);
	char *shown = show_class(c);
	assert_string_equal(shown, class);
	free(shown);
	sql_class_unref(c);
	sql_cache_free(cache);
}

static void doubtful_bytes_are_opaque(void **state)
{
	static const char opaque[] = "opaque +writes +no_pipeline";
	struct sql_dialect backslash = { .backslash_quotes = true }, foreign = { .unsafe_encoding = true };
	expect(slice_text("SELECT 'a\\', set_config(''a.b'', 1, false) --'"), backslash, opaque);
	expect(slice_text("SELECT 'a', E'\\''"), backslash, "select");
	expect(slice_text("SELECT 'a\\'"), (struct sql_dialect){ 0 }, "select");
	expect(slice_text("SELECT '\x95\\'"), foreign, opaque);
	expect(slice_text("SELECT 'a'"), foreign, "select");
	expect(slice_of("SELECT 1\0", 9), (struct sql_dialect){ 0 }, opaque);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(transactions),
		cmocka_unit_test(settings),
		cmocka_unit_test(set_config_calls),
		cmocka_unit_test(what_stays_in_the_session),
		cmocka_unit_test(what_refuses_a_transaction),
		cmocka_unit_test(doubtful_bytes_are_opaque),
	};
	return UNIT_RUN(tests);
}
