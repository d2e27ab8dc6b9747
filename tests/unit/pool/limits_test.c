/* limits: threads that take and give never hold more than the maximum together. */
#include "pool/limits.h"

#include <pthread.h>

#include "base/hash.h"
#include "unit.h"

#define MAX 3

static _Atomic int holders;
static _Atomic bool broke;

static void *taker(void *arg)
{
	for (unsigned i = 0; i < 20000; i++) {
		if (!limit_take(arg, MAX))
			continue;
		if (atomic_fetch_add(&holders, 1) >= MAX)
			atomic_store(&broke, true);
		atomic_fetch_sub(&holders, 1);
		limit_give(arg);
	}
	return NULL;
}

static void threads_never_exceed_the_maximum(void **state)
{
	struct limit l = { 0 };
	pthread_t thread[5];
	for (unsigned i = 0; i < 5; i++)
		pthread_create(&thread[i], NULL, taker, &l);
	for (unsigned i = 0; i < 5; i++)
		pthread_join(thread[i], NULL);
	assert_false(broke);
	assert_int_equal(l.taken, 0);
}

static void zero_is_no_limit_but_counts(void **state)
{
	struct limit l = { 0 };
	assert_true(limit_take(&l, 0));
	assert_true(limit_take(&l, 0));
	assert_false(limit_take(&l, 2));
	limit_give(&l);
	assert_true(limit_take(&l, 2));
}

static void a_name_is_one_counter(void **state)
{
	struct limits *l = limits_new();
	struct limit *app = limits_named(l, "db", "app");
	assert_ptr_equal(limits_named(l, "db", "app"), app);
	assert_ptr_not_equal(limits_named(l, "user", "app"), app);
	assert_int_equal(app->taken, 0);
	limits_free(l);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_never_exceed_the_maximum),
		cmocka_unit_test(zero_is_no_limit_but_counts),
		cmocka_unit_test(a_name_is_one_counter),
	};
	return UNIT_RUN(tests);
}
