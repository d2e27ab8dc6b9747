/* What the facts of a database add to a class, and how functions and relations pass effects on. */
#include "sql/facts.h"

#include <stdio.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "sql/classify.h"
#include "sql/learn.h"
#include "unit.h"

#define INTERESTING                                                                                                      \
	(SQL_HARMLESS | SQL_OPAQUE_CALL | SQL_TEMP_OBJECT | SQL_ADVISORY_LOCK | SQL_NEXTVAL | SQL_CURRVAL | SQL_SET_CONFIG | \
	 SQL_IS_LOCAL)

/* One part's effects and culprit as text; the others' effects must be the class's own. */
static void expect(struct sql_cache *cache, const struct facts *f, const char *text, uint32_t effects, const char *culprit)
{
	struct sql_class *c = sql_classify(cache, slice_text(text), (struct sql_dialect){ 0 });
	c = sql_class_inform(c, f, slice_text(text));
	const struct sql_part *p = &c->part[c->n - 1];
	if ((p->effects & INTERESTING) != effects || strcmp(p->culprit ? p->culprit : "", culprit) != 0)
		fail_msg("%s: effects %x (%s), not %x (%s)", text, p->effects & INTERESTING, p->culprit, effects, culprit);
	assert_true((c->effects & p->effects) == p->effects);
	if (c->is_plain && (c->effects & INTERESTING))
		fail_msg("%s: is plain, but has effects", text);
	sql_class_unref(c);
}

static void lookups(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct facts *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "bad", SQL_OPAQUE_CALL, "worse");
	facts_add(f, FACTS_FUNCTION, "good", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "lower", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "lower", SQL_TEMP_OBJECT, NULL);
	facts_add(f, FACTS_FUNCTION, "lower", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "loc", SQL_SET_CONFIG | SQL_IS_LOCAL, NULL);
	facts_add(f, FACTS_FUNCTION, "exempt", SQL_OPAQUE_CALL, NULL);
	facts_add(f, FACTS_WRITE, "t", SQL_OPAQUE_CALL, "on_t");
	facts_add(f, FACTS_WRITE, "ids", SQL_NEXTVAL, NULL);
	facts_add(f, FACTS_READ, "v", SQL_ADVISORY_LOCK, "lock_it");
	facts_add(f, FACTS_OPERATOR, "<~~>", SQL_OPAQUE_CALL, "op");
	facts_add(f, FACTS_TYPE, "dom", SQL_OPAQUE_CALL, "check_it");
	facts_add(f, FACTS_DDL, "", SQL_OPAQUE_CALL, "on_ddl");
	facts_forgive(f, "exempt");
	facts_seal(f);
	static const struct {
		const char *text;
		uint32_t effects;
		const char *culprit;
	} rows[] = {
		{ "select bad(1)", SQL_OPAQUE_CALL, "bad" },
		{ "select s.bad(1), good(2)", SQL_OPAQUE_CALL, "bad" },
		{ "select good(1), upper('a')", 0, "" },
		{ "select exempt(1)", 0, "" },
		{ "select lower('a')", SQL_TEMP_OBJECT, "lower" },
		{ "select nobody_knows_it(1)", SQL_OPAQUE_CALL, "nobody_knows_it" },
		{ "select loc(1)", SQL_SET_CONFIG | SQL_IS_LOCAL, "loc" },
		{ "select set_config('a.b', 'c', false)", SQL_SET_CONFIG, "" },
		{ "select 1 from t", 0, "" },
		{ "insert into t values (1)", SQL_OPAQUE_CALL, "on_t" },
		{ "update s.t set a = 1", SQL_OPAQUE_CALL, "on_t" },
		{ "with x as (delete from t returning a) select a from x", SQL_OPAQUE_CALL, "on_t" },
		{ "copy t from stdin", SQL_OPAQUE_CALL, "on_t" },
		{ "copy t to stdout", 0, "" },
		{ "truncate a, t", SQL_OPAQUE_CALL, "on_t" },
		{ "insert into u select a from t", 0, "" },
		{ "insert into ids values (default)", SQL_NEXTVAL, "ids" },
		{ "select a from x where exists (select 1 from v)", SQL_ADVISORY_LOCK, "lock_it" },
		{ "copy v to stdout", SQL_ADVISORY_LOCK, "lock_it" },
		{ "explain select bad(1) from v", 0, "" },
		{ "explain analyze select bad(1)", SQL_OPAQUE_CALL, "bad" },
		{ "select a <~~> b from x", SQL_OPAQUE_CALL, "op" },
		{ "select a from x where b operator(s.<~~>) any (array[1])", SQL_OPAQUE_CALL, "op" },
		{ "select a::dom from x", SQL_OPAQUE_CALL, "check_it" },
		{ "create table x (a int default bad(1))", SQL_OPAQUE_CALL, "on_ddl" },
		{ "prepare x as select bad(1)", SQL_OPAQUE_CALL, "bad" },
		{ "select 1; select bad(1)", SQL_OPAQUE_CALL, "bad" },
		{ "call bad(1)", SQL_OPAQUE_CALL, "bad" },
		{ "call good(1)", SQL_HARMLESS, "" },
		{ "call good(bad(1))", SQL_OPAQUE_CALL, "bad" },
		{ "do 'x'", 0, "" },
	};
	for (int twice = 0; twice < 2; twice++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			expect(cache, f, rows[i].text, rows[i].effects, rows[i].culprit);
	facts_unref(f);
	sql_cache_free(cache);
}

