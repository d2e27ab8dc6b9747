/*
 * table — columns and rows as the protocol wants them: RowDescription, and DataRows in text or binary format (PostgreSQL protocol, "Message
 * Formats"; the binary forms are those of int4send, int8send and numeric_send).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "priv.h"

#define NUMERIC_BASE 10000
#define NUMERIC_NEGATIVE 0x4000

static int16_t type_size(enum column_type type)
{
	return type == COLUMN_INT8 ? 8 : type == COLUMN_INT4 ? 4 : -1;
}

static bool is_binary(struct formats f, unsigned column)
{
	return f.binary >> column & 1;
}

void table_describe(struct writer *w, const struct column *columns, unsigned n, struct formats formats)
{
	writer_begin(w, 'T');
	writer_u16(w, (uint16_t)n);
	for (unsigned i = 0; i < n; i++) {
		writer_text(w, columns[i].name);
		writer_u32(w, 0); /* of no table … */
		writer_u16(w, 0); /* … and no column of it */
		writer_u32(w, columns[i].type);
		writer_u16(w, (uint16_t)type_size(columns[i].type));
		writer_u32(w, UINT32_MAX); /* no type modifier */
		writer_u16(w, is_binary(formats, i));
	}
	writer_end(w);
}

void table_init(struct table *t, struct writer *w, const struct console *c, const struct column *columns, unsigned n,
                struct formats formats)
{
	ASSERT(n <= COLUMNS_MAX);
	*t = (struct table){ .w = w, .console = c, .columns = columns, .formats = formats, .n_columns = n, .n_cells = n };
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

void table_null(struct table *t)
{
	t->n_cells++;
	writer_u32(t->w, UINT32_MAX);
}

static void write_text(struct table *t, struct slice bytes)
{
	t->n_cells++;
	writer_u32(t->w, (uint32_t)bytes.len);
	writer_bytes(t->w, bytes);
}

void table_text(struct table *t, const char *text)
{
	if (text)
		write_text(t, slice_text(text));
	else
		table_null(t);
}

static void write_numeric(struct writer *w, int64_t value)
{
	uint16_t digits[5] = { 0 };
	unsigned n = 0;
	for (uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value; rest; rest /= NUMERIC_BASE)
		digits[n++] = (uint16_t)(rest % NUMERIC_BASE);
	writer_u32(w, 8 + 2 * n);
	writer_u16(w, (uint16_t)n);
	writer_u16(w, n ? (uint16_t)(n - 1) : 0); /* weight of the first digit */
	writer_u16(w, value < 0 ? NUMERIC_NEGATIVE : 0);
	writer_u16(w, 0); /* digits behind the point */
	while (n)
		writer_u16(w, digits[--n]);
}

static void write_binary(struct table *t, enum column_type type, int64_t value)
{
	struct writer *w = t->w;
	t->n_cells++;
	if (type == COLUMN_NUMERIC) {
		write_numeric(w, value);
		return;
	}
	writer_u32(w, type == COLUMN_INT8 ? 8 : 4);
	if (type == COLUMN_INT8)
		writer_u32(w, (uint32_t)((uint64_t)value >> 32));
	writer_u32(w, (uint32_t)value);
}

/* An int4 holds no more than that: what is larger is shown as the largest. */
static int64_t fitting(enum column_type type, int64_t value)
{
	return type != COLUMN_INT4 ? value : value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value;
}

void table_int(struct table *t, int64_t value)
{
	char text[24];
	enum column_type type = t->columns[t->n_cells].type;
	value = fitting(type, value);
	if (type != COLUMN_TEXT && is_binary(t->formats, t->n_cells)) {
		write_binary(t, type, value);
		return;
	}
	write_text(t, slice_of(text, (size_t)snprintf(text, sizeof text, "%" PRId64, value)));
}

void table_yes(struct table *t, bool value)
{
	table_text(t, value ? "yes" : "no");
}

void table_end(struct table *t)
{
	row_end(t);
	t->n_cells = t->n_columns;
}
