/*
 * Threads that borrow from one pool: its size is never exceeded, nobody is overtaken by more than what is in the mail, everybody is served.
 *
 * Meant for the thread sanitizer too.  Clients misbehave at random: they withdraw, leave transactions open, leave before the answer.
 */
#include <sched.h>

#include "poolrig.h"

#include "base/rand.h"

#define WORKERS 3
#define CLIENTS 8 /* of each worker */
#define ROUNDS 120

struct worker {
	pthread_t thread;
	struct loop *loop;
	struct engine *engine;
	struct settings_table *settings;
	struct pools *pools;
	struct loop_timer watch;
	uint64_t deadline_us;
	unsigned number;
};

struct client {
	struct pool_wait wait; /* first */
	struct worker *w;
	struct pool *pool;
	struct server *srv;
	struct loop_defer next;
	struct loop_timer patience;
	unsigned left;
};

static struct fakepg pg;
static struct pool_registry *registry;
static struct topo *topo;
static int64_t size, limit; /* of one pool, of all */
static unsigned n_databases;
static _Atomic int64_t lent, served, withdrawn;
static _Atomic unsigned finished, ready, closed;
static _Atomic bool too_many, overtaken, too_late, unexpected;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t id, ticket;
} waiting[WORKERS * CLIENTS];

/* -- who waits, as the clients see it --------------------------------------------------------------- */

static void note_waiting(const struct client *c, unsigned at)
{
	pthread_mutex_lock(&lock);
	waiting[at].id = pool_id(c->pool);
	waiting[at].ticket = c->wait.ticket;
	pthread_mutex_unlock(&lock);
}

/* Older ones that are still without a server: their servers must be in the mail, and there are no more than SIZE. */
static void note_not_waiting(const struct client *c, unsigned at, bool was_served)
{
	int64_t older = 0;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < WORKERS * CLIENTS; i++)
		older += waiting[i].id == pool_id(c->pool) && waiting[i].ticket < c->wait.ticket;
	waiting[at].id = 0;
	pthread_mutex_unlock(&lock);
	if (was_served && older > size)
		atomic_store(&overtaken, true);
}

/* -- a client --------------------------------------------------------------------------------------- */

static struct client clients[WORKERS * CLIENTS];

static void leave(struct client *c)
{
	struct server *srv = c->srv;
	c->srv = NULL;
	atomic_fetch_sub(&lent, 1);
	pool_give_back(srv);
	loop_defer(c->w->loop, &c->next);
}

static size_t on_data(struct server *srv, struct slice bytes, struct lent *lent_bytes)
{
	struct client *c = srv->borrower;
	struct frame f;
	struct reply entry;
	size_t taken = 0;
	while (c->srv && frame_next(slice_skip(bytes, taken), FRAME_FROM_SERVER, &f) == FRAME_OK && frame_is_whole(&f)) {
		taken += frame_size(&f);
		if (replies_on_message(&srv->replies, f.type, &entry) == REPLY_UNEXPECTED)
			atomic_store(&unexpected, true);
		if (f.type == 'Z') {
			srv->tx_status = f.body.at[0];
			leave(c);
		}
	}
	return taken;
}

static void on_gone(struct server *srv, const struct err *err)
{
	atomic_store(&unexpected, true);
}

static const struct server_user user = { .on_data = on_data, .on_gone = on_gone };

static void use(struct client *c, struct server *srv)
{
	uint8_t space[32];
	struct writer w;
	c->srv = srv;
	srv->user = &user;
	srv->borrower = c;
	atomic_fetch_add(&served, 1);
	if (atomic_fetch_add(&lent, 1) >= limit)
		atomic_store(&too_many, true);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'Q');
	writer_text(&w, rand_fast() % 8 ? "SELECT 1" : "BEGIN");
	writer_end(&w);
	if (!replies_push(&srv->replies, (struct reply){ .kind = REPLY_QUERY }))
		atomic_store(&unexpected, true);
	stream_send(&srv->up.stream, writer_slice(&w), NULL);
	if (rand_fast() % 32 == 0)
		leave(c);
}

static void on_server(struct pool_wait *wait, struct server *srv)
{
	struct client *c = (struct client *)wait;
	loop_timer_stop(c->w->loop, &c->patience);
	note_not_waiting(c, (unsigned)(c - clients), true);
	use(c, srv);
}

static void on_failed(struct pool_wait *wait, const struct err *err)
{
	atomic_store(&unexpected, true);
}

static const struct pool_wait_ops wait_ops = { .on_server = on_server, .on_failed = on_failed };

static void on_patience(struct loop_timer *t)
{
	struct client *c = CONTAINER_OF(t, struct client, patience);
	pool_withdraw(&c->wait);
	note_not_waiting(c, (unsigned)(c - clients), false);
	atomic_fetch_add(&withdrawn, 1);
	loop_defer(c->w->loop, &c->next);
}

