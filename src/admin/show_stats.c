/*
 * show_stats — the views of counters: made, columns and rows, from tbl/counters.h.
 *
 * SHOW STATS has a row for each database that was ever used; what a pool has counted stays when the pool goes, so no counter ever falls.
 */
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "priv.h"

#define COLUMNS(id) .columns = id##_columns, .n_columns = ARRAY_LEN(id##_columns)

/* ---- a database's counters with its averages ------------------------------------------------------------------------ */

struct stats_item {
	char *database;
	struct pool_counts total, average;
};

static void free_items(struct items *items)
{
	struct stats_item *at = items->at;
	for (size_t i = 0; i < items->n; i++)
		mem_free(at[i].database);
	mem_free(at);
}

static void gather(const struct console *c, struct slice collected, struct items *items)
{
	struct tallies all;
	tallies_gather(c, TALLY_DATABASES, &all);
	struct stats_item *at = mem_alloc(all.n * sizeof *at);
	for (size_t i = 0; i < all.n; i++) {
		at[i].database = mem_text(all.at[i].name);
		at[i].total = all.at[i].counts;
		averages_of(consoles_averages(c->shared), all.at[i].name, &at[i].total, &at[i].average);
	}
	*items = (struct items){ .at = at, .n = all.n, .free = free_items };
	tallies_fini(&all);
}

static const struct stats_item *begin_row(struct table *t, const struct items *items, size_t i)
{
	const struct stats_item *it = &((const struct stats_item *)items->at)[i];
	table_row(t);
	table_text(t, it->database);
	return it;
}

#define WRITE_TOTAL(field, ...) table_int(t, (int64_t)it->total.field);
#define WRITE_AVERAGE(field, ...) table_int(t, (int64_t)it->average.field);

/* ---- STATS */

#define TOTAL_COLUMN(field, total, ...) { "total_" #total, COLUMN_NUMERIC },
#define AVERAGE_COLUMN(field, total, average, ...) { "avg_" #average, COLUMN_NUMERIC },
static const struct column stats_columns[] = {
	{ "database", COLUMN_TEXT },
	/* clang-format off */
	POOL_COUNTERS(TOTAL_COLUMN)
	POOL_COUNTERS(AVERAGE_COLUMN)
	/* clang-format on */
	{ "total_requests", COLUMN_NUMERIC }, /* as PgBouncer called it before 1.8: Debian's exporter still reads it */
};

static void stats_row(struct table *t, const struct items *items, size_t i)
{
	const struct stats_item *it = begin_row(t, items, i);
	POOL_COUNTERS(WRITE_TOTAL)
	POOL_COUNTERS(WRITE_AVERAGE)
	table_int(t, (int64_t)it->total.queries);
}
const struct view show_stats = { COLUMNS(stats), .gather = gather, .row = stats_row };

/* ---- STATS_TOTALS, STATS_AVERAGES: PgBouncer's names here are not those of STATS */

#define BARE_COLUMN(field, total, average, global, bare, ...) { #bare, COLUMN_NUMERIC },
#define BARE_AVERAGE_COLUMN(field, total, average, global, bare, bare_average, ...) { #bare_average, COLUMN_NUMERIC },
/* clang-format off */
static const struct column stats_totals_columns[] = { { "database", COLUMN_TEXT }, POOL_COUNTERS(BARE_COLUMN) };
static const struct column stats_averages_columns[] = { { "database", COLUMN_TEXT }, POOL_COUNTERS(BARE_AVERAGE_COLUMN) };
/* clang-format on */

static void stats_totals_row(struct table *t, const struct items *items, size_t i)
{
	const struct stats_item *it = begin_row(t, items, i);
	POOL_COUNTERS(WRITE_TOTAL)
}
const struct view show_stats_totals = { COLUMNS(stats_totals), .gather = gather, .row = stats_totals_row };

static void stats_averages_row(struct table *t, const struct items *items, size_t i)
{
	const struct stats_item *it = begin_row(t, items, i);
	POOL_COUNTERS(WRITE_AVERAGE)
}
const struct view show_stats_averages = { COLUMNS(stats_averages), .gather = gather, .row = stats_averages_row };

/* ---- TOTALS */

static const struct column totals_columns[] = { { "name", COLUMN_TEXT }, { "value", COLUMN_NUMERIC } };

static void total_row(struct table *t, const char *name, uint64_t value)
{
	table_row(t);
	table_text(t, name);
	table_int(t, (int64_t)value);
}

static void totals_rows(struct table *t)
{
	struct tallies all;
	struct pool_counts sum = { 0 }, average;
	tallies_gather(t->console, TALLY_DATABASES, &all);
	for (size_t i = 0; i < all.n; i++)
		pool_counts_add(&sum, &all.at[i].counts);
	tallies_fini(&all);
	averages_of(consoles_averages(t->console->shared), NULL, &sum, &average);
#define TOTAL_ROW(field, total, avg, global, ...) total_row(t, "total_" #global, sum.field);
	POOL_COUNTERS(TOTAL_ROW)
#define AVERAGE_ROW(field, total, avg, global, ...) total_row(t, "avg_" #global, average.field);
	POOL_COUNTERS(AVERAGE_ROW)
}
const struct view show_totals = { COLUMNS(totals), .rows = totals_rows };
