/*
 * frame — where does a message end?
 *
 * One look into a table of 256 rows per side: a byte that a side may not send has an empty range of lengths, so unknown types and bad
 * lengths are one comparison.  This runs once per DataRow.
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

enum frame_result frame_next(struct slice in, enum frame_side side, struct frame *f)
{
	if (in.len < FRAME_HEADER)
		return FRAME_SHORT;
	const uint8_t *p = in.at;
	/* The length word counts itself; what is less than 4 wraps to a length that no row allows. */
	uint32_t body_len = ((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]) - 4u;
	struct bounds b = bounds_of[side][p[0]];
	if (UNLIKELY(body_len < b.least || body_len >= b.end))
		return FRAME_BAD;
	size_t here = in.len - FRAME_HEADER;
	f->type = p[0];
	f->body_len = body_len;
	f->body = slice_of(p + FRAME_HEADER, here < body_len ? here : body_len);
	return FRAME_OK;
}

const char *frame_name(enum frame_side side, uint8_t type)
{
	const char *name = name_of[side][type];
	return name ? name : "?";
}
