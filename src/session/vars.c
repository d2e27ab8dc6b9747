/*
 * vars — the books of a session: what it has SET, its savepoints, its pins, its channels; and with them what its server has applied.
 *
 * They follow what the server completed, never what was sent:
 *
 *   CommandComplete of SET …   -> vars and the server's applied change
 *   ErrorResponse outside BEGIN -> back to the last commit point (the implicit transaction is undone)
 *   ROLLBACK (also COMMIT that answers ROLLBACK) -> back to the commit point;   ROLLBACK TO x -> back to savepoint x
 *   COMMIT, or ReadyForQuery 'I' -> commit point
 *
 * Always: in a transaction, whatever set-up the session's settings on the server is undone with it; server->committed says to what.
 * Values of reported parameters are the server's spelling (ParameterStatus), unless a SET LOCAL hides them.
 */
#include <stdio.h>
#include <strings.h>

#include "priv.h"

/* ---- settings ---------------------------------------------------------------------------------------------------------------------------- */

static void replace(struct settings **where, struct settings *with)
{
	settings_unref(*where);
	*where = with;
}

static void set_on(struct settings **where, const char *name, const char *value)
{
	replace(where,
	        value ? settings_with(*where, slice_text(name), slice_text(value)) : settings_without(*where, slice_text(name)));
}

static bool is_transaction_local(const char *name)
{
	return strncasecmp(name, "transaction_", 12) == 0;
}

#define SETTINGS_MAX 500 /* of a session that moves from server to server */
#define SETTING_BYTES_MAX 8192u

static bool vars_are_full(const struct session *s, const char *name, const char *value)
{
	return strlen(value) > SETTING_BYTES_MAX || (settings_len(s->vars) >= SETTINGS_MAX && !settings_get(s->vars, name));
}

/* NAME is VALUE now (NULL: back to the server's default) in the session and on its server. */
static void vars_set(struct session *s, const char *name, const char *session_value, const char *server_value)
{
	if (is_transaction_local(name))
		return;
	if (session_value && vars_are_full(s, name, session_value)) { /* it stays where it is, and so does the session */
		pins_set(s, s->pins | PIN_OPAQUE);
		return;
	}
	set_on(&s->vars, name, session_value);
	if (s->srv)
		set_on(&s->srv->applied, name, server_value);
	if (strcasecmp(name, "session_authorization") == 0) { /* resets the role (miscinit.c, SetSessionAuthorization) */
		set_on(&s->vars, "role", NULL);
		if (s->srv)
			set_on(&s->srv->applied, "role", NULL);
	}
	s->vars_touched = 1;
}

/* RESET goes back to what the client asked for at startup; on the server it went to the server's own default. */
static void vars_reset(struct session *s, const char *name)
{
	vars_set(s, name, settings_get(s->defaults, name), NULL);
}

static bool survives_reset_all(const char *name)
{
	return strcasecmp(name, "role") == 0 || strcasecmp(name, "session_authorization") == 0;
}

static struct settings *after_reset_all(struct settings *now, struct settings *defaults)
{
	static const char *const names[] = { "role", "session_authorization" };
	struct settings *set = settings_ref(defaults);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = settings_get(now, names[i]);
		ASSERT(survives_reset_all(names[i]));
		set_on(&set, names[i], value);
	}
	return set;
}

static void vars_reset_all(struct session *s)
{
	struct settings *empty = settings_empty(s->home->env.upstream.settings);
	replace(&s->vars, after_reset_all(s->vars, s->defaults));
	if (s->srv)
		replace(&s->srv->applied, after_reset_all(s->srv->applied, empty));
	settings_unref(empty);
	s->vars_touched = 1;
}

static void vars_discard_all(struct session *s)
{
	if (s->srv && (s->pins & PIN_OPAQUE))
		s->srv->must_close = 1; /* dblink's connections and what LOAD brought survive it */
	replace(&s->vars, settings_ref(s->defaults));
	pins_set(s, s->pins & PIN_MODE);
	channels_forget(s);
	s->vars_touched = 1;
	if (!s->srv)
		return;
	replace(&s->srv->applied, settings_empty(s->home->env.upstream.settings));
}

