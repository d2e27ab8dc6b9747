/*
 * borrow — a server for the statement at hand, set up as this session expects to find it, and its way back.
 *
 *   no server --pool_checkout--> attached --setup--> ready for the statement --> ReadyForQuery, idle, no pin --> given back
 *
 * Setup is the deferred BEGIN and the difference between the server's settings and the session's, as Parse/Bind/Execute without a Sync in front
 * of the client's message, in the same flight: if it fails, the server skips the statement (PostgreSQL ignores everything up to a Sync after an
 * error in an extended message).  BEGIN goes first, because set_config() takes a snapshot and BEGIN ISOLATION LEVEL must come before one.
 * Statements that refuse company in their transaction get the setup alone, with a Sync, and wait for its answer.
 *
 * Always: setup is only sent when the server owes nothing; the server's books (applied) are changed by what completed, not by what was sent.
 */
#include <stdio.h>
#include <strings.h>

#include "priv.h"

#define REFUSED_TEXT "!lunapool refused this statement"

void borrow_send(struct session *s, struct writer *w)
{
	ASSERT(writer_ok(w));
	stream_send(&s->srv->up.stream, writer_slice(w), NULL);
}

static void note_pushed(struct session *s, enum reply_fate fate, enum tag tag, void *ref)
{
	if (tag == TAG_EFFECT && statement_changes_names(((struct effect *)ref)->class))
		s->naming_in_flight++;
	if (tag == TAG_EFFECT && statement_discards(((struct effect *)ref)->class))
		statement_on_discard_sent(s);
	if (tag == TAG_PARSE && fate == REPLY_FORWARD)
		s->parses_in_flight++;
}

void borrow_push_any(struct session *s, struct reply entry)
{
	if (entry.kind == REPLY_SYNC || entry.kind == REPLY_QUERY || entry.kind == REPLY_FUNCTION)
		s->segment++;
	if (entry.tag != TAG_PLAIN)
		note_pushed(s, entry.fate, entry.tag, entry.ref);
	if (!replies_push(&s->srv->replies, entry))
		relay_end(s, &entry, ENDED_SKIPPED, slice_of(NULL, 0));
	if (!replies_is_settled(&s->srv->replies))
		relay_settle(s);
}

/* ---- where to ------------------------------------------------------------------------------------------------------------------------ */

void borrow_pool_anew(struct session *s)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d;
	const struct topo_node *primary;
	struct pool *pool = NULL;
	d = conf_database(topo->conf, s->database);
	primary = d ? topo_primary(topo, d->cluster_at) : NULL;
	if (primary) {
		struct pool_key key = { .node_id = primary->id, .database = s->database, .user = s->user };
		pool = pools_get(s->home->env.pools, topo, &key);
	}
	s->topo_generation = topo->generation;
	if (pool == s->pool)
		return;
	s->catalog = NULL;
	if (pool)
		pool_join(pool);
	if (s->pool)
		pool_part(s->pool);
	s->pool = pool;
}

static void borrow_on_server(struct pool_wait *w, struct server *srv);
static void borrow_on_failed(struct pool_wait *w, const struct err *err);

static void borrow_attach(struct session *s, struct server *srv)
{
	s->srv = srv;
	srv->user = &relay_user;
	srv->borrower = s;
	if (pool_conf(s->pool)->mode == POOL_MODE_SESSION)
		vars_set_pins(s, s->pins | PIN_MODE);
}

static void borrow_on_server(struct pool_wait *w, struct server *srv)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	borrow_attach(s, srv);
	session_unblock(s);
}

static void borrow_on_failed(struct pool_wait *w, const struct err *err)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	if (strcmp(err->sqlstate, "LP001") != 0) { /* LP001: the primary is another node now; look again */
		s->wait_failed = s->wait_failed ? s->wait_failed : mem_alloc(sizeof *s->wait_failed);
		*s->wait_failed = *err;
	}
	session_unblock(s);
}

/* ---- setup -------------------------------------------------------------------------------------------------------------------------------- */

struct setup {
	struct session *s;
	struct writer w;      /* messages */
	struct writer params; /* Bind parameters of set_config() */
	struct writer text;   /* SELECT set_config($1,$2,false),… */
	unsigned n;
	bool only_authorization; /* this pass takes session_authorization, or all but it */
};

