/* addr: text to address and back. */
#include "net/addr.h"

#include <stddef.h>
#include <sys/un.h>

#include "unit.h"

static char text[ADDR_TEXT_MAX];

static void numeric_addresses_go_there_and_back(void **state)
{
	struct addr a;
	assert_true(addr_from_numeric(&a, "10.0.0.1", 5432));
	assert_string_equal(addr_text(&a, text), "10.0.0.1:5432");
	assert_int_equal(addr_port(&a), 5432);
	assert_true(addr_from_numeric(&a, "::1", 65535));
	assert_string_equal(addr_text(&a, text), "[::1]:65535");
	assert_true(addr_from_numeric(&a, "fe80::1%1", 1));
	assert_string_equal(addr_text(&a, text), "[fe80::1%1]:1");
	assert_false(addr_is_unix(&a));
}

static void what_is_not_numeric_is_refused(void **state)
{
	const char *bad[] = { "", "localhost", "10.0.0", "10.0.0.256", ":::", "::1%", "::1%0", "::1%1x", "[::1]", "1.2.3.4 " };
	struct addr a;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(addr_from_numeric(&a, bad[i], 1));
}

static void socket_directories_name_the_file_as_libpq_does(void **state)
{
	struct addr a;
	struct err err;
	assert_true(addr_from_socket_dir(&a, "/run/postgresql", 5432, &err));
	assert_true(addr_is_unix(&a));
	assert_int_equal(addr_port(&a), 0);
	assert_string_equal(((struct sockaddr_un *)&a.sa)->sun_path, "/run/postgresql/.s.PGSQL.5432");
	assert_string_equal(addr_text(&a, text), "unix:/run/postgresql/.s.PGSQL.5432");

	assert_true(addr_from_socket_dir(&a, "@pool", 6432, &err));
	assert_int_equal(((struct sockaddr_un *)&a.sa)->sun_path[0], '\0');
	assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + strlen("@pool/.s.PGSQL.6432"));
	assert_string_equal(addr_text(&a, text), "unix:@pool/.s.PGSQL.6432");

	char dir[120];
	memset(dir, 'd', sizeof dir);
	dir[0] = '/';
	dir[sizeof dir - 1] = '\0';
	assert_false(addr_from_socket_dir(&a, dir, 5432, &err));
	assert_string_equal(err.sqlstate, "08001");
}

static void an_unnamed_peer_has_a_text(void **state)
{
	struct addr a = { .len = sizeof(sa_family_t) };
	a.sa.ss_family = AF_UNIX;
	assert_string_equal(addr_text(&a, text), "unix:");
}

static void a_short_address_says_the_same(void **state)
{
	static const char *const texts[] = { "127.0.0.1", "::1", "2001:db8::7", "fe80::1%1" };
	char before[ADDR_TEXT_MAX], after[ADDR_TEXT_MAX];
	struct addr_short brief;
	struct addr a, b;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!addr_from_numeric(&a, texts[i], 5432))
			continue;
		addr_shorten(&brief, &a);
		b = addr_lengthen(&brief);
		assert_int_equal(b.len, a.len);
		assert_string_equal(addr_text(&b, after), addr_text(&a, before));
	}
	struct err err;
	assert_true(addr_from_socket_dir(&a, "/tmp", 5432, &err));
	addr_shorten(&brief, &a);
	b = addr_lengthen(&brief);
	assert_true(addr_is_unix(&b));
	assert_non_null(addr_text(&b, after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numeric_addresses_go_there_and_back),
		cmocka_unit_test(what_is_not_numeric_is_refused),
		cmocka_unit_test(socket_directories_name_the_file_as_libpq_does),
		cmocka_unit_test(an_unnamed_peer_has_a_text),
		cmocka_unit_test(a_short_address_says_the_same),
	};
	return UNIT_RUN(tests);
}
