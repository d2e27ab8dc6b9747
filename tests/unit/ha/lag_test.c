/* How far behind: exact while the memory reaches, never too little, nothing while there is nothing to replay. */
#include "ha/lag.h"

#include "base/clock.h"
#include "unit.h"

#define PATIENCE US_PER_S

static struct lag_track track;

static struct lag at(uint64_t lsn, uint64_t now_us)
{
	return lag_of(&track, lsn, LAG_UNKNOWN, PATIENCE, now_us);
}

static void assert_lag(struct lag got, uint64_t bytes, uint64_t us)
{
	assert_int_equal(got.bytes, bytes);
	assert_int_equal(got.us, us);
}

static void nothing_is_known_at_first(void **state)
{
	lag_forget(&track);
	assert_lag(at(100, 5), LAG_UNKNOWN, LAG_UNKNOWN);
	lag_note(&track, 10, 100);
	assert_lag(at(0, 11), LAG_UNKNOWN, LAG_UNKNOWN);
	assert_lag(lag_of(&track, 60, 7, PATIENCE, 11), 40, 7); /* before we looked: the standby's own word */
	assert_lag(lag_of(&track, 60, LAG_UNKNOWN, PATIENCE, 11), 40, LAG_UNKNOWN);
}

static void an_idle_primary_makes_no_lag(void **state)
{
	lag_forget(&track);
	for (uint64_t s = 1; s <= 1000; s++)
		lag_note(&track, s * US_PER_S, 500);
	assert_lag(lag_of(&track, 500, 3600 * US_PER_S, PATIENCE, 1000 * US_PER_S + 5), 0, 0);
	assert_lag(lag_of(&track, 600, 3600 * US_PER_S, PATIENCE, 1000 * US_PER_S + 5), 0, 0); /* it was asked later */
	/* The first write after a long rest: what the standby shows was true a moment ago. */
	lag_note(&track, 1001 * US_PER_S, 540);
	assert_lag(at(500, 1001 * US_PER_S), 40, US_PER_S);
}

static void a_silent_primary_does(void **state)
{
	lag_forget(&track);
	lag_note(&track, 10 * US_PER_S, 500);
	assert_lag(at(500, 10 * US_PER_S + PATIENCE), 0, 0);
	assert_lag(at(500, 40 * US_PER_S), 0, 30 * US_PER_S);
	/* But not one that is gone. */
	assert_lag(lag_of(&track, 500, LAG_UNKNOWN, LAG_UNKNOWN, 40 * US_PER_S), 0, 0);
	lag_note(&track, 11 * US_PER_S, 510);
	assert_lag(lag_of(&track, 500, LAG_UNKNOWN, LAG_UNKNOWN, 40 * US_PER_S), 10, US_PER_S);
}

static void a_delayed_standby_lags_by_its_delay(void **state)
{
	lag_forget(&track);
	for (uint64_t i = 1; i <= 200; i++)
		lag_note(&track, i * 100 * US_PER_MS, i * 1000);
	for (uint64_t delay = 1; delay < 100; delay += 7)
		assert_lag(at((200 - delay) * 1000, 200 * 100 * US_PER_MS), delay * 1000, delay * 100 * US_PER_MS);
	assert_lag(at(150 * 1000 + 500, 200 * 100 * US_PER_MS), 49500, 50 * 100 * US_PER_MS);
}

/* A day at five a second: the error is small beside the lag, and always on the safe side. */
static void it_remembers_long_ago_less_exactly(void **state)
{
	const uint64_t step = 200 * US_PER_MS, n = 5 * 86400;
	lag_forget(&track);
	for (uint64_t i = 1; i <= n; i++)
		lag_note(&track, i * step, i * 100);
	assert_int_equal(track.n, LAG_MARKS);
	for (uint64_t behind = 0; behind < n; behind = behind * 3 / 2 + 1) {
		struct lag got = at((n - behind) * 100, n * step);
		assert_int_equal(got.bytes, behind * 100);
		assert_true(got.us >= behind * step);
		assert_true(got.us <= behind * step + behind * step / 8 + step);
	}
}

static void a_crash_may_throw_the_primary_back(void **state)
{
	lag_forget(&track);
	lag_note(&track, 10, 100);
	lag_note(&track, 20, 200);
	lag_note(&track, 30, 300);
	lag_note(&track, 40, 180);
	assert_lag(at(180, 41), 0, 0);
	assert_lag(at(120, 45), 60, 35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_known_at_first),
		cmocka_unit_test(an_idle_primary_makes_no_lag),
		cmocka_unit_test(a_silent_primary_does),
		cmocka_unit_test(a_delayed_standby_lags_by_its_delay),
		cmocka_unit_test(it_remembers_long_ago_less_exactly),
		cmocka_unit_test(a_crash_may_throw_the_primary_back),
	};
	return UNIT_RUN(tests);
}
