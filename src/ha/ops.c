/*
 * ops — the operations' state machine.
 *
 *   idle: tend()                    step_confirm        step_hold        step_choose      step_promote       step_follow
 *     primary is lost ──open──► confirm ──lost──► hold ──all routes cut──► choose ──target──► promote ──it is──► follow ──► idle
 *                                  │ it lives        │                      │  ▲                │        (publish is the record
 *                                  └───► abort ◄─────┴──── it is back ──────┘  └── it failed ───┘         that follow begins with)
 *
 *   by order:  drain ──nobody is in a transaction there──► hold ──► fence: it is settled ──► choose: the candidate has all ──► promote …
 *
 *   open, target, publish and close are records: proposed, and gone on with when they are committed.
 *
 * A step is a function that looks at the picture and either goes on (true), or waits (false) to be called again.  Each may run twice: after a restart
 * the operation goes on at the last step that was recorded.
 *
 * Always: one proposal at a time, and nothing moves while it is open;  a promotion is asked for only after its target is recorded, and that only
 *         after everybody has seen that the old primary is cut off;  the recorded primary changes together with the epoch;
 *         a node that may have been promoted in vain, and the old primary, are in quarantine from the same record on.
 */
#include "ha/ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define DRAIN_US (2 * US_PER_MS)     /* between looks at who is still in a transaction */
#define LOOK_US (20 * US_PER_MS)     /* while somebody's answer is awaited */
#define ANSWERS_US (500 * US_PER_MS) /* who has not answered by then is not waited for */
#define AGAIN_US (200 * US_PER_MS)   /* until the same is tried again */
#define TRIES 2u                     /* of one candidate */
#define FOLLOW_US (10 * US_PER_S)    /* that an operation waits for the others to follow */
#define FOLLOW_TRIES 3u
#define READMIT_US (5 * US_PER_S) /* until those whose promotion failed may try again */
#define CONFIRM_US (5 * US_PER_S)
#define LOST_AGAIN_US US_PER_S   /* until the journal is tried again */
#define STRAY_US (10 * US_PER_S) /* until a standby that does not follow is told again */
#define DAMPED_N 3u              /* automatic failovers in … */
#define DAMPED_US (600 * US_PER_S)
#define ACTS_MAX RECORD_NODES_MAX

static const char promotion_failed[] = "its promotion failed";

enum act_state { ACT_NONE, ACT_RUNS, ACT_DONE, ACT_FAILED };
struct act {
	char node[RECORD_NAME_MAX];
	enum act_state state;
	uint64_t id;
	unsigned tries;
	uint64_t ended_us;
	struct err err;
};

struct ops {
	struct ops_env env;
	struct ops_conf conf;
	struct record record, next;    /* committed; proposed */
	enum operation_step next_step; /* behind the proposal */
	bool is_proposing, is_going, goes_again;
	uint64_t propose_after_us;
	/* of the operation under way */
	enum operation_step step;
	uint64_t began_us, entered_us;
	uint64_t floor;             /* of a switchover: what the candidate must have; 0: not known yet */
	bool is_resumed;            /* nobody knows what was done of this step */
	bool is_routed, is_cutting; /* is_cutting: the source has no connections from now on */
	size_t n_acts;
	struct act acts[ACTS_MAX];
	char stuck[2 * RECORD_WHY_MAX];
	/* an order: one at a time */
	struct {
		uint64_t id;
		enum ops_order what;
		char node[RECORD_NAME_MAX], by[64]; /* node: of a switchover, the candidate */
		enum ops_answer answer;
		bool is_proposed;
		struct err err;
	} order;
	/* for as long as the program runs */
	uint64_t act_ids;
	size_t n_failovers;
	uint64_t failovers_us[DAMPED_N];
	bool has_told_damped, has_told_conflict;
};

static uint64_t now(const struct ops *o)
{
	return o->env.now_us(o->env.arg);
}

static const struct ops_picture *picture(const struct ops *o)
{
	return o->env.picture(o->env.arg);
}

static const struct ops_node *node_named(const struct ops_picture *p, const char *name)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i].guard.name, name) == 0)
			return &p->nodes[i];
	return NULL;
}

static bool is_source(const struct ops *o, const struct ops_node *n)
{
	return strcmp(n->guard.name, o->record.op.source) == 0;
}

/* -- words --------------------------------------------------------------------------------------------- */

static PRINTF_LIKE(2, 3) void stay(struct ops *o, const char *fmt, ...)
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

static uint64_t age_ms(const struct ops *o)
{
	return (now(o) - o->began_us) / US_PER_MS;
}

