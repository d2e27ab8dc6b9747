/*
 * scan — words outside of literals and comments, from a text that arrives in pieces of any size.
 *
 * One mode per place in the text, one function per mode; a mode's function takes bytes until the mode changes.
 *
 *   GAP  -> WORD, NUMBER, STRING, ESTRING, NAME ("…"), DOLLAR -> TAG -> BODY, MINUS -> LINE, SLASH -> BLOCK;  each back to GAP
 *   …_END: a quote was seen that may be the first of two.   A word of one letter in front of a quote turns into that literal.
 *
 * Always: `is_bad` is for good; what follows it is not read with care.  The verdict does not depend on how the text was cut.
 */
#include "scan.h"

#include "base/compiler.h"
#include "builtins.h"
#include "lex.h"

enum mode {
	GAP,
	WORD,
	NUMBER,
	STRING,
	STRING_END,
	ESTRING,
	ESTRING_BACKSLASH,
	ESTRING_END,
	NAME,
	NAME_END,
	U_AMPERSAND,
	DOLLAR,
	TAG,
	BODY,
	BODY_DOLLAR,
	MINUS,
	SLASH,
	LINE,
	BLOCK,
	BLOCK_STAR,
	BLOCK_SLASH,
};

enum first { FIRST_WANTED, FIRST_NONE, FIRST_IS };

struct state {
	uint32_t depth; /* of comments */
	uint8_t mode, first, kind;
	uint8_t word_len, tag_len, tag_at;
	bool is_bad, backslash_quotes, unsafe_encoding;
	bool saw_token, saw_semicolon, saw_newline;
	bool is_behind_estring; /* a quote after a newline continues it */
	bool is_ddl, is_alter;
	uint8_t word[40]; /* longest name of interest: 36 */
	uint8_t tag[32];
};
_Static_assert(sizeof(struct state) <= sizeof((struct sql_scan *)0)->state, "struct sql_scan is too small");

typedef const uint8_t *(*mode_fn)(struct state *s, const uint8_t *p, const uint8_t *end);

struct first_word {
	const char *word;
	enum sql_kind kind;
	bool is_ddl;
};
static const struct first_word first_words[] = {
	{ "select", SQL_SELECT, false }, { "insert", SQL_INSERT, false }, { "update", SQL_UPDATE, false },
	{ "delete", SQL_DELETE, false }, { "merge", SQL_MERGE, false },   { "with", SQL_SELECT, false },
	{ "values", SQL_SELECT, false }, { "copy", SQL_OTHER, false },    { "create", SQL_OTHER, true },
	{ "alter", SQL_OTHER, true },    { "drop", SQL_OTHER, true },     { "grant", SQL_OTHER, true },
	{ "revoke", SQL_OTHER, true },   { "comment", SQL_OTHER, true },  { "security", SQL_OTHER, true },
	{ "vacuum", SQL_OTHER, true },   { "analyze", SQL_OTHER, true },  { "reindex", SQL_OTHER, true },
	{ "refresh", SQL_OTHER, true },  { "truncate", SQL_OTHER, true },
};

static bool is(uint8_t c, unsigned bits)
{
	return lex_class[c] & bits;
}

static const uint8_t *go(struct state *s, enum mode mode, const uint8_t *p)
{
	s->mode = (uint8_t)mode;
	return p;
}

static void note_token(struct state *s)
{
	s->is_bad |= s->saw_semicolon;
	s->saw_token = true;
	s->is_behind_estring = s->saw_newline = false;
}

/* A token that no statement of interest begins with. */
static void note_no_word(struct state *s)
{
	note_token(s);
	if (s->first == FIRST_WANTED)
		s->first = FIRST_NONE;
}

static void keep(struct state *s, uint8_t c)
{
	if (s->word_len < sizeof s->word)
		s->word[s->word_len++] = c;
}

static struct slice kept(const struct state *s)
{
	return slice_of(s->word, s->word_len);
}

static void note_first_word(struct state *s)
{
	s->first = FIRST_NONE;
	for (size_t i = 0; i < ARRAY_LEN(first_words); i++) {
		const struct first_word *f = &first_words[i];
		if (!slice_equal(kept(s), slice_text(f->word)))
			continue;
		s->first = FIRST_IS;
		s->kind = (uint8_t)f->kind;
		s->is_ddl = f->is_ddl;
		s->is_alter = slice_equal(kept(s), slice_text("alter"));
	}
}

static void word_ends(struct state *s)
{
	if (s->first == FIRST_WANTED)
		note_first_word(s);
	s->is_bad |= builtin_is_suspicious(kept(s));
}

static void punct(struct state *s, uint8_t c)
{
	if (c == ';') {
		s->saw_semicolon = s->saw_token;
		return;
	}
	note_token(s);
	if (s->first == FIRST_WANTED && c != '(')
		s->first = FIRST_NONE;
}

