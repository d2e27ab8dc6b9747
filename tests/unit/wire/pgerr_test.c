/* pgerr: what servers send, what they must not, and what we write ourselves. */
#include "wire/pgerr.h"

#include "unit.h"

#define BYTES(literal) slice_of(literal, sizeof(literal) - 1)

static void a_servers_error_is_read(void **state)
{
	struct pgerr e;
	assert_true(
	    pgerr_read(BYTES("SFEHLER\0VERROR\0C42P01\0Mrelation \"x\" does not exist\0P15\0Fparse_relation.c\0L1381\0\0"), &e));
	assert_true(slice_equal(e.severity, slice_text("ERROR")));
	assert_true(pgerr_has_state(&e, "42P01"));
	assert_false(pgerr_has_state(&e, "42P0"));
	assert_true(slice_equal(e.message, slice_text("relation \"x\" does not exist")));
	assert_int_equal(e.detail.len, 0);
	assert_false(pgerr_is_fatal(&e));
	assert_true(pgerr_read(BYTES("SFATAL\0C57P01\0Mgone\0Dd\0Hh\0\0"), &e));
	assert_true(pgerr_is_fatal(&e));
	struct err err;
	pgerr_to_err(&e, &err);
	assert_string_equal(err.sqlstate, "57P01");
	assert_string_equal(err.text, "gone");
	assert_string_equal(err.detail, "d");
	assert_string_equal(err.hint, "h");
}

static void missing_fields_are_empty(void **state)
{
	struct pgerr e;
	assert_true(pgerr_read(BYTES("\0"), &e));
	assert_int_equal(e.severity.len, 0);
	assert_true(pgerr_has_state(&e, "XX000"));
	assert_true(pgerr_read(BYTES("SERROR\0C123456\0\0"), &e));
	assert_true(pgerr_has_state(&e, "XX000"));
	struct err err;
	pgerr_to_err(&e, &err);
	assert_string_equal(err.text, "");
}

static void malformed_bodies_are_refused(void **state)
{
	struct pgerr e;
	assert_false(pgerr_read(BYTES(""), &e));
	assert_false(pgerr_read(BYTES("S"), &e));
	assert_false(pgerr_read(BYTES("SERROR"), &e));
	assert_false(pgerr_read(BYTES("SERROR\0"), &e));
	assert_false(pgerr_read(BYTES("SERROR\0\0x"), &e));
}

static void a_part_gives_the_fields_that_are_whole(void **state)
{
	static const char body[] = "SERROR\0VERROR\0C22012\0Mdivision by zero\0Wsome context\0";
	struct pgerr e;
	assert_false(pgerr_read_head(slice_of(body, 3), &e));
	assert_true(pgerr_read_head(slice_of(body, 7), &e));
	assert_true(pgerr_has_state(&e, "XX000"));
	assert_true(pgerr_read_head(slice_of(body, 30), &e));
	assert_true(pgerr_has_state(&e, "22012"));
	assert_int_equal(e.message.len, 0);
	assert_true(pgerr_read_head(slice_of(body, 45), &e));
	assert_true(slice_equal(e.message, slice_text("division by zero")));
}

static void what_we_write_we_read(void **state)
{
	struct err err, back;
	err_set(&err, "08P01", "unexpected %s", "message");
	err_hint(&err, "look at the other side");
	uint8_t space[512];
	struct writer w;
	writer_init(&w, space, sizeof space);
	pgerr_write(&w, 'E', "FATAL", &err);
	assert_true(writer_ok(&w));
	struct slice m = writer_slice(&w);
	assert_int_equal(m.at[0], 'E');
	assert_int_equal(m.at[4], m.len - 1);
	struct pgerr e;
	assert_true(pgerr_read(slice_skip(m, 5), &e));
	assert_true(pgerr_is_fatal(&e));
	pgerr_to_err(&e, &back);
	assert_string_equal(back.sqlstate, "08P01");
	assert_string_equal(back.text, "unexpected message");
	assert_string_equal(back.detail, "");
	assert_string_equal(back.hint, "look at the other side");
}

static void a_long_text_is_cut_between_characters(void **state)
{
	char body[2000] = "M";
	size_t n = 1;
	while (n < 900) {
		memcpy(body + n, "\xe2\x82\xac", 3);
		n += 3;
	}
	struct pgerr e;
	assert_true(pgerr_read(slice_of(body, n + 2), &e));
	struct err err;
	pgerr_to_err(&e, &err);
	assert_int_equal(strlen(err.text), 399);
	memmove(body + 2, body + 1, n);
	body[1] = 'x';
	assert_true(pgerr_read(slice_of(body, n + 3), &e));
	pgerr_to_err(&e, &err);
	assert_int_equal(strlen(err.text), 397);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_servers_error_is_read),      cmocka_unit_test(missing_fields_are_empty),
		cmocka_unit_test(malformed_bodies_are_refused), cmocka_unit_test(a_part_gives_the_fields_that_are_whole),
		cmocka_unit_test(what_we_write_we_read),        cmocka_unit_test(a_long_text_is_cut_between_characters),
	};
	return UNIT_RUN(tests);
}
