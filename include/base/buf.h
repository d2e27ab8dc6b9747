/*
 * buf — growable bytes with a read and a write cursor; holds no memory while empty.
 *
 *   0 <= read <= write <= cap;   an empty buf that was drained gives its memory back.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

struct buf {
	uint8_t *data;
	uint32_t read, write, cap; /* bytes */
};

void buf_fini(struct buf *b);                                   /* frees; b is empty and usable afterwards */
bool buf_reserve(struct buf *b, size_t room) MUST_CHECK;        /* room behind write; false: no memory or over 2 GiB */
bool buf_append(struct buf *b, struct slice bytes) MUST_CHECK;  /* copies; false as above */
void buf_consume(struct buf *b, size_t n);                      /* frees the memory when nothing is left */

static inline size_t buf_len(const struct buf *b)
{
	return b->write - b->read;
}

static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->read ? b->data + b->read : b->data, b->write - b->read); /* NULL + 0 is undefined */
}

#endif
