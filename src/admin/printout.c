/*
 * printout — see the header.
 *
 * Always: a row has as many cells as there are columns, so what is printed never depends on more than what came.
 */
#include "admin/printout.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

#define OID_INT8 20
#define OID_INT4 23
#define OID_NUMERIC 1700
#define COLUMNS_MAX 1664 /* of any table in PostgreSQL */

void printout_init(struct printout *p)
{
	*p = (struct printout){ 0 };
}

void printout_fini(struct printout *p)
{
	for (size_t i = 0; i < p->n_rows * p->n_columns; i++)
		mem_free(p->cells[i]);
	for (unsigned i = 0; i < p->n_columns; i++)
		mem_free(p->names[i]);
	mem_free(p->cells);
	mem_free(p->names);
	mem_free(p->types);
	mem_free(p->tag);
	mem_free(p->error);
}

/* ---- messages ------------------------------------------------------------------------------------------------------------------ */

static char *text_of(struct slice s)
{
	return mem_textn((const char *)s.at, s.len);
}

static bool take_columns(struct printout *p, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	unsigned n = reader_u16(&r);
	if (p->names || n > COLUMNS_MAX)
		return false;
	p->names = mem_alloc((n + 1) * sizeof *p->names);
	p->types = mem_alloc((n + 1) * sizeof *p->types);
	for (unsigned i = 0; i < n; i++) {
		p->names[i] = text_of(reader_text(&r));
		reader_bytes(&r, 6);
		p->types[i] = reader_u32(&r);
		reader_bytes(&r, 8);
	}
	p->n_columns = n;
	return reader_done(&r);
}

static char **new_row(struct printout *p)
{
	if (p->n_rows == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 16;
		p->cells = mem_grow(p->cells, p->cap * p->n_columns * sizeof *p->cells);
	}
	char **row = &p->cells[p->n_rows++ * p->n_columns];
	memset(row, 0, p->n_columns * sizeof *row);
	return row;
}

static bool take_row(struct printout *p, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	if (!p->n_columns || reader_u16(&r) != p->n_columns)
		return false;
	char **row = new_row(p);
	for (unsigned i = 0; i < p->n_columns; i++) {
		int32_t len = reader_i32(&r);
		row[i] = len < 0 ? NULL : text_of(reader_bytes(&r, (size_t)len));
	}
	return reader_done(&r);
}

static bool take_tag(struct printout *p, struct slice body)
{
	struct reader r;
	reader_init(&r, body);
	mem_free(p->tag);
	p->tag = text_of(reader_text(&r));
	return reader_done(&r);
}

static void add_line(char **text, const char *head, struct slice line)
{
	char *more = NULL;
	if (!line.len)
		return;
	if (asprintf(&more, "%s%s%s%.*s", *text ? *text : "", *text ? "\n" : "", head, (int)line.len, (const char *)line.at) < 0)
		return;
	mem_free(*text);
	*text = mem_text(more);
	free(more);
}

static bool take_error(struct printout *p, struct slice body)
{
	struct pgerr e;
	if (!pgerr_read(body, &e))
		return false;
	mem_free(p->error);
	p->error = NULL;
	add_line(&p->error, "", e.message.len ? e.message : slice_text("it failed, and does not say why"));
	add_line(&p->error, "detail: ", e.detail);
	add_line(&p->error, "hint: ", e.hint);
	return true;
}

