/*
 * tls — one connection's TLS as a function of bytes: what came in is fed, what is to go out is collected.  Knows no sockets.
 *
 *   tls_feed -> tls_shake, until TLS_DONE -> (tls_feed -> tls_unseal | tls_seal)* -> tls_bye
 *
 * OpenSSL reads what was fed and writes to a buffer that holds memory only while there is something in it; its own buffers go when
 * they are empty, too, so that an idle connection costs the connection object and nothing else.
 *
 * Always: between two feeds OpenSSL holds at most one incomplete record;  the output is in the order in which records were made.
 */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/addr.h"
#include "tlsctx.h"

#define RECORD_BYTES 16384u /* plain text of a full record */
#define RECORD_EXTRA 256u   /* header, nonce, padding, tag of any cipher: less */
#define RAW_MAX (RECORD_BYTES + 2048u + 5u)

struct tls {
	SSL *ssl;
	struct tls_conf *conf;
	struct slice in; /* fed, and not read by OpenSSL yet */
	struct buf out;
	char *host;
	char *error;
	uint8_t *binding; /* the server's, once asked for */
	bool is_direct, is_up, is_broken;
};

const unsigned char tls_alpn[11] = "\012postgresql"; /* without the NUL that a text would have */

/* ---- OpenSSL's view of the world ------------------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *to, int want)
{
	struct tls *t = BIO_get_data(bio);
	size_t n = (size_t)want < t->in.len ? (size_t)want : t->in.len;
	BIO_clear_retry_flags(bio);
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, t->in.at, n);
	t->in = slice_skip(t->in, n);
	return (int)n;
}

static int bio_write(BIO *bio, const char *from, int len)
{
	struct tls *t = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	return buf_append(&t->out, slice_of(from, (size_t)len)) ? len : -1;
}

static long bio_ctrl(BIO *bio, int what, long n, void *p)
{
	return what == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl) &&
	    BIO_meth_set_create(m, bio_create))
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* The oldest reason is the cause, those behind it are what came of it. */
const char *tls_reason(void)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	ERR_clear_error();
	return reason ? reason : "unknown error";
}

static void be_broken(struct tls *t, const char *why)
{
	t->is_broken = true;
	t->in = slice_of(NULL, 0);
	if (!t->error)
		t->error = mem_text(why);
}

/* A certificate that was refused is told with the reason of that. */
static enum tls_result fail(struct tls *t)
{
	long verdict = SSL_get_verify_result(t->ssl);
	const char *reason = tls_reason();
	char text[200];
	if (!t->is_up && verdict != X509_V_OK)
		snprintf(text, sizeof text, "%s: %s", reason, X509_verify_cert_error_string(verdict));
	else
		snprintf(text, sizeof text, "%s", reason);
	be_broken(t, text);
	return TLS_FAILED;
}

static enum tls_result result_of(struct tls *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return TLS_MORE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_ENDED;
	default:
		return fail(t);
	}
}

/* ---- a life ------------------------------------------------------------------------------------------------------------------ */

static bool expect_host(SSL *ssl, const struct tls_setup *setup, const char *host)
{
	struct addr numeric;
	bool is_numeric = addr_from_numeric(&numeric, host, 0);
	X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
	if (setup->has_sni && !is_numeric && !SSL_set_tlsext_host_name(ssl, host)) /* RFC 6066: literal addresses are not permitted */
		return false;
	if (setup->verify != TLS_VERIFY_FULL)
		return true;
	X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return is_numeric ? X509_VERIFY_PARAM_set1_ip_asc(p, host) : X509_VERIFY_PARAM_set1_host(p, host, 0);
}

