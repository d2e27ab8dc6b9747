/*
 * priv — what the files of the pool share.
 *
 *   shared.c    the registry, struct pool_shared, tokens          plan.c     what the configuration says, and when it changes
 *   queue.c     who waits, who is asked, woken, evicted           handover.c a connection travels to another worker
 *   server.c    one connection: its states, its end               reset.c    and how it is cleaned
 *   welcome.c  what clients are told at login
 *   grow.c      opening connections, failures, the tick           pool.c     the interface
 *
 * Locks: registry->lock, then shared->lock, then a mailbox's.  None is held while a callback runs.
 */
#ifndef POOL_PRIV_H
#define POOL_PRIV_H

#include <pthread.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "pool/pool.h"

enum upper { UPPER_NODE, UPPER_DB, UPPER_ROLE, UPPER_COUNT };

/* A number that all workers share under a name: the DDL generation of a database … Lives as long as the registry. */
struct fact {
	_Atomic uint64_t value;
};

/* One worker's part of a shared pool.  Written by that worker, except where it says so. */
struct pool_slot {
	_Atomic int64_t idle;                  /* servers in its idle list */
	_Atomic uint64_t oldest_idle_us;       /* since when the one at the end of that list is idle */
	_Atomic int64_t kept;                  /* servers that are lent and kept */
	_Atomic int64_t rests[SERVER_RESTS_N]; /* … by what they are to their borrowers now; that of SERVER_WORKS counts nothing */
	_Atomic int64_t resetting, cancels;    /* servers in that state; CancelRequests under way */
	struct pool_tally tally;
	_Atomic int64_t waiting;              /* entries of this worker in the queue; under the shared lock, read anywhere */
	struct pool *local;                   /* own thread only; NULL: this worker has no such pool */
	struct limit *blocked_on;             /* the upper limit that stopped its last attempt to grow; under the registry's lock */
	_Atomic bool asked, kicked, evicting; /* such a letter is on its way; set by anybody */
	uint8_t apart[64];                    /* no two workers write to one cache line */
};

