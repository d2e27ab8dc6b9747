/* fuzz — what every libFuzzer target includes.  CHECK() is an assertion about the parser, not about its input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)  \
	do {             \
		if (!(cond)) \
			abort(); \
	} while (0)

/* Takes what stands before the first 0xff byte (or all), and that byte. */
static inline struct slice fuzz_part(struct slice *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->at, 0xff, rest->len) : NULL;
	struct slice part = slice_of(rest->at, end ? (size_t)(end - rest->at) : rest->len);
	*rest = slice_skip(*rest, part.len + (end != NULL));
	return part;
}

/* A copy of exactly its size on the heap, so that a read past its end is seen. */
static inline uint8_t *fuzz_copy(struct slice s)
{
	uint8_t *copy = malloc(s.len ? s.len : 1);
	CHECK(copy);
	if (s.len)
		memcpy(copy, s.at, s.len);
	return copy;
}

#endif
