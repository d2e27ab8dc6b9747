/*
 * auth — what a login has to wait for, asked without stalling a worker: secrets and roles that only a server knows, host names, LDAP, PAM, and
 * hashing that takes its time.  One per process.
 *
 * An answer comes back through the asking loop's mailbox, whose memory must outlive all this.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "auth/hosts.h"
#include "conf/hba.h"
#include "net/addr.h"
#include "net/mailbox.h"
#include "net/resolve.h"
#include "topo/topo.h"
#include "wire/scram.h"

struct auth;
/* LOOP, RESOLVER, MAILBOX and BOARD are the control thread's: servers are asked from there. */
struct auth *auth_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board,
                      unsigned threads);
void auth_shut(struct auth *a); /* control thread: asks no server any more */
void auth_free(struct auth *a); /* after all who ask have ended; questions that are open are dropped */

/* Which field holds depends on what was asked; all are gone when FN returns, and wiped. */
struct auth_answer {
	bool is_known; /* false: ERR says why it could not be found out */
	struct err err;
	bool is_right; /* of a password */
	char *secret;  /* NULL: there is no such user, or none that may log in with a password now */
	size_t n_roles;
	char **roles;
	char host[HOSTS_NAME_MAX]; /* "": it has no name, or one that leads elsewhere */
	struct scram_secret scram;
};
typedef void (*auth_fn)(void *arg, const struct auth_answer *answer);
struct auth_question;                      /* void when FN has run or REPLY_TO was closed */
void auth_forget(struct auth_question *q); /* asking thread: FN will not run; NULL is fine */

/* How the servers of a cluster are asked; texts are copied. */
struct auth_source {
	const char *cluster, *dbname, *user, *password, *query;
	uint64_t recheck_us, ttl_us; /* an answer that is older is asked for again; … does not count even if nobody can be asked */
	uint64_t timeout_us;
};
/* The secret of USER.  NOT_BEFORE_US: an answer that is older (clock_us) will not do. */
struct auth_question *auth_ask_secret(struct auth *a, const struct auth_source *source, const char *user, uint64_t not_before_us,
                                      struct mailbox *reply_to, auth_fn fn, void *arg);
/* The roles that USER is a member of. */
struct auth_question *auth_ask_roles(struct auth *a, const struct auth_source *source, const char *user, struct mailbox *reply_to,
                                     auth_fn fn, void *arg);

/* The helpers' work.  NULL: QUEUE_MAX others wait already. */
struct auth_help {
	int64_t queue_max;
	uint64_t timeout_us;
	struct mailbox *reply_to;
	auth_fn fn;
	void *arg;
};
struct auth_question *auth_ask_user(struct auth *a, uid_t uid, const struct auth_help *help); /* host: the system's name for it */
struct auth_question *auth_ask_host(struct auth *a, const struct addr *peer, const struct auth_help *help);
/* The keys for a clear password under the salt of S. */
struct auth_question *auth_ask_keys(struct auth *a, const char *user, const char *password, const struct scram_secret *s,
                                    const struct auth_help *help);
/* Whether PASSWORD is that of S. */
struct auth_question *auth_ask_fits(struct auth *a, const char *password, const struct scram_secret *s,
                                    const struct auth_help *help);
struct auth_question *auth_ask_ldap(struct auth *a, const struct hba *hba, const struct hba_rule *rule, const char *user,
                                    const char *password, const struct auth_help *help);
/* DIR "" is the system's; PEER is told to PAM. */
struct auth_question *auth_ask_pam(struct auth *a, const struct hba *hba, const struct hba_rule *rule, const char *dir,
                                   const char *user, const char *password, const struct addr *peer, const struct auth_help *help);

/* Keys that were derived before for this user and password: at once. */
bool auth_recall_keys(struct auth *a, const char *user, const char *password, struct scram_secret *s) MUST_CHECK;

/* Failed logins of an address (an IPv6 one: of its /64) in the last minute.  Unix sockets have none. */
unsigned auth_failures(struct auth *a, const struct addr *peer, uint64_t now_us);
unsigned auth_note_failure(struct auth *a, const struct addr *peer, uint64_t now_us); /* with this one */
/* Each address that has failed in the last minute: 4 bytes of it, or 8 of a /64.  FN runs under a lock, so it only copies. */
void auth_each_failing(struct auth *a, uint64_t now_us, void (*fn)(void *arg, struct slice address, unsigned failures),
                       void *arg);

#endif
