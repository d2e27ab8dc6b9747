/* deeds: how a standby's primary_conninfo is turned to another primary; the rest is shown at real servers (tests/pg/failover.t). */
#include "ha/deeds.h"

#include <string.h>

#include "base/compiler.h"
#include "unit.h"

static void only_the_address_changes(void **state)
{
	static const struct {
		const char *was, *is; /* NULL: it cannot be read */
	} rows[] = {
		{ "", "host='h' port=7" },
		{ "host=a port=5432", "host='h' port=7" },
		{ "user=r host=a hostaddr=10.0.0.1 application_name=n1", "user=r application_name=n1 host='h' port=7" },
		{ " user = r  password = 'it''s' ", NULL }, /* libpq ends the value at the second quote, and then wants a key */
		{ "password='a b\\' c=\\\\' host='x y' sslmode=verify-full",
		  "password='a b\\' c=\\\\' sslmode=verify-full host='h' port=7" },
		{ "user=a\\ b port=1", "user=a\\ b host='h' port=7" },
		{ "user=", "user= '' host='h' port=7" },
		{ "user=''", "user='' host='h' port=7" },
		{ "passfile='/x' dbname=replication", "passfile='/x' dbname=replication host='h' port=7" },
		{ "postgresql://r@a/", "postgresql://r@/?host=h&port=7" },
		{ "user", NULL },
		{ "=x", NULL },
		{ "user='open", NULL },
		{ "user=open\\", NULL },
	};
	char out[200];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool is_good = deed_conninfo(rows[i].was, "h", 7, out, sizeof out);
		if (is_good != (rows[i].is != NULL) || (is_good && strcmp(out, rows[i].is) != 0))
			fail_msg("%s: %s", rows[i].was, is_good ? out : "not read");
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	char out[40];
	assert_false(deed_conninfo("user=somebody_with_a_name", "host_with_a_name", 65535, out, sizeof out));
	assert_true(deed_conninfo("user=me", "/tmp/x", 1, out, sizeof out));
	assert_string_equal(out, "user=me host='/tmp/x' port=1");
	assert_false(deed_conninfo("user=me", "a'b", 1, out, sizeof out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_address_changes),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};
	return UNIT_RUN(tests);
}
