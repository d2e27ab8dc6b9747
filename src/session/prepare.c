/*
 * prepare — which statements the session's server has, and how one gets there: lazily, in front of the message that needs it.
 *
 * What a server has is in its struct stmts, least recently used first out.  A Parse or Close of ours that the server skips, because something
 * earlier in its segment failed, did not happen.  Until its answer is here, what it did is only certain for messages of the same segment, which are
 * skipped with it; a later segment closes the name and prepares anew.
 */
#include "priv.h"

/*
 * What a server's books say of a key: 0 it is there; else the segment that was asked to prepare it, shifted, and in the lowest bit whether it
 * was there before that segment (settled when the answers of the segments before it have come).
 */
#define THERE 0u
#define PENDING(segment, before) (((segment) + 1) << 1 | (before))
#define IS_PENDING_IN(value, segment) ((value) >> 1 == (segment) + 1)

static void send_close(struct session *s, struct hash128 key)
{
	uint8_t space[64];
	char name[STMTS_NAME_MAX];
	struct writer w;
	struct preparing *p = mem_alloc(sizeof *p);
	const uint64_t *there = stmts_find(&s->srv->stmts, key);
	p->server_key = key;
	p->segment = s->segment;
	p->was_there = there && (*there == THERE || (*there & 1));
	stmts_name(key, name);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'C');
	writer_u8(&w, 'S');
	writer_text(&w, name);
	writer_end(&w);
	stmts_remove(&s->srv->stmts, key);
	s->closing_in_flight++;
	borrow_push(s, REPLY_CLOSE, REPLY_SWALLOW, TAG_EVICT, p);
	borrow_send(s, &w);
}

bool prepare_is_there(struct session *s, struct hash128 key)
{
	const uint64_t *value = stmts_find(&s->srv->stmts, key);
	return value && (*value == THERE || IS_PENDING_IN(*value, s->segment));
}

void prepare_under(struct session *s, struct hash128 key)
{
	const uint64_t *value = stmts_find(&s->srv->stmts, key);
	bool before = value && (*value == THERE || (*value & 1));
	if (value || s->closing_in_flight || s->names_doubtful)
		send_close(s, key);
	prepare_make_room(s);
	stmts_add(&s->srv->stmts, key, PENDING(s->segment, before));
}

void prepare_by_sql(struct session *s, struct hash128 key)
{
	if (!stmts_find(&s->srv->stmts, key))
		stmts_add(&s->srv->stmts, key, PENDING(s->segment, 0));
}

void prepare_ended(struct session *s, struct hash128 key, uint64_t segment, bool is_done)
{
	uint64_t *value = s->srv ? stmts_find(&s->srv->stmts, key) : NULL;
	if (!value || *value == THERE)
		return;
	if (!IS_PENDING_IN(*value, segment)) /* a later segment asks for it again */
		*value |= is_done;
	else if (is_done || (*value & 1))
		*value = THERE;
	else
		stmts_remove(&s->srv->stmts, key);
}

void prepare_closed(struct session *s, const struct preparing *p, bool is_done)
{
	uint64_t *value = s->srv ? stmts_find(&s->srv->stmts, p->server_key) : NULL;
	s->closing_in_flight--;
	if (!s->srv)
		return;
	if (!value && !is_done && p->was_there)
		stmts_add(&s->srv->stmts, p->server_key, THERE);
	else if (value && *value != THERE && (is_done || p->was_there))
		*value = (*value & ~1ull) | !is_done;
}

void prepare_discards(struct session *s)
{
	stmts_fini(&s->srv->stmts);
}

void prepare_discard_failed(struct session *s)
{
	s->names_doubtful = 1;
	if (s->srv)
		s->srv->needs_discard = 1;
}

/* Where the server skips to the next Sync, it would close nothing, and the books would stay full. */
void prepare_make_room(struct session *s)
{
	struct hash128 oldest;
	while (!replies_is_skipping(&s->srv->replies) && stmts_len(&s->srv->stmts) >= pool_max_server_statements(s->srv->pool) &&
	       stmts_oldest(&s->srv->stmts, &oldest) && prepare_is_there(s, oldest))
		send_close(s, oldest);
}

static void write_parse(struct writer *w, const char *name, struct slice text, struct slice types)
{
	writer_begin(w, 'P');
	writer_text(w, name);
	writer_slice_text(w, text);
	if (types.len)
		writer_bytes(w, types);
	else
		writer_u16(w, 0);
	writer_end(w);
}

