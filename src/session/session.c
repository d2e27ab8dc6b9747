/*
 * session — one client connection: its states, its door, its end.
 *
 *   startup -> auth -> welcome -> ready <-> waiting | no_primary | paused | waiting_pin | settling
 *   startup -> cancelling;   auth -> console | replication;   any -> closed
 *
 * Bytes of the client come in at on_data(); the state's function takes whole messages (or the next piece of one that streams through) and
 * says how many bytes it took.  A message that must wait is not taken: the session stops reading and the same message is offered again
 * when it goes on, so that nothing is kept twice and a waiting client costs what it sent, no more.
 *
 * Always: a session in a waiting state has stopped reading; a closed session has no server, no timer, no place in any list but that of the
 * lingering (its last words are on the way) or the dead, and its memory goes when the callbacks of this turn have unwound.
 */
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "pool/poolkeys.h"
#include "priv.h"

#define STATE_WORD(name, word, sentence) word,
const char *const session_state_names[] = { SESSION_STATES(STATE_WORD) };
#define CLOSE_WORD(name, word, sentence) word,
static const char *const close_words[] = { CLOSES(CLOSE_WORD) };

/* ---- small verbs that all of session/ uses -------------------------------------------------------------------------------- */

void session_enter(struct session *s, enum session_state next)
{
	ASSERT(s->state != SESSION_CLOSED);
	s->state = (uint8_t)next;
	s->since_us = loop_now_us(session_loop(s));
}

void session_send(struct session *s, struct writer *w)
{
	ASSERT(writer_ok(w));
	session_say(s, writer_slice(w), NULL);
}

void session_send_report(struct session *s, const char *severity, uint8_t type, const struct err *err)
{
	uint8_t space[2048];
	struct writer w;
	writer_init(&w, space, sizeof space);
	pgerr_write(&w, type, severity, err);
	session_send(s, &w);
}

void session_send_error(struct session *s, const struct err *err)
{
	session_send_report(s, "ERROR", 'E', err);
}

char session_status(const struct session *s)
{
	if (s->vtx != VTX_NONE)
		return s->vtx == VTX_DEFERRED ? 'T' : 'E';
	return s->srv ? (char)s->srv->tx_status : 'I';
}

void session_send_ready(struct session *s)
{
	uint8_t space[8];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'Z');
	writer_u8(&w, (uint8_t)session_status(s));
	writer_end(&w);
	session_send(s, &w);
	trip_tell(s);
}

void session_block(struct session *s, enum session_state why)
{
	session_enter(s, why);
	if (!s->held_since_us)
		s->held_since_us = s->since_us;
	stream_pause(&s->stream);
	patience_watch(s);
}

void session_unblock(struct session *s)
{
	dlist_remove(&s->homeless);
	s->waits_for_earlier = 0;
	session_enter(s, s->welcomed ? SESSION_READY : SESSION_WELCOME);
	if (!s->welcomed) {
		startup_welcome(s);
		return;
	}
	trip_go_on(s);
	stream_resume(&s->stream);
}

void session_fail_wait(struct session *s, const char *sqlstate, const char *text, const char *hint)
{
	pool_withdraw(&s->wait);
	if (!s->wait_failed)
		s->wait_failed = mem_alloc(sizeof *s->wait_failed);
	err_set(s->wait_failed, sqlstate, "%s", text);
	if (hint)
		err_hint(s->wait_failed, "%s", hint);
	session_unblock(s);
}

static unsigned session_who(const struct log *log, struct log_kv *out, unsigned max)
{
	const struct session *s = CONTAINER_OF(log, struct session, log);
	const struct log_kv all[] = { KV_INT("client", s->id), KV_STR("user", s->user), KV_STR("database", s->database) };
	unsigned n = 0;
	for (; n < ARRAY_LEN(all) && n < max; n++)
		out[n] = all[n];
	return n;
}

