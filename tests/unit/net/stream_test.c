/* Streams over socket pairs: order, remainders, pauses, backpressure, and every way to end. */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rand.h"
#include "unitengine.h"
#include "unitloop.h"

static struct loop *loop;
static struct engine *engine;

static int unit_setup(void **state)
{
	loop = loop_new(false);
	engine = unit_engine(loop);
	return 0;
}

static int unit_teardown(void **state)
{
	engine_free(engine);
	loop_free(loop);
	return 0;
}

/* An end that remembers what happened to it. */
struct end {
	struct stream s;
	struct buf got;
	struct stream *to;   /* relays there, lent */
	unsigned shows;      /* calls of on_data */
	size_t take_at_most; /* of each show; 0: everything */
	bool is_closed, is_connected, is_drained;
	enum stream_end why;
	int error;
	void (*also)(struct end *e); /* runs inside on_data, after the rest */
};

static size_t end_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct end *e = s->owner;
	e->shows++;
	if (e->take_at_most && bytes.len > e->take_at_most)
		bytes.len = e->take_at_most;
	if (e->to)
		stream_send(e->to, bytes, lent);
	else
		assert_true(buf_append(&e->got, bytes));
	if (e->also)
		e->also(e);
	return bytes.len;
}

static void end_closed(struct stream *s, enum stream_end why, int error)
{
	struct end *e = s->owner;
	assert_false(e->is_closed);
	assert_false(stream_is_open(s));
	e->is_closed = true;
	e->why = why;
	e->error = error;
}

static void end_drained(struct stream *s)
{
	((struct end *)s->owner)->is_drained = true;
}

static void end_connected(struct stream *s)
{
	((struct end *)s->owner)->is_connected = true;
}

static const struct stream_ops end_ops = {
	.on_data = end_data, .on_drained = end_drained, .on_closed = end_closed, .on_connected = end_connected
};

static void make_pair(int type, int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static int open_end(struct end *e)
{
	int fds[2];
	make_pair(SOCK_STREAM, fds);
	stream_open(&e->s, engine, fds[0], &end_ops, e);
	return fds[1];
}

static void open_both(struct end *a, struct end *b)
{
	int fd = open_end(a);
	stream_open(&b->s, engine, fd, &end_ops, b);
}

static void finish_end(struct end *e)
{
	stream_close(&e->s);
	buf_fini(&e->got);
}

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void assert_got(struct end *e, const char *text)
{
	assert_int_equal(buf_len(&e->got), strlen(text));
	assert_memory_equal(buf_slice(&e->got).at, text, strlen(text));
}

static void assert_idle(struct stream *s)
{
	assert_null(s->in.data);
	assert_null(s->out.data);
	assert_null(s->gather);
	assert_int_equal(stream_backlog(s), 0);
	assert_int_equal(stream_unread(s), 0);
}

static uint8_t *noise(size_t len)
{
	uint8_t *at = mem_alloc(len);
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)rand_fast();
	return at;
}

/* Waits until E got N bytes. */
struct wanted {
	struct end *e;
	size_t n;
};

static bool has_bytes(void *arg)
{
	struct wanted *w = arg;
	return buf_len(&w->e->got) >= w->n;
}

static void run_until_got(struct end *e, size_t n)
{
	run_until(loop, has_bytes, &(struct wanted){ e, n });
}

#define BIG (3u << 20)

