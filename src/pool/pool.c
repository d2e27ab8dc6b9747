/*
 * pool — the interface: finding a pool, borrowing from it, giving back.
 *
 * The way of nearly every statement is pool_checkout() with nobody waiting and an own server idle, and pool_give_back() of a clean server
 * with nobody waiting: a list, a counter, two loads.  Everything else goes through queue.c, grow.c and reset.c.
 *
 * Always: a local pool lives as long as it has servers, waits or clients (the tick drops it);  its slot in the shared pool names it.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "priv.h"

/* -- finding --------------------------------------------------------------------------------------- */

static unsigned who(const struct log *log, struct log_kv *out, unsigned max)
{
	const struct pool *pool = CONTAINER_OF(log, struct pool, log);
	if (max < 3)
		return 0;
	out[0] = KV_STR("node", pool->plan.node_name);
	out[1] = KV_STR("db", pool->shared->database);
	out[2] = KV_STR("user", pool->shared->user);
	return 3;
}

static struct pool *pool_new(struct pools *p, struct plan plan, bool is_paused, const struct pool_key *key, struct slice map_key)
{
	struct pool *pool = mem_alloc(sizeof *pool);
	pool->pools = p;
	pool->plan = plan;
	pool->shared = shared_get(p->registry, key, map_key, plan.node_name);
	pool->slot = &pool->shared->slots[p->worker];
	pool->slot->local = pool;
	pool->face.tally = &pool->slot->tally;
	pool->log.who = who;
	pool->served_primary = plan.is_primary;
	pool->is_paused = is_paused;
	dlist_init(&pool->idle);
	dlist_init(&pool->lent);
	dlist_init(&pool->opening);
	dlist_init(&pool->resetting);
	dlist_init(&pool->leaving);
	dlist_init(&pool->waits);
	dlist_push_back(&p->all, &pool->link);
	loop_timer_init(&pool->timer, grow_timer_fired);
	plan_apply(pool);
	map_put(&p->by_key, map_key, pool);
	if (!loop_timer_is_running(&p->tick))
		loop_timer_start(p->loop, &p->tick, US_PER_S);
	return pool;
}

void pool_drop(struct pool *pool)
{
	struct pools *p = pool->pools;
	ASSERT(!pool->n_servers && dlist_is_empty(&pool->waits));
	tokens_unblock(pool);
	loop_timer_stop(p->loop, &pool->timer);
	dlist_remove(&pool->link);
	map_remove(&p->by_key, pool->shared->key);
	p->changes++;
	pool->slot->local = NULL;
	plan_fini(&pool->plan);
	shared_unref(pool->shared);
	mem_free(pool);
}

/* The node's id in 8 digits, the database, a NUL, the user. */
static char *map_key_of(const struct pool_key *key, struct slice *as_slice)
{
	size_t db = strlen(key->database), user = strlen(key->user), len = 8 + db + 1 + user;
	char *text = mem_alloc(len + 1);
	snprintf(text, 9, "%08x", key->node_id);
	memcpy(text + 8, key->database, db);
	memcpy(text + 8 + db + 1, key->user, user);
	*as_slice = slice_of(text, len);
	return text;
}

struct pool *pools_get(struct pools *p, const struct topo *topo, const struct pool_key *key)
{
	struct slice map_key;
	struct plan plan;
	char *text = map_key_of(key, &map_key);
	struct pool *pool = map_get(&p->by_key, map_key);
	if (pool && pool->is_gone)
		pool = NULL;
	else if (!pool && plan_read(&plan, topo, p->env.keyring, key->node_id, key->database, key->user))
		pool = pool_new(p, plan, topo_holds(topo, key->database, TOPO_PAUSED), key, map_key);
	mem_free(text);
	return pool;
}

