/*
 * set — the control VMs of a configuration, one for each cluster, and what their objects show.
 *
 * A VM's objects are indices into the configuration that it was made for.  While that is the one in force they are the topology's, too; a run
 * that goes on behind a reload is shown a picture of its own: its clusters and nodes in its order, with what is known of them now.  One that
 * is gone, or is another server now, has no name there, and is an error where it is looked at.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"
#include "topo/pulse.h"

/* ---- what it was made for ------------------------------------------------------------------------------------------------------ */

static void keep_shape(struct shape *s, const struct conf_cluster *c)
{
	s->name = mem_text(c->name);
	s->n_nodes = c->n_nodes;
	s->nodes = mem_alloc((c->n_nodes + 1) * sizeof *s->nodes);
	s->hosts = mem_alloc((c->n_nodes + 1) * sizeof *s->hosts);
	s->ports = mem_alloc((c->n_nodes + 1) * sizeof *s->ports);
	for (size_t i = 0; i < c->n_nodes; i++) {
		s->nodes[i] = mem_text(c->nodes[i].name);
		s->hosts[i] = mem_text(c->nodes[i].host);
		s->ports[i] = (uint16_t)c->nodes[i].port;
	}
}

static void free_shape(struct shape *s)
{
	for (size_t i = 0; i < s->n_nodes; i++) {
		mem_free(s->nodes[i]);
		mem_free(s->hosts[i]);
	}
	mem_free(s->name);
	mem_free(s->nodes);
	mem_free(s->hosts);
	mem_free(s->ports);
}

static bool is_node(const struct shape *s, size_t at, const struct topo_node *n)
{
	return strcmp(s->nodes[at], n->name) == 0 && strcmp(s->hosts[at], n->host) == 0 && s->ports[at] == n->port;
}

static bool is_cluster(const struct shape *s, const struct topo_cluster *c)
{
	if (strcmp(s->name, c->name) != 0 || s->n_nodes != c->n_nodes)
		return false;
	for (size_t i = 0; i < s->n_nodes; i++)
		if (!is_node(s, i, &c->nodes[i]))
			return false;
	return true;
}

static bool is_ours(const struct hook_vm *v, const struct topo *t)
{
	if (v->n_clusters != t->n_clusters)
		return false;
	for (size_t i = 0; i < v->n_clusters; i++)
		if (!is_cluster(&v->shapes[i], &t->clusters[i]))
			return false;
	return true;
}

/* ---- a picture of its own ---------------------------------------------------------------------------------------------------------- */

static void free_picture(struct topo *own)
{
	for (size_t i = 0; own && i < own->n_clusters; i++)
		mem_free(own->clusters[i].nodes);
	if (own)
		mem_free(own->clusters);
	mem_free(own);
}

static void draw_cluster(struct hook_vm *v, size_t at, const struct topo_cluster *now, struct topo_cluster *own)
{
	const struct shape *s = &v->shapes[at];
	*own = (struct topo_cluster){ .name = now ? s->name : "", .n_nodes = s->n_nodes, .primary = -1 };
	own->epoch = now ? now->epoch : 0;
	own->nodes = mem_alloc((s->n_nodes + 1) * sizeof *own->nodes);
	for (size_t i = 0; i < s->n_nodes; i++) {
		own->nodes[i] = (struct topo_node){ .name = "", .host = "", .pulse = v->none };
		for (size_t k = 0; now && k < now->n_nodes; k++) {
			if (!is_node(s, i, &now->nodes[k]))
				continue;
			own->nodes[i] = now->nodes[k];
			own->primary = (int)k == now->primary ? (int)i : own->primary;
		}
	}
}

static struct topo *draw(struct hook_vm *v, const struct topo *latest)
{
	struct topo *own = mem_alloc(sizeof *own);
	own->generation = latest->generation;
	own->conf = latest->conf;
	own->n_clusters = v->n_clusters;
	own->clusters = mem_alloc((v->n_clusters + 1) * sizeof *own->clusters);
	for (size_t i = 0; i < v->n_clusters; i++) {
		const struct topo_cluster *now = NULL;
		for (size_t k = 0; k < latest->n_clusters && !now; k++)
			now = strcmp(v->shapes[i].name, latest->clusters[k].name) == 0 ? &latest->clusters[k] : NULL;
		draw_cluster(v, i, now, &own->clusters[i]);
	}
	return own;
}

void hook_vm_look(struct hook_vm *v, const struct topo *latest)
{
	if (latest && (latest != v->seen || latest->generation != v->seen_generation)) {
		free_picture(v->own);
		v->own = is_ours(v, latest) ? NULL : draw(v, latest);
		v->seen = latest;
		v->seen_generation = latest->generation;
	}
	policy_control_show(v->vm, latest && v->own ? v->own : latest);
}

int hook_vm_node(const struct hook_vm *v, const char *name)
{
	const struct shape *s = &v->shapes[v->at];
	for (size_t i = 0; i < s->n_nodes; i++)
		if (strcmp(s->nodes[i], name) == 0)
			return (int)i;
	return -1;
}

