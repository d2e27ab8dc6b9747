/*
 * hooks — the control plane's half of policies: what operators run, what happens after events and from time to time.
 *
 * Everything that a policy does here is a run: a coroutine on the control thread's loop, that waits for programs, servers and time, and is
 * stopped at its deadline.  A run goes on with the policy that it began with, however often policies are loaded meanwhile.
 */
#ifndef HOOKS_HOOKS_H
#define HOOKS_HOOKS_H

#include "base/err.h"
#include "conf/conf.h"
#include "net/mailbox.h"
#include "net/resolve.h"
#include "policy/set.h"
#include "tbl/policy.h"
#include "topo/topo.h"

struct hooks;
/* What is done to clusters and nodes by layers above; published when these return.  False with ERR: it cannot be. */
enum hook_order { HOOK_ATTACH, HOOK_DETACH };
enum hook_ordered { HOOK_ORDER_REFUSED, HOOK_ORDER_IS_SO, HOOK_ORDER_GIVEN };
enum hook_answer { HOOK_ORDER_WAITS, HOOK_ORDER_DONE, HOOK_ORDER_FAILED };
struct hooks_powers {
	void *arg;
	bool (*hold)(void *arg, const char *cluster, bool is_held, struct err *err);
	bool (*drain)(void *arg, uint32_t node_id, bool is_drained, struct err *err);
	unsigned (*busy)(void *arg, uint32_t node_id); /* connections that clients use or wait for */
	/* REFUSED with ERR, 55006: not now.  IS_SO: it is that already.  GIVEN: what becomes of it, answer() says of ID. */
	enum hook_ordered (*order)(void *arg, const char *cluster, enum hook_order what, const char *node, const char *by,
	                           uint64_t *id, struct err *err);
	enum hook_answer (*answer)(void *arg, const char *cluster, uint64_t id, struct err *err);
	/* What was recorded of a step of an operation under way, until that changes; NULL: nothing yet. */
	const char *(*step)(void *arg, const char *cluster, uint64_t operation, const char *key);
	/* It shall be: step() says when it is.  False with ERR: 55006, not now, or it cannot be. */
	bool (*finish_step)(void *arg, const char *cluster, uint64_t operation, const char *key, const char *value, struct err *err);
};
struct hooks_env {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	const struct hooks_powers *powers; /* outlive the hooks; NULL: none, and what needs them fails */
	const struct hooks_stage *stage;   /* of a simulation (hooks/stage.h); NULL: programs are programs */
	const char *state_dir;             /* "": none */
};
struct hooks *hooks_new(const struct hooks_env *env);
void hooks_resign(struct hooks *h); /* a successor goes on with what operations have begun */
/* Nothing runs any more, and nobody is told; programs that run are killed. */
void hooks_shut(struct hooks *h);
void hooks_free(struct hooks *h); /* shut before; when nobody looks (hooks_each) */

/* ---- policies: made with their policy_set, put in force with it */

struct hook_set;
/* A VM for each cluster, with what POLICIES has read.  NULL with ERR, which begins with file:line. */
struct hook_set *hook_set_load(const struct conf *conf, const struct policy_set *policies, struct policy_kv *kv,
                               struct err *err) MUST_CHECK;
void hook_set_free(struct hook_set *set);
/* SET, which it takes over, holds for whatever begins from now on; its timers begin, those before end. */
void hooks_apply(struct hooks *h, struct hook_set *set);
void hooks_on_publish(struct hooks *h); /* a topology was published: is that an event? */
/* What a topology does not show.  NAME: one of POLICY_EVENTS; the others NULL or 0: the event has no such field. */
struct hook_event {
	const char *name, *node, *old;
	uint64_t id;
	const char *kind, *outcome, *reason;
};
void hooks_happened(struct hooks *h, const char *cluster, const struct hook_event *e);

/* ---- runs */

