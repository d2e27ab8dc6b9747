/* The scanner's verdict, however the text is cut; and that it reads tokens as the lexer does. */
#include "../../../src/sql/scan.h"

#include "../../../src/sql/builtins.h"
#include "../../../src/sql/lex.h"
#include "base/hash.h"
#include "sqlgen.h"
#include "unit.h"

static const struct sql_dialect plain;

static bool is_harmless(struct slice text, struct sql_dialect dialect)
{
	struct sql_scan s;
	sql_scan_init(&s, dialect);
	sql_scan_feed(&s, text);
	return sql_scan_is_harmless(&s);
}

/* In one piece, byte by byte, and in two pieces cut anywhere: always the same. */
static bool cut_verdict(const char *text, struct sql_dialect dialect)
{
	struct slice t = slice_text(text);
	bool whole = is_harmless(t, dialect);
	struct sql_scan bytes;
	sql_scan_init(&bytes, dialect);
	for (size_t i = 0; i < t.len; i++)
		sql_scan_feed(&bytes, slice_of(t.at + i, 1));
	if (sql_scan_is_harmless(&bytes) != whole)
		fail_msg("byte by byte it is otherwise: %s", text);
	for (size_t cut = 0; cut <= t.len; cut++) {
		struct sql_scan s;
		sql_scan_init(&s, dialect);
		sql_scan_feed(&s, slice_of(t.at, cut));
		sql_scan_feed(&s, slice_skip(t, cut));
		if (sql_scan_is_harmless(&s) != whole)
			fail_msg("cut at %zu it is otherwise: %s", cut, text);
	}
	return whole;
}

static const char *const harmless[] = {
	"SELECT 1",
	"insert into t values ('set_config', $$nextval$$, $x$ $$temp$$ $x$)",
	"-- temp\n/* temp /* temp */ */ update t set a = 'it''s temp'",
	"delete from t where a = E'\\'temp' 'x'",
	"merge into t using u on a",
	"with x as (select 1) select 2;",
	"((select 1) union select 2) ; -- temp",
	"values (1)",
	"copy t from stdin",
	"select e'a'\n'\\' temp'",
	"select U&'temp', b'1', n'temp'",
	"select 1 as \"te\"\"mp\"",
	"select template, attempt, $1, 1.5e3, a-b, a/b, 'x'::text",
	"select $ab$ $a$ $ab $ab$",
	"  select 1 -- no end of line",
};

static const char *const harmful[] = {
	"",
	";;",
	"set a = 1",
	"begin",
	"select 1; select 2",
	"select set_config('a.b', 'c', false)",
	"select SET_Config",
	"select \"set_config\"('a.b', 'c', false)",
	"select U&\"a\"",
	"select 1 into temp x",
	"select 1 into temporary x",
	"select * from pg_temp_3.x",
	"select pg_advisory_lock(1)",
	"select pg_try_advisory_lock_shared(1)",
	"select nextval('x')",
	"select lastval()",
	"select dblink_exec('x')",
	"select 'a' nextval",
	"select $1nextval",
	"select $$a$$nextval",
	"select 'a",
	"select $a$ $$",
	"select /* /* */",
	"select \"a",
	"select e'a\\",
	"select e'a'\n'\\' nextval",
	"select e'a'/**/\n'\\' nextval('",
	"'select'",
	"\"select\" 1",
	"1 select",
	"create table t ()",
	"explain select 1",
	"select temp",
	"select query_to_xml('x')",
	"select $foo",
};

static void knows_harm(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		if (!cut_verdict(harmless[i], plain))
			fail_msg("should be harmless: %s", harmless[i]);
	for (size_t i = 0; i < ARRAY_LEN(harmful); i++)
		if (cut_verdict(harmful[i], plain))
			fail_msg("should not be harmless: %s", harmful[i]);
}

static void knows_dialects(void **state)
{
	struct sql_dialect backslash = { .backslash_quotes = true }, foreign = { .unsafe_encoding = true };
	assert_true(cut_verdict("select 'a', e'\\''", backslash));
	assert_false(cut_verdict("select 'a\\'", backslash));
	assert_true(cut_verdict("select 'a\\'", plain));
	assert_true(cut_verdict("select '\xe4'", plain));
	assert_false(cut_verdict("select '\xe4'", foreign));
	assert_false(is_harmless(slice_of("select 1\0", 9), plain));
}