/* One shape in two databases, and again after the facts have changed. */
static void a_class_belongs_to_no_database(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct facts *one = facts_new(true), *two = facts_new(true), *nothing = facts_seal(facts_new(false));
	facts_add(one, FACTS_FUNCTION, "f", SQL_OPAQUE_CALL, NULL);
	facts_add(two, FACTS_FUNCTION, "f", 0, NULL);
	facts_seal(one);
	facts_seal(two);
	for (int i = 0; i < 3; i++) {
		expect(cache, one, "select f(1)", SQL_OPAQUE_CALL, "f");
		expect(cache, two, "select f(2)", 0, "");
		expect(cache, nothing, "select f(3)", SQL_OPAQUE_CALL, "f");
	}
	expect(cache, nothing, "select lower('a') from t", 0, "");
	facts_unref(one);
	facts_unref(two);
	facts_unref(nothing);
	sql_cache_free(cache);
}

static void texts_that_are_too_long(void **state)
{
	static char text[40000];
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct facts *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "bad", SQL_OPAQUE_CALL, NULL);
	facts_add(f, FACTS_FUNCTION, "good", 0, NULL);
	facts_add(f, FACTS_WRITE, "t", SQL_NEXTVAL, NULL);
	facts_seal(f);
	for (int i = 0; i < 3; i++) {
		size_t len = (size_t)snprintf(text, sizeof text, "select %s",
		                              i == 0   ? "bad (1)"
		                              : i == 1 ? "good(1), bad"
		                                       : "1 from \"t\"");
		while (len < sizeof text - 20)
			len += (size_t)snprintf(text + len, sizeof text - len, ", a%zu", len);
		expect(cache, f, text, i == 0 ? SQL_OPAQUE_CALL : i == 1 ? 0 : SQL_NEXTVAL, i == 0 ? "bad" : "");
	}
	facts_unref(f);
	sql_cache_free(cache);
}

/* ---- learning ------------------------------------------------------------------------------------------- */

static void function(struct learn *l, uint32_t oid, const char *version, const char *name, const char *source)
{
	const struct learn_function f = { .oid = oid, .version = version, .name = name, .language = "plpgsql", .extension = "" };
	uint32_t wanted[4];
	if (!learn_function(l, &f))
		return;
	assert_int_equal(learn_wanted(l, false, wanted, 4), 1);
	assert_int_equal(wanted[0], oid);
	learn_source(l, oid, slice_text(source));
}

static void in_language(struct learn *l, uint32_t oid, const char *name, const char *language, const char *extension)
{
	const struct learn_function f = { .oid = oid, .version = "1", .name = name, .language = language, .extension = extension };
	assert_false(learn_function(l, &f));
}

static void edge(struct learn *l, const char *kinds, uint32_t from, const char *from_name, uint32_t to, bool only_write)
{
	const struct learn_edge e = {
		.from_kind = kinds[0], .to_kind = kinds[1], .from = from, .to = to, .from_name = from_name, .only_write = only_write
	};
	assert_true(learn_edge(l, &e));
}

static void expect_fact(const struct facts *f, enum facts_kind kind, const char *name, int64_t effects, const char *cause)
{
	uint32_t is = 0;
	const char *why = "";
	bool is_there = facts_find(f, kind, name, &is, &why);
	is &= ~(uint32_t)(SQL_WRITES | SQL_TX_BOUND | SQL_NO_STANDBY | SQL_PLANNED); /* reads_test.c has those */
	if ((is_there ? (int64_t)is : -1) != effects || strcmp(why, cause) != 0)
		fail_msg("%c %s: %d %x (%s), not %llx (%s)", kind, name, is_there, is, why, (unsigned long long)effects, cause);
}

