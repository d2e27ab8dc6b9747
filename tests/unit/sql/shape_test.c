/* Shapes: what is folded, what is not, and that folding changes no class. */
#include "../../../src/sql/priv.h"
#include "../../../src/sql/words.h"

#include "base/hash.h"
#include "base/mem.h"
#include "show.h"
#include "sqlgen.h"
#include "unit.h"

static const struct sql_dialect plain;

static void expect(const char *text, const char *shape)
{
	struct shape *s = mem_alloc(sizeof *s);
	assert_int_equal(shape_make(s, slice_text(text), plain), SHAPE_OK);
	assert_string_equal(s->text, shape);
	mem_free(s);
}

static void literals_become_placeholders(void **state)
{
	expect("UPDATE pgbench_accounts SET abalance = abalance + 123 WHERE aid = 456;",
	       "update pgbench_accounts set abalance = abalance + 1 where aid = 1");
	expect("select 1, 2.5, .5, 7., 1e-5, 0x1F, 1_000", "select 1,1,1,1,1,1,1");
	expect("select 'a', e'\\'', n'b', b'101', x'1F', $$a$$, $q$ $$ $q$, $7", "select 's','s',n's',b'1',x'1','s','s',$1");
	expect("select 'a'\n  -- c\n'b'", "select 's'");
	expect("select 'a' /* c */\n'b'", "select 's' 's'");
	expect("select u&'\\0061', U&\"\\0061\" uescape '!' , a$1, 1a", "select u&'\\0061',U&\"\\0061\" uescape '!',a$1,1 a");
}

static void space_comments_and_case_are_folded(void **state)
{
	expect("SELECT\n\t A.b  ,\"A\" -- x\n FROM/* /* */ */t;;", "select a . b,\"A\" from t");
	expect("select a+-1, a*/**/-1, a- -1", "select a +- 1,a * - 1,a - - 1");
	expect(";; select 1 ;; select 2; -- x", "select 1;select 1");
	expect(" -- nothing", "");
}

static void lists_are_folded(void **state)
{
	expect("select a in (1, 2,'x',$3, -4)", "select a in(1)");
	expect("select a in (1, b, 2, b, 3)", "select a in(1,b)");
	expect("select a in (f(1), f(2), 3, 4)", "select a in(f(1),1)");
	expect("select a in ((1,2),(3,4))", "select a in((1,1))");
	expect("select array[1,2], b[1], f(1,2)", "select array[1],b[1],f(1,1)");
	expect("insert into t values (1,'a'),(2,null),(-3,default)", "insert into t values(1,'s')");
	expect("insert into t values (1,now()),(2,now()),(2,3),(4,5) returning a", "insert into t values(1,now()),(1,1)returning a");
	expect("select * from (values (1),(2)) v, (values (3)) w where a in (values (1),(2))",
	       "select * from(values(1))v,(values(1))w where a in(values(1))");
	expect("select values, (1), (2) from t", "select values,(1),(1)from t");
}

static void what_has_a_meaning_stays(void **state)
{
	expect("SET search_path = 'A', 2; select 2", "set search_path = 'A',2;select 1");
	expect("select 'a', set_config('x', $2, true); select 'b'", "select 's',set_config('x',$2,true);select 's'");
	expect("select \"set_config\"('x', 2) in (1,2)", "select \"set_config\"('x',2)in(1,2)");
	expect("select Current_Setting ( 'App.X' ) , 'y', current_setting(1 ,2), f('x')",
	       "select current_setting('App.X'),'s',current_setting(1,1),f('s')");
	expect("select U&\"x\"('x', 2)", "select U&\"x\"('x',2)");
}

static void texts_without_end_are_refused(void **state)
{
	static const char *const texts[] = { "select 'a",      "select \"a",   "select /* /* */",
		                                 "select $a$ $b$", "select e'\\'", "select u&'x" };
	struct shape *s = mem_alloc(sizeof *s);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(shape_make(s, slice_text(texts[i]), plain), SHAPE_OPAQUE);
	mem_free(s);
}

/* TEXT itself in place of its shape: NULL when it is too long. */
static char *unfolded_class(const char *text)
{
	struct shape *s = mem_alloc(sizeof *s);
	char *shown = NULL;
	if (strlen(text) < SQL_PARSE_MAX) {
		s->len = (uint32_t)strlen(text);
		memcpy(s->text, text, s->len + 1);
		struct sql_class *c = classify_shape(s);
		shown = show_class(c);
		sql_class_unref(c);
	}
	mem_free(s);
	return shown;
}

static char *folded_class(struct sql_cache *cache, const char *text)
{
	struct sql_class *c = sql_classify(cache, slice_text(text), plain);
	char *shown = show_class(c);
	sql_class_unref(c);
	return shown;
}

#define TEMPLATES 2000u
#define WRITINGS 4u

/* However a statement is written, the cached path says what parsing that very text says. */
static void folding_changes_no_class(void **state)
{
	struct sql_cache *cache = sql_cache_new(1 << 18);
	unsigned compared = 0;
	for (unsigned i = 0; i < TEMPLATES; i++) {
		struct sqlgen g = { .seed = i };
		char *template = gen_template(&g);
		for (unsigned j = 0; j < WRITINGS; j++) {
			char *text = gen_write(&g, template);
			char *want = unfolded_class(text), *got = folded_class(cache, text);
			if (want && strcmp(want, got) != 0)
				fail_msg("seed %u: %s\n  folded  %s\n  parsed  %s", i, text, got, want);
			compared += want != NULL;
			free(want);
			free(got);
			free(text);
		}
		free(template);
	}
	struct sql_cache_stats stats;
	sql_cache_read_stats(cache, &stats);
	assert_true(compared > TEMPLATES * WRITINGS / 2);
	assert_true(stats.hits > 0 && stats.misses > 0 && stats.evictions > 0);
	sql_cache_free(cache);
}

static void every_word_is_found(void **state)
{
	unsigned n = 0;
	for (size_t i = 0; i < ARRAY_LEN(word_groups); i++)
		for (const struct word_row *w = word_groups[i].rows; w->text; w++, n++)
			assert_ptr_equal(word_find((const uint8_t *)w->text, w->len), w);
	assert_true(n > 20);
	assert_null(word_find((const uint8_t *)"setter", 6));
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_become_placeholders),
		cmocka_unit_test(space_comments_and_case_are_folded),
		cmocka_unit_test(lists_are_folded),
		cmocka_unit_test(what_has_a_meaning_stays),
		cmocka_unit_test(texts_without_end_are_refused),
		cmocka_unit_test(folding_changes_no_class),
		cmocka_unit_test(every_word_is_found),
	};
	return UNIT_RUN(tests);
}
