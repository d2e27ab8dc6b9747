/*
 * table — a result as the protocol wants it: RowDescription, DataRows in text format, CommandComplete
 * (PostgreSQL protocol, "Message Formats").
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "priv.h"

static int16_t type_size(enum column_type type)
{
	return type == COLUMN_INT8 ? 8 : type == COLUMN_INT4 ? 4 : -1;
}

void table_begin(struct table *t, struct writer *w, const struct column *columns, unsigned n)
{
	t->w = w;
	t->n_columns = t->n_cells = n;
	t->n_rows = 0;
	writer_begin(w, 'T');
	writer_u16(w, (uint16_t)n);
	for (unsigned i = 0; i < n; i++) {
		writer_text(w, columns[i].name);
		writer_u32(w, 0); /* of no table … */
		writer_u16(w, 0); /* … and no column of it */
		writer_u32(w, columns[i].type);
		writer_u16(w, (uint16_t)type_size(columns[i].type));
		writer_u32(w, UINT32_MAX); /* no type modifier */
		writer_u16(w, 0);          /* text format */
	}
	writer_end(w);
}

static void row_end(struct table *t)
{
	ASSERT(t->n_cells == t->n_columns);
	if (t->n_rows > 0)
		writer_end(t->w);
}

void table_row(struct table *t)
{
	row_end(t);
	t->n_rows++;
	t->n_cells = 0;
	writer_begin(t->w, 'D');
	writer_u16(t->w, (uint16_t)t->n_columns);
}

void table_text(struct table *t, const char *text)
{
	t->n_cells++;
	if (!text) {
		writer_u32(t->w, UINT32_MAX);
		return;
	}
	struct slice bytes = slice_text(text);
	writer_u32(t->w, (uint32_t)bytes.len);
	writer_bytes(t->w, bytes);
}

void table_int(struct table *t, int64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRId64, value);
	table_text(t, text);
}

void table_yes(struct table *t, bool value)
{
	table_text(t, value ? "yes" : "no");
}

void table_end(struct table *t, const char *command)
{
	row_end(t);
	writer_begin(t->w, 'C');
	writer_text(t->w, command);
	writer_end(t->w);
}
