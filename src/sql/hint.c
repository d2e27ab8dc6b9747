/*
 * hint — reads the comments in front of a statement.
 *
 *   hint    = "lunapool:" pair { [","] pair }        pair = word "=" word
 *
 * Comments nest, as PostgreSQL's do.  A pair that is not known is passed over, and what is no pair ends the hint; the first such thing is
 * told, since somebody has meant something by it.  Of two pairs with one name the last one counts.
 */
#include "sql/hint.h"

#include <strings.h>

#include "lex.h"

static void skip_space(struct slice *s)
{
	while (s->len && (lex_class[*s->at] & LEX_IS_SPACE))
		*s = slice_skip(*s, 1);
}

static bool begins(struct slice s, const char *text)
{
	size_t len = strlen(text);
	return s.len >= len && strncasecmp((const char *)s.at, text, len) == 0;
}

static bool is_word(struct slice s, const char *word)
{
	return s.len == strlen(word) && begins(s, word);
}

static struct slice trimmed(struct slice s)
{
	skip_space(&s);
	while (s.len && (lex_class[s.at[s.len - 1]] & LEX_IS_SPACE))
		s.len--;
	return s;
}

/* How far the comment at the beginning of S goes; 0: it is unterminated, or none. */
static size_t block_length(struct slice s)
{
	unsigned depth = 0;
	for (size_t i = 0; i + 1 < s.len; i++) {
		bool opens = s.at[i] == '/' && s.at[i + 1] == '*', closes = s.at[i] == '*' && s.at[i + 1] == '/';
		if (!opens && !closes)
			continue;
		depth += opens;
		depth -= closes;
		i++;
		if (depth == 0)
			return i + 1;
	}
	return 0;
}

static size_t line_length(struct slice s)
{
	size_t n = 0;
	while (n < s.len && s.at[n] != '\n' && s.at[n] != '\r')
		n++;
	return n;
}

/* Takes a word off S; empty when there is none. */
static struct slice take_word(struct slice *s)
{
	size_t n = 0;
	skip_space(s);
	while (n < s->len && !(lex_class[s->at[n]] & LEX_IS_SPACE) && s->at[n] != ',' && s->at[n] != '=')
		n++;
	struct slice word = slice_of(s->at, n);
	*s = slice_skip(*s, n);
	skip_space(s);
	return word;
}

static void note_strange(struct sql_hint *h, struct slice what)
{
	if (!h->strange.len)
		h->strange = what;
}

static void note_pair(struct sql_hint *h, struct slice name, struct slice value)
{
	if (is_word(name, "route"))
		h->route = value;
	else if (is_word(name, "node"))
		h->node = value;
	else if (is_word(name, "class"))
		h->class = value;
	else
		note_strange(h, name);
}

static void read_pairs(struct sql_hint *h, struct slice s)
{
	for (skip_space(&s); s.len; skip_space(&s)) {
		struct slice whole = s, name = take_word(&s), value = { NULL, 0 };
		if (s.len && *s.at == '=') {
			s = slice_skip(s, 1);
			value = take_word(&s);
		}
		if (!name.len || !value.len) {
			note_strange(h, name.len ? name : whole);
			return;
		}
		note_pair(h, name, value);
		if (s.len && *s.at == ',')
			s = slice_skip(s, 1);
	}
}

static void read_comment(struct sql_hint *h, struct slice inside)
{
	static const char own[] = "lunapool:";
	if (begins(inside, own))
		read_pairs(h, slice_skip(inside, sizeof own - 1));
	else if (is_word(inside, "no load balance"))
		h->wants_primary = true;
}

static void read_comments(struct sql_hint *h, struct slice s)
{
	for (skip_space(&s); s.len > 1; skip_space(&s)) {
		if (s.at[0] == '-' && s.at[1] == '-') {
			s = slice_skip(s, line_length(s));
			continue;
		}
		size_t n = s.at[0] == '/' && s.at[1] == '*' ? block_length(s) : 0;
		if (n == 0)
			return;
		read_comment(h, trimmed(slice_of(s.at + 2, n - 4)));
		s = slice_skip(s, n);
	}
}

bool sql_hint(struct slice text, struct sql_hint *out)
{
	*out = (struct sql_hint){ 0 };
	text.len = text.len < HINT_REACH ? text.len : HINT_REACH;
	skip_space(&text);
	if (!text.len || (*text.at != '/' && *text.at != '-'))
		return false;
	read_comments(out, text);
	out->wants_primary |= is_word(out->route, "primary");
	return out->wants_primary || out->route.len || out->node.len || out->class.len;
}