static void effects_spread_to_who_calls(void **state)
{
	struct learn *l = learn_new();
	learn_begin(l, true);
	function(l, 20001, "1", "audit", "begin perform set_config('a', 'b', false); end");
	function(l, 20002, "1", "outer", "begin perform audit(); end");
	function(l, 20003, "1", "outermost", "begin execute 'select outer()'; end");
	function(l, 20004, "1", "writer", "begin insert into orders(i) values (1); end");
	function(l, 20005, "1", "reader", "begin return (select i from orders); end");
	function(l, 20006, "1", "looker", "begin return (select i from v); end");
	function(l, 20007, "1", "twins", "begin return 1; end");
	function(l, 20008, "1", "twins", "begin create temp table x (i int); end");
	function(l, 20009, "1", "exempt", "begin perform audit(); end");
	function(l, 20010, "1", "calls_exempt", "begin perform exempt(); end");
	edge(l, "rf", 30001, "orders", 20001, true);
	edge(l, "rf", 30002, "v", 20001, false);
	edge(l, "rr", 30003, "v2", 30002, false);
	edge(l, "rr", 30004, "parent", 30001, true);
	edge(l, "of", 40001, "<~~>", 20002, false);
	edge(l, "rf", 30005, "harmless", 20007, true);
	edge(l, "df", 0, "", 20008, false);
	edge(l, "rf", 30006, "unheard", 29999, true); /* a function that was not in the list */
	learn_sequence(l, 30007, "ids");
	function(l, 20011, "1", "new_id", "begin insert into ids values (default); end");
	char *safe[] = { "exempt" };
	struct facts *f = learn_end(l, safe, 1);
	assert_true(facts_is_known(f));
	expect_fact(f, FACTS_FUNCTION, "audit", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_FUNCTION, "outer", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_FUNCTION, "outermost", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_FUNCTION, "writer", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_FUNCTION, "reader", 0, "");
	expect_fact(f, FACTS_FUNCTION, "looker", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_FUNCTION, "twins", SQL_TEMP_OBJECT, "twins");
	expect_fact(f, FACTS_FUNCTION, "exempt", 0, "");
	expect_fact(f, FACTS_FUNCTION, "calls_exempt", 0, "");
	expect_fact(f, FACTS_FUNCTION, "new_id", SQL_NEXTVAL, "ids");
	expect_fact(f, FACTS_WRITE, "orders", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_READ, "orders", -1, "");
	expect_fact(f, FACTS_READ, "v", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_READ, "v2", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_WRITE, "parent", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_WRITE, "harmless", -1, "");
	expect_fact(f, FACTS_WRITE, "ids", SQL_NEXTVAL, "ids");
	expect_fact(f, FACTS_READ, "ids", -1, "");
	expect_fact(f, FACTS_OPERATOR, "<~~>", SQL_OPAQUE_CALL, "audit");
	expect_fact(f, FACTS_DDL, "", SQL_TEMP_OBJECT, "twins");
	expect_fact(f, FACTS_WRITE, "unheard", SQL_OPAQUE_CALL, "");
	assert_int_equal(learn_functions(l), 11);
	facts_unref(f);
	learn_free(l);
}

static void only_new_versions_are_read_again(void **state)
{
	struct learn *l = learn_new();
	uint32_t oids[4];
	for (int round = 0; round < 3; round++) {
		learn_begin(l, true);
		function(l, 20001, "1", "f", "begin perform set_config('a', 'b', false); end");
		function(l, 20002, round < 2 ? "1" : "2", "g", round < 2 ? "begin return 1; end" : "begin perform f(); end");
		if (round == 0)
			function(l, 20003, "1", "dropped", "begin return 1; end");
		assert_int_equal(learn_wanted(l, false, oids, 4), 0);
		struct facts *f = learn_end(l, NULL, 0);
		expect_fact(f, FACTS_FUNCTION, "f", SQL_OPAQUE_CALL, "f");
		expect_fact(f, FACTS_FUNCTION, "g", round < 2 ? 0 : SQL_OPAQUE_CALL, round < 2 ? "" : "f");
		expect_fact(f, FACTS_FUNCTION, "dropped", round ? -1 : 0, "");
		facts_unref(f);
	}
	learn_free(l);
}

