/*
 * grow — when a pool opens another server, what a failure to do so means, and the tick that closes what is not needed any more.
 *
 * Always: a worker has at most as many logins under way as it has waits (and, from the tick, what min_size asks for);
 *         after a failure nobody connects before retry_at, which all workers share: 50 ms, doubling to 1 s, with jitter.
 */
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "priv.h"

#define BACKOFF_LEAST_US (50 * US_PER_MS)
#define BACKOFF_MOST_US US_PER_S
#define TICK_US US_PER_S
#define LEAVE_US (5 * US_PER_S) /* for a server to close its side after Terminate */

/* -- opening --------------------------------------------------------------------------------------- */

static uint64_t oldest_since_us(const struct pool *pool)
{
	return dlist_is_empty(&pool->waits) ? pool_now_us(pool) : CONTAINER_OF(pool->waits.next, struct pool_wait, link)->since_us;
}

static uint64_t reserve_opens_us(const struct pool *pool)
{
	return oldest_since_us(pool) + pool->plan.reserve_timeout_us;
}

static int64_t size_max(const struct pool *pool)
{
	const struct conf_effective *e = &pool->plan.conf;
	bool is_reserve_open = !dlist_is_empty(&pool->waits) && pool_now_us(pool) >= reserve_opens_us(pool);
	return e->size + (is_reserve_open ? e->reserve_size : 0);
}

static void arm_timer(struct pool *pool, uint64_t at_us)
{
	uint64_t now = pool_now_us(pool);
	loop_timer_start(pool->pools->loop, &pool->timer, at_us > now ? at_us - now : 0);
}

void grow_timer_fired(struct loop_timer *t)
{
	grow(CONTAINER_OF(t, struct pool, timer));
}

/* Who is stopped by an upper limit looks for an idle server under it; if the limit has room, it was somebody older who stopped us. */
static void on_blocked(struct pool *pool)
{
	for (unsigned i = 0; i < UPPER_COUNT; i++) {
		struct limit *l = pool->shared->upper[i];
		if (pool->slot->blocked_on == l && limit_is_full(l, pool->plan.upper_max[i]))
			queue_evict(pool->shared->registry, l);
	}
}

static bool wants_more(const struct pool *pool)
{
	return !pool->is_gone && !pool->is_paused && !pool->plan.is_cut && atomic_load(&pool->slot->waiting) > pool->n_opening;
}

void grow(struct pool *pool)
{
	if (UNLIKELY(pool->plan.is_cut) && !dlist_is_empty(&pool->waits))
		fail_waits(pool, "is cut off");
	while (wants_more(pool)) {
		uint64_t retry_at = atomic_load(&pool->shared->retry_at_us);
		if (pool_now_us(pool) < retry_at) {
			arm_timer(pool, retry_at);
			break;
		}
		enum take answer = tokens_take(pool, size_max(pool));
		if (answer == TAKE_OK) {
			server_open(pool);
			continue;
		}
		if (answer == TAKE_SIZE && pool->plan.conf.reserve_size && pool_now_us(pool) < reserve_opens_us(pool))
			arm_timer(pool, reserve_opens_us(pool));
		if (answer == TAKE_BLOCKED)
			on_blocked(pool);
		return;
	}
	tokens_unblock(pool);
}

static void wake_others(struct pool *pool)
{
	if (atomic_load(&pool->shared->waiters) > 0)
		queue_kick(pool->shared);
}

void grow_on_opened(struct server *srv)
{
	struct pool *pool = srv->pool;
	struct pool_shared *s = pool->shared;
	atomic_store(&s->retry_at_us, 0);
	atomic_store(&s->backoff_us, 0);
	limit_give(&s->opening);
	pool_learn_welcome(pool, pool->pools->empty, srv->up.reported);
	srv->must_close |= pool->is_gone;
	srv->idle_since_us = pool_now_us(pool);
	queue_dispatch(srv);
	wake_others(pool);
}

/* -- failures -------------------------------------------------------------------------------------- */

static bool is_class(const char *sqlstate, const char *class)
{
	return strncmp(sqlstate, class, 2) == 0;
}

/* The node or the way to it: starting up, shutting down, gone. */
bool grow_is_trouble(const char *sqlstate)
{
	return (is_class(sqlstate, "08") && strcmp(sqlstate, "08P01") != 0) || strncmp(sqlstate, "57P0", 4) == 0;
}

/* Waiting will not help: the role, its password, the database, a refusal. */
static bool is_final(const char *sqlstate)
{
	return !grow_is_trouble(sqlstate) && !is_class(sqlstate, "53") && !is_class(sqlstate, "57") && !is_class(sqlstate, "58") &&
	       !is_class(sqlstate, "XX");
}

