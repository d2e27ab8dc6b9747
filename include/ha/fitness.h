/*
 * fitness — whether a standby takes reads, from what it said last and how far it is behind.  Pure.
 *
 * It leaves at once for any reason, and comes back when nothing has spoken against it for GOOD probes in a row, its lag below half of what is
 * allowed.  What sends it away again and again keeps it away longer each time.
 */
#ifndef HA_FITNESS_H
#define HA_FITNESS_H

#include "ha/lag.h"
#include "ha/sample.h"

struct fitness_limits {
	uint64_t max_lag, max_lag_us; /* 0: none */
};
struct fitness_view {
	bool is_alive;               /* it has answered the last probe, and in time */
	bool is_refused;             /* … but it did say something */
	bool is_cut;                 /* nobody may have a connection to it */
	bool is_drained;             /* a policy keeps statements away from it */
	bool is_foreign;             /* of another cluster */
	bool is_stray;               /* on another timeline than the primary */
	bool has_moved;              /* the cluster has had several timelines since we began */
	const struct sample *sample; /* its last answer; read only if it is alive */
	struct lag lag;
	uint64_t ejections; /* times that a connection to it has failed so far */
};
struct fitness {
	const char *why; /* static text; NULL: fit */
	uint64_t since_us, ejections, ejected_us, stay_out_us;
	unsigned good, strikes;
	bool was_asked, must_warm_up;
};
/* Takes VIEW in and decides: f->why; f->must_warm_up: it was out for long and is back with this. */
void fitness_judge(struct fitness *f, const struct fitness_view *view, const struct fitness_limits *limits, uint64_t now_us);

#endif
