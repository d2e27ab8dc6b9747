/* Who gets which method from which rules, and which lines are refused. */
#include "conf/hba.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "confdir.h"
#include "unit.h"

static struct confdir dir;
static bool is_tls;

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
		struct hba_ask ask = {
			.peer = &peer, .database = a[i].database, .user = a[i].user, .is_replication = a[i].replication, .is_tls = is_tls
		};
		const struct hba_rule *rule;
		enum hba_answer answer = hba_match(h, &ask, &rule);
		assert_true(answer == HBA_FOUND || answer == HBA_NONE);
		unsigned line = rule ? rule->line : 0;
		enum hba_method got = rule ? rule->method : HBA_REJECT;
		if (got != a[i].method || line != a[i].line)
			fail_msg("row %zu, %s from %s to %s as %s: method %d by line %u", i, a[i].rules, a[i].from, a[i].database, a[i].user,
			         (int)got, line);
		hba_unref(h);
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
		{ "hosts all all all trust",
		  "hba:1: a rule begins with local, host, hostssl or hostnossl, not with \"hosts\"; did you mean host?\n" },
		{ "a,b all all all trust", "hba:1: a rule begins with local, host, hostssl or hostnossl, not with \"\"\n" },
		{ "local all all", "hba:1: the rule is too short: local database user method\n" },
		{ "host all all trust", "hba:1: the rule is too short: host database user address method\n" },
		{ "local all all ident", "hba:1: the method ident is not available: there are trust, reject, scram-sha-256, md5, "
		                         "password, cert, peer, ldap and pam\n" },
		{ "local all all scram", "hba:1: there is no method scram; did you mean scram-sha-256?\n" },
		{ "local all all truts", "hba:1: there is no method truts; did you mean trust?\n" },
		{ "local all all trust map=x", "hba:1: map goes with peer and cert alone\n" },
		{ "local all all peer x", "hba:1: behind the method stand options, name=value; \"x\" is none\n" },
		{ "local all all peer mapp=x", "hba:1: there is no option mapp; did you mean map?\n" },
		{ "host all all all peer",
		  "hba:1: peer asks the kernel who is at the other end of a unix socket: it goes with local alone\n" },
		{ "host all all all cert", "hba:1: cert needs TLS, so it goes with hostssl alone\n" },
		{ "host all all all trust clientcert=verify-ca", "hba:1: clientcert goes with hostssl alone\n" },
		{ "hostssl all all all trust clientcert=1", "hba:1: clientcert is verify-ca or verify-full, not \"1\"\n" },
		{ "hostssl all all all cert clientcert=verify-ca", "hba:1: the method cert always means clientcert=verify-full\n" },
		{ "hostssl all all all trust clientname=DN",
		  "hba:1: clientname says which name of a certificate is compared: that needs cert or clientcert=verify-full\n" },
		{ "hostssl all all all cert clientname=cn", "hba:1: clientname is CN or DN, not \"cn\"\n" },
		{ "local all all ldap", "hba:1: ldap needs ldapserver or ldapurl\n" },
		{ "local all all ldap ldapserver=x", "hba:1: ldap needs ldapbasedn, ldapprefix or ldapsuffix\n" },
		{ "local all all ldap ldapserver=x ldapport=0 ldapprefix=a", "hba:1: ldapport is a number from 1 to 65535, not \"0\"\n" },
		{ "local all all ldap ldapserver=x ldapprefix=a ldapbasedn=b",
		  "hba:1: ldapprefix and ldapsuffix make the name at once, ldapbasedn and its kin search it: use one of the two\n" },
		{ "local all all ldap ldapserver=x ldapbinddn=b", "hba:1: to search for the user, ldap needs ldapbasedn\n" },
		{ "local all all ldap ldapurl=http://x", "hba:1: ldapurl begins with ldap:// or ldaps://\n" },
		{ "local all all ldap ldapurl=ldap://x/b?a?tree", "hba:1: the scope in ldapurl is base, one or sub, not \"tree\"\n" },
		{ "local all all ldap ldapurl=ldaps://x/b ldaptls=1",
		  "hba:1: ldaptls=1 begins TLS on a plain connection; ldaps has it from the start: use one of the two\n" },
		{ "local all all trust ldapserver=x", "hba:1: ldapserver goes with the method ldap alone\n" },
		{ "local all all trust pamservice=x", "hba:1: pamservice goes with the method pam alone\n" },
		{ "local all all trust,reject",
		  "hba:1: the method is missing: trust, reject, scram-sha-256, md5, password, cert, peer, ldap or pam\n" },
		{ "local @nowhere all trust", "hba:1: cannot open nowhere: No such file or directory\n" },
		{ "local all + trust", "hba:1: behind + stands the name of a role\n" },
		{ "local all /(a trust", "hba:1: \"/(a\" is no regular expression (POSIX extended): Unmatched ( or \\(\n" },
		{ "local all /(/++++++++++++++++++++++++++++ trust", "hba:1: \"/(/++++++++++++++++++++++++++++\" repeats too much in too many ways\n" },
		{ "local all \"/((a{1,250}){1,250}){1,250}\" trust", "hba:1: \"/((a{1,250}){1,250}){1,250}\" repeats too much in too many ways\n" },
		{ "include nowhere\nlocal x",
		  "hba:1: cannot open nowhere: No such file or directory\nhba:2: the rule is too short: local database "
		  "user method\n" },
		{ "include hba", "hba:1: files include each other too deep, or are too many; does hba include itself?\n" },
		{ "include_all x", "hba:1: include_all is none of include, include_if_exists and include_dir\n" },
		{ "include a b", "hba:1: include is followed by one path\n" },
		{ "include_dir nowhere", "hba:1: cannot read the folder nowhere: No such file or directory\n" },
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
		{ "host all all a/b trust", "hba:1: \"a/b\" is no address: write all, samehost, samenet, a host's name, or a network as "
		                            "in 10.0.0.0/8 or ::1/128\n" },
		{ "host all all 1.2.3 trust", "hba:1: \"1.2.3\" is no address: write all, samehost, samenet, a host's name, or a network "
		                              "as in 10.0.0.0/8 or ::1/128\n" },
		{ "host all all 10.0.0.0/8,11.0.0.0/8 trust", "hba:1: one address should stand here; give each its own line\n" },
		{ "# nothing\n", "hba: there is no rule, so nobody could log in; one line is enough: local all all scram-sha-256\n" },
		{ "local all all ident2\n\nlocal x\n",
		  "hba:1: there is no method ident2\nhba:3: the rule is too short: local database user "
		  "method\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_null(load(table[i].rules));
		assert_string_equal(dir.told, table[i].told);
	}
}

