/*
 * body — what the source of a function may do to the session, judged by its words.  Pure; the source is outside bytes.
 *
 * No proof, but what can be said without running it: a name put together from pieces is not seen, and a word in a text that is never
 * executed counts as if it were.
 */
#ifndef SQL_BODY_H
#define SQL_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define BODY_WORDS_MAX 20000u /* different words that are kept; a source with more is opaque */

struct body {
	uint32_t effects; /* enum sql_effect: what calling it does to the session, by its own words */
	bool changes;     /* it may write to relations that it names */
	uint32_t n, cap;
	uint32_t *words; /* body_hash() of every name in it, ascending, each once */
};
/* SOURCE: the text behind AS, or what BEGIN ATOMIC … END holds.  Only SQL and PL/pgSQL are understood. */
void body_read(struct body *b, struct slice source);
void body_fini(struct body *b);
/* Of a name; IS_CALL: a parenthesis follows.  Odd for calls, even for others. */
uint32_t body_hash(struct slice name, bool is_call);
bool body_names(const struct body *b, uint32_t hash);

#endif
