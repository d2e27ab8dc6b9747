/* Input: server-first, 0xff, server-final.  Our nonce is a fixed one.  Who asks for much work is left after a little of it. */
#include "wire/scram.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), first = fuzz_part(&in);
	struct scram_client c;
	struct err err;
	char out[SCRAM_TEXT_MAX];
	size_t len;
	scram_client_init_password(&c, "pencil");
	strcpy(c.nonce, "rOprNGfwEbeRWgbNEkqO");
	strcpy(c.first_bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
	CHECK(scram_client_first(&c, out, &len));
	if (scram_client_final(&c, first, out, &len, &err) == SCRAM_DONE) {
		CHECK(len > 0 && len < sizeof out);
		if (!scram_client_verify(&c, in, &err))
			CHECK(strlen(err.sqlstate) == 5);
	}
	scram_client_fini(&c);
	return 0;
}
