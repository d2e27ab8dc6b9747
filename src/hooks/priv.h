/*
 * hooks' own.
 *
 *   hooks.c  the calls of hooks.h: tasks, events, timers     set.c     a VM for each cluster, and whom it shows
 *   asked.c  … what operations ask of a policy
 *   run.c    a run from its first line to its end            fiber.c   coroutines: slices, waits, groups of them
 *   history.c what SHOW TASKS shows                          child.c   programs
 *   leftover.c what works at nodes, also of a Lunapool before us
 *   actions.c, exec.c, sql.c, http.c, nodes.c: the library lp    error.c   why an action failed
 *   steps.c   what hooks of operations have finished
 *   sways.c   what a run does to nodes, for as long as it runs   metrics.c what policies have measured
 *   options.c what actions are given                         header.c  heads of HTTP
 */
#ifndef HOOKS_PRIV_H
#define HOOKS_PRIV_H

#include <pthread.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/dlist.h"
#include "child.h"
#include "hooks/hooks.h"
#include "hooks/stage.h"
#include "policy/control.h"

/* ---- error.c -------------------------------------------------------------------------------------------------------------- */

struct action_error {
	const char *kind;
	struct err err; /* its sqlstate is shown if the kind is of SQL */
	int status;     /* -1: none */
	struct slice output;
};
void error_open(lua_State *L);
int error_push(lua_State *L, const struct action_error *e); /* nil and the error: 2 */
int error_make(lua_State *L);                               /* { kind =, message = } -> an error */
/* Whatever was returned or raised as one, at INDEX; a copy of its output is added to RUN's. */
struct hook_run;
void error_read(lua_State *L, int index, struct hook_run *run, struct err *err);

/* ---- set.c ------------------------------------------------------------------------------------------------------------------ */

struct ticker;
struct hook_vm {
	unsigned refs;
	struct policy_vm *vm;
	struct hooks *hooks; /* NULL: not in force yet */
	char *cluster;
	size_t at, n_runs;
	/* The configuration that it was made for: its objects are indices into that. */
	size_t n_clusters;
	struct shape {
		char *name;
		size_t n_nodes;
		char **nodes, **hosts;
		uint16_t *ports;
	} * shapes;
	const struct topo *seen; /* the last that was looked at, */
	struct topo *own;        /* and what it is in our order; NULL: it is that already */
	uint64_t seen_generation;
	struct pulse *none; /* of nodes that are gone */
	struct dlist tickers;
};
struct hook_set {
	size_t n;
	struct hook_vm **vms;
};
struct hook_vm *hook_vm_of(const struct hooks *h, const char *cluster);  /* in force; NULL: none */
bool hook_vm_has(struct hook_vm *v, const char *part, const char *name); /* PART NULL: a hook */
void hook_vm_push(lua_State *L, const char *part, const char *name);     /* raises an error if it is gone */
struct hook_vm *hook_vm_ref(struct hook_vm *v);
void hook_vm_unref(struct hook_vm *v);
void hook_vm_look(struct hook_vm *v, const struct topo *latest); /* what its objects show from now on; NULL: nothing */
int hook_vm_node(const struct hook_vm *v, const char *name);     /* -1: it has none of that name */
/* Of the latest configuration; NULL: gone, or another server.  OF: its cluster. */
const struct conf_node *hook_vm_conf_node(const struct hook_vm *v, int node_at, const struct conf_cluster **of);

/* Of the latest topology; NULL: gone, or another server. */
const struct topo_node *hook_vm_topo_node(const struct hook_vm *v, size_t cluster_at, int node_at);

/* ---- history.c -------------------------------------------------------------------------------------------------------------- */

struct past_run {
	struct dlist link;
	struct hook_row row;
	uint64_t began_us;
	char *cluster, *name;
};
struct history {
	pthread_mutex_t lock;
	struct dlist all; /* the newest first */
	unsigned n_over;
	uint64_t last_id;
};
void history_init(struct history *hs);
void history_fini(struct history *hs);
struct past_run *history_begin(struct history *hs, const char *cluster, const char *kind, const char *name);
void history_waits(struct history *hs, struct past_run *r, const char *what);
void history_line(struct history *hs, struct past_run *r, struct slice line);
void history_end(struct history *hs, struct past_run *r, enum hook_state state, const char *error);

/* ---- metrics.c -------------------------------------------------------------------------------------------------------------- */

struct metrics {
	pthread_mutex_t lock;
	size_t n;
	struct hook_metric *at; /* in their order */
};
void metrics_init(struct metrics *ms);
void metrics_fini(struct metrics *ms);
bool metrics_set(struct metrics *ms, const char *cluster, const char *name, double value); /* false: there are too many */

/* ---- sways.c   -------------------------------------------------------------------------------------------------------------- */

enum sway_kind { SWAY_HOLD, SWAY_DRAIN };
/* Holds from now on; 0 with ERR: it cannot be, or is not there any more.  NODE_ID: of a drain.  FOR_US: no longer than that; 0: to the run's end. */
uint64_t sway_begin(struct hook_run *run, enum sway_kind kind, const char *cluster, uint32_t node_id, uint64_t for_us,
                    struct err *err) MUST_CHECK;
bool sway_end(struct hook_run *run, uint64_t id); /* false: it has ended already */
void sway_end_drains(struct hooks *h, uint32_t node_id);
void sways_end(struct hook_run *run); /* all of it */

/* ---- fiber.c ---------------------------------------------------------------------------------------------------------------- */

