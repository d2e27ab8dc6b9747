/*
 * upstream — one PostgreSQL connection that we open: resolving -> connecting -> securing -> login -> ready, one state machine.
 *
 * The owner embeds struct upstream.  When on_ready() is called the login is over (ReadyForQuery was seen): the owner then takes the
 * stream for itself by setting up->stream.ops and up->stream.owner.  Until then all events come through the owner's upstream_ops.
 * A login that takes longer than the target's timeout fails.  Messages behind the ReadyForQuery of the login stay unread in the stream
 * and are shown to the new owner from the loop, after on_ready().
 * Authentication: trust, SCRAM-SHA-256 (clear password or keys learnt at the client's login), md5, and the password in clear text where
 * nobody can read it on the way; else 28000 with a text that says so.
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "base/err.h"
#include "base/settings.h"
#include "net/mailbox.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "upstream/keyring.h"
#include "upstream/login.h"
#include "wire/startmsg.h"

/* What a thread needs to open connections. */
struct upstream_env {
	struct engine *engine;
	struct resolver *resolver;
	struct mailbox *mailbox; /* the thread's: answers of the resolver */
	struct settings_table *settings;
	struct keyring *keyring;           /* NULL: no TLS */
	struct scram_memory *scram_memory; /* NULL: none */
};

struct upstream_target {
	const char *host; /* numeric, name, or socket directory */
	uint16_t port;
	const char *database, *user;      /* as the server knows them */
	const char *password;             /* clear text, or NULL */
	const char *md5;                  /* the stored secret, or NULL */
	bool cleartext_password;          /* may be sent also where it can be read on the way */
	bool requires_binding;            /* SCRAM-SHA-256-PLUS or nothing */
	const struct upstream_keys *keys; /* or NULL */
	uint64_t timeout_us;              /* for everything until ready */
	unsigned tcp_user_timeout_ms;     /* 0: system default */
	struct upstream_tls tls;          /* borrowed; not for unix sockets */
	/* Further startup parameters, name NUL value NUL …: replication connections pass the client's own; pools send none, so that a
	 * server starts from its role's and database's defaults. */
	struct slice startup;
};

struct upstream;
struct upstream_ops {
	void (*on_ready)(struct upstream *up);
	/* ERR is the server's own when it sent one (is_servers true), else ours: 08001 not reached, 08006 lost or too late, 08P01, 28000, 28P01.
	 * TLS that was asked for and is not offered is 0A000, what fails in it 08P01: nothing falls back to something weaker.
	 * The stream is closed, up->reported given back; the owner may free. */
	void (*on_failed)(struct upstream *up, const struct err *err, bool is_servers);
};

enum upstream_state {
	UPSTREAM_RESOLVING,
	UPSTREAM_CONNECTING,
	UPSTREAM_SECURING,
	UPSTREAM_LOGIN,
	UPSTREAM_READY,
	UPSTREAM_CLOSED
};

struct upstream {
	struct stream stream;
	struct addr addr; /* where it is connected to: cancel requests go there too */
	uint32_t backend_pid;
	uint8_t backend_key[STARTMSG_KEY_MAX];
	uint16_t backend_key_len;
	struct settings *reported; /* ParameterStatus so far; up's reference, the owner may replace it */
	uint8_t state;             /* enum upstream_state */
	/* private to upstream.c */
	const struct upstream_ops *ops;
	struct upstream_env env;
	struct upstream_login *login; /* only while not ready */
};

/* Copies what it needs of TARGET.  Callbacks come from the loop, never from inside this call, and are the last that touches UP in it.
 * Close everything before the engine, the resolver and env's mailbox go. */
void upstream_open(struct upstream *up, const struct upstream_env *env, const struct upstream_target *target,
                   const struct upstream_ops *ops);
/* Any state; no callback afterwards.  Sends Terminate when the connection stands and nothing is half sent. */
void upstream_close(struct upstream *up);
/* A connection that another thread logged in: FD, its TLS (or NULL) and facts as that thread had them.  Takes over FD, TLS and the reference
 * REPORTED (may be NULL).  The caller sets up->stream.ops and .owner before it returns to the loop. */
void upstream_adopt(struct upstream *up, const struct upstream_env *env, int fd, struct tls *tls, const struct addr *addr,
                    uint32_t pid, struct slice key, struct settings *reported);

/* Sends one CancelRequest to ADDR, over TLS as LIKE was made (NULL: in the clear, as the connection itself), and waits for the EOF (or 10 s, or an error): then FN(arg, is_over).  IS_OVER: the request cannot hit
 * anything any more; false: it may still be on its way, so the server that it was for must not run anybody else's statement.
 * Self-contained, frees itself after FN; the ticket is for giving up early. */
struct upstream_cancel;
typedef void (*upstream_cancel_fn)(void *arg, bool is_over);
struct upstream_cancel *upstream_cancel(const struct upstream_env *env, const struct addr *addr, const struct tls *like,
                                        uint32_t pid, struct slice key, upstream_cancel_fn fn, void *arg);
void upstream_cancel_drop(struct upstream_cancel *c); /* closes at once; FN will not run */

#endif
