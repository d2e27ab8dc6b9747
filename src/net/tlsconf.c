/*
 * tlsconf — what a configuration block says about TLS, as an SSL_CTX: read from files once, then shared by the connections of all threads.
 *
 * Always: a tls_conf does not change but for its store of sessions, which has a lock;  what was asked for is there, or there is no tls_conf:
 *         a certificate authority, a revocation list or a cipher that cannot be had is an error, never left out.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "tlsctx.h"

#define SESSIONS_MAX 64 /* hosts that sessions are kept of */
#define FINGERPRINT_BYTES 32

struct kept_session {
	char *host;
	SSL_SESSION *session;
};

struct tls_conf {
	atomic_uint refs;
	struct tls_setup setup; /* its texts are ours */
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	uint8_t fingerprint[FINGERPRINT_BYTES];
	uint8_t binding[TLS_BINDING_MAX];
	size_t binding_len;
	pthread_mutex_t lock;
	struct kept_session sessions[SESSIONS_MAX];
	unsigned n_sessions;
};

/* ---- the setup and its copy ------------------------------------------------------------------------------------------------- */

#define TEXTS 8
static void texts_of(const struct tls_setup *s, const char *const *out[TEXTS])
{
	const char *const *const all[TEXTS] = { &s->cert,         &s->key,     &s->ca,           &s->crl,
		                                    &s->min_protocol, &s->ciphers, &s->ciphersuites, &s->groups };
	memcpy(out, all, sizeof all);
}

static void copy_setup(struct tls_setup *to, const struct tls_setup *from)
{
	const char *const *texts[TEXTS];
	*to = *from;
	texts_of(to, texts);
	for (unsigned i = 0; i < TEXTS; i++)
		*(const char **)(uintptr_t)texts[i] = mem_text(*texts[i]);
}

static void free_setup(struct tls_setup *s)
{
	const char *const *texts[TEXTS];
	texts_of(s, texts);
	for (unsigned i = 0; i < TEXTS; i++)
		mem_free((char *)(uintptr_t)*texts[i]);
}

