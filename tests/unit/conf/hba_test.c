/* Who gets which method from which rules, and which lines are refused. */
#include "conf/hba.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "confdir.h"
#include "unit.h"

static struct confdir dir;

static int setup(void **state)
{
	confdir_init(&dir);
	return 0;
}

static int teardown(void **state)
{
	confdir_fini(&dir);
	return 0;
}

static struct hba *load(const char *rules)
{
	char path[128];
	struct conf_errors e = { 0 };
	confdir_write(&dir, "hba", rules);
	snprintf(path, sizeof path, "%s/hba", dir.path);
	struct hba *h = hba_load(path, &e);
	confdir_tell(&dir, &e);
	assert_true((h == NULL) == (e.n > 0));
	conf_errors_fini(&e);
	return h;
}

/* FROM: "" is the unix socket. */
static struct sockaddr_storage peer_of(const char *from)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNIX };
	struct sockaddr_in *v4 = (void *)&peer;
	struct sockaddr_in6 *v6 = (void *)&peer;
	if (inet_pton(AF_INET, from, &v4->sin_addr) == 1)
		peer.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, from, &v6->sin6_addr) == 1)
		peer.ss_family = AF_INET6;
	return peer;
}

struct ask {
	const char *rules, *from, *database, *user;
	bool replication;
	enum hba_method method;
	unsigned line;
};

static void expect(const struct ask *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct hba *h = load(a[i].rules);
		assert_string_equal(dir.told, "");
		struct sockaddr_storage peer = peer_of(a[i].from);
		unsigned line = 99;
		enum hba_method got = hba_match(h, &peer, a[i].database, a[i].user, a[i].replication, &line);
		if (got != a[i].method || line != a[i].line)
			fail_msg("row %zu, %s from %s to %s as %s: method %d by line %u", i, a[i].rules, a[i].from, a[i].database, a[i].user,
			         (int)got, line);
		hba_free(h);
	}
}

static void addresses(void **state)
{
	static const struct ask table[] = {
		{ "local all all trust", "", "d", "u", false, HBA_TRUST, 1 },
		{ "local all all trust", "127.0.0.1", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all all trust", "", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all all trust", "8.8.8.8", "d", "u", false, HBA_TRUST, 1 },
		{ "hostnossl all all all scram-sha-256", "::1", "d", "u", false, HBA_SCRAM, 1 },
		{ "hostnogssenc all all all scram-sha-256", "::1", "d", "u", false, HBA_SCRAM, 1 },
		{ "host all all 10.0.0.0/8 trust", "10.255.1.2", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 10.0.0.0/8 trust", "11.0.0.1", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all 10.1.2.3/8 trust", "10.9.9.9", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 10.0.0.0/9 trust", "10.127.255.255", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 10.0.0.0/9 trust", "10.128.0.0", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all 10.0.0.0/8 trust", "::ffff:10.1.1.1", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 0.0.0.0/0 trust", "1.2.3.4", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 0.0.0.0/0 trust", "::1", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all ::/0 trust", "::1", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all ::/0 trust", "1.2.3.4", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all ::/0 trust", "::ffff:1.2.3.4", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all fd00:1::/32 trust", "fd00:1:2::3", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all fd00:1::/32 trust", "fd00:2:2::3", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all 192.168.5.4 255.255.255.0 trust", "192.168.5.77", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all 192.168.5.4 255.255.255.0 trust", "192.168.6.77", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust", "::1", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all samehost trust", "127.0.0.1", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all samehost trust", "127.0.0.2", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all samenet trust", "127.9.9.9", "d", "u", false, HBA_TRUST, 1 },
		{ "host all all samenet trust", "203.0.113.9", "d", "u", false, HBA_REJECT, 0 },
	};
	expect(table, ARRAY_LEN(table));
}

static void databases_and_users(void **state)
{
	static const struct ask table[] = {
		{ "local app all trust", "", "app", "u", false, HBA_TRUST, 1 },
		{ "local app all trust", "", "App", "u", false, HBA_REJECT, 0 },
		{ "local a,b,c all trust", "", "b", "u", false, HBA_TRUST, 1 },
		{ "local a,b,\tc all trust", "", "c", "u", false, HBA_TRUST, 1 },
		{ "local \"my db\",x all trust", "", "my db", "u", false, HBA_TRUST, 1 },
		{ "local \"all\" all trust", "", "d", "u", false, HBA_REJECT, 0 },
		{ "local \"all\" all trust", "", "all", "u", false, HBA_TRUST, 1 },
		{ "local all \"all\" trust", "", "d", "u", false, HBA_REJECT, 0 },
		{ "local \"@x\" \"+y\" trust", "", "@x", "+y", false, HBA_TRUST, 1 },
		{ "local sameuser all trust", "", "ann", "ann", false, HBA_TRUST, 1 },
		{ "local sameuser all trust", "", "sameuser", "ann", false, HBA_REJECT, 0 },
		{ "local \"sameuser\" all trust", "", "sameuser", "ann", false, HBA_TRUST, 1 },
		{ "local all ann,bob trust", "", "d", "bob", false, HBA_TRUST, 1 },
		{ "local all ann,bob trust", "", "d", "eve", false, HBA_REJECT, 0 },
		{ "local all all trust", "", "", "u", true, HBA_REJECT, 0 },
		{ "local replication all trust", "", "", "u", true, HBA_TRUST, 1 },
		{ "local replication all trust", "", "replication", "u", false, HBA_REJECT, 0 },
		{ "local \"replication\" all trust", "", "replication", "u", false, HBA_TRUST, 1 },
		{ "local sameuser all trust", "", "u", "u", true, HBA_REJECT, 0 },
	};
	expect(table, ARRAY_LEN(table));
}

