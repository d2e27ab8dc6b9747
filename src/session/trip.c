/*
 * trip — reads on a standby, and the way back: what the client sent is kept, and what the standby says is held, until there is no way back.
 *
 *   begun: the client's segment is kept, answers are held --first row, completion, an error of the client's own--> told
 *     told --ReadyForQuery--> the next segment, if one has joined meanwhile, begun again; behind the last one the trip is over
 *     begun --the standby refuses, fails, is lost--> goes back: what was kept of this segment is taken again, on the primary
 *
 * Always: a client hears of a segment from one server only; what is held has no row in it, so nothing large is kept.
 * A trip is for segments that change nothing in the books but the unnamed portal and statements, which are forgotten when one is taken again.
 */
#include <string.h>

#include "base/clock.h"
#include "priv.h"
#include "wire/reader.h"

/* ---- bytes: near at first, else in memory of their own --------------------------------------------------------------------------------------- */

static struct trip_bytes bytes_near(uint8_t *near, size_t room)
{
	return (struct trip_bytes){ .at = near, .near = near, .room = (uint32_t)room };
}

static NOT_INLINE void bytes_make_room(struct trip_bytes *b, size_t least)
{
	uint8_t *was = b->at;
	b->room = (uint32_t)(2 * least);
	b->at = mem_grow(was == b->near ? NULL : was, b->room);
	if (was == b->near)
		memcpy(b->at, was, b->len);
}

static void bytes_add(struct trip_bytes *b, struct slice more)
{
	if (UNLIKELY(b->len + more.len > b->room))
		bytes_make_room(b, b->len + more.len);
	memcpy(b->at + b->len, more.at, more.len);
	b->len += (uint32_t)more.len;
}

static void bytes_end(struct trip_bytes *b)
{
	if (UNLIKELY(b->at != b->near))
		mem_free(b->at);
}

/* ---- begin and end ----------------------------------------------------------------------------------------------------------------------- */

void trip_begin(struct session *s, struct pool *pool, struct pulse *pulse, struct slice segment)
{
	struct trip *t = slab_take(&s->home->trips);
	t->s = s;
	t->pool = pool;
	t->pulse = pulse_ref(pulse);
	t->began_us = loop_now_us(session_loop(s));
	t->taken = t->at = 0;
	t->n = 1;
	t->is_told = t->is_over = t->goes_back = false;
	t->kept = bytes_near(t->kept_near, sizeof t->kept_near);
	t->held = bytes_near(t->held_near, sizeof t->held_near);
	bytes_add(&t->kept, segment);
	pool_join(pool);
	pulse_begin(pulse, true);
	s->trip = t;
	s->unit_open = 0; /* all of it is here */
}

bool trip_join(struct session *s, struct slice segment)
{
	struct trip *t = s->trip;
	if (t->kept.len + segment.len > UNITS_MAX)
		return false;
	bytes_add(&t->kept, segment);
	t->n++;
	s->unit_open = 0;
	return true;
}

static void leave_node(struct trip *t, uint64_t took_us)
{
	if (!t->pool)
		return;
	pulse_end(t->pulse, took_us);
	pool_part(t->pool);
	t->pool = NULL;
}

static void trip_free(struct session *s)
{
	struct trip *t = s->trip;
	s->trip = NULL;
	leave_node(t, PULSE_UNKNOWN);
	pulse_unref(t->pulse);
	if (UNLIKELY(t->goes_back))
		loop_defer_cancel(&t->again);
	bytes_end(&t->kept);
	bytes_end(&t->held);
	slab_put(&s->home->trips, t);
}

void trip_tell(struct session *s)
{
	struct trip *t = s->trip;
	if (!t || t->is_told)
		return;
	t->is_told = true;
	if (t->held.len)
		stream_send(&s->stream, slice_of(t->held.at, t->held.len), NULL);
	t->held.len = 0;
}

void trip_end(struct session *s)
{
	if (!s->trip)
		return;
	trip_tell(s);
	trip_free(s);
}

void trip_hold(struct session *s, struct slice bytes)
{
	bytes_add(&s->trip->held, bytes);
}

/* One that was answered without a server is over with its last byte. */
void trip_all_taken(struct session *s)
{
	const struct trip *t = s->trip;
	if (t->is_told && !t->goes_back && !s->srv && s->state == SESSION_READY)
		trip_end(s);
}

/* ---- from segment to segment --------------------------------------------------------------------------------------------------------------- */

