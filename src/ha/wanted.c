/*
 * wanted — what people want done with a cluster: one at a time, refused with the reason or recorded, and answered when it is done.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

static bool is_failover(enum ops_order what)
{
	return what == OPS_ORDER_FAILOVER || what == OPS_ORDER_FAILOVER_WITH_LOSS;
}

static bool is_switchover(enum ops_order what)
{
	return what == OPS_ORDER_SWITCHOVER || what == OPS_ORDER_SWITCHOVER_FORCED;
}

/* Recorded, it is an operation, and its end is the answer. */
static bool is_operation(enum ops_order what)
{
	return is_switchover(what) || what == OPS_ORDER_REJOIN || what == OPS_ORDER_RECOVER || what == OPS_ORDER_DRAIN ||
	       is_failover(what);
}

/* What an order says of whom, and at what price; a node that is named has the price that was named with it. */
static void take_terms(struct record_operation *op, enum ops_order what, const char *node)
{
	bool with_loss = what == OPS_ORDER_FAILOVER_WITH_LOSS;
	op->allows_loss = with_loss || (!*node && op->allows_loss);
	if (!*node && !op_is_named(op))
		return;
	snprintf(op->target, sizeof op->target, "%s", node);
	op->attempt = 0;
}

/* Opened, or what is under way is told. */
static void order_failover(struct ops *o)
{
	char why[2 * RECORD_WHY_MAX];
	bool with_loss = o->order.what == OPS_ORDER_FAILOVER_WITH_LOSS;
	struct record *r = &o->next;
	bool joins = r->op.id && !op_is_background(&r->op);
	log_warn(NULL, "failover_ordered", KV_STR("cluster", r->cluster), KV_STR("by", o->order.by),
	         KV_STR("node", *o->order.node ? o->order.node : NULL), KV_STR("data_loss", with_loss ? "allowed" : NULL));
	snprintf(why, sizeof why, "by order of %s%s: %s", o->order.by, with_loss ? ", data loss allowed" : "",
	         joins ? r->op.why : op_picture(o)->story);
	if (!joins)
		op_open(o, OPERATION_FAILOVER, r->primary, why);
	snprintf(r->op.why, sizeof r->op.why, "%.*s", (int)sizeof r->op.why - 1, why);
	take_terms(&r->op, o->order.what, o->order.node);
}

static enum operation_step first_step(const struct ops *o, enum ops_order what)
{
	if (is_failover(what) || (what == OPS_ORDER_SWITCHOVER && op_will_stop(o)))
		return STEP_CONFIRM;
	return is_switchover(what) || what == OPS_ORDER_DRAIN ? STEP_DRAIN : is_operation(what) ? STEP_WORK : STEP_NONE;
}

static void apply_order(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	bool is_forced = o->order.what == OPS_ORDER_SWITCHOVER_FORCED;
	snprintf(why, sizeof why, "by order of %s%s", o->order.by, is_forced ? ", FORCE" : "");
	op_draft(o);
	switch (o->order.what) {
	case OPS_ORDER_SWITCHOVER:
	case OPS_ORDER_SWITCHOVER_FORCED:
		op_open(o, OPERATION_SWITCHOVER, o->record.primary, why);
		o->forced = is_forced ? o->next.op.id : 0;
		snprintf(o->next.op.target, sizeof o->next.op.target, "%s", o->order.node);
		break;
	case OPS_ORDER_FAILOVER:
	case OPS_ORDER_FAILOVER_WITH_LOSS:
		order_failover(o);
		break;
	case OPS_ORDER_DETACH:
		record_flag(&o->next, o->order.node, RECORD_DETACHED, 0, why);
		break;
	case OPS_ORDER_DRAIN:
		op_open_drain(o, o->order.node, o->order.timeout_us, why);
		break;
	case OPS_ORDER_ATTACH:
		if (ops_is_draining(o, o->order.node))
			op_make_way(o, "ATTACH");
		record_flag(&o->next, o->order.node, 0, RECORD_DETACHED, "");
		break;
	case OPS_ORDER_PAUSE:
	case OPS_ORDER_RESUME:
		o->next.is_paused = o->order.what == OPS_ORDER_PAUSE;
		break;
	case OPS_ORDER_REJOIN:
	case OPS_ORDER_RECOVER:
		op_open_restoring(o, o->order.what == OPS_ORDER_REJOIN ? OPERATION_REJOIN : OPERATION_RECOVER, o->order.node, why, true);
		break;
	}
}