static void types_regexes_and_methods(void **state)
{
	static const struct ask plain[] = {
		{ "hostssl all all all trust", "1.2.3.4", "d", "u", false, HBA_REJECT, 0 },
		{ "hostgssenc all all all trust", "1.2.3.4", "d", "u", false, HBA_REJECT, 0 },
		{ "hostnossl all all all md5", "1.2.3.4", "d", "u", false, HBA_MD5, 1 },
		{ "local /^app_[0-9]+$ all password", "", "app_12", "u", false, HBA_PASSWORD, 1 },
		{ "local /^app_[0-9]+$ all password", "", "app_x", "u", false, HBA_REJECT, 0 },
		{ "local \"/^a{1,2}$\" all trust", "", "aa", "u", false, HBA_TRUST, 1 },
		{ "local \"/^a{1,2}$\" all trust", "", "aaa", "u", false, HBA_REJECT, 0 },
		{ "local all /x trust", "", "d", "axb", false, HBA_TRUST, 1 },
		{ "local /. all trust", "", "d", "u", true, HBA_REJECT, 0 },
		{ "local all all peer", "", "d", "u", false, HBA_PEER, 1 },
		{ "local all all pam pamservice=\"a b\"", "", "d", "u", false, HBA_PAM, 1 },
		{ "local all all ldap ldapserver=\"a b\" ldapprefix=\"cn=\" ldapsuffix=\", dc=x\"", "", "d", "u", false, HBA_LDAP, 1 },
		{ "local \"a\"\"b\" all trust", "", "a\"b", "u", false, HBA_TRUST, 1 },
	};
	static const struct ask tls[] = {
		{ "hostssl all all all trust", "1.2.3.4", "d", "u", false, HBA_TRUST, 1 },
		{ "hostssl all all all cert map=m", "1.2.3.4", "d", "u", false, HBA_CERT, 1 },
		{ "hostnossl all all all trust", "1.2.3.4", "d", "u", false, HBA_REJECT, 0 },
		{ "host all all all trust", "1.2.3.4", "d", "u", false, HBA_TRUST, 1 },
	};
	expect(plain, ARRAY_LEN(plain));
	is_tls = true;
	expect(tls, ARRAY_LEN(tls));
	is_tls = false;
}

