/*
 * balance — see the header for what each algorithm means.
 *
 * All share one draw: a point on the line of the candidates' effective weights (weight × warmth) laid end to end.
 *
 * Always: a candidate of weight 0 is never chosen;  somebody is chosen if any weight is not 0.
 */
#include "topo/balance.h"

#define WARM 1000u
#define COLD 10u /* whoever has just come back takes a hundredth */
#define SHORT_ROUND 16u
#define TOO_COSTLY 3.0

static uint64_t weight_of(const struct balance_candidate *c)
{
	return (uint64_t)c->weight * (c->warmth ? c->warmth : 1);
}

/* Without SKIP, if that is an index. */
static uint64_t weights(const struct balance_candidate *c, size_t n, int skip)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (int)i == skip ? 0 : weight_of(&c[i]);
	return sum;
}

/* Whose weight the point AT, below their sum, falls on. */
static int owner_of(const struct balance_candidate *c, size_t n, int skip, uint64_t at)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t w = (int)i == skip ? 0 : weight_of(&c[i]);
		if (at < w)
			return (int)i;
		at -= w;
	}
	return -1;
}

/* 0 … LIMIT - 1, evenly but for one in 2^64 / LIMIT. */
static uint64_t below(uint64_t random, uint64_t limit)
{
	return (uint64_t)((unsigned __int128)random * limit >> 64);
}

static uint64_t another(uint64_t random) /* splitmix64's last step: bits that look independent of RANDOM */
{
	random = ((random + 0x9e3779b97f4a7c15) ^ random >> 31) * 0xbf58476d1ce4e5b9;
	random = (random ^ random >> 27) * 0x94d049bb133111eb;
	return random ^ random >> 31;
}

static int draw(const struct balance_candidate *c, size_t n, int skip, uint64_t random)
{
	uint64_t sum = weights(c, n, skip);
	return sum ? owner_of(c, n, skip, below(random, sum)) : -1;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* A step that visits every point of a round once and goes about 0.618 of it ahead, so that nobody's turns come in a bunch. */
static uint64_t stride_of(uint64_t round)
{
	uint64_t stride = round - (uint64_t)((unsigned __int128)round * 382 / 1000);
	while (common_divisor(round, stride) != 1)
		stride++;
	return stride;
}

static int take_turn(const struct balance_candidate *c, size_t n, uint64_t *turn)
{
	uint64_t unit = 0, sum = weights(c, n, -1);
	for (size_t i = 0; i < n; i++)
		unit = common_divisor(weight_of(&c[i]), unit);
	if (sum == 0)
		return -1;
	uint64_t round = sum / unit, now = (*turn)++;
	/* Each short round begins elsewhere: else two who take turns from one count, for two clusters say, would each get one node only. */
	uint64_t first = round <= SHORT_ROUND ? another(now / round) % round : 0;
	uint64_t at = (uint64_t)((unsigned __int128)(now % round + first) * stride_of(round) % round);
	return owner_of(c, n, -1, at * unit);
}

/* Fewer in flight for its weight than B has. */
static bool is_less_busy(const struct balance_candidate *a, const struct balance_candidate *b)
{
	return (unsigned __int128)a->in_flight * weight_of(b) < (unsigned __int128)b->in_flight * weight_of(a);
}

static int least_busy(const struct balance_candidate *c, size_t n, uint64_t random)
{
	int best = -1;
	uint64_t sum = 0; /* of those who are as little busy as the best */
	for (size_t i = 0; i < n; i++) {
		uint64_t w = weight_of(&c[i]);
		if (w == 0 || (best >= 0 && is_less_busy(&c[best], &c[i])))
			continue;
		sum = best >= 0 && !is_less_busy(&c[i], &c[best]) ? sum + w : w;
		random = another(random);
		if (sum == w || below(random, sum) < w)
			best = (int)i;
	}
	return best;
}

/* What is in flight counts for its weight, as if both had the mean of theirs; the one more that it would take does not, or idle nodes
 * with small weights would get nothing. */
static double cost(const struct balance_candidate *c, double mean_weight, bool latency_counts)
{
	double ahead = c->in_flight * mean_weight / (double)weight_of(c);
	return (ahead + 1) * (latency_counts ? (double)c->latency : 1);
}

static bool is_too_costly(const struct balance_candidate *a, const struct balance_candidate *b)
{
	bool is_known = a->latency && b->latency;
	double mean_weight = ((double)weight_of(a) + (double)weight_of(b)) / 2;
	return cost(a, mean_weight, is_known) > TOO_COSTLY * cost(b, mean_weight, is_known);
}

static int one_of_two(const struct balance_candidate *c, size_t n, uint64_t random)
{
	int first = draw(c, n, -1, random);
	int second = first < 0 ? -1 : draw(c, n, first, another(random));
	return second >= 0 && is_too_costly(&c[first], &c[second]) ? second : first;
}

int balance_choose(enum conf_balance how, const struct balance_candidate *c, size_t n, uint64_t *turn, uint64_t random)
{
	switch (how) {
	case CONF_BALANCE_RANDOM:
		return draw(c, n, -1, random);
	case CONF_BALANCE_ROUND_ROBIN:
		return take_turn(c, n, turn);
	case CONF_BALANCE_LEAST:
		return least_busy(c, n, random);
	case CONF_BALANCE_P2C:
		return one_of_two(c, n, random);
	}
	return -1;
}

static uint32_t warmth(uint64_t from_us, uint64_t slow_start_us, uint64_t now_us)
{
	if (from_us == 0 || now_us >= from_us + slow_start_us)
		return WARM;
	uint64_t gone = now_us > from_us ? now_us - from_us : 0;
	uint32_t share = (uint32_t)(gone * WARM / slow_start_us);
	return share > COLD ? share : COLD;
}

struct balance_candidate balance_candidate(const struct topo_node *node, uint64_t slow_start_us, uint64_t now_us)
{
	const struct pulse *p = node->pulse;
	return (struct balance_candidate){
		.weight = node->weight,
		.warmth = warmth(atomic_load_explicit(&p->warm_from_us, memory_order_relaxed), slow_start_us, now_us),
		.in_flight = pulse_in_flight(p),
		.latency = pulse_time_ns(p),
	};
}
