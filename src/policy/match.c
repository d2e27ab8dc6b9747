/*
 * match — compiling and matching Lua's patterns.
 *
 * Each item of a pattern becomes a set of characters with a way to repeat it, or a mark.  match_from() goes along the items; where there is a choice
 * it tries the rest from there and comes back, so it nests as deep as a pattern has items, and never deeper.
 *
 * Always: every try costs a step; when the steps are used up, everything fails and is_over is set.
 */
#include "match.h"

#include <ctype.h>
#include <string.h>

/* ---- sets ------------------------------------------------------------------------------------------------------------------------- */

static void set_add(struct match_set *s, unsigned char c)
{
	s->bits[c / 64] |= UINT64_C(1) << (c % 64);
}

static bool set_has(const struct match_set *s, unsigned char c)
{
	return s->bits[c / 64] >> (c % 64) & 1;
}

static void set_add_range(struct match_set *s, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		set_add(s, (unsigned char)c);
}

static void set_flip(struct match_set *s)
{
	for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
		s->bits[i] = ~s->bits[i];
}

static void set_add_set(struct match_set *s, const struct match_set *other)
{
	for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
		s->bits[i] |= other->bits[i];
}

/* %a and kin, of ASCII whatever the locale; another letter stands for itself. */
static struct match_set class_of(unsigned char letter)
{
	struct match_set s = { { 0 } };
	unsigned char c = (unsigned char)tolower(letter);
	bool is_letter = c == 'a', is_word = c == 'w';
	if (is_letter || is_word || c == 'u')
		set_add_range(&s, 'A', 'Z');
	if (is_letter || is_word || c == 'l')
		set_add_range(&s, 'a', 'z');
	if (is_word || c == 'd' || c == 'x')
		set_add_range(&s, '0', '9');
	switch (c) {
	case 'a':
	case 'd':
	case 'l':
	case 'u':
	case 'w':
		break;
	case 'x':
		set_add_range(&s, 'a', 'f');
		set_add_range(&s, 'A', 'F');
		break;
	case 's':
		set_add_range(&s, '\t', '\r');
		set_add(&s, ' ');
		break;
	case 'c':
		set_add_range(&s, 0, 31);
		set_add(&s, 127);
		break;
	case 'p':
		set_add_range(&s, '!', '/');
		set_add_range(&s, ':', '@');
		set_add_range(&s, '[', '`');
		set_add_range(&s, '{', '~');
		break;
	case 'g':
		set_add_range(&s, '!', '~');
		break;
	case 'z':
		set_add(&s, 0);
		break;
	default:
		set_add(&s, letter);
		return s;
	}
	if (isupper(letter))
		set_flip(&s);
	return s;
}

/* ---- compiling -------------------------------------------------------------------------------------------------------------------- */

struct compiling {
	struct pattern *p;
	const char *at, *end;
	unsigned open[MATCH_CAPTURES_MAX], n_open;
	bool is_closed[MATCH_CAPTURES_MAX];
};

static unsigned char take(struct compiling *c)
{
	return (unsigned char)*c->at++;
}

/* The ']' of the set that begins at FROM, which may be its first character; NULL: there is none.  What a '%' stands in front of does not end
 * it, even where the '%' itself turns out to be the end of a range (Lua 5.1, lstrlib.c: classend). */
static const char *set_end(const struct compiling *c, const char *from)
{
	const char *at = from;
	do {
		if (at == c->end)
			return NULL;
		if (*at++ == '%' && at < c->end)
			at++;
	} while (at == c->end || *at != ']');
	return at;
}

/* Behind "[".  As Lua reads it (matchbracketclass), the ']' included that a '%' in front of it stands for when that ended a range. */
static const char *compile_set(struct compiling *c, struct match_set *out)
{
	bool is_negated = c->at < c->end && *c->at == '^';
	const char *from = c->at + is_negated, *end = set_end(c, from);
	if (!end)
		return "malformed pattern (missing ']')";
	for (const char *at = from; at < end; at++) {
		if (*at == '%') {
			struct match_set class = class_of((unsigned char)*++at);
			set_add_set(out, &class);
		} else if (at[1] == '-' && at + 2 < end) {
			at += 2;
			set_add_range(out, (unsigned char)at[-2], (unsigned char)*at);
		} else {
			set_add(out, (unsigned char)*at);
		}
	}
	c->at = end + 1;
	if (is_negated)
		set_flip(out);
	return NULL;
}

static unsigned add(struct compiling *c, enum match_item is)
{
	c->p->items[c->p->n].is = is;
	return c->p->n++;
}

