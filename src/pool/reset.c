/*
 * reset — a server that came back with something on it is cleaned before anybody else gets it, or closed.
 *
 *   draining ──► rolling back ──► discarding ──► server_settle()
 *      │               │               │
 *      └───────────────┴───────────────┴── an error, reset_timeout ──► server_close()
 *
 * draining: what was asked and not answered is cancelled, a COPY is failed, a segment without a Sync is made to fail and gets one (PostgreSQL undoes what a
 * client leaves unsynced), and every answer is read.  Then, when
 * each cancel request has ended (one that comes late would strike our ROLLBACK), ROLLBACK unless the status is I, then DISCARD ALL if
 * something is on it that the books do not tell.  A signal may still be on its way inside the server when the request's connection
 * is closed, so one 57014 for each of these is forgiven and the command repeated.
 *
 * The entries of the reply queue were the borrower's: their refs are dropped already, and what they did is known to nobody: so a server that
 * comes back with replies outstanding is discarded.
 */
#include <string.h>

#include "priv.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/writer.h"

/* Errors, parameters and ReadyForQuery are looked at when they are whole; a longer one is passed over like any other message. */
#define RESET_BODY_MAX (64u * 1024)

enum reset_step { RESET_DRAINING, RESET_ROLLING_BACK, RESET_DISCARDING };

struct server_reset {
	struct server *srv;
	struct loop_timer timer;
	uint8_t step;                                /* enum reset_step */
	bool has_failed, was_cancelled, has_retried; /* the command of this step */
};

/* -- sending --------------------------------------------------------------------------------------- */

/* Our entries have nothing to tell anybody. */
static bool expect(struct server *srv, enum reply_kind kind)
{
	return replies_push(&srv->replies, (struct reply){ .kind = (uint8_t)kind, .fate = REPLY_SWALLOW });
}

static void send_sync(struct server *srv)
{
	static const uint8_t sync[] = { 'S', 0, 0, 0, 4 };
	srv->needs_sync = 0;
	if (expect(srv, REPLY_SYNC))
		stream_send(&srv->up.stream, slice_of(sync, sizeof sync), NULL);
}

/* A Sync alone would commit what was sent before it. */
static void abort_segment(struct server *srv)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'P');
	writer_text(&w, "");
	writer_text(&w, "!the client went away");
	writer_u16(&w, 0);
	writer_end(&w);
	ASSERT(writer_ok(&w));
	if (expect(srv, REPLY_PARSE))
		stream_send(&srv->up.stream, writer_slice(&w), NULL);
	send_sync(srv);
}

static void send_query(struct server *srv, const char *sql)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'Q');
	writer_text(&w, sql);
	writer_end(&w);
	ASSERT(writer_ok(&w));
	if (expect(srv, REPLY_QUERY))
		stream_send(&srv->up.stream, writer_slice(&w), NULL);
}

/* "COPY Operations": CopyFail ends it with an error.  In the extended protocol the server then skips to a Sync, and it has ignored those that
 * came while it was copying. */
static void fail_copy(struct server *srv)
{
	static const char text[] = "the client went away";
	const struct reply *head = replies_head(&srv->replies);
	bool is_extended = head && head->kind == REPLY_EXECUTE;
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'f');
	writer_text(&w, text);
	writer_end(&w);
	stream_send(&srv->up.stream, writer_slice(&w), NULL);
	srv->in_copy_in = 0;
	if (!expect(srv, REPLY_COPY_END))
		return;
	if (is_extended)
		send_sync(srv);
}

/* -- the steps ------------------------------------------------------------------------------------- */

static void enter_step(struct server *srv, enum reset_step step)
{
	static const char *const sql[] = { [RESET_ROLLING_BACK] = "ROLLBACK", [RESET_DISCARDING] = "DISCARD ALL" };
	struct server_reset *r = srv->reset;
	r->has_retried = r->has_failed && r->step == step;
	r->has_failed = r->was_cancelled = false;
	r->step = (uint8_t)step;
	send_query(srv, sql[step]);
}

static void set_books(struct settings **book, struct settings *to)
{
	struct settings *old = *book;
	*book = settings_ref(to);
	settings_unref(old);
}

static void on_discarded(struct server *srv)
{
	stmts_fini(&srv->stmts);
	set_books(&srv->applied, srv->pool->pools->empty);
	set_books(&srv->committed, srv->pool->pools->empty);
	srv->needs_discard = 0;
}

static void finish(struct server *srv)
{
	reset_stop(srv);
	server_settle(srv);
}

/* The command of the last step is answered, or draining is done. */
static void next_step(struct server *srv)
{
	struct server_reset *r = srv->reset;
	if (r->step != RESET_DISCARDING && !r->has_failed) /* also behind a segment that was made to fail */
		set_books(&srv->applied, srv->committed);
	if (r->step == RESET_DISCARDING && !r->has_failed)
		on_discarded(srv);
	if (r->has_failed && (!r->was_cancelled || r->has_retried))
		server_close(srv, r->step == RESET_DISCARDING ? "DISCARD ALL failed" : "ROLLBACK failed");
	else if (srv->tx_status != 'I' && r->step != RESET_DRAINING && !r->has_failed)
		server_close(srv, "ROLLBACK did not end the transaction");
	else if (srv->tx_status != 'I')
		enter_step(srv, RESET_ROLLING_BACK);
	else if (srv->needs_discard)
		enter_step(srv, RESET_DISCARDING);
	else
		finish(srv);
}

