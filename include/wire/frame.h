/*
 * frame — where does a message end?  Looks at type and length only; bodies pass through as slices.
 * The table of messages, who may send them and how large they may be is tbl/messages.h.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

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

enum frame_result frame_next(struct slice in, enum frame_side side, struct frame *f);
/* Bytes of the messages of TYPE that IN begins with and that are whole and as the table wants them. */
size_t frame_run(struct slice in, enum frame_side side, uint8_t type);

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
