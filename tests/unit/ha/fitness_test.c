/* A standby leaves at once and comes back when it has proved itself; simulated time. */
#include "ha/fitness.h"

#include <string.h>

#include "base/clock.h"
#include "unit.h"

#define TICK (200 * US_PER_MS)

static struct fitness f;
static struct fitness_view v;
static struct sample sample;
static struct fitness_limits limits;
static uint64_t now;

static int begin(void **state)
{
	f = (struct fitness){ 0 };
	sample = (struct sample){ .in_recovery = true, .receiver = SAMPLE_STREAMING, .timeline = 1, .replayed = 100 };
	v = (struct fitness_view){ .is_alive = true, .sample = &sample };
	limits = (struct fitness_limits){ .max_lag = 1000, .max_lag_us = 10 * US_PER_S };
	now = 100 * US_PER_S;
	return 0;
}

static bool fit_after(unsigned probes)
{
	for (; probes > 0; probes--) {
		now += TICK;
		fitness_judge(&f, &v, &limits, now);
	}
	return !f.why;
}

static void the_first_answer_decides(void **state)
{
	v.lag = (struct lag){ LAG_UNKNOWN, LAG_UNKNOWN };
	assert_false(fit_after(3)); /* the primary was not asked yet */
	v.lag = (struct lag){ 900, US_PER_S };
	assert_true(fit_after(1));
	assert_false(f.must_warm_up);
}

static void comes_back_after_three_good_ones(void **state)
{
	assert_true(fit_after(1));
	v.is_alive = false;
	assert_false(fit_after(1));
	assert_string_equal(f.why, "it does not answer");
	fit_after(20);
	v.is_alive = true;
	assert_false(fit_after(2));
	v.is_alive = false;
	assert_false(fit_after(1));
	v.is_alive = true;
	assert_false(fit_after(2));
	assert_true(fit_after(1));
	assert_true(f.must_warm_up);
	assert_true(fit_after(1));
	assert_false(f.must_warm_up);
}

static void a_blink_needs_no_warming_up(void **state)
{
	assert_true(fit_after(1));
	v.is_alive = false;
	fit_after(1);
	v.is_alive = true;
	assert_true(fit_after(3));
	assert_false(f.must_warm_up);
}

static void lag_has_hysteresis(void **state)
{
	assert_true(fit_after(1));
	v.lag.bytes = 1000;
	assert_true(fit_after(10));
	v.lag.bytes = 1001;
	assert_false(fit_after(1));
	v.lag.bytes = 501;
	assert_false(fit_after(10));
	v.lag.bytes = 500;
	assert_false(fit_after(2));
	assert_true(fit_after(1));
	v.lag.us = 10 * US_PER_S + 1;
	assert_false(fit_after(1));
	v.lag.us = 6 * US_PER_S;
	assert_false(fit_after(10));
	v.lag.us = 5 * US_PER_S;
	assert_true(fit_after(3));
	v.lag.us = LAG_UNKNOWN;
	assert_false(fit_after(1));
}

static void no_limit_is_no_limit(void **state)
{
	limits = (struct fitness_limits){ 0 };
	v.lag = (struct lag){ 1ull << 50, LAG_UNKNOWN };
	assert_true(fit_after(1));
	v.lag.bytes = LAG_UNKNOWN;
	assert_false(fit_after(1)); /* but nothing known is nothing known */
}

static void who_receives_nothing_must_have_it_all_or_keep_a_limit(void **state)
{
	sample.receiver = SAMPLE_NO_RECEIVER;
	v.lag = (struct lag){ 800, US_PER_S };
	assert_true(fit_after(1)); /* fed from an archive */
	v.has_moved = true;
	assert_false(fit_after(1)); /* … whose timeline is not known */
	begin(state);
	limits = (struct fitness_limits){ 0 };
	sample.receiver = SAMPLE_CATCHING_UP;
	assert_true(fit_after(1));
	v.lag.bytes = 1;
	assert_false(fit_after(1));
	sample.receiver = SAMPLE_HIDDEN;
	assert_true(fit_after(3));
}

static void strangers_take_no_reads(void **state)
{
	v.is_foreign = true;
	assert_false(fit_after(5));
	begin(state);
	v.is_stray = true;
	assert_false(fit_after(5));
	begin(state);
	sample.in_recovery = false;
	assert_false(fit_after(5));
	begin(state);
	v.is_alive = false;
	v.is_refused = true;
	assert_false(fit_after(5));
	assert_string_equal(f.why, "it refuses the service role");
}

/* One lost connection is over with the next good probe; many keep it away, longer and longer, but not for ever. */
static void ejections_add_up(void **state)
{
	uint64_t longest = 0;
	assert_true(fit_after(1));
	v.ejections++;
	assert_true(fit_after(1));
	for (unsigned i = 0; i < 20; i++) {
		uint64_t out = now;
		v.ejections++;
		while (!fit_after(1))
			;
		assert_true(now - out >= longest || now - out > 10 * US_PER_S);
		longest = now - out > longest ? now - out : longest;
	}
	assert_in_range(longest, 10 * US_PER_S, 15 * US_PER_S);
	assert_true(fit_after(200));
	v.ejections++;
	assert_true(fit_after(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_first_answer_decides, begin),
		cmocka_unit_test_setup(comes_back_after_three_good_ones, begin),
		cmocka_unit_test_setup(a_blink_needs_no_warming_up, begin),
		cmocka_unit_test_setup(lag_has_hysteresis, begin),
		cmocka_unit_test_setup(no_limit_is_no_limit, begin),
		cmocka_unit_test_setup(who_receives_nothing_must_have_it_all_or_keep_a_limit, begin),
		cmocka_unit_test_setup(strangers_take_no_reads, begin),
		cmocka_unit_test_setup(ejections_add_up, begin),
	};
	return UNIT_RUN(tests);
}
