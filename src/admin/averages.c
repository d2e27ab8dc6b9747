/*
 * averages — the counters of each database as they were a while ago, so that SHOW STATS can say how fast they grow.
 *
 *   time  ──────┬──────── stats_period ────────┬──── now
 *             older                          newer          averages run from `older`: over one to two periods, as PgBouncer's do
 *
 * The control thread turns them; any thread reads them, under the lock.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "priv.h"

struct snapshot {
	uint64_t at_us;
	struct map by_database; /* name with its NUL -> struct pool_counts */
	struct pool_counts all;
};
struct averages {
	struct pool_registry *pools;
	pthread_mutex_t lock;
	struct snapshot older, newer;
};

static void snapshot_add(void *arg, const char *database, const struct pool_counts *counts)
{
	struct snapshot *s = arg;
	struct slice key = slice_of(database, strlen(database) + 1);
	struct pool_counts *of = map_get(&s->by_database, key);
	if (!of) {
		of = mem_alloc(sizeof *of);
		map_put(&s->by_database, key, of);
	}
	pool_counts_add(of, counts);
	pool_counts_add(&s->all, counts);
}

static void add_pool(void *arg, const struct pool_row *row)
{
	snapshot_add(arg, row->database, &row->counts);
}

static void snapshot_fini(struct snapshot *s)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&s->by_database, &it, &key, &value);)
		mem_free(value);
	map_fini(&s->by_database);
}

static void snapshot_take(struct snapshot *s, struct pool_registry *pools)
{
	*s = (struct snapshot){ .at_us = clock_us() };
	pool_registry_each(pools, add_pool, s);
	pool_registry_each_past(pools, snapshot_add, s);
}

struct averages *averages_new(struct pool_registry *pools)
{
	struct averages *a = mem_alloc(sizeof *a);
	pthread_mutex_init(&a->lock, NULL);
	a->pools = pools;
	a->older.at_us = a->newer.at_us = clock_us();
	return a;
}

void averages_free(struct averages *a)
{
	snapshot_fini(&a->older);
	snapshot_fini(&a->newer);
	pthread_mutex_destroy(&a->lock);
	mem_free(a);
}

void averages_turn(struct averages *a)
{
	struct snapshot fresh, old;
	snapshot_take(&fresh, a->pools);
	pthread_mutex_lock(&a->lock);
	old = a->older;
	a->older = a->newer;
	a->newer = fresh;
	pthread_mutex_unlock(&a->lock);
	snapshot_fini(&old);
}

/* What is counted in one worker's part of a pool may be read while a pool ends, so a sum can be a little behind. */
static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static uint64_t for_each(uint64_t what, uint64_t n)
{
	return n ? what / n : 0;
}

static uint64_t per_second(uint64_t what, uint64_t us)
{
	return us ? (uint64_t)((double)what * US_PER_S / (double)us) : 0;
}

#define AVERAGE_SECOND(field) per_second(grown(now->field, was->field), us)
#define AVERAGE_TRANSACTION(field) for_each(grown(now->field, was->field), grown(now->transactions, was->transactions))
#define AVERAGE_QUERY(field) for_each(grown(now->field, was->field), grown(now->queries, was->queries))
#define AVERAGE(field, total, average, global, bare, bare_average, how, sentence) out->field = AVERAGE_##how(field);

void averages_of(struct averages *a, const char *database, const struct pool_counts *now, struct pool_counts *out)
{
	static const struct pool_counts nothing;
	pthread_mutex_lock(&a->lock);
	const struct snapshot *s = &a->older;
	const struct pool_counts *was = database ? map_get(&s->by_database, slice_of(database, strlen(database) + 1)) : &s->all;
	uint64_t us = clock_us() - s->at_us;
	was = was ? was : &nothing;
	POOL_COUNTERS(AVERAGE)
	pthread_mutex_unlock(&a->lock);
}
