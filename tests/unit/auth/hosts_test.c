/* hosts: names are remembered by address, for a while, and not more of them than there is room for. */
#include "auth/hosts.h"

#include <stdio.h>

#include "unit.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

static struct addr address(const char *text, uint16_t port)
{
	struct addr a;
	assert_true(addr_from_numeric(&a, text, port));
	return a;
}

static void names_are_remembered_for_a_while(void **state)
{
	struct hosts *h = hosts_new();
	struct addr v4 = address("10.0.0.1", 1), same = address("10.0.0.1", 2), other = address("10.0.0.2", 1),
	            v6 = address("2001:db8::1", 1), none = address("10.0.0.3", 1), failed = address("10.0.0.4", 1), local;
	struct err err;
	char name[HOSTS_NAME_MAX];
	bool is_known;
	assert_true(addr_from_socket_dir(&local, "/tmp", 1, &err));
	hosts_put(h, &v4, US_PER_S, true, "one.example");
	hosts_put(h, &v6, US_PER_S, true, "six.example");
	hosts_put(h, &none, US_PER_S, true, "");
	hosts_put(h, &failed, US_PER_S, false, "");
	hosts_put(h, &local, US_PER_S, true, "local.example");
	assert_true(hosts_get(h, &same, 10 * US_PER_S, &is_known, name));
	assert_true(is_known);
	assert_string_equal(name, "one.example");
	assert_true(hosts_get(h, &v6, 10 * US_PER_S, &is_known, name));
	assert_string_equal(name, "six.example");
	assert_true(hosts_get(h, &none, 10 * US_PER_S, &is_known, name));
	assert_true(is_known);
	assert_string_equal(name, "");
	assert_true(hosts_get(h, &failed, 2 * US_PER_S - 1, &is_known, name));
	assert_false(is_known);
	assert_false(hosts_get(h, &failed, 2 * US_PER_S, &is_known, name));
	assert_false(hosts_get(h, &other, US_PER_S, &is_known, name));
	assert_false(hosts_get(h, &local, US_PER_S, &is_known, name));
	assert_false(hosts_get(h, &v4, 11 * US_PER_S, &is_known, name));
	hosts_put(h, &v4, 11 * US_PER_S, true, "renamed.example");
	assert_true(hosts_get(h, &v4, 12 * US_PER_S, &is_known, name));
	assert_string_equal(name, "renamed.example");
	hosts_free(h);
}

static void strangers_do_not_make_it_grow(void **state)
{
	struct hosts *h = hosts_new();
	char name[HOSTS_NAME_MAX], text[32];
	bool is_known;
	unsigned n = 0;
	for (unsigned i = 0; i < 25000; i++) {
		snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		struct addr a = address(text, 1);
		hosts_put(h, &a, 0, true, "x");
		assert_true(hosts_get(h, &a, 1, &is_known, name));
	}
	for (unsigned i = 0; i < 25000; i++) {
		snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		struct addr a = address(text, 1);
		n += hosts_get(h, &a, 1, &is_known, name);
	}
	assert_in_range(n, 1, 10000);
	hosts_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_remembered_for_a_while),
		cmocka_unit_test(strangers_do_not_make_it_grow),
	};
	hash_init();
	return UNIT_RUN(tests);
}
