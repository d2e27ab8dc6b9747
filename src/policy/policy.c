/*
 * policy — the hooks as C functions: set the scene, call, read what came back, and fall back when that fails.
 *
 * Always: when a call returns, the VM has forgotten topology, query and client, and its stack is what it was.
 */
#include "policy/policy.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "priv.h"
#include "tbl/policy.h"

#define TIMED_EVERY 64u

static const char *const hook_names[] = {
#define HOOK_NAME(name, ...) #name,
	POLICY_HOOK_TABLE(HOOK_NAME)
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static bool begin(struct policy_vm *vm, enum policy_hook hook, const struct topo *topo)
{
	if (!policy_has(vm, hook) || !breaker_lets_through(vm->shared))
		return false;
	vm->hook = hook;
	vm->call++;
	vm->topo = topo;
	lua_pushvalue(vm->L, REF_HOOKS + hook);
	return true;
}

static void push_cluster(struct policy_vm *vm, size_t cluster_at)
{
	ASSERT(cluster_at < vm->n_clusters);
	if (cluster_at == vm->own_at)
		lua_pushvalue(vm->L, REF_CLUSTER);
	else
		view_push_cluster(vm->L, cluster_at);
}

static bool call(struct policy_vm *vm, int n_args)
{
	uint64_t calls = atomic_load_explicit(&vm->calls, memory_order_relaxed);
	bool is_timed = calls % TIMED_EVERY == 0;
	uint64_t from = is_timed ? now_ns() : 0;
	atomic_store_explicit(&vm->calls, calls + 1, memory_order_relaxed);
	bool is_good = vm_call(vm, n_args, 2, POLICY_CALL_US);
	if (is_timed) {
		add(&vm->timed_ns, now_ns() - from);
		add(&vm->timed_calls, 1);
	}
	return is_good;
}

static void end(struct policy_vm *vm, enum policy_hook hook, bool is_good)
{
	vm->topo = NULL;
	vm->query = NULL;
	vm->client = NULL;
	vm->is_planning = false;
	lua_settop(vm->L, REF_LAST);
	if (is_good)
		breaker_succeeded(vm->shared);
	else
		breaker_failed(vm->shared, hook_names[hook], vm->error, clock_us());
}

static void clear(struct policy_decision *out, size_t cluster_at)
{
	out->kind = POLICY_NONE;
	out->has_failed = false;
	out->cluster_at = cluster_at;
	out->nodes = 0;
	out->wait_ms = 0;
	out->sqlstate[0] = out->text[0] = out->reason[0] = '\0';
}

static bool ask(struct policy_vm *vm, enum policy_hook hook, size_t cluster_at, struct policy_decision *out)
{
	lua_pushvalue(vm->L, hook == POLICY_HOOK_PLAN ? REF_STATEMENT : REF_QUERY);
	push_cluster(vm, cluster_at);
	bool is_good = call(vm, 2) && decide(vm, hook, out);
	if (!is_good) {
		clear(out, cluster_at);
		out->has_failed = true;
		snprintf(out->reason, sizeof out->reason, "the policy failed: %.140s", vm->error);
	}
	end(vm, hook, is_good);
	return is_good;
}

bool policy_has(const struct policy_vm *vm, enum policy_hook hook)
{
	return vm->where[hook][0] != '\0';
}

const char *policy_where(const struct policy_vm *vm, enum policy_hook hook)
{
	return vm->where[hook];
}

uint64_t policy_generation(const struct policy_vm *vm)
{
	return vm->generation;
}

bool policy_plan(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q,
                 struct policy_decision *out)
{
	clear(out, cluster_at);
	if (!policy_has(vm, POLICY_HOOK_PLAN))
		return !policy_has(vm, POLICY_HOOK_ROUTE);
	out->has_failed = !begin(vm, POLICY_HOOK_PLAN, topo);
	if (out->has_failed)
		return false;
	vm->query = q;
	vm->is_planning = true;
	view_show(vm, NULL);
	bool is_good = ask(vm, POLICY_HOOK_PLAN, cluster_at, out);
	return is_good && (out->kind != POLICY_NONE || !policy_has(vm, POLICY_HOOK_ROUTE));
}

void policy_route(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q,
                  struct policy_decision *out)
{
	static const char left_alone[] = "the policy is left alone for its errors: SHOW POLICY";
	clear(out, cluster_at);
	if (!begin(vm, POLICY_HOOK_ROUTE, topo)) {
		if (policy_has(vm, POLICY_HOOK_ROUTE))
			memcpy(out->reason, left_alone, sizeof left_alone);
		return;
	}
	vm->query = q;
	view_show(vm, q);
	ask(vm, POLICY_HOOK_ROUTE, cluster_at, out);
}

void policy_admit(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_client *client,
                  struct policy_admission *out)
{
	*out = (struct policy_admission){ .is_rejected = false };
	if (!begin(vm, POLICY_HOOK_ADMIT, topo))
		return;
	vm->client = client;
	view_show(vm, NULL);
	lua_pushvalue(vm->L, REF_CLIENT);
	bool is_good = call(vm, 1) && decide_admission(vm, out);
	if (!is_good)
		*out = (struct policy_admission){ .is_rejected = false };
	end(vm, POLICY_HOOK_ADMIT, is_good);
}

int policy_balance(struct policy_vm *vm, const struct topo *topo, size_t cluster_at, const struct policy_query *q, uint64_t nodes)
{
	int chosen = -1;
	if (!nodes || !begin(vm, POLICY_HOOK_BALANCE, topo))
		return -1;
	struct handle *choice = lua_touserdata(vm->L, REF_CHOICE);
	choice->kind = POLICY_NODES;
	choice->cluster_at = cluster_at;
	choice->nodes = nodes;
	vm->query = q;
	view_show(vm, q);
	lua_pushvalue(vm->L, REF_QUERY);
	lua_pushvalue(vm->L, REF_CHOICE);
	bool is_good = call(vm, 2) && decide_node(vm, cluster_at, nodes, &chosen);
	end(vm, POLICY_HOOK_BALANCE, is_good);
	return is_good ? chosen : -1;
}
