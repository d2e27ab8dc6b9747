/*
 * scramclient — the client's half of SCRAM-SHA-256 (RFC 5802, 7677): we log in to a server.
 *
 *   START --first--> SENT --final--> PROVED --verify--> OVER       any of them, on a bad message --> DEAD
 *                     │  ▲
 *                     └──┘ so many iterations are asked for that they are made in portions
 *
 * Always: a machine in a wrong state answers no step;  signatures are compared in constant time;  a server is believed that knows the keys.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "scrampriv.h"
#include "wire/pbkdf2.h"
#include "wire/scrammem.h"

#define ITERATIONS_MOST 10000000u
#define HASHES_A_CALL SCRAM_ITERATIONS /* 1 ms: the usual login is over in one */

static void client_init(struct scram_client *c)
{
	*c = (struct scram_client){ .state = SCRAM_START, .gs2_header = 'n' };
	scram_nonce(c->nonce);
	snprintf(c->first_bare, sizeof c->first_bare, "n=,r=%s", c->nonce);
}

void scram_client_init_password(struct scram_client *c, const char *password)
{
	client_init(c);
	c->password = mem_text(password);
}

void scram_client_init_keys(struct scram_client *c, const uint8_t client_key[SCRAM_KEY], const struct scram_secret *secret)
{
	client_init(c);
	memcpy(c->client_key, client_key, SCRAM_KEY);
	c->secret = *secret;
}

void scram_client_over_tls(struct scram_client *c, struct slice binding)
{
	ASSERT(binding.len <= sizeof c->binding);
	if (binding.len)
		memcpy(c->binding, binding.at, binding.len);
	c->binding_len = (uint8_t)binding.len;
	c->gs2_header = binding.len ? 'p' : 'y';
}

const char *scram_client_mechanism(const struct scram_client *c)
{
	return c->gs2_header == 'p' ? SCRAM_PLUS : SCRAM_PLAIN;
}

bool scram_client_first(struct scram_client *c, char *out, size_t *out_len)
{
	if (c->state != SCRAM_START)
		return false;
	*out_len = (size_t)snprintf(out, SCRAM_TEXT_MAX, "%s%s",
	                            c->gs2_header == 'p'   ? SCRAM_PLUS_HEADER
	                            : c->gs2_header == 'y' ? "y,,"
	                                                   : "n,,",
	                            c->first_bare);
	c->state = SCRAM_SENT;
	return true;
}

/* server-first: r=our nonce and theirs, s=salt, i=iterations. */
static bool read_server_first(struct scram_client *c, struct slice in, struct slice *nonce, struct scram_secret *s,
                              struct err *err)
{
	struct slice rest = in, salt, iterations, ours = slice_text(c->nonce);
	if (scram_take_text(&rest, "m="))
		return scram_refuse(&c->state, err, "0A000", "server requires an unsupported SCRAM extension");
	if (!scram_take(&rest, 'r', nonce) || !scram_is_nonce(*nonce) || nonce->len <= ours.len ||
	    memcmp(nonce->at, ours.at, ours.len) != 0)
		return scram_malformed(&c->state, err, "The server's nonce does not continue ours.");
	if (!scram_take(&rest, 's', &salt) || !scram_salt(salt, s))
		return scram_malformed(&c->state, err, "The server's salt is missing or wrong.");
	if (!scram_take(&rest, 'i', &iterations) || !scram_number(iterations, ITERATIONS_MOST, &s->iterations))
		return scram_malformed(&c->state, err, "The server's iteration count is missing, wrong or over 10000000.");
	return rest.len == 0 || scram_malformed(&c->state, err, "There is more behind the iteration count.");
}

