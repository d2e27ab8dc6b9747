/*
 * switchover — the steps that an ordered change of primary has before the promotion: nothing is lost, and until then nothing has happened
 * but a checkpoint.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define CHECKPOINT_US (300 * US_PER_S)
#define DRAIN_US (2 * US_PER_MS) /* between looks at who is still in a transaction */

bool op_will_stop(const struct ops *o)
{
	return o->env.can && o->env.can(o->env.arg, OPS_ACT_FENCE);
}

/* A server writes all that is dirty before it stops, and everybody would wait for that: most of it is written before anybody does. */
bool step_prepare(struct ops *o)
{
	struct act *a = op_act_of(o, o->record.op.source);
	if (op_picture(o)->is_lost)
		return op_give_up(o, "the primary was lost");
	if (a->state == ACT_NONE)
		op_start_act(o, a, OPS_ACT_CHECKPOINT, "", CHECKPOINT_US);
	if (a->state == ACT_RUNS)
		return false;
	a->state = ACT_NONE; /* what came of it does not matter */
	o->is_routed = false;
	op_enter(o, STEP_DRAIN);
	o->env.route(o->env.arg);
	return true;
}

/* New transactions wait; those that run end, or it is given up: nothing has happened yet.  Those who only listen there hear to the last what is notified;
 * what they have to say waits, too.  When nobody else is there they leave, and when they have left the node is cut off.  By FORCE those lose their connection who
 * keep something there that is nowhere else, and after a time whoever is left. */
static bool cut_off(struct ops *o, unsigned busy)
{
	if (busy)
		log_warn(NULL, "switchover_cuts", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
		         KV_INT("connections", busy), KV_STR("by", o->record.op.why));
	o->is_cutting = true;
	o->is_routed = false;
	op_enter(o, STEP_HOLD);
	o->env.route(o->env.arg);
	return true;
}

static bool let_part(struct ops *o)
{
	o->is_parting = true;
	o->is_routed = false;
	o->env.route(o->env.arg);
	return false;
}

bool step_drain(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	const char *source = o->record.op.source;
	if (o->is_resumed)
		return op_give_up(o, "Lunapool was started anew on the way");
	if (!o->is_routed)
		return false;
	bool is_forced = o->forced == o->record.op.id;
	unsigned busy = o->env.busy(o->env.arg, source);
	struct ops_rests rests = { 0 };
	if (busy && o->env.rests)
		rests = o->env.rests(o->env.arg, source);
	unsigned loses = is_forced ? rests.keep : 0;
	if (busy <= loses)
		return cut_off(o, busy);
	if (!o->is_parting && rests.hear && busy <= rests.hear + loses)
		return let_part(o);
	snprintf(why, sizeof why, "%u connections to \"%.80s\" are in use: transactions that run, or clients in SHOW PINS",
	         busy - (busy > rests.hear ? rests.hear : 0), source);
	if (op_now(o) - o->entered_us >= o->conf.switchover_timeout_us)
		return is_forced ? cut_off(o, busy) : op_give_up(o, why);
	o->env.alarm(o->env.arg, DRAIN_US);
	return false;
}

/* Nobody writes there through us any more: what was committed must get to its disk, so that it is sent. */
bool step_fence(struct ops *o)
{
	struct act *a = op_act_of(o, o->record.op.source);
	if (o->is_resumed)
		return op_give_up(o, "Lunapool was started anew on the way");
	if (a->state == ACT_NONE)
		op_start_act(o, a, OPS_ACT_SETTLE, "", o->conf.switchover_timeout_us);
	if (a->state == ACT_RUNS)
		return false;
	if (a->state == ACT_FAILED)
		return op_give_up(o, a->err.text);
	op_enter(o, STEP_CHOOSE);
	return true;
}

/* The candidate has all that the primary had when nobody wrote any more. */
bool step_catch_up(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	const struct ops_node *from = op_node(p, o->record.op.source), *to = op_node(p, o->record.op.target);
	if (!from || !to)
		return op_give_up(o, "one of both nodes is not configured any more");
	bool have_answered = op_answered_since(from, o->entered_us) && op_answered_since(to, o->entered_us);
	if (have_answered && !o->floor)
		o->floor = from->guard.received;
	if (have_answered && to->guard.in_recovery && to->guard.received >= o->floor)
		return op_target(o, to->guard.name, "it has everything");
	if (op_now(o) - o->entered_us >= o->conf.switchover_timeout_us)
		return op_give_up(o, "the candidate did not get what was written last in time");
	op_ask_again(o, LOOK_US);
	return false;
}

/* The candidate: NODE, or the best one; its name goes to OUT. */
bool op_may_switch(struct ops *o, const char *node, char *out, size_t room, struct err *err)
{
	const struct ops_picture *p = op_picture(o);
	const struct ops_node *primary = op_node(p, o->record.primary), *to = NULL;
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	if (!primary || !primary->guard.has_answered || primary->guard.in_recovery || p->is_lost)
		return err_set(err, "55000", "the primary does not answer: a switchover needs it");
	uint64_t entered = o->entered_us; /* of what is under way in the background */
	o->entered_us = 0;                /* what they have said so far counts */
	size_t n = op_judge(o, p, true, verdicts, order);
	o->entered_us = entered;
	for (size_t i = 0; i < n && !to; i++)
		to = !*node || strcmp(p->nodes[order[i]].guard.name, node) == 0 ? &p->nodes[order[i]] : NULL;
	for (size_t i = 0; i < p->n_nodes && !to; i++)
		if (strcmp(p->nodes[i].guard.name, node) == 0)
			return err_set(err, "55000", "\"%s\" cannot be primary: %.200s", node, verdicts[i].why);
	if (!to)
		return err_set(err, "55000", "no node can be primary in its place");
	if (!to->is_streaming)
		return err_set(err, "55000", "\"%s\" receives nothing from the primary", to->guard.name);
	snprintf(out, room, "%s", to->guard.name);
	return true;
}