static void edges_alone_may_be_told_again(void **state)
{
	struct learn *l = learn_new();
	learn_begin(l, true);
	function(l, 20001, "1", "f", "begin perform set_config('a', 'b', false); end");
	in_language(l, 1000, "int4eq", "internal", "");
	edge(l, "rf", 30001, "t", 20001, true);
	facts_unref(learn_end(l, NULL, 0));
	learn_begin(l, false);
	edge(l, "rf", 30002, "u", 20001, true);
	struct facts *f = learn_end(l, NULL, 0);
	expect_fact(f, FACTS_FUNCTION, "f", SQL_OPAQUE_CALL, "f");
	expect_fact(f, FACTS_FUNCTION, "int4eq", 0, "");
	expect_fact(f, FACTS_WRITE, "t", -1, "");
	expect_fact(f, FACTS_WRITE, "u", SQL_OPAQUE_CALL, "f");
	assert_int_equal(learn_functions(l), 1);
	facts_unref(f);
	learn_free(l);
}

static void languages_and_extensions(void **state)
{
	struct learn *l = learn_new();
	learn_begin(l, true);
	in_language(l, 20001, "digest", "c", "pgcrypto");
	in_language(l, 20002, "set_limit", "c", "pg_trgm");
	in_language(l, 20003, "similarity", "c", "pg_trgm");
	in_language(l, 20004, "unheard_of", "c", "some_extension");
	in_language(l, 20005, "homemade", "c", "");
	in_language(l, 20006, "perl", "plperl", "");
	in_language(l, 20007, "intern", "internal", "");
	in_language(l, 1000, "int4eq", "internal", "");
	in_language(l, 1001, "lower", "internal", "");
	const struct learn_function sum = {
		.oid = 20008, .version = "1", .name = "total", .language = "internal", .extension = "", .is_aggregate = true
	};
	assert_false(learn_function(l, &sum));
	const struct learn_function tree = {
		.oid = 20009, .version = "1", .name = "tree", .language = "sql", .extension = "", .is_tree = true
	};
	uint32_t oids[4];
	assert_true(learn_function(l, &tree));
	assert_int_equal(learn_wanted(l, false, oids, 4), 0);
	assert_int_equal(learn_wanted(l, true, oids, 4), 1);
	learn_no_source(l, 20009);
	edge(l, "ff", 20008, "", 20003, false);
	struct facts *f = learn_end(l, NULL, 0);
	expect_fact(f, FACTS_FUNCTION, "digest", 0, "");
	expect_fact(f, FACTS_FUNCTION, "set_limit", SQL_OPAQUE_CALL, "set_limit");
	expect_fact(f, FACTS_FUNCTION, "similarity", 0, "");
	expect_fact(f, FACTS_FUNCTION, "unheard_of", SQL_OPAQUE_CALL, "unheard_of");
	expect_fact(f, FACTS_FUNCTION, "homemade", SQL_OPAQUE_CALL, "homemade");
	expect_fact(f, FACTS_FUNCTION, "perl", SQL_OPAQUE_CALL, "perl");
	expect_fact(f, FACTS_FUNCTION, "intern", SQL_OPAQUE_CALL, "intern");
	expect_fact(f, FACTS_FUNCTION, "int4eq", 0, "");
	expect_fact(f, FACTS_FUNCTION, "lower", -1, "");
	expect_fact(f, FACTS_FUNCTION, "total", 0, "");
	expect_fact(f, FACTS_FUNCTION, "tree", SQL_OPAQUE_CALL, "tree");
	facts_unref(f);
	learn_free(l);
}

/* A chain and a ring of a hundred thousand: effects pass along the whole of it, in linear time. */
static void long_chains(void **state)
{
	enum { N = 100000 };
	struct learn *l = learn_new();
	char name[32], source[64];
	learn_begin(l, true);
	for (uint32_t i = 0; i < N; i++) {
		snprintf(name, sizeof name, "f%u", i);
		snprintf(source, sizeof source, i ? "select f%u()" : "select set_config('a', 'b', false) from f%u()", i ? i - 1 : N - 1);
		const struct learn_function f = { .oid = 20000 + i, .version = "1", .name = name, .language = "sql", .extension = "" };
		assert_true(learn_function(l, &f));
		learn_source(l, 20000 + i, slice_text(source));
	}
	struct facts *f = learn_end(l, NULL, 0);
	assert_int_equal(learn_opaque(l), N);
	expect_fact(f, FACTS_FUNCTION, "f99999", SQL_OPAQUE_CALL, "f0");
	facts_unref(f);
	learn_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups),
		cmocka_unit_test(a_class_belongs_to_no_database),
		cmocka_unit_test(texts_that_are_too_long),
		cmocka_unit_test(effects_spread_to_who_calls),
		cmocka_unit_test(only_new_versions_are_read_again),
		cmocka_unit_test(edges_alone_may_be_told_again),
		cmocka_unit_test(languages_and_extensions),
		cmocka_unit_test(long_chains),
	};
	hash_init();
	return UNIT_RUN(tests);
}
