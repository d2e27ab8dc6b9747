/*
 * limits — counters with a maximum, and a map of them by name.
 *
 * Always: 0 <= taken; taken only grows past a maximum when the maximum itself was lowered.  Both operations are sequentially
 * consistent: "give, then look who waits" against "wait, then try to take" leaves no gap (shared.c rests on it).
 */
#include "pool/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

struct limits {
	pthread_mutex_t lock;
	struct map by_name;
};

bool limit_take(struct limit *l, int64_t max)
{
	int64_t now = atomic_load(&l->taken);
	do {
		if (max && now >= max)
			return false;
	} while (!atomic_compare_exchange_weak(&l->taken, &now, now + 1));
	return true;
}

void limit_give(struct limit *l)
{
	int64_t before = atomic_fetch_sub(&l->taken, 1);
	ASSERT(before > 0);
}

struct limits *limits_new(void)
{
	struct limits *l = mem_alloc(sizeof *l);
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void limits_free(struct limits *l)
{
	struct slice key;
	void *limit;
	for (uint32_t it = 0; map_next(&l->by_name, &it, &key, &limit);)
		mem_free(limit);
	map_fini(&l->by_name);
	pthread_mutex_destroy(&l->lock);
	mem_free(l);
}

/* Names come from clients and are as long as those like. */
struct limit *limits_named(struct limits *l, const char *kind, const char *name)
{
	char *key = NULL;
	int len = asprintf(&key, "%s:%s", kind, name);
	ASSERT(len >= 0);
	struct slice at = slice_of(key, (size_t)len);
	pthread_mutex_lock(&l->lock);
	struct limit *limit = map_get(&l->by_name, at);
	if (!limit) {
		limit = mem_alloc(sizeof *limit);
		map_put(&l->by_name, at, limit);
	}
	pthread_mutex_unlock(&l->lock);
	free(key);
	return limit;
}

void limits_each(struct limits *l, const char *kind, void (*fn)(void *arg, struct slice name, int64_t taken), void *arg)
{
	size_t len = strlen(kind);
	struct slice key;
	void *limit;
	pthread_mutex_lock(&l->lock);
	for (uint32_t it = 0; map_next(&l->by_name, &it, &key, &limit);)
		if (key.len > len && memcmp(key.at, kind, len) == 0 && key.at[len] == ':')
			fn(arg, slice_skip(key, len + 1), atomic_load(&((struct limit *)limit)->taken));
	pthread_mutex_unlock(&l->lock);
}
