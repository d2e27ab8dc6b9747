/* Good configurations, as values. */
#include "conf/conf.h"

#include "confdir.h"
#include "unit.h"

static struct confdir dir;

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

static void what_is_not_said_has_its_default(void **state)
{
	struct conf *c = good(CONFDIR_LEAST);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->log_format, LOG_FORMAT_KV);
	assert_true(c->log_connections);
	assert_int_equal(c->statement_cache, 16 << 20);
	assert_int_equal(c->listen.address.n, 1);
	assert_string_equal(c->listen.address.at[0], "*");
	assert_int_equal(c->listen.port, 6432);
	assert_int_equal(c->listen.unix_socket_mode, 0777);
	assert_string_equal(c->listen.unix_socket_dir, "");
	assert_int_equal(c->clusters[0].probe_interval, 200000);
	assert_string_equal(c->clusters[0].service_dbname, "postgres");
	assert_string_equal(c->clusters[0].nodes[0].host, "db1");
	assert_int_equal(c->clusters[0].nodes[0].port, 5432);
	assert_int_equal(c->pool.mode, POOL_MODE_TRANSACTION);
	assert_int_equal(c->databases[0].pool_mode, POOL_MODE_UNSET);
	assert_int_equal(c->databases[0].pool_size, -1);
	assert_int_equal(c->limits.login_timeout, 60 * 1000000);
	assert_non_null(c->hba);
	assert_non_null(c->secrets);
	conf_free(c);
}

static void every_kind_of_value_is_understood(void **state)
{
	struct conf *c =
	    good("workers=2 log_level = debug log_format = 'json'\nlog_connections = off # why not\n" CONFDIR_LEAST
	         "listen { address = { \"127.0.0.1\", ::1, } port = 0 unix_socket_mode = 0700 }\r\n"
	         "pool {\n\tmode = session\n\tserver_lifetime = 7d\n\tconnect_timeout = 1500ms reset_timeout = 2000us }\n"
	         "limits { client_statement_bytes = 64kB query_timeout = 0 tcp_user_timeout = 1h }"
	         "user \"o'neil \\\"x\\\" \\\\ \\${no}\" { client_idle_timeout = 0 query_timeout = \"\" pool_mode = statement }");
	assert_int_equal(c->workers, 2);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->log_format, LOG_FORMAT_JSON);
	assert_false(c->log_connections);
	assert_int_equal(c->listen.address.n, 2);
	assert_string_equal(c->listen.address.at[1], "::1");
	assert_int_equal(c->listen.port, 0);
	assert_int_equal(c->listen.unix_socket_mode, 0700);
	assert_int_equal(c->pool.mode, POOL_MODE_SESSION);
	assert_int_equal(c->pool.server_lifetime, 7 * 86400ull * 1000000);
	assert_int_equal(c->pool.connect_timeout, 1500000);
	assert_int_equal(c->pool.reset_timeout, 2000);
	assert_int_equal(c->limits.client_statement_bytes, 65536);
	assert_int_equal(c->limits.tcp_user_timeout, 3600ull * 1000000);
	assert_string_equal(c->users[0].name, "o'neil \"x\" \\ ${no}");
	assert_int_equal(c->users[0].client_idle_timeout, 0);
	assert_true(c->users[0].query_timeout == CONF_DURATION_UNSET);
	assert_int_equal(c->users[0].pool_mode, POOL_MODE_STATEMENT);
	conf_free(c);
}

static void variables_come_from_the_environment(void **state)
{
	setenv("CONF_TEST_PASSWORD", "a \"b\" ${c}", 1);
	setenv("CONF_TEST_EMPTY", "", 1);
	unsetenv("CONF_TEST_NONE");
	struct conf *c =
	    good("auth { hba_file = \"${CONF_TEST_NONE:-rules}\" }\n"
	         "cluster main { node a { host = \"db-${CONF_TEST_NONE:-1}.x\" port = ${CONF_TEST_EMPTY:-7} }\n"
	         "service_user = '${CONF_TEST_NONE}$' service_password = \"<${CONF_TEST_PASSWORD}>${CONF_TEST_EMPTY}$\" }\n"
	         "database \"*\" {} # ${CONF_TEST_NONE}\n");
	assert_string_equal(c->clusters[0].nodes[0].host, "db-1.x");
	assert_int_equal(c->clusters[0].nodes[0].port, 7);
	assert_string_equal(c->clusters[0].service_password, "<a \"b\" ${c}>$");
	assert_string_equal(c->clusters[0].service_user, "${CONF_TEST_NONE}$");
	conf_free(c);
}

