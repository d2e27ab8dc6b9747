/*
 * frame — where does a message end?
 *
 * One look into a table of 256 rows per side: a byte that a side may not send has an empty range of lengths, so unknown types and bad
 * lengths are one comparison.  Rows and COPY data are stepped over many at a time.
 */
#include "wire/frame.h"

#include "base/compiler.h"
#include "tbl/messages.h"

/* The body's length must be in least <= n < end. */
struct bounds {
	uint32_t least, end;
};

enum { CLIENT = FRAME_FROM_CLIENT, SERVER = FRAME_FROM_SERVER };

static const struct bounds bounds_of[2][256] = {
#define MESSAGE(byte, direction, name, least, greatest, sentence) [direction][byte] = { least, (greatest) + 1u },
#include "tbl/messages.h"
};

static const char *const name_of[2][256] = {
#define MESSAGE(byte, direction, name, least, greatest, sentence) [direction][byte] = name,
#include "tbl/messages.h"
};

/* The length word counts itself; what is less than 4 wraps to a length that no row allows. */
static inline uint32_t body_len_at(const uint8_t *p)
{
	return ((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]) - 4u;
}

enum frame_result frame_next(struct slice in, enum frame_side side, struct frame *f)
{
	if (in.len < FRAME_HEADER)
		return FRAME_SHORT;
	const uint8_t *p = in.at;
	uint32_t body_len = body_len_at(p);
	struct bounds b = bounds_of[side][p[0]];
	if (UNLIKELY(body_len < b.least || body_len >= b.end))
		return FRAME_BAD;
	size_t here = in.len - FRAME_HEADER;
	f->type = p[0];
	f->body_len = body_len;
	f->body = slice_of(p + FRAME_HEADER, here < body_len ? here : body_len);
	return FRAME_OK;
}

size_t frame_run(struct slice in, enum frame_side side, uint8_t type)
{
	const struct bounds b = bounds_of[side][type];
	size_t at = 0;
	while (in.len - at >= FRAME_HEADER && in.at[at] == type) {
		uint32_t body_len = body_len_at(in.at + at);
		if (body_len < b.least || body_len >= b.end || body_len > in.len - at - FRAME_HEADER)
			break;
		at += FRAME_HEADER + body_len;
	}
	return at;
}

const char *frame_name(enum frame_side side, uint8_t type)
{
	const char *name = name_of[side][type];
	return name ? name : "?";
}
