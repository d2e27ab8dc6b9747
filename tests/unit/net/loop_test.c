/* Timers, deferred calls, descriptors, hooks, signals. */
#include "net/loop.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "unitloop.h"

static char told[64];

static void tell(char c)
{
	size_t n = strlen(told);
	assert_true(n < sizeof told - 1);
	told[n] = c;
	told[n + 1] = '\0';
}

static int setup(void **state)
{
	told[0] = '\0';
	*state = loop_new(false);
	return 0;
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

struct lettered_timer {
	struct loop_timer t;
	char name;
};

static void timer_tells(struct loop_timer *t)
{
	tell(CONTAINER_OF(t, struct lettered_timer, t)->name);
}

static bool has_told(void *n)
{
	return strlen(told) >= *(size_t *)n;
}

static void timers_fire_in_order_and_once(void **state)
{
	struct loop *loop = *state;
	struct lettered_timer a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
	loop_timer_init(&a.t, timer_tells);
	loop_timer_init(&b.t, timer_tells);
	loop_timer_init(&c.t, timer_tells);
	loop_timer_start(loop, &a.t, 20 * US_PER_MS);
	loop_timer_start(loop, &b.t, 5 * US_PER_MS);
	loop_timer_start(loop, &c.t, 1 * US_PER_MS);
	loop_timer_stop(loop, &c.t);
	loop_timer_stop(loop, &c.t);
	assert_false(loop_timer_is_running(&c.t));
	uint64_t before = clock_us();
	size_t two = 2;
	run_until(loop, has_told, &two);
	assert_string_equal(told, "ba");
	assert_true(clock_us() - before >= 19 * US_PER_MS);
	assert_false(loop_timer_is_running(&a.t));
}

static void a_restarted_timer_counts_afresh(void **state)
{
	struct loop *loop = *state;
	struct lettered_timer a = { .name = 'a' }, b = { .name = 'b' };
	loop_timer_init(&a.t, timer_tells);
	loop_timer_init(&b.t, timer_tells);
	loop_timer_start(loop, &a.t, 1 * US_PER_MS);
	loop_timer_start(loop, &b.t, 10 * US_PER_MS);
	loop_timer_start(loop, &a.t, 20 * US_PER_MS);
	size_t two = 2;
	run_until(loop, has_told, &two);
	assert_string_equal(told, "ba");
}

struct lettered_defer {
	struct loop_defer d;
	struct loop *loop;
	char name;
	int again;
};

static void defer_tells(struct loop_defer *d)
{
	struct lettered_defer *l = CONTAINER_OF(d, struct lettered_defer, d);
	tell(l->name);
	if (l->again-- > 0)
		loop_defer(l->loop, d);
}

static void hook_tells(void *arg)
{
	tell(*(char *)arg);
}

static void deferred_calls_run_first_in_first_out_before_the_hook(void **state)
{
	struct loop *loop = *state;
	struct lettered_defer a = { .loop = loop, .name = 'a', .again = 1 }, b = { .loop = loop, .name = 'b' }, c = { .name = 'c' };
	char end = '.';
	loop_defer_init(&a.d, defer_tells);
	loop_defer_init(&b.d, defer_tells);
	loop_defer_init(&c.d, defer_tells);
	loop_on_turn_end(loop, hook_tells, &end);
	loop_defer(loop, &a.d);
	loop_defer(loop, &b.d);
	loop_defer(loop, &a.d);
	loop_defer(loop, &c.d);
	loop_defer_cancel(&c.d);
	run_turns(loop, 1);
	assert_memory_equal(told, "ab.a.", 5);
}

struct forever {
	struct loop_defer d;
	struct loop *loop;
	unsigned calls;
};

static void defer_forever(struct loop_defer *d)
{
	struct forever *f = CONTAINER_OF(d, struct forever, d);
	f->calls++;
	loop_defer(f->loop, d);
}

static void calls_that_defer_for_ever_do_not_starve_events(void **state)
{
	struct forever f = { .loop = *state };
	loop_defer_init(&f.d, defer_forever);
	loop_defer(f.loop, &f.d);
	run_turns(f.loop, 3); /* the timer that ends this is an event */
	assert_true(f.calls > 3);
	loop_defer_cancel(&f.d);
}

struct pipe_reader {
	struct loop_io io;
	struct loop *loop;
	int got;
};

static void read_pipe(struct loop_io *io, unsigned events)
{
	struct pipe_reader *r = CONTAINER_OF(io, struct pipe_reader, io);
	char c;
	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(io->ev.fd, &c, 1), 1);
	if (++r->got == 2)
		loop_io_set(r->loop, io, 0);
}

