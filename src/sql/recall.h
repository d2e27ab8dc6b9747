/*
 * recall — a text seen before, but for its constants: known again without being read token by token.
 *
 *   SELECT a FROM t WHERE id = 17 AND name = 'x'     is kept as     SELECT a FROM t WHERE id = ▢ AND name = '▢'
 *
 * What fits has the shape of the text that it was made from (tests/unit/sql/recall_test.c), so its class is the same.  Constants
 * are not kept.
 */
#ifndef SQL_RECALL_H
#define SQL_RECALL_H

#include "shape.h"

struct recall_part {
	uint32_t len;      /* of the fixed bytes before a hole */
	uint8_t is_string; /* the hole is the inside of '…'; else digits */
};

struct recall {
	uint64_t key;
	uint32_t bytes; /* all that it occupies */
	uint32_t n;     /* parts */
	uint32_t rest;  /* fixed bytes behind the last hole */
	bool was_used;  /* the owner's */
	const uint8_t *fixed;
	struct recall_part part[];
};

/* Of the text up to its first constant: where to look.  Says nothing about equality, and is not keyed: what it leads to must be
 * compared, and places must not form chains. */
uint64_t recall_key(struct slice text);

/* From a TEXT that gave the shape S (SHAPE_OK) with the plain dialect; NULL when it has too many constants or is too long.  The
 * caller frees it with mem_free(). */
struct recall *recall_new(struct slice text, const struct shape *s);

/* TEXT is that text but for its constants.  Plain dialect only. */
bool recall_fits(const struct recall *r, struct slice text);

#endif
