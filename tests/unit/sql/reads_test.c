/* Which statements are reads, and why the others are none: by themselves, and with what is known of their database. */
#include "sql/facts.h"

#include <stdio.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "sql/classify.h"
#include "sql/learn.h"
#include "unit.h"

/* "read", or why not and what is to blame; behind it "stay" where it may stay on a standby all the same, and "bound". */
static void show(const struct sql_class *c, char out[200])
{
	bool is_bound = (c->effects & SQL_TX_BOUND) && c->is_read;
	snprintf(out, 200, "%s%s%s%s%s", c->is_read ? "read" : c->why_primary, c->blamed ? ": " : "", c->blamed ? c->blamed : "",
	         c->may_stay && !c->is_read ? ", stay" : "", is_bound ? ", bound" : "");
	if (c->is_read && (!c->may_stay || c->why_primary || c->blamed || (c->effects & SQL_WRITES)))
		fail_msg("a read that is none: %x", c->effects);
}

struct row {
	const char *text, *expected;
};

static void check(const struct facts *f, const struct row *rows, size_t n)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < n; i++) {
		char shown[200];
		struct slice text = slice_text(rows[i].text);
		struct sql_class *c = sql_class_inform(sql_classify(cache, text, (struct sql_dialect){ 0 }), f, text);
		show(c, shown);
		if (strcmp(shown, rows[i].expected) != 0)
			fail_msg("%s\n  is  %s\n  not %s", rows[i].text, shown, rows[i].expected);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
}

#define YET "nothing is known of the catalogue yet"
#define SERVER "asks about the server that it runs on, or acts upon it"

