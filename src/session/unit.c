/*
 * unit — what the client's next Query, or extended messages up to a Sync, are: do they only read.  As long as they do, the rest of them is waited for.
 *
 * Nothing is taken or sent: the messages are looked at where they lie, and taken by their own handlers afterwards.
 */
#include <string.h>

#include "priv.h"
#include "wire/reader.h"

enum look {
	LOOK_READ,
	LOOK_NOT,
	LOOK_WAIT, /* the session does */
	LOOK_MORE, /* for the rest: nobody may expect an answer before he has sent Sync or Flush ("Extended Query") */
};

struct look_at { /* the extended messages of one unit */
	struct session *s;
	struct unit *u;
	struct statement *unnamed; /* a reference: of a Parse in it */
	struct statement *named;   /* the same, of the last one that gives a name */
	struct slice name;         /* … this one */
	struct statement *found;   /* by the last name that was looked at; no reference */
	struct statement *bound;   /* a reference: what the unnamed portal runs */
	struct slice bound_as;     /* … and what follows the names in its Bind */
	bool is_bound, runs, ends, flushes;
};

bool unit_asks_for_rows(const struct sql_class *class)
{
	for (uint32_t i = 0; i < class->n; i++)
		if (!unit_kind_asks_for_rows(class->part[i].kind))
			return false;
	return true;
}

/* A cursor is where its transaction is. */
static bool is_cursor(enum sql_kind kind)
{
	return kind == SQL_DECLARE || kind == SQL_FETCH || kind == SQL_CLOSE || kind == SQL_CLOSE_ALL;
}

static bool is_end(enum sql_kind kind)
{
	return kind == SQL_COMMIT || kind == SQL_ROLLBACK;
}

/* What a transaction may do on a standby beside asking: savepoints, settings, cursors, and to end. */
static enum look look_in_transaction(const struct session *s, struct unit *u, const struct sql_class *class)
{
	const struct sql_part *p = &class->part[0];
	if (s->away && class->may_stay && unit_asks_for_rows(class) && !(class->effects & SQL_SET_CONFIG))
		return LOOK_READ; /* SHOW of a setting that is the primary's, when it has begun already */
	if (class->n != 1 || !class->may_stay || pins_of_class(s, class))
		return LOOK_NOT;
	u->binds |= is_cursor(p->kind);
	return is_end(p->kind) || is_cursor(p->kind) || p->kind == SQL_EMPTY || awaytx_is_noted(p) ? LOOK_READ : LOOK_NOT;
}

static enum look look_class(const struct session *s, struct unit *u, const struct sql_class *class)
{
	if (!class)
		return LOOK_NOT;
	u->binds |= (class->effects & SQL_TX_BOUND) != 0;
	if (class->is_read && unit_asks_for_rows(class))
		return LOOK_READ;
	return u->tx ? look_in_transaction(s, u, class) : LOOK_NOT;
}

static bool is_begin(const struct sql_class *class)
{
	return class && class->n == 1 && (class->effects & SQL_PLAIN_BEGIN);
}

/* False: it cannot be repeated. */
static NOT_INLINE bool note_in_transaction(const struct session *s, struct unit *u, const struct sql_class *class,
                                           struct slice text, struct slice types, struct slice bound)
{
	struct awaytx_note *n;
	if (!class || class->n != 1 || !awaytx_is_noted(&class->part[0]))
		return true;
	if (!awaytx_may_note(s, text, bound))
		return false;
	if (!u->notes.next)
		dlist_init(&u->notes);
	n = awaytx_note_new(&class->part[0], text, types, bound);
	dlist_push_back(&u->notes, &n->link);
	return true;
}

static inline bool note(const struct session *s, struct unit *u, const struct sql_class *class, struct slice text,
                        struct slice types, struct slice bound)
{
	return LIKELY(!u->tx) || note_in_transaction(s, u, class, text, types, bound);
}

