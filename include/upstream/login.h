/*
 * login — the conversation of one login, as bytes: what the server sent goes in, what we answer comes out.  Knows no sockets.
 *
 * Protocol 3.0, "Start-up" and "SASL Authentication".  Everything up to and including the first ReadyForQuery is its affair.
 * A server is a stranger: messages and the whole login are bounded, and what does not belong into a login ends it.
 */
#ifndef UPSTREAM_LOGIN_H
#define UPSTREAM_LOGIN_H

#include "base/err.h"
#include "base/log.h"
#include "base/settings.h"
#include "wire/md5.h"
#include "wire/scram.h"
#include "wire/startmsg.h"
#include "wire/writer.h"

#define LOGIN_MESSAGE_MAX 65536u  /* bytes of one message's body */
#define LOGIN_TOTAL_MAX 1048576u  /* bytes of a whole login */
#define LOGIN_PARAMETERS_MAX 256u /* settings that a server may report */

/* What lets us log in as a user who is not in the users file. */
struct upstream_keys {
	bool has_scram;
	uint8_t client_key[SCRAM_KEY];
	struct scram_secret secret;
	char md5[MD5_TEXT]; /* the stored secret; "" none */
	char password[256]; /* that he has shown, or that a server told; "" none */
};

/* As whom; borrowed during login_init() and login_start(). */
struct login_who {
	const char *user, *database;      /* database "" is not sent */
	const char *password;             /* clear text, or NULL */
	const char *md5;                  /* as stored, or NULL */
	const struct upstream_keys *keys; /* or NULL; what stands above goes first */
	struct scram_memory *memory;      /* the thread's, or NULL */
	bool
	    is_private; /* nobody between us and the server can read: TLS with a server that is verified, a unix socket, or nobody cares */
	bool is_tls;
	struct slice binding;  /* of that TLS connection; empty: it has none */
	bool requires_binding; /* no other method will do */
	struct slice startup;  /* further parameters, name NUL value NUL …; user and database in it are passed over */
};

enum login_state {
	LOGIN_ASKED,
	LOGIN_PASSWORD_SENT,
	LOGIN_SASL_ASKED,
	LOGIN_SASL_PROVEN,
	LOGIN_SASL_VERIFIED,
	LOGIN_WELCOMED,
	LOGIN_DONE
};

struct login {
	uint8_t state;  /* enum login_state */
	bool has_scram; /* `scram` is ready */
	bool is_private, is_tls, requires_binding;
	bool is_servers;       /* the error is the server's own */
	char *user, *password; /* password NULL: none in clear text */
	char md5[MD5_TEXT];    /* "": none */
	uint8_t binding[SCRAM_BINDING_MAX], binding_len;
	size_t taken;    /* bytes so far */
	struct log *log; /* may be NULL */
	struct scram_client scram;
	/* What came out of it. */
	struct settings *reported; /* ParameterStatus; the login's reference */
	uint32_t pid;
	uint8_t key[STARTMSG_KEY_MAX];
	uint16_t key_len;
};

/* TABLE: where the reported settings are made. */
void login_init(struct login *l, const struct login_who *who, struct settings_table *table, struct log *log);
void login_fini(struct login *l);                                  /* wipes */
void login_start(const struct login_who *who, struct writer *out); /* StartupMessage */

enum login_verdict {
	LOGIN_MORE, /* send OUT, come back with what is behind *TAKEN and more */
	LOGIN_BUSY, /* as MORE, but what is behind *TAKEN wants a millisecond's work once more: come back with it when others have had theirs */
	LOGIN_READY,  /* ReadyForQuery was the last of what was taken */
	LOGIN_FAILED, /* ERR says why; l->is_servers when it is the server's own */
};
/* Takes whole messages from IN. */
enum login_verdict login_read(struct login *l, struct slice in, size_t *taken, struct writer *out, struct err *err) MUST_CHECK;

#endif