/* What needs no catalogue. */
static void by_themselves(void **state)
{
	static const struct row rows[] = {
		{ "select 1", "read" },
		{ "values (1), (2)", "read" },
		{ "", "read" },
		{ "select a from t", YET },
		{ "select lower('A')", YET },
		{ "select f(1)", YET },
		{ "select 1 + 1", YET },
		{ "copy t to stdout", YET },
		{ "explain select a from t", YET },
		{ "begin", "read" },
		{ "begin read only", "read" },
		{ "begin isolation level repeatable read", "read" },
		{ "begin read write", "asks for a transaction that a standby does not have" },
		{ "start transaction isolation level serializable, read only", "asks for a transaction that a standby does not have" },
		{ "commit", "read" },
		{ "rollback to x", "read" },
		{ "prepare transaction 'x'", "two-phase commit belongs to the primary" },
		{ "rollback prepared 'x'", "two-phase commit belongs to the primary" },
		{ "set transaction read only", "changes the session, stay" },
		{ "set transaction read write", "asks for a transaction that a standby does not have" },
		{ "set transaction_read_only = off", "asks for a transaction that a standby does not have" },
		{ "set transaction isolation level serializable", "asks for a transaction that a standby does not have" },
		{ "set transaction snapshot '0001'", "shares a snapshot of the primary" },
		{ "set work_mem = 64", "changes the session, stay" },
		{ "set local work_mem = 64", "changes the session, stay" },
		{ "set seed = 0.5", "calls a function that changes the session" },
		{ "set search_path = pg_temp", "temporary objects belong to the primary" },
		{ "reset all", "changes the session, stay" },
		{ "discard temp", "changes the session, stay" },
		{ "set constraints all deferred", "changes the session, stay" },
		{ "select set_config('work_mem', '64', true)", "changes the session: set_config, stay" },
		{ "select set_config('work_mem', '64'::varchar, true)", "changes the session: set_config, stay" },
		{ "select set_config('work_mem', '64', true) from t", "calls a function that changes the session: set_config" },
		{ "show search_path", "read" },
		{ "show app.tenant", "read" },
		{ "show transaction isolation level", "read" },
		{ "show work_mem", "settings are the primary's: work_mem, stay" },
		{ "show in_hot_standby", SERVER ": in_hot_standby" },
		{ "show transaction_read_only", SERVER ": transaction_read_only" },
		{ "show all", "settings are the primary's: all, stay" },
		{ "insert into t values (1)", "writes" },
		{ "explain insert into t values (1)", "writes" },
		{ "explain analyze delete from t", "writes" },
		{ "with x as (insert into t values (1) returning a) select a from x", "writes" },
		{ "select 1 into t", "writes" },
		{ "create table t as select 1", "writes" },
		{ "select a from t for update", "locks rows" },
		{ "select a from (select a from t for key share) x", "locks rows" },
		{ "copy t from stdin", "writes" },
		{ "copy t to '/tmp/x'", "reads or writes a file of the server" },
		{ "copy (select 1) to program 'cat'", "reads or writes a file of the server" },
		{ "copy (select nextval('s')) to stdout", "uses a sequence: nextval" },
		{ "copy (delete from t returning a) to stdout", "writes" },
		{ "lock table t in access share mode", "locks a relation" },
		{ "notify a", "notifications belong to the primary" },
		{ "listen a", "notifications belong to the primary" },
		{ "do $$ begin end $$", "runs code that is not read" },
		{ "call p()", "runs code that is not read" },
		{ "vacuum t", "changes the database, or acts upon the server" },
		{ "checkpoint", "changes the database, or acts upon the server" },
		{ "create view v as select 1", "changes the database, or acts upon the server" },
		{ "alter table t add a int", "changes the database, or acts upon the server" },
		{ "declare c cursor with hold for select 1", "a cursor that outlives its transaction" },
		{ "declare c cursor for select 1", "read, bound" },
		{ "fetch 2 from c", "read" },
		{ "close all", "read" },
		{ "prepare x as select 1", "read" },
		{ "prepare x as delete from t", "writes" },
		{ "execute x", "runs a prepared statement" },
		{ "execute x(f(1))", "computes the arguments of a prepared statement" },
		{ "deallocate x", "changes the session, stay" },
		{ "select pg_advisory_xact_lock(1)", "advisory locks belong to the primary: pg_advisory_xact_lock" },
		{ "select pg_try_advisory_lock(1)", "advisory locks belong to the primary: pg_try_advisory_lock" },
		{ "select nextval('s')", "uses a sequence: nextval" },
		{ "select pg_backend_pid()", SERVER ": pg_backend_pid" },
		{ "select 1 where pg_is_in_recovery()", SERVER ": pg_is_in_recovery" },
		{ "select pid from pg_stat_activity", SERVER ": pg_stat_activity" },
		{ "select 1 from pg_catalog.pg_locks", SERVER ": pg_locks" },
		{ "select tablename from pg_stats", YET },
		{ "select 1 from s.pg_locks", YET },
		{ "select txid_current()", "asks for the ids or snapshots of transactions: txid_current" },
		{ "select pg_export_snapshot()", "asks for the ids or snapshots of transactions: pg_export_snapshot" },
		{ "select lo_get(1)", "works on large objects: lo_get" },
		{ "select setseed(0.5), random()", "calls a function that changes the session: setseed" },
		{ "select query_to_xml('select 1', true, true, '')", "calls a function that changes the session: query_to_xml" },
		{ "select a from pg_temp.t", "temporary objects belong to the primary: t" },
		{ "select current_setting('server_version')", SERVER ": server_version" },
		{ "select current_setting($1)", "settings are the primary's, stay" },
		{ "select 1; insert into t values (1)", "writes" },
		{ "select a from t; insert into t values (1)", "writes" },
		{ "begin; select 1; commit", "read" },
		{ "set a.b = 1; select 1", "changes the session, stay" },
		{ "selekt 1", "is not understood" },
	};
	struct facts *nothing = facts_seal(facts_new(false));
	check(nothing, rows, ARRAY_LEN(rows));
	facts_unref(nothing);
}

