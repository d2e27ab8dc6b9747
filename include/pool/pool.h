/*
 * pool — server connections for one (node, database, user): borrow and give back, first come first served over all workers.
 *
 * Each worker has a struct pools with its own struct pool objects (own idle list: the fast path touches no shared lock); what is shared (tokens,
 * the queue of waiters, idle counts per worker) is in struct pool_shared, found through the registry.
 *
 * Checkout: nobody waits and an own server is idle -> that one.  Else: take a token of each limit (node, database, user, pool; all or none) and
 * connect, at most max_connecting at a time per pool; else ask a worker that shows idle ones; else wait.  A ticket orders waiters over all
 * workers.  Give-back: nobody waits -> idle list; else the oldest ticket gets it (in another worker: the connection is detached and mailed).
 * A waiter that a node, database or user limit blocks evicts the longest-idle server under that limit, in any worker.  Beyond `size`, `reserve_size`
 * more open for those who waited reserve_timeout.  A connection that could not be opened: waiters are told the server's own FATAL when the
 * pool has no server but those that sessions keep and the error is final (28xxx, 3D000, 42xxx, 0A000 …); when the node cannot be reached or is starting up (08xxx, 57P03, 53300)
 * they go on waiting, connecting is retried with back-off (50 ms doubling to 1 s, jitter), and `on_trouble` of the registry is called.
 * Those who wait for a node that is not the primary are told at once: they can go elsewhere.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "conf/conf.h"
#include "pool/limits.h"
#include "pool/server.h"
#include "tbl/counters.h"
#include "topo/topo.h"

/* Process-wide: pools of all workers, limits, counters. */
struct pool_registry;
struct pool_registry *pool_registry_new(unsigned workers);
void pool_registry_free(struct pool_registry *r); /* after all workers' pools are freed */
struct limits *pool_registry_limits(struct pool_registry *r);
/* Called from workers (any thread) when a node refused or lost a connection, or a statement got 25006. */
void pool_registry_on_trouble(struct pool_registry *r, void (*fn)(void *arg, uint32_t node_id), void *arg);
void pool_registry_trouble(struct pool_registry *r, uint32_t node_id);

/* A worker's pools. */
struct pools;
struct pools *pools_new(struct pool_registry *r, unsigned worker, const struct upstream_env *env);
/* Closes every server (lent ones must have been given back).  Own thread. */
void pools_free(struct pools *p);
/* This turn's snapshot; call when it changed: retires servers of nodes that went or changed, re-reads sizes, moves nothing by itself.
 * Waiters of a node that is not the primary any more get on_failed with SQLSTATE "LP001" (ask again). */
void pools_on_topology(struct pools *p, const struct topo *topo);
/* Takes the connections to nodes that are cut off away from whoever has them.  When everybody else knows the topology, too. */
void pools_cut_off(struct pools *p);
/* The mailbox address of this worker for connections that other workers send. */
struct mailbox *pools_mailbox(struct pools *p);

struct pool_key {
	uint32_t node_id;
	const char *database; /* as the client named it */
	const char *user;
};
/* The pool, made on first use; lives as long as it has servers, waiters or clients.  NULL: the database is not configured.
 * pool_join()/pool_part() count the clients that use it (min_size, freeing). */
struct pool *pools_get(struct pools *p, const struct topo *topo, const struct pool_key *key);
/* The pool of the same database and user on another node of its cluster: the same as pools_get(), remembered. */
struct pool *pool_sibling(struct pool *pool, const struct topo *topo, uint32_t node_id);
void pool_join(struct pool *pool);
void pool_part(struct pool *pool);
uint64_t pool_id(const struct pool *pool); /* same in every worker for the same (node, database, user) */
uint32_t pool_node_id(const struct pool *pool);
size_t pool_cluster_at(const struct pool *pool); /* index into the clusters of this turn's snapshot, if it is configured there */
const struct conf_effective *pool_conf(const struct pool *pool);
int64_t pool_max_server_statements(const struct pool *pool);
/* The ParameterStatus values that a server of this pool reports to a client with these STARTUP settings, learnt from the first such client of any
 * worker: a reference; NULL: not known. */
struct settings *pool_welcome(struct pool *pool, const struct settings *startup);
void pool_learn_welcome(struct pool *pool, const struct settings *startup, const struct settings *told);
/* DDL passed on this database: what was parsed before must be parsed again.  The generation is shared by all workers and pools of the database. */
uint64_t pool_ddl_generation(const struct pool *pool);
uint64_t pool_retired_generation(const struct pool *pool); /* grows when the servers of its database are retired */
void pool_note_ddl(struct pool *pool);
/* Pinned servers, counted over all workers against max_pinned.  pool_pin(): false when the bound is reached (FORCE counts it over). */
bool pool_pin(struct pool *pool, bool force) MUST_CHECK;
void pool_unpin(struct pool *pool);
/* A lent server has become one that its borrower keeps for the next statement, too, or is so no more: nobody who waits need count on it. */
void pool_keep(struct server *srv, bool is_kept);
void pool_rest(struct server *srv,
               enum server_rest how); /* lent: its borrower is in a transaction, or is not and has this there */
