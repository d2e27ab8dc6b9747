/*
 * engine — what both engines have in common: the callbacks of an owner, and what happens at the end of a turn.
 *
 *   bytes -> on_data -> (flush) -> keep a copy of the rest
 *   turn's end -> flush -> look again at streams that were resumed, drained, are to be closed -> flush
 *
 * Always: callbacks do not nest; while one runs, engine->current is its stream, and NULL as soon as that is closed, so the
 *         engine knows whether it may still look at it.
 *         What on_data() was shown stays untouched until all streams were flushed; of it, only what was sent without a copy.
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

void engine_end(struct stream *s, int error)
{
	const struct stream_ops *ops = s->ops;
	error = s->error ? s->error : error;
	stream_drop(s);
	ops->on_closed(s, error ? STREAM_END_ERROR : STREAM_END_EOF, error);
}

/* One chunk of the usual size is kept. */
void engine_flushed(struct engine *e)
{
	for (struct scratch *c = e->scratch; c && (c->next || c->cap > SCRATCH_BYTES); c = e->scratch) {
		e->scratch = c->next;
		mem_free(c);
	}
	if (e->scratch)
		e->scratch->used = 0;
}

void engine_flush(struct engine *e)
{
	e->ops->flush(e);
	engine_flushed(e);
}

/* False: the callback closed the stream, whose memory may be gone. */
bool engine_tell(struct stream *s, void (*fn)(struct stream *))
{
	struct engine *e = s->engine;
	e->current = s;
	fn(s);
	bool is_alive = e->current == s;
	e->current = NULL;
	return is_alive;
}

/* Keeps what is behind TAKEN: FROM is the buf that BYTES lie in, or empty when they are lent. */
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

/* Of bytes in a buf what was sent must leave before they move; lent ones may be lent to somebody else as soon as it has left. */
bool engine_show(struct stream *s, struct slice bytes, struct buf from)
{
	struct engine *e = s->engine;
	e->current = s;
	e->is_lending = true;
	size_t taken = s->ops->on_data(s, bytes, &e->lent);
	e->is_lending = false;
	bool is_alive = e->current == s, is_kept = true;
	e->current = NULL;
	if (from.data)
		engine_flush(e);
	if (is_alive)
		is_kept = keep_rest(s, bytes, taken, &from);
	else
		buf_fini(&from);
	if (!from.data && e->ops->has_one_buffer)
		engine_flush(e);
	if (!is_kept)
		engine_end(s, ENOMEM);
	return is_alive && is_kept;
}

/* A remainder that waits to be shown again goes first. */
void engine_finish(struct stream *s, int error)
{
	if (!dlist_is_linked(&s->again) || !s->in.data) {
		engine_end(s, error);
		return;
	}
	s->has_eof = true;
	s->error = s->error ? s->error : error;
	stream_want(s, 0);
}

void engine_paused_end(struct stream *s, int error)
{
	if (error || s->error || !s->in.data) {
		engine_end(s, error);
		return;
	}
	s->has_eof = true;
	stream_want(s, s->out.data ? LOOP_WRITE : 0);
}

/* Calls nobody back: what follows from it is found at the turn's end. */
static void write_rest(struct stream *s)
{
	if (s->out.data) {
		struct iovec rest = { .iov_base = s->out.data + s->out.read, .iov_len = buf_len(&s->out) };
		ssize_t sent = stream_send_now(s, &rest, 1);
		if (sent < 0 && sent != -EAGAIN) {
			stream_fail_write(s, (int)-sent);
			return;
		}
		buf_consume(&s->out, sent > 0 ? (size_t)sent : 0);
	}
	if (!s->out.data)
		stream_want(s, s->wants & LOOP_READ);
	if (s->was_high || s->close_when_flushed)
		engine_again(s);
}

