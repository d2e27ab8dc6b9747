/*
 * choice — which of the nodes that a read may run on takes it now: fit, as fresh as this session must see, and the balance says the rest.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include "policy/policy.h"
#include "priv.h"
#include "topo/balance.h"

struct choice {
	size_t n;
	const struct topo_node *nodes[POLICY_NODES_MAX];
	struct balance_candidate candidates[POLICY_NODES_MAX];
	uint64_t bits;
};

/* Bits of nodes that D is about. */
static inline uint64_t choice_meant(const struct topo_cluster *c, const struct policy_decision *d)
{
	uint64_t primary = c->primary < 0 ? 0 : UINT64_C(1) << c->primary;
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
/* Those of MASK that may take a read of this session now; the primary if it is among them. */
void choice_candidates(struct session *s, const struct topo_cluster *c, uint64_t mask, struct choice *out);
/* One of the nodes of MASK; NULL: the primary. */
const struct topo_node *choice_make(struct session *s, const struct topo_cluster *c, const struct unit *u, uint64_t mask);

static inline const struct conf_cluster *choice_conf(const struct session *s, const struct topo_cluster *c)
{
	return route_of(s, c)->conf;
}

#endif
