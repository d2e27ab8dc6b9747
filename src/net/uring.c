/*
 * uring — the engine that orders from the kernel what is to happen and hears when it has.
 *
 *   arrivals -> on_data … -> turn's end -> one system call: all sends, all else that was ordered, sleep -> arrivals
 *
 * A proxied query costs two turns, and a turn one call, shared by all streams that have something to say in it.  The loop sleeps
 * in the ring (it is the loop's waiter), and the ring polls the loop's epoll descriptor, not the other way round: an epoll that watches
 * the ring loses wake-ups under DEFER_TASKRUN, and an eventfd costs two calls more for each sleep.
 *
 * Long-lived orders are a multishot receive and a poll for room; both may outlive their stream, so completions name a slot:
 *
 *   free -> has a stream -> has none, but orders whose last completion is to come -> free
 *
 * A send is an order that never waits, so it is over when the call that submits it returns, and only one that did not leave whole has
 * a completion.  The kernel never holds memory of a stream between two calls; what it did not take is copied as in the other engine,
 * and written when there is room.
 *
 * Always: a buffer is offered again when what was sent from it has left;  an arrival is handled in the order in which it came;
 *         an order of a stream is submitted before its descriptor is closed, so its number cannot mean another socket by then.
 */
#include <errno.h>
#include <poll.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"
#include "ring.h"

/* A completion's user_data is slot << KIND_BITS | kind. */
enum kind { KIND_NONE, KIND_RECEIVE, KIND_ROOM, KIND_SEND, KIND_LOOP };
#define KIND_BITS 8

struct slot {
	struct stream *s; /* NULL: closed, or the slot is free */
	uint32_t next;    /* of the free or the starved ones */
	bool receives : 1, is_cancelled : 1, awaits_room : 1, is_starved : 1;
};
#define NO_SLOT UINT32_MAX

struct arrival {
	uint64_t what;
	int32_t result;
	uint32_t flags;
};

/* So much may be gathered before it is sent: what is sent is still in the cache, and a stream is not called full that is not. */
#define FLUSH_BYTES (64u * 1024)

struct uring {
	struct engine engine;
	struct loop_waiter waiter;
	struct ring ring;
	struct slot *slots;
	uint32_t n_slots, cap_slots, free, starved, n_busy;
	struct arrival *arrivals; /* completions that nobody has handled yet */
	uint32_t n_arrivals, cap_arrivals;
	size_t n_unflushed; /* bytes that were shown since */
	bool polls_loop, loop_has_events;
};

static struct uring *uring_of(struct engine *e)
{
	return CONTAINER_OF(e, struct uring, engine);
}

/* -- slots ---------------------------------------------------------------------------------------- */

/* One that was never used is not touched either: memory is taken for streams that are, or were at once. */
static uint32_t slot_new(struct uring *u)
{
	if (u->n_slots == u->cap_slots) {
		u->cap_slots = u->cap_slots ? 2 * u->cap_slots : 64;
		u->slots = mem_grow(u->slots, u->cap_slots * sizeof *u->slots);
	}
	return u->n_slots++;
}

static uint32_t slot_get(struct uring *u, struct stream *s)
{
	uint32_t i = u->free;
	if (i == NO_SLOT)
		i = slot_new(u);
	else
		u->free = u->slots[i].next;
	u->slots[i] = (struct slot){ .s = s };
	u->n_busy++;
	return i;
}

/* A starved one is still in that list; it is found there without a stream. */
static void slot_put_if_done(struct uring *u, uint32_t i)
{
	struct slot *slot = &u->slots[i];
	if (slot->s || slot->receives || slot->awaits_room || slot->is_starved)
		return;
	slot->next = u->free;
	u->free = i;
	u->n_busy--;
}

/* -- orders --------------------------------------------------------------------------------------- */

static void name(struct io_uring_sqe *sqe, uint32_t slot, enum kind kind)
{
	sqe->user_data = (uint64_t)slot << KIND_BITS | kind;
}

