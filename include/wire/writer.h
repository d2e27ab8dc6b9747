/*
 * writer — builds messages into a buffer that the caller provides; latches when it is full.
 *
 *   struct writer w; uint8_t space[256]; writer_init(&w, space, sizeof space);
 *   writer_begin(&w, 'Z'); writer_u8(&w, 'I'); writer_end(&w);
 *   if (writer_ok(&w)) stream_send(s, writer_slice(&w), NULL);
 *
 * writer_init_grow() starts a writer whose buffer grows (freed by writer_fini()).
 */
#ifndef WIRE_WRITER_H
#define WIRE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct writer {
	uint8_t *data;
	size_t len, cap, message_at;
	bool failed, grows;
};

void writer_init(struct writer *w, void *space, size_t cap);
void writer_init_grow(struct writer *w);
void writer_fini(struct writer *w);                /* only needed after writer_init_grow() */
void writer_begin(struct writer *w, uint8_t type); /* type 0: a message without a type byte (startup family) */
void writer_end(struct writer *w);                 /* patches the length */
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_bytes(struct writer *w, struct slice bytes);
void writer_text(struct writer *w, const char *text);        /* with its NUL */
void writer_slice_text(struct writer *w, struct slice text); /* adds the NUL */
bool writer_ok(const struct writer *w);
struct slice writer_slice(const struct writer *w);

#endif
