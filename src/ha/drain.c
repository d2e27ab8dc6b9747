/*
 * drain — a standby is taken out of use by order: nothing new begins there, what runs ends, and then it is detached.  In the background.
 *
 * Always: it is cut off only when everybody knew that it is drained, and nobody used it after that;  what gives up leaves it in use.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define DRAIN_US (10 * US_PER_MS) /* between looks at who still uses it */

void op_open_drain(struct ops *o, const char *node, uint64_t timeout_us, const char *why)
{
	o->drain_us = timeout_us ? timeout_us : o->conf.drain_timeout_us;
	op_open(o, OPERATION_DRAIN, o->record.primary, why);
	snprintf(o->next.op.target, sizeof o->next.op.target, "%s", node);
}

static bool detach(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	snprintf(why, sizeof why, "drained, %.180s", o->record.op.why);
	op_draft(o);
	record_flag(&o->next, o->record.op.target, RECORD_DETACHED, 0, why);
	record_close(&o->next, END_DONE, "", op_age_ms(o));
	return op_propose(o, STEP_NONE);
}

bool step_empty(struct ops *o)
{
	const char *target = o->record.op.target;
	const struct record_node *said = record_node(&o->record, target);
	char why[RECORD_WHY_MAX];
	if (said && said->flags & RECORD_DETACHED)
		return op_close(o, END_DONE, ""); /* by another order */
	if (!op_node(op_picture(o), target))
		return op_give_up(o, "it is not configured any more");
	if (o->is_resumed) { /* nobody was told yet */
		o->is_resumed = false;
		o->drain_us = o->conf.drain_timeout_us;
		o->env.route(o->env.arg);
	}
	if (!o->is_routed)
		return false;
	unsigned busy = o->env.busy(o->env.arg, target), wanted = o->env.wanted ? o->env.wanted(o->env.arg, target) : 0;
	if (busy + wanted == 0)
		return detach(o);
	snprintf(why, sizeof why, "%u connections to \"%.80s\" are in use: transactions that run, or clients in SHOW PINS", busy,
	         target);
	if (op_now(o) - o->entered_us >= o->drain_us)
		return op_give_up(o, why);
	o->env.alarm(o->env.arg, DRAIN_US);
	return false;
}
