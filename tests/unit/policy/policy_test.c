/* What hooks may return, what they see, and what comes of errors. */
#include "policyrig.h"

#include "../../../src/policy/priv.h"
#include "base/compiler.h"
#include "sql/hint.h"

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

static void put_address(const void *client, char *out, size_t room)
{
	snprintf(out, room, "10.1.2.3");
}

static void note_status(void *arg, const struct policy_status *s)
{
	*(struct policy_status *)arg = *s;
}

#define ROUTE(body) \
	"local lp = require 'lunapool'\nlocal M = { api = 1 }\nfunction M.route(query, cluster) " body " end\nreturn M\n"

static void what_route_may_return(void **state)
{
	static const struct {
		const char *body, *expected;
	} cases[] = {
		{ "", "none" },
		{ "return nil, 'no idea'", "none because no idea" },
		{ "return cluster.primary", "primary" },
		{ "return cluster.standbys", "standbys" },
		{ "return cluster.any", "any" },
		{ "return cluster.nodes", "pg1,pg2,pg3" },
		{ "return cluster:node('pg3'), 'reports'", "pg3 because reports" },
		{ "return cluster:node('pg9')", "none" },
		{ "return { cluster:node('pg3'), cluster.primary }", "pg1,pg3" },
		{ "return {}", "none" },
		{ "return cluster:candidates(function(n) return n.name == 'pg2' end)", "pg2" },
		{ "return cluster:candidates(function(n) return false end)", "none" },
		{ "return lp.cluster('other').primary", "other: primary" },
		{ "return lp.cluster('other').nodes[1]", "other: x1" },
		{ "return lp.cluster('third')", "none" },
		{ "return lp.reject('closed')", "reject 28000 closed" },
		{ "return lp.reject('full', '53300'), 'too many'", "reject 53300 full because too many" },
		{ "return lp.wait(20)", "wait 20" },
		{ "return cluster", "none because the policy failed: main.lua:3: it must return a place: a cluster's primary, standbys, "
		                    "any, or some of its nodes" },
		{ "return 'pg3'",
		  "none because the policy failed: main.lua:3: it must return a node, a list of nodes, lp.reject(), lp.wait() or "
		  "nothing, not a string" },
		{ "return { 'pg3' }", "none because the policy failed: main.lua:3: it returned a list of something else than nodes" },
		{ "return { cluster.primary, lp.cluster('other').primary }",
		  "none because the policy failed: main.lua:3: it returned a list of nodes of several clusters" },
		{ "return cluster.primary, 7",
		  "none because the policy failed: main.lua:3: its second value, the reason, must be a text" },
		{ "error('no')", "none because the policy failed: main.lua:3: no" },
		{ "error({})", "none because the policy failed: main.lua:3: an error was raised that is a table, not a text" },
		{ "error('no', 0)", "none because the policy failed: main.lua:3: no" },
		{ "return query.colour", "none because the policy failed: main.lua:3: a query has no field colour" },
		{ "query.user = 'x'", "none because the policy failed: main.lua:3: a query cannot be changed" },
		{ "lp.reject = nil",
		  "none because the policy failed: main.lua:3: reject cannot be set here: globals and modules do not change; "
		  "write local" },
		{ "return primray", "none because the policy failed: main.lua:3: there is no global primray" },
		{ "return lp.reject('x', '00000')",
		  "none because the policy failed: main.lua:3: lp.reject() takes the SQLSTATE of an error: five digits "
		  "or capitals" },
		{ "return lp.reject('a\\0b')", "none because the policy failed: main.lua:3: lp.reject() takes a text without NUL" },
		{ "return lp.wait(-1)", "none because the policy failed: main.lua:3: lp.wait() takes milliseconds, from 0 to 60000" },
		{ "return lp.wait(0/0)", "none because the policy failed: main.lua:3: lp.wait() takes milliseconds, from 0 to 60000" },
		{ "return lp.wait({})", "none because the policy failed: main.lua:3: lp.wait() takes milliseconds, from 0 to 60000" },
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[600];
		snprintf(text, sizeof text, ROUTE("%s"), cases[i].body);
		policyrig_load(r, text);
		const char *shown = policyrig_route(r, "SELECT 1");
		if (strcmp(shown, cases[i].expected) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", cases[i].body, shown, cases[i].expected);
	}
}

/* Each EXPRESSION, evaluated in route() for "SELECT …" of the rig's session; shown by tostring(). */
static void what_a_query_has(void **state)
{
	static const struct {
		const char *sql, *expression, *expected;
	} cases[] = {
		{ "SELECT 1", "query.text", "SELECT 1" },
		{ "SELECT 1", "query.kind", "select" },
		{ "select 1; select 2", "query.kind", "multi" },
		{ "COPY t TO STDOUT", "query.kind", "copy_out" },
		{ "ROLLBACK TO SAVEPOINT a", "query.kind", "rollback_to" },
		{ "SELECT 1", "query.is_read", "true" },
		{ "DELETE FROM t", "query.is_read", "false" },
		{ "SELEKT 1", "query.unknown", "true" },
		{ "SELECT 1", "query.unknown", "false" },
		{ "SELECT * FROM t FOR UPDATE", "query.locks", "true" },
		{ "LOCK t", "query.locks", "true" },
		{ "SELECT * FROM t", "query.locks", "false" },
		{ "SELECT f(1), g(2) FROM a, s.b", "table.concat(query.functions, ',')", "f,g" },
		{ "SELECT f(1), g(2) FROM a, s.b", "table.concat(query.relations, ',')", "a,b" },
		{ "SELECT * FROM s.b", "query:touches('s.b')", "true" },
		{ "SELECT * FROM s.b", "query:touches('b')", "true" },
		{ "SELECT * FROM s.b", "query:touches('c')", "false" },
		{ "SELECT 1", "query.user .. '/' .. query.database .. '/' .. query.application", "app/shop/psql" },
		{ "SELECT 1", "query.client_address", "10.1.2.3" },
		{ "SELECT 1", "query.class", "batch" },
		{ "SELECT 1", "query.in_transaction", "true" },
		{ "SELECT 1", "query.read_only", "false" },
		{ "SELECT 1", "query.wrote", "true" },
		{ "SELECT 1", "query.ms_since_write", "17" },
		{ "SELECT 1", "query.parameters", "0" },
		{ "SELECT $1, '$9', \"$7\", $$ $8 $$, a$6, $2::int -- $5", "query.parameters", "2" },
		{ "SELECT 1", "query.hint", "nil" },
		{ "/* lunapool: node=pg2, class=batch */ SELECT 1", "query.hint.node .. query.hint.class", "pg2batch" },
		{ "/* lunapool: node=pg2 */ SELECT 1", "query.hint.route", "nil" },
		{ "/*NO LOAD BALANCE*/ SELECT 1", "query.hint.route", "primary" },
		{ "SELECT 1", "query", "query" },
		{ "SELECT 1", "type(query)", "userdata" },
		{ "SELECT 1", "getmetatable(query)", "false" },
		{ "SELECT 1", "cluster.name", "main" },
		{ "SELECT 1", "cluster.primary.name", "pg1" },
		{ "SELECT 1", "#cluster.standbys", "2" },
		{ "SELECT 1", "#cluster.any", "3" },
		{ "SELECT 1", "#cluster.nodes", "3" },
		{ "SELECT 1", "cluster.standbys[1].name .. cluster.standbys[2].name", "pg2pg3" },
		{ "SELECT 1", "cluster.standbys[3]", "nil" },
		{ "SELECT 1", "cluster.standbys[1] == cluster:node('pg2')", "true" },
		{ "SELECT 1", "cluster.primary == cluster:node('pg1')", "true" },
		{ "SELECT 1", "cluster.primary == cluster:node('pg2')", "false" },
		{ "SELECT 1", "cluster:node('pg2').weight", "3" },
		{ "SELECT 1", "cluster:node('pg2').host .. ':' .. cluster:node('pg2').port", "h2:5432" },
		{ "SELECT 1", "cluster:node('pg2').role .. cluster:node('pg1').role", "standbyprimary" },
		{ "SELECT 1", "cluster:node('pg2').status", "up" },
		{ "SELECT 1", "cluster:node('pg2').is_fit", "true" },
		{ "SELECT 1", "cluster:node('pg2').replay_lsn", "4096" },
		{ "SELECT 1", "cluster:node('pg2').lag_bytes", "100" },
		{ "SELECT 1", "cluster:node('pg2').lag_ms", "2.5" },
		{ "SELECT 1", "cluster:node('pg3').lag_ms", "inf" },
		{ "SELECT 1", "cluster:node('pg2').in_flight", "0" },
		{ "SELECT 1", "cluster:node('pg2').priority .. '/' .. cluster:node('pg1').priority", "7/100" },
		{ "SELECT 1", "cluster:node('pg2').tags.dc", "a" },
		{ "SELECT 1", "cluster:node('pg2').tags.spare", "true" },
		{ "SELECT 1", "cluster:node('pg2').tags.note", "x=y" },
		{ "SELECT 1", "cluster:node('pg2').tags.d", "nil" },
		{ "SELECT 1", "cluster:node('pg1').tags.dc", "nil" },
		{ "SELECT 1", "cluster.primary.tags.dc", "nil" },
		{ "SELECT 1", "pcall(function() cluster:node('pg2').tags.dc = 'b' end)", "false" },
		{ "SELECT 1", "cluster.epoch", "1" },
		{ "SELECT 1", "lp.cluster('other').name", "other" },
		{ "SELECT 1", "lp.hash('tenant-7')", "1228060925" },
		{ "SELECT 1", "lp.hash('')", "2166136261" },
		{ "SELECT 1", "(function() local s = '' for i, n in ipairs(cluster.nodes) do s = s .. i .. n.name end return s end)()",
		  "1pg12pg23pg3" },
		{ "SELECT 1", "(function() local s = '' for k, v in pairs({ 7 }) do s = s .. k .. v end return s end)()", "17" },
	};
	struct policyrig *r = *state;
	r->query.in_transaction = r->query.wrote = true;
	r->query.ms_since_write = 17;
	r->query.workload = "batch";
	r->query.put_address = put_address;
	pulse_note_replayed(r->topo->clusters[0].nodes[1].pulse, 4096);
	pulse_note_lag(r->topo->clusters[0].nodes[1].pulse, 100, 2500);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[600], expected[100];
		struct sql_hint hint;
		snprintf(text, sizeof text, ROUTE("return nil, tostring(%s)"), cases[i].expression);
		snprintf(expected, sizeof expected, "none because %s", cases[i].expected);
		policyrig_load(r, text);
		r->query.hint = sql_hint(slice_text(cases[i].sql), &hint) ? &hint : NULL;
		const char *shown = policyrig_route(r, cases[i].sql);
		if (strcmp(shown, expected) != 0)
			fail_msg("%s of %s\n  gives    %s\n  expected %s", cases[i].expression, cases[i].sql, shown, expected);
	}
	r->query.hint = NULL;
}

