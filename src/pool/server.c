/*
 * server — one connection of a pool, from its login to its end.
 *
 *              grow.c                 pool_checkout, queue_deliver
 *   opening ───────────► idle (list or on its way) ◄──────────────► lent
 *      │                  ▲  │                      settle (clean)    │
 *      │     reset.c done │  │                                        │ pool_give_back, not clean
 *      │                  │  ▼                                        ▼
 *      │              resetting ◄─────────────────────────────────────┘
 *      └──────────────────┴──┴──► closing, until the server has closed too ──► freed at the end of the turn, or with its last cancel
 *
 * Always: `state` is written by enter() alone;  a server that is not freed holds a token of each limit, an opening one also one of
 *         `opening`;  the idle count of the slot is the length of the idle list.
 */
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "priv.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

/* A message to an idle server that is longer is not waited for. */
#define IDLE_MESSAGE_MAX (64u * 1024)

static const char *const state_names[] = { "opening", "idle", "lent", "resetting", "closing" };

/* One CancelRequest that is under way.  The server's memory stays until it is over. */
struct server_cancel {
	struct dlist link; /* in pools->cancels */
	struct server *srv;
	struct upstream_cancel *request;
	void (*fn)(void *arg);
	void *arg;
};

static bool may_enter(enum server_state from, enum server_state to)
{
	static const uint8_t next[] = {
		[SERVER_OPENING] = 1u << SERVER_IDLE | 1u << SERVER_CLOSING,
		[SERVER_IDLE] = 1u << SERVER_LENT | 1u << SERVER_CLOSING,
		[SERVER_LENT] = 1u << SERVER_IDLE | 1u << SERVER_RESETTING | 1u << SERVER_CLOSING,
		[SERVER_RESETTING] = 1u << SERVER_IDLE | 1u << SERVER_CLOSING,
		[SERVER_CLOSING] = 0,
	};
	return next[from] & 1u << to;
}

static NOT_INLINE void log_state(const struct server *srv, enum server_state next)
{
	log_debug(&srv->pool->log, "server_state", KV_INT("server", srv->id), KV_STR("from", state_names[srv->state]),
	          KV_STR("to", state_names[next]));
}

static inline void enter(struct server *srv, enum server_state next)
{
	ASSERT(may_enter(srv->state, next));
	if (UNLIKELY(log_is_on(LOG_LEVEL_DEBUG)))
		log_state(srv, next);
	srv->state = (uint8_t)next;
}

/* -- the idle list --------------------------------------------------------------------------------- */

static void publish_oldest(struct pool *pool)
{
	struct server *oldest = CONTAINER_OF(pool->idle.prev, struct server, link);
	atomic_store_explicit(&pool->slot->oldest_idle_us, oldest->idle_since_us, memory_order_relaxed);
}

/* The count is stored sequentially consistent: whoever looks for waiters next cannot miss one who looked at the count before. */
void idle_push(struct server *srv)
{
	struct pool *pool = srv->pool;
	dlist_push_front(&pool->idle, &srv->link);
	if (++pool->n_idle == 1)
		publish_oldest(pool);
	atomic_store(&pool->slot->idle, pool->n_idle);
}

void idle_remove(struct server *srv)
{
	struct pool *pool = srv->pool;
	bool was_oldest = pool->idle.prev == &srv->link;
	dlist_remove(&srv->link);
	if (--pool->n_idle && was_oldest)
		publish_oldest(pool);
	atomic_store_explicit(&pool->slot->idle, pool->n_idle, memory_order_release);
}

struct server *idle_pop(struct pool *pool)
{
	struct dlist *first = dlist_first(&pool->idle);
	if (!first)
		return NULL;
	struct server *srv = CONTAINER_OF(first, struct server, link);
	idle_remove(srv);
	return srv;
}

/* -- its end --------------------------------------------------------------------------------------- */

static void leave_list(struct server *srv)
{
	if (srv->state == SERVER_IDLE && !srv->is_handing && dlist_is_linked(&srv->link))
		idle_remove(srv);
	else
		dlist_remove(&srv->link);
	srv->is_handing = 0;
	srv->pool->n_opening -= srv->state == SERVER_OPENING;
}

static void free_server(struct server *srv)
{
	replies_fini(&srv->replies);
	mem_free(srv);
}

/* A server with a cancel under way stays until that is over: on_cancelled() frees it. */
static void free_dead(struct loop_defer *d)
{
	struct pools *p = CONTAINER_OF(d, struct pools, bury);
	for (struct dlist *it; (it = dlist_pop_front(&p->dead));) {
		struct server *srv = CONTAINER_OF(it, struct server, link);
		if (!srv->cancels)
			free_server(srv);
	}
}

