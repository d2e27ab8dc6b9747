/*
 * fiber — the coroutines of a run: slices of their work, what they wait for in between, and groups of them.
 *
 *   new --fiber_go_on()--> a slice --an action: fiber_wait()--> waits --fiber_wake()--> a slice … --returned, raised--> ended
 *
 * A slice ends with an action, an end, or an error; it takes at most POLICY_SLICE_US of processor time.  One that is killed is never gone on
 * with: its wait is cancelled and the collector takes the rest, so nothing of a script runs behind its deadline but what it deferred.
 *
 * Always: outside its slice a fiber that has begun waits for exactly one thing;  no slice begins inside another (groups begin their fibers at
 * the end of a turn of the loop);  values go into a fiber from the VM's own state, inside a protected call, a few at a time: its stack is
 * not grown from outside.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

#define VALUES_MAX 10 /* that go into a fiber at once */

static const char references; /* its address is the key of the table of fibers and what they keep */

/* ---- references --------------------------------------------------------------------------------------------------------------- */

static void push_references(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)&references);
	lua_rawget(L, LUA_REGISTRYINDEX);
	if (!lua_isnil(L, -1))
		return;
	lua_pop(L, 1);
	lua_pushlightuserdata(L, (void *)(uintptr_t)&references);
	lua_newtable(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
	push_references(L);
}

int ref_take(lua_State *L)
{
	push_references(L);
	lua_insert(L, -2);
	int ref = luaL_ref(L, -2);
	lua_pop(L, 1);
	return ref;
}

void ref_push(lua_State *L, int ref)
{
	push_references(L);
	lua_rawgeti(L, -1, ref);
	lua_replace(L, -2);
}

static void drop(lua_State *L, void *arg)
{
	push_references(L);
	luaL_unref(L, -1, *(int *)arg);
}

/* Without memory it stays, as long as the VM. */
void ref_drop(struct hook_vm *v, int ref)
{
	if (!policy_control_protect(v->vm, drop, &ref))
		log_debug(NULL, "reference_kept", KV_STR("cluster", v->cluster));
}

/* ---- fibers --------------------------------------------------------------------------------------------------------------------- */

struct fiber *fiber_new(lua_State *L, struct hook_run *run, int n_args)
{
	ASSERT(n_args < VALUES_MAX);
	lua_State *own = lua_newthread(L);
	int ref = ref_take(L);
	lua_xmove(L, own, n_args + 1);
	struct fiber *f = mem_alloc(sizeof *f);
	*f = (struct fiber){ .run = run, .L = own, .ref = ref };
	dlist_push_back(&run->fibers, &f->link);
	return f;
}

static void free_fiber(struct fiber *f)
{
	dlist_remove(&f->link);
	ref_drop(f->run->vm, f->ref);
	mem_free(f);
}

void fiber_kill(struct fiber *f)
{
	struct wait *w = f->wait;
	f->wait = NULL;
	if (w)
		w->cancel(w);
	free_fiber(f);
}

static void group_child_ended(struct fiber *f, bool is_good);

/* For SHOW TASKS. */
static void tell_waits(struct hook_run *r)
{
	char text[130] = "";
	unsigned more = 0;
	DLIST_EACH(it, &r->fibers)
	{
		const struct fiber *f = CONTAINER_OF(it, struct fiber, link);
		if (!f->wait || !f->wait->what[0])
			continue;
		if (text[0])
			more++;
		else
			snprintf(text, sizeof text, "%s", f->wait->what);
	}
	if (more)
		snprintf(text + strlen(text), sizeof text - strlen(text), ", and %u more", more);
	history_waits(&r->hooks->history, r->past, text);
}

void fiber_go_on(struct fiber *f, int n_args)
{
	struct hook_run *r = f->run;
	struct hooks *h = r->hooks;
	ASSERT(!h->running && !f->wait);
	hook_vm_look(r->vm, topo_latest(h->env.board));
	h->running = f;
	enum policy_resumed how = policy_control_resume(r->vm->vm, f->L, n_args);
	h->running = NULL;
	hook_vm_look(r->vm, NULL);
	if (how == POLICY_RESUMED_WAITS) {
		ASSERT(f->wait);
		tell_waits(r);
		return;
	}
	ASSERT(!f->wait);
	if (f->group)
		group_child_ended(f, how == POLICY_RESUMED_DONE);
	else
		run_fiber_ended(f, how == POLICY_RESUMED_DONE);
}

struct fiber *fiber_check(lua_State *L)
{
	const struct hook_vm *v = policy_control_owner(L);
	struct fiber *f = v->hooks ? v->hooks->running : NULL;
	if (!f)
		luaL_error(L, "actions wait: they belong into tasks and kin, not here");
	if (!lua_isyieldable(L))
		luaL_error(L, "an action cannot wait inside a function of the library that calls back");
	return f;
}

int fiber_wait(lua_State *L, struct fiber *f, struct wait *w)
{
	ASSERT(!f->wait);
	f->wait = w;
	return lua_yield(L, 0);
}

