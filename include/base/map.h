/*
 * map — bytes to pointer, open addressing, one thread.  Keys are copied in; a zeroed struct map is an empty one
 * and holds no memory until the first map_put().  NULL values are not stored.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct map_slot;
struct map {
	struct map_slot *slots;
	uint32_t cap, used, dead;
};

void map_fini(struct map *m);                                /* keys only; values are the caller's */
void *map_get(const struct map *m, struct slice key);        /* NULL: absent */
void *map_put(struct map *m, struct slice key, void *value); /* returns the value it replaced, or NULL */
void *map_remove(struct map *m, struct slice key);           /* returns the removed value, or NULL */
uint32_t map_len(const struct map *m);
/* Walk: start with *it = 0; false at the end.  KEY may be NULL.  The map may only change by removing the current key. */
bool map_next(const struct map *m, uint32_t *it, struct slice *key, void **value);

#endif
