/*
 * check — what each setting for itself allows and all together make senseless: a cluster without nodes, a database without a cluster,
 * a minimum above its maximum.  Each message says what to do; its place is looked up only when there is something to report.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "priv.h"
#include "tbl/messages.h"

#define SOCKET_PATH_BYTES 108 /* sun_path; the name is "/.s.PGSQL.65535" */

/* Where the block TITLE of kind BLOCK (in the cluster WITHIN, if any) stands, or its KEY in it, if that is written. */
struct place {
	const char *within, *block, *title, *key;
};

/* What looks missing was written, and refused: that is reported already. */
static bool is_refused(const struct place *at, const struct conf_item *it, const struct conf_item *key)
{
	if (!at->title && !at->key)
		return it != NULL; /* "there is no cluster" */
	if (!key || key->kind != ITEM_LIST)
		return key && key->kind != ITEM_VALUE;
	return param_named(param_block_named(at->block), at->key)->type != PARAM_LIST;
}

static PRINTF_LIKE(3, 4) void report(struct conf_load *l, struct place at, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	const struct conf_tree *tree = NULL;
	const struct conf_item *it = load_find(l, NULL, at.within ? "cluster" : at.block, at.within ? at.within : at.title, &tree);
	if (it && at.within)
		it = load_find(l, it, at.block, at.title, NULL);
	const struct conf_item *key = it && at.key ? load_find(l, it, at.key, NULL, NULL) : NULL;
	if (is_refused(&at, it, key))
		return;
	if (it)
		load_report(l, tree, key ? key->line : it->line, "%s", text);
	else /* what is missing, or was never in a file: SET */
		conf_errors_add(l->errors, "", "%s", text);
}

/* Of one block: its tls, and the files that go with it. */
struct tls_files {
	const char *cert, *key, *ca, *crl;
	bool is_on;
};

static void check_tls_files(struct conf_load *l, struct place at, const struct tls_files *f)
{
	if (!*f->cert != !*f->key) {
		at.key = *f->cert ? "tls_cert" : "tls_key";
		report(l, at, "tls_cert and tls_key go together: set both or none");
	}
	at.key = "tls_crl";
	if (*f->crl && !*f->ca)
		report(l, at, "tls_crl has no effect without tls_ca, the authorities whose certificates were revoked");
	at.key = *f->ca ? "tls_ca" : "tls_cert";
	if (!f->is_on && (*f->cert || *f->ca))
		report(l, at, "%s has no effect while tls = off", at.key);
}

static void check_client_tls(struct conf_load *l)
{
	const struct conf_listen *c = &l->conf->listen;
	const struct place here = { .block = "listen", .key = "tls" };
	check_tls_files(l, here,
	                &(struct tls_files){ c->tls_cert, c->tls_key, c->tls_ca, c->tls_crl, c->tls != CONF_CLIENT_TLS_OFF });
	if (c->tls != CONF_CLIENT_TLS_OFF && !*c->tls_cert && !*c->tls_key)
		report(l, here, "TLS needs a certificate that clients are shown: set tls_cert and tls_key");
	if (c->tls == CONF_CLIENT_TLS_VERIFY && !*c->tls_ca)
		report(l, here, "tls = verify needs tls_ca, the authorities of the clients' certificates");
}

static void check_binding(struct conf_load *l, const struct conf_cluster *c)
{
	if (c->require_channel_binding && c->tls == CONF_SERVER_TLS_OFF)
		report(l, (struct place){ NULL, "cluster", c->name, "require_channel_binding" },
		       "require_channel_binding needs TLS with the nodes, and tls is off");
}

static void check_server_tls(struct conf_load *l, const struct conf_cluster *c)
{
	const struct place here = { NULL, "cluster", c->name, "tls" };
	check_tls_files(l, here,
	                &(struct tls_files){ c->tls_cert, c->tls_key, c->tls_ca, c->tls_crl, c->tls != CONF_SERVER_TLS_OFF });
	if (c->tls >= CONF_SERVER_TLS_VERIFY_CA && !*c->tls_ca)
		report(l, here, "tls = %s needs tls_ca, the authorities of the nodes' certificates", conf_server_tls_name(c->tls));
	if (c->tls < CONF_SERVER_TLS_REQUIRE && c->tls != CONF_SERVER_TLS_OFF && *c->tls_ca)
		report(l, (struct place){ NULL, "cluster", c->name, "tls_ca" },
		       "tls_ca has no effect while tls = %s, which verifies nothing", conf_server_tls_name(c->tls));
	if (c->tls_negotiation == CONF_TLS_START_DIRECT && c->tls < CONF_SERVER_TLS_REQUIRE)
		report(l, (struct place){ NULL, "cluster", c->name, "tls_negotiation" },
		       "tls_negotiation = direct needs tls = require or more: who does not ask the node cannot do without TLS");
}

