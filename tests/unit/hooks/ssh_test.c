/* lp.ssh(), with a program in ssh's place that runs here what it was told to run there; and Pgpool-II's letters. */
#include <sys/stat.h>

#include "hooksrig.h"

static struct hooksrig rig;

/* Says what it was called with, but for the last word, which a shell reads, as sshd has it. */
static const char fake_ssh[] = "#!/bin/sh\n"
                               "while [ $# -gt 1 ]; do printf '[%s]' \"$1\"; shift; done\n"
                               "[ \"$1\" = \"'lost'\" ] && { echo 'no route' >&2; exit 255; }\n"
                               "echo; exec sh -c \"$1\"\n";

static int open_rig(void **state)
{
	char path[300], program[200];
	hooksrig_open(&rig);
	confdir_write(&rig.policy.dir, "ssh", fake_ssh);
	snprintf(program, sizeof program, "%s/ssh", rig.policy.dir.path);
	chmod(program, 0755);
	snprintf(path, sizeof path, "%s:/usr/bin:/bin", rig.policy.dir.path);
	setenv("PATH", path, 1);
	hooksrig_configure(
	    &rig,
	    "listen { port = 0 }\nauth { hba_file = \"rules\" }\n"
	    "cluster \"main\" {\n  service_user = \"probe\"  policy = \"main.lua\"  ssh_user = \"postgres\"  ssh_options = "
	    "{ \"-i\", \"/key\" }\n"
	    "  node \"pg1\" { host = \"h1\" data_dir = \"/data/one\" }\n  node \"pg2\" { host = \"h2\" ssh_host = "
	    "\"manage2\" data_dir = \"/data/two\" }\n"
	    "  node \"pg3\" { host = \"h3\" ssh_host = local }\n  node \"pg4\" { host = \"/run/postgresql\" }\n}\n"
	    "database \"*\" { cluster = \"main\" }\n",
	    0);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	return 0;
}

#define SAYS(body, expected) assert_string_equal(hooksrig_run(&rig, body), expected)

static void words_arrive_as_they_are(void **state)
{
	SAYS("return lp.ssh(cluster:node('pg1'), { 'printf', '<%s>', \"it's $HOME; `x` \\\\ *\", '', 'b' })",
	     "[-T][-o][BatchMode=yes][-o][ConnectTimeout=10][-i][/key][-l][postgres][--][h1]\n<it's $HOME; `x` \\ *><><b>");
	SAYS("return lp.ssh(cluster:node('pg2'), { 'echo' }):match('manage2')", "manage2");
	SAYS("return lp.ssh(cluster:node('pg3'), { 'echo', \"it's\" })", "it's");
}

static void what_fails_there_is_told_apart_from_not_getting_there(void **state)
{
	SAYS("local ok, err = lp.ssh(cluster:node('pg1'), { 'sh', '-c', 'exit 3' }) return err.kind .. ' ' .. err.status .. ' ' .. "
	     "err.message",
	     "exit 3 sh at pg1 ended with status 3: [-T][-o][BatchMode=yes][-o][ConnectTimeout=10][-i][/key][-l][postgres][--][h1]");
	SAYS("local ok, err = lp.ssh(cluster:node('pg1'), { 'lost' }) return err.kind .. ': ' .. err.message:match('[^]]*$')",
	     "connect: no route");
	SAYS("return lp.ssh(cluster:node('pg4'), { 'true' })",
	     "error: ssh does not know where pg4 is, which has the directory of a socket for a host: set ssh_host");
	SAYS("lp.stop(cluster:node('pg3'))", "error: main.lua:1: node pg3 has no data_dir in the configuration");
}

static void letters_of_pgpool_are_filled_in(void **state)
{
	SAYS("local op = { cluster = cluster, old_primary = cluster:node('pg1'), node = cluster:node('pg2') } "
	     "return lp.compat.escapes(op, '%d %h %p %D %m %H %M %P %r %R %N %S %% %x')",
	     "'0' 'h1' '5432' '/data/one' '1' 'h2' '0' '0' '5432' '/data/two' 'h1' '5432' % ");
	SAYS("local op = { cluster = cluster, old_primary = cluster:node('pg1'), node = cluster:node('pg3'), primary = "
	     "cluster:node('pg2') } "
	     "return lp.compat.escapes(op, '%d %h %D %m %H %P')",
	     "'2' 'h3' '' '1' 'h2' '0'");
	SAYS("return lp.compat.escapes({ cluster = cluster }, '%d%h%P')", "'-1''''-1'");
	SAYS("lp.compat.x = 1", "error: main.lua:1: modules do not change");
}

static void nodes_tell_how_they_are_reached(void **state)
{
	SAYS("return cluster:node('pg4').conninfo .. ' ' .. cluster:node('pg1').data_dir",
	     "host='/run/postgresql' user='probe' dbname='postgres' port=5432 /data/one");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(words_arrive_as_they_are),
		UNIT(what_fails_there_is_told_apart_from_not_getting_there),
		UNIT(letters_of_pgpool_are_filled_in),
		UNIT(nodes_tell_how_they_are_reached),
	};
	return UNIT_RUN(tests);
}
