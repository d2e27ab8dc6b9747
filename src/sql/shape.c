/*
 * shape — one pass over the tokens, writing the folded text.
 *
 *   word            lower case                  number     1
 *   "quoted"        as it is                    'string'   's'   (n's', b'1', x'1' keep their prefix)
 *   $7              $1                          white space, comments: one space where two tokens could merge
 *   (1, 2, 3) behind IN, [1, 2] behind ARRAY, rows behind VALUES: elements that are plain constants, or that look like the one
 *   before, are taken back out of the output
 *
 * A frame is kept for every open parenthesis; frame 0 is the statement.  A list's elements are judged when they end.
 *
 *   FRAME_PLAIN --IN (, ARRAY [--> FRAME_LIST       --word VALUES--> FRAME_VALUES --anything but a row or a comma--> FRAME_PLAIN
 *
 * Verbatim mode (a statement that begins with SET; from set_config or a U&"name" on) copies literals and folds no list.  The literal that
 * opens the arguments of current_setting is copied in any case: it tells whose setting is asked for.
 *
 * Nesting: libpg_query's unpacker recurses over the tree with about 1 kB a level.  Operators and key words that can nest without
 * parentheses add up over the whole text; parentheses count as deep as they are open together.
 */
#include "shape.h"

#include "lex.h"
#include "words.h"

#define MAX_DEPTH 200u
#define PAREN_NESTING 3u
#define ROOM 16u /* for the longest thing that is written without asking: a folded token and a space */

enum frame_kind { FRAME_PLAIN, FRAME_LIST, FRAME_VALUES };
struct frame {
	enum frame_kind kind : 8;
	bool is_plain;           /* the element so far is made of constants */
	bool has_plain;          /* such an element was kept */
	bool wants_row;          /* FRAME_VALUES: after VALUES or a comma */
	uint32_t at;             /* where the element begins, behind the comma or the parenthesis */
	uint32_t comma;          /* where the comma before it stands */
	uint32_t kept, kept_len; /* the last element that stayed; kept_len 0: none yet */
};

struct maker {
	struct shape *s;
	const uint8_t *text; /* what is read */
	uint32_t len;
	uint32_t depth, deepest, nesting;
	bool is_tight; /* what was written last merges with nothing: comma, semicolon, parenthesis, bracket */
	bool is_first; /* the next token begins a statement */
	bool is_verbatim;
	bool owes_semicolon;
	enum word last; /* the token before, WORD_OTHER if it was no word */
	struct frame frames[MAX_DEPTH + 1];
};

static struct frame *frame(struct maker *m)
{
	return &m->frames[m->depth];
}

static void put_byte(struct maker *m, uint8_t c)
{
	m->s->text[m->len++] = c;
}

static void put_space(struct maker *m)
{
	if (!m->is_tight)
		put_byte(m, ' ');
	m->is_tight = false;
}

static void put_tight(struct maker *m, uint8_t c)
{
	put_byte(m, c);
	m->is_tight = true;
}

static void put(struct maker *m, const void *bytes, uint32_t len)
{
	put_space(m);
	memcpy(m->s->text + m->len, bytes, len);
	m->len += len;
}

static void put_token(struct maker *m, const struct lex_token *t)
{
	if (t->len == 1) {
		put_space(m);
		put_byte(m, *t->at);
	} else {
		put(m, t->at, t->len);
	}
}

/* What stands from AT to END was folded whatever it says. */
static void hole(struct maker *m, const uint8_t *at, const uint8_t *end, bool is_string)
{
	struct shape *s = m->s;
	if (s->n_holes < SHAPE_HOLES)
		s->holes[s->n_holes++] =
		    (struct shape_hole){ .at = (uint32_t)(at - m->text), .end = (uint32_t)(end - m->text), .is_string = is_string };
	else
		s->n_holes = SHAPE_HOLES + 1;
}

static bool looks_like_the_last(const struct maker *m, const struct frame *f)
{
	const uint8_t *text = m->s->text;
	uint32_t len = m->len - f->at;
	return f->kept_len && f->kept_len == len && memcmp(text + f->at, text + f->kept, len) == 0;
}

