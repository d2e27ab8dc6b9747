/*
 * policy's own.
 *
 *   source.c  files as the control thread read them        set.c     the policies in force, breakers, counters
 *   vm.c      a Lua state: memory, time, protected calls   lib.c     what of Lua's library a policy may use
 *   table.c   what the file returned: hooks by their names
 *   view.c    objects: userdata whose fields C answers     api.c     the module lunapool
 *   asked.c   … query, statement, hint, client             places.c  … clusters, nodes, lists of nodes
 *   text.c    string functions with an end, on match.c     stock.c   modules that are part of the program
 *   breaker.c when a policy is left alone                  kv.c      what policies remember
 *   decide.c  what a hook returned -> policy_decision      policy.c  the calls of policy.h
 *   control.c the VM of the control thread
 */
#ifndef POLICY_PRIV_H
#define POLICY_PRIV_H

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/err.h"
#include "policy/policy.h"

struct policy_control_env;
struct policy_kv;

/* ---- source.c ------------------------------------------------------------------------------------------------------- */

struct source_file {
	char *name; /* of the module; "" is the policy itself */
	char *path;
	char *text;
	size_t len;
};
struct source {
	bool is_sealed; /* nothing more is read: from here on any thread may look */
	unsigned refs;  /* the control thread's */
	size_t n;
	struct source_file **files; /* the first is the policy */
};
struct source *source_open(const char *path, struct err *err) MUST_CHECK;
void source_seal(struct source *s);
struct source *source_ref(struct source *s);
void source_free(struct source *s);                 /* when that was the last reference */
struct source *source_of_stock(const char *module); /* as if it were a policy's file */
/* The module NAME, from below the policy's folder.  NULL with ERR: there is none, or it was not asked for before the source was sealed. */
const struct source_file *source_find(struct source *s, const char *name, struct err *err);
bool source_equal(const struct source *a, const struct source *b);
bool stock_find(const char *module, struct source_file *out); /* stock.c: those that are part of the program */
bool stock_part(const char *name, struct source_file *out);   /* … and that no policy can ask for */

/* ---- vm.c ----------------------------------------------------------------------------------------------------------- */

#define POLICY_API 1
#define VM_MEMORY_MAX (16u << 20)
#define VM_LOAD_US 200000u
#define VM_ERROR_MAX 300u
#define VM_WHERE_MAX 128u

/* Fields of a query that policies ask for most. */
enum { SHOWN_IS_READ, SHOWN_IN_TRANSACTION, SHOWN_READ_ONLY, SHOWN_FIELDS };

/* Values that a VM keeps for itself: registry[REF_x].  Those up to REF_LAST lie on the bottom of its stack, too, at the same index. */
enum {
	REF_ON_ERROR = 1,
	REF_HOOKS, /* one for each enum policy_hook; nil where there is none */
	REF_QUERY = REF_HOOKS + POLICY_HOOKS,
	REF_STATEMENT,
	REF_CLIENT,
	REF_CLUSTER,   /* its own */
	REF_CHOICE,    /* the list that balance() is given */
	REF_KEY_CLASS, /* "class" and "database": the fields of what admit() may return */
	REF_KEY_DATABASE,
	REF_SHOWN,     /* what the query shows without asking: a table */
	REF_KEY_SHOWN, /* its keys: one for each SHOWN_… */
	REF_LAST = REF_KEY_SHOWN + SHOWN_FIELDS - 1,
	REF_LP,
	REF_HINT,
	REF_LOADER,
	REF_LOADED,                    /* name of a module -> its value */
	REF_GLOBALS,                   /* what policies see as such */
	REF_MODULE,                    /* lunapool, as it can be added to */
	REF_POLICY,                    /* what the file returned */
	REF_CLASSES,                   /* metatables, one for each enum handle_is */
	REF_HANDLES = REF_CLASSES + 16 /* HANDLES_PER_CLUSTER for each cluster */
};

struct field;
struct field_slot {
	const char *key; /* the VM's own copy, so that equal names are at the same address */
	const struct field *field;
};
#define FIELD_SLOTS 64u /* a power of two, more than twice the fields of any class */

