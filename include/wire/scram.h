/*
 * scram — SCRAM-SHA-256 (RFC 5802, 7677; PostgreSQL "SASL Authentication"), both roles, as pure state machines over message bodies.
 * No channel binding yet (needs TLS): the server offers SCRAM-SHA-256 only, gs2 header "n" or "y" is accepted, "p" refused.
 * Secrets are wiped when a machine is finished.  OpenSSL's hashing is used here and nowhere else.
 */
#ifndef WIRE_SCRAM_H
#define WIRE_SCRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define SCRAM_KEY 32
#define SCRAM_SALT_MAX 64
#define SCRAM_TEXT_MAX 1024 /* longest message we build or accept, bytes */

/* What a stored "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" holds (pg_authid.rolpassword). */
struct scram_secret {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t salt_len;
	uint8_t stored_key[SCRAM_KEY], server_key[SCRAM_KEY];
};
bool scram_secret_parse(struct slice text, struct scram_secret *out) MUST_CHECK;
/* From a clear password (SASLprep'd when it is valid UTF-8, else raw, as PostgreSQL does), random salt, 4096 iterations: slow, ~2 ms. */
bool scram_secret_make(struct slice password, struct scram_secret *out) MUST_CHECK;
/* A secret that no password matches, deterministic per USER and process: mock authentication, so that unknown users look like known ones. */
void scram_secret_mock(struct slice user, struct scram_secret *out);

/* We are the server (a client logs in). */
struct scram_server {
	struct scram_secret secret;
	bool is_mock;
	char nonce[64];
	char client_first_bare[SCRAM_TEXT_MAX], server_first[SCRAM_TEXT_MAX];
	char gs2_header;               /* 'n' or 'y' */
	uint8_t client_key[SCRAM_KEY]; /* after success: lets us log in to a server that stores the same secret */
	bool has_client_key;
	int state;
};
void scram_server_init(struct scram_server *s, const struct scram_secret *secret, bool is_mock);
/* IN is the SASL payload.  OUT (SCRAM_TEXT_MAX bytes) gets the answer's text, *OUT_LEN its length.
 * first: client-first -> server-first.  final: client-final -> server-final; false = wrong password or malformed (ERR: 28P01 / 08P01). */
bool scram_server_first(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err) MUST_CHECK;
bool scram_server_final(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err) MUST_CHECK;
void scram_server_fini(struct scram_server *s); /* wipes */

/* We are the client (we log in to a server): with a clear PASSWORD, or with a CLIENT_KEY + secret learnt from a client's login. */
struct scram_client {
	char *password; /* NULL when keys are used */
	uint8_t client_key[SCRAM_KEY];
	struct scram_secret secret; /* salt and iterations must match the server's for pass-through */
	char nonce[64];
	char first_bare[SCRAM_TEXT_MAX];
	uint8_t server_signature[SCRAM_KEY];
	int state;
};
void scram_client_init_password(struct scram_client *c, const char *password);
void scram_client_init_keys(struct scram_client *c, const uint8_t client_key[SCRAM_KEY], const struct scram_secret *secret);
bool scram_client_first(struct scram_client *c, char *out, size_t *out_len) MUST_CHECK;
/* server-first -> client-final.  Bounds what a malicious server may ask (nonce prefix, length, iterations <= 10,000,000). */
bool scram_client_final(struct scram_client *c, struct slice in, char *out, size_t *out_len, struct err *err) MUST_CHECK;
bool scram_client_verify(struct scram_client *c, struct slice in, struct err *err) MUST_CHECK; /* server-final */
void scram_client_fini(struct scram_client *c);

#endif
