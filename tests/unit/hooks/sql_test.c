/* lp.sql() at a real server: values, parameters, errors, bounds, deadlines. */
#include "hooksrig.h"
#include "pgserver.h"

static struct hooksrig rig;
static struct pgdir dir;
static struct pgserver pg;

/* policyrig's cluster, but pg1 is the server. */
static int open_rig(void **state)
{
	char text[600];
	pgdir_init(&dir);
	pgserver_start(&pg, &dir, 0);
	hooksrig_open(&rig);
	snprintf(text, sizeof text,
	         "listen { port = 0 }\nauth { hba_file = \"rules\" }\n"
	         "cluster \"main\" {\n  service_user = \"postgres\"  policy = \"main.lua\" tls = off\n"
	         "  node \"pg1\" { host = \"%s\" }\n  node \"pg2\" { host = \"%s\" port = 9 }\n}\n"
	         "database \"*\" { cluster = \"main\" }\n",
	         dir.path, dir.path);
	hooksrig_configure(&rig, text, 0);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	pgserver_stop(&pg, SIGQUIT);
	pgdir_fini(&dir);
	return 0;
}

#define SAYS(body, expected) assert_string_equal(hooksrig_run(&rig, "local pg = cluster.primary " body), expected)

static void rows_are_tables(void **state)
{
	SAYS("local r = lp.sql(pg, 'select 1 as one, 2.5::float8 as half, true as yes, null as none, $$x y$$ as text, "
	     "9007199254740993 as big, 12::int8 as small, 1.50::numeric as exact') "
	     "local x = r[1] return #r .. ' ' .. x.one + 1 .. ' ' .. x.half .. ' ' .. tostring(x.yes) .. ' ' .. tostring(x.none) .. "
	     "' ' "
	     ".. x.text .. ' ' .. x.big .. ' ' .. x.small + 1 .. ' ' .. x.exact .. ' ' .. r.affected",
	     "1 2 2.5 true nil x y 9007199254740993 13 1.50 1");
	SAYS("local r = lp.sql(pg, 'select g from generate_series(1, 5) g') local all = {} "
	     "for i, row in ipairs(r) do all[i] = row.g end return table.concat(all, ',') .. ' ' .. r.affected",
	     "1,2,3,4,5 5");
	SAYS("return #lp.sql(pg, 'select 1 where false') == 0 and 'none'", "none");
	SAYS("lp.sql(pg, 'create table public.t (i int)') "
	     "return lp.sql(pg, 'insert into public.t select generate_series(1, 7)').affected .. ' ' .. lp.sql(pg, 'drop table "
	     "public.t').affected",
	     "7 0");
}

static void parameters_are_values(void **state)
{
	SAYS("local r = lp.sql(pg, 'select $1::int + $2::int as n, $3::text as t, $4::bool as b', { 1, '2', \"it's; drop\", false }) "
	     "return r[1].n .. ' ' .. r[1].t .. ' ' .. tostring(r[1].b)",
	     "3 it's; drop false");
	SAYS("lp.sql(pg, 'select $1', { {} })", "error: main.lua:1: parameter 1 is a table, or has a zero byte");
}

static void errors_have_their_sqlstate(void **state)
{
	SAYS("local r, err = lp.sql(pg, 'select nonsense') return err.kind .. ' ' .. err.sqlstate .. ' ' .. err.message",
	     "sql 42703 column \"nonsense\" does not exist");
	SAYS("return lp.sql(pg, 'select 1; select 2')", "error: cannot insert multiple commands into a prepared statement");
	SAYS("local r, err = lp.sql(pg, 'select 1 / (5 - g) from generate_series(1, 9) g') return err.sqlstate", "22012");
	SAYS("local r, err = lp.sql(cluster:node('pg2'), 'select 1') return err.kind .. ' ' .. err.sqlstate", "connect 08001");
	SAYS("local r, err = lp.sql(pg, 'select 1', nil, { dbname = 'none' }) return err.sqlstate", "3D000");
	SAYS("lp.sql('pg1', 'select 1')", "error: main.lua:1: bad argument #1 to 'sql' (node expected, got string)");
}

static void answers_are_bounded(void **state)
{
	SAYS("local r, err = lp.sql(pg, 'select * from generate_series(1, 2000)') return err.sqlstate", "54000");
	SAYS("return #lp.sql(pg, 'select * from generate_series(1, 2000)', nil, { rows = 2000 }) .. ''", "2000");
	SAYS("local r, err = lp.sql(pg, \"select repeat('x', 2000000)\") return err.sqlstate", "54000");
}

static void a_deadline_ends_it_there_too(void **state)
{
	SAYS("local r, err = lp.sql(pg, 'select pg_sleep(1000)', nil, { timeout = 0.2 }) return err.kind", "connect");
	SAYS("lp.deadline(0.2, function() lp.sql(pg, 'select pg_sleep(1000), 1', nil, { timeout = 0.5 }) end) "
	     "return lp.retry { tries = 1000, delay = 0.01 } (function() return "
	     "lp.sql(pg, \"select count(*) n from pg_stat_activity where query like 'select pg_sleep%'\")[1].n == 0 end) and 'nobody "
	     "is left'",
	     "nobody is left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_tables),
		cmocka_unit_test(parameters_are_values),
		cmocka_unit_test(errors_have_their_sqlstate),
		cmocka_unit_test(answers_are_bounded),
		cmocka_unit_test(a_deadline_ends_it_there_too),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, open_rig, close_rig);
}