static void with_facts(void **state)
{
	struct facts *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "stable", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "vol", SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "overloaded", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "overloaded", SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "lower", SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "temp", SQL_TEMP_OBJECT, NULL);
	facts_add(f, FACTS_FUNCTION, "loc", SQL_SET_CONFIG | SQL_IS_LOCAL, NULL);
	facts_add(f, FACTS_FUNCTION, "reads_unlogged", SQL_NO_STANDBY, NULL);
	facts_add(f, FACTS_READ, "unlogged", SQL_NO_STANDBY, NULL);
	facts_add(f, FACTS_READ, "vol_view", SQL_WRITES | SQL_TX_BOUND, "vol");
	facts_add(f, FACTS_READ, "time_view", SQL_TX_BOUND, NULL);
	facts_add(f, FACTS_OPERATOR, "<~~>", SQL_WRITES, "vol");
	facts_add(f, FACTS_TYPE, "dom", SQL_WRITES, "vol");
	facts_add(f, FACTS_WRITE, "t", SQL_OPAQUE_CALL, "audit");
	facts_add(f, FACTS_DDL, "", SQL_OPAQUE_CALL, "audit");
	facts_add(f, FACTS_FUNCTION, "safe", SQL_OPAQUE_CALL | SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "safe_and_stable", SQL_OPAQUE_CALL, NULL);
	facts_forgive(f, "safe");
	facts_forgive(f, "safe_and_stable");
	facts_seal(f);
	static const struct row rows[] = {
		{ "select a from t where b = 1 + 2", "read" },
		{ "table t", "read" },
		{ "select count(*), now() from t", "read, bound" },
		{ "select current_date", "read, bound" },
		{ "select current_user, random(), clock_timestamp(), pg_sleep(0), gen_random_uuid() from t", "read" },
		{ "select current_setting('app.tenant') from t", "read" },
		{ "select current_setting('app.tenant'::text, true)", "read" },
		{ "select stable(a) from t", "read, bound" },
		{ "select s.stable(1)", "read, bound" },
		{ "select vol(1)", "calls a volatile function: vol" },
		{ "select overloaded(1)", "calls a volatile function: overloaded" },
		{ "select pg_catalog.lower('A')", "calls a volatile function: lower" },
		{ "select upper(lower('A'))", "calls a volatile function: lower" },
		{ "select nobody_knows()", "calls a function that is not in the catalogue: nobody_knows" },
		{ "select temp()", "calls a function that changes the session: temp" },
		{ "select loc()", "calls a function that changes the session: loc" },
		{ "select safe()", "calls a volatile function: safe" },
		{ "select safe_and_stable()", "read, bound" },
		{ "select stable(1), vol(2)", "calls a volatile function: vol" },
		{ "select a from unlogged", "reads what a standby does not have: a sequence, or an unlogged or foreign table: unlogged" },
		{ "select reads_unlogged()",
		  "reads what a standby does not have: a sequence, or an unlogged or foreign table: reads_unlogged" },
		{ "select a from t join s.unlogged using (a)",
		  "reads what a standby does not have: a sequence, or an unlogged or foreign table: unlogged" },
		{ "select a from vol_view",
		  "reads, casts to or uses something behind which a function is called that is no read: vol_view" },
		{ "copy (table vol_view) to stdout",
		  "reads, casts to or uses something behind which a function is called that is no read: vol_view" },
		{ "select a from time_view", "read, bound" },
		{ "select a <~~> b from t", "reads, casts to or uses something behind which a function is called that is no read: <~~>" },
		{ "select a from t order by a using <~~>",
		  "reads, casts to or uses something behind which a function is called that is no read: <~~>" },
		{ "select 1 from t where a between 1 and 2", "read" },
		{ "select 1::dom", "reads, casts to or uses something behind which a function is called that is no read: dom" },
		{ "explain select vol(1)", "calls a volatile function: vol" },
		{ "explain select a from t", "read" },
		{ "explain analyze select stable(a) from t", "read, bound" },
		{ "explain select a from unlogged",
		  "reads what a standby does not have: a sequence, or an unlogged or foreign table: unlogged" },
		{ "insert into t values (1)", "writes" },
		{ "create table x (a int)", "changes the database, or acts upon the server" },
		{ "prepare x as select a from t", "read" },
		{ "prepare x as select vol(1)", "calls a volatile function: vol" },
		{ "declare c cursor for select a from t", "read, bound" },
		{ "select a from t; select stable(1)", "read, bound" },
		{ "select a from t; select vol(1)", "calls a volatile function: vol" },
		{ "set local work_mem = 1; select a from t", "changes the session, stay" },
		{ "set local work_mem = 1; select vol(1)", "changes the session" },
		{ "select a from t tablesample system (10)", "read" },
		{ "select a from t tablesample vol (10)", "calls a volatile function: vol" },
		{ "select a from t tablesample other (10)", "calls a function that is not in the catalogue: other" },
		{ "select nextval('x') from vol_view", "uses a sequence: nextval" },
		{ "execute x", "runs a prepared statement" },
		{ "copy t to stdout", "read" },
		{ "select * from pg_class", "read" },
	};
	check(f, rows, ARRAY_LEN(rows));
	check(f, rows, ARRAY_LEN(rows)); /* what one shape was taken for in one cache is nothing to another */
	facts_unref(f);
}

