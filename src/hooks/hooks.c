/*
 * hooks — what makes runs begin: an operator, an event, a timer.
 *
 *   hooks_run_task()   M.tasks[name](task, cluster)
 *   hooks_on_publish() M.on[event](event, cluster), for each difference that has a name;  hooks_happened(), for what a topology does not show
 *   a ticker           M.every[name].run(cluster), seconds after the last one has ended
 *
 * Always: what begins, begins with the policy in force; tickers belong to its VMs and end with them.
 */
#include "hooks/hooks.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "leftover.h"
#include "priv.h"

#define EVENT_TIMEOUT_US (600 * US_PER_S)

/* ---- tasks -------------------------------------------------------------------------------------------------------------------------- */

static struct hook_vm *vm_of_task(struct hooks *h, const struct hook_task *task, struct err *err)
{
	struct hook_vm *found = NULL;
	bool has_cluster = false;
	for (size_t i = 0; h->set && i < h->set->n; i++) {
		struct hook_vm *v = h->set->vms[i];
		if (task->cluster && strcmp(task->cluster, v->cluster) != 0)
			continue;
		has_cluster = true;
		if (!hook_vm_has(v, "tasks", task->name))
			continue;
		if (found) {
			err_set(err, "42725", "the policies of several clusters have a task \"%.60s\"", task->name);
			err_hint(err, "Say which is meant: --cluster=%.60s", v->cluster);
			return NULL;
		}
		found = v;
	}
	if (task->cluster && !has_cluster)
		err_set(err, "42704", "there is no cluster \"%.60s\"", task->cluster);
	else if (!found)
		err_set(err, "42704", "no policy has a task \"%.60s\"", task->name);
	return found;
}

static int push_task(lua_State *L, void *arg)
{
	const struct hook_task *task = arg;
	const struct hook_vm *v = policy_control_owner(L);
	hook_vm_push(L, "tasks", task->name);
	lua_createtable(L, 0, 3);
	lua_pushstring(L, task->name);
	lua_setfield(L, -2, "name");
	lua_pushnumber(L, (double)v->hooks->history.last_id);
	lua_setfield(L, -2, "id");
	lua_createtable(L, 0, (int)task->n_args);
	for (size_t i = 0; i < task->n_args; i++) {
		if (task->args[i].value)
			lua_pushstring(L, task->args[i].value);
		else
			lua_pushboolean(L, 1);
		lua_setfield(L, -2, task->args[i].name);
	}
	lua_setfield(L, -2, "args");
	policy_control_push_cluster(L);
	return 2;
}

struct hook_run *hooks_run_task(struct hooks *h, const struct hook_task *task, hook_done_fn fn, void *arg, struct err *err)
{
	struct hook_vm *v = vm_of_task(h, task, err);
	if (!v)
		return NULL;
	struct run_spec spec = { .kind = RUN_TASK, .name = task->name, .push = push_task, .fn = fn, .arg = arg };
	spec.push_arg = (void *)(uintptr_t)task;
	return run_begin(h, v, &spec, err);
}

void hooks_forget(struct hook_run *r)
{
	if (r)
		r->fn = NULL;
}

void hooks_abandon(struct hook_run *r)
{
	if (!r)
		return;
	hooks_forget(r);
	hooks_stop_run(r, "who had asked for it");
}

void hooks_stop_run(struct hook_run *r, const char *by)
{
	struct err err;
	err_set(&err, "57014", "stopped by %.60s", by);
	run_stop(r, HOOK_STOPPED, &err);
}

bool hooks_stop(struct hooks *h, uint64_t id, const char *by)
{
	DLIST_EACH(it, &h->runs)
	{
		struct hook_run *r = CONTAINER_OF(it, struct hook_run, link);
		if (r->past->row.id != id)
			continue;
		hooks_stop_run(r, by);
		return true;
	}
	return false;
}

/* ---- events -------------------------------------------------------------------------------------------------------------------------- */

struct happening {
	const struct hook_event *event;
	int node, old; /* of the VM's cluster; -1: none */
};

