/* clock — CLOCK_MONOTONIC through the vdso: no system call; or a time that a simulation keeps. */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

#include "base/compiler.h"

static _Thread_local const uint64_t *simulated; /* NULL: time is real */

uint64_t clock_us(void)
{
	return UNLIKELY(simulated) ? *simulated : clock_real_us();
}

void clock_simulate(const uint64_t *now_us)
{
	simulated = now_us;
}

uint64_t clock_real_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / 1000;
}
