/* Programs as actions, good and bad: what they write, how they end, what becomes of those that will not. */
#include <signal.h>
#include <unistd.h>

#include "hooksrig.h"

static struct hooksrig rig;

static int open_rig(void **state)
{
	hooksrig_open(&rig);
	return 0;
}

static int close_rig(void **state)
{
	hooksrig_close(&rig);
	return 0;
}

#define SAYS(body, expected) assert_string_equal(hooksrig_run(&rig, body), expected)

static void what_it_writes_is_the_value(void **state)
{
	SAYS("return lp.exec { 'echo', 'a b', 'c' }", "a b c");
	SAYS("local out = lp.exec { 'sh', '-c', 'echo one; echo two >&2' } lp.log(out)", "one\ntwo");
	SAYS("return lp.exec({ 'cat' }, { input = 'what it reads' })", "what it reads");
	SAYS("return lp.exec { 'cat' } == ''", "");
	SAYS("return lp.exec({ 'sh', '-c', 'echo $WHO $PWD' }, { env = { WHO = 'me', MORE = 1 }, cwd = '/' })", "me /");
}

static void how_it_ends_is_told(void **state)
{
	SAYS("local ok, err = lp.exec { 'sh', '-c', 'echo because; exit 3' } return err.kind .. ' ' .. err.status .. ' ' .. "
	     "tostring(err) .. ' ' .. err.output",
	     "exit 3 sh ended with status 3: because because");
	SAYS("return lp.exec { 'sh', '-c', 'echo because; exit 3' }", "because\nerror: sh ended with status 3: because");
	SAYS("local ok, err = lp.exec { 'sh', '-c', 'kill -9 $$' } return err.kind .. ' ' .. err.status", "signal 9");
	SAYS("local ok, err = lp.exec { '/nowhere/at/all' } return err.kind .. ': ' .. err.message",
	     "start: cannot run /nowhere/at/all: No such file or directory");
}

static void wrong_use_is_an_error_with_its_line(void **state)
{
	SAYS("lp.exec('ls')", "error: main.lua:1: bad argument #1 to 'exec' (table expected, got string)");
	SAYS("lp.exec({})", "error: main.lua:1: bad argument #1 to 'exec' (a program and its arguments, at most 500)");
	SAYS("lp.exec({ 'ls' }, { tiemout = 1 })", "error: main.lua:1: there is no option tiemout");
	SAYS("lp.exec({ 'ls' }, { timeout = -1 })", "error: main.lua:1: timeout is from 0.001 to 604800");
	SAYS("lp.exec({ 'l\\0s' })", "error: main.lua:1: argument 0 is no text, or has a zero byte");
	SAYS("('x'):gsub('x', function() lp.sleep(0) end)",
	     "error: main.lua:1: an action cannot wait inside a function of the library that calls back");
}

static void of_much_output_the_first_and_the_last_are_kept(void **state)
{
	SAYS("local out = lp.exec({ 'sh', '-c', 'head -c 100000000 /dev/zero | tr \"\\\\0\" x; echo END' }, { output = 1000 }) "
	     "return #out < 1100 and out:sub(1, 3) .. out:match('\\n[^\\n]*\\n') .. out:sub(-4)",
	     "xxx\n… 99999004 bytes are left out …\nEND");
	SAYS("return #lp.exec({ 'head', '-c', '65536', '/dev/zero' })", "");
	SAYS("lp.log(tostring(#lp.exec({ 'head', '-c', '65537', '/dev/zero' })))", "65566");
	SAYS("lp.log(tostring(#lp.exec({ 'head', '-c', '65536', '/dev/zero' })))", "65536");
}

static bool is_dead(void *arg)
{
	return kill(*(pid_t *)arg, 0) < 0;
}

static pid_t pid_in(const char *text)
{
	const char *digits = text + strcspn(text, "0123456789");
	assert_true(*digits);
	return (pid_t)atol(digits);
}

static void at_its_deadline_all_of_it_is_ended(void **state)
{
	const char *said =
	    hooksrig_run(&rig, "local ok, err = lp.exec({ 'sh', '-c', 'sleep 1000 & echo $!; wait' }, { timeout = 0.2 }) "
	                       "return err.output .. err.kind .. ': ' .. err.message");
	pid_t pid = pid_in(said);
	assert_non_null(strstr(said, "timeout: sh was stopped after 0.2 s"));
	run_until(rig.loop, is_dead, &pid);
}

static void who_ignores_sigterm_is_killed(void **state)
{
	const char *said =
	    hooksrig_run(&rig, "local ok, err = lp.exec({ 'sh', '-c', 'trap \"\" TERM; echo $$; while :; do sleep 1; done' }, "
	                       "{ timeout = 0.2 }) return err.output .. err.kind");
	pid_t pid = pid_in(said);
	assert_non_null(strstr(said, "timeout"));
	run_until(rig.loop, is_dead, &pid);
}

/* A shell that heeds SIGTERM, and a child of it that does not. */
static void nobody_of_the_group_is_left(void **state)
{
	const char *said = hooksrig_run(&rig, "local ok, err = lp.exec({ 'sh', '-c', 'sh -c \"trap \\\\\"\\\\\" TERM; echo "
	                                      "\\\\$\\\\$; while :; do sleep 1; done\" & wait' }, "
	                                      "{ timeout = 0.3 }) return err.output .. err.kind");
	pid_t pid = pid_in(said);
	run_until(rig.loop, is_dead, &pid);
}

static void a_daemon_that_it_leaves_does_not_keep_us(void **state)
{
	const char *said = hooksrig_run(&rig, "return lp.exec({ 'sh', '-c', 'sleep 1000 & echo $!' }, { timeout = 20 })");
	pid_t pid = pid_in(said);
	assert_true(rig.was_good);
	assert_int_equal(kill(pid, 0), 0); /* nor do we end it */
	assert_int_equal(kill(pid, SIGKILL), 0);
}

static void it_has_nothing_of_ours(void **state)
{
	setenv("LUNAPOOL_PASSWORD", "secret", 1);
	setenv("LC_TIME", "C", 1);
	SAYS("return lp.exec { 'sh', '-c', 'echo pw=$LUNAPOOL_PASSWORD time=$LC_TIME; ls /proc/self/fd | tr \"\\\\n\" \" \"' }",
	     "pw= time=C\n0 1 2 3 ");
	SAYS("return lp.exec { 'sh', '-c', 'trap' }", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_it_writes_is_the_value, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(how_it_ends_is_told, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(wrong_use_is_an_error_with_its_line, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(of_much_output_the_first_and_the_last_are_kept, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(at_its_deadline_all_of_it_is_ended, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(who_ignores_sigterm_is_killed, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(nobody_of_the_group_is_left, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(a_daemon_that_it_leaves_does_not_keep_us, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(it_has_nothing_of_ours, open_rig, close_rig),
	};
	return UNIT_RUN(tests);
}
