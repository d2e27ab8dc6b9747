/*
 * plan — what the configuration and the topology say for one pool, copied: a snapshot may be gone at the next turn.
 */
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "conf/users.h"
#include "priv.h"

static void read_secret(struct plan *plan, const struct conf *conf, const char *user)
{
	const char *secret = users_secret(conf->secrets, user);
	plan->has_only_scram_secret = secret && strncmp(secret, "SCRAM-SHA-256$", 14) == 0;
	plan->password = secret && !plan->has_only_scram_secret ? mem_text(secret) : NULL;
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

bool plan_read(struct plan *plan, const struct topo *topo, uint32_t node_id, const char *database, const char *user)
{
	const struct conf *conf = topo->conf;
	const struct conf_database *d = conf_database(conf, database);
	const struct conf_user *u = conf_user(conf, user);
	size_t cluster_at;
	const struct topo_node *node = topo_node(topo, node_id, &cluster_at);
	*plan = (struct plan){ 0 };
	if (!d || !node || d->cluster_at != cluster_at)
		return false;
	const struct topo_node *primary = topo_primary(topo, cluster_at);
	plan->host = mem_text(node->host);
	plan->port = node->port;
	plan->node_name = mem_text(node->name);
	plan->cluster = mem_text(topo->clusters[cluster_at].name);
	plan->dbname = mem_text(d->dbname[0] ? d->dbname : database);
	plan->is_primary = primary && primary->id == node_id;
	plan->upper_max[UPPER_NODE] = node->max_connections;
	plan->upper_max[UPPER_DB] = d->max_connections;
	plan->upper_max[UPPER_ROLE] = u ? u->max_connections : 0;
	conf_effective(conf, d, u, &plan->conf);
	read_settings(plan, conf);
	read_secret(plan, conf, user);
	return true;
}

void plan_fini(struct plan *plan)
{
	mem_free(plan->host);
	mem_free(plan->dbname);
	mem_free(plan->node_name);
	mem_free(plan->cluster);
	secret_free_text(plan->password);
	*plan = (struct plan){ 0 };
}

/* A server that was opened under A may go on under B. */
bool plan_is_same_server(const struct plan *a, const struct plan *b)
{
	return strcmp(a->host, b->host) == 0 && a->port == b->port && strcmp(a->dbname, b->dbname) == 0;
}
