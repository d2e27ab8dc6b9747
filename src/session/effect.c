/*
 * effect — what a statement will do to the session's books when it completes, from when it is sent until then.
 *
 * Names that PREPARE gives and DEALLOCATE takes are changes under way (names.c) from the moment the statement is sent.
 */
#include "priv.h"

/* Nothing in the books changes when one of these completes; with NOTABLE_EFFECTS it does. */
#define PLAIN_KINDS (DATA_KINDS | KIND(SHOW) | KIND(FETCH) | KIND(CLOSE) | KIND(NOTIFY) | KIND(EMPTY) | KIND(EXECUTE))

#define NOTABLE_EFFECTS                                                                                               \
	(SQL_TEMP_OBJECT | SQL_HOLD_CURSOR | SQL_ADVISORY_LOCK | SQL_ADVISORY_UNLOCK_ALL | SQL_NEXTVAL | SQL_SET_CONFIG | \
	 SQL_OPAQUE_CALL | SQL_DDL | SQL_ALTERS_DEFAULTS)

bool effect_matters(const struct session *s, const struct sql_class *class)
{
	if (class->is_plain)
		return false;
	if (class->is_opaque || (class->effects & NOTABLE_EFFECTS))
		return true;
	for (uint32_t i = 0; i < class->n; i++)
		if (!kind_is_of(class->part[i].kind, PLAIN_KINDS) || pins_of_part(s, &class->part[i]))
			return true;
	return false;
}

struct effect *effect_new(struct session *s, struct sql_class *class, bool is_query)
{
	struct effect *e = mem_alloc(sizeof *e);
	e->class = sql_class_ref(class);
	e->is_query = is_query;
	e->is_local = -1;
	return e;
}

void effect_add_name(struct effect *e, uint32_t part, struct slice name, struct statement *st, struct hash128 key)
{
	e->names = mem_grow(e->names, (e->n_names + 1) * sizeof *e->names);
	e->names[e->n_names++] =
	    (struct effect_name){ .part = part, .st = st, .key = key, .name = mem_textn((const char *)name.at, name.len) };
}

void effect_free(struct session *s, struct effect *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->n_names; i++) {
		statement_unref(s, e->names[i].st);
		mem_free(e->names[i].name);
	}
	mem_free(e->names);
	mem_free(e->shifts);
	sql_class_unref(e->class);
	mem_free(e->name);
	mem_free(e->value);
	mem_free(e);
}

/* ---- statements about statements ------------------------------------------------------------------------------------ */

static bool has_kind(const struct sql_class *class, uint64_t kinds)
{
	for (uint32_t i = 0; i < class->n && !class->is_plain; i++)
		if (kind_is_of(class->part[i].kind, kinds))
			return true;
	return false;
}

bool class_names_statements(const struct sql_class *class)
{
	return has_kind(class, KIND(PREPARE) | KIND(EXECUTE) | KIND(DEALLOCATE));
}

bool class_changes_names(const struct sql_class *class)
{
	return has_kind(class, KIND(PREPARE) | KIND(DEALLOCATE) | KIND(DEALLOCATE_ALL) | KIND(DISCARD_ALL));
}

static bool class_discards(const struct sql_class *class)
{
	return has_kind(class, KIND(DEALLOCATE_ALL) | KIND(DISCARD_ALL));
}

static bool class_ends_transaction(const struct sql_class *class)
{
	return has_kind(class, KIND(COMMIT) | KIND(ROLLBACK) | KIND(PREPARE_TRANSACTION));
}

void effect_begin(struct session *s, struct effect *e)
{
	if (s->setup_unsettled && class_ends_transaction(e->class))
		s->setup_again = 1;
	if (settings_len(s->defaults) && has_kind(e->class, KIND(RESET) | KIND(RESET_ALL) | KIND(DISCARD_ALL)))
		s->setup_unsettled = 1; /* the server goes to its own defaults, not to what this client asked for at its start */
	if (!class_changes_names(e->class))
		return;
	s->naming_in_flight++;
	for (unsigned i = 0; i < e->n_names; i++) {
		e->names[i].under_way = naming_begin(s, slice_text(e->names[i].name), e->names[i].st);
		if (e->names[i].st)
			prepare_by_sql(s, e->names[i].key);
	}
	if (class_discards(e->class)) {
		prepare_discards(s);
		names_begin_discard(s);
	}
}

void effect_end_name(struct session *s, struct effect_name *n, enum ending how)
{
	if (!n->under_way)
		return;
	if (n->st)
		prepare_ended(s, n->key, n->under_way->segment, how == ENDED_DONE);
	naming_end(s, n->under_way, how);
	n->under_way = NULL;
}

void effect_end_discard(struct session *s, struct effect *e, bool is_done)
{
	if (e->discarded)
		return;
	e->discarded = true;
	names_end_discard(s, is_done);
	if (!is_done)
		prepare_discard_failed(s);
}

void effect_end(struct session *s, struct effect *e)
{
	if (class_changes_names(e->class))
		s->naming_in_flight--;
	for (unsigned i = 0; i < e->n_names; i++)
		effect_end_name(s, &e->names[i], ENDED_SKIPPED);
	if (class_discards(e->class))
		effect_end_discard(s, e, false);
	effect_free(s, e);
}
