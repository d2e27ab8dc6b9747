/*
 * scram — SCRAM-SHA-256, both roles (RFC 5802 section 3 for the formulas, section 7 for the grammar; RFC 7677).
 *
 *   server:  START --first--> SENT --final--> DONE        client:  START --first--> SENT --final--> PROVED --verify--> DONE
 *            any of them, on a bad message --> DEAD                any of them, on a bad message --> DEAD
 *
 * Always: a message is at most SCRAM_TEXT_MAX - 1 bytes, and nothing of it is trusted before its length is; a machine in a wrong state answers
 * no step; proofs and signatures are compared in constant time; a mock server does all the work and then says no.
 */
#include "wire/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/secret.h"
#include "wire/base64.h"
#include "wire/saslprep.h"
#include "wire/scrammem.h"

#define SALT_MADE 16u /* bytes of the salts that we make: as PostgreSQL */
#define ITERATIONS_MADE 4096u
#define ITERATIONS_MOST 10000000u
#define NONCE_RAW 18u /* bytes, before base64 */
#define NONCE_TEXT BASE64_LEN(NONCE_RAW)
#define KEY_TEXT BASE64_LEN(SCRAM_KEY)
#define PLAIN "SCRAM-SHA-256"
#define PLUS "SCRAM-SHA-256-PLUS"
#define PLUS_HEADER "p=tls-server-end-point,,"
#define CBIND_RAW (sizeof PLUS_HEADER - 1 + SCRAM_BINDING_MAX)
#define CBIND_TEXT (BASE64_LEN(CBIND_RAW) + 1)

enum { START, SENT, PROVED, DONE, DEAD };

/* -- the formulas ----------------------------------------------------------------------------- */

static void hmac(const uint8_t key[SCRAM_KEY], struct slice text, uint8_t out[SCRAM_KEY])
{
	if (!HMAC(EVP_sha256(), key, SCRAM_KEY, text.at, text.len, out, NULL))
		die("HMAC-SHA-256 is not available");
}

static void sha256(const uint8_t in[SCRAM_KEY], uint8_t out[SCRAM_KEY])
{
	if (!EVP_Digest(in, SCRAM_KEY, out, NULL, EVP_sha256(), NULL))
		die("SHA-256 is not available");
}

/* ClientKey and the stored keys that belong to a password, with salt and iterations of S. */
static bool derive(struct slice password, struct scram_secret *s, uint8_t client_key[SCRAM_KEY])
{
	uint8_t salted[SCRAM_KEY], *space = mem_try(password.len + 1);
	if (!space)
		return false;
	struct slice prepared = saslprep(password, space);
	bool ok = prepared.len <= INT32_MAX && PKCS5_PBKDF2_HMAC((const char *)prepared.at, (int)prepared.len, s->salt, s->salt_len,
	                                                         (int)s->iterations, EVP_sha256(), SCRAM_KEY, salted) == 1;
	secret_wipe(space, password.len + 1);
	mem_free(space);
	if (!ok)
		return false;
	hmac(salted, slice_text("Client Key"), client_key);
	hmac(salted, slice_text("Server Key"), s->server_key);
	sha256(client_key, s->stored_key);
	secret_wipe(salted, sizeof salted);
	return true;
}

/* AuthMessage = client-first-bare "," server-first "," client-final-without-proof, signed with KEY. */
static void sign(const uint8_t key[SCRAM_KEY], const char *first_bare, const char *server_first, struct slice final_bare,
                 uint8_t out[SCRAM_KEY])
{
	char message[3 * SCRAM_TEXT_MAX];
	int len = snprintf(message, sizeof message, "%s,%s,%.*s", first_bare, server_first, (int)final_bare.len,
	                   (const char *)final_bare.at);
	ASSERT(len > 0 && (size_t)len < sizeof message);
	hmac(key, slice_of(message, (size_t)len), out);
}

static void xor_key(uint8_t to[SCRAM_KEY], const uint8_t with[SCRAM_KEY])
{
	for (size_t i = 0; i < SCRAM_KEY; i++)
		to[i] ^= with[i];
}

static void make_nonce(char out[NONCE_TEXT + 1])
{
	uint8_t raw[NONCE_RAW];
	rand_bytes(raw, sizeof raw);
	base64_encode(slice_of(raw, sizeof raw), out);
}

