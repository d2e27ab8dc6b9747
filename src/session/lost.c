/*
 * lost — the server connection is gone, or has said what it must not: everything that was under way gets its answer, in order, and the session lives on.
 *
 *   a message was half forwarded, or the server kept state of this session (a pin) -> the session ends
 *   else -> an ERROR with what can be known of the statement's fate; inside a transaction, the transaction has failed
 *
 * Always: the client's count of ReadyForQuery stays right.
 */
#include "priv.h"

static bool loses_commit(const struct reply *entry)
{
	const struct effect *e = entry->ref;
	if (entry->tag != TAG_EFFECT)
		return false;
	for (uint32_t i = 0; i < e->class->n; i++)
		if (e->class->part[i].kind == SQL_COMMIT)
			return true;
	return false;
}

/* What the client is told: the server's last words if it had any, else what can be known of the statement's fate. */
static void lost_word(const struct session *s, const struct err *why, bool commit_sent, struct err *out)
{
	bool is_away = s->is_away && s->srv->tx_status != 'I' && !(s->owed && memcmp(s->owed->sqlstate, "25", 2) == 0);
	if (is_away) {
		err_set(out, "40001", "the standby that the transaction reads from was lost: %s", s->owed ? s->owed->text : why->text);
		err_detail(out, "It has changed nothing; it can be repeated.");
	} else if (s->owed)
		*out = *s->owed;
	else if (strcmp(why->sqlstate, "54000") == 0) /* it was we who gave it up */
		*out = *why;
	else if (s->srv->tx_status != 'I' && !commit_sent) {
		err_set(out, "40001", "the server connection was lost: %s", why->text);
		err_detail(out, "The transaction was not committed; it can be repeated.");
	} else if (strcmp(why->sqlstate, "08006") == 0) {
		err_set(out, "08007", "the server connection was lost: %s", why->text);
		err_detail(out, "Whether the statement took effect is not known.");
	} else
		*out = *why;
}

/* Answers everything that was under way, in order.  True when the client is left inside a segment that has failed. */
static bool lost_answer(struct session *s, const struct err *word, bool errored)
{
	struct reply entry;
	char status = s->vtx == VTX_FAILED ? 'E' : 'I';
	bool open = errored || s->segment_open;
	const uint8_t ready[] = { 'Z', 0, 0, 0, 5, (uint8_t)status };
	while (replies_clear(&s->srv->replies, &entry)) {
		bool is_ours = entry.fate == REPLY_SWALLOW || entry.kind == REPLY_COPY_END;
		bool is_end = entry.kind == REPLY_SYNC || entry.kind == REPLY_QUERY || entry.kind == REPLY_FUNCTION;
		outcome_book(s, &entry, ENDED_LOST, slice_of(NULL, 0));
		if (is_ours)
			continue;
		if (!errored)
			session_send_error(s, word);
		errored = !is_end;
		if (is_end)
			session_say(s, slice_of(ready, sizeof ready), NULL);
	}
	if (!errored && open && s->segment_open) {
		session_send_error(s, word);
		errored = true;
	}
	return errored;
}

/* The session will end, and its server is gone already: nothing goes back to the pool. */
static void lost_detach(struct session *s)
{
	struct reply entry;
	while (replies_clear(&s->srv->replies, &entry))
		outcome_book(s, &entry, ENDED_LOST, slice_of(NULL, 0));
	if (s->pin_counted)
		pool_unpin(s->srv->pool);
	s->pin_counted = 0;
	s->srv = NULL;
}

static void lost_pinned(struct session *s)
{
	struct err e;
	char pins[80];
	lost_detach(s);
	err_set(&e, "57P01", "the server that kept this session's state was lost (%s)",
	        pins_text(s->pins & PIN_STATE, pins, sizeof pins));
	if (s->owed)
		err_detail(&e, "%s", s->owed->text);
	session_fatal(s, CLOSE_LOST_PIN, &e);
}

