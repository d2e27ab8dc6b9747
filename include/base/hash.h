/*
 * hash — keyed SipHash-2-4 with 64 and 128 bits of result, and a quicker one for places in tables.
 *
 * The keys are random per process (hash_init, before any thread starts), so that no client can choose
 * collisions; both workers of a process compute the same value for the same bytes.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

struct hash128 {
	uint64_t hi, lo;
};

void hash_init(void);
void hash_init_key(const uint8_t key[16]); /* a fixed key: for tests that want the same values every time */
uint64_t hash64(struct slice bytes);
/* Where to look in a table that compares its keys in full: a collision costs time, never an answer.  Its value must reach nobody outside. */
uint64_t hash_place(struct slice bytes);
struct hash128 hash128(struct slice bytes);

static inline bool hash128_equal(struct hash128 a, struct hash128 b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

#endif
