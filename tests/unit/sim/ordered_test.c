/*
 * what operators order, in simulated clusters: failovers by hand, also with loss, and drains.
 */
#include "simworld.h"

static void begin_manual(uint64_t n, bool has_sync, const char *more)
{
	char settings[200];
	snprintf(settings, sizeof settings, "failover = manual\n%s", more);
	begin_as(n, &(struct sim_conf){ .sync = has_sync ? "ANY 1 (b, c)" : NULL, .is_quiet = n % 2, .settings = settings });
}

static void begin(uint64_t n)
{
	begin_as(n, &(struct sim_conf){ .is_quiet = n % 2, .settings = "node_drain_timeout = 10s\n" });
}

/* failover = manual: a death is told of and waits for the order, which is done once, whoever is killed meanwhile. */
static void a_manual_failover_waits_for_its_order(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(80); n++) {
		begin_manual(n, n % 4 == 0, "");
		refused(OPS_ORDER_FAILOVER, "", "SWITCHOVER");
		sim_kill(s, 0);
		(n % 2 ? run_with_deaths : run)(5 * US_PER_S);
		run(US_PER_S);
		expect(sim_promotions(s, 0) == 0 && sim_record(s, 0)->last_id == 0, "nothing has happened");
		expect_text(sim_stuck(s, 0), "FAILOVER is awaited");
		refused(OPS_ORDER_FAILOVER, "a", "");
		order(OPS_ORDER_FAILOVER, n % 3 ? "c" : "");
		uint64_t lives = sim_lives(s);
		if (n % 2) {
			run(20 * MS);
			run_with_deaths(US_PER_S);
		}
		expect_all_well();
		if (sim_record(s, 0)->epoch == 1) /* it died with the order in its hands, before that was recorded */
			expect(sim_lives(s) > lives && sim_promotions(s, 0) == 0, "an order is done");
		else
			expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1, "one promotion");
		if (sim_record(s, 0)->epoch == 2 && n % 3 && sim_record(s, 0)->past[0].attempt == 1)
			expect(is_primary("c"), "who was named");
		if (sim_lives(s) == lives)
			expect_text(sim_record(s, 0)->past[0].why, "by order of the test: ");
		end();
	}
}

/* I5: what max_loss forbids an order may allow, before it has begun and while it waits; nothing else. */
static void an_order_may_allow_a_loss(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		if (n % 2)
			begin_as(n, &(struct sim_conf){ .settings = "max_loss = 100B\n" });
		else
			begin_manual(n, false, "max_loss = 100B\n");
		sim_lag_bytes(s, 1, 1 << 20);
		sim_lag_bytes(s, 2, 1 << 20);
		run(US_PER_S);
		sim_kill(s, 0);
		run(5 * US_PER_S);
		expect(sim_promotions(s, 0) == 0, "nobody is promoted");
		refused(OPS_ORDER_FAILOVER, "", "max_loss is 100");
		order(OPS_ORDER_FAILOVER_WITH_LOSS, "");
		run(2 * US_PER_S);
		expect_all_well();
		expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1, "one promotion");
		expect(sim_record(s, 0)->past[0].allows_loss, "it is recorded");
		expect_text(sim_record(s, 0)->past[0].why, "by order of the test, data loss allowed");
		end();
	}
}

/* Row 39: the primary and the synchronous standby are lost; who is named with the loss takes its place, also where a promotion has failed before. */
static void a_named_node_may_lack_what_was_acknowledged(void **state)
{
	unsigned joined = 0;
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		begin_as(n, &(struct sim_conf){ .sync = "b", .is_quiet = n % 2, .settings = n % 3 ? NULL : "failover = manual\n" });
		sim_act_fails(s, "promote", 1, 1000);
		if (n % 2 == 0)
			sim_kill(s, 1); /* else it dies when it is being promoted, in vain */
		sim_kill(s, 0);
		run(US_PER_S / 4);
		if (n % 3 == 0 && n % 2)
			order(OPS_ORDER_FAILOVER, "");
		for (int i = 0; i < 3000 && n % 2 && !sim_record(s, 0)->op.has_no_return; i++)
			run(MS);
		sim_kill(s, 1);
		run(6 * US_PER_S);
		joined += sim_record(s, 0)->op.has_no_return;
		expect(sim_promotions(s, 0) == 0, "nobody is promoted");
		refused(OPS_ORDER_FAILOVER, "", "acknowledged may be");
		refused(OPS_ORDER_FAILOVER, "c", "acknowledged may be");
		refused(OPS_ORDER_FAILOVER_WITH_LOSS, "", "acknowledged may be");
		sim_allow_loss(s, 0);
		order(OPS_ORDER_FAILOVER_WITH_LOSS, "c");
		expect_all_well();
		expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1 && is_primary("c"), "who was named, once");
		expect_text(sim_record(s, 0)->past[0].judged, "c: commits that were acknowledged may be lost");
		expect(sim_record(s, 0)->past[0].allows_loss, "it is recorded");
		end();
	}
	assert_true(joined > 10);
}

