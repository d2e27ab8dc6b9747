/*
 * worker — a thread that serves clients for life.
 *
 *   new -> running -> stopped;  running: a turn = pick up the topology, letters, bytes, deferred calls, flush
 *
 * The thread makes its own world when it starts and takes it down when its loop was stopped.  The control thread reaches it only by
 * letters and by worker_wake().  Always: the topology pointer that sessions and the console see is this turn's.
 */
#include "app/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "admin/console.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/stream.h"
#include "sql/classify.h"
#include "wire/scrammem.h"

#define STACK_BYTES (8u << 20) /* libpg_query recurses as deep as a statement nests */

struct worker {
	struct worker_env env;
	unsigned index;
	pthread_t thread;
	struct loop *loop;
	struct mailbox mailbox;
	struct loop_async wake;
	atomic_bool is_draining;
	/* the thread's own */
	uint64_t generation; /* of the topology that pools and sessions know */
	uint64_t catalog_generation;
	struct engine *engine;
	struct settings_table *settings;
	struct scram_memory *memory;
	struct sql_cache *cache;
	struct pools *pools;
	struct sessions *sessions;
	struct console console;
};

static void on_turn_start(void *arg)
{
	struct worker *w = arg;
	const struct topo *topo = topo_pick_up(w->env.board, w->index);
	uint64_t catalog = catalog_generation(w->env.catalog);
	w->console.topo = topo;
	if (catalog != w->catalog_generation) {
		w->catalog_generation = catalog;
		sessions_on_catalog(w->sessions);
	}
	if (topo->generation == w->generation)
		return;
	w->generation = topo->generation;
	pools_on_topology(w->pools, topo);
	sessions_on_topology(w->sessions, topo);
	pools_cut_off(w->pools);
}

/* Whether io_uring is to be had was asked before, but each thread has a ring of its own. */
static struct engine *make_engine(struct worker *w)
{
	struct err why;
	struct engine *e = w->env.engine == CONF_ENGINE_EPOLL ? NULL : engine_new_io_uring(w->loop, &why);
	if (e)
		return e;
	if (w->env.engine == CONF_ENGINE_IO_URING)
		die("worker %u cannot start: %s", w->index, why.text);
	if (w->env.engine == CONF_ENGINE_AUTO)
		log_warn(NULL, "epoll_instead_of_io_uring", KV_INT("worker", w->index), KV_ERR(&why));
	return engine_new(w->loop);
}

static void world_make(struct worker *w)
{
	const struct topo *topo = topo_pick_up(w->env.board, w->index);
	w->engine = make_engine(w);
	w->settings = settings_table_new();
	w->cache = sql_cache_new(topo->conf->statement_cache);
	w->memory = scram_memory_new();
	struct upstream_env up = { w->engine, w->env.resolver, &w->mailbox, w->settings, w->env.keyring, w->memory };
	w->pools = pools_new(w->env.pools, w->index, &up);
	w->console.topo = topo;
	w->console.pools = w->pools;
	w->console.auth = w->env.auth;
	w->console.hooks = w->env.hooks;
	w->console.records = w->env.records;
	w->sessions = sessions_new(&(struct session_env){
	    .worker = w->index,
	    .upstream = up,
	    .pools = w->pools,
	    .pool_registry = w->env.pools,
	    .registry = w->env.sessions,
	    .cache = w->cache,
	    .catalog = w->env.catalog,
	    .auth = w->env.auth,
	    .console = console_for_sessions(&w->console),
	});
	w->console.sessions = w->sessions;
	on_turn_start(w);
	loop_on_turn_start(w->loop, on_turn_start, w);
}

