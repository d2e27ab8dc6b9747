/* What is remembered, for how long, and how much; and that threads can add to one number. */
#include "policy/kv.h"

#include <pthread.h>
#include <stdio.h>

#include "base/hash.h"
#include "unit.h"

static struct policy_value number(double n)
{
	return (struct policy_value){ .is = POLICY_KV_NUMBER, .number = n };
}

static double get(struct policy_kv *kv, const char *key, uint64_t now)
{
	struct policy_value v;
	policy_kv_get(kv, slice_text(key), now, &v);
	return v.is == POLICY_KV_NUMBER ? v.number : -1;
}

static void put(struct policy_kv *kv, const char *key, double n, uint64_t now, uint64_t ttl)
{
	struct policy_value v = number(n);
	assert_true(policy_kv_set(kv, slice_text(key), &v, now, ttl));
}

static void it_keeps_a_value_for_its_time(void **state)
{
	struct policy_kv *kv = policy_kv_new(10);
	put(kv, "a", 1, 100, 0);
	put(kv, "b", 2, 100, 50);
	assert_true(get(kv, "a", 1000000) == 1);
	assert_true(get(kv, "b", 149) == 2);
	assert_true(get(kv, "b", 150) == -1);
	put(kv, "a", 3, 100, 10);
	assert_true(get(kv, "a", 105) == 3);
	assert_true(get(kv, "a", 110) == -1);
	policy_kv_free(kv);
}

static void it_is_bounded_and_makes_room_of_what_has_run_out(void **state)
{
	struct policy_kv *kv = policy_kv_new(3);
	struct policy_value v = number(9), nothing = { .is = POLICY_KV_NIL };
	put(kv, "a", 1, 100, 0);
	put(kv, "b", 2, 100, 50);
	put(kv, "c", 3, 100, 0);
	assert_false(policy_kv_set(kv, slice_text("d"), &v, 149, 0));
	put(kv, "a", 4, 149, 0); /* no new entry */
	put(kv, "d", 9, 150, 0);
	assert_false(policy_kv_set(kv, slice_text("e"), &v, 150, 0));
	assert_true(policy_kv_set(kv, slice_text("a"), &nothing, 150, 0));
	put(kv, "e", 5, 150, 0);
	assert_true(get(kv, "a", 150) == -1 && get(kv, "c", 150) == 3 && get(kv, "d", 150) == 9 && get(kv, "e", 150) == 5);
	policy_kv_free(kv);
}

static void a_sum_starts_anew_when_its_time_is_over(void **state)
{
	struct policy_kv *kv = policy_kv_new(1);
	struct policy_value text = { .is = POLICY_KV_TEXT, .len = 1, .text = "x" };
	double sum;
	assert_true(policy_kv_add(kv, slice_text("n"), 2, 100, 10, &sum) && sum == 2);
	assert_true(policy_kv_add(kv, slice_text("n"), 3, 109, 10, &sum) && sum == 5);
	assert_true(policy_kv_add(kv, slice_text("n"), 1, 110, 10, &sum) && sum == 1);
	assert_false(policy_kv_add(kv, slice_text("m"), 1, 110, 0, &sum));
	assert_true(policy_kv_set(kv, slice_text("n"), &text, 110, 0));
	assert_false(policy_kv_add(kv, slice_text("n"), 1, 110, 0, &sum));
	policy_kv_free(kv);
}

#define THREADS 4
#define ROUNDS 20000

static void *add_and_forget(void *arg)
{
	struct policy_kv *kv = arg;
	struct policy_value v = number(1), nothing = { .is = POLICY_KV_NIL };
	char key[20];
	double sum;
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(key, sizeof key, "k%d", i % 50);
		assert_true(policy_kv_add(kv, slice_text("n"), 1, 100, 0, &sum));
		if (policy_kv_set(kv, slice_text(key), &v, 100, 1))
			assert_true(policy_kv_set(kv, slice_text(key), &nothing, 100, 0));
		get(kv, key, 100);
	}
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	struct policy_kv *kv = policy_kv_new(20);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_and_forget, kv), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(get(kv, "n", 100) == THREADS * ROUNDS);
	policy_kv_free(kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_keeps_a_value_for_its_time),
		cmocka_unit_test(it_is_bounded_and_makes_room_of_what_has_run_out),
		cmocka_unit_test(a_sum_starts_anew_when_its_time_is_over),
		cmocka_unit_test(threads_lose_nothing),
	};
	hash_init();
	return UNIT_RUN(tests);
}
