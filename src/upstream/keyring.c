/*
 * keyring — which TLS configurations there are, and what becomes of them at a reload.
 *
 *   conf ──keyring_plan──► plan: for each block the old one if it is current, else a new one ──keyring_apply──► in force
 *
 * Always: what is in force was made whole from the configuration that is in force, or from files that held when it was loaded.
 */
#include "upstream/keyring.h"

#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* A block's.  CLUSTER NULL: of the block listen. */
struct key {
	char *cluster;
	struct tls_conf *conf; /* NULL: off */
};

struct keyring_plan {
	size_t n;
	struct key *keys;
};

struct keyring {
	pthread_mutex_t lock;
	struct keyring_plan *now; /* replaced under the lock, by the control thread */
};

static struct key *find(const struct keyring_plan *p, const char *cluster)
{
	for (size_t i = 0; p && i < p->n; i++) {
		const char *is = p->keys[i].cluster;
		if (cluster && is ? strcmp(cluster, is) == 0 : cluster == is)
			return &p->keys[i];
	}
	return NULL;
}

/* What the blocks listen and cluster have under the same names. */
#define FILES_AND_ALGORITHMS(block)                                                                     \
	.cert = (block)->tls_cert, .key = (block)->tls_key, .ca = (block)->tls_ca, .crl = (block)->tls_crl, \
	.min_protocol = conf_protocol_name((block)->tls_min_protocol), .ciphers = (block)->tls_ciphers,     \
	.ciphersuites = (block)->tls13_ciphers, .groups = (block)->tls_groups

static struct tls_setup setup_of_clients(const struct conf_listen *c)
{
	enum tls_verify verify = c->tls == CONF_CLIENT_TLS_VERIFY ? TLS_VERIFY_CA : TLS_VERIFY_IF_GIVEN;
	return (struct tls_setup){ .is_server = true, .verify = *c->tls_ca ? verify : TLS_VERIFY_NONE, FILES_AND_ALGORITHMS(c) };
}

/* With authorities at hand, require verifies them, as libpq does. */
static struct tls_setup setup_of_cluster(const struct conf_cluster *c)
{
	enum tls_verify verify = *c->tls_ca ? TLS_VERIFY_CA : TLS_VERIFY_NONE;
	return (struct tls_setup){ .verify = c->tls == CONF_SERVER_TLS_VERIFY_FULL ? TLS_VERIFY_FULL : verify,
		                       .has_sni = c->tls_sni,
		                       FILES_AND_ALGORITHMS(c) };
}

/* The old one, if SETUP is what it was made from; a new one; the old one again, if only files have changed and are no good; or NULL. */
static struct tls_conf *make(const char *block, struct tls_conf *was, const struct tls_setup *setup, struct err *err)
{
	if (was && tls_conf_is_current(was, setup))
		return tls_conf_ref(was);
	struct tls_conf *is = tls_conf_new(setup, err);
	if (is || !was || !tls_conf_is_like(was, setup))
		return is;
	log_error(NULL, "tls_not_renewed", KV_STR("block", block), KV_ERR(err),
	          KV_STR("hint", "the certificate, key and lists that were loaded before stay in force"));
	return tls_conf_ref(was);
}

static bool add(struct keyring_plan *p, const char *cluster, struct tls_conf *was, const struct tls_setup *setup, struct err *err)
{
	struct tls_conf *is = make(cluster ? cluster : "listen", was, setup, err);
	if (is)
		p->keys[p->n++] = (struct key){ .cluster = mem_text(cluster), .conf = is };
	return is != NULL;
}

struct keyring_plan *keyring_plan(struct keyring *k, const struct conf *c, struct err *err)
{
	struct keyring_plan *p = mem_alloc(sizeof *p);
	const struct keyring_plan *now = k ? k->now : NULL;
	const struct key *was = find(now, NULL);
	bool is_good = true;
	p->keys = mem_alloc((c->n_clusters + 1) * sizeof *p->keys);
	if (c->listen.tls != CONF_CLIENT_TLS_OFF) {
		const struct tls_setup setup = setup_of_clients(&c->listen);
		is_good = add(p, NULL, was ? was->conf : NULL, &setup, err);
	}
	for (size_t i = 0; i < c->n_clusters && is_good; i++) {
		const struct conf_cluster *cluster = &c->clusters[i];
		const struct tls_setup setup = setup_of_cluster(cluster);
		was = find(now, cluster->name);
		if (cluster->tls != CONF_SERVER_TLS_OFF)
			is_good = add(p, cluster->name, was ? was->conf : NULL, &setup, err);
	}
	if (is_good)
		return p;
	keyring_drop(p);
	return NULL;
}

void keyring_drop(struct keyring_plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		tls_conf_unref(p->keys[i].conf);
		mem_free(p->keys[i].cluster);
	}
	mem_free(p->keys);
	mem_free(p);
}

bool keyring_differs(const struct keyring *k, const struct keyring_plan *plan, void (*fn)(void *arg, const char *block),
                     void *arg)
{
	const struct keyring_plan *before = k->now;
	bool is_other = !before || before->n != plan->n;
	for (size_t i = 0; i < plan->n; i++) {
		const struct key *key = &plan->keys[i], *was = find(before, key->cluster);
		if (was && was->conf == key->conf)
			continue;
		is_other = true;
		if (was)
			fn(arg, key->cluster ? key->cluster : "listen");
	}
	return is_other;
}

static void log_renewed(void *arg, const char *block)
{
	log_info(NULL, "tls_renewed", KV_STR("block", block));
}

bool keyring_apply(struct keyring *k, struct keyring_plan *plan)
{
	bool is_other = keyring_differs(k, plan, log_renewed, NULL);
	pthread_mutex_lock(&k->lock);
	struct keyring_plan *before = k->now;
	k->now = plan;
	pthread_mutex_unlock(&k->lock);
	keyring_drop(before);
	return is_other;
}

struct keyring *keyring_new(void)
{
	struct keyring *k = mem_alloc(sizeof *k);
	pthread_mutex_init(&k->lock, NULL);
	return k;
}

void keyring_free(struct keyring *k)
{
	if (!k)
		return;
	keyring_drop(k->now);
	pthread_mutex_destroy(&k->lock);
	mem_free(k);
}

static struct tls_conf *take(struct keyring *k, const char *cluster)
{
	pthread_mutex_lock(&k->lock);
	const struct key *key = find(k->now, cluster);
	struct tls_conf *conf = key ? tls_conf_ref(key->conf) : NULL;
	pthread_mutex_unlock(&k->lock);
	return conf;
}

struct tls_conf *keyring_clients(struct keyring *k)
{
	return take(k, NULL);
}

struct upstream_tls keyring_cluster(struct keyring *k, const struct conf_cluster *c)
{
	struct upstream_tls tls = { .mode = c->tls, .is_direct = c->tls_negotiation == CONF_TLS_START_DIRECT };
	if (k && c->tls != CONF_SERVER_TLS_OFF)
		tls.conf = take(k, c->name);
	return tls;
}

bool upstream_tls_equal(const struct upstream_tls *a, const struct upstream_tls *b)
{
	return a->mode == b->mode && a->is_direct == b->is_direct && a->conf == b->conf;
}
