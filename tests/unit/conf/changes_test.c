/* What a reload changes, in words. */
#include "conf/changes.h"

#include "confdir.h"
#include "unit.h"

static struct confdir dir;
static char told[8192];
static unsigned parts;

static int setup(void **state)
{
	confdir_init(&dir);
	return 0;
}

static int teardown(void **state)
{
	confdir_fini(&dir);
	return 0;
}

static struct conf *good(const char *text)
{
	struct conf *c = confdir_text(&dir, text);
	assert_string_equal(dir.told, "");
	return c;
}

static void tell(void *arg, const struct change *c)
{
	size_t len = strlen(told);
	snprintf(told + len, sizeof told - len, "%s%s\n", c->text, c->needs_restart ? " (restart)" : "");
}

/* From BEFORE to AFTER, both freed. */
static void compare(struct conf *before, struct conf *after)
{
	told[0] = '\0';
	parts = conf_changes(before, after, tell, NULL);
	confdir_strip(&dir, told);
	conf_free(before);
	conf_free(after);
}

static void nothing_is_no_change(void **state)
{
	compare(good(CONFDIR_LEAST), good("# a remark\n" CONFDIR_LEAST "pool { size = 20 }\n"));
	assert_string_equal(told, "");
	assert_int_equal(parts, 0);
}

static void each_block_is_a_sentence(void **state)
{
	struct conf *before =
	    good("auth { hba_file = rules } cluster main { node pg1 { host = db1 } node pg2 { host = db2 } service_user = u }\n"
	         "database app {} database \"*\" {} user gone { pool_size = 3 } limits { query_timeout = 5s }\n");
	struct conf *after =
	    good("auth { hba_file = rules } cluster main { node pg1 { host = db9 } node pg3 { host = db3 } service_user = u }\n"
	         "database app { max_connections = 7 dbname = other } database new {} database \"*\" {}\n"
	         "pool { size = 9 mode = session } listen { port = 5 }\n");
	compare(before, after);
	assert_string_equal(told,
	                    "listen: port 6432 -> 5\n"
	                    "node pg1 of cluster main: host db1 -> db9; its servers are replaced as they come back\n"
	                    "node pg3 of cluster main is new: host = db3\n"
	                    "pool: mode transaction -> session, size 20 -> 9\n"
	                    "database app: dbname \"\" -> other, max_connections 0 -> 7; its servers are replaced as they come back\n"
	                    "database new is new\n"
	                    "limits: query_timeout 5s -> 0\n"
	                    "node pg2 of cluster main is gone: its servers are closed as they come back\n"
	                    "user gone is gone: what holds for all holds for it\n");
	assert_int_equal(parts, 1u << CHANGE_listen | 1u << CHANGE_node | 1u << CHANGE_pool | 1u << CHANGE_database |
	                            1u << CHANGE_limits | 1u << CHANGE_user);
}

static void redirects_and_their_order(void **state)
{
#define HEAD "auth { hba_file = rules } database \"*\" {} cluster main { node pg1 { host = db1 } "
	compare(good(HEAD "redirect a { to = pg1 } redirect b { to = any } }"),
	        good(HEAD "redirect b { to = any } redirect a { to = pg1 user = { x, y } } }"));
	assert_string_equal(told, "redirect a of cluster main: user \"\" -> x, y\nredirects of cluster main are in another order\n");
	compare(good(HEAD "redirect a { to = pg1 } redirect b { to = any } }"),
	        good(HEAD "redirect b { to = any } redirect a { to = pg1 } }"));
	assert_string_equal(told, "redirects of cluster main are in another order\n");
	assert_int_equal(parts, 1u << CHANGE_redirect);
	compare(good(HEAD "redirect a { to = pg1 } redirect b { to = any } }"),
	        good(HEAD "redirect c { to = any } redirect b { to = any } }"));
	assert_string_equal(told, "redirect c of cluster main is new: to = any\nredirect a of cluster main is gone\n");
}

