/*
 * hba — pg_hba.conf rules: who may come in from where, and how they prove it.  docs/authentication.md is its manual.
 *
 * Immutable once loaded, any thread; whoever needs a rule beyond a turn holds a reference on the whole.
 */
#ifndef CONF_HBA_H
#define CONF_HBA_H

#include <sys/socket.h>

#include "conf/conf.h"

enum hba_method { HBA_REJECT, HBA_TRUST, HBA_PASSWORD, HBA_MD5, HBA_SCRAM, HBA_CERT, HBA_PEER, HBA_LDAP, HBA_PAM };
const char *hba_method_name(enum hba_method method);

enum hba_clientcert { HBA_CLIENTCERT_NONE, HBA_CLIENTCERT_CA, HBA_CLIENTCERT_FULL };

/* Where to ask whether a password is right; texts NULL when not said. */
struct hba_ldap {
	char *uri; /* "ldap://one:389 ldap://two:389" */
	bool starttls;
	char *prefix, *suffix; /* simple bind */
	char *basedn, *binddn, *bindpasswd, *attribute, *filter;
	int scope; /* of the search: 0 base, 1 one level, 2 subtree */
};

struct hba_rule {
	enum hba_method method;
	const char *file;
	unsigned line;
	enum hba_clientcert clientcert;
	bool by_dn; /* the certificate's whole name counts, not its CN */
	char *map;  /* the ident map's name; NULL: names must be equal */
	struct hba_ldap *ldap;
	char *pam_service;
	bool pam_use_hostname;
};

struct hba *hba_load(const char *path, struct conf_errors *errors) MUST_CHECK;
struct hba *hba_ref(const struct hba *h);
void hba_unref(const struct hba *h); /* the last one wipes and frees; NULL is fine */

/* What deciding may need and has to be looked up first. */
struct hba_facts {
	bool has_host, has_roles;
	const char *host; /* the peer's name, if looking that up led back to its address; else "" */
	size_t n_roles;
	const char *const *roles; /* those that the user is a member of, directly or not, and itself */
};
struct hba_ask {
	const struct sockaddr_storage *peer; /* with family AF_UNIX it is "local" */
	bool is_tls;
	const char *database, *user;
	bool is_replication; /* physical */
	struct hba_facts facts;
};
enum hba_answer {
	HBA_FOUND,
	HBA_NONE,       /* no rule fits: the client is refused */
	HBA_NEEDS_HOST, /* ask again with these facts */
	HBA_NEEDS_ROLES,
};
/* The first rule that fits. */
enum hba_answer hba_match(const struct hba *h, const struct hba_ask *ask, const struct hba_rule **rule);

bool hba_uses_roles(const struct hba *h);
bool hba_uses_tls(const struct hba *h, const struct hba_rule **first); /* a rule that can match over TLS alone */
bool hba_uses_certificates(const struct hba *h, const struct hba_rule **first);
/* Each rule that names an ident map. */
void hba_each_map(const struct hba *h, void (*fn)(void *arg, const struct hba_rule *rule), void *arg);

#endif
