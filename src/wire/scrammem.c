/* scrammem — a map by hash of password, salt and iterations.  Always: at most MOST entries; beyond that all are forgotten, which costs time only. */
#include "wire/scrammem.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"

#define MOST 5000u

struct entry {
	struct scram_secret secret;
	uint8_t client_key[SCRAM_KEY];
};
struct scram_memory {
	struct map entries;
};
struct key {
	struct hash128 password;
	uint32_t iterations, salt_len;
	uint8_t salt[SCRAM_SALT_MAX];
};

struct scram_memory *scram_memory_new(void)
{
	return mem_alloc(sizeof(struct scram_memory));
}

static void forget_all(struct scram_memory *m)
{
	void *value;
	for (uint32_t at = 0; map_next(&m->entries, &at, NULL, &value);) {
		secret_wipe(value, sizeof(struct entry));
		mem_free(value);
	}
	map_fini(&m->entries);
}

void scram_memory_free(struct scram_memory *m)
{
	if (m)
		forget_all(m);
	mem_free(m);
}

/* The rest of the salt is zero. */
static struct key key_of(const char *password, const struct scram_secret *s)
{
	struct key k = { .password = hash128(slice_text(password)), .iterations = s->iterations, .salt_len = s->salt_len };
	memcpy(k.salt, s->salt, s->salt_len);
	return k;
}

bool scram_memory_get(const struct scram_memory *m, const char *password, struct scram_secret *s, uint8_t client_key[SCRAM_KEY])
{
	const struct key k = key_of(password, s);
	const struct entry *e = map_get(&m->entries, slice_of(&k, sizeof k));
	if (!e)
		return false;
	*s = e->secret;
	memcpy(client_key, e->client_key, SCRAM_KEY);
	return true;
}

void scram_memory_put(struct scram_memory *m, const char *password, const struct scram_secret *s,
                      const uint8_t client_key[SCRAM_KEY])
{
	const struct key k = key_of(password, s);
	struct entry *e = mem_alloc(sizeof *e);
	e->secret = *s;
	memcpy(e->client_key, client_key, SCRAM_KEY);
	if (map_len(&m->entries) >= MOST)
		forget_all(m);
	struct entry *before = map_put(&m->entries, slice_of(&k, sizeof k), e);
	if (before)
		secret_wipe(before, sizeof *before);
	mem_free(before);
}
