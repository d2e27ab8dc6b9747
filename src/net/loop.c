/*
 * loop — one libev loop, run turn by turn.
 *
 *   wait (epoll_wait) -> turn-start hook -> events -> timers -> [deferred calls -> turn-end hook]*
 *
 * With a waiter: waiter->wait -> (libev's events if it has any) -> waiter->dispatch -> timers -> […]*.  That is why timers and wake-ups
 * are ours and not libev's: it tells nobody when it wants to be run, and wakes only a loop that sleeps in its own epoll_wait.
 *
 * The bracket repeats while its own calls defer more, a bounded number of times; what is left then is done after a wait of
 * zero, so that two calls that defer each other cannot starve the descriptors.
 *
 * A simulation's loop has the same timers and deferred calls, and nothing to wait for: its turn is at the time of what comes next.
 *
 * Always: time is read once a turn.  A turn that has nothing to change costs one system call, epoll_wait: libev gathers
 * changes of interest and hands them to epoll once, and a watcher that was stopped and started again costs nothing.
 */
#include "net/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "timers.h"

#define ROUNDS_MAX 16
#define SEARCH_FDS 65536

struct loop {
	struct ev_loop *ev;
	ev_check turn_start;
	struct timers timers;
	ev_timer tick; /* the first of them, or earlier: in libev's stead a waiter knows */
	uint64_t tick_us;
	struct dlist deferred;
	struct dlist asyncs;
	struct loop_io wake; /* an eventfd: some async was sent */
	atomic_bool is_woken;
	struct loop_waiter *waiter;
	bool has_changes; /* libev has not yet told epoll of the last ones */
	void (*on_turn_start)(void *arg);
	void *turn_start_arg;
	void (*on_turn_end)(void *arg);
	void *turn_end_arg;
	uint64_t now_us; /* 0: no turn is running */
	int epoll_fd;    /* libev's; -1: not found */
	uint64_t *clock; /* of a simulation, which has no libev; NULL: time is real */
	bool is_stopping;
};

static void begin_turn(struct ev_loop *ev, ev_check *check, int revents)
{
	struct loop *loop = CONTAINER_OF(check, struct loop, turn_start);
	loop->now_us = clock_us();
	if (loop->on_turn_start)
		loop->on_turn_start(loop->turn_start_arg);
}

/* What a deferred call defers waits for the next round. */
static void run_deferred(struct loop *loop)
{
	struct dlist round;
	dlist_take(&round, &loop->deferred);
	for (struct dlist *l; (l = dlist_pop_front(&round));) {
		struct loop_defer *d = CONTAINER_OF(l, struct loop_defer, link);
		d->fn(d);
	}
}

/* True when everything is done and the loop may sleep. */
static bool end_turn(struct loop *loop)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		run_deferred(loop);
		if (loop->on_turn_end)
			loop->on_turn_end(loop->turn_end_arg);
		if (dlist_is_empty(&loop->deferred))
			return true;
	}
	return false;
}

/* EV_ERROR (libev found the descriptor bad) is shown as readiness: the next recv or send will tell. */
static void io_ready(struct ev_loop *ev, ev_io *w, int revents)
{
	struct loop_io *io = CONTAINER_OF(w, struct loop_io, ev);
	void (*fn)(struct loop_io *, unsigned) = (void (*)(struct loop_io *, unsigned))w->data;
	fn(io, revents & EV_ERROR ? LOOP_READ | LOOP_WRITE : (unsigned)revents & (LOOP_READ | LOOP_WRITE));
}

static void ticked(struct ev_loop *ev, ev_timer *w, int revents)
{
	CONTAINER_OF(w, struct loop, tick)->tick_us = TIMERS_NEVER;
}

static void signal_came(struct ev_loop *ev, ev_signal *w, int revents)
{
	struct loop_signal *s = CONTAINER_OF(w, struct loop_signal, ev);
	s->fn(s, w->signum);
}

/* is_woken first: who sends from here on writes again.  Each is called once: threads that answer each other's letters must not keep a
 * loop from its sockets.  A call may stop any of them. */
static void run_asyncs(struct loop *loop)
{
	struct dlist round;
	atomic_store(&loop->is_woken, false);
	dlist_take(&round, &loop->asyncs);
	for (struct dlist *l; (l = dlist_pop_front(&round));) {
		struct loop_async *a = CONTAINER_OF(l, struct loop_async, link);
		dlist_push_back(&loop->asyncs, l);
		if (atomic_exchange(&a->is_sent, false))
			a->fn(a);
	}
}

static void woken(struct loop_io *io, unsigned events)
{
	uint64_t n;
	if (read(io->ev.fd, &n, sizeof n) < 0 && errno != EAGAIN)
		die("cannot read a loop's eventfd");
	run_asyncs(CONTAINER_OF(io, struct loop, wake));
}

static void io_ignored(struct ev_loop *ev, ev_io *w, int revents)
{
}