static void setup_parse_bind_execute(struct setup *u, struct slice text, unsigned n_params, struct slice params, enum tag tag,
                                     void *ref)
{
	struct writer *w = &u->w;
	writer_begin(w, 'P');
	writer_text(w, "");
	writer_slice_text(w, text);
	writer_u16(w, 0);
	writer_end(w);
	writer_begin(w, 'B');
	writer_text(w, "");
	writer_text(w, "");
	writer_u16(w, 0);
	writer_u16(w, (uint16_t)n_params);
	writer_bytes(w, params);
	writer_u16(w, 0);
	writer_end(w);
	writer_begin(w, 'E');
	writer_text(w, "");
	writer_u32(w, 0);
	writer_end(w);
	borrow_push(u->s, REPLY_PARSE, REPLY_SWALLOW, TAG_SETUP, NULL);
	borrow_push(u->s, REPLY_BIND, REPLY_SWALLOW, TAG_SETUP, NULL);
	borrow_push(u->s, REPLY_EXECUTE, REPLY_SWALLOW, tag, ref);
}

static void setup_param(struct setup *u, const char *text)
{
	writer_u32(&u->params, (uint32_t)strlen(text));
	writer_bytes(&u->params, slice_text(text));
}

static void setup_text(struct setup *u, const char *text)
{
	writer_bytes(&u->text, slice_text(text));
}

static void setup_set(struct setup *u, const char *name, const char *value)
{
	char item[80];
	snprintf(item, sizeof item, "%spg_catalog.set_config($%u,$%u,false)", u->n ? "," : "SELECT ", 2 * u->n + 1, 2 * u->n + 2);
	setup_text(u, item);
	setup_param(u, name);
	setup_param(u, value);
	u->n++;
}

static void setup_flush_sets(struct setup *u)
{
	if (u->n)
		setup_parse_bind_execute(u, writer_slice(&u->text), 2 * u->n, writer_slice(&u->params), TAG_SETUP, NULL);
	u->text.len = u->params.len = 0;
	u->n = 0;
}

/* RESET "a"."b": each part of a dotted name is an identifier. */
static void setup_reset(struct setup *u, const char *name)
{
	struct writer text;
	writer_init_grow(&text);
	writer_bytes(&text, slice_text("RESET \""));
	for (const char *c = name; *c; c++)
		writer_bytes(&text, *c == '.' ? slice_text("\".\"") : *c == '"' ? slice_text("\"\"") : slice_of(c, 1));
	writer_bytes(&text, slice_text("\""));
	setup_parse_bind_execute(u, writer_slice(&text), 0, slice_of(NULL, 0), TAG_SETUP, NULL);
	writer_fini(&text);
}

static void setup_one(void *arg, const char *name, const char *from, const char *to)
{
	struct setup *u = arg;
	if ((strcasecmp(name, "session_authorization") == 0) != u->only_authorization)
		return;
	if (to)
		setup_set(u, name, to);
	else
		setup_reset(u, name);
}

/* The role depends on the session authorization, so that one comes first. */
static void setup_settings(struct setup *u, struct settings *to)
{
	for (int first = 1; first >= 0; first--) {
		u->only_authorization = first;
		settings_diff(u->s->srv->applied, to, setup_one, u);
		setup_flush_sets(u);
	}
	/* what is applied once all of it is done: an empty statement carries the news */
	setup_parse_bind_execute(u, slice_text(""), 0, slice_of(NULL, 0), TAG_SETUP, settings_ref(to));
}

static void setup_begin(struct setup *u)
{
	struct session *s = u->s;
	setup_parse_bind_execute(u, slice_text(s->begin), 0, slice_of(NULL, 0), TAG_SETUP_BEGIN, NULL);
	mem_free(s->begin);
	s->begin = NULL;
	s->vtx = VTX_NONE;
	s->srv->tx_status = 'T';
}

static void setup_init(struct setup *u, struct session *s)
{
	memset(u, 0, sizeof *u);
	u->s = s;
	writer_init_grow(&u->w);
	writer_init_grow(&u->params);
	writer_init_grow(&u->text);
}

