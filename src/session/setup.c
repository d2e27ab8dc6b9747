/*
 * setup — what makes a server the session's: the deferred BEGIN and the difference between the server's settings and the session's.
 *
 *   autocommit:   [set …, statement] Sync            a transaction:   [set …] Sync [BEGIN, set …, statement] Sync
 *
 * It is sent as Parse/Bind/Execute without a Sync in front of the client's message, in the same flight: if it fails, the server skips the statement
 * (PostgreSQL ignores everything up to a Sync after an error in an extended message).  BEGIN goes first, because set_config() takes a snapshot and
 * BEGIN ISOLATION LEVEL must come before one.  Statements that refuse company in their transaction get the setup alone, with a Sync, and wait for its
 * answer.
 *
 * A SET finds all there but what it changes itself.  When it is undone, that is still what an earlier session left; so the next segment waits for it, too.
 * And nothing goes out behind what is under way while the server's books differ from the session's, or while a BEGIN of ours has not been answered:
 * if that fails, what is behind it would run by itself.
 *
 * What was set in a transaction is undone with it, and the server is back at what an earlier session left.  So in front of a BEGIN the settings go
 * twice: by themselves, which lasts, and again behind it, which makes the transaction fail if the first failed.  And until a statement that carried
 * them along by itself has been answered, the next segment waits; behind a ROLLBACK in the same segment they are sent again.
 *
 * Always: setup is only sent when the server owes nothing; the server's books (applied) are changed by what completed, not by what was sent.
 */
#include <stdio.h>
#include <strings.h>

#include "priv.h"

struct setup {
	struct session *s;
	struct writer w;      /* messages */
	struct writer params; /* Bind parameters of set_config() */
	struct writer text;   /* SELECT set_config($1,$2,false),… */
	unsigned n;
	bool only_authorization; /* this pass takes session_authorization, or all but it */
	enum tag tag;            /* TAG_SETUP, or TAG_TRIAL for what goes by itself */
};

/* TYPES and BOUND: as Parse has them behind the text, and Bind behind the names; empty: none. */
static void setup_statement(struct setup *u, struct slice text, struct slice types, struct slice bound, enum tag tag, void *ref)
{
	static const uint8_t nothing[6] = { 0 };
	struct writer *w = &u->w;
	writer_begin(w, 'P');
	writer_text(w, "");
	writer_slice_text(w, text);
	writer_bytes(w, types.len ? types : slice_of(nothing, 2));
	writer_end(w);
	writer_begin(w, 'B');
	writer_text(w, "");
	writer_text(w, "");
	writer_bytes(w, bound.len ? bound : slice_of(nothing, 6));
	writer_end(w);
	writer_begin(w, 'E');
	writer_text(w, "");
	writer_u32(w, 0);
	writer_end(w);
	borrow_push(u->s, REPLY_PARSE, REPLY_SWALLOW, u->tag, NULL);
	borrow_push(u->s, REPLY_BIND, REPLY_SWALLOW, u->tag, NULL);
	borrow_push(u->s, REPLY_EXECUTE, REPLY_SWALLOW, tag, ref);
}

