/* strikes: failed logins are counted by address, for a minute, and not of more addresses than there is room for. */
#include <stdio.h>

#include "unit.h"

#include "../../../src/auth/priv.h"
#include "base/clock.h"
#include "base/hash.h"

static struct addr address(const char *text)
{
	struct addr a;
	assert_true(addr_from_numeric(&a, text, 1));
	return a;
}

static void failures_are_counted_by_address(void **state)
{
	struct auth a = { .strikes = strikes_new() };
	struct addr one = address("10.0.0.1"), other = address("10.0.0.2"), mapped = address("::ffff:10.0.0.1"),
	            six = address("2001:db8:0:1::1"), same = address("2001:db8:0:1:ffff::2"), apart = address("2001:db8:0:2::1"),
	            local;
	struct err err;
	assert_true(addr_from_socket_dir(&local, "/tmp", 1, &err));
	assert_int_equal(auth_failures(&a, &one, 0), 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(auth_note_failure(&a, &one, US_PER_S), i);
	assert_int_equal(auth_failures(&a, &one, 2 * US_PER_S), 3);
	assert_int_equal(auth_failures(&a, &mapped, 2 * US_PER_S), 3);
	assert_int_equal(auth_failures(&a, &other, 2 * US_PER_S), 0);
	assert_int_equal(auth_note_failure(&a, &six, US_PER_S), 1);
	assert_int_equal(auth_note_failure(&a, &same, US_PER_S), 2);
	assert_int_equal(auth_failures(&a, &apart, US_PER_S), 0);
	assert_int_equal(auth_note_failure(&a, &local, US_PER_S), 1);
	assert_int_equal(auth_failures(&a, &local, US_PER_S), 0);
	assert_int_equal(auth_failures(&a, &one, 61 * US_PER_S), 0); /* a minute after the first */
	assert_int_equal(auth_note_failure(&a, &one, 61 * US_PER_S), 1);
	strikes_free(a.strikes);
}

static void strangers_do_not_make_it_grow(void **state)
{
	struct auth a = { .strikes = strikes_new() };
	char text[64];
	unsigned n = 0;
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
		struct addr from = address(text);
		assert_int_equal(auth_note_failure(&a, &from, US_PER_S), 1);
		assert_int_equal(auth_failures(&a, &from, US_PER_S), 1);
	}
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
		struct addr from = address(text);
		n += auth_failures(&a, &from, US_PER_S);
	}
	assert_in_range(n, 1, 65536);
	strikes_free(a.strikes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_are_counted_by_address),
		cmocka_unit_test(strangers_do_not_make_it_grow),
	};
	hash_init();
	return UNIT_RUN(tests);
}