/*
 * libev hides its epoll descriptor and leaves a stopped watcher's descriptor registered until an event comes for it.  That
 * is right for one that will be closed, but one that was given to another thread would be taken out at some later time,
 * when it may have been closed there and its number belong to something else.  So we find the epoll descriptor, which is the
 * one that knows a descriptor that only this loop watches.  By syscall(2), as it asks descriptors that others are using.
 */
static int find_epoll(struct ev_loop *ev)
{
	int probe = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), found = -1;
	ev_io watcher;
	ev_io_init(&watcher, io_ignored, probe, EV_READ);
	ev_io_start(ev, &watcher);
	ev_run(ev, EVRUN_NOWAIT);
	for (int fd = 0; fd < SEARCH_FDS && found < 0; fd++) {
		struct epoll_event none = { 0 };
		if (syscall(SYS_epoll_ctl, fd, EPOLL_CTL_MOD, probe, &none) == 0)
			found = fd;
	}
	ev_io_stop(ev, &watcher);
	close(probe);
	return found;
}

static void wake_start(struct loop *loop)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		die("cannot make an event loop: no descriptor for its wake-ups");
	dlist_init(&loop->asyncs);
	loop_io_init(&loop->wake, fd, woken);
	loop_io_set(loop, &loop->wake, LOOP_READ);
}

struct loop *loop_new(bool is_main)
{
	const unsigned flags = EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD;
	struct loop *loop = mem_alloc(sizeof *loop);
	loop->ev = is_main ? ev_default_loop(flags) : ev_loop_new(flags);
	if (!loop->ev)
		die("cannot make an event loop: epoll is not available");
	/* libev's default loop would wait for every child of the process, also for those that a PAM module waits for itself. */
	if (is_main)
		signal(SIGCHLD, SIG_DFL);
	loop->epoll_fd = find_epoll(loop->ev);
	dlist_init(&loop->deferred);
	wake_start(loop);
	ev_timer_init(&loop->tick, ticked, 0., 0.);
	loop->tick_us = TIMERS_NEVER;
	ev_check_init(&loop->turn_start, begin_turn);
	ev_set_priority(&loop->turn_start, EV_MAXPRI);
	ev_check_start(loop->ev, &loop->turn_start);
	return loop;
}

struct loop *loop_new_simulated(uint64_t *now_us)
{
	struct loop *loop = mem_alloc(sizeof *loop);
	loop->clock = now_us;
	loop->epoll_fd = -1;
	dlist_init(&loop->deferred);
	dlist_init(&loop->asyncs);
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->clock) {
		timers_fini(&loop->timers);
		mem_free(loop);
		return;
	}
	ev_check_stop(loop->ev, &loop->turn_start);
	ev_timer_stop(loop->ev, &loop->tick);
	loop_io_set(loop, &loop->wake, 0);
	ev_loop_destroy(loop->ev);
	close(loop->wake.ev.fd);
	timers_fini(&loop->timers);
	mem_free(loop);
}

/* What a timer starts anew is for a later turn, also with no time at all: it lies behind this turn's now. */
static void run_timers(struct loop *loop)
{
	for (struct loop_timer *t; (t = timers_pop(&loop->timers, loop->now_us));)
		t->fn(t);
}

static uint64_t us_to_first(const struct loop *loop)
{
	uint64_t first = timers_first_us(&loop->timers), now = first == TIMERS_NEVER ? 0 : clock_us();
	return first == TIMERS_NEVER ? LOOP_NO_TIMEOUT : first > now ? first - now : 0;
}

/* A tick that is too early does no harm, so it stays when the first timer is stopped. */
static void arm_tick(struct loop *loop)
{
	uint64_t first = timers_first_us(&loop->timers);
	if (first >= loop->tick_us)
		return;
	loop->tick_us = first;
	ev_timer_stop(loop->ev, &loop->tick);
	ev_timer_set(&loop->tick, (double)us_to_first(loop) / US_PER_S, 0.);
	ev_timer_start(loop->ev, &loop->tick);
}

static void turn(struct loop *loop, bool may_sleep)
{
	if (may_sleep)
		arm_tick(loop);
	ev_run(loop->ev, may_sleep ? EVRUN_ONCE : EVRUN_NOWAIT);
}

/* libev is run only when it has something to say, or to tell epoll. */
static void turn_by_waiter(struct loop *loop, bool may_sleep)
{
	struct loop_waiter *w = loop->waiter;
	bool has_events = w->wait(w, may_sleep && !loop->has_changes ? us_to_first(loop) : 0);
	if (has_events || loop->has_changes) {
		loop->has_changes = false;
		ev_run(loop->ev, EVRUN_NOWAIT);
	} else
		begin_turn(loop->ev, &loop->turn_start, 0);
	if (loop->waiter == w)
		w->dispatch(w);
}

