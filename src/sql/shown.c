/*
 * shown — a shape as people are shown it: constants are '?', and what SET would set is, too.
 *
 *   select a from t where id = 1 and b = 's'     becomes     select a from t where id = ? and b = ?
 *
 * Always: no constant of the text is in it, and no value that a setting gets; it is UTF-8, and no longer than SQL_SHOWN_MAX bytes.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "lex.h"
#include "priv.h"

#define CUT "…"

struct shower {
	char text[SQL_SHOWN_MAX + 1];
	size_t len;
	bool is_full;
};

/* Bytes of the character that S begins with; 0: it is none. */
static size_t character(struct slice s)
{
	uint8_t first = s.at[0];
	size_t n = first < 0x80                    ? 1
	           : first >= 0xc2 && first < 0xe0 ? 2
	           : first >= 0xe0 && first < 0xf0 ? 3
	           : first >= 0xf0 && first < 0xf5 ? 4
	                                           : 0;
	if (n > s.len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s.at[i] & 0xc0) != 0x80)
			return 0;
	bool is_wrong = (first == 0xe0 && s.at[1] < 0xa0) || (first == 0xed && s.at[1] > 0x9f) || (first == 0xf0 && s.at[1] < 0x90) ||
	                (first == 0xf4 && s.at[1] > 0x8f);
	return is_wrong ? 0 : n;
}

static void put(struct shower *to, struct slice bytes)
{
	if (to->is_full || to->len + bytes.len > SQL_SHOWN_MAX - strlen(CUT)) {
		if (!to->is_full)
			to->len += strlen(strcpy(to->text + to->len, CUT));
		to->is_full = true;
		return;
	}
	memcpy(to->text + to->len, bytes.at, bytes.len);
	to->len += bytes.len;
}

/* What is no UTF-8 is not told. */
static void put_clean(struct shower *to, struct slice s)
{
	while (s.len && !to->is_full) {
		size_t n = character(s);
		put(to, n && s.at[0] >= ' ' ? slice_of(s.at, n) : slice_text("?"));
		s = slice_skip(s, n ? n : 1);
	}
}

static bool is_word(const struct lex_token *t, const char *word)
{
	return t->kind == LEX_WORD && t->len == strlen(word) && strncasecmp((const char *)t->at, word, t->len) == 0;
}

static bool is_constant(const struct lex_token *t)
{
	return t->kind == LEX_STRING || t->kind == LEX_USTRING || t->kind == LEX_DOLLAR || t->kind == LEX_NUMBER;
}

/* Behind SET, which may stand in ALTER ROLE, DATABASE and SYSTEM, values need no quotes: SET a.secret = xyz. */
struct reading {
	unsigned words; /* of this statement so far */
	bool alters, sets, is_value;
};

/* What ALTER, and sometimes CREATE, gives settings of its own. */
static bool has_settings(const struct lex_token *t)
{
	static const char *const kinds[] = { "role", "user", "database", "system", "function", "procedure", "routine", "or" };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (is_word(t, kinds[i]))
			return true;
	return false;
}

static void read_on(struct reading *r, const struct lex_token *t)
{
	if (t->kind == LEX_PUNCT && *t->at == ';') {
		*r = (struct reading){ 0 };
		return;
	}
	if (r->words == 0)
		r->alters = is_word(t, "alter") || is_word(t, "create");
	else if (r->words == 1)
		r->alters &= has_settings(t);
	if (is_word(t, "set") && (r->words == 0 || r->alters)) {
		r->sets = true;
		r->is_value = false;
	}
	r->words++;
}

static bool is_secret(struct reading *r, const struct lex_token *t)
{
	bool is_name = t->kind == LEX_WORD || t->kind == LEX_QUOTED || t->kind == LEX_UQUOTED;
	return is_constant(t) || (r->is_value && is_name);
}

static bool begins_value(const struct reading *r, const struct lex_token *t)
{
	return r->sets && (is_word(t, "to") || (t->kind == LEX_OP && t->len == 1 && *t->at == '='));
}

char *shape_shown(const struct shape *s)
{
	struct shower out = { 0 };
	struct reading r = { 0 };
	struct lex l;
	struct lex_token t;
	const uint8_t *from = s->text;
	lex_init(&l, slice_of(s->text, s->len), false);
	for (lex_next(&l, &t); t.kind != LEX_END && !out.is_full; lex_next(&l, &t)) {
		read_on(&r, &t);
		put_clean(&out, slice_of(from, (size_t)(t.at - from)));
		if (is_secret(&r, &t))
			put(&out, slice_text("?"));
		else
			put_clean(&out, slice_of(t.at, t.len));
		r.is_value |= begins_value(&r, &t);
		from = t.at + t.len;
	}
	if (l.is_broken)
		put(&out, slice_text(CUT));
	return mem_textn(out.text, out.len);
}