/* The first statement is the one that is asked for. */
static void look_note(struct unit *u, struct slice text, struct sql_class *class)
{
	if (u->class || !class)
		return;
	u->text = text;
	u->class = class == u->own ? class : sql_class_ref(class);
}

/* ---- a Query ------------------------------------------------------------------------------------------------------------------------------ */

/* What PREPARE made: its text is what stands behind the name. */
static enum look look_prepared(struct session *s, const struct statement *st, struct sql_class **class)
{
	struct writer w;
	enum look look = LOOK_WAIT;
	writer_init_grow(&w);
	writer_bytes(&w, slice_text("PREPARE x"));
	writer_bytes(&w, statement_text(st));
	*class = sql_classify(s->home->env.cache, writer_slice(&w), query_dialect(s));
	if (known_class(s, class, writer_slice(&w)))
		look = (*class)->n == 1 && (*class)->part[0].kind == SQL_PREPARE && (*class)->is_read ? LOOK_READ : LOOK_NOT;
	writer_fini(&w);
	return look;
}

/* EXECUTE NAME; *CLASS: a reference, if it was found.  It asks for rows and nothing else: the books know of EXECUTE alone. */
static enum look look_named(struct session *s, const char *name, struct sql_class **class)
{
	struct statement *st = name ? names_meant(s, slice_text(name)) : NULL;
	if (!st || st->names_statements || st->asks)
		return LOOK_NOT;
	if (st->by_sql)
		return look_prepared(s, st, class);
	if (!known_statement(s, st))
		return LOOK_WAIT;
	if (!st->class || !st->class->is_read || !unit_asks_for_rows(st->class))
		return LOOK_NOT;
	*class = sql_class_ref(st->class);
	return LOOK_READ;
}

/* TEXT, of OWN: nothing but EXECUTE with values that call nothing is what the statement is. */
static enum look look_executed(struct session *s, struct unit *u, struct slice text, const struct sql_class *own)
{
	enum look look = LOOK_READ;
	for (uint32_t i = 0; i < own->n && look == LOOK_READ; i++) {
		const struct sql_part *p = &own->part[i];
		struct sql_class *inner = NULL;
		look = p->kind == SQL_EXECUTE && p->why == SQL_WHY_EXECUTE ? look_named(s, p->name, &inner) : LOOK_NOT;
		if (look == LOOK_READ) {
			u->binds |= (inner->effects & SQL_TX_BOUND) != 0;
			look_note(u, text, inner);
		}
		sql_class_unref(inner);
	}
	return look;
}

static enum look look_query(struct session *s, struct slice text, struct unit *u)
{
	enum look look;
	struct slice rest;
	if (UNLIKELY(may_ask(text)) && asks_of(text, &rest))
		return LOOK_NOT;
	u->text = text;
	if (!u->own)
		u->own = sql_classify(s->home->env.cache, text, query_dialect(s));
	if (!known_class(s, &u->own, text))
		return LOOK_WAIT;
	u->begins = is_begin(u->own);
	look = look_class(s, u, u->own);
	if (look == LOOK_NOT && class_names_statements(u->own))
		look = look_executed(s, u, text, u->own);
	look_note(u, text, u->own);
	if (look == LOOK_READ && !note(s, u, u->own, text, slice_of(NULL, 0), slice_of(NULL, 0)))
		look = LOOK_NOT;
	return look;
}

/* A BEGIN in front of all others, which will be answered here: what follows is in its transaction. */
static bool look_begin(struct look_at *l, const struct sql_class *class)
{
	struct unit *u = l->u;
	if (u->class || !is_begin(class) || !query_defers_begin(l->s, class))
		return false;
	u->begins = true;
	u->begin_modes = awaytx_modes_of(class);
	awaytx_judge(l->s, u->begin_modes, u);
	return true;
}

/* ---- extended messages --------------------------------------------------------------------------------------------------------------------- */

