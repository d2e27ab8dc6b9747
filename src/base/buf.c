/*
 * buf — growable bytes; see the header for the invariant.
 *
 * Room is made by moving the live bytes down when they fill at most half of the memory (so a byte is moved once for each byte
 * consumed), else by doubling.
 */
#include "base/buf.h"

#include "base/log.h"
#include "base/mem.h"

#define LEAST_BYTES 512u
#define MOST_BYTES 0x7fffffffu

static bool grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : LEAST_BYTES;
	while (cap < need)
		cap *= 2;
	if (cap > MOST_BYTES)
		cap = MOST_BYTES;
	uint8_t *data = mem_try(cap);
	if (!data)
		return false;
	size_t len = buf_len(b);
	if (len)
		memcpy(data, b->data + b->read, len);
	mem_free(b->data);
	*b = (struct buf){ .data = data, .write = (uint32_t)len, .cap = (uint32_t)cap };
	return true;
}

void buf_fini(struct buf *b)
{
	mem_free(b->data);
	*b = (struct buf){ 0 };
}

bool buf_reserve(struct buf *b, size_t room)
{
	if (room <= b->cap - b->write)
		return true;
	size_t len = buf_len(b);
	if (room > MOST_BYTES - len)
		return false;
	if (len + room > b->cap || len > b->cap / 2)
		return grow(b, len + room > b->cap ? len + room : (size_t)b->cap * 2);
	memmove(b->data, b->data + b->read, len);
	b->read = 0;
	b->write = (uint32_t)len;
	return true;
}

bool buf_append(struct buf *b, struct slice bytes)
{
	if (bytes.len == 0)
		return true;
	if (!buf_reserve(b, bytes.len))
		return false;
	memcpy(b->data + b->write, bytes.at, bytes.len);
	b->write += (uint32_t)bytes.len;
	return true;
}

void buf_consume(struct buf *b, size_t n)
{
	ASSERT(n <= buf_len(b));
	b->read += (uint32_t)n;
	if (b->read == b->write)
		buf_fini(b);
}
