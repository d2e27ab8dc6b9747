/*
 * conf — the configuration as a value: immutable once loaded, freed as a whole, shared by threads inside a topology snapshot.
 *
 * The structs' fields come from tbl/params.h.  Durations are microseconds, sizes bytes, texts never NULL ("" is "not set").
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "tbl/params.h"

enum pool_mode { POOL_MODE_UNSET, POOL_MODE_SESSION, POOL_MODE_TRANSACTION, POOL_MODE_STATEMENT };
const char *pool_mode_name(enum pool_mode mode);

enum conf_engine { CONF_ENGINE_AUTO, CONF_ENGINE_EPOLL, CONF_ENGINE_IO_URING };

enum conf_client_tls { CONF_CLIENT_TLS_OFF, CONF_CLIENT_TLS_ALLOW, CONF_CLIENT_TLS_REQUIRE, CONF_CLIENT_TLS_VERIFY };
/* Each asks for more than the one before. */
enum conf_server_tls {
	CONF_SERVER_TLS_OFF,
	CONF_SERVER_TLS_ALLOW,
	CONF_SERVER_TLS_PREFER,
	CONF_SERVER_TLS_REQUIRE,
	CONF_SERVER_TLS_VERIFY_CA,
	CONF_SERVER_TLS_VERIFY_FULL
};
const char *conf_server_tls_name(enum conf_server_tls mode); /* as libpq's sslmode has it, but for "off" */
enum conf_tls_start { CONF_TLS_START_POSTGRES, CONF_TLS_START_DIRECT };
enum conf_protocol { CONF_PROTOCOL_TLS_1_2, CONF_PROTOCOL_TLS_1_3 };
const char *conf_protocol_name(enum conf_protocol p);
/* Whose writes a read must show.  UNSET: as the cluster has it. */
enum conf_freshness { CONF_FRESH_UNSET, CONF_FRESH_OFF, CONF_FRESH_SESSION, CONF_FRESH_CLUSTER };
enum conf_scope { CONF_SCOPE_STATEMENT, CONF_SCOPE_SESSION };
enum conf_failover { CONF_FAILOVER_EXTERNAL, CONF_FAILOVER_AUTO, CONF_FAILOVER_MANUAL };
enum conf_balance { CONF_BALANCE_RANDOM, CONF_BALANCE_ROUND_ROBIN, CONF_BALANCE_LEAST, CONF_BALANCE_P2C };

#define CONF_DURATION_UNSET UINT64_MAX /* a DURATION whose text is "" */

struct conf_list {
	size_t n;
	char **at;
};

#define CONF_T_INT int64_t
#define CONF_T_BOOL bool
#define CONF_T_OCTAL int64_t
#define CONF_T_TEXT char *
#define CONF_T_SECRET char *
#define CONF_T_PATH char *
#define CONF_T_LIST struct conf_list
#define CONF_T_DURATION uint64_t
#define CONF_T_SIZE uint64_t
#define CONF_T_SHARE int64_t /* millionths */
#define CONF_T_MODE enum pool_mode
#define CONF_T_LEVEL enum log_level
#define CONF_T_FORMAT enum log_format
#define CONF_T_ENGINE enum conf_engine
#define CONF_T_CLIENT_TLS enum conf_client_tls
#define CONF_T_SERVER_TLS enum conf_server_tls
#define CONF_T_TLS_START enum conf_tls_start
#define CONF_T_PROTOCOL enum conf_protocol
#define CONF_T_BALANCE enum conf_balance
#define CONF_T_FAILOVER enum conf_failover
#define CONF_T_FRESHNESS enum conf_freshness
#define CONF_T_SCOPE enum conf_scope
#define CONF_FIELD(field, type, ...) CONF_T_##type field;

