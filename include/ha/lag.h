/*
 * lag — how far standbys are behind their primary, by a memory of where it was when.  Pure.
 *
 * The age of what a standby shows is the time since the primary was last seen at or before the place that the standby has replayed: it
 * grows while the standby lags, or the primary is not heard of, and not while the primary has nothing to write.
 */
#ifndef HA_LAG_H
#define HA_LAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAG_UNKNOWN UINT64_MAX
#define LAG_MARKS 256u

struct lag_mark {
	uint64_t at_us, lsn;
};
struct lag_track {
	struct lag_mark marks[LAG_MARKS]; /* both rise; what is older lies further apart */
	size_t n;
};
struct lag {
	uint64_t bytes, us; /* LAG_UNKNOWN */
};

/* The primary was at LSN when it was asked at AT_US. */
void lag_note(struct lag_track *t, uint64_t at_us, uint64_t lsn);
void lag_forget(struct lag_track *t); /* another primary, another timeline */
/*
 * Of a standby that has replayed up to LSN.  REPLAY_AGE_US (or LAG_UNKNOWN) counts where the memory does not reach back so far.
 * PATIENCE_US: a primary that was heard of this long ago counts as heard of now; LAG_UNKNOWN: there is none that could write.
 */
struct lag lag_of(const struct lag_track *t, uint64_t lsn, uint64_t replay_age_us, uint64_t patience_us, uint64_t now_us);

#endif