struct pushing {
	struct fiber *fiber;
	int (*push)(lua_State *L, void *arg);
	void *arg;
	int n;
};

static void push_values(lua_State *L, void *arg)
{
	struct pushing *p = arg;
	p->n = p->push(L, p->arg);
	ASSERT(p->n <= VALUES_MAX);
	lua_xmove(L, p->fiber->L, p->n);
}

void fiber_wake(struct fiber *f, int (*push)(lua_State *L, void *arg), void *arg)
{
	struct pushing p = { f, push, arg, 0 };
	struct err err;
	f->wait = NULL;
	if (policy_control_protect(f->run->vm->vm, push_values, &p)) {
		fiber_go_on(f, p.n);
		return;
	}
	err_set(&err, "53200", "%s", policy_control_error(f->run->vm->vm));
	run_stop(f->run, HOOK_FAILED, &err);
}

/* ---- groups: lp.parallel and lp.deadline ------------------------------------------------------------------------------------------ */

enum { GROUP_ITEMS = 1, GROUP_FN, GROUP_RESULTS, GROUP_ERRORS };

struct group {
	struct wait wait; /* of the fiber that waits for all of it */
	struct fiber *parent;
	struct hook_vm *vm;
	struct loop *loop;
	int ref; /* a table: GROUP_… */
	int n, next, n_running, limit;
	bool is_deadline, is_late, is_fast, has_failed;
	struct loop_defer turn;
	struct loop_timer timer;
};

static void kill_children(struct group *g)
{
	struct hook_run *r = g->parent->run;
	bool has_killed;
	do { /* what a child waits for may be a group, whose fibers go with it */
		has_killed = false;
		DLIST_EACH(it, &r->fibers)
		{
			struct fiber *f = CONTAINER_OF(it, struct fiber, link);
			if (f->group != g)
				continue;
			fiber_kill(f);
			has_killed = true;
			break;
		}
	} while (has_killed);
}

static void free_group(struct group *g)
{
	loop_timer_stop(g->loop, &g->timer);
	loop_defer_cancel(&g->turn);
	ref_drop(g->vm, g->ref);
	hook_vm_unref(g->vm);
	mem_free(g);
}

static void group_cancel(struct wait *w)
{
	struct group *g = CONTAINER_OF(w, struct group, wait);
	kill_children(g);
	free_group(g);
}

struct beginning {
	struct group *group;
	struct fiber *fiber;
};

static void make_child(lua_State *L, void *arg)
{
	struct beginning *b = arg;
	struct group *g = b->group;
	int at = g->next + 1;
	ref_push(L, g->ref);
	lua_rawgeti(L, 1, GROUP_FN);
	if (!g->is_deadline) {
		lua_rawgeti(L, 1, GROUP_ITEMS);
		lua_rawgeti(L, -1, at);
		lua_replace(L, -2);
		lua_pushinteger(L, at);
	}
	b->fiber = fiber_new(L, g->parent->run, g->is_deadline ? 0 : 2);
	b->fiber->group = g;
	b->fiber->at = at;
}

static void fail_run(struct hook_run *r)
{
	struct err err;
	err_set(&err, "53200", "%s", policy_control_error(r->vm->vm));
	run_stop(r, HOOK_FAILED, &err);
}

static bool may_begin_child(const struct group *g)
{
	return !g->is_late && !(g->is_fast && g->has_failed) && g->next < g->n && g->n_running < g->limit;
}

/* The group may be gone afterwards. */
static void begin_child(struct group *g)
{
	struct beginning b = { g, NULL };
	if (!policy_control_protect(g->vm->vm, make_child, &b)) {
		fail_run(g->parent->run);
		return;
	}
	g->next++;
	g->n_running++;
	loop_defer(g->loop, &g->turn); /* another one, or the end */
	fiber_go_on(b.fiber, lua_gettop(b.fiber->L) - 1);
}

/* parallel: results and errors; deadline: the values in a table, or nil and an error; or false and what was raised. */
static int push_outcome(lua_State *L, void *arg)
{
	struct group *g = arg;
	if (g->is_late) {
		struct action_error e = { .kind = "timeout", .status = -1 };
		err_set(&e.err, "57014", "it was not done in time");
		return error_push(L, &e);
	}
	ref_push(L, g->ref);
	if (g->is_deadline && g->has_failed) {
		lua_pushboolean(L, 0);
		lua_rawgeti(L, -2, GROUP_ERRORS);
		return 2;
	}
	lua_rawgeti(L, -1, GROUP_RESULTS);
	if (g->is_deadline)
		return 1;
	lua_rawgeti(L, -2, GROUP_ERRORS);
	return 2;
}

static void on_group_turn(struct loop_defer *d)
{
	struct group *g = CONTAINER_OF(d, struct group, turn);
	bool is_over = g->is_late || (g->is_fast && g->has_failed);
	if (may_begin_child(g)) {
		begin_child(g);
		return;
	}
	if (!is_over && (g->n_running > 0 || g->next < g->n))
		return;
	kill_children(g);
	fiber_wake(g->parent, push_outcome, g);
	free_group(g);
}

