/* The cache's bounds, and texts made to harm it or the parser. */
#include "sql/classify.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "show.h"
#include "unit.h"

static const struct sql_dialect plain;

static struct sql_class *classify(struct sql_cache *cache, const char *text)
{
	return sql_classify(cache, slice_text(text), plain);
}

static struct sql_cache_stats stats_of(const struct sql_cache *cache)
{
	struct sql_cache_stats s;
	sql_cache_read_stats(cache, &s);
	return s;
}

static void literals_do_not_miss(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct sql_class *first = classify(cache, "SELECT a FROM t WHERE b = 1");
	for (unsigned i = 0; i < 100; i++) {
		char text[80];
		snprintf(text, sizeof text, "select a from t where b = %u -- %u", i * 7919, i);
		struct sql_class *c = classify(cache, text);
		assert_ptr_equal(c, first);
		sql_class_unref(c);
	}
	assert_int_equal(stats_of(cache).hits, 100);
	assert_int_equal(stats_of(cache).misses, 1);
	sql_class_unref(first);
	sql_cache_free(cache);
}

static void stays_below_its_bound(void **state)
{
	const size_t max = 64 << 10;
	struct sql_cache *cache = sql_cache_new(max);
	struct sql_class *kept = classify(cache, "select old from t");
	for (unsigned i = 0; i < 2000; i++) {
		char text[80];
		snprintf(text, sizeof text, "select a%u from t", i);
		sql_class_unref(classify(cache, text));
		sql_class_unref(classify(cache, "select hot from t"));
		assert_in_range(stats_of(cache).bytes, 1, max);
	}
	struct sql_cache_stats s = stats_of(cache);
	assert_true(s.entries > 50 && s.entries < 1000);
	assert_int_equal(s.evictions + s.entries, s.misses);
	assert_int_equal(s.misses, 2002); /* the hot one stayed through all of it */
	assert_int_equal(kept->part[0].kind, SQL_SELECT);
	sql_cache_free(cache);
	sql_class_unref(kept); /* outlives eviction and cache */
}

static void holds_what_only_one_entry_could_fill(void **state)
{
	struct sql_cache *cache = sql_cache_new(1000);
	char *text = NULL;
	assert_true(asprintf(&text, "select %0500d as a%0200d", 1, 2) > 0);
	sql_class_unref(classify(cache, text));
	assert_int_equal(stats_of(cache).entries, 0);
	free(text);
	sql_cache_free(cache);
}

/* HEAD, then N times BODY, MIDDLE, N times TAIL. */
static char *repeated(const char *head, const char *body, const char *middle, const char *tail, size_t n)
{
	size_t len_body = strlen(body), len_tail = strlen(tail);
	char *text = malloc(strlen(head) + n * (len_body + len_tail) + strlen(middle) + 1), *at = stpcpy(text, head);
	for (size_t i = 0; i < n; i++, at += len_body)
		memcpy(at, body, len_body);
	at = stpcpy(at, middle);
	for (size_t i = 0; i < n; i++, at += len_tail)
		memcpy(at, tail, len_tail);
	*at = 0;
	return text;
}

struct monster {
	const char *head, *body, *middle, *tail;
	const char *class; /* when there are too many to parse */
};

static const struct monster monsters[] = {
	{ "SELECT 1", "+1", "", "", "select +writes" },
	{ "SELECT 1", "||'a'", "", "", "select +writes" },
	{ "SELECT ", "+-", "1", "", "select +writes" },
	{ "SELECT ", "- ", "1", "", "select +writes" },
	{ "SELECT ", "not ", "a", "", "select +writes" },
	{ "SELECT a", "::int", "", "", "select +writes" },
	{ "SELECT a", " collate x", "", "", "select +writes" },
	{ "SELECT a", " at time zone x", "", "", "select +writes" },
	{ "SELECT a", " is null", "", "", "select +writes" },
	{ "SELECT a", " isnull", "", "", "select +writes" },
	{ "SELECT 1", " UNION ALL SELECT 1", "", "", "select +writes" },
	{ "SELECT 1 FROM a", " JOIN b ON c", "", "", "select +writes" },
	{ "SELECT 1 FROM a", " JOIN b", "", " ON c", "select +writes" },
	{ "SELECT ", "(", "1", ")", "select +writes" },
	{ "SELECT ", "f(", "1", ")", "select +writes" },
	{ "SELECT ", "f() over (order by ", "1", ")", "select +writes" },
	{ "SELECT ", "(select ", "1", ")", "select +writes" },
	{ "SELECT * FROM ", "(select * from ", "a", ") x", "select +writes" },
	{ "", "with a as (insert into t ", "select 1", ") select 1", "select +writes" },
	{ "SELECT ", "case when a then ", "1", " end", "select +writes" },
	{ "SELECT ", "array[", "1", "]", "select +writes" },
	{ "SELECT a", "[", "1", "]", "select +writes" },
	{ "SELECT ", "a in (", "1", ")", "select +writes" },
	{ "SELECT ", "row(", "1", ",2)", "select +writes" },
	{ "SELECT ", "exists (select 1 where ", "true", ")", "select +writes" },
	{ "SELECT ", "a between 1 and (", "1", ")", "select +writes" },
	{ "SELECT ", "f(x => ", "1", ")", "select +writes" },
	{ "SELECT nextval", "(", "1", ")", "opaque +writes +no_pipeline" },
};