/* Our unnamed portal must not be there for a client that executes one it did not bind. */
static void setup_close_portal(struct setup *u)
{
	writer_begin(&u->w, 'C');
	writer_u8(&u->w, 'P');
	writer_text(&u->w, "");
	writer_end(&u->w);
	borrow_push(u->s, REPLY_CLOSE, REPLY_SWALLOW, TAG_SETUP, NULL);
}

static void setup_send(struct setup *u)
{
	if (u->w.len)
		borrow_send(u->s, &u->w);
	writer_fini(&u->w);
	writer_fini(&u->params);
	writer_fini(&u->text);
}

/* The settings that the server must have before CLASS runs: the session's, except those that the statement itself is about to change (a SET ROLE
 * to a role that exists must not fail because the present one was dropped). */
static struct settings *setup_target(const struct session *s, const struct sql_class *class)
{
	struct settings *applied = s->srv->applied;
	const struct sql_part *p = class && class->n == 1 ? &class->part[0] : NULL;
	if (p && (p->kind == SQL_RESET_ALL || p->kind == SQL_DISCARD_ALL))
		return settings_ref(applied);
	if (p && (p->kind == SQL_SET || p->kind == SQL_RESET) && p->name) {
		const char *there = settings_get(applied, p->name);
		return there ? settings_with(s->vars, slice_text(p->name), slice_text(there))
		             : settings_without(s->vars, slice_text(p->name));
	}
	return settings_ref(s->vars);
}

/* Statements that may share their transaction with a set_config() in front of them. */
static bool setup_may_travel(const struct sql_class *class)
{
	if (!class || class->n != 1 || class->is_opaque || (class->effects & (SQL_NO_PIPELINE | SQL_NEEDS_CLEAN_TX)))
		return false;
	switch (class->part[0].kind) {
	case SQL_OTHER:
	case SQL_SELECT:
	case SQL_INSERT:
	case SQL_UPDATE:
	case SQL_DELETE:
	case SQL_MERGE:
	case SQL_COPY_IN:
	case SQL_COPY_OUT:
	case SQL_EXPLAIN:
	case SQL_SHOW:
	case SQL_DECLARE:
	case SQL_EXECUTE:
	case SQL_LISTEN:
	case SQL_NOTIFY:
	case SQL_LOCK:
		return true;
	default:
		return false;
	}
}

static enum borrow setup_alone(struct session *s, struct settings *target)
{
	struct setup u;
	setup_init(&u, s);
	setup_settings(&u, target);
	writer_begin(&u.w, 'S');
	writer_end(&u.w);
	borrow_push(s, REPLY_SYNC, REPLY_SWALLOW, TAG_SETUP_SYNC, NULL);
	setup_send(&u);
	s->setup_ahead = 1;
	session_block(s, SESSION_WAIT_QUIET);
	return BORROW_BLOCKED;
}

/* The client's transaction failed before a server took part in it.  One that is asked for now is put into the same state, so that all that follows
 * is PostgreSQL's own behaviour. */
static void borrow_fail_transaction(struct session *s)
{
	static const char *const texts[] = { "BEGIN", REFUSED_TEXT };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		uint8_t space[64];
		struct writer w;
		writer_init(&w, space, sizeof space);
		writer_begin(&w, 'Q');
		writer_text(&w, texts[i]);
		writer_end(&w);
		borrow_push(s, REPLY_QUERY, REPLY_SWALLOW, TAG_OURS, NULL);
		borrow_send(s, &w);
	}
	s->vtx = VTX_NONE;
	s->srv->tx_status = 'E';
}

/* Settings that are looked at when a transaction begins: a set_config() in it comes too late. */
static bool setup_concerns_begin(const struct settings *from, const struct settings *to)
{
	static const char *const names[] = { "default_transaction_isolation", "default_transaction_read_only",
		                                 "default_transaction_deferrable" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *a = settings_get(from, names[i]), *b = settings_get(to, names[i]);
		if ((a || b) && (!a || !b || strcmp(a, b) != 0))
			return true;
	}
	return false;
}

static bool setup_is_needed(const struct session *s)
{
	return s->vtx != VTX_NONE || (s->srv->applied != s->vars && replies_is_empty(&s->srv->replies) && !s->segment_open);
}