/* Beside an operation in the background there may be others; a rejoin even makes way, for it can come again. */
static bool may_beside(const struct record_operation *op, enum ops_order what)
{
	bool makes_way = is_failover(what) || (is_switchover(what) && op->kind == OPERATION_REJOIN);
	return op_is_background(op) && (!is_operation(what) || makes_way);
}

/* It waits for an operation that has just begun. */
void op_refuse_order(struct ops *o)
{
	if (!o->order.id || o->order.answer != OPS_WAITS || may_beside(&o->record.op, o->order.what))
		return;
	o->order.answer = OPS_FAILED;
	err_set(&o->order.err, "55006", "operation %llu is under way", (unsigned long long)o->record.op.id);
}

/* The operation that was ordered has ended. */
void op_answer_order(struct ops *o, const struct record_operation *op)
{
	for (size_t i = 0; i < ANSWERS_N; i++) {
		struct awaited *a = &o->awaited[i];
		if (!a->order || a->operation != op->id)
			continue;
		a->answer = op->end == END_DONE ? OPS_DONE : OPS_FAILED;
		err_set(&a->err, "55000", "the %s was given up: %.200s", operation_kind_word(op->kind), op->why);
	}
}

/* From now on it is its operation that answers. */
static void await(struct ops *o)
{
	o->awaited[o->order.id % ANSWERS_N] =
	    (struct awaited){ .order = o->order.id, .operation = o->next.op.id, .answer = OPS_WAITS };
	o->order.id = 0;
}

void op_end_order(struct ops *o, enum record_fate fate, const struct err *err)
{
	if (!o->order.is_proposed)
		return;
	o->order.is_proposed = false;
	if (fate == RECORD_COMMITTED && is_operation(o->order.what)) {
		await(o);
		return;
	}
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
	if ((said && said->flags & RECORD_DETACHED) || ops_is_draining(o, node))
		return true;
	return err_set(err, "55000",
	               said && said->flags ? "\"%s\" is in quarantine until it follows the primary" : "\"%s\" is not detached", node);
}

/* One that waits in vain for somebody who may. */
static bool may_join(const struct ops *o)
{
	const struct record_operation *op = &o->record.op;
	return (op->kind == OPERATION_FAILOVER || op->has_no_return) && o->step == STEP_CHOOSE && !o->is_proposing;
}

/* Before anything is done: what would be refused later is refused here, with who may not and why. */
static bool may_fail_over(struct ops *o, enum ops_order what, const char *node, struct err *err)
{
	const struct ops_picture *p = op_picture(o);
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	char judged[2 * RECORD_WHY_MAX];
	const struct record_operation was = o->record.op;
	uint64_t entered = o->entered_us;
	if (!o->conf.is_automatic && !o->conf.is_manual)
		return err_set(err, "55000", "failover = external: somebody else promotes, and is to be asked");
	if (!may_join(o) && !p->is_lost)
		return err_set(err, "55000", "the primary \"%s\" is not lost: SWITCHOVER moves it in an orderly way", o->record.primary);
	o->entered_us = 0; /* what they have said so far counts */
	take_terms(&o->record.op, what, node);
	size_t n = op_judge(o, p, false, verdicts, order), may = 0;
	o->record.op = was;
	o->entered_us = entered;
	for (size_t i = 0; i < n; i++)
		may += !*node || strcmp(p->nodes[order[i]].guard.name, node) == 0;
	op_tell_candidates(o, p, verdicts, judged, sizeof judged);
	if (may)
		return true;
	return *node ? err_set(err, "55000", "\"%s\" may not take its place: %.380s", node, judged)
	             : err_set(err, "55000", "no node may take its place: %.380s", judged);
}

static bool may_switch(struct ops *o, const char *node, char *candidate, size_t room, struct err *err)
{
	if (o->record.is_paused)
		return err_set(err, "55000", "maintenance is on");
	return op_may_switch(o, node, candidate, room, err);
}

