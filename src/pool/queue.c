/*
 * queue — who waits for a server of a pool, over all workers, and how an idle one or a free token finds them.
 *
 *   who waits                                        who has
 *   queue_join: entry, waiters++                     server_settle: idle++
 *     then look at idle counts:                        then look at waiters:
 *     own one -> queue_hand                            somebody -> queue_hand
 *     another worker's -> letter "ask"               "ask": dispatch idle ones while somebody waits; still
 *     none -> sleep                                      somebody -> ask the next worker that shows one
 *
 *   queue_hand … end of turn … queue_dispatch: the oldest entry is taken out under the lock; a wait of this worker is called back, for
 *   another's the connection is packed and mailed; nobody: idle++ and look again.
 *
 * Both counts are sequentially consistent, so of two that act at once one sees the other: nobody sleeps while a server is idle
 * (tests/unit/pool/model_test.c runs all interleavings).  A letter of a kind is not sent again to a worker before that has begun to
 * read it; it clears the mark first and looks at the world second.
 */
#include "priv.h"

enum note_kind { NOTE_ASK, NOTE_KICK, NOTE_EVICT, NOTE_RETIRE };

struct note {
	struct letter letter;
	enum note_kind kind;
	struct pool_shared *shared; /* a reference */
	struct limit *limit;        /* EVICT */
	struct fact *fact;          /* RETIRE */
};

static unsigned own_number(const struct pool *pool)
{
	return pool->pools->worker;
}

static bool has_waiters(const struct pool *pool)
{
	return atomic_load(&pool->shared->waiters) > 0;
}

/* -- letters --------------------------------------------------------------------------------------- */

static void ask_next(struct pool_shared *s, unsigned not_me);

static void dispatch_idle(struct pool *pool)
{
	struct server *srv;
	while (has_waiters(pool) && (srv = idle_pop(pool)))
		queue_dispatch(srv);
}

static void read_ask(struct pool_shared *s, unsigned me)
{
	atomic_store(&s->slots[me].asked, false);
	if (s->slots[me].local)
		dispatch_idle(s->slots[me].local);
	if (atomic_load(&s->waiters) > 0)
		ask_next(s, me);
}

static void read_kick(struct pool_shared *s, unsigned me)
{
	atomic_store(&s->slots[me].kicked, false);
	if (s->slots[me].local)
		grow(s->slots[me].local);
}

static bool somebody_is_blocked(struct pool_registry *r, const struct limit *limit)
{
	uint64_t ticket;
	pthread_mutex_lock(&r->lock);
	bool yes = atomic_load(&r->blocked) && registry_oldest_blocked(r, limit, NULL, &ticket);
	pthread_mutex_unlock(&r->lock);
	return yes;
}

static void read_evict(struct pool_shared *s, unsigned me, struct limit *limit)
{
	struct pool *pool = s->slots[me].local;
	atomic_store(&s->slots[me].evicting, false);
	if (!somebody_is_blocked(s->registry, limit))
		return;
	if (pool && pool->n_idle)
		server_close(CONTAINER_OF(pool->idle.prev, struct server, link), "another pool needs its place");
	else
		queue_evict(s->registry, limit);
}

static void read_retire(struct pools *p, const struct fact *fact)
{
	DLIST_EACH(it, &p->all)
	{
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		if (pool->retired == fact)
			pool_retire_servers(pool, "the defaults of its role or database changed");
	}
}

static void note_free(struct letter *letter)
{
	struct note *n = CONTAINER_OF(letter, struct note, letter);
	shared_unref(n->shared);
	mem_free(n);
}

static void note_deliver(struct letter *letter, void *receiver)
{
	struct pools *p = receiver;
	struct note *n = CONTAINER_OF(letter, struct note, letter);
	switch (n->kind) {
	case NOTE_ASK:
		read_ask(n->shared, p->worker);
		break;
	case NOTE_KICK:
		read_kick(n->shared, p->worker);
		break;
	case NOTE_EVICT:
		read_evict(n->shared, p->worker, n->limit);
		break;
	case NOTE_RETIRE:
		read_retire(p, n->fact);
		break;
	}
	note_free(letter);
}

static struct note *note_new(struct pool_shared *s, enum note_kind kind)
{
	struct note *n = mem_alloc(sizeof *n);
	n->letter = (struct letter){ .deliver = note_deliver, .refuse = note_free };
	n->kind = kind;
	n->shared = shared_ref(s);
	return n;
}

static void note_send(struct note *n, unsigned worker)
{
	mailbox_send(&n->shared->registry->mailboxes[worker], &n->letter);
}

