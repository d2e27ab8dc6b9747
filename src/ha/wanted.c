/*
 * wanted — what people want done with a cluster: one at a time, refused with the reason or recorded, and answered when it is done.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

static void apply_order(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	snprintf(why, sizeof why, "by order of %s", o->order.by);
	op_draft(o);
	switch (o->order.what) {
	case OPS_ORDER_SWITCHOVER:
		record_open(&o->next, OPERATION_SWITCHOVER, o->record.primary, why, o->env.wall_s(o->env.arg));
		o->next.op.step = STEP_DRAIN;
		snprintf(o->next.op.target, sizeof o->next.op.target, "%s", o->order.node);
		break;
	case OPS_ORDER_DETACH:
		record_flag(&o->next, o->order.node, RECORD_DETACHED, 0, why);
		break;
	case OPS_ORDER_ATTACH:
		record_flag(&o->next, o->order.node, 0, RECORD_DETACHED, "");
		break;
	case OPS_ORDER_PAUSE:
	case OPS_ORDER_RESUME:
		o->next.is_paused = o->order.what == OPS_ORDER_PAUSE;
		break;
	}
}

bool op_tend_order(struct ops *o)
{
	if (!o->order.id || o->order.answer != OPS_WAITS)
		return false;
	apply_order(o);
	o->order.is_proposed = true;
	op_propose(o, o->order.what == OPS_ORDER_SWITCHOVER ? STEP_DRAIN : STEP_NONE);
	return true;
}

/* It waits for an operation that has just begun. */
void op_refuse_order(struct ops *o)
{
	bool is_its = o->order.what == OPS_ORDER_SWITCHOVER && o->record.op.kind == OPERATION_SWITCHOVER;
	if (!o->order.id || o->order.answer != OPS_WAITS || is_its)
		return;
	o->order.answer = OPS_FAILED;
	err_set(&o->order.err, "55006", "operation %llu is under way", (unsigned long long)o->record.op.id);
}

/* The operation that was ordered has ended. */
void op_answer_switchover(struct ops *o, const struct record_operation *op)
{
	if (o->order.what != OPS_ORDER_SWITCHOVER || !o->order.id || o->order.answer != OPS_WAITS)
		return;
	o->order.answer = op->end == END_DONE ? OPS_DONE : OPS_FAILED;
	err_set(&o->order.err, "55000", "the switchover was given up: %.200s", op->why);
}

void op_end_order(struct ops *o, enum record_fate fate, const struct err *err)
{
	if (!o->order.is_proposed)
		return;
	o->order.is_proposed = false;
	if (fate == RECORD_COMMITTED && o->order.what == OPS_ORDER_SWITCHOVER)
		return; /* answered when it has ended */
	o->order.answer = fate == RECORD_COMMITTED ? OPS_DONE : OPS_FAILED;
	if (err)
		o->order.err = *err;
}

static bool may_detach(const struct ops *o, const char *node, struct err *err)
{
	if (strcmp(node, o->record.primary) == 0)
		return err_set(err, "55000", "\"%s\" is the primary", node);
	const struct record_node *said = record_node(&o->record, node);
	if (said && said->flags & RECORD_DETACHED)
		return err_set(err, "55000", "\"%s\" is detached already", node);
	return true;
}

static bool may_attach(const struct ops *o, const char *node, struct err *err)
{
	const struct record_node *said = record_node(&o->record, node);
	if (said && said->flags & RECORD_DETACHED)
		return true;
	return err_set(err, "55000",
	               said && said->flags ? "\"%s\" is in quarantine until it follows the primary" : "\"%s\" is not detached", node);
}

static bool may_order(const struct ops *o, enum ops_order what, const char *node, struct err *err)
{
	if (o->record.op.id)
		return err_set(err, "55006", "operation %llu is under way", (unsigned long long)o->record.op.id);
	if (o->order.id && o->order.answer == OPS_WAITS)
		return err_set(err, "55006", "another order is being recorded");
	if (what == OPS_ORDER_SWITCHOVER)
		return !o->record.is_paused || err_set(err, "55000", "maintenance is on");
	if (what == OPS_ORDER_DETACH)
		return may_detach(o, node, err);
	if (what == OPS_ORDER_ATTACH)
		return may_attach(o, node, err);
	if (o->record.is_paused == (what == OPS_ORDER_PAUSE))
		return err_set(err, "55000", o->record.is_paused ? "maintenance is on already" : "maintenance is not on");
	return true;
}

uint64_t ops_order(struct ops *o, enum ops_order what, const char *node, const char *by, struct err *err)
{
	uint64_t id = o->order.id + 1;
	char candidate[RECORD_NAME_MAX];
	if (!may_order(o, what, node, err))
		return 0;
	if (what == OPS_ORDER_SWITCHOVER && !op_may_switch(o, node, candidate, sizeof candidate, err))
		return 0;
	node = what == OPS_ORDER_SWITCHOVER ? candidate : node;
	o->order.id = id;
	o->order.what = what;
	o->order.answer = OPS_WAITS;
	snprintf(o->order.node, sizeof o->order.node, "%s", node);
	snprintf(o->order.by, sizeof o->order.by, "%s", by);
	ops_go_on(o);
	return id;
}

enum ops_answer ops_answer(const struct ops *o, uint64_t order, struct err *err)
{
	if (order != o->order.id)
		return OPS_DONE;
	if (o->order.answer == OPS_FAILED)
		*err = o->order.err;
	return o->order.answer;
}
