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

/*
 * The admin console, given by who starts us.  A conversation is opened when its client has logged in; it gets the client's messages, one at a
 * time, and writes messages into W.  All of it runs in the session's worker and never blocks.
 */
enum console_next {
	CONSOLE_READ, /* the client's next message */
	CONSOLE_MORE, /* more(), as soon as the client has read most of what was written */
	CONSOLE_WAIT, /* sessions_console_go_on() */
	CONSOLE_END,  /* the client goes */
};
/* Where a conversation is; it may have ended meanwhile. */
struct console_place {
	unsigned worker;
	uint32_t slot;
	uint64_t id;
};
struct frame;
struct writer;
struct session_console {
	void *arg;
	/* NULL with ERR: USER may not ask.  IS_OWNER: whoever runs Lunapool, over the unix socket. */
	void *(*begin)(void *arg, const char *user, bool is_owner, const struct console_place *place, struct err *err);
	enum console_next (*take)(void *talk, const struct frame *f, struct writer *w);
	enum console_next (*more)(void *talk, struct writer *w);
	enum console_next (*on_letter)(void *talk, void *letter, struct writer *w); /* what it was waiting for */
	void (*cancel)(void *talk);                                                 /* a CancelRequest for it */
	void (*end)(void *talk);
};
#define CONSOLE_DATABASE "lunapool"                                   /* also the user that its owner is */
bool console_is_named(const struct conf *conf, const char *database); /* so, or by another name that stands for it */

/* Process-wide: who cancels whom over all workers. */
struct session_registry;
struct session_registry *session_registry_new(unsigned workers);
void session_registry_free(struct session_registry *r);
/* Clients now, over all workers, and of one worker (for placing new ones).  Any thread. */
int64_t session_registry_clients(struct session_registry *r);
/* Statements that wait for a primary, bytes that they keep, and how many were refused because of either. */
struct session_held_sum {
	int64_t statements, bytes;
	uint64_t refused;
};
void session_registry_held(struct session_registry *r, struct session_held_sum *out);
uint64_t session_registry_listens_moved(struct session_registry *r); /* times that a session listened again elsewhere */
int64_t session_registry_clients_of(struct session_registry *r, unsigned worker); /* also those that have not said hello */
/* Any thread, for each connection that was accepted, before anything is made for it: may there be one more from this address?  OPEN and OVER are
 * counted, and are to be passed on to sessions_accept(), which counts them back when they have gone. */
enum session_gate {
	SESSION_GATE_OPEN,
	SESSION_GATE_OVER, /* it will only be told why not */
	SESSION_GATE_SHUT, /* not even that: close it */
};
enum session_gate session_registry_admit(struct session_registry *r, const struct addr *peer, int64_t max) MUST_CHECK;
int64_t session_registry_welcomed(struct session_registry *r); /* … that have logged in */

/* CancelRequests between processes, during a takeover.  A request that no session here answers to is given to FN in the thread of MAILBOX; it ends
 * with session_cancel_done().  Before the workers start. */
struct session_cancel;
typedef void (*session_elsewhere_fn)(void *arg, struct session_cancel *c, uint32_t pid, struct slice key);
void session_registry_on_unknown_cancel(struct session_registry *r, struct mailbox *mailbox, session_elsewhere_fn fn, void *arg);
void session_cancel_done(struct session_cancel *c);
/* A request that another process was asked; FN(arg) in the thread of BACK when it was carried out, or nobody answered to it. */
void session_registry_cancel(struct session_registry *r, uint32_t pid, struct slice key, struct mailbox *back,
                             void (*fn)(void *arg), void *arg);

/* How much memory clients hold, for memory_limit.  Called from the thread of BACK, which hears FN(arg, heaviest first) from its loop. */
struct session_weight {
	uint64_t id;
	size_t bytes;
};
typedef void (*session_weights_fn)(void *arg, const struct session_weight *all, size_t n);
void session_registry_weigh(struct session_registry *r, struct mailbox *back, session_weights_fn fn, void *arg);
void session_registry_shed(struct session_registry *r, const struct session_weight *what); /* closes that client, with 53200 */
void session_registry_set_full(struct session_registry *r, bool is_full);                  /* logins are refused with 53200 */