/* CANDIDATE: of a switchover. */
static bool may_order(struct ops *o, enum ops_order what, const char *node, char *candidate, size_t room, struct err *err)
{
	if (o->record.op.id && !may_beside(&o->record.op, what) && !(is_failover(what) && may_join(o)))
		return err_set(err, "55006", "operation %llu is under way", (unsigned long long)o->record.op.id);
	if (is_failover(what))
		return may_fail_over(o, what, node, err);
	if (is_switchover(what))
		return may_switch(o, node, candidate, room, err);
	if (what == OPS_ORDER_DETACH || what == OPS_ORDER_DRAIN)
		return may_detach(o, node, err);
	if (what == OPS_ORDER_ATTACH)
		return may_attach(o, node, err);
	if (what == OPS_ORDER_REJOIN || what == OPS_ORDER_RECOVER)
		return op_may_restore(o, what, node, err);
	if (o->record.is_paused == (what == OPS_ORDER_PAUSE))
		return err_set(err, "55000", o->record.is_paused ? "maintenance is on already" : "maintenance is not on");
	return true;
}

/* It was good when it was given; meanwhile something else may have been recorded. */
bool op_tend_order(struct ops *o)
{
	char candidate[RECORD_NAME_MAX];
	if (!o->order.id || o->order.answer != OPS_WAITS)
		return false;
	if (!may_order(o, o->order.what, o->order.node, candidate, sizeof candidate, &o->order.err)) {
		o->order.answer = OPS_FAILED;
		return false;
	}
	apply_order(o);
	o->order.is_proposed = true;
	op_propose(o, first_step(o, o->order.what));
	return true;
}

bool op_order_joins(struct ops *o)
{
	bool waits = o->order.id && o->order.answer == OPS_WAITS && !o->order.is_proposed;
	if (!waits || !is_failover(o->order.what))
		return false;
	apply_order(o);
	o->next.op.step = STEP_CHOOSE;
	o->order.is_proposed = true;
	op_propose(o, STEP_CHOOSE);
	return true;
}

static uint64_t give(struct ops *o, enum ops_order what, const char *node, uint64_t timeout_us, const char *by, struct err *err)
{
	char candidate[RECORD_NAME_MAX];
	if (o->order.id && o->order.answer == OPS_WAITS) {
		err_set(err, "55006", "another order is being recorded");
		return 0;
	}
	if (!may_order(o, what, node, candidate, sizeof candidate, err))
		return 0;
	node = is_switchover(what) ? candidate : node;
	uint64_t id = o->order.id = ++o->order_ids;
	o->order.what = what;
	o->order.timeout_us = timeout_us;
	o->order.answer = OPS_WAITS;
	snprintf(o->order.node, sizeof o->order.node, "%s", node);
	snprintf(o->order.by, sizeof o->order.by, "%s", by);
	ops_go_on(o);
	return id;
}

uint64_t ops_order(struct ops *o, enum ops_order what, const char *node, const char *by, struct err *err)
{
	return give(o, what, node, 0, by, err);
}

bool ops_may_switch(struct ops *o, const char *node, char *candidate, size_t room, char *judged, size_t judged_room,
                    struct err *err)
{
	const struct ops_picture *p = op_picture(o);
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	if (!may_order(o, OPS_ORDER_SWITCHOVER, node, candidate, room, err))
		return false;
	uint64_t entered = o->entered_us;
	o->entered_us = 0; /* what they have said so far counts */
	op_judge(o, p, true, verdicts, order);
	o->entered_us = entered;
	op_tell_candidates(o, p, verdicts, judged, judged_room);
	return true;
}

uint64_t ops_order_drain(struct ops *o, const char *node, uint64_t timeout_us, const char *by, struct err *err)
{
	return give(o, OPS_ORDER_DRAIN, node, timeout_us, by, err);
}

enum ops_answer ops_answer(const struct ops *o, uint64_t order, struct err *err)
{
	const struct awaited *a = &o->awaited[order % ANSWERS_N];
	if (order == a->order && a->answer == OPS_FAILED)
		*err = a->err;
	if (order == a->order)
		return a->answer;
	if (order != o->order.id)
		return OPS_DONE;
	if (o->order.answer == OPS_FAILED)
		*err = o->order.err;
	return o->order.answer;
}
