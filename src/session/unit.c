/*
 * unit — what the client's next Query, or extended messages up to a Sync, are: do they only read, and are all of them here.
 *
 * Nothing is taken or sent: the messages are looked at where they lie, and taken by their own handlers afterwards.
 */
#include <string.h>

#include "priv.h"
#include "wire/reader.h"

enum look { LOOK_READ, LOOK_NOT, LOOK_WAIT };

struct look_at { /* the extended messages of one unit */
	struct session *s;
	struct unit *u;
	struct statement *unnamed; /* a reference: of a Parse in it */
	bool is_bound, runs;
};

/* Statements that return rows.  What begins or ends transactions has a way of its own. */
static bool is_query(enum sql_kind kind)
{
	return kind == SQL_SELECT || kind == SQL_EXPLAIN || kind == SQL_SHOW || kind == SQL_COPY_OUT;
}

static enum look look_class(const struct sql_class *class)
{
	if (!class || !class->is_read)
		return LOOK_NOT;
	for (uint32_t i = 0; i < class->n; i++)
		if (!is_query(class->part[i].kind))
			return LOOK_NOT;
	return LOOK_READ;
}

/* The first statement is the one that is asked for. */
static void look_note(struct unit *u, struct slice text, struct sql_class *class)
{
	if (u->class || !class)
		return;
	u->text = text;
	u->class = sql_class_ref(class);
}

static enum look look_query(struct session *s, const struct frame *f, struct unit *u)
{
	const uint8_t *nul = memchr(f->body.at, 0, f->body.len);
	struct slice text = slice_of(f->body.at, nul ? (size_t)(nul - f->body.at) : f->body.len);
	struct sql_class *class = sql_classify(s->home->env.cache, text, query_dialect(s));
	enum look look = known_class(s, &class, text) ? look_class(class) : LOOK_WAIT;
	look_note(u, text, class);
	sql_class_unref(class);
	return look;
}

/* TEXT: where it stands in the client's bytes; .at NULL: the session has the statement. */
static enum look look_statement(struct look_at *l, struct slice name, struct slice text)
{
	struct statement *st = !name.len && l->unnamed ? l->unnamed : names_meant(l->s, name);
	if (!st || st->names_statements)
		return LOOK_NOT;
	if (!l->u->st) { /* the first message's: one of another kind ends the look */
		l->u->st = st;
		st->refs++;
	}
	if (!known_statement(l->s, st))
		return LOOK_WAIT;
	look_note(l->u, text.at ? text : statement_text(st), st->class);
	return look_class(st->class);
}

static enum look look_parse(struct look_at *l, struct reader *r)
{
	struct slice name = reader_text(r), text = reader_text(r), types = slice_of(r->at, reader_left(r));
	if (!reader_ok(r) || name.len)
		return LOOK_NOT;
	statement_unref(l->s, l->unnamed);
	l->unnamed = statement_intern(l->s, text, types, false);
	return look_statement(l, name, text);
}

static enum look look_bind(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r), name = reader_text(r);
	l->is_bound = true;
	return reader_ok(r) && !portal.len ? look_statement(l, name, slice_of(NULL, 0)) : LOOK_NOT;
}

static enum look look_describe(struct look_at *l, struct reader *r)
{
	uint8_t what = reader_u8(r);
	struct slice name = reader_text(r);
	if (!reader_ok(r))
		return LOOK_NOT;
	if (what == 'S')
		return look_statement(l, name, slice_of(NULL, 0));
	return what == 'P' && !name.len && l->is_bound ? LOOK_READ : LOOK_NOT;
}

static enum look look_execute(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r);
	uint32_t most = reader_u32(r);
	l->runs = true;
	return reader_ok(r) && !portal.len && !most && l->is_bound ? LOOK_READ : LOOK_NOT;
}

static enum look look_message(struct look_at *l, const struct frame *f)
{
	struct reader r;
	reader_init(&r, f->body);
	switch (f->type) {
	case 'P':
		return look_parse(l, &r);
	case 'B':
		return look_bind(l, &r);
	case 'D':
		return look_describe(l, &r);
	case 'E':
		return look_execute(l, &r);
	default:
		return LOOK_NOT;
	}
}

static bool look_next(const struct session *s, struct slice in, struct frame *f)
{
	return frame_next(in, FRAME_FROM_CLIENT, f) == FRAME_OK && frame_is_whole(f) && frame_size(f) <= UNITS_MAX &&
	       f->body_len <= s->home->max_message;
}

/* The extended messages that IN begins with. */
static enum look look_segment(struct look_at *l, struct slice in)
{
	struct frame f;
	enum look look;
	while (look_next(l->s, slice_skip(in, l->u->len), &f)) {
		l->u->len += frame_size(&f);
		if (f.type == 'S')
			return l->runs ? LOOK_READ : LOOK_NOT;
		look = look_message(l, &f);
		if (look != LOOK_READ)
			return look;
	}
	return LOOK_NOT; /* it is not here whole */
}

static enum look look_unit(struct session *s, struct slice in, struct unit *u)
{
	struct look_at l = { .s = s, .u = u };
	struct frame f;
	enum look look;
	if (!look_next(s, in, &f))
		return LOOK_NOT;
	if (f.type == 'Q') {
		u->len = frame_size(&f);
		return look_query(s, &f, u);
	}
	look = look_segment(&l, in);
	statement_unref(s, l.unnamed);
	return look;
}

bool unit_look(struct session *s, struct slice in, struct unit *u)
{
	*u = (struct unit){ 0 };
	u->is_read = look_unit(s, in, u) == LOOK_READ && u->len <= UNITS_MAX;
	return s->state == SESSION_READY; /* it may wait for what is known of the catalogue */
}

void unit_drop(struct session *s, struct unit *u)
{
	sql_class_unref(u->class);
	statement_unref(s, u->st);
}
