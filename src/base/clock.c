/* clock — CLOCK_MONOTONIC through the vdso: no system call. */
#include "base/clock.h"

#include <time.h>

uint64_t clock_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / 1000;
}
