/*
 * extended — Parse, Bind, Describe, Execute, Close, Sync, Flush and FunctionCall.
 *
 * Statement names are virtual (statement.c): Parse may be answered from memory, Bind and Describe get the server's name in place of the client's
 * and the statement is prepared in front of them where the server lacks it.  Bind may be huge: only its head is read, the rest streams through.
 * A statement or portal that does not exist is answered with PostgreSQL's words.
 */
#include "priv.h"
#include "wire/reader.h"

#define NAMES_MAX 8192u /* bytes in which the two names of a Bind must end */

/* ---- what all of them share ------------------------------------------------------------------------------------------------------------ */

static size_t extended_break(struct session *s, const char *what)
{
	struct err e;
	err_set(&e, "08P01", "invalid %s message", what);
	session_fatal(s, CLOSE_PROTOCOL, &e);
	return 0;
}

static size_t extended_refuse(struct session *s, const struct frame *f, struct slice in, const struct err *err)
{
	borrow_refuse(s, false, err);
	return copyio_drop(s, f, in);
}

/* A server for CLASS, or the reason why not.  -1: go on; else what the handler returns. */
static ssize_t borrow_for(struct session *s, const struct frame *f, struct slice in, const struct sql_class *class)
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
	session_begin_statement(s);
	return -1;
}

/* In the middle of a segment most messages need no more than that the server is still there. */
static inline ssize_t extended_borrow(struct session *s, const struct frame *f, struct slice in, const struct sql_class *class)
{
	if (s->srv && s->segment_open && (!class || class->is_plain) && borrow_goes_on(s))
		return -1;
	return borrow_for(s, f, in, class);
}

static size_t extended_forward(struct session *s, const struct frame *f, struct slice in, struct lent *lent, enum reply_kind kind,
                               enum tag tag, void *ref)
{
	borrow_push(s, kind, REPLY_FORWARD, tag, ref);
	return copyio_pass(s, f, in, lent);
}

/* Answers in the place of the server: at once when nothing is owed, else when it is its turn. */
static void extended_answer(struct session *s, enum reply_kind kind, enum tag tag, void *ref)
{
	struct reply entry = { .kind = (uint8_t)kind, .fate = REPLY_LOCAL, .tag = (uint16_t)tag, .ref = ref };
	uint8_t message[5] = { kind == REPLY_PARSE ? '1' : '3', 0, 0, 0, 4 };
	if (s->srv && (!replies_is_empty(&s->srv->replies) || replies_is_skipping(&s->srv->replies))) {
		borrow_push(s, kind, REPLY_LOCAL, tag, ref);
		return;
	}
	stream_send(&s->stream, slice_of(message, sizeof message), NULL);
	relay_end(s, &entry, ENDED_DONE, slice_of(NULL, 0));
}

/* ---- Parse -------------------------------------------------------------------------------------------------------------------------------- */

static struct naming *naming_new(struct slice name)
{
	struct naming *n = mem_alloc(sizeof *n + name.len + 1);
	n->name_len = (uint16_t)name.len;
	memcpy(n->name, name.at, name.len);
	return n;
}

/* Whether the transaction is sound is known: no ReadyForQuery is still to come that may say otherwise. */
static bool parse_is_settled(const struct session *s)
{
	return !s->srv ? s->vtx != VTX_FAILED : (s->srv->tx_status != 'E' && !s->srv->replies.syncs);
}

static bool parse_is_accepted(const struct session *s, const struct statement *st)
{
	if (query_defers_begin(s, st->class)) /* valid for sure */
		return true;
	return s->pool && !st->names_statements && parse_is_settled(s) &&
	       st->accepted_generation == pool_ddl_generation(s->pool) + 1 && st->accepted_scope == settings_name_scope(s->vars);
}

static bool parse_exceeds(const struct session *s, uint64_t len, struct err *err)
{
	uint64_t max = session_conf(s)->limits.client_statement_bytes;
	if (s->statement_bytes + len <= max)
		return false;
	err_set(err, "53200", "prepared statements of this client would exceed client_statement_bytes (%llu bytes)",
	        (unsigned long long)max);
	err_hint(err, "Deallocate statements that are not used any more, or raise client_statement_bytes.");
	return true;
}