static const uint8_t *gap(struct state *s, const uint8_t *p, const uint8_t *end)
{
	uint8_t c = *p;
	if (is(c, LEX_IS_SPACE)) {
		s->saw_newline |= c == '\n' || c == '\r';
		return p + 1;
	}
	if (c == '-')
		return go(s, MINUS, p + 1);
	if (c == '/')
		return go(s, SLASH, p + 1);
	if (c == '\'') {
		bool more = s->is_behind_estring && s->saw_newline;
		note_no_word(s);
		return go(s, more ? ESTRING : STRING, p + 1);
	}
	s->word_len = 0;
	if (is(c, LEX_IS_START)) {
		note_token(s);
		return go(s, WORD, p);
	}
	if (c == '"' || c == '$' || is(c, LEX_IS_DIGIT)) {
		note_no_word(s);
		return go(s, c == '"' ? NAME : c == '$' ? DOLLAR : NUMBER, p + 1);
	}
	punct(s, c);
	return p + 1;
}

/* The letter in front of this quote or '&' makes it something else than a word. */
static bool is_prefix(const struct state *s, const char *letters)
{
	return s->word_len == 1 && strchr(letters, s->word[0]);
}

static const uint8_t *word(struct state *s, const uint8_t *p, const uint8_t *end)
{
	for (; p < end; p++) {
		if (is(*p, LEX_IS_NAME)) {
			keep(s, lex_lower[*p]);
			continue;
		}
		if (*p == '&' && is_prefix(s, "u"))
			return go(s, U_AMPERSAND, p + 1);
		if (*p == '\'' && is_prefix(s, "ebnx")) {
			note_no_word(s);
			return go(s, s->word[0] == 'e' ? ESTRING : STRING, p + 1);
		}
		word_ends(s);
		return go(s, GAP, p);
	}
	return p;
}

static const uint8_t *u_ampersand(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '\'') {
		note_no_word(s);
		return go(s, STRING, p + 1);
	}
	s->is_bad |= *p == '"'; /* a name written in escapes could be any name */
	word_ends(s);
	return go(s, GAP, p);
}

static const uint8_t *number(struct state *s, const uint8_t *p, const uint8_t *end)
{
	while (p < end && is(*p, LEX_IS_DIGIT))
		p++;
	return p < end ? go(s, GAP, p) : p;
}

static const uint8_t *string(struct state *s, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *quote = memchr(p, '\'', (size_t)(end - p));
	const uint8_t *to = quote ? quote : end;
	if (s->backslash_quotes && memchr(p, '\\', (size_t)(to - p)))
		s->is_bad = true;
	return quote ? go(s, STRING_END, quote + 1) : end;
}

static const uint8_t *string_end(struct state *s, const uint8_t *p, const uint8_t *end)
{
	return *p == '\'' ? go(s, STRING, p + 1) : go(s, GAP, p);
}

static const uint8_t *estring(struct state *s, const uint8_t *p, const uint8_t *end)
{
	for (; p < end; p++) {
		if (*p == '\'')
			return go(s, ESTRING_END, p + 1);
		if (*p == '\\')
			return go(s, ESTRING_BACKSLASH, p + 1);
	}
	return p;
}

static const uint8_t *estring_backslash(struct state *s, const uint8_t *p, const uint8_t *end)
{
	return go(s, ESTRING, p + 1);
}

static const uint8_t *estring_end(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '\'')
		return go(s, ESTRING, p + 1);
	s->is_behind_estring = true;
	s->saw_newline = false;
	return go(s, GAP, p);
}

static const uint8_t *name(struct state *s, const uint8_t *p, const uint8_t *end)
{
	for (; p < end && *p != '"'; p++)
		keep(s, *p);
	return p < end ? go(s, NAME_END, p + 1) : p;
}

static const uint8_t *name_end(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '"') {
		keep(s, '"');
		return go(s, NAME, p + 1);
	}
	word_ends(s);
	return go(s, GAP, p);
}

static const uint8_t *dollar(struct state *s, const uint8_t *p, const uint8_t *end)
{
	s->tag_len = 0;
	if (is(*p, LEX_IS_DIGIT))
		return go(s, NUMBER, p);
	s->is_bad |= *p != '$' && !is(*p, LEX_IS_START);
	return go(s, TAG, p);
}

static const uint8_t *tag(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '$')
		return go(s, BODY, p + 1);
	/* '$' in front of a word is no SQL; a tag that long has not been seen. */
	if (!is(*p, LEX_IS_NAME) || s->tag_len == sizeof s->tag) {
		s->is_bad = true;
		return go(s, GAP, p);
	}
	s->tag[s->tag_len++] = *p;
	return p + 1;
}

