/*
 * guard — who may become primary, and why the others may not.  Pure: the rules that no policy may loosen.
 *
 * A candidate is of this cluster (I9), in recovery, on the recorded timeline (I7), not kept away (I8), holds all that a synchronous standby may have
 * acknowledged (I4), and lacks no more than max_loss of what is known to have been written (I5).
 */
#ifndef HA_GUARD_H
#define HA_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ha/record.h"

/* A node, as it answered when nobody received anything from the old primary any more. */
struct guard_node {
	const char *name;
	const char *alias; /* what it calls itself at its primary; "" is not known */
	bool has_answered, in_recovery;
	bool was_tried;     /* in vain: that is why it is in quarantine; what it has counts all the same */
	bool is_delayed;    /* it replays late on purpose, so that what was done by mistake is not done there yet */
	uint64_t system_id; /* 0: not visible */
	uint64_t timeline;  /* 0: not known */
	uint64_t received;  /* how far: what it has replayed, or more */
	int64_t priority;   /* the higher the better; 0: never */
};
struct guard_view {
	const struct record *record;
	size_t n_nodes;
	const struct guard_node *nodes;
	uint64_t written, written_age_us; /* the old primary's end of WAL, as it said last, and how long ago; 0: not known */
	uint64_t written_per_s;
	uint64_t max_loss; /* 0: no limit */
	/* NULL, or whom an administrator has named, whatever is lost: what was acknowledged does not count, nor does a delay. */
	const char *forgiven;
};
struct guard_verdict {
	bool may;
	int source;               /* who has all that it lacks, if it may not for lack of that only; -1 */
	char why[RECORD_WHY_MAX]; /* not; or what it lacks */
};
/* One verdict for each node; returns how many may, and in ORDER their indices, the best first. */
size_t guard_judge(const struct guard_view *view, struct guard_verdict *verdicts, size_t *order);

/* synchronous_standby_names: of N names K must acknowledge each commit.  N 0: nobody must. */
struct guard_sync {
	bool is_any; /* of those who are connected: "*" */
	unsigned k, n;
	char names[RECORD_NODES_MAX][64];
};
bool guard_read_sync(const char *text, struct guard_sync *out) MUST_CHECK; /* false: it cannot be read, so that nobody can tell */

#endif
