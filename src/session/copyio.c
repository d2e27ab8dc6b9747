/*
 * copyio — bytes that pass from the client to its server: COPY data, and the rest of messages too large to be here at once.
 *
 * CopyData, CopyDone and CopyFail outside a COPY are ignored, as PostgreSQL does: the COPY they belonged to has failed already.  What does not belong
 * into a COPY that reads ends the session, as there (CopyGetData; the server would lose its place in the stream of messages).
 */
#include "priv.h"

size_t copyio_drop(struct session *s, const struct frame *f, struct slice in)
{
	(void)in;
	s->body_left = f->body_len - (uint32_t)f->body.len;
	s->body_drop = 1;
	return FRAME_HEADER + f->body.len;
}

/* A long Query has passed: what it may have done to the session is judged now, before it can be answered. */
static void copyio_judge(struct session *s)
{
	if (!sql_scan_is_harmless(s->aside->scan))
		pins_set(s, s->pins | PIN_OPAQUE);
	mem_free(s->aside->scan);
	s->aside->scan = NULL;
}

size_t copyio_body(struct session *s, struct slice in, struct lent *lent)
{
	size_t n = in.len < s->body_left ? in.len : s->body_left;
	struct slice piece = slice_of(in.at, n);
	if (!s->body_drop) {
		stream_send(&s->srv->up.stream, piece, lent);
		if (session_aside(s)->scan)
			sql_scan_feed(s->aside->scan, slice_of(in.at, n - (n == s->body_left))); /* the NUL is no part of the text */
	}
	s->body_left -= (uint32_t)n;
	if (!s->body_left && session_aside(s)->scan && !s->body_drop)
		copyio_judge(s);
	return n;
}

/* The server asks for COPY data.  What stands behind it and was answered here, without being sent, the server cannot complain about. */
bool copyio_is_broken_here(const struct session *s)
{
	const struct replies *q = &s->srv->replies;
	for (uint32_t i = 1; i < q->len; i++) {
		const struct reply *entry = &q->ring[(q->head + i) & (q->cap - 1)];
		if (entry->fate == REPLY_LOCAL && entry->tag != TAG_DROP)
			return true;
		if (entry->kind != REPLY_SYNC && entry->tag != TAG_DROP)
			return false;
	}
	return false;
}

static bool copy_is_complete(const struct replies *q)
{
	for (uint32_t i = 1; i < q->len; i++)
		if (q->ring[(q->head + i) & (q->cap - 1)].kind == REPLY_COPY_END)
			return true;
	return false;
}

bool copyio_is_broken_by(const struct session *s, uint8_t type)
{
	return !strchr("dcfSHX", type) && !copy_is_complete(&s->srv->replies);
}

void copyio_break(struct session *s, uint8_t type)
{
	struct err e;
	err_set(&e, "08P01", "unexpected message type 0x%02X during COPY from stdin", type);
	if (type)
		session_send_error(s, &e);
	err_set(&e, "08P01", "terminating connection because protocol synchronization was lost");
	session_fatal(s, CLOSE_PROTOCOL, &e);
}

size_t copyio_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	if (!s->srv || s->skip_to_sync)
		return copyio_drop(s, f, in);
	if (f->type != 'd')
		borrow_push(s, REPLY_COPY_END, REPLY_FORWARD, TAG_PLAIN, NULL);
	return copyio_pass(s, f, in, lent);
}
