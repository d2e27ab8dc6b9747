/*
 * choice — see the header.  What is named is taken as it is; of several the policy's balance() chooses, or the configured algorithm.
 */
#include "choice.h"

#include "base/rand.h"

/* Bits of those of MASK that may take a read of this session now; of the primary if it is among them. */
static inline uint64_t able(struct session *s, const struct topo_cluster *c, uint64_t mask)
{
	uint64_t floor, bits = 0;
	bool is_settled = floor_settle(s, c, &floor);
	for (size_t i = 0; i < c->n_nodes && i < POLICY_NODES_MAX; i++) {
		const struct pulse *p = c->nodes[i].pulse;
		if ((mask >> i & 1) && ((int)i == c->primary || (is_settled && pulse_is_fit(p) && pulse_replayed(p) >= floor)))
			bits |= UINT64_C(1) << i;
	}
	return bits;
}

static void list(struct session *s, const struct topo_cluster *c, uint64_t bits, struct choice *out)
{
	uint64_t now = loop_now_us(session_loop(s));
	out->n = 0;
	out->bits = bits;
	for (; bits; bits &= bits - 1) {
		int i = __builtin_ctzll(bits);
		out->nodes[out->n] = &c->nodes[i];
		out->candidates[out->n] = balance_candidate(&c->nodes[i], choice_conf(s, c)->slow_start, now);
		if (i == c->primary)
			out->candidates[out->n].warmth = 1000;
		out->n++;
	}
}

void choice_candidates(struct session *s, const struct topo_cluster *c, uint64_t mask, struct choice *out)
{
	list(s, c, able(s, c, mask), out);
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

static NOT_INLINE const struct topo_node *one_of(struct session *s, const struct topo_cluster *c, const struct unit *u,
                                                 uint64_t bits)
{
	struct choice from;
	list(s, c, bits, &from);
	int at = index_of_kept(s, c, &from);
	if (at < 0)
		at = index_of(c, &from, steer_balance(s, c, u, from.bits));
	if (at < 0)
		at = balance_choose(choice_conf(s, c)->balance, from.candidates, from.n, &s->home->turn, rand_fast());
	return at < 0 ? NULL : from.nodes[at];
}

const struct topo_node *choice_make(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t mask)
{
	uint64_t bits = able(s, c, mask);
	const struct topo_node *node = NULL;
	if (bits & (bits - 1))
		node = one_of(s, c, u, bits);
	else if (bits) {
		node = &c->nodes[__builtin_ctzll(bits)];
		if (!node->weight && (mask & (mask - 1))) /* if it was named, its weight is a matter of those that were not */
			node = NULL;
	}
	if (node)
		s->kept_id = node->id;
	return c->primary >= 0 && node == &c->nodes[c->primary] ? NULL : node;
}