/* Behind the message that ends the segment at FROM. */
static uint32_t segment_end(const struct trip *t, uint32_t from)
{
	struct slice kept = slice_of(t->kept.at, t->kept.len);
	struct frame f;
	while (from < kept.len) {
		enum frame_result how = frame_next(slice_skip(kept, from), FRAME_FROM_CLIENT, &f);
		ASSERT(how == FRAME_OK && frame_is_whole(&f));
		from += (uint32_t)frame_size(&f);
		if (f.type == 'Q' || f.type == 'S')
			break;
	}
	return from;
}

void trip_segment_over(struct session *s)
{
	struct trip *t = s->trip;
	uint64_t now = loop_now_us(session_loop(s));
	t->is_over = false;
	if (t->goes_back) /* the pump knows where it is */
		return;
	if (--t->n == 0 || session_status(s) != 'I') {
		leave_node(t, now - t->began_us);
		trip_free(s);
		return;
	}
	t->at = segment_end(t, t->at);
	t->is_told = false;
}

/* ---- back ------------------------------------------------------------------------------------------------------------------------------------ */

/* Errors that the primary would give, too: the client's own, and what was asked for. */
static bool is_clients_own(const struct pgerr *pe)
{
	return (pe->sqlstate.len == 5 && memcmp(pe->sqlstate.at, "22", 2) == 0) || pgerr_has_state(pe, "42601") ||
	       pgerr_has_state(pe, "57014");
}

bool trip_may_return(const struct session *s, const struct pgerr *pe)
{
	return trip_holds(s) && !s->timed_out && !is_clients_own(pe);
}

/* Names that statements were given in the segment: nobody had them before (unit.c). */
static void forget_names(struct session *s)
{
	const struct trip *t = s->trip;
	struct slice kept = slice_of(t->kept.at + t->at, t->taken - t->at);
	struct reader r;
	struct frame f;
	while (kept.len && frame_next(kept, FRAME_FROM_CLIENT, &f) == FRAME_OK && frame_is_whole(&f)) {
		reader_init(&r, f.body);
		struct slice name = f.type == 'P' ? reader_text(&r) : slice_of(NULL, 0);
		if (name.len)
			naming_end(s, naming_begin(s, name, NULL), ENDED_DONE);
		kept = slice_skip(kept, frame_size(&f));
	}
}

/* The books as they were when the segment began. */
static void forget_segment(struct session *s)
{
	forget_names(s);
	portals_forget(s);
	if (s->away)
		awaytx_return(s);
	else
		vars_on_lost(s);
	s->skip_to_sync = s->unit_open = s->query_at_risk = s->portal_begins = s->portal_spent = 0;
	s->reply_left = s->in_query = 0;
	mem_free(s->owed);
	s->owed = NULL;
	mem_free(s->wait_failed);
	s->wait_failed = NULL;
}

/* True: all that was kept is taken. */
bool trip_pump(struct session *s)
{
	struct trip *t = s->trip;
	while (s->state == SESSION_READY && t->at < t->taken) {
		size_t n = session_take(s, slice_of(t->kept.at + t->at, t->taken - t->at), NULL);
		if (s->state == SESSION_CLOSED)
			return false;
		if (!n)
			return false;
		t->at += (uint32_t)n;
	}
	if (t->at < t->taken)
		return false;
	trip_free(s);
	stream_resume(&s->stream);
	return true;
}

static void trip_pump_later(struct loop_defer *d)
{
	trip_pump(CONTAINER_OF(d, struct trip, again)->s);
}

void trip_return(struct session *s, const char *why)
{
	struct trip *t = s->trip;
	log_debug(&s->log, "read_returns", KV_INT("node_id", pool_node_id(t->pool)), KV_STR("why", why));
	counted_returned(s, why);
	t->held.len = 0;
	t->is_told = t->goes_back = true;
	loop_defer_init(&t->again, trip_pump_later);
	if (s->srv)
		borrow_drop(s);
	pool_withdraw(&s->wait);
	leave_node(t, PULSE_UNKNOWN);
	forget_segment(s);
	if (s->state == SESSION_WAIT_QUIET || s->state == SESSION_WAIT_SERVER)
		session_unblock(s);
	loop_defer(session_loop(s), &t->again);
}

void trip_go_on(struct session *s)
{
	if (s->trip && s->trip->goes_back)
		loop_defer(session_loop(s), &s->trip->again);
}
