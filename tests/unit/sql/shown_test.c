/* What people are shown of a statement: its words, none of its constants, and no value of a setting. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "sql/classify.h"

static void shows(const char *text, const char *expected)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct sql_class *c = sql_classify(cache, slice_text(text), (struct sql_dialect){ 0 });
	if (expected)
		assert_string_equal(c->shape, expected);
	else
		assert_null(c->shape);
	assert_true(!expected == !c->shape_id);
	sql_class_unref(c);
	sql_cache_free(cache);
}

static void no_constant_is_shown(void **state)
{
	shows("SELECT a FROM t WHERE id = 17 AND name = 'secret' -- why", "select a from t where id = ? and name = ?");
	shows("select 1.5e3, E'se\\'cret', X'1f', B'01', U&'secret', $$secret$$, $x$secret$x$, N'secret'", "select ?,?,?,?,?,?,?,?");
	shows("alter role bob password 'secret'", "alter role bob password ?");
	shows("select set_config('app.key', 'secret', false)", "select set_config(?,?,false)");
	shows("select * from t where id in (1, 2, 3)", "select * from t where id in(?)");
	shows("select $1, \"Quoted\"", "select $1,\"Quoted\"");
}

static void no_value_of_a_setting_is_shown(void **state)
{
	shows("SET app.key = secret", "set app . key = ?");
	shows("set local app.key to secret, 'secret', \"secret\"", "set local app . key to ?,?,?");
	shows("alter role bob set app.key = secret", "alter role bob set app . key = ?");
	shows("create or replace function f() returns int set app.key to secret language sql as 'select 1'",
	      "create or replace function f()returns int set app . key to ? ? ? ? ?");
	shows("set a.b = secret; select c from d", "set a . b = ?;select c from d");
	shows("update t set a = b where c = 1", "update t set a = b where c = ?");
	shows("alter table t alter column c set default d", "alter table t alter column c set default d");
}

static void it_is_short_and_utf8(void **state)
{
	char text[2000], utf8[SQL_SHOWN_MAX + 1];
	memset(text, 0, sizeof text);
	strcpy(text, "select ");
	memset(text + 7, 'a', 1000);
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct sql_class *c = sql_classify(cache, slice_text(text), (struct sql_dialect){ 0 });
	assert_true(strlen(c->shape) <= SQL_SHOWN_MAX);
	assert_string_equal(c->shape + strlen(c->shape) - 3, "…");
	sql_class_unref(c);
	sql_cache_free(cache);
	snprintf(utf8, sizeof utf8, "select \"h\xc3\xa4\xff\xed\xa0\x80\xe2\x82\xac\"");
	shows(utf8, "select \"hä????€\"");
}

static void what_has_no_shape_shows_none(void **state)
{
	char *text = malloc(400000);
	size_t len = (size_t)sprintf(text, "select ");
	for (unsigned i = 0; i < 20000; i++)
		len += (size_t)sprintf(text + len, "c%u+", i);
	sprintf(text + len, "1");
	shows(text, NULL);
	free(text);
	shows("select 'open", NULL);
}

static void the_cache_says_what_it_holds(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 20), *other = sql_cache_new(1 << 20);
	struct sql_class *a = sql_classify(cache, slice_text("select a from t where i = 1"), (struct sql_dialect){ 0 });
	struct sql_class *b = sql_classify(other, slice_text("select  a from t where i = 2"), (struct sql_dialect){ 0 });
	struct sql_class *c = sql_classify(other, slice_text("select b from t where i = 2"), (struct sql_dialect){ 0 });
	assert_true(a->shape_id == b->shape_id && a->shape_id != c->shape_id);
	assert_true(sql_cache_holds(cache, a) && sql_cache_holds(cache, b) && !sql_cache_holds(cache, c));
	sql_class_unref(a);
	sql_class_unref(b);
	sql_class_unref(c);
	sql_cache_free(cache);
	sql_cache_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_constant_is_shown),         cmocka_unit_test(no_value_of_a_setting_is_shown),
		cmocka_unit_test(it_is_short_and_utf8),         cmocka_unit_test(what_has_no_shape_shows_none),
		cmocka_unit_test(the_cache_says_what_it_holds),
	};
	return UNIT_RUN(tests);
}
