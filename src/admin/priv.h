/* admin's own: a result table being written, and the views that fill one. */
#ifndef ADMIN_PRIV_H
#define ADMIN_PRIV_H

#include <stdint.h>

#include "admin/console.h"
#include "tbl/commands.h"

/* PostgreSQL's type OIDs; monitoring tools tell labels from figures by them. */
enum column_type { COLUMN_INT8 = 20, COLUMN_INT4 = 23, COLUMN_TEXT = 25, COLUMN_NUMERIC = 1700 };
struct column {
	const char *name;
	enum column_type type;
};

struct table {
	struct writer *w;
	const struct console *console; /* for the views */
	unsigned n_columns, n_cells;   /* cells of the row under way */
	uint64_t n_rows;
};
void table_begin(struct table *t, struct writer *w, const struct column *columns, unsigned n);
void table_row(struct table *t);                    /* then exactly one cell for each column, in order */
void table_text(struct table *t, const char *text); /* NULL is SQL NULL */
void table_int(struct table *t, int64_t value);
void table_yes(struct table *t, bool value); /* "yes" or "no" */
/* CommandComplete for COMMAND, such as "SHOW". */
void table_end(struct table *t, const char *command);

struct view {
	const struct column *columns;
	unsigned n_columns;
	void (*rows)(struct table *t);
};
#define VIEW_DECLARE(id, word, sentence) extern const struct view show_##id;
COMMANDS_SHOW(VIEW_DECLARE)

#endif