/* What c= says in the final message: the header of the first one and, with p, the channel (RFC 5802 section 5.1). */
static void write_cbind(char header, const uint8_t *binding, size_t len, char out[CBIND_TEXT])
{
	uint8_t raw[CBIND_RAW];
	size_t n = strlen(PLUS_HEADER);
	if (header != 'p') {
		strcpy(out, header == 'n' ? "biws" : "eSws");
		return;
	}
	memcpy(raw, PLUS_HEADER, n);
	memcpy(raw + n, binding, len);
	base64_encode(slice_of(raw, n + len), out);
}

/* -- the grammar ------------------------------------------------------------------------------ */

/* Takes "K=value" from the front of REST, with the comma behind it.  False when it is not there. */
static bool take_attribute(struct slice *rest, char key, struct slice *value)
{
	if (rest->len < 2 || rest->at[0] != (uint8_t)key || rest->at[1] != '=')
		return false;
	*value = slice_skip(*rest, 2);
	const uint8_t *comma = memchr(value->at, ',', value->len);
	if (comma)
		value->len = (size_t)(comma - value->at);
	*rest = slice_skip(*rest, 2 + value->len + (comma != NULL));
	return true;
}

static bool take_text(struct slice *rest, const char *text)
{
	size_t n = strlen(text);
	if (rest->len < n || memcmp(rest->at, text, n) != 0)
		return false;
	*rest = slice_skip(*rest, n);
	return true;
}

static bool is_nonce(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x21 || s.at[i] > 0x7e)
			return false;
	return s.len > 0;
}

static bool read_number(struct slice s, uint32_t most, uint32_t *out)
{
	uint64_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9' || n > most)
			return false;
		n = n * 10 + (s.at[i] - '0');
	}
	*out = (uint32_t)n;
	return s.len > 0 && n > 0 && n <= most;
}

static bool read_key(struct slice s, uint8_t out[SCRAM_KEY])
{
	size_t len;
	return base64_decode(s, out, SCRAM_KEY, &len) && len == SCRAM_KEY;
}

static bool read_salt(struct slice s, struct scram_secret *out)
{
	size_t len;
	if (!base64_decode(s, out->salt, sizeof out->salt, &len) || len == 0)
		return false;
	out->salt_len = (uint8_t)len;
	return true;
}

static bool is_sane(struct slice in)
{
	return in.len < SCRAM_TEXT_MAX && (in.len == 0 || !memchr(in.at, 0, in.len));
}

static bool malformed(int *state, struct err *err, const char *detail)
{
	*state = DEAD;
	err_set(err, "08P01", "malformed SCRAM message");
	err_detail(err, "%s", detail);
	return false;
}

static bool refuse(int *state, struct err *err, const char *sqlstate, const char *text)
{
	*state = DEAD;
	return err_set(err, sqlstate, "%s", text);
}

/* Copies a slice that is_sane() into a text of SCRAM_TEXT_MAX. */
static void keep(char *to, struct slice s)
{
	memcpy(to, s.at, s.len);
	to[s.len] = '\0';
}

/* -- stored secrets --------------------------------------------------------------------------- */

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
	return text.len > 0 && take_text(&text, "SCRAM-SHA-256$") && take_until(&text, ':', &iterations) &&
	       take_until(&text, '$', &salt) && take_until(&text, ':', &stored) &&
	       read_number(iterations, INT32_MAX, &out->iterations) && read_salt(salt, out) && read_key(stored, out->stored_key) &&
	       read_key(text, out->server_key);
}

bool scram_secret_make(struct slice password, struct scram_secret *out)
{
	uint8_t client_key[SCRAM_KEY];
	*out = (struct scram_secret){ .iterations = ITERATIONS_MADE, .salt_len = SALT_MADE };
	rand_bytes(out->salt, SALT_MADE);
	bool ok = derive(password, out, client_key);
	secret_wipe(client_key, sizeof client_key);
	return ok;
}

bool scram_secret_derive(struct slice password, struct scram_secret *s)
{
	uint8_t client_key[SCRAM_KEY];
	bool ok = derive(password, s, client_key);
	secret_wipe(client_key, sizeof client_key);
	return ok;
}

bool scram_secret_fits(struct slice password, const struct scram_secret *s)
{
	struct scram_secret made = *s;
	bool ok = scram_secret_derive(password, &made) &&
	          secret_equal(slice_of(made.server_key, SCRAM_KEY), slice_of(s->server_key, SCRAM_KEY)) &&
	          secret_equal(slice_of(made.stored_key, SCRAM_KEY), slice_of(s->stored_key, SCRAM_KEY));
	secret_wipe(&made, sizeof made);
	return ok;
}

