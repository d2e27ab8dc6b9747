/* Connections that change threads after every answer: nothing is lost, heard twice or heard by the wrong thread. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/mailbox.h"
#include "net/stream.h"
#include "unitengine.h"
#include "unitloop.h"

#define CONNECTIONS 8
#define ROUNDS 400

struct host {
	pthread_t thread;
	struct loop *loop;
	struct engine *engine; /* made by its thread: an io_uring belongs to the one that made it */
	struct mailbox box;
	struct host *other;
	unsigned answers;
};

struct guest {
	struct letter letter;
	struct stream s;
	struct loop_defer leave;
	struct host *host;
	int fd;
};

static void arrive(struct letter *letter, void *receiver);

/* At the turn's end, when the answer has left. */
static void leave(struct loop_defer *d)
{
	struct guest *g = CONTAINER_OF(d, struct guest, leave);
	if (stream_backlog(&g->s)) { /* the deferred calls come before the flush */
		loop_defer(g->host->loop, d);
		return;
	}
	g->fd = stream_detach(&g->s, NULL);
	if (g->fd < 0) { /* the next question was received already, and its answer is the next chance */
		assert_true(unit_wants_io_uring);
		return;
	}
	g->letter = (struct letter){ .deliver = arrive };
	mailbox_send(&g->host->other->box, &g->letter);
}

static size_t echo(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct guest *g = s->owner;
	if (bytes.len < 8)
		return 0;
	assert_int_equal(bytes.len, 8);
	stream_send(s, bytes, lent);
	g->host->answers++;
	loop_defer(g->host->loop, &g->leave);
	return bytes.len;
}

static void gone(struct stream *s, enum stream_end why, int error)
{
	assert_int_equal(why, STREAM_END_EOF);
	mem_free(s->owner);
}

static void arrive(struct letter *letter, void *receiver)
{
	static const struct stream_ops ops = { .on_data = echo, .on_closed = gone };
	struct guest *g = CONTAINER_OF(letter, struct guest, letter);
	g->host = receiver;
	loop_defer_init(&g->leave, leave);
	stream_open(&g->s, g->host->engine, g->fd, &ops, g);
}

static void stop(struct letter *letter, void *receiver)
{
	struct host *h = receiver;
	loop_stop(h->loop);
	mem_free(letter);
}

static void *host_run(void *arg)
{
	struct host *h = arg;
	h->engine = unit_engine(h->loop);
	loop_run(h->loop);
	mailbox_close(&h->box);
	engine_free(h->engine);
	return NULL;
}

static void host_start(struct host *h, struct host *other)
{
	h->other = other;
	h->loop = loop_new(false);
	mailbox_open(&h->box, h->loop, h);
}

static void host_stop(struct host *h)
{
	struct letter *letter = mem_alloc(sizeof *letter);
	letter->deliver = stop;
	mailbox_send(&h->box, letter);
	pthread_join(h->thread, NULL);
	loop_free(h->loop);
}

static void connections_may_change_threads_after_every_answer(void **state)
{
	struct host hosts[2] = { 0 };
	int fds[CONNECTIONS];
	for (int i = 0; i < 2; i++)
		host_start(&hosts[i], &hosts[1 - i]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&hosts[i].thread, NULL, host_run, &hosts[i]), 0);
	for (int i = 0; i < CONNECTIONS; i++) {
		int pair[2];
		struct guest *g = mem_alloc(sizeof *g);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
		fds[i] = pair[0];
		g->fd = pair[1];
		g->letter.deliver = arrive;
		mailbox_send(&hosts[i % 2].box, &g->letter);
	}
	for (uint64_t round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CONNECTIONS; i++)
			assert_int_equal(write(fds[i], &round, sizeof round), sizeof round);
		for (int i = 0; i < CONNECTIONS; i++) {
			uint64_t got;
			struct pollfd p = { .fd = fds[i], .events = POLLIN };
			assert_int_equal(poll(&p, 1, 30000), 1);
			assert_int_equal(recv(fds[i], &got, sizeof got, MSG_DONTWAIT), sizeof got);
			assert_int_equal(got, round);
		}
	}
	for (int i = 0; i < CONNECTIONS; i++) {
		char byte;
		struct pollfd p = { .fd = fds[i], .events = POLLIN };
		shutdown(fds[i], SHUT_WR);
		assert_int_equal(poll(&p, 1, 30000), 1);
		assert_int_equal(read(fds[i], &byte, 1), 0); /* whoever has it closes it */
		close(fds[i]);
	}
	host_stop(&hosts[0]);
	host_stop(&hosts[1]);
	print_message("# %u answers here, %u there\n", hosts[0].answers, hosts[1].answers);
	assert_int_equal(hosts[0].answers + hosts[1].answers, CONNECTIONS * ROUNDS);
	assert_true(hosts[0].answers > 0 && hosts[1].answers > 0);
}

static int unit_setup(void **state)
{
	return 0;
}

static int unit_teardown(void **state)
{
	return 0;
}

#define TESTS(T) T(connections_may_change_threads_after_every_answer)

int main(void)
{
	ENGINE_RUN(TESTS)
}
