/*
 * oversize — messages of the client above max_message_size, and rows of the server above max_row_size: 54000, and the session lives on.
 *
 * A message is refused before any of it is kept: what follows of it is dropped as it comes.  In a COPY that reads, the server is told CopyFail in its
 * place; what the client goes on to send of that COPY, the server ignores, as PostgreSQL does.
 *
 * Of a row nothing is forwarded.  The statement is cancelled, and what still comes of it is dropped until the server says that it has failed:
 *
 *   row too long --cancel--> ErrorResponse -> 54000 in its place
 *                       \--> it has completed before the cancel struck -> the server is given up: whatever a client is told to have failed, its
 *                            transaction must not be committed by what it does next
 *
 * Rows before it may have reached the client; an error after rows is nothing new to any client.
 */
#include "priv.h"

/* ---- messages ------------------------------------------------------------------------------------------------------------------------ */

static void message_error(const struct session *s, const struct frame *f, struct err *err)
{
	err_set(err, "54000", "message %s is longer than max_message_size", frame_name(FRAME_FROM_CLIENT, f->type));
	err_detail(err, "It has %u bytes; %u are allowed.", f->body_len, s->home->max_message);
}

static void copy_fail(struct session *s)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'f');
	writer_text(&w, "message longer than max_message_size");
	writer_end(&w);
	s->copy_refused = 1;
	borrow_push(s, REPLY_COPY_END, REPLY_FORWARD, TAG_PLAIN, NULL);
	borrow_send(s, &w);
}

/* The COPY may still be on its way to the server: what is sent for it has to come in its order all the same. */
static void copy_refuse(struct session *s)
{
	if (s->srv && !s->skip_to_sync && !s->copy_refused && borrow_is_owed(s))
		copy_fail(s);
}

size_t oversize_take(struct session *s, const struct frame *f, struct slice in)
{
	bool is_query = f->type == 'Q' || f->type == 'F', is_copy = f->type == 'd';
	struct err e;
	if (!is_query && !is_copy && UNLIKELY(s->query_at_risk) && !s->segment_open && borrow_earlier_is_under_way(s))
		return borrow_wait_for_earlier(s), 0;
	message_error(s, f, &e);
	log_info(&s->log, "message_refused", KV_ERR(&e), KV_INT("bytes", f->body_len));
	if (is_copy)
		copy_refuse(s);
	else if (!s->skip_to_sync)
		borrow_refuse(s, is_query, &e);
	return copyio_drop(s, f, in);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------------------- */

static void row_error(const struct session *s, struct err *err)
{
	err_set(err, "54000", "the statement returns a row that is longer than max_row_size");
	err_detail(err, "%u bytes are allowed.", s->home->max_row);
}

bool oversize_row(struct session *s, const struct reply *entry, const struct frame *f)
{
	if (s->row_refused)
		return true;
	if ((f->type != 'D' && f->type != 'd') || entry->fate != REPLY_FORWARD)
		return false;
	log_info(&s->log, "row_refused", KV_INT("bytes", f->body_len), KV_INT("max_row_size", s->home->max_row));
	s->row_refused = 1;
	cancel_statement(s);
	return true;
}

bool oversize_is_late(const struct frame *f)
{
	return f->type == 'C' || f->type == 's';
}

void oversize_give_up(struct session *s)
{
	struct server *srv = s->srv;
	struct err e;
	err_set(&e, "54000", "the statement returned a row that is longer than max_row_size");
	if (srv->tx_status == 'I')
		err_detail(&e, "%u bytes are allowed. The statement has run to its end; whether it took effect is not known.",
		           s->home->max_row);
	else
		err_detail(&e, "%u bytes are allowed. The transaction was rolled back.", s->home->max_row);
	s->row_refused = 0;
	lost_server(s, &e);
	pool_close_server(srv, "max_row_size");
}

/* ---- what the server says to it ------------------------------------------------------------------------------------------------------ */

bool oversize_reword(struct session *s, const struct pgerr *pe, struct err *err)
{
	bool is_row = s->row_refused, is_copy = s->copy_refused;
	s->row_refused = s->copy_refused = 0;
	if ((!is_row && !is_copy) || !pgerr_has_state(pe, "57014"))
		return false;
	if (is_row)
		row_error(s, err);
	else {
		err_set(err, "54000", "message CopyData is longer than max_message_size");
		err_detail(err, "%u bytes are allowed.", s->home->max_message);
	}
	return true;
}