static void world_end(struct worker *w)
{
	sessions_free(w->sessions);
	console_close(&w->console);
	pools_free(w->pools);
	mailbox_close(&w->mailbox);
	loop_async_stop(&w->wake);
	sql_cache_free(w->cache);
	engine_free(w->engine);
	settings_table_free(w->settings);
	scram_memory_free(w->memory);
	topo_leave(w->env.board, w->index);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	world_make(w);
	loop_run(w->loop);
	/* Pools of several workers hand servers to each other: from here on nobody asks for one any more. */
	pthread_barrier_wait(w->env.end);
	world_end(w);
	return NULL;
}

static void on_wake(struct loop_async *a)
{
	/* waking the loop is all: the turn that this call belongs to began with on_turn_start() */
}

struct worker *worker_new(const struct worker_env *env, unsigned index)
{
	struct worker *w = mem_alloc(sizeof *w);
	w->env = *env;
	w->index = index;
	w->loop = loop_new(false);
	mailbox_open(&w->mailbox, w->loop, w);
	w->console = (struct console){ .shared = env->consoles,
		                           .pool_registry = env->pools,
		                           .session_registry = env->sessions,
		                           .worker = index,
		                           .n_workers = env->n_workers,
		                           .loop = w->loop };
	console_open(&w->console);
	loop_async_start(w->loop, &w->wake, on_wake);
	return w;
}

void worker_start(struct worker *w)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(&w->thread, &attr, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (e != 0)
		die("worker %u cannot start: %s", w->index, strerror(e));
}

void worker_wake(struct worker *w)
{
	loop_async_send(&w->wake);
}

struct client_letter {
	struct letter letter;
	int fd;
	enum session_gate gate;
	struct addr peer;
};

static void client_deliver(struct letter *letter, void *receiver)
{
	struct client_letter *c = CONTAINER_OF(letter, struct client_letter, letter);
	struct worker *w = receiver;
	sessions_accept(w->sessions, c->fd, &c->peer, c->gate);
	mem_free(c);
}

static void client_refuse(struct letter *letter)
{
	struct client_letter *c = CONTAINER_OF(letter, struct client_letter, letter);
	close(c->fd);
	mem_free(c);
}

void worker_accept(struct worker *w, int fd, const struct addr *peer, enum session_gate gate)
{
	struct client_letter *c = mem_alloc(sizeof *c);
	c->letter = (struct letter){ .deliver = client_deliver, .refuse = client_refuse };
	c->fd = fd;
	c->gate = gate;
	c->peer = *peer;
	mailbox_send(&w->mailbox, &c->letter);
}

static void drain_deliver(struct letter *letter, void *receiver)
{
	struct worker *w = receiver;
	sessions_drain(w->sessions);
	atomic_store(&w->is_draining, true);
	mem_free(letter);
}

struct leave_letter {
	struct letter letter;
	uint64_t idle_us;
};

static void leave_deliver(struct letter *letter, void *receiver)
{
	struct leave_letter *l = CONTAINER_OF(letter, struct leave_letter, letter);
	struct worker *w = receiver;
	sessions_leave(w->sessions, l->idle_us);
	atomic_store(&w->is_draining, true);
	mem_free(l);
}

static void stop_deliver(struct letter *letter, void *receiver)
{
	struct worker *w = receiver;
	loop_stop(w->loop);
	mem_free(letter);
}

static void send_order(struct worker *w, void (*deliver)(struct letter *, void *))
{
	struct letter *l = mem_alloc(sizeof *l);
	l->deliver = deliver;
	mailbox_send(&w->mailbox, l);
}

void worker_drain(struct worker *w)
{
	send_order(w, drain_deliver);
}

void worker_leave(struct worker *w, uint64_t idle_us)
{
	struct leave_letter *l = mem_alloc(sizeof *l);
	l->letter.deliver = leave_deliver;
	l->idle_us = idle_us;
	mailbox_send(&w->mailbox, &l->letter);
}

bool worker_is_draining(const struct worker *w)
{
	return atomic_load(&w->is_draining);
}

void worker_stop(struct worker *w)
{
	send_order(w, stop_deliver);
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
}

void worker_free(struct worker *w)
{
	loop_free(w->loop);
	mem_free(w);
}
