/*
 * query — the simple Query: classify, decide what is answered here, borrow a server, send.
 *
 * Answered here: BEGIN (it travels with the first statement) and the end of a transaction that no server takes part in.  A text above QUERY_WHOLE streams through, scanned as it goes.
 */
#include <strings.h>

#include "base/clock.h"
#include "priv.h"

#define QUERY_WHOLE (256u * 1024) /* bytes; longer texts are not kept */
#define QUERY_BEGINNING 4096u     /* … but so much of them is looked at, for the names in it */

/* ---- how the text is to be read ------------------------------------------------------------------------------------------------------- */

static bool is_unsafe_encoding(const char *name)
{
	static const char *const unsafe[] = { "SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004" };
	for (size_t i = 0; name && i < ARRAY_LEN(unsafe); i++)
		if (strcasecmp(name, unsafe[i]) == 0)
			return true;
	return false;
}

void query_dialect_anew(struct session *s)
{
	struct sessions *ss = s->home;
	const char *strings;
	settings_unref(ss->dialect_of);
	ss->dialect_of = settings_ref(s->told);
	strings = settings_get(s->told, "standard_conforming_strings");
	ss->dialect.backslash_quotes = strings && strcasecmp(strings, "off") == 0;
	ss->dialect.unsafe_encoding = is_unsafe_encoding(settings_get(s->told, "client_encoding"));
}

/* ---- answered here ---------------------------------------------------------------------------------------------------------------------- */

static void query_answer(struct session *s, const char *tag)
{
	uint8_t space[64];
	struct writer w;
	names_drop_unnamed(s);
	if (s->pool)
		POOL_COUNT(s->pool, queries, 1);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'C');
	writer_text(&w, tag);
	writer_end(&w);
	session_send(s, &w);
	session_send_ready(s);
	patience_note(s);
}

/* Also in a transaction that has failed (exec_simple_query: nothing was parsed, so nothing is refused). */
static void query_answer_empty(struct session *s)
{
	extended_answer_now(s, 'I', slice_of(NULL, 0));
	names_drop_unnamed(s);
	session_send_ready(s);
}

/* A transaction that no server has seen is one all the same. */
static void query_count_end(struct session *s)
{
	if (s->pool)
		POOL_COUNT(s->pool, transactions, 1);
}

static void query_end_deferred(struct session *s, const struct sql_part *p)
{
	query_count_end(s);
	if (!(p->effects & SQL_AND_CHAIN)) {
		s->vtx = VTX_NONE;
		mem_free(s->begin);
		s->begin = NULL;
	}
	query_answer(s, p->kind == SQL_COMMIT ? "COMMIT" : "ROLLBACK");
}

/* The end of a transaction that failed without a server. */
static void query_end_failed(struct session *s, const struct sql_part *p)
{
	query_count_end(s);
	s->vtx = p->effects & SQL_AND_CHAIN ? VTX_DEFERRED : VTX_NONE;
	if (s->vtx == VTX_DEFERRED)
		s->begin = awaytx_begin_text(s->begin_modes);
	query_answer(s, "ROLLBACK");
}

static void query_refuse_failed(struct session *s)
{
	struct err e;
	err_set(&e, "25P02", "current transaction is aborted, commands ignored until end of transaction block");
	names_drop_unnamed(s);
	session_send_error(s, &e);
	session_send_ready(s);
}

static bool is_end(const struct sql_class *class)
{
	return class->n == 1 && (class->part[0].kind == SQL_COMMIT || class->part[0].kind == SQL_ROLLBACK);
}

bool query_defers_begin(const struct session *s, const struct sql_class *class)
{
	return class->n == 1 && (class->effects & SQL_PLAIN_BEGIN) && !s->srv && s->vtx == VTX_NONE && !s->owed && s->pool &&
	       pool_conf(s->pool)->mode != POOL_MODE_STATEMENT;
}

/* The tag that PostgreSQL answers: START TRANSACTION for those words (no option of BEGIN contains them). */
const char *query_begin_tag(struct slice text)
{
	for (size_t i = 0; i + 5 <= text.len; i++)
		if (strncasecmp((const char *)text.at + i, "start", 5) == 0)
			return "START TRANSACTION";
	return "BEGIN";
}

