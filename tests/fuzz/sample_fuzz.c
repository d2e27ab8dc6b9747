/* Input: a row's values with 0xff between, one that begins with 0 is NULL.  It is read, or it is no row; what is read is within bounds. */
#include "ha/sample.h"

#include "base/mem.h"
#include "fuzz.h"

#define VALUES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	char *values[VALUES] = { 0 };
	unsigned n = 0;
	struct sample s;
	while (in.len && n < VALUES) {
		struct slice part = fuzz_part(&in);
		values[n++] = part.len && part.at[0] == 0 ? NULL : mem_textn((const char *)part.at, part.len);
	}
	if (sample_read(&s, (const char *const *)values, n)) {
		CHECK(n == 15 && s.n_peers <= SAMPLE_PEERS_MAX && s.receiver <= SAMPLE_HIDDEN);
		CHECK(s.in_recovery == (values[0][0] == 't'));
	}
	for (unsigned i = 0; i < n; i++)
		mem_free(values[i]);
	return 0;
}
