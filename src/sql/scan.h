/* scan — what can be said of a text that is not parsed. */
#ifndef SQL_SCAN_H
#define SQL_SCAN_H

#include "sql/classify.h"

struct scan_verdict {
	enum sql_kind kind; /* by its first word; SQL_OPAQUE when anything speaks against it */
	uint32_t effects;   /* at least SQL_WRITES */
};

/* Wider than sql_scan_is_harmless(): also lets CREATE, ALTER, DROP and the like pass, with every effect that they may have. */
struct scan_verdict scan_judge(const struct sql_scan *s);

#endif
