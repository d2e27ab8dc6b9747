/*
 * statement — virtual prepared statements: what clients prepared, once per worker, and on which server it is there.
 *
 * A client's name maps to a struct statement that all clients of the pool with the same text share.  On servers it is prepared lazily, at the
 * first Bind there, under a name made from its key, from what the session's settings make of the text (search_path, role) and from the DDL
 * generation, so that the name means the same on every server and in every worker, and after DDL a statement is prepared anew under a new
 * name.  What a server has is in its struct stmts, least recently used first out.
 *
 * A Parse or Close of ours that the server skips, because something earlier in its segment failed, did not happen.  Until its answer is here, what it
 * did is only certain for messages of the same segment, which are skipped with it; a later segment closes the name and prepares anew.
 *
 * Always: a statement lives while a session's name, portal or reply entry refers to it; home->statements does not count.
 */
#include "base/hash.h"
#include "priv.h"

/* ---- the shared statements ------------------------------------------------------------------------------------------------------------ */

struct slice statement_text(const struct statement *st)
{
	return slice_of(st->body, st->text_len);
}

struct slice statement_types(const struct statement *st)
{
	return slice_of(st->body + st->text_len + 1, st->types_len);
}

static struct slice key_slice(const struct hash128 *key)
{
	return slice_of(key, sizeof *key);
}

static uint64_t ddl_generation(const struct session *s)
{
	return s->pool ? pool_ddl_generation(s->pool) : 0;
}

/* The generation is of the moment at which the client prepared it: a client that knows the columns of before an ALTER TABLE uses the plans of
 * before, and gets PostgreSQL's "cached plan must not change result type" (drivers wait for it), never rows of another shape.
 * What PREPARE made is one client's: each PREPARE must really run, so its key is like no other. */
static struct hash128 statement_key(struct session *s, struct slice text, struct slice types, bool by_sql)
{
	uint64_t pool = s->pool ? pool_id(s->pool) : 0, salt = by_sql ? ++s->home->salt : 0;
	uint64_t head[] = { pool, salt, salt ? s->home->env.worker : 0, text.len, ddl_generation(s) };
	struct hash128 a = hash128(text), b = hash128(types), c;
	c = hash128(slice_of(head, sizeof head));
	return (struct hash128){ .hi = a.hi ^ (b.hi << 1 | b.hi >> 63) ^ c.hi, .lo = a.lo ^ (b.lo << 1 | b.lo >> 63) ^ c.lo };
}

static bool class_names_statements(const struct sql_class *class)
{
	for (uint32_t i = 0; i < class->n; i++)
		if (class->part[i].kind == SQL_EXECUTE || class->part[i].kind == SQL_DEALLOCATE || class->part[i].kind == SQL_PREPARE)
			return true;
	return false;
}

struct statement *statement_intern(struct session *s, struct slice text, struct slice types, bool by_sql)
{
	struct hash128 key = statement_key(s, text, types, by_sql);
	struct statement *st = map_get(&s->home->statements, key_slice(&key));
	if (st) {
		st->refs++;
		return st;
	}
	st = mem_alloc(sizeof *st + text.len + 1 + types.len);
	st->refs = 1;
	st->key = key;
	st->by_sql = by_sql;
	st->generation = ddl_generation(s);
	st->text_len = (uint32_t)text.len;
	st->types_len = (uint32_t)types.len;
	memcpy(st->body, text.at, text.len);
	if (types.len)
		memcpy(st->body + text.len + 1, types.at, types.len);
	if (!by_sql) {
		st->plain = sql_classify(s->home->env.cache, text, query_dialect(s));
		st->class = sql_class_ref(st->plain);
		st->names_statements = class_names_statements(st->class);
	}
	map_put(&s->home->statements, key_slice(&key), st);
	return st;
}

void statement_unref(struct session *s, struct statement *st)
{
	if (!st || --st->refs)
		return;
	map_remove(&s->home->statements, key_slice(&st->key));
	sql_class_unref(st->class);
	sql_class_unref(st->plain);
	mem_free(st);
}