static void connect_done(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof error;
	if (getsockopt(stream_fd(s), SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error || s->error) {
		engine_end(s, error);
		return;
	}
	s->is_connecting = false;
	stream_want(s, (s->close_when_flushed ? 0 : LOOP_READ) | (s->out.data ? LOOP_WRITE : 0));
	write_rest(s);
	if (!s->close_when_flushed && !s->error && s->ops->on_connected)
		engine_tell(s, s->ops->on_connected);
}

void engine_writable(struct stream *s)
{
	if (s->is_connecting)
		connect_done(s);
	else
		write_rest(s);
}

/* Unread input would make close(2) send a reset, which can destroy our last words on their way. */
static void end_after_flush(struct stream *s)
{
	for (int i = 0; i < READS_MAX && !s->error; i++)
		if (recv(stream_fd(s), s->engine->recv_buf, RECV_BYTES, MSG_DONTWAIT) < (ssize_t)RECV_BYTES)
			break;
	engine_end(s, 0);
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
		engine_end(s, s->error);
	else if (s->close_when_flushed && is_flushed)
		end_after_flush(s);
	else if (s->close_when_flushed)
		linger(s);
	else if (s->is_securing) {
		if (engine_unseal(s, slice_of(NULL, 0)) && s->has_eof)
			engine_end(s, 0);
	} else if (!s->is_connecting) {
		bool is_drained = s->was_high && stream_backlog(s) < STREAM_LOW;
		s->was_high = s->was_high && !is_drained;
		if (is_drained && s->ops->on_drained && !engine_tell(s, s->ops->on_drained))
			return;
		struct buf from = s->in;
		if (s->is_paused || s->close_when_flushed)
			return;
		s->in = (struct buf){ 0 };
		if (from.data && !engine_show(s, buf_slice(&from), from))
			return;
		if (s->has_eof && !s->is_paused && !s->close_when_flushed)
			engine_end(s, 0);
	}
}

/* Two generations: who was here at the last tick has lingered for at least one period, and for at most two. */
static void on_linger_tick(struct loop_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, linger_tick);
	for (struct dlist *l; (l = dlist_pop_front(&e->overdue));)
		engine_end(CONTAINER_OF(l, struct stream, again), ETIMEDOUT);
	dlist_take(&e->overdue, &e->lingering);
	if (!dlist_is_empty(&e->overdue))
		loop_timer_start(e->loop, &e->linger_tick, STREAM_LINGER_US / 2);
}

static void on_turn_end(void *arg)
{
	struct engine *e = arg;
	struct dlist round;
	if (dlist_is_empty(&e->again) && e->ops->can_flush_later && e->ops->can_flush_later(e))
		return;
	engine_flush(e);
	dlist_take(&round, &e->again);
	for (struct dlist *l; (l = dlist_pop_front(&round));)
		look_again(CONTAINER_OF(l, struct stream, again));
	engine_flush(e);
	if (!dlist_is_empty(&e->again))
		loop_defer(e->loop, &e->more);
}

static void nothing(struct loop_defer *d)
{
}

void engine_again(struct stream *s)
{
	dlist_remove(&s->again); /* it may linger */
	dlist_push_back(&s->engine->again, &s->again);
}

void engine_init(struct engine *e, const struct engine_ops *ops, struct loop *loop)
{
	*e = (struct engine){ .ops = ops, .loop = loop };
	e->lent.engine = e;
	e->recv_buf = mem_alloc(HEADROOM_BYTES + RECV_BYTES);
	dlist_init(&e->dirty);
	dlist_init(&e->again);
	dlist_init(&e->lingering);
	dlist_init(&e->overdue);
	loop_timer_init(&e->linger_tick, on_linger_tick);
	loop_defer_init(&e->more, nothing);
	loop_on_turn_end(loop, on_turn_end, e);
}

void engine_fini(struct engine *e)
{
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
}

void engine_free(struct engine *e)
{
	if (e)
		e->ops->free(e);
}

struct loop *engine_loop(struct engine *e)
{
	return e->loop;
}
