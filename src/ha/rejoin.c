/*
 * rejoin — nodes in quarantine are made standbys again by the policy's hooks, of themselves (returning says so) or by order; RECOVER is the same for
 * any node, with another hook.
 *
 *   in quarantine: what is it? ──another thing than before, or its pause is over──► the policy is asked ──rejoin──► open: work ──► verify ──► released
 *                                                                                     └──attach──► told whom to follow
 *
 * An operation that fails leaves its node in quarantine, says why, and comes again behind a pause that doubles each time.
 *
 * Always: its node is in quarantine from the record that opens it to the one that closes it;  it is released only when it streams from the
 *         recorded primary on its timeline, whatever its hook has said;  a node that is detached is left alone but by order.
 */
#include "opspriv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define PRIMARY_US (60 * US_PER_S) /* that a hook waits for a primary that answers */
#define VERIFY_US (60 * US_PER_S)  /* for a standby that comes no further */
#define FOLLOWS_US (10 * US_PER_S) /* for a standby to find its way by itself */
#define AGAIN_US (200 * US_PER_MS)
#define PAUSE_US (5 * US_PER_S)
#define PAUSE_SHIFT_MAX 7u /* 640 s */

/* ---- what is known of nodes in quarantine -------------------------------------------------------------------------------- */

static struct returned *find_returned(struct ops *o, const char *node)
{
	for (size_t i = 0; i < o->n_returned; i++)
		if (strcmp(o->returned[i].node, node) == 0)
			return &o->returned[i];
	return NULL;
}

static struct returned *returned_of(struct ops *o, const char *node)
{
	struct returned *r = find_returned(o, node);
	if (r)
		return r;
	r = &o->returned[o->n_returned < RECORD_NODES_MAX ? o->n_returned++ : 0];
	*r = (struct returned){ .is = OPS_AWAY };
	snprintf(r->node, sizeof r->node, "%s", node);
	return r;
}

static bool is_quarantined(const struct ops *o, const char *node)
{
	const struct record_node *said = record_node(&o->record, node);
	return said && said->flags & RECORD_QUARANTINED;
}

static void forget_released(struct ops *o)
{
	for (size_t i = 0; i < o->n_returned; i++)
		if (!is_quarantined(o, o->returned[i].node))
			o->returned[i--] = o->returned[--o->n_returned];
}

void op_ask_of_returned_again(struct ops *o)
{
	for (size_t i = 0; i < o->n_returned; i++)
		o->returned[i].was_asked = false;
}

bool op_is_released(struct ops *o, const struct ops_node *n)
{
	const struct returned *r = find_returned(o, n->guard.name);
	return op_has_proved_itself(o, n) && !op_is_target(o, n->guard.name) && (!r || op_answered_since(n, r->worked_us));
}

void op_end_restoring(struct ops *o, const char *node)
{
	returned_of(o, node)->worked_us = op_now(o);
}

/* ---- the steps ------------------------------------------------------------------------------------------------------------- */

static uint64_t pause_us(unsigned tries)
{
	return PAUSE_US << (tries - 1 < PAUSE_SHIFT_MAX ? tries - 1 : PAUSE_SHIFT_MAX);
}

/* It stays in quarantine. */
static bool fail(struct ops *o, const char *why)
{
	const struct record_operation *op = &o->record.op;
	struct returned *r = returned_of(o, op->target);
	char text[RECORD_WHY_MAX];
	r->tries = op->attempt;
	r->again_us = op_now(o) + pause_us(r->tries);
	snprintf(text, sizeof text, "its %s failed, try %u: %.140s", operation_kind_word(op->kind), op->attempt, why);
	log_warn(NULL, "node_not_restored", KV_STR("cluster", o->record.cluster), KV_INT("operation", op->id),
	         KV_STR("kind", operation_kind_word(op->kind)), KV_STR("node", op->target), KV_INT("try", op->attempt),
	         KV_INT("pause_s", pause_us(r->tries) / US_PER_S), KV_STR("reason", why));
	op_draft(o);
	record_flag(&o->next, op->target, RECORD_QUARANTINED, 0, text);
	record_close(&o->next, END_ABORTED, why, op_age_ms(o));
	return op_propose(o, STEP_NONE);
}

