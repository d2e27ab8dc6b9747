/*
 * writer — messages into a buffer, latching.
 *
 *   data  [ type | length | body … ] [ type | length | body …
 *                                             ^ message_at: where the open message's length word is
 *
 * Always: len <= cap; once failed, nothing is added and writer_slice() is empty, so half a message is never sent.  A growing writer stops
 * at the largest length that a message may have.
 */
#include "wire/writer.h"

#include "base/log.h"
#include "base/mem.h"

#define GROW_FIRST 256u
#define GROW_MOST 0x40000000u
#define NOT_WRITING SIZE_MAX

static bool make_room(struct writer *w, size_t n)
{
	if (w->failed || n <= w->cap - w->len)
		return !w->failed;
	if (!w->grows || n > GROW_MOST - w->len) {
		w->failed = true;
		return false;
	}
	size_t cap = w->cap ? w->cap : GROW_FIRST;
	while (cap - w->len < n)
		cap *= 2;
	w->data = mem_grow(w->data, cap);
	w->cap = cap;
	return true;
}

static uint8_t *add(struct writer *w, size_t n)
{
	if (!make_room(w, n))
		return NULL;
	uint8_t *at = w->data + w->len;
	w->len += n;
	return at;
}

static void put_u32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

void writer_init(struct writer *w, void *space, size_t cap)
{
	*w = (struct writer){ .data = space, .cap = cap, .message_at = NOT_WRITING };
}

void writer_init_grow(struct writer *w)
{
	*w = (struct writer){ .grows = true, .message_at = NOT_WRITING };
}

void writer_fini(struct writer *w)
{
	if (w->grows)
		mem_free(w->data);
	*w = (struct writer){ .grows = w->grows, .message_at = NOT_WRITING };
}

void writer_begin(struct writer *w, uint8_t type)
{
	ASSERT(w->message_at == NOT_WRITING);
	if (type)
		writer_u8(w, type);
	w->message_at = w->len;
	writer_u32(w, 0);
}

void writer_end(struct writer *w)
{
	ASSERT(w->message_at != NOT_WRITING);
	if (!w->failed)
		put_u32(w->data + w->message_at, (uint32_t)(w->len - w->message_at));
	w->message_at = NOT_WRITING;
}

void writer_u8(struct writer *w, uint8_t v)
{
	uint8_t *at = add(w, 1);
	if (at)
		*at = v;
}

void writer_u16(struct writer *w, uint16_t v)
{
	uint8_t *at = add(w, 2);
	if (at) {
		at[0] = (uint8_t)(v >> 8);
		at[1] = (uint8_t)v;
	}
}

void writer_u32(struct writer *w, uint32_t v)
{
	uint8_t *at = add(w, 4);
	if (at)
		put_u32(at, v);
}

void writer_bytes(struct writer *w, struct slice bytes)
{
	uint8_t *at = add(w, bytes.len);
	if (at && bytes.len)
		memcpy(at, bytes.at, bytes.len);
}

void writer_text(struct writer *w, const char *text)
{
	writer_bytes(w, slice_of(text, strlen(text) + 1));
}

void writer_slice_text(struct writer *w, struct slice text)
{
	writer_bytes(w, text);
	writer_u8(w, 0);
}

bool writer_ok(const struct writer *w)
{
	return !w->failed;
}

struct slice writer_slice(const struct writer *w)
{
	return slice_of(w->data, w->failed ? 0 : w->len);
}
