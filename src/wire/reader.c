/*
 * reader — bounded getters that latch.
 *
 * Always: at <= end while ok; once failed, nothing moves and every getter answers zero or an empty slice, so that a parser can be written
 * as if the bytes were there and ask once at its end.  Every getter goes through take(), the only place that compares with the end.
 */
#include "wire/reader.h"

static const uint8_t *take(struct reader *r, size_t n)
{
	if (r->failed || n > (size_t)(r->end - r->at)) {
		r->failed = true;
		return NULL;
	}
	const uint8_t *at = r->at;
	r->at += n;
	return at;
}

void reader_init(struct reader *r, struct slice bytes)
{
	static const uint8_t nothing[1];
	const uint8_t *at = bytes.at ? bytes.at : nothing;
	*r = (struct reader){ .at = at, .end = at + (bytes.at ? bytes.len : 0) };
}

uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = take(r, 1);
	return p ? p[0] : 0;
}

uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = take(r, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = take(r, 4);
	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

int32_t reader_i32(struct reader *r)
{
	return (int32_t)reader_u32(r);
}

struct slice reader_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = take(r, n);
	return p ? slice_of(p, n) : slice_of(r->end, 0);
}

struct slice reader_text(struct reader *r)
{
	if (!r->failed && r->at < r->end && *r->at == 0) { /* as unnamed statements and portals are */
		r->at++;
		return slice_of(r->at - 1, 0);
	}
	const uint8_t *nul = r->failed || r->at == r->end ? NULL : memchr(r->at, 0, (size_t)(r->end - r->at));
	if (!nul) {
		r->failed = true;
		return slice_of("", 0);
	}
	struct slice text = slice_of(r->at, (size_t)(nul - r->at));
	r->at = nul + 1;
	return text;
}

size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

bool reader_ok(const struct reader *r)
{
	return !r->failed;
}

bool reader_done(const struct reader *r)
{
	return !r->failed && r->at == r->end;
}