/* The element of list F that ends here: keep it or take it out together with its comma.  PLAIN: it is made of constants. */
static void element_ends(struct maker *m, struct frame *f, bool plain)
{
	if ((plain && f->has_plain) || looks_like_the_last(m, f)) {
		m->len = f->comma;
		return;
	}
	f->kept = f->at;
	f->kept_len = m->len - f->at;
	f->has_plain |= plain;
}

static void element_begins(struct maker *m, struct frame *f)
{
	f->at = m->len;
	f->is_plain = true;
}

static void list_begins(struct maker *m, struct frame *f, enum frame_kind kind)
{
	*f = (struct frame){ .kind = kind, .comma = m->len };
	element_begins(m, f);
}

/* A VALUES list goes on only with rows and commas; anything else is its end. */
static void note_not_a_row(struct frame *f)
{
	f->is_plain = false;
	if (f->kind == FRAME_VALUES)
		f->kind = FRAME_PLAIN;
}

/* The literal that comes next stays as it is. */
static bool is_kept(const struct maker *m)
{
	return m->is_verbatim || m->last == WORD_UESCAPE || m->last == WORD_SHOWN;
}

static bool open_paren(struct maker *m, uint8_t c)
{
	struct frame *outer = frame(m);
	bool is_list = !m->is_verbatim && ((c == '(' && m->last == WORD_IN) || (c == '[' && m->last == WORD_ARRAY));
	bool is_row = c == '(' && outer->kind == FRAME_VALUES && outer->wants_row;
	if (is_row)
		outer->at = m->len;
	else
		note_not_a_row(outer);
	outer->wants_row = false;
	put_tight(m, c);
	if (++m->depth > MAX_DEPTH)
		return false;
	if (m->depth > m->deepest)
		m->deepest = m->depth;
	list_begins(m, frame(m), is_list ? FRAME_LIST : FRAME_PLAIN);
	return true;
}

static void close_paren(struct maker *m, uint8_t c)
{
	struct frame *f = frame(m);
	if (f->kind == FRAME_LIST)
		element_ends(m, f, f->is_plain);
	put_tight(m, c);
	if (m->depth == 0)
		return;
	bool plain = f->is_plain;
	f = &m->frames[--m->depth];
	if (f->kind == FRAME_VALUES)
		element_ends(m, f, plain);
}

static void comma(struct maker *m)
{
	struct frame *f = frame(m);
	if (f->kind == FRAME_LIST)
		element_ends(m, f, f->is_plain);
	else if (f->kind == FRAME_VALUES && f->wants_row)
		note_not_a_row(f);
	f->comma = m->len;
	f->wants_row = f->kind == FRAME_VALUES;
	put_tight(m, ',');
	if (f->kind == FRAME_LIST)
		element_begins(m, f);
}

static void statement_begins(struct maker *m)
{
	m->is_first = true;
	m->is_verbatim = false;
	m->frames[0] = (struct frame){ .kind = FRAME_PLAIN };
}

/* Written only when something follows, so that `x` and `x;` are one shape. */
static void semicolon(struct maker *m)
{
	if (m->depth > 0) {
		note_not_a_row(frame(m));
		put_tight(m, ';');
		return;
	}
	m->owes_semicolon = m->len > 0;
	m->last = WORD_OTHER;
	statement_begins(m);
}

/* Any single byte that is a token.  False: too deep. */
static bool punct(struct maker *m, uint8_t c)
{
	bool ok = true, is_shown = c == '(' && m->last == WORD_CURRENT_SETTING;
	switch (c) {
	case '(':
	case '[':
		ok = open_paren(m, c);
		break;
	case ')':
	case ']':
		close_paren(m, c);
		break;
	case ',':
		comma(m);
		break;
	default:
		if (c != '-' && c != '+') /* signs belong to constants */
			note_not_a_row(frame(m));
		put_space(m);
		put_byte(m, c);
		break;
	}
	m->last = is_shown ? WORD_SHOWN : WORD_OTHER;
	m->is_first = false;
	return ok;
}

/* What the word means that was just written, of LEN bytes. */
static void word_is_written(struct maker *m, uint32_t len)
{
	const struct word_row *w = word_find(m->s->text + m->len - len, len);
	enum word word = w ? w->word : WORD_OTHER;
	struct frame *f = frame(m);
	m->nesting += w ? w->nesting : 0;
	if (word != WORD_CONSTANT)
		note_not_a_row(f);
	if (word == WORD_SET_CONFIG || (word == WORD_SET && m->is_first)) {
		m->is_verbatim = true;
	} else if (word == WORD_VALUES && !m->is_verbatim) {
		list_begins(m, f, FRAME_VALUES);
		f->is_plain = false;
		f->wants_row = true;
	}
	m->last = word;
	m->is_first = false;
}

