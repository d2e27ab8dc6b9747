/* md5 — two hashes, one over the other (PostgreSQL, "Message Flow", AuthenticationMD5Password). */
#include "wire/md5.h"

#include <openssl/evp.h>

#include "base/secret.h"

static bool hash(struct slice a, struct slice b, char out[MD5_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) && EVP_DigestUpdate(ctx, a.at, a.len) &&
	          EVP_DigestUpdate(ctx, b.at, b.len) && EVP_DigestFinal_ex(ctx, sum, &len) && len == 16;
	EVP_MD_CTX_free(ctx);
	memcpy(out, "md5", 3);
	for (size_t i = 0; ok && i < 16; i++) {
		out[3 + 2 * i] = digits[sum[i] >> 4];
		out[4 + 2 * i] = digits[sum[i] & 15];
	}
	out[MD5_TEXT - 1] = '\0';
	secret_wipe(sum, sizeof sum);
	return ok;
}

bool md5_secret(struct slice password, struct slice user, char out[MD5_TEXT])
{
	return hash(password, user, out);
}

bool md5_answer(const char secret[MD5_TEXT], const uint8_t salt[4], char out[MD5_TEXT])
{
	return hash(slice_of(secret + 3, MD5_TEXT - 4), slice_of(salt, 4), out);
}