static bool lost_commit_sent(const struct session *s)
{
	const struct replies *q = &s->srv->replies;
	for (uint32_t i = 0; i < q->len; i++)
		if (loses_commit(&q->ring[(q->head + i) & (q->cap - 1)]))
			return true;
	return false;
}

static void lost_session_goes_on(struct session *s, const struct err *why)
{
	struct err word;
	struct server *srv = s->srv;
	bool commit_sent = lost_commit_sent(s), in_transaction = srv->tx_status != 'I' && !commit_sent;
	bool idle = replies_is_empty(&srv->replies) && !s->segment_open;
	lost_word(s, why, commit_sent, &word);
	s->vtx = in_transaction ? VTX_FAILED : VTX_NONE;
	s->body_drop = 1;
	s->skip_to_sync = lost_answer(s, &word, srv->replies.failed || srv->replies.skipping);
	if (s->vtx == VTX_NONE)
		s->tx_since_us = 0;
	vars_on_lost(s);
	if (idle && in_transaction) { /* nobody is listening: the next statement is told why */
		s->owed = s->owed ? s->owed : mem_alloc(sizeof *s->owed);
		*s->owed = word;
	} else {
		mem_free(s->owed);
		s->owed = NULL;
	}
}

/* The next statement of its transaction will find the primary. */
static void lost_between_statements(struct session *s)
{
	lost_detach(s);
	awaytx_on_lost(s);
	if (s->state == SESSION_WAIT_QUIET)
		session_unblock(s);
	else
		stream_resume(&s->stream);
}

/* A standby, which had not told the client anything yet: the primary is asked. */
static bool lost_elsewhere(struct session *s)
{
	route_on_lost(s);
	if (trip_holds(s) && !s->timed_out) {
		lost_detach(s);
		trip_return(s, "the server was lost");
		return true;
	}
	trip_end(s);
	if (!s->away)
		return false;
	if (awaytx_outlives(s)) {
		lost_between_statements(s);
		return true;
	}
	awaytx_end(s);
	return false;
}

void lost_server(struct session *s, const struct err *why)
{
	bool blocked = s->state == SESSION_WAIT_QUIET;
	log_info(&s->log, "server_lost", KV_ERR(s->owed ? s->owed : why));
	if (UNLIKELY(s->home->routes || s->trip || s->away) && lost_elsewhere(s))
		return;
	if (s->reply_left && !s->reply_drop) {
		lost_detach(s);
		session_close(s, CLOSE_LOST_MESSAGE);
		return;
	}
	if (s->owed && strcmp(s->owed->sqlstate, "08P01") == 0) { /* what the client sent, as the server saw it */
		struct err e = *s->owed;
		lost_detach(s);
		session_fatal(s, CLOSE_PROTOCOL, &e);
		return;
	}
	if (s->pins & PIN_STATE) {
		lost_pinned(s);
		return;
	}
	if (!s->welcomed) {
		struct err e = s->owed ? *s->owed : *why;
		lost_detach(s);
		session_fatal(s, CLOSE_REFUSED, &e);
		return;
	}
	s->reply_left = 0;
	s->in_query = 0;
	lost_session_goes_on(s, why);
	if (s->pin_counted)
		pool_unpin(s->srv->pool);
	s->pin_counted = 0;
	s->srv = NULL;
	portals_forget(s);
	if (blocked)
		session_unblock(s);
	else
		stream_resume(&s->stream);
}

/* The server said what it must not: nothing that it says can be believed any more. */
void lost_trust(struct session *s, const struct frame *f)
{
	struct server *srv = s->srv;
	struct err e;
	err_set(&e, "08P01", "the server sent a message that was not expected (%s)",
	        f ? frame_name(FRAME_FROM_SERVER, f->type) : "malformed");
	log_warn(&s->log, "server_protocol", KV_ERR(&e));
	lost_server(s, &e);
	pool_close_server(srv, "protocol violation");
}
