/*
 * lookrows — rows of an answer as facts, if they can be believed.
 */
#include "lookrows.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/secret.h"

#define ROLES_MAX 10000u

/* "2026-01-31 12:00:00+00", as PostgreSQL writes it with DateStyle ISO in UTC; infinity; -infinity. */
static bool read_time(const char *text, int64_t *out)
{
	struct tm t = { 0 };
	int n = 0;
	if (strcmp(text, "infinity") == 0 || strcmp(text, "-infinity") == 0) {
		*out = *text == '-' ? INT64_MIN : LOOKUP_ALWAYS;
		return true;
	}
	if (sscanf(text, "%6d-%2d-%2d %2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &n) != 6)
		return false;
	text += n;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "+00") == 0 || strcmp(text, "") == 0) {
		t.tm_year -= 1900;
		t.tm_mon -= 1;
		*out = (int64_t)timegm(&t);
		return true;
	}
	*out = INT64_MIN;
	return strcmp(text, "+00 BC") == 0;
}

static const char *value(const struct service_rows *rows, unsigned column)
{
	return service_is_null(rows, 0, column) ? "" : service_value(rows, 0, column);
}

/* A function with out parameters, such as PgBouncer's manual has, gives one row of NULLs for a user who is not there. */
static bool is_nobody(const struct service_rows *rows)
{
	return service_rows_n(rows) == 0 || (service_rows_n(rows) == 1 && service_is_null(rows, 0, 0));
}

bool lookup_take_secret(struct lookup_facts *f, const struct service_rows *rows, const char *name, struct err *err)
{
	unsigned n = service_rows_n(rows);
	f->valid_until_s = LOOKUP_ALWAYS;
	if (is_nobody(rows))
		return true;
	if (n > 1)
		return err_set(err, "57P03", "the query for secrets gave %u rows for one user", n);
	if (strcmp(value(rows, 0), name) != 0)
		return err_set(err, "57P03", "the query for secrets gave another user than was asked for");
	if (!service_is_null(rows, 0, 2) && !read_time(value(rows, 2), &f->valid_until_s))
		return err_set(err, "57P03", "the third column of the query for secrets is no timestamp with time zone");
	if (*value(rows, 1))
		f->secret = mem_text(value(rows, 1));
	return true;
}

bool lookup_take_roles(struct lookup_facts *f, const struct service_rows *rows, const char *name, struct err *err)
{
	unsigned n = service_rows_n(rows);
	if (n > ROLES_MAX)
		return err_set(err, "57P03", "user \"%s\" is a member of more than %u roles", name, ROLES_MAX);
	f->roles = mem_alloc((n + 1) * sizeof *f->roles);
	for (; f->n_roles < n; f->n_roles++)
		f->roles[f->n_roles] = mem_text(service_value(rows, (unsigned)f->n_roles, 0));
	f->valid_until_s = LOOKUP_ALWAYS;
	return true;
}

void lookup_facts_fini(struct lookup_facts *f)
{
	secret_free_text(f->secret);
	for (size_t i = 0; i < f->n_roles; i++)
		mem_free(f->roles[i]);
	mem_free(f->roles);
	*f = (struct lookup_facts){ 0 };
}
