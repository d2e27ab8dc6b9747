/* When a policy is left alone, and when it is tried again. */
#include "../../../src/policy/priv.h"

#include "base/log.h"
#include "unit.h"

#define S US_PER_S

static int open_breaker(void **state)
{
	static struct policy_shared s;
	s = (struct policy_shared){ .cluster = "main" };
	log_configure(LOG_LEVEL_ERROR + 1, LOG_FORMAT_KV);
	breaker_init(&s, "main", "main.lua");
	*state = &s;
	return 0;
}

static int close_breaker(void **state)
{
	breaker_fini(*state);
	return 0;
}

static bool is_open(struct policy_shared *s)
{
	return atomic_load(&s->open_until_us) != 0;
}

static void fail_times(struct policy_shared *s, int n, uint64_t from_us, uint64_t every_us)
{
	for (int i = 0; i < n; i++)
		breaker_failed(s, "route", "x", from_us + (uint64_t)i * every_us);
}

static void five_errors_in_ten_seconds_open_it(void **state)
{
	struct policy_shared *s = *state;
	fail_times(s, 4, 100 * S, S);
	assert_false(is_open(s));
	breaker_failed(s, "route", "x", 109 * S);
	assert_true(is_open(s));
	assert_int_equal(atomic_load(&s->errors), 5);
}

static void errors_far_apart_do_not(void **state)
{
	struct policy_shared *s = *state;
	fail_times(s, 100, 100 * S, 3 * S);
	assert_false(is_open(s));
	fail_times(s, 5, 1000 * S, S);
	assert_true(is_open(s));
}

static void after_thirty_seconds_one_call_tries(void **state)
{
	struct policy_shared *s = *state;
	fail_times(s, 5, 100 * S, S);
	assert_false(breaker_lets_through_at(s, 104 * S));
	assert_false(breaker_lets_through_at(s, 134 * S - 1));
	assert_true(breaker_lets_through_at(s, 134 * S));
	assert_false(breaker_lets_through_at(s, 134 * S));
	breaker_failed(s, "route", "x", 134 * S);
	assert_true(is_open(s));
	assert_false(breaker_lets_through_at(s, 163 * S));
	assert_true(breaker_lets_through_at(s, 164 * S));
	breaker_succeeded(s);
	assert_false(is_open(s));
	fail_times(s, 4, 165 * S, 1);
	assert_false(is_open(s)); /* what was before counts no more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_breaker, close_breaker)
		TEST(five_errors_in_ten_seconds_open_it),
		TEST(errors_far_apart_do_not),
		TEST(after_thirty_seconds_one_call_tries),
	};
	return UNIT_RUN(tests);
}
