/*
 * map — bytes to pointer: open addressing with linear probing over a power of two.
 *
 * A slot is empty (key NULL, value NULL), dead (key NULL, value not NULL: a probe goes on past it) or used.
 * Always: used + dead < 3/4 of cap, so a probe finds an empty slot; removal never moves a slot, so a walk may remove.
 */
#include "base/map.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define LEAST_CAP 8u

struct map_slot {
	uint8_t *key;
	uint32_t key_len, hash;
	void *value;
};

static struct map_slot *slot_after(const struct map *m, const struct map_slot *s)
{
	return &m->slots[(size_t)(s - m->slots + 1) & (m->cap - 1)];
}

static bool is_empty(const struct map_slot *s)
{
	return !s->key && !s->value;
}

static bool has_key(const struct map_slot *s, struct slice key)
{
	return s->key && s->key_len == key.len && (key.len == 0 || memcmp(s->key, key.at, key.len) == 0);
}

/* The map is not empty.  The hash is looked at first: it nearly always tells. */
static inline struct map_slot *find(const struct map *m, struct slice key, uint32_t hash)
{
	for (struct map_slot *s = &m->slots[hash & (m->cap - 1)];; s = slot_after(m, s)) {
		if (s->hash == hash && has_key(s, key))
			return s;
		if (is_empty(s))
			return NULL;
	}
}

static struct map_slot *free_slot(const struct map *m, uint32_t hash)
{
	struct map_slot *s = &m->slots[hash & (m->cap - 1)];
	while (s->key)
		s = slot_after(m, s);
	return s;
}

/* The new size follows what lives: a map full of dead slots is swept, or even shrinks. */
static void rehash(struct map *m)
{
	struct map old = *m;
	uint32_t cap = LEAST_CAP;
	while (cap / 2 <= old.used)
		cap *= 2;
	*m = (struct map){ .slots = mem_alloc(cap * sizeof *m->slots), .cap = cap, .used = old.used };
	for (uint32_t i = 0; i < old.cap; i++)
		if (old.slots[i].key)
			*free_slot(m, old.slots[i].hash) = old.slots[i];
	mem_free(old.slots);
}

void map_fini(struct map *m)
{
	for (uint32_t i = 0; i < m->cap; i++)
		mem_free(m->slots[i].key);
	mem_free(m->slots);
	*m = (struct map){ 0 };
}

void *map_get(const struct map *m, struct slice key)
{
	struct map_slot *s = m->used ? find(m, key, (uint32_t)hash_place(key)) : NULL;
	return s ? s->value : NULL;
}

void *map_put(struct map *m, struct slice key, void *value)
{
	ASSERT(value && key.len <= UINT32_MAX);
	uint32_t hash = (uint32_t)hash_place(key);
	struct map_slot *s = m->used ? find(m, key, hash) : NULL;
	if (s) {
		void *old = s->value;
		s->value = value;
		return old;
	}
	if (m->used + m->dead + 1 > m->cap / 4 * 3)
		rehash(m);
	s = free_slot(m, hash);
	m->dead -= s->value != NULL;
	m->used++;
	*s = (struct map_slot){ mem_copy(key.at, key.len), (uint32_t)key.len, hash, value };
	return NULL;
}

void *map_remove(struct map *m, struct slice key)
{
	struct map_slot *s = m->used ? find(m, key, (uint32_t)hash_place(key)) : NULL;
	if (!s)
		return NULL;
	void *value = s->value;
	mem_free(s->key);
	/* A slot before an empty one ends every probe anyway: it need not be dead. */
	bool ends_probe = is_empty(slot_after(m, s));
	*s = (struct map_slot){ .value = ends_probe ? NULL : m };
	m->dead += !ends_probe;
	m->used--;
	return value;
}

uint32_t map_len(const struct map *m)
{
	return m->used;
}

bool map_next(const struct map *m, uint32_t *it, struct slice *key, void **value)
{
	while (*it < m->cap) {
		const struct map_slot *s = &m->slots[(*it)++];
		if (!s->key)
			continue;
		if (key)
			*key = slice_of(s->key, s->key_len);
		*value = s->value;
		return true;
	}
	return false;
}