/* When it was reached; recorded with the next proposal. */
static void note_step(struct ops *o, enum operation_step step)
{
	struct record_operation *op = &o->record.op;
	if (!op->at_ms[step])
		op->at_ms[step] = (uint32_t)age_ms(o);
	log_info(NULL, "operation_step", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	         KV_STR("kind", operation_kind_word(op->kind)), KV_STR("step", operation_step_word(step)),
	         KV_STR("source", op->source), KV_STR("target", *op->target ? op->target : NULL), KV_INT("ms", age_ms(o)));
}

/* The one door from step to step. */
static void enter(struct ops *o, enum operation_step step)
{
	o->step = step;
	o->is_resumed = false;
	o->entered_us = now(o);
	o->stuck[0] = 0;
	note_step(o, step);
}

/* -- acts ------------------------------------------------------------------------------------------------ */

static struct act *act_of(struct ops *o, const char *node)
{
	for (size_t i = 0; i < o->n_acts; i++)
		if (strcmp(o->acts[i].node, node) == 0)
			return &o->acts[i];
	ASSERT(o->n_acts < ACTS_MAX);
	struct act *a = &o->acts[o->n_acts++];
	*a = (struct act){ .state = ACT_NONE };
	snprintf(a->node, sizeof a->node, "%s", node);
	return a;
}

static void forget_acts(struct ops *o)
{
	for (size_t i = 0; i < o->n_acts; i++)
		if (o->acts[i].state == ACT_RUNS)
			o->env.forget_act(o->env.arg, o->acts[i].id);
	o->n_acts = 0;
}

/* What is over stays known, so that who was told just now is not told again at once. */
static void forget_running_acts(struct ops *o)
{
	for (size_t i = 0; i < o->n_acts; i++) {
		if (o->acts[i].state != ACT_RUNS)
			continue;
		o->env.forget_act(o->env.arg, o->acts[i].id);
		o->acts[i].state = ACT_NONE;
		o->acts[i].ended_us = now(o);
	}
}

static void start_act(struct ops *o, struct act *a, enum ops_act what, const char *primary, uint64_t timeout_us)
{
	a->state = ACT_RUNS;
	a->id = ++o->act_ids;
	a->tries++;
	o->env.act(o->env.arg, a->id, what, a->node, primary, timeout_us);
}

/* -- records --------------------------------------------------------------------------------------------- */

/* o->next is what is to be; STEP is entered when it is.  STEP_NONE: no operation is under way then. */
static bool propose(struct ops *o, enum operation_step step)
{
	o->is_proposing = true;
	o->next_step = step;
	o->env.propose(o->env.arg, o->record.epoch, &o->next);
	return false;
}

static void begin_next(struct ops *o)
{
	o->next = o->record;
}

