/*
 * failovers in simulated clusters (sim/sim.h): nodes that die, freeze and come back, a journal that fails, and Lunapool itself killed at any moment.
 * Thousands of orders of events; the simulation looks at what must never be after each turn, and in the end, when nothing fails any more, all must be
 * well.
 */
#include "simworld.h"

static void begin(uint64_t n)
{
	begin_as(n, &(struct sim_conf){ .sync = n % 4 == 0 ? "ANY 1 (b, c)" : NULL, .is_quiet = n % 2 });
}

static void a_death_is_followed_by_one_promotion(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(150); n++) {
		begin(n);
		if (n % 3 == 0)
			sim_lag_bytes(s, 1, 1 << 20);
		run(100 * MS);
		sim_kill(s, 0);
		expect_all_well();
		expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1, "one promotion");
		expect(record_is_barred(sim_record(s, 0), "a"), "the old one is kept away");
		expect(sim_record(s, 0)->past[0].end == END_DONE, "it was done");
		expect(n % 3 || is_primary("c"), "who has more takes its place");
		end();
	}
}

/* It takes a while until its receiver tries again: that is no reason to do all that follow_primary() does once more. */
static void who_has_been_told_is_not_told_again_at_once(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(50); n++) {
		begin(n);
		sim_kill(s, 0);
		expect_all_well();
		expect(sim_called(s, "follow_primary", NULL) == 1, "the other one is told once");
		end();
	}
}

/* I13: at each step, and anywhere else. */
static void whoever_is_killed_goes_on(void **state)
{
	static const char *const steps[] = { "confirm", "hold", "choose", "promote", "publish", "follow", NULL };
	for (uint64_t n = 1; n <= ORDERS(210); n++) {
		begin(n);
		if (steps[n % ARRAY_LEN(steps)])
			sim_lunapool_dies_at(s, steps[n % ARRAY_LEN(steps)]);
		sim_journal_fails(s, n % 3 ? 0 : 20);
		sim_kill(s, 0);
		run_with_deaths(US_PER_S);
		expect_all_well();
		expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1, "one promotion");
		end();
	}
}

/* I14: a primary that is back before the point of no return goes on; behind it, it is in quarantine.  Never are two of them used. */
static void who_comes_back_is_primary_or_in_quarantine(void **state)
{
	unsigned aborted = 0, done = 0;
	for (uint64_t n = 1; n <= ORDERS(150); n++) {
		begin(n);
		sim_freeze(s, 0);
		run((n % 2 ? 1700 : 1900) * MS + rnd(400) * MS);
		sim_thaw(s, 0);
		(n % 4 ? run : run_with_deaths)(US_PER_S);
		expect_all_well();
		if (is_primary("a"))
			expect(sim_promotions(s, 0) == 0 && sim_record(s, 0)->epoch == 1, "nothing has happened");
		else
			expect(record_is_barred(sim_record(s, 0), "a") && sim_record(s, 0)->epoch == 2, "it is kept away");
		aborted += is_primary("a");
		done += !is_primary("a");
		end();
	}
	assert_true(aborted > 10 && done > 10);
}

/* Whatever fails, for as long as it likes; then all is well again. */
static void anything_goes(void **state)
{
	static void (*const faults[])(struct sim *, int) = { sim_kill,      sim_kill, sim_start,  sim_freeze,   sim_thaw,
		                                                 sim_partition, sim_heal, sim_refuse, sim_fill_disk };
	for (uint64_t n = 1; n <= ORDERS(100); n++) {
		begin(n);
		sim_journal_fails(s, rnd(2) * 30);
		for (int i = 0; i < 20; i++) {
			faults[rnd(ARRAY_LEN(faults))](s, (int)rnd(NODES));
			(rnd(2) ? run : run_with_deaths)(rnd(2) ? 1 + rnd(300) * MS : rnd(3) * US_PER_S);
		}
		for (int i = 0; i < NODES; i++) {
			sim_thaw(s, i);
			sim_heal(s, i);
			sim_start(s, i);
		}
		expect_all_well();
		end();
	}
}

/* Row 33: the recorded one keeps.  Row 34 and a promotion by somebody else: followed if the timeline is behind the recorded one. */
static void what_others_promote(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		begin(n);
		sim_promote(s, 1);
		expect_all_well();
		expect(is_primary("a") && record_is_barred(sim_record(s, 0), "b"), "the recorded one keeps");
		end();
		begin_as(n, &(struct sim_conf){ .settings = "failover = external\n" });
		sim_kill(s, 0);
		sim_promote(s, 1);
		expect_all_well();
		expect(is_primary("b") && sim_record(s, 0)->epoch == 2, "it is followed");
		end();
	}
}

