/*
 * reader — bounded getters that latch; nearly all of them are so small that they are in the header.
 *
 * Always: at <= end while ok; once failed, nothing moves and every getter answers zero or an empty slice, so that a parser can be written
 * as if the bytes were there and ask once at its end.
 */
#include "wire/reader.h"

struct slice reader_text_any(struct reader *r)
{
	const uint8_t *nul = r->failed || r->at == r->end ? NULL : memchr(r->at, 0, (size_t)(r->end - r->at));
	if (!nul) {
		r->failed = true;
		return slice_of("", 0);
	}
	struct slice text = slice_of(r->at, (size_t)(nul - r->at));
	r->at = nul + 1;
	return text;
}
