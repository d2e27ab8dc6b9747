/* What an action does to clusters and nodes is done, waited for, and taken back with its run; notices and metrics are shown. */
#include "hooksrig.h"

static struct hooksrig rig;

/* ---- what is above: notes what it is told, and publishes as the real one does ---------------------------------------------- */

static struct {
	char told[1000];
	unsigned busy;
	uint64_t orders;
	unsigned not_now; /* times that an order is refused because of an operation */
	bool refuses, is_detached, answers_no;
} above;

static PRINTF_LIKE(1, 2) void tell(const char *fmt, ...)
{
	size_t len = strlen(above.told);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(above.told + len, sizeof above.told - len, fmt, ap);
	va_end(ap);
}

static bool on_hold(void *arg, const char *cluster, bool is_held, struct err *err)
{
	if (above.refuses)
		return err_set(err, "57P03", "shutting down");
	tell("%s %s;", is_held ? "hold" : "release", cluster);
	struct topo *t = topo_copy(topo_latest(rig.board));
	t->clusters[0].is_held = is_held;
	topo_publish(rig.board, t);
	rig.policy.topo = t;
	hooks_on_publish(rig.hooks);
	return true;
}

static bool on_drain(void *arg, uint32_t node_id, bool is_drained, struct err *err)
{
	tell("%s %s;", is_drained ? "drain" : "undrain", topo_node(topo_latest(rig.board), node_id, NULL)->name);
	return true;
}

static unsigned on_busy(void *arg, uint32_t node_id)
{
	return above.busy ? above.busy-- : 0;
}

static enum hook_ordered on_order(void *arg, const char *cluster, enum hook_order what, const char *node, const char *by,
                                  uint64_t *id, struct err *err)
{
	if (above.not_now) {
		above.not_now--;
		err_set(err, "55006", "operation 7 is under way");
		return HOOK_ORDER_REFUSED;
	}
	if (above.is_detached == (what == HOOK_DETACH))
		return HOOK_ORDER_IS_SO;
	tell("%s %s.%s by %s;", what == HOOK_DETACH ? "detach" : "attach", cluster, node, by);
	above.is_detached = what == HOOK_DETACH;
	*id = ++above.orders;
	return HOOK_ORDER_GIVEN;
}

static enum hook_answer on_answer(void *arg, const char *cluster, uint64_t id, struct err *err)
{
	assert_int_equal(id, above.orders);
	err_set(err, "55000", "the disk is full");
	return above.answers_no ? HOOK_ORDER_FAILED : HOOK_ORDER_DONE;
}

static const struct hooks_powers powers = {
	.hold = on_hold, .drain = on_drain, .busy = on_busy, .order = on_order, .answer = on_answer
};

static int open_rig(void **state)
{
	memset(&above, 0, sizeof above);
	rig.powers = &powers;
	hooksrig_open(&rig);
	return 0;
}

static int open_powerless_rig(void **state)
{
	rig.powers = NULL;
	hooksrig_open(&rig);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	return 0;
}

#define SAYS(body, expected) assert_string_equal(hooksrig_run(&rig, body), expected)
#define TOLD(expected)                             \
	do {                                           \
		assert_string_equal(above.told, expected); \
		above.told[0] = '\0';                      \
	} while (0)

/* ---- holds ---------------------------------------------------------------------------------------------------------------------- */

static void what_is_held_is_released(void **state)
{
	SAYS("local hold = lp.hold(cluster) return tostring(hold:release()) .. ' ' .. cluster.primary.name", "true pg1");
	TOLD("hold main;release main;");
	SAYS("local hold = lp.hold(cluster) hold:release() local ok, err = hold:release() return err.kind .. ': ' .. tostring(err)",
	     "timeout: the hold was over already: it took longer than hold_timeout, or was released");
	TOLD("hold main;release main;");
}

