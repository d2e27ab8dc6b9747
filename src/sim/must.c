/*
 * must — what must never be, whatever a policy does and whoever dies; looked at after each turn of events.
 *
 *   one write target: whoever acknowledges a write is the recorded primary, who is not in quarantine
 *   no acknowledged synchronous write is lost: whoever is recorded as primary has it
 *   one promotion for each candidate that an operation has tried, and none of anybody else by us
 *   nobody is promoted before that is recorded, nor while somebody may still write to the old one
 *   what is done to a node to bring it back is recorded before, and nobody reads there
 *   no read at a standby that lacks what its session has written before
 *   the epoch grows; what Lunapool goes by is what is on the disk
 */
#include <string.h>

#include "priv.h"

void must_on_acknowledged(struct sim *s, const struct node *n)
{
	const char *primary = group_of(s, n)->record.primary;
	if (*primary && strcmp(primary, n->name) != 0)
		sim_violate(s, "one write target: %s acknowledged a write while %s is the recorded primary", n->name, primary);
}

static bool promotes(const struct record_operation *op)
{
	return op->kind == OPERATION_FAILOVER || op->kind == OPERATION_SWITCHOVER;
}

/* Under way, or the last that was: a promotion may come late. */
static const struct record_operation *promoting(const struct record *r)
{
	for (size_t i = 0; !promotes(&r->op) && i < r->n_past; i++)
		if (promotes(&r->past[i]))
			return &r->past[i];
	return &r->op;
}

void must_on_promoted(struct sim *s, const struct node *n)
{
	struct group *g = group_of(s, n);
	const struct record_operation *op = promoting(&g->record);
	if (n->is_by_others)
		return;
	g->promotions_of_it = g->of_operation == op->id ? g->promotions_of_it + 1 : 1;
	g->of_operation = op->id;
	if (g->promotions_of_it > op->attempt)
		sim_violate(s, "one promotion: operation %llu has tried %u candidates, and %s is the %uth that is promoted",
		            (unsigned long long)op->id, op->attempt, n->name, g->promotions_of_it);
}

void must_on_recorded(struct sim *s, const struct group *g, uint64_t epoch_before)
{
	if (g->record.epoch != epoch_before && g->record.epoch != epoch_before + 1)
		sim_violate(s, "the epoch goes from %llu to %llu", (unsigned long long)epoch_before, (unsigned long long)g->record.epoch);
}

static void must_on_promoting(struct sim *s, const struct node *n)
{
	const struct record *r = &group_of(s, n)->record;
	const struct record_operation *op = &r->op;
	if (!promotes(op) || !op->has_no_return || strcmp(op->target, n->name) != 0)
		sim_violate(s, "%s is promoted, and no operation's record says so", n->name);
	else if (s->nodes[sim_node_named(s, op->source)].is_used)
		sim_violate(s, "one write target: %s is promoted, and %s is not cut off everywhere", n->name, op->source);
}

static void must_on_restoring(struct sim *s, const struct node *n, enum operation_kind kind)
{
	const struct record *r = &group_of(s, n)->record;
	const struct record_operation *op = &r->op;
	const struct topo_node *said = life_node(s, (int)(n - s->nodes));
	if (op->kind != kind || strcmp(op->target, n->name) != 0)
		sim_violate(s, "something is done to %s, and no operation's record says so", n->name);
	else if (!record_is_barred(r, n->name) || !said || !said->is_cut)
		sim_violate(s, "something is done to %s, and it is not kept away", n->name);
}

void must_on_rests(struct sim *s, const struct node *n)
{
	const struct ops *o = life_ops(s, group_of(s, n));
	if (group_of(s, n)->record.op.kind != OPERATION_SWITCHOVER || ops_parting(o, n->name) == OPS_STAYS || ops_is_cut(o, n->name))
		sim_violate(s, "who only listens leaves in switchovers, before %s is cut off", n->name);
}

void must_on_act(struct sim *s, const char *act, const struct node *n)
{
	if (strcmp(act, "promote") == 0)
		must_on_promoting(s, n);
	else if (strcmp(act, "rejoin") == 0)
		must_on_restoring(s, n, OPERATION_REJOIN);
	else if (strcmp(act, "recover") == 0)
		must_on_restoring(s, n, OPERATION_RECOVER);
	else if (strcmp(act, "returning") == 0 && !record_is_barred(&group_of(s, n)->record, n->name))
		sim_violate(s, "the policy is asked about %s, which is not kept away", n->name);
}

void must_on_read(struct sim *s, const struct node *n, const struct written *w)
{
	int at = sim_node_named(s, group_of(s, n)->record.primary);
	const struct node *p = at < 0 ? NULL : &s->nodes[at];
	bool is_lost = !p || !node_holds(s, p->branch, p->lsn, w->branch, w->lsn); /* the primary has it no more, either */
	if (!is_lost && !node_holds(s, n->branch, n->replayed, w->branch, w->lsn))
		sim_violate(s, "no read below its floor: %s does not show what the session has written before", n->name);
}

/* Who has just been recorded has all that was acknowledged. */
static void look_at_writes(struct sim *s, const struct group *g)
{
	uint64_t lost = g->sync && !g->may_lose ? sim_lost_writes(s, (int)(g - s->groups)) : 0;
	if (lost)
		sim_violate(s, "no acknowledged synchronous write lost: %s lacks %llu of them", g->record.primary,
		            (unsigned long long)lost);
}

static void look_at_operation(struct sim *s, const struct group *g, const struct ops *o)
{
	const struct record *r = ops_record(o);
	if (strcmp(r->primary, g->record.primary) != 0 || r->epoch != g->record.epoch)
		sim_violate(s, "what Lunapool goes by (%s, epoch %llu) is not what is on its disk (%s, epoch %llu)", r->primary,
		            (unsigned long long)r->epoch, g->record.primary, (unsigned long long)g->record.epoch);
	if (*r->primary && !ops_holds(o) && record_is_barred(r, r->primary))
		sim_violate(s, "the recorded primary %s is kept away", r->primary);
	bool restores = r->op.kind == OPERATION_REJOIN || r->op.kind == OPERATION_RECOVER;
	if (r->op.id && restores && (!ops_is_cut(o, r->op.target) || strcmp(r->op.target, r->primary) == 0 || ops_holds(o)))
		sim_violate(s, "what is done to %s is in somebody's way", r->op.target);
	if (r->op.id && r->op.kind == OPERATION_DRAIN && !record_is_barred(r, r->op.target) &&
	    (ops_is_cut(o, r->op.target) || !ops_is_draining(o, r->op.target)))
		sim_violate(s, "%s is drained: what runs there runs on, and nothing begins", r->op.target);
	if (r->op.id && r->op.step == STEP_FOLLOW && !ops_is_cut(o, r->op.source))
		sim_violate(s, "one write target: %s is not cut off, and %s is primary in its place", r->op.source, r->primary);
}

static void look_at(struct sim *s, struct group *g)
{
	const struct ops *o = life_ops(s, g);
	if (o)
		look_at_operation(s, g, o);
	if (g->record.epoch < g->greatest_epoch)
		sim_violate(s, "the epoch went from %llu to %llu", (unsigned long long)g->greatest_epoch,
		            (unsigned long long)g->record.epoch);
	if (g->record.epoch != g->greatest_epoch)
		look_at_writes(s, g);
	g->greatest_epoch = g->record.epoch;
}

void sim_allow_loss(struct sim *s, int cluster)
{
	s->groups[cluster].may_lose = true;
}

void must_look(struct sim *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		look_at(s, &s->groups[i]);
}
