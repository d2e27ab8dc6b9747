/*
 * hash — SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), 64 and 128 bits; and hash_place().
 *
 * hash_place() takes 16 bytes with one multiplication of 64 by 64 bits whose halves are folded together.  It is no PRF: who saw its values could
 * compute the key.  Nobody does, and without it an attacker has to guess 64 bits to make a factor zero or two products alike; hash tables of
 * languages that must withstand chosen keys rest on the same construction (Go's memhash without AES).  So it serves where a collision only costs
 * time; what stands for the bytes themselves (names of statements, scopes) is SipHash.
 *
 * The keys are the one piece of state; they are written before threads start and only read afterwards.
 */
#include "base/hash.h"

#include <stddef.h>

#include "base/rand.h"

static uint64_t hash_key[2], place_key[3];

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline uint64_t load(const uint8_t *at)
{
	uint64_t x;
	memcpy(&x, at, sizeof x);
	return x;
}

static inline uint64_t load_le(const uint8_t *at)
{
	uint64_t x = load(at);
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

uint64_t hash64(struct slice bytes)
{
	struct sip s = sip_absorb(bytes, 0);
	s.v2 ^= 0xff;
	return sip_finish(&s);
}

void hash_init(void)
{
	rand_bytes(hash_key, sizeof hash_key);
	rand_bytes(place_key, sizeof place_key);
}

void hash_init_key(const uint8_t key[16])
{
	hash_key[0] = load_le(key);
	hash_key[1] = load_le(key + 8);
	for (unsigned i = 0; i < 3; i++)
		place_key[i] = hash64(slice_of(&i, sizeof i));
}

struct hash128 hash128(struct slice bytes)
{
	struct sip s = sip_absorb(bytes, 0xee);
	s.v2 ^= 0xee;
	uint64_t lo = sip_finish(&s);
	s.v1 ^= 0xdd;
	return (struct hash128){ .lo = lo, .hi = sip_finish(&s) };
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Up to 7 bytes. */
static inline uint64_t load_few(const uint8_t *at, size_t n)
{
	uint32_t head, tail;
	if (n < 4)
		return n ? (uint64_t)at[0] << 16 | (uint64_t)at[n / 2] << 8 | at[n - 1] : 0;
	memcpy(&head, at, sizeof head);
	memcpy(&tail, at + n - 4, sizeof tail);
	return (uint64_t)head << 32 | tail;
}

uint64_t hash_place(struct slice bytes)
{
	const uint8_t *at = bytes.at;
	size_t n = bytes.len;
	uint64_t h = place_key[0] ^ n, first, last = 0;
	for (; n > 16; n -= 16, at += 16)
		h = fold(load(at) ^ place_key[1], load(at + 8) ^ h);
	first = n < 8 ? load_few(at, n) : load(at);
	if (n >= 8)
		last = load(at + n - 8);
	h = fold(first ^ place_key[1], last ^ h);
	return fold(h ^ place_key[2], place_key[1]);
}
