/*
 * fault — ErrorResponse: what it is to the client, to the reply queue, and what it tells about the node or the catalogue.
 *
 * The client gets the server's words, with three exceptions: where we made a statement fail, our reason; where query_timeout cancelled it, that; and the
 * names of prepared statements are the client's.
 */
#include <stdio.h>

#include "priv.h"
#include "wire/reader.h"

static void replace_error(struct relay *r, const struct err *err)
{
	relay_flush(r);
	session_send_error(r->s, err);
}

#define SERVER_NAME "lunapool_" /* how names on servers begin (stmts_name) */

/* The client's name for what AT begins with: the one in the message that failed; behind SQL text, the one whose statement that is. */
static struct slice client_name(const struct session *s, const struct reply *entry, struct slice at)
{
	bool has_mark = entry->kind == REPLY_PARSE || entry->kind == REPLY_BIND || entry->kind == REPLY_DESCRIBE_STATEMENT;
	return has_mark ? names_marked(s, entry->number) : names_on_server(s, at);
}

/* A field's text, with the client's names in it. */
static void write_renamed(struct relay *r, const struct reply *entry, struct slice text, struct writer *w)
{
	const uint8_t *hit;
	while ((hit = memmem(text.at, text.len, SERVER_NAME, strlen(SERVER_NAME)))) {
		writer_bytes(w, slice_of(text.at, (size_t)(hit - text.at)));
		text = slice_skip(text, (size_t)(hit - text.at));
		writer_bytes(w, client_name(r->s, entry, text));
		text = slice_skip(text, text.len < STMTS_NAME_MAX - 1 ? text.len : STMTS_NAME_MAX - 1);
	}
	writer_bytes(w, text);
	writer_u8(w, 0);
}

static void write_position(const struct effect *e, struct slice text, struct writer *w)
{
	char digits[16];
	uint32_t position = 0;
	for (size_t i = 0; i < text.len && text.at[i] >= '0' && text.at[i] <= '9' && position < 400000000; i++)
		position = position * 10 + (text.at[i] - '0');
	snprintf(digits, sizeof digits, "%u", rewrite_position(e, position));
	writer_text(w, digits);
}

static bool is_reworded(const struct reply *entry, struct slice body)
{
	const struct effect *e = entry->tag == TAG_EFFECT ? entry->ref : NULL;
	return (e && e->n_shifts) || memmem(body.at, body.len, SERVER_NAME, strlen(SERVER_NAME));
}

/* An error about a prepared statement names it as the client does, and points into the client's text. */
static void reword(struct relay *r, const struct reply *entry, struct slice body)
{
	const struct effect *e = entry->tag == TAG_EFFECT ? entry->ref : NULL;
	struct reader in;
	struct writer w;
	uint8_t field;
	reader_init(&in, body);
	writer_init_grow(&w);
	writer_begin(&w, 'E');
	while ((field = reader_u8(&in)) && reader_ok(&in)) {
		struct slice text = reader_text(&in);
		writer_u8(&w, field);
		if (field == 'P' && e && e->n_shifts)
			write_position(e, text, &w);
		else
			write_renamed(r, entry, text, &w);
	}
	writer_u8(&w, 0);
	writer_end(&w);
	relay_flush(r);
	session_send(r->s, &w);
	writer_fini(&w);
}

/* The error as the client shall see it: the server's own, or ours where we made it happen. */
static enum fate word_error(struct relay *r, const struct reply *entry, const struct pgerr *pe, struct slice body)
{
	struct session *s = r->s;
	struct err e;
	if ((entry->fate == REPLY_SWALLOW && entry->kind == REPLY_QUERY) || entry->tag == TAG_TRIAL)
		return FATE_DROP;
	if (entry->tag == TAG_REFUSAL) {
		replace_error(r, entry->ref);
		return FATE_DROP;
	}
	if (s->timed_out && pgerr_has_state(pe, "57014")) {
		err_set(&e, "57014", "canceling statement due to query_timeout");
		replace_error(r, &e);
		return FATE_DROP;
	}
	if (oversize_reword(s, pe, &e)) {
		replace_error(r, &e);
		return FATE_DROP;
	}
	if (!is_reworded(entry, body))
		return FATE_FORWARD;
	reword(r, entry, body);
	return FATE_DROP;
}

/* Everything behind the failed message up to the next Sync is void.  When it was our own setup that failed in front of a Query, nobody but us will
 * send that Sync. */
static void skip(struct session *s, const struct reply *failed)
{
	struct reply entry;
	bool is_ours = failed->fate == REPLY_SWALLOW, was_for_query = false;
	while (replies_skipped(&s->srv->replies, &entry)) {
		was_for_query |= is_ours && (entry.kind == REPLY_QUERY || entry.kind == REPLY_FUNCTION);
		is_ours = is_ours && (entry.fate == REPLY_SWALLOW || entry.tag == TAG_DROP);
		outcome_book(s, &entry, ENDED_SKIPPED, slice_of(NULL, 0));
	}
	if (was_for_query) {
		static const uint8_t sync[] = { 'S', 0, 0, 0, 4 };
		borrow_push(s, REPLY_SYNC, REPLY_FORWARD, TAG_CLEAN_SYNC, NULL);
		stream_send(&s->srv->up.stream, slice_of(sync, sizeof sync), NULL);
	}
}

