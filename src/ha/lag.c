/*
 * lag — marks of the primary's way, newest last.
 *
 * When there is no room, the one goes whose loss hurts least: where the gap that it leaves is smallest for its age.  So gaps come to be in
 * proportion to the age, and a day's lag is known within a few hundredths.  A mark that is missing makes the lag look longer, never shorter.
 *
 * Always: at_us rises and lsn rises strictly from mark to mark.
 */
#include "ha/lag.h"

#include <string.h>

static void thin_out(struct lag_track *t)
{
	const struct lag_mark *m = t->marks;
	uint64_t newest_us = m[t->n - 1].at_us;
	size_t least = 1;
	double least_gap = 1;
	for (size_t i = 1; i + 1 < t->n; i++) {
		double gap = (double)(m[i + 1].at_us - m[i - 1].at_us) / (double)(newest_us - m[i - 1].at_us);
		if (gap < least_gap) {
			least = i;
			least_gap = gap;
		}
	}
	t->n--;
	memmove(&t->marks[least], &t->marks[least + 1], (t->n - least) * sizeof t->marks[0]);
}

void lag_note(struct lag_track *t, uint64_t at_us, uint64_t lsn)
{
	while (t->n > 0 && t->marks[t->n - 1].lsn > lsn) /* a crash has cost it what nobody had waited for */
		t->n--;
	if (t->n > 0 && t->marks[t->n - 1].lsn == lsn) {
		t->marks[t->n - 1].at_us = at_us;
		return;
	}
	if (t->n == LAG_MARKS)
		thin_out(t);
	t->marks[t->n++] = (struct lag_mark){ at_us, lsn };
}

void lag_forget(struct lag_track *t)
{
	t->n = 0;
}

/* How many marks are not beyond LSN. */
static size_t reached(const struct lag_track *t, uint64_t lsn)
{
	size_t low = 0, high = t->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (t->marks[middle].lsn <= lsn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t since(uint64_t at_us, uint64_t now_us)
{
	return now_us > at_us ? now_us - at_us : 0;
}

struct lag lag_of(const struct lag_track *t, uint64_t lsn, uint64_t replay_age_us, uint64_t patience_us, uint64_t now_us)
{
	if (t->n == 0 || lsn == 0)
		return (struct lag){ LAG_UNKNOWN, LAG_UNKNOWN };
	size_t at = reached(t, lsn);
	const struct lag_mark *newest = &t->marks[t->n - 1];
	if (patience_us == LAG_UNKNOWN) /* nobody writes: nothing ages */
		now_us = newest->at_us;
	if (at == t->n) {
		uint64_t silence = since(newest->at_us, now_us);
		return (struct lag){ 0, silence > patience_us ? silence : 0 };
	}
	uint64_t bytes = newest->lsn - lsn;
	return (struct lag){ bytes, at > 0 ? since(t->marks[at - 1].at_us, now_us) : replay_age_us };
}