static void digest_file(EVP_MD_CTX *md, const char *path)
{
	char bytes[4096];
	FILE *f = *path ? fopen(path, "re") : NULL;
	for (size_t n; f && (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
		EVP_DigestUpdate(md, bytes, n);
	if (f)
		fclose(f);
	OPENSSL_cleanse(bytes, sizeof bytes);
}

/* What cannot be read counts as empty here: making the tls_conf says so. */
static void fingerprint(const struct tls_setup *s, uint8_t out[FINGERPRINT_BYTES])
{
	const char *const *texts[TEXTS];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	const unsigned char flags[3] = { s->is_server, (unsigned char)s->verify, s->has_sni };
	if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
		die("out of memory: a hash");
	texts_of(s, texts);
	EVP_DigestUpdate(md, flags, sizeof flags);
	for (unsigned i = 0; i < TEXTS; i++)
		EVP_DigestUpdate(md, *texts[i], strlen(*texts[i]) + 1);
	digest_file(md, s->cert);
	digest_file(md, s->key);
	digest_file(md, s->ca);
	digest_file(md, s->crl);
	EVP_DigestFinal_ex(md, out, NULL);
	EVP_MD_CTX_free(md);
}

/* ---- sessions to go on with --------------------------------------------------------------------------------------------------- */

static struct kept_session *kept_of(struct tls_conf *c, const char *host)
{
	for (unsigned i = 0; i < c->n_sessions; i++)
		if (strcmp(c->sessions[i].host, host) == 0)
			return &c->sessions[i];
	return NULL;
}

void tls_conf_keep_session(struct tls_conf *c, const char *host, SSL_SESSION *session)
{
	pthread_mutex_lock(&c->lock);
	struct kept_session *k = kept_of(c, host);
	if (!k && c->n_sessions < SESSIONS_MAX) {
		k = &c->sessions[c->n_sessions++];
		*k = (struct kept_session){ .host = mem_text(host) };
	}
	if (k) {
		SSL_SESSION *before = k->session;
		k->session = session;
		session = before;
	}
	pthread_mutex_unlock(&c->lock);
	SSL_SESSION_free(session);
}

/* A ticket is used once (RFC 8446, C.4): the server sends another. */
SSL_SESSION *tls_conf_take_session(struct tls_conf *c, const char *host)
{
	pthread_mutex_lock(&c->lock);
	struct kept_session *k = kept_of(c, host);
	SSL_SESSION *session = k ? k->session : NULL;
	if (k)
		k->session = NULL;
	pthread_mutex_unlock(&c->lock);
	return session;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = tls_of_ssl(ssl);
	if (!tls_host(t) || !SSL_SESSION_is_resumable(session))
		return 0;
	tls_conf_keep_session(tls_conf_of(t), tls_host(t), session);
	return 1;
}

/* ---- the context -------------------------------------------------------------------------------------------------------------- */

static bool refuse(struct err *err, const char *what, const char *which)
{
	return err_set(err, "F0000", "%s \"%.200s\": %s", what, which, tls_reason());
}

/* Nobody is there to be asked. */
static int no_passphrase(char *to, int size, int is_writing, void *arg)
{
	return 0;
}

/* As PostgreSQL wants it (be-secure-common.c:check_ssl_key_file_permissions): ours and nobody else's, or root's and readable by a group. */
static bool is_key_private(const char *path, struct err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return err_set(err, "F0000", "could not access private key file \"%.200s\": %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, "F0000", "private key file \"%.200s\" is not a regular file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, "F0000", "private key file \"%.200s\" must be owned by the user that runs Lunapool or root", path);
	if (st.st_mode & (st.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO)) {
		err_set(err, "F0000", "private key file \"%.200s\" has group or world access", path);
		err_hint(err, "File must have permissions u=rw (0600) or less if owned by the user that runs Lunapool, or permissions "
		              "u=rw,g=r (0640) or less if owned by root.");
		return false;
	}
	return true;
}

static bool load_identity(struct tls_conf *c, struct err *err)
{
	const struct tls_setup *s = &c->setup;
	if (!*s->cert)
		return true;
	if (SSL_CTX_use_certificate_chain_file(c->ctx, s->cert) != 1)
		return refuse(err, "could not load the certificate", s->cert);
	if (!is_key_private(s->key, err))
		return false;
	SSL_CTX_set_default_passwd_cb(c->ctx, no_passphrase);
	if (SSL_CTX_use_PrivateKey_file(c->ctx, s->key, SSL_FILETYPE_PEM) != 1)
		return refuse(err, "could not load the private key", s->key);
	if (SSL_CTX_check_private_key(c->ctx) != 1)
		return refuse(err, "the private key does not belong to the certificate", s->cert);
	c->binding_len = tls_hash_certificate(SSL_CTX_get0_certificate(c->ctx), c->binding);
	return true;
}

/* From each file what it is for, and at least one: an authority among revocation lists would be trusted otherwise. */
static bool load_store(X509_STORE *store, const struct tls_setup *s, struct err *err)
{
	X509_LOOKUP *files = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	if (*s->ca && (!files || X509_load_cert_file(files, s->ca, X509_FILETYPE_PEM) < 1))
		return refuse(err, "could not load the certificate authorities", s->ca);
	if (*s->crl && (!files || X509_load_crl_file(files, s->crl, X509_FILETYPE_PEM) < 1))
		return refuse(err, "could not load the certificate revocation list", s->crl);
	if (*s->crl)
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return true;
}

static bool load_trust(struct tls_conf *c, struct err *err)
{
	const struct tls_setup *s = &c->setup;
	if (!load_store(SSL_CTX_get_cert_store(c->ctx), s, err))
		return false;
	if (*s->ca && s->is_server) {
		STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(s->ca);
		if (!names)
			return refuse(err, "could not load the certificate authorities", s->ca);
		SSL_CTX_set_client_CA_list(c->ctx, names);
	}
	return true;
}

static bool choose_algorithms(struct tls_conf *c, struct err *err)
{
	const struct tls_setup *s = &c->setup;
	int least = strcmp(s->min_protocol, "TLSv1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
	if (SSL_CTX_set_min_proto_version(c->ctx, least) != 1)
		return refuse(err, "could not set the least protocol version", s->min_protocol);
	if (*s->ciphers && SSL_CTX_set_cipher_list(c->ctx, s->ciphers) != 1)
		return refuse(err, "could not use the ciphers", s->ciphers);
	if (*s->ciphersuites && SSL_CTX_set_ciphersuites(c->ctx, s->ciphersuites) != 1)
		return refuse(err, "could not use the cipher suites", s->ciphersuites);
	if (*s->groups && SSL_CTX_set1_groups_list(c->ctx, s->groups) != 1)
		return refuse(err, "could not use the groups", s->groups);
	return true;
}

/* A ticket of TLS 1.2 is as secret as a key that lives as long as this context; in 1.3 a key exchange is made beside it. */
static int on_certificate_wanted(SSL *ssl, void *arg)
{
	if (SSL_version(ssl) < TLS1_3_VERSION)
		SSL_set_options(ssl, SSL_OP_NO_TICKET);
	return 1;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
                   void *arg)
{
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, out_len, tls_alpn, sizeof tls_alpn, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Who shows a certificate shows it each time: a session that goes on would not look at the revocation list. */
static void be_server(struct tls_conf *c)
{
	static const unsigned char name[] = "lunapool";
	bool asks = c->setup.verify != TLS_VERIFY_NONE;
	int must = c->setup.verify >= TLS_VERIFY_CA ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
	SSL_CTX_set_verify(c->ctx, asks ? SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE | must : SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c->ctx, name, sizeof name - 1);
	SSL_CTX_set_num_tickets(c->ctx, asks ? 0 : 1);
	if (asks)
		SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_options(c->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_cert_cb(c->ctx, on_certificate_wanted, NULL);
	SSL_CTX_set_alpn_select_cb(c->ctx, on_alpn, NULL);
}

static void be_client(struct tls_conf *c)
{
	SSL_CTX_set_verify(c->ctx, c->setup.verify == TLS_VERIFY_NONE ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ctx, on_new_session);
	if (SSL_CTX_set_alpn_protos(c->ctx, tls_alpn, sizeof tls_alpn) != 0)
		die("out of memory: a TLS configuration");
}

static bool make(struct tls_conf *c, struct err *err)
{
	c->ctx = SSL_CTX_new(c->setup.is_server ? TLS_server_method() : TLS_client_method());
	c->bio = tls_bio_method();
	if (!c->ctx || !c->bio)
		return refuse(err, "could not begin with", "TLS");
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS);
	if (!choose_algorithms(c, err) || !load_identity(c, err) || !load_trust(c, err))
		return false;
	if (c->setup.is_server)
		be_server(c);
	else
		be_client(c);
	return true;
}

/* ---- public --------------------------------------------------------------------------------------------------------------------- */

struct tls_conf *tls_conf_new(const struct tls_setup *setup, struct err *err)
{
	struct tls_conf *c = mem_alloc(sizeof *c);
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	copy_setup(&c->setup, setup);
	fingerprint(setup, c->fingerprint); /* first: what changes meanwhile is seen at the next look */
	ERR_clear_error();
	if (make(c, err))
		return c;
	tls_conf_unref(c);
	return NULL;
}

struct tls_conf *tls_conf_ref(struct tls_conf *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void tls_conf_unref(struct tls_conf *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < c->n_sessions; i++) {
		SSL_SESSION_free(c->sessions[i].session);
		mem_free(c->sessions[i].host);
	}
	SSL_CTX_free(c->ctx);
	BIO_meth_free(c->bio);
	free_setup(&c->setup);
	pthread_mutex_destroy(&c->lock);
	mem_free(c);
}

bool tls_conf_is_current(const struct tls_conf *c, const struct tls_setup *setup)
{
	uint8_t now[FINGERPRINT_BYTES];
	fingerprint(setup, now);
	return memcmp(now, c->fingerprint, sizeof now) == 0;
}

bool tls_conf_is_like(const struct tls_conf *c, const struct tls_setup *setup)
{
	const char *const *ours[TEXTS], *const *theirs[TEXTS];
	bool is_like =
	    c->setup.is_server == setup->is_server && c->setup.verify == setup->verify && c->setup.has_sni == setup->has_sni;
	texts_of(&c->setup, ours);
	texts_of(setup, theirs);
	for (unsigned i = 0; i < TEXTS; i++)
		is_like = is_like && strcmp(*ours[i], *theirs[i]) == 0;
	return is_like;
}

SSL_CTX *tls_conf_ctx(const struct tls_conf *c)
{
	return c->ctx;
}

BIO_METHOD *tls_conf_bio(const struct tls_conf *c)
{
	return c->bio;
}

const struct tls_setup *tls_conf_setup(const struct tls_conf *c)
{
	return &c->setup;
}

struct slice tls_conf_binding(const struct tls_conf *c)
{
	return slice_of(c->binding, c->binding_len);
}
