/* Timers against a plain list: whatever is set, moved and stopped, what is due comes in order, once, and not before. */
#include "../../../src/net/timers.h"

#include "base/rand.h"
#include "unit.h"

#define TIMERS 300
#define ACTIONS 200000

static struct loop_timer timers[TIMERS];
static uint64_t due[TIMERS]; /* 0: not running */

static void nothing(struct loop_timer *t)
{
}

static uint64_t first_due(void)
{
	uint64_t first = TIMERS_NEVER;
	for (int i = 0; i < TIMERS; i++)
		if (due[i] && due[i] < first)
			first = due[i];
	return first;
}

static void pop_all(struct timers *ts, uint64_t now_us)
{
	uint64_t before = 0;
	for (struct loop_timer *t; (t = timers_pop(ts, now_us));) {
		uint64_t *its = &due[t - timers];
		assert_in_range(*its, before ? before : 1, now_us);
		before = *its;
		*its = 0;
		assert_int_equal(t->place, 0);
	}
}

static void what_is_due_comes_in_order_and_once(void **state)
{
	struct timers ts = { 0 };
	for (int i = 0; i < TIMERS; i++)
		loop_timer_init(&timers[i], nothing);
	for (uint64_t n = 0, now = 1; n < ACTIONS; n++) {
		unsigned i = (unsigned)(rand_fast() % TIMERS);
		switch (rand_fast() % 8) {
		case 0:
			timers_stop(&ts, &timers[i]);
			due[i] = 0;
			break;
		case 1:
			now += rand_fast() % 50;
			pop_all(&ts, now);
			break;
		default:
			due[i] = now + 1 + rand_fast() % 1000;
			timers_set(&ts, &timers[i], due[i]);
		}
		assert_int_equal(loop_timer_is_running(&timers[i]), due[i] != 0);
		assert_true(n % 16 || timers_first_us(&ts) == first_due());
	}
	pop_all(&ts, TIMERS_NEVER);
	assert_int_equal(first_due(), TIMERS_NEVER);
	assert_int_equal(timers_first_us(&ts), TIMERS_NEVER);
	timers_fini(&ts);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_due_comes_in_order_and_once) };
	return UNIT_RUN(tests);
}
