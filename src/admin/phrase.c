/* phrase — see the header.  A word that was quoted is never taken for one of ours. */
#include "phrase.h"

#include <string.h>
#include <strings.h>

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice phrase_skip_blank(struct slice s)
{
	for (;;) {
		if (s.len && is_space(s.at[0])) {
			s = slice_skip(s, 1);
		} else if (s.len >= 2 && memcmp(s.at, "--", 2) == 0) {
			while (s.len && s.at[0] != '\n')
				s = slice_skip(s, 1);
		} else if (s.len >= 2 && memcmp(s.at, "/*", 2) == 0) {
			const uint8_t *end = memmem(s.at + 2, s.len - 2, "*/", 2);
			s = slice_skip(s, end ? (size_t)(end - s.at) + 2 : s.len);
		} else {
			return s;
		}
	}
}

static void put(struct phrase *w, uint8_t c)
{
	w->space[w->used++] = (char)c;
	w->at[w->n].text.len++;
}

/* The opening quote is S's first; false: it never closes. */
static bool take_quoted(struct phrase *w, struct slice *s)
{
	uint8_t quote = s->at[0];
	w->at[w->n].is_quoted = true;
	for (*s = slice_skip(*s, 1); s->len; *s = slice_skip(*s, 1)) {
		if (s->at[0] == quote && !(s->len > 1 && s->at[1] == quote)) {
			*s = slice_skip(*s, 1);
			return true;
		}
		if (s->at[0] == quote)
			*s = slice_skip(*s, 1);
		put(w, s->at[0]);
	}
	return false;
}

static bool ends_word(uint8_t c)
{
	return is_space(c) || c == ';' || c == '=' || c == '\'' || c == '"';
}

static bool take_word(struct phrase *w, struct slice *s)
{
	w->at[w->n] = (struct word){ .text = slice_of(w->space + w->used, 0) };
	if (s->at[0] == '"' || s->at[0] == '\'')
		return take_quoted(w, s);
	do {
		put(w, s->at[0]);
		*s = slice_skip(*s, 1);
	} while (s->len && w->at[w->n].text.at[0] != '=' && !ends_word(s->at[0]));
	return true;
}

bool phrase_read(struct slice text, struct phrase *w)
{
	w->n = 0;
	w->used = 0;
	for (text = phrase_skip_blank(text); text.len && text.at[0] != ';'; text = phrase_skip_blank(text)) {
		if (w->n == WORDS_MAX || !take_word(w, &text))
			return false;
		w->space[w->used++] = '\0';
		w->n++;
	}
	while (text.len && text.at[0] == ';')
		text = phrase_skip_blank(slice_skip(text, 1));
	return text.len == 0;
}

const char *phrase_word(const struct phrase *w, unsigned i)
{
	return (const char *)w->at[i].text.at;
}

bool phrase_is(const struct phrase *w, unsigned i, const char *word)
{
	return i < w->n && !w->at[i].is_quoted && strcasecmp(phrase_word(w, i), word) == 0;
}

unsigned phrase_spells(const struct phrase *w, unsigned from, const char *words)
{
	unsigned n = 0;
	while (*words) {
		size_t len = strcspn(words, " ");
		unsigned i = from + n++;
		if (i >= w->n || w->at[i].is_quoted || w->at[i].text.len != len || strncasecmp(phrase_word(w, i), words, len) != 0)
			return 0;
		words += len + (words[len] == ' ');
	}
	return n;
}
