/*
 * vm — one Lua state: what it may use of memory and time, and how it is called.
 *
 * Memory: the state's allocator counts, and refuses what goes beyond VM_MEMORY_MAX; Lua turns that into an error.
 *
 * Time: the JIT compiler is off, since compiled loops heed no hook.  A count hook is armed for good: every TICK instructions it looks at the
 * clock (once in a call that is short enough to see no tick at all, which costs nothing but a counter).  When a call has had its time, each further instruction raises an
 * error, so that a script that catches errors ends, too.  Time counts as the thread's own: a worker that the kernel
 * puts aside in the middle of a call has not hung.  What a single instruction can make C do is bounded where C does it (vm_spend()).
 *
 * Always: nothing raises an error outside vm_call() and the building of a VM, both protected; a call leaves the stack as it was but for
 * its results; outside a call no query is set, so that a script cannot see an old one.
 */
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/control.h"
#include "priv.h"

#define TICK 100 /* instructions */
#define LARGE_BYTES (32u << 10)
#define STEPS_PER_US 100u
#define STACK_MAX (128 << 10) /* bytes of C's stack, for one call */
#define GRACE_US 1000u        /* of processor time, at the end of a call's time */

static void on_tick(lua_State *L, lua_Debug *ar);

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

static void *allocate(void *arg, void *old, size_t old_size, size_t size)
{
	struct policy_vm *vm = arg;
	size_t bytes = atomic_load_explicit(&vm->bytes, memory_order_relaxed) - old_size + size;
	void *at = NULL;
	if (size > old_size && bytes > vm->bytes_max)
		return NULL;
	if (size > LARGE_BYTES && vm->L) /* whatever that is for takes a while: look at the clock soon */
		lua_sethook(vm->L, on_tick, LUA_MASKCOUNT, 1);
	if (size == 0)
		free(old);
	else if (!(at = realloc(old, size)))
		return size <= old_size ? old : NULL;
	atomic_store_explicit(&vm->bytes, bytes, memory_order_relaxed);
	return at;
}

/* ---- time --------------------------------------------------------------------------------------------------------------- */

static uint64_t cpu_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

/* The clock of the thread is a system call, so it is asked only when the other one says that it is late. */
static bool is_time_over(struct policy_vm *vm)
{
	uint64_t now = clock_real_us();
	if (!vm->from_us)
		vm->from_us = now;
	if (now - vm->from_us < vm->limit_us - GRACE_US)
		return false;
	uint64_t cpu = cpu_us();
	if (!vm->cpu_from_us)
		vm->cpu_from_us = cpu;
	return cpu - vm->cpu_from_us >= GRACE_US;
}

static void on_tick(lua_State *L, lua_Debug *ar)
{
	struct policy_vm *vm = vm_of(L);
	vm->is_over = vm->is_over || is_time_over(vm);
	lua_sethook(L, on_tick, LUA_MASKCOUNT, vm->is_over ? 1 : TICK);
	if (!vm->is_over)
		return;
	lua_getinfo(L, "Sl", ar);
	lua_pushfstring(L, "%s:%d: it ran longer than %d ms%s and was stopped", ar->short_src, ar->currentline,
	                (int)(vm->limit_us / US_PER_MS), vm->is_control ? " without waiting" : "");
	lua_error(L);
}

static void start_clock(struct policy_vm *vm, uint64_t limit_us)
{
	vm->limit_us = limit_us;
	vm->from_us = vm->cpu_from_us = 0;
	vm->steps_left = (uint32_t)limit_us * STEPS_PER_US;
	vm->frame = __builtin_frame_address(0);
}

static void stop_clock(struct policy_vm *vm)
{
	if (UNLIKELY(vm->is_over))
		lua_sethook(vm->L, on_tick, LUA_MASKCOUNT, TICK);
	vm->is_over = false;
}

