/* Authentication requests and SASLInitialResponse. */
#include "wire/authmsg.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct authmsg m;
	struct slice mechanism, payload;
	uint8_t *copy = fuzz_copy(slice_of(data, size));
	if (authmsg_read(slice_of(copy, size), &m)) {
		CHECK(m.data.len + 4 == size);
		if (authmsg_offers(&m, "SCRAM-SHA-256"))
			CHECK(m.kind == AUTHMSG_SASL);
	}
	if (authmsg_read_initial(slice_of(copy, size), &mechanism, &payload)) {
		CHECK(mechanism.len + 1 + 4 + payload.len == size);
		CHECK(payload.at || payload.len == 0);
	}
	free(copy);
	return 0;
}
