/* lp.step: what is finished is recorded before the hook goes on, and is not done again; what is no JSON, or too much, is an error. */
#include "hooksrig.h"

static struct hooksrig rig;

/* ---- the record: what has been finished, and how often it was asked to wait ------------------------------------------------------------ */

static struct {
	size_t n;
	struct {
		char key[256], value[5000];
	} at[20];
	unsigned not_now, later; /* times that it cannot take a step, and that it is not there yet */
	bool is_full;
	uint64_t operation;
} kept;

static const char *on_step(void *arg, const char *cluster, uint64_t operation, const char *key)
{
	assert_string_equal(cluster, "main");
	for (size_t i = 0; i < kept.n && operation == kept.operation; i++)
		if (strcmp(kept.at[i].key, key) == 0)
			return kept.later && kept.later-- ? NULL : kept.at[i].value;
	return NULL;
}

static bool on_finish_step(void *arg, const char *cluster, uint64_t operation, const char *key, const char *value,
                           struct err *err)
{
	if (operation != kept.operation)
		return err_set(err, "55000", "operation 7 is over");
	if (kept.not_now) {
		kept.not_now--;
		return err_set(err, "55006", "another step is being recorded");
	}
	if (kept.is_full)
		return err_set(err, "54000", "there is no room");
	if (kept.n && strcmp(kept.at[kept.n - 1].key, key) == 0)
		return true;
	assert_true(kept.n < ARRAY_LEN(kept.at));
	snprintf(kept.at[kept.n].key, sizeof kept.at[0].key, "%s", key);
	snprintf(kept.at[kept.n].value, sizeof kept.at[0].value, "%s", value);
	kept.n++;
	return true;
}

static const struct hooks_powers powers = { .step = on_step, .finish_step = on_finish_step };
static const struct hook_operation op = { 7, 3, "failover", 1, "pg1", "it refuses connections" };

static int open_rig(void **state)
{
	memset(&kept, 0, sizeof kept);
	kept.operation = op.id;
	rig.powers = &powers;
	hooksrig_open(&rig);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	return 0;
}

/* What the hook promote has said at NODE, or why it has failed. */
static const char *ran_at(const char *node, const char *body)
{
	static char text[20000];
	struct err err;
	snprintf(text, sizeof text,
	         "local lp = require 'lunapool' return { api = 1, promote = function(op, node) %s return true end }", body);
	hooksrig_load(&rig, text);
	rig.is_done = false;
	if (!hooks_run(rig.hooks, "main", HOOK_promote, &op, node, NULL, 0, hooksrig_on_done, &rig, &err))
		fail_msg("%s", err.text);
	hooksrig_wait(&rig);
	return rig.was_good ? rig.output : rig.error;
}

static const char *ran(const char *body)
{
	return ran_at("pg2", body);
}

static const char twice[] =
    "local a = lp.step('stop', function() lp.log('stopping') lp.sleep(0) return { at = 'here', n = 2 } end) "
    "lp.log(a.at .. a.n) if lp.kv.add('runs', 1) == 1 then error('killed') end "
    "lp.step('start', function() lp.log('starting') end)";

static void what_is_finished_is_not_done_again(void **state)
{
	kept.not_now = 2;
	kept.later = 2;
	assert_string_equal(ran(twice), "main.lua:1: killed");
	assert_string_equal(rig.output, "stopping\nhere2\n");
	assert_string_equal(kept.at[0].key, "promote pg2 stop");
	assert_string_equal(ran(twice), "here2\nstarting\n");
	assert_string_equal(ran(twice), "here2\n");
	assert_string_equal(kept.at[1].value, "null");
}

static void another_node_has_its_own(void **state)
{
	assert_string_equal(ran("lp.log(lp.step('who', function() return node.name end))"), "pg2\n");
	assert_string_equal(ran_at("pg3", "lp.log(lp.step('who', function() return node.name end))"), "pg3\n");
	assert_string_equal(ran_at("pg3", "lp.log(lp.step('who', function() return 'nobody' end))"), "pg3\n");
}

static void what_fails_is_not_finished(void **state)
{
	assert_string_equal(ran("local ok, err = lp.step('x', function() return nil, 'no room' end) lp.log(tostring(ok) .. err)"),
	                    "nilno room\n");
	assert_string_equal(ran("local ok, err = lp.step('x', function() return lp.exec { 'false' } end) lp.log(err.message)"),
	                    "false ended with status 1\n");
	assert_string_equal(ran("lp.step('x', function() error('broken') end)"), "main.lua:1: broken");
	assert_int_equal(kept.n, 0);
	kept.is_full = true;
	assert_string_equal(ran("local ok, err = lp.step('x', function() return 1 end) lp.log(err.kind .. err.message)"),
	                    "statethere is no room\n");
	kept.operation = 8;
	assert_string_equal(ran("local ok, err = lp.step('x', function() return 1 end) lp.log(err.message)"),
	                    "operation 7 is over\n");
}

