/*
 * show_tasks — SHOW TASKS: what policies do in the control plane, and what they did of late.
 */
#include <time.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "hooks/hooks.h"
#include "priv.h"

static const struct column tasks_columns[] = {
	{ "id", COLUMN_INT8 },        { "cluster", COLUMN_TEXT }, { "kind", COLUMN_TEXT },        { "name", COLUMN_TEXT },
	{ "state", COLUMN_TEXT },     { "began", COLUMN_TEXT },   { "duration_ms", COLUMN_INT8 }, { "waits_for", COLUMN_TEXT },
	{ "last_line", COLUMN_TEXT }, { "error", COLUMN_TEXT },
};

static void add_task(void *arg, const struct hook_row *r)
{
	static const char *const states[] = { "running", "done", "failed", "stopped" };
	struct table *t = arg;
	char began[64];
	struct tm tm;
	time_t at = (time_t)r->began_at;
	strftime(began, sizeof began, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&at, &tm));
	table_row(t);
	table_int(t, (int64_t)r->id);
	table_text(t, r->cluster);
	table_text(t, r->kind);
	table_text(t, r->name);
	table_text(t, states[r->state]);
	table_text(t, began);
	table_int(t, (int64_t)(r->took_us / US_PER_MS));
	table_text(t, or_null(r->waits_for));
	table_text(t, or_null(r->last_line));
	table_text(t, or_null(r->error));
}

static void tasks_rows(struct table *t)
{
	if (t->console->hooks)
		hooks_each(t->console->hooks, add_task, t);
}

const struct view show_tasks = { .columns = tasks_columns, .n_columns = ARRAY_LEN(tasks_columns), .rows = tasks_rows };