bool printout_take(struct printout *p, const struct frame *f)
{
	switch (f->type) {
	case 'T':
		return take_columns(p, f->body);
	case 'D':
		return take_row(p, f->body);
	case 'C':
		return take_tag(p, f->body);
	case 'E':
		return take_error(p, f->body);
	case 'I': /* EmptyQueryResponse */
		mem_free(p->tag);
		p->tag = mem_text("");
		return true;
	default: /* a NOTICE, what the login tells, ReadyForQuery */
		return true;
	}
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------ */

static bool is_number(const struct printout *p, unsigned column)
{
	return p->types[column] == OID_INT4 || p->types[column] == OID_INT8 || p->types[column] == OID_NUMERIC;
}

static const char *cell(const struct printout *p, size_t row, unsigned column)
{
	return p->cells[row * p->n_columns + column];
}

static json_t *json_cell(const struct printout *p, size_t row, unsigned column)
{
	const char *text = cell(p, row, column);
	char *end;
	if (!text)
		return json_null();
	long long number = strtoll(text, &end, 10);
	if (is_number(p, column) && *text && !*end)
		return json_integer(number);
	json_t *value = json_string(text);
	return value ? value : json_string("(not UTF-8)");
}

static json_t *json_rows(const struct printout *p)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < p->n_rows; i++) {
		json_t *row = json_object();
		for (unsigned k = 0; k < p->n_columns; k++)
			json_object_set_new(row, p->names[k], json_cell(p, i, k));
		json_array_append_new(rows, row);
	}
	return rows;
}

static void print_json(const struct printout *p, FILE *to)
{
	json_t *answer = p->n_columns ? json_rows(p) : json_object();
	if (!p->n_columns)
		json_object_set_new(answer, "done", json_string(p->tag ? p->tag : ""));
	json_dumpf(answer, to, JSON_INDENT(1));
	putc('\n', to);
	json_decref(answer);
}

/* ---- for a person: columns under each other ---------------------------------------------------------------------------------------- */

/* Characters, as wide as a terminal shows most of them. */
static int width_of(const char *text)
{
	int n = 0;
	for (; text && *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

/* What a terminal would take for an order, or for another row, is shown as a question mark: an application's name is anybody's choice. */
static void print_shown(const char *text, FILE *to)
{
	for (; *text; text++)
		putc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, to);
}

static void print_cell(const char *text, int width, bool is_right, bool is_last, FILE *to)
{
	int gap = width - width_of(text);
	text = text ? text : "";
	if (is_right)
		fprintf(to, "%*s", gap, "");
	print_shown(text, to);
	if (!is_right && !is_last)
		fprintf(to, "%*s", gap, "");
	fputs(is_last ? "\n" : "  ", to);
}

static void print_table(const struct printout *p, FILE *to)
{
	int *widths = mem_alloc(p->n_columns * sizeof *widths);
	for (unsigned k = 0; k < p->n_columns; k++) {
		widths[k] = width_of(p->names[k]);
		for (size_t i = 0; i < p->n_rows; i++)
			widths[k] = width_of(cell(p, i, k)) > widths[k] ? width_of(cell(p, i, k)) : widths[k];
	}
	for (unsigned k = 0; k < p->n_columns; k++)
		print_cell(p->names[k], widths[k], is_number(p, k), k + 1 == p->n_columns, to);
	for (size_t i = 0; i < p->n_rows; i++)
		for (unsigned k = 0; k < p->n_columns; k++)
			print_cell(cell(p, i, k), widths[k], is_number(p, k), k + 1 == p->n_columns, to);
	mem_free(widths);
}

/* ---- for a program: a line a row, tabs between cells; those inside cells become blanks ------------------------------------------------ */

static void print_line_cell(const char *text, bool is_last, FILE *to)
{
	for (; text && *text; text++)
		putc(*text == '\t' || *text == '\n' || *text == '\r' ? ' ' : *text, to);
	putc(is_last ? '\n' : '\t', to);
}

static void print_lines(const struct printout *p, FILE *to)
{
	for (unsigned k = 0; k < p->n_columns; k++)
		print_line_cell(p->names[k], k + 1 == p->n_columns, to);
	for (size_t i = 0; i < p->n_rows; i++)
		for (unsigned k = 0; k < p->n_columns; k++)
			print_line_cell(cell(p, i, k), k + 1 == p->n_columns, to);
}

void printout_print(const struct printout *p, enum printout_style style, FILE *to)
{
	if (style == PRINTOUT_JSON)
		print_json(p, to);
	else if (!p->n_columns)
		fprintf(to, "%s\n", p->tag ? p->tag : "");
	else if (style == PRINTOUT_TABLE)
		print_table(p, to);
	else
		print_lines(p, to);
}
