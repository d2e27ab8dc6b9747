/*
 * epoll — the engine that learns from libev which sockets are ready.
 *
 *   readable -> recv into the engine's one buffer -> on_data -> flush everything that was queued -> keep a copy of the rest
 *
 * A recv that did not fill the buffer has emptied the socket, so there is no second one to hear EAGAIN; a proxied query costs
 * one recv and one send each way.  A small remainder is put in front of the next received bytes (the buffer has headroom for
 * it), so that only large incomplete messages grow a buffer of their own.
 */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "priv.h"

/* recv(2) behind a small remainder, which moves to the headroom: both are one slice of the engine's buffer. */
static ssize_t receive_lent(struct stream *s, struct slice *bytes, bool *was_full)
{
	uint8_t *at = s->engine->recv_buf + HEADROOM_BYTES;
	struct slice kept = buf_slice(&s->in);
	ssize_t n = recv(s->io.ev.fd, at, RECV_BYTES, 0);
	if (n <= 0)
		return n;
	if (kept.len)
		memcpy(at - kept.len, kept.at, kept.len);
	buf_fini(&s->in);
	*bytes = slice_of(at - kept.len, kept.len + (size_t)n);
	*was_full = (size_t)n == RECV_BYTES;
	return n;
}

/* recv(2) behind a large remainder, in its own buffer, which grows geometrically. */
static ssize_t receive_behind(struct stream *s, struct slice *bytes, struct buf *from, bool *was_full)
{
	if (!buf_reserve(&s->in, RECV_BYTES)) {
		errno = ENOMEM;
		return -1;
	}
	size_t room = s->in.cap - s->in.write;
	ssize_t n = recv(s->io.ev.fd, s->in.data + s->in.write, room, 0);
	if (n <= 0)
		return n;
	s->in.write += (uint32_t)n;
	*from = s->in;
	s->in = (struct buf){ 0 };
	*bytes = buf_slice(from);
	*was_full = (size_t)n == room;
	return n;
}

/* False: enough for now, or the stream is gone. */
static bool read_once(struct stream *s)
{
	struct slice bytes;
	struct buf from = { 0 };
	bool was_full = false;
	ssize_t n =
	    buf_len(&s->in) <= HEADROOM_BYTES ? receive_lent(s, &bytes, &was_full) : receive_behind(s, &bytes, &from, &was_full);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		engine_finish(s, n < 0 ? errno : 0);
		return false;
	}
	return engine_show(s, bytes, from) && was_full && !s->is_paused && !s->close_when_flushed;
}

/* Records; what is incomplete stays with TLS. */
static bool read_sealed(struct stream *s)
{
	uint8_t *at = s->engine->recv_buf + HEADROOM_BYTES;
	ssize_t n = recv(s->io.ev.fd, at, RECV_BYTES, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		engine_finish(s, n < 0 ? errno : 0);
		return false;
	}
	bool was_full = (size_t)n == RECV_BYTES;
	return engine_unseal(s, slice_of(at, (size_t)n)) && was_full && !s->is_paused && !s->close_when_flushed;
}

static void on_readable(struct stream *s)
{
	for (int i = 0; i < READS_MAX && read_once(s); i++) {
	}
}

/*
 * Something came for a stream that does not want it.  Either the peer is gone, which the owner should hear, or there are
 * bytes, and then the watcher is stopped until stream_resume(), for it would wake us every turn.
 */
static void on_readable_while_paused(struct stream *s)
{
	char byte;
	ssize_t n = s->error ? 0 : recv(s->io.ev.fd, &byte, 1, MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		engine_paused_end(s, n < 0 ? errno : 0);
	else
		stream_want(s, s->out.data ? LOOP_WRITE : 0);
}

/* As on_readable(), where that is not it. */
static NOT_INLINE void on_readable_otherwise(struct stream *s)
{
	if (s->is_paused) {
		on_readable_while_paused(s);
		return;
	}
	for (int i = 0; i < READS_MAX && read_sealed(s); i++) {
	}
}

static void on_ready(struct loop_io *io, unsigned events)
{
	struct stream *s = CONTAINER_OF(io, struct stream, io);
	bool is_new = s->is_connecting;
	if (is_new || events & LOOP_WRITE)
		engine_writable(s);
	if (is_new || !(events & LOOP_READ) || s->close_when_flushed)
		return;
	if (UNLIKELY(s->is_paused || s->is_tls))
		on_readable_otherwise(s);
	else
		on_readable(s);
}

static void adopt(struct stream *s, int fd)
{
	loop_io_init(&s->io, fd, on_ready);
}

static void want(struct stream *s)
{
	loop_io_set(s->engine->loop, &s->io, s->wants);
}

static void flush(struct engine *e)
{
	for (struct dlist *l; (l = dlist_first(&e->dirty));) {
		struct stream *s = CONTAINER_OF(l, struct stream, dirty);
		if (stream_ready(s))
			stream_sent(s, stream_send_now(s, s->gather->iov, s->gather->n));
	}
}

static void forget(struct stream *s, bool closes)
{
	if (!closes) {
		loop_io_release(s->engine->loop, &s->io);
		return;
	}
	loop_io_set(s->engine->loop, &s->io, 0);
	if (s->io.ev.fd >= 0)
		close(s->io.ev.fd);
}

static bool settle(struct stream *s)
{
	return true;
}

static void epoll_free(struct engine *e)
{
	engine_fini(e);
	mem_free(e);
}

struct engine *engine_new(struct loop *loop)
{
	static const struct engine_ops ops = { true, adopt, want, flush, NULL, forget, settle, epoll_free };
	struct engine *e = mem_alloc(sizeof *e);
	engine_init(e, &ops, loop);
	return e;
}
