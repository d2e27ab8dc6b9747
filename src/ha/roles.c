/*
 * roles — who is asked, by the configuration: each node of each cluster of several, and each such cluster has a picture and a keeper.
 *
 * Measuring (probing.c) and deciding and acting (settle.c) are places of their own.
 */
#include "ha/roles.h"

#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "rolespriv.h"

struct probed *probed_of(struct roles *r, uint32_t id)
{
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (p->node.id == id)
			return p;
	}
	return NULL;
}

/* -- who is asked -------------------------------------------------------------------------------- */

static struct service_target target_of(const struct topo_node *n, const struct conf_cluster *c)
{
	return (struct service_target){ .host = n->host,
		                            .port = n->port,
		                            .dbname = c->service_dbname,
		                            .user = c->service_user,
		                            .password = c->service_password,
		                            .cluster = c };
}

static struct watched *watched_of(struct roles *r, const char *name)
{
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (strcmp(w->name, name) == 0)
			return w;
	}
	struct watched *w = mem_alloc(sizeof *w);
	w->name = mem_text(name);
	dlist_push_back(&r->clusters, &w->link);
	return w;
}

static void watched_free(struct watched *w)
{
	dlist_remove(&w->link);
	keeper_free(w->keeper);
	mem_free(w->name);
	mem_free(w);
}

/* Probed as C says from now on. */
static void keep_or_make(struct roles *r, const struct topo_node *n, const struct conf_cluster *c)
{
	struct probed *p = probed_of(r, n->id);
	const struct service_target target = target_of(n, c);
	if (!p)
		p = probing_new(r, n);
	if (!p->service || !service_is_for(p->service, &target))
		probing_connect(p, &target);
	p->cluster = watched_of(r, c->name);
	p->cluster->is_kept = true;
	probing_set_interval(p, c->probe_interval);
	p->is_kept = true;
}

/* -- memory -------------------------------------------------------------------------------------- */

/* Its place in the topology; false: it has none any more. */
static bool place_of(const struct roles *r, const char *cluster, size_t *at)
{
	const struct topo *t = topo_latest(r->board);
	for (*at = 0; *at < t->n_clusters; ++*at)
		if (strcmp(t->clusters[*at].name, cluster) == 0)
			return true;
	return false;
}

static void on_look(void *arg, const char *cluster)
{
	struct roles *r = arg;
	size_t at;
	if (place_of(r, cluster, &at))
		roles_doubt(r, topo_latest(r->board)->clusters[at].nodes[0].id);
}

static void on_settle(void *arg, const char *cluster)
{
	struct roles *r = arg;
	size_t at;
	if (!place_of(r, cluster, &at))
		return;
	settle(r, watched_of(r, cluster), at, NULL);
	settle_note_states(r, &topo_latest(r->board)->clusters[at]);
}

static const struct picture_node *on_node(void *arg, uint32_t id)
{
	const struct probed *p = probed_of(arg, id);
	return p ? &p->node : NULL;
}

static const struct picture *on_picture(void *arg, const char *cluster)
{
	return &watched_of(arg, cluster)->picture;
}

static void remember(struct roles *r, struct watched *w)
{
	const struct keeper_env env = { .loop = r->loop,
		                            .resolver = r->resolver,
		                            .mailbox = r->mailbox,
		                            .board = r->board,
		                            .journal = r->journal,
		                            .hooks = r->hooks,
		                            .records = r->records,
		                            .arg = r,
		                            .look = on_look,
		                            .settle = on_settle,
		                            .node = on_node,
		                            .picture = on_picture,
		                            .pools = r->pools };
	if (w->keeper)
		keeper_on_conf(w->keeper);
	else if (r->journal)
		w->keeper = keeper_new(&env, w->name);
}

/* -- public -------------------------------------------------------------------------------------- */

struct roles *roles_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board)
{
	struct roles *r = mem_alloc(sizeof *r);
	*r = (struct roles){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .board = board };
	dlist_init(&r->nodes);
	dlist_init(&r->clusters);
	return r;
}

void roles_ask(struct roles *r, struct hooks *hooks)
{
	r->hooks = hooks;
}

void roles_free(struct roles *r)
{
	if (!r)
		return;
	DLIST_EACH(l, &r->nodes)
	probing_free(CONTAINER_OF(l, struct probed, link));
	DLIST_EACH(l, &r->clusters)
	watched_free(CONTAINER_OF(l, struct watched, link));
	mem_free(r);
}

static void unkeep_all(struct roles *r)
{
	DLIST_EACH(l, &r->nodes)
	CONTAINER_OF(l, struct probed, link)->is_kept = false;
	DLIST_EACH(l, &r->clusters)
	CONTAINER_OF(l, struct watched, link)->is_kept = false;
}

static void free_unkept(struct roles *r)
{
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (!p->is_kept)
			probing_free(p);
	}
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (!w->is_kept)
			watched_free(w);
	}
}

void roles_on_conf(struct roles *r)
{
	const struct topo *t = topo_latest(r->board);
	unkeep_all(r);
	for (size_t i = 0; i < t->n_clusters; i++)
		for (size_t k = 0; k < t->clusters[i].n_nodes && t->clusters[i].n_nodes > 1; k++)
			keep_or_make(r, &t->clusters[i].nodes[k], &t->conf->clusters[i]);
	free_unkept(r);
	DLIST_EACH(l, &r->clusters)
	remember(r, CONTAINER_OF(l, struct watched, link));
}

void roles_remember(struct roles *r, struct journal *j, struct records *records, const struct keeper_pools *pools)
{
	r->journal = j;
	r->records = records;
	r->pools = pools;
}

void roles_resign(struct roles *r)
{
	r->journal = NULL;
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		keeper_free(w->keeper);
		w->keeper = NULL;
	}
}

const struct keeper *roles_keeper(const struct roles *r, const char *cluster)
{
	DLIST_EACH(l, &r->clusters)
	{
		const struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (strcmp(w->name, cluster) == 0)
			return w->keeper;
	}
	return NULL;
}

bool roles_hold(struct roles *r, const char *cluster, bool is_held)
{
	size_t at;
	if (!place_of(r, cluster, &at))
		return false;
	struct topo *next = topo_copy(topo_latest(r->board));
	next->clusters[at].is_held = is_held;
	topo_publish(r->board, next);
	return true;
}

bool roles_drain(struct roles *r, uint32_t node_id, bool is_drained)
{
	size_t at;
	struct topo *next = topo_copy(topo_latest(r->board));
	struct topo_node *n = (struct topo_node *)topo_node(next, node_id, &at);
	if (!n) {
		topo_free(next);
		return false;
	}
	n->is_drained = is_drained;
	topo_publish(r->board, next);
	struct probed *p = probed_of(r, node_id);
	if (p)
		settle_judge(p);
	return true;
}

void roles_doubt(struct roles *r, uint32_t node_id)
{
	const struct topo *t = topo_latest(r->board);
	size_t at;
	if (!t || !topo_node(t, node_id, &at))
		return;
	for (size_t i = 0; i < t->clusters[at].n_nodes; i++) {
		struct probed *p = probed_of(r, t->clusters[at].nodes[i].id);
		if (p)
			probing_doubt(p);
	}
}
