/*
 * server — one server connection of a pool, and how it is cleaned before the next client gets it.
 *
 *   opening -> idle <-> lent -> resetting -> idle;   any -> closing
 *
 * Always: a lent server has exactly one borrower; an idle one has no borrower, an empty reply queue, transaction status 'I', no cancel
 * under way, and nothing on it that its books (applied, stmts) do not tell.
 * While lent, the borrower owns the reply queue and the stream's bytes; in every other state server.c reads them.
 */
#ifndef POOL_SERVER_H
#define POOL_SERVER_H

#include "base/dlist.h"
#include "base/settings.h"
#include "net/stream.h"
#include "pool/stmts.h"
#include "upstream/upstream.h"
#include "wire/replies.h"

struct pool;
struct server;

/* The borrower's side; called only while lent. */
struct server_user {
	size_t (*on_data)(struct server *srv, struct slice bytes, struct lent *lent);
	void (*on_drained)(struct server *srv);
	/* The connection is gone (ERR: 08006 with what happened).  The server object is freed when this returns; the reply queue can still be
	 * cleared by the callee.  */
	void (*on_gone)(struct server *srv, const struct err *err);
};

/* What a lent one is to its borrower while that is in no transaction. */
enum server_rest {
	SERVER_WORKS, /* … or that has not said */
	SERVER_KEEPS, /* state of the session's is there, and nowhere else */
	SERVER_HEARS, /* all that is there can be had elsewhere: it only listens */
	SERVER_RESTS_N
};

enum server_state { SERVER_OPENING, SERVER_IDLE, SERVER_LENT, SERVER_RESETTING, SERVER_CLOSING };

struct server {
	struct upstream up; /* up.stream is the connection; up.reported what it told */
	struct pool *pool;
	struct dlist link; /* in the pool's list of its state */
	struct replies replies;
	struct stmts stmts;
	struct settings *applied;   /* what was set on it beyond its login defaults, as of now */
	struct settings *committed; /* … as of its last commit point: what a rollback returns to */
	const struct server_user *user;
	void *borrower;
	uint64_t id, opened_us, idle_since_us, retire_us; /* retire_us: end of life, 0 = never */
	uint32_t cancels;                                 /* CancelRequests sent to it whose EOF has not come */
	uint8_t state;                                    /* enum server_state */
	uint8_t tx_status;                                /* of the last ReadyForQuery: I T E */
	uint8_t in_copy_in : 1;                           /* the reset must send CopyFail */
	uint8_t must_close : 1;                           /* retired (reload, role change, doubt): closes instead of going idle */
	uint8_t needs_discard : 1;     /* session state that cannot be undone piece by piece: DISCARD ALL before the next client */
	uint8_t needs_sync : 1;        /* extended messages were sent without a Sync behind them */
	uint8_t is_handing : 1;        /* idle, but on its way to whoever waits (pool.c's) */
	uint8_t is_kept : 1;           /* lent, and its borrower keeps it: pool_keep() */
	uint8_t rests : 2;             /* enum server_rest: pool_rest() */
	uint8_t is_read_committed : 1; /* its own default isolation is known to be that (session/awaytx.c) */
	uint32_t skip;                 /* bytes still to come of a message that was judged and begun */
	struct server_reset *reset;    /* while resetting (reset.c's) */
	uint64_t retired;              /* the database's count of retirements when it was opened */
};

/* Asks the server to cancel what it runs; FN(arg) when the server has closed the cancel connection (NULL: nobody waits), or
 * when the pools are freed.  The server does not go idle before. */
void server_cancel(struct server *srv, void (*fn)(void *arg), void *arg);

#endif