struct conf_listen {
	PARAMS_LISTEN(CONF_FIELD)
};
struct conf_auth {
	PARAMS_AUTH(CONF_FIELD)
};
struct conf_node {
	char *name;
	PARAMS_NODE(CONF_FIELD)
};
#define CONF_REDIRECTS_MAX 64u
#define CONF_REDIRECT_NODES_MAX 64u
struct conf_redirect {
	char *name;
	PARAMS_REDIRECT(CONF_FIELD)
	/* What `to` says: words, and nodes by their bits. */
	bool to_primary, to_standby, to_any;
	uint64_t nodes;
};
struct conf_cluster {
	char *name;
	PARAMS_CLUSTER(CONF_FIELD)
	size_t n_nodes;
	struct conf_node *nodes;
	size_t n_redirects;
	struct conf_redirect *redirects; /* the first that concerns a read says where it runs */
};
struct conf_pool {
	PARAMS_POOL(CONF_FIELD)
};
struct conf_database {
	char *name; /* "*" is for all that have no block of their own */
	PARAMS_DATABASE(CONF_FIELD)
	size_t cluster_at; /* index into conf->clusters */
};
struct conf_user {
	char *name;
	PARAMS_USER(CONF_FIELD)
};
struct conf_limits {
	PARAMS_LIMITS(CONF_FIELD)
};

struct hba;
struct ident;
struct users;
struct conf {
	PARAMS_GLOBAL(CONF_FIELD)
	struct conf_listen listen;
	struct conf_auth auth;
	size_t n_clusters;
	struct conf_cluster *clusters;
	struct conf_pool pool;
	size_t n_databases;
	struct conf_database *databases;
	size_t n_users;
	struct conf_user *users;
	struct conf_limits limits;
	struct hba *hba;       /* from auth.hba_file */
	struct ident *maps;    /* from auth.ident_file; never NULL */
	struct users *secrets; /* from auth.users_file; never NULL */
	struct conf *lender;   /* of these, if this is a copy */
	unsigned borrowers;
};

/* Everything that is wrong, not only the first thing; each with file:line and, where there is one, a suggestion. */
struct conf_errors {
	size_t n;
	struct {
		char *where; /* "conf.d/10-cluster.conf:12", or "" */
		char *text;
	} * at;
};
void conf_errors_add(struct conf_errors *e, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4); /* keeps the first 100 */
void conf_errors_to_err(const struct conf_errors *e, struct err *err); /* the first, and how many more */
void conf_errors_fini(struct conf_errors *e);

/* Loads a file, or a directory's *.conf in name order (without those that auth names as files of its own).  NULL and ERRORS when anything is wrong.  Blocks on file reads: control thread only. */
struct conf *conf_load(const char *path, struct conf_errors *errors) MUST_CHECK;
void conf_free(struct conf *c); /* wipes secrets */
/* A copy with one setting changed, named as conf_each() names it; NULL with ERR when there is no such setting, the value is none for it, or it is one
 * that only a file can change: names of files, secrets, addresses, and what needs a restart.  The copy borrows from C, which lives as long. */
struct conf *conf_with(struct conf *c, const char *name, const char *value, struct err *err) MUST_CHECK;

/* The block for a database name: its own, else "*", else NULL (no such database). */
const struct conf_database *conf_database(const struct conf *c, const char *name);
const struct conf_user *conf_user(const struct conf *c, const char *name); /* NULL: no block */

/* Whether R is about statements of this user, in this database, under this application_name. */
bool conf_redirect_concerns(const struct conf_redirect *r, const char *database, const char *user, const char *application);
bool conf_pattern_matches(const char *pattern, const char *name); /* * is any run of characters */

/* What holds for one (database, user): user over database over pool block.  D must not be NULL; U may be. */
struct conf_effective {
	enum pool_mode mode;
	bool read_until_write;
	int64_t size, min_size, reserve_size, max_pinned;
	uint64_t query_timeout, idle_transaction_timeout, client_idle_timeout, transaction_timeout; /* us, 0 off */
};
void conf_effective(const struct conf *c, const struct conf_database *d, const struct conf_user *u, struct conf_effective *out);

/* Walks every setting for SHOW CONFIG: name as "workers", "pool.size", "cluster.main.node.pg1.host"; secrets as "********". */
void conf_each(const struct conf *c,
               void (*fn)(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart), void *arg);
/* AFTER keeps BEFORE's value of every setting that needs a restart: what a reload cannot change stays what SHOW CONFIG tells. */
void conf_keep_restart(struct conf *after, const struct conf *before);
/* Prints the manual's parameter reference (markdown) or a sample conf.d file for BLOCK; for --docs. */
void conf_print_manual(int fd);
bool conf_print_sample(int fd, const char *block); /* false: no such block */

#endif
