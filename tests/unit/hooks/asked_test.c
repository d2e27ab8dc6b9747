/* What operations ask of a policy: who shall be primary, and actions that are done, or not, or nonsense. */
#include "hooksrig.h"

static struct hooksrig rig;

static int open_rig(void **state)
{
	hooksrig_open(&rig);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	return 0;
}

/* ---- failover ------------------------------------------------------------------------------------------------------------------- */

/* What BODY chooses of pg2 and pg3, when pg1 is lost and may not: their names; "nobody: …"; "as it is", "as it is: …" when it failed. */
static const char *chosen(const char *body)
{
	static const struct hook_candidate candidates[] = { { "pg1", "it is lost" }, { "pg2", NULL }, { "pg3", NULL } };
	static char text[20000], out[400];
	struct hook_choice c;
	snprintf(text, sizeof text, "local lp = require 'lunapool' return { api = 1, failover = function(event, cluster) %s end }",
	         body);
	hooksrig_load(&rig, text);
	hooks_choose(rig.hooks, "main", "pg1", "it refuses connections", candidates, 3, &c);
	confdir_strip(&rig.policy.dir, c.why);
	out[0] = '\0';
	if (c.is_nobody || c.n == 0)
		snprintf(out, sizeof out, "%s%s%s", c.is_nobody ? "nobody" : "as it is", *c.why ? ": " : "", c.why);
	for (size_t i = 0; i < c.n; i++)
		snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", i ? "," : "", candidates[c.order[i]].name);
	return out;
}

static void a_policy_chooses_among_those_who_may(void **state)
{
	assert_string_equal(chosen("return { cluster:node('pg3'), cluster:node('pg2') }"), "pg3,pg2");
	assert_string_equal(chosen("return cluster:node('pg3')"), "pg3");
	assert_string_equal(chosen("return cluster:candidates(function(node) return node.weight == 3 end)"), "pg2");
	assert_string_equal(chosen("return event.candidates"), "pg2,pg3");
	assert_string_equal(chosen("return { cluster:node('pg2'), cluster:node('pg2') }"), "pg2");
	assert_string_equal(chosen("return nil, 'the other site decides'"), "nobody: the other site decides");
	assert_string_equal(chosen("return nil, event.old_primary.name .. event.evidence .. event.refused.pg1 .. #event.candidates"),
	                    "nobody: pg1it refuses connectionsit is lost2");
	assert_string_equal(chosen(""), "as it is");
	assert_string_equal(chosen("return {}"), "as it is");
}

static void nonsense_leaves_the_order_as_it_is(void **state)
{
	assert_string_equal(chosen("return cluster:node('pg1')"),
	                    "as it is: main.lua: failover returned pg1, which may not become primary: it is lost");
	assert_string_equal(chosen("return { 'pg2' }"),
	                    "as it is: main.lua: failover returned a string where a node of this cluster is expected");
	assert_string_equal(chosen("return { lp.cluster('other').nodes[1] }"),
	                    "as it is: main.lua: failover returned a userdata where a node of this cluster is expected");
	assert_string_equal(chosen("return 7"), "as it is: main.lua: failover returned a number, instead of nodes, or nil and why");
	assert_string_equal(chosen("error('broken')"), "as it is: main.lua:1: broken");
	assert_string_equal(chosen("while true do end"),
	                    "as it is: main.lua:1: it ran longer than 50 ms without waiting and was stopped");
	assert_string_equal(chosen("lp.sleep(1)"), "as it is: main.lua:1: actions wait: they belong into tasks and kin, not here");
}

static void without_the_hook_the_order_is_as_it_is(void **state)
{
	struct hook_choice c;
	const struct hook_candidate candidate = { "pg2", NULL };
	hooks_choose(rig.hooks, "main", "pg1", "", &candidate, 1, &c);
	assert_int_equal(c.n, 0);
	assert_false(c.is_nobody);
	hooksrig_load(&rig, "return { api = 1 }");
	hooks_choose(rig.hooks, "main", "pg1", "", &candidate, 1, &c);
	assert_int_equal(c.n, 0);
	assert_false(hooks_has(rig.hooks, "main", HOOK_promote));
}

/* ---- returning ------------------------------------------------------------------------------------------------------------------ */

static enum hook_word word_of(const char *body)
{
	static char text[2000];
	const struct hook_return it = { "pg1", "writable", "it was the primary", 3, 2 };
	snprintf(text, sizeof text,
	         "local lp = require 'lunapool' return { api = 1, returning = function(event, node, cluster) %s end }", body);
	hooksrig_load(&rig, text);
	return hooks_ask_of(rig.hooks, "main", &it);
}

static void a_policy_says_what_becomes_of_who_returns(void **state)
{
	assert_int_equal(word_of("return 'rejoin'"), HOOK_SAYS_REJOIN);
	assert_int_equal(word_of("return 'attach'"), HOOK_SAYS_ATTACH);
	assert_int_equal(word_of("return 'quarantine'"), HOOK_SAYS_QUARANTINE);
	assert_int_equal(
	    word_of("return event.state == 'writable' and event.timeline == 3 and event.tries == 2 and node.name == 'pg1' "
	            "and event.reason == 'it was the primary' and cluster.name == 'main' and 'rejoin' or nil"),
	    HOOK_SAYS_REJOIN);
	static const char *const nonsense[] = { "",          "return 7",          "return 'Rejoin'", "error('broken')",
		                                    "return {}", "while true do end", "lp.sleep(1)" };
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
		assert_int_equal(word_of(nonsense[i]), HOOK_SAYS_QUARANTINE);
	hooksrig_load(&rig, "return { api = 1 }");
	const struct hook_return it = { "pg1", "down", "", 0, 0 };
	assert_int_equal(hooks_ask_of(rig.hooks, "main", &it), HOOK_SAYS_QUARANTINE);
}