static void back_off(struct pool *pool)
{
	struct pool_shared *s = pool->shared;
	uint64_t now = pool_now_us(pool), was = atomic_load(&s->backoff_us);
	if (now < atomic_load(&s->retry_at_us))
		return; /* several failed at once */
	uint64_t next = was ? was * 2 : BACKOFF_LEAST_US;
	if (next > BACKOFF_MOST_US)
		next = BACKOFF_MOST_US;
	atomic_store(&s->backoff_us, next);
	atomic_store(&s->retry_at_us, now + next / 4 * 3 + rand_fast() % (next / 2));
}

static bool lacks_password(struct pool *pool)
{
	struct upstream_keys keys;
	bool has_keys = poolkeys_copy(pool->shared, &keys);
	secret_wipe(&keys, sizeof keys);
	return pool->plan.has_only_scram_secret && !has_keys;
}

static void explain(struct pool *pool, struct err *err)
{
	if (!is_class(err->sqlstate, "28") || !lacks_password(pool))
		return;
	err_set(err, "28000", "cannot log in to server \"%s\" as user \"%s\": the users file has only a SCRAM secret for it",
	        pool->plan.node_name, pool->shared->user);
	err_hint(err, "%s", "Let a client log in with scram-sha-256 once, or put the clear password into the users file.");
}

/* A server that comes back serves those who wait, although nobody can log in any more.  One that its session keeps does not. */
static bool has_server_to_come(struct pool_shared *s)
{
	int64_t n = atomic_load(&s->size.taken);
	for (unsigned i = 0; i < s->registry->workers; i++)
		n -= atomic_load(&s->slots[i].kept);
	return n > 0;
}

void grow_on_failed(struct server *srv, const struct err *from_server)
{
	struct pool *pool = srv->pool;
	struct pool_shared *s = pool->shared;
	struct err err = *from_server;
	explain(pool, &err);
	log_warn(&pool->log, "server_login_failed", KV_INT("server", srv->id), KV_ERR(&err));
	back_off(pool);
	server_bury(srv);
	limit_give(&s->opening);
	tokens_return(s);
	if (!pool->plan.is_primary || (is_final(err.sqlstate) && !has_server_to_come(s)))
		queue_fail(pool, &err);
	if (grow_is_trouble(err.sqlstate))
		pool_registry_trouble(s->registry, s->node_id);
	grow(pool);
}

/* -- the tick -------------------------------------------------------------------------------------- */

static bool is_needed(const struct pool *pool)
{
	const struct pool_shared *s = pool->shared;
	return atomic_load(&s->clients) > 0 && limit_staying(&s->size) <= pool->plan.conf.min_size;
}

static const char *reason_to_close(const struct server *srv, uint64_t now)
{
	const struct pool *pool = srv->pool;
	const struct plan *plan = &pool->plan;
	uint64_t idle_us = now > srv->idle_since_us ? now - srv->idle_since_us : 0;
	if (server_is_stale(srv))
		return "end of its life";
	if (limit_staying(&pool->shared->size) > plan->conf.size && idle_us >= TICK_US)
		return "the pool is larger than its size";
	if (plan->server_idle_timeout_us && idle_us >= plan->server_idle_timeout_us && !is_needed(pool))
		return "server_idle_timeout";
	return NULL;
}

static void close_unneeded(struct pool *pool)
{
	uint64_t now = pool_now_us(pool);
	for (struct dlist *it = pool->idle.prev, *before = it->prev; it != &pool->idle; it = before, before = it->prev) {
		struct server *srv = CONTAINER_OF(it, struct server, link);
		const char *reason = reason_to_close(srv, now);
		if (reason)
			server_close(srv, reason);
	}
}

static void fill_to_min(struct pool *pool)
{
	const struct pool_shared *s = pool->shared;
	int64_t min = pool->plan.conf.min_size;
	if (!min || !pool->clients || pool->is_gone || pool->is_paused || pool->is_deposed || pool->plan.is_cut ||
	    !dlist_is_empty(&pool->waits) || pool_now_us(pool) < atomic_load(&s->retry_at_us))
		return;
	while (limit_staying(&s->size) < min && tokens_take(pool, min) == TAKE_OK)
		server_open(pool);
}

static bool is_unused(const struct pool *pool)
{
	return !pool->clients && !pool->n_servers && dlist_is_empty(&pool->waits);
}

void grow_tick(struct pools *p)
{
	DLIST_EACH(it, &p->all)
	{
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		close_unneeded(pool);
		server_hurry_leaving(pool, pool_now_us(pool) - LEAVE_US);
		fill_to_min(pool);
		if (is_unused(pool))
			pool_drop(pool);
	}
	if (!dlist_is_empty(&p->all))
		loop_timer_start(p->loop, &p->tick, TICK_US);
}