static bool make_ssl(struct tls *t, const struct tls_start *start)
{
	BIO *bio = BIO_new(tls_conf_bio(start->conf));
	t->ssl = SSL_new(tls_conf_ctx(start->conf));
	if (!t->ssl || !bio) {
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, t);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	if (tls_conf_setup(start->conf)->is_server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	return !start->host || expect_host(t->ssl, tls_conf_setup(start->conf), start->host);
}

static void go_on_with_session(struct tls *t)
{
	SSL_SESSION *session = t->host ? tls_conf_take_session(t->conf, t->host) : NULL;
	if (session)
		SSL_set_session(t->ssl, session);
	SSL_SESSION_free(session);
}

struct tls *tls_new(const struct tls_start *start)
{
	struct tls *t = mem_alloc(sizeof *t);
	t->conf = tls_conf_ref(start->conf);
	t->host = mem_text(start->host);
	t->is_direct = start->is_direct;
	ERR_clear_error();
	if (make_ssl(t, start)) {
		go_on_with_session(t);
		return t;
	}
	ERR_clear_error();
	tls_free(t);
	return NULL;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	tls_conf_unref(t->conf);
	buf_fini(&t->out);
	mem_free(t->host);
	mem_free(t->error);
	mem_free(t->binding);
	mem_free(t);
}

struct tls *tls_of_ssl(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* ---- bytes --------------------------------------------------------------------------------------------------------------------- */

void tls_feed(struct tls *t, struct slice sealed)
{
	t->in = sealed;
}

/* Without ALPN the bytes of a direct connection could have been meant for another service that this certificate is good for. */
static bool is_meant_for_postgresql(const struct tls *t)
{
	const unsigned char *chosen;
	unsigned n;
	SSL_get0_alpn_selected(t->ssl, &chosen, &n);
	return n == tls_alpn[0] && memcmp(chosen, tls_alpn + 1, n) == 0;
}

enum tls_result tls_shake(struct tls *t)
{
	ERR_clear_error();
	int r = SSL_do_handshake(t->ssl);
	if (r != 1)
		return result_of(t, r) == TLS_MORE ? TLS_MORE : TLS_FAILED;
	if (t->is_direct && !is_meant_for_postgresql(t)) {
		be_broken(t, "a direct TLS connection without ALPN protocol negotiation");
		return TLS_FAILED;
	}
	t->is_up = true;
	return TLS_DONE;
}

size_t tls_bound(const struct tls *t)
{
	return t->in.len + (SSL_has_pending(t->ssl) ? RAW_MAX : 0);
}

enum tls_result tls_unseal(struct tls *t, uint8_t *at, size_t *len)
{
	size_t cap = tls_bound(t), n;
	*len = 0;
	ERR_clear_error();
	while (*len < cap && SSL_read_ex(t->ssl, at + *len, cap - *len, &n))
		*len += n;
	return *len < cap ? result_of(t, 0) : TLS_MORE;
}

/* OpenSSL cuts what is longer than a record. */
static bool seal(struct tls *t, struct slice plain)
{
	size_t n;
	return SSL_write_ex(t->ssl, plain.at, plain.len, &n) && n == plain.len;
}

/* Small pieces become full records. */
struct joint {
	size_t have;
	uint8_t bytes[RECORD_BYTES];
};

static bool join(struct tls *t, struct joint *j, struct slice piece)
{
	while (piece.len) {
		size_t room = RECORD_BYTES - j->have, take = piece.len < room ? piece.len : room;
		memcpy(j->bytes + j->have, piece.at, take);
		j->have += take;
		piece = slice_skip(piece, take);
		if (j->have < RECORD_BYTES)
			continue;
		j->have = 0;
		if (!seal(t, slice_of(j->bytes, RECORD_BYTES)))
			return false;
	}
	return true;
}

static NOT_INLINE bool seal_pieces(struct tls *t, const struct iovec *iov, unsigned n)
{
	struct joint j;
	j.have = 0;
	for (unsigned i = 0; i < n; i++)
		if (!join(t, &j, slice_of(iov[i].iov_base, iov[i].iov_len)))
			return false;
	return j.have == 0 || seal(t, slice_of(j.bytes, j.have));
}

bool tls_seal(struct tls *t, const struct iovec *iov, unsigned n, size_t bytes)
{
	if (bytes == 0)
		return true;
	if (t->is_broken || !t->is_up)
		return false;
	ERR_clear_error();
	bool has_room = buf_reserve(&t->out, bytes + (bytes / RECORD_BYTES + 1) * RECORD_EXTRA);
	if (has_room && (n == 1 ? seal(t, slice_of(iov->iov_base, iov->iov_len)) : seal_pieces(t, iov, n)))
		return true;
	be_broken(t, tls_reason());
	return false;
}

void tls_bye(struct tls *t)
{
	if (t->is_broken || !t->is_up)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

struct buf *tls_output(struct tls *t)
{
	return &t->out;
}

bool tls_is_quiet(const struct tls *t)
{
	return t->is_up && !t->is_broken && !t->in.len && !buf_len(&t->out) && !SSL_has_pending(t->ssl);
}

const char *tls_error(const struct tls *t)
{
	return t->error ? t->error : "";
}

/* ---- what is known of it -------------------------------------------------------------------------------------------------------- */

size_t tls_hash_certificate(X509 *cert, uint8_t out[TLS_BINDING_MAX])
{
	int hash_nid, sign_nid;
	unsigned n = 0;
	if (!OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash_nid, &sign_nid))
		return 0;
	if (hash_nid == NID_md5 || hash_nid == NID_sha1)
		hash_nid = NID_sha256; /* RFC 5929, 4.1 */
	const EVP_MD *md = EVP_get_digestbynid(hash_nid);
	return md && X509_digest(cert, md, out, &n) ? n : 0;
}

bool tls_is_verified(const struct tls *t)
{
	return tls_conf_setup(t->conf)->verify >= TLS_VERIFY_CA;
}

bool tls_binding(const struct tls *t, struct slice *out)
{
	if (tls_conf_setup(t->conf)->is_server) {
		*out = tls_conf_binding(t->conf);
		return out->len > 0;
	}
	struct tls *mine = (struct tls *)t; /* what it remembers changes nothing that anybody sees */
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	if (!mine->binding)
		mine->binding = mem_alloc(1 + TLS_BINDING_MAX);
	if (!mine->binding[0] && cert)
		mine->binding[0] = (uint8_t)tls_hash_certificate(cert, mine->binding + 1);
	*out = slice_of(mine->binding + 1, mine->binding[0]);
	return out->len > 0;
}

static bool copy_name(const unsigned char *at, long len, char *out, size_t size)
{
	if (!at || len <= 0 || (size_t)len >= size || memchr(at, 0, (size_t)len))
		return false;
	memcpy(out, at, (size_t)len);
	out[len] = '\0';
	return true;
}

static bool common_name(const X509_NAME *name, char *out, size_t size)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	if (at < 0)
		return false;
	int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	bool is_good = len > 0 && copy_name(utf8, len, out, size);
	OPENSSL_free(utf8);
	return is_good;
}

static bool distinguished_name(const X509_NAME *name, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	bool is_good = bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0;
	long len = is_good ? BIO_get_mem_data(bio, &text) : 0;
	is_good = is_good && copy_name((const unsigned char *)text, len, out, size);
	BIO_free(bio);
	return is_good;
}

bool tls_name_text(const X509_NAME *name, enum tls_name what, char *out, size_t size)
{
	bool is_good = what == TLS_NAME_CN ? common_name(name, out, size) : distinguished_name(name, out, size);
	ERR_clear_error();
	return is_good;
}

bool tls_peer_name(const struct tls *t, enum tls_name what, char *out, size_t size)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK || tls_conf_setup(t->conf)->verify == TLS_VERIFY_NONE)
		return false;
	return tls_name_text(X509_get_subject_name(cert), what, out, size);
}

const char *tls_version(const struct tls *t)
{
	return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
	return SSL_get_cipher_name(t->ssl);
}

struct tls_conf *tls_conf_of(const struct tls *t)
{
	return t->conf;
}

const char *tls_host(const struct tls *t)
{
	return t->host;
}

bool tls_is_direct(const struct tls *t)
{
	return t->is_direct;
}

/* By the calendar, as the certificate means it: nothing is decided by it. */
bool tls_days_left(const struct ssl_st *ssl, int *days)
{
	X509 *shown = SSL_get0_peer_certificate(ssl);
	int seconds;
	if (!shown || !ASN1_TIME_diff(days, &seconds, NULL, X509_get0_notAfter(shown)))
		return false;
	if (seconds < 0)
		--*days;
	return true;
}
