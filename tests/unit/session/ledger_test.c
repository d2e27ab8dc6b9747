/* The ledger: of a fixed size, what is hot stays, and what is counted stands somewhere, once. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "../../../src/session/ledger.h"
#include "base/hash.h"
#include "sql/classify.h"

static struct sql_cache *cache;

static struct sql_class *class_of(unsigned i)
{
	char text[40];
	snprintf(text, sizeof text, "select a%u from t", i);
	return sql_classify(cache, slice_text(text), (struct sql_dialect){ 0 });
}

static struct ledger_row *count(struct ledger *l, unsigned i, uint64_t pool, uint32_t how)
{
	struct sql_class *class = class_of(i);
	struct ledger_key key = { .pool_id = pool, .node_id = (uint32_t)pool, .how = how, .class = class, .database = "shop" };
	struct ledger_row *r = ledger_row(l, &key);
	r->count++;
	r->heat++;
	sql_class_unref(class);
	return r;
}

static uint64_t sum(const struct ledger *l)
{
	uint64_t n = l->forgotten;
	for (unsigned i = 0; i < LEDGER_ROWS; i++)
		n += l->rows[i].count;
	return n;
}

static int begin(void **state)
{
	*state = ledger_new();
	cache = sql_cache_new(1 << 22);
	return 0;
}

static int end(void **state)
{
	ledger_free(*state);
	sql_cache_free(cache);
	return 0;
}

static void one_row_for_shape_pool_and_way(void **state)
{
	struct ledger *l = *state;
	struct ledger_row *r = count(l, 1, 7, 0);
	assert_ptr_equal(count(l, 1, 7, 0), r);
	assert_int_equal(r->count, 2);
	assert_string_equal(r->class->shape, "select a1 from t");
	assert_string_equal(r->database, "shop");
	assert_ptr_not_equal(count(l, 1, 8, 0), r);
	assert_ptr_not_equal(count(l, 1, 7, 1), r);
	assert_ptr_not_equal(count(l, 2, 7, 0), r);
	assert_int_equal(r->count, 2);
	assert_int_equal(r->node_id, 7);
}

static void what_has_no_class_is_one_row(void **state)
{
	struct ledger_key key = { .pool_id = 1, .database = "shop" };
	struct ledger_row *r = ledger_row(*state, &key);
	r->heat++;
	assert_ptr_equal(ledger_row(*state, &key), r);
	assert_null(r->class);
}

static void nothing_is_lost_and_what_is_hot_stays(void **state)
{
	struct ledger *l = *state;
	uint32_t hot = count(l, 0, 1, 0)->number, cold = count(l, 1, 1, 0)->number;
	uint64_t sent = 2;
	for (unsigned i = 2; i < 6 * LEDGER_ROWS; i++, sent += 3) {
		count(l, i, 1, 0);
		assert_int_equal(count(l, 0, 1, 0)->number, hot);
		count(l, 0, 1, 0);
	}
	assert_int_equal(sum(l), sent);
	assert_true(l->forgotten > 0);
	assert_non_null(ledger_numbered(l, hot));
	assert_null(ledger_numbered(l, cold));
	assert_null(ledger_numbered(l, 0));
}

static void nobody_goes_while_there_is_room(void **state)
{
	struct ledger *l = *state;
	unsigned n[LEDGER_ROWS] = { 0 };
	for (unsigned i = 0; i < LEDGER_ROWS; i++) {
		struct sql_class *class = class_of(i);
		struct ledger_row *set = ledger_set(l, class->shape_id, 1, 0);
		sql_class_unref(class);
		if (n[set - l->rows]++ < LEDGER_WAYS)
			count(l, i, 1, 0);
	}
	assert_int_equal(l->forgotten, 0);
}

static void times_of_the_forgotten_are_kept_in_sum(void **state)
{
	struct ledger *l = *state;
	for (unsigned i = 0; i < 3 * LEDGER_ROWS; i++)
		count(l, i, 1, 0)->time_us += 10;
	uint64_t us = l->forgotten_us;
	for (unsigned i = 0; i < LEDGER_ROWS; i++)
		us += l->rows[i].time_us;
	assert_int_equal(us, 30 * LEDGER_ROWS);
}

static void a_reason_has_a_number_while_it_is_remembered(void **state)
{
	struct ledger *l = *state;
	char text[40];
	uint32_t a = ledger_note(l, 1, "main.lua:3", "reports"), b;
	assert_int_not_equal(a, 0);
	assert_int_equal(ledger_note(l, 1, "main.lua:3", "reports"), a);
	assert_string_equal(ledger_reason(l, a)->text, "reports");
	assert_string_equal(ledger_reason(l, a)->place, "main.lua:3");
	assert_int_equal(ledger_reason(l, a)->generation, 1);
	b = ledger_note(l, 2, "main.lua:3", "reports");
	assert_int_not_equal(b, a);
	assert_int_equal(ledger_reason(l, b)->generation, 2);
	for (unsigned i = 0; i < 20 * LEDGER_REASONS; i++) {
		snprintf(text, sizeof text, "reason %u", i);
		assert_string_equal(ledger_reason(l, ledger_note(l, 1, "", text))->text, text);
	}
	assert_null(ledger_reason(l, a));
	assert_null(ledger_reason(l, 0));
}

int main(void)
{
	hash_init_key((const uint8_t[16]){ 1 });
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_row_for_shape_pool_and_way, begin, end),
		cmocka_unit_test_setup_teardown(what_has_no_class_is_one_row, begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_lost_and_what_is_hot_stays, begin, end),
		cmocka_unit_test_setup_teardown(nobody_goes_while_there_is_room, begin, end),
		cmocka_unit_test_setup_teardown(times_of_the_forgotten_are_kept_in_sum, begin, end),
		cmocka_unit_test_setup_teardown(a_reason_has_a_number_while_it_is_remembered, begin, end),
	};
	return UNIT_RUN(tests);
}
