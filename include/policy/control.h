/*
 * control — the other half of a policy: a VM in the control thread, whose hooks, tasks and timers are coroutines that wait.
 *
 * Each cluster has one, also without a policy of its own: then it holds what lunapool.default does.  This is the bare VM, for the layer that
 * gives it actions and runs it (hooks); whoever calls Lua's own functions here does so inside policy_control_protect() or a coroutine.
 */
#ifndef POLICY_CONTROL_H
#define POLICY_CONTROL_H

#include <lauxlib.h>
#include <lua.h>

#include "policy/set.h"

#define POLICY_SLICE_US 50000u /* of processor time, from one wait to the next, and for a decision */

struct policy_control_env {
	const struct conf *conf; /* borrowed for the call */
	size_t cluster_at;
	const struct policy_set *policies; /* its source is read there; kept as long as the VM is there */
	struct policy_kv *kv;
	void *owner;
	/* Called while the VM is made, with the module lunapool on top, to which it adds; raises errors. */
	void (*open)(lua_State *L);
};
/* NULL with ERR, which begins with file:line. */
struct policy_vm *policy_control_new(const struct policy_control_env *env, struct err *err) MUST_CHECK;
void policy_control_free(struct policy_vm *vm); /* NULL is fine */

void *policy_control_owner(lua_State *L);
struct policy_vm *policy_control_of(lua_State *L);
size_t policy_control_cluster(const struct policy_vm *vm);
const char *policy_control_file(const struct policy_vm *vm);
size_t policy_control_bytes(const struct policy_vm *vm);
/* What its objects show from now on: TOPO's clusters and nodes are those of the configuration that the VM was made for.  NULL: nothing. */
void policy_control_show(struct policy_vm *vm, const struct topo *topo);

/* FN(L, ARG) in the VM's own state, protected; False: policy_control_error() says why. */
bool policy_control_protect(struct policy_vm *vm, void (*fn)(lua_State *L, void *arg), void *arg) MUST_CHECK;
enum policy_resumed { POLICY_RESUMED_WAITS, POLICY_RESUMED_DONE, POLICY_RESUMED_FAILED };
enum policy_resumed policy_control_resume(struct policy_vm *vm, lua_State *fiber, int n_args) MUST_CHECK;
/* file:line: what was wrong, of the last call that failed. */
const char *policy_control_error(const struct policy_vm *vm);

struct slice policy_control_part(const char *name); /* the text of lua/lunapool/NAME.lua */

/* These push one value, and may raise an error. */
void policy_control_push_table(lua_State *L); /* what the policy's file returned */
void policy_control_push_cluster(lua_State *L);
void policy_control_push_node(lua_State *L, int node_at);      /* of its own cluster; nil below 0 */
void policy_control_push_part(lua_State *L, const char *name); /* lua/lunapool/NAME.lua, to be called */
int policy_control_node_at(lua_State *L, int index);    /* the index of the node at INDEX, in its own cluster; -1: it is none */
int policy_control_check_node(lua_State *L, int index); /* the same for an argument; raises an error */
size_t policy_control_check_cluster(lua_State *L, int index);                /* an argument: any cluster; its index */
int policy_control_check_place(lua_State *L, int index, size_t *cluster_at); /* … a node of any cluster */

#endif
