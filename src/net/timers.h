/* timers — what is due when: a heap, private to the loop.  Setting and stopping one of n costs log n, asking for the first nothing. */
#ifndef NET_TIMERS_H
#define NET_TIMERS_H

#include "net/loop.h"

struct timers {
	struct timer_due *due;
	uint32_t n, cap;
};

#define TIMERS_NEVER UINT64_MAX
void timers_fini(struct timers *ts);
void timers_set(struct timers *ts, struct loop_timer *t, uint64_t at_us); /* moves it if it runs */
void timers_stop(struct timers *ts, struct loop_timer *t);                /* fine when not running */
uint64_t timers_first_us(const struct timers *ts);
struct loop_timer *timers_pop(struct timers *ts, uint64_t now_us); /* one that is due by then, stopped; NULL: none */

#endif
