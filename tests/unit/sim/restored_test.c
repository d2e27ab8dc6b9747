/*
 * nodes that come back, in simulated clusters: of themselves by rejoin, by order, with hooks that fail, lie and hang, with Lunapool and its journal's
 * disk failing at any moment.
 */
#include "simworld.h"

/* What the hooks of the policy below do beside their work, of a hundred times. */
static unsigned fails, lies;
static unsigned worked; /* how often one has begun */

static bool on_program(void *arg, const char *line, int *status, char *said, size_t room)
{
	bool is_works = strcmp(line, "works") == 0, is_lies = strcmp(line, "lies") == 0;
	worked += is_works;
	if (!is_works && !is_lies)
		return false;
	*status = is_works ? rnd(100) < fails : rnd(100) >= lies;
	*said = 0;
	return true;
}

/* RETURNING: what it says of nodes that come back; without hooks it has nothing else. */
static void begin_with(uint64_t n, const char *returning, bool has_hooks, bool has_sync)
{
	static const char hooks[] = "local lp = require 'lunapool'\n"
	                            "function M.rejoin(op, node, primary)\n"
	                            "  lp.stop(node)\n"
	                            "  if not lp.exec { 'works' } then return nil, 'it did not work' end\n"
	                            "  if lp.exec { 'lies' } then return true end\n"
	                            "  return lp.rejoin(op, node, primary)\n"
	                            "end\n"
	                            "M.recover = M.rejoin\n";
	char text[2000];
	snprintf(text, sizeof text, "local M = { api = 1 }\nfunction M.returning() return '%s' end\n%s\nreturn M\n", returning,
	         has_hooks ? hooks : "");
	fails = lies = worked = 0;
	begin_as(n, &(struct sim_conf){ .sync = has_sync ? "ANY 1 (b, c)" : NULL, .is_quiet = n % 2, .policy = policy_of(text) });
	sim_on_program(s, on_program, NULL);
}

static void expect_restored(const char *node)
{
	int i = sim_node_named(s, node);
	for (int k = 0; k < 100 && !sim_is_streaming(s, i); k++) /* its receiver tries again when it likes */
		run(100 * MS);
	expect(!record_is_barred(sim_record(s, 0), node), "it is kept away");
	expect(sim_is_up(s, i) && !sim_is_writable(s, i) && sim_is_streaming(s, i), "it is no standby");
}

/* Down or writable, with Lunapool killed at each step or nowhere, with a disk that fails: the hook runs until it is a standby again. */
static void who_was_primary_rejoins(void **state)
{
	static const char *const steps[] = { "work", "verify", NULL, "promote", NULL };
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		begin_with(n, "rejoin", true, n % 4 == 0);
		if (steps[n % ARRAY_LEN(steps)])
			sim_lunapool_dies_at(s, steps[n % ARRAY_LEN(steps)]);
		sim_journal_fails(s, n % 4 ? 0 : 20);
		(n % 2 ? sim_freeze : sim_kill)(s, 0);
		(n % 3 ? run_with_deaths : run)(5 * US_PER_S);
		if (n % 2) { /* nobody touches one that is frozen */
			for (int i = 0; i < 100 && sim_record(s, 0)->epoch == 1; i++)
				run(100 * MS);
			expect(sim_called(s, "rejoin", "a") == 0, "nothing is done to who does not answer");
			sim_thaw(s, 0);
		}
		sim_journal_fails(s, 0);
		for (int i = 0; i < 200 && !has_past(OPERATION_REJOIN, END_DONE); i++)
			run(500 * MS);
		expect_all_well();
		expect(sim_record(s, 0)->epoch == 2 && sim_promotions(s, 0) == 1, "one promotion");
		expect(has_past(OPERATION_REJOIN, END_DONE), "a rejoin is done");
		expect_restored("a");
		end();
	}
}

/* Without a word from the policy, and without a hook, it stays in quarantine. */
static void who_is_not_wanted_stays_in_quarantine(void **state)
{
	static const char *const words[] = { "quarantine", "rejoin", "attach" };
	for (uint64_t n = 1; n <= ORDERS(45); n++) {
		begin_with(n, words[n % 3], n % 3 != 1, n % 4 == 0);
		sim_kill(s, 0);
		run(5 * US_PER_S);
		expect(sim_called(s, "returning", "a") == 1, "asked once: it is down");
		sim_return_as_primary(s, 0);
		expect_all_well();
		expect(sim_called(s, "returning", "a") == 2, "and once more: it is writable");
		expect(sim_called(s, "rejoin", NULL) == 0, "nothing was done");
		expect(record_is_barred(sim_record(s, 0), "a"), "it is kept away");
		end();
	}
}