static void setup_parse_bind_execute(struct setup *u, struct slice text, unsigned n_params, struct slice params, enum tag tag,
                                     void *ref)
{
	struct writer bound;
	if (!n_params) {
		setup_statement(u, text, slice_of(NULL, 0), slice_of(NULL, 0), tag, ref);
		return;
	}
	writer_init_grow(&bound);
	writer_u16(&bound, 0);
	writer_u16(&bound, (uint16_t)n_params);
	writer_bytes(&bound, params);
	writer_u16(&bound, 0);
	setup_statement(u, text, slice_of(NULL, 0), writer_slice(&bound), tag, ref);
	writer_fini(&bound);
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

static void setup_flush_sets(struct setup *u)
{
	if (u->n)
		setup_parse_bind_execute(u, writer_slice(&u->text), 2 * u->n, writer_slice(&u->params), u->tag, NULL);
	u->text.len = u->params.len = 0;
	u->n = 0;
}

#define SETS_AT_ONCE 200 /* PostgreSQL allows 1664 columns */

static void setup_set(struct setup *u, const char *name, const char *value)
{
	char item[80];
	snprintf(item, sizeof item, "%spg_catalog.set_config($%u,$%u,false)", u->n ? "," : "SELECT ", 2 * u->n + 1, 2 * u->n + 2);
	setup_text(u, item);
	setup_param(u, name);
	setup_param(u, value);
	if (++u->n == SETS_AT_ONCE)
		setup_flush_sets(u);
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
	setup_parse_bind_execute(u, writer_slice(&text), 0, slice_of(NULL, 0), u->tag, NULL);
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
	setup_parse_bind_execute(u, slice_text(""), 0, slice_of(NULL, 0), u->tag, settings_ref(to));
}

static void setup_begin(struct setup *u)
{
	struct session *s = u->s;
	setup_parse_bind_execute(u, slice_text(s->begin), 0, slice_of(NULL, 0), TAG_SETUP_BEGIN, NULL);
	mem_free(s->begin);
	s->begin = NULL;
	s->vtx = VTX_NONE;
	s->begin_is = BEGIN_SENT;
	s->srv->tx_status = 'T';
}

/* What a transaction has set and saved where it was before.  A snapshot is taken first, as there: some SETs want to come before it. */
static void setup_repeat_notes(struct setup *u, const struct sql_class *class)
{
	struct session *s = u->s;
	if (!class || !class->is_plain)
		setup_parse_bind_execute(u, slice_text("SELECT"), 0, slice_of(NULL, 0), TAG_SETUP, NULL);
	DLIST_EACH(it, &s->away->notes)
	{
		const struct awaytx_note *n = CONTAINER_OF(it, struct awaytx_note, link);
		const uint8_t *text = n->body + n->name_len + 1, *types = text + n->text_len;
		setup_statement(u, slice_of(text, n->text_len), slice_of(types, n->types_len),
		                slice_of(types + n->types_len, n->bound_len), TAG_SETUP, NULL);
	}
	if (s->vars != s->base_vars)
		setup_parse_bind_execute(u, slice_text(""), 0, slice_of(NULL, 0), TAG_SETUP, settings_ref(s->vars));
}

/* Behind the BEGIN of a transaction that goes to a standby, or comes from one. */
static void setup_away(struct setup *u, const struct sql_class *class)
{
	struct session *s = u->s;
	if (awaytx_is_home(s)) {
		setup_repeat_notes(u, class);
		awaytx_end(s);
	} else if (awaytx_asks_level(s))
		setup_parse_bind_execute(u, slice_text("SHOW transaction_isolation"), 0, slice_of(NULL, 0), TAG_LEVEL, NULL);
}

static void setup_init(struct setup *u, struct session *s)
{
	memset(u, 0, sizeof *u);
	u->s = s;
	u->tag = TAG_SETUP;
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
	if (awaytx_is_home(s))
		return settings_ref(s->base_vars);
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
#define SHARING_KINDS (DATA_KINDS | KIND(SHOW) | KIND(DECLARE) | KIND(EXECUTE) | KIND(LISTEN) | KIND(NOTIFY))

static bool setup_may_travel(const struct sql_class *class)
{
	return class && class->n == 1 && !class->is_opaque && !(class->effects & (SQL_NO_PIPELINE | SQL_NEEDS_CLEAN_TX)) &&
	       kind_is_of(class->part[0].kind, SHARING_KINDS);
}

static void setup_sync(struct setup *u, enum tag tag)
{
	writer_begin(&u->w, 'S');
	writer_end(&u->w);
	borrow_push(u->s, REPLY_SYNC, REPLY_SWALLOW, tag, NULL);
}

static void setup_trial(struct setup *u, struct settings *target)
{
	u->tag = TAG_TRIAL;
	setup_settings(u, target);
	setup_sync(u, TAG_TRIAL);
	u->tag = TAG_SETUP;
}

static enum borrow setup_alone(struct session *s, struct settings *target)
{
	struct setup u;
	setup_init(&u, s);
	setup_settings(&u, target);
	setup_sync(&u, TAG_SETUP_SYNC);
	setup_send(&u);
	s->setup_ahead = 1;
	session_block(s, SESSION_WAIT_QUIET);
	return BORROW_BLOCKED;
}

/* LISTEN "a": as the server's parser made of it what the client wrote. */
static void setup_listen(struct setup *u, const char *name)
{
	struct writer text;
	writer_init_grow(&text);
	writer_bytes(&text, slice_text("LISTEN \""));
	for (const char *c = name; *c; c++)
		writer_bytes(&text, *c == '"' ? slice_text("\"\"") : slice_of(c, 1));
	writer_bytes(&text, slice_text("\""));
	setup_parse_bind_execute(u, writer_slice(&text), 0, slice_of(NULL, 0), TAG_SETUP, NULL);
	writer_fini(&text);
}

void setup_channels(struct session *s, const struct channels *channels)
{
	struct setup u;
	setup_init(&u, s);
	if (s->srv->applied != s->base_vars)
		setup_settings(&u, s->base_vars);
	for (const char *name = NULL; (name = channels_next(channels, name));)
		setup_listen(&u, name);
	setup_close_portal(&u);
	setup_sync(&u, TAG_CHANNELS);
	setup_send(&u);
	s->setup_ahead = 1;
}

/* The client's transaction failed before a server took part in it.  One that is asked for now is put into the same state, so that all that follows
 * is PostgreSQL's own behaviour. */
static void setup_failed_transaction(struct session *s)
{
	static const char *const texts[] = { "BEGIN", BORROW_REFUSED_TEXT };
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

/* Behind a ROLLBACK in the same segment: the server is where it was when the transaction began. */
static void setup_repeat(struct session *s, struct settings *target)
{
	struct setup u;
	struct settings *now = s->srv->applied;
	s->setup_again = 0;
	setup_init(&u, s);
	s->srv->applied = s->srv->committed;
	setup_settings(&u, target);
	s->srv->applied = now;
	setup_close_portal(&u);
	setup_send(&u);
}

/* In front of the client's message: what is still missing on the server. */
static void setup_in_front(struct session *s, const struct sql_class *class, struct settings *target)
{
	struct setup u;
	bool begins = s->vtx == VTX_DEFERRED, differs = target != s->srv->applied, sets = differs && s->srv->tx_status != 'E';
	struct settings *before = awaytx_is_home(s) ? s->base_vars : s->vars;
	bool tries = begins && before != s->srv->applied;
	setup_init(&u, s);
	if (tries) {
		setup_trial(&u, before);
		s->setup_unsettled = 1; /* until the trial has succeeded: vars_on_trial() */
	}
	if (begins)
		setup_begin(&u);
	else if (s->srv->tx_status == 'I' && (sets || target != s->vars))
		s->setup_unsettled = 1;
	if (sets)
		setup_settings(&u, target);
	if (UNLIKELY(begins && s->away))
		setup_away(&u, class);
	if (u.w.len)
		setup_close_portal(&u);
	setup_send(&u);
}

static bool setup_must_be_alone(const struct session *s, const struct sql_class *class, const struct settings *target)
{
	if (target == s->srv->applied || s->srv->tx_status != 'I')
		return false;
	return !s->welcomed || s->vtx == VTX_FAILED || !setup_may_travel(class) ||
	       (s->vtx == VTX_NONE && setup_concerns_begin(s->srv->applied, target));
}

static bool setup_must_wait(struct session *s)
{
	bool is_certain = !borrow_earlier_is_under_way(s);
	if (is_certain)
		s->query_at_risk = 0;
	return !is_certain && !s->segment_open &&
	       (s->setup_unsettled || s->query_at_risk || s->begin_is || s->srv->applied != s->vars);
}

NOT_INLINE enum borrow setup_server(struct session *s, const struct sql_class *class)
{
	struct settings *target;
	enum borrow b = BORROW_OK;
	if (setup_must_wait(s))
		return borrow_wait_for_earlier(s), BORROW_BLOCKED;
	if (s->setup_again ? !s->segment_open : borrow_is_owed(s) || s->segment_open)
		return BORROW_OK;
	if (s->vtx == VTX_NONE && !s->setup_again && s->srv->applied == s->vars)
		return BORROW_OK;
	target = setup_target(s, class);
	if (s->setup_again)
		setup_repeat(s, target);
	else if (setup_must_be_alone(s, class, target))
		b = setup_alone(s, target);
	else if (s->vtx == VTX_FAILED)
		setup_failed_transaction(s);
	else
		setup_in_front(s, class, target);
	settings_unref(target);
	return b;
}
