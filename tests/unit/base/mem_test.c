/* mem, secret, rand, clock: the small ones. */
#include "base/mem.h"

#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "unit.h"

static void a_slab_gives_zeroed_objects_and_reuses_them(void **state)
{
	struct slab slab;
	uint8_t *obj[2000];
	slab_init(&slab, 41);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 2000; i++) {
			obj[i] = slab_get(&slab);
			assert_int_equal((uintptr_t)obj[i] % 16, 0);
			for (unsigned k = 0; k < 41; k++)
				assert_int_equal(obj[i][k], 0);
			memset(obj[i], 0xff, 41);
		}
		assert_int_equal(slab.in_use, 2000);
		for (unsigned i = 0; i < 2000; i++)
			slab_put(&slab, obj[i]);
	}
	assert_int_equal(slab.in_use, 0);
	slab_fini(&slab);
}

static void texts_are_copied_with_their_nul(void **state)
{
	char *a = mem_textn("abcdef", 3), *b = mem_text("xyz");
	assert_string_equal(a, "abc");
	assert_string_equal(b, "xyz");
	assert_null(mem_text(NULL));
	mem_free(a);
	secret_free_text(b);
	secret_free_text(NULL);
}

static void secrets_compare_and_wipe(void **state)
{
	char s[] = "swordfish";
	assert_true(secret_equal(slice_text(s), slice_text("swordfish")));
	assert_false(secret_equal(slice_text(s), slice_text("swordfisH")));
	assert_false(secret_equal(slice_text(s), slice_text("sword")));
	assert_true(secret_equal(slice_text(""), slice_of(NULL, 0)));
	secret_wipe(s, sizeof s);
	for (unsigned i = 0; i < sizeof s; i++)
		assert_int_equal(s[i], 0);
}

static void random_numbers_vary_and_time_goes_on(void **state)
{
	uint64_t before = clock_us(), ones = 0;
	for (int i = 0; i < 1000; i++)
		ones += (uint64_t)__builtin_popcountll(rand_fast());
	assert_in_range(ones, 31000, 33000);
	uint8_t a[16], b[16];
	rand_bytes(a, sizeof a);
	rand_bytes(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	assert_true(clock_us() >= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slab_gives_zeroed_objects_and_reuses_them),
		cmocka_unit_test(texts_are_copied_with_their_nul),
		cmocka_unit_test(secrets_compare_and_wipe),
		cmocka_unit_test(random_numbers_vary_and_time_goes_on),
	};
	return UNIT_RUN(tests);
}