static const uint8_t *body(struct state *s, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *at = memchr(p, '$', (size_t)(end - p));
	s->tag_at = 0;
	return at ? go(s, BODY_DOLLAR, at + 1) : end;
}

static const uint8_t *body_dollar(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '$') {
		if (s->tag_at == s->tag_len)
			return go(s, GAP, p + 1);
		s->tag_at = 0; /* this one may open the closing tag */
		return p + 1;
	}
	if (s->tag_at == s->tag_len || *p != s->tag[s->tag_at])
		return go(s, BODY, p);
	s->tag_at++;
	return p + 1;
}

static const uint8_t *minus(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '-')
		return go(s, LINE, p + 1);
	note_no_word(s);
	return go(s, GAP, p);
}

static const uint8_t *slash(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p != '*') {
		note_no_word(s);
		return go(s, GAP, p);
	}
	s->is_behind_estring = false;
	s->depth = 1;
	return go(s, BLOCK, p + 1);
}

static const uint8_t *line(struct state *s, const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p < end ? go(s, GAP, p) : p;
}

static const uint8_t *block(struct state *s, const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p != '*' && *p != '/')
		p++;
	return p < end ? go(s, *p == '*' ? BLOCK_STAR : BLOCK_SLASH, p + 1) : p;
}

static const uint8_t *block_star(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '*')
		return p + 1;
	if (*p != '/')
		return go(s, BLOCK, p);
	return go(s, --s->depth == 0 ? GAP : BLOCK, p + 1);
}

static const uint8_t *block_slash(struct state *s, const uint8_t *p, const uint8_t *end)
{
	if (*p == '/')
		return p + 1;
	if (*p != '*')
		return go(s, BLOCK, p);
	s->depth++;
	return go(s, BLOCK, p + 1);
}

static const mode_fn modes[] = {
	[GAP] = gap,
	[WORD] = word,
	[NUMBER] = number,
	[STRING] = string,
	[STRING_END] = string_end,
	[ESTRING] = estring,
	[ESTRING_BACKSLASH] = estring_backslash,
	[ESTRING_END] = estring_end,
	[NAME] = name,
	[NAME_END] = name_end,
	[U_AMPERSAND] = u_ampersand,
	[DOLLAR] = dollar,
	[TAG] = tag,
	[BODY] = body,
	[BODY_DOLLAR] = body_dollar,
	[MINUS] = minus,
	[SLASH] = slash,
	[LINE] = line,
	[BLOCK] = block,
	[BLOCK_STAR] = block_star,
	[BLOCK_SLASH] = block_slash,
};

static bool is_foreign(const struct state *s, struct slice piece)
{
	for (size_t i = 0; i < piece.len; i++)
		if (piece.at[i] == 0 || (s->unsafe_encoding && piece.at[i] >= 0x80))
			return true;
	return false;
}

static void feed(struct state *s, struct slice piece)
{
	const uint8_t *p = piece.at, *end = p + piece.len;
	if (is_foreign(s, piece))
		s->is_bad = true;
	while (p < end && !s->is_bad)
		p = modes[s->mode](s, p, end);
}

/* As if the text ended here: a space ends every token, and leaves every literal and comment open. */
static struct state at_end(const struct sql_scan *scan)
{
	struct state s;
	memcpy(&s, scan->state, sizeof s);
	feed(&s, slice_text("\n"));
	s.is_bad |= s.mode != GAP;
	return s;
}

void sql_scan_init(struct sql_scan *scan, struct sql_dialect dialect)
{
	struct state s = { .backslash_quotes = dialect.backslash_quotes, .unsafe_encoding = dialect.unsafe_encoding };
	memcpy(scan->state, &s, sizeof s);
}

void sql_scan_feed(struct sql_scan *scan, struct slice piece)
{
	struct state s;
	memcpy(&s, scan->state, sizeof s);
	feed(&s, piece);
	memcpy(scan->state, &s, sizeof s);
}

bool sql_scan_is_harmless(const struct sql_scan *scan)
{
	struct state s = at_end(scan);
	return !s.is_bad && s.first == FIRST_IS && !s.is_ddl;
}

struct scan_verdict scan_judge(const struct sql_scan *scan)
{
	struct state s = at_end(scan);
	if (s.is_bad || s.first != FIRST_IS)
		return (struct scan_verdict){ .kind = SQL_OPAQUE, .effects = SQL_WRITES | SQL_NO_PIPELINE };
	uint32_t effects = SQL_WRITES;
	if (s.is_ddl)
		effects |= SQL_DDL | SQL_NO_PIPELINE;
	if (s.is_alter)
		effects |= SQL_ALTERS_DEFAULTS;
	return (struct scan_verdict){ .kind = (enum sql_kind)s.kind, .effects = effects };
}