static void what_changes_nothing(void **state)
{
	struct facts *nothing = facts_seal(facts_new(false)), *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "vol", SQL_WRITES, NULL);
	facts_add(f, FACTS_FUNCTION, "planned", SQL_WRITES | SQL_PLANNED, NULL);
	facts_add(f, FACTS_FUNCTION, "stable", 0, NULL);
	facts_add(f, FACTS_READ, "vol_view", SQL_WRITES, "vol");
	facts_seal(f);
	static const struct {
		const char *text;
		bool by_itself, when_known;
	} rows[] = {
		{ "select 1", true, true },
		{ "select a from t", false, true },
		{ "set work_mem = 64", true, true },
		{ "begin isolation level serializable", true, true },
		{ "select a from t for share", false, true },
		{ "select a from t where stable(a) for no key update", false, true },
		{ "select vol(a) from t for share", false, false },
		{ "select a from vol_view for share", false, false },
		{ "select nobody_knows(a) from t for share", false, false },
		{ "select pg_is_in_recovery()", false, true },
		{ "select pg_is_in_recovery(), vol()", false, false },
		{ "select pg_is_in_recovery(), lo_unlink(1)", false, false },
		{ "select pg_is_in_recovery(), query_to_xml('delete from t', true, true, '')", false, false },
		{ "select 1 from pg_stat_activity", false, true },
		{ "select pg_advisory_xact_lock(1), txid_current(), nextval('s')", false, true },
		{ "notify x", true, true },
		{ "lock t", false, true },
		{ "explain insert into t values (1)", false, true },
		{ "explain select vol()", false, true },
		{ "explain select planned()", false, false },
		{ "explain analyze insert into t values (1)", false, false },
		{ "prepare x as insert into t values (1)", true, true },
		{ "insert into t values (1)", false, false },
		{ "with x as (delete from t returning 1) select pg_is_in_recovery() from x for share", false, false },
		{ "select a into x from t for share", false, false },
		{ "select a from t for share; update t set a = 1", false, false },
		{ "execute x", false, false },
		{ "do 'x'", false, false },
		{ "call p()", false, false },
		{ "create temp table x (a int)", false, false },
		{ "selct", false, false },
	};
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < 4 * ARRAY_LEN(rows); i++) {
		const bool is_known = i / ARRAY_LEN(rows) % 2;
		struct slice text = slice_text(rows[i % ARRAY_LEN(rows)].text);
		struct sql_class *c =
		    sql_class_inform(sql_classify(cache, text, (struct sql_dialect){ 0 }), is_known ? f : nothing, text);
		if (c->is_idle != (is_known ? rows[i % ARRAY_LEN(rows)].when_known : rows[i % ARRAY_LEN(rows)].by_itself))
			fail_msg("%s: %sidle%s", rows[i % ARRAY_LEN(rows)].text, c->is_idle ? "" : "not ",
			         is_known ? ", when that is known" : "");
		sql_class_unref(c);
	}
	sql_cache_free(cache);
	facts_unref(nothing);
	facts_unref(f);
}

