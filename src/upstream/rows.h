/* rows — see rows.c; private to this folder. */
#ifndef ROWS_H
#define ROWS_H

#include <libpq-fe.h>

#include "base/compiler.h"
#include "upstream/world.h"

PGresult *rows_make(const struct world_reply *r) MUST_CHECK;

#endif
