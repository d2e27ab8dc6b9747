/* Input: a standby's primary_conninfo, 0xff, a primary's synchronous_standby_names.  What is read is within its place; a conninfo that was turned once
 * is turned to the same again. */
#include "base/mem.h"
#include "fuzz.h"
#include "ha/deeds.h"
#include "ha/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), first = fuzz_part(&in);
	char *conninfo = mem_textn((const char *)first.at, first.len), *names = mem_textn((const char *)in.at, in.len);
	char once[600], twice[600];
	struct guard_sync sync;
	if (deed_conninfo(conninfo, "a", 1, once, sizeof once) && strlen(once) < 400) {
		CHECK(deed_conninfo(once, "a", 1, twice, sizeof twice));
		CHECK(strcmp(once, twice) == 0);
	}
	if (guard_read_sync(names, &sync))
		CHECK(sync.n <= RECORD_NODES_MAX && sync.k >= 1);
	mem_free(conninfo);
	mem_free(names);
	return 0;
}