static void wrong_use_is_an_error(void **state)
{
	assert_string_equal(ran("\nlp.step('x')"), "main.lua:2: lp.step takes a name of at most 60 bytes and a function");
	assert_string_equal(ran("lp.step(('x'):rep(61), function() end)"),
	                    "main.lua:1: lp.step takes a name of at most 60 bytes and a function");
	assert_string_equal(ran("lp.step('x', function() return function() end end)"), "main.lua:1: step x: a function is no JSON");
	assert_string_equal(ran("lp.step('x', function() return node end)"), "main.lua:1: step x: a userdata is no JSON");
	assert_string_equal(ran("lp.step('x', function() return 1 / 0 end)"),
	                    "main.lua:1: step x: a number that is not finite is no JSON");
	assert_string_equal(ran("lp.step('x', function() return { 1, a = 2 } end)"),
	                    "main.lua:1: step x: a table that is a list, and has names, too, is no JSON");
	assert_string_equal(ran("lp.step('x', function() return { [true] = 2 } end)"),
	                    "main.lua:1: step x: a table with a boolean for a name is no JSON");
	assert_string_equal(ran("local t = {} t.t = t lp.step('x', function() return t end)"),
	                    "main.lua:1: step x: a table in a table, 20 deep, is too much");
	assert_non_null(strstr(ran("lp.step('x', function() return ('x'):rep(4095) end)"),
	                       "step x: its value is 4097 bytes of JSON; it may have 4096"));
	assert_int_equal(kept.n, 0);
	assert_string_equal(ran("lp.step('y', function() end) lp.step('y', function() end)"),
	                    "main.lua:1: there was a step y already: each has a name of its own");
	assert_string_equal(ran("lp.log(#lp.step('x', function() return ('x'):rep(4094) end) .. '')"), "4094\n");
}

/* Written, and read again by the next run. */
static void values_come_back_as_they_were(void **state)
{
	static const char body[] = "local function same(a, b) if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end "
	                           "for k, v in pairs(a) do if not same(v, b[k]) then return false end end for k in pairs(b) do if "
	                           "a[k] == nil then return false end "
	                           "end return true end "
	                           "local values = { 'a\"b\\\\c/d\\n\\t\\r\\b\\f\\1\\127 \\195\\164 {}[],:', '', 0, -1.5, 1e300, 2 ^ "
	                           "53, 0.1, true, { 1, { 'x', {} }, "
	                           "{ [''] = false, ['a b'] = { 2 } } } } "
	                           "for i, value in ipairs(values) do local got = lp.step('s' .. i, function() return value end) "
	                           "if not same(value, got) then lp.log(i .. ' ' .. tostring(got)) end end";
	assert_string_equal(ran(body), "");
	assert_int_equal(kept.n, 9);
	assert_string_equal(kept.at[0].value, "\"a\\\"b\\\\c/d\\n\\t\\r\\b\\f\\u0001\\u007f \303\244 {}[],:\"");
	assert_string_equal(ran(body), "");
	assert_int_equal(kept.n, 9);
}

static void what_is_no_json_is_an_error(void **state)
{
	static const char *const texts[] = {
		"",    "[1",        "{\"a\":1", "{a:1}", "\"open",   "\"\\u12", "\"\\x\"",
		"nil", "{\"a\" 1}", "\"\\u0",   "[,]",   "{\"a\":}", "--1",     "[[[[[[[[[[[[[[[[[[[[[[[[[[1"
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		kept.n = 1;
		snprintf(kept.at[0].key, sizeof kept.at[0].key, "promote pg2 x");
		snprintf(kept.at[0].value, sizeof kept.at[0].value, "%s", texts[i]);
		assert_non_null(strstr(ran("lp.step('x', function() return 1 end)"), "no JSON at byte"));
	}
}

static void a_task_keeps_nothing(void **state)
{
	assert_string_equal(hooksrig_run(&rig, "return lp.step('x', function() return 'done' end)"), "done");
	assert_string_equal(hooksrig_run(&rig, "return lp.step('x', function() return nil, 'not done' end)"), "error: not done");
	assert_int_equal(kept.n, 0);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(what_is_finished_is_not_done_again),
		UNIT(another_node_has_its_own),
		UNIT(what_fails_is_not_finished),
		UNIT(wrong_use_is_an_error),
		UNIT(values_come_back_as_they_were),
		UNIT(what_is_no_json_is_an_error),
		UNIT(a_task_keeps_nothing),
	};
	return UNIT_RUN(tests);
}
