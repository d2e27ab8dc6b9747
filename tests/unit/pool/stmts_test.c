/* stmts against a plain list in order of use. */
#include "pool/stmts.h"

#include <string.h>

#include "base/rand.h"
#include "unit.h"

#define KEYS 90

/* Few distinct low halves, so that probes collide and holes must be closed. */
static struct hash128 key_of(unsigned i)
{
	return (struct hash128){ .hi = i, .lo = i % 5 };
}

struct model {
	unsigned n, key[KEYS];
	uint64_t value[KEYS];
};

static int model_at(const struct model *m, unsigned key)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->key[i] == key)
			return (int)i;
	return -1;
}

static void model_remove(struct model *m, unsigned at)
{
	m->n--;
	memmove(&m->key[at], &m->key[at + 1], (m->n - at) * sizeof m->key[0]);
	memmove(&m->value[at], &m->value[at + 1], (m->n - at) * sizeof m->value[0]);
}

static void model_push(struct model *m, unsigned key, uint64_t value)
{
	m->key[m->n] = key;
	m->value[m->n++] = value;
}

static void check_each(void *arg, struct hash128 key, uint64_t value)
{
	struct model *left = arg;
	assert_true(hash128_equal(key, key_of(left->key[0])));
	assert_int_equal(value, left->value[0]);
	model_remove(left, 0);
}

static void check(struct stmts *s, const struct model *m)
{
	struct model left = *m;
	struct hash128 oldest;
	assert_int_equal(stmts_len(s), m->n);
	assert_int_equal(stmts_oldest(s, &oldest), m->n > 0);
	if (m->n)
		assert_true(hash128_equal(oldest, key_of(m->key[0])));
	stmts_each(s, check_each, &left);
	assert_int_equal(left.n, 0);
}

static void step(struct stmts *s, struct model *m, uint64_t r)
{
	unsigned key = (unsigned)(r >> 8) % KEYS;
	int at = model_at(m, key);
	if (r % 3 == 0) {
		assert_int_equal(stmts_remove(s, key_of(key)), at >= 0);
		if (at >= 0)
			model_remove(m, (unsigned)at);
		return;
	}
	uint64_t *value = stmts_find(s, key_of(key));
	assert_int_equal(value != NULL, at >= 0);
	if (value) {
		assert_int_equal(*value, m->value[at]);
		model_remove(m, (unsigned)at);
		model_push(m, key, *value);
	} else {
		stmts_add(s, key_of(key), r);
		model_push(m, key, r);
	}
}

static void behaves_like_a_list(void **state)
{
	struct stmts s = { 0 };
	struct model m = { 0 };
	for (unsigned i = 0; i < 20000; i++) {
		step(&s, &m, rand_fast());
		check(&s, &m);
	}
	stmts_fini(&s);
	m.n = 0;
	check(&s, &m);
	stmts_add(&s, key_of(1), 7);
	assert_int_equal(*stmts_find(&s, key_of(1)), 7);
	stmts_fini(&s);
}

static void names_are_distinct_identifiers(void **state)
{
	char a[STMTS_NAME_MAX], b[STMTS_NAME_MAX];
	stmts_name((struct hash128){ 0, 1 }, a);
	stmts_name((struct hash128){ 1ull << 63, 1 }, b);
	assert_int_equal(strlen(a), 31);
	assert_string_not_equal(a, b);
	assert_memory_equal(a, "lunapool_", 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves_like_a_list),
		cmocka_unit_test(names_are_distinct_identifiers),
	};
	return UNIT_RUN(tests);
}
