/*
 * scram — SCRAM-SHA-256 (RFC 5802, 7677; PostgreSQL "SASL Authentication"), both roles, as pure state machines over message bodies.
 * SCRAM-SHA-256-PLUS binds to a TLS connection by "tls-server-end-point" (RFC 5929): whoever has the connection passes those bytes in.
 * Secrets are wiped when a machine is finished.  
 */
#ifndef WIRE_SCRAM_H
#define WIRE_SCRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define SCRAM_KEY 32
#define SCRAM_SALT_MAX 64
#define SCRAM_BINDING_MAX 64 /* the longest hash of a certificate */
#define SCRAM_TEXT_MAX 1024  /* longest message we build or accept, bytes */
#define SCRAM_ITERATIONS 4096u

/* What a stored "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" holds (pg_authid.rolpassword). */
struct scram_secret {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t salt_len;
	uint8_t stored_key[SCRAM_KEY], server_key[SCRAM_KEY];
};
bool scram_secret_parse(struct slice text, struct scram_secret *out) MUST_CHECK;
/* From a clear password (SASLprep'd when it is valid UTF-8, else raw, as PostgreSQL does), random salt: slow, 1 ms. */
void scram_secret_make(struct slice password, struct scram_secret *out);
/* Fills the keys that belong to PASSWORD under S's salt and iterations.  Slow: one hash for each iteration. */
void scram_secret_derive(struct slice password, struct scram_secret *s);
/* The same for who has a deadline: pbkdf2_go() in between, as often as it likes, until it is true or pbkdf2_free(). */
struct pbkdf2;
struct pbkdf2 *scram_secret_begin(struct slice password, const struct scram_secret *s);
void scram_secret_end(struct pbkdf2 *work, struct scram_secret *s, uint8_t client_key[SCRAM_KEY]); /* frees WORK */
bool scram_secret_equal(const struct scram_secret *a, const struct scram_secret *b); /* their keys, in constant time */
/*
 * A salt that is USER's for as long as SEED is the same (empty: for the life of the process).  The keys are zero until they are derived, and as
 * they are nobody knows a password for them: mock authentication, so that unknown users look like known ones.
 */
void scram_secret_salt(struct slice user, struct slice seed, uint32_t iterations, struct scram_secret *out);

/* We are the server (a client logs in). */
struct scram_server {
	struct scram_secret secret;
	bool is_mock;
	bool is_plus;                                    /* the client chose SCRAM-SHA-256-PLUS */
	uint8_t binding[SCRAM_BINDING_MAX], binding_len; /* what -PLUS is bound to; length 0: it is not offered */
	char nonce[64];
	char client_first_bare[SCRAM_TEXT_MAX], server_first[SCRAM_TEXT_MAX];
	char gs2_header;               /* n, y or p */
	uint8_t client_key[SCRAM_KEY]; /* after success: lets us log in to a server that stores the same secret */
	bool has_client_key;
	int state;
};
void scram_server_init(struct scram_server *s, const struct scram_secret *secret, bool is_mock);
void scram_server_offer_plus(struct scram_server *s, struct slice binding); /* empty: no */
/* The client's choice; false with 08P01 when that was not offered. */
bool scram_server_choose(struct scram_server *s, struct slice mechanism, struct err *err) MUST_CHECK;
/* Between first and final the keys of s->secret may be filled in: first tells only salt and iterations. */
/* IN is the SASL payload.  OUT (SCRAM_TEXT_MAX bytes) gets the answer's text, *OUT_LEN its length.
 * first: client-first -> server-first.  final: client-final -> server-final; false = wrong password (ERR: 28P01), malformed (08P01), another channel (28000). */
bool scram_server_first(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err) MUST_CHECK;
bool scram_server_final(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err) MUST_CHECK;
void scram_server_fini(struct scram_server *s); /* wipes */

/* We are the client (we log in to a server): with a clear PASSWORD, or with a CLIENT_KEY + secret learnt from a client's login. */
struct scram_memory;
struct scram_client {
	char *password;              /* NULL when keys are used */
	struct scram_memory *memory; /* of keys derived before; may be NULL, and may be set until the final message */
	struct pbkdf2 *work;         /* keys that are being derived */
	uint8_t client_key[SCRAM_KEY];
	struct scram_secret secret; /* salt and iterations must match the server's for pass-through */
	char nonce[64];
	char first_bare[SCRAM_TEXT_MAX];
	uint8_t server_signature[SCRAM_KEY];
	char gs2_header; /* n, y or p */
	uint8_t binding[SCRAM_BINDING_MAX], binding_len;
	int state;
};
void scram_client_init_password(struct scram_client *c, const char *password);
void scram_client_init_keys(struct scram_client *c, const uint8_t client_key[SCRAM_KEY], const struct scram_secret *secret);
/* Over TLS.  With the server's BINDING: SCRAM-SHA-256-PLUS, which the server must have offered.  Without: we could, but it did not offer it; a server
 * that did, and whose offer somebody took away, refuses then. */
void scram_client_over_tls(struct scram_client *c, struct slice binding);
const char *scram_client_mechanism(const struct scram_client *c);
bool scram_client_first(struct scram_client *c, char *out, size_t *out_len) MUST_CHECK;
/* server-first -> client-final.  Bounds what a malicious server may ask (nonce prefix, length, iterations <= 10,000,000).
 * BUSY: a millisecond's work was done, more is to be done: call it again with the same IN. */
enum scram_result { SCRAM_FAILED, SCRAM_DONE, SCRAM_BUSY };
enum scram_result scram_client_final(struct scram_client *c, struct slice in, char *out, size_t *out_len,
                                     struct err *err) MUST_CHECK;
bool scram_client_verify(struct scram_client *c, struct slice in, struct err *err) MUST_CHECK; /* server-final */
void scram_client_fini(struct scram_client *c);

#endif
