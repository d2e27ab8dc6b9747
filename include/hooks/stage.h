/*
 * stage — where a simulation plays what hooks do outside: programs end when it says so, and a hook may fail or hang before its first line.
 *
 * Statements (lp.sql) are asked of upstream/world.h, like all others, and time is the loop's.
 */
#ifndef HOOKS_STAGE_H
#define HOOKS_STAGE_H

struct child;
enum hook_fate { HOOK_RUNS, HOOK_FAILS, HOOK_HANGS };
struct hooks_stage {
	void *arg;
	/* A program begins -> child_ends(); ARGV is borrowed for the call. */
	void (*exec)(void *arg, struct child *c, const char *const *argv);
	void (*stop)(void *arg, struct child *c); /* it is killed: it does nothing more, and does not end */
	enum hook_fate (*begins)(void *arg, const char *hook, const char *node);
};
void child_ends(struct child *c, int status, const char *output);

#endif
