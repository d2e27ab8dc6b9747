/*
 * reader — bounded getters over a message body; latches.  After the first getter that would run past the end, every getter
 * answers zero/empty and reader_ok() is false: ask once, at the end.  Never reads past `end`.  Integers are big-endian
 * (PostgreSQL protocol, "Message Data Types").
 */
#ifndef WIRE_READER_H
#define WIRE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

struct reader {
	const uint8_t *at, *end;
	bool failed;
};

static inline void reader_init(struct reader *r, struct slice bytes)
{
	*r = (struct reader){ .at = bytes.at, .end = bytes.at ? bytes.at + bytes.len : NULL };
}

/* The one place that compares with the end.  NULL: there are no N bytes. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
	if (UNLIKELY(r->failed || n > (size_t)(r->end - r->at))) {
		r->failed = true;
		return NULL;
	}
	const uint8_t *at = r->at;
	r->at += n;
	return at;
}

static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);
	return p ? p[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);
	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline int32_t reader_i32(struct reader *r)
{
	return (int32_t)reader_u32(r);
}

static inline struct slice reader_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = reader_take(r, n);
	return slice_of(p ? p : r->end, p ? n : 0);
}

struct slice reader_text_any(struct reader *r);
/* A NUL-terminated string: the slice is without the NUL, but the NUL is there behind it.  Most are empty: names of what is unnamed. */
static inline struct slice reader_text(struct reader *r)
{
	if (r->failed || r->at == r->end || *r->at)
		return reader_text_any(r);
	return slice_of(r->at++, 0);
}

static inline size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

static inline bool reader_ok(const struct reader *r)
{
	return !r->failed;
}

/* ok, and nothing is left */
static inline bool reader_done(const struct reader *r)
{
	return !r->failed && r->at == r->end;
}

#endif
