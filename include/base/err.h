/*
 * err — why something failed, in words that a person can act on.
 *
 * The last parameter of whatever can fail and has something to say.  It carries
 * an SQLSTATE because most errors end as an ErrorResponse; those that do not
 * (configuration, start-up) leave it "XX000" or use F0000 (config_file_error).
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/compiler.h"

struct err {
	char sqlstate[6];
	char text[400];
	char detail[600]; /* "" if there is none */
	char hint[200];   /* "" if there is none */
};

/* Fills ERR (may be NULL) and returns false, so that `return err_set(…)` reads well. */
bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4);
void err_detail(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
