/* frame: every byte, every bound of the table, every split. */
#include "wire/frame.h"

#include "base/compiler.h"
#include "tbl/messages.h"
#include "unit.h"

static enum frame_result frame_of(enum frame_side side, uint8_t type, uint32_t length_word, size_t here, struct frame *f)
{
	static uint8_t bytes[64];
	bytes[0] = type;
	bytes[1] = (uint8_t)(length_word >> 24);
	bytes[2] = (uint8_t)(length_word >> 16);
	bytes[3] = (uint8_t)(length_word >> 8);
	bytes[4] = (uint8_t)length_word;
	return frame_next(slice_of(bytes, here), side, f);
}

static void a_header_needs_five_bytes(void **state)
{
	struct frame f;
	for (size_t here = 0; here < FRAME_HEADER; here++)
		assert_int_equal(frame_of(FRAME_FROM_CLIENT, 'S', 4, here, &f), FRAME_SHORT);
	assert_int_equal(frame_of(FRAME_FROM_CLIENT, 'S', 4, 5, &f), FRAME_OK);
	assert_true(frame_is_whole(&f));
	assert_int_equal(frame_size(&f), 5);
}

static void the_body_is_what_is_there(void **state)
{
	struct frame f;
	assert_int_equal(frame_of(FRAME_FROM_SERVER, 'D', 4 + 10, 5 + 3, &f), FRAME_OK);
	assert_int_equal(f.type, 'D');
	assert_int_equal(f.body_len, 10);
	assert_int_equal(f.body.len, 3);
	assert_false(frame_is_whole(&f));
	assert_int_equal(frame_size(&f), 15);
	assert_int_equal(frame_of(FRAME_FROM_SERVER, 'D', 4 + 10, 5 + 30, &f), FRAME_OK);
	assert_int_equal(f.body.len, 10);
	assert_true(frame_is_whole(&f));
}

static const struct row {
	enum frame_side side;
	uint8_t byte;
	const char *name;
	uint32_t least, greatest;
} rows[] = {
#define CLIENT FRAME_FROM_CLIENT
#define SERVER FRAME_FROM_SERVER
#define MESSAGE(byte, direction, name, least, greatest, sentence) { direction, byte, name, least, greatest },
#include "tbl/messages.h"
};

static const struct row *row_of(enum frame_side side, unsigned byte)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].side == side && rows[i].byte == byte)
			return &rows[i];
	return NULL;
}

static void check_row(enum frame_side side, uint8_t byte, const struct row *row)
{
	struct frame f;
	const uint32_t words[] = { 0, 1, 2, 3, 0x80000000u, 0xffffffffu, 0x7fffffffu, 0x40000005u };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_int_equal(frame_of(side, byte, words[i], 5, &f), FRAME_BAD);
	if (!row) {
		for (uint32_t word = 4; word < 70000; word++)
			assert_int_equal(frame_of(side, byte, word, 5, &f), FRAME_BAD);
		assert_string_equal(frame_name(side, byte), "?");
		return;
	}
	assert_string_equal(frame_name(side, byte), row->name);
	assert_int_equal(frame_of(side, byte, row->least + 4, 5, &f), FRAME_OK);
	assert_int_equal(f.body_len, row->least);
	assert_int_equal(frame_of(side, byte, row->greatest + 4, 5, &f), FRAME_OK);
	assert_int_equal(f.body_len, row->greatest);
	assert_int_equal(frame_of(side, byte, row->greatest + 5, 5, &f), FRAME_BAD);
	assert_int_equal(frame_of(side, byte, row->least + 3, 5, &f), FRAME_BAD);
}

static void every_byte_keeps_to_the_table(void **state)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		check_row(FRAME_FROM_CLIENT, (uint8_t)byte, row_of(FRAME_FROM_CLIENT, byte));
		check_row(FRAME_FROM_SERVER, (uint8_t)byte, row_of(FRAME_FROM_SERVER, byte));
	}
}

static void a_run_is_of_whole_good_messages_of_one_type(void **state)
{
	static const uint8_t in[] = { 'D', 0, 0, 0, 6, 0, 0, 'D', 0, 0, 0, 7, 0, 0, 9, 'D', 0, 0, 0, 6, 0, 0, 'C', 0, 0, 0, 5, 0 };
	static const uint8_t bad[] = { 'D', 0, 0, 0, 6, 0, 0, 'D', 0, 0, 0, 3, 0, 0 };
	size_t upto[] = { 0, 4, 6, 7, 8, 14, 15, 21, 22, sizeof in }, run[] = { 0, 0, 0, 7, 7, 7, 15, 15, 22, 22 };
	for (size_t i = 0; i < ARRAY_LEN(upto); i++)
		assert_int_equal(frame_run(slice_of(in, upto[i]), FRAME_FROM_SERVER, 'D', SIZE_MAX), run[i]);
	assert_int_equal(frame_run(slice_of(in, sizeof in), FRAME_FROM_SERVER, 'd', SIZE_MAX), 0);
	assert_int_equal(frame_run(slice_of(bad, sizeof bad), FRAME_FROM_SERVER, 'D', SIZE_MAX), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_needs_five_bytes),
		cmocka_unit_test(the_body_is_what_is_there),
		cmocka_unit_test(every_byte_keeps_to_the_table),
		cmocka_unit_test(a_run_is_of_whole_good_messages_of_one_type),
	};
	return UNIT_RUN(tests);
}
