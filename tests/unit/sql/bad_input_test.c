/* Texts that are large, deep or no text at all: on a worker's stack, in memory that is bounded, and never taken for a read by mistake. */
#include <pthread.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sql/classify.h"
#include "sql/facts.h"
#include "unit.h"

#define WORKER_STACK (8u << 20) /* src/worker.c:STACK_BYTES */
#define CACHE_BYTES (1u << 20)
#define MANY 10000u
#define TEN_MB (10u << 20)

struct text {
	char *at;
	size_t len;
};

static void add(struct text *t, const char *more, unsigned times)
{
	size_t len = strlen(more);
	t->at = mem_grow(t->at, t->len + len * times + 1);
	for (unsigned i = 0; i < times; i++, t->len += len)
		memcpy(t->at + t->len, more, len);
}

struct question {
	struct text text;
	struct sql_dialect dialect;
	bool is_read;
};

static void *ask(void *arg)
{
	struct question *q = arg;
	struct sql_cache *cache = sql_cache_new(CACHE_BYTES);
	struct sql_cache_stats stats;
	struct facts *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "f", 0, NULL);
	facts_add(f, FACTS_FUNCTION, "vol", SQL_WRITES, NULL);
	facts_seal(f);
	for (int i = 0; i < 2; i++) {
		struct slice text = slice_of(q->text.at, q->text.len);
		struct sql_class *c = sql_class_inform(sql_classify(cache, text, q->dialect), f, text);
		q->is_read = c->is_read;
		sql_class_unref(c);
	}
	sql_cache_read_stats(cache, &stats);
	assert_true(stats.bytes <= CACHE_BYTES);
	facts_unref(f);
	sql_cache_free(cache);
	return NULL;
}

