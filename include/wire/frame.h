/*
 * frame — where does a message end?  Looks at type and length only; bodies pass through as slices.
 * The table of messages, who may send them and how large they may be is tbl/messages.h.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "base/compiler.h"
#include "base/slice.h"

enum frame_side { FRAME_FROM_CLIENT, FRAME_FROM_SERVER };
enum frame_result {
	FRAME_SHORT, /* fewer than 5 bytes: come back with more */
	FRAME_OK,
	FRAME_BAD, /* unknown type for that side, or a length out of the table's bounds: close */
};

struct frame {
	uint8_t type;
	uint32_t body_len; /* bytes behind type and length word */
	struct slice body; /* the part of the body that is here; body.len == body_len when it is whole */
};
#define FRAME_HEADER 5u

/* The body's length must be in least <= n < end.  A byte that a side may not send has an empty range. */
struct frame_bounds {
	uint32_t least, end;
};
extern const struct frame_bounds frame_bounds[2][256];

/* The length word counts itself; what is less than 4 wraps to a length that no row allows. */
static inline uint32_t frame_body_len(const uint8_t *header)
{
	uint32_t word;
	memcpy(&word, header + 1, sizeof word);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	word = __builtin_bswap32(word);
#endif
	return word - 4u;
}
static inline void frame_put_header(uint8_t *header, uint8_t type, uint32_t body_len)
{
	uint32_t word = body_len + 4u;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	word = __builtin_bswap32(word);
#endif
	header[0] = type;
	memcpy(header + 1, &word, sizeof word);
}

static inline enum frame_result frame_next(struct slice in, enum frame_side side, struct frame *f)
{
	if (in.len < FRAME_HEADER)
		return FRAME_SHORT;
	const uint8_t *p = in.at;
	uint32_t body_len = frame_body_len(p);
	struct frame_bounds b = frame_bounds[side][p[0]];
	if (UNLIKELY(body_len < b.least || body_len >= b.end))
		return FRAME_BAD;
	size_t here = in.len - FRAME_HEADER;
	f->type = p[0];
	f->body_len = body_len;
	f->body = slice_of(p + FRAME_HEADER, here < body_len ? here : body_len);
	return FRAME_OK;
}
/* The size of the message that IN begins with, if all of it is here and it is as the table wants it; else 0: frame_next() tells. */
static inline size_t frame_whole(struct slice in, enum frame_side side)
{
	if (in.len < FRAME_HEADER)
		return 0;
	uint32_t body_len = frame_body_len(in.at);
	struct frame_bounds b = frame_bounds[side][in.at[0]];
	return body_len >= b.least && body_len < b.end && body_len <= in.len - FRAME_HEADER ? FRAME_HEADER + (size_t)body_len : 0;
}
/* Bytes of the messages of TYPE that IN begins with and that are whole, as the table wants them, and of MOST bytes each. */
size_t frame_run(struct slice in, enum frame_side side, uint8_t type, size_t most);

static inline bool frame_is_whole(const struct frame *f)
{
	return f->body.len == f->body_len;
}
static inline size_t frame_size(const struct frame *f) /* of the whole message */
{
	return (size_t)FRAME_HEADER + f->body_len;
}
/* "Query", "DataRow" …: for logs and errors; "?" when unknown. */
const char *frame_name(enum frame_side side, uint8_t type);

#endif
