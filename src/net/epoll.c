/*
 * epoll — the engine behind stream.h that learns from libev which sockets are ready.
 *
 *   readable -> recv into the engine's one buffer -> on_data -> flush everything that was queued -> keep a copy of the rest
 *   turn's end -> flush -> look again at streams that were resumed, drained, are to be closed -> flush
 *
 * A recv that did not fill the buffer has emptied the socket, so there is no second one to hear EAGAIN; a proxied query costs
 * one recv and one send each way.  A small remainder is put in front of the next received bytes (the buffer has headroom for
 * it), so that only large incomplete messages grow a buffer of their own.
 *
 * Always: callbacks do not nest; while one runs, engine->current is its stream, and NULL as soon as that is closed, so the
 *         engine knows whether it may still look at it.
 *         What on_data() was shown stays untouched until all streams were flushed.
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

#define READS_MAX 4 /* of one stream before others have their turn */

static void end(struct stream *s, int error)
{
	const struct stream_ops *ops = s->ops;
	error = s->error ? s->error : error;
	stream_drop(s);
	ops->on_closed(s, error ? STREAM_END_ERROR : STREAM_END_EOF, error);
}

/* One chunk of the usual size is kept. */
static void reset_scratch(struct engine *e)
{
	for (struct scratch *c = e->scratch; c && (c->next || c->cap > SCRATCH_BYTES); c = e->scratch) {
		e->scratch = c->next;
		mem_free(c);
	}
	if (e->scratch)
		e->scratch->used = 0;
}

static void flush_all(struct engine *e)
{
	for (struct dlist *l; (l = dlist_first(&e->dirty));)
		stream_flush(CONTAINER_OF(l, struct stream, dirty));
	reset_scratch(e);
}

/* False: the callback closed the stream, whose memory may be gone. */
static bool tell(struct stream *s, void (*fn)(struct stream *))
{
	struct engine *e = s->engine;
	e->current = s;
	fn(s);
	bool is_alive = e->current == s;
	e->current = NULL;
	return is_alive;
}

/* Keeps what is behind TAKEN: FROM is the buf that BYTES lie in, or empty when that is the receive buffer. */
static bool keep_rest(struct stream *s, struct slice bytes, size_t taken, struct buf *from)
{
	ASSERT(taken <= bytes.len);
	if (s->close_when_flushed) {
		buf_fini(from);
		return true;
	}
	if (from->data) {
		buf_consume(from, taken);
		s->in = *from;
		return true;
	}
	return buf_append(&s->in, slice_skip(bytes, taken));
}

/* Shows BYTES to the owner.  False: the stream is gone. */
static bool show(struct stream *s, struct slice bytes, struct buf from)
{
	struct engine *e = s->engine;
	e->current = s;
	e->is_lending = true;
	size_t taken = s->ops->on_data(s, bytes, &e->lent);
	e->is_lending = false;
	flush_all(e);
	bool is_alive = e->current == s;
	e->current = NULL;
	if (!is_alive) {
		buf_fini(&from);
		return false;
	}
	if (keep_rest(s, bytes, taken, &from))
		return true;
	end(s, ENOMEM);
	return false;
}

/* Bytes ended (ERROR 0: EOF).  A remainder that waits to be shown again goes first. */
static void finish(struct stream *s, int error)
{
	if (!dlist_is_linked(&s->again) || !s->in.data) {
		end(s, error);
		return;
	}
	s->has_eof = true;
	s->error = s->error ? s->error : error;
	loop_io_set(s->engine->loop, &s->io, 0);
}

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
		finish(s, n < 0 ? errno : 0);
		return false;
	}
	return show(s, bytes, from) && was_full && !s->is_paused && !s->close_when_flushed;
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
	if (n < 0 || s->error || (n == 0 && !s->in.data)) {
		end(s, n < 0 ? errno : 0);
		return;
	}
	s->has_eof = n == 0;
	loop_io_set(s->engine->loop, &s->io, s->out.data ? LOOP_WRITE : 0);
}

/* Calls nobody back: what follows from it is found at the turn's end. */
static void on_writable(struct stream *s)
{
	if (s->out.data) {
		struct iovec rest = { .iov_base = s->out.data + s->out.read, .iov_len = buf_len(&s->out) };
		size_t sent = stream_write(s, &rest, 1);
		if (s->error)
			return;
		buf_consume(&s->out, sent);
	}
	if (!s->out.data)
		loop_io_set(s->engine->loop, &s->io, (unsigned)s->io.ev.events & LOOP_READ);
	if (s->was_high || s->close_when_flushed)
		engine_again(s);
}

