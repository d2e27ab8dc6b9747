/*
 * plan — what the configuration and the topology say for one pool, and what becomes of its servers and waits when that changes.
 *
 * It is a copy: a snapshot may be gone at the next turn.
 */
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "conf/users.h"
#include "priv.h"

static void read_secret(struct plan *plan, const struct conf *conf, const struct conf_database *d, const char *user)
{
	bool is_forced = *d->user && strcmp(d->user, user) == 0;
	const char *secret = is_forced && *d->password ? d->password : users_secret(conf->secrets, user);
	enum secret_kind kind = secret_kind(secret);
	plan->has_only_scram_secret = kind == SECRET_SCRAM;
	plan->password = kind == SECRET_CLEAR ? mem_text(secret) : NULL;
	plan->md5 = kind == SECRET_MD5 ? mem_text(secret) : NULL;
}

static void read_settings(struct plan *plan, const struct conf *conf)
{
	const struct conf_pool *p = &conf->pool;
	plan->max_connecting = p->max_connecting;
	plan->max_server_statements = p->max_server_statements;
	plan->reserve_timeout_us = p->reserve_timeout;
	plan->connect_timeout_us = p->connect_timeout;
	plan->server_lifetime_us = p->server_lifetime;
	plan->server_idle_timeout_us = p->server_idle_timeout;
	plan->reset_timeout_us = p->reset_timeout;
	plan->tcp_user_timeout_ms = (unsigned)(conf->limits.tcp_user_timeout / US_PER_MS);
}

bool plan_read(struct plan *plan, const struct topo *topo, struct keyring *keyring, uint32_t node_id, const char *database,
               const char *user)
{
	const struct conf *conf = topo->conf;
	const struct conf_database *d = conf_database(conf, database);
	const struct conf_user *u = conf_user(conf, user);
	size_t cluster_at;
	const struct topo_node *node = topo_node(topo, node_id, &cluster_at);
	*plan = (struct plan){ 0 };
	if (!d || !node || (d->cluster_at != cluster_at && !*conf->clusters[d->cluster_at].policy))
		return false; /* of another cluster only a policy can have asked for it */
	const struct topo_node *primary = topo_primary(topo, cluster_at);
	plan->host = mem_text(node->host);
	plan->port = node->port;
	plan->node_name = mem_text(node->name);
	plan->cluster = mem_text(topo->clusters[cluster_at].name);
	plan->cluster_at = cluster_at;
	plan->is_home = d->cluster_at == cluster_at;
	plan->dbname = mem_text(d->dbname[0] ? d->dbname : database);
	plan->is_primary = primary && primary->id == node_id;
	plan->is_cut = node->is_cut;
	plan->is_held = plan->is_primary && topo->clusters[cluster_at].is_held;
	plan->upper_max[UPPER_NODE] = node->max_connections;
	plan->upper_max[UPPER_DB] = d->max_connections;
	plan->upper_max[UPPER_ROLE] = u ? u->max_connections : 0;
	conf_effective(conf, d, u, &plan->conf);
	read_settings(plan, conf);
	plan->cleartext_password = conf->clusters[cluster_at].cleartext_password;
	plan->requires_binding = conf->clusters[cluster_at].require_channel_binding;
	read_secret(plan, conf, d, user);
	plan->tls = keyring_cluster(keyring, &conf->clusters[cluster_at]);
	return true;
}

void plan_fini(struct plan *plan)
{
	mem_free(plan->host);
	mem_free(plan->dbname);
	mem_free(plan->node_name);
	mem_free(plan->cluster);
	secret_free_text(plan->password);
	tls_conf_unref(plan->tls.conf);
	secret_free_text(plan->md5);
	*plan = (struct plan){ 0 };
}

/* A server that was opened under A may go on under B. */
static bool is_same_server(const struct plan *a, const struct plan *b)
{
	return strcmp(a->host, b->host) == 0 && a->port == b->port && strcmp(a->dbname, b->dbname) == 0 && a->is_home == b->is_home &&
	       upstream_tls_equal(&a->tls, &b->tls);
}

void plan_apply(struct pool *pool)
{
	struct pool_registry *r = pool->shared->registry;
	const struct plan *plan = &pool->plan;
	pool->ddl = registry_fact(r, "ddl", plan->cluster, plan->dbname, "");
	pool->retired = registry_fact(r, "retired", plan->cluster, plan->dbname, "");
	pool->sequences = registry_fact(r, "sequences", plan->cluster, plan->dbname, pool->shared->user);
	atomic_store(&pool->shared->size_now, plan->conf.size);
	atomic_store(&pool->shared->mode_now, plan->conf.mode);
}

/* -- a new topology -------------------------------------------------------------------------------- */

static void mark_list(struct dlist *list)
{
	DLIST_EACH(it, list)
	CONTAINER_OF(it, struct server, link)->must_close = 1;
}

static void mark_handing(struct pool *pool)
{
	DLIST_EACH(it, &pool->pools->handing)
	{
		struct server *srv = CONTAINER_OF(it, struct server, link);
		if (srv->pool == pool)
			srv->must_close = 1;
	}
}

void pool_retire_servers(struct pool *pool, const char *reason)
{
	for (struct dlist *it; (it = dlist_first(&pool->idle));)
		server_close(CONTAINER_OF(it, struct server, link), reason);
	mark_list(&pool->lent);
	mark_list(&pool->opening);
	mark_list(&pool->resetting);
	mark_handing(pool);
}

