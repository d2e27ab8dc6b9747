/* policies — which set is in force, and which are only waiting for the last worker to leave their topology. */
#include "app/policies.h"

#include "base/mem.h"
#include "policy/kv.h"

#define REMEMBERED_MAX 100000u /* entries of what policies remember */

struct policies {
	unsigned n_workers;
	uint64_t generation;
	struct policy_kv *kv;
	struct policy_set *set; /* in force; NULL before the first */
	size_t n_retired;
	struct policy_set **retired;
};

struct policies *policies_new(unsigned n_workers)
{
	struct policies *p = mem_alloc(sizeof *p);
	p->n_workers = n_workers;
	p->kv = policy_kv_new(REMEMBERED_MAX);
	return p;
}

void policies_free(struct policies *p)
{
	if (!p)
		return;
	policies_collect(p);
	policy_set_free(p->set);
	policy_kv_free(p->kv);
	mem_free(p->retired);
	mem_free(p);
}

static void free_hooks(void *hooks)
{
	hook_set_free(hooks);
}

struct policy_set *policies_plan(struct policies *p, const struct conf *conf, struct err *err)
{
	struct policy_set *set = policy_set_load(conf, p->n_workers, p->kv, ++p->generation, err);
	struct hook_set *hooks = set ? hook_set_load(conf, set, p->kv, err) : NULL;
	if (hooks) {
		policy_set_keep(set, hooks, free_hooks);
		return set;
	}
	policy_set_free(set);
	return NULL;
}

struct hook_set *policies_take_hooks(struct policies *p)
{
	return policy_set_take(p->set);
}

bool policies_differ(const struct policies *p, const struct policy_set *set, void (*fn)(void *arg, const char *cluster),
                     void *arg)
{
	return policy_set_differs(p->set, set, fn, arg);
}

const struct policy_set *policies_apply(struct policies *p, struct policy_set *set)
{
	if (p->set) {
		p->retired = mem_grow(p->retired, (p->n_retired + 1) * sizeof(struct policy_set *));
		p->retired[p->n_retired++] = p->set;
	}
	return p->set = set;
}

void policies_note_refusal(struct policies *p, const char *why)
{
	policy_set_note_refusal(p->set, why);
}

void policies_forgive(struct policies *p)
{
	policy_set_forgive(p->set);
}

void policies_collect(struct policies *p)
{
	while (p->n_retired > 0)
		policy_set_free(p->retired[--p->n_retired]);
}
