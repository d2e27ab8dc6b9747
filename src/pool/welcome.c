/*
 * welcome — what a server of a pool reports for a set of startup settings, remembered for all workers: so one client of the process needs a server to
 * be let in, and those after it need none, even if every server is lent.
 *
 * Always: at most WELCOMES_MAX, all learnt since the database's servers were last retired (ALTER ROLE … SET changes what they report).
 */
#include "priv.h"

#define WELCOMES_MAX 256u

/* name NUL value NUL …, which is the same in every worker. */
static struct slice key_of(const struct settings *startup)
{
	size_t n = settings_len(startup), len = 0, at = 0;
	const char *name, *value;
	for (size_t i = 0; i < n; i++) {
		settings_at(startup, i, &name, &value);
		len += strlen(name) + strlen(value) + 2;
	}
	char *key = mem_alloc(len + 1);
	for (size_t i = 0; i < n; i++) {
		settings_at(startup, i, &name, &value);
		at += (size_t)(stpcpy(key + at, name) - (key + at)) + 1;
		at += (size_t)(stpcpy(key + at, value) - (key + at)) + 1;
	}
	return slice_of(key, len);
}

/* Lock held. */
static void forget_old(struct pool *pool)
{
	struct pool_shared *s = pool->shared;
	uint64_t retired = atomic_load(&pool->retired->value);
	if (s->welcomes_retired != retired)
		welcome_forget(s);
	s->welcomes_retired = retired;
}

void welcome_forget(struct pool_shared *s)
{
	void *told;
	for (uint32_t it = 0; map_next(&s->welcomes, &it, NULL, &told);)
		mem_free(told);
	map_fini(&s->welcomes);
}

struct settings *pool_welcome(struct pool *pool, const struct settings *startup)
{
	struct pool_shared *s = pool->shared;
	struct slice key = key_of(startup);
	pthread_mutex_lock(&s->lock);
	forget_old(pool);
	const void *told = map_get(&s->welcomes, key);
	struct settings *answer = told ? settings_import(pool->pools->env.settings, told) : NULL;
	pthread_mutex_unlock(&s->lock);
	mem_free((void *)key.at);
	return answer;
}

void pool_learn_welcome(struct pool *pool, const struct settings *startup, const struct settings *told)
{
	struct pool_shared *s = pool->shared;
	struct slice key = key_of(startup);
	pthread_mutex_lock(&s->lock);
	forget_old(pool);
	if (map_len(&s->welcomes) >= WELCOMES_MAX)
		welcome_forget(s);
	mem_free(map_put(&s->welcomes, key, settings_export(told)));
	pthread_mutex_unlock(&s->lock);
	mem_free((void *)key.at);
}