static void vars_set_config(struct session *s, const struct effect *e, const struct sql_part *p)
{
	const char *name = p->name_param == SQL_NO_PARAM ? p->name : e->name;
	const char *value = p->value_param == SQL_NO_PARAM ? p->value : e->value;
	bool is_local = p->local_param == SQL_NO_PARAM ? (p->effects & SQL_IS_LOCAL) != 0 : e->is_local == 1;
	if (!name && (p->effects & SQL_IS_LOCAL)) { /* somewhere in it, or in a function that it calls */
		s->local_dirty = 1;
		return;
	}
	if (!name || !value || (p->local_param != SQL_NO_PARAM && e->is_local < 0)) {
		pins_set(s, s->pins | PIN_OPAQUE);
		return;
	}
	if (is_local)
		s->local_dirty = 1;
	else
		vars_set(s, name, value, value);
}

static void vars_more_settings(struct session *s, const struct sql_part *p)
{
	for (char **m = p->more_settings; m && m[0] && m[1]; m += 2)
		vars_set(s, m[0], m[1], m[1]);
}

static void vars_on_set(struct session *s, const struct sql_part *p)
{
	if (p->name && p->value)
		vars_set(s, p->name, p->value, p->value);
	else if (p->name && strcasecmp(p->name, "timezone") == 0) /* SET TIME ZONE INTERVAL …: the server will report what it is */
		vars_set(s, p->name, "", "");
	else
		pins_set(s, s->pins | PIN_OPAQUE);
	vars_more_settings(s, p);
}

/* ---- transactions ---------------------------------------------------------------------------------------------------------------------- */

static void savepoints_drop(struct session *s, struct savepoint *down_to)
{
	while (session_aside(s)->savepoints != down_to) {
		struct savepoint *top = s->aside->savepoints;
		s->aside->savepoints = top->below;
		settings_unref(top->vars);
		channels_unref(top->channels);
		mem_free(top);
	}
}

static void vars_commit(struct session *s)
{
	savepoints_drop(s, NULL);
	if (s->base_vars != s->vars)
		replace(&s->base_vars, settings_ref(s->vars));
	s->base_pins = s->pins;
	channels_commit(s);
	if (s->srv && s->srv->committed != s->srv->applied)
		replace(&s->srv->committed, settings_ref(s->srv->applied));
	if (s->tx_ddl && s->pool)
		pool_note_ddl(s->pool);
	if (s->tx_catalog)
		known_on_commit(s);
	s->tx_ddl = s->tx_nextval = 0;
	s->vars_touched |= s->local_dirty;
	s->local_dirty = 0;
}

/* What a rollback leaves: locks taken and effects that nobody saw. */
static uint16_t pins_after_rollback(uint16_t now, uint16_t before)
{
	return before | (now & (PIN_LOCK | PIN_OPAQUE | PIN_SEQUENCE | PIN_MODE));
}

static void vars_rollback(struct session *s)
{
	savepoints_drop(s, NULL);
	replace(&s->vars, settings_ref(s->base_vars));
	pins_set(s, pins_after_rollback(s->pins, s->base_pins));
	channels_go_back(s, session_aside(s)->base_channels);
	if (s->srv)
		replace(&s->srv->applied, settings_ref(s->srv->committed));
	if (s->tx_ddl && s->pool) /* what was prepared meanwhile may name what is gone */
		pool_note_ddl(s->pool);
	s->tx_ddl = s->tx_nextval = s->tx_catalog = 0;
	s->vars_touched |= s->local_dirty;
	s->local_dirty = 0;
}

static void savepoint_add(struct session *s, const char *name)
{
	struct savepoint *sp = mem_alloc(sizeof *sp + strlen(name) + 1);
	sp->below = session_aside(s)->savepoints;
	sp->vars = settings_ref(s->vars);
	sp->channels = channels_ref(session_aside(s)->channels);
	sp->pins = s->pins;
	strcpy(sp->name, name);
	session_aside_of(s)->savepoints = sp;
}

static struct savepoint *savepoint_find(struct session *s, const char *name)
{
	struct savepoint *sp = session_aside(s)->savepoints;
	while (sp && strcmp(sp->name, name) != 0)
		sp = sp->below;
	return sp;
}

static void savepoint_release(struct session *s, const char *name)
{
	struct savepoint *sp = savepoint_find(s, name);
	if (sp)
		savepoints_drop(s, sp->below);
}

