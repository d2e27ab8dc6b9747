/* clock — monotonic microseconds.  Loops cache it: prefer loop_now_us() inside a callback. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define US_PER_MS 1000ull
#define US_PER_S  1000000ull

uint64_t clock_us(void);
uint64_t clock_real_us(void);
/* From now on clock_us() is *NOW_US in this thread; NULL: the real one again. */
void clock_simulate(const uint64_t *now_us);

#endif
