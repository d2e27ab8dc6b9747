/* replies: what each entry accepts at each point, byte by byte; the doubt that a failed COPY leaves; the ring. */
#include "wire/replies.h"

#include <string.h>

#include "unit.h"

#include "base/compiler.h"

static bool push(struct replies *q, enum reply_kind kind, uint32_t number)
{
	return replies_push(q, (struct reply){ .kind = (uint8_t)kind, .number = number });
}

static bool push_local(struct replies *q, enum reply_kind kind, uint32_t number)
{
	return replies_push(q, (struct reply){ .kind = (uint8_t)kind, .fate = REPLY_LOCAL, .number = number });
}

static void expect(struct replies *q, char type, enum reply_verdict verdict, uint32_t number)
{
	struct reply e = { 0 };
	assert_int_equal(replies_on_message(q, (uint8_t)type, &e), verdict);
	assert_int_equal(e.number, number);
}

static void expect_skipped(struct replies *q, uint32_t number)
{
	struct reply e;
	assert_true(replies_skipped(q, &e));
	assert_int_equal(e.number, number);
	assert_int_equal(e.kind == REPLY_SYNC_EATEN || e.kind == REPLY_SYNC_DOUBTFUL, false);
}

static void expect_local(struct replies *q, uint32_t number)
{
	struct reply e;
	assert_true(replies_local(q, &e));
	assert_int_equal(e.number, number);
}

static void expect_nothing_to_take(struct replies *q)
{
	struct reply e;
	assert_false(replies_skipped(q, &e));
	assert_false(replies_local(q, &e));
}

static void expect_as_new(struct replies *q)
{
	expect_nothing_to_take(q);
	assert_true(replies_is_empty(q));
	assert_null(replies_head(q));
	assert_int_equal(q->syncs, 0);
	assert_int_equal(q->doubtful, 0);
	assert_int_equal(q->skipping, 0);
	replies_fini(q);
}

/* Each row: an entry, the answers it has had so far, and what may come now: as a part, to end it, to fail it. */
static const struct {
	enum reply_kind kind;
	const char *before, *part, *done, *failed;
} accepts[] = {
	{ REPLY_PARSE, "", "", "1", "E" },
	{ REPLY_BIND, "", "", "2", "E" },
	{ REPLY_CLOSE, "", "", "3", "E" },
	{ REPLY_DESCRIBE_STATEMENT, "", "t", "", "E" },
	{ REPLY_DESCRIBE_STATEMENT, "t", "", "Tn", "E" },
	{ REPLY_DESCRIBE_PORTAL, "", "", "Tn", "E" },
	{ REPLY_EXECUTE, "", "DGH", "CIs", "E" },
	{ REPLY_EXECUTE, "D", "D", "Cs", "E" },
	{ REPLY_EXECUTE, "H", "dc", "", "E" },
	{ REPLY_EXECUTE, "Hd", "dc", "", "E" },
	{ REPLY_EXECUTE, "Hdc", "", "C", "E" },
	{ REPLY_EXECUTE, "G", "", "", "E" },
	{ REPLY_SYNC, "", "E", "Z", "" },
	{ REPLY_SYNC, "E", "E", "Z", "" },
	{ REPLY_QUERY, "", "TCIGHWE", "", "" },
	{ REPLY_QUERY, "T", "TDCE", "", "" },
	{ REPLY_QUERY, "TD", "TDCE", "", "" },
	{ REPLY_QUERY, "TDC", "TCGHWE", "Z", "" },
	{ REPLY_QUERY, "I", "E", "Z", "" },
	{ REPLY_QUERY, "E", "E", "Z", "" },
	{ REPLY_QUERY, "CTDE", "E", "Z", "" },
	{ REPLY_QUERY, "G", "E", "", "" },
	{ REPLY_QUERY, "H", "dcE", "", "" },
	{ REPLY_QUERY, "Hdc", "CTHE", "", "" },
	{ REPLY_QUERY, "HdE", "E", "Z", "" },
	{ REPLY_QUERY, "HdcC", "TCGHWE", "Z", "" },
	{ REPLY_QUERY, "W", "dcCE", "", "" },
	{ REPLY_QUERY, "Wddc", "CTHE", "", "" },
	{ REPLY_QUERY, "WddcTDC", "TCGHWE", "Z", "" },
	{ REPLY_FUNCTION, "", "VE", "", "" },
	{ REPLY_FUNCTION, "V", "E", "Z", "" },
	{ REPLY_FUNCTION, "E", "E", "Z", "" },
	{ REPLY_FUNCTION, "VE", "E", "Z", "" },
};

