/*
 * loop — one libev loop, run turn by turn.
 *
 *   wait (epoll_wait) -> turn-start hook -> events -> [deferred calls -> turn-end hook]*
 *
 * The bracket repeats while its own calls defer more, a bounded number of times; what is left then is done after a wait of
 * zero, so that two calls that defer each other cannot starve the descriptors.
 *
 * Always: time is read once a turn.  A turn that has nothing to change costs one system call, epoll_wait: libev gathers
 * changes of interest and hands them to epoll once, and a watcher that was stopped and started again costs nothing.
 */
#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define ROUNDS_MAX 16
#define SEARCH_FDS 65536

struct loop {
	struct ev_loop *ev;
	ev_check turn_start;
	struct dlist deferred;
	void (*on_turn_start)(void *arg);
	void *turn_start_arg;
	void (*on_turn_end)(void *arg);
	void *turn_end_arg;
	uint64_t now_us; /* 0: no turn is running */
	int epoll_fd;    /* libev's; -1: not found */
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
	io->fn(io, revents & EV_ERROR ? LOOP_READ | LOOP_WRITE : (unsigned)revents & (LOOP_READ | LOOP_WRITE));
}

static void timer_fired(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct loop_timer *t = CONTAINER_OF(w, struct loop_timer, ev);
	t->fn(t);
}

static void signal_came(struct ev_loop *ev, ev_signal *w, int revents)
{
	struct loop_signal *s = CONTAINER_OF(w, struct loop_signal, ev);
	s->fn(s, w->signum);
}

static void async_came(struct ev_loop *ev, ev_async *w, int revents)
{
	struct loop_async *a = CONTAINER_OF(w, struct loop_async, ev);
	a->fn(a);
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

struct loop *loop_new(bool is_main)
{
	const unsigned flags = EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD;
	struct loop *loop = mem_alloc(sizeof *loop);
	loop->ev = is_main ? ev_default_loop(flags) : ev_loop_new(flags);
	if (!loop->ev)
		die("cannot make an event loop: epoll is not available");
	loop->epoll_fd = find_epoll(loop->ev);
	dlist_init(&loop->deferred);
	ev_check_init(&loop->turn_start, begin_turn);
	ev_set_priority(&loop->turn_start, EV_MAXPRI);
	ev_check_start(loop->ev, &loop->turn_start);
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	ev_check_stop(loop->ev, &loop->turn_start);
	ev_loop_destroy(loop->ev);
	mem_free(loop);
}

void loop_run(struct loop *loop)
{
	loop->is_stopping = false;
	loop->now_us = clock_us();
	bool may_sleep = end_turn(loop); /* what was queued before the loop ran */
	while (!loop->is_stopping) {
		ev_run(loop->ev, may_sleep ? EVRUN_ONCE : EVRUN_NOWAIT);
		may_sleep = end_turn(loop);
	}
	loop->now_us = 0;
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
	ev_timer_init(&t->ev, timer_fired, 0., 0.);
	t->fn = fn;
}

void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t after_us)
{
	ev_timer_stop(loop->ev, &t->ev);
	if (!loop->now_us)
		ev_now_update(loop->ev); /* between runs libev's idea of now is as old as its last turn */
	ev_timer_set(&t->ev, (double)after_us / US_PER_S, 0.);
	ev_timer_start(loop->ev, &t->ev);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *t)
{
	ev_timer_stop(loop->ev, &t->ev);
}

bool loop_timer_is_running(const struct loop_timer *t)
{
	return ev_is_active(&t->ev);
}

void loop_io_init(struct loop_io *io, int fd, void (*fn)(struct loop_io *, unsigned))
{
	ev_io_init(&io->ev, io_ready, fd, 0);
	io->fn = fn;
}

void loop_io_set(struct loop *loop, struct loop_io *io, unsigned events)
{
	unsigned now = ev_is_active(&io->ev) ? (unsigned)io->ev.events & (LOOP_READ | LOOP_WRITE) : 0;
	if (now == events)
		return;
	if (now)
		ev_io_stop(loop->ev, &io->ev);
	/* Not ev_io_set(): it would make libev call epoll_ctl even where nothing changes. */
	ev_io_modify(&io->ev, (int)events);
	if (events)
		ev_io_start(loop->ev, &io->ev);
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
	ev_async_init(&a->ev, async_came);
	a->loop = loop;
	a->fn = fn;
	ev_async_start(loop->ev, &a->ev);
}

void loop_async_stop(struct loop_async *a)
{
	ev_async_stop(a->loop->ev, &a->ev);
}

void loop_async_send(struct loop_async *a)
{
	ev_async_send(a->loop->ev, &a->ev);
}