static void check_listen(struct conf_load *l)
{
	const struct conf_listen *c = &l->conf->listen;
	if (c->address.n == 0 && !*c->unix_socket_dir)
		report(l, (struct place){ .block = "listen", .key = "address" },
		       "nobody could connect: set address or unix_socket_dir in the block listen");
	for (size_t i = 0; i < c->address.n; i++)
		if (!*c->address.at[i])
			report(l, (struct place){ .block = "listen", .key = "address" },
			       "address has an empty entry; * is for all, and address = {} for none");
	if (strlen(c->unix_socket_dir) + strlen("/.s.PGSQL.65535") >= SOCKET_PATH_BYTES)
		report(l, (struct place){ .block = "listen", .key = "unix_socket_dir" },
		       "the path of the unix socket would be longer than %d bytes: choose a shorter unix_socket_dir",
		       SOCKET_PATH_BYTES - 1);
}

#define SALT_LEAST 16

static void check_auth(struct conf_load *l)
{
	if (!*l->conf->auth.hba_file)
		report(l, (struct place){ .block = "auth", .key = "hba_file" },
		       "nobody could log in: name a file of rules as hba_file in the block auth; one line is enough: local all all "
		       "scram-sha-256");
	if (*l->conf->auth.scram_salt && strlen(l->conf->auth.scram_salt) < SALT_LEAST)
		report(l, (struct place){ .block = "auth", .key = "scram_salt" },
		       "whoever guesses scram_salt can tell which salts are made up: give it at least %d characters", SALT_LEAST);
}

static void check_query(struct conf_load *l)
{
	const struct conf_auth *a = &l->conf->auth;
	for (size_t i = 0; *a->query && !*a->query_user && i < l->conf->n_clusters; i++)
		if (!*l->conf->clusters[i].service_user)
			report(l, (struct place){ .block = "auth", .key = "query" },
			       "somebody must run the query: set query_user, or service_user in the cluster %.100s",
			       l->conf->clusters[i].name);
	if (*a->query && !strstr(a->query, "$1"))
		report(l, (struct place){ .block = "auth", .key = "query" }, "the query lacks $1, the user whose secret it asks for");
	if (*a->query_password && !*a->query_user)
		report(l, (struct place){ .block = "auth", .key = "query_password" },
		       "query_password has no effect without query_user: set both or none");
}

static void check_node(struct conf_load *l, const struct conf_cluster *c, size_t at)
{
	const struct conf_node *n = &c->nodes[at];
	if (!*n->host)
		report(l, (struct place){ c->name, "node", n->name, "host" }, "the node %.100s lacks its host", n->name);
	for (size_t i = 0; i < at && *n->host; i++)
		if (strcmp(c->nodes[i].host, n->host) == 0 && c->nodes[i].port == n->port)
			report(l, (struct place){ c->name, "node", n->name, "host" },
			       "the node %.100s has the host and port of the node %.100s: one server cannot stand twice in a cluster",
			       n->name, c->nodes[i].name);
}

/* One entry of `to`. */
static bool take_target(struct conf_redirect *r, const struct conf_cluster *c, const char *word)
{
	r->to_primary |= strcmp(word, "primary") == 0;
	r->to_standby |= strcmp(word, "standby") == 0;
	r->to_any |= strcmp(word, "any") == 0;
	if (strcmp(word, "primary") == 0 || strcmp(word, "standby") == 0 || strcmp(word, "any") == 0)
		return true;
	for (size_t i = 0; i < c->n_nodes && i < CONF_REDIRECT_NODES_MAX; i++)
		if (strcmp(c->nodes[i].name, word) == 0) {
			r->nodes |= UINT64_C(1) << i;
			return true;
		}
	return false;
}

