/*
 * awaynotes — what a transaction on a standby has set and the savepoints that it has, to be repeated where it moves to.
 *
 * In order; what was rolled back or released leaves none.  They are taken when a statement completes, as the session's books are (vars.c), which
 * go on as they are when the transaction moves.
 */
#include "priv.h"

#define NOTE_BYTES_MAX 8192u /* of one */

bool awaytx_is_noted(const struct sql_part *p)
{
	switch (p->kind) {
	case SQL_SAVEPOINT:
	case SQL_RELEASE:
	case SQL_ROLLBACK_TO:
	case SQL_SET:
	case SQL_SET_LOCAL:
	case SQL_RESET:
	case SQL_RESET_ALL:
		return true;
	default:
		return p->effects & SQL_SET_CONFIG;
	}
}

struct awaytx_note *awaytx_note_new(const struct sql_part *p, struct slice text, struct slice types, struct slice bound)
{
	struct slice name = slice_text(p->name && p->kind != SQL_SET ? p->name : "");
	struct awaytx_note *n = mem_alloc(sizeof *n + name.len + 1 + text.len + types.len + bound.len);
	uint8_t *to = n->body;
	n->kind = p->kind;
	n->name_len = (uint32_t)name.len;
	n->text_len = (uint32_t)text.len;
	n->types_len = (uint32_t)types.len;
	n->bound_len = (uint32_t)bound.len;
	to = mempcpy(to, name.at, name.len);
	*to++ = 0;
	to = mempcpy(to, text.at, text.len);
	if (types.len)
		to = mempcpy(to, types.at, types.len);
	if (bound.len)
		memcpy(to, bound.at, bound.len);
	return n;
}

bool awaytx_may_note(const struct session *s, struct slice text, struct slice bound)
{
	return text.len + bound.len <= NOTE_BYTES_MAX && settings_len(s->vars) < SETTINGS_AWAY_MAX;
}

void awaytx_notes_free(struct dlist *notes)
{
	struct dlist *n;
	while ((n = dlist_pop_front(notes)))
		mem_free(CONTAINER_OF(n, struct awaytx_note, link));
}

static void forget(struct awaytx *a, struct awaytx_note *n)
{
	dlist_remove(&n->link);
	mem_free(n);
	a->n_notes--;
}

static struct awaytx_note *savepoint_of(struct awaytx *a, const char *name)
{
	for (struct dlist *at = a->notes.prev; at != &a->notes; at = at->prev) {
		struct awaytx_note *n = CONTAINER_OF(at, struct awaytx_note, link);
		if (n->kind == SQL_SAVEPOINT && strcmp((const char *)n->body, name) == 0)
			return n;
	}
	return NULL;
}

/* What was set behind SP is set no more, or only the savepoints there are not. */
static void forget_behind(struct awaytx *a, struct awaytx_note *sp, bool savepoints_only)
{
	for (struct dlist *at = sp->link.next; at != &a->notes;) {
		struct awaytx_note *n = CONTAINER_OF(at, struct awaytx_note, link);
		at = at->next;
		if (n->kind == SQL_SAVEPOINT || !savepoints_only)
			forget(a, n);
	}
}

static void take_note(struct awaytx *a, struct awaytx_note *n)
{
	bool ends = n->kind == SQL_RELEASE, undoes = n->kind == SQL_ROLLBACK_TO;
	struct awaytx_note *sp = ends || undoes ? savepoint_of(a, (const char *)n->body) : NULL;
	if (sp)
		forget_behind(a, sp, ends);
	if (sp && ends)
		forget(a, sp);
	if (ends || undoes) {
		mem_free(n);
		return;
	}
	dlist_push_back(&a->notes, &n->link);
	a->n_notes++;
}

void awaytx_completed(struct session *s, const struct sql_part *p)
{
	struct awaytx *a = s->away;
	struct dlist *first;
	if (p->kind == SQL_COMMIT || p->kind == SQL_ROLLBACK) { /* behind AND CHAIN another one begins, with the same modes */
		awaytx_notes_free(&a->notes);
		a->n_notes = 0;
		a->has_ended = true;
	}
	if (awaytx_is_noted(p) && (first = dlist_pop_front(&a->pending)))
		take_note(a, CONTAINER_OF(first, struct awaytx_note, link));
}
