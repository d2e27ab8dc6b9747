/*
 * kv — names and values behind one lock; bounded by a number of entries, each of them bounded itself.
 *
 * What has run out is thrown away when it is come across, and when there is no room.
 */
#include "policy/kv.h"

#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

struct item {
	uint64_t ends_us; /* 0: never */
	size_t len;
	unsigned char is;
	bool truth;
	double number;
	char text[];
};

struct policy_kv {
	pthread_mutex_t lock;
	size_t max_entries;
	struct map items;
};

struct policy_kv *policy_kv_new(size_t max_entries)
{
	struct policy_kv *kv = mem_alloc(sizeof *kv);
	kv->max_entries = max_entries;
	pthread_mutex_init(&kv->lock, NULL);
	return kv;
}

void policy_kv_free(struct policy_kv *kv)
{
	uint32_t at = 0;
	struct slice key;
	void *item;
	if (!kv)
		return;
	while (map_next(&kv->items, &at, &key, &item))
		mem_free(item);
	map_fini(&kv->items);
	pthread_mutex_destroy(&kv->lock);
	mem_free(kv);
}

static bool is_over(const struct item *i, uint64_t now_us)
{
	return i->ends_us && i->ends_us <= now_us;
}

/* NULL: not there, or not any more. */
static struct item *find(struct policy_kv *kv, struct slice key, uint64_t now_us)
{
	struct item *i = map_get(&kv->items, key);
	if (!i || !is_over(i, now_us))
		return i;
	mem_free(map_remove(&kv->items, key));
	return NULL;
}

static void throw_away(struct policy_kv *kv, uint64_t now_us)
{
	uint32_t at = 0;
	struct slice key;
	void *item;
	while (map_next(&kv->items, &at, &key, &item))
		if (is_over(item, now_us))
			mem_free(map_remove(&kv->items, key));
}

static bool has_room(struct policy_kv *kv, uint64_t now_us)
{
	if (map_len(&kv->items) >= kv->max_entries)
		throw_away(kv, now_us);
	return map_len(&kv->items) < kv->max_entries;
}

static void put(struct policy_kv *kv, struct slice key, const struct policy_value *v, uint64_t ends_us)
{
	struct item *i = mem_alloc(sizeof *i + v->len);
	i->ends_us = ends_us;
	i->is = (unsigned char)v->is;
	i->truth = v->truth;
	i->number = v->number;
	i->len = v->len;
	memcpy(i->text, v->text, v->len);
	mem_free(map_put(&kv->items, key, i));
}

static uint64_t end_of(uint64_t now_us, uint64_t ttl_us)
{
	return ttl_us ? now_us + ttl_us : 0;
}

void policy_kv_get(struct policy_kv *kv, struct slice key, uint64_t now_us, struct policy_value *out)
{
	pthread_mutex_lock(&kv->lock);
	const struct item *i = find(kv, key, now_us);
	out->is = i ? i->is : POLICY_KV_NIL;
	out->len = 0;
	if (i) {
		out->truth = i->truth;
		out->number = i->number;
		out->len = i->len;
		memcpy(out->text, i->text, i->len);
	}
	pthread_mutex_unlock(&kv->lock);
}

bool policy_kv_set(struct policy_kv *kv, struct slice key, const struct policy_value *v, uint64_t now_us, uint64_t ttl_us)
{
	ASSERT(key.len <= POLICY_KV_KEY_MAX && v->len <= POLICY_KV_VALUE_MAX);
	bool is_good = true;
	pthread_mutex_lock(&kv->lock);
	if (v->is == POLICY_KV_NIL)
		mem_free(map_remove(&kv->items, key));
	else if ((is_good = find(kv, key, now_us) || has_room(kv, now_us)))
		put(kv, key, v, end_of(now_us, ttl_us));
	pthread_mutex_unlock(&kv->lock);
	return is_good;
}

bool policy_kv_add(struct policy_kv *kv, struct slice key, double by, uint64_t now_us, uint64_t ttl_us, double *sum)
{
	struct policy_value first = { .is = POLICY_KV_NUMBER, .number = by };
	ASSERT(key.len <= POLICY_KV_KEY_MAX);
	pthread_mutex_lock(&kv->lock);
	struct item *i = find(kv, key, now_us);
	bool is_good = i ? i->is == POLICY_KV_NUMBER : has_room(kv, now_us);
	if (is_good && i)
		*sum = i->number += by;
	else if (is_good) {
		put(kv, key, &first, end_of(now_us, ttl_us));
		*sum = by;
	}
	pthread_mutex_unlock(&kv->lock);
	return is_good;
}