struct pool *pool_sibling(struct pool *pool, const struct topo *topo, uint32_t node_id)
{
	struct pools *p = pool->pools;
	struct pool **at = &pool->siblings[node_id % POOL_SIBLINGS];
	if (UNLIKELY(pool->siblings_as_of != p->changes)) {
		memset(pool->siblings, 0, sizeof pool->siblings);
		pool->siblings_as_of = p->changes;
	}
	if (UNLIKELY(!*at || (*at)->shared->node_id != node_id)) {
		struct pool_key key = { .node_id = node_id, .database = pool->shared->database, .user = pool->shared->user };
		*at = pools_get(p, topo, &key);
	}
	return *at;
}

void pool_join(struct pool *pool)
{
	pool->clients++;
	atomic_fetch_add(&pool->shared->clients, 1);
}

void pool_part(struct pool *pool)
{
	ASSERT(pool->clients > 0);
	pool->clients--;
	atomic_fetch_sub(&pool->shared->clients, 1);
}

/* -- what a worker has ----------------------------------------------------------------------------- */

static void tick_fired(struct loop_timer *t)
{
	grow_tick(CONTAINER_OF(t, struct pools, tick));
}

struct pools *pools_new(struct pool_registry *r, unsigned worker, const struct upstream_env *env)
{
	struct pools *p = mem_alloc(sizeof *p);
	ASSERT(worker < r->workers);
	p->registry = r;
	p->worker = worker;
	p->env = *env;
	p->loop = engine_loop(env->engine);
	p->mailbox = &r->mailboxes[worker];
	p->empty = settings_empty(env->settings);
	dlist_init(&p->all);
	loop_timer_init(&p->tick, tick_fired);
	loop_defer_init(&p->tell, plan_tell_all);
	queue_init(p);
	server_init_graveyard(p);
	mailbox_open(p->mailbox, p->loop, p);
	return p;
}

static void close_list(struct dlist *list)
{
	for (struct dlist *it; (it = dlist_first(list));)
		server_close_now(CONTAINER_OF(it, struct server, link), "shutdown");
}

void pools_free(struct pools *p)
{
	mailbox_close(p->mailbox);
	loop_timer_stop(p->loop, &p->tick);
	loop_defer_cancel(&p->hand);
	loop_defer_cancel(&p->tell);
	close_list(&p->handing);
	for (struct dlist *it; (it = dlist_first(&p->all));) {
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		ASSERT(dlist_is_empty(&pool->lent) && dlist_is_empty(&pool->waits));
		close_list(&pool->idle);
		close_list(&pool->opening);
		close_list(&pool->resetting);
		server_hurry_leaving(pool, UINT64_MAX);
		atomic_fetch_sub(&pool->shared->clients, pool->clients);
		pool_drop(pool);
	}
	server_clear_graveyard(p);
	map_fini(&p->by_key);
	settings_unref(p->empty);
	mem_free(p);
}

struct mailbox *pools_mailbox(struct pools *p)
{
	return p->mailbox;
}

/* -- borrowing ------------------------------------------------------------------------------------- */

struct server *pool_checkout(struct pool *pool, struct pool_wait *w)
{
	bool is_first = atomic_load_explicit(&pool->shared->waiters, memory_order_acquire) == 0;
	struct server *srv = is_first ? idle_pop(pool) : NULL;
	if (LIKELY(srv != NULL)) {
		server_lend(srv);
		return srv;
	}
	ASSERT(!w->pool);
	queue_join(pool, w);
	queue_look(pool);
	grow(pool);
	return NULL;
}

void pool_withdraw(struct pool_wait *w)
{
	if (w->pool)
		queue_leave(w);
}

void pool_keep(struct server *srv, bool is_kept)
{
	ASSERT(srv->state == SERVER_LENT);
	if (srv->is_kept == is_kept)
		return;
	srv->is_kept = is_kept;
	atomic_fetch_add(&srv->pool->slot->kept, is_kept ? 1 : -1);
}

void pool_rest(struct server *srv, enum server_rest how)
{
	ASSERT(srv->state == SERVER_LENT);
	if (srv->rests == how)
		return;
	slot_add(&srv->pool->slot->rests[srv->rests], -1);
	slot_add(&srv->pool->slot->rests[how], 1);
	srv->rests = how & 3u;
}

