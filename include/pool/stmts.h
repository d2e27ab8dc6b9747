/* stmts — which statements a server connection has prepared: 128-bit keys, least recently used first out. */
#ifndef POOL_STMTS_H
#define POOL_STMTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct stmts_entry;
struct stmts {
	struct stmts_entry *entries; /* NULL while empty */
	uint32_t *index;             /* open addressing over entries */
	uint32_t len, cap, oldest, newest, free_list;
};
void stmts_fini(struct stmts *s); /* forgets all; usable afterwards */
/* VALUE as given to stmts_add() (the caller's: e.g. the DDL generation it was parsed under); NULL: not prepared.  Marks it as used. */
uint64_t *stmts_find(struct stmts *s, struct hash128 key);
void stmts_add(struct stmts *s, struct hash128 key, uint64_t value); /* not there yet */
bool stmts_remove(struct stmts *s, struct hash128 key);
uint32_t stmts_len(const struct stmts *s);
/* The least recently used key; false when empty. */
bool stmts_oldest(const struct stmts *s, struct hash128 *key);
/* Calls FN for every key with its value, oldest first (for handing a server to another worker). */
void stmts_each(const struct stmts *s, void (*fn)(void *arg, struct hash128 key, uint64_t value), void *arg);

/* The name on servers, NUL-terminated: "lunapool_" and 22 characters. */
#define STMTS_NAME_MAX 32
void stmts_name(struct hash128 key, char out[STMTS_NAME_MAX]);

#endif