/* Parsed for its errors only, as the unnamed statement: EXECUTE x, which Bind makes anew with what x is then; and what the server has already. */
static void parse_send_unnamed(struct session *s, struct statement *st, struct naming *n)
{
	struct writer w, text;
	writer_init_grow(&w);
	writer_init_grow(&text);
	if (st->names_statements)
		statement_rewrite(s, st, &text);
	else
		writer_bytes(&text, statement_text(st));
	n->on_server = true;
	n->generation = pool_ddl_generation(s->pool);
	n->scope = settings_name_scope(s->vars);
	writer_begin(&w, 'P');
	writer_text(&w, "");
	writer_slice_text(&w, writer_slice(&text));
	writer_bytes(&w, statement_types(st));
	writer_end(&w);
	borrow_push(s, REPLY_PARSE, REPLY_FORWARD, TAG_PARSE, n);
	borrow_send(s, &w);
	writer_fini(&text);
	writer_fini(&w);
}

static void parse_send(struct session *s, struct statement *st, struct naming *n)
{
	char name[STMTS_NAME_MAX];
	struct hash128 key = statement_server_key(s, st);
	st->last_key = key;
	if (statement_is_there(s, key)) {
		if (parse_is_settled(s)) /* this server has accepted it since the last DDL */
			extended_answer(s, REPLY_PARSE, TAG_PARSE, n);
		else
			parse_send_unnamed(s, st, n);
		return;
	}
	stmts_name(key, name);
	statement_send_under(s, key);
	n->is_kept = true;
	n->segment = s->segment;
	n->server_key = key;
	n->generation = pool_ddl_generation(s->srv->pool);
	n->scope = settings_name_scope(s->vars);
	n->on_server = true;
	borrow_push(s, REPLY_PARSE, REPLY_FORWARD, TAG_PARSE, n);
	statement_send_parse(s, st, name);
}

static size_t parse_run(struct session *s, const struct frame *f, struct slice in, struct slice name, struct statement *st)
{
	struct naming *n;
	bool from_memory = parse_is_accepted(s, st);
	struct err e;
	if (from_memory && query_is_refused(s, st->class, &e))
		return extended_refuse(s, f, in, &e);
	if (!from_memory) {
		ssize_t stop = extended_borrow(s, f, in, st->class);
		if (stop >= 0)
			return (size_t)stop;
	}
	n = naming_new(name);
	n->is = st;
	st->refs += 2; /* the name's and the entry's */
	n->was = statement_name(s, name, st);
	if (from_memory)
		extended_answer(s, REPLY_PARSE, TAG_PARSE, n);
	else if (st->names_statements)
		parse_send_unnamed(s, st, n);
	else
		parse_send(s, st, n);
	return frame_size(f);
}

/* A DEALLOCATE or DISCARD of NAME is under way. */
static bool name_is_going(const struct session *s, struct slice name)
{
	const struct replies *q = &s->srv->replies;
	for (uint32_t i = 0; i < q->len; i++) {
		const struct reply *entry = &q->ring[(q->head + i) & (q->cap - 1)];
		const struct effect *e = entry->ref;
		if (entry->tag != TAG_EFFECT)
			continue;
		if (statement_discards(e->class))
			return true;
		for (unsigned k = 0; k < e->n_names; k++)
			if (!e->names[k].st && slice_equal(slice_text(e->names[k].name), name))
				return true;
	}
	return false;
}

/* The name is taken.  The server shall say so, after it has looked at the text as PostgreSQL does: it is asked to prepare the text under the name
 * that the present statement has there. */
static size_t parse_again(struct session *s, const struct frame *f, struct slice in, struct statement *taken,
                          struct statement *st)
{
	char name[STMTS_NAME_MAX];
	struct writer w;
	ssize_t stop = extended_borrow(s, f, in, st->class);
	if (stop >= 0)
		return (size_t)stop;
	statement_prepare(s, taken, name);
	writer_init_grow(&w);
	writer_begin(&w, 'P');
	writer_text(&w, name);
	writer_slice_text(&w, statement_text(st));
	writer_bytes(&w, statement_types(st));
	writer_end(&w);
	borrow_push(s, REPLY_PARSE, REPLY_FORWARD, TAG_PLAIN, NULL);
	borrow_send(s, &w);
	writer_fini(&w);
	return frame_size(f);
}