static void note_failover(struct ops *o)
{
	memmove(&o->failovers_us[1], &o->failovers_us[0], sizeof o->failovers_us - sizeof o->failovers_us[0]);
	o->failovers_us[0] = now(o);
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

/* It waits for an operation that has just begun. */
static void refuse_order(struct ops *o)
{
	bool is_its = o->order.what == OPS_ORDER_SWITCHOVER && o->record.op.kind == OPERATION_SWITCHOVER;
	if (!o->order.id || o->order.answer != OPS_WAITS || is_its)
		return;
	o->order.answer = OPS_FAILED;
	err_set(&o->order.err, "55006", "operation %llu is under way", (unsigned long long)o->record.op.id);
}

/* The operation that was ordered has ended. */
static void answer_switchover(struct ops *o, const struct record_operation *op)
{
	if (o->order.what != OPS_ORDER_SWITCHOVER || !o->order.id || o->order.answer != OPS_WAITS)
		return;
	o->order.answer = op->end == END_DONE ? OPS_DONE : OPS_FAILED;
	err_set(&o->order.err, "55000", "the switchover was given up: %.200s", op->why);
}

static void on_committed(struct ops *o)
{
	bool was_open = o->record.op.id != 0, is_open = o->next.op.id != 0, has_moved = o->next.epoch != o->record.epoch;
	o->record = o->next;
	if (has_moved)
		log_info(NULL, "primary_recorded", KV_STR("cluster", o->record.cluster), KV_STR("primary", o->record.primary),
		         KV_INT("epoch", o->record.epoch), KV_INT("timeline", o->record.timeline));
	if (is_open)
		forget_acts(o);
	else if (was_open)
		forget_running_acts(o);
	if (!was_open && is_open) {
		refuse_order(o);
		o->began_us = now(o);
		o->is_cutting = false;
		o->floor = 0;
	}
	if (is_open && o->next_step == STEP_FOLLOW && o->record.op.kind == OPERATION_FAILOVER)
		note_failover(o);
	if (was_open && !is_open) {
		o->is_cutting = false;
		o->stuck[0] = 0;
		tell_closed(o, &o->record.past[0]);
		answer_switchover(o, &o->record.past[0]);
	}
	o->step = STEP_NONE;
	if (is_open)
		enter(o, o->next_step);
	o->is_routed = false;
	o->env.route(o->env.arg);
}

static bool close_operation(struct ops *o, enum operation_end end, const char *why)
{
	begin_next(o);
	record_close(&o->next, end, why, age_ms(o));
	return propose(o, STEP_NONE);
}

/* Before the point of no return: everything is as it was. */
static bool give_up(struct ops *o, const char *why)
{
	return close_operation(o, END_ABORTED, why);
}

/* -- what nodes say ------------------------------------------------------------------------------------- */

static bool answered_since(const struct ops_node *n, uint64_t us)
{
	return n->guard.has_answered && n->asked_us >= us;
}

/* It writes a timeline behind the recorded one: it was promoted. */
static bool is_promoted(const struct ops *o, const struct ops_node *n, uint64_t since_us)
{
	const struct record *r = &o->record;
	bool is_ours = !n->is_foreign && (!r->system_id || !n->guard.system_id || n->guard.system_id == r->system_id);
	return answered_since(n, since_us) && !n->guard.in_recovery && is_ours && n->guard.timeline > r->timeline;
}

/* The old primary is what it was. */
static bool is_back(const struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *n = node_named(p, o->record.op.source);
	return n && answered_since(n, o->entered_us) && !n->guard.in_recovery && !n->is_foreign &&
	       n->guard.timeline == o->record.timeline;
}

static void ask_again(struct ops *o, uint64_t after_us)
{
	o->env.look(o->env.arg);
	o->env.alarm(o->env.arg, after_us);
}

/* -- switchover ----------------------------------------------------------------------------------------- */

/* New transactions wait; those that run end, or it is given up: nothing has happened yet. */
static bool step_drain(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	if (o->is_resumed)
		return give_up(o, "Lunapool was started anew on the way");
	if (!o->is_routed)
		return false;
	unsigned busy = o->env.busy(o->env.arg, o->record.op.source);
	if (busy == 0) {
		o->is_cutting = true;
		o->is_routed = false;
		enter(o, STEP_HOLD);
		o->env.route(o->env.arg);
		return true;
	}
	snprintf(why, sizeof why, "%u connections to \"%.80s\" are in use: transactions that run, or clients in SHOW PINS", busy,
	         o->record.op.source);
	if (now(o) - o->entered_us >= o->conf.switchover_timeout_us)
		return give_up(o, why);
	o->env.alarm(o->env.arg, DRAIN_US);
	return false;
}

/* Nobody writes there through us any more: what was committed must get to its disk, so that it is sent. */
static bool step_fence(struct ops *o)
{
	struct act *a = act_of(o, o->record.op.source);
	if (o->is_resumed)
		return give_up(o, "Lunapool was started anew on the way");
	if (a->state == ACT_NONE)
		start_act(o, a, OPS_ACT_SETTLE, "", o->conf.switchover_timeout_us);
	if (a->state == ACT_RUNS)
		return false;
	if (a->state == ACT_FAILED)
		return give_up(o, a->err.text);
	enter(o, STEP_CHOOSE);
	return true;
}

static bool target(struct ops *o, const char *name, const char *judged);

/* The candidate has all that the primary had when nobody wrote any more. */
static bool step_catch_up(struct ops *o)
{
	const struct ops_picture *p = picture(o);
	const struct ops_node *from = node_named(p, o->record.op.source), *to = node_named(p, o->record.op.target);
	if (!from || !to)
		return give_up(o, "one of both nodes is not configured any more");
	bool have_answered = answered_since(from, o->entered_us) && answered_since(to, o->entered_us);
	if (have_answered && !o->floor)
		o->floor = from->guard.received;
	if (have_answered && to->guard.in_recovery && to->guard.received >= o->floor)
		return target(o, to->guard.name, "it has everything");
	if (now(o) - o->entered_us >= o->conf.switchover_timeout_us)
		return give_up(o, "the candidate did not get what was written last in time");
	ask_again(o, LOOK_US);
	return false;
}

/* -- failover ------------------------------------------------------------------------------------------- */

static bool step_confirm(struct ops *o)
{
	const struct ops_picture *p = picture(o);
	if (p->is_lost) {
		o->is_cutting = true;
		enter(o, STEP_HOLD);
		o->env.route(o->env.arg);
		return true;
	}
	if (is_back(o, p))
		return give_up(o, "the primary answers");
	if (now(o) - o->entered_us > CONFIRM_US)
		return give_up(o, "that the primary is lost could not be confirmed");
	ask_again(o, LOOK_US);
	return false;
}

/* Until every worker has seen that there is no primary and closed what led to it, nobody else may become it. */
static bool step_hold(struct ops *o)
{
	if (!o->is_routed)
		return false;
	enter(o, o->record.op.kind == OPERATION_SWITCHOVER ? STEP_FENCE : STEP_CHOOSE);
	return true;
}

/* All who can have answered since the routes were cut; or it was long enough. */
static bool have_all_answered(const struct ops *o, const struct ops_picture *p)
{
	if (now(o) - o->entered_us >= ANSWERS_US)
		return true;
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!is_source(o, n) && !answered_since(n, o->entered_us) && n->failed_us < o->entered_us)
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
		if (may && !is_source(o, n) && is_promoted(o, n, o->entered_us))
			return n;
	}
	return NULL;
}