static void begin_work(struct ops *o, struct act *a)
{
	bool is_recover = o->record.op.kind == OPERATION_RECOVER;
	o->stuck[0] = 0;
	op_start_act(o, a, is_recover ? OPS_ACT_RECOVER : OPS_ACT_REJOIN, o->record.primary,
	             is_recover ? o->conf.recover_timeout_us : o->conf.rejoin_timeout_us);
}

bool step_work(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	struct act *a = op_act_of(o, o->record.op.target);
	if (!op_node(p, o->record.op.target))
		return fail(o, "it is not configured any more");
	if (a->state == ACT_RUNS)
		return false;
	if (a->state == ACT_FAILED)
		return fail(o, a->err.text);
	if (a->state == ACT_DONE) {
		op_draft(o);
		o->next.op.step = STEP_VERIFY;
		return op_propose(o, STEP_VERIFY);
	}
	if (op_is_primary_there(o, p)) {
		begin_work(o, a);
		return false;
	}
	if (op_now(o) - o->entered_us >= PRIMARY_US)
		return fail(o, "the primary does not answer");
	op_stay(o, "the primary does not answer");
	op_ask_again(o, AGAIN_US);
	return false;
}

/* A standby that was built anew replays for a while before it asks for more. */
static bool comes_further(struct ops *o, const struct ops_node *n)
{
	if (n->guard.has_answered && n->guard.received > o->received) {
		o->received = n->guard.received;
		o->received_us = op_now(o);
	}
	uint64_t since = o->received_us > o->entered_us ? o->received_us : o->entered_us;
	return op_now(o) - since < VERIFY_US;
}

bool step_verify(struct ops *o)
{
	const char *target = o->record.op.target;
	const struct ops_node *n = op_node(op_picture(o), target);
	if (!n)
		return fail(o, "it is not configured any more");
	if (op_has_proved_itself(o, n) && op_answered_since(n, o->entered_us)) {
		op_draft(o);
		record_flag(&o->next, target, 0, RECORD_QUARANTINED, "");
		record_close(&o->next, END_DONE, "", op_age_ms(o));
		return op_propose(o, STEP_NONE);
	}
	if (!comes_further(o, n))
		return fail(o, "the hook says that it is done, and it does not receive what the primary writes");
	op_ask_again(o, AGAIN_US);
	return false;
}

/* ---- who returns ----------------------------------------------------------------------------------------------------------- */

void op_open_restoring(struct ops *o, enum operation_kind kind, const char *node, const char *why, bool is_ordered)
{
	const struct returned *r = find_returned(o, node);
	const struct record_node *said = record_node(&o->next, node);
	char text[RECORD_WHY_MAX];
	snprintf(text, sizeof text, "%s", is_ordered || !said ? why : said->why);
	op_open(o, kind, o->record.primary, why);
	o->next.op.attempt = r ? r->tries + 1 : 1;
	snprintf(o->next.op.target, sizeof o->next.op.target, "%s", node);
	record_flag(&o->next, node, RECORD_QUARANTINED, is_ordered ? RECORD_DETACHED : 0, text);
}

static enum ops_condition condition_of(const struct ops_node *n)
{
	if (n->is_foreign)
		return OPS_AWAY;
	if (n->guard.has_answered)
		return n->guard.in_recovery ? OPS_STANDBY : OPS_WRITABLE;
	return n->is_down ? OPS_DOWN : OPS_AWAY;
}

static enum ops_returning refuse(const struct ops *o, const char *node, const char *why)
{
	log_warn(NULL, "node_stays_in_quarantine", KV_STR("cluster", o->record.cluster), KV_STR("node", node), KV_STR("reason", why));
	return OPS_QUARANTINE;
}

/* What the policy says of it, as far as that may be. */
static enum ops_returning ask(struct ops *o, const struct ops_node *n, const struct returned *r)
{
	const struct ops_returned it = { .node = n->guard.name,
		                             .is = r->is,
		                             .timeline = n->guard.has_answered ? n->guard.timeline : 0,
		                             .why = record_node(&o->record, n->guard.name)->why,
		                             .tries = r->tries };
	enum ops_returning said = o->env.returning ? o->env.returning(o->env.arg, &it) : OPS_QUARANTINE;
	if (said == OPS_REJOIN && !(o->env.can && o->env.can(o->env.arg, OPS_ACT_REJOIN)))
		return refuse(o, n->guard.name, "the policy wants it to rejoin, and has no hook rejoin");
	if (said == OPS_ATTACH && r->is != OPS_STANDBY)
		return refuse(o, n->guard.name, "the policy wants it to be attached, which only a standby can be");
	return said;
}

