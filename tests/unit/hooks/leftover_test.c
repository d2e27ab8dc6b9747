/* leftover: what works at a node is seen by whoever comes later, as long as it runs, and by nobody else. */
#include "../../../src/hooks/leftover.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "unit.h"

static char dir[64], name[64];
static const struct leftover_of at_a = { "main", "a", 1, 60000000 }, other_run = { "main", "a", 2, 60000000 };
static const struct leftover_of at_b = { "main", "b", 2, 60000000 }, elsewhere = { "mai", "na", 2, 60000000 };

static int set_up(void **state)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	snprintf(dir, sizeof dir, "/tmp/lpleftover.%d", (int)getpid());
	for (const char *c = dir;; c++) {
		h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
		if (!*c)
			break;
	}
	snprintf(name, sizeof name, "/lunapool.%u.%016llx", (unsigned)geteuid(), (unsigned long long)h);
	shm_unlink(name);
	return 0;
}

static int tear_down(void **state)
{
	shm_unlink(name);
	return 0;
}

/* Waits until it is killed, with ENTRY in its environment. */
static pid_t start(const char *entry)
{
	int ready[2];
	char byte;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		char *env[] = { (char *)(uintptr_t)entry, NULL };
		execle("/bin/sleep", "sleep", "1000", NULL, env);
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* the end: exec has closed it */
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void it_is_in_the_way_of_other_runs_while_it_runs(void **state)
{
	struct leftovers *one = leftovers_new(dir);
	const char *entry = leftover_begin(one, &at_a);
	assert_int_equal(leftovers_at(one, &at_a), 0);
	assert_int_equal(leftovers_at(one, &other_run), -1);
	leftover_started(one, entry, getpid());
	assert_int_equal(leftovers_at(one, &at_a), 0);
	assert_int_equal(leftovers_at(one, &other_run), getpid());
	assert_int_equal(leftovers_at(one, &at_b), 0);
	assert_int_equal(leftovers_at(one, &elsewhere), 0);
	leftover_ended(one, entry);
	assert_int_equal(leftovers_at(one, &other_run), 0);
	leftovers_free(one);
}

static void who_comes_later_sees_it_until_it_has_ended(void **state)
{
	struct leftovers *one = leftovers_new(dir);
	const char *entry = leftover_begin(one, &at_a);
	pid_t pid = start(entry);
	leftover_started(one, entry, pid);
	struct leftovers *two = leftovers_new(dir);
	assert_int_equal(leftovers_at(two, &at_a), pid); /* it has runs of its own */
	assert_int_equal(leftovers_at(two, &at_b), 0);
	kill(pid, SIGKILL);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(leftovers_at(two, &at_a), 0); /* nothing is left but its status */
	waitpid(pid, NULL, 0);
	const char *mine = leftover_begin(two, &at_a);
	leftover_ended(one, entry); /* whose place it was */
	assert_int_equal(leftovers_at(two, &other_run), -1);
	leftover_ended(two, mine);
	leftovers_free(one);
	leftovers_free(two);
}

static void one_whose_number_was_not_noted_is_found(void **state)
{
	struct leftovers *one = leftovers_new(dir);
	pid_t pid = start(leftover_begin(one, &at_a));
	leftovers_free(one);
	struct leftovers *two = leftovers_new(dir);
	assert_int_equal(leftovers_at(two, &at_a), -1);
	end(pid);
	assert_int_equal(leftovers_at(two, &at_a), 0);
	leftovers_free(two);
}

static void one_that_should_be_over_is_killed(void **state)
{
	const struct leftover_of brief = { "main", "a", 1, (uint64_t)-11000000 }; /* 1 s ago */
	struct leftovers *one = leftovers_new(dir);
	const char *entry = leftover_begin(one, &brief);
	int status;
	pid_t pid = start(entry);
	leftover_started(one, entry, pid);
	leftovers_free(one);
	struct leftovers *two = leftovers_new(dir);
	assert_int_equal(leftovers_at(two, &at_a), pid);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(leftovers_at(two, &at_a), 0);
	leftovers_free(two);
}

static void what_is_not_ours_is_not_used(void **state)
{
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	fchmod(fd, 0666);
	close(fd);
	struct leftovers *one = leftovers_new(dir), *two = leftovers_new(dir);
	const char *entry = leftover_begin(one, &at_a);
	assert_int_equal(leftovers_at(one, &other_run), -1);
	assert_int_equal(leftovers_at(two, &other_run), 0);
	leftover_ended(one, entry);
	leftovers_free(one);
	leftovers_free(two);
}

static void an_end_in_order_leaves_nothing(void **state)
{
	struct leftovers *one = leftovers_new(dir);
	const char *entry = leftover_begin(one, &at_a);
	leftover_ended(one, entry);
	leftovers_resign(one);
	leftovers_free(one);
	assert_return_code(shm_unlink(name), 0); /* a successor's */
	one = leftovers_new(dir);
	leftovers_free(one);
	assert_int_equal(shm_unlink(name), -1);
}

static void they_are_bounded(void **state)
{
	struct leftovers *one = leftovers_new("");
	const char *entry = NULL, *last = NULL;
	unsigned n = 0;
	while ((entry = leftover_begin(one, &at_a))) {
		last = entry;
		n++;
	}
	assert_int_equal(n, 256);
	leftover_ended(one, last);
	assert_ptr_equal(leftover_begin(one, &at_b), last);
	leftovers_free(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_in_the_way_of_other_runs_while_it_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_comes_later_sees_it_until_it_has_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_whose_number_was_not_noted_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_should_be_over_is_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_ours_is_not_used, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_in_order_leaves_nothing, set_up, tear_down),
		cmocka_unit_test(they_are_bounded),
	};
	hash_init();
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return UNIT_RUN(tests);
}
