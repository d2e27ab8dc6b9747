/* map against an array indexed by the key's number. */
#include "base/map.h"

#include <stdio.h>

#include "base/rand.h"
#include "unit.h"

#define KEYS 500

static struct slice key_of(unsigned i)
{
	static char text[32];
	return slice_of(text, (size_t)snprintf(text, sizeof text, "%.*s%u", (int)(i % 7), "key-key", i));
}

static void behaves_like_an_array(void **state)
{
	static int value[KEYS];
	bool is_in[KEYS] = { 0 };
	unsigned in = 0;
	struct map m = { 0 };
	for (unsigned step = 0; step < 50000; step++) {
		unsigned i = (unsigned)(rand_fast() % KEYS);
		/* Waves: mostly putting, then mostly removing, so that it grows, fills with dead slots and is swept. */
		bool is_putting = rand_fast() % 10 < (step / 5000 % 2 ? 2u : 8u);
		void *was = is_putting ? map_put(&m, key_of(i), &value[i]) : map_remove(&m, key_of(i));
		assert_ptr_equal(was, is_in[i] ? &value[i] : NULL);
		in = in - is_in[i] + is_putting;
		is_in[i] = is_putting;
		i = (unsigned)(rand_fast() % KEYS);
		assert_ptr_equal(map_get(&m, key_of(i)), is_in[i] ? &value[i] : NULL);
		assert_int_equal(map_len(&m), in);
	}
	map_fini(&m);
}

static void a_walk_sees_each_once_and_may_remove(void **state)
{
	static int value[KEYS];
	memset(value, 0, sizeof value);
	struct map m = { 0 };
	for (unsigned i = 0; i < KEYS; i++)
		map_put(&m, key_of(i), &value[i]);
	uint32_t it = 0;
	struct slice key;
	void *v;
	while (map_next(&m, &it, &key, &v)) {
		++*(int *)v;
		assert_ptr_equal(map_remove(&m, key), v);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(value[i], 1);
	assert_int_equal(map_len(&m), 0);
	map_fini(&m);
}

static void holds_nothing_before_the_first_put(void **state)
{
	struct map m = { 0 };
	uint32_t it = 0;
	struct slice key;
	void *v;
	assert_null(map_get(&m, slice_text("a")));
	assert_null(map_remove(&m, slice_text("a")));
	assert_false(map_next(&m, &it, &key, &v));
	assert_null(m.slots);
	assert_null(map_put(&m, slice_of(NULL, 0), &m));
	assert_ptr_equal(map_get(&m, slice_text("")), &m);
	map_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves_like_an_array),
		cmocka_unit_test(a_walk_sees_each_once_and_may_remove),
		cmocka_unit_test(holds_nothing_before_the_first_put),
	};
	return UNIT_RUN(tests);
}