static void a_long_text_is_cut(void **state)
{
	struct policyrig *r = *state;
	static char text[20000];
	memset(text, 'x', sizeof text - 1);
	policyrig_load(r, ROUTE("return nil, tostring(#query.text)"));
	assert_string_equal(policyrig_route(r, text), "none because 8192");
}

static void without_a_primary_it_is_still_the_primary(void **state)
{
	struct policyrig *r = *state;
	r->topo->clusters[0].primary = -1;
	policyrig_load(r, ROUTE("return cluster.primary, tostring(cluster.primary.name)"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "primary because nil");
	policyrig_load(r, ROUTE("return { cluster.primary, cluster:node('pg2') }"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "pg2");
}

static void a_standby_that_is_not_fit_is_no_candidate(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, ROUTE("return cluster:candidates(function() return true end), #cluster.standbys .. #cluster.any"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "pg2,pg3 because 23");
	policyrig_fit(r, 1, false);
	assert_string_equal(policyrig_route(r, "SELECT 1"), "pg3 because 12");
	policyrig_fit(r, 2, false);
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because 01");
}

#define PLAN(body) "local M = { api = 1 }\nfunction M.plan(statement, cluster) " body " end\n"
#define ASK "function M.route(query, cluster) return cluster.primary end\n"

static void what_plan_says_holds(void **state)
{
	static const struct {
		const char *text, *sql, *expected;
	} cases[] = {
		{ PLAN("if statement.is_read then return cluster.standbys, 'a read' end") ASK "return M", "SELECT 1",
		  "standbys because a read" },
		{ PLAN("if statement.is_read then return cluster.standbys end") ASK "return M", "DELETE FROM t", "ask: none" },
		{ PLAN("if statement.is_read then return cluster.standbys end") "return M", "DELETE FROM t", "none" },
		{ "local M = { api = 1 }\n" ASK "return M", "SELECT 1", "ask: none" },
		{ "return { api = 1 }", "SELECT 1", "none" },
		{ PLAN("return nil, statement.user") ASK "return M", "SELECT 1", "ask: none because app" },
		{ PLAN("return cluster:node('pg3')") "return M", "SELECT 1", "pg3" },
		{ PLAN("return cluster.primary") "return M", "SELECT 1", "primary" },
		{ PLAN("return statement.text") "return M", "SELECT 1",
		  "ask: none because the policy failed: main.lua:2: text changes, and what plan() answers is kept: ask for it in "
		  "route()" },
		{ PLAN("return statement.in_transaction") "return M", "SELECT 1",
		  "ask: none because the policy failed: main.lua:2: in_transaction changes, and what plan() answers is kept: ask for it "
		  "in route()" },
		{ PLAN("return cluster.standbys[1]") "return M", "SELECT 1",
		  "ask: none because the policy failed: main.lua:2: which nodes these are changes, and what plan() answers is kept: "
		  "return the list, or look "
		  "at it in route()" },
		{ PLAN("return cluster:node('pg2').lag_ms") "return M", "SELECT 1",
		  "ask: none because the policy failed: main.lua:2: lag_ms changes, and what plan() answers is kept: ask for it in "
		  "route()" },
		{ PLAN("return cluster.primary.name") "return M", "SELECT 1",
		  "ask: none because the policy failed: main.lua:2: who is the primary changes, and what plan() answers is kept: ask in "
		  "route()" },
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		policyrig_load(r, cases[i].text);
		const char *shown = policyrig_plan(r, cases[i].sql);
		if (strcmp(shown, cases[i].expected) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", cases[i].text, shown, cases[i].expected);
	}
}

static void what_failed_is_not_to_be_kept(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, PLAN("if statement.user == 'bad' then error('no') end return cluster.primary") "return M");
	assert_string_equal(policyrig_plan(r, "SELECT 1"), "primary");
	assert_false(r->decision.has_failed);
	r->query.user = "bad";
	for (int i = 0; i < 5; i++) {
		policyrig_plan(r, "SELECT 1");
		assert_true(r->decision.has_failed);
	}
	r->query.user = "app";
	assert_string_equal(policyrig_plan(r, "SELECT 1"), "ask: none"); /* it is left alone now */
	assert_true(r->decision.has_failed);
}

static void objects_of_another_call_are_errors_and_nothing_worse(void **state)
{
	struct policyrig *r = *state;
	struct policy_client client = { .user = "app", .database = "shop", .application = "psql" };
	struct policy_admission admission;
	policyrig_load(
	    r, "local M = { api = 1 }\nlocal kept, kept_statement, kept_client, kept_node, kept_list\n"
	       "function M.plan(statement, cluster) kept_statement = statement; if kept then return nil, kept.user end end\n"
	       "function M.route(query, cluster)\n  if kept_client then return nil, kept_client.user end\n"
	       "  kept = query; kept_node = cluster:node('pg2'); kept_list = cluster.standbys\n"
	       "  return nil, kept_statement and kept_statement.user or 'kept'\nend\n"
	       "function M.admit(client) kept_client = client; return { class = kept_node.name .. #kept_list } end\nreturn M\n");
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because kept");
	assert_string_equal(policyrig_plan(r, "SELECT 1"),
	                    "ask: none because the policy failed: main.lua:3: this query is of a call that is over");
	assert_string_equal(policyrig_route(r, "SELECT 1"),
	                    "none because the policy failed: main.lua:7: this statement is of a call that is over");
	policy_admit(r->vm, r->topo, 0, &client, &admission);
	assert_string_equal(admission.workload, "pg22"); /* nodes are the cluster's, not the call's */
	assert_string_equal(policyrig_route(r, "SELECT 1"),
	                    "none because the policy failed: main.lua:5: this client is of a call that is over");
}

static void what_a_query_shows_is_of_its_own_call(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r,
	               "local M = { api = 1 }\nlocal kept\n"
	               "function M.plan() return nil, kept and tostring(kept.is_read) end\n"
	               "function M.route(query)\n  kept = query\n"
	               "  return nil, tostring(query.is_read) .. tostring(query.in_transaction) .. tostring(query.read_only)\nend\n"
	               "return M\n");
	for (int i = 0; i < 2; i++) {
		assert_string_equal(policyrig_route(r, "SELECT 1"), "none because truefalsefalse");
		assert_string_equal(policyrig_route(r, "UPDATE t SET a = 1"), "none because falsefalsefalse");
		r->query.in_transaction = r->query.read_only = true;
		assert_string_equal(policyrig_route(r, "SELECT 1"), "none because truetruetrue");
		r->query.in_transaction = r->query.read_only = false;
		assert_string_equal(policyrig_plan(r, "SELECT 1"),
		                    "ask: none because the policy failed: main.lua:3: this query is of a call that is over");
	}
}

static void a_node_that_is_kept_shows_what_is_now(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, "local kept\nreturn { api = 1, route = function(query, cluster)\n"
	                  "  kept = kept or cluster:node('pg2')\n  return kept, kept.status end }\n");
	assert_string_equal(policyrig_route(r, "SELECT 1"), "pg2 because up");
	r->topo->clusters[0].nodes[1].is_reachable = false;
	assert_string_equal(policyrig_route(r, "SELECT 1"), "pg2 because down");
	struct topo *was = r->topo, less = *was;
	struct topo_cluster clusters[2] = { was->clusters[0], was->clusters[1] };
	clusters[0].n_nodes = 1;
	less.clusters = clusters;
	r->topo = &less;
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because the policy failed: main.lua:4: this node is gone");
	r->topo = was;
}

