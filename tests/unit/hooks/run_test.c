/* Tasks, events and timers: what they return, raise and wait for, what is stopped, and what a reload leaves alone. */
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

#define SAYS(body, expected) assert_string_equal(hooksrig_run(&rig, body), expected)
#define REFUSED(text, expected) (assert_false(hooksrig_try(&rig, text)), assert_string_equal(rig.policy.error, expected))

static void what_a_task_returns_is_its_end(void **state)
{
	SAYS("", "");
	SAYS("return true", "");
	SAYS("return 'all is well'", "all is well");
	SAYS("lp.log('one') lp.sleep(0) lp.log('two', 'debug') return 'three'", "one\ntwo\nthree");
	SAYS("return nil, 'no room'", "error: no room");
	SAYS("return false", "error: it returned false");
	SAYS("return nil, 7", "error: it failed with a number, which is neither a text nor an error");
	SAYS("return nil, {}", "error: it failed with a table that has no message");
	SAYS("return {}, 'whatever'", "");
	assert_string_equal(hooksrig_row(&rig, "t")->kind, "task");
	assert_int_equal(rig.row.state, HOOK_DONE);
}

static void an_error_has_its_file_and_line(void **state)
{
	SAYS("\n\n  error('broken')", "error: main.lua:3: broken");
	SAYS("lp.sleep(0)\nerror({})", "error: main.lua:2: an error was raised that is a table, not a text");
	SAYS("lp.sleep(0)\nlocal x = nil .. 'x'", "error: main.lua:2: attempt to concatenate a nil value");
	SAYS("cluster:node('pg1').nothing()", "error: main.lua:1: a node has no field nothing");
	SAYS("lp.sleep('x')", "error: main.lua:1: bad argument #1 to 'sleep' (number expected, got string)");
	SAYS("lp.kv.none()", "error: main.lua:1: attempt to call field 'none' (a nil value)");
	assert_string_equal(hooksrig_row(&rig, "t")->error + strlen(rig.policy.dir.path) + 1,
	                    "main.lua:1: attempt to call field 'none' (a nil value)");
	assert_int_equal(rig.row.state, HOOK_FAILED);
}

static void who_never_waits_is_stopped(void **state)
{
	SAYS("while true do end", "error: main.lua:1: it ran longer than 50 ms without waiting and was stopped");
	SAYS("lp.sleep(0) while true do pcall(function() while true do end end) end",
	     "error: main.lua:1: it ran longer than 50 ms without waiting and was stopped");
	SAYS("local function f() return pcall(f) end while true do pcall(f) end",
	     "error: main.lua:1: it ran longer than 50 ms without waiting and was stopped");
	SAYS("return 'others go on'", "others go on");
}

static void who_takes_all_memory_is_stopped(void **state)
{
	SAYS("local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t lp.sleep(0) end",
	     "error: main.lua: it needs more than the 16 MB of memory that a policy may have");
	SAYS("return #lp.exec({ 'head', '-c', '900000', '/dev/zero' }, { output = 1000000 }) == 900000 and 'there is room again'",
	     "there is room again");
	SAYS("local t = {} while true do t[#t + 1] = lp.exec({ 'head', '-c', '900000', '/dev/urandom' }, { output = 1000000 }) end",
	     "error: main.lua: it needs more than the 16 MB of memory that a policy may have");
	SAYS("return 'others go on'", "others go on");
}

static void output_is_bounded(void **state)
{
	const char *said = hooksrig_run(&rig, "for i = 1, 100 do lp.log(('x'):rep(1000)) lp.sleep(0) end");
	assert_true(rig.was_good);
	assert_in_range(strlen(said), 60000, 65536);
	assert_non_null(strstr(said, "\n… what else it said is left out"));
}

