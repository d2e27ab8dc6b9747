/*
 * relay — from the server to the client: each message is judged against the reply queue, forwarded or swallowed, and the books are kept.
 *
 * What is forwarded leaves as runs of the bytes as they came; only ReadyForQuery, which may be preceded by ParameterStatus messages of ours, errors
 * that are replaced, and answers from memory interrupt a run.
 *
 * Always: a reply that the queue did not expect ends the server connection and is reported to this client only (08P01); when a server is lost, every
 * message that was under way gets its answer in order, so that the client's count of ReadyForQuery stays right and the session lives on.
 */
#include "priv.h"
#include "wire/reader.h"

struct relay {
	struct session *s;
	struct slice in;
	struct lent *lent;
	size_t run; /* start of what is to be forwarded and was not yet */
	size_t at;
};

enum fate { FATE_FORWARD, FATE_DROP, FATE_STOP };

static const struct slice no_tag;

/* ---- entries that ended ------------------------------------------------------------------------------------------------------------------ */

static void naming_free(struct session *s, struct naming *n)
{
	statement_unref(s, n->was);
	statement_unref(s, n->is);
	mem_free(n);
}

/* A Parse that did not happen: the name means again what it meant, unless it was changed since. */
static void naming_undo(struct session *s, struct naming *n, enum ending how)
{
	struct slice name = slice_of(n->name, n->name_len);
	if (statement_find(s, name) != n->is)
		return;
	if (how == ENDED_FAILED &&
	    !name.len) { /* the unnamed statement is dropped before its successor is looked at (exec_parse_message) */
		statement_unref(s, statement_name(s, name, NULL));
		return;
	}
	if (n->was)
		n->was->refs++;
	statement_unref(s, statement_name(s, name, n->was));
}

static void relay_end_parse(struct session *s, struct naming *n, enum ending how)
{
	if (how == ENDED_DONE && n->on_server)
		statement_accept(n->is, n->generation, n->scope);
	if (n->on_server)
		s->parses_in_flight--;
	if (n->is_kept)
		statement_on_prepared(s, n->server_key, n->segment, how == ENDED_DONE);
	if (how != ENDED_DONE)
		naming_undo(s, n, how);
	naming_free(s, n);
}

static void relay_end_close(struct session *s, struct naming *n, enum ending how)
{
	if (how != ENDED_DONE && n->was)
		naming_undo(s, n, how);
	naming_free(s, n);
}

static void relay_end_setup(struct session *s, struct settings *applied, enum ending how)
{
	if (!applied)
		return;
	if (how == ENDED_DONE) {
		settings_unref(s->srv->applied);
		s->srv->applied = applied;
	} else
		settings_unref(applied);
}

static void relay_end_preparing(struct session *s, struct preparing *p, enum ending how)
{
	if (how == ENDED_DONE)
		statement_accept(p->st, p->generation, p->scope);
	statement_on_prepared(s, p->server_key, p->segment, how == ENDED_DONE);
	statement_unref(s, p->st);
	mem_free(p);
}

static void relay_end_evict(struct session *s, struct preparing *p, enum ending how)
{
	statement_on_closed(s, p, how == ENDED_DONE);
	mem_free(p);
}

static void relay_end_effect(struct session *s, const struct reply *entry, enum ending how, struct slice command)
{
	struct effect *e = entry->ref;
	if (statement_changes_names(e->class))
		s->naming_in_flight--;
	if (how == ENDED_DONE && !e->is_query)
		vars_on_complete(s, e, 0, command);
	if (!e->discarded && statement_discards(e->class))
		statement_on_discard_failed(s);
	vars_effect_free(s, e);
}