/* Is TEXT, which is freed, a read? */
static bool is_read(struct text text, struct sql_dialect dialect)
{
	struct question q = { .text = text, .dialect = dialect };
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	assert_int_equal(pthread_create(&thread, &attr, ask, &q), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	mem_free(q.text.at);
	return q.is_read;
}

/* HEAD, then FIRST N times, MIDDLE, LAST N times. */
static struct text nested(const char *head, const char *first, const char *middle, const char *last, unsigned n)
{
	struct text t = { 0 };
	add(&t, head, 1);
	add(&t, first, n);
	add(&t, middle, 1);
	add(&t, last, n);
	return t;
}

static const struct sql_dialect plain;

static void deep(void **state)
{
	static const struct {
		const char *head, *first, *middle, *last;
	} rows[] = {
		{ "select ", "(", "1", ")" },
		{ "select ", "f(", "1", ")" },
		{ "select ", "", "1", "+1" },
		{ "select ", "1+", "1", "" },
		{ "select ", "- ", "1", "" },
		{ "select ", "not ", "true", "" },
		{ "select ", "", "'a'", "||'a'" },
		{ "select ", "", "a", " and a" },
		{ "select ", "", "a", "::int" },
		{ "select ", "", "a", " is null" },
		{ "select ", "", "a", " collate \"C\"" },
		{ "select ", "", "a", "[1]" },
		{ "select ", "array[", "1", "]" },
		{ "select ", "case when true then ", "1", " end" },
		{ "", "(", "select 1", ")" },
		{ "", "select (", "select 1", ")" },
		{ "", "select 1 union all ", "select 1", "" },
		{ "", "(select 1 union all ", "select 1", ")" },
		{ "", "select 1 from (", "select 1", ") x" },
		{ "", "with x as (", "select 1", ") select 1 from x" },
		{ "select 1 from t ", "", "", "join t on true " },
		{ "select 1 from ", "(", "t", " join t on true)" },
		{ "explain ", "explain ", "select 1", "" },
		{ "prepare a as ", "prepare a as ", "select 1", "" },
		{ "select a", "", "", ".a" },
		{ "select 1 from t where a in (", "(", "1", ")" },
		{ "insert into t values (", "(", "1", ")" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool read = is_read(nested(rows[i].head, rows[i].first, rows[i].middle, rows[i].last, MANY), plain);
		if (read)
			fail_msg("%s%s…%s…%s is no read when it is that deep", rows[i].head, rows[i].first, rows[i].middle, rows[i].last);
		for (unsigned n = 20; n <= 420; n += 80) /* about as deep as is parsed */
			(void)is_read(nested(rows[i].head, rows[i].first, rows[i].middle, rows[i].last, n), plain);
	}
}

static void long_texts(void **state)
{
	struct text t = { 0 };
	add(&t, "select a from t where b = '", 1);
	add(&t, "x", TEN_MB);
	add(&t, "'", 1);
	assert_true(is_read(t, plain)); /* constants are folded, however long */
	t = (struct text){ 0 };
	add(&t, "select a from t where b in (1", 1);
	add(&t, ", 1234567", TEN_MB / 9);
	add(&t, ")", 1);
	assert_true(is_read(t, plain));
	t = (struct text){ 0 };
	add(&t, "/*", 1);
	add(&t, " traced", TEN_MB / 7);
	add(&t, "*/ select a from t", 1);
	assert_true(is_read(t, plain));
	t = (struct text){ 0 };
	add(&t, "select a", 1);
	add(&t, ", column_no", TEN_MB / 11);
	add(&t, " from t", 1);
	assert_false(is_read(t, plain));
	t = (struct text){ 0 };
	add(&t, "select ", 1);
	add(&t, "a", TEN_MB);
	assert_false(is_read(t, plain));
	t = (struct text){ 0 };
	add(&t, "/*", TEN_MB / 2);
	assert_false(is_read(t, plain));
	t = (struct text){ 0 };
	add(&t, "select '", 1);
	add(&t, "''", TEN_MB / 2); /* never closed */
	assert_false(is_read(t, plain));
}

static void many_parts(void **state)
{
	assert_false(is_read(nested("", "select 1;", "", "", MANY), plain));
	assert_true(is_read(nested("", "select 1;", "", "", 500), plain));
	assert_false(is_read(nested("", "select 1;", "delete from t", "", 500), plain));
	assert_false(is_read(nested("", "select f(1);", "select vol(1)", "", 500), plain));
	assert_true(is_read(nested("", ";", "", " ", TEN_MB), plain)); /* nothing at all */
}

static struct text bytes(const char *at, size_t len)
{
	return (struct text){ .at = mem_copy(at, len), .len = len };
}

static void odd_bytes(void **state)
{
	static const struct sql_dialect sjis = { .unsafe_encoding = true }, old = { .backslash_quotes = true };
#define IS_READ(text, dialect) is_read(bytes(text, sizeof text - 1), dialect)
	assert_true(IS_READ("select '\xff\xfe\x80' from t", plain));
	assert_true(IS_READ("select e'\\'; delete from t; --' from t", plain));
	assert_false(IS_READ("select e'\\\\'; delete from t; --' from t", plain));
	assert_true(IS_READ("select '\\' from t", plain));
	assert_false(IS_READ("select '\\'; delete from t; --'", plain));
	assert_false(IS_READ("select '\\' from t", old));
	assert_false(IS_READ("select '\\'; delete from t; --' from t", old));
	assert_true(IS_READ("select 'a' from t", old));
	assert_false(IS_READ("select '\x83\\' from t", sjis)); /* half of a character is a backslash */
	assert_false(IS_READ("select '\x83' from t", sjis));
	assert_true(IS_READ("select 'a' from t", sjis));
	assert_false(IS_READ("select 1\0; delete from t", plain));
	assert_false(IS_READ("select $$a; delete from t", plain));
	assert_false(IS_READ("select \"a", plain));
	assert_false(IS_READ("select vol\xff(1)", plain));
	(void)IS_READ("select \xff from \xc3\x28", plain);
	(void)IS_READ("select \"\xff\xff\" from \"\xed\xa0\x80\"", plain);
	assert_false(IS_READ("delete from \xff", plain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deep),
		cmocka_unit_test(long_texts),
		cmocka_unit_test(many_parts),
		cmocka_unit_test(odd_bytes),
	};
	hash_init();
	return UNIT_RUN(tests);
}
