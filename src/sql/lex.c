/*
 * lex — SQL text to tokens; the rules are those of PostgreSQL's scanner (documentation chapter "Lexical Structure").
 *
 * Always: a token never reaches beyond the text; after LEX_END comes LEX_END again; what is unterminated sets is_broken and ends
 * the text.  Nothing here allocates.
 */
#include "lex.h"

#define RANGE(from, to, bits) [from... to] = (bits)
const uint8_t lex_class[256] = {
	[' '] = LEX_IS_SPACE | LEX_IS_GAP,
	['\t'] = LEX_IS_SPACE | LEX_IS_GAP,
	['\n'] = LEX_IS_SPACE | LEX_IS_GAP,
	['\r'] = LEX_IS_SPACE | LEX_IS_GAP,
	['\f'] = LEX_IS_SPACE | LEX_IS_GAP,
	RANGE('a', 'z', LEX_IS_START | LEX_IS_NAME),
	RANGE('A', 'Z', LEX_IS_START | LEX_IS_NAME),
	['_'] = LEX_IS_START | LEX_IS_NAME,
	RANGE(0x80, 0xff, LEX_IS_START | LEX_IS_NAME),
	RANGE('0', '9', LEX_IS_DIGIT | LEX_IS_NAME),
	['$'] = LEX_IS_NAME,
	['~'] = LEX_IS_OP,
	['!'] = LEX_IS_OP,
	['@'] = LEX_IS_OP,
	['#'] = LEX_IS_OP,
	['^'] = LEX_IS_OP,
	['&'] = LEX_IS_OP,
	['|'] = LEX_IS_OP,
	['`'] = LEX_IS_OP,
	['?'] = LEX_IS_OP,
	['+'] = LEX_IS_OP,
	['-'] = LEX_IS_OP | LEX_IS_GAP,
	['*'] = LEX_IS_OP,
	['/'] = LEX_IS_OP | LEX_IS_GAP,
	['%'] = LEX_IS_OP,
	['<'] = LEX_IS_OP,
	['>'] = LEX_IS_OP,
	['='] = LEX_IS_OP,
	[':'] = LEX_IS_OP,
	['('] = LEX_IS_TIGHT,
	[')'] = LEX_IS_TIGHT,
	['['] = LEX_IS_TIGHT,
	[']'] = LEX_IS_TIGHT,
	[','] = LEX_IS_TIGHT,
};

#define R4(c) (c), (c) + 1, (c) + 2, (c) + 3
#define R16(c) R4(c), R4((c) + 4), R4((c) + 8), R4((c) + 12)
#define LOWER_LETTERS                                                                                                            \
	'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', \
	    'z'
const uint8_t lex_lower[256] = {
	R16(0),  R16(16),  R16(32),  R16(48),  64,       LOWER_LETTERS, 91,       92,       93,       94,       95,
	R16(96), R16(112), R16(128), R16(144), R16(160), R16(176),      R16(192), R16(208), R16(224), R16(240),
};

#define NONE16 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
const uint8_t lex_name[256] = {
	NONE16,
	NONE16,
	0,
	0,
	0,
	0,
	'$',
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	'0',
	'1',
	'2',
	'3',
	'4',
	'5',
	'6',
	'7',
	'8',
	'9',
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	LOWER_LETTERS,
	0,
	0,
	0,
	0,
	'_',
	0,
	LOWER_LETTERS,
	0,
	0,
	0,
	0,
	0,
	R16(128),
	R16(144),
	R16(160),
	R16(176),
	R16(192),
	R16(208),
	R16(224),
	R16(240),
};

static bool is(uint8_t c, unsigned bits)
{
	return lex_class[c] & bits;
}

static bool starts(const struct lex *l, const uint8_t *p, uint8_t first, uint8_t second)
{
	return l->end - p >= 2 && p[0] == first && p[1] == second;
}

static const uint8_t *broken(struct lex *l)
{
	l->is_broken = true;
	return l->end;
}

