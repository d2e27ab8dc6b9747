/* authmsg: both ends of each message; lies about lists and lengths. */
#include "wire/authmsg.h"

#include "unit.h"

#define BYTES(literal) slice_of(literal, sizeof(literal) - 1)

static uint8_t space[400];

static struct slice body_of(const struct writer *w, char type)
{
	struct slice m = writer_slice(w);
	assert_true(writer_ok(w));
	assert_int_equal(m.at[0], type);
	assert_int_equal((size_t)m.at[3] << 8 | m.at[4], m.len - 1);
	return slice_skip(m, 5);
}

static void what_the_server_writes_the_client_reads(void **state)
{
	struct writer w;
	struct authmsg m;
	writer_init(&w, space, sizeof space);
	authmsg_write_ok(&w);
	assert_true(authmsg_read(body_of(&w, 'R'), &m));
	assert_int_equal(m.kind, AUTHMSG_OK);

	writer_init(&w, space, sizeof space);
	authmsg_write_sasl(&w, false);
	assert_true(authmsg_read(body_of(&w, 'R'), &m));
	assert_int_equal(m.kind, AUTHMSG_SASL);
	assert_true(authmsg_offers(&m, "SCRAM-SHA-256"));
	assert_false(authmsg_offers(&m, "SCRAM-SHA-256-PLUS"));

	writer_init(&w, space, sizeof space);
	authmsg_write_sasl_step(&w, AUTHMSG_SASL_FINAL, BYTES("v=abc"));
	assert_true(authmsg_read(body_of(&w, 'R'), &m));
	assert_int_equal(m.kind, AUTHMSG_SASL_FINAL);
	assert_true(slice_equal(m.data, BYTES("v=abc")));
	assert_false(authmsg_offers(&m, "v=abc"));
}

static void malformed_requests_are_refused(void **state)
{
	struct authmsg m;
	const struct slice bad[] = {
		BYTES(""),
		BYTES("\0\0\0"),
		BYTES("\0\0\0\0x"),
		BYTES("\0\0\0\3x"),
		BYTES("\0\0\0\5abc"),
		BYTES("\0\0\0\5abcde"),
		BYTES("\0\0\0\x0a"),
		BYTES("\0\0\0\x0a\0"),
		BYTES("\0\0\0\x0aSCRAM"),
		BYTES("\0\0\0\x0aSCRAM\0"),
		BYTES("\0\0\0\x0aSCRAM\0\0x"),
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(authmsg_read(bad[i], &m));
	assert_true(authmsg_read(BYTES("\0\0\0\5abcd"), &m));
	assert_true(authmsg_read(BYTES("\0\0\0\x0a"
	                               "A\0B\0\0"),
	                         &m));
	assert_true(authmsg_offers(&m, "B"));
	assert_true(authmsg_read(BYTES("\0\0\0\x07"), &m));
	assert_int_equal(m.kind, 7);
}

static void initial_responses(void **state)
{
	struct writer w;
	struct slice mechanism, payload;
	writer_init(&w, space, sizeof space);
	authmsg_write_initial(&w, "SCRAM-SHA-256", BYTES("n,,n=,r=x"));
	assert_true(authmsg_read_initial(body_of(&w, 'p'), &mechanism, &payload));
	assert_true(slice_equal(mechanism, BYTES("SCRAM-SHA-256")));
	assert_true(slice_equal(payload, BYTES("n,,n=,r=x")));

	writer_init(&w, space, sizeof space);
	authmsg_write_initial(&w, "X", slice_of(NULL, 0));
	assert_true(authmsg_read_initial(body_of(&w, 'p'), &mechanism, &payload));
	assert_null(payload.at);

	assert_true(authmsg_read_initial(BYTES("X\0\0\0\0\0"), &mechanism, &payload));
	assert_non_null(payload.at);
	assert_false(authmsg_read_initial(BYTES(""), &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X"), &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X\0"), &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X\0\0\0\0\2a"), &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X\0\0\0\0\1ab"), &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X\0\xff\xff\xff\xff"
	                                        "a"),
	                                  &mechanism, &payload));
	assert_false(authmsg_read_initial(BYTES("X\0\xff\xff\xff\xfe"), &mechanism, &payload));
}

static void later_responses(void **state)
{
	struct writer w;
	writer_init(&w, space, sizeof space);
	authmsg_write_response(&w, BYTES("c=biws"));
	assert_true(slice_equal(body_of(&w, 'p'), BYTES("c=biws")));
	writer_init(&w, space, sizeof space);
	authmsg_write_password(&w, "secret");
	assert_true(slice_equal(body_of(&w, 'p'), BYTES("secret\0")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_server_writes_the_client_reads),
		cmocka_unit_test(malformed_requests_are_refused),
		cmocka_unit_test(initial_responses),
		cmocka_unit_test(later_responses),
	};
	return UNIT_RUN(tests);
}
