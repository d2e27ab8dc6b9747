/*
 * limits — counters with a maximum that all workers share: N workers together never exceed them.
 * limits_take() is a compare-and-swap; a counter lives as long as somebody holds it.  Any thread.
 */
#ifndef POOL_LIMITS_H
#define POOL_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct limit { /* one counter */
	_Atomic int64_t taken;
	_Atomic int64_t leaving; /* of these, about to be given: nobody need be asked to go for them */
};
/* False when TAKEN would exceed MAX (0: no limit). */
bool limit_take(struct limit *l, int64_t max) __attribute__((warn_unused_result));
void limit_give(struct limit *l);

/* Named counters: "db:app", "user:bob", "node:17" … created on first use, kept for the process's life (names are bounded by what the
 * configuration admits: callers count only after authentication, or "clients" as a whole). */
struct limits;
struct limits *limits_new(void);
void limits_free(struct limits *l);
struct limit *limits_named(struct limits *l, const char *kind, const char *name);
/* Those of KIND; FN runs under a lock, so it only copies; NAME has no NUL behind it. */
void limits_each(struct limits *l, const char *kind, void (*fn)(void *arg, struct slice name, int64_t taken), void *arg);

#endif