static void a_hold_ends_with_its_run_however_that_ends(void **state)
{
	SAYS("lp.hold(cluster) return 'done'", "done");
	TOLD("hold main;release main;");
	SAYS("lp.hold(cluster) error('broken')", "error: main.lua:1: broken");
	TOLD("hold main;release main;");
	SAYS("lp.hold(cluster) while true do end", "error: main.lua:1: it ran longer than 50 ms without waiting and was stopped");
	TOLD("hold main;release main;");
	hooksrig_load_task(&rig, "lp.defer(function() lp.log('deferred') end) lp.hold(cluster) lp.kv.set('on', 1) "
	                         "lp.sleep(1000)");
	hooksrig_begin(&rig, "t");
	while (!strstr(above.told, "hold"))
		run_turns(rig.loop, 1);
	run_turns(rig.loop, 5);
	assert_true(hooks_stop(rig.hooks, hooksrig_row(&rig, "t")->id, "admin"));
	hooksrig_wait(&rig);
	assert_string_equal(rig.output, "deferred\n");
	TOLD("hold main;release main;");
}

static void two_holds_are_over_when_both_are(void **state)
{
	SAYS("local a, b = lp.hold(cluster), lp.hold(cluster) a:release() return b:release() and 'both'", "both");
	TOLD("hold main;release main;");
}

static void a_hold_that_cannot_be_says_why(void **state)
{
	above.refuses = true;
	SAYS("local hold, err = lp.hold(cluster) return tostring(hold) .. ' ' .. err.kind .. ' ' .. err.message",
	     "nil state shutting down");
}

/* ---- drains, orders ----------------------------------------------------------------------------------------------------------------- */

static void a_drain_waits_until_nobody_is_there(void **state)
{
	above.busy = 3;
	SAYS("return lp.drain(cluster:node('pg2'))", "");
	assert_true(rig.was_good);
	TOLD("drain pg2;undrain pg2;"); /* with its run */
	above.busy = 1000;
	SAYS("local ok, err = lp.drain(cluster:node('pg2'), { timeout = 0.05 }) return err.kind .. ': ' .. err.message:gsub('%d+', "
	     "'N')",
	     "timeout: drain of pgN was given up: N connections to it are in use");
	TOLD("drain pg2;undrain pg2;");
	above.busy = 1000;
	SAYS("local ok, err = lp.deadline(0.05, function() return lp.drain(cluster:node('pg2')) end) lp.log(err.kind) lp.sleep(0.01)",
	     "timeout");
	TOLD("drain pg2;undrain pg2;");
	above.busy = 0;
	SAYS("local ok, err = lp.drain(cluster.primary) return err.kind .. ': ' .. err.message",
	     "state: pg1 is the primary: hold the cluster first, or make another one the primary");
	SAYS("lp.hold(cluster) return lp.drain(cluster.primary)", "");
	TOLD("hold main;drain pg1;release main;undrain pg1;");
	SAYS("return lp.drain(lp.cluster('other').nodes[1])", "");
	assert_true(rig.was_good);
	SAYS("lp.drain(cluster:node('pg2'), { tmieout = 1 })", "error: main.lua:1: there is no option tmieout");
}

static void nodes_are_detached_and_attached(void **state)
{
	above.not_now = 3;
	SAYS("local node = cluster:node('pg2') return lp.drain(node) and lp.detach(node) and lp.attach(node)", "");
	assert_true(rig.was_good);
	TOLD("drain pg2;detach main.pg2 by t;attach main.pg2 by t;undrain pg2;");
	SAYS("return lp.attach(cluster:node('pg2')) and lp.detach(cluster:node('pg2')) and lp.detach(cluster:node('pg2'))", "");
	assert_true(rig.was_good);
	TOLD("detach main.pg2 by t;");
	above.not_now = 10000000;
	SAYS("local ok, err = lp.attach(cluster:node('pg2'), { timeout = 0.02 }) return err.kind .. ': ' .. err.message",
	     "timeout: attach of pg2 was given up: operation 7 is under way");
	above.not_now = 0;
	above.answers_no = true;
	SAYS("local ok, err = lp.attach(cluster:node('pg2')) return err.kind .. ': ' .. err.message", "state: the disk is full");
}

