/*
 * nodes — what an action does to clusters and nodes: holds, drains, detaches, attaches.
 *
 *   begun --begin(): a sway of the run, or an order of an administrator's kind--> asked --it is so--> published --seen by all--> done
 *     \--not now (an operation is under way)--> begun again, until the deadline
 *
 * Always: nothing is published from inside a slice, since what follows may begin runs;  who gives up waiting for a hold or a drain has none.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

#define LOOK_US (5 * US_PER_MS) /* between looks at what others have to do */
#define SEEN_US (500)           /* … and at whether every worker has seen the topology */
#define ORDER_S 10
#define DRAIN_S 60
#define MOST_S 1e6

enum chore_kind { CHORE_HOLD, CHORE_RELEASE, CHORE_DRAIN, CHORE_ATTACH, CHORE_DETACH };
static const char *const chore_names[] = { "hold", "release", "drain", "attach", "detach" };

struct chore {
	struct wait wait;
	struct fiber *fiber;
	enum chore_kind kind;
	enum { CHORE_IS_BEGUN, CHORE_IS_ASKED, CHORE_IS_PUBLISHED } state;
	char *cluster, *node;
	uint32_t node_id;
	uint64_t id, generation, due_us; /* id: of a sway, or of an order */
	struct loop_timer timer;
};

static struct hooks *hooks_of(const struct chore *c)
{
	return c->fiber->run->hooks;
}

static void free_chore(struct chore *c)
{
	loop_timer_stop(hooks_of(c)->env.loop, &c->timer);
	mem_free(c->cluster);
	mem_free(c->node);
	mem_free(c);
}

static bool is_sway(const struct chore *c)
{
	return c->kind == CHORE_HOLD || c->kind == CHORE_DRAIN;
}

static void chore_cancel(struct wait *w)
{
	struct chore *c = CONTAINER_OF(w, struct chore, wait);
	if (is_sway(c) && c->id)
		(void)sway_end(c->fiber->run, c->id);
	free_chore(c);
}

/* ---- its end ------------------------------------------------------------------------------------------------------------------ */

static int push_failed(lua_State *L, void *arg)
{
	const struct err *err = arg;
	struct action_error e = { .kind = strcmp(err->sqlstate, "57014") == 0 ? "timeout" : "state", .status = -1, .err = *err };
	return error_push(L, &e);
}

static int push_done(lua_State *L, void *arg)
{
	const struct chore *c = arg;
	if (c->kind == CHORE_HOLD)
		lua_pushnumber(L, (double)c->id);
	else
		lua_pushboolean(L, 1);
	return 1;
}

static void succeed(struct chore *c)
{
	fiber_wake(c->fiber, push_done, c);
	mem_free(c->cluster);
	mem_free(c->node);
	mem_free(c);
}

static void fail(struct chore *c, const struct err *err)
{
	struct fiber *f = c->fiber;
	struct err copy = *err;
	if (is_sway(c) && c->id)
		(void)sway_end(f->run, c->id);
	free_chore(c);
	fiber_wake(f, push_failed, &copy);
}

static void again(struct chore *c, uint64_t after_us)
{
	loop_timer_start(hooks_of(c)->env.loop, &c->timer, after_us);
}

static void publish(struct chore *c)
{
	c->state = CHORE_IS_PUBLISHED;
	c->generation = topo_latest(hooks_of(c)->env.board)->generation;
	again(c, 0);
}

/* Not yet: it is looked at once more, unless its time is over. */
static void wait_on(struct chore *c, uint64_t after_us, const char *why)
{
	struct err err;
	if (loop_now_us(hooks_of(c)->env.loop) < c->due_us) {
		again(c, after_us);
		return;
	}
	err_set(&err, "57014", "%s of %.60s was given up: %.200s", chore_names[c->kind], c->node ? c->node : c->cluster, why);
	fail(c, &err);
}

/* ---- what is done ---------------------------------------------------------------------------------------------------------------- */

static const struct topo_cluster *cluster_of(const struct chore *c, const struct conf_cluster **conf)
{
	const struct topo *t = topo_latest(hooks_of(c)->env.board);
	for (size_t i = 0; i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, c->cluster) == 0) {
			*conf = &t->conf->clusters[i];
			return &t->clusters[i];
		}
	return NULL;
}

/* What waits from its beginning on goes on before it has waited too long. */
static void begin_hold(struct chore *c)
{
	const struct conf_cluster *conf = NULL;
	struct err err;
	if (cluster_of(c, &conf))
		c->id = sway_begin(c->fiber->run, SWAY_HOLD, c->cluster, 0, conf->hold_timeout / 10 * 9, &err);
	else
		err_set(&err, "42704", "cluster %.60s is gone", c->cluster);
	if (c->id)
		publish(c);
	else
		fail(c, &err);
}

static void release(struct chore *c)
{
	struct err err;
	if (sway_end(c->fiber->run, c->id)) {
		publish(c);
		return;
	}
	err_set(&err, "57014", "the hold was over already: it took longer than hold_timeout, or was released");
	fail(c, &err);
}

/* What runs on a primary has nowhere else to go, but if it is held, or if a policy chooses among clusters. */
static bool may_drain(const struct chore *c, struct err *err)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *cluster = cluster_of(c, &conf);
	bool is_busy = cluster && cluster->n_nodes > 1 && !cluster->is_held && cluster->primary >= 0 &&
	               cluster->nodes[cluster->primary].id == c->node_id;
	if (!cluster)
		return err_set(err, "42704", "cluster %.60s is gone", c->cluster);
	return !is_busy ||
	       err_set(err, "55000", "%.60s is the primary: hold the cluster first, or make another one the primary", c->node);
}