void relay_end(struct session *s, const struct reply *entry, enum ending how, struct slice command)
{
	if (entry->kind == REPLY_QUERY && how == ENDED_SKIPPED && s->unnamed_kept && entry->number + 1 == s->unnamed_version) {
		statement_unref(s, statement_name(s, no_tag, s->unnamed_kept)); /* the Query that dropped it did not happen */
		s->unnamed_kept = NULL;
	}
	switch (entry->tag) {
	case TAG_PARSE:
		relay_end_parse(s, entry->ref, how);
		break;
	case TAG_CLOSE:
		relay_end_close(s, entry->ref, how);
		break;
	case TAG_EFFECT:
		relay_end_effect(s, entry, how, command);
		break;
	case TAG_SETUP:
		relay_end_setup(s, entry->ref, how);
		break;
	case TAG_SETUP_BEGIN:
		s->in_block = s->in_block || how == ENDED_DONE;
		break;
	case TAG_REPREPARE:
		relay_end_preparing(s, entry->ref, how);
		break;
	case TAG_EVICT:
		relay_end_evict(s, entry->ref, how);
		break;
	case TAG_REFUSAL:
		mem_free(entry->ref);
		break;
	default:
		break;
	}
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------------------- */

static void relay_flush(struct relay *r)
{
	if (r->at > r->run)
		stream_send(&r->s->stream, slice_of(r->in.at + r->run, r->at - r->run), r->lent);
	r->run = r->at;
}

void relay_settle(struct session *s)
{
	struct reply entry;
	while (replies_skipped(&s->srv->replies, &entry))
		relay_end(s, &entry, ENDED_SKIPPED, no_tag);
	while (replies_local(&s->srv->replies, &entry)) {
		uint8_t message[5] = { entry.kind == REPLY_PARSE ? '1' : '3', 0, 0, 0, 4 };
		stream_send(&s->stream, slice_of(message, sizeof message), NULL);
		relay_end(s, &entry, ENDED_DONE, no_tag);
	}
}

static void tell_one(void *arg, const char *name, const char *from, const char *to)
{
	struct writer *w = arg;
	if (!to)
		return;
	writer_begin(w, 'S');
	writer_text(w, name);
	writer_text(w, to);
	writer_end(w);
}

void relay_tell_reported(struct session *s)
{
	struct writer w;
	struct settings *reported = s->srv->up.reported;
	if (s->told == reported)
		return;
	writer_init_grow(&w);
	settings_diff(s->told, reported, tell_one, &w);
	if (w.len)
		session_send(s, &w);
	writer_fini(&w);
	settings_unref(s->told);
	s->told = settings_ref(reported);
}

/* ---- ErrorResponse --------------------------------------------------------------------------------------------------------------------------- */

static void relay_replace_error(struct relay *r, const struct err *err)
{
	relay_flush(r);
	session_send_error(r->s, err);
}

#define SERVER_NAME "lunapool_" /* how names on servers begin (stmts_name) */

static bool is_server_name(struct slice at, const struct statement *st)
{
	char name[STMTS_NAME_MAX];
	stmts_name(st->last_key, name);
	return at.len >= strlen(name) && memcmp(at.at, name, strlen(name)) == 0;
}

/* The client's name for the statement whose name on the server AT begins with; empty for the unnamed one, or when it has none any more. */
static struct slice client_name(const struct session *s, struct slice at)
{
	struct slice name;
	uint32_t it = 0;
	void *st;
	if (s->unnamed && is_server_name(at, s->unnamed))
		return slice_of(NULL, 0);
	while (s->names && map_next(s->names, &it, &name, &st))
		if (is_server_name(at, st))
			return name;
	return slice_of(NULL, 0);
}

/* An error that names a prepared statement names it as the client does. */
static bool relay_rename(struct relay *r, struct slice body)
{
	struct slice rest = body;
	struct writer w;
	const uint8_t *hit = memmem(rest.at, rest.len, SERVER_NAME, strlen(SERVER_NAME));
	if (!hit)
		return false;
	writer_init_grow(&w);
	writer_begin(&w, 'E');
	for (; hit; hit = memmem(rest.at, rest.len, SERVER_NAME, strlen(SERVER_NAME))) {
		writer_bytes(&w, slice_of(rest.at, (size_t)(hit - rest.at)));
		rest = slice_skip(rest, (size_t)(hit - rest.at));
		writer_bytes(&w, client_name(r->s, rest));
		rest = slice_skip(rest, rest.len < STMTS_NAME_MAX - 1 ? rest.len : STMTS_NAME_MAX - 1);
	}
	writer_bytes(&w, rest);
	writer_end(&w);
	relay_flush(r);
	session_send(r->s, &w);
	writer_fini(&w);
	return true;
}

/* The error as the client shall see it: the server's own, or ours where we made it happen. */
static enum fate relay_word_error(struct relay *r, const struct reply *entry, const struct pgerr *pe, struct slice body)
{
	struct session *s = r->s;
	struct err e;
	if (entry->fate == REPLY_SWALLOW && entry->kind == REPLY_QUERY)
		return FATE_DROP;
	if (entry->tag == TAG_REFUSAL) {
		relay_replace_error(r, entry->ref);
		return FATE_DROP;
	}
	if (s->timed_out && pgerr_has_state(pe, "57014")) {
		err_set(&e, "57014", "canceling statement due to query_timeout");
		relay_replace_error(r, &e);
		return FATE_DROP;
	}
	return relay_rename(r, body) ? FATE_DROP : FATE_FORWARD;
}

/* Everything behind the failed message up to the next Sync is void.  When it was our own setup that failed in front of a Query, nobody but us will
 * send that Sync. */
static void relay_skip(struct session *s, const struct reply *failed)
{
	struct reply entry;
	bool query_was_skipped = false;
	while (replies_skipped(&s->srv->replies, &entry)) {
		query_was_skipped |= entry.kind == REPLY_QUERY || entry.kind == REPLY_FUNCTION;
		relay_end(s, &entry, ENDED_SKIPPED, no_tag);
	}
	if (query_was_skipped && failed->fate == REPLY_SWALLOW) {
		static const uint8_t sync[] = { 'S', 0, 0, 0, 4 };
		borrow_push(s, REPLY_SYNC, REPLY_FORWARD, TAG_CLEAN_SYNC, NULL);
		stream_send(&s->srv->up.stream, slice_of(sync, sizeof sync), NULL);
	}
}

static void relay_keep(struct err **where, const struct pgerr *pe)
{
	if (!*where)
		*where = mem_alloc(sizeof **where);
	pgerr_to_err(pe, *where);
}

static enum fate relay_failed(struct relay *r, const struct reply *entry, const struct pgerr *pe, struct slice body)
{
	struct session *s = r->s;
	enum fate fate = FATE_DROP;
	if (s->setup_ahead)
		relay_keep(&s->wait_failed, pe);
	else
		fate = relay_word_error(r, entry, pe, body);
	relay_end(s, entry, ENDED_FAILED, no_tag);
	relay_skip(s, entry);
	vars_on_error(s);
	return fate;
}

/* What an error tells about the node or the catalogue, beside failing the statement. */
static void relay_learn(struct session *s, const struct pgerr *pe)
{
	if (pgerr_has_state(pe, "25006"))
		pool_registry_trouble(s->home->env.pool_registry, pool_node_id(s->srv->pool));
	if (pgerr_has_state(pe, "0A000") && slice_equal(pe->message, slice_text("cached plan must not change result type"))) {
		pool_note_ddl(s->srv->pool);
		s->healed_generation = pool_ddl_generation(s->srv->pool);
	}
}

static enum fate relay_error(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct pgerr pe;
	struct reply entry;
	enum fate fate;
	if (!pgerr_read(f->body, &pe))
		return FATE_STOP;
	if (pgerr_is_fatal(&pe)) { /* the connection ends now: whoever is concerned is told when it has */
		relay_keep(&s->owed, &pe);
		return FATE_DROP;
	}
	relay_learn(s, &pe);
	switch (replies_on_message(&s->srv->replies, 'E', &entry)) {
	case REPLY_PART:
		fate = relay_word_error(r, &entry, &pe, f->body);
		vars_on_error(s);
		return fate;
	case REPLY_FAILED:
		return relay_failed(r, &entry, &pe, f->body);
	case REPLY_ASYNC: /* a timeout that the server noticed at a Flush */
		vars_on_error(s);
		return FATE_FORWARD;
	default:
		return FATE_STOP;
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

static enum fate relay_ready(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct reply entry;
	if (!f->body.len || replies_on_message(&s->srv->replies, 'Z', &entry) != REPLY_DONE)
		return FATE_STOP;
	s->srv->tx_status = f->body.at[0];
	relay_end(s, &entry, ENDED_DONE, no_tag);
	vars_on_ready(s);
	if (entry.tag == TAG_SETUP_SYNC) {
		if (s->welcomed)
			relay_setup_done(s);
		else
			relay_welcome_setup(s);
		return FATE_DROP;
	}
	if (entry.fate == REPLY_SWALLOW)
		return FATE_DROP;
	if (s->told != s->srv->up.reported && s->srv->applied == s->vars) { /* else it tells of another session's settings */
		relay_flush(r);
		relay_tell_reported(s);
	}
	if (!s->segment_open && replies_is_empty(&s->srv->replies))
		session_end_statement(s);
	pool_count(s->srv->pool, s->srv->tx_status == 'I', entry.kind != REPLY_SYNC, 0, 0);
	return FATE_FORWARD;
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

static enum fate relay_judged(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct reply entry;
	switch (replies_on_message(&s->srv->replies, f->type, &entry)) {
	case REPLY_PART:
		if (entry.tag == TAG_EFFECT && (f->type == 'C' || f->type == 'I'))
			vars_on_complete(s, entry.ref, s->srv->replies.parts - 1, command_tag(f));
		break;
	case REPLY_DONE:
		relay_end(s, &entry, ENDED_DONE, f->type == 'C' ? command_tag(f) : no_tag);
		break;
	default:
		return FATE_STOP;
	}
	return entry.fate == REPLY_FORWARD ? FATE_FORWARD : FATE_DROP;
}

static bool must_be_whole(uint8_t type)
{
	return type != 'D' && type != 'd' && type != 'T' && type != 'V' && type != 't';
}

static enum fate relay_message(struct relay *r, const struct frame *f)
{
	switch (f->type) {
	case 'E':
		return relay_error(r, f);
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

/* ---- a lost server -------------------------------------------------------------------------------------------------------------------------------- */

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
	if (s->owed)
		*out = *s->owed;
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
		relay_end(s, &entry, ENDED_LOST, no_tag);
		if (is_ours)
			continue;
		if (!errored)
			session_send_error(s, word);
		errored = !is_end;
		if (is_end)
			stream_send(&s->stream, slice_of(ready, sizeof ready), NULL);
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
		relay_end(s, &entry, ENDED_LOST, no_tag);
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
	        vars_pin_text(s->pins & PIN_STATE, pins, sizeof pins));
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
	vars_on_lost(s);
	if (idle && in_transaction) { /* nobody is listening: the next statement is told why */
		s->owed = s->owed ? s->owed : mem_alloc(sizeof *s->owed);
		*s->owed = word;
	} else {
		mem_free(s->owed);
		s->owed = NULL;
	}
}

static void relay_lost(struct session *s, const struct err *why)
{
	bool blocked = s->state == SESSION_WAIT_QUIET;
	log_info(&s->log, "server_lost", KV_ERR(s->owed ? s->owed : why));
	if (s->reply_left && !s->reply_drop) {
		lost_detach(s);
		session_close(s, CLOSE_LOST_MESSAGE);
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
	statement_forget_portals(s);
	if (blocked)
		session_unblock(s);
	else
		stream_resume(&s->stream);
}

static void relay_on_gone(struct server *srv, const struct err *err)
{
	relay_lost(srv->borrower, err);
}

/* The server said what it must not: nothing that it says can be believed any more. */
static void relay_distrust(struct session *s, const struct frame *f)
{
	struct server *srv = s->srv;
	struct err e;
	err_set(&e, "08P01", "the server sent a message that was not expected (%s)",
	        f ? frame_name(FRAME_FROM_SERVER, f->type) : "malformed");
	log_warn(&s->log, "server_protocol", KV_ERR(&e));
	relay_lost(s, &e);
	pool_close_server(srv, "protocol violation");
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

/* Takes what merely goes to the client: most of a result.  True: that was the last that the queue can tell without relay_after(). */
static bool relay_plain(struct relay *r)
{
	struct replies *q = &r->s->srv->replies;
	size_t n = replies_pass(q, slice_skip(r->in, r->at));
	r->at += n;
	return n && (replies_is_empty(q) || !replies_is_settled(q));
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
		relay_distrust(s, NULL);
		return false;
	case FRAME_OK:
		break;
	}
	if (!frame_is_whole(&f) && must_be_whole(f.type))
		return false;
	here = FRAME_HEADER + f.body.len;
	fate = relay_message(r, &f);
	if (fate == FATE_STOP) {
		relay_flush(r);
		relay_distrust(s, &f);
		return false;
	}
	if (fate == FATE_DROP)
		relay_flush(r);
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

/* After each message: answers from memory whose turn it is; after the last one the server goes back. */
static void relay_after(struct relay *r)
{
	struct session *s = r->s;
	const struct replies *q = &s->srv->replies;
	if (UNLIKELY(!replies_is_settled(q))) {
		relay_flush(r);
		relay_settle(s);
	}
	if (q->doubtful && !s->segment_open)
		relay_resolve_doubt(s);
	if (replies_is_empty(q)) {
		relay_flush(r);
		if (s->state == SESSION_WAIT_QUIET && !s->srv->cancels)
			session_unblock(s);
		else if (!s->held_since_us) /* a message is held until this server was set up for it */
			borrow_give_back(s);
	}
}

static size_t relay_on_data(struct server *srv, struct slice bytes, struct lent *lent)
{
	struct relay r = { .s = srv->borrower, .in = bytes, .lent = lent };
	while (r.at < bytes.len) {
		if (r.s->reply_left)
			relay_rest(&r);
		else if (relay_plain(&r) || relay_next(&r, srv))
			relay_after(&r);
		else
			break;
		if (r.s->srv != srv)
			break;
	}
	if (r.s->state != SESSION_CLOSED)
		relay_flush(&r);
	if (r.s->srv == srv && stream_is_high(&r.s->stream))
		stream_pause(&srv->up.stream);
	return r.at;
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
