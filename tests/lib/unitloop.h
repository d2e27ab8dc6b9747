/*
 * unitloop — a loop for unit tests: runs until something is true, and fails the test if that takes too long.
 *
 * run_until(loop, is_done, arg) looks after every millisecond of events; nothing sleeps, nothing depends on speed.
 */
#ifndef UNITLOOP_H
#define UNITLOOP_H

#include "base/clock.h"
#include "base/compiler.h"
#include "net/loop.h"
#include "unit.h"

#define UNIT_DEADLINE_US (30 * US_PER_S)

struct until {
	struct loop_timer tick;
	struct loop *loop;
	bool (*is_done)(void *arg);
	void *arg;
	uint64_t deadline_us;
	bool was_done;
};

static inline void until_tick(struct loop_timer *t)
{
	struct until *u = CONTAINER_OF(t, struct until, tick);
	u->was_done = u->is_done(u->arg);
	if (u->was_done || clock_us() > u->deadline_us)
		loop_stop(u->loop);
	else
		loop_timer_start(u->loop, t, US_PER_MS);
}

static inline void run_until(struct loop *loop, bool (*is_done)(void *arg), void *arg)
{
	struct until u = { .loop = loop, .is_done = is_done, .arg = arg, .deadline_us = clock_us() + UNIT_DEADLINE_US };
	loop_timer_init(&u.tick, until_tick);
	loop_timer_start(loop, &u.tick, 0);
	loop_run(loop);
	loop_timer_stop(loop, &u.tick);
	assert_true(u.was_done);
}

static inline bool is_flag_set(void *arg)
{
	return *(volatile bool *)arg;
}

static inline bool turn_is_over(void *arg)
{
	return --*(int *)arg <= 0;
}

/* Lets whatever is ready now happen. */
static inline void run_turns(struct loop *loop, int turns)
{
	run_until(loop, turn_is_over, &turns);
}

#endif