/* One is enough: it asks the next itself if it cannot serve all. */
static void ask_next(struct pool_shared *s, unsigned not_me)
{
	unsigned workers = s->registry->workers;
	for (unsigned i = 1; i < workers; i++) {
		unsigned at = (not_me + i) % workers;
		if (atomic_load(&s->slots[at].idle) > 0 && !atomic_exchange(&s->slots[at].asked, true)) {
			note_send(note_new(s, NOTE_ASK), at);
			return;
		}
	}
}

void queue_look(struct pool *pool)
{
	struct server *srv = idle_pop(pool);
	if (srv)
		queue_hand(srv);
	else
		ask_next(pool->shared, own_number(pool));
}

void queue_kick(struct pool_shared *s)
{
	for (unsigned at = 0; at < s->registry->workers; at++)
		if (atomic_load(&s->slots[at].waiting) > 0 && !atomic_exchange(&s->slots[at].kicked, true))
			note_send(note_new(s, NOTE_KICK), at);
}

void queue_retire(struct pool *pool)
{
	struct pool_registry *r = pool->shared->registry;
	atomic_fetch_add(&pool->retired->value, 1);
	for (unsigned at = 0; at < r->workers; at++) {
		if (at == own_number(pool))
			continue;
		struct note *n = note_new(pool->shared, NOTE_RETIRE);
		n->fact = pool->retired;
		note_send(n, at);
	}
	read_retire(pool->pools, pool->retired);
}

/* -- eviction -------------------------------------------------------------------------------------- */

static bool counts_against(const struct pool_shared *s, const struct limit *limit)
{
	for (unsigned i = 0; i < UPPER_COUNT; i++)
		if (s->upper[i] == limit)
			return true;
	return false;
}

struct idlest {
	struct pool_shared *shared;
	unsigned worker;
	uint64_t since_us;
};

static void look_for_idle(struct pool_shared *s, struct idlest *found)
{
	for (unsigned at = 0; at < s->registry->workers; at++) {
		uint64_t since = atomic_load_explicit(&s->slots[at].oldest_idle_us, memory_order_relaxed);
		if (atomic_load(&s->slots[at].idle) > 0 && since < found->since_us)
			*found = (struct idlest){ .shared = s, .worker = at, .since_us = since };
	}
}

/* No idle one: then the next that is given back finds the mark. */
void queue_evict(struct pool_registry *r, struct limit *limit)
{
	struct idlest found = { .since_us = UINT64_MAX };
	struct slice key;
	void *value;
	pthread_mutex_lock(&r->lock);
	for (uint32_t it = 0; map_next(&r->pools, &it, &key, &value);)
		if (counts_against(value, limit))
			look_for_idle(value, &found);
	if (found.shared && !atomic_exchange(&found.shared->slots[found.worker].evicting, true)) {
		struct note *n = note_new(found.shared, NOTE_EVICT);
		n->limit = limit;
		note_send(n, found.worker);
	}
	pthread_mutex_unlock(&r->lock);
}

/* With own waiters the place changes hands only for somebody older, and only if that makes the pools more even: else two busy pools would
 * reconnect for each other without end. */
static bool should_yield(struct pool *pool, struct pool_shared *other, uint64_t ticket)
{
	if (!has_waiters(pool))
		return true;
	int64_t mine = limit_staying(&pool->shared->size), its = limit_staying(&other->size);
	return ticket < shared_oldest(pool->shared) && (its == 0 || its + 1 < mine);
}

bool queue_is_wanted_elsewhere(struct pool *pool)
{
	struct pool_registry *r = pool->shared->registry;
	bool wanted = false;
	if (LIKELY(atomic_load(&r->blocked) == 0))
		return false;
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < UPPER_COUNT && !wanted; i++) {
		uint64_t ticket;
		struct limit *l = pool->shared->upper[i];
		bool is_full = limit_is_full(l, pool->plan.upper_max[i]);
		struct pool_shared *other = is_full ? registry_oldest_blocked(r, l, pool->shared, &ticket) : NULL;
		wanted = other && should_yield(pool, other, ticket);
	}
	pthread_mutex_unlock(&r->lock);
	return wanted;
}

/* -- entries --------------------------------------------------------------------------------------- */

void queue_join(struct pool *pool, struct pool_wait *w)
{
	struct pool_shared *s = pool->shared;
	w->pool = pool;
	w->worker = own_number(pool);
	w->since_us = pool_now_us(pool);
	dlist_init(&w->link);
	dlist_init(&w->queue);
	dlist_push_back(&pool->waits, &w->link);
	pthread_mutex_lock(&s->lock);
	w->ticket = atomic_fetch_add(&s->registry->tickets, 1) + 1;
	dlist_push_back(&s->queue, &w->queue);
	atomic_fetch_add(&pool->slot->waiting, 1);
	atomic_fetch_add(&s->waiters, 1);
	pthread_mutex_unlock(&s->lock);
}