void vm_spend(lua_State *L, uint32_t steps)
{
	struct policy_vm *vm = vm_of(L);
	if (steps > vm->steps_left) {
		vm->steps_left = 0;
		luaL_error(L, "too much work for one call of a policy");
	}
	vm->steps_left -= steps;
}

void vm_check_depth(lua_State *L)
{
	const char *here = __builtin_frame_address(0);
	if (vm_of(L)->frame - here > STACK_MAX)
		luaL_error(L, "functions that library functions call nest too deeply");
}

/* ---- calls -------------------------------------------------------------------------------------------------------------- */

/* "file:line: …" stands in front of what Lua itself raises, and error() with a text. */
static bool has_place(const char *text)
{
	const char *colon = strchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	return digits > 0 && strncmp(colon + 1 + digits, ": ", 2) == 0;
}

/* What is being called, roughly. */
static const char *place_of(const struct policy_vm *vm)
{
	return vm->hook < POLICY_HOOKS ? vm->where[vm->hook] : vm->source->files[0]->path;
}

/* What was raised, at AT, and where, from LEVEL on: the stack is still there.  Allocates nothing, since there may be no memory. */
static void note_error(lua_State *L, int at, int from)
{
	struct policy_vm *vm = vm_of(L);
	const char *text = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : NULL;
	lua_Debug ar;
	char place[VM_WHERE_MAX] = "";
	for (int level = from; (!text || !has_place(text)) && lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline <= 0)
			continue;
		snprintf(place, sizeof place, "%s:%d: ", ar.short_src, ar.currentline);
		break;
	}
	if ((!text || !has_place(text)) && !*place) /* a tail call leaves no trace */
		snprintf(place, sizeof place, "%.120s: ", place_of(vm));
	if (text)
		snprintf(vm->error, sizeof vm->error, "%s%s", place, text);
	else
		snprintf(vm->error, sizeof vm->error, "%san error was raised that is a %s, not a text", place, luaL_typename(L, at));
}

static int on_error(lua_State *L)
{
	note_error(L, 1, 1);
	return 1;
}

static void note_failure(struct policy_vm *vm, int status)
{
	const char *place = place_of(vm);
	if (status == LUA_ERRMEM) /* no handler was called */
		snprintf(vm->error, sizeof vm->error, "%.120s: it needs more than the %u MB of memory that a policy may have", place,
		         VM_MEMORY_MAX >> 20);
	else if (status == LUA_ERRERR)
		snprintf(vm->error, sizeof vm->error,
		         "%.120s: a function calls itself without end, or an error came up while one was handled", place);
}

/* Unprotected, so nothing may be refused: making the table of texts smaller takes a new one. */
static void collect(struct policy_vm *vm)
{
	vm->bytes_max = SIZE_MAX;
	lua_gc(vm->L, LUA_GCCOLLECT, 0);
	vm->bytes_max = VM_MEMORY_MAX;
}

bool vm_call(struct policy_vm *vm, int n_args, int n_results, uint64_t limit_us)
{
	start_clock(vm, limit_us);
	int status = lua_pcall(vm->L, n_args, n_results, REF_ON_ERROR);
	stop_clock(vm);
	if (status == LUA_OK)
		return true;
	note_failure(vm, status);
	lua_pop(vm->L, 1);
	if (status == LUA_ERRMEM)
		collect(vm);
	return false;
}

int vm_resume(struct policy_vm *vm, lua_State *fiber, int n_args, uint64_t limit_us)
{
	start_clock(vm, limit_us);
	int status = lua_resume(fiber, n_args);
	stop_clock(vm);
	if (status == LUA_OK || status == LUA_YIELD)
		return status;
	if (status == LUA_ERRMEM || status == LUA_ERRERR)
		note_failure(vm, status);
	else
		note_error(fiber, lua_gettop(fiber), 0);
	if (status == LUA_ERRMEM)
		collect(vm);
	return status;
}