/* P is behind a "--". */
static const uint8_t *line_comment(const struct lex *l, const uint8_t *p)
{
	while (p < l->end && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* P is behind the opening; they nest. */
static const uint8_t *block_comment(struct lex *l, const uint8_t *p)
{
	unsigned depth = 1;
	while (l->end - p >= 2) {
		if (starts(l, p, '/', '*')) {
			depth++;
			p += 2;
		} else if (starts(l, p, '*', '/')) {
			p += 2;
			if (--depth == 0)
				return p;
		} else {
			p++;
		}
	}
	return broken(l);
}

static const uint8_t *gap(struct lex *l, const uint8_t *p)
{
	while (p < l->end) {
		if (is(*p, LEX_IS_SPACE))
			p++;
		else if (starts(l, p, '-', '-'))
			p = line_comment(l, p + 2);
		else if (starts(l, p, '/', '*'))
			p = block_comment(l, p + 2);
		else
			break;
	}
	return p;
}

/* Behind a literal: where its continuation's quote stands, or NULL.  Only a gap with a newline and without block comments continues. */
static const uint8_t *continuation(const struct lex *l, const uint8_t *p)
{
	bool newline = false;
	while (p < l->end) {
		if (is(*p, LEX_IS_SPACE)) {
			newline |= *p == '\n' || *p == '\r';
			p++;
		} else if (starts(l, p, '-', '-')) {
			p = line_comment(l, p + 2);
		} else {
			return newline && *p == '\'' ? p : NULL;
		}
	}
	return NULL;
}

enum backslash { BACKSLASH_PLAIN, BACKSLASH_ESCAPES, BACKSLASH_REFUSED };

/* P is behind the opening QUOTE; returns the place behind the closing one. */
static const uint8_t *quoted(struct lex *l, const uint8_t *p, uint8_t quote, enum backslash backslash)
{
	for (; p < l->end; p++) {
		if (*p == quote) {
			if (!starts(l, p, quote, quote))
				return p + 1;
			p++;
		} else if (*p == '\\' && backslash != BACKSLASH_PLAIN) {
			if (backslash == BACKSLASH_REFUSED)
				return broken(l);
			p++;
		}
	}
	return broken(l);
}

/* P is at the opening quote. */
static const uint8_t *literal(struct lex *l, const uint8_t *p, enum backslash backslash)
{
	for (;;) {
		p = quoted(l, p + 1, '\'', backslash);
		const uint8_t *more = continuation(l, p);
		if (!more)
			return p;
		p = more;
	}
}

static enum backslash plain(const struct lex *l)
{
	return l->backslash_quotes ? BACKSLASH_REFUSED : BACKSLASH_PLAIN;
}

/* P is at a '$' that no digit follows.  Returns the end of the whole literal, or NULL when this opens none. */
static const uint8_t *dollar(struct lex *l, const uint8_t *p)
{
	const uint8_t *tag = p++;
	if (p < l->end && is(*p, LEX_IS_START))
		while (p < l->end && *p != '$' && is(*p, LEX_IS_NAME))
			p++;
	if (p >= l->end || *p != '$')
		return NULL;
	p++;
	size_t len = (size_t)(p - tag);
	const uint8_t *close = memmem(p, (size_t)(l->end - p), tag, len);
	return close ? close + len : broken(l);
}

/* Digits that single underscores may part, from PostgreSQL 16 on. */
static const uint8_t *digits(const struct lex *l, const uint8_t *p)
{
	while (p < l->end && (is(*p, LEX_IS_DIGIT) || (*p == '_' && l->end - p >= 2 && is(p[1], LEX_IS_DIGIT))))
		p++;
	return p;
}

static bool is_digit_of_base(uint8_t c, uint8_t base)
{
	c = lex_lower[c];
	return base == 'b'   ? c == '0' || c == '1'
	       : base == 'o' ? c >= '0' && c <= '7'
	                     : is(c, LEX_IS_DIGIT) || (c >= 'a' && c <= 'f');
}

/* At a '0': 0x1F, 0o17, 0b11, from PostgreSQL 16 on.  NULL when it is none. */
static const uint8_t *based_number(const struct lex *l, const uint8_t *p)
{
	uint8_t base = l->end - p >= 3 ? lex_lower[p[1]] : 0;
	if ((base != 'x' && base != 'o' && base != 'b') || !is_digit_of_base(p[2], base))
		return NULL;
	for (p += 2; p < l->end && (*p == '_' || is_digit_of_base(*p, base)); p++)
		;
	return p < l->end && is(*p, LEX_IS_NAME) ? NULL : p;
}

static const uint8_t *number(const struct lex *l, const uint8_t *p)
{
	const uint8_t *based = *p == '0' ? based_number(l, p) : NULL;
	if (based)
		return based;
	p = digits(l, p);
	if (p == l->end || (*p != '.' && *p != 'e' && *p != 'E'))
		return p;
	if (p < l->end && *p == '.' && !starts(l, p, '.', '.'))
		p = digits(l, p + 1);
	if (p < l->end && (*p == 'e' || *p == 'E')) {
		const uint8_t *exponent = p + 1;
		if (exponent < l->end && (*exponent == '+' || *exponent == '-'))
			exponent++;
		if (exponent < l->end && is(*exponent, LEX_IS_DIGIT))
			p = digits(l, exponent);
	}
	return p;
}

static const uint8_t *operators(const struct lex *l, const uint8_t *p)
{
	const uint8_t *from = p;
	while (p < l->end && is(*p, LEX_IS_OP) && (p == from || (!starts(l, p, '-', '-') && !starts(l, p, '/', '*'))))
		p++;
	return p;
}

/* At a letter that a quote follows (perhaps behind '&'): a literal's prefix?  NULL when it is an ordinary word. */
static const uint8_t *prefixed(struct lex *l, struct lex_token *t)
{
	const uint8_t *p = t->at;
	uint8_t c = lex_lower[*p];
	if (p[1] == '\'' && (c == 'e' || c == 'n' || c == 'b' || c == 'x')) {
		t->kind = LEX_STRING;
		t->prefix = c;
		return literal(l, p + 1, c == 'e' ? BACKSLASH_ESCAPES : c == 'n' ? plain(l) : BACKSLASH_PLAIN);
	}
	if (c != 'u' || p[1] != '&' || l->end - p < 3)
		return NULL;
	if (p[2] == '\'') {
		t->kind = LEX_USTRING;
		return literal(l, p + 2, BACKSLASH_PLAIN);
	}
	t->kind = LEX_UQUOTED;
	return p[2] == '"' ? quoted(l, p + 3, '"', BACKSLASH_PLAIN) : NULL;
}

static const uint8_t *word(struct lex *l, struct lex_token *t)
{
	const uint8_t *p = t->at;
	if (l->end - p >= 2 && (p[1] == '\'' || p[1] == '&')) {
		const uint8_t *end = prefixed(l, t);
		if (end)
			return end;
	}
	t->kind = LEX_WORD;
	for (const uint8_t *end = l->end; p < end && is(*p, LEX_IS_NAME); p++)
		;
	return p;
}

static const uint8_t *dollar_or_param(struct lex *l, struct lex_token *t)
{
	if (l->end - t->at >= 2 && is(t->at[1], LEX_IS_DIGIT)) {
		const uint8_t *p = t->at + 1;
		t->kind = LEX_PARAM;
		while (p < l->end && is(*p, LEX_IS_DIGIT))
			p++;
		return p;
	}
	t->kind = LEX_DOLLAR;
	const uint8_t *p = dollar(l, t->at);
	if (p)
		return p;
	t->kind = LEX_PUNCT;
	return t->at + 1;
}

static const uint8_t *other(struct lex *l, struct lex_token *t)
{
	const uint8_t *p = t->at;
	switch (*p) {
	case '\'':
		t->kind = LEX_STRING;
		return literal(l, p, plain(l));
	case '"':
		t->kind = LEX_QUOTED;
		return quoted(l, p + 1, '"', BACKSLASH_PLAIN);
	case '$':
		return dollar_or_param(l, t);
	case '.':
		if (l->end - p >= 2 && is(p[1], LEX_IS_DIGIT)) {
			t->kind = LEX_NUMBER;
			return number(l, p);
		}
		break;
	}
	t->kind = LEX_PUNCT;
	return p + 1;
}

void lex_init(struct lex *l, struct slice text, bool backslash_quotes)
{
	const uint8_t *at = text.len ? text.at : (const uint8_t *)"";
	*l = (struct lex){ .at = at, .end = at + text.len, .backslash_quotes = backslash_quotes };
}

void lex_next(struct lex *l, struct lex_token *t)
{
	const uint8_t *p = l->at;
	if (p < l->end && *p == ' ')
		p++;
	if (p < l->end && is(*p, LEX_IS_GAP)) /* more space, or what may open a comment */
		p = gap(l, p);
	t->at = p;
	t->prefix = 0;
	t->kind = LEX_END;
	if (p < l->end) {
		unsigned class = lex_class[*p];
		if (class & LEX_IS_START) {
			p = word(l, t);
		} else if (class & LEX_IS_DIGIT) {
			t->kind = LEX_NUMBER;
			p = number(l, p);
		} else if (class & LEX_IS_OP) {
			t->kind = LEX_OP;
			p = operators(l, p);
		} else {
			p = other(l, t);
		}
	}
	if (l->is_broken)
		t->kind = LEX_END;
	t->len = (uint32_t)(p - t->at);
	l->at = p;
}

unsigned lex_count_operators(const uint8_t *run, size_t len)
{
	unsigned n = 1;
	if (len == 1)
		return n;
	for (size_t i = 0; i < len; i++) {
		if (strchr("~!@#^&|`?%", run[i]))
			return 1;
		n += i > 0 && (run[i] == '+' || run[i] == '-');
	}
	return n;
}
