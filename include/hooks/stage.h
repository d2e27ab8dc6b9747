/*
 * stage — where a simulation plays what hooks do outside: programs end when it says so, requests are answered by it, and a hook may fail or hang before
 * its first line.
 *
 * Statements (lp.sql) are asked of upstream/world.h, like all others, and time is the loop's.
 */
#ifndef HOOKS_STAGE_H
#define HOOKS_STAGE_H

#include <stddef.h>
#include <stdint.h>

struct child;
struct stage_request {
	const char *method, *url;
	const char *body; /* NULL: none */
	size_t body_len;
};
struct stage_reply {
	long status;      /* 0: there is no answer, because of WHY */
	const char *body; /* until the next call */
	size_t body_len;
	char why[200];
};
enum hook_fate { HOOK_RUNS, HOOK_FAILS, HOOK_HANGS };
struct hooks_stage {
	void *arg;
	/* A program begins -> child_ends(); ARGV is borrowed for the call. */
	void (*exec)(void *arg, struct child *c, const char *const *argv);
	void (*stop)(void *arg, struct child *c); /* it is killed: it does nothing more, and does not end */
	/* Whoever answers takes so many µs for it. */
	uint64_t (*request)(void *arg, const struct stage_request *q, struct stage_reply *out);
	enum hook_fate (*begins)(void *arg, const char *hook, const char *node);
};
void child_ends(struct child *c, int status, const char *output);

#endif
