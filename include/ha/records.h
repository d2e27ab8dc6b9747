/*
 * records — what the clusters' records say now, and why an operation waits: put here by their keepers, looked at by any thread.
 */
#ifndef HA_RECORDS_H
#define HA_RECORDS_H

#include "ha/record.h"

struct records;
struct records *records_new(void);
void records_free(struct records *rs);
/* Control thread.  STUCK: why its operation does not go on; NULL: it does.  NOW_MS: how long it takes so far. */
void records_put(struct records *rs, const struct record *r, const char *stuck, uint64_t now_ms);
void records_drop(struct records *rs, const char *cluster);
/* Any thread; FN runs under a lock, so it only copies.  RS NULL: there are none. */
struct records_view {
	const struct record *record;
	const char *stuck; /* NULL */
	uint64_t now_ms;   /* since its operation began */
};
void records_each(struct records *rs, void (*fn)(void *arg, const struct records_view *view), void *arg);

#endif
