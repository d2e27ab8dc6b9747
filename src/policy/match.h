/*
 * match — Lua's patterns with a bound on the work: the same meaning as string.find's, and an end.
 *
 * A pattern is compiled into items; matching backtracks over them and counts a step for each thing that it tries.
 */
#ifndef POLICY_MATCH_H
#define POLICY_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define MATCH_ITEMS_MAX 200
#define MATCH_CAPTURES_MAX 32

enum match_item {
	MATCH_CHARS,    /* one character of the set */
	MATCH_MAYBE,    /* … or none */
	MATCH_MANY,     /* as many as there are: set*, set+ */
	MATCH_FEW,      /* as few as will do: set- */
	MATCH_BALANCED, /* %bxy */
	MATCH_FRONTIER, /* %f[set] */
	MATCH_AGAIN,    /* %1: what that capture has */
	MATCH_OPEN,
	MATCH_PLACE, /* () */
	MATCH_CLOSE,
	MATCH_END, /* $ */
};
struct match_set {
	uint64_t bits[4];
};
struct pattern {
	bool is_anchored;
	unsigned n, n_captures;
	struct {
		enum match_item is;
		unsigned char least;    /* MATCH_MANY: 0 or 1 */
		unsigned char number;   /* MATCH_AGAIN, _OPEN, _PLACE, _CLOSE: of the capture */
		unsigned char from, to; /* MATCH_BALANCED */
		struct match_set set;
	} items[MATCH_ITEMS_MAX];
};
/* NULL, or what is wrong with TEXT, static. */
const char *pattern_compile(struct pattern *p, const char *text, size_t len, bool may_anchor) MUST_CHECK;

#define MATCH_NONE SIZE_MAX
struct match {
	const struct pattern *pattern;
	const char *text;
	size_t len;
	uint32_t steps_left;
	bool is_over; /* there were not enough steps: nothing is known */
	struct {
		size_t at, len;
		bool is_place;
	} captures[MATCH_CAPTURES_MAX];
};
/* Where the match that begins at AT ends; MATCH_NONE. */
size_t match_at(struct match *m, size_t at);

#endif
