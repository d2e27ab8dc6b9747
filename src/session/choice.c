/*
 * choice — see the header.  What is named is taken as it is; of several the policy's balance() chooses, or the configured algorithm.
 */
#include "choice.h"

#include "base/rand.h"

uint64_t choice_meant(const struct topo_cluster *c, const struct policy_decision *d)
{
	uint64_t primary = UINT64_C(1) << c->primary;
	switch (d->kind) {
	case POLICY_NODES:
		return d->nodes;
	case POLICY_ANY:
		return UINT64_MAX;
	case POLICY_STANDBYS:
	case POLICY_WAIT:
		return ~primary;
	default:
		return primary;
	}
}

void choice_candidates(struct session *s, const struct topo_cluster *c, uint64_t mask, struct choice *out)
{
	uint64_t now = loop_now_us(session_loop(s));
	uint64_t floor;
	bool is_settled = floor_settle(s, c, &floor);
	out->n = 0;
	out->bits = 0;
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++) {
		const struct topo_node *node = &c->nodes[i];
		bool is_primary = (int)i == c->primary;
		if (!(mask >> i & 1) ||
		    (!is_primary && !(is_settled && pulse_is_fit(node->pulse) && pulse_replayed(node->pulse) >= floor)))
			continue;
		out->nodes[out->n] = node;
		out->candidates[out->n] = balance_candidate(node, choice_conf(s, c)->slow_start, now);
		if (is_primary)
			out->candidates[out->n].warmth = 1000;
		out->n++;
		out->bits |= UINT64_C(1) << i;
	}
}

static int index_of(const struct topo_cluster *c, const struct choice *from, int node_at)
{
	for (size_t i = 0; node_at >= 0 && i < from->n; i++)
		if (from->nodes[i] == &c->nodes[node_at])
			return (int)i;
	return -1;
}

/* Where a session stays that chooses once; -1: it may choose. */
static int index_of_kept(const struct session *s, const struct topo_cluster *c, const struct choice *from)
{
	if (LIKELY(choice_conf(s, c)->balance_scope == CONF_SCOPE_STATEMENT))
		return -1;
	for (size_t i = 0; i < from->n; i++)
		if (from->nodes[i]->id == s->kept_id && from->candidates[i].weight)
			return (int)i;
	return -1;
}

const struct topo_node *choice_make(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t mask)
{
	struct choice from;
	choice_candidates(s, c, mask, &from);
	int at = index_of_kept(s, c, &from);
	if (at < 0 && from.n == 1) /* it was named: its weight is a matter of those that were not */
		at = from.candidates[0].weight || !(mask & (mask - 1)) ? 0 : -1;
	if (at < 0 && from.n > 1)
		at = index_of(c, &from, steer_balance(s, c, u, from.bits));
	if (at < 0 && from.n > 1)
		at = balance_choose(choice_conf(s, c)->balance, from.candidates, from.n, &s->home->turn, rand_fast());
	if (at >= 0)
		s->kept_id = from.nodes[at]->id;
	return at < 0 || from.nodes[at] == &c->nodes[c->primary] ? NULL : from.nodes[at];
}