static size_t extended_parse(struct session *s, const struct frame *f, struct slice in)
{
	struct reader r;
	struct slice name, text, types;
	struct statement *st;
	struct err e;
	size_t taken;
	if (parse_exceeds(s, f->body_len, &e))
		return extended_refuse(s, f, in, &e);
	if (!frame_is_whole(f))
		return 0;
	reader_init(&r, f->body);
	name = reader_text(&r);
	text = reader_text(&r);
	types = slice_of(r.at, reader_left(&r));
	if (!reader_bytes(&r, 2u + 4u * reader_u16(&(struct reader){ .at = types.at, .end = types.at + types.len })).at ||
	    !reader_done(&r))
		return extended_break(s, "Parse");
	if (name.len > UINT16_MAX)
		return extended_break(s, "Parse");
	if (name.len && statement_find(s, name) && s->naming_in_flight && name_is_going(s, name)) /* in this segment */
		statement_unref(s, statement_name(s, name, NULL));
	st = statement_intern(s, text, types, false);
	if (!known_statement(s, st)) {
		statement_unref(s, st);
		return 0;
	}
	taken =
	    name.len && statement_find(s, name) ? parse_again(s, f, in, statement_find(s, name), st) : parse_run(s, f, in, name, st);
	statement_unref(s, st);
	return taken;
}

/* ---- names that nobody made ---------------------------------------------------------------------------------------------------------------- */

/* The client means a statement that it does not have.  Never asked of the server, which has others' names and an unnamed statement of ours; but
 * a session pinned as opaque may have made it where we did not see. */
static bool names_nothing(const struct session *s, struct slice name, const struct statement *st, struct err *err)
{
	if (st || (name.len && (s->pins & PIN_OPAQUE)))
		return false;
	if (!name.len)
		return err_set(err, "26000", "unnamed prepared statement does not exist"), true;
	return err_set(err, "26000", "prepared statement \"%.*s\" does not exist", (int)name.len, (const char *)name.at), true;
}

/* ---- BEGIN that needs no server yet --------------------------------------------------------------------------------------------------------- */

static void answer_now(struct session *s, uint8_t type, struct slice body)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, type);
	writer_bytes(&w, body);
	writer_end(&w);
	session_send(s, &w);
}

static bool begin_is_bound_here(struct session *s, struct slice portal, const struct statement *st)
{
	return !portal.len && st && st->class && query_defers_begin(s, st->class);
}

static void begin_execute(struct session *s)
{
	struct slice text = statement_text(s->portal);
	const char *tag = query_begin_tag(text);
	s->portal_begins = 0;
	s->portal_spent = 1;
	s->begin = mem_textn((const char *)text.at, text.len);
	s->vtx = VTX_DEFERRED;
	answer_now(s, 'C', slice_of(tag, strlen(tag) + 1));
	session_watch_time(s);
}

/* ---- Bind ---------------------------------------------------------------------------------------------------------------------------------- */

/* The text value of parameter I in what follows the names of a Bind; .at NULL when it is NULL, absent or the message is not whole. */
static struct slice bind_param(struct slice rest, int i)
{
	struct reader r;
	struct slice value = { NULL, 0 };
	reader_init(&r, rest);
	reader_bytes(&r, 2u * reader_u16(&r));
	int n = reader_u16(&r);
	for (int k = 0; k < n && k <= i; k++) {
		int32_t len = reader_i32(&r);
		value = len < 0 ? slice_of(NULL, 0) : reader_bytes(&r, (size_t)len);
	}
	return reader_ok(&r) && i < n ? value : slice_of(NULL, 0);
}

static char *bind_text(struct slice v)
{
	return v.at && !memchr(v.at, 0, v.len) ? mem_textn((const char *)v.at, v.len) : NULL;
}

