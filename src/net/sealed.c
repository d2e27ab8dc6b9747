/*
 * sealed — what a stream with TLS does differently: records come and go in the kernel, plain text above.
 *
 *   bytes -> tls_feed -> shake, until it is done -> unseal into a lent buffer -> on_data -> keep a copy of the rest (plain)
 *   gather (plain slices) -> seal -> gather (one slice of records) --flush--> kernel
 *                                                    \--rest, and what is sealed while there is a rest--> s->out (records)
 *
 * A plain stream meets none of this: it is asked for one flag beside those that it was asked for already.
 *
 * Always: s->in is plain text, s->out are records;  what cannot be sealed is not sent.
 *         A stream with a gather is on `dirty`, also one whose gather is empty because only TLS itself has something to say.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "priv.h"
#include "tlspriv.h"

/* TLS itself has something to say. */
static void speak(struct stream *s)
{
	if (buf_len(tls_output(s->tls)) && !s->error)
		stream_gather_get(s);
}

bool stream_seal(struct stream *s)
{
	struct stream_gather *g = s->gather;
	struct buf *sealed = tls_output(s->tls);
	if (!tls_seal(s->tls, g->iov, g->n, g->bytes)) {
		stream_fail_write(s, EPROTO);
		return false;
	}
	if (s->close_when_flushed)
		tls_bye(s->tls);
	if (s->out.data && !buf_append(&s->out, buf_slice(sealed))) {
		stream_fail_write(s, ENOMEM);
		return false;
	}
	if (s->out.data || !buf_len(sealed)) {
		stream_gather_put(s);
		return false;
	}
	g->iov[0] = (struct iovec){ .iov_base = sealed->data + sealed->read, .iov_len = buf_len(sealed) };
	g->bytes = g->iov[0].iov_len;
	g->n = 1;
	return true;
}

void stream_unsealed(struct stream *s)
{
	buf_fini(tls_output(s->tls));
}

void stream_end_tls(struct stream *s)
{
	if (*tls_error(s->tls)) {
		s->engine->tls_failed = s;
		snprintf(s->engine->tls_error, sizeof s->engine->tls_error, "%s", tls_error(s->tls));
	}
	tls_free(s->tls);
	s->tls = NULL;
	s->is_tls = s->is_securing = false;
}

/* Of what is queued only the alert that tells the other side why. */
static void fail(struct stream *s)
{
	if (s->gather)
		s->gather->n = s->gather->bytes = 0;
	speak(s);
	s->engine->ops->flush(s->engine);
	engine_finish(s, EPROTO);
}

/* Where plain text goes: behind a remainder that is kept anyway, else into memory that is lent. */
struct room {
	uint8_t *at;
	size_t kept; /* bytes of the remainder, in front of AT */
	bool is_lent;
};

static bool room_find(struct room *r, struct stream *s, size_t bound)
{
	struct slice kept = buf_slice(&s->in);
	*r = (struct room){ .kept = kept.len, .is_lent = !s->is_paused && kept.len <= HEADROOM_BYTES };
	if (!r->is_lent) {
		bool has_room = buf_reserve(&s->in, bound);
		r->at = s->in.data + s->in.write;
		return has_room;
	}
	uint8_t *lent = engine_scratch(s->engine, kept.len + bound);
	if (lent && kept.len)
		memcpy(lent, kept.at, kept.len);
	r->at = lent + kept.len;
	return lent != NULL;
}

/* Of a paused stream: shown when it is resumed. */
static bool show(struct stream *s, const struct room *r, size_t len)
{
	struct buf from = { 0 };
	if (r->is_lent) {
		buf_fini(&s->in);
		return engine_show(s, slice_of(r->at - r->kept, r->kept + len), from);
	}
	s->in.write += (uint32_t)len;
	if (s->is_paused) {
		stream_want(s, s->wants & ~LOOP_READ);
		return true;
	}
	from = s->in;
	s->in = (struct buf){ 0 };
	return engine_show(s, buf_slice(&from), from);
}

static void nothing_came(struct stream *s)
{
	if (!buf_len(&s->in))
		buf_fini(&s->in); /* room_find() may have reserved */
}

static bool end(struct stream *s, enum tls_result r)
{
	if (r == TLS_FAILED)
		fail(s);
	else if (s->is_paused)
		engine_paused_end(s, 0);
	else
		engine_finish(s, 0);
	return false;
}

/* What was fed, as far as it is data. */
static bool unseal(struct stream *s)
{
	struct room room;
	size_t bound = tls_bound(s->tls), len;
	if (s->close_when_flushed)
		tls_feed(s->tls, slice_of(NULL, 0));
	if (s->close_when_flushed || !bound)
		return true;
	if (!room_find(&room, s, bound)) {
		engine_end(s, ENOMEM);
		return false;
	}
	enum tls_result r = tls_unseal(s->tls, room.at, &len);
	if (room.is_lent)
		engine_scratch_back(s->engine, bound - len);
	speak(s);
	if (!len)
		nothing_came(s);
	else if (!show(s, &room, len))
		return false;
	return r == TLS_MORE || end(s, r);
}

static bool shake(struct stream *s)
{
	enum tls_result r = tls_shake(s->tls);
	speak(s);
	if (r == TLS_FAILED) {
		fail(s);
		return false;
	}
	if (r == TLS_MORE)
		return true;
	s->is_securing = false;
	if (s->ops->on_secured && !engine_tell(s, s->ops->on_secured))
		return false;
	return unseal(s);
}

bool engine_unseal(struct stream *s, struct slice sealed)
{
	if (!s->is_securing) {
		tls_feed(s->tls, sealed);
		return unseal(s);
	}
	/* What the owner had been shown before it asked for TLS goes first. */
	struct buf early = s->in;
	s->in = (struct buf){ 0 };
	if (early.data && !buf_append(&early, sealed)) {
		buf_fini(&early);
		engine_end(s, ENOMEM);
		return false;
	}
	tls_feed(s->tls, early.data ? buf_slice(&early) : sealed);
	bool is_alive = shake(s);
	buf_fini(&early);
	return is_alive;
}

/* ---- the interface --------------------------------------------------------------------------------------------------------- */

void stream_start_tls(struct stream *s, const struct tls_start *start)
{
	if (!s->is_open || s->is_tls || s->error)
		return;
	ASSERT(!s->is_connecting && !s->in.data);
	s->engine->ops->flush(s->engine); /* what was queued before is not for TLS */
	s->tls = tls_new(start);
	s->is_tls = s->is_securing = s->tls != NULL;
	if (s->tls && (!start->early.len || buf_append(&s->in, start->early)))
		engine_again(s);
	else
		stream_fail_write(s, ENOMEM);
}

void stream_put_tls(struct stream *s, struct tls *tls)
{
	s->tls = tls;
	s->is_tls = tls != NULL;
}

void stream_drop_tls(struct tls *tls)
{
	tls_free(tls);
}

const char *stream_end_text(const struct stream *s, enum stream_end why, int error)
{
	if (why == STREAM_END_EOF)
		return "it closed the connection";
	return error == EPROTO && s->engine->tls_failed == s ? s->engine->tls_error : strerror(error);
}
