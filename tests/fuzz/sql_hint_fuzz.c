/* Comments in front of a text: what is asked for stands in the text. */
#include "fuzz.h"
#include "sql/hint.h"

static void check(struct slice part, struct slice text)
{
	if (part.len)
		CHECK(part.at >= text.at && part.at + part.len <= text.at + text.len && part.len < HINT_REACH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sql_hint h;
	struct slice text = slice_of(data, size);
	bool asks = sql_hint(text, &h);
	CHECK(asks == (h.wants_primary || h.route.len || h.node.len || h.class.len));
	check(h.route, text);
	check(h.node, text);
	check(h.class, text);
	check(h.strange, text);
	return 0;
}
