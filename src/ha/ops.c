/*
 * ops — the operations' state machine: its doors, its records, its calls.
 *
 *   idle: tend()                    step_confirm        step_hold        step_choose      step_promote       step_follow
 *     primary is lost ──open──► confirm ──lost──► hold ──all routes cut──► choose ──target──► promote ──it is──► follow ──► idle
 *                                  │ it lives        │                      │  ▲                │        (publish is the record
 *                                  └───► abort ◄─────┴──── it is back ──────┘  └── it failed ───┘         that follow begins with)
 *
 *   by order:  drain ──nobody is in a transaction there──► hold ──► fence: it is settled ──► choose: the candidate has all ──► promote …
 *              (before drain, where the old primary will be stopped, confirm: it writes a checkpoint)
 *
 *   in the background, beside tend():  work ──the hook says that it is done──► verify ──it streams──► idle;   drain ──nobody uses it──► idle
 *
 *   open, target, publish and close are records: proposed, and gone on with when they are committed.
 *   failover.c has the steps, fetch.c what a candidate lacks, switchover.c the steps of an order, rejoin.c and drain.c those in the background,
 *   tend.c what is done while there is no other operation, wanted.c what people want done, finished.c what hooks have finished, acts.c what is asked of
 *   the world.
 *
 * A step is a function that looks at the picture and either goes on (true), or waits (false) to be called again.  Each may run twice: after a restart
 * the operation goes on at the last step that was recorded.
 *
 * Always: one proposal at a time, and nothing moves while it is open;  a promotion is asked for only after its target is recorded, and that only
 *         after everybody has seen that the old primary is cut off;  the recorded primary changes together with the epoch;
 *         a node that may have been promoted in vain, and the old primary, are in quarantine from the same record on;
 *         between operations only standbys are told something, whom to follow and which slots they need no more: all else waits for one;
 *         what is under way in the background delays nothing: whatever it is in the way of ends it, in the same record.
 */
#include "opspriv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOST_AGAIN_US US_PER_S /* until the journal is tried again */

uint64_t op_now(const struct ops *o)
{
	return o->env.now_us(o->env.arg);
}

const struct ops_picture *op_picture(const struct ops *o)
{
	return o->env.picture(o->env.arg);
}

const struct ops_node *op_node(const struct ops_picture *p, const char *name)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i].guard.name, name) == 0)
			return &p->nodes[i];
	return NULL;
}

bool op_is_source(const struct ops *o, const struct ops_node *n)
{
	return strcmp(n->guard.name, o->record.op.source) == 0;
}

void op_stay(struct ops *o, const char *fmt, ...)
{
	char text[sizeof o->stuck];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (strcmp(text, o->stuck) == 0)
		return;
	memcpy(o->stuck, text, sizeof text);
	log_warn(NULL, "operation_waits", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
	         KV_STR("step", operation_step_word(o->step)), KV_STR("reason", text));
}

uint64_t op_age_ms(const struct ops *o)
{
	return (op_now(o) - o->began_us) / US_PER_MS;
}

bool op_is_background(const struct record_operation *op)
{
	return op->kind == OPERATION_REJOIN || op->kind == OPERATION_RECOVER || op->kind == OPERATION_DRAIN;
}

static bool is_drain(const struct record_operation *op)
{
	return op->kind == OPERATION_DRAIN;
}

bool op_is_target(const struct ops *o, const char *node)
{
	return o->record.op.id && op_is_background(&o->record.op) && strcmp(o->record.op.target, node) == 0;
}

/* When it was reached; recorded with the next proposal. */
void op_note_step(struct ops *o, enum operation_step step)
{
	struct record_operation *op = &o->record.op;
	if (!op->at_ms[step])
		op->at_ms[step] = (uint32_t)op_age_ms(o) + 1;
	log_info(NULL, "operation_step", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	         KV_STR("kind", operation_kind_word(op->kind)), KV_STR("step", operation_step_word(step)),
	         KV_STR("source", op->source), KV_STR("target", *op->target ? op->target : NULL), KV_INT("ms", op_age_ms(o)));
}

/* The one door from step to step. */
void op_enter(struct ops *o, enum operation_step step)
{
	o->step = step;
	o->is_resumed = false;
	o->entered_us = op_now(o);
	o->stuck[0] = 0;
	op_note_step(o, step);
}

/* o->next is what is to be; STEP is entered when it is.  STEP_NONE: no operation is under way then. */
bool op_propose(struct ops *o, enum operation_step step)
{
	o->is_proposing = true;
	o->next_step = step;
	o->env.propose(o->env.arg, o->record.epoch, &o->next);
	return false;
}

bool op_propose_beside(struct ops *o)
{
	return op_propose(o, STEP_NONE);
}

void op_draft(struct ops *o)
{
	o->next = o->record;
}

