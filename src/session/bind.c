/*
 * bind — Bind: the client's name of the statement becomes the server's, and what a portal runs is remembered for Execute.
 *
 * A Bind may be huge: of one longer than BIND_WHOLE only the head is read, and the rest streams through.  A BEGIN that needs no server yet is bound, described and executed here.
 */
#include "priv.h"
#include "wire/reader.h"

#define NAMES_MAX 8192u   /* bytes in which the two names of a Bind must end */
#define BIND_WHOLE 16384u /* bytes; a longer one streams through, and its parameters are not looked at */

/* ---- BEGIN that needs no server yet --------------------------------------------------------------------------------------------------------- */

void extended_answer_now(struct session *s, uint8_t type, struct slice body)
{
	uint8_t space[64];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, type);
	writer_bytes(&w, body);
	writer_end(&w);
	session_send(s, &w);
}

static bool binds_begin_here(struct session *s, struct slice portal, const struct statement *st)
{
	return !portal.len && st && st->class && query_defers_begin(s, st->class);
}

static bool may_begin_away(struct session *s, const struct sql_class *begin)
{
	struct unit u = { 0 };
	if (!s->home->routes || !s->pool)
		return false;
	awaytx_judge(s, awaytx_modes_of(begin), &u);
	return u.tx == UNIT_TX_READS || u.tx == UNIT_TX_READS_FIRST;
}

/*
 * No parameters; and, of a transaction that a standby may take, formats of nothing, of which drivers like to send one.  Any other such BEGIN waits
 * for its server: pgbench prepares what comes behind it and lets all connections of its thread wait for that.
 */
bool bind_is_bare(struct session *s, const struct sql_class *begin, struct slice rest)
{
	struct reader r;
	uint16_t formats, params, results;
	if (slice_equal(rest, slice_of("\0\0\0\0\0\0", 6)))
		return true;
	reader_init(&r, rest);
	formats = reader_u16(&r);
	reader_bytes(&r, 2u * formats);
	params = reader_u16(&r);
	results = reader_u16(&r);
	reader_bytes(&r, 2u * results);
	return reader_done(&r) && formats <= 1 && !params && results <= 1 && may_begin_away(s, begin);
}

void bind_execute_begin(struct session *s)
{
	struct slice text = statement_text(s->portal);
	const char *tag = query_begin_tag(text);
	s->portal_begins = 0;
	s->portal_spent = 1;
	s->begin = mem_textn((const char *)text.at, text.len);
	s->begin_modes = awaytx_modes_of(s->portal->class);
	s->vtx = VTX_DEFERRED;
	POOL_COUNT(s->pool, queries, 1);
	counted_here(s, s->portal->class, HOW_HERE);
	extended_answer_now(s, 'C', slice_of(tag, strlen(tag) + 1));
	patience_note(s);
}

/* ---- Bind ---------------------------------------------------------------------------------------------------------------------------------- */

/* The text value of parameter I in what follows the names of a Bind; .at NULL when it is NULL, absent or the message is not whole. */
static struct slice bind_param(struct slice rest, int i)
{
	struct reader r;
	struct slice value = { NULL, 0 };
	reader_init(&r, rest);
	reader_bytes(&r, 2u * reader_u16(&r));
	int n = reader_u16(&r);
	for (int k = 0; k < n && k <= i; k++) {
		int32_t len = reader_i32(&r);
		value = len < 0 ? slice_of(NULL, 0) : reader_bytes(&r, (size_t)len);
	}
	return reader_ok(&r) && i < n ? value : slice_of(NULL, 0);
}

static char *bind_text(struct slice v)
{
	return v.at && !memchr(v.at, 0, v.len) ? mem_textn((const char *)v.at, v.len) : NULL;
}

/* is_local in text ("t", "true", "on", "1" …) or binary form; -1 unknown. */
static int8_t bind_bool(struct slice v)
{
	if (!v.at || !v.len)
		return -1;
	switch (v.at[0]) {
	case 't':
	case 'T':
	case 'y':
	case 'Y':
	case '1':
	case 1:
		return 1;
	case 'f':
	case 'F':
	case 'n':
	case 'N':
	case '0':
	case 0:
		return 0;
	case 'o':
	case 'O':
		return v.len > 1 && (v.at[1] | 32) == 'n';
	default:
		return -1;
	}
}