const struct conf_node *hook_vm_conf_node(const struct hook_vm *v, int node_at, const struct conf_cluster **of)
{
	const struct conf *conf = topo_latest(v->hooks->env.board)->conf;
	const struct shape *s = &v->shapes[v->at];
	for (size_t i = 0; i < conf->n_clusters; i++) {
		const struct conf_cluster *c = &conf->clusters[i];
		*of = c;
		for (size_t k = 0; strcmp(c->name, v->cluster) == 0 && k < c->n_nodes; k++) {
			const struct conf_node *n = &c->nodes[k];
			if (strcmp(n->name, s->nodes[node_at]) == 0 && strcmp(n->host, s->hosts[node_at]) == 0 &&
			    n->port == s->ports[node_at])
				return n;
		}
	}
	return NULL;
}

const struct topo_node *hook_vm_topo_node(const struct hook_vm *v, size_t cluster_at, int node_at)
{
	const struct topo *t = topo_latest(v->hooks->env.board);
	const struct shape *s = &v->shapes[cluster_at];
	for (size_t i = 0; i < t->n_clusters; i++)
		for (size_t k = 0; strcmp(t->clusters[i].name, s->name) == 0 && k < t->clusters[i].n_nodes; k++)
			if (is_node(s, (size_t)node_at, &t->clusters[i].nodes[k]))
				return &t->clusters[i].nodes[k];
	return NULL;
}

/* ---- what its policy has -------------------------------------------------------------------------------------------------------- */

/* What the policy's file returned, [PART], [NAME]; false with nothing pushed: there is no such thing. */
static bool push_entry(lua_State *L, const char *part, const char *name)
{
	const char *const keys[] = { part ? part : name, part ? name : NULL };
	policy_control_push_table(L);
	for (size_t i = 0; i < ARRAY_LEN(keys) && keys[i] && !lua_isnil(L, -1); i++) {
		if (lua_istable(L, -1))
			lua_getfield(L, -1, keys[i]);
		else
			lua_pushnil(L);
		lua_replace(L, -2);
	}
	if (!lua_isnil(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

void hook_vm_push(lua_State *L, const char *part, const char *name)
{
	if (!push_entry(L, part, name))
		luaL_error(L, "%s is gone", name);
}

struct question {
	const char *part, *name;
	bool is_there;
};

static void look_for(lua_State *L, void *arg)
{
	struct question *q = arg;
	q->is_there = push_entry(L, q->part, q->name);
}

bool hook_vm_has(struct hook_vm *v, const char *part, const char *name)
{
	struct question q = { part, name, false };
	return policy_control_protect(v->vm, look_for, &q) && q.is_there;
}

struct hook_vm *hook_vm_of(const struct hooks *h, const char *cluster)
{
	for (size_t i = 0; h->set && i < h->set->n; i++)
		if (strcmp(h->set->vms[i]->cluster, cluster) == 0)
			return h->set->vms[i];
	return NULL;
}

/* ---- lives --------------------------------------------------------------------------------------------------------------------------- */

static struct hook_vm *make(const struct conf *conf, size_t at, const struct policy_set *policies, struct policy_kv *kv,
                            struct err *err)
{
	struct hook_vm *v = mem_alloc(sizeof *v);
	*v = (struct hook_vm){ .refs = 1, .at = at, .cluster = mem_text(conf->clusters[at].name), .n_clusters = conf->n_clusters };
	v->none = pulse_new(0);
	dlist_init(&v->tickers);
	v->shapes = mem_alloc((conf->n_clusters + 1) * sizeof *v->shapes);
	for (size_t i = 0; i < conf->n_clusters; i++)
		keep_shape(&v->shapes[i], &conf->clusters[i]);
	struct policy_control_env env = {
		.conf = conf, .cluster_at = at, .policies = policies, .kv = kv, .owner = v, .open = actions_open
	};
	v->vm = policy_control_new(&env, err);
	if (v->vm && conf->clusters[at].fence_required && !hook_vm_has(v, NULL, "fence"))
		err_set(err, "F0000", "cluster %.60s has fence_required, and no policy with a hook fence", v->cluster);
	else if (v->vm)
		return v;
	hook_vm_unref(v);
	return NULL;
}

struct hook_vm *hook_vm_ref(struct hook_vm *v)
{
	v->refs++;
	return v;
}

void hook_vm_unref(struct hook_vm *v)
{
	if (!v || --v->refs > 0)
		return;
	ASSERT(dlist_is_empty(&v->tickers));
	policy_control_free(v->vm);
	free_picture(v->own);
	for (size_t i = 0; i < v->n_clusters; i++)
		free_shape(&v->shapes[i]);
	mem_free(v->shapes);
	pulse_unref(v->none);
	mem_free(v->cluster);
	mem_free(v);
}

struct hook_set *hook_set_load(const struct conf *conf, const struct policy_set *policies, struct policy_kv *kv, struct err *err)
{
	struct hook_set *set = mem_alloc(sizeof *set);
	set->vms = mem_alloc((conf->n_clusters + 1) * sizeof *set->vms);
	for (set->n = 0; set->n < conf->n_clusters; set->n++) {
		set->vms[set->n] = make(conf, set->n, policies, kv, err);
		if (set->vms[set->n])
			continue;
		hook_set_free(set);
		return NULL;
	}
	return set;
}

void hook_set_free(struct hook_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->n; i++)
		hook_vm_unref(set->vms[i]);
	mem_free(set->vms);
	mem_free(set);
}
