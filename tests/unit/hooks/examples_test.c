/* The policies of examples/ that act in a failover do what their first lines say. */
#include <sys/stat.h>

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

/* With TO in place of FROM, if that is not NULL. */
static void load_example(const char *name, const char *from, const char *to)
{
	static char text[20000], changed[22000];
	char path[100];
	snprintf(path, sizeof path, "examples/%s.lua", name);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	changed[0] = '\0';
	char *at = text;
	for (char *hit; from && (hit = strstr(at, from)); at = hit + strlen(from))
		snprintf(changed + strlen(changed), sizeof changed - strlen(changed), "%.*s%s", (int)(hit - at), at, to);
	snprintf(changed + strlen(changed), sizeof changed - strlen(changed), "%s", at);
	hooksrig_load(&rig, changed);
}

static void put_program(const char *name, const char *text)
{
	char path[200];
	confdir_write(&rig.policy.dir, name, text);
	snprintf(path, sizeof path, "%s/%s", rig.policy.dir.path, name);
	chmod(path, 0755);
}

static const struct hook_operation op = { 7, 3, "failover", 1, "pg1", "it refuses connections" };

/* What it said, or why it is not done. */
static const char *done(enum hook_name hook, const char *node, const char *primary)
{
	struct err err;
	rig.is_done = false;
	if (!hooks_run(rig.hooks, "main", hook, &op, node, primary, 0, hooksrig_on_done, &rig, &err))
		fail_msg("%s", err.text);
	hooksrig_wait(&rig);
	return rig.was_good ? rig.output : rig.error;
}

static void nearest_standby(void **state)
{
	const struct hook_candidate both[] = { { "pg3", NULL }, { "pg2", NULL }, { "pg1", "it is lost" } };
	struct hook_choice c;
	load_example("nearest_standby", NULL, NULL);
	hooks_choose(rig.hooks, "main", "pg1", "", both, 3, &c);
	assert_int_equal(c.n, 2);
	assert_string_equal(both[c.order[0]].name, "pg2"); /* of pg1's site */
	hooks_choose(rig.hooks, "main", "pg1", "", both, 1, &c);
	assert_int_equal(c.n, 1);
	hooks_choose(rig.hooks, "main", "pg1", "", both + 2, 1, &c);
	assert_true(c.is_nobody);
	assert_string_equal(c.why, "only the archive is left");
}

static void pgpool_scripts(void **state)
{
	put_program("failover.sh", "#!/bin/sh\necho \"$@\"\n[ $6 = h2 ]\n");
	put_program("follow_primary.sh", "#!/bin/sh\necho \"$@\"\n");
	load_example("pgpool_scripts", "/etc/pgpool-II", rig.policy.dir.path);
	assert_string_equal(done(HOOK_promote, "pg2", NULL), "0 h1 5432  1 h2 0 0 5432  h1 5432\n");
	assert_true(rig.was_good);
	assert_string_equal(done(HOOK_promote, "pg3", NULL), "sh ended with status 1: 0 h1 5432  2 h3 0 0 5432  h1 5432");
	assert_string_equal(done(HOOK_follow_primary, "pg3", "pg2"), "2 h3 5432  1 h2 0 0 5432 \n");
	assert_true(rig.was_good);
}

static void failover_by_ssh(void **state)
{
	char path[300];
	put_program("ssh", "#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\necho \"at $1: $2\"\n[ $1 = h2 ]\n");
	snprintf(path, sizeof path, "%s:/usr/bin:/bin", rig.policy.dir.path);
	setenv("PATH", path, 1);
	load_example("failover_by_ssh", NULL, NULL);
	assert_string_equal(done(HOOK_promote, "pg2", NULL), "");
	assert_true(rig.was_good);
	assert_string_equal(done(HOOK_promote, "pg3", NULL), "pg_ctl at pg3 ended with status 1: at h3: 'pg_ctl' 'promote' '-D' ''");
	assert_false(rig.was_good);
}

/* What they do is in tests/pg/commands.t, where there are servers. */
static void one_line_is_enough(void **state)
{
	static const char *const modules[] = { "by_ssh", "by_commands" };
	char text[100];
	for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
		snprintf(text, sizeof text, "return require 'lunapool.%s'", modules[i]);
		hooksrig_load(&rig, text);
		assert_true(hooks_has(rig.hooks, "main", HOOK_promote) && hooks_has(rig.hooks, "main", HOOK_follow_primary));
		assert_true(hooks_has(rig.hooks, "main", HOOK_returning) && hooks_has(rig.hooks, "main", HOOK_rejoin));
		assert_true(hooks_has(rig.hooks, "main", HOOK_recover) && hooks_has(rig.hooks, "main", HOOK_fence));
		assert_non_null(strstr(done(HOOK_promote, "pg2", NULL), "node pg2 has no data_dir in the configuration"));
	}
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = { UNIT(nearest_standby), UNIT(pgpool_scripts), UNIT(failover_by_ssh),
		                                UNIT(one_line_is_enough) };
	return UNIT_RUN(tests);
}