static void tell_candidates(struct ops *o, const struct ops_picture *p, const struct guard_verdict *v, char *out, size_t room)
{
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < p->n_nodes; i++) {
		const char *name = p->nodes[i].guard.name;
		if (is_source(o, &p->nodes[i]))
			continue;
		if (len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%s: %s", len ? "; " : "", name,
			                        v[i].may && !*v[i].why ? "has everything" : v[i].why);
	}
}

static bool target(struct ops *o, const char *name, const char *judged)
{
	begin_next(o);
	struct record_operation *op = &o->next.op;
	op->step = STEP_PROMOTE;
	op->has_no_return = true;
	op->attempt++;
	snprintf(op->target, sizeof op->target, "%s", name);
	snprintf(op->judged, sizeof op->judged, "%s", judged);
	log_info(NULL, "candidate_chosen", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id), KV_STR("node", name),
	         KV_STR("candidates", judged));
	return propose(o, STEP_PROMOTE);
}

/* IS_PLANNED: whoever is chosen will be waited for, so that how far each has come does not count. */
static size_t judge(struct ops *o, const struct ops_picture *p, bool is_planned, struct guard_verdict *verdicts, size_t *order)
{
	struct guard_node nodes[RECORD_NODES_MAX];
	for (size_t i = 0; i < p->n_nodes; i++) {
		nodes[i] = p->nodes[i].guard;
		nodes[i].has_answered = answered_since(&p->nodes[i], o->entered_us);
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
		                             .max_loss = o->conf.max_loss };
	return guard_judge(&view, verdicts, order);
}

/* Every node that may have been promoted is known not to be: then the old primary may go on. */
static bool is_undone(const struct ops *o, const struct ops_picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		bool may_be = was_tried(o, n) || strcmp(n->guard.name, o->record.op.target) == 0;
		if (!is_source(o, n) && may_be && !(answered_since(n, o->entered_us) && n->guard.in_recovery))
			return false;
	}
	return true;
}

/* Nobody is left: those whose promotion failed and who are as they were may try once more. */
static bool readmit(struct ops *o, const struct ops_picture *p)
{
	bool has_any = false;
	begin_next(o);
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!was_tried(o, n) || !answered_since(n, o->entered_us) || !n->guard.in_recovery)
			continue;
		record_flag(&o->next, n->guard.name, 0, RECORD_QUARANTINED, "");
		has_any = true;
	}
	if (has_any)
		propose(o, STEP_CHOOSE);
	return has_any;
}

static bool step_choose(struct ops *o)
{
	if (o->record.op.kind == OPERATION_SWITCHOVER && !o->record.op.has_no_return)
		return step_catch_up(o);
	const struct ops_picture *p = picture(o);
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	char judged[2 * RECORD_WHY_MAX];
	const struct ops_node *promoted = find_promoted(o, p);
	if (promoted)
		return target(o, promoted->guard.name, "it was promoted by somebody else");
	if (is_back(o, p) && !p->is_lost && (!o->record.op.has_no_return || is_undone(o, p)))
		return give_up(o, "the primary is back");
	if (!have_all_answered(o, p)) {
		ask_again(o, LOOK_US);
		return false;
	}
	size_t n = judge(o, p, false, verdicts, order), may = n;
	char why[RECORD_WHY_MAX] = "";
	tell_candidates(o, p, verdicts, judged, sizeof judged);
	if (n > 0 && o->env.choose)
		n = o->env.choose(o->env.arg, verdicts, order, n, why, sizeof why);
	if (n > 0)
		return target(o, p->nodes[order[0]].guard.name, judged);
	if (may > 0)
		stay(o, "the policy wants nobody to take its place: %s", why);
	else
		stay(o, "no node may take its place: %s", judged);
	if (now(o) - o->entered_us >= READMIT_US && readmit(o, p))
		return false;
	ask_again(o, AGAIN_US);
	return false;
}