/* Sessions of this database and user keep their server after a sequence was used (currval was asked for without it). */
bool pool_pins_sequences(const struct pool *pool);
void pool_pin_sequences(struct pool *pool);
/* ALTER ROLE/DATABASE … SET or ALTER SYSTEM passed: every server of this database closes when it is given back, in all workers. */
void pool_retire_database(struct pool *pool);

/* One wish for a server, embedded by who wishes. */
struct pool_wait;
struct pool_wait_ops {
	void (*on_server)(struct pool_wait *w,
	                  struct server *srv); /* the server is lent to w's owner: set srv->user, srv->borrower at once */
	void (*on_failed)(struct pool_wait *w, const struct err *err);
};
struct pool_wait {
	struct dlist link;
	struct pool *pool; /* NULL when not waiting */
	uint64_t ticket, since_us;
	struct dlist queue; /* in the queue of all workers, under its lock: the pool's */
	uint32_t worker;
	const struct pool_wait_ops *ops;
};
/* A server now (lent; set user and borrower), or NULL: W is queued and one of its callbacks comes from the loop. */
struct server *pool_checkout(struct pool *pool, struct pool_wait *w) MUST_CHECK;
void pool_withdraw(struct pool_wait *w); /* stop waiting; no callback; fine when not waiting */

/* The server is the pool's again.  Clean (empty reply queue, status I, no needs_discard): idle at once or to the oldest waiter.  Otherwise it is reset
 * first, within reset_timeout: outstanding replies are cancelled and drained (CopyFail, Sync where needed), then ROLLBACK unless I, then DISCARD ALL
 * if needs_discard; a reset that fails closes it.  A message that was sent in part makes the caller use pool_close_server().
 * Replies may still be outstanding; then their entries' refs are dropped by the caller before, nobody is told of them any more, and DISCARD ALL
 * follows, since nobody knows what they did.  A message that was taken in part is named by srv->skip. */
void pool_give_back(struct server *srv);
void pool_close_server(struct server *srv, const char *reason); /* lent: the borrower's callbacks are not called */

/* What is counted; tbl/counters.h says what each is. */
struct pool_counts {
#define POOL_COUNT_FIELD(field, ...) uint64_t field;
	POOL_COUNTERS(POOL_COUNT_FIELD)
};
void pool_counts_add(struct pool_counts *to, const struct pool_counts *what);

/* For SHOW: one line per (node, database, user), summed over workers.  Any thread; the callback runs under the registry's lock, so it only copies. */
struct pool_row {
	uint32_t node_id;
	const char *node, *database, *user, *mode; /* borrowed until the callback returns */
	int64_t clients, waiting, lent, idle, opening, resetting, cancels, pinned, size;
	int64_t rests[SERVER_RESTS_N]; /* of `lent` */
	uint64_t max_wait_us;
	struct pool_counts counts;
};
void pool_registry_each(struct pool_registry *r, void (*fn)(void *arg, const struct pool_row *row), void *arg);
/* What pools that are gone have counted, for each database. */
void pool_registry_each_past(struct pool_registry *r,
                             void (*fn)(void *arg, const char *database, const struct pool_counts *counts), void *arg);
/* The servers of this worker, for SHOW SERVERS.  Own thread. */
struct server_row {
	uint64_t id, opened_us, idle_since_us;
	const char *node, *database, *user, *state;
	const struct server *srv; /* to look at */
	bool must_close;
};
void pools_each_server(struct pools *p, void (*fn)(void *arg, const struct server_row *row), void *arg);
/* The servers of DATABASE (NULL: of all) make way for new ones: idle ones close now, the others when they are given back.  Own thread; each
 * worker is told. */
void pools_reconnect(struct pools *p, const char *database);
/* Server connections of DATABASE (NULL: of all), those included that are opening or leaving.  Any thread. */
int64_t pool_registry_servers(struct pool_registry *r, const char *database);

/* Counters of this worker's part of a pool: one writer, so nothing is locked. */
struct pool_tally {
#define POOL_TALLY_FIELD(field, ...) _Atomic uint64_t field;
	POOL_COUNTERS(POOL_TALLY_FIELD)
};
/* What struct pool begins with, so that counting needs no call. */
struct pool_face {
	struct pool_tally *tally;
};
static inline struct pool_tally *pool_tally(struct pool *pool)
{
	return ((struct pool_face *)(void *)pool)->tally;
}
#define POOL_COUNT(pool, field, n) pool_tally_add(&pool_tally(pool)->field, (n))
static inline void pool_tally_add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
