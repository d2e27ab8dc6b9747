/*
 * actions — the module lunapool of the control plane: what is C, what is Lua (lua/lunapool/control.lua), and small actions.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

double check_seconds(lua_State *L, int arg, double most)
{
	double seconds = luaL_checknumber(L, arg);
	luaL_argcheck(L, seconds >= 0 && seconds <= most, arg, "seconds, not below 0 and not that many");
	return seconds;
}

/* ---- sleep --------------------------------------------------------------------------------------------------------------------- */

struct nap {
	struct wait wait;
	struct fiber *fiber;
	struct loop *loop;
	struct loop_timer timer;
};

static void nap_cancel(struct wait *w)
{
	struct nap *n = CONTAINER_OF(w, struct nap, wait);
	loop_timer_stop(n->loop, &n->timer);
	mem_free(n);
}

static int push_true(lua_State *L, void *arg)
{
	lua_pushboolean(L, 1);
	return 1;
}

static void on_awake(struct loop_timer *t)
{
	struct nap *n = CONTAINER_OF(t, struct nap, timer);
	fiber_wake(n->fiber, push_true, NULL);
	mem_free(n);
}

static int act_sleep(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	double seconds = check_seconds(L, 1, 1e7);
	struct nap *n = mem_alloc(sizeof *n);
	*n = (struct nap){ .wait = { .cancel = nap_cancel }, .fiber = f, .loop = f->run->hooks->env.loop };
	snprintf(n->wait.what, sizeof n->wait.what, "sleep %g s", seconds);
	loop_timer_init(&n->timer, on_awake);
	loop_timer_start(n->loop, &n->timer, (uint64_t)(seconds * (double)US_PER_S));
	return fiber_wait(L, f, &n->wait);
}

/* ---- what a simulation makes of a hook ------------------------------------------------------------------------------------------ */

static void hang_cancel(struct wait *w)
{
	mem_free(w);
}

int act_hang(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	struct wait *w = mem_alloc(sizeof *w);
	*w = (struct wait){ .cancel = hang_cancel, .what = "nothing: it hangs" };
	return fiber_wait(L, f, w);
}

int act_fail(lua_State *L)
{
	struct action_error e = { .kind = "exit", .status = 1 };
	err_set(&e.err, "58000", "the test has it fail");
	return error_push(L, &e);
}

/* ---- defer, log -------------------------------------------------------------------------------------------------------------------- */

static int act_defer(lua_State *L)
{
	struct hook_run *r = fiber_check(L)->run;
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	if (r->is_ending || r->n_defers == ARRAY_LEN(r->defers))
		return luaL_error(L, r->is_ending ? "this is the end already" : "no more than %d functions can be deferred",
		                  (int)ARRAY_LEN(r->defers));
	r->defers[r->n_defers] = ref_take(L);
	r->n_defers++;
	return 0;
}

/* What a run logs is its output, too.  Upvalue: the function that logs. */
static int act_log(lua_State *L)
{
	const struct hook_vm *v = policy_control_owner(L);
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	if (v->hooks && v->hooks->running)
		run_say(v->hooks->running->run, slice_of(text, len));
	int n = lua_gettop(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, 0);
	return 0;
}

/* ---- notify, metric -------------------------------------------------------------------------------------------------------------- */

struct notice {
	struct wait wait;
	struct fiber *fiber;
	struct loop_defer turn;
	char level[8], text[500];
};

static void notice_cancel(struct wait *w)
{
	struct notice *n = CONTAINER_OF(w, struct notice, wait);
	loop_defer_cancel(&n->turn);
	mem_free(n);
}

/* What a notice makes happen may give notices: those are in the log, and make nothing happen. */
static void on_notice(struct loop_defer *d)
{
	struct notice *n = CONTAINER_OF(d, struct notice, turn);
	struct hook_run *r = n->fiber->run;
	bool is_of_notice = r->kind == RUN_EVENT && strcmp(r->past->name, "notice") == 0;
	const struct hook_event e = { .name = "notice", .id = r->past->row.id, .kind = n->level, .reason = n->text };
	enum log_level level = *n->level == 'i' ? LOG_LEVEL_INFO : *n->level == 'w' ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR;
	if (log_is_on(level))
		log_write(level, NULL, "notice",
		          (struct log_kv[]){ KV_STR("cluster", r->vm->cluster), KV_STR("task", r->past->name),
		                             KV_INT("id", r->past->row.id), KV_STR("text", n->text) },
		          4);
	run_say(r, slice_text(n->text));
	if (!is_of_notice)
		hooks_happened(r->hooks, r->vm->cluster, &e);
	fiber_wake(n->fiber, push_true, NULL);
	mem_free(n);
}

