/*
 * phrase — the text of a command as words, quoted ("" or '') where they have other characters; comments and a semicolon behind them do not count.
 */
#ifndef ADMIN_PHRASE_H
#define ADMIN_PHRASE_H

#include <stdbool.h>

#include "base/slice.h"

#define COMMAND_MAX 8192u /* bytes of text */
#define WORDS_MAX 60
struct word {
	struct slice text; /* in `space`, without quotes */
	bool is_quoted;
};
struct phrase {
	struct word at[WORDS_MAX];
	unsigned n;
	char space[COMMAND_MAX + WORDS_MAX];
	size_t used;
};

struct slice phrase_skip_blank(struct slice s); /* past blanks and comments */
/* False: not a list of words; a semicolon may only stand at the end. */
bool phrase_read(struct slice text, struct phrase *w);
const char *phrase_word(const struct phrase *w, unsigned i);
bool phrase_is(const struct phrase *w, unsigned i, const char *word); /* it stands there, without quotes */
/* How many words of W, from FROM on, spell WORDS; 0: they do not. */
unsigned phrase_spells(const struct phrase *w, unsigned from, const char *words);

#endif
