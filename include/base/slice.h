/* slice — borrowed bytes: valid until the next read of whoever lent them. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *at;
	size_t len;
};

static inline struct slice slice_of(const void *at, size_t len)
{
	return (struct slice){ .at = at, .len = len };
}

static inline struct slice slice_text(const char *text)
{
	return slice_of(text, strlen(text));
}

static inline struct slice slice_skip(struct slice s, size_t n)
{
	return slice_of(s.at + n, s.len - n);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

#endif
