/* Any pattern on any text: no harm, an end, and on small ones the same answer as Lua's own. */
#include "fuzz.h"
#include "../lib/oracle.h"

static void check_same(struct slice text, struct slice pattern)
{
	static lua_State *L;
	char theirs[4000], ours[4000];
	L = L ? L : oracle_open();
	oracle_ours(text, pattern, ours, sizeof ours);
	if (strcmp(ours, "error") == 0 || strcmp(ours, "over") == 0)
		return; /* Lua notices only what it comes to */
	oracle_lua(L, text, pattern, theirs, sizeof theirs);
	CHECK(strcmp(ours, theirs) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), pattern = fuzz_part(&rest);
	char out[8192];
	uint8_t *p = fuzz_copy(pattern), *t = fuzz_copy(rest);
	oracle_ours(slice_of(t, rest.len), slice_of(p, pattern.len), out, sizeof out);
	/* For Lua 5.1 a pattern ends at its first zero byte. */
	if (rest.len <= 20 && pattern.len <= 14 && !memchr(p, 0, pattern.len))
		check_same(slice_of(t, rest.len), slice_of(p, pattern.len));
	free(p);
	free(t);
	return 0;
}