void pool_give_back(struct server *srv)
{
	ASSERT(srv->state == SERVER_LENT);
	pool_keep(srv, false);
	pool_rest(srv, SERVER_WORKS);
	srv->user = NULL;
	srv->borrower = NULL;
	stream_resume(&srv->up.stream);
	if (LIKELY(!reset_is_needed(srv)))
		server_settle(srv);
	else if (srv->must_close)
		server_close(srv, "retired");
	else
		reset_start(srv);
}

void pool_close_server(struct server *srv, const char *reason)
{
	ASSERT(srv->state == SERVER_LENT);
	srv->user = NULL;
	srv->borrower = NULL;
	server_close(srv, reason);
}

/* -- facts about a pool ---------------------------------------------------------------------------- */

uint64_t pool_id(const struct pool *pool)
{
	return pool->shared->id;
}

uint32_t pool_node_id(const struct pool *pool)
{
	return pool->shared->node_id;
}

size_t pool_cluster_at(const struct pool *pool)
{
	return pool->plan.cluster_at;
}

const struct conf_effective *pool_conf(const struct pool *pool)
{
	return &pool->plan.conf;
}

int64_t pool_max_server_statements(const struct pool *pool)
{
	return pool->plan.max_server_statements;
}

uint64_t pool_ddl_generation(const struct pool *pool)
{
	return atomic_load_explicit(&pool->ddl->value, memory_order_acquire);
}

uint64_t pool_retired_generation(const struct pool *pool)
{
	return atomic_load_explicit(&pool->retired->value, memory_order_acquire);
}

void pool_note_ddl(struct pool *pool)
{
	atomic_fetch_add(&pool->ddl->value, 1);
}

bool pool_pin(struct pool *pool, bool force)
{
	const struct conf_effective *e = &pool->plan.conf;
	int64_t half = e->size / 2 > 1 ? e->size / 2 : 1, most = e->max_pinned < 0 ? half : e->max_pinned;
	struct limit *l = &pool->shared->pinned;
	return most || force ? limit_take(l, force ? 0 : most) : false;
}

void pool_unpin(struct pool *pool)
{
	limit_give(&pool->shared->pinned);
}

bool pool_pins_sequences(const struct pool *pool)
{
	return atomic_load_explicit(&pool->sequences->value, memory_order_relaxed) != 0;
}

void pool_pin_sequences(struct pool *pool)
{
	atomic_store(&pool->sequences->value, 1);
}

void pool_retire_database(struct pool *pool)
{
	queue_retire(pool);
}

/* -- rows ------------------------------------------------------------------------------------------ */

struct server_walk {
	const struct pool *pool;
	void (*fn)(void *arg, const struct server_row *row);
	void *arg;
};

static void tell_servers(const struct server_walk *walk, const struct dlist *list, const char *state)
{
	const struct pool *pool = walk->pool;
	for (const struct dlist *it = list->next; it != list; it = it->next) {
		const struct server *srv = CONTAINER_OF(it, struct server, link);
		walk->fn(walk->arg, &(struct server_row){ .id = srv->id,
		                                          .opened_us = srv->opened_us,
		                                          .idle_since_us = srv->idle_since_us,
		                                          .node = pool->plan.node_name,
		                                          .database = pool->shared->database,
		                                          .user = pool->shared->user,
		                                          .state = state,
		                                          .srv = srv,
		                                          .must_close = server_is_stale(srv) });
	}
}

void pools_each_server(struct pools *p, void (*fn)(void *arg, const struct server_row *row), void *arg)
{
	DLIST_EACH(it, &p->all)
	{
		const struct server_walk walk = { CONTAINER_OF(it, struct pool, link), fn, arg };
		tell_servers(&walk, &walk.pool->lent, "active");
		tell_servers(&walk, &walk.pool->idle, "idle");
		tell_servers(&walk, &walk.pool->resetting, "tested");
		tell_servers(&walk, &walk.pool->opening, "new");
	}
}
