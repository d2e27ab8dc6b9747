/*
 * tend — what is done while no operation is under way but one in the background: orders are begun, promotions by others followed, a second primary
 * kept away, those who have proved themselves taken back (without the slots of those who have left them), standbys that wait in vain told whom to follow; and a primary that is lost begins a
 * failover.
 */
#include "opspriv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define STRAY_US (10 * US_PER_S) /* until a standby that does not follow is told again */
#define TIDY_US (10 * US_PER_S)
#define DAMPED_US (600 * US_PER_S)

static bool adopt(struct ops *o, const struct ops_picture *p, const struct ops_node *n)
{
	char why[RECORD_WHY_MAX];
	op_draft(o);
	struct record *r = &o->next;
	snprintf(why, sizeof why, "%.100s is another primary, or on another timeline, than when it began", n->guard.name);
	op_make_way(o, why);
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
	op_propose(o, STEP_NONE);
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
	const struct ops_node *recorded = op_node(p, r->primary);
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
	const struct ops_node *recorded = op_node(p, o->record.primary);
	bool is_there = recorded && (recorded->is_refusing || (recorded->guard.has_answered && !recorded->guard.in_recovery));
	for (size_t i = 0; i < p->n_nodes && is_there; i++) {
		const struct ops_node *n = &p->nodes[i];
		if (!n->guard.has_answered || n->guard.in_recovery || n->is_foreign || strcmp(n->guard.name, o->record.primary) == 0 ||
		    record_is_barred(&o->record, n->guard.name) || (int)i == p->writable)
			continue;
		log_error(NULL, "node_quarantined", KV_STR("cluster", o->record.cluster), KV_STR("node", n->guard.name),
		          KV_STR("reason", "it is writable beside the primary"));
		op_draft(o);
		record_flag(&o->next, n->guard.name, RECORD_QUARANTINED, 0, "it was writable beside the primary");
		op_propose_beside(o);
		return true;
	}
	return false;
}

/* It may have been primary, and have slots whose standbys have left it: their WAL would be kept for ever. */
static void tidy(struct ops *o, const char *node)
{
	struct act *a = op_act_of(o, node);
	if (a->state != ACT_RUNS && (o->conf.is_automatic || o->conf.is_manual) && !o->record.is_paused)
		op_start_act(o, a, OPS_ACT_TIDY, o->record.primary, TIDY_US);
}

static bool tend_quarantined(struct ops *o, const struct ops_picture *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const char *name = p->nodes[i].guard.name;
		const struct record_node *said = record_node(&o->record, name);
		if (!said || !(said->flags & RECORD_QUARANTINED) || !op_is_released(o, &p->nodes[i]))
			continue;
		log_info(NULL, "node_released", KV_STR("cluster", o->record.cluster), KV_STR("node", name),
		         KV_STR("reason", "it follows the primary on its timeline"));
		op_draft(o);
		record_flag(&o->next, name, 0, RECORD_QUARANTINED, "");
		tidy(o, name);
		op_propose_beside(o);
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
	op_draft(o);
	if (!o->next.system_id)
		o->next.system_id = p->system_id;
	if (p->sync)
		snprintf(o->next.sync, sizeof o->next.sync, "%s", p->sync);
	for (size_t i = 0; i < p->n_nodes; i++)
		if (*p->nodes[i].guard.alias)
			record_alias(&o->next, p->nodes[i].guard.name, p->nodes[i].guard.alias);
	op_propose_beside(o);
	return true;
}

/* Another standby that fed it is gone, and has not come back for a while. */
static bool is_orphan(const struct ops *o, const struct ops_picture *p, const struct ops_node *n)
{
	const struct ops_node *up = n->upstream && *n->upstream ? op_node(p, n->upstream) : NULL;
	return up && strcmp(n->upstream, o->record.primary) != 0 && !up->guard.has_answered && !up->is_refusing &&
	       up->failed_us > up->asked_us + STRAY_US;
}

