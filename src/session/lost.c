/*
 * lost — the server connection is gone, or has said what it must not: everything that was under way gets its answer, in order, and the session lives on.
 *
 *   a message was half forwarded, or the server kept state of this session (a pin, but for LISTEN) -> the session ends
 *   else -> an ERROR with what can be known of the statement's fate; inside a transaction, the transaction has failed
 *
 * Always: the client's count of ReadyForQuery stays right.
 */
#include "priv.h"

/* Of what was under way: whether the server may have committed some of it, and whether a transaction of the client's is open behind all of it. */
struct loss {
	bool may_be_committed, is_open;
	bool has_failed; /* the transaction, before: its COMMIT is a ROLLBACK */
	bool has_ended;  /* by itself: the Sync behind it has nothing to commit */
};

static void lose_part(struct loss *l, const struct sql_part *p)
{
	switch (p->kind) {
	case SQL_BEGIN:
		l->is_open = true;
		return;
	case SQL_COMMIT:
	case SQL_PREPARE_TRANSACTION:
		l->may_be_committed |= !l->has_failed;
		break;
	case SQL_ROLLBACK:
		break;
	default: /* outside a block each commits by itself */
		l->may_be_committed |= !l->is_open;
		return;
	}
	l->has_failed = false;
	l->has_ended = true;
	l->is_open = (p->effects & SQL_AND_CHAIN) != 0;
}

static void lose_entry(struct loss *l, const struct reply *entry)
{
	const struct effect *e = entry->tag == TAG_EFFECT ? entry->ref : NULL;
	bool runs = entry->kind == REPLY_QUERY || entry->kind == REPLY_EXECUTE || entry->kind == REPLY_FUNCTION;
	if (entry->fate == REPLY_LOCAL)
		return;
	if (entry->tag == TAG_SETUP_BEGIN)
		l->is_open = true;
	else if (entry->kind == REPLY_SYNC) /* commits what was done since the last one, unless a block is open */
		l->may_be_committed |= !l->is_open && !l->has_ended;
	else if (entry->fate == REPLY_FORWARD && runs && !e)
		l->may_be_committed |= !l->is_open;
	for (uint32_t i = 0; e && i < e->class->n; i++)
		lose_part(l, &e->class->part[i]);
	if (e && e->class->is_opaque)
		l->may_be_committed = true;
}

/* tx_status is of the last ReadyForQuery, or of a BEGIN that we have sent; in_block knows of what was completed since.  A BEGIN that was answered
 * here and refused there has begun a transaction that has failed, as the client sees it. */
static struct loss lost_what(const struct session *s)
{
	const struct replies *q = &s->srv->replies;
	struct loss l = { .is_open = s->in_block || s->begin_is == BEGIN_REFUSED,
		              .has_failed = s->srv->tx_status == 'E',
		              .may_be_committed = s->srv->tx_status != 'I' && !s->in_block && s->begin_is == BEGIN_NONE };
	for (uint32_t i = 0; i < q->len; i++)
		lose_entry(&l, &q->ring[(q->head + i) & (q->cap - 1)]);
	l.may_be_committed |= s->segment_open && !l.is_open;
	return l;
}

/* It goes because it, or all of the server, ends: no matter of the statement. */
static bool is_shutdown(const struct err *e)
{
	return strncmp(e->sqlstate, "57P0", 4) == 0;
}

/* What the client is told: what can be known of the statement's fate; the server's last words where they are about the client. */
static void lost_word(const struct session *s, const struct err *why, const struct loss *l, struct err *out)
{
	bool is_away = s->is_away && s->srv->tx_status != 'I' && !(s->owed && memcmp(s->owed->sqlstate, "25", 2) == 0);
	const struct err *last = s->owed ? s->owed : why;
	const char *lost =
	    last == why && strcmp(why->sqlstate, "08006") == 0 ? "" : "the server connection was lost: "; /* 08006 says so itself */
	if (is_away) {
		err_set(out, "40001", "the standby that the transaction reads from was lost: %s", last->text);
		err_detail(out, "It has changed nothing; it can be repeated.");
	} else if (s->owed && !is_shutdown(s->owed))
		*out = *s->owed;
	else if (strcmp(why->sqlstate, "54000") == 0) /* it was we who gave it up */
		*out = *why;
	else if (!l->may_be_committed) {
		err_set(out, "40001", "%s%s", lost, last->text);
		err_detail(out, "The transaction was not committed; it can be repeated.");
	} else if (strcmp(why->sqlstate, "08006") == 0 || s->owed) {
		err_set(out, "08007", "%s%s", lost, last->text);
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
	bool may_be_committed = lost_what(s).may_be_committed;
	lost_detach(s);
	err_set(&e, may_be_committed ? "08007" : "57P01", "the server that kept this session's state was lost (%s)",
	        pins_text(s->pins & PIN_STATE, pins, sizeof pins));
	if (s->owed)
		err_detail(&e, "%s", s->owed->text);
	session_fatal(s, CLOSE_LOST_PIN, &e);
}

static void lost_session_goes_on(struct session *s, const struct err *why)
{
	struct err word;
	struct server *srv = s->srv;
	const struct loss l = lost_what(s);
	bool idle = replies_is_empty(&srv->replies) && !s->segment_open;
	lost_word(s, why, &l, &word);
	s->vtx = l.is_open ? VTX_FAILED : VTX_NONE;
	s->body_drop = 1;
	s->skip_to_sync = lost_answer(s, &word, srv->replies.failed || srv->replies.skipping);
	if (s->vtx == VTX_NONE)
		s->tx_since_us = 0;
	vars_on_lost(s);
	if (idle && l.is_open) { /* nobody is listening: the next statement is told why */
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
	if ((s->pins & PIN_STATE) && !hearing_can_move(s)) {
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
	hearing_lost(s);
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
