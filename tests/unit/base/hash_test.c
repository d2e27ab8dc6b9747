/* hash: places are spread whatever the keys look like; SipHash against the vectors of its authors (key 00…0f, input 00…n-1), cross-checked with a second implementation. */
#include "base/hash.h"

#include <stdio.h>

#include "base/compiler.h"
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

/* Keys that differ in little: each bit of the place is set for about half of them, and hardly two have the same 32 bits. */
static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

#define KEYS 20000u

static void expect_spread(const char *form, unsigned step)
{
	static uint32_t places[KEYS];
	unsigned set[32] = { 0 }, same = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		char text[100];
		int n = snprintf(text, sizeof text, form, i * step);
		places[i] = (uint32_t)hash_place(slice_of(text, (size_t)n));
		for (unsigned bit = 0; bit < 32; bit++)
			set[bit] += places[i] >> bit & 1;
	}
	qsort(places, KEYS, sizeof *places, by_value);
	for (unsigned i = 1; i < KEYS; i++)
		same += places[i] == places[i - 1];
	assert_in_range(same, 0, 4); /* expected: 0.05 */
	for (unsigned bit = 0; bit < 32; bit++)
		assert_in_range(set[bit], KEYS / 2 - KEYS / 20, KEYS / 2 + KEYS / 20);
}

static void places_are_spread(void **state)
{
	static const char *const forms[] = {
		"%u", "P0_%u", "%08u", "select a from t%u where b = $1", "%u                          x", "%-40u", "%064u", "%x\x80\xff"
	};
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		expect_spread(forms[i], 1);
		expect_spread(forms[i], 65536);
	}
}

/* Every byte and the length count. */
static void each_byte_moves_the_place(void **state)
{
	uint8_t bytes[80] = { 0 };
	for (size_t len = 1; len < sizeof bytes; len++) {
		uint64_t was = hash_place(slice_of(bytes, len));
		assert_true(was != hash_place(slice_of(bytes, len - 1)));
		for (size_t i = 0; i < len; i++) {
			bytes[i] = 1;
			assert_true(was != hash_place(slice_of(bytes, len)));
			bytes[i] = 0;
		}
	}
}

static void another_key_gives_other_places(void **state)
{
	hash_init();
	uint64_t a = hash_place(slice_text("app"));
	assert_int_equal(a, hash_place(slice_text("app")));
	hash_init();
	assert_true(a != hash_place(slice_text("app")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(hash64_matches_the_published_vectors, setup),
		cmocka_unit_test_setup(hash128_matches_the_published_vectors, setup),
		cmocka_unit_test(random_keys_differ),
		cmocka_unit_test_setup(places_are_spread, setup),
		cmocka_unit_test_setup(each_byte_moves_the_place, setup),
		cmocka_unit_test(another_key_gives_other_places),
	};
	return UNIT_RUN(tests);
}