/* A class that is a read for some is none for those of whose database nothing is known, and keeps being plain. */
static void databases_that_take_turns(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct facts *nothing = facts_seal(facts_new(false)), *empty = facts_seal(facts_new(true)), *other = facts_new(true);
	facts_add(other, FACTS_READ, "t", SQL_NO_STANDBY, NULL);
	facts_seal(other);
	const struct facts *all[] = { nothing, empty, other };
	struct slice text = slice_text("select a from t where b = 1");
	struct sql_class *held[9];
	for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
		held[i] = sql_class_inform(sql_classify(cache, text, (struct sql_dialect){ 0 }), all[i % 3], text);
		assert_int_equal(held[i]->is_read, i % 3 == 1);
	}
	assert_ptr_equal(held[1], held[7]);
	assert_true(held[1]->is_plain);
	for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
		assert_int_equal(held[i]->is_read, i % 3 == 1);
		sql_class_unref(held[i]);
	}
	facts_unref(nothing);
	facts_unref(empty);
	facts_unref(other);
	sql_cache_free(cache);
}

/* ---- learning -------------------------------------------------------------------------------------------- */

static void function(struct learn *l, uint32_t oid, const char *name, char volatility, const char *source)
{
	const struct learn_function f = {
		.oid = oid, .version = "1", .name = name, .language = "sql", .extension = "", .volatility = volatility
	};
	if (learn_function(l, &f))
		learn_source(l, oid, slice_text(source));
}

static void edge(struct learn *l, const char *kinds, uint32_t from, const char *from_name, uint32_t to)
{
	const struct learn_edge e = { .from_kind = kinds[0], .to_kind = kinds[1], .from = from, .to = to, .from_name = from_name };
	assert_true(learn_edge(l, &e));
}

static void own(struct learn *l, char kind, uint32_t oid, const char *from, const char *name, char what)
{
	learn_own(l, &(struct learn_own){ kind, oid, from, name, what });
}

