/* saslprep — the part of RFC 4013 that needs no Unicode database; the tables are those of RFC 3454, by section. */
#include "wire/saslprep.h"

#include <stdbool.h>

#include "base/compiler.h"

struct range {
	uint32_t from, to;
};

static const struct range spaces[] = {
	/* C.1.2 */
	{ 0xa0, 0xa0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200b }, { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 },
};

static const struct range nothings[] = {
	/* B.1 */
	{ 0xad, 0xad },     { 0x34f, 0x34f },   { 0x1806, 0x1806 }, { 0x180b, 0x180d },
	{ 0x200b, 0x200d }, { 0x2060, 0x2060 }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
};

/* clang-format off */
static const struct range prohibited[] = {
	{ 0x0, 0x1f },        { 0x7f, 0x9f },       { 0x6dd, 0x6dd },
	{ 0x70f, 0x70f },     { 0x180e, 0x180e },   { 0x200c, 0x200d }, /* C.2 */
	{ 0x2028, 0x2029 },   { 0x2060, 0x2063 },   { 0x206a, 0x206f },
	{ 0xfeff, 0xfeff },   { 0xfff9, 0xfffd },   { 0x1d173, 0x1d17a },   /* C.2, C.6 */
	{ 0xe000, 0xf8ff },   { 0xf0000, 0xffffd }, { 0x100000, 0x10fffd }, /* C.3 */
	{ 0xfdd0, 0xfdef },                                                 /* C.4 */
	{ 0x2ff0, 0x2ffb },                                                 /* C.7 */
	{ 0x340, 0x341 },     { 0x200e, 0x200f },   { 0x202a, 0x202e },     /* C.8 */
	{ 0xe0001, 0xe0001 }, { 0xe0020, 0xe007f }, /* C.9 */
	/* A.1, unassigned in Unicode 3.2: only the large gaps beyond the first plane, where emoji are. */
	{ 0x10000, 0x102ff }, { 0x10450, 0x1cfff }, { 0x1d200, 0x1d3ff }, { 0x1d800, 0x1ffff }, { 0x2a6d7, 0x2f7ff }, { 0x2fa1e, 0xe0000 },
};
/* clang-format on */

static bool is_in(const struct range *ranges, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n; i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return true;
	return false;
}
#define IS_IN(ranges, c) is_in(ranges, ARRAY_LEN(ranges), c)

static bool is_prohibited(uint32_t c)
{
	return (c & 0xfffe) == 0xfffe || IS_IN(prohibited, c);
}

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] & 0x80)
			return false;
	return true;
}

/* Length in bytes of the character at P (LEFT > 0 bytes are there), decoded into *C; 0 when it is not UTF-8. */
static unsigned decode(const uint8_t *p, size_t left, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
	if (len == 0 || len > left)
		return 0;
	*c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (unsigned i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3fu);
	}
	return *c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff) ? 0 : len;
}

struct slice saslprep(struct slice in, uint8_t *out)
{
	size_t n = 0;
	unsigned len;
	if (is_ascii(in))
		return in;
	for (size_t i = 0; i < in.len; i += len) {
		uint32_t c;
		len = decode(in.at + i, in.len - i, &c);
		if (len == 0)
			return in;
		if (IS_IN(spaces, c)) {
			out[n++] = ' ';
		} else if (!IS_IN(nothings, c)) {
			if (is_prohibited(c))
				return in;
			memcpy(out + n, in.at + i, len);
			n += len;
		}
	}
	return n ? slice_of(out, n) : in;
}
