/*
 * glance — what one look at the first message tells of most units: a read of one statement, from a session that nothing ties to a server.
 *
 *   a Query        a Bind of the unnamed portal, and behind it what drivers always send
 *
 * What it cannot tell at once unit.c finds out message by message; of what it can tell, the same.
 */
#include "priv.h"
#include "wire/reader.h"

/* Describe and Execute of the unnamed portal, for all its rows, and Sync.  Some leave out the first. */
static const uint8_t usual[] = { 'D', 0, 0, 0, 6, 'P', 0, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0, 'S', 0, 0, 0, 4 };
#define DESCRIBE_LEN 7u

/* Bytes of the rest of a unit whose Bind stands in front of REST; 0: it is none of the usual ones, or not all of it is here. */
static size_t rest_length(struct slice rest)
{
	static const size_t shorter = sizeof usual - DESCRIBE_LEN;
	if (rest.len >= sizeof usual && memcmp(rest.at, usual, sizeof usual) == 0)
		return sizeof usual;
	return rest.len >= shorter && memcmp(rest.at, usual + DESCRIBE_LEN, shorter) == 0 ? shorter : 0;
}

static inline bool is_read(const struct sql_class *class)
{
	return class->is_read && class->n == 1 && unit_kind_asks_for_rows(class->part[0].kind);
}

/* U has its class in any case that it was looked up. */
static bool glance_query(struct session *s, const struct frame *f, struct unit *u)
{
	struct sql_class *plain, *class;
	u->text = query_text(f);
	if (UNLIKELY(may_ask(u->text)))
		return false;
	plain = u->own = sql_classify(s->home->env.cache, u->text, query_dialect(s));
	if (UNLIKELY(!known_is_current(s, plain, plain->informed_by)))
		return false;
	class = plain->needs_facts && plain->informed ? plain->informed : plain;
	if (!is_read(class))
		return false;
	if (class != plain) {
		u->own = sql_class_ref(class);
		sql_class_unref(plain);
	}
	u->class = u->own;
	u->len = frame_size(f);
	return true;
}

static bool glance_bind(struct session *s, const struct frame *f, struct slice in, struct unit *u)
{
	size_t rest = rest_length(slice_skip(in, frame_size(f)));
	struct reader r;
	struct slice name;
	struct statement *st;
	reader_init(&r, f->body);
	if (!rest || frame_size(f) + rest > UNITS_MAX || reader_text(&r).len)
		return false;
	name = reader_text(&r);
	st = reader_ok(&r) ? names_meant(s, name) : NULL;
	if (!st || !st->plain || st->names_statements || st->asks)
		return false;
	if (UNLIKELY(!known_is_current(s, st->plain, st->informed_by)) || !is_read(st->class))
		return false;
	u->st = st;
	st->refs++;
	u->text = statement_text(st);
	u->class = sql_class_ref(st->class);
	u->len = frame_size(f) + rest;
	return true;
}

bool unit_glance(struct session *s, const struct frame *f, struct slice in, struct unit *u)
{
	*u = (struct unit){ 0 };
	if (!frame_is_whole(f) || f->body_len > s->home->max_message || frame_size(f) > UNITS_MAX)
		return false;
	if (f->type == 'Q')
		u->is_read = glance_query(s, f, u);
	else if (f->type == 'B')
		u->is_read = glance_bind(s, f, in, u);
	return u->is_read;
}