static void what_is_learnt(void **state)
{
	struct learn *l = learn_new();
	learn_begin(l, true);
	function(l, 20001, "stable", 's', "select a from t");
	function(l, 20002, "vol", 'v', "select 1");
	function(l, 20003, "calls_vol", 's', "select vol()");
	function(l, 20004, "calls_builtin", 's', "select pg_backend_pid()");
	function(l, 20005, "reads_locks", 's', "select 1 from pg_locks");
	function(l, 20011, "shows_port", 's', "select current_setting('port')");
	function(l, 20012, "shows_tenant", 's', "select current_setting('app.tenant') from t where port = 1");
	function(l, 20006, "reads_unlogged", 's', "select 1 from ul");
	function(l, 20007, "twins", 'i', "select 1");
	function(l, 20008, "twins", 'v', "select 2");
	function(l, 1000, "new_immutable", 'i', "");
	function(l, 1001, "new_stable", 's', "");
	function(l, 1002, "new_volatile", 'v', "");
	function(l, 20009, "exempt", 's', "select vol()");
	function(l, 20010, "exempt_volatile", 'v', "select vol()");
	learn_no_standby(l, 30001, "ul");
	edge(l, "rr", 30002, "view_of_ul", 30001);
	edge(l, "rr", 30003, "view_of_view", 30002);
	edge(l, "rf", 30004, "view_of_stable", 20001);
	edge(l, "rf", 30005, "view_of_vol", 20002);
	const struct learn_edge refreshed = {
		.from_kind = 'r', .to_kind = 'f', .from = 30012, .to = 20002, .from_name = "m", .only_write = true, .reads_on_write = true
	};
	assert_true(learn_edge(l, &refreshed));
	edge(l, "tt", 40002, "dom2", 40001);
	own(l, 'r', 30006, "view_of_random", "random", 'f');
	own(l, 'r', 30007, "view_of_now", "now", 'f');
	own(l, 'r', 30008, "view_of_nextval", "nextval", 'f');
	own(l, 'r', 30009, "view_of_activity", "pg_stat_activity", 'r');
	own(l, 'r', 30010, "view_of_class", "pg_class", 'r');
	own(l, 'r', 30011, "view_of_lock", "pg_advisory_lock", 'f');
	own(l, 'r', 30013, "view_for_update", "", 'l');
	own(l, 't', 40001, "dom", "txid_current", 'f');
	edge(l, "of", 50001, "<~~>", 20002);
	char *safe[] = { "exempt", "exempt_volatile" };
	struct facts *f = learn_end(l, safe, 2);
#define HIDDEN "reads, casts to or uses something behind which a function is called that is no read: "
#define LACKS "reads what a standby does not have: a sequence, or an unlogged or foreign table: "
	static const struct row rows[] = {
		{ "select stable()", "read, bound" },
		{ "select vol()", "calls a volatile function: vol" },
		{ "select calls_vol()", "calls a volatile function: calls_vol" },
		{ "select calls_builtin()", "calls a volatile function: calls_builtin" },
		{ "select reads_locks()", "calls a volatile function: reads_locks" },
		{ "select shows_port()", "calls a volatile function: shows_port" },
		{ "select shows_tenant()", "read, bound" },
		{ "select reads_unlogged()", LACKS "reads_unlogged" },
		{ "select twins()", "calls a volatile function: twins" },
		{ "select new_immutable()", "read, bound" },
		{ "select new_stable()", "calls a volatile function: new_stable" },
		{ "select new_volatile()", "calls a volatile function: new_volatile" },
		{ "select exempt()", "read, bound" },
		{ "select exempt_volatile()", "calls a volatile function: exempt_volatile" },
		{ "table t", "read" },
		{ "table ul", LACKS "ul" },
		{ "table view_of_ul", LACKS "view_of_ul" },
		{ "table view_of_view", LACKS "view_of_view" },
		{ "table view_of_stable", "read, bound" },
		{ "table view_of_vol", HIDDEN "view_of_vol" },
		{ "table view_of_random", "read" },
		{ "table view_of_now", "read, bound" },
		{ "table view_of_nextval", HIDDEN "view_of_nextval" },
		{ "table view_of_activity", HIDDEN "view_of_activity" },
		{ "table view_of_class", "read" },
		{ "table view_of_lock", HIDDEN "view_of_lock" },
		{ "table view_for_update", HIDDEN "view_for_update" },
		{ "select null::dom", HIDDEN "dom" },
		{ "select null::dom2", HIDDEN "dom2" },
		{ "table m", "read" },
		{ "select a <~~> b", HIDDEN "<~~>" },
	};
	check(f, rows, ARRAY_LEN(rows));
	facts_unref(f);
	static const struct row later[] = { { "table view_of_lock", HIDDEN "view_of_lock" }, { "table view_of_vol", "read" } };
	static const struct row last[] = { { "table view_of_lock", "read" }, { "table view_of_now", "read, bound" } };
	for (int i = 0; i < 2; i++) {
		learn_begin(l, false);
		if (i == 1) {
			learn_forget_own(l);
			own(l, 'r', 30007, "view_of_now", "now", 'f');
		}
		f = learn_end(l, NULL, 0);
		check(f, i ? last : later, 2);
		facts_unref(f);
	}
	learn_free(l);
}

