/*
 * fetch — who may not become primary since another standby has more, and that one cannot, gets it from there.
 *
 * With "ANY 1 (a, b)" either may have what was acknowledged.  If that is the one that is never chosen, or whose promotion fails, nobody may take the
 * primary's place as things are; but what a standby has received it hands on (PostgreSQL, "Cascading Replication").
 *
 * Always: who is told to receive is promoted only when it is seen to have everything.
 */
#include "opspriv.h"

#include "base/clock.h"

#define AGAIN_US (1 * US_PER_S)

static void tell(struct ops *o, const char *node, const char *source)
{
	struct act *a = op_act_of(o, node);
	if (a->state == ACT_RUNS || (a->tries && op_now(o) - a->ended_us < AGAIN_US))
		return;
	op_start_act(o, a, OPS_ACT_FETCH, source, op_follow_us(o));
}

bool op_fetch(struct ops *o, const struct ops_picture *p, const struct guard_verdict *verdicts)
{
	const char *to = NULL, *from = NULL;
	for (size_t i = 0; i < p->n_nodes; i++) {
		if (verdicts[i].source < 0)
			continue;
		to = p->nodes[i].guard.name;
		from = p->nodes[verdicts[i].source].guard.name;
		tell(o, to, from);
	}
	if (to)
		op_stay(o, "%s gets from %s what may have been acknowledged there", to, from);
	return to != NULL;
}
