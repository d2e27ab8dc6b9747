/*
 * steps — lp.step(): what a hook of an operation has finished is in that operation's record before it goes on.
 *
 * Who runs from the top, after a restart or because it failed behind, finds what was finished under the same name.  Hooks that run at several nodes
 * do not share names: a key is the hook's, the node's, and the step's.  A run that belongs to no operation keeps nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "priv.h"

#define VALUE_MAX 4096u
#define LOOK_US (1 * US_PER_MS)

struct finishing {
	struct wait wait;
	struct fiber *fiber;
	struct loop_timer timer;
	char *key, *value;
};

static void put_key(const struct hook_run *r, const char *name, char *out, size_t room)
{
	snprintf(out, room, "%s %s %s", r->past->name, r->node, name);
}

static bool take_name(struct hook_run *r, const char *name)
{
	for (size_t i = 0; i < r->n_steps; i++)
		if (strcmp(r->steps[i], name) == 0)
			return false;
	r->steps = mem_grow(r->steps, (r->n_steps + 1) * sizeof *r->steps);
	r->steps[r->n_steps++] = mem_text(name);
	return true;
}

void steps_free(struct hook_run *r)
{
	for (size_t i = 0; i < r->n_steps; i++)
		mem_free(r->steps[i]);
	mem_free(r->steps);
}

int act_known_step(lua_State *L)
{
	struct hook_run *r = fiber_check(L)->run;
	const struct hooks_powers *p = r->hooks->env.powers;
	const char *name = luaL_checkstring(L, 1);
	char key[STEP_KEY_MAX];
	bool is_new = take_name(r, name);
	bool is_kept = p && r->operation;
	put_key(r, name, key, sizeof key);
	const char *known = is_kept ? p->step(p->arg, r->vm->cluster, r->operation, key) : NULL;
	lua_pushboolean(L, is_new);
	lua_pushboolean(L, is_kept);
	if (known)
		lua_pushstring(L, known);
	else
		lua_pushnil(L);
	return 3;
}

/* ---- keeping it ------------------------------------------------------------------------------------------------------------- */

static void free_finishing(struct finishing *f)
{
	loop_timer_stop(f->fiber->run->hooks->env.loop, &f->timer);
	mem_free(f->key);
	mem_free(f->value);
	mem_free(f);
}

static void finishing_cancel(struct wait *w)
{
	free_finishing(CONTAINER_OF(w, struct finishing, wait));
}

static int push_kept(lua_State *L, void *arg)
{
	lua_pushboolean(L, 1);
	return 1;
}

static int push_not_kept(lua_State *L, void *arg)
{
	struct action_error e = { .kind = "state", .status = -1, .err = *(const struct err *)arg };
	return error_push(L, &e);
}

/* Until it is recorded, however long the disk takes: the hook's own deadline is the limit. */
static void on_look(struct loop_timer *t)
{
	struct finishing *f = CONTAINER_OF(t, struct finishing, timer);
	struct fiber *fiber = f->fiber;
	const struct hook_run *r = fiber->run;
	const struct hooks_powers *p = r->hooks->env.powers;
	struct err err;
	if (p->step(p->arg, r->vm->cluster, r->operation, f->key)) {
		free_finishing(f);
		fiber_wake(fiber, push_kept, NULL);
	} else if (p->finish_step(p->arg, r->vm->cluster, r->operation, f->key, f->value, &err) ||
	           strcmp(err.sqlstate, "55006") == 0) {
		loop_timer_start(r->hooks->env.loop, t, LOOK_US);
	} else {
		free_finishing(f);
		fiber_wake(fiber, push_not_kept, &err);
	}
}

int act_finish_step(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	struct loop *loop = f->run->hooks->env.loop;
	const char *name = luaL_checkstring(L, 1);
	size_t len;
	const char *value = luaL_checklstring(L, 2, &len);
	char key[STEP_KEY_MAX];
	if (len > VALUE_MAX)
		return luaL_error(L, "step %s: its value is %d bytes of JSON; it may have %d", name, (int)len, (int)VALUE_MAX);
	put_key(f->run, name, key, sizeof key);
	struct finishing *fin = mem_alloc(sizeof *fin);
	*fin = (struct finishing){
		.wait = { .cancel = finishing_cancel }, .fiber = f, .key = mem_text(key), .value = mem_textn(value, len)
	};
	snprintf(fin->wait.what, sizeof fin->wait.what, "step %.60s, to be recorded", name);
	loop_timer_init(&fin->timer, on_look);
	loop_timer_start(loop, &fin->timer, 0);
	return fiber_wait(L, f, &fin->wait);
}