struct auth;
struct session_env {
	unsigned worker;
	struct upstream_env upstream; /* engine, resolver, mailbox, settings table */
	struct pools *pools;
	struct pool_registry *pool_registry;
	struct session_registry *registry;
	struct sql_cache *cache;
	struct auth *auth;
	struct catalog *catalog; /* NULL: nothing is known of any function, and nothing is asked */
	struct session_console console;
};
struct sessions;
struct sessions *sessions_new(const struct session_env *env);
void sessions_free(struct sessions *ss); /* closes all clients (57P01) */
/* At the top of a turn, when the snapshot changed (and once at start). */
void sessions_on_topology(struct sessions *ss, const struct topo *topo);
/* Something is known of the catalogue that was not. */
void sessions_on_catalog(struct sessions *ss);
/* Takes FD over.  GATE: what session_registry_admit() said. */
void sessions_accept(struct sessions *ss, int fd, const struct addr *peer, enum session_gate gate);
/* SIGTERM: idle clients get 57P01 and go, others when their transaction ends; new logins are refused with 57P03. */
void sessions_drain(struct sessions *ss);
/* Another process takes new clients: those that are here may stay, each until it was idle for IDLE_US (0: for ever).  sessions_drain() may follow. */
void sessions_leave(struct sessions *ss, uint64_t idle_us);
unsigned sessions_count(const struct sessions *ss);

/* ---- for the console; own thread ---- */
/* What the conversation at PLACE waits for has come.  False: it has ended, so LETTER is still the caller's. */
bool sessions_console_go_on(struct sessions *ss, const struct console_place *place, void *letter) MUST_CHECK;
/* Closes the clients of DATABASE (NULL: all but those of the console), or the one with that id.  How many, or whether there was one. */
unsigned sessions_kill(struct sessions *ss, const char *database);
bool sessions_kill_client(struct sessions *ss, uint64_t id);
/* Who has a connection to a node: what a switchover waits for, or, if he only listens, takes along.  True: the node is being left. */
struct session_obstacle {
	uint64_t id;
	const char *user, *database, *why;
	bool only_hears;
};
bool sessions_each_obstacle(struct sessions *ss, uint32_t node_id, void (*fn)(void *arg, const struct session_obstacle *it),
                            void *arg);
/* One client, borrowed until the callback returns. */
enum session_doing { SESSION_DOES_LOGIN, SESSION_DOES_NOTHING, SESSION_DOES_WORK, SESSION_DOES_WAIT, SESSION_DOES_CANCEL };
struct session_row {
	uint64_t id;
	const char *user, *database, *state, *replication, *pin, *application; /* user, database, application may be NULL */
	const struct settings *told;                                           /* ParameterStatus that it knows; may be NULL */
	enum session_doing doing;
	struct addr peer;
	uint64_t connected_us, since_us, waiting_since_us; /* waiting: 0 when it does not wait */
	uint32_t statements;
	const struct server *server; /* that it has now, or NULL */
	const struct stream *stream;
	bool is_leaving;
};
/* The clients from place *AT on, at most MOST of them; true: there may be more, from *AT on. */
bool sessions_each(struct sessions *ss, uint32_t *at, unsigned most, void (*fn)(void *arg, const struct session_row *row),
                   void *arg);
uint64_t sessions_id_of(const struct server *srv);                 /* of the client that has it; 0: none */
uint64_t sessions_since_us_of(const struct server *srv);           /* since when that client does what it does; 0: none has it */
const struct stream *sessions_stream_of(const struct server *srv); /* that client's; NULL: none has it */
/* The clients that wait for a server and are in no pool's queue: for RESUME, for a primary, for max_pinned, for what functions do. */
struct session_held {
	const char *database, *user; /* user: as whom it would be logged in to servers */
	bool has_pool;               /* the pool counts it as a client */
	uint64_t since_us;
};
void sessions_each_held(struct sessions *ss, void (*fn)(void *arg, const struct session_held *held), void *arg);
/* How many clients each address has, 4 or 8 bytes of it (session_registry_admit()).  Any thread; FN runs under a lock, so it only copies. */
void session_registry_each_address(struct session_registry *r, void (*fn)(void *arg, struct slice address, int64_t clients),
                                   void *arg);
/* What ran where: statements of one shape, in one database, on one node, decided in one way. */
struct session_route {
	const char *shape, *database; /* shape NULL: of all that none is kept of */
	uint64_t shape_id;
	uint32_t node_id; /* 0: no server */
	const char *kind, *by, *because, *reason, *place;
	bool is_read;
	uint16_t cached_by;  /* its class is in the cache of this worker, counted from 1; 0: it is not */
	uint64_t generation; /* of the policy; 0: none */
	uint64_t count, timed, time_us;
};
/* What EXPLAIN ROUTE TEXT would tell USER in DATABASE: pairs of what is told of, and what is told, borrowed until FN returns. */
typedef void (*explain_fn)(void *arg, const char *what, const char *answer);
void sessions_explain(struct sessions *ss, const char *database, const char *user, struct slice text, explain_fn fn, void *arg);
void sessions_each_route(struct sessions *ss, void (*fn)(void *arg, const struct session_route *r), void *arg);
struct session_memory {
	size_t session_bytes, sessions, sessions_free, statements, statement_bytes;
};
void sessions_memory(const struct sessions *ss, struct session_memory *out);

#endif
