/*
 * rows — the answer to a service's question, read: libpq's, which is gone when the function that got it returns.
 */
#include <libpq-fe.h>
#include <stdlib.h>

#include "upstream/service.h"

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