/* ---- actions ---------------------------------------------------------------------------------------------------------------------- */

static const struct hook_operation op = { 7, 3, "failover", 2, "pg1", "it refuses connections" };

static const char *done(const char *body, uint64_t timeout_us)
{
	static char text[2000];
	struct err err;
	snprintf(text, sizeof text,
	         "local lp = require 'lunapool' return { api = 1, follow_primary = function(op, node, primary) %s end }", body);
	hooksrig_load(&rig, text);
	assert_true(hooks_has(rig.hooks, "main", HOOK_follow_primary));
	rig.is_done = false;
	if (!hooks_run(rig.hooks, "main", HOOK_follow_primary, &op, "pg3", "pg2", timeout_us, hooksrig_on_done, &rig, &err))
		fail_msg("%s", err.text);
	hooksrig_wait(&rig);
	return rig.was_good ? rig.output : rig.error;
}

static void an_action_is_done_when_it_says_true(void **state)
{
	assert_string_equal(
	    done("lp.log(op.id .. op.epoch .. op.kind .. op.step .. op.attempt .. op.old_primary.name .. op.evidence) "
	         "lp.log(node.name .. primary.name .. op.node.name .. op.primary.name .. op.cluster.name) return true",
	         0),
	    "73failoverfollow_primary2pg1it refuses connections\npg3pg2pg3pg2main\n");
	assert_true(rig.was_good);
	assert_string_equal(hooksrig_row(&rig, "follow_primary")->kind, "hook");
}

static void whatever_else_it_says_it_is_not_done(void **state)
{
	static const struct {
		const char *body, *error;
	} cases[] = {
		{ "return nil, 'no room'", "no room" },
		{ "return lp.exec { 'sh', '-c', 'exit 3' }", "sh ended with status 3" },
		{ "return lp.exec { 'true' }", "it returned string, instead of true, or nil and why" },
		{ "", "it returned nothing, instead of true, or nil and why" },
		{ "return false", "it returned false, instead of true, or nil and why" },
		{ "return 1", "it returned number, instead of true, or nil and why" },
		{ "return {}", "it returned table, instead of true, or nil and why" },
		{ "error('broken')", "main.lua:1: broken" },
		{ "lp.sleep(0) error('broken')", "main.lua:1: broken" },
		{ "while true do end", "main.lua:1: it ran longer than 50 ms without waiting and was stopped" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(done(cases[i].body, 0), cases[i].error);
		assert_false(rig.was_good);
	}
}

static void who_hangs_is_stopped_at_its_deadline(void **state)
{
	assert_string_equal(
	    done("lp.defer(function() lp.kv.set('cleared', true) end) lp.exec({ 'sleep', '1000' }, { timeout = 1000 })", 100000),
	    "it took too long and was stopped");
	struct policy_value v;
	policy_kv_get(rig.policy.kv, slice_text("cleared"), clock_us(), &v);
	assert_int_equal(v.is, POLICY_KV_BOOL);
}

static void what_nobody_wants_any_more_is_stopped(void **state)
{
	struct err err;
	hooksrig_load(&rig, "local lp = require 'lunapool' return { api = 1, promote = function() lp.sleep(1000) end }");
	rig.is_done = false;
	struct hook_run *r = hooks_run(rig.hooks, "main", HOOK_promote, &op, "pg2", NULL, 0, hooksrig_on_done, &rig, &err);
	assert_non_null(r);
	run_turns(rig.loop, 3);
	assert_int_equal(hooksrig_row(&rig, "promote")->state, HOOK_RUNNING);
	hooks_abandon(r);
	assert_int_equal(hooksrig_row(&rig, "promote")->state, HOOK_STOPPED);
	assert_false(rig.is_done);
	assert_null(hooks_run(rig.hooks, "main", HOOK_promote, &op, "pg9", NULL, 0, hooksrig_on_done, &rig, &err));
	assert_string_equal(err.text, "node pg9 is not in the configuration any more");
}

static void a_fence_that_is_required_must_be_there(void **state)
{
	struct conf_errors errors = { 0 };
	struct err err;
	char path[160];
	confdir_write(&rig.policy.dir, "other.conf",
	              "listen { port = 0 }\nauth { hba_file = \"rules\" }\n"
	              "cluster \"main\" { service_user = \"probe\"  fence_required = true  node \"pg1\" { host = \"h1\" } }\n"
	              "database \"*\" { cluster = \"main\" }\n");
	snprintf(path, sizeof path, "%s/other.conf", rig.policy.dir.path);
	struct conf *conf = conf_load(path, &errors);
	assert_non_null(conf);
	assert_null(hook_set_load(conf, NULL, rig.policy.kv, &err));
	assert_string_equal(err.text, "cluster main has fence_required, and no policy with a hook fence");
	conf_free(conf);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_policy_chooses_among_those_who_may),   UNIT(nonsense_leaves_the_order_as_it_is),
		UNIT(without_the_hook_the_order_is_as_it_is), UNIT(a_policy_says_what_becomes_of_who_returns),
		UNIT(an_action_is_done_when_it_says_true),    UNIT(whatever_else_it_says_it_is_not_done),
		UNIT(who_hangs_is_stopped_at_its_deadline),   UNIT(what_nobody_wants_any_more_is_stopped),
		UNIT(a_fence_that_is_required_must_be_there),
	};
	return UNIT_RUN(tests);
}