void server_init_graveyard(struct pools *p)
{
	dlist_init(&p->dead);
	dlist_init(&p->cancels);
	loop_defer_init(&p->bury, free_dead);
}

void server_clear_graveyard(struct pools *p)
{
	loop_defer_cancel(&p->bury);
	for (struct dlist *it; (it = dlist_pop_front(&p->cancels));) {
		struct server_cancel *c = CONTAINER_OF(it, struct server_cancel, link);
		upstream_cancel_drop(c->request);
		if (c->fn)
			c->fn(c->arg);
		if (--c->srv->cancels == 0 && !dlist_is_linked(&c->srv->link))
			free_server(c->srv);
		mem_free(c);
	}
	free_dead(&p->bury);
}

static void forget(struct server *srv)
{
	if (srv->state == SERVER_LENT)
		pool_keep(srv, false), pool_rest(srv, SERVER_WORKS);
	slot_add(&srv->pool->slot->cancels, -(int64_t)srv->cancels);
	leave_list(srv);
	enter(srv, SERVER_CLOSING);
	reset_stop(srv);
	stmts_fini(&srv->stmts);
	settings_unref(srv->applied);
	settings_unref(srv->committed);
	srv->applied = srv->committed = NULL;
}

static void bury(struct server *srv)
{
	struct pools *p = srv->pool->pools;
	srv->pool->n_servers--;
	dlist_push_back(&p->dead, &srv->link);
	loop_defer(p->loop, &p->bury);
}

void server_bury(struct server *srv)
{
	forget(srv);
	bury(srv);
}

/* What it still runs for nobody is cancelled: a backend does not notice that its client has gone until it writes. */
static void stop_work(struct server *srv)
{
	if (srv->state != SERVER_OPENING && srv->replies.len && stream_is_open(&srv->up.stream))
		server_cancel(srv, NULL, NULL);
}

static void log_end(struct server *srv, const char *reason)
{
	log_info(&srv->pool->log, "server_closed", KV_INT("server", srv->id), KV_INT("pid", srv->up.backend_pid),
	         KV_STR("reason", reason), KV_INT("age_ms", (pool_now_us(srv->pool) - srv->opened_us) / US_PER_MS));
}

void server_close_now(struct server *srv, const char *reason)
{
	struct pool_shared *s = srv->pool->shared;
	bool was_opening = srv->state == SERVER_OPENING;
	log_end(srv, reason);
	stop_work(srv);
	upstream_close(&srv->up);
	server_bury(srv);
	if (was_opening)
		limit_give(&s->opening);
	tokens_return(s);
}

/* It will read Terminate next, and then close. */
static bool can_leave(const struct server *srv)
{
	return srv->state != SERVER_OPENING && replies_is_empty(&srv->replies) && stream_is_open(&srv->up.stream) &&
	       stream_backlog(&srv->up.stream) == 0;
}

void server_close(struct server *srv, const char *reason)
{
	static const uint8_t terminate[] = { 'X', 0, 0, 0, 4 };
	struct pool *pool = srv->pool;
	if (!can_leave(srv)) {
		server_close_now(srv, reason);
		return;
	}
	log_end(srv, reason);
	forget(srv);
	tokens_promise(pool->shared, 1);
	srv->idle_since_us = pool_now_us(pool); /* when it began to leave */
	dlist_push_back(&pool->leaving, &srv->link);
	stream_resume(&srv->up.stream);
	stream_send(&srv->up.stream, slice_of(terminate, sizeof terminate), NULL);
}

static void has_left(struct server *srv)
{
	struct pool_shared *s = srv->pool->shared;
	dlist_remove(&srv->link);
	stream_close(&srv->up.stream);
	upstream_close(&srv->up);
	bury(srv);
	tokens_promise(s, -1);
	tokens_return(s);
}

void server_hurry_leaving(struct pool *pool, uint64_t begun_before_us)
{
	DLIST_EACH(it, &pool->leaving)
	{
		struct server *srv = CONTAINER_OF(it, struct server, link);
		if (srv->idle_since_us < begun_before_us)
			has_left(srv);
	}
}

/* -- what its stream tells ------------------------------------------------------------------------- */

void server_close_after_error(struct server *srv, struct slice body)
{
	struct pgerr e;
	struct err err;
	if (!pgerr_read(body, &e)) {
		server_close(srv, "it sent a malformed error");
		return;
	}
	pgerr_to_err(&e, &err);
	bool is_trouble = grow_is_trouble(err.sqlstate);
	struct pool_registry *r = srv->pool->shared->registry;
	uint32_t node_id = srv->pool->shared->node_id;
	server_close(srv, err.text);
	if (is_trouble)
		pool_registry_trouble(r, node_id);
}

