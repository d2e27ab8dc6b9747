/* base64 — RFC 4648 with padding, no line breaks: what SCRAM messages and secrets carry. */
#ifndef WIRE_BASE64_H
#define WIRE_BASE64_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/slice.h"

#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* OUT has room for BASE64_LEN(in.len) + 1; ends with a NUL. Returns the length without it. */
size_t base64_encode(struct slice in, char *out);
/* False when IN is not canonical base64 (length, alphabet, padding, spare bits) or holds more than CAP bytes. */
bool base64_decode(struct slice in, uint8_t *out, size_t cap, size_t *out_len) MUST_CHECK;

#endif
