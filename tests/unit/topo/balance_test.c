/* The algorithms keep what the header says of them: shares by weight, nobody who takes none, no slow node. */
#include "topo/balance.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "unit.h"

#define DRAWS 100000u
#define NODES 5u

static uint64_t state;

/* The same numbers in each run. */
static uint64_t next_random(void)
{
	uint64_t x = state += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static const enum conf_balance all[] = { CONF_BALANCE_RANDOM, CONF_BALANCE_ROUND_ROBIN, CONF_BALANCE_LEAST, CONF_BALANCE_P2C };

static struct balance_candidate idle(uint32_t weight)
{
	return (struct balance_candidate){ .weight = weight, .warmth = 1000, .latency = 100000 };
}

static void count(enum conf_balance how, const struct balance_candidate *c, size_t n, unsigned counts[NODES])
{
	uint64_t turn = 0;
	for (size_t i = 0; i < NODES; i++)
		counts[i] = 0;
	for (unsigned i = 0; i < DRAWS; i++) {
		int at = balance_choose(how, c, n, &turn, next_random());
		assert_in_range(at, 0, n - 1);
		counts[at]++;
	}
}

/* Of all draws: within 2 % of the whole, and of a node's own share if that is not small. */
static void assert_shares(const unsigned counts[NODES], const struct balance_candidate *c, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)c[i].weight * c[i].warmth;
	for (size_t i = 0; i < n; i++) {
		double share = (double)c[i].weight * c[i].warmth / sum;
		if (fabs(counts[i] - share * DRAWS) > 0.02 * fmax(share, 0.2) * DRAWS)
			fail_msg("node %zu of %zu took %u, not %.0f", i, n, counts[i], share * DRAWS);
		if (share == 0)
			assert_int_equal(counts[i], 0);
	}
}

static void idle_nodes_take_their_weights(void **state_)
{
	static const uint32_t weights[][NODES] = { { 1 },         { 1, 1 },          { 2, 1 },       { 100, 50, 50 },  { 0, 100 },
		                                       { 67, 0, 33 }, { 1000000, 1, 7 }, { 3, 1, 4, 1 }, { 5, 9, 2, 6, 5 } };
	static const size_t sizes[] = { 1, 2, 2, 3, 2, 3, 3, 4, 5 };
	for (size_t w = 0; w < ARRAY_LEN(weights); w++)
		for (size_t a = 0; a < ARRAY_LEN(all); a++) {
			struct balance_candidate c[NODES];
			unsigned counts[NODES];
			for (size_t i = 0; i < sizes[w]; i++)
				c[i] = idle(weights[w][i]);
			count(all[a], c, sizes[w], counts);
			assert_shares(counts, c, sizes[w]);
		}
}

static void nobody_is_chosen_of_those_who_take_none(void **state_)
{
	struct balance_candidate c[NODES] = { idle(0), idle(0), idle(0) };
	for (size_t a = 0; a < ARRAY_LEN(all); a++)
		for (size_t n = 0; n <= 3; n++) {
			uint64_t turn = 0;
			assert_int_equal(balance_choose(all[a], c, n, &turn, next_random()), -1);
		}
}

static void round_robin_takes_turns(void **state_)
{
	struct balance_candidate c[NODES] = { idle(100), idle(100), idle(100) };
	uint64_t turn = 0;
	for (unsigned i = 0; i < 100; i++) {
		unsigned seen = 0;
		for (unsigned k = 0; k < 3; k++)
			seen |= 1u << balance_choose(CONF_BALANCE_ROUND_ROBIN, c, 3, &turn, next_random());
		assert_int_equal(seen, 7);
	}
	/* Turns of a heavy one do not come in a bunch. */
	c[0].weight = 3, c[1].weight = 97, c[2].weight = 0;
	for (unsigned last = 0, i = 0; i < 1000; i++)
		if (balance_choose(CONF_BALANCE_ROUND_ROBIN, c, 3, &turn, next_random()) == 0) {
			assert_true(last == 0 || i - last > 20);
			last = i;
		}
}

static void a_shared_count_starves_nobody(void **state_)
{
	for (size_t n = 2; n <= 4; n++)
		for (uint64_t step = 2; step <= 4; step++) {
			struct balance_candidate c[NODES] = { idle(100), idle(100), idle(100), idle(100) };
			unsigned counts[NODES] = { 0 };
			for (uint64_t turn = 0, i = 0; i < DRAWS; i++, turn += step - 1)
				counts[balance_choose(CONF_BALANCE_ROUND_ROBIN, c, n, &turn, 0)]++;
			assert_shares(counts, c, n);
		}
}

static void the_least_busy_takes_it(void **state_)
{
	struct balance_candidate c[NODES] = { idle(100), idle(100), idle(300), idle(0) };
	c[0].in_flight = 5, c[1].in_flight = 4, c[2].in_flight = 11;
	for (unsigned i = 0; i < 100; i++) {
		uint64_t turn = 0;
		assert_int_equal(balance_choose(CONF_BALANCE_LEAST, c, 4, &turn, next_random()), 2);
	}
}

