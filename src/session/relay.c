/*
 * relay — from the server to the client: each message is judged against the reply queue, forwarded or swallowed, and the books are kept.
 *
 * What is forwarded leaves as runs of the bytes as they came; only ReadyForQuery, which may be preceded by ParameterStatus messages of ours, errors
 * that are replaced, and answers from memory interrupt a run.
 *
 * Always: a reply that the queue did not expect ends the server connection and is reported to this client only (08P01); when a server is lost, every
 * message that was under way gets its answer in order, so that the client's count of ReadyForQuery stays right and the session lives on.
 */
#include <string.h>

#include "priv.h"
#include "wire/reader.h"

static const struct slice no_tag;

/* ---- sending ------------------------------------------------------------------------------------------------------------------------------- */

void relay_flush(struct relay *r)
{
	if (r->at > r->run)
		session_say(r->s, slice_of(r->in.at + r->run, r->at - r->run), r->lent);
	r->run = r->at;
}

void relay_settle(struct session *s)
{
	struct reply entry;
	while (replies_skipped(&s->srv->replies, &entry))
		outcome_book(s, &entry, ENDED_SKIPPED, no_tag);
	while (replies_local(&s->srv->replies, &entry)) {
		uint8_t message[5] = { entry.kind == REPLY_PARSE ? '1' : '3', 0, 0, 0, 4 };
		if (entry.tag == TAG_SAID)
			session_say(s, slice_of(((struct said *)entry.ref)->bytes, ((struct said *)entry.ref)->len), NULL);
		else if (entry.tag != TAG_DROP)
			session_say(s, slice_of(message, sizeof message), NULL);
		outcome_book(s, &entry, ENDED_DONE, no_tag);
	}
}

/* ---- ReadyForQuery ----------------------------------------------------------------------------------------------------------------------------- */

static void relay_setup_done(struct session *s)
{
	s->setup_ahead = 0;
	session_unblock(s);
}

static void relay_welcome_setup(struct session *s)
{
	struct err e;
	s->setup_ahead = 0;
	if (!s->wait_failed) {
		session_enter(s, SESSION_WELCOME);
		startup_on_server(s);
		return;
	}
	e = *s->wait_failed;
	session_fatal(s, CLOSE_REFUSED, &e);
}

/* The server is in no transaction, but the client was told that it is in one; and that one has failed. */
static enum fate relay_begin_refused(struct relay *r)
{
	r->s->begin_is = BEGIN_NONE;
	r->s->vtx = VTX_FAILED;
	patience_note(r->s); /* its clocks run: it is the client's to end it */
	relay_flush(r);
	session_send_ready(r->s);
	return FATE_DROP;
}

static enum fate relay_ready(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct reply entry;
	if (!f->body.len || replies_on_message(&s->srv->replies, 'Z', &entry) != REPLY_DONE)
		return FATE_STOP;
	if (entry.tag != TAG_PLAIN)
		outcome_book(s, &entry, ENDED_DONE, no_tag);
	if (entry.tag == TAG_TRIAL) {
		vars_on_trial(s);
		return FATE_DROP;
	}
	if (s->srv->tx_status == 'E' && f->body.at[0] == 'I')
		vars_on_failed_end(s);
	s->srv->tx_status = f->body.at[0];
	s->copy_refused = s->row_refused = 0;
	vars_on_ready(s);
	if (UNLIKELY(entry.tag == TAG_CHANNELS)) {
		relay_flush(r);
		hearing_answered(s);
		return FATE_DROP;
	}
	if (UNLIKELY(entry.tag == TAG_PART)) {
		relay_flush(r);
		hearing_parted(s);
		return FATE_DROP;
	}
	if (entry.tag == TAG_SETUP_SYNC) {
		if (s->welcomed)
			relay_setup_done(s);
		else
			relay_welcome_setup(s);
		return FATE_DROP;
	}
	if (entry.fate == REPLY_SWALLOW)
		return FATE_DROP;
	if (s->told != s->srv->up.reported || s->srv->applied != s->vars || s->srv->tx_status == 'E') {
		relay_flush(r);
		told_behind_ready(s);
	}
	patience_end_statement(s);
	struct pool_tally *tally = pool_tally(s->srv->pool);
	pool_tally_add(&tally->transactions, s->srv->tx_status == 'I');
	pool_tally_add(&tally->queries, entry.kind != REPLY_SYNC);
	if (UNLIKELY(s->home->routes || s->trip || s->away))
		route_on_ready(s);
	return s->begin_is == BEGIN_REFUSED ? relay_begin_refused(r) : FATE_FORWARD;
}

/* ---- one message --------------------------------------------------------------------------------------------------------------------------------- */

