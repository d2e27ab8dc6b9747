/*
 * failover — the steps from a primary that is lost to one that is followed (diagram in ops.c).
 *
 * Always: who was tried in vain is kept away until it has proved what it is, and tried again only when nobody else is left;
 *         what a deed's end says is not believed: the node itself is asked, after it.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define ANSWERS_US (500 * US_PER_MS) /* who has not answered by then is not waited for */
#define AGAIN_US (200 * US_PER_MS)   /* until the same is tried again */
#define TRIES 2u                     /* of one candidate */
#define SAID_US (1 * US_PER_S)       /* until a promotion that is said to be done has to be seen */
#define FOLLOW_US (10 * US_PER_S)    /* that an operation waits for the others to follow */
#define FOLLOW_TRIES 3u
#define READMIT_US (5 * US_PER_S) /* until those whose promotion failed may try again */
#define CONFIRM_US (5 * US_PER_S)
#define SLEPT_US (500 * US_PER_MS) /* as watch.c notices it; here it matters at once */
#define CATCH_UP_US (1 * US_PER_S) /* that a primary which lives, sick as it is, is given to send what it has */

static const char promotion_failed[] = "its promotion failed";

bool step_confirm(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	if (p->is_lost) {
		o->is_cutting = true;
		op_enter(o, STEP_HOLD);
		o->env.route(o->env.arg);
		return true;
	}
	if (op_is_back(o, p))
		return op_give_up(o, "the primary answers");
	if (op_now(o) - o->entered_us > CONFIRM_US)
		return op_give_up(o, "that the primary is lost could not be confirmed");
	op_ask_again(o, LOOK_US);
	return false;
}

/* Until every worker has seen that there is no primary and closed what led to it, nobody else may become it. */
bool step_hold(struct ops *o)
{
	if (!o->is_routed)
		return false;
	op_enter(o, o->record.op.kind == OPERATION_SWITCHOVER ? STEP_FENCE : STEP_CHOOSE);
	return true;
}

/* All who can have answered since the routes were cut; or it was long enough. */
static bool have_all_answered(const struct ops *o, const struct ops_picture *p)
{
	if (op_now(o) - o->entered_us >= ANSWERS_US)
		return true;
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!op_is_source(o, n) && !op_answered_since(n, o->entered_us) && n->failed_us < o->entered_us)
			return false;
	}
	return true;
}

/* In vain, as it seemed. */
static bool was_tried(const struct ops *o, const struct ops_node *n)
{
	const struct record_node *said = record_node(&o->record, n->guard.name);
	return said && strncmp(said->why, promotion_failed, strlen(promotion_failed)) == 0;
}

/* By somebody else, or by us: before a restart, or later than we waited for. */
static const struct ops_node *find_promoted(const struct ops *o, const struct ops_picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		bool may = !record_is_barred(&o->record, n->guard.name) || was_tried(o, n);
		if (may && !op_is_source(o, n) && op_is_promoted(o, n, o->entered_us))
			return n;
	}
	return NULL;
}

void op_tell_candidates(struct ops *o, const struct ops_picture *p, const struct guard_verdict *v, char *out, size_t room)
{
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < p->n_nodes; i++) {
		const char *name = p->nodes[i].guard.name;
		if (strcmp(name, o->record.primary) == 0)
			continue;
		if (len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%s: %s", len ? "; " : "", name,
			                        v[i].may && !*v[i].why ? "has everything" : v[i].why);
	}
}

bool op_target(struct ops *o, const char *name, const char *judged)
{
	op_draft(o);
	struct record_operation *op = &o->next.op;
	const struct ops_node *n = op_node(op_picture(o), name);
	op->step = STEP_PROMOTE;
	op->reached = n && n->guard.in_recovery ? n->guard.received : 0;
	op->has_no_return = true;
	op->attempt++;
	snprintf(op->target, sizeof op->target, "%s", name);
	snprintf(op->judged, sizeof op->judged, "%s", judged);
	log_info(NULL, "candidate_chosen", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id), KV_STR("node", name),
	         KV_STR("candidates", judged));
	return op_propose(o, STEP_PROMOTE);
}