/* set_config($1, $2, …): what the parameters say is only seen here. */
static struct effect *bind_effect(struct session *s, const struct statement *st, struct slice rest)
{
	const struct sql_part *p = st->class && st->class->n == 1 ? &st->class->part[0] : NULL;
	struct effect *e = session_aside(s)->names_effect;
	if (st->names_statements && e) {
		s->aside->names_effect = NULL;
		return e;
	}
	if (!p || !(p->effects & SQL_SET_CONFIG))
		return NULL;
	if (p->name_param == SQL_NO_PARAM && p->value_param == SQL_NO_PARAM && p->local_param == SQL_NO_PARAM)
		return NULL;
	e = effect_new(s, st->class, false);
	if (p->name_param != SQL_NO_PARAM)
		e->name = bind_text(bind_param(rest, p->name_param));
	if (p->value_param != SQL_NO_PARAM)
		e->value = bind_text(bind_param(rest, p->value_param));
	if (p->local_param != SQL_NO_PARAM)
		e->is_local = bind_bool(bind_param(rest, p->local_param));
	return e;
}

/* A setting of ours that the parameters name, or its value, is none. */
static bool bind_is_refused(const struct effect *e, struct err *err)
{
	const struct sql_part *p = e && e->class->n == 1 ? &e->class->part[0] : NULL;
	if (!p || !(p->effects & SQL_SET_CONFIG))
		return false;
	const char *name = p->name_param == SQL_NO_PARAM ? p->name : e->name;
	const char *value = p->value_param == SQL_NO_PARAM ? p->value : e->value;
	return name && value && !steer_takes_setting(name, value, err);
}

/* What PORTAL will run, for Execute; ST NULL: nobody knows, or it is closed. */
void portals_bind(struct session *s, struct slice portal, struct statement *st, struct effect *e)
{
	if (st)
		st->refs++;
	if (!portal.len) {
		statement_unref(s, s->portal);
		s->portal = st;
		if (UNLIKELY(e || s->aside)) {
			effect_free(s, session_aside(s)->portal_effect);
			session_aside_of(s)->portal_effect = e;
		}
		return;
	}
	effect_free(s, e); /* set_config() through a named portal: taken as unknown */
	struct session_aside *aside = session_aside_of(s);
	if (!aside->portals)
		aside->portals = mem_alloc(sizeof *aside->portals);
	statement_unref(s, st ? map_put(aside->portals, portal, st) : map_remove(aside->portals, portal));
}

struct statement *portals_find(const struct session *s, struct slice portal)
{
	struct map *named = session_aside(s)->portals;
	return !portal.len ? s->portal : named ? map_get(named, portal) : NULL;
}

static NOT_INLINE void portals_forget_aside(struct session *s, struct session_aside *a)
{
	uint32_t it = 0;
	void *st;
	if (a->portals) {
		while (map_next(a->portals, &it, NULL, &st))
			statement_unref(s, st);
		map_fini(a->portals);
		mem_free(a->portals);
		a->portals = NULL;
	}
	effect_free(s, a->portal_effect);
	effect_free(s, a->names_effect);
	a->portal_effect = a->names_effect = NULL;
}

void portals_forget(struct session *s)
{
	if (UNLIKELY(s->aside != NULL))
		portals_forget_aside(s, s->aside);
	statement_unref(s, s->portal);
	s->portal = NULL;
}

/* The names are rewritten, REST follows as it is here. */
static NOT_INLINE void bind_send(struct session *s, const struct frame *f, struct lent *lent, struct slice portal,
                                 const char *name, struct slice rest)
{
	uint8_t head[FRAME_HEADER + NAMES_MAX + STMTS_NAME_MAX], *to = head + FRAME_HEADER;
	size_t tail = f->body_len - (size_t)(rest.at - f->body.at);
	ASSERT(portal.len < NAMES_MAX);
	to = mempcpy(to, portal.at, portal.len + 1);
	to = mempcpy(to, name, STMTS_NAME_MAX);
	frame_put_header(head, 'B', (uint32_t)((size_t)(to - head) - FRAME_HEADER + tail));
	stream_send(&s->srv->up.stream, slice_of(head, (size_t)(to - head)), NULL);
	stream_send(&s->srv->up.stream, rest, lent);
}