static enum fate relay_parameter(struct session *s, const struct frame *f)
{
	struct reader rd;
	struct slice name, value;
	struct settings *before = s->srv->up.reported;
	reader_init(&rd, f->body);
	name = reader_text(&rd);
	value = reader_text(&rd);
	if (!reader_done(&rd))
		return FATE_STOP;
	s->srv->up.reported = settings_with(before, name, value);
	settings_unref(before);
	s->vars_touched = 1;
	return FATE_DROP;
}

static struct slice command_tag(const struct frame *f)
{
	return slice_of(f->body.at, f->body.len ? f->body.len - 1 : 0);
}

/* Its transaction must not be on a standby. */
static enum fate relay_goes_home(struct relay *r)
{
	r->run = r->at;
	trip_return(r->s, "isolation");
	return FATE_DROP;
}

static enum fate relay_judged(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct reply entry;
	if (UNLIKELY(s->row_refused) && oversize_is_late(f))
		return FATE_GIVE_UP;
	switch (replies_on_message(&s->srv->replies, f->type, &entry)) {
	case REPLY_PART:
		if (UNLIKELY(s->row_refused || f->body_len > s->home->max_row) && oversize_row(s, &entry, f))
			return FATE_DROP;
		if (entry.tag == TAG_EFFECT && (f->type == 'C' || f->type == 'I'))
			vars_on_complete(s, entry.ref, s->srv->replies.parts - 1, command_tag(f));
		if (entry.tag == TAG_LEVEL && f->type == 'D' && !awaytx_level(s, f))
			return relay_goes_home(r);
		break;
	case REPLY_DONE:
		if (entry.tag == TAG_DESCRIBE)
			columns_described(s, entry.ref, f);
		else if (entry.tag == TAG_COLUMNS)
			columns_compared(s, entry.ref, f);
		outcome_book(s, &entry, ENDED_DONE, f->type == 'C' ? command_tag(f) : no_tag);
		break;
	default:
		return FATE_STOP;
	}
	return entry.fate == REPLY_FORWARD ? FATE_FORWARD : FATE_DROP;
}

static bool must_be_whole(const struct replies *q, uint8_t type)
{
	const struct reply *head = replies_head(q);
	if (type == 'T')
		return head && (head->tag == TAG_DESCRIBE || head->tag == TAG_COLUMNS);
	if (type == 'D')
		return head && head->tag == TAG_LEVEL;
	return type != 'd' && type != 'V' && type != 't';
}

static enum fate relay_message(struct relay *r, const struct frame *f)
{
	switch (f->type) {
	case 'E':
		return fault_take(r, f);
	case 'Z':
		return relay_ready(r, f);
	case 'S':
		return relay_parameter(r->s, f);
	case 'N':
		return r->s->welcomed ? FATE_FORWARD : FATE_DROP;
	case 'A': /* only who listens may hear */
		return r->s->pins & PIN_LISTEN ? FATE_FORWARD : FATE_DROP;
	default:
		return relay_judged(r, f);
	}
}

/* ---- the server's bytes ------------------------------------------------------------------------------------------------------------------------------ */

static void relay_rest(struct relay *r)
{
	struct session *s = r->s;
	size_t n = r->in.len - r->at;
	if (n > s->reply_left)
		n = s->reply_left;
	if (s->reply_drop)
		relay_flush(r);
	r->at += n;
	s->reply_left -= (uint32_t)n;
	if (s->reply_drop)
		r->run = r->at;
}

/* The client may hear it, and then there is no way back. */
static bool ends_hold(uint8_t type)
{
	switch (type) {
	case '1':
	case '2':
	case 't':
	case 'n':
	case 'T':
	case 'N':
	case 'S':
		return false;
	default:
		return true;
	}
}

/* The same of one among whole messages. */
static bool one_ends_hold(struct slice run)
{
	struct frame f;
	while (frame_next(run, FRAME_FROM_SERVER, &f) == FRAME_OK) {
		if (ends_hold(f.type))
			return true;
		run = slice_skip(run, frame_size(&f));
	}
	return false;
}

/* Takes what merely goes to the client: most of a result.  True: that was the last that the queue can tell without relay_after(). */
static bool relay_plain(struct relay *r)
{
	struct replies *q = &r->s->srv->replies;
	uint32_t max_row = r->s->home->max_row;
	size_t n = replies_pass(q, slice_skip(r->in, r->at), max_row == UINT32_MAX ? SIZE_MAX : FRAME_HEADER + (size_t)max_row);
	if (UNLIKELY(trip_holds(r->s)) && one_ends_hold(slice_of(r->in.at + r->at, n)))
		trip_tell(r->s);
	r->at += n;
	return n && (replies_is_empty(q) || !replies_is_settled(q) || replies_copy(q) == REPLY_COPY_IN);
}

