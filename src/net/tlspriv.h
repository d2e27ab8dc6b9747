/*
 * tlspriv — TLS inside net/: tls.c turns bytes into bytes, tlsconf.c holds what many connections share, sealed.c puts it under a stream.
 * OpenSSL's own types are in tlsctx.h, which is for the first two.
 */
#ifndef NET_TLSPRIV_H
#define NET_TLSPRIV_H

#include <sys/uio.h>

#include "base/buf.h"
#include "net/stream.h"

/* One connection.  NULL: out of memory. */
struct tls *tls_new(const struct tls_start *start) MUST_CHECK;
void tls_free(struct tls *t); /* NULL is fine */

enum tls_result {
	TLS_MORE,   /* everything was taken, and more must come */
	TLS_DONE,   /* the handshake is over; what is left of the input comes behind it */
	TLS_ENDED,  /* the other side said goodbye */
	TLS_FAILED, /* tls_error() says why; an alert may be in the output */
};
/* All of these may leave something in tls_output(). */
void tls_feed(struct tls *t, struct slice sealed); /* borrowed until the next feed; what came before has been taken */
enum tls_result tls_shake(struct tls *t) MUST_CHECK;
/* At most tls_bound() bytes, to AT.  Never TLS_DONE. */
enum tls_result tls_unseal(struct tls *t, uint8_t *at, size_t *len) MUST_CHECK;
size_t tls_bound(const struct tls *t); /* so much plain text is in what was fed, at most */
bool tls_seal(struct tls *t, const struct iovec *iov, unsigned n, size_t bytes) MUST_CHECK;
void tls_bye(struct tls *t);
struct buf *tls_output(struct tls *t);      /* records to be sent, oldest first */
bool tls_is_quiet(const struct tls *t);     /* holds no part of anything: may go to another thread */
const char *tls_error(const struct tls *t); /* "" while all is well */

#endif