static enum reply_verdict accepted(size_t row, unsigned type)
{
	if (type && strchr("NSA", (int)type))
		return REPLY_ASYNC;
	if (type && strchr(accepts[row].part, (int)type))
		return REPLY_PART;
	if (type && strchr(accepts[row].done, (int)type))
		return REPLY_DONE;
	return type && strchr(accepts[row].failed, (int)type) ? REPLY_FAILED : REPLY_UNEXPECTED;
}

static void each_entry_accepts_its_answers_and_no_other_byte(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(accepts); row++) {
		for (unsigned type = 0; type < 256; type++) {
			struct replies q = { 0 };
			struct reply e;
			assert_true(push(&q, accepts[row].kind, 1));
			for (const char *c = accepts[row].before; *c; c++)
				expect(&q, *c, REPLY_PART, 1);
			assert_int_equal(replies_on_message(&q, (uint8_t)type, &e), accepted(row, type));
			while (replies_clear(&q, &e))
				;
			expect_as_new(&q);
		}
	}
}

static void nothing_is_expected_of_an_idle_server(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		struct replies q = { 0 };
		struct reply e;
		bool is_async = type == 'N' || type == 'S' || type == 'A';
		assert_int_equal(replies_on_message(&q, (uint8_t)type, &e), is_async ? REPLY_ASYNC : REPLY_UNEXPECTED);
		expect_as_new(&q);
	}
}

static void an_error_skips_to_the_next_sync(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_PARSE, 1));
	assert_true(push(&q, REPLY_BIND, 2));
	assert_true(push(&q, REPLY_QUERY, 3));
	assert_true(push_local(&q, REPLY_PARSE, 4));
	assert_true(push(&q, REPLY_SYNC, 5));
	assert_true(push_local(&q, REPLY_PARSE, 6));
	assert_int_equal(q.syncs, 2);
	expect(&q, 'E', REPLY_FAILED, 1);
	expect_skipped(&q, 2);
	expect_skipped(&q, 3);
	expect_skipped(&q, 4);
	expect_nothing_to_take(&q);
	assert_int_equal(q.syncs, 1);
	expect(&q, 'Z', REPLY_DONE, 5);
	expect_local(&q, 6);
	expect_as_new(&q);
}

static void skipping_goes_on_for_what_is_pushed_later(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_BIND, 1));
	expect(&q, 'E', REPLY_FAILED, 1);
	assert_true(replies_is_skipping(&q));
	assert_false(push(&q, REPLY_EXECUTE, 2));
	assert_false(push(&q, REPLY_QUERY, 3));
	assert_false(push_local(&q, REPLY_PARSE, 4));
	assert_false(push_local(&q, REPLY_SYNC, 4));
	assert_false(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_SYNC, 5));
	assert_false(replies_is_skipping(&q));
	assert_true(push(&q, REPLY_PARSE, 6));
	expect(&q, 'Z', REPLY_DONE, 5);
	expect(&q, '1', REPLY_DONE, 6);
	expect_as_new(&q);
}

static void an_error_at_a_flush_skips_too(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_BIND, 1));
	expect(&q, '2', REPLY_DONE, 1);
	expect(&q, 'E', REPLY_ASYNC, 0);
	assert_true(replies_is_skipping(&q));
	expect(&q, 'E', REPLY_UNEXPECTED, 0);
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'Z', REPLY_DONE, 2);
	expect(&q, 'E', REPLY_UNEXPECTED, 0);
	expect_as_new(&q);
}

static void a_copy_that_succeeds_has_eaten_its_syncs(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_EXECUTE, 1));
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'G', REPLY_PART, 1);
	assert_int_equal(replies_copy(&q), REPLY_COPY_IN);
	expect(&q, 'C', REPLY_UNEXPECTED, 0); /* no CopyDone was sent */
	struct reply e;
	while (replies_clear(&q, &e))
		;
	assert_true(push(&q, REPLY_EXECUTE, 1));
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'G', REPLY_PART, 1);
	assert_true(push(&q, REPLY_SYNC, 3));
	assert_true(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_SYNC, 4));
	expect_nothing_to_take(&q);
	expect(&q, 'C', REPLY_DONE, 1);
	expect_skipped(&q, 2);
	expect_skipped(&q, 3);
	assert_int_equal(q.syncs, 1);
	expect(&q, 'Z', REPLY_DONE, 4);
	expect_as_new(&q);
}