static void many_are_waited_for_together(void **state)
{
	SAYS("return table.concat(lp.parallel({ 'a', 'b', 'c' }, function(x, i) lp.sleep(0.02 / i) return x .. i end), ' ')",
	     "a1 b2 c3");
	SAYS("return #lp.parallel({}, function() end) == 0", "");
	SAYS("local most, now = 0, 0 "
	     "local all = lp.parallel({ 1, 2, 3, 4, 5 }, function(x) now = now + 1 most = math.max(most, now) lp.sleep(0.001) "
	     "now = now - 1 return x * x end, { limit = 2 }) return most .. ': ' .. table.concat(all, ' ')",
	     "2: 1 4 9 16 25");
	SAYS("local names = lp.parallel(cluster.standbys, function(node) return node.name end) return table.concat(names, ',')",
	     "pg2,pg3");
	SAYS("local all = lp.parallel({ 1, 2 }, function(x) return lp.parallel({ 3, 4 }, function(y) lp.sleep(0) return x * y end) "
	     "end) "
	     "return all[1][1] .. all[1][2] .. all[2][1] .. all[2][2]",
	     "3468");
	SAYS("lp.parallel({ 1 }, function() end, { limit = 0 })", "error: main.lua:1: limit is a number from 1 on");
}

static void one_of_many_fails(void **state)
{
	SAYS("local all, err = lp.parallel({ 1, 2, 3 }, function(x) if x == 2 then return nil, 'two' end return x end) "
	     "return tostring(all) .. ' ' .. err.message .. ' ' .. err.errors[2] .. ' ' .. err.results[1] .. err.results[3]",
	     "nil two two 13");
	SAYS("local all, err = lp.parallel({ 1, 2 }, function(x) lp.sleep(0) if x == 2 then error('bad') end return x end) "
	     "return err.kind .. ' ' .. err.errors[2].message:match('[^/]*$')",
	     "raised main.lua:1: bad");
	SAYS("local ended = 0 local all, err = lp.parallel({ 1, 2, 3 }, function(x) if x == 2 then return nil, 'two' end "
	     "lp.sleep(1000) ended = ended + 1 end, { fail = 'fast' }) return err.message .. ' ' .. ended",
	     "two 0");
	SAYS("return lp.parallel({ 1, 2 }, function(x) lp.exec({ 'sleep', '1000' }, { timeout = 0.1 }) return x end)", "");
}

static void a_deadline_stops_what_is_waited_for(void **state)
{
	SAYS("local ok, err = lp.deadline(0.05, function() lp.sleep(1000) end) return err.kind .. ': ' .. tostring(err)",
	     "timeout: it was not done in time");
	SAYS("local a, b, c = lp.deadline(1000, function() lp.sleep(0) return 1, nil, 3 end) return a .. tostring(b) .. c", "1nil3");
	SAYS("local ok, err = lp.deadline(0.05, function() lp.parallel({ 1, 2 }, function() lp.exec { 'sleep', '1000' } end) end) "
	     "return err.kind",
	     "timeout");
	SAYS("\nlp.deadline(1000, function() error('inside') end)", "error: main.lua:2: inside");
	SAYS("local ok, err = pcall(lp.deadline, 1000, function() lp.sleep(0) error('inside') end) return err:match('[^/]*$')",
	     "main.lua:1: inside");
}

static void what_fails_is_tried_again(void **state)
{
	SAYS("local n = 0 return lp.retry { tries = 5, delay = 0.001 } (function(try) n = n + 1 "
	     "if try < 3 then return nil, 'not yet' end return 'after ' .. n end)",
	     "after 3");
	SAYS("return lp.retry { tries = 3, delay = 0.001, backoff = 2 } (function(try) return nil, 'never ' .. try end)",
	     "error: never 3");
}

static void what_is_deferred_is_done_in_the_end(void **state)
{
	SAYS("lp.defer(function() lp.log('first') end) lp.defer(function() lp.sleep(0) lp.log('last') end) return 'done'",
	     "done\nlast\nfirst");
	SAYS("lp.defer(function() lp.log('all the same') end) error('broken')", "all the same\nerror: main.lua:1: broken");
}

static void what_fails_in_the_end_is_said(void **state)
{
	const char *said = hooksrig_run(&rig, "lp.defer(function() lp.log('after it') end) lp.defer(function() error('again') end)");
	assert_string_equal(said, "main.lua:1: again\nafter it");
	assert_true(rig.was_good);
}

static bool is_asleep(void *arg)
{
	const struct hook_row *row = hooksrig_row(&rig, "t");
	return row && strncmp(row->waits_for, "sleep", 5) == 0;
}