/* True when the Query needs no server. */
static bool query_answer_here(struct session *s, const struct sql_class *class, struct slice text)
{
	if (s->vtx == VTX_FAILED && !s->owed && is_end(class)) {
		query_end_failed(s, &class->part[0]);
		return true;
	}
	if (s->vtx == VTX_FAILED && !s->owed && class->n == 1 && class->part[0].kind == SQL_EMPTY) {
		query_answer_empty(s);
		return true;
	}
	if (s->vtx == VTX_FAILED && !s->owed && class->n == 1 && !class->is_opaque) {
		query_refuse_failed(s);
		return true;
	}
	if (s->vtx == VTX_DEFERRED && is_end(class) && !awaytx_is_home(s)) {
		query_end_deferred(s, &class->part[0]);
		return true;
	}
	if (s->vtx == VTX_DEFERRED && !s->srv && awaytx_joins_begin(s, class)) {
		query_answer(s, "SET");
		return true;
	}
	if (query_defers_begin(s, class)) {
		s->begin = mem_textn((const char *)text.at, text.len);
		s->begin_modes = awaytx_modes_of(class);
		s->vtx = VTX_DEFERRED;
		query_answer(s, query_begin_tag(text));
		return true;
	}
	return false;
}

/* ---- what must not be sent ----------------------------------------------------------------------------------------------------------------- */

static bool class_calls(const struct sql_class *class, const char *function)
{
	for (uint32_t i = 0; i < class->n; i++)
		for (char **f = class->part[i].functions; f && *f; f++)
			if (strcmp(*f, function) == 0)
				return true;
	return false;
}

static bool misses_sequence(struct session *s, const struct sql_class *class, struct err *err)
{
	bool value_may_be_here = (s->srv && s->pins) || s->tx_nextval || (class->effects & SQL_NEXTVAL);
	if (value_may_be_here || !s->pool || pool_conf(s->pool)->mode == POOL_MODE_SESSION)
		return false;
	pool_pin_sequences(s->pool);
	err_set(err, "55000", "%s is not yet defined in this session",
	        class_calls(class, "lastval") ? "lastval" : "currval of the sequence");
	err_hint(err, "From now on sessions of this database and user keep their server after they used a sequence; try again.");
	return true;
}

/* It rolls back what carried the session's settings, and then goes on without them (setup.c). */
static bool query_undoes_setup(const struct session *s, const struct sql_class *class)
{
	bool rolls_back = false;
	for (uint32_t i = 0; i + 1 < class->n; i++)
		rolls_back |=
		    class->part[i].kind == SQL_ROLLBACK || (class->part[i].kind == SQL_COMMIT && s->srv && s->srv->tx_status == 'E');
	bool nobody_knows = class->is_opaque && class->n == 1 && class->part[0].kind == SQL_OPAQUE;
	return rolls_back || (nobody_knows && s->segment_open);
}

bool query_is_refused(struct session *s, const struct sql_class *class, struct err *err)
{
	if (class->is_plain)
		return false;
	if (UNLIKELY(s->away != NULL) && awaytx_refuses(s, class, err))
		return true;
	if (!steer_takes_settings(class, err))
		return true;
	if (s->pool && pool_conf(s->pool)->mode == POOL_MODE_STATEMENT && class->n && class->part[0].kind == SQL_BEGIN)
		return err_set(err, "0A000", "transaction blocks are not allowed in statement pooling mode"), true;
	bool is_certain = s->segment_open || !borrow_earlier_is_under_way(s);
	if (s->setup_unsettled && is_certain && query_undoes_setup(s, class)) {
		err_set(err, "0A000", "a Query that rolls back and goes on cannot follow extended messages in one transaction");
		err_hint(err, "Send ROLLBACK as a Query of its own.");
		return true;
	}
	return (class->effects & SQL_CURRVAL) && misses_sequence(s, class, err);
}

