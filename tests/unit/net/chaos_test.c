/*
 * Streams that do anything from inside any callback, to themselves and to others: send, pause, resume, close, be freed.
 * Each carries a running count, so that a lost, doubled or misdirected byte shows; the sanitizers see to the memory.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/rand.h"
#include "net/stream.h"
#include "unitengine.h"
#include "unitloop.h"

#define SLOTS 16 /* 2k and 2k+1 are two ends of one connection */
#define ACTIONS 60000

struct chaos_end {
	struct stream s;
	unsigned slot;
	uint32_t sent, got; /* numbers, not bytes */
};

static struct loop *loop;
static struct engine *engine;
static struct chaos_end *ends[SLOTS];
static unsigned actions, closed_by_peer, drained, numbers;

static void act(void);

static void let_go(struct chaos_end *e)
{
	ends[e->slot] = NULL;
	mem_free(e);
}

static void act_some(void)
{
	for (unsigned n = rand_fast() % 3; n > 0; n--)
		act();
}

static size_t on_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct chaos_end *e = s->owner;
	unsigned slot = e->slot;
	size_t taken = 0, most = rand_fast() % 4 ? bytes.len : rand_fast() % (bytes.len + 1);
	for (uint32_t number; taken + sizeof number <= most; taken += sizeof number) {
		memcpy(&number, bytes.at + taken, sizeof number);
		assert_int_equal(number, e->got++);
		numbers++;
	}
	act_some();
	if (ends[slot] == e && stream_is_open(s))
		act_some();
	return taken;
}

static void on_drained(struct stream *s)
{
	drained++;
	act_some();
}

static void on_closed(struct stream *s, enum stream_end why, int error)
{
	closed_by_peer++;
	let_go(s->owner);
	act_some();
}

static const struct stream_ops ops = { .on_data = on_data, .on_drained = on_drained, .on_closed = on_closed };

static void send_numbers(struct chaos_end *e)
{
	static uint32_t text[60000];
	unsigned n = rand_fast() % 20 ? (unsigned)(rand_fast() % 40) : (unsigned)(rand_fast() % 60000);
	if (stream_backlog(&e->s) > 2 * STREAM_HIGH)
		return;
	for (unsigned i = 0; i < n; i++)
		text[i] = e->sent++;
	unsigned cut = n ? (unsigned)(rand_fast() % n) : 0;
	stream_send(&e->s, slice_of(text, cut * sizeof text[0]), NULL);
	stream_send(&e->s, slice_of(text + cut, (n - cut) * sizeof text[0]), NULL);
}

static void act(void)
{
	struct chaos_end *e = ends[rand_fast() % SLOTS];
	actions++;
	if (!e)
		return;
	switch (rand_fast() % 64) {
	case 0:
		stream_close(&e->s);
		let_go(e);
		return;
	case 1:
		stream_close_after_flush(&e->s);
		return;
	case 2:
	case 3:
	case 4:
		stream_pause(&e->s);
		return;
	case 5 ... 20:
		stream_resume(&e->s);
		return;
	default:
		send_numbers(e);
	}
}

static void open_pair(unsigned slot)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct chaos_end *e = ends[slot + i] = mem_alloc(sizeof *e);
		e->slot = slot + i;
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 << rand_fast() % 8 }, sizeof(int));
		stream_open(&e->s, engine, fds[i], &ops, e);
	}
}

static bool had_enough(void *arg)
{
	for (unsigned slot = 0; slot < SLOTS; slot += 2)
		if (!ends[slot] && !ends[slot + 1])
			open_pair(slot);
	for (int i = 0; i < 60; i++)
		act();
	return actions > ACTIONS;
}

static int unit_setup(void **state)
{
	loop = loop_new(false);
	engine = unit_engine(loop);
	actions = closed_by_peer = drained = numbers = 0;
	return 0;
}

static int unit_teardown(void **state)
{
	engine_free(engine);
	loop_free(loop);
	return 0;
}

static void anything_may_be_done_from_anywhere(void **state)
{
	run_until(loop, had_enough, NULL);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (ends[slot]) {
			stream_close(&ends[slot]->s);
			let_go(ends[slot]);
		}
	print_message("# %u numbers, %u drained, %u closed by the peer\n", numbers, drained, closed_by_peer);
	assert_true(numbers > 10000 && drained > 0 && closed_by_peer > 10);
}

#define TESTS(T) T(anything_may_be_done_from_anywhere)

int main(void)
{
	ENGINE_RUN(TESTS)
}
