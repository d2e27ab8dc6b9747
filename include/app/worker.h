/*
 * worker — a thread that serves clients for life: its loop, stream engine, statement cache, pools and sessions.
 *
 * Everything here is called by the control thread; what concerns the worker's world travels to it as a letter.
 */
#ifndef APP_WORKER_H
#define APP_WORKER_H

#include <pthread.h>

#include "admin/order.h"
#include "net/addr.h"
#include "net/resolve.h"
#include "pool/pool.h"
#include "session/session.h"
#include "topo/catalog.h"
#include "topo/topo.h"

/* What the workers of a process share; outlives them all. */
struct worker_env {
	struct topo_board *board;
	struct resolver *resolver;
	struct pool_registry *pools;
	struct session_registry *sessions;
	struct catalog *catalog;
	struct keyring *keyring;
	struct auth *auth;
	struct consoles *consoles;
	struct hooks *hooks;
	struct records *records;
	enum conf_engine engine;
	unsigned n_workers;
	pthread_barrier_t *end; /* for all workers: nobody takes its world down before every loop stands still */
};

struct worker;
/* A worker that does not run yet.  The board must show a topology by the time it starts. */
struct worker *worker_new(const struct worker_env *env, unsigned index);
void worker_start(struct worker *w);
void worker_wake(struct worker *w); /* there is a newer topology, or more is known of functions */
void worker_accept(struct worker *w, int fd, const struct addr *peer, enum session_gate gate); /* takes FD over */
void worker_drain(struct worker *w);
void worker_leave(struct worker *w, uint64_t idle_us); /* as sessions_leave() */
bool worker_is_draining(
    const struct worker *w);        /* the worker has seen worker_drain() or worker_leave(), and every client sent before it */
void worker_stop(struct worker *w); /* clients are closed, then the thread ends; every worker must be told */
void worker_join(struct worker *w); /* after worker_stop(): returns when the thread has ended */
void worker_free(struct worker *w); /* after all workers were joined: until then others may write to it */

#endif
