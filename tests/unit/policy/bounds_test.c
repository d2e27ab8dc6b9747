/* Whatever a policy does, a call ends soon, takes no more memory than it may, and the next one works. */
#include "policyrig.h"

#include "../../../src/policy/priv.h"
#include <time.h>

#include "base/compiler.h"

static int open_rig(void **state)
{
	struct policyrig *r = mem_alloc(sizeof *r);
	policyrig_open(r);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	policyrig_close(*state);
	mem_free(*state);
	return 0;
}

static const char LATE[] = "it ran longer than 5 ms and was stopped";
static const char WORK[] = "too much work for one call of a policy";

/* Each BODY is a route() that is called with "bad", then with "good", which has to work. */
static void what_would_never_end_is_stopped(void **state)
{
	static const struct {
		const char *body, *told;
	} cases[] = {
		{ "while true do end", LATE },
		{ "local i = 0 repeat i = i + 1 until false", LATE },
		{ "for i = 1, math.huge do end", LATE },
		{ "local function f() return f() end f()", LATE },
		{ "while true do pcall(function() while true do end end) end", LATE },
		{ "while true do pcall(error, 'x') end", LATE },
		{ "xpcall(function() while true do end end, function() while true do end end)", "there is no global xpcall" },
		{ "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) return t[1]", "" },
		{ "local function f() return 1 + f() end f()", "" },
		{ "while true do local q = query.user end", LATE },
		{ "while true do local q = query.text .. 'x' end", LATE },
		{ "while true do cluster:candidates(function() return true end) end", LATE },
		{ "while true do lp.kv.set('a', 1) end", LATE },
		{ "while true do lp.hash('abc') end", "" },
		{ "string.find(('a'):rep(2000), 'a-a-b')", WORK },
		{ "return (('a'):rep(2000)):match('.-.-.-b')", WORK },
		{ "for w in (('a'):rep(2000)):gmatch('a-a-b') do end", WORK },
		{ "(('a'):rep(2000)):gsub('a-a-b', '')", WORK },
		{ "while true do pcall(string.find, ('a'):rep(2000), 'a-a-b') end", "" },
		{ "string.find(('a'):rep(300), ('a?'):rep(90) .. ('a'):rep(90) .. 'b')", WORK },
		{ "string.find(('('):rep(100000), '%b()')", WORK },
		{ "string.find('x', ('(x?'):rep(50) .. (')'):rep(50))", "too many captures" },
		{ "string.find('x', ('x?'):rep(300))", "pattern too complex" },
		{ "local function f() return (('x'):gsub('x', f)) end f()", "nest too deeply" },
		{ "local t = {} for i = 1, 20000 do t[i] = 1 end while true do table.sort(t, function() return false end) end", "" },
		{ "local t = { 1, 2 } local function f() table.sort(t, f) end f()", "" },
		{ "local t = setmetatable({}, { __tostring = function(t) return tostring(t) end }) tostring(t)", "" },
		{ "('x'):rep(1e9)", "the result would be longer than 1 MB" },
		{ "('x'):rep(1e300)", NULL },
		{ "('x'):rep(2^62, 'y')", "the result would be longer than 1 MB" },
		{ "local s = ('x'):rep(1e6) while true do s:upper() end", "" },
		{ "local s = ('x'):rep(1e6) while true do local t = s .. 'y' end", LATE },
		{ "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.concat(t) end", "" },
		{ "local t = {} t[2^31 - 1] = 1 table.insert(t, 1, 2)", NULL },
		{ "table.insert({}, 2^31 - 1, 2)", NULL },
		{ "table.insert({}, -2^31, 2)", WORK },
		{ "unpack({}, 1, 1e7)", "too many results to unpack" },
		{ "unpack({}, -2^31, 2^31 - 1)", "too many results to unpack" },
		{ "string.format('%' .. ('9'):rep(50) .. 'd', 1)", "invalid" },
		{ "local s = ('x'):rep(1e6) string.byte(s, 1, -1)", "string slice too long" },
		{ "error(setmetatable({}, { __tostring = function() while true do end end }))", "an error was raised that is a table" },
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[600];
		snprintf(text, sizeof text,
		         "local lp = require 'lunapool'\nreturn { api = 1, route = function(query, cluster)\nif query.text == 'bad' "
		         "then\n%s\nend\n"
		         "return cluster.primary, (query.text:gsub('o+', '%%1')) end }",
		         cases[i].body);
		policyrig_load(r, text);
		struct timespec from, to;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		const char *shown = policyrig_route(r, "bad");
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		if (getenv("BOUNDS_SHOW"))
			printf("# %6ld us  %-100s %s\n", (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000,
			       cases[i].body, r->vm->error);
		if (cases[i].told &&
		    (strncmp(shown, "none because the policy failed: main.lua:", 41) != 0 || !strstr(r->vm->error, cases[i].told)))
			fail_msg("%s\n  gives    %s\n  expected %s", cases[i].body, r->vm->error, cases[i].told);
		assert_string_equal(policyrig_route(r, "good"), "primary because good");
	}
}

static void a_memory_bomb_goes_off_harmlessly(void **state)
{
	static const char *const bodies[] = {
		"local t = {} while true do t[#t + 1] = ('x'):rep(1e6) end",
		"local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
		"local t = {} while true do t = { t, t, t, t, t, t, t, t } end",
		"local s = 'x' while true do s = s .. s end",
		"local t = {} for i = 1, 1e9 do t[i] = i end",
		"local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1e6) .. #t end) end",
		"kept = kept or {} for i = 1, 1e9 do local k = kept k[#k + 1] = ('x'):rep(1e5) .. #k end",
		"for i = 1, 1e9 do local t = {} for j = 1, 1e4 do t[j] = 'a text of some length ' .. i .. ' ' .. j end kept = { kept, t "
		"} end",
		"local s = ('x'):rep(1e6) s = s:gsub('x', ('y'):rep(100))",
		"local t = {} for i = 1, 1e6 do t[i] = 'x' end local s = table.concat(t, ('y'):rep(1e5))",
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		char text[600];
		snprintf(text, sizeof text,
		         "local kept\nreturn { api = 1, route = function(query, cluster)\nif query.text == 'bad' then\n%s\nend\n"
		         "kept = nil return cluster.primary, query.text end }",
		         bodies[i]);
		policyrig_load(r, text);
		const char *shown = policyrig_route(r, "bad");
		if (getenv("BOUNDS_SHOW"))
			printf("# %8zu bytes  %-90s %s\n", (size_t)r->vm->bytes, bodies[i], r->vm->error);
		if (strncmp(shown, "none because the policy failed: main.lua:2", 41) != 0)
			fail_msg("%s\n  gives %s", bodies[i], shown);
		assert_true(r->vm->bytes <= VM_MEMORY_MAX);
		assert_string_equal(policyrig_route(r, "good"), "primary because good");
	}
}

static void sleep_a_little(const void *client, char *out, size_t room)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

/* A worker that the kernel puts aside in the middle of a call has not hung: only its own time counts. */
static void time_in_which_others_ran_does_not_count(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, "return { api = 1, route = function(query, cluster) local a for i = 1, 300 do if i % 100 == 0 then a = "
	                  "query.client_address end end "
	                  "return cluster.primary end }");
	r->query.put_address = sleep_a_little;
	assert_string_equal(policyrig_route(r, "SELECT 1"), "primary");
}

static void many_calls_leave_nothing_behind(void **state)
{
	struct policyrig *r = *state;
	size_t most = 0;
	policyrig_load(r, "local lp = require 'lunapool'\nreturn { api = 1, route = function(query, cluster)\n"
	                  "local t = { query.text, query.user } return cluster:candidates(function(n) return n.weight > 0 end), t[1] "
	                  ".. t[2] end }");
	for (int i = 0; i < 100000; i++) {
		char sql[40];
		snprintf(sql, sizeof sql, "SELECT %d", i);
		r->query.text = slice_text(sql);
		policyrig_statement(r, "SELECT 1");
		policy_route(r->vm, r->topo, 0, &r->query, &r->decision);
		most = r->vm->bytes > most ? r->vm->bytes : most;
	}
	assert_true(most < 1000000);
	assert_int_equal(lua_gettop(r->vm->L), REF_LAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
		TEST(what_would_never_end_is_stopped),
		TEST(a_memory_bomb_goes_off_harmlessly),
		TEST(time_in_which_others_ran_does_not_count),
		TEST(many_calls_leave_nothing_behind),
	};
	return UNIT_RUN(tests);
}