/* is_local in text ("t", "true", "on", "1" …) or binary form; -1 unknown. */
static int8_t bind_bool(struct slice v)
{
	if (!v.at || !v.len)
		return -1;
	switch (v.at[0]) {
	case 't':
	case 'T':
	case 'y':
	case 'Y':
	case '1':
	case 1:
		return 1;
	case 'f':
	case 'F':
	case 'n':
	case 'N':
	case '0':
	case 0:
		return 0;
	case 'o':
	case 'O':
		return v.len > 1 && (v.at[1] | 32) == 'n';
	default:
		return -1;
	}
}

/* set_config($1, $2, …): what the parameters say is only seen here. */
static struct effect *bind_effect(struct session *s, const struct statement *st, struct slice rest)
{
	const struct sql_part *p = st->class && st->class->n == 1 ? &st->class->part[0] : NULL;
	struct effect *e = s->names_effect;
	if (st->names_statements && e) {
		s->names_effect = NULL;
		return e;
	}
	if (!p || !(p->effects & SQL_SET_CONFIG))
		return NULL;
	if (p->name_param == SQL_NO_PARAM && p->value_param == SQL_NO_PARAM && p->local_param == SQL_NO_PARAM)
		return NULL;
	e = vars_effect(s, st->class, false);
	if (p->name_param != SQL_NO_PARAM)
		e->name = bind_text(bind_param(rest, p->name_param));
	if (p->value_param != SQL_NO_PARAM)
		e->value = bind_text(bind_param(rest, p->value_param));
	if (p->local_param != SQL_NO_PARAM)
		e->is_local = bind_bool(bind_param(rest, p->local_param));
	return e;
}

static void bind_portal(struct session *s, struct slice portal, struct statement *st, struct effect *e)
{
	if (st)
		st->refs++;
	if (!portal.len) {
		statement_unref(s, s->portal);
		vars_effect_free(s, s->portal_effect);
		s->portal = st;
		s->portal_effect = e;
		return;
	}
	vars_effect_free(s, e); /* set_config() through a named portal: taken as unknown */
	if (!s->portals)
		s->portals = mem_alloc(sizeof *s->portals);
	statement_unref(s, st ? map_put(s->portals, portal, st) : map_remove(s->portals, portal));
}

/* The names are rewritten, REST follows as it is here. */
static NOT_INLINE void bind_send(struct session *s, const struct frame *f, struct lent *lent, struct slice portal,
                                 const char *name, struct slice rest)
{
	uint8_t head[FRAME_HEADER + NAMES_MAX + STMTS_NAME_MAX], *to = head + FRAME_HEADER;
	size_t tail = f->body_len - (size_t)(rest.at - f->body.at);
	ASSERT(portal.len < NAMES_MAX);
	to = mempcpy(to, portal.at, portal.len + 1);
	to = mempcpy(to, name, STMTS_NAME_MAX);
	frame_put_header(head, 'B', (uint32_t)((size_t)(to - head) - FRAME_HEADER + tail));
	stream_send(&s->srv->up.stream, slice_of(head, (size_t)(to - head)), NULL);
	stream_send(&s->srv->up.stream, rest, lent);
}

static size_t bind_run(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct slice portal,
                       struct statement *st, struct slice rest)
{
	char name[STMTS_NAME_MAX];
	ssize_t stop = extended_borrow(s, f, in, st ? st->class : NULL);
	if (stop >= 0)
		return (size_t)stop;
	if (!st) {
		bind_portal(s, portal, NULL, NULL);
		return extended_forward(s, f, in, lent, REPLY_BIND, TAG_PLAIN, NULL);
	}
	statement_prepare(s, st, name);
	bind_portal(s, portal, st, frame_is_whole(f) ? bind_effect(s, st, rest) : NULL);
	borrow_push(s, REPLY_BIND, REPLY_FORWARD, TAG_PLAIN, NULL);
	bind_send(s, f, lent, portal, name, rest);
	s->body_left = f->body_len - (uint32_t)f->body.len;
	s->body_drop = 0;
	return FRAME_HEADER + f->body.len;
}

