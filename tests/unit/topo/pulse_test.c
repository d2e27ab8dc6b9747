/* A pulse tells each thread what holds together, and loses no ejection. */
#include "topo/pulse.h"

#include <pthread.h>

#include "base/compiler.h"
#include "unit.h"

#define ROUNDS 200000u

static void is_not_fit_before_it_was_asked(void **state)
{
	struct pulse *p = pulse_new(7);
	uint64_t when, lsn;
	assert_false(pulse_is_fit(p));
	assert_non_null(pulse_why(p));
	assert_false(pulse_written(p, &when, &lsn));
	assert_int_equal(pulse_replayed(p), 0);
	assert_int_equal(pulse_lag_bytes(p), PULSE_UNKNOWN);
	assert_int_equal(pulse_latency_us(p), PULSE_UNKNOWN);
	pulse_unref(p);
}

static unsigned calls;

static void on_call(void *arg, uint32_t id)
{
	assert_int_equal(id, 7);
	calls++;
}

static void an_ejection_outlives_the_probe_that_was_under_way(void **state)
{
	struct pulse *p = pulse_new(7);
	calls = 0;
	pulse_connect(p, on_call, NULL);
	assert_true(pulse_judge(p, pulse_ejections(p), NULL, false, 10));
	assert_true(pulse_is_fit(p));
	assert_null(pulse_why(p));
	assert_int_equal(pulse_since_us(p), 10);
	uint64_t before = pulse_ejections(p);
	pulse_eject(p);
	assert_false(pulse_is_fit(p));
	assert_non_null(pulse_why(p));
	assert_false(pulse_judge(p, before, NULL, false, 20));
	assert_false(pulse_is_fit(p));
	assert_true(pulse_judge(p, pulse_ejections(p), NULL, false, 30));
	assert_true(pulse_is_fit(p));
	assert_int_equal(pulse_since_us(p), 30);
	pulse_unref(p);
}

static void only_the_node_s_own_errors_eject_it(void **state)
{
	static const char *const its_own[] = { "08006", "08001", "57P01", "57P02", "57P03" };
	static const char *const others[] = { "53300", "28P01", "3D000", "57014", "08P01", "LP001", "XX000" };
	struct pulse *p = pulse_new(7);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		pulse_eject_for(p, others[i]);
	assert_int_equal(pulse_ejections(p), 0);
	for (size_t i = 0; i < ARRAY_LEN(its_own); i++)
		pulse_eject_for(p, its_own[i]);
	assert_int_equal(pulse_ejections(p), ARRAY_LEN(its_own));
	pulse_unref(p);
}

static void the_first_sample_behind_a_write_is_its_mark(void **state)
{
	struct pulse *p = pulse_new(7);
	uint64_t lsn = 1;
	assert_true(pulse_marked(p, &lsn));
	assert_int_equal(lsn, 0);
	pulse_note_written(p, 10, 100);
	assert_true(pulse_marked(p, &lsn));
	assert_int_equal(lsn, 0);
	pulse_note_write(p, 20);
	pulse_note_write(p, 15); /* another worker's, told late */
	assert_false(pulse_marked(p, &lsn));
	pulse_note_written(p, 19, 200); /* asked for before it */
	assert_false(pulse_marked(p, &lsn));
	pulse_note_written(p, 20, 300);
	assert_true(pulse_marked(p, &lsn));
	assert_int_equal(lsn, 300);
	pulse_note_written(p, 30, 400); /* nobody has written since */
	assert_true(pulse_marked(p, &lsn));
	assert_int_equal(lsn, 300);
	pulse_note_write(p, 40);
	assert_false(pulse_marked(p, &lsn));
	pulse_note_written(p, 50, 500);
	assert_true(pulse_marked(p, &lsn));
	assert_int_equal(lsn, 500);
	pulse_unref(p);
}

static uint64_t since(const struct pulse *p, uint64_t us)
{
	uint64_t lsn;
	return pulse_written_since(p, us, &lsn) ? lsn : 0;
}

static void the_first_sample_behind_a_time_is_found_later_too(void **state)
{
	struct pulse *p = pulse_new(7);
	assert_int_equal(since(p, 0), 0);
	pulse_note_written(p, 10, 100);
	assert_int_equal(since(p, 11), 0);
	pulse_note_written(p, 20, 200);
	pulse_note_written(p, 30, 300);
	assert_int_equal(since(p, 5), 100);
	assert_int_equal(since(p, 10), 100);
	assert_int_equal(since(p, 11), 200);
	assert_int_equal(since(p, 30), 300);
	assert_int_equal(since(p, 31), 0);
	for (uint64_t i = 4; i <= 3 * PULSE_SAMPLES; i++)
		pulse_note_written(p, i * 10, i * 100);
	assert_int_equal(since(p, 10), (2 * PULSE_SAMPLES + 1) * 100); /* the oldest that is left */
	assert_int_equal(since(p, 3 * PULSE_SAMPLES * 10), 3 * PULSE_SAMPLES * 100);
	pulse_unref(p);
}

static void is_asked_for_once_until_it_is_asked(void **state)
{
	struct pulse *p = pulse_new(7);
	calls = 0;
	pulse_connect(p, on_call, NULL);
	for (unsigned i = 0; i < 5; i++)
		pulse_want(p);
	assert_int_equal(calls, 1);
	pulse_note_asked(p);
	pulse_want(p);
	pulse_eject(p);
	assert_int_equal(calls, 2);
	pulse_unref(p);
}

