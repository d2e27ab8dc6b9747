/* journal: what was committed is there again; a folder has one owner; what is torn, empty or of another cluster is set aside; a full disk loses. */
#include "ha/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "unitloop.h"

static char dir[64], path[128];
static struct loop *loop;
static struct mailbox mailbox;
static struct record record;

struct answer {
	bool is_there;
	enum record_fate fate;
	struct err err;
};

static void on_done(void *arg, enum record_fate fate, const struct err *err)
{
	struct answer *a = arg;
	assert_false(a->is_there);
	a->is_there = true;
	a->fate = fate;
	if (err)
		a->err = *err;
}

static struct journal *open_journal(void)
{
	struct err err;
	struct journal *j = journal_open(dir, &mailbox, &err);
	assert_non_null(j);
	return j;
}

static struct answer propose(struct journal *j, uint64_t expected)
{
	struct answer a = { 0 };
	record_propose(j, expected, &record, on_done, &a);
	assert_false(a.is_there);
	run_until(loop, is_flag_set, &a.is_there);
	return a;
}

static int set_up(void **state)
{
	strcpy(dir, "/tmp/lpjournalXXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/a%%2fb.record", dir);
	loop = loop_new(false);
	mailbox_open(&mailbox, loop, NULL);
	record = (struct record){ .cluster = "a/b", .epoch = 1, .primary = "pg1", .timeline = 4 };
	return 0;
}

static int tear_down(void **state)
{
	char command[200];
	mailbox_close(&mailbox);
	loop_free(loop);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static void what_was_committed_is_there_again(void **state)
{
	struct err err;
	struct record again;
	struct journal *j = open_journal();
	assert_int_equal(journal_load(j, "a/b", &again, &err), JOURNAL_NONE);
	assert_string_equal(again.cluster, "a/b");
	assert_int_equal(propose(j, 0).fate, RECORD_COMMITTED);
	record.timeline = 5;
	assert_int_equal(propose(j, 1).fate, RECORD_COMMITTED);
	record.epoch = 2;
	struct answer refused = propose(j, 0);
	assert_int_equal(refused.fate, RECORD_REFUSED);
	assert_string_equal(refused.err.text, "epoch 1 is recorded, not 0");
	journal_close(j);
	j = open_journal();
	assert_int_equal(journal_load(j, "a/b", &again, &err), JOURNAL_FOUND);
	assert_int_equal(again.timeline, 5);
	assert_int_equal(again.epoch, 1);
	assert_int_equal(propose(j, 1).fate, RECORD_COMMITTED);
	journal_close(j);
}

static void a_folder_has_one_owner(void **state)
{
	struct err err;
	struct journal *j = open_journal();
	assert_null(journal_open(dir, &mailbox, &err));
	assert_non_null(strstr(err.text, "in use by another process"));
	journal_close(j);
	journal_close(open_journal());
	chmod(dir, 0777);
	assert_null(journal_open(dir, &mailbox, &err));
	assert_non_null(strstr(err.text, "nobody else may write"));
	chmod(dir, 0700);
}

static void put_file(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void expect_damaged(const char *why)
{
	struct err err;
	struct record again;
	char aside[160];
	struct journal *j = open_journal();
	assert_int_equal(journal_load(j, "a/b", &again, &err), JOURNAL_DAMAGED);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(again.epoch, 0);
	snprintf(aside, sizeof aside, "%s.damaged", path);
	assert_int_equal(access(aside, F_OK), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(propose(j, 0).fate, RECORD_COMMITTED);
	journal_close(j);
}

static void what_is_damaged_is_set_aside(void **state)
{
	static char text[RECORD_TEXT_MAX];
	size_t len = record_write(&record, text);
	put_file("", 0);
	expect_damaged("empty");
	put_file(text, len / 2);
	expect_damaged("cut off");
	snprintf(record.cluster, sizeof record.cluster, "other");
	len = record_write(&record, text);
	snprintf(record.cluster, sizeof record.cluster, "a/b");
	put_file(text, len);
	expect_damaged("of the cluster other");
}

static void what_is_strange_stays(void **state)
{
	static char text[RECORD_TEXT_MAX], still[RECORD_TEXT_MAX];
	struct err err;
	struct record again;
	size_t len = record_write(&record, text) - strlen("end 00000000\n");
	text[strlen("lunapool record ")] = '2';
	len += (size_t)sprintf(text + len, "end %08x\n", record_sum(slice_of(text, len)));
	put_file(text, len);
	struct journal *j = open_journal();
	assert_true(journal_knows(j, "another", &err));
	assert_false(journal_knows(j, "a/b", &err));
	assert_non_null(strstr(err.text, "a%2fb.record is from another version of Lunapool: line 1: it is of version 2"));
	assert_int_equal(journal_load(j, "a/b", &again, &err), JOURNAL_STRANGE);
	assert_int_equal(again.epoch, 0);
	struct answer a = propose(j, 0);
	assert_int_equal(a.fate, RECORD_LOST);
	assert_non_null(strstr(a.err.text, "is left as it is"));
	journal_close(j);
	int fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, still, sizeof still), len);
	close(fd);
	assert_memory_equal(still, text, len);
}

static void what_cannot_be_written_is_lost(void **state)
{
	char in_the_way[160];
	struct journal *j = open_journal();
	snprintf(in_the_way, sizeof in_the_way, "%s.new", path);
	assert_int_equal(mkdir(in_the_way, 0700), 0);
	struct answer a = propose(j, 0);
	assert_int_equal(a.fate, RECORD_LOST);
	assert_non_null(strstr(a.err.text, "cannot create"));
	assert_int_equal(rmdir(in_the_way), 0);
	assert_int_equal(propose(j, 0).fate, RECORD_COMMITTED);
	journal_close(j);
}

static void who_has_gone_is_not_called(void **state)
{
	struct answer gone = { 0 };
	struct journal *j = open_journal();
	record_propose(j, 0, &record, on_done, &gone);
	journal_forget(j, &gone);
	assert_int_equal(propose(j, 0).fate, RECORD_COMMITTED);
	record_propose(j, 1, &record, on_done, &gone);
	journal_close(j);
	run_turns(loop, 5);
	assert_false(gone.is_there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_committed_is_there_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_folder_has_one_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_damaged_is_set_aside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_strange_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_written_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_has_gone_is_not_called, set_up, tear_down),
	};
	hash_init();
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return UNIT_RUN(tests);
}