static size_t extended_bind(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct reader r;
	struct slice portal, name;
	struct statement *st;
	struct err e;
	reader_init(&r, f->body);
	portal = reader_text(&r);
	name = reader_text(&r);
	if (!reader_ok(&r) || (size_t)(r.at - f->body.at) > NAMES_MAX)
		return frame_is_whole(f) || f->body.len > NAMES_MAX ? extended_break(s, "Bind") : 0;
	st = statement_meant(s, name);
	if (names_nothing(s, name, st, &e))
		return extended_refuse(s, f, in, &e);
	if (st && !known_statement(s, st))
		return 0;
	if (!portal.len)
		s->portal_begins = s->portal_spent = 0;
	if (frame_is_whole(f) && begin_is_bound_here(s, portal, st) &&
	    slice_equal(slice_of(r.at, reader_left(&r)), slice_of("\0\0\0\0\0\0", 6))) {
		bind_portal(s, portal, st, NULL);
		s->portal_begins = 1;
		answer_now(s, '2', slice_of(NULL, 0));
		return frame_size(f);
	}
	return bind_run(s, f, in, lent, portal, st, slice_of(r.at, reader_left(&r)));
}

/* A server came between Bind and Execute of a BEGIN: it gets the Bind now. */
static void begin_bind_there(struct session *s)
{
	uint8_t space[96];
	char name[STMTS_NAME_MAX];
	struct writer w;
	s->portal_begins = 0;
	statement_prepare(s, s->portal, name);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'B');
	writer_text(&w, "");
	writer_text(&w, name);
	writer_bytes(&w, slice_of("\0\0\0\0\0\0", 6));
	writer_end(&w);
	borrow_push(s, REPLY_BIND, REPLY_SWALLOW, TAG_OURS, NULL);
	borrow_send(s, &w);
}

/* ---- Describe, Execute, Close ---------------------------------------------------------------------------------------------------------------- */

static size_t describe_statement(struct session *s, const struct frame *f, struct slice in, struct lent *lent,
                                 struct statement *st)
{
	char name[STMTS_NAME_MAX];
	uint8_t space[64];
	struct writer w;
	ssize_t stop = extended_borrow(s, f, in, st ? st->class : NULL);
	if (stop >= 0)
		return (size_t)stop;
	if (!st)
		return extended_forward(s, f, in, lent, REPLY_DESCRIBE_STATEMENT, TAG_PLAIN, NULL);
	statement_prepare(s, st, name);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'D');
	writer_u8(&w, 'S');
	writer_text(&w, name);
	writer_end(&w);
	borrow_push(s, REPLY_DESCRIBE_STATEMENT, REPLY_FORWARD, TAG_PLAIN, NULL);
	borrow_send(s, &w);
	return frame_size(f);
}

static size_t extended_describe(struct session *s, const struct frame *f, struct slice in, struct lent *lent, uint8_t what,
                                struct slice name)
{
	ssize_t stop;
	struct err e;
	if (what == 'S') {
		struct statement *st = statement_meant(s, name);
		if (names_nothing(s, name, st, &e))
			return extended_refuse(s, f, in, &e);
		if (st && !known_statement(s, st))
			return 0;
		if (st && st->class && query_defers_begin(s, st->class)) {
			answer_now(s, 't', slice_of("\0\0", 2));
			answer_now(s, 'n', slice_of(NULL, 0));
			return frame_size(f);
		}
		return describe_statement(s, f, in, lent, st);
	}
	if (!name.len && s->portal_begins && !s->srv) {
		answer_now(s, 'n', slice_of(NULL, 0));
		return frame_size(f);
	}
	stop = extended_borrow(s, f, in, NULL);
	return stop >= 0 ? (size_t)stop : extended_forward(s, f, in, lent, REPLY_DESCRIBE_PORTAL, TAG_PLAIN, NULL);
}

static size_t extended_close(struct session *s, const struct frame *f, struct slice in, struct lent *lent, uint8_t what,
                             struct slice name)
{
	struct naming *n;
	if (what == 'P' && s->srv) {
		ssize_t stop = extended_borrow(s, f, in, NULL);
		if (stop >= 0)
			return (size_t)stop;
		bind_portal(s, name, NULL, NULL);
		return extended_forward(s, f, in, lent, REPLY_CLOSE, TAG_PLAIN, NULL);
	}
	n = naming_new(name);
	if (what == 'S')
		n->was = statement_name(s, name, NULL);
	extended_answer(s, REPLY_CLOSE, TAG_CLOSE, n);
	return frame_size(f);
}

