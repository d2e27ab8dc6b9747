/*
 * balance — which of several nodes takes the next read.  Pure.
 *
 *   random            by weight
 *   round-robin       in turn, by weight: exact over a full round
 *   least             fewest statements in flight for its weight; several: by weight among them
 *   p2c               two are drawn by weight; the first, unless it is more than three times as costly as the other: (in flight + 1) × the
 *                     time that its statements usually take, for its weight.  Equal nodes so get their weights' shares, a slow one hardly any.
 */
#ifndef TOPO_BALANCE_H
#define TOPO_BALANCE_H

#include "conf/conf.h"
#include "topo/topo.h"

struct balance_candidate {
	uint32_t weight; /* 0: takes none */
	uint32_t warmth; /* how much of its weight counts now, in thousandths: it rises when a node has come back */
	uint32_t in_flight;
	uint64_t latency; /* any unit, the same for all; 0: not known */
};
/* NODE as a candidate, whether it is fit or not. */
struct balance_candidate balance_candidate(const struct topo_node *node, uint64_t slow_start_us, uint64_t now_us);
/* Index of the chosen one; -1: none takes any.  TURN: the caller's, 0 at first.  RANDOM: 64 fresh bits. */
int balance_choose(enum conf_balance how, const struct balance_candidate *c, size_t n, uint64_t *turn, uint64_t random);

#endif