/* IS_PLANNED: whoever is chosen will be waited for, so that how far each has come does not count. */
size_t op_judge(struct ops *o, const struct ops_picture *p, bool is_planned, struct guard_verdict *verdicts, size_t *order)
{
	struct guard_node nodes[RECORD_NODES_MAX];
	for (size_t i = 0; i < p->n_nodes; i++) {
		nodes[i] = p->nodes[i].guard;
		nodes[i].has_answered = op_answered_since(&p->nodes[i], o->entered_us);
		nodes[i].was_tried = was_tried(o, &p->nodes[i]);
		if (is_planned)
			nodes[i].received = nodes[i].received != 0;
		const struct record_node *said = record_node(&o->record, nodes[i].name);
		if (!*nodes[i].alias && said)
			nodes[i].alias = said->alias;
	}
	const struct guard_view view = { .record = &o->record,
		                             .n_nodes = p->n_nodes,
		                             .nodes = nodes,
		                             .written = is_planned ? 0 : p->written,
		                             .written_age_us = p->written_age_us,
		                             .written_per_s = p->written_per_s,
		                             .max_loss = o->record.op.allows_loss ? 0 : o->conf.max_loss,
		                             .forgiven = o->record.op.allows_loss ? o->record.op.target : NULL };
	return guard_judge(&view, verdicts, order);
}

/* A promotion begins a timeline.  Who writes the recorded one has only been started without what makes it a standby. */
static bool is_not_promoted(const struct ops *o, const struct ops_node *n)
{
	return op_answered_since(n, o->entered_us) && (n->guard.in_recovery || n->guard.timeline == o->record.timeline);
}

/* Every node that may have been promoted is known not to be: then the old primary may go on. */
static bool is_undone(const struct ops *o, const struct ops_picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		bool is_target = !op_is_named(&o->record.op) && strcmp(n->guard.name, o->record.op.target) == 0;
		bool may_be = was_tried(o, n) || is_target;
		if (!op_is_source(o, n) && may_be && !is_not_promoted(o, n))
			return false;
	}
	return true;
}

/* Nobody is left: those whose promotion failed and who are as they were may try once more. */
static bool readmit(struct ops *o, const struct ops_picture *p)
{
	bool has_any = false;
	op_draft(o);
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!was_tried(o, n) || !op_answered_since(n, o->entered_us) || !n->guard.in_recovery)
			continue;
		record_flag(&o->next, n->guard.name, 0, RECORD_QUARANTINED, "");
		has_any = true;
	}
	if (has_any)
		op_propose(o, STEP_CHOOSE);
	return has_any;
}

bool op_is_named(const struct record_operation *op)
{
	return *op->target && !op->attempt;
}

/* As steps return it.  Behind the point of no return it waits for him, for the old primary, or for another order. */
static bool choose_named(struct ops *o, const struct ops_picture *p, const struct guard_verdict *verdicts, const char *judged)
{
	char why[RECORD_WHY_MAX] = "who was named is not configured any more";
	for (size_t i = 0; i < p->n_nodes; i++) {
		if (strcmp(p->nodes[i].guard.name, o->record.op.target) != 0)
			continue;
		if (verdicts[i].may)
			return op_target(o, p->nodes[i].guard.name, judged);
		snprintf(why, sizeof why, "%.60s cannot be primary: %.110s", p->nodes[i].guard.name, verdicts[i].why);
	}
	if (!o->record.op.has_no_return)
		return op_give_up(o, why);
	op_stay(o, "%s", why);
	op_ask_again(o, AGAIN_US);
	return false;
}

/* Who has given an order is not left without an answer: nobody can be tried any more, and nobody is promoted.  What is begun without one waits, for it
 * would only begin anew. */
