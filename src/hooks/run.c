/*
 * run — one task, event or tick from its first line to its end.
 *
 *   begun --others have left its node--> runs --its first fiber returns or raises, deadline, stopped--> ending: what it deferred, last first --> over: told, recorded, freed
 *
 * Always: it holds its VM; when it is over no fiber of it is left and nothing that it waited for will come back.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "leftover.h"
#include "priv.h"

#define OUTPUT_MAX 65536u
#define DEFER_US (10 * US_PER_S)
#define TURN_US (50 * US_PER_MS)
#define RUNS_MAX 64u /* of a VM at once */

static const char *const kind_names[] = { "task", "on", "every", "hook" };

/* ---- output ------------------------------------------------------------------------------------------------------------------ */

static void add_output(struct hook_run *r, struct slice text)
{
	size_t room = OUTPUT_MAX - r->output_len, n = text.len < room ? text.len : room;
	r->output = mem_grow(r->output, r->output_len + n + 1);
	if (n)
		memcpy(r->output + r->output_len, text.at, n);
	r->output_len += n;
	r->output[r->output_len] = '\0';
}

/* Lines; of many, those that come first. */
void run_say(struct hook_run *r, struct slice text)
{
	while (text.len && text.at[text.len - 1] == '\n')
		text.len--;
	const uint8_t *last = memrchr(text.at, '\n', text.len);
	history_line(&r->hooks->history, r->past, last ? slice_skip(text, (size_t)(last - text.at) + 1) : text);
	if (r->is_cut)
		return;
	r->is_cut = text.len + 100 > OUTPUT_MAX - r->output_len;
	add_output(r, r->is_cut ? slice_text("… what else it said is left out") : text);
	add_output(r, slice_text("\n"));
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static void kill_fibers(struct hook_run *r)
{
	for (struct dlist *it; (it = dlist_first(&r->fibers));)
		fiber_kill(CONTAINER_OF(it, struct fiber, link));
}

static void log_end(const struct hook_run *r)
{
	const struct hook_row *row = &r->past->row;
	const struct log_kv cluster = KV_STR("cluster", row->cluster), kind = KV_STR("kind", row->kind);
	const struct log_kv name = KV_STR("name", row->name), id = KV_INT("id", row->id);
	if (r->state != HOOK_DONE)
		log_warn(NULL, "task_failed", cluster, kind, name, id, KV_ERR(&r->err));
	else if (r->kind == RUN_TASK || r->kind == RUN_HOOK)
		log_info(NULL, "task_done", cluster, kind, name, id, KV_INT("ms", row->took_us / US_PER_MS));
	else
		log_debug(NULL, "task_done", cluster, kind, name, id, KV_INT("ms", row->took_us / US_PER_MS));
}

/* Its memory, but for what was already given back. */
static void free_run(struct hook_run *r)
{
	kill_fibers(r);
	sways_end(r);
	for (unsigned i = 0; i < r->n_defers; i++)
		ref_drop(r->vm, r->defers[i]);
	loop_timer_stop(r->hooks->env.loop, &r->deadline);
	loop_timer_stop(r->hooks->env.loop, &r->turn);
	loop_defer_cancel(&r->begin);
	dlist_remove(&r->link);
	r->vm->n_runs--;
	hook_vm_unref(r->vm);
	steps_free(r);
	mem_free(r->node);
	mem_free(r->output);
	mem_free(r);
}

static void finish(struct hook_run *r)
{
	kill_fibers(r);
	history_end(&r->hooks->history, r->past, r->state, r->state == HOOK_DONE ? "" : r->err.text);
	log_end(r);
	if (r->fn)
		r->fn(r->arg, r->output ? r->output : "", r->state == HOOK_DONE ? NULL : &r->err);
	free_run(r);
}

static void make_deferred(lua_State *L, void *arg)
{
	struct hook_run *r = arg;
	ref_push(L, r->defers[r->n_defers - 1]);
	fiber_new(L, r, 0);
}

static void next_deferred(struct hook_run *r)
{
	if (r->n_defers == 0) {
		finish(r);
		return;
	}
	bool is_made = policy_control_protect(r->vm->vm, make_deferred, r);
	ref_drop(r->vm, r->defers[--r->n_defers]);
	if (is_made)
		fiber_go_on(CONTAINER_OF(dlist_first(&r->fibers), struct fiber, link), 0);
	else
		next_deferred(r);
}

static void begin_to_end(struct hook_run *r)
{
	kill_fibers(r);
	r->is_ending = true;
	loop_timer_stop(r->hooks->env.loop, &r->turn);
	loop_defer_cancel(&r->begin);
	loop_timer_start(r->hooks->env.loop, &r->deadline, DEFER_US);
	next_deferred(r);
}

void run_stop(struct hook_run *r, enum hook_state state, const struct err *err)
{
	if (r->is_ending)
		return;
	r->state = state;
	r->err = *err;
	begin_to_end(r);
}

void run_drop(struct hook_run *r)
{
	r->state = HOOK_STOPPED;
	history_end(&r->hooks->history, r->past, r->state, "Lunapool has ended");
	free_run(r);
}

static void on_deadline(struct loop_timer *t)
{
	struct hook_run *r = CONTAINER_OF(t, struct hook_run, deadline);
	struct err err;
	if (!r->is_ending) {
		err_set(&err, "57014", "it took too long and was stopped");
		run_stop(r, HOOK_FAILED, &err);
		return;
	}
	run_say(r, slice_text("what it deferred took longer than 10 s and was stopped"));
	finish(r);
}

/* ---- what came of it ------------------------------------------------------------------------------------------------------------ */

struct outcome {
	struct hook_run *run;
	struct fiber *fiber;
};

/* true; or nil, and why.  Anything else is nothing that it may say. */
static void judge_hook(lua_State *L, struct hook_run *r)
{
	if (lua_isboolean(L, 1) && lua_toboolean(L, 1))
		return;
	r->state = HOOK_FAILED;
	if (lua_isnil(L, 1) && !lua_isnil(L, 2))
		error_read(L, 2, r, &r->err);
	else
		err_set(&r->err, "P0001", "it returned %s, instead of true, or nil and why",
		        lua_isnil(L, 1)       ? "nothing"
		        : lua_isboolean(L, 1) ? "false"
		                              : luaL_typename(L, 1));
}

/* value; or nil or false, and why. */
static void judge(lua_State *L, void *arg)
{
	struct outcome *o = arg;
	struct hook_run *r = o->run;
	size_t len;
	lua_settop(o->fiber->L, 2);
	lua_xmove(o->fiber->L, L, 2);
	r->state = HOOK_DONE;
	if (r->kind == RUN_HOOK) {
		judge_hook(L, r);
		return;
	}
	if (lua_toboolean(L, 1)) {
		if (lua_type(L, 1) == LUA_TSTRING) {
			const char *text = lua_tolstring(L, 1, &len);
			run_say(r, slice_of(text, len));
		}
		return;
	}
	if (lua_isnil(L, 1) && lua_isnil(L, 2))
		return;
	r->state = HOOK_FAILED;
	if (lua_isnil(L, 2))
		err_set(&r->err, "P0001", "it returned false");
	else
		error_read(L, 2, r, &r->err);
}

static void note_raised(struct hook_run *r)
{
	r->state = HOOK_FAILED;
	err_set(&r->err, "P0001", "%s", policy_control_error(r->vm->vm));
}

void run_fiber_ended(struct fiber *f, bool is_good)
{
	struct hook_run *r = f->run;
	struct outcome o = { r, f };
	if (r->is_ending) {
		if (!is_good)
			run_say(r, slice_text(policy_control_error(r->vm->vm)));
		fiber_kill(f);
		next_deferred(r);
		return;
	}
	if (!is_good || !policy_control_protect(r->vm->vm, judge, &o))
		note_raised(r);
	begin_to_end(r);
}

/* ---- the beginning ---------------------------------------------------------------------------------------------------------------- */

bool run_is_at(const struct hook_run *r, struct leftover_of *of)
{
	*of = (struct leftover_of){ .cluster = r->vm->cluster, .node = r->node, .run = r->past->row.id };
	return r->node && r->hooks->left;
}

/* When nobody else's command works at its node: an earlier run's that is being killed, or one that has outlived the Lunapool that started it. */
static void take_turn(struct hook_run *r)
{
	struct leftover_of of;
	char what[100];
	pid_t pid = run_is_at(r, &of) ? leftovers_at(r->hooks->left, &of) : 0;
	if (!pid) {
		fiber_go_on(r->first, lua_gettop(r->first->L) - 1);
		return;
	}
	snprintf(what, sizeof what, "process %d, which works at %.60s", (int)pid, of.node);
	history_waits(&r->hooks->history, r->past, what);
	loop_timer_start(r->hooks->env.loop, &r->turn, TURN_US);
}

static void on_turn(struct loop_timer *t)
{
	take_turn(CONTAINER_OF(t, struct hook_run, turn));
}

static void on_begin(struct loop_defer *d)
{
	take_turn(CONTAINER_OF(d, struct hook_run, begin));
}

struct making {
	struct hook_run *run;
	const struct run_spec *spec;
};

static void make_first(lua_State *L, void *arg)
{
	struct making *m = arg;
	int n = m->spec->push(L, m->spec->push_arg);
	m->run->first = fiber_new(L, m->run, n);
}

struct hook_run *run_begin(struct hooks *h, struct hook_vm *v, const struct run_spec *spec, struct err *err)
{
	if (v->n_runs >= RUNS_MAX) {
		err_set(err, "53400", "%zu tasks of cluster %.60s are under way already", v->n_runs, v->cluster);
		return NULL;
	}
	struct hook_run *r = mem_alloc(sizeof *r);
	*r = (struct hook_run){ .hooks = h, .vm = hook_vm_ref(v), .kind = spec->kind, .fn = spec->fn, .arg = spec->arg };
	r->operation = spec->operation;
	r->node = spec->node ? mem_text(spec->node) : NULL;
	v->n_runs++;
	dlist_init(&r->fibers);
	dlist_push_back(&h->runs, &r->link);
	loop_timer_init(&r->deadline, on_deadline);
	loop_defer_init(&r->begin, on_begin);
	loop_timer_init(&r->turn, on_turn);
	r->past = history_begin(&h->history, v->cluster, kind_names[spec->kind], spec->name);
	struct making m = { r, spec };
	if (!policy_control_protect(v->vm, make_first, &m)) {
		err_set(err, "53200", "%s", policy_control_error(v->vm));
		history_end(&h->history, r->past, HOOK_FAILED, err->text);
		free_run(r);
		return NULL;
	}
	if (spec->timeout_us)
		loop_timer_start(h->env.loop, &r->deadline, spec->timeout_us);
	loop_defer(h->env.loop, &r->begin);
	return r;
}
