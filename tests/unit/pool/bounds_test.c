/* Sizes, limits above the pool, reserve, ends of life, and what a new topology does. */
#include "poolrig.h"

static struct rig rig;
static struct borrower a, b, c;

static bool has_no_server(void *arg)
{
	struct pool_row sum = rig_sum(&rig);
	return sum.idle + sum.lent + sum.opening == 0;
}

static bool has_n_idle(void *arg)
{
	return rig_sum(&rig).idle == *(int *)arg;
}

static void a_pool_that_is_blocked_evicts_an_idle_server(void **state)
{
	rig_init(&rig, "max_connections = 1", "");
	borrow(rig_pool(&rig, "app", "bob"), &a);
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	borrow(rig_pool(&rig, "shop", "bob"), &b);
	run_until(rig.loop, has_server, &b);
	assert_int_equal(rig.pg.most, 1);
	/* Lent: what it waits for is given back, not evicted. */
	borrow(rig_pool(&rig, "app", "bob"), &a);
	run_turns(rig.loop, 5);
	assert_null(a.srv);
	give_back(&b);
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	assert_int_equal(rig.pg.most, 1);
	assert_int_equal(rig.pg.logins, 3);
	rig_fini(&rig);
}

static void the_longest_idle_is_evicted(void **state)
{
	struct borrower all[3];
	static const char *const db[] = { "one", "two", "three" };
	rig_init(&rig, "max_connections = 3", "");
	for (unsigned i = 0; i < 3; i++) {
		borrow(rig_pool(&rig, db[i], "bob"), &all[i]);
		run_until(rig.loop, has_server, &all[i]);
	}
	static const unsigned order[] = { 1, 0, 2 };
	for (unsigned i = 0; i < 3; i++) {
		give_back(&all[order[i]]);
		run_turns(rig.loop, 3);
	}
	borrow(rig_pool(&rig, "four", "bob"), &a);
	run_until(rig.loop, has_server, &a);
	borrow(rig_pool(&rig, "one", "bob"), &b);
	borrow(rig_pool(&rig, "three", "bob"), &c);
	assert_non_null(b.srv);
	assert_non_null(c.srv);
	give_back(&a);
	give_back(&b);
	give_back(&c);
	rig_fini(&rig);
}

/* Two busy pools under one place: the one that has nothing gets its turn. */
static void a_busy_pool_does_not_starve_another(void **state)
{
	struct borrower busy[2];
	rig_init(&rig, "", "user \"bob\" { max_connections = 1 }");
	struct pool *app = rig_pool(&rig, "app", "bob");
	borrow(app, &busy[0]);
	run_until(rig.loop, has_server, &busy[0]);
	borrow(rig_pool(&rig, "shop", "bob"), &b);
	for (unsigned i = 1; !b.srv && i < 50; i++) {
		borrow(app, &busy[i % 2]);
		give_back(&busy[1 - i % 2]);
		while (!b.srv && !busy[i % 2].srv)
			run_turns(rig.loop, 1);
		if (b.srv)
			pool_withdraw(&busy[i % 2].wait);
	}
	assert_non_null(b.srv);
	assert_int_equal(rig.pg.most, 1);
	give_back(&b);
	rig_fini(&rig);
}

static void a_database_limit_counts_all_its_users(void **state)
{
	rig_init(&rig, "", "database \"app\" { max_connections = 2 }");
	borrow(rig_pool(&rig, "app", "bob"), &a);
	borrow(rig_pool(&rig, "app", "eve"), &b);
	borrow(rig_pool(&rig, "app", "joe"), &c);
	run_until(rig.loop, has_server, &a);
	run_until(rig.loop, has_server, &b);
	run_turns(rig.loop, 5);
	assert_null(c.srv);
	give_back(&b);
	run_until(rig.loop, has_server, &c);
	give_back(&a);
	give_back(&c);
	assert_int_equal(rig.pg.most, 2);
	rig_fini(&rig);
}

