/* reader and writer: what one writes the other reads; both latch at the first byte that is not there. */
#include "wire/reader.h"

#include "unit.h"
#include "wire/writer.h"

static void what_was_written_is_read(void **state)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'x');
	writer_u8(&w, 0xfe);
	writer_u16(&w, 0xfedc);
	writer_u32(&w, 0xfedcba98u);
	writer_text(&w, "name");
	writer_slice_text(&w, slice_of("value+", 5));
	writer_bytes(&w, slice_of("abc", 3));
	writer_end(&w);
	assert_true(writer_ok(&w));

	struct reader r;
	reader_init(&r, writer_slice(&w));
	assert_int_equal(reader_u8(&r), 'x');
	assert_int_equal(reader_i32(&r), (int)writer_slice(&w).len - 1);
	assert_int_equal(reader_u8(&r), 0xfe);
	assert_int_equal(reader_u16(&r), 0xfedc);
	assert_int_equal(reader_u32(&r), 0xfedcba98u);
	assert_string_equal((const char *)reader_text(&r).at, "name");
	assert_true(slice_equal(reader_text(&r), slice_text("value")));
	assert_false(reader_done(&r));
	assert_int_equal(reader_left(&r), 3);
	assert_true(slice_equal(reader_bytes(&r, 3), slice_text("abc")));
	assert_true(reader_done(&r));
}

static void a_reader_latches(void **state)
{
	struct reader r;
	reader_init(&r, slice_of("\0\0\1", 3));
	assert_int_equal(reader_u32(&r), 0);
	assert_false(reader_ok(&r));
	assert_int_equal(reader_u8(&r), 0); /* a byte is there, but it is too late */
	assert_int_equal(reader_left(&r), 0);
	assert_int_equal(reader_text(&r).len, 0);
	assert_int_equal(reader_bytes(&r, 0).len, 0);
	assert_false(reader_done(&r));
}

static void a_text_needs_its_zero(void **state)
{
	struct reader r;
	reader_init(&r, slice_of("abc", 3));
	assert_int_equal(reader_text(&r).len, 0);
	assert_false(reader_ok(&r));
	reader_init(&r, slice_of("abc", 4));
	assert_int_equal(reader_text(&r).len, 3);
	assert_true(reader_done(&r));
	reader_init(&r, (struct slice){ 0 });
	assert_true(reader_done(&r));
	assert_int_equal(reader_text(&r).len, 0);
	assert_false(reader_ok(&r));
}

static void bytes_beyond_the_end_are_refused_whatever_the_number(void **state)
{
	struct reader r;
	reader_init(&r, slice_of("abc", 3));
	assert_int_equal(reader_bytes(&r, SIZE_MAX).len, 0);
	assert_false(reader_ok(&r));
}

static void a_full_writer_gives_nothing(void **state)
{
	for (size_t cap = 0; cap < 9; cap++) {
		uint8_t space[16];
		memset(space, 0xaa, sizeof space);
		struct writer w;
		writer_init(&w, space, cap);
		writer_begin(&w, 'Z');
		writer_u16(&w, 1);
		writer_u8(&w, 'I');
		writer_u8(&w, 0);
		writer_end(&w);
		assert_false(writer_ok(&w));
		assert_int_equal(writer_slice(&w).len, 0);
		assert_int_equal(space[cap], 0xaa);
	}
}

static void a_growing_writer_grows(void **state)
{
	struct writer w;
	writer_init_grow(&w);
	for (uint32_t i = 0; i < 1000; i++) {
		writer_begin(&w, 'D');
		writer_u32(&w, i);
		writer_end(&w);
	}
	assert_int_equal(writer_slice(&w).len, 9000);
	struct reader r;
	reader_init(&r, writer_slice(&w));
	for (uint32_t i = 0; i < 1000; i++) {
		reader_u8(&r);
		assert_int_equal(reader_u32(&r), 8);
		assert_int_equal(reader_u32(&r), i);
	}
	assert_true(reader_done(&r));
	writer_fini(&w);
	assert_int_equal(writer_slice(&w).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),    cmocka_unit_test(a_reader_latches),
		cmocka_unit_test(a_text_needs_its_zero),       cmocka_unit_test(bytes_beyond_the_end_are_refused_whatever_the_number),
		cmocka_unit_test(a_full_writer_gives_nothing), cmocka_unit_test(a_growing_writer_grows),
	};
	return UNIT_RUN(tests);
}