/* What it has written behind the place where the primary's timeline began is nowhere else. */
static void tell_diverged(const struct ops *o, const struct ops_node *n)
{
	const struct record *r = &o->record;
	uint64_t from = r->switch_lsn, to = n->guard.received;
	if (!n->guard.has_answered || !n->guard.timeline || n->guard.timeline >= r->timeline || !from || to <= from)
		return;
	char range[64];
	snprintf(range, sizeof range, "%" PRIX32 "/%" PRIX32 " to %" PRIX32 "/%" PRIX32, (uint32_t)(from >> 32), (uint32_t)from,
	         (uint32_t)(to >> 32), (uint32_t)to);
	log_warn(NULL, "node_diverged", KV_STR("cluster", r->cluster), KV_STR("node", n->guard.name),
	         KV_INT("timeline", n->guard.timeline), KV_STR("range", range), KV_INT("bytes", to - from),
	         KV_STR("effect", "nobody else has that WAL, and a rewind or a new copy drops it"));
}

/* Whether the policy is to be asked of it now. */
static bool is_due(struct ops *o, const struct ops_node *n, struct returned *r)
{
	enum ops_condition is = condition_of(n);
	bool is_old = n->guard.has_answered && n->asked_us < r->worked_us;
	if (is != r->is) {
		r->is = is;
		r->since_us = op_now(o);
		r->was_asked = false;
	}
	return is != OPS_AWAY && !is_old && op_now(o) >= r->again_us && (is != OPS_STANDBY || op_now(o) - r->since_us >= FOLLOWS_US);
}

/* True: its rejoin was proposed. */
static bool tend_one(struct ops *o, const struct ops_node *n)
{
	static const char *const words[] = { "away", "down", "a standby", "writable" };
	char why[RECORD_WHY_MAX];
	struct returned *r = returned_of(o, n->guard.name);
	if (!is_due(o, n, r))
		return false;
	if (!r->was_asked) {
		r->was_asked = true;
		tell_diverged(o, n);
		r->said = ask(o, n, r);
	}
	if (r->said == OPS_ATTACH)
		op_tell_to_follow(o, n->guard.name);
	if (r->said != OPS_REJOIN)
		return false;
	r->was_asked = false; /* behind this try */
	snprintf(why, sizeof why, "it is back, %s, and the policy wants it to rejoin", words[r->is]);
	op_draft(o);
	op_open_restoring(o, OPERATION_REJOIN, n->guard.name, why, false);
	op_propose(o, STEP_WORK);
	return true;
}

bool op_tend_returned(struct ops *o, const struct ops_picture *p)
{
	if (o->record.op.id || o->record.is_paused || !op_is_primary_there(o, p))
		return false;
	forget_released(o);
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct record_node *said = record_node(&o->record, p->nodes[i].guard.name);
		if (said && said->flags == RECORD_QUARANTINED && tend_one(o, &p->nodes[i]))
			return true;
	}
	return false;
}

/* ---- by order -------------------------------------------------------------------------------------------------------------- */

bool op_may_restore(struct ops *o, enum ops_order what, const char *node, struct err *err)
{
	const struct ops_picture *p = op_picture(o);
	const struct ops_node *n = op_node(p, node);
	bool is_recover = what == OPS_ORDER_RECOVER;
	const char *hook = is_recover ? "recover" : "rejoin";
	if (strcmp(node, o->record.primary) == 0)
		return err_set(err, "55000", "\"%s\" is the primary", node);
	if (!n)
		return err_set(err, "42704", "there is no node \"%s\"", node);
	if (n->guard.has_answered && n->is_foreign)
		return err_set(err, "55000", "\"%s\" is of another cluster", node);
	if (!is_recover && op_has_proved_itself(o, n))
		return err_set(err, "55000", "\"%s\" follows the primary already", node);
	if (!o->env.can || !o->env.can(o->env.arg, is_recover ? OPS_ACT_RECOVER : OPS_ACT_REJOIN))
		return err_set(err, "55000", "the policy has no hook %s", hook);
	return op_is_primary_there(o, p) || err_set(err, "55000", "the primary does not answer, whom it would have to follow");
}
