/* printout — what a command answered, message by message, and that as a person, a program or JSON wants it: the far half of `lunapool ctl`. */
#ifndef ADMIN_PRINTOUT_H
#define ADMIN_PRINTOUT_H

#include <stdio.h>

#include "wire/frame.h"

struct printout {
	unsigned n_columns;
	char **names;
	uint32_t *types;
	size_t n_rows, cap;
	char **cells; /* NULL: SQL NULL */
	char *tag;    /* NULL: the command has not ended */
	char *error;  /* what it refused it with, a line each for message, detail and hint; NULL: it did not */
};
void printout_init(struct printout *p);
void printout_fini(struct printout *p);
bool printout_take(struct printout *p, const struct frame *f) MUST_CHECK; /* whole; false: it is malformed, or out of place */

enum printout_style { PRINTOUT_LINES, PRINTOUT_TABLE, PRINTOUT_JSON };
void printout_print(const struct printout *p, enum printout_style style, FILE *to);

#endif
