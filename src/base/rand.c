/*
 * rand — getrandom(2) for secrets; splitmix64 for choices.
 *
 * splitmix64 walks all 2^64 states and passes the usual statistical tests; its state is one word per thread.
 */
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"

void rand_bytes(void *out, size_t len)
{
	for (uint8_t *at = out; len > 0;) {
		ssize_t n = getrandom(at, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("no random bytes from the kernel: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

static _Thread_local uint64_t state;
static _Thread_local bool is_seeded;

void rand_seed(uint64_t seed)
{
	state = seed;
	is_seeded = true;
}

uint64_t rand_fast(void)
{
	if (UNLIKELY(!is_seeded)) {
		rand_bytes(&state, sizeof state);
		is_seeded = true;
	}
	uint64_t x = state += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}
