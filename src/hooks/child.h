/*
 * child — programs that we start: output that is bounded, an end that is noticed, a deadline that is kept.
 */
#ifndef HOOKS_CHILD_H
#define HOOKS_CHILD_H

#include <stdint.h>

#include "base/dlist.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"

#define CHILD_GRACE_US (2 * US_PER_S) /* from SIGTERM to SIGKILL, and from there to giving up */

struct child_spec {
	const char *const *argv; /* the first is a path, or a name that is looked for in PATH */
	const char *const *env;  /* NAME=value; beside child_environment() */
	const char *cwd;         /* NULL: ours */
	struct slice input;      /* what it may read; then, as without, the end */
	uint64_t timeout_us;
	size_t output_max;
	const struct leftover_of *of; /* NULL: it works at no node */
};
struct child_end {
	/* STUCK: SIGKILL did not end it either; it is waited for, but not by whoever asked. */
	enum child_how { CHILD_EXITED, CHILD_KILLED, CHILD_TIMED_OUT, CHILD_STUCK } how;
	int status; /* EXITED: its exit status; KILLED: the signal */
	struct slice output;
};
typedef void (*child_fn)(void *arg, const struct child_end *end);

struct hooks_stage;
struct leftover_of;
struct leftovers;
struct children {
	struct loop *loop;
	const struct hooks_stage *stage; /* who plays the programs of a simulation; NULL: they are real */
	struct leftovers *left;
	struct dlist all;
};
struct child;
/* LEFT: what works at nodes; it outlives them. */
void children_init(struct children *cs, struct loop *loop, const struct hooks_stage *stage, struct leftovers *left);
void children_fini(struct children *cs); /* all are killed; nobody is told */
/* FN comes from the loop, once.  NULL with ERR: it could not be started. */
struct child *child_start(struct children *cs, const struct child_spec *spec, child_fn fn, void *arg, struct err *err) MUST_CHECK;
/* FN will not come: the child gets SIGTERM, later SIGKILL, and is forgotten by itself. */
void child_forget(struct child *c);

#endif
