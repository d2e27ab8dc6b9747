/* Input: server-first, 0xff, server-final.  Our nonce is a fixed one.  Long iteration counts are left out: they are legal and slow. */
#include "wire/scram.h"

#include "fuzz.h"

static bool asks_for_much_work(struct slice s)
{
	const char *i = memmem(s.at, s.len, ",i=", 3);
	size_t digits = 0;
	for (const char *p = i ? i + 3 : NULL; p && p < (const char *)s.at + s.len && *p >= '0' && *p <= '9'; p++)
		digits++;
	return digits > 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), first = fuzz_part(&in);
	struct scram_client c;
	struct err err;
	char out[SCRAM_TEXT_MAX];
	size_t len;
	if (asks_for_much_work(first))
		return 0;
	scram_client_init_password(&c, "pencil");
	strcpy(c.nonce, "rOprNGfwEbeRWgbNEkqO");
	strcpy(c.first_bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
	CHECK(scram_client_first(&c, out, &len));
	if (scram_client_final(&c, first, out, &len, &err)) {
		CHECK(len > 0 && len < sizeof out);
		if (!scram_client_verify(&c, in, &err))
			CHECK(strlen(err.sqlstate) == 5);
	}
	scram_client_fini(&c);
	return 0;
}
