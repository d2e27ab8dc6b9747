/*
 * pbkdf2 — U1 = HMAC(password, salt 0001), Un = HMAC(password, Un-1); the key is U1 ^ U2 ^ … (RFC 8018 section 5.2).
 *
 * HMAC(key, text) = H(key ^ 5c… , H(key ^ 36… , text)) (RFC 2104): what H makes of either pad is computed once and copied each time, which
 * leaves two blocks to hash for an iteration.  OpenSSL's own function does the same, slower, and only in one go.
 */
#include "wire/pbkdf2.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

#define BLOCK 64u /* bytes, of SHA-256 */

struct pbkdf2 {
	EVP_MD *sha256;
	EVP_MD_CTX *inner, *outer; /* behind their pads */
	EVP_MD_CTX *work;
	uint8_t last[PBKDF2_KEY], key[PBKDF2_KEY];
	uint32_t left;
};

static void must(int rc)
{
	if (rc != 1)
		die("SHA-256 is not available");
}

/* An HMAC takes a longer key's hash. */
static void make_block(const struct pbkdf2 *p, struct slice password, uint8_t block[BLOCK])
{
	memset(block, 0, BLOCK);
	if (password.len > BLOCK)
		must(EVP_Digest(password.at, password.len, block, NULL, p->sha256, NULL));
	else if (password.len)
		memcpy(block, password.at, password.len);
}

static EVP_MD_CTX *behind_pad(const struct pbkdf2 *p, const uint8_t block[BLOCK], uint8_t with)
{
	uint8_t pad[BLOCK];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	for (size_t i = 0; i < BLOCK; i++)
		pad[i] = block[i] ^ with;
	must(ctx && EVP_DigestInit_ex(ctx, p->sha256, NULL) == 1 && EVP_DigestUpdate(ctx, pad, BLOCK) == 1);
	secret_wipe(pad, sizeof pad);
	return ctx;
}

/* p->last = HMAC(password, A B) */
static void next(struct pbkdf2 *p, struct slice a, struct slice b)
{
	must(EVP_MD_CTX_copy_ex(p->work, p->inner) == 1 && EVP_DigestUpdate(p->work, a.at, a.len) == 1 &&
	     EVP_DigestUpdate(p->work, b.at, b.len) == 1 && EVP_DigestFinal_ex(p->work, p->last, NULL) == 1);
	must(EVP_MD_CTX_copy_ex(p->work, p->outer) == 1 && EVP_DigestUpdate(p->work, p->last, PBKDF2_KEY) == 1 &&
	     EVP_DigestFinal_ex(p->work, p->last, NULL) == 1);
	for (size_t i = 0; i < PBKDF2_KEY; i++)
		p->key[i] ^= p->last[i];
}

struct pbkdf2 *pbkdf2_new(struct slice password, struct slice salt, uint32_t iterations)
{
	static const uint8_t first_block[4] = { 0, 0, 0, 1 };
	struct pbkdf2 *p = mem_alloc(sizeof *p);
	uint8_t block[BLOCK];
	p->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); /* looked up once, not each time */
	must(p->sha256 != NULL);
	make_block(p, password, block);
	p->inner = behind_pad(p, block, 0x36);
	p->outer = behind_pad(p, block, 0x5c);
	p->work = EVP_MD_CTX_new();
	must(p->work != NULL);
	secret_wipe(block, sizeof block);
	next(p, salt, slice_of(first_block, sizeof first_block));
	p->left = iterations - 1;
	return p;
}

bool pbkdf2_go(struct pbkdf2 *p, uint32_t at_most)
{
	uint32_t n = p->left < at_most ? p->left : at_most;
	p->left -= n;
	while (n--)
		next(p, slice_of(p->last, sizeof p->last), slice_of(NULL, 0));
	return p->left == 0;
}

void pbkdf2_key(const struct pbkdf2 *p, uint8_t out[PBKDF2_KEY])
{
	ASSERT(p->left == 0);
	memcpy(out, p->key, PBKDF2_KEY);
}

void pbkdf2_free(struct pbkdf2 *p)
{
	if (!p)
		return;
	EVP_MD_CTX_free(p->inner);
	EVP_MD_CTX_free(p->outer);
	EVP_MD_CTX_free(p->work);
	EVP_MD_free(p->sha256);
	secret_wipe(p, sizeof *p);
	mem_free(p);
}
