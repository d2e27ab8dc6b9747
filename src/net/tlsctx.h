/* tlsctx — what tls.c and tlsconf.c know of each other, in OpenSSL's types. */
#ifndef NET_TLSCTX_H
#define NET_TLSCTX_H

#include <openssl/ssl.h>

#include "tlspriv.h"

/* What tls.c needs of a configuration. */
SSL_CTX *tls_conf_ctx(const struct tls_conf *c);
BIO_METHOD *tls_conf_bio(const struct tls_conf *c);
const struct tls_setup *tls_conf_setup(const struct tls_conf *c);
struct slice tls_conf_binding(const struct tls_conf *c);
/* Sessions to go on with at the same server.  Any thread. */
void tls_conf_keep_session(struct tls_conf *c, const char *host, SSL_SESSION *session); /* takes the reference */
SSL_SESSION *tls_conf_take_session(struct tls_conf *c, const char *host);               /* a reference; NULL: none */
struct tls *tls_of_ssl(const SSL *ssl);

#define TLS_BINDING_MAX 64
BIO_METHOD *tls_bio_method(void); /* it must outlive the connections that are made with it */
/* RFC 5929, 4.1; 0: undefined for this certificate. */
size_t tls_hash_certificate(X509 *cert, uint8_t out[TLS_BINDING_MAX]);
bool tls_name_text(const X509_NAME *name, enum tls_name what, char *out, size_t size) MUST_CHECK; /* as tls_peer_name() */
/* The oldest of OpenSSL's reasons, which it forgets. */
const char *tls_reason(void);
extern const unsigned char tls_alpn[11]; /* as it travels */

#endif
