/*
 * set — the policies in force: for each cluster with one its source, what its VMs share, and a VM for each worker.
 *
 * All VMs are made by the control thread, which runs each policy once for every worker: whatever can fail has failed before anything
 * is put in force.  A Lua state belongs to no thread, only to one at a time; the topology's publication hands it over.
 */
#include "policy/set.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "priv.h"

struct entry { /* of a cluster; without a source, it has no policy */
	char *cluster;
	struct source *source;
	struct policy_shared shared;
	struct policy_vm **vms;
};

struct refusal { /* of the last reload: the control thread writes, consoles read */
	pthread_mutex_t lock;
	char why[300];
};

struct policy_set {
	uint64_t generation;
	int64_t loaded_at;
	unsigned n_workers;
	size_t n_clusters;
	struct entry *entries;
	struct refusal *refusal;
	void *kept;
	void (*free_kept)(void *what);
};

static bool load_entry(struct policy_set *set, struct entry *e, const struct vm_env *like, struct err *err)
{
	const struct conf_cluster *c = &like->conf->clusters[like->own_at];
	struct vm_env env = *like;
	if (c->n_nodes > POLICY_NODES_MAX)
		return err_set(err, "F0000", "cluster %.60s has %zu nodes; with a policy it may have %u", c->name, c->n_nodes,
		               POLICY_NODES_MAX);
	e->source = env.source = source_open(c->policy, err);
	if (!e->source)
		return false;
	breaker_init(&e->shared, e->cluster, e->source->files[0]->path);
	env.shared = &e->shared;
	e->vms = mem_alloc(set->n_workers * sizeof *e->vms);
	for (unsigned i = 0; i < set->n_workers; i++) {
		if (!(e->vms[i] = vm_new(&env, err)))
			return false;
		source_seal(e->source);
	}
	return true;
}

static void free_entry(struct entry *e, unsigned n_workers)
{
	for (unsigned i = 0; e->vms && i < n_workers; i++)
		vm_free(e->vms[i]);
	mem_free(e->vms);
	if (e->source)
		breaker_fini(&e->shared);
	source_free(e->source);
	mem_free(e->cluster);
}

struct policy_set *policy_set_load(const struct conf *conf, unsigned n_workers, struct policy_kv *kv, uint64_t generation,
                                   struct err *err)
{
	struct policy_set *set = mem_alloc(sizeof *set);
	bool is_good = true;
	set->generation = generation;
	set->loaded_at = time(NULL);
	set->n_workers = n_workers;
	set->refusal = mem_alloc(sizeof *set->refusal);
	pthread_mutex_init(&set->refusal->lock, NULL);
	set->n_clusters = conf->n_clusters;
	set->entries = mem_alloc(conf->n_clusters * sizeof *set->entries);
	for (size_t i = 0; is_good && i < conf->n_clusters; i++) {
		struct vm_env env = { .conf = conf, .own_at = i, .kv = kv, .generation = generation };
		set->entries[i].cluster = mem_text(conf->clusters[i].name);
		is_good = !*conf->clusters[i].policy || load_entry(set, &set->entries[i], &env, err);
	}
	if (is_good)
		return set;
	policy_set_free(set);
	return NULL;
}

void policy_set_free(struct policy_set *set)
{
	if (!set)
		return;
	if (set->kept)
		set->free_kept(set->kept);
	for (size_t i = 0; i < set->n_clusters; i++)
		free_entry(&set->entries[i], set->n_workers);
	pthread_mutex_destroy(&set->refusal->lock);
	mem_free(set->refusal);
	mem_free(set->entries);
	mem_free(set);
}

void policy_set_keep(struct policy_set *set, void *what, void (*fn)(void *what))
{
	set->kept = what;
	set->free_kept = fn;
}

void *policy_set_take(struct policy_set *set)
{
	void *what = set->kept;
	set->kept = NULL;
	return what;
}

static bool is_same_file(const struct entry *a, const struct entry *b)
{
	return strcmp(a->cluster, b->cluster) == 0 && strcmp(a->source->files[0]->path, b->source->files[0]->path) == 0;
}