static void on_late(struct loop_timer *t)
{
	struct group *g = CONTAINER_OF(t, struct group, timer);
	g->is_late = true;
	loop_defer(g->loop, &g->turn);
}

struct ending {
	struct fiber *fiber;
	bool is_good, has_failed;
};

static void keep_values(lua_State *L, struct fiber *f, int table)
{
	int n = lua_gettop(f->L);
	luaL_checkstack(L, n, "too many values");
	lua_createtable(L, n, 1);
	lua_xmove(f->L, L, n);
	for (int i = n; i > 0; i--)
		lua_rawseti(L, table + 1, i);
	lua_pushinteger(L, n);
	lua_setfield(L, table + 1, "n");
	lua_rawseti(L, table, GROUP_RESULTS);
}

/* Value and error, of which one is nil. */
static void keep_value(lua_State *L, struct ending *e, int table)
{
	struct fiber *f = e->fiber;
	bool has_any = lua_gettop(f->L) > 0;
	lua_settop(f->L, 2);
	lua_xmove(f->L, L, 2);
	if (!has_any || (lua_isnil(L, -2) && lua_isnil(L, -1))) { /* it returned nothing, which is no failure */
		lua_pushboolean(L, 1);
		lua_replace(L, -3);
	}
	e->has_failed = !lua_toboolean(L, -2) && !lua_isnil(L, -1);
	lua_rawgeti(L, table, e->has_failed ? GROUP_ERRORS : GROUP_RESULTS);
	lua_pushvalue(L, e->has_failed ? -2 : -3);
	lua_rawseti(L, -2, f->at);
}

static void keep_raised(lua_State *L, const struct ending *e, int table)
{
	const struct group *g = e->fiber->group;
	const char *text = policy_control_error(g->vm->vm);
	if (g->is_deadline) {
		lua_pushstring(L, text);
		lua_rawseti(L, table, GROUP_ERRORS);
		return;
	}
	struct action_error raised = { .kind = "raised", .status = -1 };
	err_set(&raised.err, "P0001", "%s", text);
	lua_rawgeti(L, table, GROUP_ERRORS);
	error_push(L, &raised);
	lua_rawseti(L, -3, e->fiber->at);
}

static void keep_outcome(lua_State *L, void *arg)
{
	struct ending *e = arg;
	ref_push(L, e->fiber->group->ref);
	e->has_failed = !e->is_good;
	if (!e->is_good)
		keep_raised(L, e, 1);
	else if (e->fiber->group->is_deadline)
		keep_values(L, e->fiber, 1);
	else
		keep_value(L, e, 1);
}

static void group_child_ended(struct fiber *f, bool is_good)
{
	struct group *g = f->group;
	struct ending e = { .fiber = f, .is_good = is_good };
	bool is_kept = policy_control_protect(g->vm->vm, keep_outcome, &e);
	free_fiber(f);
	if (!is_kept) {
		fail_run(g->parent->run);
		return;
	}
	g->has_failed |= e.has_failed;
	g->n_running--;
	loop_defer(g->loop, &g->turn);
}

/* The stack: items or nil, fn.  The group waits from here on. */
static struct group *new_group(lua_State *L, struct fiber *parent)
{
	struct hook_vm *v = policy_control_owner(L);
	lua_createtable(L, 4, 0);
	for (int i = GROUP_ITEMS; i <= GROUP_FN; i++) {
		lua_pushvalue(L, i);
		lua_rawseti(L, -2, i);
	}
	for (int i = GROUP_RESULTS; i <= GROUP_ERRORS; i++) {
		lua_newtable(L);
		lua_rawseti(L, -2, i);
	}
	int ref = ref_take(L);
	struct group *g = mem_alloc(sizeof *g);
	*g = (struct group){ .wait = { .cancel = group_cancel }, .parent = parent, .vm = hook_vm_ref(v), .ref = ref };
	g->loop = v->hooks->env.loop;
	loop_defer_init(&g->turn, on_group_turn);
	loop_timer_init(&g->timer, on_late);
	loop_defer(g->loop, &g->turn);
	return g;
}

int group_begin(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	int n = (int)lua_objlen(L, 1), limit = luaL_optint(L, 3, n);
	luaL_argcheck(L, limit >= (n ? 1 : 0), 3, "a limit of at least 1");
	bool is_fast = lua_toboolean(L, 4);
	struct group *g = new_group(L, f);
	g->n = n;
	g->limit = limit;
	g->is_fast = is_fast;
	return fiber_wait(L, f, &g->wait);
}

int group_deadline(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	double seconds = check_seconds(L, 1, 1e6);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	struct group *g = new_group(L, f);
	g->n = g->limit = 1;
	g->is_deadline = true;
	loop_timer_start(g->loop, &g->timer, (uint64_t)(seconds * (double)US_PER_S));
	return fiber_wait(L, f, &g->wait);
}
