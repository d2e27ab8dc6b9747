/* SipHash against the vectors of its authors (key 00…0f, input 00…n-1), cross-checked with a second implementation. */
#include "base/hash.h"

#include "unit.h"

static uint8_t input[64], key[16];

static int setup(void **state)
{
	for (unsigned i = 0; i < sizeof input; i++)
		input[i] = (uint8_t)i;
	memcpy(key, input, sizeof key);
	hash_init_key(key);
	return 0;
}

static void hash64_matches_the_published_vectors(void **state)
{
	assert_int_equal(hash64(slice_of(input, 0)), 0x726fdb47dd0e0e31);
	assert_int_equal(hash64(slice_of(input, 1)), 0x74f839c593dc67fd);
	assert_int_equal(hash64(slice_of(input, 8)), 0x93f5f5799a932462);
	assert_int_equal(hash64(slice_of(input, 15)), 0xa129ca6149be45e5);
	assert_int_equal(hash64(slice_of(input, 63)), 0x958a324ceb064572);
}

static void hash128_matches_the_published_vectors(void **state)
{
	struct hash128 h = hash128(slice_of(input, 0));
	assert_int_equal(h.lo, 0xe6a825ba047f81a3);
	assert_int_equal(h.hi, 0x930255c71472f66d);
	h = hash128(slice_of(input, 15));
	assert_int_equal(h.lo, 0x11a8b03399e99354);
	assert_int_equal(h.hi, 0xd9c3cf970fec087e);
	h = hash128(slice_of(input, 63));
	assert_int_equal(h.lo, 0x4a83502f77d15051);
	assert_int_equal(h.hi, 0x7cbd3f979a063e50);
}

static void random_keys_differ(void **state)
{
	hash_init();
	uint64_t a = hash64(slice_text("app"));
	hash_init();
	assert_true(a != hash64(slice_text("app")));
	assert_true(hash128_equal(hash128(slice_text("x")), hash128(slice_text("x"))));
	assert_false(hash128_equal(hash128(slice_text("x")), hash128(slice_text("y"))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(hash64_matches_the_published_vectors, setup),
		cmocka_unit_test_setup(hash128_matches_the_published_vectors, setup),
		cmocka_unit_test(random_keys_differ),
	};
	return UNIT_RUN(tests);
}