/* The effect is there at least for the positions in errors. */
static void query_send_rewritten(struct session *s, struct slice text, struct effect *e)
{
	struct writer w;
	writer_init_grow(&w);
	writer_begin(&w, 'Q');
	rewrite_names(s, text, &w, e);
	writer_u8(&w, 0);
	writer_end(&w);
	borrow_push(s, REPLY_QUERY, REPLY_FORWARD, TAG_EFFECT, e);
	borrow_send(s, &w);
	writer_fini(&w);
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------------------- */

static size_t query_send(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct sql_class *class,
                         struct slice text)
{
	bool has_names = class_names_statements(class);
	struct effect *e = has_names || effect_matters(s, class) ? effect_new(s, class, true) : NULL;
	patience_begin_statement(s);
	counted(s, class);
	if (has_names) {
		query_send_rewritten(s, text, e);
		return frame_size(f);
	}
	borrow_push(s, REPLY_QUERY, REPLY_FORWARD, e ? TAG_EFFECT : TAG_PLAIN, e);
	return copyio_pass(s, f, in, lent);
}

static size_t query_run(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct sql_class *class,
                        struct slice text)
{
	struct err e;
	if (class_names_statements(class) && names_wait_for_all(s))
		return 0;
	if ((!class->is_plain || s->vtx == VTX_FAILED) && query_answer_here(s, class, text)) {
		if (s->pool)
			counted_here(s, class, HOW_HERE);
		return frame_size(f);
	}
	if (query_is_refused(s, class, &e)) {
		borrow_refuse(s, true, &e);
		return frame_size(f);
	}
	switch (borrow_server(s, class, &e)) {
	case BORROW_BLOCKED:
		return 0;
	case BORROW_FAILED:
		borrow_refuse(s, true, &e);
		return frame_size(f);
	case BORROW_OK:
		break;
	}
	names_drop_unnamed(s);
	return query_send(s, f, in, lent, class, text);
}

/* A text that is not kept: judged by the scanner while it passes. */
static size_t query_stream(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	struct err e;
	if (f->body.len < QUERY_BEGINNING)
		return 0;
	if (s->away && awaytx_refuses(s, NULL, &e)) {
		borrow_refuse(s, true, &e);
		return copyio_drop(s, f, in);
	}
	switch (borrow_server(s, NULL, &e)) {
	case BORROW_BLOCKED:
		return 0;
	case BORROW_FAILED:
		borrow_refuse(s, true, &e);
		return copyio_drop(s, f, in);
	case BORROW_OK:
		break;
	}
	if (!known_stream(s, f->body))
		return 0;
	names_drop_unnamed(s);
	patience_begin_statement(s);
	struct sql_scan *scan = session_aside_of(s)->scan = mem_alloc(sizeof *scan);
	sql_scan_init(scan, query_dialect(s));
	sql_scan_feed(scan, f->body);
	counted(s, NULL);
	borrow_push(s, REPLY_QUERY, REPLY_FORWARD, TAG_PLAIN, NULL);
	return copyio_pass(s, f, in, lent);
}

static size_t query_classified(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct slice text)
{
	struct sql_class *class = sql_classify(s->home->env.cache, text, query_dialect(s));
	size_t taken = known_class(s, &class, text) ? query_run(s, f, in, lent, class, text) : 0;
	sql_class_unref(class);
	return taken;
}

static size_t query_whole(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u)
{
	struct slice text, rest;
	if (u->own)
		return query_run(s, f, in, lent, u->own, u->text);
	text = query_text(f);
	enum asks what = may_ask(text) && !s->segment_open ? asks_of(text, &rest) : ASKS_NOTHING;
	if (UNLIKELY(what))
		return answer_query(s, what, rest) ? frame_size(f) : 0;
	return query_classified(s, f, in, lent, text);
}

size_t query_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u)
{
	if (s->skip_to_sync)
		return copyio_drop(s, f, in);
	if (!frame_is_whole(f) && f->body_len <= QUERY_WHOLE)
		return 0;
	return frame_is_whole(f) ? query_whole(s, f, in, lent, u) : query_stream(s, f, in, lent);
}