static bool has_database(const void *client, const char *name)
{
	return strcmp(name, "shop_batch") == 0;
}

static void who_is_admitted_how(void **state)
{
	static const struct {
		const char *body, *expected;
	} cases[] = {
		{ "", "-" },
		{ "return { class = client.user }", "app" },
		{ "return { class = 7 }", "- main.lua:2: a class is a text of less than 64 bytes" },
		{ "return { class = ('x'):rep(64) }", "- main.lua:2: a class is a text of less than 64 bytes" },
		{ "return { clas = 'x' }", "- main.lua:2: it returned a table with something else than database and class" },
		{ "return { class = 'x', 'y' }", "- main.lua:2: it returned a table with something else than database and class" },
		{ "return { pool = 'x' }", "- main.lua:2: it returned a table with something else than database and class" },
		{ "return { database = client.database .. '_batch', class = 'x' }", "x in shop_batch" },
		{ "return { database = 'shop_batch' }", "- in shop_batch" },
		{ "return { database = 'shp' }", "- main.lua:2: there is no database \"shp\" for clients" },
		{ "return { class = 'x', database = true }", "- main.lua:2: a database is a text of less than 64 bytes" },
		{ "return lp.reject('come back later', '53300')", "53300 come back later" },
		{ "return lp.wait(1)",
		  "- main.lua:2: it must return nothing, lp.reject() or a table with database or class, not lp.wait()" },
		{ "error(client.client_address)", "- main.lua:2: 10.1.2.3" },
	};
	struct policyrig *r = *state;
	struct policy_client client = {
		.user = "app", .database = "shop", .application = "psql", .put_address = put_address, .has_database = has_database
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[600], shown[800], error[VM_ERROR_MAX + 1] = "";
		struct policy_admission a;
		snprintf(text, sizeof text, "local lp, M = require 'lunapool', { api = 1 }\nfunction M.admit(client) %s end return M",
		         cases[i].body);
		policyrig_load(r, text);
		policy_admit(r->vm, r->topo, 0, &client, &a);
		if (*r->vm->error)
			snprintf(error, sizeof error, " %s", r->vm->error);
		if (a.is_rejected)
			snprintf(shown, sizeof shown, "%s %s", a.sqlstate, a.text);
		else
			snprintf(shown, sizeof shown, "%s%s%s%s", *a.workload ? a.workload : "-", *a.database ? " in " : "", a.database,
			         error);
		confdir_strip(&r->dir, shown);
		if (strcmp(shown, cases[i].expected) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", cases[i].body, shown, cases[i].expected);
	}
}

static void balance_chooses_one_of_those_it_was_given(void **state)
{
	static const struct {
		const char *body;
		int expected;
	} cases[] = {
		{ "", -1 },
		{ "return nodes[2]", 2 },
		{ "local best for _, n in ipairs(nodes) do if not best or n.weight < best.weight then best = n end end return best", 1 },
		{ "return require('lunapool').cluster('main'):node('pg1')", -1 },
		{ "return nodes", -1 },
		{ "return 1", -1 },
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[600];
		snprintf(text, sizeof text, "local lp = require 'lunapool'\nreturn { api = 1, balance = function(query, nodes) %s end }",
		         cases[i].body);
		policyrig_load(r, text);
		policyrig_statement(r, "SELECT 1");
		assert_int_equal(policy_balance(r->vm, r->topo, 0, &r->query, 6), cases[i].expected);
	}
}

static void a_policy_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "return {", "main.lua:1: unexpected symbol near '<eof>'" },
		{ "local M = {}\nreturn M",
		  "main.lua:1: a policy begins with the version that it was written for: local M = { api = 1 }" },
		{ "return { api = 2 }", "main.lua:1: a policy begins with the version that it was written for: local M = { api = 1 }" },
		{ "return { api = 1,\n rout = function() end }",
		  "main.lua:2: there is no hook rout: a policy has api, plan, route, admit, balance, failover, fence, promote, "
		  "follow_primary, tasks, on, every and selftest" },
		{ "return { api = 1,\n route = 7 }", "main.lua:2: route is a function, not a number" },
		{ "return { api = 1, function() end }",
		  "main.lua:1: a policy is a table of hooks by their names; it has a number for a name" },
		{ "return { api = 1,\n\n vip_up = {} }", "main.lua:3: the hook vip_up is not supported yet" },
		{ "local M = { api = 1 }\nx = 1\nreturn M",
		  "main.lua:2: x cannot be set here: globals and modules do not change; write local" },
		{ "local M = { api = 1 }\nstring.trim = 1\nreturn M",
		  "main.lua:2: trim cannot be set here: globals and modules do not change; write local" },
		{ "return { api = 1, selftest = function() return false, 'not today' end }",
		  "main.lua:1: selftest says false: not today" },
		{ "return { api = 1, selftest = function() assert(#('x') == 2, 'x is one') end }", "main.lua:1: x is one" },
		{ "local x = require 'lunapool'.cluster('main')\nreturn { api = 1 }",
		  "main.lua:1: clusters can be looked at in a hook only" },
		{ "local x = require 'nothing'\n", "main.lua:1: nothing.lua: cannot open it: No such file or directory" },
		{ "local x = require '../../etc/passwd'\n",
		  "main.lua:1: \"../../etc/passwd\" is no name of a module: words of letters, digits, _ and -, with dots between them" },
		{ "local x = require 'main'\n", "main.lua:1: module main requires itself, maybe through another one" },
		{ "\033LJ\002\010", "main.lua: attempt to load chunk with wrong mode" },
		{ "", "main.lua:1: a policy returns a table of functions, not a nil" },
	};
	struct policyrig *r = *state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_false(policyrig_try(r, cases[i].text));
		if (strcmp(r->error, cases[i].expected) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", cases[i].text, r->error, cases[i].expected);
	}
}