static const char *near_target(const struct conf_cluster *c, const char *word)
{
	const char *names[CONF_REDIRECT_NODES_MAX + 3] = { "primary", "standby", "any" };
	size_t n = 3;
	for (size_t i = 0; i < c->n_nodes && i < CONF_REDIRECT_NODES_MAX; i++)
		names[n++] = c->nodes[i].name;
	return near_word(word, names, n);
}

static void check_redirect(struct conf_load *l, const struct conf_cluster *c, struct conf_redirect *r)
{
	struct place here = { c->name, "redirect", r->name, "to" };
	r->to_primary = r->to_standby = r->to_any = false;
	r->nodes = 0;
	if (r->to.n == 0)
		report(l, here, "the redirect %.100s lacks where to: set to = primary, standby, any or the name of a node", r->name);
	for (size_t i = 0; i < r->to.n; i++) {
		if (take_target(r, c, r->to.at[i]))
			continue;
		const char *near = near_target(c, r->to.at[i]);
		report(l, here, "to: there is no node %.100s in the cluster %.100s, and it is none of primary, standby and any%s%.100s%s",
		       r->to.at[i], c->name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
}

static void check_redirects(struct conf_load *l, const struct conf_cluster *c)
{
	if (c->n_redirects && !c->read_write_split)
		report(l, (struct place){ NULL, "cluster", c->name, "read_write_split" },
		       "redirects have no effect without read_write_split: all statements run on the primary");
	if (c->n_redirects > CONF_REDIRECTS_MAX)
		report(l, (struct place){ .block = "cluster", .title = c->name }, "the cluster %.100s has %zu redirects; it may have %u",
		       c->name, c->n_redirects, CONF_REDIRECTS_MAX);
	if (c->n_redirects && c->n_nodes > CONF_REDIRECT_NODES_MAX)
		report(l, (struct place){ .block = "cluster", .title = c->name },
		       "the cluster %.100s has %zu nodes; with redirects it may have %u", c->name, c->n_nodes, CONF_REDIRECT_NODES_MAX);
	for (size_t i = 0; i < c->n_redirects; i++)
		check_redirect(l, c, &c->redirects[i]);
}

/* As much as a record holds. */
#define RECORDED_NODES 32
#define RECORDED_NAME 127

static void check_failover(struct conf_load *l, const struct conf_cluster *c)
{
	if (c->failover != CONF_FAILOVER_EXTERNAL && !*l->conf->state_dir)
		report(l, (struct place){ NULL, "cluster", c->name, "failover" },
		       "failover = %s must remember what it does: set state_dir, outside any block",
		       c->failover == CONF_FAILOVER_AUTO ? "auto" : "manual");
	if (!*l->conf->state_dir)
		return;
	if (c->n_nodes > RECORDED_NODES)
		report(l, (struct place){ .block = "cluster", .title = c->name }, "with state_dir a cluster has at most %d nodes",
		       RECORDED_NODES);
	bool is_long = strlen(c->name) > RECORDED_NAME;
	for (size_t i = 0; i < c->n_nodes; i++)
		is_long |= strlen(c->nodes[i].name) > RECORDED_NAME;
	if (is_long)
		report(l, (struct place){ .block = "cluster", .title = c->name },
		       "with state_dir the names of clusters and nodes have at most %d bytes", RECORDED_NAME);
}

static void check_cluster(struct conf_load *l, const struct conf_cluster *c)
{
	struct place here = { .block = "cluster", .title = c->name };
	if (c->n_nodes == 0)
		report(l, here, "the cluster %.100s has no node: add node \"name\" { host = \"…\" }", c->name);
	if (c->n_nodes > 1 && !*c->service_user)
		report(l, (struct place){ NULL, "cluster", c->name, "service_user" },
		       "the cluster %.100s has %zu nodes, so somebody must ask them who is primary: set service_user", c->name,
		       c->n_nodes);
	if (*c->service_password && !*c->service_user)
		report(l, (struct place){ NULL, "cluster", c->name, "service_password" },
		       "service_password has no effect without service_user: set both or none");
	check_failover(l, c);
	check_server_tls(l, c);
	check_binding(l, c);
	for (size_t i = 0; i < c->n_nodes; i++)
		check_node(l, c, i);
	check_redirects(l, c);
}

static void check_pool(struct conf_load *l)
{
	const struct conf_pool *p = &l->conf->pool;
	if (p->min_size > p->size)
		report(l, (struct place){ .block = "pool", .key = "min_size" }, "min_size = %lld is more than size = %lld",
		       (long long)p->min_size, (long long)p->size);
}

static void find_cluster(struct conf_load *l, struct conf_database *d)
{
	struct place here = { NULL, "database", d->name, "cluster" };
	const struct conf *c = l->conf;
	const char *names[32];
	size_t n = 0;
	if (!*d->cluster && c->n_clusters > 1)
		report(l, here, "there are %zu clusters: say which one serves the database %.100s, as in cluster = \"%.100s\"",
		       c->n_clusters, d->name, c->clusters[0].name);
	if (!*d->cluster)
		return;
	for (size_t i = 0; i < c->n_clusters; i++) {
		if (strcmp(c->clusters[i].name, d->cluster) == 0) {
			d->cluster_at = i;
			return;
		}
		if (n < ARRAY_LEN(names))
			names[n++] = c->clusters[i].name;
	}
	const char *near = near_word(d->cluster, names, n);
	report(l, here, "there is no cluster %.100s%s%.100s%s", d->cluster, near ? "; did you mean " : "", near ? near : "",
	       near ? "?" : "");
}

static void check_pool_size(struct conf_load *l, const char *block, const char *title, int64_t size)
{
	if (size == 0)
		report(l, (struct place){ NULL, block, title, "pool_size" },
		       "pool_size = 0 would let every statement wait for ever: give at least 1, or -1 for what the pool block has");
}

/* What a database says about logging in. */
static void check_database_auth(struct conf_load *l, const struct conf_database *d)
{
	if (*d->password && !*d->user)
		report(l, (struct place){ NULL, "database", d->name, "password" },
		       "password has no effect without user: set both or none");
	if (*d->auth_query && !strstr(d->auth_query, "$1"))
		report(l, (struct place){ NULL, "database", d->name, "auth_query" },
		       "auth_query lacks $1, the user whose secret it asks for");
	if (*d->auth_query && !*d->auth_user && !*l->conf->auth.query_user && l->conf->n_clusters > d->cluster_at &&
	    !*l->conf->clusters[d->cluster_at].service_user)
		report(l, (struct place){ NULL, "database", d->name, "auth_query" },
		       "somebody must run auth_query: set auth_user, auth.query_user or the cluster's service_user");
}

static void check_database(struct conf_load *l, struct conf_database *d)
{
	find_cluster(l, d);
	check_database_auth(l, d);
	check_pool_size(l, "database", d->name, d->pool_size);
	int64_t size = d->pool_size < 0 ? l->conf->pool.size : d->pool_size;
	if (d->min_pool_size > size)
		report(l, (struct place){ NULL, "database", d->name, "min_pool_size" },
		       "min_pool_size = %lld is more than the pool's size, %lld", (long long)d->min_pool_size, (long long)size);
}

static void check_user(struct conf_load *l, const struct conf_user *u)
{
	check_pool_size(l, "user", u->name, u->pool_size);
	if (strcmp(u->name, "*") == 0)
		report(l, (struct place){ NULL, "user", u->name, NULL },
		       "\"*\" is no user: what holds for all stands in the blocks pool and limits");
}

/* Below that stand messages that cannot be refused by an ERROR: Sync, for one. */
static void check_message_size(struct conf_load *l)
{
	uint64_t size = l->conf->limits.max_message_size;
	if (size && size < MESSAGE_SMALL_FROM_CLIENT)
		report(l, (struct place){ .block = "limits", .key = "max_message_size" },
		       "max_message_size must be 0 or at least 10kB: what the protocol itself needs must pass");
}

void load_check(struct conf_load *l)
{
	struct conf *c = l->conf;
	check_listen(l);
	check_client_tls(l);
	check_auth(l);
	check_query(l);
	if (c->n_clusters == 0)
		report(l, (struct place){ .block = "cluster" },
		       "there is no cluster to serve: add cluster \"main\" { node \"pg1\" { host = \"…\" } }");
	for (size_t i = 0; i < c->n_clusters; i++)
		check_cluster(l, &c->clusters[i]);
	check_pool(l);
	check_message_size(l);
	if (c->n_databases == 0)
		report(l, (struct place){ .block = "database" },
		       "there is no database that a client could ask for: add database \"*\" {} for all of them");
	for (size_t i = 0; i < c->n_databases; i++)
		check_database(l, &c->databases[i]);
	for (size_t i = 0; i < c->n_users; i++)
		check_user(l, &c->users[i]);
}