/* What libpq sends for COPY FROM with parameters: Execute, Sync, data, CopyDone, Sync. */
static struct replies failed_copy(void)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_EXECUTE, 1));
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'G', REPLY_PART, 1);
	assert_true(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_SYNC, 3));
	expect(&q, 'E', REPLY_FAILED, 1);
	expect_nothing_to_take(&q);
	assert_int_equal(q.syncs, 1);
	assert_int_equal(q.doubtful, 1);
	assert_false(replies_is_doubtful(&q));
	return q;
}

static void a_copy_that_fails_early_answers_every_sync(void **state)
{
	struct replies q = failed_copy();
	expect(&q, 'Z', REPLY_DONE, 2);
	expect_nothing_to_take(&q);
	assert_true(replies_is_doubtful(&q));
	expect(&q, 'Z', REPLY_DONE, 3);
	expect_as_new(&q);
}

static void a_copy_that_fails_late_leaves_doubt_that_an_empty_query_settles(void **state)
{
	struct replies q = failed_copy();
	expect(&q, 'Z', REPLY_DONE, 2);
	assert_true(replies_is_doubtful(&q));
	assert_int_equal(q.syncs, 0);
	assert_true(push_local(&q, REPLY_PARSE, 4)); /* the client goes on and must not wait for us to know */
	expect_local(&q, 4);
	assert_true(push(&q, REPLY_QUERY, 5));
	assert_false(replies_is_doubtful(&q));
	expect(&q, 'I', REPLY_PART, 5);
	expect(&q, 'Z', REPLY_DONE, 5);
	expect_skipped(&q, 3);
	expect_as_new(&q);
}

static void the_second_ready_may_come_before_the_query(void **state)
{
	struct replies q = failed_copy();
	expect(&q, 'Z', REPLY_DONE, 2);
	assert_true(push(&q, REPLY_QUERY, 5));
	expect(&q, 'Z', REPLY_DONE, 3);
	expect(&q, 'I', REPLY_PART, 5);
	expect(&q, 'Z', REPLY_DONE, 5);
	expect_as_new(&q);
}

static void doubt_that_counting_cannot_bound_gives_up(void **state)
{
	struct replies q = { 0 };
	struct reply e;
	assert_true(push(&q, REPLY_EXECUTE, 1));
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'G', REPLY_PART, 1);
	assert_true(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_BIND, 3)); /* skipped if Sync 2 was eaten, else not */
	assert_true(push(&q, REPLY_SYNC, 4));
	expect(&q, 'E', REPLY_FAILED, 1);
	expect_nothing_to_take(&q);
	expect(&q, 'Z', REPLY_UNEXPECTED, 0);
	uint32_t refs = 0;
	while (replies_clear(&q, &e))
		refs += e.number;
	assert_int_equal(refs, 9);
	expect_as_new(&q);
}

static void a_simple_copy_leaves_the_same_doubt(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_QUERY, 1));
	assert_true(push(&q, REPLY_SYNC, 2));
	expect(&q, 'G', REPLY_PART, 1);
	expect(&q, 'E', REPLY_PART, 1);
	assert_int_equal(q.failed, 1);
	assert_true(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_BIND, 3));
	expect(&q, 'Z', REPLY_DONE, 1);
	expect(&q, '2', REPLY_DONE, 3);
	expect_skipped(&q, 2);
	expect_as_new(&q);
}

static void stray_copy_ends_vanish(void **state)
{
	struct replies q = { 0 };
	assert_false(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_QUERY, 1));
	assert_true(push(&q, REPLY_COPY_END, 0));
	assert_true(push(&q, REPLY_COPY_END, 0));
	expect(&q, 'I', REPLY_PART, 1);
	expect(&q, 'Z', REPLY_DONE, 1);
	expect_as_new(&q);
}

static void local_answers_wait_for_their_turn(void **state)
{
	struct replies q = { 0 };
	assert_true(push_local(&q, REPLY_PARSE, 1));
	expect_local(&q, 1);
	assert_true(push(&q, REPLY_BIND, 2));
	assert_true(push_local(&q, REPLY_CLOSE, 3));
	assert_true(push_local(&q, REPLY_SYNC, 4));
	expect_nothing_to_take(&q);
	expect(&q, '2', REPLY_DONE, 2);
	expect_local(&q, 3);
	expect_local(&q, 4);
	expect_as_new(&q);
}

static void the_ring_keeps_order_while_it_grows_and_wraps(void **state)
{
	struct replies q = { 0 };
	uint32_t in = 0, out = 0;
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < round; i++)
			assert_true(push(&q, REPLY_PARSE, ++in));
		while (q.len > (uint32_t)round / 3)
			expect(&q, '1', REPLY_DONE, ++out);
	}
	while (!replies_is_empty(&q))
		expect(&q, '1', REPLY_DONE, ++out);
	assert_int_equal(in, out);
	expect_as_new(&q);
}

