/* Texts that are recalled: whatever fits has the shape of the text that it fits, and other constants do fit. */
#include "../../../src/sql/recall.h"

#include "base/hash.h"
#include "base/mem.h"
#include "sql/classify.h"
#include "sqlgen.h"
#include "unit.h"

static const struct sql_dialect plain;

struct made {
	enum shape_verdict verdict;
	struct shape s;
};

static void make(struct made *m, const char *text)
{
	m->verdict = shape_make(&m->s, slice_text(text), plain);
}

static bool is_same_shape(const struct made *a, const struct made *b)
{
	return a->verdict == b->verdict && a->s.len == b->s.len && a->s.nesting == b->s.nesting &&
	       memcmp(a->s.text, b->s.text, a->s.len) == 0;
}

static struct recall *remember(const char *text)
{
	struct made m;
	make(&m, text);
	assert_int_equal(m.verdict, SHAPE_OK);
	return recall_new(slice_text(text), &m.s);
}

static void check(const char *text, const char *other, bool wanted)
{
	struct recall *r = remember(text);
	assert_non_null(r);
	if (recall_fits(r, slice_text(other)) != wanted)
		fail_msg("%s\n  %s %s", text, wanted ? "should fit" : "fits", other);
	if (wanted)
		assert_int_equal(recall_key(slice_text(text)), recall_key(slice_text(other)));
	mem_free(r);
}

static void other_constants_fit(void **state)
{
	check("SELECT abalance FROM pgbench_accounts WHERE aid = 1;", "SELECT abalance FROM pgbench_accounts WHERE aid = 456789;",
	      true);
	check("select a1 from t1 where b='x' and c = 5", "select a1 from t1 where b='longer -- /*' and c = 0", true);
	check("insert into t values (1, 'a'), (2, '')", "insert into t values (33, ''), (4, 'it is')", true);
	check("select -1", "select -99", true);
	check("select 1,2", "select 11,22", true);
}

static void other_texts_do_not(void **state)
{
	check("select a1 from t", "select a2 from t", false);
	check("select 1 from t", "select 1 from u", false);
	check("select 1", "select 1 ", false);
	check("select 1", "select ", false);
	check("select 1", "select 1.5", false);
	check("select 1", "select 1e5", false);
	check("select 1", "select 0x1f", false);
	check("select 1.5", "select 2.5", false); /* might, but need not */
	check("select $1", "select $2", false);
	check("select 'a'", "select 'a''b'", false);
	check("select 'a', 'b'", "select 'a' 'b'", false);
	check("select 'a'", "select 'a", false);
	check("select e'a'", "select e'\\'", false);
	check("set x = 1", "set x = 2", false);
	check("select set_config('a', 'b', 1)", "select set_config('a', 'c', 1)", false);
	check("select u&'a' uescape '!'", "select u&'a' uescape '?'", false);
	struct recall *r = remember("select 'a'");
	assert_false(recall_fits(r, slice_of("select '\0'", 10)));
	mem_free(r);
}

static void too_many_are_not_kept(void **state)
{
	char text[8000] = "select 1", *at = text + strlen(text);
	for (unsigned i = 1; i < SHAPE_HOLES; i++)
		at = stpcpy(at, ",1");
	struct recall *r = remember(text);
	assert_non_null(r);
	assert_int_equal(r->n, SHAPE_HOLES);
	mem_free(r);
	strcpy(at, ",1");
	assert_null(remember(text));
	memset(text + 7, 'a', 5000);
	text[5007] = 0;
	assert_null(remember(text));
}

/* Digits and what makes other tokens of them, quotes, comments, ends of lines: dense where mistakes would be. */
static const char bits[] = "0123459aexb_$.'\"-/*\\ \n,();+uEXN";

