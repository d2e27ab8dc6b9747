/*
 * derived — keys that were made from a clear password once, so that its next login need not wait for 4096 hashes.
 *
 * Of the password a keyed hash is kept.  Any thread.  Always: at most MOST entries; beyond that all are forgotten, which costs time only.
 */
#include <string.h>

#include "base/hash.h"
#include "base/secret.h"
#include "priv.h"

#define MOST 20000u

struct entry {
	struct hash128 password;
	struct scram_secret secret;
};
struct derived {
	pthread_mutex_t lock;
	struct map by_user;
};

struct derived *derived_new(void)
{
	struct derived *d = mem_alloc(sizeof *d);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void forget_all(struct derived *d)
{
	void *value;
	for (uint32_t at = 0; map_next(&d->by_user, &at, NULL, &value);) {
		secret_wipe(value, sizeof(struct entry));
		mem_free(value);
	}
	map_fini(&d->by_user);
	d->by_user = (struct map){ 0 };
}

void derived_free(struct derived *d)
{
	forget_all(d);
	pthread_mutex_destroy(&d->lock);
	mem_free(d);
}

static bool is_same_salt(const struct scram_secret *a, const struct scram_secret *b)
{
	return a->iterations == b->iterations && a->salt_len == b->salt_len && memcmp(a->salt, b->salt, a->salt_len) == 0;
}

bool derived_get(struct derived *d, const char *user, const char *password, struct scram_secret *s)
{
	struct hash128 hash = hash128(slice_text(password));
	pthread_mutex_lock(&d->lock);
	const struct entry *e = map_get(&d->by_user, slice_text(user));
	bool is_there = e && hash128_equal(e->password, hash) && is_same_salt(&e->secret, s);
	if (is_there)
		*s = e->secret;
	pthread_mutex_unlock(&d->lock);
	return is_there;
}

void derived_put(struct derived *d, const char *user, const char *password, const struct scram_secret *s)
{
	struct entry *e = mem_alloc(sizeof *e);
	e->password = hash128(slice_text(password));
	e->secret = *s;
	pthread_mutex_lock(&d->lock);
	if (map_len(&d->by_user) >= MOST)
		forget_all(d);
	struct entry *before = map_put(&d->by_user, slice_text(user), e);
	pthread_mutex_unlock(&d->lock);
	if (before)
		secret_wipe(before, sizeof *before);
	mem_free(before);
}