/* Behind what matches one character: how often? */
static void compile_repeat(struct compiling *c, unsigned item)
{
	switch (c->at < c->end ? *c->at : '\0') {
	case '?':
		c->p->items[item].is = MATCH_MAYBE;
		break;
	case '*':
		c->p->items[item].is = MATCH_MANY;
		break;
	case '+':
		c->p->items[item].is = MATCH_MANY;
		c->p->items[item].least = 1;
		break;
	case '-':
		c->p->items[item].is = MATCH_FEW;
		break;
	default:
		return;
	}
	c->at++;
}

static const char *compile_frontier(struct compiling *c)
{
	if (c->at == c->end || *c->at != '[')
		return "missing '[' after '%f' in pattern";
	c->at++;
	unsigned i = add(c, MATCH_FRONTIER);
	return compile_set(c, &c->p->items[i].set);
}

static const char *compile_balanced(struct compiling *c)
{
	if (c->end - c->at < 2)
		return "malformed pattern (missing arguments to '%b')";
	unsigned i = add(c, MATCH_BALANCED);
	c->p->items[i].from = take(c);
	c->p->items[i].to = take(c);
	return NULL;
}

static const char *compile_again(struct compiling *c, unsigned number)
{
	if (number >= c->p->n_captures || !c->is_closed[number])
		return "invalid capture index in pattern";
	unsigned i = add(c, MATCH_AGAIN);
	c->p->items[i].number = (unsigned char)number;
	return NULL;
}

/* Behind "%". */
static const char *compile_escape(struct compiling *c)
{
	if (c->at == c->end)
		return "malformed pattern (ends with '%')";
	unsigned char letter = take(c);
	if (letter == 'b')
		return compile_balanced(c);
	if (letter == 'f')
		return compile_frontier(c);
	if (isdigit(letter))
		return letter == '0' ? "invalid capture index in pattern" : compile_again(c, letter - '1');
	unsigned i = add(c, MATCH_CHARS);
	c->p->items[i].set = class_of(letter);
	compile_repeat(c, i);
	return NULL;
}

static const char *compile_open(struct compiling *c)
{
	if (c->p->n_captures == MATCH_CAPTURES_MAX)
		return "too many captures";
	unsigned number = c->p->n_captures++;
	bool is_place = c->at < c->end && *c->at == ')';
	unsigned i = add(c, is_place ? MATCH_PLACE : MATCH_OPEN);
	c->p->items[i].number = (unsigned char)number;
	if (is_place)
		c->at++;
	else
		c->open[c->n_open++] = number;
	return NULL;
}

static const char *compile_close(struct compiling *c)
{
	if (c->n_open == 0)
		return "invalid pattern capture";
	unsigned i = add(c, MATCH_CLOSE), number = c->open[--c->n_open];
	c->p->items[i].number = (unsigned char)number;
	c->is_closed[number] = true;
	return NULL;
}

static const char *compile_single(struct compiling *c, unsigned char letter)
{
	const char *wrong = NULL;
	unsigned i = add(c, MATCH_CHARS);
	if (letter == '.')
		set_add_range(&c->p->items[i].set, 0, 255);
	else if (letter == '[')
		wrong = compile_set(c, &c->p->items[i].set);
	else
		set_add(&c->p->items[i].set, letter);
	compile_repeat(c, i);
	return wrong;
}

static const char *compile_item(struct compiling *c)
{
	unsigned char letter = take(c);
	switch (letter) {
	case '(':
		return compile_open(c);
	case ')':
		return compile_close(c);
	case '%':
		return compile_escape(c);
	case '$':
		if (c->at < c->end)
			break;
		add(c, MATCH_END);
		return NULL;
	}
	return compile_single(c, letter);
}

const char *pattern_compile(struct pattern *p, const char *text, size_t len, bool may_anchor)
{
	struct compiling c = { .p = p, .at = text, .end = text + len };
	const char *wrong = NULL;
	p->is_anchored = may_anchor && len > 0 && *text == '^';
	p->n = p->n_captures = 0;
	c.at += p->is_anchored;
	while (!wrong && c.at < c.end) {
		if (p->n == MATCH_ITEMS_MAX)
			return "pattern too complex";
		memset(&p->items[p->n], 0, sizeof p->items[0]);
		wrong = compile_item(&c);
	}
	return wrong ? wrong : c.n_open ? "unfinished capture" : NULL;
}

/* ---- matching ----------------------------------------------------------------------------------------------------------------------- */

static bool spend(struct match *m, size_t steps)
{
	if (steps > m->steps_left)
		m->is_over = true;
	m->steps_left -= m->is_over ? m->steps_left : (uint32_t)steps;
	return !m->is_over;
}

