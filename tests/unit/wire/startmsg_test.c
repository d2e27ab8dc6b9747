/* startmsg: the packets that open a connection, whole, split, and wrong in every way; the options parameter. */
#include "wire/startmsg.h"

#include <stdio.h>

#include "unit.h"

#define BYTES(literal) slice_of(literal, sizeof(literal) - 1)

static struct slice packet(uint32_t code, struct slice body)
{
	static uint8_t space[20000];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 0);
	writer_u32(&w, code);
	writer_bytes(&w, body);
	writer_end(&w);
	return writer_slice(&w);
}

static enum startmsg_result result_of(uint32_t code, struct slice body, struct err *err)
{
	struct startmsg m;
	return startmsg_read(packet(code, body), &m, err);
}

static void a_startup_is_read_byte_by_byte(void **state)
{
	struct slice in = packet(STARTMSG_VERSION(3, 0), BYTES("user\0app\0database\0shop\0user\0late\0\0"));
	struct startmsg m;
	struct err err;
	for (size_t here = 0; here < in.len; here++)
		assert_int_equal(startmsg_read(slice_of(in.at, here), &m, &err), STARTMSG_SHORT);
	assert_int_equal(startmsg_read(slice_of(in.at, in.len + 7), &m, &err), STARTMSG_OK);
	assert_int_equal(m.kind, STARTMSG_STARTUP);
	assert_int_equal(m.size, in.len);
	assert_int_equal(m.major, 3);
	assert_int_equal(m.minor, 0);
	assert_true(slice_equal(startmsg_find(&m, "database"), slice_text("shop")));
	assert_true(slice_equal(startmsg_find(&m, "user"), slice_text("late")));
	assert_null(startmsg_find(&m, "options").at);
	struct slice rest = m.params, name, value;
	int n = 0;
	while (startmsg_param(&rest, &name, &value))
		n++;
	assert_int_equal(n, 3);
	assert_false(startmsg_needs_negotiation(&m, 0));
}

static void an_empty_startup_and_empty_values_are_legal(void **state)
{
	struct startmsg m;
	struct err err;
	assert_int_equal(startmsg_read(packet(STARTMSG_VERSION(3, 0), BYTES("\0")), &m, &err), STARTMSG_OK);
	assert_int_equal(m.params.len, 0);
	assert_null(startmsg_find(&m, "user").at);
	assert_int_equal(startmsg_read(packet(STARTMSG_VERSION(3, 0), BYTES("user\0\0\0")), &m, &err), STARTMSG_OK);
	assert_non_null(startmsg_find(&m, "user").at);
	assert_int_equal(startmsg_find(&m, "user").len, 0);
}

static void wrong_layouts_are_refused(void **state)
{
	struct err err;
	const struct slice bodies[] = { BYTES(""),     BYTES("user\0app\0"),    BYTES("user\0"),
		                            BYTES("user"), BYTES("user\0app\0\0x"), BYTES("\0\0") };
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		assert_int_equal(result_of(STARTMSG_VERSION(3, 0), bodies[i], &err), STARTMSG_BAD);
		assert_string_equal(err.sqlstate, "08P01");
	}
	assert_int_equal(result_of(STARTMSG_VERSION(2, 0), BYTES("x\0\0"), &err), STARTMSG_BAD);
	assert_string_equal(err.sqlstate, "0A000");
	assert_int_equal(result_of(STARTMSG_VERSION(1234, 5681), BYTES(""), &err), STARTMSG_BAD);
}

static void lengths_are_judged_before_the_body_is_here(void **state)
{
	struct startmsg m;
	struct err err;
	const char *bad[] = { "\0\0\0\0", "\0\0\0\7", "\0\0\x27\x11", "\xff\xff\xff\xff", "\x7f\xff\xff\xff", "GET " };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(startmsg_read(slice_of(bad[i], 4), &m, &err), STARTMSG_BAD);
	assert_int_equal(startmsg_read(slice_of("\0\0\x27\x10", 4), &m, &err), STARTMSG_SHORT);
}

static void requests_are_told_apart(void **state)
{
	struct startmsg m;
	struct err err;
	assert_int_equal(startmsg_read(BYTES("\0\0\0\x8\x4\xd2\x16\x2f"), &m, &err), STARTMSG_OK);
	assert_int_equal(m.kind, STARTMSG_SSL);
	assert_int_equal(m.size, 8);
	assert_int_equal(startmsg_read(BYTES("\0\0\0\x8\x4\xd2\x16\x30"), &m, &err), STARTMSG_OK);
	assert_int_equal(m.kind, STARTMSG_GSSENC);
	assert_int_equal(startmsg_read(BYTES("\0\0\0\x9\x4\xd2\x16\x2f!"), &m, &err), STARTMSG_BAD);
}

