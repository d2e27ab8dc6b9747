/*
 * names — what the client's names of prepared statements mean, while the answers that decide it are still under way.
 *
 *   settled: what the answers so far have made of the name          a change: Parse, Close, PREPARE, DEALLOCATE, or a Query's drop
 *   of the unnamed statement, from the moment it is sent until its answer
 *
 *   begun --done--> settled is what the change says
 *         --failed, skipped, lost--> settled stays (but a Parse that fails has dropped the unnamed statement, exec_parse_message)
 *
 * A name means what its youngest change says, else what is settled.  That is certain for messages of the change's own segment: if it
 * fails, they are skipped.  A message of a later segment waits until the segments before its own are answered.
 *
 * Always: answers come in the order of the changes, so the oldest change of a name ends first.
 */
#include "base/hash.h"
#include "priv.h"

static uint32_t cost_of(const struct statement *st)
{
	return st ? st->text_len + st->types_len : 0;
}

static struct meaning *find(struct session *s, struct slice name)
{
	struct name *n;
	if (!name.len)
		return &s->unnamed;
	n = s->names ? map_get(&s->names->by_name, name) : NULL;
	return n ? &n->meaning : NULL;
}

static struct meaning *find_or_make(struct session *s, struct slice name)
{
	struct meaning *m = find(s, name);
	struct name *n;
	if (m)
		return m;
	if (!s->names)
		s->names = mem_alloc(sizeof *s->names);
	n = mem_alloc(sizeof *n + name.len);
	n->len = (uint16_t)name.len;
	memcpy(n->text, name.at, name.len);
	map_put(&s->names->by_name, name, n);
	return &n->meaning;
}

/* DEALLOCATE ALL or DISCARD ALL is under way, and nobody gave the name again behind it. */
static bool is_discarded(const struct session *s, const struct meaning *m)
{
	return s->names && s->names->discards && m != &s->unnamed && (!m->last || m->last->order < s->names->discard_order);
}

static struct statement *meaning_of(const struct session *s, const struct meaning *m)
{
	if (!m || is_discarded(s, m))
		return NULL;
	return m->last ? m->last->is : m->settled;
}

struct statement *names_find(struct session *s, struct slice name)
{
	return meaning_of(s, find(s, name));
}

/* A plan that became invalid: the statement is made anew, and nobody sees a difference. */
struct statement *names_meant(struct session *s, struct slice name)
{
	struct meaning *m = find(s, name);
	struct statement *st = meaning_of(s, m), *fresh;
	if (!st || st->generation >= s->healed_generation)
		return st;
	fresh = statement_intern(s, statement_text(st), statement_types(st), st->by_sql);
	if (m->last) {
		m->last->is = fresh;
		m->last->on_server = false; /* what the server will accept is the one of before */
	} else
		m->settled = fresh;
	statement_unref(s, st);
	return fresh;
}

/* ---- waiting for what is not certain ---------------------------------------------------------------------------------------- */

bool names_wait(struct session *s, struct slice name)
{
	const struct meaning *m;
	if (!borrow_earlier_is_under_way(s))
		return false;
	m = find(s, name);
	if (s->naming_in_flight || (m && m->last && m->last->segment != s->segment))
		return borrow_wait_for_earlier(s), true;
	return false;
}

bool names_wait_for_all(struct session *s)
{
	const struct meaning *m = &s->unnamed;
	if (!borrow_earlier_is_under_way(s))
		return false;
	if (s->naming_in_flight || s->names || (m->last && m->last->segment != s->segment))
		return borrow_wait_for_earlier(s), true;
	return false;
}

/* ---- changes ------------------------------------------------------------------------------------------------------------------ */

struct naming *naming_begin(struct session *s, struct slice name, struct statement *is)
{
	struct meaning *m = find_or_make(s, name);
	struct naming *n = mem_alloc(sizeof *n);
	n->of = m;
	n->is = is;
	n->segment = s->segment;
	n->order = s->names ? ++s->names->order : 0;
	n->next = m->last ? m->last->next : n;
	if (m->last)
		m->last->next = n;
	m->last = n;
	if (is)
		is->refs++;
	s->statement_bytes += cost_of(is);
	return n;
}

