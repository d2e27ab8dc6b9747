/* Any bytes, cut anywhere: the verdict is that of the whole, names lie inside the text, and a shape can be read again. */
#include "../../src/sql/shape.h"
#include "base/compiler.h"
#include "fuzz.h"
#include "sql/classify.h"

static bool verdict(struct slice text, size_t piece, struct sql_dialect dialect)
{
	struct sql_scan s;
	sql_scan_init(&s, dialect);
	for (size_t at = 0; at < text.len; at += piece)
		sql_scan_feed(&s, slice_of(text.at + at, text.len - at < piece ? text.len - at : piece));
	return sql_scan_is_harmless(&s);
}

static void check_names(struct slice text, struct sql_dialect dialect)
{
	struct sql_name_at at[4];
	unsigned n = sql_prepared_names(text, dialect, at, ARRAY_LEN(at));
	for (unsigned i = 0; i < n && i < ARRAY_LEN(at); i++)
		CHECK(at[i].len > 0 && at[i].at + (size_t)at[i].len <= text.len && (i == 0 || at[i].at >= at[i - 1].at + at[i - 1].len));
}

static void check_shape(struct slice text, struct sql_dialect dialect)
{
	static struct shape once, twice;
	if (shape_make(&once, text, dialect) != SHAPE_OK)
		return;
	CHECK(once.len <= SQL_PARSE_MAX && once.text[once.len] == 0);
	/* A shape is a text that can be read again. */
	dialect.backslash_quotes = false;
	CHECK(shape_make(&twice, slice_of(once.text, once.len), dialect) != SHAPE_OPAQUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct sql_dialect dialect = { .backslash_quotes = data[0] & 1, .unsafe_encoding = data[0] & 2 };
	size_t piece = 1 + data[1] % 32u;
	struct slice text = slice_of(data + 2, size - 2);
	CHECK(verdict(text, piece, dialect) == verdict(text, text.len + 1, dialect));
	check_names(text, dialect);
	check_shape(text, dialect);
	return 0;
}
