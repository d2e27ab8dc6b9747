/*
 * timers — a binary heap in an array, earliest first.
 *
 * Always: due[i] is not earlier than due[(i - 1) / 2], and its timer's `place` is i + 1; place 0 is a timer that does not run.
 */
#include "timers.h"

#include "base/log.h"
#include "base/mem.h"

struct timer_due {
	uint64_t at_us;
	struct loop_timer *timer;
};

static void put(struct timers *ts, uint32_t at, struct timer_due d)
{
	ts->due[at] = d;
	d.timer->place = at + 1;
}

static void sift_up(struct timers *ts, uint32_t at, struct timer_due d)
{
	for (uint32_t parent; at > 0 && ts->due[parent = (at - 1) / 2].at_us > d.at_us; at = parent)
		put(ts, at, ts->due[parent]);
	put(ts, at, d);
}

static void sift_down(struct timers *ts, uint32_t at, struct timer_due d)
{
	for (uint32_t child; (child = 2 * at + 1) < ts->n; at = child) {
		if (child + 1 < ts->n && ts->due[child + 1].at_us < ts->due[child].at_us)
			child++;
		if (ts->due[child].at_us >= d.at_us)
			break;
		put(ts, at, ts->due[child]);
	}
	put(ts, at, d);
}

static void place(struct timers *ts, uint32_t at, struct timer_due d)
{
	if (at > 0 && ts->due[(at - 1) / 2].at_us > d.at_us)
		sift_up(ts, at, d);
	else
		sift_down(ts, at, d);
}

void timers_fini(struct timers *ts)
{
	mem_free(ts->due);
	*ts = (struct timers){ 0 };
}

void timers_set(struct timers *ts, struct loop_timer *t, uint64_t at_us)
{
	if (!t->place && ts->n == ts->cap) {
		ASSERT(ts->cap < UINT32_MAX / 2);
		ts->cap = ts->cap ? 2 * ts->cap : 16;
		ts->due = mem_grow(ts->due, ts->cap * sizeof *ts->due);
	}
	place(ts, t->place ? t->place - 1 : ts->n++, (struct timer_due){ at_us, t });
}

void timers_stop(struct timers *ts, struct loop_timer *t)
{
	if (!t->place)
		return;
	uint32_t at = t->place - 1;
	t->place = 0;
	if (at != --ts->n)
		place(ts, at, ts->due[ts->n]);
}

uint64_t timers_first_us(const struct timers *ts)
{
	return ts->n ? ts->due[0].at_us : TIMERS_NEVER;
}

struct loop_timer *timers_pop(struct timers *ts, uint64_t now_us)
{
	if (!ts->n || ts->due[0].at_us > now_us)
		return NULL;
	struct loop_timer *t = ts->due[0].timer;
	timers_stop(ts, t);
	return t;
}