static void begin_drain(struct chore *c)
{
	struct err err;
	if (may_drain(c, &err))
		c->id = sway_begin(c->fiber->run, SWAY_DRAIN, c->cluster, c->node_id, 0, &err);
	if (c->id)
		publish(c);
	else
		fail(c, &err);
}

static void begin_order(struct chore *c)
{
	const struct hooks_powers *p = hooks_of(c)->env.powers;
	enum hook_order what = c->kind == CHORE_ATTACH ? HOOK_ATTACH : HOOK_DETACH;
	struct err err;
	enum hook_ordered is = HOOK_ORDER_REFUSED;
	if (p)
		is = p->order(p->arg, c->cluster, what, c->node, c->fiber->run->past->name, &c->id, &err);
	else
		err_set(&err, "55000", "nothing can be done to nodes here");
	if (is == HOOK_ORDER_IS_SO) {
		publish(c);
	} else if (is == HOOK_ORDER_GIVEN) {
		c->state = CHORE_IS_ASKED;
		again(c, 0);
	} else if (strcmp(err.sqlstate, "55006") == 0) {
		wait_on(c, LOOK_US, err.text);
	} else {
		fail(c, &err);
	}
}

static void begin(struct chore *c)
{
	static void (*const how[])(struct chore * c) = { begin_hold, release, begin_drain, begin_order, begin_order };
	how[c->kind](c);
}

static void look_at_order(struct chore *c)
{
	const struct hooks_powers *p = hooks_of(c)->env.powers;
	struct err err;
	enum hook_answer is = p->answer(p->arg, c->cluster, c->id, &err);
	if (is == HOOK_ORDER_FAILED)
		fail(c, &err);
	else if (is == HOOK_ORDER_WAITS)
		wait_on(c, LOOK_US, "it is not recorded yet");
	else
		publish(c);
}

static void look_at_workers(struct chore *c)
{
	struct hooks *h = hooks_of(c);
	char why[100];
	unsigned busy = 0;
	if (!topo_is_seen(h->env.board, c->generation)) {
		again(c, SEEN_US);
		return;
	}
	if (c->kind == CHORE_DRAIN)
		busy = h->env.powers->busy(h->env.powers->arg, c->node_id);
	if (busy) {
		snprintf(why, sizeof why, "%u connections to it are in use", busy);
		wait_on(c, LOOK_US, why);
		return;
	}
	if (c->kind == CHORE_ATTACH)
		sway_end_drains(h, c->node_id);
	succeed(c);
}

static void on_look(struct loop_timer *t)
{
	struct chore *c = CONTAINER_OF(t, struct chore, timer);
	if (c->state == CHORE_IS_BEGUN)
		begin(c);
	else if (c->state == CHORE_IS_ASKED)
		look_at_order(c);
	else
		look_at_workers(c);
}

/* ---- the actions ------------------------------------------------------------------------------------------------------------------ */

/* The texts are copied; it begins behind the slice. */
static int chore(lua_State *L, struct fiber *f, const struct chore *like, double seconds)
{
	struct loop *loop = f->run->hooks->env.loop;
	struct chore *c = mem_alloc(sizeof *c);
	*c = *like;
	c->wait.cancel = chore_cancel;
	c->fiber = f;
	c->cluster = mem_text(like->cluster);
	c->node = like->node ? mem_text(like->node) : NULL;
	c->due_us = loop_now_us(loop) + (uint64_t)(seconds * (double)US_PER_S);
	snprintf(c->wait.what, sizeof c->wait.what, "%s %.80s", chore_names[c->kind], c->node ? c->node : c->cluster);
	loop_timer_init(&c->timer, on_look);
	loop_timer_start(loop, &c->timer, 0);
	return fiber_wait(L, f, &c->wait);
}

static int push_gone(lua_State *L, const char *name)
{
	struct err err;
	err_set(&err, "42704", "node %.60s is not in the configuration any more", name);
	return push_failed(L, &err);
}

static int on_node(lua_State *L, enum chore_kind kind, double seconds)
{
	static const char *const known[] = { "timeout", NULL };
	struct fiber *f = fiber_check(L);
	size_t cluster_at;
	lua_settop(L, 2);
	int node_at = policy_control_check_place(L, 1, &cluster_at);
	const struct shape *s = &f->run->vm->shapes[cluster_at];
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		check_options(L, 2, known);
		seconds = number_option(L, 2, "timeout", seconds, 0, MOST_S);
	}
	const struct topo_node *n = hook_vm_topo_node(f->run->vm, cluster_at, node_at);
	if (!n)
		return push_gone(L, s->nodes[node_at]);
	struct chore c = { .kind = kind, .cluster = s->name, .node = s->nodes[node_at], .node_id = n->id };
	return chore(L, f, &c, seconds);
}

int act_detach(lua_State *L)
{
	return on_node(L, CHORE_DETACH, ORDER_S);
}

int act_attach(lua_State *L)
{
	return on_node(L, CHORE_ATTACH, ORDER_S);
}

int act_drain(lua_State *L)
{
	return on_node(L, CHORE_DRAIN, DRAIN_S);
}

int act_hold(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	size_t at = policy_control_check_cluster(L, 1);
	struct chore c = { .kind = CHORE_HOLD, .cluster = f->run->vm->shapes[at].name };
	return chore(L, f, &c, 0);
}

int act_release(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	struct chore c = { .kind = CHORE_RELEASE, .cluster = "", .id = (uint64_t)luaL_checknumber(L, 1) };
	return chore(L, f, &c, 0);
}