static void without_powers_nothing_is_done(void **state)
{
	SAYS("local ok, err = lp.hold(cluster) return err.message", "nothing can be done to nodes here");
	SAYS("local ok, err = lp.drain(cluster:node('pg2')) return err.message", "nothing can be done to nodes here");
	SAYS("local ok, err = lp.detach(cluster:node('pg2')) return err.message", "nothing can be done to nodes here");
}

/* ---- notices, metrics ----------------------------------------------------------------------------------------------------------------- */

static void a_notice_is_an_event(void **state)
{
	hooksrig_load(&rig, "local lp = require 'lunapool' local M = { api = 1, on = {}, tasks = {} }\n"
	                    "function M.on.notice(event, cluster) lp.notify('of a notice') lp.kv.set('heard', cluster.name .. ' ' .. "
	                    "event.kind .. ' ' .. event.id .. ' ' .. event.reason) end\n"
	                    "function M.tasks.t(task) lp.notify('the disk of pg2 is full', 'error') while not lp.kv.get('heard') do "
	                    "lp.sleep(0.001) end return lp.kv.get('heard') .. ' ' .. task.id end return M");
	hooksrig_begin(&rig, "t");
	hooksrig_wait(&rig);
	assert_string_equal(rig.output, "the disk of pg2 is full\nmain error 1 the disk of pg2 is full 1\n");
	assert_string_equal(hooksrig_row(&rig, "notice")->last_line, "of a notice");
	SAYS("lp.notify('x', 'fatal')", "error: main.lua:1: bad argument #2 to 'notify' (invalid option 'fatal')");
}

static void add_metric(void *arg, const struct hook_metric *m)
{
	tell("%s.%s=%g;", m->cluster, m->name, m->value);
}

static void metrics_are_shown(void **state)
{
	SAYS("return lp.metric('disk_free', 0.5) and lp.metric('age', 7) and lp.metric('disk_free', 0.25) and 'set'", "set");
	hooks_each_metric(rig.hooks, add_metric, NULL);
	TOLD("main.age=7;main.disk_free=0.25;");
	SAYS("for i = 1, 998 do lp.metric('m' .. i, i) end return tostring(lp.metric('one more', 1)) .. tostring(lp.metric('m1', 2))",
	     "falsetrue");
	SAYS("lp.metric('x', 1 / 0)", "error: main.lua:1: bad argument #2 to 'metric' (a number that is finite)");
	SAYS("lp.metric('', 1)", "error: main.lua:1: bad argument #1 to 'metric' (a name of at most 100 bytes)");
}

static void what_operations_do_is_an_event(void **state)
{
	hooksrig_load(
	    &rig, "local lp = require 'lunapool' return { api = 1, on = { operation_ended = function(e, cluster) lp.log(e.name .. "
	          "' ' .. e.id .. e.kind .. e.outcome .. e.node.name .. e.old.name .. e.reason .. cluster.name) end } }");
	hooks_happened(rig.hooks, "main", &(struct hook_event){ "operation_ended", "pg2", "pg1", 3, "failover", "done", "dead" });
	hooks_happened(rig.hooks, "main", &(struct hook_event){ .name = "operation_began", .node = "pg1" }); /* nobody listens */
	run_turns(rig.loop, 3);
	assert_string_equal(hooksrig_row(&rig, "operation_ended")->last_line, "operation_ended 3failoverdonepg2pg1deadmain");
	assert_null(hooksrig_row(&rig, "operation_began"));
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(what_is_held_is_released),
		UNIT(a_hold_ends_with_its_run_however_that_ends),
		UNIT(two_holds_are_over_when_both_are),
		UNIT(a_hold_that_cannot_be_says_why),
		UNIT(a_drain_waits_until_nobody_is_there),
		UNIT(nodes_are_detached_and_attached),
		cmocka_unit_test_setup_teardown(without_powers_nothing_is_done, open_powerless_rig, close_rig),
		UNIT(a_notice_is_an_event),
		UNIT(metrics_are_shown),
		UNIT(what_operations_do_is_an_event),
	};
	return UNIT_RUN(tests);
}