/* ---- a client's names -------------------------------------------------------------------------------------------------------------------- */

struct statement *statement_find(const struct session *s, struct slice name)
{
	if (!name.len)
		return s->unnamed;
	return s->names ? map_get(s->names, name) : NULL;
}

struct statement *statement_meant(struct session *s, struct slice name)
{
	struct statement *st = statement_find(s, name), *fresh;
	if (!st || st->generation >= s->healed_generation)
		return st;
	fresh = statement_intern(s, statement_text(st), statement_types(st), st->by_sql);
	statement_unref(s, statement_name(s, name, fresh));
	return fresh;
}

static uint32_t statement_cost(const struct statement *st)
{
	return st ? st->text_len + st->types_len : 0;
}

struct statement *statement_name(struct session *s, struct slice name, struct statement *st)
{
	struct statement *before;
	if (!name.len) {
		before = s->unnamed;
		s->unnamed = st;
		s->unnamed_version++;
	} else {
		if (!s->names && st)
			s->names = mem_alloc(sizeof *s->names);
		before = !s->names ? NULL : st ? map_put(s->names, name, st) : map_remove(s->names, name);
	}
	s->statement_bytes += statement_cost(st) - statement_cost(before);
	return before;
}

static void forget_map(struct session *s, struct map **map)
{
	uint32_t it = 0;
	void *st;
	while (map_next(*map, &it, NULL, &st))
		statement_unref(s, st);
	map_fini(*map);
	mem_free(*map);
	*map = NULL;
}

void statement_forget_all(struct session *s)
{
	if (s->names)
		forget_map(s, &s->names);
	statement_unref(s, s->unnamed);
	statement_unref(s, s->unnamed_kept);
	s->unnamed = s->unnamed_kept = NULL;
	s->statement_bytes = 0;
}

void statement_forget_portals(struct session *s)
{
	if (s->portals)
		forget_map(s, &s->portals);
	statement_unref(s, s->portal);
	s->portal = NULL;
	vars_effect_free(s, s->portal_effect);
	s->portal_effect = NULL;
	vars_effect_free(s, s->names_effect);
	s->names_effect = NULL;
}

bool statement_changes_names(const struct sql_class *class)
{
	for (uint32_t i = 0; i < class->n; i++)
		switch (class->part[i].kind) {
		case SQL_PREPARE:
		case SQL_DEALLOCATE:
		case SQL_DEALLOCATE_ALL:
		case SQL_DISCARD_ALL:
			return true;
		default:
			break;
		}
	return false;
}

/* Inside an open segment there is nothing to wait for: the server may answer only at the Sync that comes behind this message. */
bool statement_names_unsettled(struct session *s)
{
	if (!s->naming_in_flight || !s->srv || s->segment_open)
		return false;
	session_block(s, SESSION_WAIT_QUIET);
	return true;
}

bool statement_parse_unsettled(struct session *s)
{
	if (!s->parses_in_flight || !s->srv || s->segment_open)
		return statement_names_unsettled(s);
	session_block(s, SESSION_WAIT_QUIET);
	return true;
}

/* ---- on a server -------------------------------------------------------------------------------------------------------------------------- */

static void mix(struct hash128 *key, uint64_t what)
{
	key->hi ^= what * 0xff51afd7ed558ccdull;
	key->lo ^= what * 0x9e3779b97f4a7c15ull;
}

struct hash128 statement_server_key(const struct session *s, const struct statement *st)
{
	struct hash128 key = st->key;
	mix(&key, settings_name_scope(s->vars));
	return key;
}

void statement_accept(struct statement *st, uint64_t generation, uint64_t scope)
{
	st->accepted_generation = generation + 1;
	st->accepted_scope = scope;
}

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

bool statement_is_there(struct session *s, struct hash128 key)
{
	const uint64_t *value = stmts_find(&s->srv->stmts, key);
	return value && (*value == THERE || IS_PENDING_IN(*value, s->segment));
}

