/*
 * extended — the door of the extended protocol: Describe, Execute, Close, Sync, Flush and FunctionCall; Parse is parse.c's, Bind bind.c's.
 *
 * Statement names are virtual (names.c): Describe gets the server's name in place of the client's, and the statement is prepared in front of it where
 * the server lacks it (prepare.c).  A statement that does not exist is answered with PostgreSQL's words.
 */
#include "priv.h"
#include "wire/reader.h"

/* ---- what all of them share ------------------------------------------------------------------------------------------------------------ */

size_t extended_break(struct session *s, const char *what)
{
	struct err e;
	err_set(&e, "08P01", "invalid %s message", what);
	session_fatal(s, CLOSE_PROTOCOL, &e);
	return 0;
}

size_t extended_refuse(struct session *s, const struct frame *f, struct slice in, const struct err *err)
{
	borrow_refuse(s, false, err);
	return copyio_drop(s, f, in);
}

/* A server for CLASS, or the reason why not.  -1: go on; else what the handler returns. */
ssize_t extended_borrow_any(struct session *s, const struct frame *f, struct slice in, const struct sql_class *class)
{
	struct err e;
	if (class && query_is_refused(s, class, &e))
		return (ssize_t)extended_refuse(s, f, in, &e);
	switch (borrow_server(s, class, &e)) {
	case BORROW_BLOCKED:
		return 0;
	case BORROW_FAILED:
		return (ssize_t)extended_refuse(s, f, in, &e);
	case BORROW_OK:
		break;
	}
	s->segment_open = 1;
	patience_begin_statement(s);
	return -1;
}

/* Whether ST (or NULL) may be used as it is.  -1: yes; else what the handler returns. */
ssize_t extended_look(struct session *s, const struct frame *f, struct slice in, struct statement *st)
{
	struct err e;
	switch (st ? columns_check(s, st, &e) : BORROW_OK) {
	case BORROW_BLOCKED:
		return 0;
	case BORROW_FAILED:
		return (ssize_t)extended_refuse(s, f, in, &e);
	default:
		return -1;
	}
}

/* Answers in the place of the server: at once when nothing is owed, else when it is its turn. */
void extended_answer(struct session *s, enum reply_kind kind, enum tag tag, void *ref)
{
	struct reply entry = { .kind = (uint8_t)kind, .fate = REPLY_LOCAL, .tag = (uint16_t)tag, .ref = ref };
	uint8_t message[5] = { kind == REPLY_PARSE ? '1' : '3', 0, 0, 0, 4 };
	if (borrow_is_owed(s)) {
		borrow_push(s, kind, REPLY_LOCAL, tag, ref);
		return;
	}
	session_say(s, slice_of(message, sizeof message), NULL);
	outcome_book(s, &entry, ENDED_DONE, slice_of(NULL, 0));
}

/* ---- names that nobody made ---------------------------------------------------------------------------------------------------------------- */

/* The client means a statement that it does not have.  Never asked of the server, which has others' names and an unnamed statement of ours; but
 * a session pinned as opaque may have made it where we did not see. */
bool names_nothing(const struct session *s, struct slice name, const struct statement *st, struct err *err)
{
	if (st || (name.len && (s->pins & PIN_OPAQUE)))
		return false;
	if (!name.len)
		return err_set(err, "26000", "unnamed prepared statement does not exist"), true;
	return err_set(err, "26000", "prepared statement \"%.*s\" does not exist", (int)name.len, (const char *)name.at), true;
}

/* ---- Describe, Execute, Close ---------------------------------------------------------------------------------------------------------------- */

/* The first description is learnt from. */
static enum tag describe_tag(const struct statement *st)
{
	return st && !st->columns && !st->by_sql ? TAG_DESCRIBE : TAG_PLAIN;
}

static struct statement *describe_ref(struct statement *st)
{
	if (describe_tag(st) == TAG_PLAIN)
		return NULL;
	st->refs++;
	return st;
}

