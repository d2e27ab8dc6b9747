/*
 * show_metrics — SHOW METRICS: what policies have measured.
 */
#include <stdio.h>
#include <time.h>

#include "base/compiler.h"
#include "hooks/hooks.h"
#include "priv.h"

static const struct column metrics_columns[] = {
	{ "cluster", COLUMN_TEXT },
	{ "name", COLUMN_TEXT },
	{ "value", COLUMN_TEXT },
	{ "set", COLUMN_TEXT },
};

static void add_metric(void *arg, const struct hook_metric *m)
{
	struct table *t = arg;
	char value[40], set[64];
	struct tm tm;
	time_t at = (time_t)m->set_at;
	strftime(set, sizeof set, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&at, &tm));
	snprintf(value, sizeof value, "%.15g", m->value);
	table_row(t);
	table_text(t, m->cluster);
	table_text(t, m->name);
	table_text(t, value);
	table_text(t, set);
}

static void metrics_rows(struct table *t)
{
	if (t->console->hooks)
		hooks_each_metric(t->console->hooks, add_metric, t);
}

const struct view show_metrics = { .columns = metrics_columns, .n_columns = ARRAY_LEN(metrics_columns), .rows = metrics_rows };