static bool is_in_vain(const struct ops *o, const struct ops_picture *p)
{
	return !o->conf.is_automatic && o->record.op.has_no_return && is_undone(o, p);
}

/* As steps return it.  MAY_YET: there is somebody who may, or is about to. */
static bool choose_later(struct ops *o, const struct ops_picture *p, bool may_yet)
{
	bool is_late = op_now(o) - o->entered_us >= READMIT_US;
	if (is_late && readmit(o, p))
		return false;
	if (is_late && !may_yet && is_in_vain(o, p))
		return op_give_up(o, o->stuck);
	op_ask_again(o, AGAIN_US);
	return false;
}

/* Nothing new is written there since it was cut off, and those who stream from it have not got all that was. */
static bool is_sending(const struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *source = op_node(p, o->record.op.source);
	bool is_behind = false;
	if (!source || !source->guard.has_answered || op_now(o) - o->entered_us >= CATCH_UP_US)
		return false;
	if (!op_answered_since(source, o->entered_us))
		return true;
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (op_is_source(o, n) || !n->is_streaming || record_is_barred(&o->record, n->guard.name))
			continue;
		if (n->guard.received >= p->written)
			return false;
		is_behind = true;
	}
	return is_behind;
}

/* What was heard before we slept may be true no longer: all are asked once more, and waited for. */
static void note_sleep(struct ops *o)
{
	if (o->chose_us > o->entered_us && op_now(o) - o->chose_us >= SLEPT_US)
		o->entered_us = op_now(o);
	o->chose_us = op_now(o);
}

bool step_choose(struct ops *o)
{
	note_sleep(o);
	if (op_order_joins(o))
		return false;
	if (o->record.op.kind == OPERATION_SWITCHOVER && !o->record.op.has_no_return)
		return step_catch_up(o);
	const struct ops_picture *p = op_picture(o);
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	char judged[2 * RECORD_WHY_MAX];
	const struct ops_node *promoted = find_promoted(o, p);
	if (promoted)
		return op_target(o, promoted->guard.name, "it was promoted by somebody else");
	if (op_is_back(o, p) && !p->is_lost && (!o->record.op.has_no_return || is_undone(o, p)))
		return op_give_up(o, "the primary is back");
	if (!have_all_answered(o, p) || is_sending(o, p)) {
		op_ask_again(o, LOOK_US);
		return false;
	}
	size_t n = op_judge(o, p, false, verdicts, order), may = n;
	char why[RECORD_WHY_MAX] = "";
	op_tell_candidates(o, p, verdicts, judged, sizeof judged);
	if (op_is_named(&o->record.op))
		return choose_named(o, p, verdicts, judged);
	if (n > 0 && o->env.choose)
		n = o->env.choose(o->env.arg, verdicts, order, n, why, sizeof why);
	if (n > 0)
		return op_target(o, p->nodes[order[0]].guard.name, judged);
	bool may_yet = may > 0 || op_fetch(o, p, verdicts);
	if (may > 0)
		op_stay(o, "the policy wants nobody to take its place: %s", why);
	else if (!may_yet)
		op_stay(o, "no node may take its place: %s", judged);
	return choose_later(o, p, may_yet);
}

/* It may yet come out of recovery by itself: from now on it is kept away until it has proved what it is. */
static bool next_candidate(struct ops *o, const char *why)
{
	log_warn(NULL, "promotion_failed", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
	         KV_STR("node", o->record.op.target), KV_STR("reason", why));
	op_draft(o);
	char text[RECORD_WHY_MAX];
	snprintf(text, sizeof text, "%s: %.150s", promotion_failed, why);
	record_flag(&o->next, o->record.op.target, RECORD_QUARANTINED, 0, text);
	o->next.op.step = STEP_CHOOSE;
	return op_propose(o, STEP_CHOOSE);
}

