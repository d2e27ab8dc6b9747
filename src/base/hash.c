/*
 * hash — SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), 64 and 128 bits.
 *
 * The key is the one piece of state; it is written before threads start and only read afterwards.
 */
#include "base/hash.h"

#include <stddef.h>

#include "base/rand.h"

static uint64_t hash_key[2];

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline uint64_t load_le(const uint8_t *at)
{
	uint64_t x;
	memcpy(&x, at, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

static inline uint64_t sip_finish(struct sip *s)
{
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The constants spell "somepseudorandomlygeneratedbytes". */
static struct sip sip_absorb(struct slice bytes, uint64_t variant)
{
	struct sip s = { hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d ^ variant,
		             hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573 };
	size_t whole = bytes.len & ~(size_t)7;
	for (size_t i = 0; i < whole; i += 8)
		sip_word(&s, load_le(bytes.at + i));
	uint64_t last = (uint64_t)bytes.len << 56;
	for (size_t i = whole; i < bytes.len; i++)
		last |= (uint64_t)bytes.at[i] << 8 * (i - whole);
	sip_word(&s, last);
	return s;
}

void hash_init(void)
{
	rand_bytes(hash_key, sizeof hash_key);
}

void hash_init_key(const uint8_t key[16])
{
	hash_key[0] = load_le(key);
	hash_key[1] = load_le(key + 8);
}

uint64_t hash64(struct slice bytes)
{
	struct sip s = sip_absorb(bytes, 0);
	s.v2 ^= 0xff;
	return sip_finish(&s);
}

struct hash128 hash128(struct slice bytes)
{
	struct sip s = sip_absorb(bytes, 0xee);
	s.v2 ^= 0xee;
	uint64_t lo = sip_finish(&s);
	s.v1 ^= 0xdd;
	return (struct hash128){ .lo = lo, .hi = sip_finish(&s) };
}
