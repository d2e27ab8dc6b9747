/*
 * recall — fixed parts compared, holes stepped over.
 *
 * Why what fits has the same shape: let the tokens before a hole be the same in both texts.  The hole stands where the scanner
 * begins a number or is inside a plain literal, in both.  Digits end at the same fixed byte, which is none that could go on with a
 * number or a name (shape.c records no other holes); a literal's inside has no quote, so it ends at the fixed quote, and whether the
 * next line continues it is told by fixed bytes.  So the token behind the hole begins at the same fixed byte, with the same state.
 * The shape of such a token does not depend on what is in the hole.
 *
 * A hostile client can make texts that share a key: they push each other out of one place and are then classified the long way.
 */
#include "recall.h"

#include "base/mem.h"
#include "lex.h"

#define FIXED_MAX 4096u
#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

/* The high bit of each byte of W that is a digit or a single quote. */
static inline uint64_t constants_in(uint64_t w)
{
	uint64_t low = w & ~HIGHS, not_quote = (low ^ '\'' * ONES) + 0x7f * ONES;
	uint64_t not_digit = (low + (0x7f - '9') * ONES) | ~(low + (0x80 - '0') * ONES);
	return ~((not_digit & not_quote) | w) & HIGHS;
}

/* N (up to 8) bytes at P as a number, the first one lowest. */
static inline uint64_t load(const uint8_t *p, size_t n)
{
	uint64_t w = 0;
	memcpy(&w, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

static inline uint64_t mix(uint64_t h, uint64_t w)
{
	return ((h << 5 | h >> 59) ^ w) * 0x9e3779b97f4a7c15ull;
}

/* The digit or quote AT is no constant. */
static inline bool is_in_name(struct slice text, const uint8_t *at)
{
	return *at != '\'' && at > text.at && (lex_class[at[-1]] & LEX_IS_NAME);
}

uint64_t recall_key(struct slice text)
{
	const uint8_t *p = text.at, *end = p + text.len;
	uint64_t h = 0;
	while (p < end) {
		size_t n = (size_t)(end - p);
		uint64_t w, found;
		for (; n >= 8 && !(found = constants_in(w = load(p, 8))); n -= 8, p += 8)
			h = mix(h, w);
		if (n < 8 && !(found = constants_in(w = load(p, n))))
			return mix(h, w);
		n = (unsigned)__builtin_ctzll(found) / 8;
		h = mix(h, w & ((1ull << 8 * n) - 1));
		p += n;
		if (!is_in_name(text, p))
			return h;
		h = mix(h, *p++);
	}
	return h;
}

struct recall *recall_new(struct slice text, const struct shape *s)
{
	size_t fixed = text.len;
	for (unsigned i = 0; i < s->n_holes && i < SHAPE_HOLES; i++)
		fixed -= s->holes[i].end - s->holes[i].at;
	if (s->n_holes > SHAPE_HOLES || fixed > FIXED_MAX)
		return NULL;
	size_t parts = s->n_holes * sizeof(struct recall_part);
	struct recall *r = mem_alloc(sizeof *r + parts + fixed);
	uint8_t *to = (uint8_t *)r->part + parts;
	uint32_t from = 0;
	*r = (struct recall){ .key = recall_key(text), .bytes = (uint32_t)(sizeof *r + parts + fixed), .n = s->n_holes, .fixed = to };
	for (uint32_t i = 0; i < r->n; from = s->holes[i++].end) {
		r->part[i] = (struct recall_part){ .len = s->holes[i].at - from, .is_string = s->holes[i].is_string };
		to = mempcpy(to, text.at + from, r->part[i].len);
	}
	r->rest = (uint32_t)text.len - from;
	if (r->rest)
		memcpy(to, text.at + from, r->rest);
	return r;
}

/* Where the hole at P ends; NULL when nothing of its kind is there. */
static inline const uint8_t *hole_end(const uint8_t *p, const uint8_t *end, bool is_string)
{
	const uint8_t *from = p;
	if (is_string) {
		p = memchr(from, '\'', (size_t)(end - from));
		return p && !memchr(from, 0, (size_t)(p - from)) ? p : NULL;
	}
	while (p < end && (lex_class[*p] & LEX_IS_DIGIT))
		p++;
	return p > from ? p : NULL;
}

bool recall_fits(const struct recall *r, struct slice text)
{
	const uint8_t *p = text.at, *end = p + text.len, *fixed = r->fixed;
	for (const struct recall_part *part = r->part, *last = part + r->n; part < last; part++) {
		if ((size_t)(end - p) <= part->len || memcmp(p, fixed, part->len) != 0)
			return false;
		fixed += part->len;
		p = hole_end(p + part->len, end, part->is_string);
		if (!p)
			return false;
	}
	return (size_t)(end - p) == r->rest && memcmp(p, fixed, r->rest) == 0;
}
