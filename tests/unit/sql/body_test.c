/* What the source of a function tells of what it does to the session. */
#include "sql/body.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "sql/class.h"
#include "unit.h"

static const struct {
	uint32_t bit;
	const char *word;
} bits[] = {
	{ SQL_OPAQUE_CALL, "opaque" }, { SQL_TEMP_OBJECT, "temp" }, { SQL_ADVISORY_LOCK, "lock" }, { SQL_HOLD_CURSOR, "hold" },
	{ SQL_NEXTVAL, "nextval" },    { SQL_CURRVAL, "currval" },  { SQL_IS_LOCAL, "local" },
};

static void check_one(const char *source, const char *expected)
{
	struct body b;
	char is[100] = "";
	body_read(&b, slice_text(source));
	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		if (b.effects & bits[i].bit)
			snprintf(is + strlen(is), sizeof is - strlen(is), "%s%s", is[0] ? " " : "", bits[i].word);
	if (strcmp(is, expected) != 0)
		fail_msg("%s\n  is \"%s\", not \"%s\"", source, is, expected);
	body_fini(&b);
}

struct row {
	const char *source, *effects;
};

static void check(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_one(rows[i].source, rows[i].effects);
}

static void settings(void **state)
{
	static const struct row rows[] = {
		{ "begin perform set_config('a.b', x, false); end", "opaque" },
		{ "begin perform set_config('a.b', x, true); end", "local" },
		{ "begin perform pg_catalog.set_config('a.b', coalesce(x, 'a, b'), true); return 1; end", "local" },
		{ "select set_config($1, $2, $3)", "opaque" },
		{ "select set_config('a', 'b', not true)", "opaque" },
		{ "select set_config('a', 'b', 'true')", "opaque" },
		{ "select set_config('a', set_config('b', 'c', false), true)", "opaque local" },
		{ "begin execute 'select set_config(''a'', ''b'', true)'; end", "local" },
		{ "begin execute 'select set_config(''a'', ''b'', false)'; end", "opaque" },
		{ "begin execute 'select set_config('; end", "opaque" },
		{ "BEGIN SET work_mem = '1MB'; END", "opaque" },
		{ "BEGIN SET LOCAL work_mem = '1MB'; END", "local" },
		{ "begin set transaction isolation level serializable; set constraints all deferred; end", "" },
		{ "begin <<here>> set role x; end", "opaque" },
		{ "begin if a then reset role; end if; end", "opaque" },
		{ "begin execute 'set role ' || quote_ident(x); end", "opaque" },
		{ "begin execute 'SET search_path TO ' || x; end", "opaque" },
		{ "begin execute format('set role %I', x); end", "opaque" },
		{ "begin execute $q$set role x$q$; end", "opaque" },
		{ "begin update t set a = 1; insert into t values (1) on conflict do update set a = 2; end", "" },
		{ "begin execute 'update ' || t || ' set a = 1'; end", "" },
		{ "begin execute format('alter table %I', t) || ' set (fillfactor = 70)'; end", "" },
		{ "create table t (a int references u on delete set null)", "" },
		{ "begin -- set role x\n /* ; set role y; set_config( */ return 1; end", "" },
		{ "begin return 'set'; end", "" },
		{ "select 1; set work_mem = '1MB'", "opaque" },
		{ "begin update pg_catalog.pg_settings set setting = '1MB' where name = 'work_mem'; end", "opaque" },
		{ "select setting from pg_settings where name = 'work_mem'", "" },
		{ "declare reset boolean := true; begin return reset; end", "" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void what_stays_in_the_session(void **state)
{
	static const struct row rows[] = {
		{ "begin create temp table t (i int); end", "temp" },
		{ "begin create temporary view t as select 1; end", "temp" },
		{ "begin create or replace temp view t as select 1; end", "temp" },
		{ "begin create local temp sequence t; end", "temp" },
		{ "select 1 into temp t", "temp" },
		{ "begin create temp table t (i int) on commit drop; return 1; end", "" },
		{ "begin create temp table t on commit drop as select 1; create temp table u (i int); end", "temp" },
		{ "begin create temp table t (i int); commit; drop table t; end", "temp" },
		{ "begin execute 'create temp table ' || x || ' (i int) on commit drop'; end", "" },
		{ "begin create temp table t (i int) on commit delete rows; end", "temp" },
		{ "begin execute 'create temp table ' || x || ' (i int)'; end", "temp" },
		{ "begin execute 'create ' || 'temp table x (i int)'; end", "temp" },
		{ "begin create table pg_temp.t (i int); end", "temp" },
		{ "begin create table \"pg_temp\".t (i int); end", "temp" },
		{ "declare temp int; begin temp := a; a := b; b := temp; select x into temp from t; return temp; end", "" },
		{ "select temp from weather where kind = 'temp'", "" },
		{ "begin perform pg_advisory_lock(1); end", "lock" },
		{ "select pg_try_advisory_lock_shared(1, 2)", "lock" },
		{ "select pg_advisory_xact_lock(1), pg_advisory_unlock(2)", "" },
		{ "select nextval('s')", "nextval" },
		{ "select nextval ( 's' ), currval('s')", "nextval currval" },
		{ "declare lastval int; begin return lastval; end", "" },
		{ "begin execute 'declare c cursor with hold for select 1'; end", "hold" },
		{ "begin listen x; end", "opaque" },
		{ "begin execute 'LISTEN ' || x; end", "opaque" },
		{ "begin execute 'load ''x'''; end", "opaque" },
		{ "begin perform 1; discard all; end", "opaque" },
		{ "begin execute 'prepare x as select 1'; end", "opaque" },
		{ "begin if action = 'listen' or action = 'load' then notify x; end if; end", "" },
		{ "select * from dblink('a', 'b') as t(i int)", "opaque" },
		{ "select dblink_connect('a')", "opaque" },
		{ "select setseed(1)", "opaque" },
		{ "select query_to_xml(a, true, true, '')", "opaque" },
		{ "select U&'\\0073et_config'", "opaque" },
		{ "select 'unterminated", "opaque" },
	};
	check(rows, ARRAY_LEN(rows));
}

static void texts_that_are_executed(void **state)
{
	static const struct row rows[] = {
		{ "begin execute x; end", "opaque" },
		{ "begin execute $1; end", "opaque" },
		{ "begin return query execute x using 1; end", "opaque" },
		{ "declare x text; begin x := 'select 1'; execute x; end", "" },
		{ "declare x text := 'select 1 from ' || y; begin return query execute x using 1; end", "" },
		{ "declare x text = 'a'; begin x = 'select 1'; execute x; end", "" },
		{ "begin select command into x from queue; execute x; end", "opaque" },
		{ "begin for r in select * from queue loop execute r.command; end loop; end", "opaque" },
		{ "begin execute make_command(1); end", "opaque" },
		{ "begin execute format('insert into %I values ($1)', t) using 1; end", "" },
		{ "begin execute format(x, t); end", "opaque" },
		{ "begin execute ('select ' || 1); end", "" },
		{ "begin execute 'grant execute on function f() to u'; end", "" },
		{ "begin create trigger x after insert on t execute function f(); end", "" },
	};
	check(rows, ARRAY_LEN(rows));
}

static bool names(const char *source, const char *name, bool is_call)
{
	struct body b;
	body_read(&b, slice_text(source));
	bool is_there = body_names(&b, body_hash(slice_text(name), is_call));
	body_fini(&b);
	return is_there;
}

static void what_it_names(void **state)
{
	assert_true(names("select Other(1)", "other", true));
	assert_false(names("select other(1)", "other", false));
	assert_true(names("select s.other (1) from t", "other", true));
	assert_true(names("select s.other (1) from T", "t", false));
	assert_true(names("select \"Odd\"(1)", "Odd", true));
	assert_true(names("begin execute 'select other(1)'; end", "other", true));
	assert_false(names("select 1 -- other(1)", "other", true));
	assert_true(names("select outer(1)", "outer", true));
	struct body b;
	body_read(&b, slice_text("begin delete from t; end"));
	assert_true(b.changes);
	body_fini(&b);
	body_read(&b, slice_text("select a from t"));
	assert_false(b.changes);
	body_fini(&b);
}

static void a_source_with_too_many_names_is_opaque(void **state)
{
	size_t n = BODY_WORDS_MAX + 10, size = n * 10;
	char *text = malloc(size);
	size_t len = 0;
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, "n%zu ", i);
	struct body b;
	body_read(&b, slice_of(text, len));
	assert_true(b.effects & SQL_OPAQUE_CALL);
	assert_int_equal(b.n, 0);
	body_fini(&b);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings),
		cmocka_unit_test(what_stays_in_the_session),
		cmocka_unit_test(texts_that_are_executed),
		cmocka_unit_test(what_it_names),
		cmocka_unit_test(a_source_with_too_many_names_is_opaque),
	};
	hash_init();
	return UNIT_RUN(tests);
}