/* A hash of the user's name under the process's key. */
void scram_secret_salt(struct slice user, struct scram_secret *out)
{
	uint8_t key[SCRAM_KEY] = "lunapool mock authentication", salt[SCRAM_KEY];
	struct hash128 h = hash128(user);
	memcpy(key, &h, sizeof h);
	sha256(key, salt);
	*out = (struct scram_secret){ .iterations = ITERATIONS_MADE, .salt_len = SALT_MADE };
	memcpy(out->salt, salt, SALT_MADE);
}

/* The stored key is 32 zero bytes: nobody knows a key that hashes to it. */
void scram_secret_mock(struct slice user, struct scram_secret *out)
{
	scram_secret_salt(user, out);
}

/* -- server ----------------------------------------------------------------------------------- */

void scram_server_init(struct scram_server *s, const struct scram_secret *secret, bool is_mock)
{
	*s = (struct scram_server){ .secret = *secret, .is_mock = is_mock, .state = START };
}

void scram_server_offer_plus(struct scram_server *s, struct slice binding)
{
	ASSERT(binding.len <= sizeof s->binding);
	if (binding.len)
		memcpy(s->binding, binding.at, binding.len);
	s->binding_len = (uint8_t)binding.len;
}

bool scram_server_choose(struct scram_server *s, struct slice mechanism, struct err *err)
{
	s->is_plus = slice_equal(mechanism, slice_text(PLUS));
	if (s->is_plus ? s->binding_len > 0 : slice_equal(mechanism, slice_text(PLAIN)))
		return true;
	return refuse(&s->state, err, "08P01", "client selected an invalid SASL authentication mechanism");
}

/* The flag: p when the client binds, n when it cannot, y when it could but believes that we cannot.  The last one, where we offered it, is the
 * trace of somebody who took our offer away (RFC 5802 section 6). */
static bool read_flag(struct scram_server *s, struct slice *rest, struct err *err)
{
	if (take_text(rest, "p=")) {
		s->gs2_header = 'p';
		if (!s->is_plus)
			return malformed(&s->state, err,
			                 "The client selected SCRAM-SHA-256 without channel binding, but the message includes it.");
		return take_text(rest, "tls-server-end-point,") ||
		       malformed(&s->state, err, "The channel binding type is not supported.");
	}
	if (rest->len < 2 || (rest->at[0] != 'n' && rest->at[0] != 'y') || rest->at[1] != ',')
		return malformed(&s->state, err, "The channel binding flag is not n, y or p.");
	s->gs2_header = (char)rest->at[0];
	*rest = slice_skip(*rest, 2);
	if (s->is_plus)
		return malformed(&s->state, err,
		                 "The client selected SCRAM-SHA-256-PLUS, but the message does not include channel binding.");
	if (s->gs2_header == 'n' || !s->binding_len)
		return true;
	refuse(&s->state, err, "28000", "SCRAM channel binding negotiation error");
	err_detail(
	    err, "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support it.");
	return false;
}

/* gs2-header: "n,,", "y,," or "p=tls-server-end-point,,".  What is left is client-first-bare. */
static bool read_gs2_header(struct scram_server *s, struct slice *rest, struct err *err)
{
	if (!read_flag(s, rest, err))
		return false;
	if (take_text(rest, "a="))
		return refuse(&s->state, err, "0A000", "client uses authorization identity, but it is not supported");
	return take_text(rest, ",") || malformed(&s->state, err, "A comma is missing behind the header.");
}

/* client-first-bare: n=user (ours is from the startup packet), r=nonce, and extensions that nobody has defined. */
static bool read_first_bare(struct scram_server *s, struct slice bare, struct slice *nonce, struct err *err)
{
	struct slice rest = bare, user;
	if (take_text(&rest, "m="))
		return refuse(&s->state, err, "0A000", "client requires an unsupported SCRAM extension");
	if (!take_attribute(&rest, 'n', &user) || !take_attribute(&rest, 'r', nonce) || !is_nonce(*nonce))
		return malformed(&s->state, err, "The user name or the nonce is missing or wrong.");
	keep(s->client_first_bare, bare);
	return true;
}

bool scram_server_first(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice rest = in, nonce = { 0 };
	if (s->state != START || !is_sane(in))
		return malformed(&s->state, err, "The message is too long or comes at the wrong time.");
	if (!read_gs2_header(s, &rest, err) || !read_first_bare(s, rest, &nonce, err))
		return false;
	char ours[NONCE_TEXT + 1], salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	make_nonce(ours);
	base64_encode(slice_of(s->secret.salt, s->secret.salt_len), salt);
	/* What the client must send back: its nonce and ours.  It is kept as part of server_first. */
	snprintf(s->nonce, sizeof s->nonce, "%s", ours);
	int len = snprintf(s->server_first, sizeof s->server_first, "r=%.*s%s,s=%s,i=%u", (int)nonce.len, (const char *)nonce.at,
	                   ours, salt, s->secret.iterations);
	if (len < 0 || (size_t)len >= sizeof s->server_first)
		return malformed(&s->state, err, "The nonce is too long.");
	memcpy(out, s->server_first, (size_t)len);
	*out_len = (size_t)len;
	s->state = SENT;
	return true;
}