static size_t bind_run(struct session *s, const struct frame *f, struct slice in, struct lent *lent, struct slice portal,
                       struct slice client_name, struct statement *st, struct slice rest)
{
	char name[STMTS_NAME_MAX];
	struct effect *e;
	struct err err;
	ssize_t stop = extended_look(s, f, in, st);
	if (stop < 0)
		stop = extended_borrow(s, f, in, st ? st->class : NULL);
	if (stop >= 0)
		return (size_t)stop;
	if (!st) {
		portals_bind(s, portal, NULL, NULL);
		return extended_forward(s, f, in, lent, REPLY_BIND, TAG_PLAIN, NULL);
	}
	POOL_COUNT(s->srv->pool, binds, 1);
	prepare_statement(s, st, name);
	e = frame_is_whole(f) || st->names_statements ? bind_effect(s, st, rest) : NULL;
	if (UNLIKELY(bind_is_refused(e, &err))) {
		effect_free(s, e);
		return extended_refuse(s, f, in, &err);
	}
	portals_bind(s, portal, st, e);
	borrow_push_marked(s, REPLY_BIND, TAG_PLAIN, NULL, names_mark(client_name));
	bind_send(s, f, lent, portal, name, rest);
	s->body_left = f->body_len - (uint32_t)f->body.len;
	s->body_drop = 0;
	return FRAME_HEADER + f->body.len;
}

size_t bind_take(struct session *s, const struct frame *f, struct slice in, struct lent *lent, const struct unit *u)
{
	struct reader r;
	struct slice portal, name;
	struct statement *st;
	struct err e;
	reader_init(&r, f->body);
	portal = reader_text(&r);
	name = reader_text(&r);
	if (!reader_ok(&r) || (size_t)(r.at - f->body.at) > NAMES_MAX)
		return frame_is_whole(f) || f->body.len > NAMES_MAX ? extended_break(s, "Bind") : 0;
	if (!frame_is_whole(f) && f->body_len <= BIND_WHOLE)
		return 0;
	if (names_wait(s, name))
		return 0;
	st = u->st ? u->st : names_meant(s, name);
	if (names_nothing(s, name, st, &e))
		return extended_refuse(s, f, in, &e);
	if (st && UNLIKELY(st->asks))
		return answer_bind(s, f, in, portal, st);
	if (st && ((st != u->st && !known_statement(s, st)) || (st->names_statements && names_wait_for_all(s))))
		return 0;
	if (st)
		known_planned(s, st->class);
	if (!portal.len)
		s->portal_begins = s->portal_spent = 0;
	if (frame_is_whole(f) && binds_begin_here(s, portal, st) && bind_is_bare(s, st->class, slice_of(r.at, reader_left(&r)))) {
		portals_bind(s, portal, st, NULL);
		s->portal_begins = 1;
		extended_answer_now(s, '2', slice_of(NULL, 0));
		return frame_size(f);
	}
	return bind_run(s, f, in, lent, portal, name, st, slice_of(r.at, reader_left(&r)));
}

/* A server came between Bind and Execute of a BEGIN: it gets the Bind now. */
void bind_begin_there(struct session *s)
{
	uint8_t space[96];
	char name[STMTS_NAME_MAX];
	struct writer w;
	s->portal_begins = 0;
	prepare_statement(s, s->portal, name);
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'B');
	writer_text(&w, "");
	writer_text(&w, name);
	writer_bytes(&w, slice_of("\0\0\0\0\0\0", 6));
	writer_end(&w);
	borrow_push(s, REPLY_BIND, REPLY_SWALLOW, TAG_OURS, NULL);
	borrow_send(s, &w);
}