static bool begins_well(const struct lex_token *t)
{
	static const char *const words[] = { "select", "insert", "update", "delete", "merge", "with", "values", "copy" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (t->kind == LEX_WORD && t->len == strlen(words[i]) && strncasecmp((const char *)t->at, words[i], t->len) == 0)
			return true;
	return false;
}

static bool is_suspicious(const struct lex_token *t)
{
	uint8_t word[64];
	bool quoted = t->kind == LEX_QUOTED;
	uint32_t len = t->len - 2 * quoted;
	if (t->kind == LEX_UQUOTED)
		return true;
	if ((t->kind != LEX_WORD && !quoted) || len > sizeof word)
		return false;
	for (uint32_t i = 0; i < len; i++)
		word[i] = quoted ? t->at[i + 1] : lex_lower[t->at[i]];
	return builtin_is_suspicious(slice_of(word, len));
}

static bool is_char(const struct lex_token *t, char c)
{
	return t->kind == LEX_PUNCT && *t->at == (uint8_t)c;
}

/* The same verdict from the lexer's tokens. */
static bool verdict_of_tokens(const char *text)
{
	struct lex l;
	struct lex_token t;
	bool begun = false, ended = false, ok = true;
	lex_init(&l, slice_text(text), false);
	for (lex_next(&l, &t); t.kind != LEX_END; lex_next(&l, &t)) {
		if (is_char(&t, ';')) {
			ended = begun;
			continue;
		}
		ok &= !ended && !is_suspicious(&t) && !is_char(&t, '$'); /* a lone '$' is no SQL: the scanner gives up */
		if (begun || is_char(&t, '('))
			continue;
		begun = true;
		ok &= begins_well(&t);
	}
	return ok && begun && !l.is_broken;
}

static void agrees_with_the_lexer(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		assert_true(verdict_of_tokens(harmless[i]));
	unsigned n_harmless = 0;
	for (unsigned seed = 0; seed < 5000; seed++) {
		struct sqlgen g = { .seed = seed };
		char *template = gen_template(&g), *text = gen_write(&g, template);
		if (gen_below(&g, 3) == 0)
			text[gen_below(&g, (unsigned)strlen(text) + 1)] = 0;
		bool want = verdict_of_tokens(text);
		if (is_harmless(slice_text(text), plain) != want)
			fail_msg("seed %u: the lexer says %d: %s", seed, want, text);
		n_harmless += want;
		free(template);
		free(text);
	}
	assert_true(n_harmless > 500 && n_harmless < 4500);
}

static void generated_texts_may_be_cut(void **state)
{
	for (unsigned seed = 0; seed < 300; seed++) {
		struct sqlgen g = { .seed = seed };
		char *template = gen_template(&g), *text = gen_write(&g, template);
		cut_verdict(text, plain);
		free(template);
		free(text);
	}
}

static void tables_are_sorted(void **state)
{
	static const char *const names[] = {
#define BUILTIN(name, kind) #name,
#include "tbl/builtins.h"
#undef BUILTIN
	};
	static const char *const words[] = {
#define KEYWORD(word) #word,
#include "tbl/keywords.h"
#undef KEYWORD
	};
	for (size_t i = 1; i < ARRAY_LEN(names); i++)
		assert_true(strcmp(names[i - 1], names[i]) < 0);
	for (size_t i = 1; i < ARRAY_LEN(words); i++)
		assert_true(strcmp(words[i - 1], words[i]) < 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_not_equal(builtin_find(slice_text(names[i])), BUILTIN_UNKNOWN);
	assert_int_equal(builtin_find(slice_text("no_such")), BUILTIN_UNKNOWN);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_harm),
		cmocka_unit_test(knows_dialects),
		cmocka_unit_test(agrees_with_the_lexer),
		cmocka_unit_test(generated_texts_may_be_cut),
		cmocka_unit_test(tables_are_sorted),
	};
	return UNIT_RUN(tests);
}