/* client-final: c=gs2-header, r=nonces, extensions, p=proof.  *BARE is all before ",p=". */
static bool read_final(struct scram_server *s, struct slice in, struct slice *bare, uint8_t proof[SCRAM_KEY], struct err *err)
{
	struct slice rest = in, header, nonce, wanted, first = slice_text(s->server_first);
	char cbind[CBIND_TEXT];
	write_cbind(s->gs2_header, s->binding, s->binding_len, cbind);
	bool has_header = take_attribute(&rest, 'c', &header), is_it = has_header && slice_equal(header, slice_text(cbind));
	if (has_header && !is_it && s->is_plus)
		return refuse(&s->state, err, "28000", "SCRAM channel binding check failed");
	if (!is_it)
		return malformed(&s->state, err, "The channel binding data is not that of the first message.");
	if (!take_attribute(&first, 'r', &wanted) || !take_attribute(&rest, 'r', &nonce) || !slice_equal(nonce, wanted))
		return malformed(&s->state, err, "The nonce is not the one that was sent.");
	while (rest.len && rest.at[0] != 'p') {
		struct slice ignored;
		if (!take_attribute(&rest, (char)rest.at[0], &ignored))
			return malformed(&s->state, err, "An attribute has no value.");
	}
	*bare = slice_of(in.at, (size_t)(rest.at - in.at) - 1);
	struct slice text = rest.len > 2 ? slice_skip(rest, 2) : rest;
	if (!take_text(&rest, "p=") || !read_key(text, proof))
		return malformed(&s->state, err, "The proof is missing or wrong.");
	return true;
}

static bool is_proof_right(struct scram_server *s, struct slice bare, const uint8_t proof[SCRAM_KEY])
{
	uint8_t stored_key[SCRAM_KEY];
	sign(s->secret.stored_key, s->client_first_bare, s->server_first, bare, s->client_key);
	xor_key(s->client_key, proof);
	sha256(s->client_key, stored_key);
	bool is_equal = secret_equal(slice_of(stored_key, SCRAM_KEY), slice_of(s->secret.stored_key, SCRAM_KEY));
	return is_equal && !s->is_mock;
}

bool scram_server_final(struct scram_server *s, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice bare = { 0 };
	uint8_t proof[SCRAM_KEY], signature[SCRAM_KEY];
	if (s->state != SENT || !is_sane(in))
		return malformed(&s->state, err, "The message is too long or comes at the wrong time.");
	if (!read_final(s, in, &bare, proof, err))
		return false;
	if (!is_proof_right(s, bare, proof)) {
		secret_wipe(s->client_key, sizeof s->client_key);
		return refuse(&s->state, err, "28P01", "password authentication failed");
	}
	sign(s->secret.server_key, s->client_first_bare, s->server_first, bare, signature);
	memcpy(out, "v=", 2);
	*out_len = 2 + base64_encode(slice_of(signature, sizeof signature), out + 2);
	s->has_client_key = true;
	s->state = DONE;
	return true;
}

void scram_server_fini(struct scram_server *s)
{
	secret_wipe(s, sizeof *s);
	s->state = DEAD;
}

/* -- client ----------------------------------------------------------------------------------- */

static void client_init(struct scram_client *c)
{
	*c = (struct scram_client){ .state = START, .gs2_header = 'n' };
	make_nonce(c->nonce);
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
	return c->gs2_header == 'p' ? PLUS : PLAIN;
}

bool scram_client_first(struct scram_client *c, char *out, size_t *out_len)
{
	if (c->state != START)
		return false;
	*out_len = (size_t)snprintf(out, SCRAM_TEXT_MAX, "%s%s",
	                            c->gs2_header == 'p'   ? PLUS_HEADER
	                            : c->gs2_header == 'y' ? "y,,"
	                                                   : "n,,",
	                            c->first_bare);
	c->state = SENT;
	return true;
}