static void unlink_oldest(struct meaning *m, struct naming *n)
{
	ASSERT(m->last->next == n);
	if (n == m->last)
		m->last = NULL;
	else
		m->last->next = n->next;
}

static void settle(struct session *s, struct meaning *m, struct statement *st)
{
	s->statement_bytes -= cost_of(m->settled);
	statement_unref(s, m->settled);
	m->settled = st;
}

static void forget_if_empty(struct session *s, struct meaning *m)
{
	struct name *n = CONTAINER_OF(m, struct name, meaning);
	if (m == &s->unnamed || m->settled || m->last)
		return;
	map_remove(&s->names->by_name, slice_of(n->text, n->len));
	mem_free(n);
}

void naming_end(struct session *s, struct naming *n, enum ending how)
{
	struct meaning *m = n->of;
	unlink_oldest(m, n);
	if (how == ENDED_DONE)
		settle(s, m, n->is);
	else {
		s->statement_bytes -= cost_of(n->is);
		statement_unref(s, n->is);
		if (how == ENDED_FAILED && m == &s->unnamed)
			settle(s, m, NULL);
	}
	forget_if_empty(s, m);
	mem_free(n);
}

/* A Query that is about to be sent or answered drops the unnamed statement (exec_simple_query), unless it is skipped. */
void names_drop_unnamed(struct session *s)
{
	struct naming *n;
	if (!s->unnamed.settled && !s->unnamed.last)
		return;
	n = naming_begin(s, slice_of(NULL, 0), NULL);
	if (borrow_is_owed(s))
		borrow_push(s, REPLY_CLOSE, REPLY_LOCAL, TAG_DROP, n);
	else
		naming_end(s, n, ENDED_DONE);
}

/* ---- all names ------------------------------------------------------------------------------------------------------------------ */

void names_begin_discard(struct session *s)
{
	if (!s->names)
		s->names = mem_alloc(sizeof *s->names);
	s->names->discards++;
	s->names->discard_order = ++s->names->order;
}

void names_end_discard(struct session *s, bool is_done)
{
	struct slice key;
	uint32_t it = 0;
	void *value;
	s->names->discards--;
	if (!is_done)
		return;
	while (map_next(&s->names->by_name, &it, &key, &value)) {
		struct name *n = value;
		settle(s, &n->meaning, NULL);
		if (!n->meaning.last)
			mem_free(map_remove(&s->names->by_name, key));
	}
}

void names_free(struct session *s)
{
	uint32_t it = 0;
	void *value;
	settle(s, &s->unnamed, NULL);
	if (!s->names)
		return;
	while (map_next(&s->names->by_name, &it, NULL, &value)) {
		struct name *n = value;
		ASSERT(!n->meaning.last);
		settle(s, &n->meaning, NULL);
		mem_free(n);
	}
	map_fini(&s->names->by_name);
	mem_free(s->names);
	s->names = NULL;
}

/* ---- in errors ------------------------------------------------------------------------------------------------------------------ */

uint32_t names_mark(struct slice name)
{
	return name.len ? (uint32_t)hash_place(name) | 1 : 0; /* compared among one client's own names */
}

struct slice names_marked(const struct session *s, uint32_t mark)
{
	struct slice name;
	uint32_t it = 0;
	void *value;
	while (mark && s->names && map_next(&s->names->by_name, &it, &name, &value))
		if (names_mark(name) == mark)
			return name;
	return slice_of(NULL, 0);
}

/* The statement that a server knows under a name which AT begins with. */
static bool is_known_as(const struct statement *st, struct slice at)
{
	char name[STMTS_NAME_MAX];
	stmts_name(st->last_key, name);
	return at.len >= strlen(name) && memcmp(at.at, name, strlen(name)) == 0;
}

struct slice names_on_server(const struct session *s, struct slice at)
{
	struct slice name;
	uint32_t it = 0;
	void *value;
	while (s->names && map_next(&s->names->by_name, &it, &name, &value)) {
		const struct statement *st = meaning_of(s, &((struct name *)value)->meaning);
		if (st && is_known_as(st, at))
			return name;
	}
	return slice_of(NULL, 0);
}