static struct effect *execute_effect(struct session *s, struct slice portal, const struct statement *st)
{
	struct effect *e;
	if (!st || !st->class || !vars_is_interesting(s, st->class))
		return NULL;
	e = portal.len ? NULL : s->portal_effect;
	if (e)
		s->portal_effect = NULL;
	else
		e = vars_effect(s, st->class, false);
	return e;
}

static size_t extended_execute(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct slice portal)
{
	struct statement *st = !portal.len ? s->portal : s->portals ? map_get(s->portals, portal) : NULL;
	struct effect *e;
	ssize_t stop;
	if (!portal.len && s->portal_begins && query_defers_begin(s, s->portal->class)) {
		begin_execute(s);
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
		begin_bind_there(s);
	e = execute_effect(s, portal, st);
	return extended_forward(s, f, in, lent, REPLY_EXECUTE, e ? TAG_EFFECT : TAG_PLAIN, e);
}

/* ---- Sync, Flush, FunctionCall ------------------------------------------------------------------------------------------------------------------ */

static size_t extended_sync(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	bool server_knows =
	    s->srv && (s->segment_open || !replies_is_empty(&s->srv->replies) || replies_is_skipping(&s->srv->replies));
	s->skip_to_sync = 0;
	if (!server_knows) {
		session_send_ready(s);
		return frame_size(f);
	}
	s->segment_open = 0;
	return extended_forward(s, f, in, lent, REPLY_SYNC, TAG_PLAIN, NULL);
}

static size_t extended_flush(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	return s->srv && s->segment_open ? copyio_pass(s, f, in, lent) : frame_size(f);
}

static size_t extended_function(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct err e;
	struct reader r;
	if (!frame_is_whole(f) && f->body.len < 4)
		return 0;
	enum borrow b = borrow_server(s, NULL, &e);
	if (b == BORROW_BLOCKED)
		return 0;
	if (b == BORROW_FAILED) { /* a FunctionCall is answered like a Query: with its own ReadyForQuery */
		borrow_refuse(s, true, &e);
		return copyio_drop(s, f, in);
	}
	session_begin_statement(s);
	reader_init(&r, f->body);
	known_call(s, reader_u32(&r));
	return extended_forward(s, f, in, lent, REPLY_FUNCTION, TAG_PLAIN, NULL);
}

/* ---- the door ------------------------------------------------------------------------------------------------------------------------------ */

/* Describe, Close: a kind byte and a name.  Execute: a name and a row limit. */
static size_t extended_take_small(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct reader r;
	uint8_t what = 0;
	struct slice name;
	if (!frame_is_whole(f))
		return 0;
	reader_init(&r, f->body);
	if (f->type != 'E')
		what = reader_u8(&r);
	name = reader_text(&r);
	if (f->type == 'E')
		reader_u32(&r);
	if (!reader_done(&r) || name.len > NAMES_MAX || (f->type != 'E' && what != 'S' && what != 'P'))
		return extended_break(s, f->type == 'E' ? "Execute" : f->type == 'D' ? "Describe" : "Close");
	if (f->type == 'E')
		return extended_execute(s, f, in, lent, name);
	return f->type == 'D' ? extended_describe(s, f, in, lent, what, name) : extended_close(s, f, in, lent, what, name);
}

size_t extended_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	if (f->type == 'S')
		return frame_is_whole(f) ? extended_sync(s, f, in, lent) : 0;
	if (s->skip_to_sync)
		return copyio_drop(s, f, in);
	switch (f->type) {
	case 'P':
		return statement_names_unsettled(s) ? 0 : extended_parse(s, f, in);
	case 'B':
		return statement_parse_unsettled(s) ? 0 : extended_bind(s, f, in, lent);
	case 'H':
		return frame_is_whole(f) ? extended_flush(s, f, in, lent) : 0;
	case 'F':
		return extended_function(s, f, in, lent);
	default:
		return statement_parse_unsettled(s) ? 0 : extended_take_small(s, f, in, lent);
	}
}