/* Ordered, with or without faults: it is done, once, or nothing has happened. */
static void a_switchover_is_whole_or_nothing(void **state)
{
	unsigned done = 0, not_done = 0;
	struct err err;
	for (uint64_t n = 1; n <= ORDERS(150); n++) {
		begin(n);
		uint64_t id = order(n % 4 ? OPS_ORDER_SWITCHOVER : OPS_ORDER_SWITCHOVER_FORCED, n % 2 ? "b" : "");
		expect(!sim_order(s, 0, OPS_ORDER_DETACH, "c", &err), "one at a time"); /* I12 */
		sim_journal_fails(s, n % 5 ? 0 : 20);
		if (n % 7 == 0)
			sim_act_fails(s, "promote", 1, 2);
		(n % 3 ? run : run_with_deaths)(3 * US_PER_S);
		if (sim_lives(s) == 1 && !sim_record(s, 0)->op.id && sim_record(s, 0)->last_id)
			expect(sim_answer(s, 0, id, &err) == (sim_record(s, 0)->past[0].end == END_DONE ? OPS_DONE : OPS_FAILED),
			       "the order's answer");
		if (n % 6 == 4)
			sim_freeze(s, 0);
		expect_all_well();
		bool is_a = is_primary("a");
		expect(sim_record(s, 0)->epoch == (is_a ? 1 : 2), "the epoch tells");
		expect(!is_a || sim_promotions(s, 0) == 0, "nothing has happened");
		done += !is_a;
		not_done += is_a;
		end();
	}
	assert_true(done > 50 && not_done > 10);
}

/* Row 47: the OOM killer takes a backend of the primary, again and again; sometimes it takes long. */
static void who_crashes_too_often_is_replaced(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(30); n++) {
		bool is_seldom = n % 2;
		begin(n);
		for (int i = 0; i < 12; i++) {
			expect(is_seldom || i > 5 || is_primary("a"), "the budget is 5");
			int p = sim_node_named(s, sim_record(s, 0)->primary);
			sim_kill(s, p);
			sim_start(s, p);
			run((is_seldom ? 13 : 3) * US_PER_S);
			if (!is_primary("a"))
				break;
		}
		expect_all_well();
		expect(sim_promotions(s, 0) == (is_seldom ? 0 : 1), is_seldom ? "nothing was begun" : "one promotion");
		end();
	}
}

/* A promotion begins a timeline: who is writable on the recorded one was none.  Another takes its place, or the old primary goes on. */
static void who_is_writable_on_the_recorded_timeline_was_not_promoted(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		begin_as(n, &(struct sim_conf){ .is_quiet = true });
		sim_promotes_amiss(s, 1);
		sim_lag_bytes(s, 2, 1000);
		if (n % 2)
			sim_promotes_amiss(s, 2);
		run(100 * MS);
		sim_kill(s, 0);
		(n % 3 ? run : run_with_deaths)(8 * US_PER_S);
		if (n % 2)
			sim_start(s, 0);
		expect_all_well();
		expect(is_primary(n % 2 ? "a" : "c"), "who is primary");
		expect(sim_record(s, 0)->epoch == (n % 2 ? 1 : 2), "the epoch");
		expect(sim_record(s, 0)->past[0].end == (n % 2 ? END_ABORTED : END_DONE), "how it has ended");
		expect(record_is_barred(sim_record(s, 0), "b"), "it is kept away");
		expect_text(record_node(sim_record(s, 0), "b")->why, "that is no promotion");
		end();
	}
}

/* I28. */
static void failovers_are_damped(void **state)
{
	begin_as(3, &(struct sim_conf){ .is_quiet = true });
	for (int i = 0; i < 5; i++) {
		int p = sim_node_named(s, sim_record(s, 0)->primary);
		sim_kill(s, p);
		run(20 * US_PER_S);
		if (sim_node_named(s, sim_record(s, 0)->primary) != p) /* somebody rebuilds it from the new one */
			sim_rebuild(s, p);
		run(10 * US_PER_S);
	}
	assert_int_equal(sim_record(s, 0)->epoch, 4);
	run(700 * US_PER_S);
	assert_int_equal(sim_record(s, 0)->epoch, 5);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_death_is_followed_by_one_promotion),
		cmocka_unit_test(who_has_been_told_is_not_told_again_at_once),
		cmocka_unit_test(whoever_is_killed_goes_on),
		cmocka_unit_test(who_comes_back_is_primary_or_in_quarantine),
		cmocka_unit_test(anything_goes),
		cmocka_unit_test(what_others_promote),
		cmocka_unit_test(a_switchover_is_whole_or_nothing),
		cmocka_unit_test(who_crashes_too_often_is_replaced),
		cmocka_unit_test(who_is_writable_on_the_recorded_timeline_was_not_promoted),
		cmocka_unit_test(failovers_are_damped),
	};
	return run_cases(tests, ARRAY_LEN(tests));
}