void server_note_reported(struct server *srv, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r), value = reader_text(&r);
	if (!reader_done(&r))
		return;
	struct settings *with = settings_with(srv->up.reported, name, value);
	settings_unref(srv->up.reported);
	srv->up.reported = with;
}

/* Notices and parameters may come at any time; anything else on an idle connection is something that our books do not tell. */
static bool idle_message(struct server *srv, const struct frame *f)
{
	if (f->type == 'S')
		server_note_reported(srv, f->body);
	else if (f->type == 'E')
		server_close_after_error(srv, f->body);
	else if (f->type != 'N')
		server_close(srv, f->type == 'A' ? "it was listening" : "it spoke while idle");
	return srv->state == SERVER_IDLE;
}

static size_t idle_on_data(struct server *srv, struct slice bytes)
{
	size_t taken = 0;
	struct frame f;
	for (;;) {
		enum frame_result r = frame_next(slice_skip(bytes, taken), FRAME_FROM_SERVER, &f);
		if (r == FRAME_SHORT || (r == FRAME_OK && !frame_is_whole(&f) && f.body_len <= IDLE_MESSAGE_MAX))
			return taken;
		if (r == FRAME_BAD || !frame_is_whole(&f)) {
			server_close(srv, "it broke the protocol while idle");
			return bytes.len;
		}
		taken += frame_size(&f);
		if (!idle_message(srv, &f))
			return taken;
	}
}

static size_t dispatch_data(struct server *srv, struct slice bytes, struct lent *lent)
{
	switch ((enum server_state)srv->state) {
	case SERVER_LENT:
		return srv->user->on_data(srv, bytes, lent);
	case SERVER_RESETTING:
		return reset_on_data(srv, bytes);
	case SERVER_IDLE:
		return idle_on_data(srv, bytes);
	default:
		return bytes.len;
	}
}

/* What a borrower leaves when it gives the server back is for the state after it. */
static size_t on_data(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct server *srv = s->owner;
	size_t taken = 0;
	uint8_t state;
	do {
		state = srv->state;
		taken += dispatch_data(srv, slice_skip(bytes, taken), lent);
	} while (taken < bytes.len && srv->state != state);
	return taken;
}

static void on_drained(struct stream *s)
{
	struct server *srv = s->owner;
	if (srv->state == SERVER_LENT && srv->user->on_drained)
		srv->user->on_drained(srv);
}

static void on_closed(struct stream *s, enum stream_end why, int error)
{
	struct server *srv = s->owner;
	struct pool_registry *r = srv->pool->shared->registry;
	uint32_t node_id = srv->pool->shared->node_id;
	struct err err;
	if (srv->state == SERVER_CLOSING) {
		has_left(srv);
		return;
	}
	err_set(&err, "08006", "the server connection was lost: %s",
	        why == STREAM_END_EOF ? "the server closed it" : strerror(error));
	if (srv->state == SERVER_LENT)
		srv->user->on_gone(srv, &err);
	if (srv->state != SERVER_CLOSING)
		server_close(srv, err.text);
	pool_registry_trouble(r, node_id);
}

const struct stream_ops server_stream = { .on_data = on_data, .on_drained = on_drained, .on_closed = on_closed };

/* -- its beginning --------------------------------------------------------------------------------- */

static void on_ready(struct upstream *up)
{
	struct server *srv = CONTAINER_OF(up, struct server, up);
	struct pool *pool = srv->pool;
	dlist_remove(&srv->link);
	pool->n_opening--;
	up->stream.ops = &server_stream;
	up->stream.owner = srv;
	srv->tx_status = 'I';
	enter(srv, SERVER_IDLE);
	stream_all_read(&srv->up.stream);
	log_info(&pool->log, "server_opened", KV_INT("server", srv->id), KV_INT("pid", up->backend_pid),
	         KV_INT("ms", (pool_now_us(pool) - srv->opened_us) / US_PER_MS));
	grow_on_opened(srv);
}

static void on_failed(struct upstream *up, const struct err *err, bool is_servers)
{
	struct server *srv = CONTAINER_OF(up, struct server, up);
	grow_on_failed(srv, err);
}

/* Ends of life are spread over the last fifth, so that a pool which was filled at once is not rebuilt at once. */
static uint64_t retire_at(const struct pool *pool, uint64_t now)
{
	uint64_t lifetime = pool->plan.server_lifetime_us, fifth = lifetime / 5;
	return lifetime ? now + lifetime - (fifth ? rand_fast() % fifth : 0) : 0;
}

struct server *server_new(struct pool *pool)
{
	struct server *srv = mem_alloc(sizeof *srv);
	srv->pool = pool;
	srv->tx_status = 'I';
	dlist_init(&srv->link);
	pool->n_servers++;
	return srv;
}