static bool publish(struct ops *o, const struct ops_node *n)
{
	char why[RECORD_WHY_MAX];
	if (!o->record.op.at_ms[STEP_PUBLISH])
		op_note_step(o, STEP_PUBLISH);
	op_draft(o);
	struct record *r = &o->next;
	r->epoch++;
	snprintf(r->primary, sizeof r->primary, "%s", n->guard.name);
	r->timeline = n->guard.timeline;
	r->switch_lsn = r->op.reached ? r->op.reached : n->guard.received;
	snprintf(why, sizeof why, "it was the primary until epoch %llu", (unsigned long long)r->epoch);
	record_flag(r, r->op.source, RECORD_QUARANTINED, 0, why);
	record_flag(r, r->primary, 0, RECORD_QUARANTINED, "");
	r->op.step = STEP_FOLLOW;
	return op_propose(o, STEP_FOLLOW);
}

bool step_promote(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	const struct ops_node *n = op_node(p, o->record.op.target);
	struct act *a = op_act_of(o, o->record.op.target);
	if (!n)
		return next_candidate(o, "it is not configured any more");
	if (op_is_promoted(o, n, o->entered_us))
		return publish(o, n);
	if (o->is_resumed && !op_answered_since(n, o->entered_us) && n->failed_us < o->entered_us) {
		op_ask_again(o, LOOK_US);
		return false;
	}
	if (a->state == ACT_NONE) {
		op_start_act(o, a, OPS_ACT_PROMOTE, "", o->conf.promote_timeout_us);
		return false;
	}
	if (a->state == ACT_RUNS)
		return false;
	/* Whatever was said of it: only the node itself says what it is, asked after that. */
	bool has_said = op_answered_since(n, a->ended_us), is_silent = n->failed_us >= a->ended_us && !has_said;
	if (a->state == ACT_DONE && op_now(o) - a->ended_us < SAID_US) {
		op_ask_again(o, LOOK_US);
		return false;
	}
	if (!has_said && !is_silent && op_now(o) - a->ended_us < ANSWERS_US) {
		op_ask_again(o, LOOK_US);
		return false;
	}
	if (has_said && !n->guard.in_recovery)
		return next_candidate(o, "it is out of recovery on the timeline that the old primary wrote; that is no promotion");
	if (a->tries >= TRIES)
		return next_candidate(o, a->state == ACT_DONE ? "it is said to be promoted, and is not" : a->err.text);
	if (op_now(o) - a->ended_us < AGAIN_US) {
		op_ask_again(o, AGAIN_US - (op_now(o) - a->ended_us));
		return false;
	}
	op_start_act(o, a, OPS_ACT_PROMOTE, "", o->conf.promote_timeout_us);
	return false;
}

uint64_t op_follow_us(const struct ops *o)
{
	return o->conf.follow_timeout_us ? o->conf.follow_timeout_us : FOLLOW_US;
}

/* True: nothing more is to be done for it in this operation. */
static bool has_followed(struct ops *o, const struct ops_node *n)
{
	struct act *a = op_act_of(o, n->guard.name);
	if (a->state == ACT_RUNS) /* maybe it has stopped the server, to rewind it */
		return false;
	if (!n->guard.has_answered || !n->guard.in_recovery || n->is_foreign || a->state == ACT_DONE)
		return true;
	if (a->tries >= FOLLOW_TRIES)
		return true;
	if (a->state == ACT_NONE || op_now(o) - a->ended_us >= US_PER_S)
		op_start_act(o, a, OPS_ACT_FOLLOW, o->record.primary, op_follow_us(o));
	return false;
}

bool step_follow(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	bool is_over = true;
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i].guard.name, o->record.primary) != 0 && !op_is_source(o, &p->nodes[i]))
			is_over &= has_followed(o, &p->nodes[i]);
	if (is_over || op_now(o) - o->entered_us > 2 * op_follow_us(o))
		return op_close(o, END_DONE, "");
	o->env.alarm(o->env.arg, AGAIN_US);
	return false;
}
