/* The pages and samples in the tree are what the table says now (else: make docs), and the samples mean the defaults. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"
#include "confdir.h"
#include "unit.h"

static char printed[1 << 17], kept[1 << 17];

static void read_all(int fd, char *into, size_t size)
{
	size_t len = 0;
	for (ssize_t n; (n = read(fd, into + len, size - 1 - len)) > 0;)
		len += (size_t)n;
	assert_true(len < size - 1);
	into[len] = '\0';
	close(fd);
}

static void expect_kept(const char *path, int printed_fd)
{
	assert_int_equal(lseek(printed_fd, 0, SEEK_SET), 0);
	read_all(printed_fd, printed, sizeof printed);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		fail_msg("%s is missing: run make docs", path);
	read_all(fd, kept, sizeof kept);
	if (strcmp(printed, kept) != 0)
		fail_msg("%s is not what the table says: run make docs", path);
}

static void the_reference_is_up_to_date(void **state)
{
	int fd = memfd_create("manual", MFD_CLOEXEC);
	conf_print_manual(fd);
	expect_kept("docs/parameters.md", fd);
}

static void the_samples_are_up_to_date(void **state)
{
	static const struct {
		const char *path, *blocks[4];
	} files[] = {
		{ "conf.d/00-listen.conf", { "global", "listen" } },
		{ "conf.d/10-cluster.conf", { "cluster" } },
		{ "conf.d/20-pools.conf", { "pool", "database", "limits" } },
		{ "conf.d/30-auth.conf", { "auth" } },
		{ "conf.d/40-users.conf", { "user" } },
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int fd = memfd_create("sample", MFD_CLOEXEC);
		for (size_t j = 0; files[i].blocks[j]; j++) {
			if (j > 0)
				assert_int_equal(write(fd, "\n", 1), 1);
			assert_true(conf_print_sample(fd, files[i].blocks[j]));
		}
		expect_kept(files[i].path, fd);
	}
	assert_false(conf_print_sample(-1, "nonsense"));
}

static struct conf *load(const char *path)
{
	struct conf_errors e = { 0 };
	struct conf *c = conf_load(path, &e);
	for (size_t i = 0; i < e.n; i++)
		print_error("%s: %s\n", e.at[i].where, e.at[i].text);
	conf_errors_fini(&e);
	assert_non_null(c);
	return c;
}

static unsigned n_settings;

static void expect_default(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart)
{
	static const char *const given[] = { "auth.hba_file=conf.d/hba.conf", "auth.users_file=conf.d/users.conf",
		                                 "cluster.main.node.pg1.host=127.0.0.1" };
	char line[256];
	n_settings++;
	if (strcmp(value, dflt) == 0)
		return;
	snprintf(line, sizeof line, "%s=%s", name, value);
	for (size_t i = 0; i < ARRAY_LEN(given); i++)
		if (strcmp(line, given[i]) == 0)
			return;
	fail_msg("the samples set %s (default: %s)", line, dflt);
}

static void the_samples_mean_the_defaults(void **state)
{
	struct conf *c = load("conf.d");
	n_settings = 0;
	conf_each(c, expect_default, NULL);
	assert_true(n_settings > 40);
	conf_free(c);
}

/* Every line that is a comment without a space behind its # becomes a setting. */
static void uncomment(struct confdir *d, const char *name)
{
	char path[64], *to = printed;
	snprintf(path, sizeof path, "conf.d/%s", name);
	read_all(open(path, O_RDONLY), kept, sizeof kept);
	for (const char *line = kept; *line; line = strchr(line, '\n') + 1) {
		size_t len = strcspn(line, "\n") + 1, indent = strspn(line, "\t ");
		bool is_setting = line[indent] == '#' && line[indent + 1] != ' ';
		to += sprintf(to, "%.*s", (int)(len - (is_setting ? indent + 1 : 0)), line + (is_setting ? indent + 1 : 0));
	}
	confdir_write(d, name, printed);
}

static void every_default_in_the_samples_can_be_written_out(void **state)
{
	static const char *const names[] = { "00-listen.conf", "10-cluster.conf", "20-pools.conf", "40-users.conf" };
	struct confdir d;
	confdir_init(&d);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		uncomment(&d, names[i]);
	confdir_write(&d, "30-auth.conf", "auth { hba_file = rules }");
	struct conf *c = confdir_load(&d, NULL);
	assert_string_equal(d.told, "");
	assert_string_equal(c->users[0].name, "batch");
	conf_free(c);
	confdir_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reference_is_up_to_date),
		cmocka_unit_test(the_samples_are_up_to_date),
		cmocka_unit_test(the_samples_mean_the_defaults),
		cmocka_unit_test(every_default_in_the_samples_can_be_written_out),
	};
	return UNIT_RUN(tests);
}