void op_make_way(struct ops *o, const char *why)
{
	record_close(&o->next, END_ABORTED, why, op_age_ms(o));
}

void op_open(struct ops *o, enum operation_kind kind, const char *source, const char *why)
{
	char text[RECORD_WHY_MAX];
	snprintf(text, sizeof text, "a %s comes first", operation_kind_word(kind));
	op_make_way(o, text);
	record_open(&o->next, kind, source, why, o->env.wall_s(o->env.arg));
}

static void note_failover(struct ops *o)
{
	memmove(&o->failovers_us[1], &o->failovers_us[0], sizeof o->failovers_us - sizeof o->failovers_us[0]);
	o->failovers_us[0] = op_now(o);
	o->n_failovers += o->n_failovers < DAMPED_N;
}

static void tell_closed(const struct ops *o, const struct record_operation *op)
{
	log_write(op->end == END_DONE ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, NULL, "operation_ended",
	          (struct log_kv[]){ KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	                             KV_STR("kind", operation_kind_word(op->kind)), KV_STR("end", operation_end_word(op->end)),
	                             KV_STR("source", op->source), KV_STR("target", *op->target ? op->target : NULL),
	                             KV_INT("epoch", o->record.epoch), KV_INT("ms", op->took_ms), KV_STR("reason", op->why) },
	          9);
}

static void on_begun(struct ops *o)
{
	op_refuse_order(o);
	o->began_us = op_now(o);
	o->is_cutting = o->is_parting = false;
	o->floor = o->received = o->received_us = 0;
}

/* It is the newest in the past. */
static void on_ended(struct ops *o)
{
	o->is_cutting = o->has_told_awaited = false;
	o->stuck[0] = 0;
	tell_closed(o, &o->record.past[0]);
	if (op_is_background(&o->record.past[0]) && !is_drain(&o->record.past[0]))
		op_end_restoring(o, o->record.past[0].target);
	op_answer_order(o, &o->record.past[0]);
}

static void on_committed(struct ops *o)
{
	uint64_t was = o->record.op.id, is = o->next.op.id;
	bool has_moved = o->next.epoch != o->record.epoch, goes_on = was == is && (!is || o->next_step == STEP_NONE);
	o->record = o->next;
	const struct record_operation *op = &o->record.op;
	if (has_moved)
		log_info(NULL, "primary_recorded", KV_STR("cluster", o->record.cluster), KV_STR("primary", o->record.primary),
		         KV_INT("epoch", o->record.epoch), KV_INT("timeline", o->record.timeline));
	if (!goes_on)
		op_settle_acts(o, op, &o->record.past[0]);
	if (was && was != is)
		on_ended(o);
	if (is && was != is)
		on_begun(o);
	if (is && o->next_step == STEP_FOLLOW && op->kind == OPERATION_FAILOVER)
		note_failover(o);
	if (!goes_on)
		o->step = STEP_NONE;
	if (is && !goes_on)
		op_enter(o, o->next_step);
	o->is_routed = false;
	o->env.route(o->env.arg);
}

bool op_close(struct ops *o, enum operation_end end, const char *why)
{
	op_draft(o);
	record_close(&o->next, end, why, op_age_ms(o));
	return op_propose(o, STEP_NONE);
}

/* Before the point of no return: everything is as it was. */
bool op_give_up(struct ops *o, const char *why)
{
	return op_close(o, END_ABORTED, why);
}

bool op_answered_since(const struct ops_node *n, uint64_t us)
{
	return n->guard.has_answered && n->asked_us >= us;
}

/* It writes a timeline behind the recorded one: it was promoted. */
bool op_is_promoted(const struct ops *o, const struct ops_node *n, uint64_t since_us)
{
	const struct record *r = &o->record;
	bool is_ours = !n->is_foreign && (!r->system_id || !n->guard.system_id || n->guard.system_id == r->system_id);
	return op_answered_since(n, since_us) && !n->guard.in_recovery && is_ours && n->guard.timeline > r->timeline;
}

/* The old primary is what it was. */
bool op_is_back(const struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *n = op_node(p, o->record.op.source);
	return n && op_answered_since(n, o->entered_us) && !n->guard.in_recovery && !n->is_foreign &&
	       n->guard.timeline == o->record.timeline;
}

bool op_is_primary_there(const struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *n = op_node(p, o->record.primary);
	return n && n->guard.has_answered && !n->guard.in_recovery && !p->is_lost;
}

bool op_has_proved_itself(const struct ops *o, const struct ops_node *n)
{
	return n->guard.has_answered && n->guard.in_recovery && n->is_streaming && !n->is_foreign && o->record.timeline &&
	       n->guard.timeline == o->record.timeline;
}

void op_ask_again(struct ops *o, uint64_t after_us)
{
	o->env.look(o->env.arg);
	o->env.alarm(o->env.arg, after_us);
}

