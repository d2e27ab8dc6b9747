/* Each policy of examples/ and lua/lunapool/ does what its first lines say. */
#include <dirent.h>

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

static char address[64];

static void put_address(const void *client, char *out, size_t room)
{
	snprintf(out, room, "%s", address);
}

static const char READ[] = "SELECT * FROM t", WRITE[] = "UPDATE t SET a = 1";

static void the_default_sends_reads_to_standbys(void **state)
{
	struct policyrig *r = *state;
	policyrig_load_file(r, "lua/lunapool/default.lua");
	assert_string_equal(policyrig_plan(r, READ), "standbys because a read");
	assert_string_equal(policyrig_plan(r, WRITE), "primary because not proven to be a read");
	assert_string_equal(policyrig_plan(r, "SELECT * FROM t FOR UPDATE"), "primary because not proven to be a read");
	assert_string_equal(policyrig_plan(r, "SELEKT"), "primary because not proven to be a read");
}

static void the_default_can_be_built_upon(void **state)
{
	struct policyrig *r = *state;
	policyrig_load(r, "local default = require 'lunapool.default'\nlocal M = { api = 1 }\nfunction M.plan(statement, cluster)\n"
	                  "  if statement:touches('orders') then return cluster.primary, 'orders' end\n"
	                  "  return default.plan(statement, cluster)\nend\nreturn M\n");
	assert_string_equal(policyrig_plan(r, "SELECT * FROM shop.orders"), "primary because orders");
	assert_string_equal(policyrig_plan(r, READ), "standbys because a read");
}

static void read_write_split(void **state)
{
	struct policyrig *r = *state;
	policyrig_load_file(r, "examples/read_write_split.lua");
	assert_string_equal(policyrig_route(r, READ), "standbys because a read");
	assert_string_equal(policyrig_route(r, WRITE), "primary because not proven to be a read");
	r->query.in_transaction = true;
	assert_string_equal(policyrig_route(r, READ), "primary because in a transaction");
	r->query.read_only = true;
	assert_string_equal(policyrig_route(r, READ), "standbys because a transaction that only reads");
}

static void reporting_to_one_standby(void **state)
{
	struct policyrig *r = *state;
	policyrig_load_file(r, "examples/reporting_to_one_standby.lua");
	assert_string_equal(policyrig_route(r, READ), "pg2 because pg3 is for reports");
	assert_string_equal(policyrig_route(r, WRITE), "none");
	r->query.application = "reporting";
	assert_string_equal(policyrig_route(r, READ), "pg3 because reports live on pg3");
	assert_string_equal(policyrig_route(r, WRITE), "none");
	policyrig_fit(r, 2, false);
	assert_string_equal(policyrig_route(r, READ), "standbys because pg3 is away");
}

static void read_after_write(void **state)
{
	struct policyrig *r = *state;
	policyrig_load_file(r, "examples/read_after_write.lua");
	assert_string_equal(policyrig_plan(r, "SELECT * FROM orders"), "primary because orders are read where they are written");
	assert_string_equal(policyrig_plan(r, READ), "ask: none");
	assert_string_equal(policyrig_route(r, READ), "none");
	r->query.ms_since_write = 1999;
	assert_string_equal(policyrig_route(r, READ), "primary because this session wrote a moment ago");
	r->query.ms_since_write = 2000;
	assert_string_equal(policyrig_route(r, READ), "none");
}

static void shard_by_tenant(void **state)
{
	struct policyrig *r = *state;
	char text[100];
	policyrig_load_file(r, "examples/shard_by_tenant.lua");
	assert_string_equal(policyrig_route(r, WRITE), "none");
	r->query.database = "tenant_acme";
	snprintf(text, sizeof text, "%s", policyrig_route(r, WRITE));
	assert_true(strcmp(text, "shard1: primary because tenant acme") == 0 ||
	            strcmp(text, "shard2: primary because tenant acme") == 0);
	assert_string_equal(policyrig_route(r, WRITE), text);
	assert_memory_equal(policyrig_route(r, READ), text, strlen("shard1: "));
	assert_non_null(strstr(policyrig_route(r, READ), "standbys because reads of tenant acme"));
	int on_first = 0;
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "tenant_%d", i);
		r->query.database = text;
		on_first += strncmp(policyrig_route(r, WRITE), "shard1", 6) == 0;
	}
	assert_in_range(on_first, 400, 600);
}

static void canary(void **state)
{
	struct policyrig *r = *state;
	char user[40];
	int n = 0;
	policyrig_load_file(r, "examples/canary.lua");
	r->query.user = user;
	for (int i = 0; i < 1000; i++) {
		snprintf(user, sizeof user, "user%d", i);
		const char *first = policyrig_route(r, READ);
		bool is_canary = strcmp(first, "pg3 because one of the canary's users") == 0;
		if (!is_canary)
			assert_string_equal(first, "pg2 because not one of the canary's users");
		assert_int_equal(strncmp(policyrig_route(r, READ), "pg3", 3) == 0, is_canary);
		n += is_canary;
	}
	assert_in_range(n, 20, 90);
	policyrig_fit(r, 2, false);
	assert_string_equal(policyrig_route(r, READ), "pg2 because not one of the canary's users");
	assert_string_equal(policyrig_route(r, WRITE), "none");
}