static void a_module_is_read_once_and_only_while_the_policy_is_loaded(void **state)
{
	struct policyrig *r = *state;
	confdir_write(&r->dir, "shards.lua", "local M = {}\nfunction M.of(n) return n % 4 end\nreturn M\n");
	policyrig_load(
	    r, "local shards = require 'shards'\nassert(require 'shards' == shards)\n"
	       "return { api = 1, route = function(query, cluster)\n  if query.text == 'late' then return require 'other' end\n"
	       "  return nil, 'shard ' .. require('shards').of(7) end }\n");
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because shard 3");
	assert_string_equal(
	    policyrig_route(r, "late"),
	    "none because the policy failed: main.lua:3: module other: require it where the policy is loaded, not in a hook");
	assert_string_equal(policy_where(r->vm, POLICY_HOOK_ROUTE) + strlen(r->dir.path) + 1, "main.lua:3");
}

static void what_could_do_harm_is_not_there(void **state)
{
	static const char *const absent[] = { "io",      "ffi",        "debug",    "coroutine", "package",
		                                  "load",    "loadstring", "loadfile", "dofile",    "jit",
		                                  "setfenv", "getfenv",    "newproxy", "rawset",    "collectgarbage",
		                                  "module",  "_G",         "print",    "gcinfo" };
	static const char *const missing[] = { "os.execute", "os.exit",      "os.getenv",   "os.remove",     "os.rename",
		                                   "os.tmpname", "os.setlocale", "string.dump", "table.foreach", "math.none" };
	struct policyrig *r = *state;
	char text[400], expected[200];
	for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
		snprintf(text, sizeof text, "return { api = 1, x = %s }", absent[i]);
		snprintf(expected, sizeof expected, "main.lua:1: there is no global %s", absent[i]);
		assert_false(policyrig_try(r, text));
		assert_string_equal(r->error, expected);
	}
	for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
		snprintf(text, sizeof text, "assert(%s == nil)\nreturn { api = 1 }", missing[i]);
		policyrig_load(r, text);
	}
	policyrig_load(r, "assert(getmetatable('') == false and getmetatable(string) == false)\n"
	                  "assert(not pcall(require, 'ffi') and not pcall(require, 'jit') and not pcall(require, 'string.buffer'))\n"
	                  "return { api = 1 }");
}

