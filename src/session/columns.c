/*
 * columns — those that clients were told a statement returns, and what becomes of it after DDL.
 *
 * PostgreSQL refuses a prepared statement whose columns have changed ("cached plan must not change result type"), and drivers that keep its
 * description rely on it.  A server that has never had the statement knows nothing of before.  So when DDL has passed since a client prepared it, such
 * a server is asked for its description first, and one that differs is refused in PostgreSQL's words (plancache.c, RevalidateCachedQuery).
 *
 *   at the beginning of a segment: Parse, Describe, Sync, alone          inside one: Parse, Describe, Flush; the client's next message waits
 *
 * The Flush is safe, as nothing waits for its answer alone: when something earlier in the segment fails, the server skips all of this, the reply queue
 * says so, and the client's message goes on to be skipped as well.
 */
#include "base/hash.h"
#include "priv.h"
#include "wire/reader.h"

/* Name, type, length and modifier of each column; not where it comes from, nor its format (protocol, RowDescription).  Never 0. */
static uint64_t hash_of(const struct frame *f)
{
	struct reader in;
	struct writer w;
	uint64_t hash;
	writer_init_grow(&w);
	reader_init(&in, f->type == 'T' ? f->body : slice_of(NULL, 0));
	for (unsigned n = f->type == 'T' ? reader_u16(&in) : 0; n && reader_ok(&in); n--) {
		writer_slice_text(&w, reader_text(&in));
		reader_bytes(&in, 4 + 2);
		writer_bytes(&w, reader_bytes(&in, 4 + 2 + 4));
		reader_bytes(&in, 2);
	}
	hash = hash64(writer_slice(&w)) | 1;
	writer_fini(&w);
	return hash;
}

static void refuse(struct err *err)
{
	err_set(err, "0A000", "cached plan must not change result type");
}

/* The columns of FETCH or EXECUTE depend on more than the catalogue, and PostgreSQL refuses no change of that. */
static bool is_planned(const struct sql_class *class)
{
	uint8_t kind = class->n == 1 ? class->part[0].kind : SQL_OTHER;
	return kind == SQL_SELECT || kind == SQL_INSERT || kind == SQL_UPDATE || kind == SQL_DELETE || kind == SQL_MERGE;
}

void columns_described(const struct session *s, struct statement *st, const struct frame *f)
{
	if (st->columns || !st->class || !is_planned(st->class))
		return;
	st->columns = hash_of(f);
	st->columns_scope = settings_name_scope(s->vars);
}

/* The answer to what ask() sent.  The next Bind makes the statement anew, as after PostgreSQL's own refusal. */
void columns_compared(struct session *s, struct statement *st, const struct frame *f)
{
	if (st->columns == hash_of(f))
		return;
	st->has_other_columns = true;
	s->healed_generation = pool_ddl_generation(s->srv->pool);
	if (!s->wait_failed)
		s->wait_failed = mem_alloc(sizeof *s->wait_failed);
	refuse(s->wait_failed);
}

/* When all is answered, the message at hand is offered again. */
static void ask(struct session *s, struct statement *st)
{
	uint8_t space[80];
	char name[STMTS_NAME_MAX];
	struct writer w;
	prepare_statement(s, st, name);
	writer_init(&w, space, sizeof space);
	prepare_write_describe(&w, name);
	writer_begin(&w, s->segment_open ? 'H' : 'S');
	writer_end(&w);
	st->refs++;
	borrow_push(s, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW, TAG_COLUMNS, st);
	borrow_send(s, &w);
	if (!s->segment_open) {
		borrow_push(s, REPLY_SYNC, REPLY_SWALLOW, TAG_SETUP_SYNC, NULL);
		s->setup_ahead = 1;
	}
	session_block(s, SESSION_WAIT_QUIET);
}

enum borrow columns_check_now(struct session *s, struct statement *st, struct err *err)
{
	enum borrow b;
	if (st->columns_scope != settings_name_scope(s->vars)) /* told to somebody who sees other tables */
		return BORROW_OK;
	b = borrow_server(s, st->class, err);
	if (b != BORROW_OK || st->has_other_columns)
		return b != BORROW_OK ? b : (refuse(err), BORROW_FAILED);
	if (prepare_is_there(s, statement_server_key(s, st)) || s->srv->tx_status == 'E' || replies_is_skipping(&s->srv->replies))
		return BORROW_OK;
	if (!s->segment_open && borrow_earlier_is_under_way(s)) /* what fails behind the question must be its own */
		borrow_wait_for_earlier(s);
	else
		ask(s, st);
	return BORROW_BLOCKED;
}
