/*
 * reader — bounded getters over a message body; latches.  After the first getter that would run past the end, every getter
 * answers zero/empty and reader_ok() is false: ask once, at the end.  Never reads past `end`.  Integers are big-endian
 * (PostgreSQL protocol, "Message Data Types").
 */
#ifndef WIRE_READER_H
#define WIRE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct reader {
	const uint8_t *at, *end;
	bool failed;
};

void reader_init(struct reader *r, struct slice bytes);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
int32_t reader_i32(struct reader *r);
struct slice reader_bytes(struct reader *r, size_t n);
/* A NUL-terminated string: the slice is without the NUL, but the NUL is there behind it. */
struct slice reader_text(struct reader *r);
size_t reader_left(const struct reader *r);
bool reader_ok(const struct reader *r);
/* ok, and nothing is left */
bool reader_done(const struct reader *r);

#endif