struct policy_vm {
	lua_State *L;
	size_t own_at, n_clusters;
	struct source *source;
	struct policy_kv *kv;
	struct policy_shared *shared;
	struct field_slot *fields; /* FIELD_SLOTS for each enum handle_is */
	/* The call under way; NULL when it has none. */
	enum policy_hook hook; /* POLICY_HOOKS: it is being loaded */
	const struct topo *topo;
	const struct policy_query *query;
	const struct policy_client *client;
	bool is_planning;
	bool is_shown, shown[SHOWN_FIELDS]; /* REF_SHOWN has the fields of a query, and these: may outlast its call */
	uint64_t call;                      /* its number */
	struct fit {
		uint64_t call, mask; /* standbys that were fit when that call asked first */
	} * fit;                 /* of each cluster */
	/* Its bounds. */
	_Atomic size_t bytes; /* read by others, too */
	size_t bytes_max;
	uint64_t limit_us, from_us, cpu_from_us;
	uint32_t steps_left;
	const char *frame; /* of C, where the call began */
	bool is_over, is_control;
	void *owner;              /* a control VM's */
	char error[VM_ERROR_MAX]; /* of the last call that failed */
	/* What it may write to the log. */
	uint64_t log_second;
	unsigned log_lines, log_dropped;
	/* The policy. */
	_Atomic uint64_t calls, timed_calls, timed_ns; /* written by the VM's own thread only */
	uint64_t generation;
	char where[POLICY_HOOKS][VM_WHERE_MAX];
};

struct vm_env {
	const struct conf *conf;
	size_t own_at;
	struct source *source;
	struct policy_kv *kv;
	struct policy_shared *shared;
	uint64_t generation;
	const struct policy_control_env *control; /* NULL: of the data plane */
};
struct policy_vm *vm_new(const struct vm_env *env, struct err *err) MUST_CHECK;
void vm_free(struct policy_vm *vm);
static inline struct policy_vm *vm_of(lua_State *L)
{
	void *vm;
	lua_getallocf(L, &vm);
	return vm;
}
/* The function below N_ARGS arguments.  False: vm->error says why, and nothing of it is left on the stack. */
bool vm_call(struct policy_vm *vm, int n_args, int n_results, uint64_t limit_us) MUST_CHECK;
/* A coroutine's next part: LUA_OK, LUA_YIELD or an error, which is in vm->error. */
int vm_resume(struct policy_vm *vm, lua_State *fiber, int n_args, uint64_t limit_us) MUST_CHECK;
bool vm_protect(struct policy_vm *vm, lua_CFunction fn, void *arg) MUST_CHECK; /* FN finds ARG as light userdata */
/* From functions that Lua calls: so much work more; raises an error when that is too much for one call. */
void vm_spend(lua_State *L, uint32_t steps);
/* Before a C function calls into Lua, which may call that function again: C's stack is finite. */
void vm_check_depth(lua_State *L);

/* ---- table.c -------------------------------------------------------------------------------------------------------- */

int table_load(lua_State *L); /* runs the policy and keeps its hooks; raises an error */

/* ---- lib.c ---------------------------------------------------------------------------------------------------------- */

void lib_open(lua_State *L);                                 /* sets REF_GLOBALS, REF_LOADED */
void lib_freeze(lua_State *L);                               /* table -> a view of it that nobody can change */
void lib_load(lua_State *L, const struct source_file *file); /* pushes the chunk; raises an error */

/* ---- text.c --------------------------------------------------------------------------------------------------------- */

int text_find(lua_State *L);
int text_match(lua_State *L);
int text_gmatch(lua_State *L);
int text_gsub(lua_State *L);
int text_rep(lua_State *L);
int text_insert(lua_State *L);
void text_charge(lua_State *L,
                 double per_entry); /* the function on top -> one that counts its work: steps for an entry of a table */

/* ---- view.c, asked.c, places.c, api.c -------------------------------------------------------------------------------------------------- */