static bool is_one(const struct match *m, unsigned item, size_t at)
{
	return at < m->len && set_has(&m->pattern->items[item].set, (unsigned char)m->text[at]);
}

static size_t match_from(struct match *m, unsigned item, size_t at);

static size_t match_many(struct match *m, unsigned item, size_t at)
{
	size_t n = 0, least = m->pattern->items[item].least;
	while (is_one(m, item, at + n))
		n++;
	if (!spend(m, n / 4))
		return MATCH_NONE;
	for (;; n--) {
		if (n < least)
			return MATCH_NONE;
		size_t end = match_from(m, item + 1, at + n);
		if (end != MATCH_NONE || n == 0 || m->is_over)
			return end;
	}
}

static size_t match_few(struct match *m, unsigned item, size_t at)
{
	for (;; at++) {
		size_t end = match_from(m, item + 1, at);
		if (end != MATCH_NONE || m->is_over || !is_one(m, item, at))
			return end;
	}
}

static size_t match_maybe(struct match *m, unsigned item, size_t at)
{
	size_t end = is_one(m, item, at) ? match_from(m, item + 1, at + 1) : MATCH_NONE;
	return end != MATCH_NONE ? end : match_from(m, item + 1, at);
}

/* Where the balanced text ends; MATCH_NONE. */
static size_t skip_balanced(struct match *m, unsigned item, size_t at)
{
	unsigned char from = m->pattern->items[item].from, to = m->pattern->items[item].to;
	size_t depth = 1, start = at;
	if (at >= m->len || (unsigned char)m->text[at] != from)
		return MATCH_NONE;
	while (depth > 0 && ++at < m->len) {
		unsigned char c = (unsigned char)m->text[at];
		depth -= c == to;
		depth += c == from && c != to;
	}
	return spend(m, (at - start) / 4) && depth == 0 ? at + 1 : MATCH_NONE;
}

static bool is_frontier(const struct match *m, unsigned item, size_t at)
{
	const struct match_set *s = &m->pattern->items[item].set;
	unsigned char before = at > 0 ? (unsigned char)m->text[at - 1] : 0, here = at < m->len ? (unsigned char)m->text[at] : 0;
	return !set_has(s, before) && set_has(s, here);
}

static size_t skip_again(struct match *m, unsigned item, size_t at)
{
	size_t from = m->captures[m->pattern->items[item].number].at, len = m->captures[m->pattern->items[item].number].len;
	if (m->captures[m->pattern->items[item].number].is_place || !spend(m, len / 16) || m->len - at < len)
		return MATCH_NONE;
	return memcmp(m->text + from, m->text + at, len) == 0 ? at + len : MATCH_NONE;
}

/* Captures are set on the way and put right by whoever tries again. */
static size_t match_capture(struct match *m, unsigned item, size_t at)
{
	unsigned number = m->pattern->items[item].number;
	size_t was_at = m->captures[number].at, was_len = m->captures[number].len;
	if (m->pattern->items[item].is == MATCH_CLOSE) {
		m->captures[number].len = at - m->captures[number].at;
	} else {
		m->captures[number].at = at;
		m->captures[number].is_place = m->pattern->items[item].is == MATCH_PLACE;
	}
	size_t end = match_from(m, item + 1, at);
	if (end == MATCH_NONE) {
		m->captures[number].at = was_at;
		m->captures[number].len = was_len;
	}
	return end;
}

static size_t match_from(struct match *m, unsigned item, size_t at)
{
	for (; item < m->pattern->n; item++) {
		if (!spend(m, 1))
			return MATCH_NONE;
		switch (m->pattern->items[item].is) {
		case MATCH_CHARS:
			if (!is_one(m, item, at++))
				return MATCH_NONE;
			break;
		case MATCH_MAYBE:
			return match_maybe(m, item, at);
		case MATCH_MANY:
			return match_many(m, item, at);
		case MATCH_FEW:
			return match_few(m, item, at);
		case MATCH_BALANCED:
			at = skip_balanced(m, item, at);
			break;
		case MATCH_AGAIN:
			at = skip_again(m, item, at);
			break;
		case MATCH_FRONTIER:
			if (!is_frontier(m, item, at))
				return MATCH_NONE;
			break;
		case MATCH_OPEN:
		case MATCH_PLACE:
		case MATCH_CLOSE:
			return match_capture(m, item, at);
		case MATCH_END:
			if (at != m->len)
				return MATCH_NONE;
			break;
		}
		if (at == MATCH_NONE)
			return MATCH_NONE;
	}
	return at;
}

size_t match_at(struct match *m, size_t at)
{
	return spend(m, 1) ? match_from(m, 0, at) : MATCH_NONE;
}
