/* md5: what PostgreSQL stores, and the answer that it wants. */
#include "wire/md5.h"

#include "unit.h"

static void as_postgresql_has_it(void **state)
{
	char secret[MD5_TEXT], answer[MD5_TEXT];
	assert_true(md5_secret(slice_text("hush"), slice_text("app"), secret));
	assert_string_equal(secret, "md5f446a971bc841aaf6cd0751d2a30b910"); /* create role app password 'hush' */
	assert_true(md5_answer(secret, (const uint8_t *)"\1\2\3\4", answer));
	assert_string_equal(answer, "md5cf9f2c4041ada40158c24caf917a7b7d");
	assert_true(md5_secret(slice_text(""), slice_text(""), secret));
	assert_string_equal(secret, "md5d41d8cd98f00b204e9800998ecf8427e");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(as_postgresql_has_it) };
	return UNIT_RUN(tests);
}