/* One writer. */
static inline void slot_add(_Atomic int64_t *to, int64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

struct pool_shared {
	/* Entries in the queue.  "Enqueue: waiters++, then look at idle counts; give-back: idle++, then look at waiters." */
	_Atomic int64_t waiters;
	uint8_t apart[64];
	struct pool_registry *registry;
	uint64_t id;
	_Atomic int64_t refs;
	struct slice key; /* of the registry's map */
	uint32_t node_id;
	char *database, *user;
	struct limit size, opening, pinned; /* tokens of this pool */
	struct limit *upper[UPPER_COUNT];   /* … and of the limits above it */
	_Atomic int64_t clients;
	_Atomic uint64_t retry_at_us; /* nobody connects before */
	_Atomic uint64_t backoff_us;
	_Atomic int64_t size_now, mode_now; /* for rows */

	pthread_mutex_t lock; /* what is below */
	struct dlist queue;   /* struct pool_wait by ticket, of all workers */
	char *node_name;
	struct map welcomes; /* settings_export() by startup settings: welcome.c */
	uint64_t welcomes_retired;
	struct poolkeys *keys; /* a reference, once used; under the registry's lock */

	struct pool_slot slots[];
};

struct pool_registry {
	_Atomic int64_t blocked; /* slots whose blocked_on is set */
	uint8_t apart[64];
	_Atomic uint64_t tickets, ids, server_ids;
	unsigned workers;
	struct limits *limits;
	void (*trouble)(void *arg, uint32_t node_id);
	void *trouble_arg;
	struct mailbox *mailboxes; /* of the workers */
	pthread_mutex_t lock;      /* the maps, blocked_on, and taking or returning tokens */
	struct map pools;          /* struct pool_shared */
	struct map facts;
	struct map past; /* database -> struct pool_counts of pools that are gone */
	struct map keys; /* struct poolkeys */
};

/* What the configuration and the topology say for one pool: a copy, since no snapshot outlives its turn. */
struct plan {
	char *host, *dbname, *node_name, *cluster;
	size_t cluster_at;
	char *password; /* clear text, or NULL */
	char *md5;      /* the stored secret, or NULL */
	bool cleartext_password, requires_binding;
	bool has_only_scram_secret, is_primary, is_cut, is_held;
	bool is_home; /* the node is of the database's own cluster; else a policy sends statements there */
	uint16_t port;
	struct conf_effective conf;
	int64_t upper_max[UPPER_COUNT], max_connecting, max_server_statements;
	uint64_t reserve_timeout_us, connect_timeout_us, server_lifetime_us, server_idle_timeout_us, reset_timeout_us;
	unsigned tcp_user_timeout_ms;
	struct upstream_tls tls; /* its conf is a reference */
};

#define POOL_SIBLINGS 8u

struct pool {
	struct pool_face face; /* first: pool_tally() */
	struct pools *pools;
	struct pool_shared *shared;
	struct pool_slot *slot;
	struct plan plan;
	struct log log;
	struct dlist link;                                    /* in pools->all */
	struct dlist idle, lent, opening, resetting, leaving; /* servers by state; idle: last used first */
	struct dlist waits;                                   /* struct pool_wait by ticket, also those whose server is in the mail */
	struct loop_timer timer;                              /* try to grow again */
	int64_t n_idle, n_opening, n_servers, clients;
	struct fact *ddl, *retired, *sequences;
	bool served_primary;   /* the node was the primary when a primary was last known */
	bool is_gone;          /* its node or database is not configured any more */
	bool is_blocked;       /* slot->blocked_on is set */
	bool is_paused;        /* its database is: no server is opened or kept */
	bool is_deposed;       /* its node was the primary and is not now */
	const char *ask_again; /* why those who wait are about to be told LP001; NULL: they are not */
	struct pool
	    *siblings[POOL_SIBLINGS]; /* pool_sibling(), by node id, when pools->changes was siblings_as_of; NULL: not asked for */
	uint64_t siblings_as_of;
};

/* A worker's pools. */
struct pools {
	struct pool_registry *registry;
	struct upstream_env env;
	struct loop *loop;
	struct mailbox *mailbox;
	unsigned worker;
	struct map by_key;
	uint64_t changes; /* counts what makes one found before no longer the one to find */
	struct dlist all;
	struct loop_timer tick;
	struct loop_defer hand, bury, tell;
	struct dlist handing; /* servers that somebody may wait for: dispatched at the end of the turn */
	struct dlist dead;    /* closed servers, freed at the end of the turn */
	struct dlist cancels; /* struct server_cancel */
	struct settings *empty;
};

static inline uint64_t pool_now_us(const struct pool *pool)
{
	return loop_now_us(pool->pools->loop);
}

/* plan.c */
bool plan_read(struct plan *plan, const struct topo *topo, struct keyring *keyring, uint32_t node_id, const char *database,
               const char *user) MUST_CHECK;
void plan_fini(struct plan *plan);
void plan_apply(struct pool *pool); /* what the shared part and the facts take from it */
void plan_tell_all(struct loop_defer *d);
void fail_waits(struct pool *pool, const char *why);             /* LP001, at the end of the turn */
void pool_retire_servers(struct pool *pool, const char *reason); /* idle: closed; others: must_close */

/* shared.c */
struct pool_shared *shared_get(struct pool_registry *r, const struct pool_key *key, struct slice map_key, const char *node_name);
struct pool_shared *shared_ref(struct pool_shared *s);
void shared_unref(struct pool_shared *s);
struct fact *registry_fact(struct pool_registry *r, const char *kind, const char *cluster, const char *dbname, const char *user);
bool poolkeys_copy(struct pool_shared *s, struct upstream_keys *keys) MUST_CHECK;

enum take { TAKE_OK, TAKE_SIZE, TAKE_OPENING, TAKE_BLOCKED };
/* A token of each limit and of `opening`, or none.  BLOCKED: an upper limit is reached, or somebody older waits for it; the slot says so. */
enum take tokens_take(struct pool *pool, int64_t size_max) MUST_CHECK;
/* Any thread: a server is gone.  Wakes whom that may help. */
void tokens_return(struct pool_shared *s);
void tokens_promise(struct pool_shared *s, int sign); /* +1: they will be returned soon; -1: now */
int64_t limit_staying(const struct limit *l);
bool limit_is_full(const struct limit *l, int64_t max); /* … and nobody is leaving */
void tokens_unblock(struct pool *pool);                 /* this worker does not want any */
/* Registry's lock held.  Who has waited longest for LIMIT, other than EXCEPT; NULL: nobody. */
struct pool_shared *registry_oldest_blocked(struct pool_registry *r, const struct limit *limit, const struct pool_shared *except,
                                            uint64_t *ticket);
uint64_t shared_oldest(struct pool_shared *s); /* ticket; UINT64_MAX: nobody waits */

/* queue.c */
void queue_init(struct pools *p);
void queue_join(struct pool *pool, struct pool_wait *w);
void queue_leave(struct pool_wait *w);
/* The oldest here that was taken out of the queue because a server is in the mail; NULL: it left. */
struct pool_wait *queue_promised(struct pool *pool);
void queue_rejoin(struct pool_wait *w); /* … but the server is no good: back to its old place */
/* Somebody in another pool waits for a token that an idle server of this pool holds. */
bool queue_is_wanted_elsewhere(struct pool *pool);
/* Serves whoever comes first with SRV, which is in no list: idle, counted nowhere. */
void queue_dispatch(struct server *srv);
/* One more idle server; waiters hear of it. */
void queue_hand(struct server *srv);
/* After an entry was added: an own idle server goes its way, or a worker that shows idle ones is asked for one. */
void queue_look(struct pool *pool);
void queue_kick(struct pool_shared *s); /* workers with waiters try to grow; any thread */
void queue_evict(struct pool_registry *r, struct limit *limit);
void queue_retire(struct pool *pool);
void queue_deliver(struct pool_wait *w, struct server *srv);
void queue_fail(struct pool *pool, const struct err *err); /* all that wait here */

/* welcome.c */
void welcome_forget(struct pool_shared *s);

/* handover.c */
struct parcel;
struct parcel *parcel_pack(struct server *srv); /* NULL: it cannot be moved.  Otherwise SRV is an empty shell, to be buried */
void parcel_send(struct parcel *parcel, unsigned worker);

/* server.c */
void server_open(struct pool *pool); /* with tokens taken */
struct server *server_new(struct pool *pool);
void server_init_graveyard(struct pools *p);
void server_clear_graveyard(struct pools *p);
void server_enter_reset(struct server *srv);
void server_settle(struct server *srv); /* clean, in no list: idle, or closed because it is to be retired */
void server_lend(struct server *srv);
/* Its tokens are returned when the server has closed its side, so that it never has more of us than the limits say; at once where that cannot be
 * waited for. */
void server_close(struct server *srv, const char *reason);
void server_close_now(struct server *srv, const char *reason);
void server_hurry_leaving(struct pool *pool, uint64_t begun_before_us);
void server_close_after_error(struct server *srv, struct slice body); /* of an ErrorResponse: the reason */
/* After a close, or when the connection was given away: out of all lists, freed at the end of the turn. */
void server_bury(struct server *srv);
void server_note_reported(struct server *srv, struct slice body);
bool server_is_stale(const struct server *srv);
void idle_push(struct server *srv);
void idle_remove(struct server *srv);
struct server *idle_pop(struct pool *pool);
extern const struct stream_ops server_stream;

/* reset.c */
bool reset_is_needed(const struct server *srv);
void reset_start(struct server *srv);
void reset_stop(struct server *srv); /* frees srv->reset */
void reset_advance(struct server *srv);
size_t reset_on_data(struct server *srv, struct slice bytes);

/* grow.c */
void grow(struct pool *pool);
void grow_on_opened(struct server *srv);
void grow_on_failed(struct server *srv, const struct err *err);
void grow_tick(struct pools *p);
void grow_timer_fired(struct loop_timer *t);
bool grow_is_trouble(const char *sqlstate);

/* pool.c */
void pool_drop(struct pool *pool);

#endif
