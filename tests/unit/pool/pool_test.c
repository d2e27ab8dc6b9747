/* Borrowing and giving back in one worker, against a server that is made of a thread. */
#include "pool/pool.h"

#include "poolrig.h"

static struct rig rig;

static void a_server_is_opened_lent_and_used_again(void **state)
{
	struct borrower a, b;
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	assert_null(a.srv);
	run_until(rig.loop, has_server, &a);
	struct server *first = a.srv;
	ask(&rig, &a, "SELECT 1");
	give_back(&a);
	borrow(pool, &b);
	assert_ptr_equal(b.srv, first);
	give_back(&b);
	assert_int_equal(rig.pg.logins, 1);
	assert_int_equal(rig_sum(&rig).idle, 1);
	struct settings *none = settings_empty(rig.settings), *told = pool_welcome(pool, none);
	assert_string_equal(settings_get(told, "server_version"), "15.0");
	settings_unref(told);
	settings_unref(none);
	rig_fini(&rig);
}

static void the_last_used_is_lent_first(void **state)
{
	struct borrower a, b, c;
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &a);
	run_until(rig.loop, has_server, &b);
	struct server *last = b.srv;
	give_back(&a);
	give_back(&b);
	borrow(pool, &c);
	assert_ptr_equal(c.srv, last);
	give_back(&c);
	rig_fini(&rig);
}