static void word(struct maker *m, const struct lex_token *t)
{
	put_token(m, t);
	for (uint8_t *c = m->s->text + m->len - t->len, *end = c + t->len; c < end; c++)
		*c = lex_lower[*c];
	word_is_written(m, t->len);
}

/* Reads and writes the word at P in one loop; returns its end, or NULL when it is not a word or has no room. */
static inline const uint8_t *quick_word(struct maker *m, const struct lex *l, const uint8_t *p)
{
	size_t room = SQL_PARSE_MAX - ROOM - m->len;
	const uint8_t *end = (size_t)(l->end - p) > room ? p + room : l->end;
	uint8_t *from = m->s->text + m->len;
	*from = ' ';
	from += !m->is_tight;
	uint8_t *to = from;
	for (uint8_t c; p < end && (c = lex_name[*p]); p++)
		*to++ = c;
	uint32_t len = (uint32_t)(to - from);
	if (p == end ? end < l->end : len == 1 && (*p == '\'' || *p == '&'))
		return NULL;
	m->len = (uint32_t)(to - m->s->text);
	m->is_tight = false;
	if (word_may_be_known(*from, len)) {
		word_is_written(m, len);
	} else {
		note_not_a_row(frame(m));
		m->last = WORD_OTHER;
	}
	return p;
}

/* A single byte that stands for itself: an operator that no other follows, or the point between names. */
static inline bool is_quick_byte(const uint8_t *p, unsigned class)
{
	if (class & LEX_IS_OP)
		return !(lex_class[p[1]] & LEX_IS_OP);
	return *p == '.' && !(lex_class[p[1]] & LEX_IS_DIGIT);
}

/* A number of digits alone, to be folded; returns its end, or NULL. */
static inline const uint8_t *quick_number(struct maker *m, const struct lex *l, const uint8_t *p)
{
	const uint8_t *from = p;
	if (is_kept(m))
		return NULL;
	do
		p++;
	while (p < l->end && (lex_class[*p] & LEX_IS_DIGIT));
	if (p == l->end || *p == '.' || (lex_class[*p] & LEX_IS_NAME))
		return NULL;
	hole(m, from, p, false);
	put_space(m);
	put_byte(m, '1');
	m->last = WORD_OTHER;
	return p;
}

/* The most frequent tokens, behind one space or none, without the way through struct lex_token.  The first of a statement takes the
 * long way, which pays the semicolon; so does what is near the end of either text.  False: nothing was done. */
static inline bool quick_token(struct maker *m, struct lex *l)
{
	const uint8_t *p = l->at;
	if (l->end - p < 3 || m->len + ROOM > SQL_PARSE_MAX || m->is_first)
		return false;
	p += *p == ' ';
	unsigned class = lex_class[*p];
	if (class & (LEX_IS_START | LEX_IS_DIGIT)) {
		p = class & LEX_IS_START ? quick_word(m, l, p) : quick_number(m, l, p);
		if (p)
			l->at = p;
		return p;
	}
	if (class & LEX_IS_TIGHT ? m->depth == MAX_DEPTH : !is_quick_byte(p, class))
		return false;
	m->nesting += class & LEX_IS_OP ? 1 : 0;
	punct(m, *p);
	l->at = p + 1;
	return true;
}

static void quoted_name(struct maker *m, const struct lex_token *t)
{
	static const char set_config[] = "\"set_config\"";
	note_not_a_row(frame(m));
	m->is_verbatim |= t->kind == LEX_UQUOTED || slice_equal(slice_of(t->at, t->len), slice_text(set_config));
	put_token(m, t);
}

static void operator_run(struct maker *m, const struct lex_token *t)
{
	if (t->len > 1 || (*t->at != '-' && *t->at != '+'))
		note_not_a_row(frame(m));
	m->nesting += lex_count_operators(t->at, t->len);
	put_token(m, t);
}