static int act_notify(lua_State *L)
{
	static const char *const levels[] = { "info", "warn", "error", NULL };
	struct fiber *f = fiber_check(L);
	const char *text = luaL_checkstring(L, 1);
	int level = luaL_checkoption(L, 2, "warn", levels);
	struct notice *n = mem_alloc(sizeof *n);
	*n = (struct notice){ .wait = { .cancel = notice_cancel, .what = "notify" }, .fiber = f };
	snprintf(n->level, sizeof n->level, "%s", levels[level]);
	snprintf(n->text, sizeof n->text, "%s", text);
	loop_defer_init(&n->turn, on_notice);
	loop_defer(f->run->hooks->env.loop, &n->turn);
	return fiber_wait(L, f, &n->wait);
}

static int act_metric(lua_State *L)
{
	struct hook_run *r = fiber_check(L)->run;
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);
	double value = luaL_checknumber(L, 2);
	luaL_argcheck(L, value - value == 0, 2, "a number that is finite");
	luaL_argcheck(L, len > 0 && len <= 100 && strlen(name) == len, 1, "a name of at most 100 bytes");
	lua_pushboolean(L, metrics_set(&r->hooks->metrics, r->vm->cluster, name, value));
	return 1;
}

/* ---- ssh ------------------------------------------------------------------------------------------------------------------------ */

/* Where and how ssh finds a node: { host, user, options }. */
static int ssh_of(lua_State *L)
{
	const struct fiber *f = fiber_check(L);
	const struct conf_cluster *c;
	const struct conf_node *n = hook_vm_conf_node(f->run->vm, policy_control_check_node(L, 1), &c);
	if (!n)
		return luaL_error(L, "this node is gone");
	lua_createtable(L, 0, 3);
	lua_pushstring(L, *n->ssh_host ? n->ssh_host : n->host);
	lua_setfield(L, -2, "host");
	lua_pushstring(L, c->ssh_user);
	lua_setfield(L, -2, "user");
	lua_createtable(L, (int)c->ssh_options.n, 0);
	for (size_t i = 0; i < c->ssh_options.n; i++) {
		lua_pushstring(L, c->ssh_options.at[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "options");
	return 1;
}

/* ---- the module -------------------------------------------------------------------------------------------------------------------- */

static void set_functions(lua_State *L, const luaL_Reg *functions, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		lua_pushcfunction(L, functions[i].func);
		lua_setfield(L, -2, functions[i].name);
	}
}

void actions_open(lua_State *L)
{
	static const luaL_Reg functions[] = { { "exec", act_exec },     { "sql", act_sql },       { "http", act_http },
		                                  { "sleep", act_sleep },   { "defer", act_defer },   { "notify", act_notify },
		                                  { "metric", act_metric }, { "detach", act_detach }, { "attach", act_attach },
		                                  { "drain", act_drain } };
	static const luaL_Reg natives[] = { { "parallel", group_begin },
		                                { "deadline", group_deadline },
		                                { "error", error_make },
		                                { "ssh", ssh_of },
		                                { "hold", act_hold },
		                                { "release", act_release },
		                                { "known_step", act_known_step },
		                                { "finish_step", act_finish_step } };
	int module = lua_gettop(L);
	error_open(L);
	set_functions(L, functions, ARRAY_LEN(functions));
	lua_getfield(L, module, "log");
	lua_pushcclosure(L, act_log, 1);
	lua_setfield(L, module, "log");
	policy_control_push_part(L, "control");
	lua_pushvalue(L, module);
	lua_createtable(L, 0, ARRAY_LEN(natives));
	set_functions(L, natives, ARRAY_LEN(natives));
	policy_control_push_part(L, "json");
	lua_call(L, 0, 1);
	lua_call(L, 3, 0);
}
