/* Whom a redirect concerns: by patterns, in a time that grows with their lengths only. */
#include "base/mem.h"
#include "conf/conf.h"
#include "unit.h"

static void a_star_is_any_run_of_characters(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} table[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "abc", true },
		{ "abc", "abc", true },
		{ "abc", "abcd", false },
		{ "abc", "ABC", false },
		{ "a*", "a", true },
		{ "a*", "abc", true },
		{ "a*", "ba", false },
		{ "*c", "abc", true },
		{ "*c", "c", true },
		{ "*c", "cb", false },
		{ "a*c", "ac", true },
		{ "a*c", "abbc", true },
		{ "a*c", "abcb", false },
		{ "ab*ba", "aba", false },
		{ "ab*ba", "abba", true },
		{ "*b*", "abc", true },
		{ "*b*", "ac", false },
		{ "a*b*c", "axxbyyc", true },
		{ "a*b*c", "ac", false },
		{ "a*b*c", "acb", false },
		{ "**", "", true },
		{ "a**b", "ab", true },
		{ "*a*a*", "a", false },
		{ "*a*a*", "aa", true },
		{ "*ab*ab", "abab", true },
		{ "*ab*ab", "abxab", true },
		{ "*ab*ab", "aab", false },
		{ "a?c", "abc", false },
		{ "a?c", "a?c", true },
		{ "*aab", "aaab", true },
		{ "*aab*b", "aaabb", true },
		{ "*é*", "café au lait", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (conf_pattern_matches(table[i].pattern, table[i].name) != table[i].matches)
			fail_msg("\"%s\" and \"%s\"", table[i].pattern, table[i].name);
}

/* The slow way: all splits. */
static bool matches_somehow(const char *pattern, const char *name)
{
	if (*pattern == '*')
		return matches_somehow(pattern + 1, name) || (*name && matches_somehow(pattern, name + 1));
	return *pattern == *name && (!*pattern || matches_somehow(pattern + 1, name + 1));
}

static void it_is_what_trying_everything_says(void **state)
{
	char pattern[8], name[8];
	for (unsigned p = 0; p < 3 * 3 * 3 * 3 * 3; p++)
		for (unsigned n = 0; n < 64; n++) {
			size_t at = 0, len = 0;
			for (unsigned rest = p; rest; rest /= 3)
				pattern[at++] = "ab*"[rest % 3];
			for (unsigned rest = n + 1; rest > 1; rest /= 2)
				name[len++] = "ab"[rest % 2];
			pattern[at] = name[len] = '\0';
			if (conf_pattern_matches(pattern, name) != matches_somehow(pattern, name))
				fail_msg("\"%s\" and \"%s\"", pattern, name);
		}
}

/* One that tries all splits of this would not come back. */
static void the_work_is_bounded(void **state)
{
	enum { LEN = 100000 };
	char *pattern = mem_alloc(LEN + 1), *name = mem_alloc(LEN + 1);
	for (size_t i = 0; i < LEN; i++) {
		pattern[i] = i % 2 ? '*' : 'a';
		name[i] = 'a';
	}
	pattern[LEN - 2] = 'b';
	assert_false(conf_pattern_matches(pattern, name));
	pattern[LEN - 2] = 'a';
	assert_true(conf_pattern_matches(pattern, name));
	mem_free(pattern);
	mem_free(name);
}

static struct conf_list list(size_t n, char **at)
{
	return (struct conf_list){ .n = n, .at = at };
}

static void all_of_what_it_names_must_be_so(void **state)
{
	char *users[] = { "bob", "batch_*" }, *applications[] = { "" };
	struct conf_redirect r = { 0 };
	assert_true(conf_redirect_concerns(&r, "db", "anybody", "psql"));
	r.user = list(2, users);
	assert_true(conf_redirect_concerns(&r, "db", "bob", "psql"));
	assert_true(conf_redirect_concerns(&r, "db", "batch_7", "psql"));
	assert_false(conf_redirect_concerns(&r, "db", "alice", "psql"));
	r.application = list(1, applications);
	assert_false(conf_redirect_concerns(&r, "db", "bob", "psql"));
	assert_true(conf_redirect_concerns(&r, "db", "bob", ""));
	r.database = list(1, users);
	assert_false(conf_redirect_concerns(&r, "db", "bob", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_star_is_any_run_of_characters),
		cmocka_unit_test(it_is_what_trying_everything_says),
		cmocka_unit_test(the_work_is_bounded),
		cmocka_unit_test(all_of_what_it_names_must_be_so),
	};
	return UNIT_RUN(tests);
}