/* A cluster in which statements take their time: nodes serve what they have in turn, RATE statements of each in a millisecond. */
static void simulate(enum conf_balance how, const double *rate, size_t n, unsigned clients, unsigned counts[NODES])
{
	struct topo_node nodes[NODES];
	double done[NODES] = { 0 };
	uint64_t turn = 0, begun[NODES][64] = { 0 };
	unsigned waiting = clients;
	for (size_t i = 0; i < n; i++) {
		nodes[i] = (struct topo_node){ .weight = 100, .pulse = pulse_new((uint32_t)i) };
		counts[i] = 0;
	}
	for (uint64_t ms = 1; ms < 20000; ms++) {
		for (; waiting > 0; waiting--) {
			struct balance_candidate c[NODES];
			for (size_t i = 0; i < n; i++)
				c[i] = balance_candidate(&nodes[i], 0, 0);
			int at = balance_choose(how, c, n, &turn, next_random());
			begun[at][pulse_in_flight(nodes[at].pulse)] = ms;
			pulse_begin(nodes[at].pulse, true);
			counts[at]++;
		}
		for (size_t i = 0; i < n; i++) {
			unsigned in_flight = pulse_in_flight(nodes[i].pulse);
			done[i] = in_flight ? done[i] + rate[i] : 0;
			for (; done[i] >= 1 && in_flight; done[i]--, in_flight--, waiting++) {
				pulse_end(nodes[i].pulse, (ms - begun[i][0]) * US_PER_MS + (uint64_t)(US_PER_MS / rate[i]));
				memmove(begun[i], begun[i] + 1, sizeof begun[i] - sizeof begun[i][0]);
			}
			if (ms % 200 == 0)
				pulse_note_latency(nodes[i].pulse, 500, ms * US_PER_MS);
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (unsigned left = pulse_in_flight(nodes[i].pulse); left > 0; left--)
			pulse_end(nodes[i].pulse, PULSE_UNKNOWN);
		pulse_unref(nodes[i].pulse);
	}
}

static void p2c_leaves_a_slow_node_alone(void **state_)
{
	unsigned counts[NODES];
	simulate(CONF_BALANCE_P2C, (double[]){ 4, 4, 0.4 }, 3, 16, counts);
	assert_true(counts[2] * 4 < counts[0] && counts[2] * 4 < counts[1]);
	assert_true(abs((int)counts[0] - (int)counts[1]) < (int)(counts[0] / 5));
	unsigned fair = counts[0] + counts[1] + counts[2];
	simulate(CONF_BALANCE_RANDOM, (double[]){ 4, 4, 0.4 }, 3, 16, counts);
	assert_true(fair > 2 * (counts[0] + counts[1] + counts[2])); /* it slows down everybody who is sent there */
}

static void equal_nodes_share_alike_under_load(void **state_)
{
	for (size_t a = 0; a < ARRAY_LEN(all); a++) {
		unsigned counts[NODES];
		simulate(all[a], (double[]){ 4, 4 }, 2, 16, counts);
		assert_true(fabs((double)counts[0] / (counts[0] + counts[1]) - 0.5) < 0.02);
	}
}

/* One client, whose statements never meet: nobody starves, nor does one that was slow at first. */
static void a_single_client_uses_all(void **state_)
{
	for (size_t a = 0; a < ARRAY_LEN(all); a++) {
		unsigned counts[NODES];
		simulate(all[a], (double[]){ 1, 1 }, 2, 1, counts);
		assert_true(fabs((double)counts[0] / (counts[0] + counts[1]) - 0.5) < 0.05);
	}
}

static struct topo_node node_of(struct pulse *p, uint64_t warm_from_us)
{
	atomic_store(&p->warm_from_us, warm_from_us);
	return (struct topo_node){ .weight = 100, .pulse = p };
}

static void who_comes_back_is_warmed_up(void **state_)
{
	struct pulse *p = pulse_new(1);
	struct topo_node n = node_of(p, 0);
	assert_int_equal(balance_candidate(&n, 10 * US_PER_S, 5).warmth, 1000);
	n = node_of(p, 100 * US_PER_S);
	uint32_t last = 0;
	for (unsigned s = 100; s <= 112; s++) {
		struct balance_candidate c = balance_candidate(&n, 10 * US_PER_S, s * US_PER_S);
		assert_int_equal(c.weight, 100);
		assert_true(c.warmth > last || c.warmth == 1000);
		last = c.warmth;
		if (s == 105)
			assert_int_equal(c.warmth, 500);
	}
	assert_int_equal(last, 1000);
	assert_int_equal(balance_candidate(&n, 0, 100 * US_PER_S).warmth, 1000);
	struct balance_candidate two[NODES] = { idle(100), balance_candidate(&n, 10 * US_PER_S, 101 * US_PER_S) };
	two[1].latency = 100000;
	for (size_t a = 0; a < ARRAY_LEN(all); a++) {
		unsigned counts[NODES];
		count(all[a], two, 2, counts);
		assert_shares(counts, two, 2);
	}
	pulse_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_nodes_take_their_weights),
		cmocka_unit_test(nobody_is_chosen_of_those_who_take_none),
		cmocka_unit_test(round_robin_takes_turns),
		cmocka_unit_test(a_shared_count_starves_nobody),
		cmocka_unit_test(the_least_busy_takes_it),
		cmocka_unit_test(p2c_leaves_a_slow_node_alone),
		cmocka_unit_test(equal_nodes_share_alike_under_load),
		cmocka_unit_test(a_single_client_uses_all),
		cmocka_unit_test(who_comes_back_is_warmed_up),
	};
	return UNIT_RUN(tests);
}