struct hooks {
	struct hooks_env env;
	bool is_shut;
	struct leftovers *left; /* NULL in a simulation */
	struct children children;
	struct history history;
	struct dlist runs;
	struct hook_set *set;
	struct fiber *running; /* whose slice this is; NULL: none, and no action can be asked */
	struct sights *sights; /* hooks.c: what was known of nodes */
	struct http *http;     /* NULL: nobody has asked yet */
	struct dlist sways;
	uint64_t last_sway;
	struct metrics metrics;
};

struct fiber;
struct group;
/* What a fiber waits for.  CANCEL: nobody wants it any more; it is freed by that. */
struct wait {
	void (*cancel)(struct wait *w);
	char what[100]; /* for people: "exec pg_rewind" */
};
struct fiber {
	struct dlist link; /* of its run */
	struct hook_run *run;
	lua_State *L;
	int ref;
	struct wait *wait;   /* NULL: it has not begun, or this is its slice */
	struct group *group; /* that it belongs to; NULL: the run's first */
	int at;
};
/* The function on top of L, below N_ARGS arguments, becomes a fiber that has not begun.  Raises errors. */
struct fiber *fiber_new(lua_State *L, struct hook_run *run, int n_args);
void fiber_go_on(struct fiber *f, int n_args);
void fiber_kill(struct fiber *f); /* and whatever it waits for */
/* In an action: whose it is; raises an error where none may wait. */
struct fiber *fiber_check(lua_State *L);
int fiber_wait(lua_State *L, struct fiber *f, struct wait *w); /* to be returned */
/* W is over: PUSH(L, ARG) pushes what the action returns, and says how much that is.  F may be gone afterwards. */
void fiber_wake(struct fiber *f, int (*push)(lua_State *L, void *arg), void *arg);
int group_begin(lua_State *L);    /* native.parallel(items, fn, limit, fast) */
int group_deadline(lua_State *L); /* native.deadline(seconds, fn) */
int ref_take(lua_State *L);       /* of the value on top, which it pops; raises errors */
void ref_push(lua_State *L, int ref);
void ref_drop(struct hook_vm *v, int ref);

/* ---- run.c ------------------------------------------------------------------------------------------------------------------ */

enum run_kind { RUN_TASK, RUN_EVENT, RUN_TIMER, RUN_HOOK };
struct hook_run {
	struct dlist link;
	struct hooks *hooks;
	struct hook_vm *vm;
	struct past_run *past;
	enum run_kind kind;
	struct dlist fibers;
	struct fiber *first;
	bool is_ending; /* what it has deferred is under way */
	enum hook_state state;
	struct err err;
	int defers[20];
	unsigned n_defers;
	struct loop_timer deadline;
	struct loop_defer begin;
	struct loop_timer turn; /* until others have left its node */
	size_t output_len;
	bool is_cut;
	char *output;
	hook_done_fn fn;
	void *arg;
	uint64_t operation; /* 0: none */
	char *node;         /* of a hook: at which; NULL: none */
	size_t n_steps;
	char **steps; /* names that it has used */
};
struct run_spec {
	enum run_kind kind;
	const char *name;
	uint64_t timeout_us; /* 0: none */
	/* Pushes the function and its arguments; how many of these.  Raises errors. */
	int (*push)(lua_State *L, void *arg);
	void *push_arg;
	hook_done_fn fn;
	void *arg;
	uint64_t operation; /* of a hook; else 0 */
	const char *node;   /* … at which; else NULL */
};
/* Begins at the end of the loop's turn; one at a node when no other's command works there any more.  NULL with ERR. */
struct hook_run *run_begin(struct hooks *h, struct hook_vm *v, const struct run_spec *spec, struct err *err) MUST_CHECK;
struct leftover_of;
bool run_is_at(const struct hook_run *r, struct leftover_of *of); /* it works at a node */
void run_say(struct hook_run *r, struct slice text);              /* into its output */
void run_stop(struct hook_run *r, enum hook_state state, const struct err *err);
void run_drop(struct hook_run *r);                   /* at once, without a word */
void run_fiber_ended(struct fiber *f, bool is_good); /* its first, or a deferred one; the values are on its stack */

/* ---- actions ---------------------------------------------------------------------------------------------------------------- */

void actions_open(lua_State *L); /* with the module on top */
double check_seconds(lua_State *L, int arg, double most);
/* From a table of options at TABLE: raise errors. */
void check_options(lua_State *L, int table, const char *const *known); /* NULL behind the last */
double number_option(lua_State *L, int table, const char *name, double otherwise, double least, double most);
const char *text_option(lua_State *L, int table, const char *name, size_t *len); /* leaves it on the stack; NULL: not there */
int act_exec(lua_State *L);
int act_sql(lua_State *L);
int act_http(lua_State *L);
int act_detach(lua_State *L);
int act_attach(lua_State *L);
int act_drain(lua_State *L);
int act_hold(lua_State *L); /* native.hold(cluster) -> number */
int act_release(lua_State *L);
#define STEP_KEY_MAX 256u
int act_known_step(lua_State *L);  /* native.known_step(name) -> it is new here, it is kept, what it came to */
int act_finish_step(lua_State *L); /* native.finish_step(name, value) */
void steps_free(struct hook_run *r);
int act_hang(lua_State *L); /* for ever */
int act_fail(lua_State *L); /* nil, and why */
struct http;
void http_free(struct http *h); /* NULL is fine; nobody waits for it any more */

#endif
