/* show — a class as one line of text, so that tests can be tables of text and expectation. */
#ifndef SHOW_H
#define SHOW_H

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "sql/class.h"

static const char *const show_kinds[] = {
	"other",     "opaque",   "select",      "insert",         "update",          "delete",       "merge",
	"copy_in",   "copy_out", "explain",     "show",           "begin",           "commit",       "rollback",
	"savepoint", "release",  "rollback_to", "prepare_tx",     "commit_prepared", "set_tx",       "set",
	"set_local", "reset",    "reset_all",   "discard_all",    "discard_plans",   "discard_temp", "discard_sequences",
	"prepare",   "execute",  "deallocate",  "deallocate_all", "declare",         "fetch",        "close",
	"close_all", "listen",   "unlisten",    "unlisten_all",   "notify",          "lock",         "empty",
};
static const char *const show_effects[] = {
	"writes", "temp",        "hold",     "advisory", "unlock_all",  "nextval", "currval",  "set_config", "opaque_call",
	"ddl",    "no_pipeline", "defaults", "chain",    "plain_begin", "local",   "clean_tx", "locks_rows", "nested",
};

static inline void show_part(FILE *f, const struct sql_part *p)
{
	fputs(show_kinds[p->kind], f);
	for (size_t i = 0; i < ARRAY_LEN(show_effects); i++)
		if (p->effects >> i & 1)
			fprintf(f, " +%s", show_effects[i]);
	if (p->name)
		fprintf(f, " name=%s", p->name);
	if (p->value)
		fprintf(f, " value=%s", p->value);
	if (p->name_param >= 0)
		fprintf(f, " name=$%d", p->name_param + 1);
	if (p->value_param >= 0)
		fprintf(f, " value=$%d", p->value_param + 1);
	if (p->local_param >= 0)
		fprintf(f, " local=$%d", p->local_param + 1);
	for (char **t = p->more_settings; t && *t; t += 2)
		fprintf(f, " %s=%s", t[0], t[1]);
	for (char **t = p->functions; t && *t; t++)
		fprintf(f, " %s()", *t);
}

/* "select +writes name=x f(); insert +writes", with " ?" at the end when a function is unknown.  The caller frees. */
static inline char *show_class(const struct sql_class *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	for (uint32_t i = 0; i < c->n; i++) {
		fputs(i ? "; " : "", f);
		show_part(f, &c->part[i]);
	}
	if (c->has_functions)
		fputs(" ?", f);
	fclose(f);
	return text;
}

#endif