/* Each pause is twice the one before: 5, 10, 20, 40 … s. */
static void a_rejoin_that_fails_comes_again_later_and_later(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(16); n++) {
		begin_with(n, "rejoin", true, n % 4 == 0);
		fails = n % 2 ? 100 : 0;
		lies = 100; /* it says that it is done */
		sim_kill(s, 0);
		run((n % 2 ? 80 : 64) * US_PER_S);
		expect(n % 2 ? worked >= 4 && worked <= 5 : worked == 1, "as often as its pauses let it");
		run((n % 2 ? 1 : 10) * US_PER_S);
		const struct record_node *a = record_node(sim_record(s, 0), "a");
		expect(a && a->flags == RECORD_QUARANTINED, "it is in quarantine");
		expect_text(a->why, n % 2 ? "its rejoin failed, try" : "its rejoin failed, try 1: the hook says that it is done");
		fails = lies = 0;
		run(200 * US_PER_S);
		expect_all_well();
		expect_restored("a");
		end();
	}
}

/* A failover waits for nothing: as quick as without, and the rejoin begins anew. */
static void a_failover_ends_a_rejoin(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		begin_with(n, "rejoin", true, false);
		sim_act_hangs(s, "rejoin", 0, 1);
		sim_kill(s, 0);
		run(5 * US_PER_S);
		expect(sim_record(s, 0)->op.kind == OPERATION_REJOIN, "it is under way");
		sim_kill(s, primary_now());
		for (int i = 0; i < 100 && sim_record(s, 0)->epoch == 2; i++)
			(n % 2 ? run_with_deaths : run)(100 * MS);
		expect(sim_record(s, 0)->epoch == 3, "a failover");
		expect(has_past(OPERATION_REJOIN, END_ABORTED), "the rejoin was given up for it");
		run(10 * US_PER_S);
		expect_all_well();
		for (int i = 0; i < 20 && record_is_barred(sim_record(s, 0), "a"); i++)
			run(10 * US_PER_S);
		expect_all_well();
		expect(!sim_record(s, 0)->op.id, "no operation is left");
		expect_restored("a");
		end();
	}
}

static void nodes_are_restored_by_order(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		begin_with(n, "quarantine", n % 5 > 0, false);
		refused(OPS_ORDER_RECOVER, "a", "is the primary");
		refused(OPS_ORDER_REJOIN, "c", "follows the primary already");
		if (n % 5 == 0) {
			refused(OPS_ORDER_RECOVER, "b", "the policy has no hook recover");
			end();
			continue;
		}
		fails = n % 4 ? 0 : 100;
		if (n % 3 == 0)
			done(OPS_ORDER_DETACH, "b");
		if (n % 3 == 1)
			sim_kill(s, 1);
		run(3 * US_PER_S);
		uint64_t id = order(n % 3 == 1 && n % 2 ? OPS_ORDER_REJOIN : OPS_ORDER_RECOVER, "b");
		finish(id, fails ? OPS_FAILED : OPS_DONE);
		if (fails) {
			struct err err = { .text = "" };
			expect(sim_answer(s, 0, id, &err) == OPS_FAILED, "the order failed");
			expect_text(err.text, "was given up: it did not work");
			expect(record_node(sim_record(s, 0), "b")->flags == RECORD_QUARANTINED, "it is in quarantine");
		} else {
			expect_all_well();
			expect_restored("b");
			expect(sim_record(s, 0)->epoch == 1, "nobody was promoted");
		}
		end();
	}
}

/* What takes long is in nobody's way. */
static void orders_beside_a_rejoin(void **state)
{
	for (uint64_t n = 1; n <= ORDERS(40); n++) {
		begin_with(n, "rejoin", true, false);
		bool is_recover = n % 2;
		sim_act_hangs(s, is_recover ? "recover" : "rejoin", -1, 1);
		if (is_recover)
			order(OPS_ORDER_RECOVER, "b");
		else
			sim_kill(s, 0);
		run((is_recover ? 1 : 5) * US_PER_S);
		expect(sim_record(s, 0)->op.kind == (is_recover ? OPERATION_RECOVER : OPERATION_REJOIN), "it is under way");
		const char *other = primary_now() == 2 ? "b" : "c";
		done(OPS_ORDER_DETACH, other);
		refused(OPS_ORDER_RECOVER, other, "is under way");
		done(OPS_ORDER_PAUSE, "");
		done(OPS_ORDER_RESUME, "");
		done(OPS_ORDER_ATTACH, other);
		expect(sim_called(s, "rejoin", NULL) + sim_called(s, "recover", NULL) == 1, "it was not begun again");
		expect(sim_record(s, 0)->op.step == STEP_WORK, "it works");
		if (is_recover) {
			refused(OPS_ORDER_SWITCHOVER, "", "is under way");
		} else {
			run(3 * US_PER_S); /* who was attached is fit again */
			uint64_t id = order(OPS_ORDER_SWITCHOVER, other);
			run(10 * US_PER_S);
			struct err err;
			expect(has_past(OPERATION_REJOIN, END_ABORTED), "the rejoin was given up for it");
			expect(sim_answer(s, 0, id, &err) == (has_past(OPERATION_SWITCHOVER, END_DONE) ? OPS_DONE : OPS_FAILED),
			       "the answer");
		}
		end();
	}
}