static void set_text(lua_State *L, const char *name, const char *text)
{
	if (!text)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

static int push_event(lua_State *L, void *arg)
{
	const struct happening *h = arg;
	const struct hook_event *e = h->event;
	hook_vm_push(L, "on", e->name);
	lua_createtable(L, 0, 7);
	set_text(L, "name", e->name);
	policy_control_push_node(L, h->node);
	lua_setfield(L, -2, "node");
	policy_control_push_node(L, h->old);
	lua_setfield(L, -2, "old");
	if (e->id) {
		lua_pushnumber(L, (double)e->id);
		lua_setfield(L, -2, "id");
	}
	set_text(L, "kind", e->kind);
	set_text(L, "outcome", e->outcome);
	set_text(L, "reason", e->reason);
	policy_control_push_cluster(L);
	return 2;
}

void hooks_happened(struct hooks *h, const char *cluster, const struct hook_event *event)
{
	for (size_t i = 0; h->set && i < h->set->n; i++) {
		struct hook_vm *v = h->set->vms[i];
		struct err err;
		if (strcmp(v->cluster, cluster) != 0 || !hook_vm_has(v, "on", event->name))
			continue;
		struct happening e = { event, event->node ? hook_vm_node(v, event->node) : -1,
			                   event->old ? hook_vm_node(v, event->old) : -1 };
		struct run_spec spec = { .kind = RUN_EVENT, .name = event->name, .push = push_event, .push_arg = &e };
		spec.timeout_us = EVENT_TIMEOUT_US;
		if (!run_begin(h, v, &spec, &err))
			log_warn(NULL, "event_not_told", KV_STR("cluster", cluster), KV_STR("event", event->name), KV_ERR(&err));
	}
}

static void happen(struct hooks *h, const char *cluster, const char *event, const char *node, const char *old)
{
	hooks_happened(h, cluster, &(struct hook_event){ .name = event, .node = node, .old = old });
}

/* What was known of a cluster when a topology was published last. */
struct sight {
	char *cluster, *primary; /* NULL: nobody */
	size_t n;
	char **nodes;
	bool *is_up;
};
struct sights {
	size_t n;
	struct sight *at;
};

static void see(struct sight *s, const struct topo_cluster *c)
{
	s->cluster = mem_text(c->name);
	s->primary = c->primary < 0 ? NULL : mem_text(c->nodes[c->primary].name);
	s->n = c->n_nodes;
	s->nodes = mem_alloc((c->n_nodes + 1) * sizeof *s->nodes);
	s->is_up = mem_alloc((c->n_nodes + 1) * sizeof *s->is_up);
	for (size_t i = 0; i < c->n_nodes; i++) {
		s->nodes[i] = mem_text(c->nodes[i].name);
		s->is_up[i] = c->nodes[i].is_reachable;
	}
}

static struct sights *see_all(const struct topo *t)
{
	struct sights *all = mem_alloc(sizeof *all);
	all->n = t->n_clusters;
	all->at = mem_alloc((t->n_clusters + 1) * sizeof *all->at);
	for (size_t i = 0; i < t->n_clusters; i++)
		see(&all->at[i], &t->clusters[i]);
	return all;
}

static void free_sights(struct sights *all)
{
	for (size_t i = 0; all && i < all->n; i++) {
		struct sight *s = &all->at[i];
		for (size_t k = 0; k < s->n; k++)
			mem_free(s->nodes[k]);
		mem_free(s->nodes);
		mem_free(s->is_up);
		mem_free(s->cluster);
		mem_free(s->primary);
	}
	if (all)
		mem_free(all->at);
	mem_free(all);
}

static void compare_nodes(struct hooks *h, const struct sight *was, const struct sight *now)
{
	for (size_t i = 0; i < now->n; i++)
		for (size_t k = 0; k < was->n; k++)
			if (strcmp(now->nodes[i], was->nodes[k]) == 0 && now->is_up[i] != was->is_up[k])
				happen(h, now->cluster, now->is_up[i] ? "node_up" : "node_down", now->nodes[i], NULL);
}

static void compare(struct hooks *h, const struct sight *was, const struct sight *now)
{
	compare_nodes(h, was, now);
	if (!now->primary && was->primary)
		happen(h, now->cluster, "primary_lost", NULL, was->primary);
	if (now->primary && (!was->primary || strcmp(now->primary, was->primary) != 0))
		happen(h, now->cluster, "primary_changed", now->primary, was->primary);
}

void hooks_on_publish(struct hooks *h)
{
	struct sights *was = h->sights, *now;
	if (h->is_shut)
		return;
	now = h->sights = see_all(topo_latest(h->env.board));
	for (size_t i = 0; was && i < now->n; i++)
		for (size_t k = 0; k < was->n; k++)
			if (strcmp(now->at[i].cluster, was->at[k].cluster) == 0)
				compare(h, &was->at[k], &now->at[i]);
	free_sights(was);
}

/* ---- timers ---------------------------------------------------------------------------------------------------------------------------- */

struct ticker {
	struct dlist link;
	struct hook_vm *vm;
	struct loop_timer timer;
	struct hook_run *run;
	uint64_t interval_us;
	char name[64];
};

static void wind(struct ticker *t)
{
	loop_timer_start(t->vm->hooks->env.loop, &t->timer, t->interval_us);
}

static int push_tick(lua_State *L, void *arg)
{
	const struct ticker *t = arg;
	hook_vm_push(L, "every", t->name);
	lua_getfield(L, -1, "run");
	lua_replace(L, -2);
	policy_control_push_cluster(L);
	return 1;
}

static void on_ticked(void *arg, const char *output, const struct err *err)
{
	struct ticker *t = arg;
	t->run = NULL;
	wind(t);
}

static void on_tick(struct loop_timer *timer)
{
	struct ticker *t = CONTAINER_OF(timer, struct ticker, timer);
	struct err err;
	struct run_spec spec = { .kind = RUN_TIMER, .name = t->name, .push = push_tick, .push_arg = t, .fn = on_ticked, .arg = t };
	spec.timeout_us = EVENT_TIMEOUT_US;
	t->run = run_begin(t->vm->hooks, t->vm, &spec, &err);
	if (t->run)
		return;
	log_warn(NULL, "every_not_run", KV_STR("cluster", t->vm->cluster), KV_STR("name", t->name), KV_ERR(&err));
	wind(t);
}

static void make_tickers(lua_State *L, void *arg)
{
	struct hook_vm *v = arg;
	policy_control_push_table(L);
	lua_getfield(L, -1, "every");
	if (!lua_istable(L, -1))
		return;
	for (lua_pushnil(L); lua_next(L, 2); lua_settop(L, 3)) {
		struct ticker *t = mem_alloc(sizeof *t);
		dlist_push_back(&v->tickers, &t->link);
		t->vm = v;
		loop_timer_init(&t->timer, on_tick);
		snprintf(t->name, sizeof t->name, "%s", lua_tostring(L, 3));
		lua_getfield(L, 4, "seconds");
		t->interval_us = (uint64_t)(lua_tonumber(L, -1) * (double)US_PER_S);
		wind(t);
	}
}

static void stop_tickers(struct hook_vm *v)
{
	DLIST_EACH(it, &v->tickers)
	{
		struct ticker *t = CONTAINER_OF(it, struct ticker, link);
		loop_timer_stop(v->hooks->env.loop, &t->timer);
		hooks_forget(t->run);
		dlist_remove(&t->link);
		mem_free(t);
	}
}

/* ---- lives -------------------------------------------------------------------------------------------------------------------------------- */

static void retire(struct hook_set *set)
{
	for (size_t i = 0; set && i < set->n; i++)
		stop_tickers(set->vms[i]);
	hook_set_free(set);
}

void hooks_apply(struct hooks *h, struct hook_set *set)
{
	struct hook_set *before = h->set;
	h->set = set;
	for (size_t i = 0; i < set->n; i++) {
		struct hook_vm *v = set->vms[i];
		v->hooks = h;
		if (!policy_control_protect(v->vm, make_tickers, v))
			log_error(NULL, "policy_failed", KV_STR("cluster", v->cluster), KV_STR("hook", "every"),
			          KV_STR("error", policy_control_error(v->vm)));
	}
	retire(before);
}

struct hooks *hooks_new(const struct hooks_env *env)
{
	struct hooks *h = mem_alloc(sizeof *h);
	h->env = *env;
	dlist_init(&h->runs);
	dlist_init(&h->sways);
	metrics_init(&h->metrics);
	h->left = env->stage ? NULL : leftovers_new(env->state_dir);
	children_init(&h->children, env->loop, env->stage, h->left);
	history_init(&h->history);
	return h;
}

void hooks_resign(struct hooks *h)
{
	if (h->left)
		leftovers_resign(h->left);
}

void hooks_shut(struct hooks *h)
{
	h->is_shut = true;
	for (struct dlist *it; (it = dlist_first(&h->runs));)
		run_drop(CONTAINER_OF(it, struct hook_run, link));
	retire(h->set);
	h->set = NULL;
	free_sights(h->sights);
	h->sights = NULL;
	children_fini(&h->children);
	http_free(h->http);
	h->http = NULL;
}

void hooks_free(struct hooks *h)
{
	if (!h)
		return;
	leftovers_free(h->left);
	history_fini(&h->history);
	metrics_fini(&h->metrics);
	mem_free(h);
}