void server_open(struct pool *pool)
{
	static const struct upstream_ops ops = { .on_ready = on_ready, .on_failed = on_failed };
	struct pool_shared *s = pool->shared;
	struct upstream_keys keys;
	struct server *srv = server_new(pool);
	srv->id = atomic_fetch_add(&s->registry->server_ids, 1) + 1;
	srv->opened_us = pool_now_us(pool);
	srv->retire_us = retire_at(pool, srv->opened_us);
	srv->retired = atomic_load(&pool->retired->value);
	srv->applied = settings_ref(pool->pools->empty);
	srv->committed = settings_ref(pool->pools->empty);
	dlist_push_back(&pool->opening, &srv->link);
	pool->n_opening++;
	bool has_keys = poolkeys_copy(s, &keys);
	struct upstream_target target = { .host = pool->plan.host,
		                              .port = pool->plan.port,
		                              .database = pool->plan.dbname,
		                              .user = s->user,
		                              .password = pool->plan.password,
		                              .md5 = pool->plan.md5,
		                              .cleartext_password = pool->plan.cleartext_password,
		                              .requires_binding = pool->plan.requires_binding,
		                              .keys = has_keys ? &keys : NULL,
		                              .timeout_us = pool->plan.connect_timeout_us,
		                              .tcp_user_timeout_ms = pool->plan.tcp_user_timeout_ms,
		                              .tls = pool->plan.tls };
	upstream_open(&srv->up, &pool->pools->env, &target, &ops);
	secret_wipe(&keys, sizeof keys);
}

/* -- lent and back --------------------------------------------------------------------------------- */

void server_lend(struct server *srv)
{
	dlist_push_back(&srv->pool->lent, &srv->link);
	POOL_COUNT(srv->pool, assignments, 1);
	enter(srv, SERVER_LENT);
}

bool server_is_stale(const struct server *srv)
{
	return srv->must_close || srv->retired != atomic_load_explicit(&srv->pool->retired->value, memory_order_relaxed) ||
	       (srv->retire_us && pool_now_us(srv->pool) >= srv->retire_us);
}

/* A reload has made the pool smaller. */
static bool is_one_too_many(const struct pool *pool)
{
	return limit_staying(&pool->shared->size) > pool->plan.conf.size + pool->plan.conf.reserve_size;
}

void server_settle(struct server *srv)
{
	struct pool *pool = srv->pool;
	if (UNLIKELY(is_one_too_many(pool))) {
		server_close(srv, "the pool became smaller");
		return;
	}
	if (server_is_stale(srv)) {
		server_close(srv, srv->must_close ? "retired" : "end of its life");
		return;
	}
	dlist_remove(&srv->link);
	enter(srv, SERVER_IDLE);
	srv->idle_since_us = pool_now_us(pool);
	idle_push(srv);
	if (LIKELY(atomic_load(&pool->shared->waiters) == 0 && atomic_load(&pool->shared->registry->blocked) == 0))
		return;
	idle_remove(srv);
	queue_hand(srv);
}

void server_enter_reset(struct server *srv)
{
	dlist_remove(&srv->link);
	dlist_push_back(&srv->pool->resetting, &srv->link);
	enter(srv, SERVER_RESETTING);
}

/* -- cancel ---------------------------------------------------------------------------------------- */

static void on_cancelled(void *arg, bool is_over)
{
	struct server_cancel *c = arg;
	struct server *srv = c->srv;
	dlist_remove(&c->link);
	srv->cancels--;
	if (srv->state != SERVER_CLOSING) /* else its pool may be gone */
		slot_add(&srv->pool->slot->cancels, -1);
	if (!is_over)
		srv->must_close = 1; /* it may still strike whoever is served next */
	if (c->fn)
		c->fn(c->arg);
	mem_free(c);
	if (srv->state == SERVER_RESETTING)
		reset_advance(srv);
	else if (srv->state == SERVER_CLOSING && !srv->cancels && !dlist_is_linked(&srv->link))
		free_server(srv);
}

void server_cancel(struct server *srv, void (*fn)(void *arg), void *arg)
{
	struct server_cancel *c = mem_alloc(sizeof *c);
	struct upstream *up = &srv->up;
	*c = (struct server_cancel){ .srv = srv, .fn = fn, .arg = arg };
	dlist_push_back(&srv->pool->pools->cancels, &c->link);
	srv->cancels++;
	slot_add(&srv->pool->slot->cancels, 1);
	c->request = upstream_cancel(&srv->pool->pools->env, &up->addr, stream_tls(&up->stream), up->backend_pid,
	                             slice_of(up->backend_key, up->backend_key_len), on_cancelled, c);
}