static void who_waits_longest_is_served_first(void **state)
{
	struct borrower b[6];
	rig_init(&rig, "", "pool { size = 2 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	for (unsigned i = 0; i < 6; i++)
		borrow(pool, &b[i]);
	for (unsigned i = 0; i < 6; i++) {
		run_until(rig.loop, has_server, &b[i]);
		assert_int_equal(b[i].turn, i + 1);
		assert_true(rig_sum(&rig).lent <= 2);
		if (i > 0)
			give_back(&b[i - 1]);
	}
	give_back(&b[5]);
	assert_int_equal(rig.pg.most, 2);
	rig_fini(&rig);
}

static void a_newcomer_does_not_overtake(void **state)
{
	struct borrower a, b, c;
	rig_init(&rig, "", "pool { size = 1 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	borrow(pool, &b);
	give_back(&a);
	borrow(pool, &c); /* in the same turn, before b was called */
	run_until(rig.loop, has_server, &b);
	assert_null(c.srv);
	give_back(&b);
	run_until(rig.loop, has_server, &c);
	give_back(&c);
	rig_fini(&rig);
}

static void who_withdraws_is_not_called(void **state)
{
	struct borrower a, b, c;
	rig_init(&rig, "", "pool { size = 1 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	borrow(pool, &c);
	pool_withdraw(&a.wait);
	run_until(rig.loop, has_server, &b);
	assert_null(a.srv);
	pool_withdraw(&a.wait);
	give_back(&b);
	pool_withdraw(&c.wait);
	assert_int_equal(rig_sum(&rig).waiting, 0);
	run_turns(rig.loop, 3);
	assert_null(c.srv);
	assert_int_equal(rig_sum(&rig).idle, 1);
	rig_fini(&rig);
}

static void a_server_that_dies_idle_is_not_lent(void **state)
{
	struct borrower a, b;
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	fakepg_drop(&rig.pg);
	while (rig_sum(&rig).idle)
		run_turns(rig.loop, 1);
	assert_int_equal(rig.troubles, 1);
	borrow(pool, &b);
	run_until(rig.loop, has_server, &b);
	give_back(&b);
	assert_int_equal(rig.pg.logins, 2);
	rig_fini(&rig);
}

static void a_server_that_dies_lent_tells_its_borrower(void **state)
{
	struct borrower a;
	rig_init(&rig, "", "");
	borrow(rig_pool(&rig, "app", "bob"), &a);
	run_until(rig.loop, has_server, &a);
	fakepg_drop(&rig.pg);
	run_until(rig.loop, is_gone, &a);
	assert_string_equal(a.err.sqlstate, "08006");
	assert_int_equal(rig_sum(&rig).lent, 0);
	rig_fini(&rig);
}

static void a_final_refusal_is_told_in_the_servers_words(void **state)
{
	struct borrower a, b;
	rig_init(&rig, "", "");
	rig.pg.refuse = "28P01";
	struct pool *pool = rig_pool(&rig, "app", "bob");
	borrow(pool, &a);
	borrow(pool, &b);
	run_until(rig.loop, has_failed, &a);
	run_until(rig.loop, has_failed, &b);
	assert_string_equal(a.err.sqlstate, "28P01");
	assert_string_equal(a.err.text, "as the test wished");
	assert_int_equal(rig.troubles, 0);
	assert_int_equal(rig_sum(&rig).waiting, 0);
	rig_fini(&rig);
}

static bool has_trouble(void *arg)
{
	return ((struct rig *)arg)->troubles >= 2;
}

static void a_node_that_starts_up_is_waited_for(void **state)
{
	struct borrower a;
	rig_init(&rig, "", "");
	rig.pg.refuse = "57P03";
	borrow(rig_pool(&rig, "app", "bob"), &a);
	run_until(rig.loop, has_trouble, &rig);
	assert_false(a.has_failed);
	rig.pg.refuse = NULL;
	run_until(rig.loop, has_server, &a);
	give_back(&a);
	rig_fini(&rig);
}

static void a_welcome_is_remembered_until_the_defaults_change(void **state)
{
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, "app", "bob"), *other = rig_pool(&rig, "other", "bob");
	struct settings *none = settings_empty(rig.settings), *told;
	struct settings *some = settings_with(none, slice_text("TimeZone"), slice_text("UTC"));
	assert_null(pool_welcome(pool, some));
	pool_learn_welcome(pool, some, some);
	assert_null(pool_welcome(pool, none));
	assert_null(pool_welcome(other, some));
	assert_ptr_equal(told = pool_welcome(pool, some), some);
	settings_unref(told);
	pool_retire_database(pool);
	assert_null(pool_welcome(pool, some));
	settings_unref(some);
	settings_unref(none);
	rig_fini(&rig);
}

static void pins_are_bounded(void **state)
{
	rig_init(&rig, "", "pool { size = 4 }");
	struct pool *pool = rig_pool(&rig, "app", "bob");
	assert_true(pool_pin(pool, false));
	assert_true(pool_pin(pool, false));
	assert_false(pool_pin(pool, false));
	assert_true(pool_pin(pool, true));
	assert_int_equal(rig_sum(&rig).pinned, 3);
	for (unsigned i = 0; i < 3; i++)
		pool_unpin(pool);
	rig_fini(&rig);
}

static void databases_share_facts_over_their_names(void **state)
{
	rig_init(&rig, "", "database \"alias\" { dbname = \"app\" }");
	struct pool *app = rig_pool(&rig, "app", "bob"), *alias = rig_pool(&rig, "alias", "eve"),
	            *other = rig_pool(&rig, "other", "bob");
	pool_note_ddl(app);
	assert_int_equal(pool_ddl_generation(alias), pool_ddl_generation(app));
	assert_int_not_equal(pool_ddl_generation(other), pool_ddl_generation(app));
	pool_pin_sequences(app);
	assert_true(pool_pins_sequences(app));
	assert_false(pool_pins_sequences(alias));
	assert_int_not_equal(pool_id(app), pool_id(alias));
	rig_fini(&rig);
}

static void a_long_name_is_just_a_long_name(void **state)
{
	char name[9000];
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	rig_init(&rig, "", "");
	struct pool *pool = rig_pool(&rig, name, name);
	assert_ptr_equal(rig_pool(&rig, name, name), pool);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_is_opened_lent_and_used_again),
		cmocka_unit_test(the_last_used_is_lent_first),
		cmocka_unit_test(who_waits_longest_is_served_first),
		cmocka_unit_test(a_newcomer_does_not_overtake),
		cmocka_unit_test(who_withdraws_is_not_called),
		cmocka_unit_test(a_server_that_dies_idle_is_not_lent),
		cmocka_unit_test(a_server_that_dies_lent_tells_its_borrower),
		cmocka_unit_test(a_final_refusal_is_told_in_the_servers_words),
		cmocka_unit_test(a_node_that_starts_up_is_waited_for),
		cmocka_unit_test(a_welcome_is_remembered_until_the_defaults_change),
		cmocka_unit_test(pins_are_bounded),
		cmocka_unit_test(databases_share_facts_over_their_names),
		cmocka_unit_test(a_long_name_is_just_a_long_name),
	};
	return UNIT_RUN(tests);
}