static void maintenance_window(void **state)
{
	static const struct {
		int64_t at;
		bool is_closed;
	} cases[] = { { 1767232799, false }, { 1767232800, true }, { 1767239999, true }, { 1767240000, false } };
	struct policyrig *r = *state;
	policyrig_load_file(r, "examples/maintenance_window.lua");
	r->query.application = "batch";
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		policy_set_clock(r->set, cases[i].at);
		assert_string_equal(policyrig_route(r, WRITE),
		                    cases[i].is_closed ? "reject 57P03 batch jobs may write again at 04:00 UTC because maintenance"
		                                       : "none");
		assert_string_equal(policyrig_route(r, READ), "none");
	}
	policy_set_clock(r->set, cases[1].at);
	r->query.application = "psql";
	assert_string_equal(policyrig_route(r, WRITE), "none");
}

static int sticky_choice(struct policyrig *r, int client, uint64_t nodes)
{
	snprintf(address, sizeof address, "10.0.%d.%d", client / 250, client % 250);
	r->query.put_address = put_address;
	policyrig_statement(r, READ);
	return policy_balance(r->vm, r->topo, 0, &r->query, nodes);
}

static void sticky_session(void **state)
{
	struct policyrig *r = *state;
	int on[3] = { 0 };
	policyrig_load_file(r, "examples/sticky_session.lua");
	for (int client = 0; client < 1000; client++) {
		int chosen = sticky_choice(r, client, 7), without_last = sticky_choice(r, client, 3);
		assert_in_range(chosen, 0, 2);
		assert_int_equal(sticky_choice(r, client, 7), chosen);
		if (chosen != 2)
			assert_int_equal(without_last, chosen); /* only those move who have to */
		on[chosen]++;
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(on[i], 200, 470);
}

static void admission_by_class(void **state)
{
	struct policyrig *r = *state;
	struct policy_client client = { .user = "app", .database = "payroll", .application = "etl" };
	struct policy_admission a;
	policyrig_load_file(r, "examples/admission_by_class.lua");
	policy_admit(r->vm, r->topo, 0, &client, &a);
	assert_false(a.is_rejected);
	assert_string_equal(a.workload, "batch");
	client.application = "psql";
	policy_admit(r->vm, r->topo, 0, &client, &a);
	assert_string_equal(a.workload, "interactive");
	client.user = "guest";
	policy_admit(r->vm, r->topo, 0, &client, &a);
	assert_true(a.is_rejected);
	assert_string_equal(a.text, "guests do not see the payroll");
	r->query.workload = "interactive";
	assert_string_equal(policyrig_route(r, READ), "none");
	r->query.workload = "reports";
	assert_string_equal(policyrig_route(r, READ), "pg3 because reports");
	r->query.workload = "batch";
	assert_string_equal(policyrig_route(r, READ), "pg2,pg3 because batch work goes where there is room");
	for (int i = 0; i < 10; i++)
		pulse_begin(r->topo->clusters[0].nodes[1].pulse, true);
	assert_string_equal(policyrig_route(r, READ), "pg3 because batch work goes where there is room");
	assert_string_equal(policyrig_route(r, WRITE), "none");
}

/* Those named below are all there are, and none of them has failed once. */
static const char
    *const tested[] = { "read_write_split", "reporting_to_one_standby", "read_after_write", "shard_by_tenant",
	                    "canary",           "maintenance_window",       "sticky_session",   "admission_by_class",
	                    "nearest_standby",  "pgpool_scripts",           "failover_by_ssh", /* these: tests/unit/hooks */
	                    "rolling_refresh",  "efm", /* tests/pg/tasks.t */
	                    "failover_by_sql",  "failover_by_commands" /* tests/app/simulate.t */ };

static void no_example_is_forgotten(void **state)
{
	DIR *dir = opendir("examples");
	size_t n = 0;
	assert_non_null(dir);
	for (struct dirent *it; (it = readdir(dir));) {
		bool is_tested = it->d_name[0] == '.';
		for (size_t i = 0; i < ARRAY_LEN(tested); i++)
			is_tested |= strncmp(it->d_name, tested[i], strlen(tested[i])) == 0;
		if (!is_tested)
			fail_msg("examples/%s has no test", it->d_name);
		n += it->d_name[0] != '.' && !strstr(it->d_name, "_test.lua"); /* these are run by tests/app/simulate.t */
	}
	closedir(dir);
	assert_int_equal(n, ARRAY_LEN(tested));
}

static int close_rig_without_errors(void **state)
{
	struct policyrig *r = *state;
	char error[300];
	snprintf(error, sizeof error, "%s", policyrig_last_error(r));
	close_rig(state);
	if (*error)
		print_error("%s\n", error);
	return *error ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig_without_errors)
		TEST(the_default_sends_reads_to_standbys),
		TEST(the_default_can_be_built_upon),
		TEST(read_write_split),
		TEST(reporting_to_one_standby),
		TEST(read_after_write),
		TEST(shard_by_tenant),
		TEST(canary),
		TEST(maintenance_window),
		TEST(sticky_session),
		TEST(admission_by_class),
		cmocka_unit_test(no_example_is_forgotten),
	};
	return UNIT_RUN(tests);
}
