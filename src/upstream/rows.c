/*
 * rows — the answer to a service's question, read: libpq's, which is gone when the function that got it returns; or made, by a simulation.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rows.h"
#include "upstream/service.h"

#define TEXT_OID 25

static void describe(const struct world_reply *r, PGresAttDesc *columns)
{
	for (unsigned i = 0; i < r->n_columns; i++) {
		columns[i] = (PGresAttDesc){ .name = (char *)(uintptr_t)(r->names ? r->names[i] : "c") };
		columns[i].typid = r->types ? r->types[i] : TEXT_OID;
		columns[i].typlen = -1;
		columns[i].atttypmod = -1;
	}
}

PGresult *rows_make(const struct world_reply *r)
{
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc *columns = mem_alloc((r->n_columns + 1) * sizeof *columns);
	bool is_good = result != NULL;
	describe(r, columns);
	is_good = is_good && PQsetResultAttrs(result, (int)r->n_columns, columns);
	mem_free(columns);
	for (unsigned i = 0; is_good && i < r->n_rows * r->n_columns; i++) {
		const char *value = r->values[i];
		is_good = PQsetvalue(result, (int)(i / r->n_columns), (int)(i % r->n_columns), (char *)(uintptr_t)value,
		                     value ? (int)strlen(value) : -1);
	}
	if (!is_good)
		die("out of memory: a simulated answer");
	return result;
}

static const PGresult *result_of(const struct service_rows *rows)
{
	return (const PGresult *)rows;
}

static bool has_value(const struct service_rows *rows, unsigned row, unsigned column)
{
	return (int)row < PQntuples(result_of(rows)) && (int)column < PQnfields(result_of(rows));
}

unsigned service_rows_n(const struct service_rows *rows)
{
	return (unsigned)PQntuples(result_of(rows));
}

const char *service_value(const struct service_rows *rows, unsigned row, unsigned column)
{
	return has_value(rows, row, column) ? PQgetvalue(result_of(rows), (int)row, (int)column) : "";
}

bool service_is_null(const struct service_rows *rows, unsigned row, unsigned column)
{
	return !has_value(rows, row, column) || PQgetisnull(result_of(rows), (int)row, (int)column);
}

unsigned service_columns_n(const struct service_rows *rows)
{
	return (unsigned)PQnfields(result_of(rows));
}

const char *service_column_name(const struct service_rows *rows, unsigned column)
{
	return PQfname(result_of(rows), (int)column);
}

unsigned service_column_type(const struct service_rows *rows, unsigned column)
{
	return PQftype(result_of(rows), (int)column);
}

unsigned long long service_rows_affected(const struct service_rows *rows)
{
	unsigned n = service_rows_n(rows);
	return n ? n : strtoull(PQcmdTuples((PGresult *)(uintptr_t)result_of(rows)), NULL, 10);
}

size_t service_value_len(const struct service_rows *rows, unsigned row, unsigned column)
{
	return has_value(rows, row, column) ? (size_t)PQgetlength(result_of(rows), (int)row, (int)column) : 0;
}