static NOT_INLINE enum borrow borrow_setup(struct session *s, const struct sql_class *class)
{
	struct settings *target;
	struct setup u;
	bool begins = s->vtx == VTX_DEFERRED, differs;
	if (s->vtx == VTX_FAILED)
		borrow_fail_transaction(s);
	if (!replies_is_empty(&s->srv->replies) || s->segment_open || (!begins && s->srv->applied == s->vars))
		return BORROW_OK;
	target = setup_target(s, class);
	differs = target != s->srv->applied;
	if (differs && s->srv->tx_status == 'I' &&
	    (!s->welcomed || !setup_may_travel(class) || setup_concerns_begin(s->srv->applied, target))) {
		enum borrow b = setup_alone(s, target);
		settings_unref(target);
		return b;
	}
	setup_init(&u, s);
	if (begins)
		setup_begin(&u);
	if (differs && s->srv->tx_status != 'E')
		setup_settings(&u, target);
	if (u.w.len)
		setup_close_portal(&u);
	setup_send(&u);
	settings_unref(target);
	return BORROW_OK;
}

/* ---- the way there --------------------------------------------------------------------------------------------------------------------- */

static bool borrow_failed(struct err **why, struct err *err)
{
	if (!*why)
		return false;
	*err = **why;
	mem_free(*why);
	*why = NULL;
	return true;
}

static enum borrow borrow_wait(struct session *s, enum session_state why, struct dlist *queue)
{
	if (queue)
		dlist_push_back(queue, &s->homeless);
	session_block(s, why);
	return BORROW_BLOCKED;
}

/* A statement that will pin needs a place under max_pinned before it gets a server; inside a transaction it is counted over. */
static bool borrow_may_pin(struct session *s, const struct sql_class *class)
{
	if (!class || class->is_plain || s->pin_counted || !vars_would_pin(s, class))
		return true;
	bool in_transaction = s->vtx == VTX_DEFERRED || s->srv || (class->n > 1 && class->part[0].kind == SQL_BEGIN);
	s->pin_counted = pool_pin(s->pool, in_transaction || pool_conf(s->pool)->mode == POOL_MODE_SESSION);
	return s->pin_counted;
}

static enum borrow borrow_no_pool(struct session *s, struct err *err)
{
	if (conf_database(session_conf(s), s->database))
		return borrow_wait(s, SESSION_WAIT_PRIMARY, &s->home->homeless);
	err_set(err, "3D000", "database \"%s\" does not exist", s->database);
	err_hint(err, "It was removed from Lunapool's configuration.");
	return BORROW_FAILED;
}

static enum borrow borrow_wait_pin(struct session *s)
{
	struct loop *loop = engine_loop(s->home->env.upstream.engine);
	if (!loop_timer_is_running(&s->home->pin_retry))
		loop_timer_start(loop, &s->home->pin_retry, 20 * 1000);
	return borrow_wait(s, SESSION_WAIT_PIN, &s->home->wait_pin);
}

enum borrow borrow_server(struct session *s, const struct sql_class *class, struct err *err)
{
	struct server *srv;
	if (borrow_failed(&s->wait_failed, err) || borrow_failed(&s->owed, err))
		return BORROW_FAILED;
	if (!s->srv) {
		borrow_pool(s);
		if (!s->pool)
			return borrow_no_pool(s, err);
		if (!borrow_may_pin(s, class))
			return borrow_wait_pin(s);
		s->wait.on_server = borrow_on_server;
		s->wait.on_failed = borrow_on_failed;
		srv = pool_checkout(s->pool, &s->wait);
		if (!srv)
			return borrow_wait(s, SESSION_WAIT_SERVER, NULL);
		borrow_attach(s, srv);
	} else if (!borrow_may_pin(s, class))
		return borrow_wait_pin(s);
	s->held_since_us = 0;
	s->noticed = 0;
	if (s->srv->cancels && replies_is_empty(&s->srv->replies)) /* a cancel on its way must not meet the next statement */
		return borrow_wait(s, SESSION_WAIT_QUIET, NULL);
	return setup_is_needed(s) ? borrow_setup(s, class) : BORROW_OK;
}

