/*
 * scramsecret — what is stored of a password: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> (RFC 5803; pg_authid.rolpassword).
 */
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/secret.h"
#include "scrampriv.h"
#include "wire/pbkdf2.h"
#include "wire/saslprep.h"

#define SALT_MADE 16u /* bytes of the salts that we make: as PostgreSQL */

/* -- from a clear password -------------------------------------------------------------------- */

struct pbkdf2 *scram_secret_begin(struct slice password, const struct scram_secret *s)
{
	uint8_t *space = mem_alloc(password.len + 1);
	struct pbkdf2 *work = pbkdf2_new(saslprep(password, space), slice_of(s->salt, s->salt_len), s->iterations);
	secret_wipe(space, password.len + 1);
	mem_free(space);
	return work;
}

void scram_secret_end(struct pbkdf2 *work, struct scram_secret *s, uint8_t client_key[SCRAM_KEY])
{
	uint8_t salted[SCRAM_KEY];
	pbkdf2_key(work, salted);
	pbkdf2_free(work);
	scram_hmac(salted, slice_text("Client Key"), client_key);
	scram_hmac(salted, slice_text("Server Key"), s->server_key);
	scram_sha256(slice_of(client_key, SCRAM_KEY), s->stored_key);
	secret_wipe(salted, sizeof salted);
}

void scram_secret_derive(struct slice password, struct scram_secret *s)
{
	uint8_t client_key[SCRAM_KEY];
	struct pbkdf2 *work = scram_secret_begin(password, s);
	while (!pbkdf2_go(work, UINT32_MAX))
		;
	scram_secret_end(work, s, client_key);
	secret_wipe(client_key, sizeof client_key);
}

void scram_secret_make(struct slice password, struct scram_secret *out)
{
	*out = (struct scram_secret){ .iterations = SCRAM_ITERATIONS, .salt_len = SALT_MADE };
	rand_bytes(out->salt, SALT_MADE);
	scram_secret_derive(password, out);
}

bool scram_secret_equal(const struct scram_secret *a, const struct scram_secret *b)
{
	bool is_server = secret_equal(slice_of(a->server_key, SCRAM_KEY), slice_of(b->server_key, SCRAM_KEY));
	bool is_stored = secret_equal(slice_of(a->stored_key, SCRAM_KEY), slice_of(b->stored_key, SCRAM_KEY));
	return is_server && is_stored;
}

/* -- without one ------------------------------------------------------------------------------ */

/* As PostgreSQL (auth-scram.c, scram_mock_salt), whose seed stands in pg_control. */
void scram_secret_salt(struct slice user, struct slice seed, uint32_t iterations, struct scram_secret *out)
{
	uint8_t key[SCRAM_KEY] = { 0 }, salt[SCRAM_KEY];
	struct hash128 h = hash128(slice_text("lunapool mock authentication"));
	if (seed.len)
		scram_sha256(seed, key);
	else
		memcpy(key, &h, sizeof h);
	scram_hmac(key, user, salt);
	*out = (struct scram_secret){ .iterations = iterations, .salt_len = SALT_MADE };
	memcpy(out->salt, salt, SALT_MADE);
	secret_wipe(key, sizeof key);
}

/* -- as it is stored -------------------------------------------------------------------------- */

/* Takes what stands before BYTE, and BYTE. */
static bool take_until(struct slice *rest, char byte, struct slice *part)
{
	const uint8_t *end = rest->len ? memchr(rest->at, byte, rest->len) : NULL;
	if (!end)
		return false;
	*part = slice_of(rest->at, (size_t)(end - rest->at));
	*rest = slice_skip(*rest, part->len + 1);
	return true;
}

bool scram_secret_parse(struct slice text, struct scram_secret *out)
{
	struct slice iterations, salt, stored;
	*out = (struct scram_secret){ 0 };
	return text.len > 0 && scram_take_text(&text, "SCRAM-SHA-256$") && take_until(&text, ':', &iterations) &&
	       take_until(&text, '$', &salt) && take_until(&text, ':', &stored) &&
	       scram_number(iterations, INT32_MAX, &out->iterations) && scram_salt(salt, out) && scram_key(stored, out->stored_key) &&
	       scram_key(text, out->server_key);
}