static void files_include_files(void **state)
{
	confdir_write(&dir, "names", "one two # comment\n\"all\", @more\n");
	confdir_write(&dir, "more", "three\n");
	confdir_write(&dir, "a.inc", "local a all reject\n");
	confdir_write(&dir, "b.conf", "local b all md5\n");
	static const char rules[] =
	    "local @names all trust\ninclude a.inc\ninclude_if_exists nowhere\ninclude_dir .\nlocal all all trust\n";
	static const struct ask table[] = {
		{ rules, "", "two", "u", false, HBA_TRUST, 1 }, { rules, "", "three", "u", false, HBA_TRUST, 1 },
		{ rules, "", "all", "u", false, HBA_TRUST, 1 }, { rules, "", "a", "u", false, HBA_REJECT, 1 },
		{ rules, "", "b", "u", false, HBA_MD5, 1 },     { rules, "", "c", "u", false, HBA_TRUST, 5 },
	};
	expect(table, ARRAY_LEN(table));
}

/* A fact that is missing stops the search at the rule that needs it, even if a later one would fit anyway. */
static void facts_are_asked_for(void **state)
{
	static const char *const roles[] = { "u", "admins" };
	struct sockaddr_storage peer = peer_of("1.2.3.4");
	struct hba_ask ask = { .peer = &peer, .database = "d", .user = "u" };
	const struct hba_rule *rule;
	struct hba *h = load("host all other,+admins .Example.com md5\nhost all all all trust");
	assert_int_equal(hba_match(h, &ask, &rule), HBA_NEEDS_HOST);
	ask.facts.has_host = true;
	ask.facts.host = "db.example.com";
	assert_int_equal(hba_match(h, &ask, &rule), HBA_NEEDS_ROLES);
	ask.facts = (struct hba_facts){ .has_host = true, .host = "db.example.com", .has_roles = true, .n_roles = 2, .roles = roles };
	assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
	assert_int_equal(rule->line, 1);
	ask.facts.host = "db.example.org";
	assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
	assert_int_equal(rule->line, 2);
	ask.facts.host = "db.example.com";
	ask.facts.n_roles = 1;
	assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
	assert_int_equal(rule->line, 2);
	ask.facts.has_roles = false;
	ask.user = "other";
	assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
	assert_int_equal(rule->line, 1);
	hba_unref(h);
	h = load("local samerole all trust");
	peer = peer_of("");
	ask = (struct hba_ask){ .peer = &peer, .database = "admins", .user = "u" };
	assert_int_equal(hba_match(h, &ask, &rule), HBA_NEEDS_ROLES);
	ask.facts = (struct hba_facts){ .has_roles = true, .n_roles = 2, .roles = roles };
	assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
	ask.database = "d";
	assert_int_equal(hba_match(h, &ask, &rule), HBA_NONE);
	hba_unref(h);
}

static void ldap_options(void **state)
{
	static const struct {
		const char *options, *uri, *basedn, *attribute, *filter;
		int scope;
	} table[] = {
		{ "ldapserver=a ldapbasedn=b", "ldap://a:389", "b", NULL, NULL, 2 },
		{ "ldapserver=\"a b:99\" ldapscheme=ldaps ldapbasedn=b ldapsearchattribute=x", "ldaps://a:636 ldaps://b:99", "b", "x",
		  NULL, 2 },
		{ "ldapurl=ldap://h:1/dc=x%2cdc=y?uid?sub", "ldap://h:1", "dc=x,dc=y", "uid", NULL, 2 },
		{ "ldapurl=\"ldap://h/b??one?(|(a=$username)(b=$username))\"", "ldap://h", "b", NULL, "(|(a=$username)(b=$username))",
		  1 },
		{ "ldapurl=ldaps://h/b", "ldaps://h", "b", NULL, NULL, 0 },
	};
	struct sockaddr_storage peer = peer_of("");
	struct hba_ask ask = { .peer = &peer, .database = "d", .user = "u" };
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char text[300];
		const struct hba_rule *rule;
		snprintf(text, sizeof text, "local all all ldap %s", table[i].options);
		struct hba *h = load(text);
		assert_string_equal(dir.told, "");
		assert_int_equal(hba_match(h, &ask, &rule), HBA_FOUND);
		assert_string_equal(rule->ldap->uri, table[i].uri);
		assert_string_equal(rule->ldap->basedn, table[i].basedn);
		assert_string_equal(rule->ldap->attribute ? rule->ldap->attribute : "", table[i].attribute ? table[i].attribute : "");
		assert_string_equal(rule->ldap->filter ? rule->ldap->filter : "", table[i].filter ? table[i].filter : "");
		assert_int_equal(rule->ldap->scope, table[i].scope);
		hba_unref(h);
	}
}