static void order_is_kept_through_partial_writes(void **state)
{
	struct end a = { 0 }, b = { 0 };
	uint8_t *bytes = noise(BIG);
	open_both(&a, &b);
	setsockopt(stream_fd(&a.s), SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	b.take_at_most = 3000;
	for (size_t at = 0, n; at < BIG; at += n) {
		n = rand_fast() % 9000;
		n = n > BIG - at ? BIG - at : n;
		stream_send(&a.s, slice_of(bytes + at, n), NULL);
		if (rand_fast() % 50 == 0)
			run_turns(loop, 1);
	}
	b.take_at_most = 0;
	run_until_got(&b, BIG);
	assert_memory_equal(buf_slice(&b.got).at, bytes, BIG);
	assert_idle(&a.s);
	assert_idle(&b.s);
	finish_end(&a);
	finish_end(&b);
	mem_free(bytes);
}

/* Takes an odd part of what it sees, pauses now and then: the far end must get every byte in order all the same. */
static struct loop_timer resume_timer;
static struct end *paused_relay;

static void resume_relay(struct loop_timer *t)
{
	stream_resume(&paused_relay->s);
}

static void act_randomly(struct end *e)
{
	e->take_at_most = 1 + rand_fast() % 40000;
	if (rand_fast() % 2) {
		stream_pause(&e->s);
		paused_relay = e;
		loop_timer_start(loop, &resume_timer, rand_fast() % 300);
	}
	if (rand_fast() % 8 == 0)
		stream_send(e->to, slice_of(NULL, 0), NULL);
}

static void a_relay_that_takes_parts_and_pauses_loses_nothing(void **state)
{
	struct end source = { 0 }, left = { 0 }, right = { 0 }, sink = { 0 };
	uint8_t *bytes = noise(BIG);
	open_both(&source, &left);
	open_both(&right, &sink);
	left.to = &right.s;
	left.also = act_randomly;
	left.take_at_most = 1000;
	loop_timer_init(&resume_timer, resume_relay);
	stream_send(&source.s, slice_of(bytes, BIG), NULL);
	run_turns(loop, 20);
	left.also = NULL;
	left.take_at_most = 0;
	stream_send(&source.s, slice_text("!"), NULL); /* shows the last remainder too */
	run_until_got(&sink, BIG + 1);
	assert_memory_equal(buf_slice(&sink.got).at, bytes, BIG);
	assert_idle(&left.s);
	assert_idle(&right.s);
	loop_timer_stop(loop, &resume_timer);
	finish_end(&source);
	finish_end(&left);
	finish_end(&right);
	finish_end(&sink);
	mem_free(bytes);
}

/* A SEQPACKET socket keeps each write apart, so the records show how many system calls were made. */
static struct stream packets;

static void rewrite_the_head(struct end *e)
{
	stream_send(&packets, slice_text("new "), NULL);
	stream_send(&packets, slice_text("head, "), NULL);
}

static size_t split_lent(struct stream *s, struct slice bytes, struct lent *lent)
{
	rewrite_the_head(s->owner);
	stream_send(&packets, slice_of(bytes.at + 4, 3), lent);
	stream_send(&packets, slice_of(bytes.at + 7, bytes.len - 7), lent);
	return bytes.len;
}

static void what_one_callback_sends_leaves_in_one_write(void **state)
{
	static const struct stream_ops ops = { .on_data = split_lent, .on_closed = end_closed };
	struct end a = { 0 }, p = { 0 };
	int fds[2], fd = open_end(&a);
	char record[64];
	a.s.ops = &ops;
	make_pair(SOCK_SEQPACKET, fds);
	stream_open(&packets, engine, fds[0], &end_ops, &p);
	put(fd, "old untouched tail");
	run_turns(loop, 3);
	assert_int_equal(read(fds[1], record, sizeof record), 24);
	assert_memory_equal(record, "new head, untouched tail", 24);
	stream_send(&packets, slice_text("after "), NULL);
	stream_send(&packets, slice_text("that"), NULL);
	run_turns(loop, 2);
	assert_int_equal(read(fds[1], record, sizeof record), 10);
	assert_int_equal(read(fds[1], record, sizeof record), -1);
	assert_idle(&packets);
	stream_close(&packets);
	finish_end(&a);
	close(fd);
	close(fds[1]);
}

static void many_scattered_slices_arrive(void **state)
{
	struct end a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	open_both(&a, &b);
	open_both(&c, &d);
	for (int i = 0; i < 500; i++) { /* interleaved, so that no two touch */
		char text[16];
		snprintf(text, sizeof text, "%05d", i);
		stream_send(&a.s, slice_text(text), NULL);
		stream_send(&c.s, slice_text("x"), NULL);
	}
	run_until_got(&b, 2500);
	run_until_got(&d, 500);
	assert_memory_equal(buf_slice(&b.got).at + 2490, "0049800499", 10);
	finish_end(&a);
	finish_end(&b);
	finish_end(&c);
	finish_end(&d);
}

static void a_remainder_is_shown_with_what_follows(void **state)
{
	struct end a = { 0 };
	int fd = open_end(&a);
	a.take_at_most = 1;
	put(fd, "abc");
	run_turns(loop, 3);
	assert_int_equal(a.shows, 1); /* not again until more comes */
	assert_int_equal(stream_unread(&a.s), 2);
	a.take_at_most = 0;
	put(fd, "d");
	run_turns(loop, 3);
	assert_int_equal(a.shows, 2);
	assert_got(&a, "abcd");
	assert_idle(&a.s);
	finish_end(&a);
	close(fd);
}

static size_t wants_it_whole(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct end *e = s->owner;
	if (bytes.len < 1000000)
		return 0;
	assert_true(buf_append(&e->got, bytes));
	return bytes.len;
}

static void a_large_message_is_gathered_into_one_slice(void **state)
{
	static const struct stream_ops ops = { .on_data = wants_it_whole, .on_closed = end_closed };
	struct end a = { 0 }, b = { 0 };
	uint8_t *bytes = noise(1000000);
	open_both(&a, &b);
	b.s.ops = &ops;
	stream_send(&a.s, slice_of(bytes, 1000000), NULL);
	run_until_got(&b, 1000000);
	assert_memory_equal(buf_slice(&b.got).at, bytes, 1000000);
	assert_idle(&b.s);
	finish_end(&a);
	finish_end(&b);
	mem_free(bytes);
}

static void pause_inside(struct end *e)
{
	stream_pause(&e->s);
}

static void a_paused_stream_is_silent_until_it_is_resumed(void **state)
{
	struct end a = { .also = pause_inside, .take_at_most = 2 };
	int fd = open_end(&a);
	put(fd, "abcdef");
	run_turns(loop, 3);
	assert_got(&a, "ab");
	put(fd, "gh");
	run_turns(loop, 3);
	assert_got(&a, "ab");
	stream_resume(&a.s);
	assert_got(&a, "ab"); /* never from inside the call */
	run_turns(loop, 3);
	assert_got(&a, "abcd");
	a.also = NULL;
	a.take_at_most = 0;
	stream_resume(&a.s);
	stream_resume(&a.s);
	run_turns(loop, 3);
	assert_got(&a, "abcdefgh");
	assert_idle(&a.s);
	finish_end(&a);
	close(fd);
}

static void a_paused_stream_hears_that_its_peer_left(void **state)
{
	struct end a = { 0 };
	int fd = open_end(&a);
	stream_pause(&a.s);
	close(fd);
	run_until(loop, is_flag_set, &a.is_closed);
	assert_int_equal(a.why, STREAM_END_EOF);
}

static void bytes_before_the_end_are_shown_after_the_pause(void **state)
{
	struct end a = { .take_at_most = 1, .also = pause_inside }, b = { 0 };
	int fd = open_end(&a), fd_b = open_end(&b);
	stream_pause(&b.s);
	put(fd, "abc");
	run_turns(loop, 2);
	put(fd_b, "unread");
	close(fd);
	close(fd_b);
	run_turns(loop, 3);
	assert_false(a.is_closed);
	assert_false(b.is_closed);
	a.also = NULL;
	a.take_at_most = 0;
	stream_resume(&a.s);
	stream_resume(&b.s);
	run_until(loop, is_flag_set, &a.is_closed);
	run_until(loop, is_flag_set, &b.is_closed);
	assert_got(&a, "abc");
	assert_got(&b, "unread");
	finish_end(&a);
	finish_end(&b);
}

static void a_full_stream_says_when_it_is_drained(void **state)
{
	struct end a = { 0 };
	uint8_t *bytes = noise(2 * STREAM_HIGH);
	static char sink[65536];
	int fd = open_end(&a);
	setsockopt(stream_fd(&a.s), SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	stream_send(&a.s, slice_of(bytes, 2 * STREAM_HIGH), NULL);
	assert_true(stream_is_high(&a.s));
	run_turns(loop, 3);
	assert_true(stream_is_high(&a.s));
	while (!a.is_drained) {
		assert_true(stream_backlog(&a.s) >= STREAM_LOW);
		while (read(fd, sink, sizeof sink) > 0) {
		}
		run_turns(loop, 2);
	}
	assert_true(stream_backlog(&a.s) < STREAM_LOW);
	a.is_drained = false;
	while (stream_backlog(&a.s)) {
		while (read(fd, sink, sizeof sink) > 0) {
		}
		run_turns(loop, 2);
	}
	assert_false(a.is_drained); /* once */
	assert_idle(&a.s);
	finish_end(&a);
	close(fd);
	mem_free(bytes);
}

static void much_at_once_that_the_kernel_takes_at_once_is_drained_too(void **state)
{
	struct end a = { 0 };
	int fd = open_end(&a);
	setsockopt(stream_fd(&a.s), SOL_SOCKET, SO_SNDBUF, &(int){ 4 << 20 }, sizeof(int));
	uint8_t *bytes = noise(STREAM_HIGH);
	static char sink[STREAM_HIGH];
	stream_send(&a.s, slice_of(bytes, STREAM_HIGH), NULL);
	do {
		run_turns(loop, 2);
	} while (!a.is_drained && read(fd, sink, sizeof sink) > 0);
	assert_true(a.is_drained);
	finish_end(&a);
	close(fd);
	mem_free(bytes);
}

static void detaching_gives_the_descriptor_away(void **state)
{
	struct end a = { .take_at_most = 1 };
	int fd = open_end(&a);
	char got[8];
	stream_send(&a.s, slice_text("x"), NULL);
	assert_int_equal(stream_detach(&a.s, NULL), -1); /* backlog */
	put(fd, "ab");
	run_turns(loop, 2);
	assert_int_equal(stream_detach(&a.s, NULL), -1); /* remainder */
	a.take_at_most = 0;
	put(fd, "c");
	run_turns(loop, 2);
	int mine = stream_detach(&a.s, NULL);
	assert_true(mine >= 0);
	assert_false(stream_is_open(&a.s));
	assert_int_equal(stream_detach(&a.s, NULL), -1);
	stream_send(&a.s, slice_text("into the void"), NULL);
	put(fd, "mine");
	run_turns(loop, 3);
	assert_got(&a, "abc");
	assert_int_equal(read(mine, got, sizeof got), 4);
	struct end b = { 0 };
	stream_open(&b.s, engine, mine, &end_ops, &b); /* and back */
	put(fd, "again");
	run_turns(loop, 3);
	assert_got(&b, "again");
	finish_end(&a);
	finish_end(&b);
	close(fd);
}

/* Two ends on the heap that die inside a callback, memory and all. */
static struct end *victims[2];

static void kill_both(struct end *e)
{
	stream_send(&victims[1]->s, slice_text("last words"), NULL);
	for (int i = 0; i < 2; i++) {
		stream_close(&victims[i]->s);
		stream_close(&victims[i]->s);
		buf_fini(&victims[i]->got);
		mem_free(victims[i]);
	}
}

static size_t kill_and_lend(struct stream *s, struct slice bytes, struct lent *lent)
{
	stream_send(&victims[1]->s, bytes, lent);
	kill_both(s->owner);
	return bytes.len;
}

static void a_callback_may_close_and_free_itself_and_others(void **state)
{
	static const struct stream_ops ops = { .on_data = kill_and_lend, .on_closed = end_closed };
	for (int round = 0; round < 4; round++) {
		int fds[2];
		char got[32] = "";
		for (int i = 0; i < 2; i++) {
			victims[i] = mem_alloc(sizeof *victims[i]);
			fds[i] = open_end(victims[i]);
		}
		victims[0]->s.ops = &ops;
		put(fds[0], "abc ");
		if (round & 1)
			put(fds[1], "also ready in this turn");
		if (round & 2) { /* from a remainder that is shown again */
			victims[0]->s.ops = &end_ops;
			victims[0]->take_at_most = 2;
			victims[0]->also = pause_inside;
			run_turns(loop, 2);
			victims[0]->s.ops = &ops;
			stream_resume(&victims[0]->s);
			stream_pause(&victims[1]->s);
			stream_resume(&victims[1]->s);
		}
		run_turns(loop, 3);
		assert_int_equal(read(fds[1], got, sizeof got), round & 2 ? 12 : 14);
		assert_string_equal(got, round & 2 ? "c last words" : "abc last words");
		close(fds[0]);
		close(fds[1]);
	}
}

static void close_inside_drained(struct stream *s)
{
	stream_close(s);
	mem_free(s->owner);
}

static void closing_when_drained_is_safe(void **state)
{
	static const struct stream_ops ops = { .on_data = end_data, .on_closed = end_closed, .on_drained = close_inside_drained };
	struct end *a = mem_alloc(sizeof *a), b = { 0 };
	uint8_t *bytes = noise(STREAM_HIGH);
	open_both(a, &b);
	a->s.ops = &ops;
	stream_send(&a->s, slice_of(bytes, STREAM_HIGH), NULL);
	run_until(loop, is_flag_set, &b.is_closed);
	assert_int_equal(b.why, STREAM_END_EOF);
	finish_end(&b);
	mem_free(bytes);
}

static void a_broken_write_is_told_once_after_the_last_words(void **state)
{
	struct end a = { 0 }, b = { 0 };
	int fd = open_end(&a), fd_b = open_end(&b);
	put(fd, "FATAL");
	close(fd);
	stream_pause(&b.s);
	put(fd_b, "unread");
	close(fd_b);
	stream_send(&a.s, slice_text("x"), NULL);
	stream_send(&b.s, slice_text("x"), NULL);
	run_until(loop, is_flag_set, &a.is_closed);
	run_until(loop, is_flag_set, &b.is_closed);
	assert_got(&a, "FATAL");
	assert_int_equal(a.why, STREAM_END_ERROR);
	assert_int_equal(a.error, EPIPE);
	assert_int_equal(b.why, STREAM_END_ERROR);
	finish_end(&a);
	finish_end(&b);
}

static void closing_after_the_flush_delivers_everything(void **state)
{
	struct end a = { 0 }, b = { 0 };
	uint8_t *bytes = noise(BIG);
	open_both(&a, &b);
	stream_send(&b.s, slice_text("input nobody wants"), NULL);
	stream_send(&a.s, slice_of(bytes, BIG), NULL);
	stream_close_after_flush(&a.s);
	stream_close_after_flush(&a.s);
	stream_send(&a.s, slice_text("too late"), NULL);
	assert_false(a.is_closed);
	run_until(loop, is_flag_set, &a.is_closed);
	run_until(loop, is_flag_set, &b.is_closed);
	assert_int_equal(a.why, STREAM_END_EOF);
	assert_int_equal(buf_len(&b.got), BIG);
	assert_int_equal(buf_len(&a.got), 0);
	finish_end(&a);
	finish_end(&b);
	mem_free(bytes);
}

static void a_peer_that_does_not_read_cannot_hold_a_closing_stream(void **state)
{
	struct end a = { 0 }, b = { 0 };
	uint8_t *bytes = noise(BIG);
	int fd = open_end(&a), fd_b = open_end(&b);
	uint64_t before = clock_us();
	stream_send(&a.s, slice_of(bytes, BIG), NULL);
	stream_close_after_flush(&a.s);
	stream_send(&b.s, slice_of(bytes, BIG), NULL);
	stream_close_after_flush(&b.s);
	run_turns(loop, 3);
	close(fd_b);
	run_until(loop, is_flag_set, &b.is_closed);
	assert_false(a.is_closed);
	run_until(loop, is_flag_set, &a.is_closed);
	assert_int_equal(a.why, STREAM_END_ERROR);
	assert_int_equal(a.error, ETIMEDOUT);
	assert_true(clock_us() - before >= STREAM_LINGER_US / 2 - US_PER_MS);
	assert_true(b.error != ETIMEDOUT);
	close(fd);
	mem_free(bytes);
}

/* More than an engine has buffers for, all at once. */
static void a_crowd_that_speaks_at_once_is_heard(void **state)
{
	enum { CROWD = 300, WORDS = 20000 };
	static struct end crowd[CROWD];
	static int fds[CROWD];
	static char words[WORDS];
	memset(crowd, 0, sizeof crowd);
	for (int i = 0; i < CROWD; i++) {
		fds[i] = open_end(&crowd[i]);
		memset(words, 'a' + i % 26, sizeof words);
		assert_int_equal(write(fds[i], words, sizeof words), sizeof words);
	}
	for (int i = 0; i < CROWD; i++) {
		run_until_got(&crowd[i], WORDS);
		assert_int_equal(buf_len(&crowd[i].got), WORDS);
		assert_int_equal(buf_slice(&crowd[i].got).at[WORDS - 1], 'a' + i % 26);
		assert_idle(&crowd[i].s);
		finish_end(&crowd[i]);
		close(fds[i]);
	}
}

static unsigned n_heard;
static bool is_late;

static void stop_when_all_were_heard(struct end *e)
{
	if (++n_heard == 200)
		loop_stop(loop);
}

static void come_late(struct loop_timer *t)
{
	is_late = true;
	loop_stop(loop);
}

/* No timer ticks here: who is forgotten stays forgotten. */
static void a_crowd_is_answered_without_anything_else_that_wakes_the_loop(void **state)
{
	static struct end crowd[200];
	static int fds[200];
	struct loop_timer deadline;
	char words[2200], got[2201]; /* so that a flush falls between those that were served and those that wait for a buffer */
	memset(crowd, 0, sizeof crowd);
	memset(words, 'w', sizeof words);
	n_heard = 0;
	is_late = false;
	for (int i = 0; i < 200; i++) {
		fds[i] = open_end(&crowd[i]);
		crowd[i].to = &crowd[i].s;
		crowd[i].also = stop_when_all_were_heard;
		assert_int_equal(write(fds[i], words, sizeof words), sizeof words);
	}
	loop_timer_init(&deadline, come_late);
	loop_timer_start(loop, &deadline, UNIT_DEADLINE_US);
	loop_run(loop);
	loop_timer_stop(loop, &deadline);
	assert_false(is_late);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(read(fds[i], got, sizeof got), sizeof words);
		finish_end(&crowd[i]);
		close(fds[i]);
	}
}

static void what_a_paused_stream_keeps_is_bounded(void **state)
{
	struct end a = { 0 }, b = { 0 };
	uint8_t *bytes = noise(BIG);
	open_both(&a, &b);
	stream_pause(&b.s);
	stream_send(&a.s, slice_of(bytes, BIG), NULL);
	run_turns(loop, 20);
	assert_true(stream_unread(&b.s) <= 1 << 20);
	assert_true(stream_backlog(&a.s) > BIG / 4);
	assert_int_equal(b.shows, 0);
	stream_resume(&b.s);
	run_until_got(&b, BIG);
	assert_memory_equal(buf_slice(&b.got).at, bytes, BIG);
	assert_idle(&b.s);
	finish_end(&a);
	finish_end(&b);
	mem_free(bytes);
}

/* Whether bytes that were sent a moment ago hinder a detach is the engine's affair, but they are either here or there. */
static void bytes_that_come_while_detaching_are_not_lost(void **state)
{
	for (int turns = 0; turns < 4; turns++) {
		struct end a = { .also = pause_inside };
		int fd = open_end(&a);
		char got[8] = "";
		run_turns(loop, turns);
		put(fd, "abc");
		int mine = stream_detach(&a.s, NULL);
		put(fd, "def");
		if (mine < 0) {
			a.also = NULL;
			run_until_got(&a, 6);
			assert_got(&a, "abcdef");
		} else {
			assert_int_equal(read(mine, got, sizeof got), 6);
			assert_string_equal(got, "abcdef");
			run_turns(loop, 2);
			assert_int_equal(a.shows, 0);
			close(mine);
		}
		finish_end(&a);
		close(fd);
	}
}

/* A number that is used again at once means the new socket to everybody. */
static void a_reused_descriptor_is_a_new_stream(void **state)
{
	struct end a = { 0 }, b = { 0 };
	for (int round = 0; round < 50; round++) {
		int fd = open_end(&a);
		put(fd, "for a");
		if (round % 3)
			run_turns(loop, round % 3);
		finish_end(&a);
		int fd_b = open_end(&b);
		put(fd_b, "for b");
		run_until_got(&b, 5);
		assert_got(&b, "for b");
		finish_end(&b);
		close(fd);
		close(fd_b);
	}
}

static void an_idle_stream_is_small(void **state)
{
	assert_true(sizeof(struct stream) <= 200);
}

#define TESTS(T)                                                     \
	T(order_is_kept_through_partial_writes)                          \
	T(a_relay_that_takes_parts_and_pauses_loses_nothing)             \
	T(what_one_callback_sends_leaves_in_one_write)                   \
	T(many_scattered_slices_arrive)                                  \
	T(a_remainder_is_shown_with_what_follows)                        \
	T(a_large_message_is_gathered_into_one_slice)                    \
	T(a_paused_stream_is_silent_until_it_is_resumed)                 \
	T(a_paused_stream_hears_that_its_peer_left)                      \
	T(bytes_before_the_end_are_shown_after_the_pause)                \
	T(a_full_stream_says_when_it_is_drained)                         \
	T(much_at_once_that_the_kernel_takes_at_once_is_drained_too)     \
	T(detaching_gives_the_descriptor_away)                           \
	T(a_callback_may_close_and_free_itself_and_others)               \
	T(closing_when_drained_is_safe)                                  \
	T(a_broken_write_is_told_once_after_the_last_words)              \
	T(closing_after_the_flush_delivers_everything)                   \
	T(a_peer_that_does_not_read_cannot_hold_a_closing_stream)        \
	T(a_crowd_that_speaks_at_once_is_heard)                          \
	T(a_crowd_is_answered_without_anything_else_that_wakes_the_loop) \
	T(what_a_paused_stream_keeps_is_bounded)                         \
	T(bytes_that_come_while_detaching_are_not_lost)                  \
	T(a_reused_descriptor_is_a_new_stream)                           \
	T(an_idle_stream_is_small)

int main(void)
{
	ENGINE_RUN(TESTS)
}
