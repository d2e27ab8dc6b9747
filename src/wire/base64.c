/*
 * base64 — four letters for three bytes.
 *
 * The decoder accepts exactly what the encoder writes, so that a text has one meaning: no white space, no missing padding, and the bits that the
 * padding leaves over are zero.
 */
#include "wire/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(struct slice in, char *out)
{
	char *to = out;
	for (size_t i = 0; i < in.len; i += 3) {
		size_t here = in.len - i < 3 ? in.len - i : 3;
		uint32_t bits = (uint32_t)in.at[i] << 16;
		if (here > 1)
			bits |= (uint32_t)in.at[i + 1] << 8;
		if (here > 2)
			bits |= in.at[i + 2];
		*to++ = letters[bits >> 18];
		*to++ = letters[bits >> 12 & 63];
		*to++ = here > 1 ? letters[bits >> 6 & 63] : '=';
		*to++ = here > 2 ? letters[bits & 63] : '=';
	}
	*to = '\0';
	return (size_t)(to - out);
}

static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four letters at P, of which the last PADS are '='.  False when one is not a letter or spare bits are set. */
static bool decode_group(const uint8_t *p, unsigned pads, uint32_t *bits)
{
	*bits = 0;
	for (unsigned i = 0; i < 4; i++) {
		int v = i < 4 - pads ? value_of(p[i]) : 0;
		if (v < 0)
			return false;
		*bits = *bits << 6 | (uint32_t)v;
	}
	return (*bits & ((1u << pads * 8) - 1)) == 0;
}

bool base64_decode(struct slice in, uint8_t *out, size_t cap, size_t *out_len)
{
	if (in.len % 4 != 0)
		return false;
	unsigned pads = 0;
	while (pads < 2 && pads < in.len && in.at[in.len - 1 - pads] == '=')
		pads++;
	size_t len = in.len / 4 * 3 - pads, n = 0;
	if (len > cap)
		return false;
	for (size_t i = 0; i < in.len; i += 4) {
		uint32_t bits;
		if (!decode_group(in.at + i, i + 4 == in.len ? pads : 0, &bits))
			return false;
		for (int shift = 16; shift >= 0 && n < len; shift -= 8)
			out[n++] = (uint8_t)(bits >> shift);
	}
	*out_len = len;
	return true;
}
