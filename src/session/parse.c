/*
 * parse — Parse: answered from memory where a server has accepted the same text under the same circumstances since the last DDL; else it really
 * runs, because its errors are the client's.
 *
 * A name that is taken is the server's to complain about, after it has looked at the text as PostgreSQL does.
 */
#include "priv.h"
#include "wire/reader.h"

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
		prepare_rewrite(s, st, &text);
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
	if (prepare_is_there(s, key)) {
		if (parse_is_settled(s)) /* this server has accepted it since the last DDL */
			extended_answer(s, REPLY_PARSE, TAG_PARSE, n);
		else
			parse_send_unnamed(s, st, n);
		return;
	}
	stmts_name(key, name);
	prepare_under(s, key);
	n->is_kept = true;
	n->server_key = key;
	n->generation = pool_ddl_generation(s->srv->pool);
	n->scope = settings_name_scope(s->vars);
	n->on_server = true;
	borrow_push(s, REPLY_PARSE, REPLY_FORWARD, TAG_PARSE, n);
	prepare_send_parse(s, st, name);
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
	n = naming_begin(s, name, st);
	if (s->pool)
		POOL_COUNT(s->pool, client_parses, 1);
	if (from_memory)
		extended_answer(s, REPLY_PARSE, TAG_PARSE, n);
	else if (st->names_statements)
		parse_send_unnamed(s, st, n);
	else
		parse_send(s, st, n);
	return frame_size(f);
}

/* The name is taken: the server is asked to prepare the text under the name that the present statement has there. */
static size_t parse_again(struct session *s, const struct frame *f, struct slice in, struct slice client_name,
                          struct statement *taken, struct statement *st)
{
	char name[STMTS_NAME_MAX];
	struct writer w;
	ssize_t stop = extended_borrow(s, f, in, st->class);
	if (stop >= 0)
		return (size_t)stop;
	prepare_statement(s, taken, name);
	writer_init_grow(&w);
	writer_begin(&w, 'P');
	writer_text(&w, name);
	writer_slice_text(&w, statement_text(st));
	writer_bytes(&w, statement_types(st));
	writer_end(&w);
	borrow_push_marked(s, REPLY_PARSE, TAG_PLAIN, NULL, names_mark(client_name));
	borrow_send(s, &w);
	writer_fini(&w);
	return frame_size(f);
}

size_t parse_take(struct session *s, const struct frame *f, struct slice in, const struct unit *u)
{
	struct reader r;
	struct slice name, text, types;
	struct statement *st, *taken_by;
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
	if (name.len && names_wait(s, name))
		return 0;
	st = u->st;
	if (st)
		st->refs++;
	else
		st = statement_intern(s, text, types, false);
	taken_by = name.len ? names_find(s, name) : NULL;
	if (UNLIKELY(st->asks))
		taken = answer_parse(s, f, in, name, st);
	else if (!known_statement(s, st) || (st->names_statements && names_wait_for_all(s)))
		taken = 0;
	else
		taken = taken_by ? parse_again(s, f, in, name, taken_by, st) : parse_run(s, f, in, name, st);
	statement_unref(s, st);
	return taken;
}