/* server-first: r=our nonce and theirs, s=salt, i=iterations. */
static bool read_server_first(struct scram_client *c, struct slice in, struct slice *nonce, struct scram_secret *s,
                              struct err *err)
{
	struct slice rest = in, salt, iterations, ours = slice_text(c->nonce);
	if (take_text(&rest, "m="))
		return refuse(&c->state, err, "0A000", "server requires an unsupported SCRAM extension");
	if (!take_attribute(&rest, 'r', nonce) || !is_nonce(*nonce) || nonce->len <= ours.len ||
	    memcmp(nonce->at, ours.at, ours.len) != 0)
		return malformed(&c->state, err, "The server's nonce does not continue ours.");
	if (!take_attribute(&rest, 's', &salt) || !read_salt(salt, s))
		return malformed(&c->state, err, "The server's salt is missing or wrong.");
	if (!take_attribute(&rest, 'i', &iterations) || !read_number(iterations, ITERATIONS_MOST, &s->iterations))
		return malformed(&c->state, err, "The server's iteration count is missing, wrong or over 10000000.");
	return rest.len == 0 || malformed(&c->state, err, "There is more behind the iteration count.");
}

/* Makes client_key and secret those of this salt, from the password, or makes sure that they are. */
static bool find_keys(struct scram_client *c, struct scram_secret *asked, struct err *err)
{
	if (c->password) {
		c->secret = *asked;
		if (c->memory && scram_memory_get(c->memory, c->password, &c->secret, c->client_key))
			return true;
		if (!derive(slice_text(c->password), &c->secret, c->client_key))
			return refuse(&c->state, err, "53200", "out of memory");
		return true;
	}
	if (asked->iterations != c->secret.iterations ||
	    !slice_equal(slice_of(asked->salt, asked->salt_len), slice_of(c->secret.salt, c->secret.salt_len)))
		return refuse(&c->state, err, "28P01", "the server stores another SCRAM secret for this user than we do");
	return true;
}

bool scram_client_final(struct scram_client *c, struct slice in, char *out, size_t *out_len, struct err *err)
{
	struct slice nonce = { 0 };
	struct scram_secret asked = { 0 };
	char server_first[SCRAM_TEXT_MAX], cbind[CBIND_TEXT];
	if (c->state != SENT || !is_sane(in))
		return malformed(&c->state, err, "The message is too long or comes at the wrong time.");
	if (!read_server_first(c, in, &nonce, &asked, err) || !find_keys(c, &asked, err))
		return false;
	write_cbind(c->gs2_header, c->binding, c->binding_len, cbind);
	int len = snprintf(out, SCRAM_TEXT_MAX, "c=%s,r=%.*s", cbind, (int)nonce.len, (const char *)nonce.at);
	if (len < 0 || (size_t)len + 3 + KEY_TEXT >= SCRAM_TEXT_MAX)
		return malformed(&c->state, err, "The nonce is too long.");
	keep(server_first, in);
	struct slice bare = slice_of(out, (size_t)len);
	uint8_t proof[SCRAM_KEY];
	sign(c->secret.stored_key, c->first_bare, server_first, bare, proof);
	xor_key(proof, c->client_key);
	sign(c->secret.server_key, c->first_bare, server_first, bare, c->server_signature);
	memcpy(out + len, ",p=", 3);
	*out_len = (size_t)len + 3 + base64_encode(slice_of(proof, sizeof proof), out + len + 3);
	c->state = PROVED;
	return true;
}

bool scram_client_verify(struct scram_client *c, struct slice in, struct err *err)
{
	struct slice rest = in, value;
	uint8_t signature[SCRAM_KEY];
	if (c->state != PROVED || !is_sane(in))
		return malformed(&c->state, err, "The message is too long or comes at the wrong time.");
	if (take_attribute(&rest, 'e', &value)) {
		c->state = DEAD;
		return err_set(err, "28P01", "the server refused the SCRAM exchange: %.*s", (int)(value.len < 100 ? value.len : 100),
		               (const char *)value.at);
	}
	if (!take_attribute(&rest, 'v', &value) || rest.len || !read_key(value, signature))
		return malformed(&c->state, err, "The server's signature is missing or wrong.");
	if (!secret_equal(slice_of(signature, SCRAM_KEY), slice_of(c->server_signature, SCRAM_KEY)))
		return refuse(&c->state, err, "28000", "the server does not know the password: it may not be the server that we want");
	if (c->memory && c->password) /* of servers that lie nothing is remembered */
		scram_memory_put(c->memory, c->password, &c->secret, c->client_key);
	c->state = DONE;
	return true;
}

void scram_client_fini(struct scram_client *c)
{
	secret_free_text(c->password);
	secret_wipe(c, sizeof *c);
	c->state = DEAD;
}
