/* Patterns mean what Lua's mean, and end. */
#include "../../../src/policy/match.h"

#include "base/compiler.h"
#include "base/log.h"
#include "oracle.h"
#include "unit.h"

static lua_State *L;

static void check(struct slice text, struct slice pattern)
{
	char theirs[2000], ours[2000];
	oracle_lua(L, text, pattern, theirs, sizeof theirs);
	oracle_ours(text, pattern, ours, sizeof ours);
	if (strcmp(theirs, ours) != 0)
		fail_msg("'%.*s' ~ '%.*s'\n  Lua  %s\n  ours %s", (int)text.len, text.at, (int)pattern.len, pattern.at, theirs, ours);
}

static void what_is_well_known(void **state)
{
	static const char *const cases[][2] = {
		{ "hello world", "o w" },
		{ "hello world", "(%w+) (%w+)" },
		{ "hello", "^(.-)l" },
		{ "hello", "l+$" },
		{ "key = value", "^%s*(%S+)%s*=%s*(.*)$" },
		{ "THE (quick) fox", "%((%a+)%)" },
		{ "f(a(b)c)d", "%b()" },
		{ "THE (quick) fox", "%f[%a]%a+" },
		{ "foo \"bar\" baz", "([\"'])(.-)%1" },
		{ "2026-11-23", "(%d+)-(%d+)-(%d+)" },
		{ "a]b", "[]]" },
		{ "a-b", "[a-]+" },
		{ "a^b", "[%^a]+" },
		{ "xyz", "[^%a]" },
		{ "abc", "()b()" },
		{ "", "^$" },
		{ "", ".?" },
		{ "aaa", "a-" },
		{ "aaab", "a-b" },
		{ "x\0y", "%z" },
		{ "0x1F", "%x+" },
		{ "a.b", "a%.b" },
		{ "%", "%%" },
		{ "a$", "a$" },
		{ "a$b", "a$b" },
		{ "^a", "^^a" },
		{ "tab\there", "%c" },
		{ "((x))", "((%(*)(x))" },
		{ "x", "[a-%z]" },
		{ "]", "[!-%%]" },
		{ "%", "[!-%]x]" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(slice_text(cases[i][0]), slice_text(cases[i][1]));
}

static void what_is_no_pattern_is_said_so(void **state)
{
	static const char *const cases[] = { "%",    "[a", "[",  "[^",  "(a", "a)",  "[b-%]", "%1",
		                                 "(%1)", "%0", "%b", "%bx", "%f", "%fa", "[%",    "(()" };
	struct pattern p;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (!pattern_compile(&p, cases[i], strlen(cases[i]), true))
			fail_msg("%s is taken for a pattern", cases[i]);
}

/* Small alphabets, so that things match; what Lua only notices when it comes there, we notice before. */
static void random_patterns_on_random_texts(void **state)
{
	static const char letters[] = "aab1 (x)",
	                  parts[][4] = { "a",  "b", ".", "%a", "%d", "[ab]", "[^a", "]", "*",  "+",  "-", "?", "(", ")",
		                             "%1", "^", "$", "%s", "%w", "%b",   "()",  "x", "%(", "%f", "[", "1", " ", "%D" };
	unsigned seed = 1, compared = 0;
	for (int round = 0; round < 200000; round++) {
		char text[16], pattern[40] = "", ours[2000], theirs[2000];
		unsigned n_text = (seed = seed * 1103515245 + 12345) >> 16 & 7,
		         n_parts = 1 + ((seed = seed * 1103515245 + 12345) >> 16) % 7;
		for (unsigned i = 0; i < n_text; i++)
			text[i] = letters[((seed = seed * 1103515245 + 12345) >> 16) % (sizeof letters - 1)];
		for (unsigned i = 0; i < n_parts; i++)
			strncat(pattern, parts[((seed = seed * 1103515245 + 12345) >> 16) % ARRAY_LEN(parts)], 4);
		oracle_ours(slice_of(text, n_text), slice_text(pattern), ours, sizeof ours);
		if (strcmp(ours, "error") == 0)
			continue;
		oracle_lua(L, slice_of(text, n_text), slice_text(pattern), theirs, sizeof theirs);
		if (strcmp(theirs, ours) != 0)
			fail_msg("'%.*s' ~ '%s'\n  Lua  %s\n  ours %s", (int)n_text, text, pattern, theirs, ours);
		compared++;
	}
	assert_true(compared > 50000);
}

static void what_would_take_for_ever_is_over(void **state)
{
	static char text[3000];
	struct pattern p;
	memset(text, 'a', sizeof text);
	assert_null(pattern_compile(&p, "a-a-a-a-b", 9, true));
	struct match m = { .pattern = &p, .text = text, .len = sizeof text, .steps_left = 100000 };
	assert_int_equal(match_at(&m, 0), MATCH_NONE);
	assert_true(m.is_over);
	assert_int_equal(m.steps_left, 0);
}

static int open_lua(void **state)
{
	L = oracle_open();
	return 0;
}

static int close_lua(void **state)
{
	lua_close(L);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_well_known),
		cmocka_unit_test(what_is_no_pattern_is_said_so),
		cmocka_unit_test(random_patterns_on_random_texts),
		cmocka_unit_test(what_would_take_for_ever_is_over),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, open_lua, close_lua);
}
