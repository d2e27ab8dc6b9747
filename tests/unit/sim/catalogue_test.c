/*
 * the catalogue of failures in simulated clusters: whatever may happen to nodes, links, hooks, disk and Lunapool, in random orders; and single rows of
 * it, each with many orders.  In the end, when nothing fails any more, all is well.
 */
#include "simworld.h"

static const char policy[] = "local lp = require 'lunapool'\n"
                             "local M = { api = 1 }\n"
                             "function M.returning() return 'rejoin' end\n"
                             "function M.promote(op, node) return lp.promote(node, { timeout = 5 }) end\n"
                             "function M.follow_primary(op, node, primary)\n"
                             "  return lp.follow(node, primary, { timeout = 3 }) or lp.rejoin(op, node, primary)\n"
                             "end\n"
                             "function M.rejoin(op, node, primary) return lp.rejoin(op, node, primary) end\n"
                             "function M.recover(op, node, primary) return lp.rebuild(op, node, primary) end\n"
                             "return M\n";

static void cut_one(struct sim *sim, int node)
{
	sim_cut(sim, node, (node + 1 + (int)rnd(NODES - 1)) % NODES);
}

static void hide(struct sim *sim, int node)
{
	sim_cut(sim, node, -1);
}

static void restart(struct sim *sim, int node)
{
	sim_kill(sim, node);
	sim_start(sim, node);
}

static void fail_hook(struct sim *sim, int node)
{
	static const char *const hooks[] = { "promote", "follow_primary", "rejoin", "recover" };
	(rnd(4) ? sim_act_fails : sim_act_hangs)(sim, hooks[rnd(ARRAY_LEN(hooks))], node, 1);
}

static void lag(struct sim *sim, int node)
{
	sim_lag_bytes(sim, node, 1 + rnd(1 << 20));
}

static void delay(struct sim *sim, int node)
{
	sim_slow(sim, node, rnd(300) * MS);
}

static void switch_over(struct sim *sim, int node)
{
	struct err err;
	(void)!sim_order(sim, 0, OPS_ORDER_SWITCHOVER, node ? "b" : "", &err);
}

static void die_at_a_step(struct sim *sim, int node)
{
	static const char *const steps[] = { "confirm", "hold", "choose", "promote", "publish",
		                                 "follow",  "work", "verify", "drain",   "fence" };
	sim_lunapool_dies_at(sim, steps[rnd(ARRAY_LEN(steps))]);
}

static void (*const faults[])(struct sim *, int) = {
	sim_kill,  sim_kill, sim_start, sim_start,     restart,      sim_freeze, sim_thaw,      cut_one,
	hide,      sim_heal, sim_heal,  sim_partition, sim_refuse,   sim_hang,   sim_fill_disk, sim_return_as_primary,
	fail_hook, lag,      delay,     switch_over,   die_at_a_step
};

static void mend_all(void)
{
	for (int i = 0; i < NODES; i++) {
		sim_thaw(s, i);
		sim_heal(s, i);
		sim_start(s, i);
	}
}

/* Everybody is back: each node is the primary or streams from it, or a person has to look at it. */
static void expect_everybody_back(void)
{
	for (int i = 0; i < 400; i++) {
		unsigned n = 0;
		for (int k = 0; k < NODES; k++)
			n += k == primary_now() || sim_is_streaming(s, k);
		if (n == NODES && !sim_record(s, 0)->op.id)
			return;
		run(5 * US_PER_S);
	}
	for (int k = 0; k < NODES; k++)
		if (k != primary_now() && !sim_is_streaming(s, k)) {
			const struct record_node *said = record_node(sim_record(s, 0), k == 0 ? "a" : k == 1 ? "b" : "c");
			sim_say(s, "%c has not come back: up %d, writable %d, %s", 'a' + k, sim_is_up(s, k), sim_is_writable(s, k),
			        said ? said->why : "nothing is recorded of it");
		}
	give_up("somebody has not come back");
}

static void anything_goes(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		static const char *const syncs[] = { NULL, NULL, "ANY 1 (b, c)", "FIRST 1 (b, c)" };
		begin_as(n, &(struct sim_conf){ .sync = syncs[n % 4],
		                                .policy = policy_of(policy),
		                                .settings = "follow_timeout = 1min\nrejoin_timeout = 1min\n" });
		sim_journal_fails(s, rnd(2) * 30);
		for (int i = 0; i < 25; i++) {
			faults[rnd(ARRAY_LEN(faults))](s, (int)rnd(NODES));
			(rnd(2) ? run : run_with_deaths)(rnd(2) ? 1 + rnd(300) * MS : rnd(6) * US_PER_S);
		}
		mend_all();
		sim_journal_fails(s, 0);
		run(150 * US_PER_S); /* hooks that hang have their time */
		expect_all_well();
		expect_everybody_back();
		end();
	}
}

/* Row 40: all of them are lost, and come back one after the other. */
static void all_are_lost_and_come_back(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		begin_as(n, &(struct sim_conf){ .sync = n % 2 ? "ANY 1 (b, c)" : NULL });
		int first = (int)rnd(NODES);
		for (int i = 0; i < NODES; i++) {
			sim_kill(s, (first + i) % NODES);
			run(1 + rnd(n % 4 ? 20 : 400) * MS);
		}
		run(US_PER_S);
		first = (int)rnd(NODES);
		for (int i = 0; i < NODES; i++) {
			sim_start(s, (first + i) % NODES);
			(n % 3 ? run : run_with_deaths)(1 + rnd(1500) * MS);
		}
		expect_all_well();
		expect(n % 4 == 0 || sim_promotions(s, 0) <= 1, "who dies at once is replaced once at most");
		end();
	}
}

/* Row 57: the primary has lost its standbys, and is there for everybody else. */
static void who_loses_its_standbys_goes_on(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(20); n++) {
		begin_as(n, &(struct sim_conf){ 0 });
		sim_cut(s, 0, 1);
		sim_cut(s, 0, 2);
		run(20 * US_PER_S);
		expect(is_primary("a") && sim_promotions(s, 0) == 0 && sim_write_outage_us(s, 0) < 100 * MS,
		       "nothing has happened to it");
		sim_heal(s, 0);
		expect_all_well();
		expect(sim_is_streaming(s, 1) && sim_is_streaming(s, 2), "they stream again");
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anything_goes),
		cmocka_unit_test(all_are_lost_and_come_back),
		cmocka_unit_test(who_loses_its_standbys_goes_on),
	};
	return run_cases(tests, ARRAY_LEN(tests));
}