static void one_can_be_stopped(void **state)
{
	hooksrig_load_task(&rig, "lp.defer(function() lp.log('cleared up') end) "
	                         "lp.parallel({ 1, 2 }, function() lp.sleep(1000) end)");
	hooksrig_begin(&rig, "t");
	run_until(rig.loop, is_asleep, NULL);
	assert_string_equal(rig.row.waits_for, "sleep 1000 s, and 1 more");
	assert_int_equal(rig.row.state, HOOK_RUNNING);
	assert_false(hooks_stop(rig.hooks, rig.row.id + 1, "admin"));
	assert_true(hooks_stop(rig.hooks, rig.row.id, "admin"));
	hooksrig_wait(&rig);
	assert_string_equal(rig.error, "stopped by admin");
	assert_string_equal(rig.output, "cleared up\n");
	assert_int_equal(hooksrig_row(&rig, "t")->state, HOOK_STOPPED);
	assert_false(hooks_stop(rig.hooks, rig.row.id, "admin"));
}

static void what_runs_goes_on_with_what_it_began_with(void **state)
{
	hooksrig_load_task(&rig, "lp.kv.set('go', false) while not lp.kv.get('go') do lp.sleep(0.001) end "
	                         "return 'old, of ' .. cluster.primary.name");
	hooksrig_begin(&rig, "t");
	run_turns(rig.loop, 3);
	hooksrig_load_task(&rig, "lp.kv.set('go', true) return 'new'");
	struct err err;
	assert_non_null(hooks_run_task(rig.hooks, &(struct hook_task){ .name = "t" }, NULL, NULL, &err));
	hooksrig_wait(&rig);
	assert_string_equal(rig.output, "old, of pg1\n");
}

static void what_was_given_arrives(void **state)
{
	struct err err;
	const struct hook_arg args[] = { { "dump", "/srv/dump" }, { "force", NULL } };
	hooksrig_load_task(&rig, "return task.name .. ' ' .. task.id .. ' ' .. task.args.dump .. ' ' .. tostring(task.args.force) "
	                         ".. ' ' .. cluster.name");
	struct hook_task task = { .name = "t", .cluster = "main", .n_args = 2, .args = args };
	rig.is_done = false;
	assert_non_null(hooks_run_task(rig.hooks, &task, hooksrig_on_done, &rig, &err));
	hooksrig_wait(&rig);
	assert_string_equal(rig.output, "t 1 /srv/dump true main\n");
	task.name = "none";
	assert_null(hooks_run_task(rig.hooks, &task, hooksrig_on_done, &rig, &err));
	assert_string_equal(err.text, "no policy has a task \"none\"");
	task.cluster = "nowhere";
	assert_null(hooks_run_task(rig.hooks, &task, hooksrig_on_done, &rig, &err));
	assert_string_equal(err.text, "there is no cluster \"nowhere\"");
}

/* ---- events and timers ------------------------------------------------------------------------------------------------------------- */

static bool has_key(void *arg)
{
	struct policy_value v;
	policy_kv_get(rig.policy.kv, slice_text(arg), clock_us(), &v);
	return v.is != POLICY_KV_NIL;
}

static const char *value_of(const char *key)
{
	static struct policy_value v;
	run_until(rig.loop, has_key, (void *)(uintptr_t)key);
	policy_kv_get(rig.policy.kv, slice_text(key), clock_us(), &v);
	v.text[v.len] = '\0';
	return v.text;
}

static void publish(int primary, bool pg2_is_up)
{
	struct topo *t = topo_copy(topo_latest(rig.board));
	t->clusters[0].primary = primary;
	t->clusters[0].nodes[1].is_reachable = pg2_is_up;
	topo_publish(rig.board, t);
	topo_collect(rig.board);
	hooks_on_publish(rig.hooks);
}

static void what_happens_is_told(void **state)
{
	hooksrig_load(
	    &rig,
	    "local lp = require 'lunapool' local M = { api = 1, on = {} }\n"
	    "local function note(event, cluster) lp.sleep(0) lp.kv.set(event.name, (event.node and event.node.name or '-') .. ' ' "
	    ".. (event.old and event.old.name or '-') .. ' ' .. cluster.name) end\n"
	    "M.on.node_down = note M.on.node_up = note M.on.primary_lost = note M.on.primary_changed = note return M");
	publish(0, true); /* the first is no news */
	publish(-1, false);
	assert_string_equal(value_of("node_down"), "pg2 - main");
	assert_string_equal(value_of("primary_lost"), "- pg1 main");
	publish(2, true);
	assert_string_equal(value_of("node_up"), "pg2 - main");
	assert_string_equal(value_of("primary_changed"), "pg3 - main");
	publish(2, true);
	run_turns(rig.loop, 3);
	assert_string_equal(hooksrig_row(&rig, "primary_changed")->kind, "on");
}