void prepare_send_parse(struct session *s, const struct statement *st, const char *name)
{
	uint8_t space[64];
	struct writer w;
	struct stream *to = &s->srv->up.stream;
	writer_init(&w, space, sizeof space);
	POOL_COUNT(s->srv->pool, server_parses, 1);
	writer_u8(&w, 'P');
	writer_u32(&w, (uint32_t)(4 + strlen(name) + 1 + st->text_len + 1 + st->types_len));
	writer_text(&w, name);
	stream_send(to, writer_slice(&w), NULL);
	stream_send(to, slice_of(st->body, (size_t)st->text_len + 1 + st->types_len), NULL);
}

/* The text of a statement about statements, with the names that they have on the server. */
void prepare_rewrite(struct session *s, struct statement *st, struct writer *w)
{
	struct effect **e = &session_aside_of(s)->names_effect;
	effect_free(s, *e);
	*e = class_changes_names(st->class) ? effect_new(s, st->class, false) : NULL;
	rewrite_names(s, statement_text(st), w, *e);
}

static void send_parse(struct session *s, struct statement *st, const char *name, struct preparing *p)
{
	struct writer w, text;
	if (!st->names_statements) {
		borrow_push(s, REPLY_PARSE, REPLY_SWALLOW, TAG_REPREPARE, p);
		prepare_send_parse(s, st, name);
		return;
	}
	writer_init_grow(&w); /* EXECUTE x: x has another name on the server */
	writer_init_grow(&text);
	prepare_rewrite(s, st, &text);
	write_parse(&w, name, writer_slice(&text), statement_types(st));
	borrow_push(s, REPLY_PARSE, REPLY_SWALLOW, TAG_REPREPARE, p);
	borrow_send(s, &w);
	writer_fini(&text);
	writer_fini(&w);
}

/* In SQL text a server's name is quoted: it has capitals. */
void prepare_write_name(struct writer *w, const char *name)
{
	writer_u8(w, '"');
	writer_bytes(w, slice_text(name));
	writer_u8(w, '"');
}

void prepare_write_describe(struct writer *w, const char *name)
{
	writer_begin(w, 'D');
	writer_u8(w, 'S');
	writer_text(w, name);
	writer_end(w);
}

/* PREPARE name …, as an extended statement of its own. */
static void send_sql_prepare(struct session *s, const struct statement *st, const char *name, struct preparing *p)
{
	static const uint8_t bind[] = { 'B', 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0 }, execute[] = { 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0 };
	struct writer w;
	writer_init_grow(&w);
	writer_begin(&w, 'P');
	writer_text(&w, "");
	writer_bytes(&w, slice_text("PREPARE "));
	prepare_write_name(&w, name);
	writer_slice_text(&w, statement_text(st));
	writer_u16(&w, 0);
	writer_end(&w);
	writer_bytes(&w, slice_of(bind, sizeof bind));
	writer_bytes(&w, slice_of(execute, sizeof execute));
	borrow_push(s, REPLY_PARSE, REPLY_SWALLOW, TAG_OURS, NULL);
	borrow_push(s, REPLY_BIND, REPLY_SWALLOW, TAG_OURS, NULL);
	borrow_push(s, REPLY_EXECUTE, REPLY_SWALLOW, TAG_REPREPARE, p);
	borrow_send(s, &w);
	writer_fini(&w);
}

void prepare_statement(struct session *s, struct statement *st, char *name)
{
	struct hash128 key = statement_server_key(s, st);
	struct preparing *p;
	if (st->names_statements)
		statement_salt(&key, ++s->home->salt << 8 | s->home->env.worker);
	if (!st->name[0] || !hash128_equal(key, st->named_key)) {
		stmts_name(key, st->name);
		st->named_key = key;
	}
	memcpy(name, st->name, STMTS_NAME_MAX);
	st->last_key = key;
	if (prepare_is_there(s, key))
		return;
	prepare_under(s, key);
	p = mem_alloc(sizeof *p);
	p->server_key = key;
	p->st = st;
	p->segment = s->segment;
	p->generation = pool_ddl_generation(s->pool);
	p->scope = settings_name_scope(s->vars);
	st->refs++;
	if (st->by_sql)
		send_sql_prepare(s, st, name, p);
	else
		send_parse(s, st, name, p);
}