static void what_is_logged_and_counted(void **state)
{
	struct policyrig *r = *state;
	struct policy_status s;
	policyrig_load(r, ROUTE("if query.text == 'bad' then error('bad') end return cluster.primary"));
	for (int i = 0; i < 10; i++)
		assert_string_equal(policyrig_route(r, "good"), "primary");
	policyrig_route(r, "bad");
	policy_set_each(r->set, note_status, &s);
	assert_string_equal(s.cluster, "main");
	assert_int_equal(s.calls, 11);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.breaker, POLICY_BREAKER_CLOSED);
	assert_true(s.bytes > 10000 && s.bytes < 1000000);
	assert_true(s.call_ns > 0);
	assert_non_null(strstr(s.last_error, "main.lua:3: bad"));
}

static void a_policy_that_fails_and_fails_is_left_alone(void **state)
{
	struct policyrig *r = *state;
	struct policy_status s;
	policyrig_load(r, ROUTE("if query.text == 'bad' then error('bad') end return cluster.primary"));
	for (int i = 0; i < 4; i++)
		policyrig_route(r, "bad");
	assert_string_equal(policyrig_route(r, "good"), "primary");
	policyrig_route(r, "bad");
	assert_string_equal(policyrig_route(r, "good"), "none because the policy is left alone for its errors: SHOW POLICY");
	policy_set_each(r->set, note_status, &s);
	assert_int_equal(s.breaker, POLICY_BREAKER_OPEN);
	assert_int_equal(s.errors, 5);
	policyrig_load(r, ROUTE("return cluster.primary"));
	assert_string_equal(policyrig_route(r, "good"), "primary");
}