static void timers_tick(void **state)
{
	hooksrig_load(&rig,
	              "local lp = require 'lunapool' return { api = 1, every = { check = { seconds = 0.01, run = function(cluster) "
	              "if lp.kv.add('n', 1) >= 3 then lp.kv.set('thrice', cluster.name) end error('and again') end } } }");
	assert_string_equal(value_of("thrice"), "main");
	assert_int_equal(hooksrig_row(&rig, "check")->state, HOOK_FAILED);
	hooksrig_load(&rig, "return { api = 1 }");
	struct policy_value was, is;
	policy_kv_get(rig.policy.kv, slice_text("n"), clock_us(), &was);
	hooksrig_load_task(&rig, "lp.sleep(0.05)");
	hooksrig_begin(&rig, "t");
	hooksrig_wait(&rig);
	policy_kv_get(rig.policy.kv, slice_text("n"), clock_us(), &is);
	assert_true(was.number == is.number);
}

/* ---- loading ------------------------------------------------------------------------------------------------------------------------- */

static void a_table_with_nonsense_is_refused(void **state)
{
	REFUSED("return { api = 1,\n tasks = function() end }", "main.lua:2: tasks is a table, not a function");
	REFUSED("return { api = 1,\n tasks = { go = true } }", "main.lua:2: the task go is a function, not a boolean");
	REFUSED("return { api = 1,\n tasks = { function() end } }", "main.lua:2: tasks has names of at most 60 bytes");
	REFUSED("return { api = 1, on = {\n sunrise = function() end } }", "main.lua:2: there is no event sunrise");
	REFUSED("return { api = 1, on = {\n node_up = 1 } }", "main.lua:2: on.node_up is a function, not a number");
	REFUSED("return { api = 1, every = {\n x = function() end } }",
	        "main.lua:2: every.x is a table with seconds and run, not a function");
	REFUSED("return { api = 1, every = {\n x = { seconds = 0, run = function() end } } }",
	        "main.lua:2: every.x: seconds is a number from 0.01 on");
	REFUSED("return { api = 1, every = {\n x = { seconds = 1 } } }", "main.lua:2: every.x: run is a function, not a nil");
	REFUSED("return { api = 1, every = {\n x = { seconds = 1, run = function() end, now = 1 } } }",
	        "main.lua:2: every.x has seconds and run, and nothing else");
	REFUSED("return { api = 1,\n vip_up = function() end }", "main.lua:2: the hook vip_up is not supported yet");
}

static void nothing_waits_where_it_may_not(void **state)
{
	REFUSED("local lp = require 'lunapool'\nlp.exec { 'ls' }\nreturn { api = 1 }",
	        "main.lua:2: lp.exec waits: only what the control plane calls may do that, tasks and kin");
	REFUSED("local lp = require 'lunapool'\nlocal again = lp.retry { tries = 2 }\nreturn { api = 1 }",
	        "main.lua:2: lp.retry waits: only what the control plane calls may do that, tasks and kin");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(what_a_task_returns_is_its_end),
		UNIT(an_error_has_its_file_and_line),
		UNIT(who_never_waits_is_stopped),
		UNIT(who_takes_all_memory_is_stopped),
		UNIT(output_is_bounded),
		UNIT(many_are_waited_for_together),
		UNIT(one_of_many_fails),
		UNIT(a_deadline_stops_what_is_waited_for),
		UNIT(what_fails_is_tried_again),
		UNIT(what_is_deferred_is_done_in_the_end),
		UNIT(what_fails_in_the_end_is_said),
		UNIT(one_can_be_stopped),
		UNIT(what_runs_goes_on_with_what_it_began_with),
		UNIT(what_was_given_arrives),
		UNIT(what_happens_is_told),
		UNIT(timers_tick),
		UNIT(a_table_with_nonsense_is_refused),
		UNIT(nothing_waits_where_it_may_not),
	};
	return UNIT_RUN(tests);
}
