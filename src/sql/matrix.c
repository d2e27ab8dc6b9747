/*
 * matrix — docs/statements.md.  Each line of its tables is a statement in backquotes, where it may run, and why; tests/pg/reach.t reads it.
 */
#include "sql/matrix.h"

#include <stdio.h>

#include "sql/class.h"

static const char intro[] =
    "# Where statements run\n"
    "\n"
    "This page is generated (`make docs`), and every line of it is a test: what is called a read is run "
    "on a hot standby and must answer\n"
    "what the primary answers.\n"
    "\n"
    "- **any**: a read. It may run on a standby that is fresh enough, or on the primary.\n"
    "- **any, fresh**: the same, but its answer is another each time.\n"
    "- **primary, stays**: for the primary; a transaction that is on a standby goes on there with it.\n"
    "- **primary**: for the primary alone; only `EXECUTE x` may run where `x` may, if that asks for rows.\n"
    "\n"
    "What is called or named counts by what the catalogue of the database says of it. Names are looked "
    "up without their schema: when one of\n"
    "several functions or relations of a name is none for a standby, all are taken for that. While "
    "nothing is known of the catalogue,\n"
    "what calls a function, uses an operator or names a relation runs on the primary. So does what "
    "cannot be parsed (newer grammar, extensions),\n"
    "what is longer than 8 kB without its constants or nests too deeply, and every text of many "
    "statements that has one of those.\n"
    "\n"
    "The names in the examples: `t`, `p` (partitioned) and `guarded` (row level security) are tables, "
    "`v` and `m` views of them, `s` a sequence;\n"
    "`unlogged_t`, `foreign_t` and `partly_unlogged` are what they say. `immutable_f`, `stable_f` and "
    "`volatile_f` are functions, `both_f` has\n"
    "overloads of either kind, `calls_volatile_f` is declared stable. Behind `v_hidden`, `v_nextval`, "
    "`v_pid`, `v_now`, `v_activity`, `v_locking`, the\n"
    "operator `<~~>` and the domain `dom` is what their names say, or `volatile_f`. `row_f` takes a row "
    "of `t`, `comp` has a field of type `dom`,\n"
    "`takes_dom`, `names_dom` and `uses_operator` are declared stable or immutable, the argument of "
    "`by_default_f` is `pg_backend_pid()` by default. The type of\n"
    "the column `b` of `boxes` is cast to `int` by a volatile function. Of `inherited` a grandchild is unlogged.\n";

static void print_cell(int fd, const char *sql)
{
	for (; *sql; sql++)
		dprintf(fd, *sql == '|' ? "\\%c" : "%c", *sql);
}

static void print_statement(int fd, const char *where, const char *why, const char *sql)
{
	dprintf(fd, "| `");
	print_cell(fd, sql);
	dprintf(fd, "` | %s | %s |\n", where, why ? why : "");
}

void matrix_print(int fd)
{
	static const char where_READ[] = "any", where_FRESH[] = "any, fresh", where_STAYS[] = "primary, stays",
	                  where_PRIMARY[] = "primary";
	dprintf(fd, "%s", intro);
#define GROUP(title) dprintf(fd, "\n## " title "\n\n| statement | where | why |\n|---|---|---|\n");
#define STATEMENT(where, why, sql) print_statement(fd, where_##where, sql_why_text(SQL_WHY_##why), sql);
#include "tbl/statements.h"
#undef STATEMENT
#undef GROUP
}
