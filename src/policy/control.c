/*
 * control — a policy's VM in the control thread: made from the same source as the workers', with actions that wait.
 *
 * What is borrowed of a policy set (its source) is kept here by a reference of our own, since an operation goes on with the code that it
 * started with, however often policies are loaded meanwhile.
 */
#include "policy/control.h"

#include "base/mem.h"
#include "priv.h"

/* A control VM, and what other VMs have in common with others. */
struct control {
	struct source *source;
	struct policy_shared shared;
	char *cluster;
};

struct policy_vm *policy_control_new(const struct policy_control_env *env, struct err *err)
{
	struct control *c = mem_alloc(sizeof *c);
	struct source *source = set_source(env->policies, env->cluster_at);
	c->source = source ? source_ref(source) : source_of_stock("lunapool.default");
	c->cluster = mem_text(env->conf->clusters[env->cluster_at].name);
	breaker_init(&c->shared, c->cluster, c->source->files[0]->path);
	struct vm_env vm_env = {
		.conf = env->conf, .own_at = env->cluster_at, .source = c->source, .kv = env->kv, .shared = &c->shared, .control = env
	};
	struct policy_vm *vm = vm_new(&vm_env, err);
	if (vm)
		return vm;
	breaker_fini(&c->shared);
	source_free(c->source);
	mem_free(c->cluster);
	mem_free(c);
	return NULL;
}

void policy_control_free(struct policy_vm *vm)
{
	if (!vm)
		return;
	struct control *c = CONTAINER_OF(vm->shared, struct control, shared);
	vm_free(vm);
	breaker_fini(&c->shared);
	source_free(c->source);
	mem_free(c->cluster);
	mem_free(c);
}

void *policy_control_owner(lua_State *L)
{
	return vm_of(L)->owner;
}

struct policy_vm *policy_control_of(lua_State *L)
{
	return vm_of(L);
}

size_t policy_control_cluster(const struct policy_vm *vm)
{
	return vm->own_at;
}

const char *policy_control_file(const struct policy_vm *vm)
{
	return vm->source->files[0]->path;
}

size_t policy_control_bytes(const struct policy_vm *vm)
{
	return atomic_load_explicit(&vm->bytes, memory_order_relaxed);
}

void policy_control_show(struct policy_vm *vm, const struct topo *topo)
{
	vm->topo = topo;
	vm->call++;
}

struct protected
{
	void (*fn)(lua_State * L, void *arg);
	void *arg;
};

static int run_protected(lua_State *L)
{
	const struct protected *p = lua_touserdata(L, 1);
	lua_settop(L, 0);
	p->fn(L, p->arg);
	return 0;
}

bool policy_control_protect(struct policy_vm *vm, void (*fn)(lua_State *L, void *arg), void *arg)
{
	struct protected p = { fn, arg };
	return vm_protect(vm, run_protected, &p);
}

enum policy_resumed policy_control_resume(struct policy_vm *vm, lua_State *fiber, int n_args)
{
	switch (vm_resume(vm, fiber, n_args, POLICY_SLICE_US)) {
	case LUA_YIELD:
		return POLICY_RESUMED_WAITS;
	case LUA_OK:
		return POLICY_RESUMED_DONE;
	default:
		return POLICY_RESUMED_FAILED;
	}
}

const char *policy_control_error(const struct policy_vm *vm)
{
	return vm->error;
}

void policy_control_push_table(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, REF_POLICY);
}

void policy_control_push_cluster(lua_State *L)
{
	view_push_cluster(L, vm_of(L)->own_at);
}

void policy_control_push_node(lua_State *L, int node_at)
{
	if (node_at < 0)
		lua_pushnil(L);
	else
		push_handle(L, vm_of(L)->own_at, HANDLE_OF_NODES + node_at);
}

void policy_control_push_part(lua_State *L, const char *name)
{
	struct source_file part;
	if (!stock_part(name, &part))
		luaL_error(L, "there is no part %s", name);
	lib_load(L, &part);
}

int policy_control_node_at(lua_State *L, int index)
{
	const struct policy_vm *vm = vm_of(L);
	const struct handle *h = handle_at(L, index);
	if (!h || h->is != HANDLE_NODE || h->cluster_at != vm->own_at)
		return -1;
	return h->node_at == NODE_PRIMARY && vm->topo ? vm->topo->clusters[h->cluster_at].primary : h->node_at;
}

int policy_control_check_node(lua_State *L, int index)
{
	size_t cluster_at;
	int at = policy_control_check_place(L, index, &cluster_at);
	luaL_argcheck(L, cluster_at == vm_of(L)->own_at, index, "a node of another cluster");
	return at;
}

size_t policy_control_check_cluster(lua_State *L, int index)
{
	return check_handle(L, index, HANDLE_CLUSTER, "cluster")->cluster_at;
}

int policy_control_check_place(lua_State *L, int index, size_t *cluster_at)
{
	const struct policy_vm *vm = vm_of(L);
	const struct handle *h = check_handle(L, index, HANDLE_NODE, "node");
	*cluster_at = h->cluster_at;
	int at = h->node_at == NODE_PRIMARY && vm->topo ? vm->topo->clusters[h->cluster_at].primary : h->node_at;
	luaL_argcheck(L, at >= 0, index, "nobody is the primary now");
	return at;
}