static bool has_got_two(void *arg)
{
	return ((struct pipe_reader *)arg)->got >= 2;
}

static void a_descriptor_is_heard_while_it_is_wanted(void **state)
{
	struct pipe_reader r = { .loop = *state };
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	loop_io_init(&r.io, fds[0], read_pipe);
	loop_io_set(r.loop, &r.io, LOOP_READ);
	run_until(r.loop, has_got_two, &r);
	run_turns(r.loop, 3);
	assert_int_equal(r.got, 2);
	close(fds[0]);
	close(fds[1]);
}

/* Whether some epoll of this process has FD registered. */
static bool is_registered(int fd)
{
	char path[64], text[4096], want[32];
	bool found = false;
	snprintf(want, sizeof want, "tfd: %8d ", fd);
	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", i);
		FILE *f = fopen(path, "r");
		size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
		text[n] = '\0';
		found = found || strstr(text, want);
		if (f)
			fclose(f);
	}
	return found;
}

static void a_released_descriptor_is_unknown_to_epoll(void **state)
{
	struct pipe_reader r = { .loop = *state };
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	loop_io_init(&r.io, fds[0], read_pipe);
	loop_io_set(r.loop, &r.io, LOOP_READ);
	loop_io_release(r.loop, &r.io); /* before it was ever known */
	loop_io_set(r.loop, &r.io, LOOP_READ);
	run_turns(r.loop, 2);
	assert_true(is_registered(fds[0]));
	loop_io_release(r.loop, &r.io);
	assert_false(is_registered(fds[0]));
	loop_io_init(&r.io, fds[0], read_pipe); /* and it may come back */
	loop_io_set(r.loop, &r.io, LOOP_READ);
	assert_int_equal(write(fds[1], "ab", 2), 2);
	run_until(r.loop, has_got_two, &r);
	close(fds[0]);
	close(fds[1]);
}

static uint64_t seen_us;

static void note_now(void *arg)
{
	seen_us = loop_now_us(arg);
}

static void time_stands_still_within_a_turn(void **state)
{
	struct loop *loop = *state;
	loop_on_turn_start(loop, note_now, loop);
	uint64_t before = clock_us();
	run_turns(loop, 2);
	assert_in_range(seen_us, before, clock_us());
	assert_true(loop_now_us(loop) >= seen_us);
}

static struct {
	struct loop_signal s;
	int signum;
} heard;

static void on_signal(struct loop_signal *s, int signum)
{
	heard.signum = signum;
}

static bool has_heard(void *arg)
{
	return heard.signum != 0;
}

static void signals_arrive_in_the_main_loop(void **state)
{
	struct loop *loop = loop_new(true);
	loop_signal_start(loop, &heard.s, SIGUSR1, on_signal);
	raise(SIGUSR1);
	run_until(loop, has_heard, NULL);
	assert_int_equal(heard.signum, SIGUSR1);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restarted_timer_counts_afresh, setup, teardown),
		cmocka_unit_test_setup_teardown(deferred_calls_run_first_in_first_out_before_the_hook, setup, teardown),
		cmocka_unit_test_setup_teardown(calls_that_defer_for_ever_do_not_starve_events, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_is_heard_while_it_is_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_released_descriptor_is_unknown_to_epoll, setup, teardown),
		cmocka_unit_test_setup_teardown(time_stands_still_within_a_turn, setup, teardown),
		cmocka_unit_test(signals_arrive_in_the_main_loop),
	};
	return UNIT_RUN(tests);
}
