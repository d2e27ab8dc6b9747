/*
 * pgerr — ErrorResponse and NoticeResponse (PostgreSQL "Error and Notice Message Fields").
 *
 * A body is a list of fields, each a letter and a text, ended by a zero byte.  Unknown letters are skipped, as the protocol asks.
 */
#include "wire/pgerr.h"

#include "wire/reader.h"

#define NO_STATE "XX000"

/* Reads fields while they are whole.  True when the zero byte was reached. */
static bool read_fields(struct reader *r, struct pgerr *e)
{
	struct slice unlocalized = { 0 };
	uint8_t field;
	while ((field = reader_u8(r)) != 0) {
		struct slice text = reader_text(r);
		if (!reader_ok(r))
			break;
		switch (field) {
		case 'S':
			e->severity = text;
			break;
		case 'V':
			unlocalized = text;
			break;
		case 'C':
			e->sqlstate = text;
			break;
		case 'M':
			e->message = text;
			break;
		case 'D':
			e->detail = text;
			break;
		case 'H':
			e->hint = text;
			break;
		}
	}
	if (unlocalized.len)
		e->severity = unlocalized;
	if (e->sqlstate.len != 5)
		e->sqlstate = slice_text(NO_STATE);
	return reader_ok(r);
}

static void set_empty(struct pgerr *e)
{
	struct slice none = slice_of("", 0);
	*e = (struct pgerr){ .severity = none, .sqlstate = none, .message = none, .detail = none, .hint = none };
}

bool pgerr_read(struct slice body, struct pgerr *e)
{
	struct reader r;
	reader_init(&r, body);
	set_empty(e);
	return read_fields(&r, e) && reader_done(&r);
}

bool pgerr_read_head(struct slice part, struct pgerr *e)
{
	struct reader r;
	reader_init(&r, part);
	set_empty(e);
	read_fields(&r, e);
	return e->severity.len > 0;
}

bool pgerr_is_fatal(const struct pgerr *e)
{
	return slice_equal(e->severity, slice_text("FATAL")) || slice_equal(e->severity, slice_text("PANIC"));
}

bool pgerr_has_state(const struct pgerr *e, const char *sqlstate)
{
	return slice_equal(e->sqlstate, slice_text(sqlstate));
}

/* How much of TEXT fits into CAP bytes with a NUL, not cutting a UTF-8 character in two. */
static int fitting(struct slice text, size_t cap)
{
	if (text.len < cap)
		return (int)text.len;
	size_t n = cap - 1;
	while (n > 0 && (text.at[n] & 0xc0) == 0x80)
		n--;
	return (int)n;
}

void pgerr_to_err(const struct pgerr *e, struct err *err)
{
	char state[6] = NO_STATE;
	memcpy(state, e->sqlstate.at, e->sqlstate.len == 5 ? 5 : 0);
	err_set(err, state, "%.*s", fitting(e->message, sizeof err->text), (const char *)e->message.at);
	if (e->detail.len)
		err_detail(err, "%.*s", fitting(e->detail, sizeof err->detail), (const char *)e->detail.at);
	if (e->hint.len)
		err_hint(err, "%.*s", fitting(e->hint, sizeof err->hint), (const char *)e->hint.at);
}

static void write_field(struct writer *w, uint8_t field, const char *text)
{
	writer_u8(w, field);
	writer_text(w, text);
}

void pgerr_write(struct writer *w, uint8_t type, const char *severity, const struct err *err)
{
	writer_begin(w, type);
	write_field(w, 'S', severity);
	write_field(w, 'V', severity);
	write_field(w, 'C', err->sqlstate[0] ? err->sqlstate : NO_STATE);
	write_field(w, 'M', err->text);
	if (err->detail[0])
		write_field(w, 'D', err->detail);
	if (err->hint[0])
		write_field(w, 'H', err->hint);
	writer_u8(w, 0);
	writer_end(w);
}