/* Who has given the order has an answer. */
static void an_order_in_vain_is_answered(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		struct err err = { .text = "" };
		begin_manual(n, false, "");
		sim_promotes_amiss(s, 1);
		sim_promotes_amiss(s, 2);
		sim_kill(s, 0);
		run(2 * US_PER_S);
		uint64_t id = order(OPS_ORDER_FAILOVER, n % 2 ? "" : "b");
		for (int i = 0; i < 20 && sim_answer(s, 0, id, &err) == OPS_WAITS; i++)
			run(US_PER_S);
		expect(sim_answer(s, 0, id, &err) == OPS_FAILED, "it has failed");
		expect_text(err.text, "no node may take its place");
		expect(sim_record(s, 0)->epoch == 1, "the epoch");
		end();
	}
}

/* The one who was named dies on the way: before the point of no return nobody else is taken in his place. */
static void nobody_else_than_the_named_one(void **state)
{
	unsigned aborted = 0;
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		struct err err = { .text = "" };
		begin_manual(n, false, "");
		sim_kill(s, 0);
		run(2 * US_PER_S);
		uint64_t id = order(OPS_ORDER_FAILOVER, "b");
		run(rnd(8) * MS);
		sim_kill(s, 1);
		run(5 * US_PER_S);
		if (!sim_record(s, 0)->op.id && sim_record(s, 0)->n_past && sim_record(s, 0)->past[0].end == END_ABORTED) {
			expect(sim_promotions(s, 0) == 0, "nobody is promoted");
			expect(sim_answer(s, 0, id, &err) == OPS_FAILED, "the order failed");
			expect_text(err.text, "b cannot be primary");
			aborted++;
		}
		end();
	}
	assert_true(aborted > 30);
}

/* It is detached when nobody uses it any more, and not before; in the end it is in use, or detached. */
static void a_drain_ends_detached_or_as_before(void **state)
{
	unsigned is_done = 0, not_done = 0;
	for (uint64_t n = 1; n <= ORDERS(120); n++) {
		struct err err = { .text = "" };
		begin(n);
		refused(OPS_ORDER_DRAIN, "a", "is the primary");
		sim_journal_fails(s, n % 5 ? 0 : 20);
		uint64_t busy = rnd(20) * US_PER_S, timeout = rnd(2) * 15 * US_PER_S, began = sim_now_us(s);
		sim_keep_busy(s, 1, busy);
		if (n % 4 == 0)
			sim_lunapool_dies_at(s, "drain");
		uint64_t id = sim_order_drain(s, 0, "b", timeout, &err);
		expect(id != 0, err.text);
		(n % 4 ? run : run_with_deaths)(US_PER_S);
		for (int i = 0; i < 60 && sim_record(s, 0)->op.id; i++)
			run(US_PER_S);
		sim_journal_fails(s, 0);
		run(3 * US_PER_S);
		const struct record_node *b = record_node(sim_record(s, 0), "b");
		bool is_detached = b && b->flags & RECORD_DETACHED, has_begun = sim_lives(s) == 1 && sim_record(s, 0)->last_id && n % 5;
		expect(!is_detached || sim_now_us(s) >= began + busy, "not while it is used");
		if (has_begun && busy < (timeout ? timeout : 10 * US_PER_S) - 5 * US_PER_S)
			expect(is_detached, "it is detached");
		if (has_begun) {
			expect(sim_answer(s, 0, id, &err) == (is_detached ? OPS_DONE : OPS_FAILED), "the order's answer");
			if (!is_detached)
				expect_text(err.text, "the drain was given up: 1 connections to \"b\" are in use");
		}
		expect(!sim_record(s, 0)->op.id, "it has ended");
		is_done += is_detached;
		not_done += !is_detached;
		end();
	}
	assert_true(is_done > 20 && not_done > 20);
}

static void what_ends_a_drain(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		struct err err = { .text = "" };
		begin(n);
		sim_keep_busy(s, 1, 3000 * US_PER_S);
		uint64_t id = sim_order_drain(s, 0, "b", 1000 * US_PER_S, &err);
		run(US_PER_S);
		expect(sim_record(s, 0)->op.kind == OPERATION_DRAIN, "it is under way");
		refused(OPS_ORDER_DRAIN, "c", "is under way");
		if (n % 3 == 0) {
			done(OPS_ORDER_ATTACH, "b");
			finish(id, OPS_FAILED);
			expect(!record_is_barred(sim_record(s, 0), "b"), "it is as before");
		} else if (n % 3 == 1) {
			done(OPS_ORDER_DETACH, "b");
			finish(id, OPS_DONE);
			expect(record_is_barred(sim_record(s, 0), "b"), "it is detached");
		} else {
			sim_kill(s, 0);
			for (int i = 0; i < 50 && sim_record(s, 0)->epoch == 1; i++)
				run(100 * MS);
			expect(sim_record(s, 0)->epoch == 2, "a failover waits for no drain");
			finish(id, OPS_FAILED);
		}
		run(US_PER_S);
		expect(sim_record(s, 0)->op.kind != OPERATION_DRAIN, "the drain has ended");
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manual_failover_waits_for_its_order),
		cmocka_unit_test(an_order_may_allow_a_loss),
		cmocka_unit_test(nobody_else_than_the_named_one),
		cmocka_unit_test(a_named_node_may_lack_what_was_acknowledged),
		cmocka_unit_test(an_order_in_vain_is_answered),
		cmocka_unit_test(a_drain_ends_detached_or_as_before),
		cmocka_unit_test(what_ends_a_drain),
	};
	return run_cases(tests, ARRAY_LEN(tests));
}
