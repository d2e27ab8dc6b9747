/*
 * parameters — how many parameters a statement has: the highest number behind a '$', outside literals, names and comments.
 */
#include "lex.h"
#include "sql/classify.h"

#define PARAMETERS_MAX 65535u /* the protocol counts them in 16 bits */

static unsigned number_of(const struct lex_token *t)
{
	unsigned n = 0;
	for (uint32_t i = 1; i < t->len && n <= PARAMETERS_MAX; i++)
		n = n * 10 + t->at[i] - '0';
	return n <= PARAMETERS_MAX ? n : PARAMETERS_MAX;
}

unsigned sql_parameters(struct slice text)
{
	struct lex l;
	struct lex_token t;
	unsigned highest = 0;
	lex_init(&l, text, false);
	for (lex_next(&l, &t); t.kind != LEX_END; lex_next(&l, &t))
		if (t.kind == LEX_PARAM && number_of(&t) > highest)
			highest = number_of(&t);
	return highest;
}