static void cancel_keys_may_be_4_to_256_bytes(void **state)
{
	uint8_t key[300], space[400];
	memset(key, 0x5a, sizeof key);
	for (size_t len = 0; len <= sizeof key; len++) {
		struct writer w;
		struct startmsg m;
		struct err err;
		writer_init(&w, space, sizeof space);
		startmsg_write_cancel(&w, 0xdeadbeef, slice_of(key, len));
		enum startmsg_result is = startmsg_read(writer_slice(&w), &m, &err);
		assert_int_equal(is, len >= 4 && len <= 256 ? STARTMSG_OK : STARTMSG_BAD);
		if (is != STARTMSG_OK)
			continue;
		assert_int_equal(m.kind, STARTMSG_CANCEL);
		assert_int_equal(m.pid, 0xdeadbeef);
		assert_true(slice_equal(m.key, slice_of(key, len)));
	}
}

static void newer_minors_and_protocol_options_are_negotiated(void **state)
{
	struct startmsg m;
	struct err err;
	uint8_t space[200];
	struct writer w;
	assert_int_equal(startmsg_read(packet(STARTMSG_VERSION(3, 9), BYTES("user\0a\0_pq_.x\0on\0_pq_.yy\0\0\0")), &m, &err),
	                 STARTMSG_OK);
	assert_true(startmsg_needs_negotiation(&m, 9));
	writer_init(&w, space, sizeof space);
	startmsg_write_negotiation(&w, &m, 2);
	assert_true(slice_equal(writer_slice(&w), BYTES("v\0\0\0\x1b\0\3\0\2\0\0\0\2_pq_.x\0_pq_.yy\0")));
	assert_int_equal(startmsg_read(packet(STARTMSG_VERSION(3, 1), BYTES("user\0a\0\0")), &m, &err), STARTMSG_OK);
	assert_true(startmsg_needs_negotiation(&m, 0));
	assert_false(startmsg_needs_negotiation(&m, 2));
	writer_init(&w, space, sizeof space);
	startmsg_write_negotiation(&w, &m, 0);
	assert_true(slice_equal(writer_slice(&w), BYTES("v\0\0\0\xc\0\3\0\0\0\0\0\0")));
}

/* Collects "name=value|" for each setting. */
static bool collect(void *arg, struct slice name, struct slice value, struct err *err)
{
	char *out = arg;
	if (slice_equal(name, slice_text("forbidden")))
		return err_set(err, "42501", "no");
	snprintf(out + strlen(out), 400 - strlen(out), "%.*s=%.*s|", (int)name.len, (const char *)name.at, (int)value.len,
	         (const char *)value.at);
	return true;
}

static const struct {
	const char *options, *settings, *sqlstate;
} option_rows[] = {
	{ "", "", NULL },
	{ "  \t ", "", NULL },
	{ "-c a=1", "a=1|", NULL },
	{ "-ca=1", "a=1|", NULL },
	{ "--a=1", "a=1|", NULL },
	{ " -c a=1 --b-c=x=y\t-c d-e=--f ", "a=1|b_c=x=y|d_e=--f|", NULL },
	{ "-c search_path=a,\\ b -c x=\\\\", "search_path=a, b|x=\\|", NULL },
	{ "-c a=", "a=|", NULL },
	{ "-c =1", "=1|", NULL },
	{ "-c a=\\", "a=|", NULL },
	{ "-c a", "", "42601" },
	{ "--a", "", "42601" },
	{ "-c", "", "42601" },
	{ "-c a=1 --", "a=1|", NULL },
	{ "-- x", "", "42601" },
	{ "-", "", "42601" },
	{ "a=1", "", "42601" },
	{ "-x", "", "42601" },
	{ "-c a=1 oops", "a=1|", "42601" },
	{ "-c a=1 -c forbidden=1 -c b=2", "a=1|", "42501" },
};

static void options_are_split_as_postgresql_does(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(option_rows); i++) {
		char out[400] = "";
		struct err err = { 0 };
		bool ok = startmsg_each_option(slice_text(option_rows[i].options), collect, out, &err);
		assert_string_equal(out, option_rows[i].settings);
		assert_int_equal(ok, option_rows[i].sqlstate == NULL);
		if (!ok)
			assert_string_equal(err.sqlstate, option_rows[i].sqlstate);
	}
}

static void too_long_options_are_refused(void **state)
{
	static uint8_t text[STARTMSG_MAX + 1];
	char out[400] = "";
	struct err err;
	memset(text, ' ', sizeof text);
	assert_true(startmsg_each_option(slice_of(text, STARTMSG_MAX), collect, out, &err));
	assert_false(startmsg_each_option(slice_of(text, STARTMSG_MAX + 1), collect, out, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_startup_is_read_byte_by_byte),
		cmocka_unit_test(an_empty_startup_and_empty_values_are_legal),
		cmocka_unit_test(wrong_layouts_are_refused),
		cmocka_unit_test(lengths_are_judged_before_the_body_is_here),
		cmocka_unit_test(requests_are_told_apart),
		cmocka_unit_test(cancel_keys_may_be_4_to_256_bytes),
		cmocka_unit_test(newer_minors_and_protocol_options_are_negotiated),
		cmocka_unit_test(options_are_split_as_postgresql_does),
		cmocka_unit_test(too_long_options_are_refused),
	};
	return UNIT_RUN(tests);
}