/* It may yet come out of recovery by itself: from now on it is kept away until it has proved what it is. */
static bool next_candidate(struct ops *o, const char *why)
{
	log_warn(NULL, "promotion_failed", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
	         KV_STR("node", o->record.op.target), KV_STR("reason", why));
	begin_next(o);
	char text[RECORD_WHY_MAX];
	snprintf(text, sizeof text, "%s: %.150s", promotion_failed, why);
	record_flag(&o->next, o->record.op.target, RECORD_QUARANTINED, 0, text);
	o->next.op.step = STEP_CHOOSE;
	return propose(o, STEP_CHOOSE);
}

static bool publish(struct ops *o, const struct ops_node *n)
{
	char why[RECORD_WHY_MAX];
	if (!o->record.op.at_ms[STEP_PUBLISH])
		note_step(o, STEP_PUBLISH);
	begin_next(o);
	struct record *r = &o->next;
	r->epoch++;
	snprintf(r->primary, sizeof r->primary, "%s", n->guard.name);
	r->timeline = n->guard.timeline;
	r->switch_lsn = n->guard.received;
	snprintf(why, sizeof why, "it was the primary until epoch %llu", (unsigned long long)r->epoch);
	record_flag(r, r->op.source, RECORD_QUARANTINED, 0, why);
	record_flag(r, r->primary, 0, RECORD_QUARANTINED, "");
	r->op.step = STEP_FOLLOW;
	return propose(o, STEP_FOLLOW);
}

static bool step_promote(struct ops *o)
{
	const struct ops_picture *p = picture(o);
	const struct ops_node *n = node_named(p, o->record.op.target);
	struct act *a = act_of(o, o->record.op.target);
	if (!n)
		return next_candidate(o, "it is not configured any more");
	if (is_promoted(o, n, o->entered_us))
		return publish(o, n);
	if (o->is_resumed && !answered_since(n, o->entered_us) && n->failed_us < o->entered_us) {
		ask_again(o, LOOK_US);
		return false;
	}
	if (a->state == ACT_NONE) {
		start_act(o, a, OPS_ACT_PROMOTE, "", o->conf.promote_timeout_us);
		return false;
	}
	if (a->state == ACT_RUNS)
		return false;
	/* Whatever was said of it: only the node itself says what it is, asked after that. */
	bool has_said = answered_since(n, a->ended_us), is_silent = n->failed_us >= a->ended_us && !has_said;
	if (!has_said && !is_silent && now(o) - a->ended_us < ANSWERS_US) {
		ask_again(o, LOOK_US);
		return false;
	}
	if (a->tries >= TRIES)
		return next_candidate(o, a->state == ACT_DONE ? "it is said to be promoted, and is not" : a->err.text);
	if (now(o) - a->ended_us < AGAIN_US) {
		ask_again(o, AGAIN_US - (now(o) - a->ended_us));
		return false;
	}
	start_act(o, a, OPS_ACT_PROMOTE, "", o->conf.promote_timeout_us);
	return false;
}

static uint64_t follow_us(const struct ops *o)
{
	return o->conf.follow_timeout_us ? o->conf.follow_timeout_us : FOLLOW_US;
}

/* True: nothing more is to be done for it in this operation. */
static bool has_followed(struct ops *o, const struct ops_node *n)
{
	struct act *a = act_of(o, n->guard.name);
	if (!n->guard.has_answered || !n->guard.in_recovery || n->is_foreign || a->state == ACT_DONE)
		return true;
	if (a->state == ACT_RUNS)
		return false;
	if (a->tries >= FOLLOW_TRIES)
		return true;
	if (a->state == ACT_NONE || now(o) - a->ended_us >= US_PER_S)
		start_act(o, a, OPS_ACT_FOLLOW, o->record.primary, follow_us(o));
	return false;
}

static bool step_follow(struct ops *o)
{
	const struct ops_picture *p = picture(o);
	bool is_over = true;
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i].guard.name, o->record.primary) != 0 && !is_source(o, &p->nodes[i]))
			is_over &= has_followed(o, &p->nodes[i]);
	if (is_over || now(o) - o->entered_us > 2 * follow_us(o))
		return close_operation(o, END_DONE, "");
	o->env.alarm(o->env.arg, AGAIN_US);
	return false;
}

/* -- idle ----------------------------------------------------------------------------------------------- */