void statement_send_under(struct session *s, struct hash128 key)
{
	const uint64_t *value = stmts_find(&s->srv->stmts, key);
	bool before = value && (*value == THERE || (*value & 1));
	if (value || s->closing_in_flight || s->names_doubtful)
		send_close(s, key);
	statement_make_room(s);
	stmts_add(&s->srv->stmts, key, PENDING(s->segment, before));
}

void statement_on_prepared(struct session *s, struct hash128 key, uint64_t segment, bool is_done)
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

void statement_on_closed(struct session *s, const struct preparing *p, bool is_done)
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

bool statement_discards(const struct sql_class *class)
{
	for (uint32_t i = 0; i < class->n; i++)
		if (class->part[i].kind == SQL_DISCARD_ALL || class->part[i].kind == SQL_DEALLOCATE_ALL)
			return true;
	return false;
}

void statement_on_discard_sent(struct session *s)
{
	stmts_fini(&s->srv->stmts);
}

void statement_on_discard_failed(struct session *s)
{
	s->names_doubtful = 1;
	if (s->srv)
		s->srv->needs_discard = 1;
}

void statement_make_room(struct session *s)
{
	struct hash128 oldest;
	while (stmts_len(&s->srv->stmts) >= pool_max_server_statements(s->srv->pool) && stmts_oldest(&s->srv->stmts, &oldest) &&
	       statement_is_there(s, oldest))
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

void statement_send_parse(struct session *s, const struct statement *st, const char *name)
{
	uint8_t space[64];
	struct writer w;
	struct stream *to = &s->srv->up.stream;
	writer_init(&w, space, sizeof space);
	writer_u8(&w, 'P');
	writer_u32(&w, (uint32_t)(4 + strlen(name) + 1 + st->text_len + 1 + st->types_len));
	writer_text(&w, name);
	stream_send(to, writer_slice(&w), NULL);
	stream_send(to, slice_of(st->body, (size_t)st->text_len + 1 + st->types_len), NULL);
}

/* The text of a statement about statements, with the names that they have on the server. */
void statement_rewrite(struct session *s, struct statement *st, struct writer *w)
{
	vars_effect_free(s, s->names_effect);
	s->names_effect = statement_changes_names(st->class) ? vars_effect(s, st->class, false) : NULL;
	query_rewrite_names(s, statement_text(st), w, s->names_effect);
}

static void send_parse(struct session *s, struct statement *st, const char *name, struct preparing *p)
{
	struct writer w, text;
	if (!st->names_statements) {
		borrow_push(s, REPLY_PARSE, REPLY_SWALLOW, TAG_REPREPARE, p);
		statement_send_parse(s, st, name);
		return;
	}
	writer_init_grow(&w); /* EXECUTE x: x has another name on the server */
	writer_init_grow(&text);
	statement_rewrite(s, st, &text);
	write_parse(&w, name, writer_slice(&text), statement_types(st));
	borrow_push(s, REPLY_PARSE, REPLY_SWALLOW, TAG_REPREPARE, p);
	borrow_send(s, &w);
	writer_fini(&text);
	writer_fini(&w);
}

/* In SQL text a server's name is quoted: it has capitals. */
void statement_write_name(struct writer *w, const char *name)
{
	writer_u8(w, '"');
	writer_bytes(w, slice_text(name));
	writer_u8(w, '"');
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
	statement_write_name(&w, name);
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

void statement_prepare(struct session *s, struct statement *st, char *name)
{
	struct hash128 key = statement_server_key(s, st);
	struct preparing *p;
	if (st->names_statements)
		mix(&key, ++s->home->salt << 8 | s->home->env.worker);
	if (!st->name[0] || !hash128_equal(key, st->named_key)) {
		stmts_name(key, st->name);
		st->named_key = key;
	}
	memcpy(name, st->name, STMTS_NAME_MAX);
	st->last_key = key;
	if (statement_is_there(s, key))
		return;
	statement_send_under(s, key);
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