/* Functions that nothing in the statement names, or that it does not call. */
static void what_is_called_unsaid(void **state)
{
	struct learn *l = learn_new();
	learn_begin(l, true);
	function(l, 20001, "vol", 'v', "select 1");
	function(l, 20002, "imm_sets", 'i', "select set_config('a.b', 'c', false)");
	function(l, 20003, "calls_method", 's', "select (1::bigint).pg_try_advisory_lock");
	function(l, 20004, "reads_field", 's', "select t.row_vol from t");
	function(l, 20005, "uses_operator", 's', "select 1 <~~>-1");
	function(l, 20006, "executes_operator", 's', "begin execute 'select 1<~~>1'; end");
	function(l, 20007, "names_type", 's', "declare x dom; begin end");
	function(l, 20008, "by_default", 'i', "select $1");
	function(l, 20010, "stable", 's', "select 1");
	learn_calls_own(l, &(struct learn_own){ 'f', 20008, "by_default", "pg_backend_pid", 'f' });
	learn_calls_own(l, &(struct learn_own){ 'r', 30001, "defaults", "set_config", 'f' });
	const struct learn_function row = {
		.oid = 20009, .version = "1", .name = "row_vol", .language = "sql", .extension = "", .volatility = 'v', .takes_row = true
	};
	assert_true(learn_function(l, &row));
	learn_source(l, 20009, slice_text("select 1"));
	edge(l, "of", 50001, "<~~>", 20001);
	edge(l, "of", 50002, "=", 20001);
	edge(l, "tf", 40001, "dom", 20001);
	edge(l, "tt", 40002, "comp", 40001);
	edge(l, "vf", 40003, "", 20001);
	edge(l, "rv", 30002, "boxes", 40003);
	edge(l, "tf", 40004, "int4", 20001);
	learn_exists(l, 'r', 30003,
	             "grÃ¶Ã"
	             "e");
	struct facts *f = learn_end(l, NULL, 0);
	static const struct row rows[] = {
		{ "select calls_method()", "calls a volatile function: calls_method" },
		{ "select reads_field()", "calls a volatile function: reads_field" },
		{ "select uses_operator()", "calls a volatile function: uses_operator" },
		{ "select executes_operator()", "calls a volatile function: executes_operator" },
		{ "select names_type()", "calls a volatile function: names_type" },
		{ "select by_default()", "calls a volatile function: by_default" },
		{ "select t.row_vol from t", HIDDEN "row_vol" },
		{ "select s.t.row_vol from s.t", HIDDEN "row_vol" },
		{ "select row_vol from t", "read" },
		{ "select t.vol from t", "read" }, /* it takes no row */
		{ "select (t).vol from t", "calls a volatile function: vol" },
		{ "select (t).other, t.a, t.* from t", "read" },
		{ "select (1::bigint).pg_advisory_lock", "advisory locks belong to the primary: pg_advisory_lock" },
		{ "select ('s'::regclass).nextval", "uses a sequence: nextval" },
		{ "select ('port'::text).current_setting", "settings are the primary's, stay" },
		{ "select ('a'::text).upper", "read" },
		{ "select a in (select 1) from t", HIDDEN "=" },
		{ "select case a when 1 then 2 end from t", HIDDEN "=" },
		{ "select 1 from t join u using (a)", HIDDEN "=" },
		{ "select 1 from t natural join u", HIDDEN "=" },
		{ "select 1 from t join u on true", "read" },
		{ "select case when true then 2 end", "read" },
		{ "select exists (select 1)", "read" },
		{ "select '(1)'::comp", HIDDEN "comp" },
		{ "select dom('1')", HIDDEN "dom" },
		{ "select stable(), comp('(1)')", HIDDEN "comp" },
		{ "select a::int from t", HIDDEN "int4" },
		{ "select a::int8 from t", "read" },
		{ "table boxes", HIDDEN "boxes" },
		{ "table grÃ¶Ã"
		  "e",
		  "read" },
		{ "table größ"
		  "e",
		  "names something in letters that are none in the catalogue: another encoding, perhaps: größ"
		  "e" },
	};
	check(f, rows, ARRAY_LEN(rows));
	static const struct {
		const char *text;
		uint32_t effects;
	} effects[] = {
		{ "explain select imm_sets()", SQL_OPAQUE_CALL | SQL_PLANNED },
		{ "select imm_sets()", SQL_OPAQUE_CALL | SQL_PLANNED },
		{ "explain select calls_method()", SQL_ADVISORY_LOCK | SQL_PLANNED },
		{ "explain select vol()", 0 },
		{ "insert into defaults values (1)", SQL_OPAQUE_CALL },
		{ "alter table defaults alter a type bigint", SQL_OPAQUE_CALL },
		{ "vacuum defaults", SQL_OPAQUE_CALL },
		{ "create index on t (imm_sets(a))", SQL_OPAQUE_CALL | SQL_PLANNED },
		{ "select (1::bigint).pg_advisory_lock", SQL_ADVISORY_LOCK },
		{ "select ('s'::regclass).nextval", SQL_OPAQUE_CALL },
		{ "select t.lastval from t", 0 },
		{ "create table n (i int default now()); insert into n values (1)", 0 },
		{ "create table n (i int default stable()); insert into n values (1)", SQL_OPAQUE_CALL },
		{ "create table n (i int default (select set_config('a.b', 'c', false))); insert into n values (1)", SQL_OPAQUE_CALL },
		{ "create table n (like defaults including all); insert into n values (1)", SQL_OPAQUE_CALL },
		{ "create table n (d dom); insert into n values (1)", SQL_OPAQUE_CALL },
		{ "create table n partition of t default; insert into n values (1)", SQL_OPAQUE_CALL },
		{ "create or replace function stable() returns int language sql as ''; select stable()", SQL_OPAQUE_CALL },
		{ "create view n as select 1; table n", SQL_OPAQUE_CALL },
		{ "alter table t add c int default 1; update t set c = 2", 0 },
		{ "alter table t attach partition u default; update t set c = 2", SQL_OPAQUE_CALL },
		{ "create table n (i int); create index on n (i); insert into n select 1; analyze n", 0 },
		{ "insert into t values (1); create view n as select 1", 0 },
	};
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
		struct slice text = slice_text(effects[i].text);
		struct sql_class *c = sql_class_inform(sql_classify(cache, text, (struct sql_dialect){ 0 }), f, text);
		uint32_t is = c->effects & (SQL_OPAQUE_CALL | SQL_ADVISORY_LOCK | SQL_NEXTVAL | SQL_CURRVAL | SQL_PLANNED);
		if (is != effects[i].effects)
			fail_msg("%s: %x, not %x", effects[i].text, is, effects[i].effects);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
	facts_unref(f);
	learn_begin(l, false);
	edge(l, "af", 0, "", 20001);
	f = learn_end(l, NULL, 0);
	static const struct row tainted[] = {
		{ "select 1", "read" },
		{ "table t", HIDDEN "vol" },
		{ "select 1::int8", HIDDEN "vol" },
	};
	check(f, tainted, ARRAY_LEN(tainted));
	facts_unref(f);
	learn_free(l);
}