/* Around the bound as well as far beyond it: never more stack than the thread has. */
static void *meet_monsters(void *arg)
{
	static const size_t counts[] = { 10, 60, 66, 100, 133, 199, 201, 398, 402, 10000 };
	struct sql_cache *cache = sql_cache_new(1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(monsters); i++) {
		const struct monster *m = &monsters[i];
		for (size_t j = 0; j < ARRAY_LEN(counts); j++) {
			char *text = repeated(m->head, m->body, m->middle, m->tail, counts[j]);
			struct sql_class *c = classify(cache, text);
			char *shown = show_class(c);
			if (counts[j] == 10000 && strcmp(shown, m->class) != 0)
				fail_msg("%s %s…: %s", m->head, m->body, shown);
			free(shown);
			sql_class_unref(c);
			free(text);
		}
	}
	sql_cache_free(cache);
	return arg;
}

#ifdef __SANITIZE_THREAD__
#define SMALL_STACK (4u << 20) /* its per-thread state lies on the stack, too */
#else
#define SMALL_STACK (1u << 20)
#endif

static void monsters_fit_a_small_stack(void **state)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *result = NULL;
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, SMALL_STACK), 0);
	assert_int_equal(pthread_create(&thread, &attr, meet_monsters, state), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, state);
	pthread_attr_destroy(&attr);
}

static void expect(const char *text, const char *class)
{
	struct sql_cache *cache = sql_cache_new(1 << 20);
	struct sql_class *c = classify(cache, text);
	char *shown = show_class(c);
	assert_string_equal(shown, class);
	free(shown);
	sql_class_unref(c);
	sql_cache_free(cache);
}

static void long_texts_are_judged(void **state)
{
	char *folds = repeated("insert into t values (1)", ",(2,'a')", " returning a", "", 1 << 20);
	char *words = repeated("insert into t select 1", ",a", "", "", 1 << 20);
	char *hidden = repeated("insert into t select 1", ",a", ",nextval('s')", "", 1 << 20);
	char *literal = repeated("select '", "set_config", "'", "", 1 << 20);
	char *body = repeated("create function f() returns int language sql as $x$", "temp ", "$x$", "", 1 << 20);
	expect(folds, "insert +writes");
	expect(words, "insert +writes");
	expect(hidden, "opaque +writes +no_pipeline");
	expect(literal, "select");
	expect(body, "other +writes +ddl");
	free(folds);
	free(words);
	free(hidden);
	free(literal);
	free(body);
}

/* Each thread has its own cache; libpg_query keeps its state per thread. */
static void *classify_much(void *arg)
{
	struct sql_cache *cache = sql_cache_new(32 << 10);
	for (unsigned i = 0; i < 500; i++) {
		char text[120];
		snprintf(text, sizeof text, "select lower(a%u) from t where b in (%u, 2) %s", i % 97, i, i % 5 ? "" : "and and");
		struct sql_class *c = classify(cache, text);
		assert_int_equal(c->part[0].kind, SQL_SELECT);
		assert_int_equal(c->part[0].effects, i % 5 ? 0 : SQL_WRITES);
		sql_class_unref(c);
	}
	sql_cache_free(cache);
	return arg;
}

static void threads_do_not_meet(void **state)
{
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, classify_much, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_do_not_miss),
		cmocka_unit_test(stays_below_its_bound),
		cmocka_unit_test(holds_what_only_one_entry_could_fill),
		cmocka_unit_test(monsters_fit_a_small_stack),
		cmocka_unit_test(long_texts_are_judged),
		cmocka_unit_test(threads_do_not_meet),
	};
	return UNIT_RUN(tests);
}