/* T is folded: is it a hole? */
static void note_hole(struct maker *m, const struct lex *l, const struct lex_token *t)
{
	const uint8_t *end = t->at + t->len;
	if (t->kind == LEX_STRING && !t->prefix && !memchr(t->at + 1, '\'', t->len - 2)) {
		hole(m, t->at + 1, end - 1, true);
		return;
	}
	const uint8_t *p = t->at;
	while (p < end && (lex_class[*p] & LEX_IS_DIGIT))
		p++;
	if (t->kind == LEX_NUMBER && p == end && (p == l->end || (*p != '.' && !(lex_class[*p] & LEX_IS_NAME))))
		hole(m, t->at, end, false);
}

static void literal(struct maker *m, const struct lex *l, const struct lex_token *t)
{
	if (!is_kept(m))
		note_hole(m, l, t);
	if (is_kept(m) || t->kind == LEX_USTRING) {
		put_token(m, t);
	} else if (t->kind == LEX_NUMBER) {
		put(m, "1", 1);
	} else if (t->kind == LEX_PARAM) {
		put(m, "$1", 2);
	} else if (t->prefix == 'b' || t->prefix == 'x') {
		put(m, t->prefix == 'b' ? "b'1'" : "x'1'", 4);
	} else if (t->prefix == 'n') {
		put(m, "n's'", 4);
	} else {
		put(m, "'s'", 3);
	}
}

/* At most this many bytes of T are copied: literals that are folded are not. */
static size_t bytes_needed(const struct maker *m, const struct lex_token *t)
{
	bool is_literal = t->kind == LEX_STRING || t->kind == LEX_DOLLAR || t->kind == LEX_NUMBER || t->kind == LEX_PARAM;
	return is_literal && !is_kept(m) ? ROOM : ROOM + t->len;
}

/* False: too deep. */
static bool token(struct maker *m, const struct lex *l, const struct lex_token *t)
{
	switch (t->kind) {
	case LEX_WORD:
		word(m, t);
		return true;
	case LEX_QUOTED:
	case LEX_UQUOTED:
		quoted_name(m, t);
		break;
	case LEX_OP:
		operator_run(m, t);
		break;
	case LEX_PUNCT:
		return punct(m, *t->at);
	default:
		literal(m, l, t);
		break;
	}
	m->last = WORD_OTHER;
	m->is_first = false;
	return true;
}

static bool is_foreign(struct slice text, struct sql_dialect dialect)
{
	if (memchr(text.at, 0, text.len))
		return true;
	if (dialect.unsafe_encoding)
		for (size_t i = 0; i < text.len; i++)
			if (text.at[i] >= 0x80)
				return true;
	return false;
}

static enum shape_verdict make(struct maker *m, struct lex *l)
{
	struct lex_token t;
	for (;;) {
		if (quick_token(m, l))
			continue;
		lex_next(l, &t);
		if (t.kind == LEX_END)
			break;
		if (t.kind == LEX_PUNCT && *t.at == ';' && m->depth == 0) {
			semicolon(m);
			continue;
		}
		if (m->len + bytes_needed(m, &t) > SQL_PARSE_MAX)
			return SHAPE_LONG;
		if (m->owes_semicolon)
			put_tight(m, ';');
		m->owes_semicolon = false;
		if (!token(m, l, &t))
			return SHAPE_LONG;
	}
	return l->is_broken ? SHAPE_OPAQUE : SHAPE_OK;
}

enum shape_verdict shape_make(struct shape *s, struct slice text, struct sql_dialect dialect)
{
	struct maker m; /* not zeroed: the frames are 6 kB, and list_begins() sets each before it is read */
	struct lex l;
	if (text.len == 0)
		text.at = (const uint8_t *)"";
	if (is_foreign(text, dialect))
		return SHAPE_OPAQUE;
	m.s = s;
	m.text = text.at;
	s->n_holes = 0;
	m.len = m.depth = m.deepest = m.nesting = 0;
	m.is_tight = true;
	m.owes_semicolon = false;
	m.last = WORD_OTHER;
	statement_begins(&m);
	lex_init(&l, text, dialect.backslash_quotes);
	enum shape_verdict v = make(&m, &l);
	s->len = m.len;
	s->text[m.len] = 0;
	s->nesting = m.nesting + PAREN_NESTING * m.deepest;
	return v;
}
