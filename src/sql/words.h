/* words — the key words that folding looks at, and those that nest without parentheses. */
#ifndef SQL_WORDS_H
#define SQL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SHOWN: no word, but the parenthesis behind current_setting. */
enum word {
	WORD_OTHER,
	WORD_IN,
	WORD_ARRAY,
	WORD_VALUES,
	WORD_CONSTANT,
	WORD_SET,
	WORD_SET_CONFIG,
	WORD_UESCAPE,
	WORD_CURRENT_SETTING,
	WORD_SHOWN
};

struct word_row {
	const char *text;
	uint8_t len, nesting;
	enum word word;
};
/* Words of one first letter. */
struct word_group {
	uint16_t lengths; /* bit n: one has n bytes; most words are sent away by it */
	struct word_row rows[7];
};
extern const struct word_group word_groups[26];
#define WORD_LEN(n) (1u << (n))

/* Sends most words away without comparing them. */
static inline bool word_may_be_known(uint8_t first, uint32_t len)
{
	unsigned letter = first - (unsigned)'a';
	return letter < 26 && len < 16 && (word_groups[letter].lengths & WORD_LEN(len));
}

/* NULL: none of them. */
const struct word_row *word_find(const uint8_t *lowered, uint32_t len);

#endif
