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

void must_on_acknowledged(struct sim *s, int node)
{
	const struct node *n = &s->nodes[node];
	if (*s->record.primary && strcmp(s->record.primary, n->name) != 0)
		sim_violate(s, "one write target: %s acknowledged a write while %s is the recorded primary", n->name, s->record.primary);
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
	const struct record_operation *op = promoting(&s->record);
	if (n->is_by_others)
		return;
	s->promotions_of_it = s->of_operation == op->id ? s->promotions_of_it + 1 : 1;
	s->of_operation = op->id;
	if (s->promotions_of_it > op->attempt)
		sim_violate(s, "one promotion: operation %llu has tried %u candidates, and %s is the %uth that is promoted",
		            (unsigned long long)op->id, op->attempt, n->name, s->promotions_of_it);
}

void must_on_recorded(struct sim *s, uint64_t epoch_before)
{
	if (s->record.epoch != epoch_before && s->record.epoch != epoch_before + 1)
		sim_violate(s, "the epoch goes from %llu to %llu", (unsigned long long)epoch_before, (unsigned long long)s->record.epoch);
}

static void must_on_promoting(struct sim *s, const struct node *n)
{
	const struct record_operation *op = &s->record.op;
	if (!promotes(op) || !op->has_no_return || strcmp(op->target, n->name) != 0)
		sim_violate(s, "%s is promoted, and no operation's record says so", n->name);
	else if (s->nodes[sim_node_named(s, op->source)].is_used)
		sim_violate(s, "one write target: %s is promoted, and %s is not cut off everywhere", n->name, op->source);
}

static void must_on_restoring(struct sim *s, const struct node *n, enum operation_kind kind)
{
	const struct record_operation *op = &s->record.op;
	const struct topo_node *said = life_node(s, (int)(n - s->nodes));
	if (op->kind != kind || strcmp(op->target, n->name) != 0)
		sim_violate(s, "something is done to %s, and no operation's record says so", n->name);
	else if (!record_is_barred(&s->record, n->name) || !said || !said->is_cut)
		sim_violate(s, "something is done to %s, and it is not kept away", n->name);
}

void must_on_act(struct sim *s, const char *act, const struct node *n)
{
	if (strcmp(act, "promote") == 0)
		must_on_promoting(s, n);
	else if (strcmp(act, "rejoin") == 0)
		must_on_restoring(s, n, OPERATION_REJOIN);
	else if (strcmp(act, "recover") == 0)
		must_on_restoring(s, n, OPERATION_RECOVER);
	else if (strcmp(act, "returning") == 0 && !record_is_barred(&s->record, n->name))
		sim_violate(s, "the policy is asked about %s, which is not kept away", n->name);
}

void must_on_read(struct sim *s, const struct node *n, const struct written *w)
{
	int at = sim_node_named(s, s->record.primary);
	const struct node *p = at < 0 ? NULL : &s->nodes[at];
	bool is_lost = !p || !node_holds(s, p->branch, p->lsn, w->branch, w->lsn); /* the primary has it no more, either */
	if (!is_lost && !node_holds(s, n->branch, n->replayed, w->branch, w->lsn))
		sim_violate(s, "no read below its floor: %s does not show what the session has written before", n->name);
}

/* Who has just been recorded has all that was acknowledged. */
static void look_at_writes(struct sim *s)
{
	uint64_t lost = s->sync ? sim_lost_writes(s) : 0;
	if (lost)
		sim_violate(s, "no acknowledged synchronous write lost: %s lacks %llu of them", s->record.primary,
		            (unsigned long long)lost);
}

static void look_at_operation(struct sim *s, const struct ops *o)
{
	const struct record *r = ops_record(o);
	if (strcmp(r->primary, s->record.primary) != 0 || r->epoch != s->record.epoch)
		sim_violate(s, "what Lunapool goes by (%s, epoch %llu) is not what is on its disk (%s, epoch %llu)", r->primary,
		            (unsigned long long)r->epoch, s->record.primary, (unsigned long long)s->record.epoch);
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

void must_look(struct sim *s)
{
	const struct ops *o = life_ops(s);
	if (o)
		look_at_operation(s, o);
	if (s->record.epoch < s->greatest_epoch)
		sim_violate(s, "the epoch went from %llu to %llu", (unsigned long long)s->greatest_epoch,
		            (unsigned long long)s->record.epoch);
	if (s->record.epoch != s->greatest_epoch)
		look_at_writes(s);
	s->greatest_epoch = s->record.epoch;
}