static void what_time_it_is(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, ROUTE("return nil, os.date('!%Y-%m-%d %H:%M') .. ' ' .. os.date('!*t').wday .. ' ' .. os.time()"));
	policy_set_clock(r->set, 1767225600);
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because 2026-01-01 00:00 5 1767225600");
}

static void what_is_remembered_survives_a_reload(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(
	    r, ROUTE("return nil, tostring(lp.kv.set('a', 'x')) .. tostring(lp.kv.add('n', 2)) .. tostring(lp.kv.add('a', 1))"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because true2nil");
	policyrig_load(r, ROUTE("return nil, lp.kv.get('a') .. lp.kv.add('n', 0.5) .. tostring(lp.kv.get('b'))"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because x2.5nil");
	policyrig_load(
	    r, ROUTE("lp.kv.set('a', nil) lp.kv.set('t', false) return nil, tostring(lp.kv.get('a')) .. tostring(lp.kv.get('t'))"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because nilfalse");
	policyrig_load(r, ROUTE("for i = 1, 200 do if not lp.kv.set('k' .. i, i) then return nil, 'full at ' .. i end end"));
	assert_string_equal(policyrig_route(r, "SELECT 1"), "none because full at 99");
	policyrig_load(r, ROUTE("lp.kv.set('a', ('x'):rep(2000))"));
	assert_string_equal(policyrig_route(r, "SELECT 1"),
	                    "none because the policy failed: main.lua:3: bad argument #2 to 'set' (longer than 1 kB)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
		TEST(what_route_may_return),
		TEST(what_a_query_has),
		TEST(a_long_text_is_cut),
		TEST(without_a_primary_it_is_still_the_primary),
		TEST(a_standby_that_is_not_fit_is_no_candidate),
		TEST(what_plan_says_holds),
		TEST(what_failed_is_not_to_be_kept),
		TEST(objects_of_another_call_are_errors_and_nothing_worse),
		TEST(what_a_query_shows_is_of_its_own_call),
		TEST(a_node_that_is_kept_shows_what_is_now),
		TEST(who_is_admitted_how),
		TEST(balance_chooses_one_of_those_it_was_given),
		TEST(a_policy_that_makes_no_sense_is_refused),
		TEST(a_module_is_read_once_and_only_while_the_policy_is_loaded),
		TEST(what_could_do_harm_is_not_there),
		TEST(what_is_logged_and_counted),
		TEST(a_policy_that_fails_and_fails_is_left_alone),
		TEST(what_time_it_is),
		TEST(what_is_remembered_survives_a_reload),
	};
	return UNIT_RUN(tests);
}