/* ---- refusals ---------------------------------------------------------------------------------------------------------------------------- */

static void refuse_on_server(struct session *s, bool is_query, const struct err *err)
{
	uint8_t space[128];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, is_query ? 'Q' : 'P');
	if (!is_query)
		writer_text(&w, "");
	writer_text(&w, REFUSED_TEXT);
	if (!is_query)
		writer_u16(&w, 0);
	writer_end(&w);
	borrow_push(s, is_query ? REPLY_QUERY : REPLY_PARSE, REPLY_FORWARD, TAG_REFUSAL, mem_copy(err, sizeof *err));
	borrow_send(s, &w);
	if (!is_query)
		s->segment_open = 1;
}

void borrow_refuse(struct session *s, bool is_query, const struct err *err)
{
	s->held_since_us = 0;
	if (s->srv && (!replies_is_empty(&s->srv->replies) || s->srv->tx_status != 'I' || s->segment_open)) {
		refuse_on_server(s, is_query, err);
		return;
	}
	session_send_error(s, err);
	if (s->vtx == VTX_DEFERRED) {
		s->vtx = VTX_FAILED;
		mem_free(s->begin);
		s->begin = NULL;
	}
	if (is_query)
		session_send_ready(s);
	else
		s->skip_to_sync = 1;
	borrow_give_back(s);
}

/* ---- the way back ------------------------------------------------------------------------------------------------------------------------ */

static void borrow_unpin(struct session *s)
{
	if (s->pin_counted)
		pool_unpin(s->srv->pool);
	s->pin_counted = 0;
}

static bool borrow_is_over(const struct session *s)
{
	return replies_is_empty(&s->srv->replies) && s->srv->tx_status == 'I' && !s->segment_open && !s->setup_ahead &&
	       !(s->body_left && !s->body_drop) && !s->reply_left;
}

void borrow_give_back(struct session *s)
{
	struct server *srv = s->srv;
	struct err e;
	if (!srv || !borrow_is_over(s))
		return;
	s->in_query = 0;
	if (!s->pins) {
		borrow_unpin(s);
		s->srv = NULL;
		s->names_doubtful = 0;
		stream_resume(&srv->up.stream);
		statement_forget_portals(s);
		pool_give_back(srv);
	}
	if (s->draining && s->state == SESSION_READY && session_status(s) == 'I' && !stream_unread(&s->stream)) {
		err_set(&e, "57P01", "terminating connection due to administrator command");
		session_fatal(s, CLOSE_SHUTDOWN, &e);
	}
}

/* Lets go of what the queue's entries point at; the entries stay, so that the pool can drain them.  True when nothing but plain statements
 * was under way. */
static bool borrow_release_entries(struct session *s)
{
	struct replies *q = &s->srv->replies;
	bool all_plain = true;
	for (uint32_t i = 0; i < q->len; i++) {
		struct reply *entry = &q->ring[(q->head + i) & (q->cap - 1)];
		all_plain = all_plain && entry->tag == TAG_PLAIN;
		relay_end(s, entry, ENDED_LOST, slice_of(NULL, 0));
		entry->tag = TAG_PLAIN;
		entry->ref = NULL;
		entry->fate = entry->fate == REPLY_LOCAL ? REPLY_LOCAL : REPLY_SWALLOW;
	}
	return all_plain;
}

void borrow_drop(struct session *s)
{
	struct server *srv = s->srv;
	bool half_sent = s->body_left && !s->body_drop;
	if (s->pin_counted && !srv)
		pool_unpin(s->pool);
	if (!srv) {
		s->pin_counted = 0;
		return;
	}
	if (!borrow_release_entries(s) || (s->pins & PIN_STATE))
		srv->needs_discard = 1;
	borrow_unpin(s);
	srv->skip = s->reply_left;
	srv->in_copy_in = replies_copy(&srv->replies) == REPLY_COPY_IN;
	srv->needs_sync = s->segment_open;
	s->srv = NULL;
	srv->user = NULL;
	srv->borrower = NULL;
	stream_resume(&srv->up.stream);
	if (half_sent)
		pool_close_server(srv, "client left in the middle of a message");
	else
		pool_give_back(srv);
}
