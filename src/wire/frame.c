/*
 * frame — where does a message end?
 *
 * One look into a table of 256 rows per side: a byte that a side may not send has an empty range of lengths, so unknown types and bad
 * lengths are one comparison.  Rows and COPY data are stepped over many at a time.
 */
#include "wire/frame.h"

#include "tbl/messages.h"

enum { CLIENT = FRAME_FROM_CLIENT, SERVER = FRAME_FROM_SERVER };

const struct frame_bounds frame_bounds[2][256] = {
#define MESSAGE(byte, direction, name, least, greatest, sentence) [direction][byte] = { least, (greatest) + 1u },
#include "tbl/messages.h"
};

static const char *const name_of[2][256] = {
#define MESSAGE(byte, direction, name, least, greatest, sentence) [direction][byte] = name,
#include "tbl/messages.h"
};

size_t frame_run(struct slice in, enum frame_side side, uint8_t type, size_t most)
{
	size_t at = 0, size;
	while (at < in.len && in.at[at] == type && (size = frame_whole(slice_skip(in, at), side)) && size <= most)
		at += size;
	return at;
}

const char *frame_name(enum frame_side side, uint8_t type)
{
	const char *name = name_of[side][type];
	return name ? name : "?";
}