static bool adopt(struct ops *o, const struct ops_picture *p, const struct ops_node *n)
{
	char why[RECORD_WHY_MAX];
	begin_next(o);
	struct record *r = &o->next;
	if (*r->primary && strcmp(r->primary, n->guard.name) != 0) {
		snprintf(why, sizeof why, "%.100s was promoted in its place", n->guard.name);
		record_flag(r, r->primary, RECORD_QUARANTINED, 0, why);
	}
	r->epoch++;
	snprintf(r->primary, sizeof r->primary, "%s", n->guard.name);
	r->timeline = n->guard.timeline;
	r->switch_lsn = n->guard.received;
	r->system_id = p->system_id;
	record_flag(r, r->primary, 0, RECORD_QUARANTINED, "");
	propose(o, STEP_NONE);
	return true;
}

static bool tell_conflict(struct ops *o, const char *node, const char *why)
{
	if (!o->has_told_conflict)
		log_error(NULL, "promotion_not_followed", KV_STR("cluster", o->record.cluster), KV_STR("node", node),
		          KV_STR("primary", o->record.primary), KV_STR("reason", why));
	o->has_told_conflict = true;
	return false;
}

static bool has_newer_timeline(const struct ops_picture *p, uint64_t timeline)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (p->nodes[i].guard.has_answered && !p->nodes[i].is_foreign && p->nodes[i].guard.timeline > timeline)
			return true;
	return false;
}

/* Somebody has promoted N.  The recorded one must have been asked: only what it does not contradict is followed. */
static bool may_adopt(struct ops *o, const struct ops_picture *p, const struct ops_node *n)
{
	const struct record *r = &o->record;
	const struct ops_node *recorded = node_named(p, r->primary);
	if (has_newer_timeline(p, n->guard.timeline))
		return tell_conflict(o, n->guard.name, "another node is on a timeline behind its own");
	if (!*r->primary)
		return true;
	if (recorded && !recorded->asked_us && !recorded->failed_us)
		return false;
	if (recorded && recorded->guard.has_answered && !recorded->guard.in_recovery)
		return false;
	if (recorded && recorded->is_refusing)
		return tell_conflict(o, n->guard.name, "the recorded one is there, but refuses the service role");
	if (r->is_paused)
		tell_conflict(o, n->guard.name, "the cluster is paused");
	else if (r->timeline && n->guard.timeline <= r->timeline)
		tell_conflict(o, n->guard.name, "its timeline is not behind the recorded one");
	return !r->is_paused && (!r->timeline || n->guard.timeline > r->timeline);
}

static bool tend_primary(struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *n = p->writable < 0 ? NULL : &p->nodes[p->writable];
	if (!n || !n->guard.has_answered)
		return false;
	bool is_recorded = strcmp(n->guard.name, o->record.primary) == 0;
	if (is_recorded && o->record.system_id && p->system_id && o->record.system_id != p->system_id) {
		log_warn(NULL, "journal_of_another_cluster", KV_STR("cluster", o->record.cluster),
		         KV_INT("recorded", o->record.system_id), KV_INT("system_identifier", p->system_id),
		         KV_STR("effect", "it begins anew"));
		return adopt(o, p, n);
	}
	if (!is_recorded)
		return may_adopt(o, p, n) && adopt(o, p, n);
	o->has_told_conflict = false;
	return n->guard.timeline && n->guard.timeline != o->record.timeline && adopt(o, p, n);
}

/* Two are writable: the recorded one keeps, the other takes nothing. */
static bool tend_usurper(struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *recorded = node_named(p, o->record.primary);
	bool is_there = recorded && (recorded->is_refusing || (recorded->guard.has_answered && !recorded->guard.in_recovery));
	for (size_t i = 0; i < p->n_nodes && is_there; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!n->guard.has_answered || n->guard.in_recovery || n->is_foreign || strcmp(n->guard.name, o->record.primary) == 0 ||
		    record_is_barred(&o->record, n->guard.name) || (int)i == p->writable)
			continue;
		log_error(NULL, "node_quarantined", KV_STR("cluster", o->record.cluster), KV_STR("node", n->guard.name),
		          KV_STR("reason", "it is writable beside the primary"));
		begin_next(o);
		record_flag(&o->next, n->guard.name, RECORD_QUARANTINED, 0, "it was writable beside the primary");
		propose(o, STEP_NONE);
		return true;
	}
	return false;
}

/* It streams what the recorded primary writes, on its timeline: it is a standby like any other. */
static bool has_proved_itself(const struct ops *o, const struct ops_node *n)
{
	return n->guard.has_answered && n->guard.in_recovery && n->is_streaming && !n->is_foreign && o->record.timeline &&
	       n->guard.timeline == o->record.timeline;
}

