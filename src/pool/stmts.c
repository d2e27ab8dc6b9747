/*
 * stmts — the statements that one server has prepared: entries in a growing array, threaded into a list by age and found
 * through an open-addressed index.
 *
 * Always: an index slot is 0 (empty) or an entry's number; every entry in the list is in the index once; the index is at most half full,
 * and removal shifts followers back, so a probe ends at the first empty slot.  Entry number 0 is never used: it means "none".
 * The key is a keyed hash already: its low half is the place in the index.
 */
#include "pool/stmts.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct stmts_entry {
	struct hash128 key;
	uint64_t value;
	uint32_t older, newer; /* a free entry: newer is the next free one */
};

static uint32_t index_mask(const struct stmts *s)
{
	return s->cap * 2 - 1;
}

/* The index slot where KEY is, or the empty one where it would be. */
static uint32_t slot_of(const struct stmts *s, struct hash128 key)
{
	uint32_t at = (uint32_t)key.lo & index_mask(s);
	while (s->index[at] && !hash128_equal(s->entries[s->index[at]].key, key))
		at = (at + 1) & index_mask(s);
	return at;
}

static void unlink_entry(struct stmts *s, uint32_t n)
{
	struct stmts_entry *e = &s->entries[n];
	*(e->older ? &s->entries[e->older].newer : &s->oldest) = e->newer;
	*(e->newer ? &s->entries[e->newer].older : &s->newest) = e->older;
}

static void link_newest(struct stmts *s, uint32_t n)
{
	struct stmts_entry *e = &s->entries[n];
	e->older = s->newest;
	e->newer = 0;
	*(s->newest ? &s->entries[s->newest].newer : &s->oldest) = n;
	s->newest = n;
}

/* cap counts entry numbers, the unused 0 included. */
static void grow(struct stmts *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : 16;
	s->entries = mem_grow(s->entries, cap * sizeof *s->entries);
	for (uint32_t n = cap - 1; n >= (s->cap ? s->cap : 1); n--) {
		s->entries[n].newer = s->free_list;
		s->free_list = n;
	}
	mem_free(s->index);
	s->cap = cap;
	s->index = mem_alloc((size_t)cap * 2 * sizeof *s->index);
	for (uint32_t n = s->oldest; n; n = s->entries[n].newer)
		s->index[slot_of(s, s->entries[n].key)] = n;
}

/* Empties slot HOLE and moves back what had been pushed past it. */
static void close_hole(struct stmts *s, uint32_t hole)
{
	uint32_t mask = index_mask(s);
	for (uint32_t at = (hole + 1) & mask; s->index[at]; at = (at + 1) & mask) {
		uint32_t home = (uint32_t)s->entries[s->index[at]].key.lo & mask;
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			s->index[hole] = s->index[at];
			hole = at;
		}
	}
	s->index[hole] = 0;
}

void stmts_fini(struct stmts *s)
{
	mem_free(s->entries);
	mem_free(s->index);
	*s = (struct stmts){ 0 };
}

uint64_t *stmts_find(struct stmts *s, struct hash128 key)
{
	uint32_t n = s->len ? s->index[slot_of(s, key)] : 0;
	if (!n)
		return NULL;
	if (n != s->newest) {
		unlink_entry(s, n);
		link_newest(s, n);
	}
	return &s->entries[n].value;
}

void stmts_add(struct stmts *s, struct hash128 key, uint64_t value)
{
	if (!s->free_list)
		grow(s);
	uint32_t slot = slot_of(s, key), n = s->free_list;
	ASSERT(!s->index[slot]);
	s->free_list = s->entries[n].newer;
	s->entries[n].key = key;
	s->entries[n].value = value;
	link_newest(s, n);
	s->index[slot] = n;
	s->len++;
}

bool stmts_remove(struct stmts *s, struct hash128 key)
{
	uint32_t slot = s->len ? slot_of(s, key) : 0, n = s->len ? s->index[slot] : 0;
	if (!n)
		return false;
	close_hole(s, slot);
	unlink_entry(s, n);
	s->entries[n].newer = s->free_list;
	s->free_list = n;
	s->len--;
	return true;
}

uint32_t stmts_len(const struct stmts *s)
{
	return s->len;
}

bool stmts_oldest(const struct stmts *s, struct hash128 *key)
{
	if (s->oldest)
		*key = s->entries[s->oldest].key;
	return s->oldest != 0;
}

void stmts_each(const struct stmts *s, void (*fn)(void *arg, struct hash128 key, uint64_t value), void *arg)
{
	for (uint32_t n = s->oldest; n; n = s->entries[n].newer)
		fn(arg, s->entries[n].key, s->entries[n].value);
}

/* 22 digits of 6 bits hold 132: every key has its own name. */
void stmts_name(struct hash128 key, char out[STMTS_NAME_MAX])
{
	static const char digit[65] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$";
	memcpy(out, "lunapool_", 9);
	for (unsigned i = 0; i < 22; i++) {
		out[9 + i] = digit[key.lo & 63];
		key.lo = key.lo >> 6 | key.hi << 58;
		key.hi >>= 6;
	}
	out[31] = '\0';
}
