/*
 * scram — what both roles of SCRAM-SHA-256 and stored secrets share: the formulas (RFC 5802 section 3) and the grammar (section 7; RFC 7677).
 *
 * The server is in scramserver.c, the client in scramclient.c, what is stored in scramsecret.c.
 * Always: a message is at most SCRAM_TEXT_MAX - 1 bytes, and nothing of it is trusted before its length is.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "scrampriv.h"

/* -- the formulas ----------------------------------------------------------------------------- */

void scram_hmac(const uint8_t key[SCRAM_KEY], struct slice text, uint8_t out[SCRAM_KEY])
{
	if (!HMAC(EVP_sha256(), key, SCRAM_KEY, text.at, text.len, out, NULL))
		die("HMAC-SHA-256 is not available");
}

void scram_sha256(struct slice in, uint8_t out[SCRAM_KEY])
{
	if (!EVP_Digest(in.at, in.len, out, NULL, EVP_sha256(), NULL))
		die("SHA-256 is not available");
}

void scram_sign(const uint8_t key[SCRAM_KEY], const char *first_bare, const char *server_first, struct slice final_bare,
                uint8_t out[SCRAM_KEY])
{
	char message[3 * SCRAM_TEXT_MAX];
	int len = snprintf(message, sizeof message, "%s,%s,%.*s", first_bare, server_first, (int)final_bare.len,
	                   (const char *)final_bare.at);
	ASSERT(len > 0 && (size_t)len < sizeof message);
	scram_hmac(key, slice_of(message, (size_t)len), out);
}

void scram_xor(uint8_t to[SCRAM_KEY], const uint8_t with[SCRAM_KEY])
{
	for (size_t i = 0; i < SCRAM_KEY; i++)
		to[i] ^= with[i];
}

void scram_nonce(char out[SCRAM_NONCE_TEXT + 1])
{
	uint8_t raw[SCRAM_NONCE_RAW];
	rand_bytes(raw, sizeof raw);
	base64_encode(slice_of(raw, sizeof raw), out);
}

void scram_cbind(char header, const uint8_t *binding, size_t len, char out[SCRAM_CBIND_TEXT])
{
	uint8_t raw[SCRAM_CBIND_RAW];
	size_t n = strlen(SCRAM_PLUS_HEADER);
	if (header != 'p') {
		strcpy(out, header == 'n' ? "biws" : "eSws");
		return;
	}
	memcpy(raw, SCRAM_PLUS_HEADER, n);
	memcpy(raw + n, binding, len);
	base64_encode(slice_of(raw, n + len), out);
}

/* -- the grammar ------------------------------------------------------------------------------ */

bool scram_take(struct slice *rest, char key, struct slice *value)
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

bool scram_take_text(struct slice *rest, const char *text)
{
	size_t n = strlen(text);
	if (rest->len < n || memcmp(rest->at, text, n) != 0)
		return false;
	*rest = slice_skip(*rest, n);
	return true;
}

bool scram_is_nonce(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x21 || s.at[i] > 0x7e)
			return false;
	return s.len > 0;
}

bool scram_number(struct slice s, uint32_t most, uint32_t *out)
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

bool scram_key(struct slice s, uint8_t out[SCRAM_KEY])
{
	size_t len;
	return base64_decode(s, out, SCRAM_KEY, &len) && len == SCRAM_KEY;
}

bool scram_salt(struct slice s, struct scram_secret *out)
{
	size_t len;
	if (!base64_decode(s, out->salt, sizeof out->salt, &len) || len == 0)
		return false;
	out->salt_len = (uint8_t)len;
	return true;
}

bool scram_is_sane(struct slice in)
{
	return in.len < SCRAM_TEXT_MAX && (in.len == 0 || !memchr(in.at, 0, in.len));
}

bool scram_malformed(int *state, struct err *err, const char *detail)
{
	*state = SCRAM_DEAD;
	err_set(err, "08P01", "malformed SCRAM message");
	err_detail(err, "%s", detail);
	return false;
}

bool scram_refuse(int *state, struct err *err, const char *sqlstate, const char *text)
{
	*state = SCRAM_DEAD;
	return err_set(err, sqlstate, "%s", text);
}

void scram_keep(char *to, struct slice s)
{
	memcpy(to, s.at, s.len);
	to[s.len] = '\0';
}