static void on_timeout(struct loop_timer *t)
{
	struct server_reset *r = CONTAINER_OF(t, struct server_reset, timer);
	server_close(r->srv, r->srv->cancels ? "a cancel request did not end within reset_timeout"
	                                     : "it could not be reset within reset_timeout");
}

static void drop_void(struct server *srv)
{
	struct reply entry;
	while (replies_skipped(&srv->replies, &entry))
		;
	while (replies_local(&srv->replies, &entry))
		;
}

static bool lacks_sync(const struct server *srv)
{
	return srv->needs_sync || srv->replies.open || replies_is_skipping(&srv->replies);
}

void reset_advance(struct server *srv)
{
	drop_void(srv);
	if (replies_is_empty(&srv->replies) && lacks_sync(srv))
		send_sync(srv);
	if (replies_is_doubtful(&srv->replies))
		send_query(srv, ""); /* its answer settles which Syncs a failed COPY has eaten */
	if (!replies_is_empty(&srv->replies) || srv->skip || srv->cancels)
		return;
	if (srv->must_close)
		server_close(srv, "retired");
	else
		next_step(srv);
}

/* -- reading --------------------------------------------------------------------------------------- */

/* False when the connection ends with it. */
static bool note_error(struct server *srv, struct slice body)
{
	struct pgerr e;
	if (!pgerr_read(body, &e) || pgerr_is_fatal(&e)) {
		server_close_after_error(srv, body);
		return false;
	}
	srv->reset->has_failed = srv->reset->step != RESET_DRAINING;
	srv->reset->was_cancelled = pgerr_has_state(&e, "57014");
	return true;
}

static void judge(struct server *srv, uint8_t type)
{
	struct reply entry;
	switch (replies_on_message(&srv->replies, type, &entry)) {
	case REPLY_UNEXPECTED:
		server_close(srv, "an unexpected message during a reset");
		return;
	case REPLY_PART:
		if (type == 'G')
			fail_copy(srv);
		break;
	case REPLY_FAILED:
	case REPLY_DONE:
	case REPLY_ASYNC:
		break;
	}
	if (type == 'A')
		srv->needs_discard = 1; /* it listens */
	reset_advance(srv);
}

/* BODY is empty when the message was too long to be waited for. */
static void on_message(struct server *srv, uint8_t type, struct slice body)
{
	if (type == 'S')
		server_note_reported(srv, body);
	if (type == 'E' && body.len && !note_error(srv, body))
		return;
	if (type == 'Z' && body.len == 1)
		srv->tx_status = body.at[0];
	judge(srv, type);
}

static bool is_read_whole(const struct frame *f)
{
	return (f->type == 'S' || f->type == 'E' || f->type == 'Z') && f->body_len <= RESET_BODY_MAX;
}

size_t reset_on_data(struct server *srv, struct slice bytes)
{
	size_t taken = bytes.len < srv->skip ? bytes.len : srv->skip;
	srv->skip -= (uint32_t)taken;
	if (taken && !srv->skip)
		reset_advance(srv);
	while (srv->state == SERVER_RESETTING) {
		struct frame f;
		enum frame_result r = frame_next(slice_skip(bytes, taken), FRAME_FROM_SERVER, &f);
		if (r == FRAME_SHORT || (r == FRAME_OK && !frame_is_whole(&f) && is_read_whole(&f)))
			return taken;
		if (r == FRAME_BAD) {
			server_close(srv, "it broke the protocol during a reset");
			return bytes.len;
		}
		taken += FRAME_HEADER + f.body.len;
		srv->skip = (uint32_t)(f.body_len - f.body.len);
		on_message(srv, f.type, frame_is_whole(&f) ? f.body : slice_of(NULL, 0));
	}
	return taken;
}

/* -- public ---------------------------------------------------------------------------------------- */

bool reset_is_needed(const struct server *srv)
{
	return srv->replies.len || srv->tx_status != 'I' || srv->needs_discard || srv->in_copy_in || srv->cancels || srv->skip ||
	       lacks_sync(srv);
}

void reset_start(struct server *srv)
{
	struct server_reset *r = mem_alloc(sizeof *r);
	bool is_busy = srv->replies.len != 0;
	r->srv = srv;
	srv->reset = r;
	slot_add(&srv->pool->slot->resetting, 1);
	server_enter_reset(srv);
	loop_timer_init(&r->timer, on_timeout);
	loop_timer_start(srv->pool->pools->loop, &r->timer, srv->pool->plan.reset_timeout_us);
	srv->needs_discard |= is_busy;
	if (srv->in_copy_in || replies_copy(&srv->replies) == REPLY_COPY_IN)
		fail_copy(srv);
	else if (is_busy)
		server_cancel(srv, NULL, NULL);
	if (lacks_sync(srv))
		abort_segment(srv);
	reset_advance(srv);
}

void reset_stop(struct server *srv)
{
	if (!srv->reset)
		return;
	loop_timer_stop(srv->pool->pools->loop, &srv->reset->timer);
	mem_free(srv->reset);
	srv->reset = NULL;
	slot_add(&srv->pool->slot->resetting, -1);
}