/* A standby that was not there when the others were told: it waits for a timeline that ends behind a switch. */
static bool is_stray(const struct ops *o, const struct ops_picture *p, const struct ops_node *n)
{
	const struct record_node *said = record_node(&o->record, n->guard.name);
	bool is_behind = n->guard.timeline && n->guard.timeline < o->record.timeline;
	return n->guard.has_answered && n->guard.in_recovery && !n->is_foreign && !n->is_streaming &&
	       (is_behind || is_orphan(o, p, n)) && !(said && said->flags & RECORD_DETACHED);
}

void op_tell_to_follow(struct ops *o, const char *node)
{
	struct act *a = op_act_of(o, node);
	if (a->state == ACT_RUNS || (a->tries && op_now(o) - a->ended_us < STRAY_US))
		return;
	log_info(NULL, "standby_told", KV_STR("cluster", o->record.cluster), KV_STR("node", a->node),
	         KV_STR("primary", o->record.primary));
	op_start_act(o, a, OPS_ACT_FOLLOW, o->record.primary, op_follow_us(o));
}

static void tend_strays(struct ops *o, const struct ops_picture *p)
{
	bool may = (o->conf.is_automatic || o->conf.is_manual) && !o->record.is_paused && op_is_primary_there(o, p);
	for (size_t i = 0; i < p->n_nodes && may; i++) {
		if (is_stray(o, p, &p->nodes[i]) && !op_is_target(o, p->nodes[i].guard.name))
			op_tell_to_follow(o, p->nodes[i].guard.name);
	}
}

static bool is_damped(struct ops *o)
{
	bool is = o->n_failovers == DAMPED_N && op_now(o) - o->failovers_us[DAMPED_N - 1] < DAMPED_US;
	if (is && !o->has_told_damped)
		log_error(NULL, "failover_damped", KV_STR("cluster", o->record.cluster), KV_INT("failovers", DAMPED_N),
		          KV_INT("seconds", DAMPED_US / US_PER_S), KV_STR("effect", "no automatic failover until then"));
	o->has_told_damped = is;
	return is;
}

/* For people: nothing is done before they say so. */
static void tell_awaited(struct ops *o, const struct ops_picture *p)
{
	bool is = o->conf.is_manual && p->is_lost && *o->record.primary;
	if (is == o->has_told_awaited)
		return;
	o->has_told_awaited = is;
	o->stuck[0] = 0;
	o->env.alarm(o->env.arg, LOOK_US); /* SHOW OPERATIONS says so, too */
	if (!is)
		return;
	snprintf(o->stuck, sizeof o->stuck, "the primary is lost, and failover = manual: the order FAILOVER is awaited. %s",
	         p->story);
	log_error(NULL, "failover_awaited", KV_STR("cluster", o->record.cluster), KV_STR("node", o->record.primary),
	          KV_STR("evidence", p->story), KV_STR("hint", "lunapool ctl failover"));
}

static bool tend_lost(struct ops *o, const struct ops_picture *p)
{
	tell_awaited(o, p);
	if (!p->is_lost || !*o->record.primary || !o->conf.is_automatic || o->record.is_paused || is_damped(o))
		return false;
	log_warn(NULL, "primary_lost", KV_STR("cluster", o->record.cluster), KV_STR("node", o->record.primary),
	         KV_STR("evidence", p->story));
	op_draft(o);
	op_open(o, OPERATION_FAILOVER, o->record.primary, p->story);
	op_propose(o, STEP_CONFIRM);
	return true;
}

bool op_tend(struct ops *o)
{
	const struct ops_picture *p = op_picture(o);
	if (op_now(o) < o->propose_after_us)
		return false;
	tend_strays(o, p);
	return op_tend_order(o) || tend_primary(o, p) || tend_lost(o, p) || tend_usurper(o, p) || tend_quarantined(o, p) ||
	       tend_facts(o, p) || op_tend_returned(o, p);
}