static size_t describe_statement(struct session *s, const struct frame *f, struct slice in, struct lent *lent,
                                 struct slice client_name, struct statement *st)
{
	char name[STMTS_NAME_MAX];
	uint8_t space[64];
	struct writer w;
	ssize_t stop = extended_look(s, f, in, st);
	if (stop < 0)
		stop = extended_borrow(s, f, in, st ? st->class : NULL);
	if (stop >= 0)
		return (size_t)stop;
	if (!st)
		return extended_forward(s, f, in, lent, REPLY_DESCRIBE_STATEMENT, TAG_PLAIN, NULL);
	prepare_statement(s, st, name);
	writer_init(&w, space, sizeof space);
	prepare_write_describe(&w, name);
	borrow_push_marked(s, REPLY_DESCRIBE_STATEMENT, describe_tag(st), describe_ref(st), names_mark(client_name));
	borrow_send(s, &w);
	return frame_size(f);
}

static size_t extended_describe(struct session *s, const struct frame *f, struct slice in, struct lent *lent, uint8_t what,
                                struct slice name)
{
	struct statement *st;
	ssize_t stop;
	struct err e;
	if (what == 'S') {
		st = names_meant(s, name);
		if (names_nothing(s, name, st, &e))
			return extended_refuse(s, f, in, &e);
		if (st && UNLIKELY(st->asks))
			return answer_describe(s, f, true, st);
		if (st && !known_statement(s, st))
			return 0;
		if (st && st->class && query_defers_begin(s, st->class)) {
			extended_answer_now(s, 't', slice_of("\0\0", 2));
			extended_answer_now(s, 'n', slice_of(NULL, 0));
			return frame_size(f);
		}
		return describe_statement(s, f, in, lent, name, st);
	}
	st = portals_find(s, name);
	if (st && UNLIKELY(st->asks))
		return answer_describe(s, f, false, st);
	if (!name.len && s->portal_begins && !s->srv) {
		extended_answer_now(s, 'n', slice_of(NULL, 0));
		return frame_size(f);
	}
	stop = extended_borrow(s, f, in, NULL);
	if (stop >= 0)
		return (size_t)stop;
	return extended_forward(s, f, in, lent, REPLY_DESCRIBE_PORTAL, describe_tag(st), describe_ref(st));
}

static size_t extended_close(struct session *s, const struct frame *f, struct slice in, struct lent *lent, uint8_t what,
                             struct slice name)
{
	struct statement *st = what == 'P' ? portals_find(s, name) : NULL;
	if (st && UNLIKELY(st->asks)) {
		portals_bind(s, name, NULL, NULL);
		extended_answer(s, REPLY_CLOSE, TAG_OURS, NULL);
		return frame_size(f);
	}
	if (what == 'P' && s->srv) {
		ssize_t stop = extended_borrow(s, f, in, NULL);
		if (stop >= 0)
			return (size_t)stop;
		portals_bind(s, name, NULL, NULL);
		return extended_forward(s, f, in, lent, REPLY_CLOSE, TAG_PLAIN, NULL);
	}
	if (what == 'S')
		extended_answer(s, REPLY_CLOSE, TAG_CLOSE, naming_begin(s, name, NULL));
	else
		extended_answer(s, REPLY_CLOSE, TAG_OURS, NULL);
	return frame_size(f);
}

static struct effect *execute_effect(struct session *s, struct slice portal, const struct statement *st)
{
	struct effect *e;
	if (!st || !st->class || !effect_matters(s, st->class))
		return NULL;
	e = portal.len ? NULL : session_aside(s)->portal_effect;
	if (e)
		s->aside->portal_effect = NULL;
	else
		e = effect_new(s, st->class, false);
	return e;
}

