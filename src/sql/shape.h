/*
 * shape — a text without what its class cannot depend on: itself a legal text that means the same to classify.
 *
 *   UPDATE t SET a = 17, b='x' -- why        update t set a = 1,b = 's' where id in(1)
 *   WHERE id IN (1, 2, 3);               =>
 *
 * Classes are made from the shape alone, so two texts of one shape have one class by construction; what must hold is that folding a
 * valid text changes nothing that a class tells.  Literals stay in SET and behind the word set_config.
 */
#ifndef SQL_SHAPE_H
#define SQL_SHAPE_H

#include "sql/classify.h"

enum shape_verdict {
	SHAPE_OK,
	SHAPE_LONG,   /* more than SQL_PARSE_MAX bytes are left, or too deep to follow */
	SHAPE_OPAQUE, /* the bytes cannot be understood in this dialect, or end in the middle of something */
};

/* Where in the text a constant stands whose value does not reach the shape: digits that no name or point follows, or the inside of a
 * plain 'literal' without quotes. */
#define SHAPE_HOLES 24u
struct shape_hole {
	uint32_t at, end;
	bool is_string;
};

struct shape {
	uint32_t len;
	uint32_t nesting; /* an upper bound for the depth of the parse tree, in units that SQL_PARSE_TOKENS counts */
	uint32_t n_holes; /* SHAPE_HOLES + 1: more than are told */
	struct shape_hole holes[SHAPE_HOLES];
	uint8_t text[SQL_PARSE_MAX + 1]; /* NUL-terminated */
};

enum shape_verdict shape_make(struct shape *s, struct slice text, struct sql_dialect dialect);

#endif
