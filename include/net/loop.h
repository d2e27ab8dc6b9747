/*
 * loop — a thread's event loop: timers, deferred calls, descriptors, signals.  Thin over libev, which is
 * used in loop.* only.  Everything here belongs to the thread that runs the loop, except where it says so.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/dlist.h"

struct loop; /* wraps struct ev_loop */

/* IS_MAIN: libev's default loop, the only one where signals can be watched. */
struct loop *loop_new(bool is_main);
/* Of a simulation: timers, deferred calls and wake-ups, but no descriptors and no signals.  It sleeps by setting *NOW_US, which clock_simulate() has. */
struct loop *loop_new_simulated(uint64_t *now_us);
/* One turn of it, at the time of what comes next; false: nothing comes before UNTIL_US, and that is the time now. */
bool loop_turn_simulated(struct loop *loop, uint64_t until_us);
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);              /* until loop_stop() */
void loop_stop(struct loop *loop);             /* own thread; returns at the end of this turn */
uint64_t loop_now_us(const struct loop *loop); /* monotonic (clock_us scale), as of this turn's start: cheap */

/* Deferred call: FN runs once at the end of this turn, first in first out; may be linked again inside FN. */
struct loop_defer {
	struct dlist link; /* init with loop_defer_init() */
	void (*fn)(struct loop_defer *d);
};
void loop_defer_init(struct loop_defer *d, void (*fn)(struct loop_defer *));
void loop_defer(struct loop *loop, struct loop_defer *d); /* no-op when already linked */
void loop_defer_cancel(struct loop_defer *d);
/* Runs HOOK at the very end of every turn, after the deferred calls (one per loop: the stream engine's flush). */
void loop_on_turn_end(struct loop *loop, void (*hook)(void *arg), void *arg);
/* Runs HOOK at the start of every turn, before events are handled (one per loop: picking up the topology). */
void loop_on_turn_start(struct loop *loop, void (*hook)(void *arg), void *arg);

struct loop_timer {
	void (*fn)(struct loop_timer *t);
	uint32_t place; /* among those that run; 0: it does not */
};
void loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *));
void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t after_us); /* once; restarts if running */
void loop_timer_stop(struct loop *loop, struct loop_timer *t);                     /* fine when not running */
bool loop_timer_is_running(const struct loop_timer *t);

#define LOOP_READ 1u
#define LOOP_WRITE 2u
struct loop_io {
	ev_io ev; /* its `data` is who is called */
};
void loop_io_init(struct loop_io *io, int fd, void (*fn)(struct loop_io *, unsigned));
void loop_io_set(struct loop *loop, struct loop_io *io, unsigned events); /* 0 stops; no syscall when unchanged */

/* Stops, and takes the descriptor out of this loop altogether: before another thread may have it. */
void loop_io_release(struct loop *loop, struct loop_io *io);

struct loop_signal {
	ev_signal ev;
	void (*fn)(struct loop_signal *s, int signum);
};
void loop_signal_start(struct loop *loop, struct loop_signal *s, int signum, void (*fn)(struct loop_signal *, int));

/* The one thing that another thread may touch. */
struct loop_async {
	struct dlist link; /* in the loop's list while it is started */
	struct loop *loop;
	void (*fn)(struct loop_async *a);
	atomic_bool is_sent;
};
void loop_async_start(struct loop *loop, struct loop_async *a, void (*fn)(struct loop_async *));
void loop_async_stop(struct loop_async *a);
void loop_async_send(struct loop_async *a); /* any thread; several sends may become one call */

/*
 * Somebody else who waits for the loop, and for what the loop knows nothing of: the io_uring engine, whose every wait is also its
 * submission.  One per loop; NULL ends it.
 */
struct loop_waiter {
	/* Sleeps until there is something, TIMEOUT_US at most (LOOP_NO_TIMEOUT: without end; 0: only looks).  True if the descriptor
	 * loop_poll_fd() is readable: then the loop has events of its own. */
	bool (*wait)(struct loop_waiter *w, uint64_t timeout_us);
	void (*dispatch)(struct loop_waiter *w); /* handles what came: between the turn's start and its timers */
};
#define LOOP_NO_TIMEOUT UINT64_MAX
void loop_set_waiter(struct loop *loop, struct loop_waiter *w);
bool loop_waits_next(const struct loop *loop); /* asked at the turn's end: nothing is deferred, nobody stopped it */
int loop_poll_fd(const struct loop *loop);     /* -1: it cannot be waited for from outside */

#endif