/* ---- any rules -------------------------------------------------------------------------------------------- */

static uint32_t dice;

static unsigned roll(unsigned n)
{
	dice = dice * 1664525u + 1013904223u;
	return (dice >> 8) % n;
}

static const char *one_of(const char *const *words, unsigned n)
{
	return words[roll(n)];
}

static void random_rule(char *out, size_t cap)
{
	static const char *const databases[] = { "all",      "a",       "b,a",     "sameuser",  "replication",
		                                     "samerole", "/^[ab]$", "\"all\"", "\"/^a,?$\"" };
	static const char *const users[] = { "all", "a", "b,c", "+staff", "+a", "/a|c", "\"+a\"", "c,+staff" };
	static const char *const types[] = { "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc" };
	static const char *const hosts[] = { "all",      "10.0.0.0/8", "10.1.0.0 255.255.0.0",
		                                 "::/0",     "fd00::/8",   "a.example",
		                                 ".example", "samehost",   "0.0.0.0/0" };
	static const char *const methods[] = {
		"trust", "reject", "md5", "password", "scram-sha-256", "pam", "ldap ldapserver=x ldapprefix=y"
	};
	const char *database = one_of(databases, ARRAY_LEN(databases)), *user = one_of(users, ARRAY_LEN(users));
	const char *method = one_of(methods, ARRAY_LEN(methods));
	if (roll(4) == 0)
		snprintf(out, cap, "local %s %s %s\n", database, user, method);
	else
		snprintf(out, cap, "%s %s %s %s %s\n", one_of(types, ARRAY_LEN(types)), database, user, one_of(hosts, ARRAY_LEN(hosts)),
		         method);
}

/* A file decides as its rules do one by one, each in a file of its own: the first that does not say "no". */
static void many_rules_are_one_after_the_other(void **state)
{
	static const char *const names[] = { "a", "b", "c", "replication", "staff" }, *const roles[] = { "a", "staff" };
	static const char *const froms[] = { "", "10.1.2.3", "10.2.2.3", "8.8.8.8", "fd00::1", "::ffff:10.1.0.1" };
	static const char *const hosts[] = { "", "a.example", "b.example" };
	for (dice = 1; dice < 60;) {
		uint32_t seed = dice;
		char rules[6][160], all[1000] = "";
		struct hba *alone[ARRAY_LEN(rules)];
		for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
			random_rule(rules[i], sizeof rules[i]);
			strcat(all, rules[i]);
			alone[i] = load(rules[i]);
			assert_string_equal(dir.told, "");
		}
		struct hba *h = load(all);
		for (unsigned n = 0; n < 200; n++) {
			struct sockaddr_storage peer = peer_of(one_of(froms, ARRAY_LEN(froms)));
			struct hba_ask ask = { .peer = &peer, .is_tls = roll(2), .database = one_of(names, 5), .user = one_of(names, 3) };
			ask.is_replication = roll(6) == 0;
			ask.facts.has_host = roll(2);
			ask.facts.host = ask.facts.has_host ? one_of(hosts, 3) : "";
			ask.facts.has_roles = roll(2);
			ask.facts.n_roles = ask.facts.has_roles ? roll(3) : 0;
			ask.facts.roles = roles;
			const struct hba_rule *rule, *one = NULL;
			enum hba_answer got = hba_match(h, &ask, &rule), wanted = HBA_NONE;
			size_t at = 0;
			for (; at < ARRAY_LEN(rules) && wanted == HBA_NONE; at++)
				wanted = hba_match(alone[at], &ask, &one);
			assert_int_equal(got, wanted);
			assert_int_equal(rule ? rule->line : 0, one ? at : 0);
			assert_int_equal(rule ? (int)rule->method : -1, one ? (int)one->method : -1);
		}
		for (size_t i = 0; i < ARRAY_LEN(rules); i++)
			hba_unref(alone[i]);
		hba_unref(h);
		dice = seed + 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(databases_and_users, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_line_that_fits_decides, setup, teardown),
		cmocka_unit_test_setup_teardown(types_regexes_and_methods, setup, teardown),
		cmocka_unit_test_setup_teardown(files_include_files, setup, teardown),
		cmocka_unit_test_setup_teardown(facts_are_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(ldap_options, setup, teardown),
		cmocka_unit_test_setup_teardown(many_rules_are_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_understood_is_refused, setup, teardown),
	};
	return UNIT_RUN(tests);
}