bool vm_protect(struct policy_vm *vm, lua_CFunction fn, void *arg)
{
	start_clock(vm, POLICY_SLICE_US);
	int status = lua_cpcall(vm->L, fn, arg);
	stop_clock(vm);
	if (status == LUA_OK)
		return true;
	if (status == LUA_ERRMEM || status == LUA_ERRERR)
		note_failure(vm, status);
	else
		note_error(vm->L, lua_gettop(vm->L), 0);
	lua_pop(vm->L, 1);
	if (status == LUA_ERRMEM)
		collect(vm);
	return false;
}

/* ---- building ------------------------------------------------------------------------------------------------------------ */

struct building {
	const struct conf *conf;
	const struct policy_control_env *control;
};

static void keep_text(lua_State *L, const char *text, int ref)
{
	lua_pushstring(L, text);
	lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

static void keep_function(lua_State *L, lua_CFunction fn, int ref)
{
	lua_pushcfunction(L, fn);
	lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

static int build(lua_State *L)
{
	const struct building *b = lua_touserdata(L, 1);
	keep_function(L, on_error, REF_ON_ERROR);
	keep_function(L, table_load, REF_LOADER);
	keep_text(L, "class", REF_KEY_CLASS);
	keep_text(L, "database", REF_KEY_DATABASE);
	view_open(L, b->conf);
	api_open(L);
	lib_open(L);
	if (b->control) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, REF_MODULE);
		b->control->open(L);
	}
	return 0;
}

/* Allocates nothing: what it pushes is there, and so is the room. */
static void lay_bottom(struct policy_vm *vm)
{
	lua_settop(vm->L, 0);
	for (int ref = 1; ref <= REF_LAST; ref++)
		lua_rawgeti(vm->L, LUA_REGISTRYINDEX, ref);
}

static int on_panic(lua_State *L)
{
	die("Lua failed outside a protected call: %s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not a text");
}

static bool open_state(struct policy_vm *vm, const struct vm_env *env)
{
	struct building b = { env->conf, env->control };
	vm->L = lua_newstate(allocate, vm);
	if (!vm->L)
		return false;
	lua_atpanic(vm->L, on_panic);
	luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	if (lua_cpcall(vm->L, build, &b) != LUA_OK || !lua_checkstack(vm->L, REF_LAST + LUA_MINSTACK))
		return false;
	lua_sethook(vm->L, on_tick, LUA_MASKCOUNT, TICK);
	lay_bottom(vm);
	return true;
}

static bool load(struct policy_vm *vm, struct err *err)
{
	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, REF_LOADER);
	if (!vm_call(vm, 0, 0, VM_LOAD_US))
		return err_set(err, "F0000", "%s", vm->error);
	collect(vm);
	lay_bottom(vm);
	return true;
}

struct policy_vm *vm_new(const struct vm_env *env, struct err *err)
{
	struct policy_vm *vm = mem_alloc(sizeof *vm);
	vm->own_at = env->own_at;
	vm->source = env->source;
	vm->kv = env->kv;
	vm->shared = env->shared;
	vm->generation = env->generation;
	vm->bytes_max = VM_MEMORY_MAX;
	vm->hook = POLICY_HOOKS;
	vm->n_clusters = env->conf->n_clusters;
	vm->fit = mem_alloc(vm->n_clusters * sizeof *vm->fit);
	vm->fields = mem_alloc(HANDLE_KINDS * FIELD_SLOTS * sizeof *vm->fields);
	vm->is_control = env->control != NULL;
	vm->owner = env->control ? env->control->owner : NULL;
	if (!open_state(vm, env))
		die("out of memory: a Lua state wanted");
	if (load(vm, err))
		return vm;
	vm_free(vm);
	return NULL;
}

void vm_free(struct policy_vm *vm)
{
	if (!vm)
		return;
	if (vm->L)
		lua_close(vm->L);
	mem_free(vm->fields);
	mem_free(vm->fit);
	mem_free(vm);
}