static void keep(struct err **where, const struct pgerr *pe)
{
	if (!*where)
		*where = mem_alloc(sizeof **where);
	pgerr_to_err(pe, *where);
}

/* What a standby refuses, or fails at, the primary may do. */
static enum fate return_to_primary(struct relay *r, const struct pgerr *pe)
{
	char why[6] = "";
	memcpy(why, pe->sqlstate.at, pe->sqlstate.len < 5 ? pe->sqlstate.len : 5);
	r->run = r->at;
	trip_return(r->s, why);
	return FATE_DROP;
}

static bool has_field(struct slice body, uint8_t type)
{
	const uint8_t *p = body.at, *end = p + body.len, *zero;
	while (p < end && *p != type && (zero = memchr(p, 0, (size_t)(end - p))))
		p = zero + 1;
	return p < end && *p == type;
}

/* It was refused as it stands: had a function been called, the error would have a context (W). */
static bool was_never_run(const struct pgerr *pe, struct slice body)
{
	static const char *const classes[] = { "42", "25", "26" };
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (pe->sqlstate.len == 5 && memcmp(pe->sqlstate.at, classes[i], 2) == 0)
			return !has_field(body, 'W');
	return false;
}

static void keep_what_stays(struct session *s, const struct reply *entry, const struct pgerr *pe, struct slice body)
{
	if (entry->tag == TAG_EFFECT && !was_never_run(pe, body))
		vars_on_failure(s, entry->ref);
}

static enum fate failed(struct relay *r, const struct reply *entry, const struct pgerr *pe, struct slice body)
{
	struct session *s = r->s;
	enum fate fate = FATE_DROP;
	if (UNLIKELY(trip_may_return(s, pe))) {
		outcome_book(s, entry, ENDED_FAILED, slice_of(NULL, 0));
		skip(s, entry);
		return return_to_primary(r, pe);
	}
	if (s->setup_ahead)
		keep(&s->wait_failed, pe);
	else
		fate = word_error(r, entry, pe, body);
	keep_what_stays(s, entry, pe, body);
	outcome_book(s, entry, ENDED_FAILED, slice_of(NULL, 0));
	skip(s, entry);
	vars_on_error(s);
	return fate;
}

/* Full, or not readable or writable: one statement that says so may be about one file; whether it is the server's disk is looked at then. */
static void learn_disk(struct session *s, const struct pgerr *pe)
{
	bool is_disk = pgerr_has_state(pe, "53100") || (pe->sqlstate.len == 5 && memcmp(pe->sqlstate.at, "58", 2) == 0);
	const struct topo_node *n = is_disk ? topo_node(s->home->topo, pool_node_id(s->srv->pool), NULL) : NULL;
	if (n)
		pulse_note_disk(n->pulse);
}

/* What an error tells about the node or the catalogue, beside failing the statement. */
static void learn(struct session *s, const struct pgerr *pe)
{
	learn_disk(s, pe);
	if (pgerr_has_state(pe, "25006") && !s->is_away)
		pool_registry_trouble(s->home->env.pool_registry, pool_node_id(s->srv->pool));
	if (pgerr_has_state(pe, "0A000") && slice_equal(pe->message, slice_text("cached plan must not change result type"))) {
		pool_note_ddl(s->srv->pool);
		s->healed_generation = pool_ddl_generation(s->srv->pool);
	}
}

enum fate fault_take(struct relay *r, const struct frame *f)
{
	struct session *s = r->s;
	struct pgerr pe;
	struct reply entry;
	enum fate fate;
	if (!pgerr_read(f->body, &pe))
		return FATE_STOP;
	if (pgerr_is_fatal(&pe)) { /* the connection ends now: whoever is concerned is told when it has */
		keep(&s->owed, &pe);
		return FATE_DROP;
	}
	learn(s, &pe);
	if (replies_copy(&s->srv->replies) == REPLY_COPY_IN && pgerr_has_state(&pe, "08P01"))
		s->broke_copy = 1;
	switch (replies_on_message(&s->srv->replies, 'E', &entry)) {
	case REPLY_PART:
		if (UNLIKELY(trip_may_return(s, &pe)))
			return return_to_primary(r, &pe);
		fate = word_error(r, &entry, &pe, f->body);
		keep_what_stays(s, &entry, &pe, f->body);
		vars_on_error(s);
		return fate;
	case REPLY_FAILED:
		return failed(r, &entry, &pe, f->body);
	case REPLY_ASYNC: /* a timeout that the server noticed at a Flush */
		vars_on_error(s);
		return FATE_FORWARD;
	default:
		return FATE_STOP;
	}
}
