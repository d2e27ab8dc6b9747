/*
 * welcome — what clients with the same startup settings are told at login, remembered so that a login needs no server.
 *
 * Twice: by worker (here, without a lock), and by process (pool/welcome.c).  Both are void once ALTER ROLE, DATABASE or SYSTEM SET was seen.
 */
#include "priv.h"

#define WELCOMES_MAX 1024

struct welcome_key {
	uint64_t pool, retired;
	const struct settings *startup; /* of the value, which keeps it alive */
};

struct welcome {
	struct settings *startup, *told; /* references */
};

static struct slice key_of(const struct session *s, struct welcome_key *k)
{
	memset(k, 0, sizeof *k);
	k->pool = pool_id(s->pool);
	k->retired = pool_retired_generation(s->pool);
	k->startup = s->defaults;
	return slice_of(k, sizeof *k);
}

static void forget(struct welcome *w)
{
	if (!w)
		return;
	settings_unref(w->startup);
	settings_unref(w->told);
	mem_free(w);
}

void welcomes_forget(struct sessions *ss)
{
	uint32_t it = 0;
	void *w;
	while (map_next(&ss->welcomes, &it, NULL, &w))
		forget(w);
	map_fini(&ss->welcomes);
}

static void keep_here(struct session *s, struct settings *told)
{
	struct sessions *ss = s->home;
	struct welcome_key k;
	struct welcome *w = mem_alloc(sizeof *w);
	if (map_len(&ss->welcomes) >= WELCOMES_MAX)
		welcomes_forget(ss);
	w->startup = settings_ref(s->defaults);
	w->told = settings_ref(told);
	forget(map_put(&ss->welcomes, key_of(s, &k), w));
}

void welcome_learn(struct session *s)
{
	pool_learn_welcome(s->pool, s->defaults, s->told);
	keep_here(s, s->told);
}

struct settings *welcome_recall(struct session *s)
{
	struct welcome_key k;
	const struct welcome *w;
	struct settings *told;
	if (!s->pool)
		return NULL;
	w = map_get(&s->home->welcomes, key_of(s, &k));
	if (w)
		return settings_ref(w->told);
	told = pool_welcome(s->pool, s->defaults);
	if (told)
		keep_here(s, told);
	return told;
}
