/* The keyring: what a reload keeps, renews and refuses. */
#include "upstream/keyring.h"

#include "certs.h"
#include "confdir.h"

static struct certs certs;
static struct confdir dir;

/* CLUSTER and LISTEN: what stands in those blocks about TLS. */
static struct conf *load(const char *listen, const char *cluster)
{
	char text[4096];
	snprintf(text, sizeof text,
	         "listen { address = \"127.0.0.1\" %s }\nauth { hba_file = \"rules\" }\ndatabase \"*\" {}\n"
	         "cluster \"main\" { %s\nnode \"one\" { host = \"localhost\" } }\n",
	         listen, cluster);
	confdir_write(&dir, "a.conf", text);
	struct conf *c = confdir_load(&dir, NULL);
	if (!c)
		fail_msg("%s", dir.told);
	return c;
}

static const char *in_listen(const char *mode, const char *cert, const char *key)
{
	static char text[600];
	char *folder = realpath(certs.path, NULL);
	snprintf(text, sizeof text, "tls = %s tls_cert = \"%s/%s.crt\" tls_key = \"%s/%s.key\"", mode, folder, cert, folder, key);
	free(folder);
	return text;
}

static bool apply(struct keyring *k, const char *listen, const char *cluster, struct err *err)
{
	struct conf *c = load(listen, cluster);
	struct keyring_plan *p = keyring_plan(k, c, err);
	if (p)
		keyring_apply(k, p);
	conf_free(c);
	return p != NULL;
}

/* Who it is, for comparing; the reference is given back. */
static const void *clients_of(struct keyring *k)
{
	struct tls_conf *c = keyring_clients(k);
	tls_conf_unref(c);
	return c;
}

static struct upstream_tls cluster_of(struct keyring *k, const char *cluster)
{
	struct conf *c = load("", cluster);
	struct upstream_tls tls = keyring_cluster(k, &c->clusters[0]);
	tls_conf_unref(tls.conf);
	conf_free(c);
	return tls;
}

static void what_is_off_has_none(void **state)
{
	struct keyring *k = keyring_new();
	struct err err;
	assert_true(apply(k, "", "tls = off", &err));
	assert_null(clients_of(k));
	assert_null(cluster_of(k, "tls = off").conf);
	assert_int_equal(cluster_of(NULL, "tls = require").mode, CONF_SERVER_TLS_REQUIRE);
	assert_null(cluster_of(NULL, "tls = require").conf);
	keyring_free(k);
}

static void what_has_not_changed_stays_the_same(void **state)
{
	struct keyring *k = keyring_new();
	struct err err;
	const char *on = in_listen("allow", "one", "one");
	assert_true(apply(k, on, "tls = require", &err));
	const void *clients = clients_of(k);
	struct upstream_tls before = cluster_of(k, "tls = require");
	assert_non_null(clients);
	assert_non_null(before.conf);
	assert_true(apply(k, on, "tls = require", &err));
	assert_ptr_equal(clients_of(k), clients);
	struct upstream_tls same = cluster_of(k, "tls = require"), direct = cluster_of(k, "tls = require tls_negotiation = direct");
	assert_true(upstream_tls_equal(&before, &same));
	assert_false(upstream_tls_equal(&before, &direct));
	assert_true(apply(k, on, "tls = require tls_min_protocol = \"TLSv1.3\"", &err));
	struct upstream_tls stricter = cluster_of(k, "tls = require");
	assert_false(upstream_tls_equal(&before, &stricter));
	assert_ptr_equal(clients_of(k), clients);
	keyring_free(k);
}

static void a_renewed_certificate_takes_the_place_of_the_old_one(void **state)
{
	struct keyring *k = keyring_new();
	struct err err;
	assert_true(apply(k, in_listen("allow", "renewed", "renewed"), "", &err));
	struct tls_conf *before = keyring_clients(k);
	certs_make(&certs, "renewed", NULL, &(struct cert){ .cn = "again" });
	assert_true(apply(k, in_listen("allow", "renewed", "renewed"), "", &err));
	assert_ptr_not_equal(clients_of(k), before);
	tls_conf_unref(before); /* who was there still had it */
	keyring_free(k);
}

static void a_renewed_certificate_that_is_no_good_does_not(void **state)
{
	struct keyring *k = keyring_new();
	struct err err;
	certs_make(&certs, "renewed", NULL, &(struct cert){ .cn = "again" });
	assert_true(apply(k, in_listen("require", "renewed", "renewed"), "", &err));
	const void *before = clients_of(k);
	assert_int_equal(truncate(certs_path(&certs, "renewed", "key"), 0), 0);
	assert_true(apply(k, in_listen("require", "renewed", "renewed"), "", &err));
	assert_ptr_equal(clients_of(k), before);
	certs_make(&certs, "renewed", NULL, &(struct cert){ .cn = "again" });
	assert_true(apply(k, in_listen("require", "renewed", "renewed"), "", &err));
	assert_ptr_not_equal(clients_of(k), before);
	keyring_free(k);
}

static void a_setting_that_is_no_good_refuses_all(void **state)
{
	struct keyring *k = keyring_new();
	struct err err;
	assert_false(apply(k, in_listen("allow", "one", "other"), "", &err));
	assert_string_equal(err.sqlstate, "F0000");
	assert_true(apply(k, in_listen("allow", "one", "one"), "", &err));
	const void *before = clients_of(k);
	assert_false(apply(k, in_listen("allow", "one", "other"), "", &err));
	assert_non_null(strstr(err.text, "key values mismatch"));
	assert_false(apply(k, in_listen("allow", "one", "one"), "tls = require tls_ciphers = \"nonsense\"", &err));
	assert_ptr_equal(clients_of(k), before);
	keyring_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_off_has_none),
		cmocka_unit_test(what_has_not_changed_stays_the_same),
		cmocka_unit_test(a_renewed_certificate_takes_the_place_of_the_old_one),
		cmocka_unit_test(a_renewed_certificate_that_is_no_good_does_not),
		cmocka_unit_test(a_setting_that_is_no_good_refuses_all),
	};
	certs_init(&certs);
	confdir_init(&dir);
	for (unsigned i = 0; i < 3; i++)
		certs_make(&certs, (const char *[]){ "one", "other", "renewed" }[i], NULL, &(struct cert){ .cn = "server" });
	int failed = UNIT_RUN(tests);
	confdir_fini(&dir);
	certs_fini(&certs);
	return failed;
}