static void on_connect_done(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof error;
	if (getsockopt(s->io.ev.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error || s->error) {
		end(s, error);
		return;
	}
	s->is_connecting = false;
	loop_io_set(s->engine->loop, &s->io, s->close_when_flushed ? LOOP_WRITE : LOOP_READ | LOOP_WRITE);
	on_writable(s);
	if (!s->close_when_flushed && !s->error && s->ops->on_connected)
		tell(s, s->ops->on_connected);
}

/* Unread input would make close(2) send a reset, which can destroy our last words on their way. */
static void end_after_flush(struct stream *s)
{
	for (int i = 0; i < READS_MAX && !s->error; i++)
		if (recv(s->io.ev.fd, s->engine->recv_buf, RECV_BYTES, 0) < (ssize_t)RECV_BYTES)
			break;
	end(s, 0);
}

static void linger(struct stream *s)
{
	struct engine *e = s->engine;
	dlist_push_back(&e->lingering, &s->again);
	if (!loop_timer_is_running(&e->linger_tick))
		loop_timer_start(e->loop, &e->linger_tick, STREAM_LINGER_US / 2);
}

static void look_again(struct stream *s)
{
	bool is_flushed = s->error || (!s->is_connecting && stream_backlog(s) == 0);
	if (s->is_connecting && s->error)
		end(s, s->error);
	else if (s->close_when_flushed && is_flushed)
		end_after_flush(s);
	else if (s->close_when_flushed)
		linger(s);
	else if (!s->is_connecting) {
		bool is_drained = s->was_high && stream_backlog(s) < STREAM_LOW;
		s->was_high = s->was_high && !is_drained;
		if (is_drained && s->ops->on_drained && !tell(s, s->ops->on_drained))
			return;
		struct buf from = s->in;
		if (s->is_paused || s->close_when_flushed)
			return;
		s->in = (struct buf){ 0 };
		if (from.data && !show(s, buf_slice(&from), from))
			return;
		if (s->has_eof && !s->is_paused && !s->close_when_flushed)
			end(s, 0);
	}
}

/* Two generations: who was here at the last tick has lingered for at least one period, and for at most two. */
static void on_linger_tick(struct loop_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, linger_tick);
	for (struct dlist *l; (l = dlist_pop_front(&e->overdue));)
		end(CONTAINER_OF(l, struct stream, again), ETIMEDOUT);
	dlist_take(&e->overdue, &e->lingering);
	if (!dlist_is_empty(&e->overdue))
		loop_timer_start(e->loop, &e->linger_tick, STREAM_LINGER_US / 2);
}

static void on_turn_end(void *arg)
{
	struct engine *e = arg;
	struct dlist round;
	flush_all(e);
	dlist_take(&round, &e->again);
	for (struct dlist *l; (l = dlist_pop_front(&round));)
		look_again(CONTAINER_OF(l, struct stream, again));
	flush_all(e);
	if (!dlist_is_empty(&e->again))
		loop_defer(e->loop, &e->more);
}

static void nothing(struct loop_defer *d)
{
}

void engine_ready(struct loop_io *io, unsigned events)
{
	struct stream *s = CONTAINER_OF(io, struct stream, io);
	if (s->is_connecting) {
		on_connect_done(s);
		return;
	}
	if (events & LOOP_WRITE)
		on_writable(s);
	if (!(events & LOOP_READ) || s->close_when_flushed)
		return;
	if (s->is_paused)
		on_readable_while_paused(s);
	else
		on_readable(s);
}

void engine_again(struct stream *s)
{
	dlist_remove(&s->again); /* it may linger */
	dlist_push_back(&s->engine->again, &s->again);
}

struct engine *engine_new(struct loop *loop)
{
	struct engine *e = mem_alloc(sizeof *e);
	e->loop = loop;
	e->lent.engine = e;
	e->recv_buf = mem_alloc(HEADROOM_BYTES + RECV_BYTES);
	dlist_init(&e->dirty);
	dlist_init(&e->again);
	dlist_init(&e->lingering);
	dlist_init(&e->overdue);
	loop_timer_init(&e->linger_tick, on_linger_tick);
	loop_defer_init(&e->more, nothing);
	loop_on_turn_end(loop, on_turn_end, e);
	return e;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	ASSERT(dlist_is_empty(&e->dirty) && dlist_is_empty(&e->again));
	ASSERT(dlist_is_empty(&e->lingering) && dlist_is_empty(&e->overdue));
	loop_on_turn_end(e->loop, NULL, NULL);
	loop_timer_stop(e->loop, &e->linger_tick);
	loop_defer_cancel(&e->more);
	for (struct stream_gather *g; (g = e->free_gathers);) {
		e->free_gathers = g->next_free;
		mem_free(g);
	}
	for (struct scratch *c; (c = e->scratch);) {
		e->scratch = c->next;
		mem_free(c);
	}
	mem_free(e->recv_buf);
	mem_free(e);
}

struct loop *engine_loop(struct engine *e)
{
	return e->loop;
}