static size_t extended_execute(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct slice portal,
                               uint32_t limit)
{
	struct statement *st = portals_find(s, portal);
	struct effect *e;
	ssize_t stop;
	if (st && UNLIKELY(st->asks))
		return answer_execute(s, f, st, limit);
	if (!portal.len && s->portal_begins && query_defers_begin(s, s->portal->class)) {
		bind_execute_begin(s);
		return frame_size(f);
	}
	if (!portal.len && s->portal_spent && s->vtx == VTX_DEFERRED) {
		struct err err;
		err_set(&err, "55000", "portal \"\" cannot be run");
		return extended_refuse(s, f, in, &err);
	}
	stop = extended_borrow(s, f, in, st ? st->class : NULL);
	if (stop >= 0)
		return (size_t)stop;
	if (!portal.len && s->portal_begins)
		bind_begin_there(s);
	e = execute_effect(s, portal, st);
	POOL_COUNT(s->srv->pool, queries, 1);
	counted(s, st ? st->class : NULL);
	return extended_forward(s, f, in, lent, REPLY_EXECUTE, e ? TAG_EFFECT : TAG_PLAIN, e);
}

/* ---- Sync, Flush, FunctionCall ------------------------------------------------------------------------------------------------------------------ */

static NOT_INLINE size_t extended_sync(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	bool server_knows = borrow_is_owed(s) || (s->srv && s->segment_open);
	s->skip_to_sync = 0;
	if (!server_knows) {
		session_send_ready(s);
		return frame_size(f);
	}
	s->segment_open = 0;
	return extended_forward(s, f, in, lent, REPLY_SYNC, TAG_PLAIN, NULL);
}

static NOT_INLINE size_t extended_flush(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	return s->srv && s->segment_open ? copyio_pass(s, f, in, lent) : frame_size(f);
}

static NOT_INLINE size_t extended_function(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct err e;
	struct reader r;
	if (!frame_is_whole(f) && f->body.len < 4)
		return 0;
	bool is_refused = s->away && awaytx_refuses(s, NULL, &e);
	enum borrow b = is_refused ? BORROW_FAILED : borrow_server(s, NULL, &e);
	if (b == BORROW_BLOCKED)
		return 0;
	if (b == BORROW_FAILED) { /* a FunctionCall is answered like a Query: with its own ReadyForQuery */
		borrow_refuse(s, true, &e);
		return copyio_drop(s, f, in);
	}
	patience_begin_statement(s);
	counted(s, NULL);
	reader_init(&r, f->body);
	known_call(s, reader_u32(&r));
	return extended_forward(s, f, in, lent, REPLY_FUNCTION, TAG_PLAIN, NULL);
}

/* ---- the door ------------------------------------------------------------------------------------------------------------------------------ */

/* Describe, Close: a kind byte and a name.  Execute: a name and a row limit. */
static NOT_INLINE size_t extended_take_small(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct reader r;
	uint8_t what = 0;
	uint32_t limit = 0;
	struct slice name;
	if (!frame_is_whole(f))
		return 0;
	reader_init(&r, f->body);
	if (f->type != 'E')
		what = reader_u8(&r);
	name = reader_text(&r);
	if (f->type == 'E')
		limit = reader_u32(&r);
	if (!reader_done(&r) || (f->type != 'E' && what != 'S' && what != 'P'))
		return extended_break(s, f->type == 'E' ? "Execute" : f->type == 'D' ? "Describe" : "Close");
	if (what == 'S' && names_wait(s, name))
		return 0;
	if (f->type == 'E')
		return extended_execute(s, f, in, lent, name, limit);
	return f->type == 'D' ? extended_describe(s, f, in, lent, what, name) : extended_close(s, f, in, lent, what, name);
}

/* Nothing but jumps: what the handlers need on the stack is theirs. */
size_t extended_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u)
{
	if (UNLIKELY(s->query_at_risk) && !s->segment_open && borrow_earlier_is_under_way(s))
		return borrow_wait_for_earlier(s), 0; /* a Query that is skipped takes with it what is answered here, too */
	if (f->type == 'S')
		return frame_is_whole(f) ? extended_sync(s, f, in, lent) : 0;
	if (s->skip_to_sync)
		return copyio_drop(s, f, in);
	switch (f->type) {
	case 'P':
		return parse_take(s, f, in, u);
	case 'B':
		return bind_take(s, f, in, lent, u);
	case 'H':
		return frame_is_whole(f) ? extended_flush(s, f, in, lent) : 0;
	case 'F':
		return extended_function(s, f, in, lent);
	default:
		return extended_take_small(s, f, in, lent);
	}
}
