/*
 * tls — what streams with TLS share, and what is known of one of them.
 *
 * A struct tls_conf is what a configuration block says about TLS, as OpenSSL wants it: made once, shared by all threads, counted.
 * stream_start_tls() (stream.h) makes a stream speak it.  Versions below 1.2, renegotiation and compression are not to be had.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

/* What the other side must show. */
enum tls_verify {
	TLS_VERIFY_NONE,
	TLS_VERIFY_IF_GIVEN, /* of clients: a certificate that is shown must be good */
	TLS_VERIFY_CA,
	TLS_VERIFY_FULL, /* of servers: and it must be for the host that was meant */
};

/* Paths and texts are "" where nothing was configured. */
struct tls_setup {
	bool is_server; /* which end of the conversation we are */
	enum tls_verify verify;
	const char *cert, *key, *ca, *crl;
	const char *min_protocol;                    /* "TLSv1.2" or "TLSv1.3" */
	const char *ciphers, *ciphersuites, *groups; /* up to TLS 1.2; of TLS 1.3; in OpenSSL's words */
	bool has_sni;                                /* of ours to a server: its name is told in the clear */
};

struct tls_conf; /* any thread */
/* Reads the files: may block.  NULL with ERR (F0000), which names the file. */
struct tls_conf *tls_conf_new(const struct tls_setup *setup, struct err *err) MUST_CHECK;
struct tls_conf *tls_conf_ref(struct tls_conf *c);
void tls_conf_unref(struct tls_conf *c); /* NULL is fine */
/* Whether SETUP, read now, would make the same: texts and contents of files. */
bool tls_conf_is_current(const struct tls_conf *c, const struct tls_setup *setup);

/* Whether SETUP has the same texts, whatever is in the files. */
bool tls_conf_is_like(const struct tls_conf *c, const struct tls_setup *setup);

/* One connection's TLS.  Its stream's thread. */
struct tls;
/* The other side has shown a certificate by an authority that is believed (once the handshake is over): nobody else can be it. */
bool tls_is_verified(const struct tls *t);
/* RFC 5929 "tls-server-end-point": the hash of the server's certificate, of ours where we are the server.  False: it has none (its signature
 * names no hash).  OUT is valid as long as the stream. */
bool tls_binding(const struct tls *t, struct slice *out);
enum tls_name { TLS_NAME_CN, TLS_NAME_DN };
/* Of the other side's certificate, if it has shown one that was verified.  False: there is none, or it cannot be told in SIZE bytes without
 * becoming another: a NUL inside, too long.  DN as in RFC 2253. */
bool tls_peer_name(const struct tls *t, enum tls_name what, char *out, size_t size);
const char *tls_version(const struct tls *t); /* "TLSv1.3" */
const char *tls_cipher(const struct tls *t);  /* "TLS_AES_256_GCM_SHA384" */
/* How the connection was meant, so that another to the same server can be meant alike: for cancel requests. */
struct tls_conf *tls_conf_of(const struct tls *t);
const char *tls_host(const struct tls *t); /* NULL: we are the server, or none was given */
bool tls_is_direct(const struct tls *t);

/* How many days the other side's certificate has left, of a connection that OpenSSL keeps for somebody else; less than 0: none.  False: it has shown none. */
struct ssl_st;
bool tls_days_left(const struct ssl_st *ssl, int *days);

#endif
