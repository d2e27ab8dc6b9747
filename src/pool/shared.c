/*
 * shared — what the workers' pools have in common: the registry, one struct pool_shared per (node, database, user), tokens, facts.
 *
 * Tokens are taken and returned under the registry's lock, all or none, so no worker ever sees another's half of an attempt.  Who finds an upper
 * limit (node, database, user) reached leaves its mark in its slot inside the same critical section; a returned token wakes the oldest so marked under
 * each of its limits; and nobody takes a token past an older ticket that is marked for the same limit.  So no wake-up is lost
 * and no pool starves.
 *
 * Always: size.taken >= servers of all workers + parcels between them;  registry->blocked = slots that are marked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pool/poolkeys.h"
#include "priv.h"

static struct pool_slot *slots_end(struct pool_shared *s)
{
	return s->slots + s->registry->workers;
}

/* -- the registry ---------------------------------------------------------------------------------- */

struct pool_registry *pool_registry_new(unsigned workers)
{
	struct pool_registry *r = mem_alloc(sizeof *r);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	/* A letter that is refused while the lock is held may drop the last reference to a pool. */
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&r->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	r->workers = workers;
	r->limits = limits_new();
	r->mailboxes = mem_alloc(workers * sizeof *r->mailboxes);
	return r;
}

void pool_registry_free(struct pool_registry *r)
{
	struct slice key;
	void *value;
	ASSERT(map_len(&r->pools) == 0);
	for (uint32_t it = 0; map_next(&r->facts, &it, &key, &value);)
		mem_free(value);
	map_fini(&r->facts);
	for (uint32_t it = 0; map_next(&r->past, &it, &key, &value);)
		mem_free(value);
	map_fini(&r->past);
	ASSERT(map_len(&r->keys) == 0);
	map_fini(&r->keys);
	map_fini(&r->pools);
	limits_free(r->limits);
	pthread_mutex_destroy(&r->lock);
	mem_free(r->mailboxes);
	mem_free(r);
}

struct limits *pool_registry_limits(struct pool_registry *r)
{
	return r->limits;
}

void pool_registry_on_trouble(struct pool_registry *r, void (*fn)(void *arg, uint32_t node_id), void *arg)
{
	r->trouble = fn;
	r->trouble_arg = arg;
}

void pool_registry_trouble(struct pool_registry *r, uint32_t node_id)
{
	if (r->trouble)
		r->trouble(r->trouble_arg, node_id);
}

struct fact *registry_fact(struct pool_registry *r, const char *kind, const char *cluster, const char *dbname, const char *user)
{
	char *key = NULL;
	int len = asprintf(&key, "%s%c%s%c%s%c%s", kind, 0, cluster, 0, dbname, 0, user);
	ASSERT(len >= 0);
	pthread_mutex_lock(&r->lock);
	struct fact *fact = map_get(&r->facts, slice_of(key, (size_t)len));
	if (!fact) {
		fact = mem_alloc(sizeof *fact);
		map_put(&r->facts, slice_of(key, (size_t)len), fact);
	}
	pthread_mutex_unlock(&r->lock);
	free(key);
	return fact;
}

/* -- shared pools ---------------------------------------------------------------------------------- */