/* Lock held. */
static void take_out(struct pool_shared *s, struct pool_wait *w)
{
	dlist_remove(&w->queue);
	atomic_fetch_sub(&s->slots[w->worker].waiting, 1);
	atomic_fetch_sub(&s->waiters, 1);
}

/* Not waiting here any more. */
static void leave_pool(struct pool_wait *w)
{
	struct pool *pool = w->pool;
	dlist_remove(&w->link);
	w->pool = NULL;
	if (dlist_is_empty(&pool->waits))
		tokens_unblock(pool);
}

void queue_leave(struct pool_wait *w)
{
	struct pool_shared *s = w->pool->shared;
	pthread_mutex_lock(&s->lock);
	if (dlist_is_linked(&w->queue))
		take_out(s, w);
	pthread_mutex_unlock(&s->lock);
	leave_pool(w);
}

struct pool_wait *queue_promised(struct pool *pool)
{
	struct pool_wait *found = NULL;
	pthread_mutex_lock(&pool->shared->lock);
	DLIST_EACH(it, &pool->waits)
	{
		struct pool_wait *w = CONTAINER_OF(it, struct pool_wait, link);
		if (!found && !dlist_is_linked(&w->queue))
			found = w;
	}
	pthread_mutex_unlock(&pool->shared->lock);
	return found;
}

void queue_rejoin(struct pool_wait *w)
{
	struct pool_shared *s = w->pool->shared;
	pthread_mutex_lock(&s->lock);
	struct dlist *behind = &s->queue;
	while (behind->next != &s->queue && CONTAINER_OF(behind->next, struct pool_wait, queue)->ticket < w->ticket)
		behind = behind->next;
	dlist_insert_after(behind, &w->queue);
	atomic_fetch_add(&s->slots[w->worker].waiting, 1);
	atomic_fetch_add(&s->waiters, 1);
	pthread_mutex_unlock(&s->lock);
}

void queue_deliver(struct pool_wait *w, struct server *srv)
{
	leave_pool(w);
	server_lend(srv);
	w->ops->on_server(w, srv);
}

/* Those who join meanwhile (a callback may try again) are not told. */
void queue_fail(struct pool *pool, const struct err *err)
{
	uint64_t last = dlist_is_empty(&pool->waits) ? 0 : CONTAINER_OF(pool->waits.prev, struct pool_wait, link)->ticket;
	for (struct dlist *it; (it = dlist_first(&pool->waits));) {
		struct pool_wait *w = CONTAINER_OF(it, struct pool_wait, link);
		if (w->ticket > last)
			return;
		queue_leave(w);
		w->ops->on_failed(w, err);
	}
}

/* -- dispatch -------------------------------------------------------------------------------------- */

/* Gives SRV to the oldest entry; false when there is none.  The connection is packed under the lock: if that fails, the entry has not lost its place. */
static bool serve(struct server *srv)
{
	struct pool *pool = srv->pool;
	struct pool_shared *s = pool->shared;
	struct parcel *parcel = NULL;
	unsigned worker = own_number(pool);
	pthread_mutex_lock(&s->lock);
	struct dlist *first = dlist_first(&s->queue);
	struct pool_wait *w = first ? CONTAINER_OF(first, struct pool_wait, queue) : NULL;
	if (w)
		worker = w->worker;
	bool can = w && (worker == own_number(pool) || (parcel = parcel_pack(srv)));
	if (can)
		take_out(s, w);
	pthread_mutex_unlock(&s->lock);
	if (!w)
		return false;
	if (!can) {
		server_close(srv, "it could not be handed to another worker");
	} else if (parcel) {
		server_bury(srv);
		parcel_send(parcel, worker);
	} else {
		queue_deliver(w, srv);
	}
	return true;
}

void queue_dispatch(struct server *srv)
{
	struct pool *pool = srv->pool;
	while (srv) {
		if (server_is_stale(srv) || queue_is_wanted_elsewhere(pool)) {
			server_close(srv, server_is_stale(srv) ? "retired" : "another pool needs its place");
			return;
		}
		if (serve(srv))
			return;
		idle_push(srv);
		if (!has_waiters(pool) && !queue_is_wanted_elsewhere(pool))
			return;
		srv = idle_pop(pool);
	}
}

void queue_hand(struct server *srv)
{
	struct pools *p = srv->pool->pools;
	srv->is_handing = 1;
	dlist_push_back(&p->handing, &srv->link);
	loop_defer(p->loop, &p->hand);
}

static void hand_all(struct loop_defer *d)
{
	struct pools *p = CONTAINER_OF(d, struct pools, hand);
	for (struct dlist *it; (it = dlist_pop_front(&p->handing));) {
		struct server *srv = CONTAINER_OF(it, struct server, link);
		srv->is_handing = 0;
		queue_dispatch(srv);
	}
}

void queue_init(struct pools *p)
{
	dlist_init(&p->handing);
	loop_defer_init(&p->hand, hand_all);
}