void loop_run(struct loop *loop)
{
	loop->is_stopping = false;
	loop->now_us = clock_us();
	bool may_sleep = end_turn(loop); /* what was queued before the loop ran */
	while (!loop->is_stopping) {
		if (loop->waiter)
			turn_by_waiter(loop, may_sleep);
		else
			turn(loop, may_sleep);
		run_timers(loop);
		may_sleep = end_turn(loop);
	}
	loop->now_us = 0;
}

bool loop_turn_simulated(struct loop *loop, uint64_t until_us)
{
	uint64_t first = timers_first_us(&loop->timers);
	if (!dlist_is_empty(&loop->deferred) || atomic_load(&loop->is_woken))
		first = *loop->clock;
	if (first > until_us) {
		*loop->clock = until_us;
		return false;
	}
	*loop->clock = first > *loop->clock ? first : *loop->clock;
	loop->now_us = *loop->clock;
	if (loop->on_turn_start)
		loop->on_turn_start(loop->turn_start_arg);
	if (atomic_load(&loop->is_woken))
		run_asyncs(loop);
	run_timers(loop);
	end_turn(loop);
	loop->now_us = 0;
	return true;
}

void loop_stop(struct loop *loop)
{
	loop->is_stopping = true;
}

uint64_t loop_now_us(const struct loop *loop)
{
	return loop->now_us ? loop->now_us : clock_us();
}

void loop_defer_init(struct loop_defer *d, void (*fn)(struct loop_defer *))
{
	dlist_init(&d->link);
	d->fn = fn;
}

void loop_defer(struct loop *loop, struct loop_defer *d)
{
	if (!dlist_is_linked(&d->link))
		dlist_push_back(&loop->deferred, &d->link);
}

void loop_defer_cancel(struct loop_defer *d)
{
	dlist_remove(&d->link);
}

void loop_on_turn_end(struct loop *loop, void (*hook)(void *arg), void *arg)
{
	loop->on_turn_end = hook;
	loop->turn_end_arg = arg;
}

void loop_on_turn_start(struct loop *loop, void (*hook)(void *arg), void *arg)
{
	loop->on_turn_start = hook;
	loop->turn_start_arg = arg;
}

void loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *))
{
	*t = (struct loop_timer){ .fn = fn };
}

void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t after_us)
{
	timers_set(&loop->timers, t, loop_now_us(loop) + (after_us ? after_us : 1));
}

void loop_timer_stop(struct loop *loop, struct loop_timer *t)
{
	timers_stop(&loop->timers, t);
}

bool loop_timer_is_running(const struct loop_timer *t)
{
	return t->place != 0;
}

void loop_io_init(struct loop_io *io, int fd, void (*fn)(struct loop_io *, unsigned))
{
	ev_io_init(&io->ev, io_ready, fd, 0);
	io->ev.data = (void *)fn;
}

void loop_io_set(struct loop *loop, struct loop_io *io, unsigned events)
{
	unsigned now = ev_is_active(&io->ev) ? (unsigned)io->ev.events & (LOOP_READ | LOOP_WRITE) : 0;
	if (now == events)
		return;
	ASSERT(loop->ev);
	if (now)
		ev_io_stop(loop->ev, &io->ev);
	/* Not ev_io_set(): it would make libev call epoll_ctl even where nothing changes. */
	ev_io_modify(&io->ev, (int)events);
	if (events)
		ev_io_start(loop->ev, &io->ev);
	loop->has_changes = true;
}

void loop_io_release(struct loop *loop, struct loop_io *io)
{
	struct epoll_event none = { 0 };
	loop_io_set(loop, io, 0);
	if (loop->epoll_fd >= 0)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->ev.fd, &none); /* ENOENT: it was never registered */
}

void loop_signal_start(struct loop *loop, struct loop_signal *s, int signum, void (*fn)(struct loop_signal *, int))
{
	ev_signal_init(&s->ev, signal_came, signum);
	s->fn = fn;
	ev_signal_start(loop->ev, &s->ev);
}

void loop_async_start(struct loop *loop, struct loop_async *a, void (*fn)(struct loop_async *))
{
	a->loop = loop;
	a->fn = fn;
	atomic_init(&a->is_sent, false);
	dlist_push_back(&loop->asyncs, &a->link);
}

void loop_async_stop(struct loop_async *a)
{
	dlist_remove(&a->link);
}

void loop_async_send(struct loop_async *a)
{
	const uint64_t one = 1;
	atomic_store(&a->is_sent, true);
	if (!atomic_exchange(&a->loop->is_woken, true) && !a->loop->clock && write(a->loop->wake.ev.fd, &one, sizeof one) < 0)
		die("cannot write to a loop's eventfd");
}

void loop_set_waiter(struct loop *loop, struct loop_waiter *w)
{
	loop->waiter = w;
	loop->has_changes = true; /* what it found out meanwhile */
}

bool loop_waits_next(const struct loop *loop)
{
	return !loop->is_stopping && dlist_is_empty(&loop->deferred);
}

int loop_poll_fd(const struct loop *loop)
{
	return loop->epoll_fd;
}