static void savepoint_rollback(struct session *s, const char *name)
{
	struct savepoint *sp = savepoint_find(s, name);
	if (!sp)
		return;
	savepoints_drop(s, sp);
	replace(&s->vars, settings_ref(sp->vars));
	pins_set(s, pins_after_rollback(s->pins, sp->pins));
	channels_go_back(s, sp->channels);
	if (s->srv)
		replace(&s->srv->applied, settings_ref(sp->vars));
	s->vars_touched = 1;
}

static void vars_end_block(struct session *s, const struct sql_part *p, bool committed)
{
	if (committed)
		vars_commit(s);
	else
		vars_rollback(s);
	s->in_block = (p->effects & SQL_AND_CHAIN) != 0;
}

/* ---- prepared statements by SQL --------------------------------------------------------------------------------------------------------- */

static struct effect_name *name_of_part(const struct effect *e, uint32_t part)
{
	for (unsigned i = 0; i < e->n_names; i++)
		if (e->names[i].part == part)
			return &e->names[i];
	return NULL;
}

static void vars_on_prepare(struct session *s, const struct effect *e, uint32_t part)
{
	struct effect_name *n = name_of_part(e, part);
	if (n && n->st)
		effect_end_name(s, n, ENDED_DONE);
}

static void vars_on_deallocate(struct session *s, const struct effect *e, uint32_t part)
{
	struct effect_name *n = name_of_part(e, part);
	if (!n)
		return;
	stmts_remove(&s->srv->stmts, n->key);
	effect_end_name(s, n, ENDED_DONE);
}

/* ---- what completed ---------------------------------------------------------------------------------------------------------------------- */

static bool is_tag(struct slice tag, const char *word)
{
	return tag.len >= strlen(word) && memcmp(tag.at, word, strlen(word)) == 0;
}

static void vars_on_effects(struct session *s, const struct effect *e, const struct sql_part *p, struct slice tag)
{
	if ((p->effects & SQL_SET_CONFIG) && !is_tag(tag, "SELECT 0")) { /* … FROM pg_settings WHERE name = 'not in this version' */
		vars_set_config(s, e, p);
		vars_more_settings(s, p);
	}
	if (p->effects & SQL_ADVISORY_UNLOCK_ALL)
		pins_set(s, s->pins & ~PIN_LOCK);
	if (p->effects & SQL_NEXTVAL)
		s->tx_nextval = 1;
	if (p->effects & SQL_DDL) {
		s->tx_ddl = 1;
		pool_note_ddl(s->srv->pool);
	}
	if (p->effects & SQL_CATALOG_DDL)
		s->tx_catalog = 1;
	if (p->effects & SQL_ALTERS_DEFAULTS)
		pool_retire_database(s->srv->pool);
	if (p->culprit && (pins_of_part(s, p) & PIN_STATE & ~s->pins))
		known_blame(s, p->culprit);
	pins_set(s, s->pins | pins_of_part(s, p));
}

void vars_on_complete(struct session *s, struct effect *e, uint32_t part, struct slice tag)
{
	const struct sql_part *p;
	if (part >= e->class->n) /* more completed than we saw in the text: rules, or something that we misread */
		return;
	p = &e->class->part[part];
	vars_on_effects(s, e, p, tag);
	if (UNLIKELY(s->away != NULL))
		awaytx_completed(s, p);
	switch (p->kind) {
	case SQL_BEGIN:
		s->in_block = 1;
		break;
	case SQL_COMMIT:
	case SQL_PREPARE_TRANSACTION:
		vars_end_block(s, p, !is_tag(tag, "ROLLBACK"));
		break;
	case SQL_ROLLBACK:
		vars_end_block(s, p, false);
		break;
	case SQL_SAVEPOINT:
		savepoint_add(s, p->name);
		break;
	case SQL_RELEASE:
		savepoint_release(s, p->name);
		break;
	case SQL_ROLLBACK_TO:
		savepoint_rollback(s, p->name);
		break;
	case SQL_SET:
		vars_on_set(s, p);
		break;
	case SQL_SET_LOCAL:
		s->local_dirty = 1;
		break;
	case SQL_RESET:
		if (p->name)
			vars_reset(s, p->name);
		break;
	case SQL_RESET_ALL:
		vars_reset_all(s);
		break;
	case SQL_DISCARD_ALL:
		effect_end_discard(s, e, true);
		vars_discard_all(s);
		break;
	case SQL_DISCARD_TEMP:
		pins_set(s, s->pins & ~PIN_TEMP);
		break;
	case SQL_DISCARD_SEQUENCES:
		pins_set(s, s->pins & ~PIN_SEQUENCE);
		break;
	case SQL_CLOSE_ALL:
		pins_set(s, s->pins & ~PIN_HOLD);
		break;
	case SQL_LISTEN:
		channels_listen(s, p->name);
		break;
	case SQL_UNLISTEN:
		if (channels_unlisten(s, p->name))
			pins_set(s, s->pins & ~PIN_LISTEN);
		break;
	case SQL_UNLISTEN_ALL:
		channels_forget(s);
		pins_set(s, s->pins & ~PIN_LISTEN);
		break;
	case SQL_PREPARE:
		vars_on_prepare(s, e, part);
		break;
	case SQL_DEALLOCATE:
		vars_on_deallocate(s, e, part);
		break;
	case SQL_DEALLOCATE_ALL:
		effect_end_discard(s, e, true);
		break;
	default:
		break;
	}
}