static struct statement *find_statement(struct look_at *l, struct slice name)
{
	if (name.len && l->named && slice_equal(name, l->name))
		return l->named;
	return !name.len && l->unnamed ? l->unnamed : names_meant(l->s, name);
}

/* TEXT: where it stands in the client's bytes; .at NULL: the session has the statement. */
static enum look look_statement(struct look_at *l, struct slice name, struct slice text)
{
	struct statement *st = find_statement(l, name);
	if (!st || st->asks || l->ends)
		return LOOK_NOT;
	l->found = st;
	if (!l->u->st) { /* if the unit begins with a Parse or Bind, it is that one's */
		l->u->st = st;
		st->refs++;
	}
	if (!known_statement(l->s, st))
		return LOOK_WAIT;
	if (st->names_statements)
		return st->class ? look_executed(l->s, l->u, text.at ? text : statement_text(st), st->class) : LOOK_NOT;
	if (look_begin(l, st->class))
		return LOOK_READ;
	look_note(l->u, text.at ? text : statement_text(st), st->class);
	return look_class(l->s, l->u, st->class);
}

static enum look look_parse(struct look_at *l, struct reader *r)
{
	struct slice name = reader_text(r), text = reader_text(r), types = slice_of(r->at, reader_left(r));
	struct statement **is = name.len ? &l->named : &l->unnamed;
	if (!reader_ok(r) || (name.len && names_find(l->s, name)))
		return LOOK_NOT;
	statement_unref(l->s, *is);
	*is = statement_intern(l->s, text, types, false);
	l->name = name.len ? name : l->name;
	return look_statement(l, name, text);
}

/* A portal with a name, or one that is read in pieces, is a cursor: in a transaction, and where that is.  Outside none outlives its Sync. */
static enum look look_portal(struct look_at *l, struct slice portal)
{
	l->u->binds |= portal.len != 0;
	return !portal.len || l->u->tx == UNIT_TX_READS ? LOOK_READ : LOOK_NOT;
}

static enum look look_bind(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r), name = reader_text(r);
	enum look look = reader_ok(r) ? look_portal(l, portal) : LOOK_NOT;
	if (look == LOOK_READ)
		look = look_statement(l, name, slice_of(NULL, 0));
	if (look != LOOK_READ)
		return look;
	l->is_bound = true;
	statement_unref(l->s, l->bound);
	l->bound = l->found;
	l->bound->refs++;
	l->bound_as = slice_of(r->at, reader_left(r));
	return is_begin(l->bound->class) && !bind_is_bare(l->s, l->bound->class, l->bound_as) ? LOOK_NOT : LOOK_READ;
}

static enum look look_describe(struct look_at *l, struct reader *r)
{
	uint8_t what = reader_u8(r);
	struct slice name = reader_text(r);
	if (!reader_ok(r))
		return LOOK_NOT;
	if (what == 'S')
		return look_statement(l, name, slice_of(NULL, 0));
	return what == 'P' && l->is_bound ? look_portal(l, name) : LOOK_NOT;
}

static enum look look_execute(struct look_at *l, struct reader *r)
{
	struct slice portal = reader_text(r);
	uint32_t most = reader_u32(r);
	const struct statement *st = l->bound;
	l->runs = true;
	bool has_pieces = most && l->u->tx != UNIT_TX_NONE;
	if (!reader_ok(r) || !l->is_bound || (has_pieces && l->u->tx != UNIT_TX_READS) || look_portal(l, portal) != LOOK_READ)
		return LOOK_NOT;
	l->u->binds |= has_pieces;
	l->ends = st->class && st->class->n == 1 && is_end(st->class->part[0].kind);
	return note(l->s, l->u, st->class, statement_text(st), statement_types(st), l->bound_as) ? LOOK_READ : LOOK_NOT;
}

