/*
 * policies — the Lua policies in force, those that readers may still use, and what all of them remember.
 *
 * Control thread only.  A set is put in force by hanging it into a topology (struct topo's policies); it is freed when no worker can see
 * such a topology any more.
 */
#ifndef APP_POLICIES_H
#define APP_POLICIES_H

#include "hooks/hooks.h"
#include "policy/set.h"

struct policies;
struct policies *policies_new(unsigned n_workers);
void policies_free(struct policies *p); /* after the workers have ended */
/* The policies of CONF, which nobody uses yet: the caller's, to put in force or to drop.  NULL with ERR, which begins with file:line. */
struct policy_set *policies_plan(struct policies *p, const struct conf *conf, struct err *err) MUST_CHECK;
/* Whether SET is something else than what is in force; calls FN (which may be NULL) for each cluster that keeps its policy but in other words. */
bool policies_differ(const struct policies *p, const struct policy_set *set, void (*fn)(void *arg, const char *cluster),
                     void *arg);
/* Takes SET over: from now on it is in force, for the topology that is to be published next. */
const struct policy_set *policies_apply(struct policies *p, struct policy_set *set);
/* A reload was refused, which SHOW POLICY tells beside what stays in force; "": the last one was not. */
void policies_note_refusal(struct policies *p, const char *why);
void policies_forgive(struct policies *p); /* those in force are asked again, whatever they did */
/* The control plane's half of what is in force, to be put in force, too: the caller's.  NULL: nobody has changed it since. */
struct hook_set *policies_take_hooks(struct policies *p);
/* Every worker has the latest topology: what was in force before goes. */
void policies_collect(struct policies *p);

#endif
