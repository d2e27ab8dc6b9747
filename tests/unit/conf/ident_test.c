/* Which name may come in as which user, and the lines that are refused. */
#include "conf/ident.h"

#include "conf/hba.h"
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

static struct ident *load(const char *text)
{
	char path[128];
	struct conf_errors e = { 0 };
	confdir_write(&dir, "map", text);
	snprintf(path, sizeof path, "%s/map", dir.path);
	struct ident *i = ident_load(path, &e);
	confdir_tell(&dir, &e);
	assert_true((i == NULL) == (e.n > 0));
	conf_errors_fini(&e);
	return i;
}

static void names_map_to_users(void **state)
{
	static const char *const roles[] = { "ann", "staff" };
	const struct hba_facts nothing = { 0 }, known = { .has_roles = true, .n_roles = 2, .roles = roles };
	static const struct {
		const char *lines, *system, *user;
		enum ident_answer without, with;
	} table[] = {
		{ "m ann app", "ann", "app", IDENT_YES, IDENT_YES },
		{ "m ann app", "ann", "ann", IDENT_NO, IDENT_NO },
		{ "m ann app", "Ann", "app", IDENT_NO, IDENT_NO },
		{ "other ann app", "ann", "app", IDENT_NO, IDENT_NO },
		{ "m ann app\nm ann boss", "ann", "boss", IDENT_YES, IDENT_YES },
		{ "m /^(.*)@example\\.com$ \\1", "ann@example.com", "ann", IDENT_YES, IDENT_YES },
		{ "m /^(.*)@example\\.com$ \\1", "ann@example.org", "ann", IDENT_NO, IDENT_NO },
		{ "m /^(.*)@example\\.com$ x_\\1_y", "ann@example.com", "x_ann_y", IDENT_YES, IDENT_YES },
		{ "m /^(.*)@x$ \\1", "all@x", "postgres", IDENT_NO, IDENT_NO },
		{ "m /^(.*)@x$ \\1", "+staff@x", "ann", IDENT_NO, IDENT_NO },
		{ "m /^(.*)@x$ \\1", "/.*@x", "ann", IDENT_NO, IDENT_NO },
		{ "m /^a guest", "ann", "guest", IDENT_YES, IDENT_YES },
		{ "m ann all", "ann", "anybody", IDENT_YES, IDENT_YES },
		{ "m ann \"all\"", "ann", "anybody", IDENT_NO, IDENT_NO },
		{ "m ann \"all\"", "ann", "all", IDENT_YES, IDENT_YES },
		{ "m ann +staff", "ann", "ann", IDENT_NEEDS_ROLES, IDENT_YES },
		{ "m ann +bosses", "ann", "ann", IDENT_NEEDS_ROLES, IDENT_NO },
		{ "m ann +bosses\nm ann ann", "ann", "ann", IDENT_YES, IDENT_YES },
		{ "m ann \"/^app[0-9]$\"", "ann", "app7", IDENT_YES, IDENT_YES },
		{ "m ann \"/^app[0-9]$\"", "ann", "app77", IDENT_NO, IDENT_NO },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct ident *m = load(table[i].lines);
		assert_string_equal(dir.told, "");
		enum ident_answer without = ident_match(m, "m", table[i].system, table[i].user, &nothing);
		enum ident_answer with = ident_match(m, "m", table[i].system, table[i].user, &known);
		if (without != table[i].without || with != table[i].with)
			fail_msg("%s: %s as %s: %d, %d", table[i].lines, table[i].system, table[i].user, (int)without, (int)with);
		assert_int_equal(ident_match(m, NULL, "x", "x", &nothing), IDENT_YES);
		assert_int_equal(ident_match(m, NULL, "x", "y", &nothing), IDENT_NO);
		ident_free(m);
	}
}

static void bad_lines_are_refused(void **state)
{
	static const struct {
		const char *lines, *told;
	} table[] = {
		{ "m ann", "map:1: a line is: map system-name user; each is one name\n" },
		{ "m ann a b\nm a,b c",
		  "map:1: a line is: map system-name user; each is one name\nmap:2: a line is: map system-name user; each is "
		  "one name\n" },
		{ "m /^a \\1", "map:1: the user has \\1 in it, but the regular expression has no parentheses\n" },
		{ "m /( x", "map:1: \"/(\" is no regular expression (POSIX extended): Unmatched ( or \\(\n" },
		{ "include nowhere", "map:1: cannot open nowhere: No such file or directory\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_null(load(table[i].lines));
		assert_string_equal(dir.told, table[i].told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_map_to_users, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_lines_are_refused, setup, teardown),
	};
	return UNIT_RUN(tests);
}