static struct pool_shared *shared_new(struct pool_registry *r, const struct pool_key *key, const char *node_name)
{
	char node[16];
	struct pool_shared *s = mem_alloc(sizeof *s + r->workers * sizeof s->slots[0]);
	snprintf(node, sizeof node, "%u", key->node_id);
	s->registry = r;
	s->id = atomic_fetch_add(&r->ids, 1) + 1;
	s->node_id = key->node_id;
	s->node_name = mem_text(node_name);
	s->database = mem_text(key->database);
	s->user = mem_text(key->user);
	s->upper[UPPER_NODE] = limits_named(r->limits, "node", node);
	s->upper[UPPER_DB] = limits_named(r->limits, "db", key->database);
	s->upper[UPPER_ROLE] = limits_named(r->limits, "user", key->user);
	dlist_init(&s->queue);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void read_tally(const struct pool_shared *s, struct pool_counts *counts)
{
	for (unsigned i = 0; i < s->registry->workers; i++) {
		const struct pool_tally *t = &s->slots[i].tally;
#define READ_TALLY(field, ...) counts->field += atomic_load_explicit(&t->field, memory_order_relaxed);
		POOL_COUNTERS(READ_TALLY)
	}
}

/* A pool ends, what it counted does not.  Lock held. */
static void keep_counts(struct pool_shared *s)
{
	struct slice key = slice_of(s->database, strlen(s->database) + 1); /* with its NUL */
	struct pool_counts *past = map_get(&s->registry->past, key), counts = { 0 };
	if (!past) {
		past = mem_alloc(sizeof *past);
		map_put(&s->registry->past, key, past);
	}
	read_tally(s, &counts);
	pool_counts_add(past, &counts);
}

static void shared_free(struct pool_shared *s)
{
	ASSERT(s->size.taken == 0 && s->opening.taken == 0 && dlist_is_empty(&s->queue));
	poolkeys_drop(s->keys);
	welcome_forget(s);
	mem_free(s->node_name);
	mem_free(s->database);
	mem_free(s->user);
	mem_free((void *)s->key.at);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

struct pool_shared *shared_get(struct pool_registry *r, const struct pool_key *key, struct slice map_key, const char *node_name)
{
	pthread_mutex_lock(&r->lock);
	struct pool_shared *s = map_get(&r->pools, map_key);
	if (!s) {
		s = shared_new(r, key, node_name);
		s->key = slice_of(mem_copy(map_key.at, map_key.len), map_key.len);
		map_put(&r->pools, map_key, s);
	}
	s->refs++;
	pthread_mutex_unlock(&r->lock);
	return s;
}

struct pool_shared *shared_ref(struct pool_shared *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

/* The last reference goes under the lock, so that nobody finds the pool in the map meanwhile. */
void shared_unref(struct pool_shared *s)
{
	struct pool_registry *r = s->registry;
	int64_t refs = atomic_load(&s->refs);
	while (refs > 1)
		if (atomic_compare_exchange_weak(&s->refs, &refs, refs - 1))
			return;
	pthread_mutex_lock(&r->lock);
	if (atomic_fetch_sub(&s->refs, 1) == 1) {
		map_remove(&r->pools, s->key);
		keep_counts(s);
		shared_free(s);
	}
	pthread_mutex_unlock(&r->lock);
}

uint64_t shared_oldest(struct pool_shared *s)
{
	pthread_mutex_lock(&s->lock);
	struct dlist *first = dlist_first(&s->queue);
	uint64_t ticket = first ? CONTAINER_OF(first, struct pool_wait, queue)->ticket : UINT64_MAX;
	pthread_mutex_unlock(&s->lock);
	return ticket;
}

/* -- tokens ---------------------------------------------------------------------------------------- */

static bool is_blocked_on(struct pool_shared *s, const struct limit *limit)
{
	for (struct pool_slot *slot = s->slots; slot < slots_end(s); slot++)
		if (slot->blocked_on == limit && atomic_load(&slot->waiting) > 0)
			return true;
	return false;
}

struct pool_shared *registry_oldest_blocked(struct pool_registry *r, const struct limit *limit, const struct pool_shared *except,
                                            uint64_t *ticket)
{
	struct pool_shared *oldest = NULL;
	struct slice key;
	void *value;
	*ticket = UINT64_MAX;
	for (uint32_t it = 0; map_next(&r->pools, &it, &key, &value);) {
		struct pool_shared *s = value;
		if (s == except || !is_blocked_on(s, limit))
			continue;
		uint64_t its = shared_oldest(s);
		if (its < *ticket) {
			*ticket = its;
			oldest = s;
		}
	}
	return oldest;
}

static void wake(struct pool_registry *r, const struct limit *limit)
{
	uint64_t ticket;
	struct pool_shared *s = atomic_load(&r->blocked) ? registry_oldest_blocked(r, limit, NULL, &ticket) : NULL;
	if (s)
		queue_kick(s);
}

/* Marks or unmarks this worker's slot.  When it stops waiting for a limit, whoever is next may have what it did not take. */
static void mark(struct pool *pool, struct limit *limit)
{
	struct pool_registry *r = pool->shared->registry;
	struct limit *was = pool->slot->blocked_on;
	if (limit == was)
		return;
	pool->slot->blocked_on = limit;
	pool->is_blocked = limit != NULL;
	atomic_fetch_add(&r->blocked, (limit != NULL) - (was != NULL));
	if (was)
		wake(r, was);
}

static uint64_t own_oldest(const struct pool *pool)
{
	return dlist_is_empty(&pool->waits) ? UINT64_MAX : CONTAINER_OF(pool->waits.next, struct pool_wait, link)->ticket;
}

/* The upper limit that forbids another server, or NULL: then a token of each was taken. */
static struct limit *take_upper(struct pool *pool)
{
	struct pool_shared *s = pool->shared;
	struct pool_registry *r = s->registry;
	uint64_t mine = own_oldest(pool), ticket;
	unsigned taken = 0;
	struct limit *refused = NULL;
	for (; taken < UPPER_COUNT && !refused; taken++) {
		struct limit *l = s->upper[taken];
		struct pool_shared *first = atomic_load(&r->blocked) ? registry_oldest_blocked(r, l, s, &ticket) : NULL;
		if (first && ticket < mine) {
			queue_kick(first); /* it is its turn */
			refused = l;
		} else if (!limit_take(l, pool->plan.upper_max[taken])) {
			refused = l;
		}
	}
	for (unsigned i = 0; refused && i + 1 < taken; i++)
		limit_give(s->upper[i]);
	return refused;
}

enum take tokens_take(struct pool *pool, int64_t size_max)
{
	struct pool_shared *s = pool->shared;
	struct limit *refused = NULL;
	enum take answer = TAKE_OK;
	pthread_mutex_lock(&s->registry->lock);
	if (!limit_take(&s->size, size_max)) {
		answer = TAKE_SIZE;
	} else if (!limit_take(&s->opening, pool->plan.max_connecting)) {
		limit_give(&s->size);
		answer = TAKE_OPENING;
	} else if ((refused = take_upper(pool))) {
		limit_give(&s->opening);
		limit_give(&s->size);
		answer = TAKE_BLOCKED;
	}
	/* Only waiters may claim the next token. */
	mark(pool, dlist_is_empty(&pool->waits) ? NULL : refused);
	pthread_mutex_unlock(&s->registry->lock);
	return answer;
}

void tokens_return(struct pool_shared *s)
{
	struct pool_registry *r = s->registry;
	pthread_mutex_lock(&r->lock);
	limit_give(&s->size);
	for (unsigned i = 0; i < UPPER_COUNT; i++)
		limit_give(s->upper[i]);
	for (unsigned i = 0; i < UPPER_COUNT; i++)
		wake(r, s->upper[i]);
	pthread_mutex_unlock(&r->lock);
	if (atomic_load(&s->waiters) > 0)
		queue_kick(s);
}

void tokens_promise(struct pool_shared *s, int sign)
{
	atomic_fetch_add(&s->size.leaving, sign);
	for (unsigned i = 0; i < UPPER_COUNT; i++)
		atomic_fetch_add(&s->upper[i]->leaving, sign);
}

int64_t limit_staying(const struct limit *l)
{
	return atomic_load(&l->taken) - atomic_load(&l->leaving);
}

bool limit_is_full(const struct limit *l, int64_t max)
{
	return max && limit_staying(l) >= max;
}

void tokens_unblock(struct pool *pool)
{
	if (!pool->is_blocked)
		return;
	pthread_mutex_lock(&pool->shared->registry->lock);
	mark(pool, NULL);
	pthread_mutex_unlock(&pool->shared->registry->lock);
}

/* -- rows ------------------------------------------------------------------------------------------ */

static void read_slots(struct pool_shared *s, struct pool_row *row)
{
	for (struct pool_slot *slot = s->slots; slot < slots_end(s); slot++) {
		row->idle += atomic_load(&slot->idle);
		row->resetting += atomic_load_explicit(&slot->resetting, memory_order_relaxed);
		row->cancels += atomic_load_explicit(&slot->cancels, memory_order_relaxed);
	}
	read_tally(s, &row->counts);
}

static void read_rests(struct pool_shared *s, struct pool_row *row)
{
	for (struct pool_slot *slot = s->slots; slot < slots_end(s); slot++)
		for (int i = SERVER_KEEPS; i < SERVER_RESTS_N; i++)
			row->rests[i] += atomic_load(&slot->rests[i]);
}

static uint64_t longest_wait_us(struct pool_shared *s)
{
	uint64_t now = clock_us(), wait = 0;
	pthread_mutex_lock(&s->lock);
	struct dlist *first = dlist_first(&s->queue);
	if (first)
		wait = CONTAINER_OF(first, struct pool_wait, queue)->since_us;
	pthread_mutex_unlock(&s->lock);
	return wait && now > wait ? now - wait : 0;
}

static void read_row(struct pool_shared *s, struct pool_row *row)
{
	*row = (struct pool_row){ .node_id = s->node_id,
		                      .node = s->node_name,
		                      .database = s->database,
		                      .user = s->user,
		                      .mode = pool_mode_name((enum pool_mode)atomic_load(&s->mode_now)),
		                      .clients = atomic_load(&s->clients),
		                      .waiting = atomic_load(&s->waiters),
		                      .opening = atomic_load(&s->opening.taken),
		                      .pinned = atomic_load(&s->pinned.taken),
		                      .size = atomic_load(&s->size_now),
		                      .max_wait_us = longest_wait_us(s) };
	read_slots(s, row);
	int64_t lent = atomic_load(&s->size.taken) - row->opening - row->idle - row->resetting;
	row->lent = lent > 0 ? lent : 0;
	read_rests(s, row);
}

void pool_registry_each(struct pool_registry *r, void (*fn)(void *arg, const struct pool_row *row), void *arg)
{
	struct slice key;
	void *value;
	pthread_mutex_lock(&r->lock);
	for (uint32_t it = 0; map_next(&r->pools, &it, &key, &value);) {
		struct pool_row row;
		read_row(value, &row);
		fn(arg, &row);
	}
	pthread_mutex_unlock(&r->lock);
}

void pool_registry_each_past(struct pool_registry *r,
                             void (*fn)(void *arg, const char *database, const struct pool_counts *counts), void *arg)
{
	struct slice key;
	void *value;
	pthread_mutex_lock(&r->lock);
	for (uint32_t it = 0; map_next(&r->past, &it, &key, &value);)
		fn(arg, (const char *)key.at, value);
	pthread_mutex_unlock(&r->lock);
}

int64_t pool_registry_servers(struct pool_registry *r, const char *database)
{
	struct slice key;
	void *value;
	int64_t n = 0;
	pthread_mutex_lock(&r->lock);
	for (uint32_t it = 0; map_next(&r->pools, &it, &key, &value);) {
		struct pool_shared *s = value;
		if (!database || strcmp(s->database, database) == 0)
			n += atomic_load(&s->size.taken);
	}
	pthread_mutex_unlock(&r->lock);
	return n;
}

void pool_counts_add(struct pool_counts *to, const struct pool_counts *what)
{
#define ADD_COUNT(field, ...) to->field += what->field;
	POOL_COUNTERS(ADD_COUNT)
}