static void the_first_line_that_fits_decides(void **state)
{
	static const char rules[] = "# comment\n"
	                            "\n"
	                            "local  all  eve  reject   # eve stays out\r\n"
	                            "host all all \\\n"
	                            "  10.0.0.0/8 trust\n"
	                            "host \"a#b\" all all scram-sha-256#x\n"
	                            "local all all trust";
	static const struct ask table[] = {
		{ rules, "", "d", "eve", false, HBA_REJECT, 3 },         { rules, "", "d", "ann", false, HBA_TRUST, 7 },
		{ rules, "10.1.1.1", "d", "ann", false, HBA_TRUST, 4 },  { rules, "11.1.1.1", "a#b", "ann", false, HBA_SCRAM, 6 },
		{ rules, "11.1.1.1", "d", "ann", false, HBA_REJECT, 0 },
	};
	expect(table, ARRAY_LEN(table));
}

static void what_is_not_understood_is_refused(void **state)
{
	static const struct {
		const char *rules, *told;
	} table[] = {
		{ "hostssl all all all trust",
		  "hba:1: hostssl: TLS is not available yet, so this line could never match; write host, or remove the line\n" },
		{ "hostgssenc all all all trust",
		  "hba:1: hostgssenc: GSSAPI encryption is not available, so this line could never match; remove the line\n" },
		{ "hosts all all all trust",
		  "hba:1: a rule begins with local, host or hostnossl, not with \"hosts\"; did you mean host?\n" },
		{ "a,b all all all trust", "hba:1: a rule begins with local, host or hostnossl, not with \"\"\n" },
		{ "include_dir x", "hba:1: include_dir is not available: write the rules into this file\n" },
		{ "local all all", "hba:1: the rule is too short: local database user method\n" },
		{ "host all all trust", "hba:1: the rule is too short: host database user address method\n" },
		{ "local all all md5", "hba:1: the method md5 is not available: there are trust, reject and scram-sha-256\n" },
		{ "local all all peer map=x", "hba:1: the method peer is not available: there are trust, reject and scram-sha-256\n" },
		{ "local all all trust a=b", "hba:1: nothing may follow the method: options such as \"a=b\" are not available\n" },
		{ "local all all trust,reject", "hba:1: the method is missing: trust, reject or scram-sha-256\n" },
		{ "local @dbs all trust", "hba:1: @dbs: files of names are not available; write the database names here\n" },
		{ "local all +admins trust", "hba:1: +admins: members of a role are not known here; write the user names\n" },
		{ "local all /^a trust",
		  "hba:1: /^a: regular expressions are not available; write the user names, or quote a name that begins with /\n" },
		{ "local samerole all trust",
		  "hba:1: samerole: members of a role are not known here; write the names of the databases\n" },
		{ "local all, all", "hba:1: the rule is too short: local database user method\n" },
		{ "local all,", "hba:1: after the comma a name is missing\n" },
		{ "local ,all all trust", "hba:1: a comma stands where a name should\n" },
		{ "local \"all all trust", "hba:1: a name begins with \" whose closing \" is missing on this line\n" },
		{ "local a\"b\" all trust", "hba:1: a name is quoted as a whole or not at all\n" },
		{ "host all all 10.0.0.0/33 trust", "hba:1: 10.0.0.0/33: after / comes a number of bits from 0 to 32\n" },
		{ "host all all ::1/129 trust", "hba:1: ::1/129: after / comes a number of bits from 0 to 128\n" },
		{ "host all all 10.0.0.0/ trust", "hba:1: 10.0.0.0/: after / comes a number of bits from 0 to 32\n" },
		{ "host all all 10.0.0.1 trust", "hba:1: 10.0.0.1 lacks its mask: write 10.0.0.1/32 for this address alone\n" },
		{ "host all all 10.0.0.1 255.0.255.0 trust",
		  "hba:1: 255.0.255.0 is no mask: its ones must stand together at the left\n" },
		{ "host all all db.example.com trust",
		  "hba:1: \"db.example.com\" is no address: write all, samehost, samenet, or a network as in "
		  "10.0.0.0/8 or ::1/128 (host names are not looked up)\n" },
		{ "host all all 10.0.0.0/8,11.0.0.0/8 trust", "hba:1: one address should stand here; give each its own line\n" },
		{ "# nothing\n", "hba: there is no rule, so nobody could log in; one line is enough: local all all scram-sha-256\n" },
		{ "local all all md5\n\nlocal x\n", "hba:1: the method md5 is not available: there are trust, reject and scram-sha-256\n"
		                                    "hba:3: the rule is too short: local database user method\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_null(load(table[i].rules));
		assert_string_equal(dir.told, table[i].told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(databases_and_users, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_line_that_fits_decides, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_understood_is_refused, setup, teardown),
	};
	return UNIT_RUN(tests);
}