/* OUTPUT: what it has logged and what failed commands wrote, lines, bounded.  ERR: NULL, it went well. */
typedef void (*hook_done_fn)(void *arg, const char *output, const struct err *err);
struct hook_arg {
	const char *name, *value; /* value NULL: true */
};
struct hook_task {
	const char *name;
	const char *cluster; /* NULL: the only one whose policy has such a task */
	size_t n_args;
	const struct hook_arg *args;
};
struct hook_run;
/* FN comes from the loop, once; not after hooks_forget().  NULL with ERR: there is no such task. */
struct hook_run *hooks_run_task(struct hooks *h, const struct hook_task *task, hook_done_fn fn, void *arg,
                                struct err *err) MUST_CHECK;
void hooks_forget(struct hook_run *r);                   /* FN will not come; the run goes on */
void hooks_stop_run(struct hook_run *r, const char *by); /* FN comes, maybe inside */
/* FN will not come, and the run is stopped. */
void hooks_abandon(struct hook_run *r);
/* By its number in SHOW TASKS: what it waits for is stopped, what it has deferred is done.  False: no such run is under way. */
bool hooks_stop(struct hooks *h, uint64_t id, const char *by) MUST_CHECK;

/* ---- what operations ask of a policy */

#define HOOK_OF(name, ...) HOOK_##name,
enum hook_name { POLICY_CONTROL_HOOKS(HOOK_OF) HOOK_NAMES };
bool hooks_has(const struct hooks *h, const char *cluster, enum hook_name hook); /* the policy in force defines it */
struct hook_operation {
	uint64_t id, epoch;
	const char *kind;
	unsigned attempt;
	const char *old_primary; /* "": none */
	const char *evidence;
};
/* An action; PRIMARY may be NULL.  It has gone well when it has returned true, and nothing else.  As hooks_run_task(). */
struct hook_run *hooks_run(struct hooks *h, const char *cluster, enum hook_name hook, const struct hook_operation *op,
                           const char *node, const char *primary, uint64_t timeout_us, hook_done_fn fn, void *arg,
                           struct err *err) MUST_CHECK;

#define HOOK_NODES_MAX POLICY_NODES_MAX
struct hook_candidate {
	const char *name;
	const char *refused; /* why it may not; NULL: it may.  Those who may stand in their order */
};
struct hook_choice {
	bool is_nobody;               /* nobody shall be, and why */
	size_t n;                     /* 0, and not nobody: the order as it is */
	size_t order[HOOK_NODES_MAX]; /* indices of candidates that may */
	char why[200];                /* … or what was wrong with the answer */
};
/* The decision failover(), which takes 50 ms at most. */
void hooks_choose(struct hooks *h, const char *cluster, const char *old_primary, const char *evidence,
                  const struct hook_candidate *candidates, size_t n, struct hook_choice *out);

/* The decision returning(), bounded in the same way. */
enum hook_word { HOOK_SAYS_QUARANTINE, HOOK_SAYS_REJOIN, HOOK_SAYS_ATTACH };
struct hook_return {
	const char *node, *state, *reason;
	uint64_t timeline; /* 0: not known */
	unsigned tries;
};
enum hook_word hooks_ask_of(struct hooks *h, const char *cluster, const struct hook_return *it);

enum hook_state { HOOK_RUNNING, HOOK_DONE, HOOK_FAILED, HOOK_STOPPED };
struct hook_row {
	uint64_t id;
	const char *cluster, *kind, *name;
	enum hook_state state;
	int64_t began_at; /* seconds since 1970 */
	uint64_t took_us; /* until now */
	char waits_for[100], last_line[200], error[300];
};
struct hook_metric {
	const char *cluster, *name;
	double value;
	int64_t set_at; /* seconds since 1970 */
};
/* Any thread: what policies have measured, by cluster and name. */
void hooks_each_metric(struct hooks *h, void (*fn)(void *arg, const struct hook_metric *m), void *arg);
/* Any thread: what runs, and the last hundred that have; the newest first. */
void hooks_each(struct hooks *h, void (*fn)(void *arg, const struct hook_row *row), void *arg);

#endif
