/*
 * certs — certificates for tests, made on the spot in a folder that is gone after the test: NAME.crt and NAME.key.
 *
 *   certs_make(&c, "ca", NULL, &(struct cert){ .cn = "Test CA", .is_ca = true });
 *   certs_make(&c, "server", "ca", &(struct cert){ .cn = "db.test", .san = "DNS:db.test,IP:127.0.0.1" });
 */
#ifndef CERTS_H
#define CERTS_H

#include <dirent.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

struct certs {
	char path[64];
	long serial;
};
struct cert {
	const char *cn, *san; /* SAN in OpenSSL's words, or NULL */
	bool is_ca, has_expired;
};

static inline const char *certs_path(const struct certs *c, const char *name, const char *ext)
{
	static char paths[64][128];
	static unsigned at;
	char *out = paths[at++ % 64];
	snprintf(out, sizeof paths[0], "%s/%s.%s", c->path, name, ext);
	return out;
}

static inline void certs_init(struct certs *c)
{
	*c = (struct certs){ 0 };
	mkdir("build", 0777);
	strcpy(c->path, "build/certs-XXXXXX");
	assert_non_null(mkdtemp(c->path));
}

static inline void certs_fini(struct certs *c)
{
	DIR *dir = opendir(c->path);
	for (struct dirent *it; (it = readdir(dir));)
		unlinkat(dirfd(dir), it->d_name, 0);
	closedir(dir);
	assert_int_equal(rmdir(c->path), 0);
}

static inline FILE *certs_create(const struct certs *c, const char *name, const char *ext)
{
	int fd = open(certs_path(c, name, ext), O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	return fdopen(fd, "w");
}

static inline X509 *certs_read(const struct certs *c, const char *name)
{
	FILE *f = fopen(certs_path(c, name, "crt"), "r");
	X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(x);
	return x;
}

static inline EVP_PKEY *certs_read_key(const struct certs *c, const char *name)
{
	FILE *f = fopen(certs_path(c, name, "key"), "r");
	EVP_PKEY *k = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(k);
	return k;
}

static inline void certs_extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* ISSUER NULL: signs itself. */
static inline void certs_make(struct certs *c, const char *name, const char *issuer, const struct cert *what)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new(), *by = issuer ? certs_read(c, issuer) : NULL;
	EVP_PKEY *by_key = issuer ? certs_read_key(c, issuer) : NULL;
	X509_NAME *subject = X509_get_subject_name(x);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++c->serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -7200);
	X509_gmtime_adj(X509_getm_notAfter(x), what->has_expired ? -3600 : 86400);
	X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Lunapool, tests", -1, -1, 0);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)what->cn, -1, -1, 0);
	X509_set_issuer_name(x, by ? X509_get_subject_name(by) : subject);
	X509_set_pubkey(x, key);
	certs_extend(x, NID_basic_constraints, what->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (what->san)
		certs_extend(x, NID_subject_alt_name, what->san);
	assert_true(X509_sign(x, by_key ? by_key : key, EVP_sha256()) > 0);
	FILE *f = certs_create(c, name, "crt");
	PEM_write_X509(f, x);
	fclose(f);
	f = certs_create(c, name, "key");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(x);
	X509_free(by);
	EVP_PKEY_free(key);
	EVP_PKEY_free(by_key);
}

/* CA.crl, with the serial number of REVOKED (NULL: nobody's). */
static inline void certs_revoke(struct certs *c, const char *ca, const char *revoked)
{
	X509_CRL *crl = X509_CRL_new();
	X509 *by = certs_read(c, ca);
	EVP_PKEY *by_key = certs_read_key(c, ca);
	ASN1_TIME *at = X509_gmtime_adj(NULL, -3600);
	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(by));
	X509_CRL_set1_lastUpdate(crl, at);
	if (revoked) {
		X509 *x = certs_read(c, revoked);
		X509_REVOKED *r = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(x));
		X509_REVOKED_set_revocationDate(r, at);
		X509_CRL_add0_revoked(crl, r);
		X509_free(x);
	}
	X509_gmtime_adj(at, 86400);
	X509_CRL_set1_nextUpdate(crl, at);
	assert_true(X509_CRL_sign(crl, by_key, EVP_sha256()) > 0);
	FILE *f = certs_create(c, ca, "crl");
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	ASN1_TIME_free(at);
	X509_CRL_free(crl);
	X509_free(by);
	EVP_PKEY_free(by_key);
}

#endif