static uint64_t average_us(const struct pulse *p)
{
	return pulse_time_ns(p) / 1000;
}

static uint64_t now;

static void statements(struct pulse *p, unsigned n, uint64_t took_us)
{
	for (unsigned i = 0; i < n; i++) {
		pulse_begin(p, true);
		pulse_end(p, took_us);
	}
}

static void window(struct pulse *p)
{
	now += 200000;
	pulse_note_latency(p, 500, now);
}

static void an_average_follows(void **state)
{
	struct pulse *p = pulse_new(7);
	window(p);
	assert_int_equal(pulse_time_ns(p), 0); /* a probe is something else */
	statements(p, 15, 5000);
	window(p);
	assert_int_equal(pulse_time_ns(p), 0); /* few say nothing */
	statements(p, 1000, 100);
	window(p);
	assert_in_range(average_us(p), 90, 110);
	/* One that takes long is no slow node. */
	statements(p, 100, 100);
	statements(p, 1, 5000000);
	window(p);
	assert_in_range(average_us(p), 90, 125);
	/* It is when all do. */
	statements(p, 100, 1000);
	window(p);
	assert_in_range(average_us(p), 150, 1000);
	for (unsigned i = 0; i < 8; i++) {
		statements(p, 100, 1000);
		window(p);
	}
	assert_in_range(average_us(p), 950, 1050);
	/* Few say little beside many. */
	statements(p, 1, 8000);
	window(p);
	assert_in_range(average_us(p), 950, 1100);
	assert_int_equal(pulse_in_flight(p), 0);
	assert_int_equal(pulse_reads(p), 2017);
	pulse_unref(p);
}

/* Every power of two, and between: within a tenth. */
static void times_of_any_length_are_told(void **state)
{
	for (uint64_t us = 1; us < 1000000000; us += us / 3 + 1) {
		struct pulse *p = pulse_new(7);
		window(p);
		statements(p, 20, us);
		window(p);
		assert_in_range(pulse_time_ns(p), us * 900, us * 1100);
		pulse_unref(p);
	}
}

static void what_was_long_ago_is_forgotten(void **state)
{
	struct pulse *p = pulse_new(7);
	window(p);
	statements(p, 20, 9000);
	for (unsigned i = 0; i < 5; i++)
		window(p);
	assert_in_range(average_us(p), 8100, 9900);
	window(p);
	assert_int_equal(pulse_time_ns(p), 0);
	/* One that is still at work is not idle. */
	statements(p, 20, 9000);
	pulse_begin(p, true);
	for (unsigned i = 0; i < 20; i++)
		window(p);
	assert_in_range(average_us(p), 8100, 9900);
	pulse_end(p, PULSE_UNKNOWN);
	for (unsigned i = 0; i < 6; i++)
		window(p);
	assert_int_equal(pulse_time_ns(p), 0);
	pulse_unref(p);
}

static void *write_samples(void *arg)
{
	for (uint64_t i = 1; i <= ROUNDS; i++)
		pulse_note_written(arg, i, i * 3);
	return NULL;
}

static void a_sample_is_one_pair(void **state)
{
	struct pulse *p = pulse_new(7);
	pthread_t writer;
	assert_int_equal(pthread_create(&writer, NULL, write_samples, p), 0);
	for (uint64_t when = 0, lsn, last = 0; when < ROUNDS; last = when) {
		if (!pulse_written(p, &when, &lsn))
			continue;
		assert_int_equal(lsn, when * 3);
		assert_true(when >= last);
		assert_true(since(p, when) >= lsn);
	}
	pthread_join(writer, NULL);
	pulse_unref(p);
}

static void *eject_often(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		pulse_eject(arg);
	pulse_unref(arg);
	return NULL;
}

static void no_ejection_is_lost_among_verdicts(void **state)
{
	struct pulse *p = pulse_new(7);
	pthread_t other;
	assert_int_equal(pthread_create(&other, NULL, eject_often, pulse_ref(p)), 0);
	while (pulse_ejections(p) < ROUNDS) {
		uint64_t before = pulse_ejections(p);
		bool was_set = pulse_judge(p, before, NULL, false, 1);
		if (!was_set)
			assert_true(pulse_ejections(p) > before);
	}
	pthread_join(other, NULL);
	assert_int_equal(pulse_ejections(p), ROUNDS);
	pulse_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_not_fit_before_it_was_asked),
		cmocka_unit_test(an_ejection_outlives_the_probe_that_was_under_way),
		cmocka_unit_test(only_the_node_s_own_errors_eject_it),
		cmocka_unit_test(the_first_sample_behind_a_write_is_its_mark),
		cmocka_unit_test(the_first_sample_behind_a_time_is_found_later_too),
		cmocka_unit_test(is_asked_for_once_until_it_is_asked),
		cmocka_unit_test(an_average_follows),
		cmocka_unit_test(times_of_any_length_are_told),
		cmocka_unit_test(what_was_long_ago_is_forgotten),
		cmocka_unit_test(a_sample_is_one_pair),
		cmocka_unit_test(no_ejection_is_lost_among_verdicts),
	};
	return UNIT_RUN(tests);
}