static void the_reserve_opens_for_those_who_waited(void **state)
{
	rig_init(&rig, "", "pool { size = 1 reserve_size = 1 reserve_timeout = 20ms }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	borrow(pool, &b);
	borrow(pool, &c);
	uint64_t since = clock_us();
	run_until(rig.loop, has_server, &b);
	assert_true(clock_us() - since >= 20 * US_PER_MS);
	run_turns(rig.loop, 3);
	assert_null(c.srv);
	assert_int_equal(rig.pg.most, 2);
	give_back(&a);
	run_until(rig.loop, has_server, &c);
	give_back(&b);
	give_back(&c);
	/* The pool is larger than its size: the tick closes what is too much. */
	int one = 1;
	run_until(rig.loop, has_n_idle, &one);
	rig_fini(&rig);
}

static void min_size_is_kept_while_there_are_clients(void **state)
{
	rig_init(&rig, "", "pool { size = 5 min_size = 2 server_idle_timeout = 1ms }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	pool_join(pool);
	int two = 2;
	run_until(rig.loop, has_n_idle, &two);
	borrow(pool, &a);
	borrow(pool, &b);
	borrow(pool, &c);
	run_until(rig.loop, has_server, &c);
	give_back(&a);
	give_back(&b);
	give_back(&c);
	run_until(rig.loop, has_n_idle, &two);
	pool_part(pool);
	run_until(rig.loop, has_no_server, NULL);
	rig_fini(&rig);
}

static void an_old_server_is_replaced(void **state)
{
	rig_init(&rig, "", "pool { server_lifetime = 1ms }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	run_turns(rig.loop, 5);
	ask(&rig, &a, "SELECT 1");
	give_back(&a);
	run_until(rig.loop, has_no_server, NULL);
	rig_fini(&rig);
}

static void logins_are_bounded_by_max_connecting(void **state)
{
	struct borrower all[9];
	rig_init(&rig, "", "pool { max_connecting = 2 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	for (unsigned i = 0; i < 9; i++)
		borrow(pool, &all[i]);
	assert_int_equal(rig_sum(&rig).opening, 2);
	for (unsigned i = 0; i < 9; i++) {
		run_until(rig.loop, has_server, &all[i]);
		assert_true(rig_sum(&rig).opening <= 2);
	}
	for (unsigned i = 0; i < 9; i++)
		give_back(&all[i]);
	assert_int_equal(rig_sum(&rig).idle, 9);
	rig_fini(&rig);
}

static void a_larger_size_is_used_at_once(void **state)
{
	rig_init(&rig, "", "pool { size = 1 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &a);
	run_turns(rig.loop, 3);
	assert_null(b.srv);
	rig_reload(&rig, "", "pool { size = 2 }");
	run_until(rig.loop, has_server, &b);
	give_back(&a);
	give_back(&b);
	rig_fini(&rig);
}

static void servers_of_a_database_that_is_renamed_close(void **state)
{
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &a);
	run_until(rig.loop, has_server, &b);
	give_back(&a);
	rig_reload(&rig, "", "database \"app\" { dbname = \"app_prod\" }");
	assert_int_equal(rig_sum(&rig).idle, 0);
	give_back(&b);
	run_until(rig.loop, has_no_server, NULL);
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	rig_fini(&rig);
}

static void who_waits_for_a_deposed_primary_asks_again(void **state)
{
	rig_init(&rig, "", "pool { size = 1 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &a);
	struct topo *next = topo_copy(rig.topo);
	next->clusters[0].primary = -1;
	pools_on_topology(rig.pools, next);
	assert_false(b.has_failed); /* not from inside the call */
	run_until(rig.loop, has_failed, &b);
	assert_string_equal(b.err.sqlstate, "LP001");
	give_back(&a); /* it may come back */
	assert_int_equal(rig_sum(&rig).idle, 1);
	pools_on_topology(rig.pools, rig.topo);
	topo_free(next);
	borrow(pool, &c);
	assert_non_null(c.srv);
	give_back(&c);
	rig_fini(&rig);
}

static void a_node_that_goes_takes_its_servers_along(void **state)
{
	rig_init(&rig, "", "");
	struct pool_key key = { .node_id = rig.topo->clusters[0].nodes[0].id, .database = "app", .user = "bob" };
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	borrow(pool, &a);
	rig_reload(&rig, "port = 5433", "");
	assert_null(pools_get(rig.pools, rig.topo, &key));
	give_back(&a);
	run_until(rig.loop, has_no_server, NULL);
	rig_fini(&rig);
}

static void new_defaults_retire_a_databases_servers(void **state)
{
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob"), *other = rig_pool(&rig, "other", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	borrow(other, &c);
	run_until(rig.loop, has_server, &a);
	run_until(rig.loop, has_server, &b);
	run_until(rig.loop, has_server, &c);
	give_back(&a);
	give_back(&c);
	pool_retire_database(pool);
	assert_int_equal(rig_sum(&rig).idle, 1);
	give_back(&b);
	assert_int_equal(rig_sum(&rig).idle, 1);
	rig_fini(&rig);
}

static void a_scram_secret_alone_is_explained(void **state)
{
	rig_init(&rig, "", "");
	confdir_write(&rig.dir, "secrets",
	              "\"bob\" "
	              "\"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
	              "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n");
	char text[512];
	snprintf(text, sizeof text,
	         "auth { hba_file = rules users_file = secrets }\ncluster main { node pg1 { host = \"%s\" } }\ndatabase \"*\" {}\n",
	         rig.pg.dir);
	struct conf *conf = confdir_text(&rig.dir, text);
	assert_string_equal(rig.dir.told, "");
	topo_free(rig.topo);
	rig.topo = topo_build(conf, NULL);
	rig.pg.refuse = "28000";
	borrow(rig_pool(&rig, "app", "bob"), &a);
	run_until(rig.loop, has_failed, &a);
	assert_string_equal(a.err.sqlstate, "28000");
	assert_non_null(strstr(a.err.text, "only a SCRAM secret"));
	assert_true(a.err.hint[0] != '\0');
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_that_is_blocked_evicts_an_idle_server),
		cmocka_unit_test(the_longest_idle_is_evicted),
		cmocka_unit_test(a_busy_pool_does_not_starve_another),
		cmocka_unit_test(a_database_limit_counts_all_its_users),
		cmocka_unit_test(the_reserve_opens_for_those_who_waited),
		cmocka_unit_test(min_size_is_kept_while_there_are_clients),
		cmocka_unit_test(an_old_server_is_replaced),
		cmocka_unit_test(logins_are_bounded_by_max_connecting),
		cmocka_unit_test(a_larger_size_is_used_at_once),
		cmocka_unit_test(servers_of_a_database_that_is_renamed_close),
		cmocka_unit_test(who_waits_for_a_deposed_primary_asks_again),
		cmocka_unit_test(a_node_that_goes_takes_its_servers_along),
		cmocka_unit_test(new_defaults_retire_a_databases_servers),
		cmocka_unit_test(a_scram_secret_alone_is_explained),
	};
	return UNIT_RUN(tests);
}