/* DDL after which what was known of a database may be wrong, for reads. */
static void ddl_that_is_noticed(void **state)
{
	static const struct {
		const char *text;
		bool is_noticed;
	} rows[] = {
		{ "alter function f(int) volatile", true },
		{ "create or replace function f() returns int language sql as 'select 1'", true },
		{ "alter table t set unlogged", true },
		{ "alter table t enable row level security", true },
		{ "alter table p attach partition q default", true },
		{ "create unlogged table u (a int)", true },
		{ "create unlogged table u as select 1 as a", true },
		{ "select 1 as a into unlogged u", true },
		{ "create foreign table f (a int) server s", true },
		{ "import foreign schema s from server s into public", true },
		{ "create sequence s", true },
		{ "create view v as select 1", true },
		{ "create policy p on t using (true)", true },
		{ "create domain d as int", true },
		{ "alter view v rename to w", true },
		{ "create extension e", true },
		{ "select 1 as a into temp u", false },
		{ "create temp table u (a int)", false },
		{ "create table u as select 1 as a", false },
		{ "drop table t", false },
		{ "analyze t", false },
	};
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sql_class *c = sql_classify(cache, slice_text(rows[i].text), (struct sql_dialect){ 0 });
		if (!(c->effects & SQL_CATALOG_DDL) == rows[i].is_noticed)
			fail_msg("%s: noticed: %d", rows[i].text, !rows[i].is_noticed);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_themselves),        cmocka_unit_test(with_facts),
		cmocka_unit_test(what_changes_nothing), cmocka_unit_test(databases_that_take_turns),
		cmocka_unit_test(what_is_learnt),       cmocka_unit_test(what_is_called_unsaid),
		cmocka_unit_test(ddl_that_is_noticed),
	};
	hash_init();
	return UNIT_RUN(tests);
}