static void a_folder_is_one_configuration(void **state)
{
	confdir_write(&dir, "20-b.conf", "database app { cluster = two }\n");
	confdir_write(&dir, "10-a.conf", "workers = 3\nauth { hba_file = hba.conf users_file = ./users.conf }\n");
	confdir_write(&dir, "15.conf", "cluster one { node n { host = h1 } }\ncluster two { node n { host = h2 } }\n");
	confdir_write(&dir, "hba.conf", "host all all 10.0.0.0/8 scram-sha-256\n");
	confdir_write(&dir, "users.conf", "\"app\" \"{ = secret\"\n");
	confdir_write(&dir, "30.conf.bak", "this { is no configuration");
	confdir_write(&dir, ".40.conf", "nor is { this");
	struct conf *c = confdir_load(&dir, NULL);
	assert_string_equal(dir.told, "");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->n_clusters, 2);
	assert_int_equal(c->databases[0].cluster_at, 1);
	char want[128];
	snprintf(want, sizeof want, "%s/hba.conf", dir.path);
	assert_string_equal(c->auth.hba_file, want);
	conf_free(c);
}

static void the_block_of_its_own_wins_over_the_star(void **state)
{
	struct conf *c = good("auth { hba_file = rules } cluster main { node pg1 { host = db1 } }\n"
	                      "database app { dbname = x }\ndatabase \"*\" { dbname = y }\nuser u {}");
	assert_string_equal(conf_database(c, "app")->dbname, "x");
	assert_string_equal(conf_database(c, "other")->dbname, "y");
	assert_non_null(conf_user(c, "u"));
	assert_null(conf_user(c, "v"));
	conf_free(c);
	c = good("auth { hba_file = rules } cluster main { node pg1 { host = db1 } }\ndatabase app {}");
	assert_null(conf_database(c, "other"));
	conf_free(c);
}

static void user_wins_over_database_and_database_over_pool(void **state)
{
	struct conf *c = good(CONFDIR_LEAST "pool { size = 10 min_size = 4 reserve_size = 3 }\n"
	                                    "database app { pool_mode = session pool_size = 3 reserve_pool_size = 0 }\n"
	                                    "user batch { pool_mode = statement pool_size = 1 query_timeout = 30s }\n"
	                                    "limits { query_timeout = 5s client_idle_timeout = 1min }");
	struct conf_effective e;
	conf_effective(c, conf_database(c, "x"), NULL, &e);
	assert_int_equal(e.mode, POOL_MODE_TRANSACTION);
	assert_int_equal(e.size, 10);
	assert_int_equal(e.min_size, 4);
	assert_int_equal(e.reserve_size, 3);
	assert_int_equal(e.max_pinned, 5);
	assert_int_equal(e.query_timeout, 5000000);
	assert_int_equal(e.client_idle_timeout, 60000000);
	assert_int_equal(e.idle_transaction_timeout, 0);
	conf_effective(c, conf_database(c, "app"), NULL, &e);
	assert_int_equal(e.mode, POOL_MODE_SESSION);
	assert_int_equal(e.size, 3);
	assert_int_equal(e.min_size, 3); /* never more than the pool */
	assert_int_equal(e.reserve_size, 0);
	conf_effective(c, conf_database(c, "app"), conf_user(c, "batch"), &e);
	assert_int_equal(e.mode, POOL_MODE_STATEMENT);
	assert_int_equal(e.size, 1);
	assert_int_equal(e.max_pinned, 1);
	assert_int_equal(e.query_timeout, 30000000);
	assert_int_equal(e.client_idle_timeout, 60000000);
	conf_free(c);
}

struct told {
	char text[16384];
};

static void tell(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart)
{
	struct told *t = arg;
	size_t len = strlen(t->text);
	if (strcmp(value, dflt) != 0 || needs_restart)
		snprintf(t->text + len, sizeof t->text - len, "%s=%s (%s)%s\n", name, value, dflt, needs_restart ? " restart" : "");
}

static void show_config_names_each_setting_and_hides_secrets(void **state)
{
	struct conf *c = good("auth { hba_file = rules }\nlimits { query_timeout = 5000ms }\n"
	                      "cluster main { node pg1 { host = db1 } service_user = u service_password = hush }\n"
	                      "database app { pool_mode = session } listen { address = { a, b } }");
	struct told t = { "" };
	conf_each(c, tell, &t);
	confdir_strip(&dir, t.text);
	assert_string_equal(t.text, "workers=0 (0) restart\nengine=auto (auto) restart\nstatement_cache=16MB (16MB) "
	                            "restart\nauth_threads=4 (4) restart\nstate_dir= () restart\nlisten.address=a, b (*)\n"
	                            "auth.hba_file=rules ()\ncluster.main.service_user=u ()\n"
	                            "cluster.main.service_password=******** ()\ncluster.main.node.pg1.host=db1 ()\n"
	                            "database.app.pool_mode=session ()\nlimits.query_timeout=5s (0)\n");
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_not_said_has_its_default, setup, teardown),
		cmocka_unit_test_setup_teardown(every_kind_of_value_is_understood, setup, teardown),
		cmocka_unit_test_setup_teardown(variables_come_from_the_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_is_one_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(the_block_of_its_own_wins_over_the_star, setup, teardown),
		cmocka_unit_test_setup_teardown(user_wins_over_database_and_database_over_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(show_config_names_each_setting_and_hides_secrets, setup, teardown),
	};
	return UNIT_RUN(tests);
}