/* Whatever fails, for as long as it likes, where nodes come back by themselves; then all is well again. */
static void anything_goes_with_rejoins(void **state)
{
	unsigned restored = 0;
	for (uint64_t n = 1; n <= ORDERS(25); n++) {
		begin_with(n, "rejoin", true, false);
		sim_journal_fails(s, rnd(2) * 30);
		fails = rnd(2) * 30;
		lies = rnd(2) * 10;
		for (int i = 0; i < 30; i++) {
			static void (*const faults[])(
			    struct sim *, int) = { sim_kill, sim_kill, sim_start, sim_start, sim_freeze, sim_thaw, sim_return_as_primary };
			faults[rnd(ARRAY_LEN(faults))](s, (int)rnd(NODES));
			if (rnd(4) == 0)
				sim_act_fails(s, "promote", (int)rnd(NODES), 1);
			(rnd(2) ? run : run_with_deaths)(rnd(2) ? 1 + rnd(300) * MS : rnd(10) * US_PER_S);
		}
		fails = lies = 0;
		for (int i = 0; i < NODES; i++) {
			sim_thaw(s, i);
			sim_start(s, i);
		}
		expect_all_well();
		for (size_t i = 0; i < sim_record(s, 0)->n_past; i++)
			restored += sim_record(s, 0)->past[i].kind == OPERATION_REJOIN && sim_record(s, 0)->past[i].end == END_DONE;
		end();
	}
	assert_true(restored > 20);
}

/* What was recorded of a hook's step once is not done again, whoever is killed, until its operation is over. */
static unsigned again, recorded;
static bool on_step(void *arg, const char *line, int *status, char *said, size_t room)
{
	const struct record *r = sim_record(s, 0);
	char key[100];
	if (strncmp(line, "step ", 5) != 0)
		return false;
	snprintf(key, sizeof key, "%s", line + 5);
	bool is_there = record_step(r, key) != NULL;
	again += is_there;
	recorded += r->steps_len > 0;
	*status = 0;
	snprintf(said, room, "%s", key);
	return true;
}

static void what_hooks_have_finished_is_not_forgotten(void **state)
{
	static const char text[] = "local lp = require 'lunapool'\n"
	                           "local M = { api = 1 }\n"
	                           "local function steps(hook, node)\n"
	                           "  for _, name in ipairs { 'one', 'two', 'three' } do\n"
	                           "    local key = hook .. ' ' .. node.name .. ' ' .. name\n"
	                           "    local said = lp.step(name, function() return lp.exec({ 'step', key }) and key end)\n"
	                           "    if said ~= key then error('another value came back: ' .. tostring(said)) end\n"
	                           "  end\n"
	                           "end\n"
	                           "function M.promote(op, node) steps('promote', node) return lp.promote(node) end\n"
	                           "function M.follow_primary(op, node, primary)\n"
	                           "  steps('follow_primary', node) return lp.follow(node, primary)\n"
	                           "end\n"
	                           "return M\n";
	again = recorded = 0;
	for (uint64_t n = 1; n <= ORDERS(60); n++) {
		begin_as(n, &(struct sim_conf){ .is_quiet = n % 2, .policy = policy_of(text) });
		sim_on_program(s, on_step, NULL);
		sim_journal_fails(s, n % 3 ? 0 : 20);
		sim_kill(s, 0);
		run_with_deaths(5 * US_PER_S);
		expect_all_well();
		expect(sim_promotions(s, 0) == 1, "one promotion");
		expect(again == 0, "what is recorded is not done again");
		expect(sim_record(s, 0)->steps_len == 0, "nothing of it is left");
		end();
	}
	assert_true(recorded > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_was_primary_rejoins),
		cmocka_unit_test(who_is_not_wanted_stays_in_quarantine),
		cmocka_unit_test(a_rejoin_that_fails_comes_again_later_and_later),
		cmocka_unit_test(a_failover_ends_a_rejoin),
		cmocka_unit_test(nodes_are_restored_by_order),
		cmocka_unit_test(orders_beside_a_rejoin),
		cmocka_unit_test(anything_goes_with_rejoins),
		cmocka_unit_test(what_hooks_have_finished_is_not_forgotten),
	};
	return run_cases(tests, ARRAY_LEN(tests));
}
