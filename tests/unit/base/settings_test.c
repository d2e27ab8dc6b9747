/* settings against a plain array of values indexed by the name's number. */
#include "base/settings.h"

#include <stdio.h>
#include <strings.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "unit.h"

#define NAMES 12
#define VALUES 3

static const char *const names[NAMES] = { "search_path",           "TimeZone", "DateStyle",         "role", "app.tenant",
	                                      "application_name",      "a",        "statement_timeout", "B",    "client_encoding",
	                                      "session_authorization", "zz" };

struct model {
	int value[NAMES]; /* 0: absent */
};

static struct slice value_of(int v)
{
	static const char *const values[VALUES + 1] = { NULL, "", "one", "a much longer value, \"quoted\"" };
	return slice_text(values[v]);
}

static struct slice any_spelling(unsigned i, char *space)
{
	size_t len = strlen(names[i]);
	for (size_t k = 0; k < len; k++)
		space[k] = (char)(names[i][k] >= 'a' && names[i][k] <= 'z' && rand_fast() % 4 == 0 ? names[i][k] - 32 : names[i][k]);
	return slice_of(space, len);
}

static struct settings *step(struct settings *s, struct model *m)
{
	char space[64];
	unsigned i = (unsigned)(rand_fast() % NAMES);
	int v = (int)(rand_fast() % (VALUES + 1));
	struct slice name = any_spelling(i, space);
	struct settings *next = v ? settings_with(s, name, value_of(v)) : settings_without(s, name);
	assert_true((next == s) == (m->value[i] == v));
	m->value[i] = v;
	settings_unref(s);
	return next;
}

static void is_as_modelled(const struct settings *s, const struct model *m)
{
	size_t n = 0, bytes = 0;
	for (unsigned i = 0; i < NAMES; i++) {
		const char *got = settings_get(s, names[i]);
		assert_true((got != NULL) == (m->value[i] != 0));
		if (!got)
			continue;
		n++;
		bytes += strlen(names[i]) + value_of(m->value[i]).len + 2;
		assert_string_equal(got, (const char *)value_of(m->value[i]).at);
	}
	assert_int_equal(settings_len(s), n);
	assert_int_equal(settings_bytes(s), bytes);
	for (size_t i = 1; i < n; i++) {
		const char *a, *b, *v;
		settings_at(s, i - 1, &a, &v);
		settings_at(s, i, &b, &v);
		assert_true(strcasecmp(a, b) < 0);
	}
	bool has_scope = m->value[0] || m->value[3] || m->value[10];
	assert_int_equal(settings_name_scope(s) != 0, has_scope);
}

static void behaves_like_an_array(void **state)
{
	struct settings_table *t = settings_table_new();
	struct settings *s = settings_empty(t);
	struct model m = { 0 };
	for (unsigned i = 0; i < 20000; i++) {
		s = step(s, &m);
		is_as_modelled(s, &m);
	}
	settings_unref(s);
	settings_table_free(t);
}

static struct settings *from_model(struct settings_table *t, const struct model *m)
{
	struct settings *s = settings_empty(t);
	unsigned first = (unsigned)(rand_fast() % NAMES);
	char space[64];
	for (unsigned k = 0; k < NAMES; k++) {
		unsigned i = (first + k * 5) % NAMES;
		if (!m->value[i])
			continue;
		struct settings *next = settings_with(s, any_spelling(i, space), value_of(m->value[i]));
		settings_unref(s);
		s = next;
	}
	return s;
}

/* Many sets live at once, so that the table grows; whatever way a set was reached, there is one of it. */
static void equal_content_is_equal_pointer(void **state)
{
	enum { SETS = 600 };
	struct settings_table *t = settings_table_new();
	struct settings *s[SETS];
	struct model m[SETS];
	struct model now = { 0 };
	struct settings *at = settings_empty(t);
	for (unsigned i = 0; i < SETS; i++) {
		at = step(at, &now);
		m[i] = now;
		s[i] = settings_ref(at);
	}
	for (unsigned i = 0; i < SETS; i++) {
		struct settings *again = from_model(t, &m[i]);
		assert_ptr_equal(again, s[i]);
		settings_unref(again);
		for (unsigned k = 0; k < i; k++)
			assert_int_equal(s[i] == s[k], memcmp(&m[i], &m[k], sizeof m[i]) == 0);
	}
	for (unsigned i = 0; i < SETS; i++)
		settings_unref(s[i]);
	settings_unref(at);
	settings_table_free(t);
}

struct diffed {
	int from[NAMES], to[NAMES];
};

static int value_number(const char *value)
{
	for (int v = 1; v <= VALUES; v++)
		if (value && slice_equal(slice_text(value), value_of(v)))
			return v;
	return 0;
}