static void what_becomes_of_the_clients_of_a_database_that_goes(void **state)
{
	compare(good(CONFDIR_LEAST "database app {}\n"), good(CONFDIR_LEAST));
	assert_string_equal(told, "database app is gone: \"*\" holds for its clients\n");
	const char least[] = "auth { hba_file = rules } cluster main { node pg1 { host = db1 } }\n";
	char text[200];
	snprintf(text, sizeof text, "%sdatabase app {} database other {}\n", least);
	struct conf *before = good(text);
	snprintf(text, sizeof text, "%sdatabase other {}\n", least);
	compare(before, good(text));
	assert_string_equal(told, "database app is gone: its clients are refused\n");
}

static void secrets_and_files_are_changed_and_no_more(void **state)
{
	const char text[] = "auth { hba_file = rules users_file = users }\n"
	                    "cluster main { node pg1 { host = db1 } service_user = u service_password = %s }\ndatabase app {}\n";
	char line[300];
	confdir_write(&dir, "users", "\"a\" \"one\"\n");
	snprintf(line, sizeof line, text, "hush");
	struct conf *before = good(line);
	confdir_write(&dir, "users", "\"a\" \"two\"\n");
	confdir_write(&dir, "rules", "local all all reject\n");
	snprintf(line, sizeof line, text, "shh");
	compare(before, good(line));
	assert_string_equal(told, "cluster main: service_password changed\n"
	                          "hba_file has other rules: they hold for logins from now on\n"
	                          "users_file has other users or secrets: they hold for logins from now on\n");
	assert_int_equal(parts, 1u << CHANGE_cluster | 1u << CHANGE_hba_file | 1u << CHANGE_users_file);
}

static void a_new_secret_is_not_told(void **state)
{
	compare(good("auth { hba_file = rules } cluster a { node x { host = h } } database \"*\" { cluster = a }\n"),
	        good("auth { hba_file = rules } cluster a { node x { host = h } } database \"*\" { cluster = a }\n"
	             "cluster b { node y { host = h2 } service_user = u service_password = hush }\n"));
	assert_string_equal(
	    told, "cluster b is new: service_user = u, service_password = ********\nnode y of cluster b is new: host = h2\n");
}

static void what_needs_a_restart_changes_nothing(void **state)
{
	compare(good("workers = 1\n" CONFDIR_LEAST), good("workers = 2\nlog_level = debug\n" CONFDIR_LEAST));
	assert_string_equal(told, "settings: log_level info -> debug\nworkers stays 1 until a restart; the file says 2 (restart)\n");
	compare(good("workers = 1\n" CONFDIR_LEAST), good("workers = 2\n" CONFDIR_LEAST));
	assert_int_equal(parts, 0);
}

static void what_needs_a_restart_is_kept_beyond_the_configuration_that_had_it(void **state)
{
	struct conf *first = good("workers = 1\nstate_dir = /first\n" CONFDIR_LEAST);
	struct conf *second = good("workers = 2\nstate_dir = /second\n" CONFDIR_LEAST);
	conf_keep_restart(second, first);
	conf_free(first);
	assert_string_equal(second->state_dir, "/first");
	assert_int_equal(second->workers, 1);
	compare(second, good("workers = 1\nstate_dir = /third\n" CONFDIR_LEAST));
	assert_string_equal(told, "state_dir stays /first until a restart; the file says /third (restart)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_no_change, setup, teardown),
		cmocka_unit_test_setup_teardown(each_block_is_a_sentence, setup, teardown),
		cmocka_unit_test_setup_teardown(redirects_and_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(what_becomes_of_the_clients_of_a_database_that_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_and_files_are_changed_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_secret_is_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(what_needs_a_restart_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_needs_a_restart_is_kept_beyond_the_configuration_that_had_it, setup, teardown),
	};
	return UNIT_RUN(tests);
}
