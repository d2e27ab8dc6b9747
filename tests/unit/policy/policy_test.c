/* What hooks may return, what they see, and what comes of errors. */
#include "policyrig.h"

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
		  "none because the policy failed: main.lua:3: bad argument #2 to '?' (no SQLSTATE of an "
		  "error: five digits or capitals)" },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_route_may_return, open_rig, close_rig),
	};
	return UNIT_RUN(tests);
}
