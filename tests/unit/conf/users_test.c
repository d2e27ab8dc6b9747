/* Names and secrets, and the lines that are refused. */
#include "conf/users.h"

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

static struct users *load(const char *text)
{
	char path[128];
	struct conf_errors e = { 0 };
	confdir_write(&dir, "users", text);
	snprintf(path, sizeof path, "%s/users", dir.path);
	struct users *u = users_load(path, &e);
	confdir_tell(&dir, &e);
	assert_true((u == NULL) == (e.n > 0));
	conf_errors_fini(&e);
	return u;
}

#define SCRAM "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$"
#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void secrets_are_found_by_name(void **state)
{
	struct users *u = load("; comment\n# comment\n\n\"ann\" \"clear text\" ; hers\r\n  \"bo\"\"b\"\t\"say \"\"hi\"\"\"#\n"
	                       "\"scram\" \"" SCRAM KEY ":" KEY "\"\n\"none\" \"\"\n\"md5ish\" \"md5 is not a hash\"");
	assert_string_equal(dir.told, "");
	assert_string_equal(users_secret(u, "ann"), "clear text");
	assert_string_equal(users_secret(u, "bo\"b"), "say \"hi\"");
	assert_string_equal(users_secret(u, "scram"), SCRAM KEY ":" KEY);
	assert_string_equal(users_secret(u, "md5ish"), "md5 is not a hash");
	assert_null(users_secret(u, "none"));
	assert_true(users_has(u, "none"));
	assert_true(users_has(u, "ann"));
	assert_false(users_has(u, "Ann"));
	assert_null(users_secret(u, "Ann"));
	users_free(u);
}

#define MD5 "md50123456789abcdef0123456789abcdef"

static void secrets_are_of_three_kinds(void **state)
{
	assert_int_equal(secret_kind(NULL), SECRET_NONE);
	assert_int_equal(secret_kind("md5"), SECRET_CLEAR);
	assert_int_equal(secret_kind(MD5), SECRET_MD5);
	assert_int_equal(secret_kind(MD5 "0"), SECRET_CLEAR);
	assert_int_equal(secret_kind(SCRAM KEY ":" KEY), SECRET_SCRAM);
	struct users *u = load("\"a\" \"" MD5 "\"\n\"b\" \"clear\"\n\"c\" \"" SCRAM KEY ":" KEY "\"\n\"d\" \"\"");
	unsigned n = 0;
	for (unsigned i = 0; i < 3000; i++) {
		enum secret_kind kind = users_likely_kind(u, i * UINT64_C(0x9e3779b97f4a7c15));
		n += kind == SECRET_MD5;
	}
	assert_in_range(n, 1800, 2200); /* two thirds of those who have a secret: the clear one is asked for as MD5, too */
	users_free(u);
	u = load("\"a\" \"clear\"");
	assert_int_equal(users_likely_kind(u, 12345), SECRET_MD5);
	users_free(u);
	u = load("\"a\" \"" SCRAM KEY ":" KEY "\"");
	assert_int_equal(users_likely_kind(u, 12345), SECRET_SCRAM);
	users_free(u);
}

static void no_file_is_an_empty_set(void **state)
{
	struct conf_errors e = { 0 };
	struct users *u = users_load("", &e);
	assert_non_null(u);
	assert_int_equal(e.n, 0);
	assert_null(users_secret(u, "ann"));
	users_free(u);
	assert_null(users_load("/nowhere/users", &e));
	assert_string_equal(e.at[0].text, "users_file: cannot open /nowhere/users: No such file or directory");
	conf_errors_fini(&e);
}

static void bad_lines_are_refused_without_quoting_them(void **state)
{
#define SHAPE "a line is \"name\" \"secret\", each in double quotes; a quote inside is written twice\n"
#define DAMAGED "begins as SCRAM-SHA-256$ but is cut or damaged: copy rolpassword from pg_authid once more\n"
	static const struct {
		const char *text, *told;
	} table[] = {
		{ "ann secret", "users:1: " SHAPE },
		{ "\"ann\"", "users:1: " SHAPE },
		{ "\"ann\" secret", "users:1: " SHAPE },
		{ "\"ann\" \"secret", "users:1: " SHAPE },
		{ "\"ann\" \"secret\"\"", "users:1: " SHAPE },
		{ "\"ann\" \"sec\"ret\"", "users:1: nothing may follow the secret; a quote inside it is written twice\n" },
		{ "\"\" \"secret\"", "users:1: the name is empty\n" },
		{ "\"ann\" \"a\"\n\n\"ann\" \"b\"", "users:3: the user \"ann\" is already on line 1; leave one of them out\n" },
		{ "\"ann\" \"" SCRAM KEY "\"", "users:1: the secret of \"ann\" " DAMAGED },
		{ "\"ann\" \"" SCRAM KEY ":" KEY "A\"", "users:1: the secret of \"ann\" " DAMAGED },
		{ "\"ann\" \"SCRAM-SHA-256$x:c2FsdA==$" KEY ":" KEY "\"", "users:1: the secret of \"ann\" " DAMAGED },
		{ "ann\n\"bob\" \"x\"\neve\n", "users:1: " SHAPE "users:3: " SHAPE },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_null(load(table[i].text));
		assert_string_equal(dir.told, table[i].told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(secrets_are_found_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_are_of_three_kinds, setup, teardown),
		cmocka_unit_test(no_file_is_an_empty_set),
		cmocka_unit_test_setup_teardown(bad_lines_are_refused_without_quoting_them, setup, teardown),
	};
	return UNIT_RUN(tests);
}
