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

/* "confirm 0, hold 1, choose 3". */
/* In the order in which they were reached; how many. */
static size_t steps_of(const struct record_operation *op, enum operation_step *out)
{
	size_t n = 0;
	out[n++] = operation_first_step(op->kind);
	for (unsigned i = STEP_NONE + 1; i < STEP_COUNT; i++) {
		if (!op->at_ms[i] || i == operation_first_step(op->kind))
			continue;
		size_t at = n++;
		for (; at > 0 && op->at_ms[out[at - 1]] > op->at_ms[i]; at--)
			out[at] = out[at - 1];
		out[at] = (enum operation_step)i;
	}
	return n;
}

static void put_steps(const struct record_operation *op, char *out, size_t room)
{
	enum operation_step steps[STEP_COUNT];
	size_t n = steps_of(op, steps), len = 0;
	out[0] = 0;
	for (size_t i = 0; i < n && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s %" PRIu32, len ? ", " : "", operation_step_word(steps[i]),
		                        op->at_ms[steps[i]]);
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
