/* verdict — who is primary, from what each node of a cluster said last.  Pure. */
#ifndef HA_VERDICT_H
#define HA_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum verdict_answer {
	VERDICT_UNKNOWN, /* not asked yet */
	VERDICT_PRIMARY, /* not in recovery */
	VERDICT_STANDBY, /* in recovery */
	VERDICT_REFUSED, /* it is there, but did not answer the question: bad password, too many connections … */
	VERDICT_FAILED,  /* not reached, lost, starting up or shutting down */
	VERDICT_FOREIGN, /* it answered, with another system identifier than the cluster's */
};
struct verdict_view {
	enum verdict_answer last;
	unsigned failures;  /* VERDICT_FAILED in a row */
	uint64_t system_id; /* as it said last; 0: never, or not visible */
};
struct verdict {
	int primary;        /* index, or -1: nobody knows */
	bool has_conflict;  /* more than one says that it is */
	const char *reason; /* why, for the log */
};

enum verdict_answer verdict_of_error(const struct err *err);
/* The system identifier that the cluster's nodes have, KNOWN so far or 0; 0: nobody can tell yet, or at all. */
uint64_t verdict_identity(const struct verdict_view *nodes, size_t n, uint64_t known);
/* RECORDED: who is taken for the primary so far, or -1. */
struct verdict verdict_primary(const struct verdict_view *nodes, size_t n, int recorded);

#endif
