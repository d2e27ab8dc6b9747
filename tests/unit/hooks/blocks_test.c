/* lp.stop, start_standby, rewind and rebuild, at real servers: an old primary that has more than the new one becomes its standby. */
#include <sys/stat.h>

#include "hooksrig.h"
#include "pgserver.h"

static struct hooksrig rig;
static struct pgdir dir;
static struct pgserver old, new;

/* In ssh's place: runs here what it was told to run there, as PostgreSQL's user. */
static const char fake_ssh[] = "#!/bin/sh\n"
                               "while [ $# -gt 1 ]; do shift; done\n"
                               "[ $(id -u) = 0 ] || exec sh -c \"$1\"\n"
                               "exec setpriv --reuid=postgres --regid=postgres --clear-groups sh -c \"cd /; $1\"\n";

static void add_setting(const char *data, const char *line)
{
	char path[100];
	snprintf(path, sizeof path, "%s/postgresql.conf", data);
	FILE *f = fopen(path, "a");
	assert_non_null(f);
	fprintf(f, "%s\n", line);
	fclose(f);
}

static void use_fake_ssh(void)
{
	char program[200], path[300];
	confdir_write(&rig.policy.dir, "ssh", fake_ssh);
	snprintf(program, sizeof program, "%s/ssh", rig.policy.dir.path);
	chmod(program, 0755);
	snprintf(path, sizeof path, "%s:/usr/bin:/bin", rig.policy.dir.path);
	setenv("PATH", path, 1);
}

static void configure(void)
{
	char text[1500];
	snprintf(text, sizeof text,
	         "listen { port = 0 }\nauth { hba_file = \"rules\" }\n"
	         "cluster \"main\" {\n  service_user = \"postgres\"  policy = \"main.lua\" tls = off\n"
	         "  node \"old\" { host = \"%s\" port = %u ssh_host = \"h\" data_dir = \"%s\" bin_dir = \"%s\" }\n"
	         "  node \"new\" { host = \"%s\" port = %u ssh_host = \"h\" data_dir = \"%s\" bin_dir = \"%s\" }\n}\n"
	         "database \"*\" { cluster = \"main\" }\n",
	         dir.path, old.port, old.data, dir.bin, dir.path, new.port, new.data, dir.bin);
	hooksrig_configure(&rig, text, 1);
}

/* The old primary goes on writing when the new one is promoted, and is killed. */
static int open_rig(void **state)
{
	pgdir_init(&dir);
	char data[64];
	snprintf(data, sizeof data, "%s/node0", dir.path);
	add_setting(data, "wal_log_hints = on");
	add_setting(data, "wal_keep_size = 128MB");
	pgserver_start(&old, &dir, 0);
	pgserver_clone(&new, &old, 1);
	pgserver_sql(&new, "select pg_promote()");
	pgserver_sql(&old, "create table only_here ()");
	pgserver_sql(&old, "checkpoint");
	pgserver_stop(&old, SIGQUIT);
	hooksrig_open(&rig);
	use_fake_ssh();
	configure();
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_run(&rig, "lp.stop(cluster:node('old'), { mode = 'immediate' })");
	hooksrig_close(&rig);
	pgserver_stop(&new, SIGQUIT);
	pgdir_fini(&dir);
	return 0;
}

static const char *ran(const char *body)
{
	static char text[3000];
	snprintf(text, sizeof text,
	         "local old, new = cluster:node('old'), cluster:node('new') "
	         "local options = { options = '-k %s -p %u -c listen_addresses= -c fsync=off' } %s",
	         dir.path, old.port, body);
	return hooksrig_run(&rig, text);
}
#define SAYS(body, expected) assert_string_equal(ran(body), expected)

static void who_does_not_run_is_stopped_already(void **state)
{
	SAYS("return lp.stop(old)", "");
	assert_true(rig.was_good);
}