static void note_diff(void *arg, const char *name, const char *from, const char *to)
{
	struct diffed *d = arg;
	for (unsigned i = 0; i < NAMES; i++)
		if (strcasecmp(name, names[i]) == 0) {
			assert_int_equal(d->from[i], -1); /* once */
			d->from[i] = value_number(from);
			d->to[i] = value_number(to);
		}
}

static void diff_tells_what_differs_and_nothing_else(void **state)
{
	struct settings_table *t = settings_table_new();
	struct model m[2] = { { { 0 } }, { { 0 } } };
	struct settings *s[2] = { settings_empty(t), settings_empty(t) };
	for (unsigned round = 0; round < 3000; round++) {
		s[round % 2] = step(s[round % 2], &m[round % 2]);
		struct diffed d;
		memset(&d, 0xff, sizeof d);
		settings_diff(s[0], s[1], note_diff, &d);
		for (unsigned i = 0; i < NAMES; i++) {
			bool differs = m[0].value[i] != m[1].value[i];
			assert_int_equal(d.from[i], differs ? m[0].value[i] : -1);
			assert_int_equal(d.to[i], differs ? m[1].value[i] : -1);
		}
	}
	settings_unref(s[0]);
	settings_unref(s[1]);
	settings_table_free(t);
}

static void travels_to_another_table(void **state)
{
	struct settings_table *here = settings_table_new(), *there = settings_table_new();
	struct model m = { 0 };
	struct settings *s = settings_empty(here);
	for (unsigned i = 0; i < 500; i++) {
		s = step(s, &m);
		void *letter = settings_export(s);
		struct settings *arrived = settings_import(there, letter);
		mem_free(letter);
		is_as_modelled(arrived, &m);
		assert_int_equal(settings_name_scope(arrived), settings_name_scope(s));
		struct settings *own = from_model(there, &m);
		assert_ptr_equal(own, arrived);
		settings_unref(own);
		settings_unref(arrived);
	}
	settings_unref(s);
	settings_table_free(here);
	settings_table_free(there);
}

static void spelling_stays_as_it_came_first(void **state)
{
	struct settings_table *t = settings_table_new();
	struct settings *none = settings_empty(t);
	struct settings *a = settings_with(none, slice_text("TimeZone"), slice_text("UTC"));
	struct settings *b = settings_with(a, slice_text("timezone"), slice_text("CET"));
	const char *name, *value;
	settings_at(b, 0, &name, &value);
	assert_string_equal(name, "TimeZone");
	assert_string_equal(value, "CET");
	assert_int_equal(settings_len(b), 1);
	settings_unref(a);
	settings_unref(b);
	settings_unref(none);
	settings_table_free(t);
}

static void scope_is_about_names_only(void **state)
{
	struct settings_table *t = settings_table_new();
	struct settings *none = settings_empty(t);
	struct settings *a = settings_with(none, slice_text("search_path"), slice_text("app"));
	struct settings *b = settings_with(a, slice_text("timezone"), slice_text("CET"));
	struct settings *c = settings_with(b, slice_text("Search_Path"), slice_text("other"));
	struct settings *d = settings_without(c, slice_text("SEARCH_PATH"));
	assert_int_equal(settings_name_scope(none), 0);
	assert_int_not_equal(settings_name_scope(a), 0);
	assert_int_equal(settings_name_scope(a), settings_name_scope(b));
	assert_int_not_equal(settings_name_scope(b), settings_name_scope(c));
	assert_int_equal(settings_name_scope(d), 0);
	struct settings *all[] = { none, a, b, c, d };
	for (unsigned i = 0; i < 5; i++)
		settings_unref(all[i]);
	settings_table_free(t);
}

static void long_names_and_nuls_are_text(void **state)
{
	struct settings_table *t = settings_table_new();
	struct settings *none = settings_empty(t);
	char name[1000];
	memset(name, 'N', sizeof name);
	struct settings *a = settings_with(none, slice_of(name, sizeof name), slice_of("v\0hidden", 8));
	memset(name, 'n', sizeof name);
	struct settings *b = settings_with(none, slice_of(name, sizeof name), slice_text("v"));
	name[sizeof name - 1] = 'm';
	struct settings *c = settings_with(none, slice_of(name, sizeof name), slice_text("v"));
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(b, c);
	settings_unref(a);
	settings_unref(b);
	settings_unref(c);
	settings_unref(none);
	settings_table_free(t);
}

int main(void)
{
	hash_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves_like_an_array),
		cmocka_unit_test(equal_content_is_equal_pointer),
		cmocka_unit_test(diff_tells_what_differs_and_nothing_else),
		cmocka_unit_test(travels_to_another_table),
		cmocka_unit_test(spelling_stays_as_it_came_first),
		cmocka_unit_test(scope_is_about_names_only),
		cmocka_unit_test(long_names_and_nuls_are_text),
	};
	return UNIT_RUN(tests);
}