void plan_tell_all(struct loop_defer *d)
{
	struct pools *p = CONTAINER_OF(d, struct pools, tell);
	DLIST_EACH(it, &p->all)
	{
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		struct err err;
		if (!pool->ask_again)
			continue;
		err_set(&err, "LP001", "server \"%s\" %s", pool->plan.node_name, pool->ask_again);
		pool->ask_again = NULL;
		queue_fail(pool, &err);
	}
}

/* At the end of the turn: those who wait may look at the new topology only when everybody has been given it. */
void fail_waits(struct pool *pool, const char *why)
{
	pool->ask_again = why;
	loop_defer(pool->pools->loop, &pool->pools->tell);
}

static void on_gone(struct pool *pool)
{
	pool->is_gone = true;
	pool_retire_servers(pool, "not configured any more");
	fail_waits(pool, "does not serve this database any more");
}

static void forget_server(struct pool *pool)
{
	pthread_mutex_lock(&pool->shared->lock);
	welcome_forget(pool->shared);
	pthread_mutex_unlock(&pool->shared->lock);
	pool_retire_servers(pool, "its node, database or TLS changed");
}

/* Whoever waits here is taken out by its session, which sees the same topology. */
static void on_pause(struct pool *pool, bool is_paused)
{
	bool was_paused = pool->is_paused;
	pool->is_paused = is_paused;
	if (is_paused && !was_paused)
		pool_retire_servers(pool, "its database is paused");
}

/* Servers stay while nobody knows who is primary: it may be the same one, back.  Those who wait ask again at once. */
static void on_plan(struct pool *pool, const struct plan *was, bool has_primary)
{
	const struct plan *is = &pool->plan;
	bool is_deposed = pool->served_primary && !is->is_primary;
	if (!is_same_server(was, is))
		forget_server(pool);
	else if (is_deposed && has_primary)
		pool_retire_servers(pool, "the node is not the primary any more");
	if (is_deposed || is->is_cut || (is->is_held && !was->is_held))
		fail_waits(pool, is->is_cut ? "is cut off" : is_deposed ? "is not the primary any more" : "is held");
	pool->is_deposed = !is->is_primary && (is_deposed || pool->is_deposed);
	if (is->is_primary || has_primary)
		pool->served_primary = is->is_primary;
	plan_apply(pool);
	grow(pool);
}

static bool is_primary_known(const struct topo *topo, uint32_t node_id)
{
	size_t cluster_at;
	return topo_node(topo, node_id, &cluster_at) && topo_primary(topo, cluster_at);
}

static void re_read(struct pool *pool, const struct topo *topo)
{
	struct pool_shared *s = pool->shared;
	struct plan plan, was = pool->plan;
	if (!plan_read(&plan, topo, pool->pools->env.keyring, s->node_id, s->database, s->user)) {
		if (!pool->is_gone)
			on_gone(pool);
		return;
	}
	pool->is_gone = false;
	pool->plan = plan;
	on_pause(pool, topo_holds(topo, s->database, TOPO_PAUSED));
	on_plan(pool, &was, is_primary_known(topo, s->node_id));
	plan_fini(&was);
}

void pools_on_topology(struct pools *p, const struct topo *topo)
{
	p->changes++;
	DLIST_EACH(it, &p->all)
	re_read(CONTAINER_OF(it, struct pool, link), topo);
}

static void cut_list(struct dlist *list, const char *reason)
{
	for (struct dlist *it; (it = dlist_first(list));)
		server_close_now(CONTAINER_OF(it, struct server, link), reason);
}

/* What a statement there has done nobody will hear: its session is told what can be known. */
static void cut_lent(struct pool *pool, const char *reason)
{
	struct err err;
	err_set(&err, "08006", "the server connection was lost: %s", reason);
	for (struct dlist *it; (it = dlist_first(&pool->lent));) {
		struct server *srv = CONTAINER_OF(it, struct server, link);
		srv->user->on_gone(srv, &err);
		if (srv->state != SERVER_CLOSING)
			server_close_now(srv, reason);
	}
}

static void cut_handing(struct pool *pool, const char *reason)
{
	DLIST_EACH(it, &pool->pools->handing)
	{
		struct server *srv = CONTAINER_OF(it, struct server, link);
		if (srv->pool == pool)
			server_close_now(srv, reason);
	}
}

void pools_cut_off(struct pools *p)
{
	static const char reason[] = "the node is cut off";
	DLIST_EACH(it, &p->all)
	{
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		if (!pool->plan.is_cut)
			continue;
		cut_lent(pool, reason);
		cut_handing(pool, reason);
		cut_list(&pool->idle, reason);
		cut_list(&pool->opening, reason);
		cut_list(&pool->resetting, reason);
		server_hurry_leaving(pool, UINT64_MAX);
	}
}

/* Its servers' books name the retirement they were opened after, so that one in the mail between two workers is caught, too. */
void pools_reconnect(struct pools *p, const char *database)
{
	DLIST_EACH(it, &p->all)
	{
		struct pool *pool = CONTAINER_OF(it, struct pool, link);
		if (database && strcmp(pool->shared->database, database) != 0)
			continue;
		atomic_fetch_add(&pool->retired->value, 1);
		pool_retire_servers(pool, "RECONNECT");
	}
}