static void what_it_has_alone_is_taken_back(void **state)
{
	SAYS("local ok, err = lp.rewind(old, new) if not ok then return nil, err end return lp.start_standby(old, new, options)", "");
	SAYS("return lp.retry { tries = 300, delay = 0.1 } (function() local rows = lp.sql(new, "
	     "\"select count(*) n from pg_stat_replication where state = 'streaming'\") return rows[1].n == 1 and 'it streams' end)",
	     "it streams");
	SAYS("return '' .. lp.sql(old, \"select count(*) n from pg_class where relname = 'only_here'\")[1].n", "0");
}

static void a_new_copy_takes_its_place(void **state)
{
	SAYS("lp.sql(new, 'create table public.later ()') return lp.rebuild({}, old, new, options)", "");
	SAYS("return '' .. lp.sql(old, \"select count(*) n from pg_class where relname = 'later'\")[1].n", "1");
	SAYS("return lp.ssh(old, { 'ls', '-d', old.data_dir .. '.before' }) and 'kept' or 'gone'", "gone");
}

/* At the old one's machine, with its directory as $1: what the script says. */
static const char *there(const char *script)
{
	static char body[1000];
	snprintf(body, sizeof body, "return (lp.ssh(old, { 'sh', '-c', [[%s]], 'sh', old.data_dir }))", script);
	return ran(body);
}

/* Row 36: whatever happens on the way, what was there last is there. */
static void who_was_there_is_kept_whoever_dies(void **state)
{
	const char *fails = "lp.rebuild({}, old, new, { conninfo = 'host=/nowhere' })";
	const char *does_not_start =
	    "return lp.rebuild({}, old, new, { options = '--no-such-option' }) and 'it runs' or 'it does not run'";
	SAYS("return lp.stop(old)", "");
	assert_string_equal(there("cp -r \"$1\" \"$1.copy\"; echo mine >\"$1/whose\""), "");
	ran(fails);
	assert_string_equal(there("cat \"$1/whose\""), "mine"); /* it died while it copied */
	assert_string_equal(there("mv \"$1\" \"$1.before\""), "");
	ran(fails);
	assert_string_equal(there("cat \"$1/whose\""), "mine"); /* … between two names */
	SAYS(does_not_start, "it does not run");
	assert_string_equal(there("cat \"$1.before/whose\""), "mine");
	SAYS(does_not_start, "it does not run");
	assert_string_equal(there("cat \"$1.before/whose\""), "mine"); /* what never ran does not replace it */
	SAYS("return lp.rebuild({}, old, new, options)", "");
	assert_string_equal(there("cd \"${1%/*}\"; ls | grep '^node0[.]'; ls node0 | grep lunapool; true"), "");
}

/* Row 37. */
static void a_rewind_that_was_cut_off_is_not_started(void **state)
{
	SAYS("return lp.stop(old)", "");
	assert_string_equal(there(": >\"$1.rewinding\""), "");
	SAYS("local ok, err = lp.start_standby(old, new, options) return tostring(err):match('was cut off: it is not started')",
	     "was cut off: it is not started");
	SAYS("local ok, err = lp.rejoin({}, old, new, options) return tostring(err):match('only a new copy helps')",
	     "only a new copy helps");
	assert_non_null(
	    strstr(ran("return lp.rejoin({}, old, new, { options = options.options, rebuild = true })"), "gets a new copy"));
	assert_true(rig.was_good);
	assert_string_equal(there("cd \"${1%/*}\"; ls | grep '^node0[.]'; true"), "");
}

static void a_copy_that_fails_leaves_what_was_there(void **state)
{
	SAYS("local ok, err = lp.rebuild({}, old, new, { conninfo = 'host=/nowhere' }) return err.kind", "exit");
	SAYS("return lp.ssh(old, { 'test', '-f', old.data_dir .. '/PG_VERSION' }) and 'it is there'", "it is there");
	SAYS("return lp.start_standby(old, new, options)", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_does_not_run_is_stopped_already), cmocka_unit_test(what_it_has_alone_is_taken_back),
		cmocka_unit_test(a_new_copy_takes_its_place),          cmocka_unit_test(a_copy_that_fails_leaves_what_was_there),
		cmocka_unit_test(who_was_there_is_kept_whoever_dies),  cmocka_unit_test(a_rewind_that_was_cut_off_is_not_started),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, open_rig, close_rig);
}