void vars_on_failure(struct session *s, const struct effect *e)
{
	uint16_t stays = 0;
	for (uint32_t i = 0; i < e->class->n; i++) {
		const struct sql_part *p = &e->class->part[i];
		uint16_t pins = pins_of_part(s, p) & (PIN_LOCK | PIN_OPAQUE) & ~s->pins;
		if (pins && p->culprit)
			known_blame(s, p->culprit);
		stays |= pins;
	}
	if (stays)
		pins_set(s, s->pins | stays);
}

void vars_on_error(struct session *s)
{
	if (!s->in_block)
		vars_rollback(s);
}

/* Reported parameters that the session has set, where the server has that value: take the server's spelling ('german' is "German, DMY"), so that
 * another server gets all of it.  After a segment that failed the server may be back at what an earlier session left. */
static void vars_take_reported(struct session *s)
{
	const char *name, *value;
	s->vars_touched = 0;
	for (size_t i = 0; i < settings_len(s->vars); i++) {
		settings_at(s->vars, i, &name, &value);
		const char *reported = settings_get(s->srv->up.reported, name), *applied = settings_get(s->srv->applied, name);
		if (reported && strcmp(reported, value) != 0 && applied && strcmp(applied, value) == 0) {
			char *copy = mem_text(name);
			const char *before = settings_get(s->base_vars, name);
			if (before && strcmp(before, value) == 0) /* COMMIT AND CHAIN */
				set_on(&s->base_vars, copy, reported);
			set_on(&s->vars, copy, reported);
			set_on(&s->srv->applied, copy, reported);
			mem_free(copy);
		}
	}
}

void vars_on_ready(struct session *s)
{
	char status = (char)s->srv->tx_status;
	s->setup_again = 0;
	if (s->vars_touched && !s->local_dirty && status != 'E' && settings_len(s->vars))
		vars_take_reported(s);
	if (status != 'I') {
		s->in_block = 1;
		return;
	}
	s->in_block = s->setup_unsettled = 0;
	vars_commit(s);
}

/* A transaction that had failed is over, which only a ROLLBACK does, whoever saw it. */
void vars_on_failed_end(struct session *s)
{
	if (s->in_block)
		vars_rollback(s);
}

void vars_on_trial(struct session *s)
{
	replace(&s->srv->committed, settings_ref(s->srv->applied));
	if (s->srv->applied == s->base_vars) /* all that the transaction has set itself goes with it */
		s->setup_unsettled = 0;
}

void vars_on_lost(struct session *s)
{
	s->setup_again = s->setup_unsettled = 0;
	s->begin_is = BEGIN_NONE;
	vars_rollback(s);
	s->in_block = 0;
	s->segment_open = 0;
	s->setup_ahead = 0;
}

/* ---- a life ---------------------------------------------------------------------------------------------------------------------------------- */

void vars_begin_life(struct session *s, struct settings *startup)
{
	s->defaults = startup;
	s->vars = settings_ref(startup);
	s->base_vars = settings_ref(startup);
}

void vars_end_life(struct session *s)
{
	savepoints_drop(s, NULL);
	channels_end_life(s);
	settings_unref(s->defaults);
	settings_unref(s->vars);
	settings_unref(s->base_vars);
	settings_unref(s->told);
	s->defaults = s->vars = s->base_vars = s->told = NULL;
}