static struct pool *any_pool(struct client *c)
{
	char database[16];
	snprintf(database, sizeof database, "db%u", (unsigned)(rand_fast() % n_databases));
	struct pool_key key = { .node_id = topo->clusters[0].nodes[0].id, .database = database, .user = "bob" };
	return pools_get(c->w->pools, topo, &key);
}

static void begin_round(struct loop_defer *d)
{
	struct client *c = CONTAINER_OF(d, struct client, next);
	if (c->left-- == 0) {
		pool_part(c->pool);
		atomic_fetch_add(&finished, 1);
		return;
	}
	struct pool *pool = any_pool(c);
	pool_join(pool);
	if (c->pool)
		pool_part(c->pool);
	c->pool = pool;
	struct server *srv = pool_checkout(pool, &c->wait);
	if (srv) {
		use(c, srv);
		return;
	}
	note_waiting(c, (unsigned)(c - clients));
	if (rand_fast() % 16 == 0)
		loop_timer_start(c->w->loop, &c->patience, rand_fast() % 2000);
}

/* -- a worker --------------------------------------------------------------------------------------- */

static void on_watch(struct loop_timer *t)
{
	struct worker *w = CONTAINER_OF(t, struct worker, watch);
	if (clock_us() > w->deadline_us)
		atomic_store(&too_late, true);
	if (atomic_load(&finished) == WORKERS * CLIENTS || atomic_load(&too_late))
		loop_stop(w->loop);
	else
		loop_timer_start(w->loop, t, US_PER_MS);
}

static bool has_stopped(void)
{
	return atomic_load(&too_late);
}

static void drop_clients(struct worker *w)
{
	for (struct client *c = clients; c < clients + WORKERS * CLIENTS; c++) {
		if (c->w != w)
			continue;
		pool_withdraw(&c->wait);
		if (c->srv)
			leave(c);
	}
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	w->loop = loop_new(false);
	w->engine = engine_new(w->loop);
	w->settings = settings_table_new();
	struct upstream_env env = { .engine = w->engine, .settings = w->settings };
	w->pools = pools_new(registry, w->number, &env);
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < WORKERS)
		sched_yield();
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[w->number * CLIENTS + i];
		*c = (struct client){ .wait = { .ops = &wait_ops }, .w = w, .left = ROUNDS };
		loop_defer_init(&c->next, begin_round);
		loop_timer_init(&c->patience, on_patience);
		loop_defer(w->loop, &c->next);
	}
	w->deadline_us = clock_us() + 60 * US_PER_S;
	loop_timer_init(&w->watch, on_watch);
	loop_timer_start(w->loop, &w->watch, US_PER_MS);
	loop_run(w->loop);
	if (has_stopped())
		drop_clients(w);
	pools_free(w->pools);
	settings_table_free(w->settings);
	/* Others may still mail to us. */
	atomic_fetch_add(&closed, 1);
	while (atomic_load(&closed) < WORKERS)
		sched_yield();
	engine_free(w->engine);
	loop_free(w->loop);
	return NULL;
}

static void run(const char *node, const char *pool_block, int64_t with_size, unsigned databases, int64_t with_limit)
{
	static struct rig rig;
	static struct worker workers[WORKERS];
	memset(&rig, 0, sizeof rig);
	memset(waiting, 0, sizeof waiting);
	hash_init();
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_KV);
	fakepg_start(&pg);
	confdir_init(&rig.dir);
	strcpy(rig.pg.dir, pg.dir);
	topo = rig_topo(&rig, node, pool_block, NULL);
	registry = pool_registry_new(WORKERS);
	size = with_size;
	limit = with_limit;
	n_databases = databases;
	atomic_store(&finished, 0);
	atomic_store(&ready, 0);
	atomic_store(&closed, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i].number = i;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	pool_registry_free(registry);
	topo_free(topo);
	confdir_fini(&rig.dir);
	fakepg_stop(&pg);
	assert_false(too_late);
	assert_false(too_many);
	assert_false(overtaken);
	assert_false(unexpected);
	assert_int_equal(lent, 0);
}

static void one_server_for_all(void **state)
{
	run("", "pool { size = 1 }", 1, 1, 1);
	assert_int_equal(pg.most, 1);
}

static void a_few_servers_for_all(void **state)
{
	run("", "pool { size = 4 max_connecting = 2 }", 4, 1, 4);
	assert_true(pg.most <= 4);
}

static void several_pools_under_one_limit(void **state)
{
	run("max_connections = 3", "pool { size = 2 }", 2, 3, 3);
	assert_true(pg.most <= 3); /* also on the server's side: who leaves is waited for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_server_for_all),
		cmocka_unit_test(a_few_servers_for_all),
		cmocka_unit_test(several_pools_under_one_limit),
	};
	return UNIT_RUN(tests);
}
