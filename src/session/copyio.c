/*
 * copyio — bytes that pass from the client to its server: COPY data, and the rest of messages too large to be here at once.
 *
 * CopyData, CopyDone and CopyFail outside a COPY are ignored, as PostgreSQL does: the COPY they belonged to has failed already.
 */
#include "priv.h"

size_t copyio_pass(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	size_t here = FRAME_HEADER + f->body.len;
	stream_send(&s->srv->up.stream, slice_of(in.at, here), lent);
	s->body_left = f->body_len - (uint32_t)f->body.len;
	s->body_drop = 0;
	return here;
}

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
	if (!sql_scan_is_harmless(s->scan))
		vars_set_pins(s, s->pins | PIN_OPAQUE);
	mem_free(s->scan);
	s->scan = NULL;
}

size_t copyio_body(struct session *s, struct slice in, struct lent *lent)
{
	size_t n = in.len < s->body_left ? in.len : s->body_left;
	struct slice piece = slice_of(in.at, n);
	if (!s->body_drop) {
		stream_send(&s->srv->up.stream, piece, lent);
		if (s->scan)
			sql_scan_feed(s->scan, slice_of(in.at, n - (n == s->body_left))); /* the NUL is no part of the text */
	}
	s->body_left -= (uint32_t)n;
	if (!s->body_left && s->scan && !s->body_drop)
		copyio_judge(s);
	return n;
}

size_t copyio_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	if (!s->srv || s->skip_to_sync)
		return copyio_drop(s, f, in);
	if (f->type != 'd')
		borrow_push(s, REPLY_COPY_END, REPLY_FORWARD, TAG_PLAIN, NULL);
	return copyio_pass(s, f, in, lent);
}
