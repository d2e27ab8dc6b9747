/* buf against a plain array that is never moved. */
#include "base/buf.h"

#include "base/rand.h"
#include "unit.h"

static void an_empty_buf_holds_nothing(void **state)
{
	struct buf b = { 0 };
	assert_true(buf_append(&b, slice_text("hello")));
	assert_int_equal(buf_len(&b), 5);
	buf_consume(&b, 2);
	assert_true(slice_equal(buf_slice(&b), slice_text("llo")));
	buf_consume(&b, 3);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	assert_true(buf_append(&b, slice_of(NULL, 0)));
	assert_null(b.data);
}

static void more_than_2_gib_is_refused(void **state)
{
	struct buf b = { 0 };
	assert_true(buf_append(&b, slice_text("x")));
	assert_false(buf_reserve(&b, 0x7fffffff));
	assert_false(buf_reserve(&b, SIZE_MAX));
	assert_true(slice_equal(buf_slice(&b), slice_text("x")));
	buf_fini(&b);
}

static void behaves_like_a_queue_of_bytes(void **state)
{
	static uint8_t all[1 << 20];
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (uint8_t)rand_fast();
	struct buf b = { 0 };
	size_t in = 0, out = 0, peak = 0;
	while (out < sizeof all) {
		size_t n = rand_fast() % 5000;
		n = n > sizeof all - in ? sizeof all - in : n;
		assert_true(buf_append(&b, slice_of(all + in, n)));
		in += n;
		peak = in - out > peak ? in - out : peak;
		n = rand_fast() % 5000;
		n = n > in - out ? in - out : n;
		buf_consume(&b, n);
		out += n;
		assert_true(slice_equal(buf_slice(&b), slice_of(all + out, in - out)));
		assert_true(b.read <= b.write && b.write <= b.cap);
		assert_true(b.cap <= 4 * peak + 512);
	}
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buf_holds_nothing),
		cmocka_unit_test(more_than_2_gib_is_refused),
		cmocka_unit_test(behaves_like_a_queue_of_bytes),
	};
	return UNIT_RUN(tests);
}
