/*
 * show_operations — SHOW OPERATIONS: what is done with each cluster now, and what was done, why, and how long each step took.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/compiler.h"
#include "ha/records.h"
#include "priv.h"

static const struct column operations_columns[] = {
	{ "cluster", COLUMN_TEXT }, { "id", COLUMN_INT8 },         { "kind", COLUMN_TEXT },        { "state", COLUMN_TEXT },
	{ "step", COLUMN_TEXT },    { "source", COLUMN_TEXT },     { "target", COLUMN_TEXT },      { "epoch", COLUMN_INT8 },
	{ "attempt", COLUMN_INT4 }, { "began", COLUMN_TEXT },      { "duration_ms", COLUMN_INT8 }, { "steps_ms", COLUMN_TEXT },
	{ "reason", COLUMN_TEXT },  { "candidates", COLUMN_TEXT }, { "waits_for", COLUMN_TEXT },
};

/* The table of steps has those of a failover first. */
static unsigned rank(unsigned step)
{
	return step == STEP_DRAIN ? 2 * STEP_CONFIRM + 1 : 2 * step;
}

static bool comes_before(const struct record_operation *op, unsigned a, unsigned b)
{
	return op->at_ms[a] != op->at_ms[b] ? op->at_ms[a] < op->at_ms[b] : rank(a) < rank(b);
}

/* In the order in which they were reached; how many. */
static size_t steps_of(const struct record_operation *op, enum operation_step *out)
{
	size_t n = 0;
	for (unsigned i = STEP_NONE + 1; i < STEP_COUNT; i++) {
		if (!op->at_ms[i])
			continue;
		size_t at = n++;
		for (; at > 0 && comes_before(op, i, out[at - 1]); at--)
			out[at] = out[at - 1];
		out[at] = (enum operation_step)i;
	}
	return n;
}

/* "confirm 0, hold 1, choose 3". */
static void put_steps(const struct record_operation *op, char *out, size_t room)
{
	enum operation_step steps[STEP_COUNT];
	size_t n = steps_of(op, steps), len = 0;
	out[0] = 0;
	for (size_t i = 0; i < n && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s %" PRIu32, len ? ", " : "", operation_step_word(steps[i]),
		                        op->at_ms[steps[i]] - 1);
}

static void operation_row(struct table *t, const struct records_view *v, const struct record_operation *op)
{
	char began[64], steps[300];
	struct tm tm;
	time_t at = (time_t)op->began_s;
	bool is_open = op->end == END_NONE;
	strftime(began, sizeof began, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&at, &tm));
	put_steps(op, steps, sizeof steps);
	table_row(t);
	table_text(t, v->record->cluster);
	table_int(t, (int64_t)op->id);
	table_text(t, operation_kind_word(op->kind));
	table_text(t, is_open ? "under way" : operation_end_word(op->end));
	table_text(t, operation_step_word(op->step));
	table_text(t, op->source);
	table_text(t, or_null(op->target));
	table_int(t, (int64_t)op->epoch);
	table_int(t, op->attempt);
	table_text(t, began);
	table_int(t, (int64_t)(is_open ? v->now_ms : op->took_ms));
	table_text(t, steps);
	table_text(t, op->why);
	table_text(t, or_null(op->judged));
	table_text(t, is_open ? v->stuck : NULL);
}

/* Somebody has to say that it may be begun. */
static void awaited_row(struct table *t, const struct records_view *v)
{
	table_row(t);
	table_text(t, v->record->cluster);
	table_null(t);
	table_text(t, operation_kind_word(OPERATION_FAILOVER));
	table_text(t, "awaited");
	table_text(t, NULL);
	table_text(t, v->record->primary);
	table_text(t, NULL);
	table_int(t, (int64_t)v->record->epoch);
	table_int(t, 0);
	for (int i = 0; i < 5; i++)
		table_text(t, NULL);
	table_text(t, v->stuck);
}

static void add_record(void *arg, const struct records_view *v)
{
	if (!v->record->op.id && v->stuck)
		awaited_row(arg, v);
	if (v->record->op.id)
		operation_row(arg, v, &v->record->op);
	for (size_t i = 0; i < v->record->n_past; i++)
		operation_row(arg, v, &v->record->past[i]);
}

static void operations_rows(struct table *t)
{
	records_each(t->console->records, add_record, t);
}

const struct view show_operations = { .columns = operations_columns,
	                                  .n_columns = ARRAY_LEN(operations_columns),
	                                  .rows = operations_rows };