/* Makes client_key and secret those of this salt, from the password, or makes sure that they are. */
static enum scram_result find_keys(struct scram_client *c, const struct scram_secret *asked, struct err *err)
{
	if (!c->password) {
		if (asked->iterations == c->secret.iterations &&
		    slice_equal(slice_of(asked->salt, asked->salt_len), slice_of(c->secret.salt, c->secret.salt_len)))
			return SCRAM_DONE;
		scram_refuse(&c->state, err, "28P01", "the server stores another SCRAM secret for this user than we do");
		return SCRAM_FAILED;
	}
	if (!c->work) {
		c->secret = *asked;
		if (c->memory && scram_memory_get(c->memory, c->password, &c->secret, c->client_key))
			return SCRAM_DONE;
		c->work = scram_secret_begin(slice_text(c->password), asked);
	}
	if (!pbkdf2_go(c->work, HASHES_A_CALL))
		return SCRAM_BUSY;
	scram_secret_end(c->work, &c->secret, c->client_key);
	c->work = NULL;
	return SCRAM_DONE;
}

/* client-final: c=channel, r=nonces, p=proof. */
static bool write_final(struct scram_client *c, struct slice in, struct slice nonce, char *out, size_t *out_len, struct err *err)
{
	char server_first[SCRAM_TEXT_MAX], cbind[SCRAM_CBIND_TEXT];
	scram_cbind(c->gs2_header, c->binding, c->binding_len, cbind);
	int len = snprintf(out, SCRAM_TEXT_MAX, "c=%s,r=%.*s", cbind, (int)nonce.len, (const char *)nonce.at);
	if (len < 0 || (size_t)len + 3 + SCRAM_KEY_TEXT >= SCRAM_TEXT_MAX)
		return scram_malformed(&c->state, err, "The nonce is too long.");
	scram_keep(server_first, in);
	struct slice bare = slice_of(out, (size_t)len);
	uint8_t proof[SCRAM_KEY];
	scram_sign(c->secret.stored_key, c->first_bare, server_first, bare, proof);
	scram_xor(proof, c->client_key);
	scram_sign(c->secret.server_key, c->first_bare, server_first, bare, c->server_signature);
	memcpy(out + len, ",p=", 3);
	*out_len = (size_t)len + 3 + base64_encode(slice_of(proof, sizeof proof), out + len + 3);
	c->state = SCRAM_PROVED;
	return true;
}

enum scram_result scram_client_final(struct scram_client *c, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice nonce = { 0 };
	struct scram_secret asked = { 0 };
	if (c->state != SCRAM_SENT || !scram_is_sane(in)) {
		scram_malformed(&c->state, err, "The message is too long or comes at the wrong time.");
		return SCRAM_FAILED;
	}
	if (!read_server_first(c, in, &nonce, &asked, err))
		return SCRAM_FAILED;
	enum scram_result found = find_keys(c, &asked, err);
	if (found != SCRAM_DONE)
		return found;
	return write_final(c, in, nonce, out, out_len, err) ? SCRAM_DONE : SCRAM_FAILED;
}

bool scram_client_verify(struct scram_client *c, struct slice in, struct err *err)
{
	struct slice rest = in, value;
	uint8_t signature[SCRAM_KEY];
	if (c->state != SCRAM_PROVED || !scram_is_sane(in))
		return scram_malformed(&c->state, err, "The message is too long or comes at the wrong time.");
	if (scram_take(&rest, 'e', &value)) {
		c->state = SCRAM_DEAD;
		return err_set(err, "28P01", "the server refused the SCRAM exchange: %.*s", (int)(value.len < 100 ? value.len : 100),
		               (const char *)value.at);
	}
	if (!scram_take(&rest, 'v', &value) || rest.len || !scram_key(value, signature))
		return scram_malformed(&c->state, err, "The server's signature is missing or wrong.");
	if (!secret_equal(slice_of(signature, SCRAM_KEY), slice_of(c->server_signature, SCRAM_KEY)))
		return scram_refuse(&c->state, err, "28000",
		                    "the server does not know the password: it may not be the server that we want");
	if (c->memory && c->password) /* of servers that lie nothing is remembered */
		scram_memory_put(c->memory, c->password, &c->secret, c->client_key);
	c->state = SCRAM_OVER;
	return true;
}

void scram_client_fini(struct scram_client *c)
{
	secret_free_text(c->password);
	pbkdf2_free(c->work);
	secret_wipe(c, sizeof *c);
	c->state = SCRAM_DEAD;
}