static bool step(struct ops *o)
{
	switch (o->step) {
	case STEP_CONFIRM:
		return o->record.op.kind == OPERATION_SWITCHOVER ? step_prepare(o) : step_confirm(o);
	case STEP_DRAIN:
		return is_drain(&o->record.op) ? step_empty(o) : step_drain(o);
	case STEP_HOLD:
		return step_hold(o);
	case STEP_FENCE:
		return step_fence(o);
	case STEP_CHOOSE:
		return step_choose(o);
	case STEP_PROMOTE:
		return step_promote(o);
	case STEP_FOLLOW:
		return step_follow(o);
	case STEP_WORK:
		return step_work(o);
	case STEP_VERIFY:
		return step_verify(o);
	default:
		return false;
	}
}

/* Something was proposed, or a step is done: there is more to look at. */
static bool go_on(struct ops *o)
{
	const struct record_operation *op = &o->record.op;
	if (op_tend_finished(o))
		return true;
	if (op->id && !op_is_background(op))
		return step(o);
	return op_tend(o) || (op->id && step(o));
}

/* The environment may call back from inside: then it is looked at once more, not deeper. */
void ops_go_on(struct ops *o)
{
	o->goes_again = true;
	if (o->is_going)
		return;
	o->is_going = true;
	while (o->goes_again) {
		o->goes_again = false;
		while (!o->is_proposing && op_now(o) >= o->propose_after_us && go_on(o))
			;
	}
	o->is_going = false;
}

/* Where an operation was recorded, it goes on; where it was not meant to come back any more, behind the routes' being cut. */
static void resume(struct ops *o)
{
	const struct record_operation *op = &o->record.op;
	o->began_us = op_now(o);
	o->is_cutting = !op_is_background(op) && op->step > STEP_DRAIN;
	log_warn(NULL, "operation_resumed", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	         KV_STR("kind", operation_kind_word(op->kind)), KV_STR("step", operation_step_word(op->step)));
	op_enter(o, op->step);
	o->is_resumed = true;
}

struct ops *ops_new(const struct ops_env *env, const struct ops_conf *conf, const struct record *record)
{
	struct ops *o = mem_alloc(sizeof *o);
	o->env = *env;
	o->conf = *conf;
	o->record = *record;
	if (record->op.id)
		resume(o);
	return o;
}

void ops_free(struct ops *o)
{
	if (!o)
		return;
	op_forget_acts(o);
	mem_free(o);
}

void ops_configure(struct ops *o, const struct ops_conf *conf)
{
	o->conf = *conf;
	op_ask_of_returned_again(o);
}

void ops_on_record(struct ops *o, enum record_fate fate, const struct err *err)
{
	ASSERT(o->is_proposing);
	o->is_proposing = false;
	op_end_order(o, fate, err);
	if (fate == RECORD_COMMITTED) {
		o->propose_after_us = 0;
		on_committed(o);
	} else {
		log_error(NULL, "record_lost", KV_STR("cluster", o->record.cluster), KV_ERR(err),
		          KV_STR("effect", "nothing is done until it can be written"));
		o->propose_after_us = op_now(o) + LOST_AGAIN_US;
		o->env.alarm(o->env.arg, LOST_AGAIN_US);
	}
	ops_go_on(o);
}

void ops_on_routed(struct ops *o)
{
	o->is_routed = true;
	ops_go_on(o);
}

uint64_t ops_age_ms(const struct ops *o)
{
	return o->record.op.id ? op_age_ms(o) : 0;
}

const struct record *ops_record(const struct ops *o)
{
	return &o->record;
}

bool ops_holds(const struct ops *o)
{
	bool is_switchover = o->record.op.kind == OPERATION_SWITCHOVER && o->step != STEP_CONFIRM;
	return o->record.op.id && (o->is_cutting || is_switchover) && o->record.op.step != STEP_FOLLOW;
}

const char *ops_primary(const struct ops *o)
{
	return o->record.primary;
}

bool ops_is_cut(const struct ops *o, const char *node)
{
	bool is_op = o->record.op.id && o->is_cutting && strcmp(o->record.op.source, node) == 0;
	return is_op || record_is_barred(&o->record, node);
}

bool ops_is_draining(const struct ops *o, const char *node)
{
	return is_drain(&o->record.op) && op_is_target(o, node);
}

enum ops_parting ops_parting(const struct ops *o, const char *node)
{
	bool is_source = o->step == STEP_DRAIN && o->record.op.kind == OPERATION_SWITCHOVER && strcmp(o->record.op.source, node) == 0;
	return !is_source ? OPS_STAYS : o->is_parting ? OPS_PARTS : OPS_WILL_PART;
}

const char *ops_stuck(const struct ops *o)
{
	return *o->stuck ? o->stuck : NULL;
}