static const struct entry *entry_of(const struct policy_set *set, size_t cluster_at)
{
	return set && cluster_at < set->n_clusters && set->entries[cluster_at].source ? &set->entries[cluster_at] : NULL;
}

static bool entry_differs(const struct entry *a, const struct entry *b, void (*fn)(void *arg, const char *cluster), void *arg)
{
	if (!a || !b)
		return a != b;
	bool is_same = is_same_file(a, b), is_equal = source_equal(a->source, b->source);
	if (is_same && !is_equal && fn)
		fn(arg, b->cluster);
	return !is_same || !is_equal;
}

bool policy_set_differs(const struct policy_set *a, const struct policy_set *b, void (*fn)(void *arg, const char *cluster),
                        void *arg)
{
	size_t n = a && a->n_clusters > b->n_clusters ? a->n_clusters : b->n_clusters;
	bool differs = false;
	for (size_t i = 0; i < n; i++)
		differs |= entry_differs(entry_of(a, i), entry_of(b, i), fn, arg);
	return differs;
}

struct policy_vm *policy_set_vm(const struct policy_set *set, unsigned worker, size_t cluster_at)
{
	if (!set || cluster_at >= set->n_clusters || !set->entries[cluster_at].source)
		return NULL;
	return set->entries[cluster_at].vms[worker];
}

struct source *set_source(const struct policy_set *set, size_t cluster_at)
{
	const struct entry *e = entry_of(set, cluster_at);
	return e ? e->source : NULL;
}

static void sum_vm(const struct policy_vm *vm, struct policy_status *s, uint64_t *timed_calls, uint64_t *timed_ns)
{
	s->calls += atomic_load_explicit(&vm->calls, memory_order_relaxed);
	s->bytes += atomic_load_explicit(&vm->bytes, memory_order_relaxed);
	*timed_calls += atomic_load_explicit(&vm->timed_calls, memory_order_relaxed);
	*timed_ns += atomic_load_explicit(&vm->timed_ns, memory_order_relaxed);
}

void policy_set_note_refusal(struct policy_set *set, const char *why)
{
	if (!set)
		return;
	pthread_mutex_lock(&set->refusal->lock);
	snprintf(set->refusal->why, sizeof set->refusal->why, "%s", why);
	pthread_mutex_unlock(&set->refusal->lock);
}

void policy_set_forgive(const struct policy_set *set)
{
	for (size_t i = 0; set && i < set->n_clusters; i++)
		if (set->entries[i].source)
			breaker_succeeded_slowly(&set->entries[i].shared);
}

static void fill_status(const struct policy_set *set, struct entry *e, struct policy_status *s)
{
	uint64_t timed_calls = 0, timed_ns = 0;
	*s = (struct policy_status){ .cluster = e->cluster,
		                         .file = e->source->files[0]->path,
		                         .generation = set->generation,
		                         .loaded_at = set->loaded_at,
		                         .errors = atomic_load(&e->shared.errors),
		                         .breaker = atomic_load(&e->shared.open_until_us) ? POLICY_BREAKER_OPEN : POLICY_BREAKER_CLOSED };
	for (unsigned i = 0; i < set->n_workers; i++)
		sum_vm(e->vms[i], s, &timed_calls, &timed_ns);
	s->call_ns = timed_calls ? timed_ns / timed_calls : 0;
	pthread_mutex_lock(&e->shared.lock);
	snprintf(s->last_error, sizeof s->last_error, "%s", e->shared.last_error);
	pthread_mutex_unlock(&e->shared.lock);
	pthread_mutex_lock(&set->refusal->lock);
	snprintf(s->refused, sizeof s->refused, "%s", set->refusal->why);
	pthread_mutex_unlock(&set->refusal->lock);
}

void policy_set_each(const struct policy_set *set, void (*fn)(void *arg, const struct policy_status *s), void *arg)
{
	for (size_t i = 0; set && i < set->n_clusters; i++) {
		struct policy_status s;
		if (!set->entries[i].source)
			continue;
		fill_status(set, &set->entries[i], &s);
		fn(arg, &s);
	}
}

void policy_set_clock(struct policy_set *set, int64_t seconds)
{
	for (size_t i = 0; i < set->n_clusters; i++)
		set->entries[i].shared.clock = seconds;
}