/* Takes the message at r->at.  False: come back with more, or this session has nothing to do with the server any more. */
static bool relay_next(struct relay *r, struct server *srv)
{
	struct session *s = r->s;
	struct frame f;
	enum fate fate;
	size_t here;
	switch (frame_next(slice_skip(r->in, r->at), FRAME_FROM_SERVER, &f)) {
	case FRAME_SHORT:
		return false;
	case FRAME_BAD:
		relay_flush(r);
		lost_trust(s, NULL);
		return false;
	case FRAME_OK:
		break;
	}
	if (!frame_is_whole(&f) && must_be_whole(&s->srv->replies, f.type))
		return false;
	here = FRAME_HEADER + f.body.len;
	fate = relay_message(r, &f);
	if (fate == FATE_STOP) {
		relay_flush(r);
		lost_trust(s, &f);
		return false;
	}
	if (fate == FATE_GIVE_UP) {
		relay_flush(r);
		oversize_give_up(s);
		return false;
	}
	if (fate == FATE_DROP)
		relay_flush(r);
	else if (UNLIKELY(trip_holds(s)) && ends_hold(f.type))
		trip_tell(s);
	r->at += here;
	if (fate == FATE_DROP)
		r->run = r->at;
	if (s->srv != srv) /* given back, or the session is over */
		return false;
	s->reply_left = f.body_len - (uint32_t)f.body.len;
	s->reply_drop = fate == FATE_DROP;
	return true;
}

/* A COPY that failed leaves it open whether a Sync sent during it will be answered: an empty Query settles that. */
void relay_resolve_doubt(struct session *s)
{
	if (!replies_is_doubtful(&s->srv->replies))
		return;
	static const uint8_t query[] = { 'Q', 0, 0, 0, 5, 0 };
	borrow_push(s, REPLY_QUERY, REPLY_SWALLOW, TAG_OURS, NULL);
	stream_send(&s->srv->up.stream, slice_of(query, sizeof query), NULL);
}

/* What a message waited for that needs to know how earlier segments ended (names_wait).  A COPY waits for the client. */
static bool relay_earlier_is_over(const struct session *s)
{
	const struct replies *q = &s->srv->replies;
	return (!q->syncs && !q->doubtful) || replies_copy(q) == REPLY_COPY_IN;
}

/* A COPY that reads got something else from the client. */
static bool relay_copy_is_over(struct relay *r)
{
	if (!r->s->broke_copy && r->s->state == SESSION_WAIT_QUIET) { /* what waits cannot be COPY's */
		session_unblock(r->s);
		return true;
	}
	if (!r->s->broke_copy && !copyio_is_broken_here(r->s))
		return false;
	relay_flush(r);
	copyio_break(r->s, r->s->broke_copy ? 0 : 'C');
	return true;
}

/* After each message: answers from memory whose turn it is; after the last one the server goes back. */
static void relay_after(struct relay *r)
{
	struct session *s = r->s;
	const struct replies *q = &s->srv->replies;
	if (UNLIKELY(s->trip && s->trip->is_over)) { /* before the next one's answers from memory, which may have to be taken back */
		relay_flush(r);
		trip_segment_over(s);
	}
	if (UNLIKELY(!replies_is_settled(q))) {
		relay_flush(r);
		relay_settle(s);
	}
	if (UNLIKELY(s->broke_copy || q->copy == REPLY_COPY_IN) && relay_copy_is_over(r))
		return;
	if (q->doubtful && !s->segment_open)
		relay_resolve_doubt(s);
	if (replies_is_empty(q)) {
		stream_all_read(&s->srv->up.stream);
		relay_flush(r);
		if (s->state == SESSION_WAIT_QUIET && !s->srv->cancels) {
			if (s->vtx == VTX_FAILED) /* what waits may need no server */
				borrow_give_back(s);
			session_unblock(s);
		} else if (!s->held_since_us) /* a message is held until this server was set up for it */
			borrow_give_back(s);
	} else if (UNLIKELY(s->waits_for_earlier) && relay_earlier_is_over(s))
		session_unblock(s);
}

static size_t relay_on_data(struct server *srv, struct slice bytes, struct lent *lent)
{
	struct relay r = { .s = srv->borrower, .in = bytes, .lent = lent };
	while (r.at < bytes.len) {
		if (r.s->reply_left)
			relay_rest(&r);
		else if ((!r.s->row_refused && relay_plain(&r)) || relay_next(&r, srv))
			relay_after(&r);
		else
			break;
		if (r.s->srv != srv)
			break;
	}
	if (r.s->state != SESSION_CLOSED)
		relay_flush(&r);
	POOL_COUNT(srv->pool, bytes_out, r.at);
	if (r.s->srv == srv && stream_is_high(&r.s->stream))
		stream_pause(&srv->up.stream);
	return r.at;
}

static void relay_on_gone(struct server *srv, const struct err *err)
{
	lost_server(srv->borrower, err);
}

static void relay_on_drained(struct server *srv)
{
	struct session *s = srv->borrower;
	if (s->state == SESSION_READY)
		stream_resume(&s->stream);
}

const struct server_user relay_user = {
	.on_data = relay_on_data,
	.on_drained = relay_on_drained,
	.on_gone = relay_on_gone,
};
