/* poolkeys — a map of the registry's, under its lock.  Always: an entry is in the map for as long as it has references. */
#include "pool/poolkeys.h"

#include <string.h>

#include "base/secret.h"
#include "priv.h"

struct poolkeys {
	struct pool_registry *registry;
	struct slice key; /* database NUL user NUL */
	uint32_t refs;
	struct upstream_keys keys;
};

static struct slice key_of(const char *database, const char *user)
{
	size_t n = strlen(database) + 1, m = strlen(user) + 1;
	char *key = mem_alloc(n + m);
	memcpy(key, database, n);
	memcpy(key + n, user, m);
	return slice_of(key, n + m);
}

struct poolkeys *poolkeys_learn(struct pool_registry *r, const char *database, const char *user, const struct upstream_keys *keys)
{
	struct slice key = key_of(database, user);
	pthread_mutex_lock(&r->lock);
	struct poolkeys *k = map_get(&r->keys, key);
	if (k) {
		mem_free((void *)key.at);
	} else {
		k = mem_alloc(sizeof *k);
		k->registry = r;
		k->key = key;
		map_put(&r->keys, key, k);
	}
	k->refs++;
	k->keys = *keys;
	pthread_mutex_unlock(&r->lock);
	return k;
}

void poolkeys_drop(struct poolkeys *k)
{
	if (!k)
		return;
	struct pool_registry *r = k->registry;
	pthread_mutex_lock(&r->lock);
	if (--k->refs == 0) {
		map_remove(&r->keys, k->key);
		mem_free((void *)k->key.at);
		secret_wipe(k, sizeof *k);
		mem_free(k);
	}
	pthread_mutex_unlock(&r->lock);
}

bool poolkeys_copy(struct pool_shared *s, struct upstream_keys *keys)
{
	struct pool_registry *r = s->registry;
	struct slice key = key_of(s->database, s->user);
	pthread_mutex_lock(&r->lock);
	struct poolkeys *k = map_get(&r->keys, key);
	if (k && !s->keys) {
		k->refs++;
		s->keys = k;
	}
	if (k)
		*keys = k->keys;
	pthread_mutex_unlock(&r->lock);
	mem_free((void *)key.at);
	return k != NULL;
}
