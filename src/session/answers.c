/*
 * answers — EXPLAIN ROUTE <statement> and SHOW LAST ROUTE, which no server hears of: as a Query, and as statements of the extended protocol.
 *
 * Such a statement has a name and portals as any other, but what is asked of it is answered here, behind what is owed already.  It takes part in no
 * transaction: it neither begins one nor fails with one.
 *
 * Always: all columns are text, so that text and binary format are the same bytes.
 */
#include <string.h>
#include <strings.h>

#include "priv.h"
#include "wire/reader.h"

/* ---- which it is ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Past blanks and comments, which do not nest here: what nests is not taken for ours. */
static struct slice skip_blanks(struct slice s)
{
	for (;;) {
		if (s.len && is_blank(s.at[0])) {
			s = slice_skip(s, 1);
		} else if (s.len >= 2 && memcmp(s.at, "/*", 2) == 0) {
			const uint8_t *end = memmem(s.at + 2, s.len - 2, "*/", 2);
			s = slice_skip(s, end ? (size_t)(end - s.at) + 2 : s.len);
		} else if (s.len >= 2 && memcmp(s.at, "--", 2) == 0) {
			const uint8_t *end = memchr(s.at, '\n', s.len);
			s = slice_skip(s, end ? (size_t)(end - s.at) : s.len);
		} else {
			return s;
		}
	}
}

/* TEXT behind WORD, which another word may follow; .at NULL: it begins otherwise. */
static struct slice behind(struct slice text, const char *word)
{
	size_t len = strlen(word);
	bool is_it = text.at && text.len >= len && strncasecmp((const char *)text.at, word, len) == 0;
	if (!is_it || (text.len > len &&
	               (text.at[len] == '_' || text.at[len] == '$' || text.at[len] >= 0x80 ||
	                (text.at[len] >= '0' && text.at[len] <= '9') || ((text.at[len] | 32) >= 'a' && (text.at[len] | 32) <= 'z'))))
		return slice_of(NULL, 0);
	return slice_skip(text, len);
}

static struct slice behind_words(struct slice text, const char *const *words)
{
	for (; *words && text.at; words++)
		text = behind(skip_blanks(text), *words);
	return text;
}

enum asks asks_of(struct slice text, struct slice *rest)
{
	static const char *const explain[] = { "explain", "route", NULL }, *const last[] = { "show", "last", "route", NULL };
	*rest = behind_words(text, explain);
	if (rest->at)
		return ASKS_ROUTE;
	*rest = behind_words(text, last);
	while (rest->at && rest->len && (is_blank(rest->at[0]) || rest->at[0] == ';'))
		*rest = slice_skip(*rest, 1);
	return rest->at && !rest->len ? ASKS_LAST : ASKS_NOTHING;
}

/* ---- messages ------------------------------------------------------------------------------------------------------------------------------- */

static void write_column(struct writer *w, const char *name)
{
	enum { TEXT_OID = 25 };
	writer_text(w, name);
	writer_u32(w, 0);
	writer_u16(w, 0);
	writer_u32(w, TEXT_OID);
	writer_u16(w, UINT16_MAX);
	writer_u32(w, UINT32_MAX);
	writer_u16(w, 0);
}

static void write_columns(struct writer *w)
{
	writer_begin(w, 'T');
	writer_u16(w, 2);
	write_column(w, "what");
	write_column(w, "answer");
	writer_end(w);
}

static void write_value(struct writer *w, const char *value)
{
	writer_u32(w, (uint32_t)strlen(value));
	writer_bytes(w, slice_text(value));
}

struct sheet {
	struct writer *w;
	uint32_t limit, rows; /* limit 0: none */
};

static void write_row(void *arg, const char *what, const char *answer)
{
	struct sheet *s = arg;
	if (s->limit && s->rows == s->limit)
		return;
	s->rows++;
	writer_begin(s->w, 'D');
	writer_u16(s->w, 2);
	write_value(s->w, what);
	write_value(s->w, answer);
	writer_end(s->w);
}

static void write_message(struct writer *w, uint8_t type, struct slice body)
{
	writer_begin(w, type);
	writer_bytes(w, body);
	writer_end(w);
}

/* Rows and their end: CommandComplete, or PortalSuspended where there are as many as were asked for.  False: it must wait. */
static bool write_answer(struct session *s, enum asks what, struct slice rest, uint32_t limit, struct writer *w)
{
	static const char explain[] = "EXPLAIN", show[] = "SHOW";
	struct sheet sheet = { .w = w, .limit = limit };
	if (what == ASKS_LAST) {
		explain_last(s, write_row, &sheet);
	} else {
		struct unit u;
		bool is_known = unit_of_query(s, rest, &u);
		if (is_known)
			explain_route(s, &u, rest, write_row, &sheet);
		unit_drop(s, &u);
		if (!is_known)
			return false;
	}
	if (limit && sheet.rows == limit)
		write_message(w, 's', slice_of(NULL, 0));
	else
		write_message(w, 'C', what == ASKS_LAST ? slice_of(show, sizeof show) : slice_of(explain, sizeof explain));
	return true;
}

/* ---- a Query -------------------------------------------------------------------------------------------------------------------------------- */

bool answer_query(struct session *s, enum asks what, struct slice rest)
{
	struct writer w;
	if (borrow_earlier_is_under_way(s))
		return borrow_wait_for_earlier(s), false;
	if (!s->srv)
		borrow_pool(s);
	writer_init_grow(&w);
	write_columns(&w);
	bool is_answered = write_answer(s, what, rest, 0, &w);
	if (is_answered) {
		names_drop_unnamed(s);
		session_send(s, &w);
		session_send_ready(s);
	}
	writer_fini(&w);
	return is_answered;
}

/* ---- extended messages ---------------------------------------------------------------------------------------------------------------------- */

