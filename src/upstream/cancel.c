/*
 * upstream_cancel — one CancelRequest on a connection of its own (PostgreSQL "Canceling Requests in Progress").
 *
 * The postmaster answers nothing; it closes the connection when it has signalled the backend.  That end is what the caller waits for:
 * only then can the signal hit no later statement.  A request that was never sent can hit nothing either.  When it was sent and
 * neither an end nor a reset came, it may still be on its way, and the caller is told so.
 *
 *   connecting ──on_connected: request──► waiting ──on_closed, timer──► finish() (deferred): FN, freed
 */
#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "upstream/upstream.h"

#define CANCEL_TIMEOUT_US (10 * US_PER_S)

struct upstream_cancel {
	struct stream stream;
	struct loop *loop;
	struct loop_timer timer;
	struct loop_defer finish;
	uint8_t request[STARTMSG_KEY_MAX + 12];
	size_t request_len;
	upstream_cancel_fn fn;
	void *arg;
	bool was_sent, has_ended;
};

static void finish(struct loop_defer *d)
{
	struct upstream_cancel *c = CONTAINER_OF(d, struct upstream_cancel, finish);
	upstream_cancel_fn fn = c->fn;
	void *arg = c->arg;
	bool is_over = !c->was_sent || c->has_ended;
	upstream_cancel_drop(c);
	if (fn)
		fn(arg, is_over);
}

static void on_connected(struct stream *s)
{
	struct upstream_cancel *c = s->owner;
	c->was_sent = true;
	stream_send(s, slice_of(c->request, c->request_len), NULL);
}

static size_t on_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	return bytes.len;
}

static void on_closed(struct stream *s, enum stream_end why, int error)
{
	struct upstream_cancel *c = s->owner;
	c->has_ended = why == STREAM_END_EOF || error == ECONNRESET;
	if (!c->has_ended)
		log_info(NULL, "cancel_failed", KV_STR("error", strerror(error)));
	loop_defer(c->loop, &c->finish);
}

static void timer_fired(struct loop_timer *t)
{
	struct upstream_cancel *c = CONTAINER_OF(t, struct upstream_cancel, timer);
	log_warn(NULL, "cancel_failed", KV_STR("error", "the server did not close the connection in time"));
	stream_close(&c->stream);
	loop_defer(c->loop, &c->finish);
}

static const struct stream_ops cancel_ops = { .on_data = on_data, .on_closed = on_closed, .on_connected = on_connected };

struct upstream_cancel *upstream_cancel(const struct upstream_env *env, const struct addr *addr, uint32_t pid, struct slice key,
                                        upstream_cancel_fn fn, void *arg)
{
	struct upstream_cancel *c = mem_alloc(sizeof *c);
	struct writer w;
	c->loop = engine_loop(env->engine);
	c->fn = fn;
	c->arg = arg;
	loop_defer_init(&c->finish, finish);
	loop_timer_init(&c->timer, timer_fired);
	loop_timer_start(c->loop, &c->timer, CANCEL_TIMEOUT_US);
	writer_init(&w, c->request, sizeof c->request);
	startmsg_write_cancel(&w, pid, key);
	ASSERT(writer_ok(&w));
	c->request_len = writer_slice(&w).len;
	stream_connect(&c->stream, env->engine, addr, (unsigned)(CANCEL_TIMEOUT_US / US_PER_MS), &cancel_ops, c);
	return c;
}

void upstream_cancel_drop(struct upstream_cancel *c)
{
	stream_close(&c->stream);
	loop_timer_stop(c->loop, &c->timer);
	loop_defer_cancel(&c->finish);
	secret_wipe(c->request, sizeof c->request);
	mem_free(c);
}