static void the_steady_path_allocates_nothing(void **state)
{
	struct replies q = { 0 };
	assert_true(push(&q, REPLY_SYNC, 0));
	const struct reply *ring = q.ring;
	uint32_t cap = q.cap;
	expect(&q, 'Z', REPLY_DONE, 0);
	for (uint32_t n = 0; n < 1000; n++) {
		for (int i = 0; i < 4; i++)
			assert_true(push(&q, REPLY_BIND, n));
		for (int i = 0; i < 4; i++)
			expect(&q, '2', REPLY_DONE, n);
		assert_ptr_equal(q.ring, ring);
	}
	assert_int_equal(q.cap, cap);
	expect_as_new(&q);
}

static void plain_messages_pass_together(void **state)
{
	static const char answer[] = "2\0\0\0\4T\0\0\0\6\0\0D\0\0\0\6\0\0D\0\0\0\6\0\0C\0\0\0\5x1\0\0\0\4"
	                             "Z\0\0\0\5I";
	static const size_t ends[] = { 5, 12, 19, 26, 32 };
	for (size_t len = 0; len < sizeof answer; len++) {
		struct replies q = { 0 };
		size_t whole = 0;
		assert_true(push(&q, REPLY_BIND, 0) && push(&q, REPLY_DESCRIBE_PORTAL, 1) && push(&q, REPLY_EXECUTE, 2));
		assert_true(push(&q, REPLY_SYNC, 3));
		for (size_t i = 0; i < ARRAY_LEN(ends); i++)
			whole = ends[i] <= len ? ends[i] : whole;
		assert_int_equal(replies_pass(&q, slice_of(answer, len), SIZE_MAX), whole);
		assert_int_equal(q.len, whole < 5 ? 4 : whole < 12 ? 3 : whole < 32 ? 2 : 1);
		replies_fini(&q);
	}
}

static void what_has_consequences_does_not_pass(void **state)
{
	static const struct reply entries[] = {
		{ .kind = REPLY_PARSE, .tag = 1 },
		{ .kind = REPLY_PARSE, .fate = REPLY_SWALLOW },
	};
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		struct replies q = { 0 };
		assert_true(replies_push(&q, entries[i]));
		assert_int_equal(replies_pass(&q, slice_of("1\0\0\0\4", 5), SIZE_MAX), 0);
		expect(&q, '1', REPLY_DONE, 0);
		replies_fini(&q);
	}
	struct replies q = { 0 };
	assert_int_equal(replies_pass(&q, slice_of("1\0\0\0\4", 5), SIZE_MAX), 0);
	assert_true(push(&q, REPLY_PARSE, 0));
	assert_int_equal(replies_pass(&q, slice_of("2\0\0\0\4", 5), SIZE_MAX), 0);
	assert_int_equal(replies_pass(&q, slice_of("1\0\0\0\5", 5), SIZE_MAX), 0);
	assert_int_equal(replies_pass(&q, slice_of("N\0\0\0\5", 6), SIZE_MAX), 0);
	replies_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_messages_pass_together),
		cmocka_unit_test(what_has_consequences_does_not_pass),
		cmocka_unit_test(each_entry_accepts_its_answers_and_no_other_byte),
		cmocka_unit_test(nothing_is_expected_of_an_idle_server),
		cmocka_unit_test(an_error_skips_to_the_next_sync),
		cmocka_unit_test(skipping_goes_on_for_what_is_pushed_later),
		cmocka_unit_test(an_error_at_a_flush_skips_too),
		cmocka_unit_test(a_copy_that_succeeds_has_eaten_its_syncs),
		cmocka_unit_test(a_copy_that_fails_early_answers_every_sync),
		cmocka_unit_test(a_copy_that_fails_late_leaves_doubt_that_an_empty_query_settles),
		cmocka_unit_test(the_second_ready_may_come_before_the_query),
		cmocka_unit_test(doubt_that_counting_cannot_bound_gives_up),
		cmocka_unit_test(a_simple_copy_leaves_the_same_doubt),
		cmocka_unit_test(stray_copy_ends_vanish),
		cmocka_unit_test(local_answers_wait_for_their_turn),
		cmocka_unit_test(the_ring_keeps_order_while_it_grows_and_wraps),
		cmocka_unit_test(the_steady_path_allocates_nothing),
	};
	return UNIT_RUN(tests);
}