/* In its turn, as the answer to a message of KIND. */
static void say_in_turn(struct session *s, enum reply_kind kind, struct writer *w)
{
	struct slice bytes = writer_slice(w);
	struct said *said;
	if (!borrow_is_owed(s)) {
		session_say(s, bytes, NULL);
		return;
	}
	said = mem_alloc(sizeof *said + bytes.len);
	said->len = (uint32_t)bytes.len;
	memcpy(said->bytes, bytes.at, bytes.len);
	borrow_push(s, kind, REPLY_LOCAL, TAG_SAID, said);
}

size_t answer_parse(struct session *s, const struct frame *f, struct slice in, struct slice name, struct statement *st)
{
	struct err e;
	if (name.len && names_find(s, name)) {
		err_set(&e, "42P05", "prepared statement \"%.*s\" already exists", (int)name.len, (const char *)name.at);
		return extended_refuse(s, f, in, &e);
	}
	extended_answer(s, REPLY_PARSE, TAG_PARSE, naming_begin(s, name, st));
	return frame_size(f);
}

size_t answer_bind(struct session *s, const struct frame *f, struct slice in, struct slice portal, struct statement *st)
{
	uint8_t space[16];
	struct writer w;
	if (!frame_is_whole(f)) {
		struct err e;
		err_set(&e, "54000", "the parameters of EXPLAIN ROUTE are too long");
		return extended_refuse(s, f, in, &e);
	}
	if (!portal.len)
		s->portal_begins = s->portal_spent = 0;
	portals_bind(s, portal, st, NULL);
	writer_init(&w, space, sizeof space);
	write_message(&w, '2', slice_of(NULL, 0));
	say_in_turn(s, REPLY_BIND, &w);
	return frame_size(f);
}

/* The parameters that it has for the client: as many as $n says, of the types that Parse gave, or text. */
static unsigned parameters_of(struct slice text)
{
	unsigned most = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned n = 0;
		if (text.at[i] != '$')
			continue;
		while (i + 1 < text.len && text.at[i + 1] >= '0' && text.at[i + 1] <= '9' && n <= UINT16_MAX)
			n = n * 10 + (unsigned)(text.at[++i] - '0');
		most = n > most && n <= UINT16_MAX ? n : most;
	}
	return most;
}

static void write_parameters(struct writer *w, const struct statement *st)
{
	enum { TEXT_OID = 25 };
	struct reader types;
	unsigned n = parameters_of(statement_text(st)), n_given;
	reader_init(&types, statement_types(st));
	n_given = reader_u16(&types);
	n = n > n_given ? n : n_given;
	writer_begin(w, 't');
	writer_u16(w, (uint16_t)n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t type = i < n_given ? reader_u32(&types) : 0;
		writer_u32(w, type ? type : TEXT_OID);
	}
	writer_end(w);
}

size_t answer_describe(struct session *s, const struct frame *f, bool is_statement, const struct statement *st)
{
	struct writer w;
	writer_init_grow(&w);
	if (is_statement)
		write_parameters(&w, st);
	write_columns(&w);
	say_in_turn(s, is_statement ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL, &w);
	writer_fini(&w);
	return frame_size(f);
}

size_t answer_execute(struct session *s, const struct frame *f, const struct statement *st, uint32_t limit)
{
	struct slice rest;
	struct writer w;
	enum asks what = asks_of(statement_text(st), &rest);
	if (!s->srv)
		borrow_pool(s);
	writer_init_grow(&w);
	bool is_answered = write_answer(s, what, rest, limit, &w);
	if (is_answered)
		say_in_turn(s, REPLY_EXECUTE, &w);
	writer_fini(&w);
	return is_answered ? frame_size(f) : 0;
}

/* ---- a unit of nothing else ------------------------------------------------------------------------------------------------------------------ */

struct own_unit {
	const struct session *s;
	struct slice parsed; /* the name of the last Parse in it */
	bool has_parsed, has_bound;
};

static bool is_own_name(const struct own_unit *u, struct slice name)
{
	const struct statement *st;
	if (u->has_parsed && slice_equal(name, u->parsed))
		return true;
	st = names_find((struct session *)u->s, name);
	return st && st->asks;
}

static bool is_own_parse(struct own_unit *u, struct reader *r)
{
	struct slice name = reader_text(r), text = reader_text(r), rest;
	u->parsed = name;
	u->has_parsed = reader_ok(r) && may_ask(text) && asks_of(text, &rest);
	return u->has_parsed;
}

static bool is_own_message(struct own_unit *u, const struct frame *f)
{
	struct reader r;
	reader_init(&r, f->body);
	switch (f->type) {
	case 'P':
		return is_own_parse(u, &r);
	case 'B':
		reader_text(&r);
		u->has_bound = is_own_name(u, reader_text(&r));
		return u->has_bound;
	case 'D':
		return reader_u8(&r) == 'P' ? u->has_bound : is_own_name(u, reader_text(&r));
	case 'E':
		return u->has_bound;
	default:
		return f->type == 'H';
	}
}

bool answers_all_of(struct session *s, struct slice in)
{
	struct own_unit u = { .s = s };
	struct frame f;
	struct slice rest;
	for (bool is_first = true; frame_next(in, FRAME_FROM_CLIENT, &f) == FRAME_OK && frame_is_whole(&f); is_first = false) {
		const uint8_t *nul = memchr(f.body.at, 0, f.body.len);
		if (f.type == 'Q')
			return is_first && nul && asks_of(slice_of(f.body.at, (size_t)(nul - f.body.at)), &rest);
		if (f.type == 'S')
			return !is_first;
		if (!is_own_message(&u, &f))
			return false;
		in = slice_skip(in, frame_size(&f));
	}
	return false;
}