/* Of the portal, or, in front of all others, of a statement: who means that behind it is not looked at. */
static enum look look_close(struct look_at *l, struct reader *r)
{
	uint8_t what = reader_u8(r);
	struct slice name = reader_text(r);
	if (!reader_ok(r))
		return LOOK_NOT;
	if (l->u->tx)
		return LOOK_READ;
	if (what == 'S')
		return l->named || l->is_bound || l->runs ? LOOK_NOT : LOOK_READ;
	l->is_bound = false;
	return name.len ? LOOK_NOT : LOOK_READ;
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
	case 'C':
		return look_close(l, &r);
	case 'H':
		l->flushes = true;
		return LOOK_READ;
	default:
		return LOOK_NOT;
	}
}

/* ---- the unit --------------------------------------------------------------------------------------------------------------------------------- */

/* READ: F is whole. */
static inline enum look look_next(const struct session *s, struct slice in, struct frame *f)
{
	enum frame_result how = frame_next(in, FRAME_FROM_CLIENT, f);
	if (how != FRAME_OK)
		return how == FRAME_SHORT ? LOOK_MORE : LOOK_NOT;
	if (frame_size(f) > UNITS_MAX || f->body_len > s->home->max_message)
		return LOOK_NOT;
	return frame_is_whole(f) ? LOOK_READ : LOOK_MORE;
}

/* The extended messages that IN begins with. */
static enum look look_segment(struct look_at *l, struct slice in)
{
	struct frame f;
	enum look look;
	while (l->u->len <= UNITS_MAX) {
		look = look_next(l->s, slice_skip(in, l->u->len), &f);
		if (look != LOOK_READ)
			return look == LOOK_MORE && l->flushes ? LOOK_NOT : look; /* he may wait for what he has asked for so far */
		l->u->len += frame_size(&f);
		if (f.type == 'S')
			return l->runs || l->u->tx ? LOOK_READ : LOOK_NOT;
		look = look_message(l, &f);
		if (look != LOOK_READ)
			return look;
	}
	return LOOK_NOT;
}

static enum look look_unit(struct session *s, struct slice in, struct unit *u)
{
	struct look_at l = { .s = s, .u = u };
	struct frame f;
	enum look look = look_next(s, in, &f);
	if (look != LOOK_READ)
		return look;
	if (f.type == 'Q') {
		u->len = frame_size(&f);
		return look_query(s, query_text(&f), u);
	}
	look = look_segment(&l, in);
	statement_unref(s, l.unnamed);
	statement_unref(s, l.named);
	statement_unref(s, l.bound);
	return look;
}

static void begin(struct session *s, struct unit *u, struct sql_class *own)
{
	*u = (struct unit){ .own = own };
	if (s->away)
		u->tx = s->away->is_read_only ? UNIT_TX_READS : UNIT_TX_READS_FIRST;
	else if (s->vtx == VTX_DEFERRED)
		awaytx_judge(s, s->begin_modes, u);
}

/* False: it must wait for what is known of the catalogue. */
static bool end(const struct session *s, struct unit *u, bool is_read)
{
	bool may_go = u->tx == UNIT_TX_NONE || u->tx == UNIT_TX_READS || (u->tx != UNIT_TX_STAYS && !u->binds);
	u->is_read = is_read && may_go;
	return s->state == SESSION_READY;
}

bool unit_look_again(struct session *s, struct slice in, struct unit *u)
{
	begin(s, u, u->own);
	enum look look = look_unit(s, in, u);
	return look != LOOK_MORE && end(s, u, look == LOOK_READ && u->len <= UNITS_MAX);
}

bool unit_look(struct session *s, struct slice in, struct unit *u)
{
	u->own = NULL;
	return unit_look_again(s, in, u);
}

bool unit_of_query(struct session *s, struct slice text, struct unit *u)
{
	begin(s, u, NULL);
	return end(s, u, look_query(s, text, u) == LOOK_READ);
}

void unit_drop(struct session *s, struct unit *u)
{
	if (u->notes.next)
		awaytx_notes_free(&u->notes);
	if (u->class != u->own)
		sql_class_unref(u->class);
	sql_class_unref(u->own);
	statement_unref(s, u->st);
}