enum handle_is {
	HANDLE_QUERY,
	HANDLE_STATEMENT,
	HANDLE_CLIENT,
	HANDLE_HINT,
	HANDLE_CLUSTER,
	HANDLE_NODE,
	HANDLE_NODES,
	HANDLE_DECISION,
	HANDLE_TAGS,
	HANDLE_KINDS
};
#define NODE_PRIMARY (-1) /* whoever that is */
/* Every full userdata of a VM begins with one. */
struct handle {
	enum handle_is is;
	size_t cluster_at;
	int node_at;           /* HANDLE_NODE */
	enum policy_kind kind; /* HANDLE_NODES: POLICY_STANDBYS, _ANY, _NODES; HANDLE_DECISION: _REJECT, _WAIT */
	uint64_t nodes;        /* POLICY_NODES */
};
struct decision {
	struct handle handle;
	uint32_t wait_ms;
	char sqlstate[6];
	char text[POLICY_REJECT_MAX];
};
/* The objects that are made with the VM, for each cluster. */
enum { HANDLE_OF_CLUSTER, HANDLE_OF_PRIMARY, HANDLE_OF_STANDBYS, HANDLE_OF_ANY, HANDLE_OF_ALL, HANDLE_OF_NODES /* and so on */ };
#define HANDLE_OF_TAGS (HANDLE_OF_NODES + (int)POLICY_NODES_MAX)
#define HANDLES_PER_CLUSTER (HANDLE_OF_TAGS + (int)POLICY_NODES_MAX)

/* A field is answered by a getter, which pushes one value; a method is a function of its own. */
struct field {
	const char *name;
	enum { SAME, NOW } when;
	void (*get)(lua_State *L, struct policy_vm *vm, const struct handle *h);
	lua_CFunction method;
};
struct fields {
	const struct field *at;
	size_t n;
};
extern const struct fields query_fields, hint_fields, client_fields; /* asked.c */
extern const struct fields cluster_fields, node_fields;              /* places.c */
int nodes_index(lua_State *L);
int nodes_len(lua_State *L);
int tags_index(lua_State *L);
int node_equal(lua_State *L);
int view_pairs(lua_State *L);

/* The handle at INDEX; NULL: it is something else. */
const struct handle *handle_at(lua_State *L, int index);
const struct handle *check_handle(lua_State *L, int arg, enum handle_is is, const char *name); /* raises an error */
void push_handle(lua_State *L, size_t cluster_at, int at);                                     /* HANDLE_OF_… */
void view_open(lua_State *L, const struct conf *conf); /* sets REF_CLASSES, REF_HANDLES, REF_QUERY … REF_CHOICE */
void view_push_cluster(lua_State *L, size_t cluster_at);
/* A call for Q is about to begin; NULL: one without a query.  Allocates nothing. */
void view_show(struct policy_vm *vm, const struct policy_query *q);
void *view_new(lua_State *L, enum handle_is is, size_t size); /* pushes it */
void api_open(lua_State *L);                                  /* sets REF_MODULE, REF_LP */

/* ---- set.c ------------------------------------------------------------------------------------------------------------ */

struct source *set_source(const struct policy_set *set, size_t cluster_at); /* NULL: the cluster has no policy */

/* ---- breaker.c ------------------------------------------------------------------------------------------------------ */

/* What the VMs of one cluster's policy share: any thread. */
struct policy_shared {
	const char *cluster, *file;
	int64_t clock;                  /* seconds since 1970 that scripts see; 0: the real time */
	_Atomic uint64_t open_until_us; /* 0: closed */
	_Atomic uint64_t errors;
	pthread_mutex_t lock; /* for what follows */
	uint64_t failed_at_us[5];
	unsigned n_failed;
	char last_error[VM_ERROR_MAX];
};
void breaker_init(struct policy_shared *s, const char *cluster, const char *file);
void breaker_fini(struct policy_shared *s);
bool breaker_lets_through_at(struct policy_shared *s, uint64_t now_us); /* it was open: is it time to try again? */
static inline bool breaker_lets_through(struct policy_shared *s)
{
	return LIKELY(atomic_load_explicit(&s->open_until_us, memory_order_relaxed) == 0) || breaker_lets_through_at(s, clock_us());
}
void breaker_failed(struct policy_shared *s, const char *hook, const char *error, uint64_t now_us);
void breaker_succeeded_slowly(struct policy_shared *s);
static inline void breaker_succeeded(struct policy_shared *s)
{
	if (UNLIKELY(atomic_load_explicit(&s->open_until_us, memory_order_relaxed) != 0))
		breaker_succeeded_slowly(s);
}

/* ---- decide.c ------------------------------------------------------------------------------------------------------- */

/* From the two values on top.  False: vm->error says what is wrong with them. */
bool decide(struct policy_vm *vm, enum policy_hook hook, struct policy_decision *out) MUST_CHECK;
bool decide_admission(struct policy_vm *vm, struct policy_admission *out) MUST_CHECK;
bool decide_node(struct policy_vm *vm, size_t cluster_at, uint64_t nodes, int *out) MUST_CHECK;

#endif
