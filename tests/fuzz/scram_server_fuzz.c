/* Input: client-first, 0xff, client-final.  The server's nonce is made a fixed one, so that a final message can be right. */
#include "wire/scram.h"

#include "base/hash.h"
#include "fuzz.h"

#define SERVER_FIRST "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), first = fuzz_part(&in);
	struct scram_server s;
	struct scram_secret secret;
	struct err err;
	char out[SCRAM_TEXT_MAX];
	size_t len;
	scram_secret_salt(slice_of("fuzz", 4), slice_text(""), SCRAM_ITERATIONS, &secret);
	static const uint8_t channel[32] = { 1 };
	bool is_plus = first.len > 0 && first.at[0] == 'p';
	scram_server_init(&s, &secret, false);
	scram_server_offer_plus(&s, slice_of(channel, first.len % 2 ? sizeof channel : 0));
	if (scram_server_choose(&s, slice_text(is_plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256"), &err) &&
	    scram_server_first(&s, first, out, &len, &err)) {
		CHECK(len > 0 && len < sizeof out);
		memcpy(s.server_first, SERVER_FIRST, sizeof SERVER_FIRST);
		/* The secret's stored key is a hash that nobody knows the key of. */
		CHECK(!scram_server_final(&s, in, out, &len, &err));
		CHECK(strcmp(err.sqlstate, "28P01") == 0 || strcmp(err.sqlstate, "08P01") == 0 || strcmp(err.sqlstate, "28000") == 0);
	}
	scram_server_fini(&s);
	return 0;
}
