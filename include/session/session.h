/*
 * session — one client, from its first byte to its last.  The query story begins here.
 *
 * A worker makes one struct sessions and hands it every descriptor that was accepted for it.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "net/addr.h"
#include "net/mailbox.h"
#include "pool/pool.h"
#include "sql/classify.h"
#include "topo/catalog.h"
#include "topo/topo.h"
#include "upstream/upstream.h"

/* The admin console, given by who starts us: answers one Query text with messages (RowDescription … CommandComplete or ErrorResponse, no
 * ReadyForQuery) into W.  Runs in the worker's thread; must not block. */
struct writer;
typedef void (*session_console_fn)(void *arg, struct slice query, struct writer *w);

/* Process-wide: who cancels whom over all workers. */
struct session_registry;
struct session_registry *session_registry_new(unsigned workers);
void session_registry_free(struct session_registry *r);
/* Clients now, over all workers, and of one worker (for placing new ones).  Any thread. */
int64_t session_registry_clients(struct session_registry *r);
int64_t session_registry_clients_of(struct session_registry *r, unsigned worker);
/* One row per client, for SHOW CLIENTS and SHOW PINS, read under each worker's lock.  Any thread. */
struct session_row {
	uint64_t id;
	const char *user, *database, *state, *pin, *address, *application;
	uint64_t connected_us, state_since_us;
};
void session_registry_each(struct session_registry *r, void (*fn)(void *arg, const struct session_row *row), void *arg);

struct session_env {
	unsigned worker;
	struct upstream_env upstream; /* engine, resolver, mailbox, settings table */
	struct pools *pools;
	struct pool_registry *pool_registry;
	struct session_registry *registry;
	struct sql_cache *cache;
	struct catalog *catalog; /* NULL: nothing is known of any function, and nothing is asked */
	session_console_fn console;
	void *console_arg;
};
struct sessions;
struct sessions *sessions_new(const struct session_env *env);
void sessions_free(struct sessions *ss); /* closes all clients (57P01) */
/* At the top of a turn, when the snapshot changed (and once at start). */
void sessions_on_topology(struct sessions *ss, const struct topo *topo);
/* Something is known of the catalogue that was not. */
void sessions_on_catalog(struct sessions *ss);
/* Takes FD over. */
void sessions_accept(struct sessions *ss, int fd, const struct addr *peer);
/* SIGTERM: idle clients get 57P01 and go, others when their transaction ends; new logins are refused with 57P03. */
void sessions_drain(struct sessions *ss);
unsigned sessions_count(const struct sessions *ss);

#endif
