/* Stored secrets, base64 and SASLprep. */
#include "wire/base64.h"
#include "wire/saslprep.h"
#include "wire/scram.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scram_secret secret;
	struct slice in = slice_of(data, size);
	uint8_t *copy = fuzz_copy(in), *space = fuzz_copy(in);
	in.at = copy;
	if (scram_secret_parse(in, &secret))
		CHECK(secret.salt_len > 0 && secret.salt_len <= SCRAM_SALT_MAX && secret.iterations > 0);
	struct slice prepared = saslprep(in, space);
	CHECK(prepared.len <= size && (prepared.len > 0 || size == 0));
	size_t len;
	if (base64_decode(in, space, size, &len)) {
		char *text = malloc(BASE64_LEN(len) + 1);
		CHECK(text && base64_encode(slice_of(space, len), text) == size);
		CHECK(memcmp(text, copy, size) == 0);
		free(text);
	}
	free(space);
	free(copy);
	return 0;
}