/* Every other change is at the edge of a hole of S or inside it. */
static char *mutate(struct sqlgen *g, const char *text, const struct shape *s)
{
	size_t len = strlen(text);
	char *out = malloc(len + 8);
	memcpy(out, text, len + 1);
	for (unsigned i = gen_below(g, 3) + 1; i-- > 0 && len;) {
		size_t at = gen_below(g, (unsigned)len);
		if (s && s->n_holes && s->n_holes <= SHAPE_HOLES && gen_below(g, 2)) {
			const struct shape_hole *h = &s->holes[gen_below(g, s->n_holes)];
			at = h->at + gen_below(g, h->end - h->at + 1);
			at = at < len ? at : len - 1;
		}
		char c = bits[gen_below(g, sizeof bits - 1)];
		switch (gen_below(g, 3)) {
		case 0:
			out[at] = c;
			break;
		case 1:
			memmove(out + at + 1, out + at, len++ - at + 1);
			out[at] = c;
			break;
		default:
			memmove(out + at, out + at + 1, len-- - at);
			break;
		}
	}
	return out;
}

/* TEXT with other constants in the holes. */
static char *refill(struct sqlgen *g, const char *text, const struct shape *s)
{
	char *out = NULL;
	size_t len = 0, from = 0;
	FILE *f = open_memstream(&out, &len);
	for (unsigned i = 0; i < s->n_holes; from = s->holes[i++].end) {
		fwrite(text + from, 1, s->holes[i].at - from, f);
		g->out = f;
		if (s->holes[i].is_string)
			GEN(g, "", "x", "7", "set_config(", "--", "/*", "\\", "a\nb", "\xc3\xa9");
		else
			GEN(g, "0", "1", "007", "123456789012345678901234567890");
	}
	fputs(text + from, f);
	fclose(f);
	return out;
}

#define TEMPLATES 3000u
#define MUTANTS 40u

static void what_fits_has_the_same_shape(void **state)
{
	struct made *a = mem_alloc(sizeof *a), *b = mem_alloc(sizeof *b);
	unsigned fitting = 0, mutants = 0;
	for (unsigned i = 0; i < TEMPLATES; i++) {
		struct sqlgen g = { .seed = i };
		char *template = gen_template(&g), *text = gen_write(&g, template);
		make(a, text);
		struct recall *r = a->verdict == SHAPE_OK ? recall_new(slice_text(text), &a->s) : NULL;
		for (unsigned j = 0; r && j < MUTANTS; j++, mutants++) {
			char *other = j % 4 ? mutate(&g, text, &a->s) : refill(&g, text, &a->s);
			bool fits = recall_fits(r, slice_text(other));
			make(b, other);
			if (j % 4 == 0 && !fits)
				fail_msg("seed %u: does not fit\n  %s\n  %s", i, text, other);
			if (fits && (!is_same_shape(a, b) || recall_key(slice_text(text)) != recall_key(slice_text(other))))
				fail_msg("seed %u: fits, but is not of its shape or has another key\n  %s\n  %s", i, text, other);
			fitting += fits && j % 4;
			free(other);
		}
		mem_free(r);
		free(text);
		free(template);
	}
	assert_true(mutants > TEMPLATES * MUTANTS / 2);
	assert_true(fitting > mutants / 20);
	mem_free(a);
	mem_free(b);
}

static void a_cache_that_recalls_says_what_reading_says(void **state)
{
	struct sql_cache *cache = sql_cache_new(64 << 10);
	const struct sql_dialect reads = { .unsafe_encoding = true }; /* same meaning for ASCII, and nothing is recalled */
	for (unsigned i = 0; i < TEMPLATES; i++) {
		struct sqlgen g = { .seed = i % (TEMPLATES / 2) };
		char *template = gen_template(&g), *text = gen_write(&g, template), *other = mutate(&g, text, NULL);
		const char *const texts[] = { text, other, text };
		for (unsigned j = 0; j < ARRAY_LEN(texts); j++) {
			struct sql_class *got = sql_classify(cache, slice_text(texts[j]), plain);
			struct sql_class *want = sql_classify(cache, slice_text(texts[j]), reads);
			if (got != want && (got->n != want->n || got->effects != want->effects || got->is_opaque != want->is_opaque))
				fail_msg("seed %u: %s", i, texts[j]);
			sql_class_unref(got);
			sql_class_unref(want);
		}
		free(other);
		free(text);
		free(template);
	}
	sql_cache_free(cache);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_constants_fit),
		cmocka_unit_test(other_texts_do_not),
		cmocka_unit_test(too_many_are_not_kept),
		cmocka_unit_test(what_fits_has_the_same_shape),
		cmocka_unit_test(a_cache_that_recalls_says_what_reading_says),
	};
	return UNIT_RUN(tests);
}
