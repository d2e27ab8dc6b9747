/*
 * set — the policies that are in force: for each cluster that names one, the source as it was read, and a VM for each worker.
 *
 * The control thread makes a whole set or none; it is put in force together with the topology that was built for the same
 * configuration, so that all workers change at one barrier, and freed when every worker has left that topology behind.
 */
#ifndef POLICY_SET_H
#define POLICY_SET_H

#include "base/err.h"
#include "conf/conf.h"
#include "policy/policy.h"

struct policy_kv;
struct policy_set;

/* Control thread.  Reads the files, runs each, its selftest too, for every worker.  NULL with ERR, which begins with file:line: nothing
 * has changed.  CONF is borrowed for the call only; KV outlives the set; GENERATION is never given twice. */
struct policy_set *policy_set_load(const struct conf *conf, unsigned n_workers, struct policy_kv *kv, uint64_t generation,
                                   struct err *err) MUST_CHECK;
/* No worker calls its VMs any more.  NULL is fine. */
void policy_set_free(struct policy_set *set);
/* WHAT goes with the set, and is freed with it by FN unless somebody takes it. */
void policy_set_keep(struct policy_set *set, void *what, void (*fn)(void *what));
void *policy_set_take(struct policy_set *set); /* NULL: nothing, or it was taken */
/* False: the same policies for the same clusters, from files with the same contents.  Calls FN (which may be NULL) for each cluster whose policy
 * has the same name in both, but not the same contents. */
bool policy_set_differs(const struct policy_set *a, const struct policy_set *b, void (*fn)(void *arg, const char *cluster),
                        void *arg);
/* That worker's; NULL: the cluster has no policy, or SET is NULL. */
struct policy_vm *policy_set_vm(const struct policy_set *set, unsigned worker, size_t cluster_at);

enum policy_breaker { POLICY_BREAKER_CLOSED, POLICY_BREAKER_OPEN };
/* For SHOW POLICY: any thread that holds the set. */
struct policy_status {
	const char *cluster, *file;
	uint64_t generation;
	int64_t loaded_at; /* seconds since 1970 */
	uint64_t calls, errors;
	uint64_t call_ns; /* what a call took, on average, of those that were measured: one of 64 */
	enum policy_breaker breaker;
	uint64_t bytes;       /* memory of all workers' VMs */
	char last_error[300]; /* with file:line; "": none */
	char refused[300];    /* why the last reload was refused, which would have put others in force; "": it was not */
};
void policy_set_each(const struct policy_set *set, void (*fn)(void *arg, const struct policy_status *s), void *arg);
/* Control thread: a reload was refused, which leaves SET in force; with WHY "" none is, any more.  NULL is fine. */
void policy_set_note_refusal(struct policy_set *set, const char *why);
/* Control thread: those that are left alone for their errors are asked again at once.  NULL is fine. */
void policy_set_forgive(const struct policy_set *set);
/* What scripts see as the time, in seconds since 1970; 0: the real one.  For tests. */
void policy_set_clock(struct policy_set *set, int64_t seconds);

#endif
