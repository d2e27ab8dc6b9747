/*
 * words — a table by first letter.  "nesting" is how deep a word alone can make the parse tree, in units of SQL_PARSE_TOKENS.
 */
#include "words.h"

#include <string.h>

#define W(text, nesting, word)                \
	{                                         \
		text, sizeof(text) - 1, nesting, word \
	}
#define LEN(n) WORD_LEN(n)
const struct word_group word_groups[26] = {
	['a' - 'a'] = { LEN(2) | LEN(5), { W("at", 1, WORD_OTHER), W("array", 0, WORD_ARRAY) } },
	['b' - 'a'] = { LEN(7), { W("between", 1, WORD_OTHER) } },
	['c' - 'a'] = { LEN(4) | LEN(7) | LEN(15),
	                { W("case", 2, WORD_OTHER), W("collate", 1, WORD_OTHER), W("current_setting", 0, WORD_CURRENT_SETTING) } },
	['d' - 'a'] = { LEN(6) | LEN(7), { W("delete", 1, WORD_OTHER), W("default", 0, WORD_CONSTANT) } },
	['e' - 'a'] = { LEN(6), { W("except", 1, WORD_OTHER) } },
	['f' - 'a'] = { LEN(5), { W("false", 0, WORD_CONSTANT) } },
	['i' - 'a'] = { LEN(2) | LEN(5) | LEN(6) | LEN(9),
	                { W("in", 1, WORD_IN), W("is", 1, WORD_OTHER), W("insert", 1, WORD_OTHER), W("ilike", 1, WORD_OTHER),
	                  W("isnull", 1, WORD_OTHER), W("intersect", 1, WORD_OTHER) } },
	['j' - 'a'] = { LEN(4), { W("join", 1, WORD_OTHER) } },
	['l' - 'a'] = { LEN(4), { W("like", 1, WORD_OTHER) } },
	['m' - 'a'] = { LEN(5), { W("merge", 1, WORD_OTHER) } },
	['n' - 'a'] = { LEN(3) | LEN(4) | LEN(7),
	                { W("not", 1, WORD_OTHER), W("null", 0, WORD_CONSTANT), W("notnull", 1, WORD_OTHER) } },
	['o' - 'a'] = { LEN(8), { W("overlaps", 1, WORD_OTHER) } },
	['s' - 'a'] = { LEN(3) | LEN(7) | LEN(10),
	                { W("set", 0, WORD_SET), W("set_config", 0, WORD_SET_CONFIG), W("similar", 1, WORD_OTHER) } },
	['t' - 'a'] = { LEN(4), { W("true", 0, WORD_CONSTANT) } },
	['u' - 'a'] = { LEN(5) | LEN(6) | LEN(7),
	                { W("union", 1, WORD_OTHER), W("update", 1, WORD_OTHER), W("uescape", 0, WORD_UESCAPE) } },
	['v' - 'a'] = { LEN(6), { W("values", 0, WORD_VALUES) } },
	['w' - 'a'] = { LEN(4), { W("with", 1, WORD_OTHER) } },
};

const struct word_row *word_find(const uint8_t *lowered, uint32_t len)
{
	if (!word_may_be_known(*lowered, len))
		return NULL;
	for (const struct word_row *w = word_groups[*lowered - 'a'].rows; w->text; w++)
		if (w->len == len && memcmp(w->text, lowered, len) == 0)
			return w;
	return NULL;
}
