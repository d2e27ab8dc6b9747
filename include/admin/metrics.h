/* metrics — what the program knows of itself, in the text format of Prometheus (version 0.0.4): the rows of tbl/metrics.h. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include <stddef.h>

#include "admin/console.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Of C: topo, pool_registry, session_registry, records, hooks.  malloc()ed, of *LEN bytes.  Any thread that may hold C's topo. */
char *metrics_page(const struct console *c, size_t *len);
void metrics_print_manual(int fd); /* markdown */

#endif
