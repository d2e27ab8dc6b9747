/*
 * lex — SQL text to tokens, as PostgreSQL cuts it: just enough to tell words from literals from comments.
 *
 * A string with its continuations (the next line's 'more') is one token.  A number ends where PostgreSQL before 15 ended it, so
 * that what hangs on to it (`1union`) is a word of its own; newer servers refuse that, and a refused text does nothing.
 */
#ifndef SQL_LEX_H
#define SQL_LEX_H

#include "base/slice.h"

enum lex_kind {
	LEX_END,     /* of the text; is_broken tells whether in the middle of something */
	LEX_WORD,    /* unquoted identifier or key word */
	LEX_QUOTED,  /* "identifier" */
	LEX_UQUOTED, /* U&"identifier": its name is not in the text as it stands */
	LEX_STRING,  /* 'literal', also E'', N'', B'', X'': see prefix */
	LEX_USTRING, /* U&'literal' */
	LEX_DOLLAR,  /* $tag$literal$tag$ */
	LEX_NUMBER,
	LEX_PARAM, /* $1 */
	LEX_OP,    /* a run of operator characters and colons */
	LEX_PUNCT, /* any other single byte */
};

struct lex_token {
	enum lex_kind kind;
	uint8_t prefix; /* of a LEX_STRING, lower case: 'e', 'n', 'b', 'x', or 0 */
	uint32_t len;
	const uint8_t *at;
};

struct lex {
	const uint8_t *at, *end;
	bool backslash_quotes; /* set by the caller: '\' in a plain literal is not understood, but an end to the reading */
	bool is_broken;        /* unterminated, or such a backslash */
};

enum {
	LEX_IS_SPACE = 1,
	LEX_IS_START = 2,
	LEX_IS_NAME = 4,
	LEX_IS_DIGIT = 8,
	LEX_IS_OP = 16,
	LEX_IS_GAP = 32,
	LEX_IS_TIGHT = 64
};
extern const uint8_t lex_class[256]; /* the bits above; GAP: space, or what may open a comment; TIGHT: merges with nothing */
extern const uint8_t lex_name[256];  /* what may stand in a name, folded; 0 for the rest */
extern const uint8_t lex_lower[256]; /* as PostgreSQL folds: ASCII only */

void lex_init(struct lex *l, struct slice text, bool backslash_quotes);
void lex_next(struct lex *l, struct lex_token *t);

/* How many operators PostgreSQL makes of the run: a trailing '+' or '-' stands alone unless a special character came before. */
unsigned lex_count_operators(const uint8_t *run, size_t len);

#endif
