/*
 * upstream_cancel — one CancelRequest on a connection of its own (PostgreSQL "Canceling Requests in Progress").
 *
 * The postmaster answers nothing; it closes the connection when it has signalled the backend.  That end is what the caller waits for:
 * only then can the signal hit no later statement.  A request that was never sent can hit nothing either.  When it was sent and
 * neither an end nor a reset came, it may still be on its way, and the caller is told so.
 *
 *   connecting ──on_connected──► [SSLRequest ──'S'──► TLS ──on_secured] ──request──► waiting ──on_closed, timer──► finish() (deferred): FN, freed
 *
 * Always: the key travels as protected as the connection that it is for, or not at all.
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
	struct tls_start tls; /* its conf is a reference; NULL: in the clear */
	char *host;
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

static void send_request(struct stream *s)
{
	struct upstream_cancel *c = s->owner;
	c->was_sent = true;
	stream_send(s, slice_of(c->request, c->request_len), NULL);
}

static void on_connected(struct stream *s)
{
	struct upstream_cancel *c = s->owner;
	uint8_t space[16];
	struct writer w;
	if (!c->tls.conf) {
		send_request(s);
	} else if (c->tls.is_direct) {
		stream_start_tls(s, &c->tls);
	} else {
		writer_init(&w, space, sizeof space);
		startmsg_write_ssl(&w);
		stream_send(s, writer_slice(&w), NULL);
	}
}

static void give_up(struct upstream_cancel *c, const char *why)
{
	log_warn(NULL, "cancel_failed", KV_STR("error", why));
	stream_close(&c->stream);
	loop_defer(c->loop, &c->finish);
}

/* Nothing but the answer to SSLRequest is looked at. */
static size_t on_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct upstream_cancel *c = s->owner;
	if (c->was_sent)
		return bytes.len;
	if (bytes.len == 1 && bytes.at[0] == 'S')
		stream_start_tls(s, &c->tls);
	else
		give_up(c, "the server does not offer TLS to the cancel request, as it did to the connection");
	return bytes.len;
}

static void on_closed(struct stream *s, enum stream_end why, int error)
{
	struct upstream_cancel *c = s->owner;
	c->has_ended = why == STREAM_END_EOF || error == ECONNRESET;
	if (!c->has_ended)
		log_info(NULL, "cancel_failed", KV_STR("error", stream_end_text(s, why, error)));
	loop_defer(c->loop, &c->finish);
}

static void timer_fired(struct loop_timer *t)
{
	struct upstream_cancel *c = CONTAINER_OF(t, struct upstream_cancel, timer);
	give_up(c, "the server did not close the connection in time");
}

static const struct stream_ops cancel_ops = {
	.on_data = on_data, .on_closed = on_closed, .on_connected = on_connected, .on_secured = send_request
};

static void be_like(struct upstream_cancel *c, const struct tls *like)
{
	c->host = mem_text(tls_host(like));
	c->tls = (struct tls_start){ .conf = tls_conf_ref(tls_conf_of(like)), .host = c->host, .is_direct = tls_is_direct(like) };
}

struct upstream_cancel *upstream_cancel(const struct upstream_env *env, const struct addr *addr, const struct tls *like,
                                        uint32_t pid, struct slice key, upstream_cancel_fn fn, void *arg)
{
	struct upstream_cancel *c = mem_alloc(sizeof *c);
	struct writer w;
	c->loop = engine_loop(env->engine);
	c->fn = fn;
	c->arg = arg;
	if (like)
		be_like(c, like);
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
	tls_conf_unref(c->tls.conf);
	mem_free(c->host);
	mem_free(c);
}
