/*
 * show_policy — SHOW POLICY: what each cluster's policy did since it was put in force, and what became of it.
 */
#include <time.h>

#include "base/compiler.h"
#include "policy/set.h"
#include "priv.h"

static const struct column policy_columns[] = {
	{ "cluster", COLUMN_TEXT },      { "file", COLUMN_TEXT },       { "generation", COLUMN_INT8 }, { "loaded", COLUMN_TEXT },
	{ "breaker", COLUMN_TEXT },      { "calls", COLUMN_INT8 },      { "errors", COLUMN_INT8 },     { "call_ns", COLUMN_INT8 },
	{ "memory_bytes", COLUMN_INT8 }, { "last_error", COLUMN_TEXT }, { "refused", COLUMN_TEXT },
};

static void add_policy(void *arg, const struct policy_status *s)
{
	struct table *t = arg;
	char loaded[64];
	struct tm tm;
	time_t at = (time_t)s->loaded_at;
	strftime(loaded, sizeof loaded, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&at, &tm));
	table_row(t);
	table_text(t, s->cluster);
	table_text(t, s->file);
	table_int(t, (int64_t)s->generation);
	table_text(t, loaded);
	table_text(t, s->breaker == POLICY_BREAKER_OPEN ? "open" : "closed");
	table_int(t, (int64_t)s->calls);
	table_int(t, (int64_t)s->errors);
	table_int(t, (int64_t)s->call_ns);
	table_int(t, (int64_t)s->bytes);
	table_text(t, or_null(s->last_error));
	table_text(t, or_null(s->refused));
}

static void policy_rows(struct table *t)
{
	policy_set_each(t->console->topo->policies, add_policy, t);
}

const struct view show_policy = { .columns = policy_columns, .n_columns = ARRAY_LEN(policy_columns), .rows = policy_rows };