static bool tend_quarantined(struct ops *o, const struct ops_picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const char *name = p->nodes[i].guard.name;
		const struct record_node *said = record_node(&o->record, name);
		if (!said || !(said->flags & RECORD_QUARANTINED) || !has_proved_itself(o, &p->nodes[i]))
			continue;
		log_info(NULL, "node_released", KV_STR("cluster", o->record.cluster), KV_STR("node", name),
		         KV_STR("reason", "it follows the primary on its timeline"));
		begin_next(o);
		record_flag(&o->next, name, 0, RECORD_QUARANTINED, "");
		propose(o, STEP_NONE);
		return true;
	}
	return false;
}

static bool is_alias_known(const struct ops *o, const struct guard_node *n)
{
	const struct record_node *said = record_node(&o->record, n->name);
	return !*n->alias || (said && strcmp(said->alias, n->alias) == 0);
}

static bool are_facts_known(const struct ops *o, const struct ops_picture *p)
{
	bool are = (o->record.system_id || !p->system_id) && (!p->sync || strcmp(p->sync, o->record.sync) == 0);
	for (size_t i = 0; i < p->n_nodes; i++)
		are &= is_alias_known(o, &p->nodes[i].guard);
	return are;
}

/* What the guard will have to know when the primary cannot be asked any more. */
static bool tend_facts(struct ops *o, const struct ops_picture *p)
{
	if (are_facts_known(o, p))
		return false;
	begin_next(o);
	if (!o->next.system_id)
		o->next.system_id = p->system_id;
	if (p->sync)
		snprintf(o->next.sync, sizeof o->next.sync, "%s", p->sync);
	for (size_t i = 0; i < p->n_nodes; i++)
		if (*p->nodes[i].guard.alias)
			record_alias(&o->next, p->nodes[i].guard.name, p->nodes[i].guard.alias);
	propose(o, STEP_NONE);
	return true;
}

static void apply_order(struct ops *o)
{
	char why[RECORD_WHY_MAX];
	snprintf(why, sizeof why, "by order of %s", o->order.by);
	begin_next(o);
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

static bool tend_order(struct ops *o)
{
	if (!o->order.id || o->order.answer != OPS_WAITS)
		return false;
	apply_order(o);
	o->order.is_proposed = true;
	propose(o, o->order.what == OPS_ORDER_SWITCHOVER ? STEP_DRAIN : STEP_NONE);
	return true;
}

/* A standby that was not there when the others were told: it waits for a timeline that ends behind a switch. */
static bool is_stray(const struct ops *o, const struct ops_node *n)
{
	const struct record_node *said = record_node(&o->record, n->guard.name);
	return n->guard.has_answered && n->guard.in_recovery && !n->is_foreign && !n->is_streaming && n->guard.timeline &&
	       n->guard.timeline < o->record.timeline && !(said && said->flags & RECORD_DETACHED);
}

static void tend_strays(struct ops *o, const struct ops_picture *p)
{
	const struct ops_node *primary = node_named(p, o->record.primary);
	bool may =
	    o->conf.is_automatic && !o->record.is_paused && primary && primary->guard.has_answered && !primary->guard.in_recovery;
	for (size_t i = 0; i < p->n_nodes && may; i++) {
		if (!is_stray(o, &p->nodes[i]))
			continue;
		struct act *a = act_of(o, p->nodes[i].guard.name);
		if (a->state == ACT_RUNS || (a->tries && now(o) - a->ended_us < STRAY_US))
			continue;
		log_info(NULL, "standby_told", KV_STR("cluster", o->record.cluster), KV_STR("node", a->node),
		         KV_STR("primary", o->record.primary));
		start_act(o, a, OPS_ACT_FOLLOW, o->record.primary, FOLLOW_US);
	}
}

static bool is_damped(struct ops *o)
{
	bool is = o->n_failovers == DAMPED_N && now(o) - o->failovers_us[DAMPED_N - 1] < DAMPED_US;
	if (is && !o->has_told_damped)
		log_error(NULL, "failover_damped", KV_STR("cluster", o->record.cluster), KV_INT("failovers", DAMPED_N),
		          KV_INT("seconds", DAMPED_US / US_PER_S), KV_STR("effect", "no automatic failover until then"));
	o->has_told_damped = is;
	return is;
}

static bool tend_lost(struct ops *o, const struct ops_picture *p)
{
	if (!p->is_lost || !*o->record.primary || !o->conf.is_automatic || o->record.is_paused || is_damped(o))
		return false;
	log_warn(NULL, "primary_lost", KV_STR("cluster", o->record.cluster), KV_STR("node", o->record.primary),
	         KV_STR("evidence", p->story));
	begin_next(o);
	record_open(&o->next, OPERATION_FAILOVER, o->record.primary, p->story, o->env.wall_s(o->env.arg));
	propose(o, STEP_CONFIRM);
	return true;
}

static bool tend(struct ops *o)
{
	const struct ops_picture *p = picture(o);
	if (now(o) < o->propose_after_us)
		return false;
	tend_strays(o, p);
	return tend_order(o) || tend_primary(o, p) || tend_lost(o, p) || tend_usurper(o, p) || tend_quarantined(o, p) ||
	       tend_facts(o, p);
}

/* -- public --------------------------------------------------------------------------------------------- */

static bool step(struct ops *o)
{
	switch (o->step) {
	case STEP_CONFIRM:
		return step_confirm(o);
	case STEP_DRAIN:
		return step_drain(o);
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
	default:
		return false;
	}
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
		while (!o->is_proposing && now(o) >= o->propose_after_us && (o->record.op.id ? step(o) : tend(o)))
			;
	}
	o->is_going = false;
}