static void receive(struct uring *u, uint32_t i)
{
	struct io_uring_sqe *sqe = ring_order(&u->ring);
	io_uring_prep_recv_multishot(sqe, u->slots[i].s->io.ev.fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_GROUP;
	name(sqe, i, KIND_RECEIVE);
	u->slots[i].receives = true;
	u->slots[i].is_cancelled = false;
}

static void await_room(struct uring *u, uint32_t i)
{
	struct io_uring_sqe *sqe = ring_order(&u->ring);
	io_uring_prep_poll_add(sqe, u->slots[i].s->io.ev.fd, POLLOUT);
	name(sqe, i, KIND_ROOM);
	u->slots[i].awaits_room = true;
}

static void cancel(struct uring *u, uint32_t i, enum kind kind)
{
	struct io_uring_sqe *sqe = ring_order(&u->ring);
	io_uring_prep_cancel64(sqe, (uint64_t)i << KIND_BITS | kind, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	name(sqe, i, KIND_NONE);
}

/* Its last completion is still to come. */
static void cancel_receive(struct uring *u, uint32_t i)
{
	if (u->slots[i].receives && !u->slots[i].is_cancelled)
		cancel(u, i, KIND_RECEIVE);
	u->slots[i].is_cancelled = true;
}

static void close_later(struct uring *u, int fd)
{
	struct io_uring_sqe *sqe = ring_order(&u->ring);
	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	name(sqe, 0, KIND_NONE);
}

static void order_send(struct uring *u, struct stream *s)
{
	struct stream_gather *g = s->gather;
	if (!stream_ready(s))
		return;
	struct io_uring_sqe *sqe = ring_order(&u->ring);
	if (g->n == 1)
		io_uring_prep_send(sqe, s->io.ev.fd, g->iov->iov_base, g->iov->iov_len, RING_SEND_FLAGS);
	else {
		g->msg = (struct msghdr){ .msg_iov = g->iov, .msg_iovlen = g->n };
		io_uring_prep_sendmsg(sqe, s->io.ev.fd, &g->msg, RING_SEND_FLAGS);
	}
	sqe->flags |= RING_SEND_SQE;
	name(sqe, s->slot, KIND_SEND);
}

/* -- what came ------------------------------------------------------------------------------------ */

static void note_arrival(struct uring *u, const struct io_uring_cqe *cqe)
{
	if (u->n_arrivals == u->cap_arrivals) {
		u->cap_arrivals = u->cap_arrivals ? 2 * u->cap_arrivals : 2 * RING_BUFFERS;
		u->arrivals = mem_grow(u->arrivals, u->cap_arrivals * sizeof *u->arrivals);
	}
	u->arrivals[u->n_arrivals++] = (struct arrival){ cqe->user_data, cqe->res, cqe->flags };
}

/* Takes the completions.  Calls no owner back, so it may be done at any time. */
static void take_completions(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	io_uring_for_each_cqe(&u->ring.io, head, cqe)
	{
		n++;
		switch ((enum kind)(cqe->user_data & ((1u << KIND_BITS) - 1))) {
		case KIND_SEND:
			stream_sent(u->slots[cqe->user_data >> KIND_BITS].s, cqe->res);
			break;
		case KIND_LOOP:
			u->polls_loop = false;
			u->loop_has_events = true;
			break;
		case KIND_RECEIVE:
		case KIND_ROOM:
			note_arrival(u, cqe);
			break;
		case KIND_NONE: /* what was to be cancelled had ended */
			break;
		}
	}
	io_uring_cq_advance(&u->ring.io, n);
}

/* Bytes of a paused stream are kept: at most what the buffers held when it was paused, for from now on nothing more is received. */
static void keep(struct stream *s, struct slice bytes)
{
	bool has_room = s->in.data || buf_reserve(&s->in, RECV_BYTES);
	if (s->error || !has_room || !buf_append(&s->in, bytes))
		engine_end(s, ENOMEM);
	else
		stream_want(s, s->wants & ~LOOP_READ);
}

/* A small remainder moves in front of BYTES, which have headroom; a large one grows. */
static void show(struct stream *s, struct slice bytes)
{
	struct slice kept = buf_slice(&s->in);
	struct buf from = { 0 };
	if (kept.len > HEADROOM_BYTES) {
		if (!buf_append(&s->in, bytes)) {
			engine_end(s, ENOMEM);
			return;
		}
		from = s->in;
		s->in = (struct buf){ 0 };
		bytes = buf_slice(&from);
	} else if (kept.len) {
		bytes = slice_of(memcpy((uint8_t *)(uintptr_t)bytes.at - kept.len, kept.at, kept.len), kept.len + bytes.len);
		buf_fini(&s->in);
	}
	engine_show(s, bytes, from);
}

static NOT_INLINE void on_bytes_otherwise(struct stream *s, struct slice bytes)
{
	if (s->close_when_flushed)
		return;
	if (s->is_tls)
		engine_unseal(s, bytes);
	else
		keep(s, bytes);
}

static void on_bytes(struct stream *s, struct slice bytes)
{
	if (UNLIKELY(s->close_when_flushed || s->is_paused || s->is_tls))
		on_bytes_otherwise(s, bytes);
	else
		show(s, bytes);
}

/* While the last words are flushed, only a write that fails ends a stream. */
static void on_end(struct stream *s, int error)
{
	if (s->close_when_flushed)
		return;
	if (s->is_paused)
		engine_paused_end(s, error);
	else
		engine_finish(s, error);
}

static void on_received(struct uring *u, uint32_t i, const struct arrival *a)
{
	struct slot *slot = &u->slots[i];
	struct stream *s = slot->s;
	bool is_end = a->result == 0 || (a->result < 0 && a->result != -ECANCELED && a->result != -ENOBUFS && a->result != -EINTR);
	if (!(a->flags & IORING_CQE_F_MORE)) {
		slot->receives = false;
		if (s && a->result == -ENOBUFS) {
			slot->is_starved = true;
			slot->next = u->starved;
			u->starved = i;
		} else if (s && !is_end && s->wants & LOOP_READ)
			receive(u, i);
	}
	if (s && is_end)
		on_end(s, -a->result);
	else if (s && a->result > 0)
		on_bytes(s, slice_of(ring_buffer(&u->ring, a->flags >> IORING_CQE_BUFFER_SHIFT), (size_t)a->result));
	else if (!s)
		slot_put_if_done(u, i);
	u->n_unflushed += a->result > 0 ? (size_t)a->result : 0;
	if (a->flags & IORING_CQE_F_BUFFER)
		ring_used(&u->ring, a->flags >> IORING_CQE_BUFFER_SHIFT);
}

static void on_room(struct uring *u, uint32_t i)
{
	struct slot *slot = &u->slots[i];
	struct stream *s = slot->s;
	slot->awaits_room = false;
	if (!s) {
		slot_put_if_done(u, i);
		return;
	}
	if (s->wants & LOOP_WRITE)
		engine_writable(s);
	slot = &u->slots[i];
	if (slot->s && slot->s->wants & LOOP_WRITE && !slot->awaits_room)
		await_room(u, i);
}

static void order_sends(struct uring *u)
{
	DLIST_EACH(l, &u->engine.dirty)
	order_send(u, CONTAINER_OF(l, struct stream, dirty));
}

/* Now there are buffers again. */
static void feed_starved(struct uring *u)
{
	uint32_t i = u->starved;
	u->starved = NO_SLOT;
	for (uint32_t next; i != NO_SLOT; i = next) {
		struct slot *slot = &u->slots[i];
		next = slot->next;
		slot->is_starved = false;
		if (slot->s && slot->s->wants & LOOP_READ)
			receive(u, i);
		else
			slot_put_if_done(u, i);
	}
}

/* Behind the call that submitted them: a send of which no completion came is done. */
static void finish_sends(struct uring *u)
{
	struct engine *e = &u->engine;
	take_completions(u);
	while (!dlist_is_empty(&e->dirty) && (io_uring_sq_ready(&u->ring.io) || io_uring_cq_has_overflow(&u->ring.io))) {
		ring_poll(&u->ring);
		take_completions(u);
	}
	u->n_unflushed = 0;
	for (struct dlist *l; (l = dlist_first(&e->dirty));) {
		struct stream *s = CONTAINER_OF(l, struct stream, dirty);
		stream_sent(s, (ssize_t)s->gather->bytes);
	}
	ring_offer(&u->ring);
	feed_starved(u);
}

static void dispatch(struct loop_waiter *w)
{
	struct uring *u = CONTAINER_OF(w, struct uring, waiter);
	uint32_t i = 0, n = u->n_arrivals;
	for (; i < n; i++) {
		struct arrival a = u->arrivals[i];
		u->arrivals[i].what = KIND_NONE;
		if ((a.what & ((1u << KIND_BITS) - 1)) == KIND_RECEIVE)
			on_received(u, (uint32_t)(a.what >> KIND_BITS), &a);
		else
			on_room(u, (uint32_t)(a.what >> KIND_BITS));
		if (u->n_unflushed >= FLUSH_BYTES)
			engine_flush(&u->engine);
	}
	u->n_arrivals -= n;
	if (u->n_arrivals)
		memmove(u->arrivals, u->arrivals + n, u->n_arrivals * sizeof *u->arrivals);
}

static bool wait(struct loop_waiter *w, uint64_t timeout_us)
{
	struct uring *u = CONTAINER_OF(w, struct uring, waiter);
	if (!u->polls_loop && !u->loop_has_events) {
		struct io_uring_sqe *sqe = ring_order(&u->ring);
		io_uring_prep_poll_add(sqe, loop_poll_fd(u->engine.loop), POLLIN);
		name(sqe, 0, KIND_LOOP);
		u->polls_loop = true;
	}
	order_sends(u);
	if (timeout_us && !u->n_arrivals && !u->loop_has_events)
		ring_wait(&u->ring, timeout_us);
	else if (!u->n_arrivals || io_uring_sq_ready(&u->ring.io))
		ring_poll(&u->ring);
	finish_sends(u);
	engine_flushed(&u->engine);
	bool has_events = u->loop_has_events;
	u->loop_has_events = false;
	return has_events;
}

/* -- what the streams want ------------------------------------------------------------------------ */

static void adopt(struct stream *s, int fd)
{
	s->io.ev.fd = fd;
	s->slot = slot_get(uring_of(s->engine), s);
}

static void want(struct stream *s)
{
	struct uring *u = uring_of(s->engine);
	struct slot *slot = &u->slots[s->slot];
	if (!(s->wants & LOOP_READ))
		cancel_receive(u, s->slot);
	else if (!slot->receives && !slot->is_starved)
		receive(u, s->slot);
	if (s->wants & LOOP_WRITE && !slot->awaits_room)
		await_room(u, s->slot);
}

static void flush(struct engine *e)
{
	struct uring *u = uring_of(e);
	if (!dlist_is_empty(&e->dirty)) {
		order_sends(u);
		ring_submit(&u->ring);
	}
	finish_sends(u);
}

/*
 * The call that sleeps may send, too, if nothing follows from what was sent (sleep would delay it), buffers enough are left to receive
 * into meanwhile, nobody waits for one, and all orders fit into one call.
 */
static bool can_flush_later(struct engine *e)
{
	struct uring *u = uring_of(e);
	unsigned n = 0;
	DLIST_EACH(l, &e->dirty)
	{
		const struct stream *s = CONTAINER_OF(l, struct stream, dirty);
		n++;
		if (s->was_high || s->close_when_flushed)
			return false;
	}
	return n > 0 && n < io_uring_sq_space_left(&u->ring.io) && u->ring.n_used <= RING_BUFFERS / 2 && u->starved == NO_SLOT &&
	       loop_waits_next(e->loop);
}

static void forget(struct stream *s, bool closes)
{
	struct uring *u = uring_of(s->engine);
	struct slot *slot = &u->slots[s->slot];
	cancel_receive(u, s->slot);
	if (slot->awaits_room)
		cancel(u, s->slot, KIND_ROOM);
	if (closes && s->io.ev.fd >= 0)
		close_later(u, s->io.ev.fd);
	slot->s = NULL;
	slot_put_if_done(u, s->slot);
}

/* Whether the receive of slot I has ended; IS_QUIET: and nothing came of it. */
static bool has_ended(const struct uring *u, uint32_t i, bool *is_quiet)
{
	bool has_ended = !u->slots[i].receives;
	*is_quiet = true;
	for (uint32_t at = 0; at < u->n_arrivals; at++) {
		const struct arrival *a = &u->arrivals[at];
		if (a->what != ((uint64_t)i << KIND_BITS | KIND_RECEIVE))
			continue;
		has_ended = has_ended || !(a->flags & IORING_CQE_F_MORE);
		*is_quiet = *is_quiet && (a->result == -ECANCELED || a->result == -ENOBUFS || a->result == -EINTR);
	}
	return has_ended;
}

static bool settle(struct stream *s)
{
	struct uring *u = uring_of(s->engine);
	bool is_quiet;
	cancel_receive(u, s->slot);
	if (u->slots[s->slot].awaits_room)
		cancel(u, s->slot, KIND_ROOM);
	ring_poll(&u->ring);
	take_completions(u);
	while (!has_ended(u, s->slot, &is_quiet)) {
		ring_wait(&u->ring, UINT64_MAX);
		take_completions(u);
	}
	return is_quiet;
}

static void uring_free(struct engine *e)
{
	struct uring *u = uring_of(e);
	for (uint32_t i = 0; i < u->n_slots; i++)
		ASSERT(!u->slots[i].s);
	flush(e);
	while (u->n_busy) {
		dispatch(&u->waiter);
		flush(e);
		if (u->n_busy && !u->n_arrivals)
			ring_wait(&u->ring, UINT64_MAX);
		take_completions(u);
	}
	ring_submit(&u->ring);
	loop_set_waiter(e->loop, NULL);
	ring_close(&u->ring);
	engine_fini(e);
	mem_free(u->slots);
	mem_free(u->arrivals);
	mem_free(u);
}

bool engine_can_io_uring(struct err *why)
{
	return ring_can(why);
}

struct engine *engine_new_io_uring(struct loop *loop, struct err *why)
{
	static const struct engine_ops ops = { false, adopt, want, flush, can_flush_later, forget, settle, uring_free };
	struct uring *u = mem_alloc(sizeof *u);
	if (loop_poll_fd(loop) < 0 || !ring_open(&u->ring, why)) {
		if (loop_poll_fd(loop) < 0)
			err_set(why, "58000", "the loop's epoll descriptor was not found");
		mem_free(u);
		return NULL;
	}
	u->free = u->starved = NO_SLOT;
	u->waiter = (struct loop_waiter){ wait, dispatch };
	engine_init(&u->engine, &ops, loop);
	loop_set_waiter(loop, &u->waiter);
	return &u->engine;
}
