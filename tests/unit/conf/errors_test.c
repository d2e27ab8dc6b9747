/* Bad configurations, and what a person is told about each: what, where, what to do.  All of it, not only the first. */
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

struct bad {
	const char *text, *told;
};

static void expect(const struct bad *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct conf *c = confdir_text(&dir, b[i].text);
		if (strcmp(dir.told, b[i].told) != 0)
			print_error("for:\n%s\ntold:\n%s\nwanted:\n%s\n", b[i].text, dir.told, b[i].told);
		assert_string_equal(dir.told, b[i].told);
		assert_null(c);
	}
}

#define L CONFDIR_LEAST /* three lines */

static void names(void **state)
{
	static const struct bad table[] = {
		{ L "worker = 2", "c.conf:4: there is no worker at top level; did you mean workers?\n" },
		{ L "zzz = 2", "c.conf:4: there is no zzz at top level; docs/parameters.md lists what there is\n" },
		{ L "pool { mod = session }", "c.conf:4: there is no mod in the block pool; did you mean mode?\n" },
		{ L "pool {\n\tpool_size = 3\n}",
		  "c.conf:5: there is no pool_size in the block pool; it belongs in the block database\n" },
		{ L "pool { log_level = info }", "c.conf:4: log_level stands outside any block, not in the block pool\n" },
		{ L "port = 5", "c.conf:4: there is no port at top level; it belongs in the block listen\n" },
		{ L "databse app {}", "c.conf:4: there is no databse at top level; did you mean database?\n" },
		{ L "node x { host = y }", "c.conf:4: a node block stands inside a cluster block, not at top level\n" },
		{ L "pool { limits { max_clients = 1 } }",
		  "c.conf:4: limits is a block of its own and cannot stand in the block pool: is a } missing above?\n" },
		{ L "pool = transaction", "c.conf:4: pool is a block: write pool { … }\n" },
		{ L "user = batch", "c.conf:4: user is a block: write user \"name\" { … }\n" },
		{ L "workers { }", "c.conf:4: workers is a setting: write workers = value\n" },
		{ L "user { }", "c.conf:4: a user block needs a name: user \"name\" { … }\n" },
		{ L "user \"\" { }", "c.conf:4: a user block needs a name: user \"name\" { … }\n" },
		{ L "pool \"x\" { }", "c.conf:4: a pool block has no name: write pool { … }\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void repetitions(void **state)
{
	static const struct bad table[] = {
		{ L "workers = 2\n\nworkers = 2", "c.conf:6: workers is already set at c.conf:4; leave one of them out\n" },
		{ L "pool { size = 2 size = 3 }", "c.conf:4: size is already set at c.conf:4; leave one of them out\n" },
		{ L "pool { }\npool { }", "c.conf:5: pool is already set at c.conf:4; leave one of them out\n" },
		{ L "user a { }\nuser b { }\nuser \"a\" { }",
		  "c.conf:6: user \"a\" is already set at c.conf:4; leave one of them out\n" },
		{ "auth { hba_file = rules }\ndatabase \"*\" {}\ncluster c {\n node a { host = x }\n node a { host = y }\n}",
		  "c.conf:5: node \"a\" is already set at c.conf:4; leave one of them out\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void syntax(void **state)
{
	static const struct bad table[] = {
		{ L "pool {\n size = 3\n", "c.conf:4: the block pool is opened here and never closed: a } is missing\n" },
		{ L "}", "c.conf:4: this } closes nothing\n" },
		{ L "workers 2", "c.conf:4: after workers comes = and a value, or { and a block\n" },
		{ L "workers = \nlog_level = debug", "c.conf:4: workers lacks its value: write workers = value on one line\n" },
		{ L "workers = 2#3", "c.conf:4: workers: \"2#3\" is not a whole number\n" },
		{ L "workers = 2;\n", "c.conf:4: there is no ; in this file: leave it out (a comment begins with #)\n" },
		{ L "= 2", "c.conf:4: here comes the name of a setting or a block, a word without quotes\n" },
		{ L "\"workers\" = 2", "c.conf:4: here comes the name of a setting or a block, a word without quotes\n" },
		{ L "workers = 2\x01", "c.conf:4: a byte 0x01 stands here; is this a configuration file?\n" },
		{ L "listen { address = { a b } }",
		  "c.conf:4: the list of address should go on with a comma or end with }, as in { \"a\", \"b\" }\n" },
		{ L "listen { address = { a,\n b\n port = 70000\n}\nworkers = 300",
		  "c.conf:6: the list of address should go on with a comma or end with }, as in { \"a\", \"b\" }\n"
		  "c.conf:8: workers = 300 is out of range: from 0 to 256\n" },
		{ L "listen { unix_socket_dir = my folder }",
		  "c.conf:4: a value is one word here; put a text with spaces into quotes\n" },
		{ L "listen { unix_socket_dir = \"/run }\n port = 1 }",
		  "c.conf:4: a text begins here whose closing \" is missing on this line\n" },
		{ L "listen { unix_socket_dir = \"\\run\" }",
		  "c.conf:4: \\ in a text must be followed by one of \" \\ $ n t; write \\\\ for a "
		  "backslash\n" },
		{ L "pool { size = 5 ", "c.conf:4: the block pool is opened here and never closed: a } is missing\n" },
		{ L "a { b { c { d { e { } } } } }", "c.conf:4: blocks stand inside each other too deeply: is a } missing above?\n"
		                                     "c.conf:4: there is no a at top level; docs/parameters.md lists what there is\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void variables(void **state)
{
	static const struct bad table[] = {
		{ L "log_level = \"${CONF_TEST_NONE}\"", "c.conf:4: the environment has no variable CONF_TEST_NONE: set it, or give a "
		                                         "default as in ${CONF_TEST_NONE:-value}\n" },
		{ L "workers = ${CONF_TEST_NONE}", "c.conf:4: the environment has no variable CONF_TEST_NONE: set it, or give a default "
		                                   "as in ${CONF_TEST_NONE:-value}\n" },
		{ L "user \"${}\" {}",
		  "c.conf:4: after $ comes a variable as in ${NAME} or ${NAME:-default}; write \\$ for a dollar sign before {\n" },
	};
	unsetenv("CONF_TEST_NONE");
	expect(table, ARRAY_LEN(table));
}

static void values(void **state)
{
	static const struct bad table[] = {
		{ L "workers = two", "c.conf:4: workers: \"two\" is not a whole number\n" },
		{ L "workers = 2.5", "c.conf:4: workers: \"2.5\" is not a whole number\n" },
		{ L "workers = \"\"", "c.conf:4: workers: \"\" is not a whole number\n" },
		{ L "workers = 257", "c.conf:4: workers = 257 is out of range: from 0 to 256\n" },
		{ L "workers = 99999999999999999999", "c.conf:4: workers: \"99999999999999999999\" is not a whole number\n" },
		{ L "workers = {1, 2}", "c.conf:4: workers takes one value, not a list\n" },
		{ L "log_connections = maybe", "c.conf:4: log_connections: \"maybe\" is none of false, true, off, on, no or yes\n" },
		{ L "log_level = warning",
		  "c.conf:4: log_level: \"warning\" is none of debug, info, warn or error; did you mean \"warn\"?\n" },
		{ L "log_format = xml", "c.conf:4: log_format: \"xml\" is none of kv or json\n" },
		{ L "pool { mode = transction }",
		  "c.conf:4: mode: \"transction\" is none of session, transaction or statement; did you mean \"transaction\"?\n" },
		{ L "pool { mode = \"\" }", "c.conf:4: mode: \"\" is none of session, transaction or statement\n" },
		{ L "pool { connect_timeout = 5 }", "c.conf:4: connect_timeout = 5 lacks its unit: us, ms, s, min, h or d\n" },
		{ L "pool { connect_timeout = 5m }", "c.conf:4: connect_timeout: \"5m\" is not a duration: a whole number with us, ms, "
		                                     "s, min, h or d, as in 200ms or 5min\n" },
		{ L "pool { connect_timeout = 500us }", "c.conf:4: connect_timeout = 500us is out of range: from 1ms to 1h\n" },
		{ L "pool { connect_timeout = 0 }", "c.conf:4: connect_timeout = 0 is out of range: from 1ms to 1h\n" },
		{ L "pool { connect_timeout = 99999999999d }",
		  "c.conf:4: connect_timeout = 99999999999d is out of range: from 1ms to 1h\n" },
		{ L "statement_cache = 10mb",
		  "c.conf:4: statement_cache: \"10mb\" is not a size: a whole number with B, kB, MB or GB, as in 10MB\n" },
		{ L "statement_cache = 1048576", "c.conf:4: statement_cache = 1048576 lacks its unit: B, kB, MB or GB\n" },
		{ L "statement_cache = 2GB", "c.conf:4: statement_cache = 2GB is out of range: from 64kB to 1GB\n" },
		{ L "log_routes = 1.5", "c.conf:4: log_routes = 1.5 is out of range: from 0 to 1\n" },
		{ L "log_routes = 0.0000001",
		  "c.conf:4: log_routes: \"0.0000001\" is not a share: a number from 0 to 1, as in 0.01\n" },
		{ L "log_routes = 1.", "c.conf:4: log_routes: \"1.\" is not a share: a number from 0 to 1, as in 0.01\n" },
		{ L "log_routes = \"1%\"", "c.conf:4: log_routes: \"1%\" is not a share: a number from 0 to 1, as in 0.01\n" },
		{ L "listen { unix_socket_mode = 770 }",
		  "c.conf:4: unix_socket_mode: \"770\" is not an octal number that begins with 0, as in 0770\n" },
		{ L "listen { unix_socket_mode = 0778 }",
		  "c.conf:4: unix_socket_mode: \"0778\" is not an octal number that begins with 0, as in 0770\n" },
		{ L "listen { unix_socket_mode = 01777 }", "c.conf:4: unix_socket_mode = 01777 is out of range: from 00 to 0777\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void combinations(void **state)
{
#define A "auth { hba_file = rules }\n"
#define D "database \"*\" {}\n"
	static const struct bad table[] = {
		{ L "listen { address = {} }", "c.conf:4: nobody could connect: set address or unix_socket_dir in the block listen\n" },
		{ L "listen { address = \"\" }", "c.conf:4: address has an empty entry; * is for all, and address = {} for none\n" },
		{ L "listen { unix_socket_dir = "
		    "\"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" }",
		  "c.conf:4: the path of the unix socket would be longer than 107 bytes: choose a shorter unix_socket_dir\n" },
		{ "", "nobody could log in: name a file of rules as hba_file in the block auth; one line is enough: local all all "
		      "scram-sha-256\n"
		      "there is no cluster to serve: add cluster \"main\" { node \"pg1\" { host = \"…\" } }\n"
		      "there is no database that a client could ask for: add database \"*\" {} for all of them\n" },
		{ "\nauth {\n}\ncluster c { node n { host = h } }\n" D,
		  "c.conf:2: nobody could log in: name a file of rules as hba_file in the block auth; one line is enough: local all all "
		  "scram-sha-256\n" },
		{ A D "cluster c {}", "c.conf:3: the cluster c has no node: add node \"name\" { host = \"…\" }\n" },
		{ A D "cluster c {\n node n {}\n}", "c.conf:4: the node n lacks its host\n" },
		{ A D "cluster c {\n node n { host = {a} }\n}", "c.conf:4: host takes one value, not a list\n" },
		{ A D "cluster c {\n node a { host = h }\n node b { host = g }\n}",
		  "c.conf:3: the cluster c has 2 nodes, so somebody must ask them who is primary: set service_user\n" },
		{ A D "cluster c {\n node a { host = h }\n node b { host = h }\n service_user = s }",
		  "c.conf:5: the node b has the host and port of the node a: one server cannot stand twice in a cluster\n" },
		{ A D "cluster c { node a { host = h }\n service_password = hush }",
		  "c.conf:4: service_password has no effect without service_user: set both or none\n" },
		{ L "database app { cluster = mian }", "c.conf:4: there is no cluster mian; did you mean main?\n" },
		{ L "cluster other { node a { host = h } }\ndatabase app { cluster = other }",
		  "c.conf:3: there are 2 clusters: say which one serves the database *, as in cluster = \"main\"\n" },
		{ L "pool { size = 3\n min_size = 4 }", "c.conf:5: min_size = 4 is more than size = 3\n" },
		{ L "database app { pool_size = 3 min_pool_size = 4 }", "c.conf:4: min_pool_size = 4 is more than the pool's size, 3\n" },
		{ L "database app { pool_size = 0 }", "c.conf:4: pool_size = 0 would let every statement wait for ever: give at least 1, "
		                                      "or -1 for what the pool block has\n" },
		{ L "limits { max_message_size = 1kB }",
		  "c.conf:4: max_message_size must be 0 or at least 10kB: what the protocol itself needs must pass\n" },
		{ L "user \"*\" { }", "c.conf:4: \"*\" is no user: what holds for all stands in the blocks pool and limits\n" },
		{ "auth { hba_file = none }\ncluster c { node n { host = h } }\n" D,
		  "c.conf:1: hba_file: cannot open none: No such file or directory\n" },
		{ L "pool { reserve_timeout = 2h }", "c.conf:4: reserve_timeout = 2h is out of range: from 0 to 1h\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void redirects(void **state)
{
#define R                                                                                                                       \
	"auth { hba_file = rules }\ndatabase \"*\" {}\ncluster c {\n service_user = u\n node a { host = x }\n node bee { host = y " \
	"}\n"
	static const struct bad table[] = {
		{ L "redirect r { to = primary }", "c.conf:4: a redirect block stands inside a cluster block, not at top level\n" },
		{ R "redirect { to = primary }\n}", "c.conf:7: a redirect block needs a name: redirect \"name\" { … }\n" },
		{ R "redirekt r { to = primary }\n}", "c.conf:7: there is no redirekt in the block cluster; did you mean redirect?\n" },
		{ R "redirect r { to = primary }\nredirect r { to = any }\n}",
		  "c.conf:8: redirect \"r\" is already set at c.conf:7; leave one of them out\n" },
		{ R "redirect r { application = x }\n}",
		  "c.conf:7: the redirect r lacks where to: set to = primary, standby, any or the name of a node\n" },
		{ R "redirect r {\n to = { a, be }\n}\n}",
		  "c.conf:8: to: there is no node be in the cluster c, and it is none of primary, "
		  "standby and any; did you mean bee?\n" },
		{ R "redirect r { to = standbys }\n}", "c.conf:7: to: there is no node standbys in the cluster c, and it is none of "
		                                       "primary, standby and any; did you mean standby?\n" },
		{ R "redirect r { to = a share = 101 }\n}", "c.conf:7: share = 101 is out of range: from 0 to 100\n" },
		{ R "redirect r { to = a users = x }\n}", "c.conf:7: there is no users in the block redirect; did you mean user?\n" },
		{ R "read_write_split = false\nredirect r { to = a }\n}",
		  "c.conf:7: redirects have no effect without read_write_split: all statements run on the primary\n" },
		{ R "read_your_writes = always\n}", "c.conf:7: read_your_writes: \"always\" is none of off, session or cluster\n" },
		{ R "balance_scope = sesion\n}",
		  "c.conf:7: balance_scope: \"sesion\" is none of statement or session; did you mean \"session\"?\n" },
	};
	expect(table, ARRAY_LEN(table));
}

static void all_errors_are_told_at_once(void **state)
{
	static const struct bad table[] = {
		{ "worker = 1\nlog_level = loud\nlisten { port = 70000 adress = x }\n= \nauth { hba_file = bad users_file = badusers }\n"
		  "cluster a {}\ncluster a {}\nworkers = 3\n",
		  "c.conf:4: here comes the name of a setting or a block, a word without quotes\n"
		  "c.conf:1: there is no worker at top level; did you mean workers?\n"
		  "c.conf:2: log_level: \"loud\" is none of debug, info, warn or error\n"
		  "c.conf:3: port = 70000 is out of range: from 0 to 65535\n"
		  "c.conf:3: there is no adress in the block listen; did you mean address?\n"
		  "c.conf:7: cluster \"a\" is already set at c.conf:6; leave one of them out\n"
		  "c.conf:6: the cluster a has no node: add node \"name\" { host = \"…\" }\n"
		  "there is no database that a client could ask for: add database \"*\" {} for all of them\n"
		  "bad:2: there is no method md6; did you mean md5?\n"
		  "badusers:1: a line is \"name\" \"secret\", each in double quotes; a quote inside is written twice\n" },
	};
	confdir_write(&dir, "bad", "local all all trust\nlocal all all md6\n");
	confdir_write(&dir, "badusers", "app secret\n");
	expect(table, ARRAY_LEN(table));
}

static void a_name_stands_once_in_all_files(void **state)
{
	confdir_write(&dir, "1.conf", L "pool {}\nuser a {}\nworkers = 1\n");
	confdir_write(&dir, "2.conf", "workers = 1\npool {}\n\nuser a {}\n");
	assert_null(confdir_load(&dir, NULL));
	assert_string_equal(dir.told, "2.conf:1: workers is already set at 1.conf:6; leave one of them out\n"
	                              "2.conf:2: pool is already set at 1.conf:4; leave one of them out\n"
	                              "2.conf:4: user \"a\" is already set at 1.conf:5; leave one of them out\n");
}

static void what_cannot_be_read_is_said(void **state)
{
	assert_null(confdir_load(&dir, "none.conf"));
	assert_string_equal(dir.told, "cannot open none.conf: No such file or directory\n");
	assert_null(confdir_load(&dir, NULL));
	assert_string_equal(dir.told, "the folder  holds no *.conf; lunapool --docs sample BLOCK prints one to begin with\n");
	struct conf_errors e = { 0 };
	assert_null(conf_load("/dev/zero", &e));
	assert_string_equal(e.at[0].text, "/dev/zero is not a regular file");
	conf_errors_fini(&e);
}

static void a_thousand_errors_are_a_hundred_and_a_word(void **state)
{
	char text[12001] = "";
	for (unsigned i = 0; i < 1000; i++)
		strcpy(text + 12 * i, "unknown = 1\n");
	confdir_write(&dir, "c.conf", text);
	char path[128];
	snprintf(path, sizeof path, "%s/c.conf", dir.path);
	struct conf_errors e = { 0 };
	assert_null(conf_load(path, &e));
	assert_int_equal(e.n, 101);
	assert_string_equal(e.at[100].text, "and more errors, which are not listed");
	conf_errors_fini(&e);
}

static void no_error_quotes_a_secret(void **state)
{
	setenv("CONF_TEST_PASSWORD", "hush", 1);
	confdir_write(&dir, "users",
	              "\"a\" \"hush\" \"hush\"\n\"b\" hush\n\"c\" \"hush\n\"d\" \"SCRAM-SHA-256$hush\"\n"
	              "\"e\" \"SCRAM-SHA-256$hush\"\n");
	assert_null(confdir_text(&dir, "auth { hba_file = rules users_file = users }\ncluster c { node a { host = x }\n"
	                               "service_password = \"${CONF_TEST_PASSWORD}\"\nservice_password = {hush, \"hush\"}\n"
	                               "service_password = hush hush\nservice_password hush\n}"));
	assert_non_null(strstr(dir.told, "service_password"));
	assert_non_null(strstr(dir.told, "one word"));
	assert_null(strstr(dir.told, "hush"));
	assert_null(strstr(dir.told, "aaaa"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(redirects, setup, teardown),
		cmocka_unit_test_setup_teardown(repetitions, setup, teardown),
		cmocka_unit_test_setup_teardown(syntax, setup, teardown),
		cmocka_unit_test_setup_teardown(variables, setup, teardown),
		cmocka_unit_test_setup_teardown(values, setup, teardown),
		cmocka_unit_test_setup_teardown(combinations, setup, teardown),
		cmocka_unit_test_setup_teardown(all_errors_are_told_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_stands_once_in_all_files, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(a_thousand_errors_are_a_hundred_and_a_word, setup, teardown),
		cmocka_unit_test_setup_teardown(no_error_quotes_a_secret, setup, teardown),
	};
	return UNIT_RUN(tests);
}