/* Where an operation was recorded, it goes on; where it was not meant to come back any more, behind the routes' being cut. */
static void resume(struct ops *o)
{
	const struct record_operation *op = &o->record.op;
	o->began_us = now(o);
	o->is_cutting = op->step > STEP_DRAIN;
	log_warn(NULL, "operation_resumed", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	         KV_STR("kind", operation_kind_word(op->kind)), KV_STR("step", operation_step_word(op->step)));
	enter(o, op->step);
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
	forget_acts(o);
	mem_free(o);
}

void ops_configure(struct ops *o, const struct ops_conf *conf)
{
	o->conf = *conf;
}

static void end_order(struct ops *o, enum record_fate fate, const struct err *err)
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

void ops_on_record(struct ops *o, enum record_fate fate, const struct err *err)
{
	ASSERT(o->is_proposing);
	o->is_proposing = false;
	end_order(o, fate, err);
	if (fate == RECORD_COMMITTED) {
		o->propose_after_us = 0;
		on_committed(o);
	} else {
		log_error(NULL, "record_lost", KV_STR("cluster", o->record.cluster), KV_ERR(err),
		          KV_STR("effect", "nothing is done until it can be written"));
		o->propose_after_us = now(o) + LOST_AGAIN_US;
		o->env.alarm(o->env.arg, LOST_AGAIN_US);
	}
	ops_go_on(o);
}

void ops_on_routed(struct ops *o)
{
	o->is_routed = true;
	ops_go_on(o);
}

void ops_on_act(struct ops *o, uint64_t id, bool is_done, const struct err *err)
{
	for (size_t i = 0; i < o->n_acts; i++) {
		struct act *a = &o->acts[i];
		if (a->id != id || a->state != ACT_RUNS)
			continue;
		a->state = is_done ? ACT_DONE : ACT_FAILED;
		a->ended_us = now(o);
		if (!is_done) {
			a->err = *err;
			log_warn(NULL, "action_failed", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
			         KV_STR("node", a->node), KV_STR("step", operation_step_word(o->step)), KV_ERR(err));
		}
	}
	o->env.look(o->env.arg);
	ops_go_on(o);
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

/* The candidate: NODE, or the best one; its name goes to OUT. */
static bool may_switch(struct ops *o, const char *node, char *out, size_t room, struct err *err)
{
	const struct ops_picture *p = picture(o);
	const struct ops_node *primary = node_named(p, o->record.primary), *to = NULL;
	struct guard_verdict verdicts[RECORD_NODES_MAX];
	size_t order[RECORD_NODES_MAX];
	if (!primary || !primary->guard.has_answered || primary->guard.in_recovery || p->is_lost)
		return err_set(err, "55000", "the primary does not answer: a switchover needs it");
	o->entered_us = 0; /* what they have said so far counts */
	size_t n = judge(o, p, true, verdicts, order);
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
	if (what == OPS_ORDER_SWITCHOVER && !may_switch(o, node, candidate, sizeof candidate, err))
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

uint64_t ops_age_ms(const struct ops *o)
{
	return o->record.op.id ? age_ms(o) : 0;
}

const struct record *ops_record(const struct ops *o)
{
	return &o->record;
}

bool ops_holds(const struct ops *o)
{
	bool is_switchover = o->record.op.kind == OPERATION_SWITCHOVER;
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

const char *ops_stuck(const struct ops *o)
{
	return *o->stuck ? o->stuck : NULL;
}