struct session_aside *session_aside_of(struct session *s)
{
	if (!s->aside)
		s->aside = mem_alloc(sizeof *s->aside);
	return s->aside;
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static void session_free(struct session *s)
{
	struct sessions *ss = s->home;
	mem_free(s->user);
	mem_free(s->owed);
	mem_free(s->wait_failed);
	mem_free(s->begin);
	mem_free(s->pinned_by);
	mem_free(session_aside(s)->workload);
	mem_free(session_aside(s)->scan);
	mem_free(s->aside);
	if (s->key_words > 1) {
		secret_wipe(s->key.far, session_key(s).len);
		mem_free(s->key.far);
	}
	secret_wipe(&s->key, sizeof s->key);
	slab_put(&ss->slab, s);
}

void sessions_bury(struct loop_defer *d)
{
	struct sessions *ss = CONTAINER_OF(d, struct sessions, bury);
	struct dlist *dead;
	while ((dead = dlist_pop_front(&ss->dead)))
		session_free(CONTAINER_OF(dead, struct session, link));
}

static void session_unlink(struct session *s)
{
	const struct addr peer = addr_lengthen(&s->peer);
	struct sessions *ss = s->home;
	struct session_registry *r = ss->env.registry;
	dlist_remove(&s->link);
	dlist_remove(&s->homeless);
	ss->count--;
	addresses_leave(r, &peer);
	if (s->is_counted)
		atomic_fetch_sub_explicit(&r->clients, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&r->worker[ss->env.worker].clients, 1, memory_order_relaxed);
	if (s->welcomed)
		atomic_fetch_sub_explicit(&r->worker[ss->env.worker].welcomed, 1, memory_order_relaxed);
	if (s->by_user)
		limit_give(s->by_user);
	if (s->by_database)
		limit_give(s->by_database);
}

static void session_log_end(struct session *s, enum close_reason why)
{
	if (s->welcomed && session_conf(s)->log_connections)
		log_info(&s->log, "client_closed", KV_STR("reason", close_words[why]),
		         KV_INT("ms", (loop_now_us(session_loop(s)) - s->connected_us) / US_PER_MS));
	else
		log_debug(&s->log, "client_closed", KV_STR("reason", close_words[why]));
}

/* Everything but the socket. */
static void session_end(struct session *s, enum close_reason why)
{
	session_log_end(s, why);
	session_unlink(s);
	pool_withdraw(&s->wait);
	hold_leave(s);
	borrow_drop(s);
	trip_end(s);
	awaytx_end(s);
	if (session_aside(s)->link_up)
		link_end(s);
	if (session_aside(s)->talk)
		console_end(s);
	cancel_retire(s);
	hearing_end_life(s);
	vars_end_life(s);
	portals_forget(s);
	names_free(s);
	divert_forget(s);
	abroad_forget(s);
	startup_free(s);
	if (s->pool)
		pool_part(s->pool);
	s->pool = NULL;
	poolkeys_drop(s->keys);
	s->keys = NULL;
	loop_timer_stop(session_loop(s), &s->timer);
	session_enter(s, SESSION_CLOSED);
}

void session_bury(struct session *s)
{
	stream_close(&s->stream);
	dlist_remove(&s->link);
	dlist_push_back(&s->home->dead, &s->link);
	loop_defer(session_loop(s), &s->home->bury);
}

void session_close(struct session *s, enum close_reason why)
{
	if (s->state == SESSION_CLOSED)
		return;
	session_end(s, why);
	session_bury(s);
}

void session_fatal(struct session *s, enum close_reason why, const struct err *err)
{
	if (s->state == SESSION_CLOSED)
		return;
	log_info(&s->log, "client_refused", KV_STR("reason", close_words[why]), KV_ERR(err));
	trip_tell(s);
	if (!s->reply_left) /* in the middle of a message nothing can be said */
		session_send_report(s, "FATAL", 'E', err);
	session_end(s, why);
	dlist_push_back(&s->home->lingering, &s->link);
	stream_close_after_flush(&s->stream); /* a plain close with unread input would take the last words back (RST) */
}

/* ---- the client's bytes ---------------------------------------------------------------------------------------------------------- */

static void session_break(struct session *s, const char *what)
{
	struct err e;
	err_set(&e, "08P01", "%s", what);
	session_fatal(s, CLOSE_PROTOCOL, &e);
}

static size_t session_take_message(struct session *s, const struct frame *f, struct slice in, struct lent *lent,
                                   const struct unit *u)
{
	switch (f->type) {
	case 'Q':
		return query_take(s, f, in, lent, u);
	case 'P':
	case 'B':
	case 'D':
	case 'E':
	case 'C':
	case 'S':
	case 'H':
	case 'F':
		return extended_take(s, f, in, lent, u);
	case 'd':
	case 'c':
	case 'f':
		return copyio_take(s, f, in, lent);
	case 'X':
		session_close(s, CLOSE_TERMINATE);
		return in.len;
	default:
		session_break(s, "unexpected message from the client");
		return 0;
	}
}

size_t session_take(struct session *s, struct slice in, struct lent *lent)
{
	struct unit u;
	struct frame f;
	size_t taken;
	if (s->body_left)
		return copyio_body(s, in, lent);
	if (UNLIKELY(s->srv && s->srv->replies.doubtful && !s->segment_open && !replies_is_skipping(&s->srv->replies) &&
	             replies_copy(&s->srv->replies) == REPLY_COPY_NONE)) {
		session_block(s, SESSION_WAIT_QUIET); /* until it is known whether a Sync sent during a COPY will be answered */
		relay_resolve_doubt(s);
		return 0;
	}
	switch (frame_next(in, FRAME_FROM_CLIENT, &f)) {
	case FRAME_SHORT:
		return 0;
	case FRAME_BAD:
		session_break(s, "invalid frontend message type or length");
		return 0;
	case FRAME_OK:
		break;
	}
	if (UNLIKELY(s->srv && replies_copy(&s->srv->replies) == REPLY_COPY_IN) && copyio_is_broken_by(s, f.type)) {
		copyio_break(s, f.type);
		return 0;
	}
	u.class = u.own = NULL;
	u.st = NULL;
	if (UNLIKELY(s->home->routes || s->trip || s->away) && !trip_takes(s) && !route_unit(s, &f, in, &u)) {
		unit_forget(s, &u);
		return 0;
	}
	taken = UNLIKELY(f.body_len > s->home->max_message) ? oversize_take(s, &f, in) : session_take_message(s, &f, in, lent, &u);
	unit_forget(s, &u);
	if (taken && s->held_since_us && s->state == SESSION_READY) { /* it waited for a server and then needed none */
		s->held_since_us = 0;
		hold_leave(s);
		borrow_give_back(s);
	}
	return taken;
}

static NOT_INLINE size_t take_otherwise(struct session *s, struct slice in, struct lent *lent)
{
	switch (s->state) {
	case SESSION_STARTUP:
		return startup_take(s, in);
	case SESSION_AUTH:
		return clientauth_take(s, in);
	case SESSION_CONSOLE:
		return console_take(s, in);
	case SESSION_LINK:
		return link_take(s, in, lent);
	case SESSION_CANCELLING:
		return in.len; /* nothing that it could say matters any more */
	default:
		return 0;
	}
}

static size_t session_on_data(struct stream *stream, struct slice bytes, struct lent *lent)
{
	struct session *s = stream->owner;
	bool is_counted = s->pool; /* what it says to come in is not */
	size_t taken = 0;
	if (UNLIKELY(s->trip && s->trip->goes_back) && !trip_pump(s))
		return s->state == SESSION_CLOSED ? bytes.len : 0;
	while (taken < bytes.len) {
		struct slice in = slice_skip(bytes, taken);
		size_t n = LIKELY(s->state == SESSION_READY) ? session_take(s, in, lent) : take_otherwise(s, in, lent);
		if (s->state == SESSION_CLOSED)
			return bytes.len;
		if (UNLIKELY(s->trip))
			trip_took(s, n);
		if (!n || UNLIKELY(s->trip && s->trip->goes_back) || (s->srv && stream_is_high(&s->srv->up.stream))) {
			taken += n;
			if (UNLIKELY(s->state == SESSION_WAIT_PRIMARY) && !hold_weigh(s, bytes.len - taken))
				continue; /* it is told so */
			break;
		}
		taken += n;
	}
	if (is_counted && s->pool)
		POOL_COUNT(s->pool, bytes_in, taken);
	if (s->srv && stream_is_high(&s->srv->up.stream))
		stream_pause(&s->stream);
	return taken;
}

static void session_on_drained(struct stream *stream)
{
	struct session *s = stream->owner;
	if (s->srv)
		stream_resume(&s->srv->up.stream);
	if (session_aside(s)->link_up)
		link_drained(s);
	if (session_aside(s)->talk)
		console_drained(s);
}

static void session_on_closed(struct stream *stream, enum stream_end why, int error)
{
	struct session *s = stream->owner;
	if (why == STREAM_END_ERROR && error == EPROTO)
		log_info(&s->log, "client_tls_failed", KV_STR("error", stream_end_text(stream, why, error)));
	if (s->state == SESSION_CLOSED)
		session_bury(s);
	else
		session_close(s, why == STREAM_END_EOF ? CLOSE_EOF : CLOSE_ERROR);
}

static const struct stream_ops session_stream_ops = {
	.on_data = session_on_data,
	.on_drained = session_on_drained,
	.on_closed = session_on_closed,
};

void sessions_accept(struct sessions *ss, int fd, const struct addr *peer, enum session_gate gate)
{
	struct session *s = slab_get(&ss->slab);
	s->home = ss;
	s->id = (++ss->next_id << 8) | ss->env.worker;
	addr_shorten(&s->peer, peer);
	s->is_over = gate == SESSION_GATE_OVER;
	s->log.who = session_who;
	s->connected_us = loop_now_us(ss->loop);
	dlist_init(&s->homeless);
	dlist_init(&s->wait.link);
	dlist_push_back(&ss->all, &s->link);
	loop_timer_init(&s->timer, patience_on_timer);
	ss->count++;
	atomic_fetch_add_explicit(&ss->env.registry->worker[ss->env.worker].clients, 1, memory_order_relaxed);
	cancel_seat(s);
	session_enter(s, SESSION_STARTUP);
	stream_open(&s->stream, ss->env.upstream.engine, fd, &session_stream_ops, s);
	patience_watch(s);
}
