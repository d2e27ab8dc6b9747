/*
 * exec — lp.exec(): a program, without a shell, as an action.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "leftover.h"
#include "priv.h"

#define ARGS_MAX 500
#define INPUT_MAX (1u << 20)
#define OUTPUT_MOST (1u << 20)
#define TIMEOUT_S 60.
#define TIMEOUT_MOST_S (7 * 86400.)

struct execution {
	struct wait wait;
	struct fiber *fiber;
	struct child *child;
	double timeout_s;
	char name[60];
};

/* ---- the answer ---------------------------------------------------------------------------------------------------------------- */

static struct slice last_line(struct slice output)
{
	while (output.len && (output.at[output.len - 1] == '\n' || output.at[output.len - 1] == '\r'))
		output.len--;
	const uint8_t *last = output.len ? memrchr(output.at, '\n', output.len) : NULL;
	struct slice line = last ? slice_skip(output, (size_t)(last - output.at) + 1) : output;
	return line.len > 200 ? slice_of(line.at, 200) : line;
}

struct answer {
	const struct execution *execution;
	const struct child_end *end;
};

static void say_why(struct action_error *e, const struct answer *a)
{
	const char *name = a->execution->name;
	switch (a->end->how) {
	case CHILD_EXITED:
		e->kind = "exit";
		err_set(&e->err, "58000", "%s ended with status %d", name, a->end->status);
		break;
	case CHILD_KILLED:
		e->kind = "signal";
		err_set(&e->err, "58000", "%s was ended by signal %d (%s)", name, a->end->status, strsignal(a->end->status));
		break;
	case CHILD_TIMED_OUT:
		e->kind = "timeout";
		err_set(&e->err, "57014", "%s was stopped after %g s", name, a->execution->timeout_s);
		break;
	case CHILD_STUCK:
		e->kind = "timeout";
		err_set(&e->err, "57014", "%s did not end within %g s, nor when it was killed", name, a->execution->timeout_s);
		break;
	}
	struct slice line = last_line(a->end->output);
	size_t used = strlen(e->err.text);
	if (line.len)
		snprintf(e->err.text + used, sizeof e->err.text - used, ": %.*s", (int)line.len, (const char *)line.at);
}

static int push_answer(lua_State *L, void *arg)
{
	const struct answer *a = arg;
	if (a->end->how == CHILD_EXITED && a->end->status == 0) {
		lua_pushlstring(L, (const char *)a->end->output.at, a->end->output.len);
		return 1;
	}
	bool has_status = a->end->how == CHILD_EXITED || a->end->how == CHILD_KILLED;
	struct action_error e = { .status = has_status ? a->end->status : -1, .output = a->end->output };
	say_why(&e, a);
	return error_push(L, &e);
}

static void on_child_end(void *arg, const struct child_end *end)
{
	struct execution *x = arg;
	struct answer a = { x, end };
	fiber_wake(x->fiber, push_answer, &a);
	mem_free(x);
}

static void exec_cancel(struct wait *w)
{
	struct execution *x = CONTAINER_OF(w, struct execution, wait);
	child_forget(x->child);
	mem_free(x);
}

/* ---- the question ---------------------------------------------------------------------------------------------------------------- */

/* The texts are on the stack, which holds them for the call. */
static const char **take_argv(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	int n = (int)lua_objlen(L, 1);
	luaL_argcheck(L, n >= 1 && n <= ARGS_MAX, 1, "a program and its arguments, at most 500");
	luaL_checkstack(L, n + 10, "too many arguments");
	const char **argv = lua_newuserdata(L, ((size_t)n + 1) * sizeof *argv);
	for (int i = 1; i <= n; i++) {
		lua_rawgeti(L, 1, i);
		size_t len;
		argv[i - 1] = lua_tolstring(L, -1, &len);
		if (!argv[i - 1] || strlen(argv[i - 1]) != len)
			luaL_error(L, "argument %d is no text, or has a zero byte", i - 1);
	}
	argv[n] = NULL;
	return argv;
}

static const char **take_env(lua_State *L)
{
	int n = 0, table = lua_gettop(L);
	if (lua_isnil(L, -1))
		return NULL;
	luaL_checktype(L, -1, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
		n++;
	luaL_checkstack(L, n + 10, "too many variables");
	const char **env = lua_newuserdata(L, ((size_t)n + 1) * sizeof *env);
	int at = 0;
	lua_pushnil(L);
	while (lua_next(L, table)) {
		if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1) || strchr(lua_tostring(L, -2), '='))
			luaL_error(L, "env is a table of names and texts");
		lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
		env[at++] = lua_tostring(L, -1);
		lua_replace(L, -2); /* the value's place */
		lua_insert(L, -2);  /* below its key, which lua_next() wants on top */
	}
	env[at] = NULL;
	return env;
}

static void take_options(lua_State *L, struct child_spec *spec, double *timeout_s)
{
	static const char *const known[] = { "timeout", "input", "env", "cwd", "output", NULL };
	size_t len;
	if (lua_isnoneornil(L, 2)) {
		lua_settop(L, 1);
		lua_newtable(L);
	}
	luaL_checktype(L, 2, LUA_TTABLE);
	check_options(L, 2, known);
	*timeout_s = number_option(L, 2, "timeout", TIMEOUT_S, 0.001, TIMEOUT_MOST_S);
	spec->output_max = (size_t)number_option(L, 2, "output", 65536, 100, OUTPUT_MOST);
	const char *input = text_option(L, 2, "input", &len);
	if (len > INPUT_MAX)
		luaL_error(L, "input is at most 1 MB");
	spec->input = slice_of(input, len);
	spec->cwd = text_option(L, 2, "cwd", &len);
	spec->timeout_us = (uint64_t)(*timeout_s * (double)US_PER_S);
	lua_getfield(L, 2, "env");
	spec->env = take_env(L);
}

static int refuse_start(lua_State *L, const struct err *err)
{
	struct action_error e = { .kind = "start", .err = *err, .status = -1 };
	return error_push(L, &e);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

int act_exec(lua_State *L)
{
	struct fiber *f = fiber_check(L);
	struct child_spec spec = { 0 };
	struct err err;
	double timeout_s;
	lua_settop(L, 2);
	take_options(L, &spec, &timeout_s);
	spec.argv = take_argv(L);
	struct leftover_of of;
	if (run_is_at(f->run, &of)) {
		of.timeout_us = spec.timeout_us;
		spec.of = &of;
	}
	struct execution *x = mem_alloc(sizeof *x);
	*x = (struct execution){ .wait = { .cancel = exec_cancel }, .fiber = f, .timeout_s = timeout_s };
	snprintf(x->name, sizeof x->name, "%s", base_name(spec.argv[0]));
	snprintf(x->wait.what, sizeof x->wait.what, "exec %s", x->name);
	x->child = child_start(&f->run->hooks->children, &spec, on_child_end, x, &err);
	if (!x->child) {
		mem_free(x);
		return refuse_start(L, &err);
	}
	log_debug(NULL, "exec", KV_STR("cluster", f->run->vm->cluster), KV_STR("program", spec.argv[0]));
	return fiber_wait(L, f, &x->wait);
}
