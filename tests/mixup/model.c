/*
 * model — what a client must see of its own session.
 *
 * PostgreSQL's rules for settings: SET lasts when its transaction commits, SET LOCAL until its end, ROLLBACK and ROLLBACK TO undo both.
 */
#include <stdio.h>
#include <string.h>

#include "mixup.h"

void model_reset(struct client *c)
{
	c->tx = 'I';
	c->now = c->session = c->defaults;
	c->has_save = c->counted = false;
	c->temp = c->listening = c->lock = c->hold = false;
	c->statements = 0;
	c->portal = 0;
	c->committed = c->unsure = 0;
}

void model_begin(struct client *c)
{
	c->tx = 'T';
	c->at_begin_session = c->session;
	c->has_save = c->counted = false;
}

void model_rollback(struct client *c)
{
	c->tx = 'I';
	c->portal = 0;
	c->now = c->session = c->at_begin_session;
	c->has_save = c->counted = false;
}

void model_commit(struct client *c)
{
	if (c->tx == 'E') {
		model_rollback(c);
		return;
	}
	c->committed += c->counted;
	c->tx = 'I';
	c->portal = 0;
	c->now = c->session;
	c->has_save = c->counted = false;
}

void model_save(struct client *c)
{
	c->has_save = true;
	c->portal = 0;
	c->at_save_now = c->now;
	c->at_save_session = c->session;
	c->counted_at_save = c->counted;
}

void model_back_to_save(struct client *c)
{
	c->tx = 'T';
	c->portal = 0;
	c->now = c->at_save_now;
	c->session = c->at_save_session;
	c->counted = c->counted_at_save;
}

void model_fail(struct client *c)
{
	if (c->tx == 'T')
		c->tx = 'E';
}

void model_discard_all(struct client *c)
{
	c->now = c->session = c->defaults;
	c->temp = c->listening = c->lock = c->hold = false;
	c->statements = 0;
}

/* The whole session in one row. */
void model_probe(struct client *c, char *sql, size_t sql_size, char *want, size_t want_size)
{
	unsigned n = rnd(1000000);
	snprintf(sql, sql_size,
	         "select concat_ws('|', 'c%d:%u', current_setting('work_mem'), current_setting('lock_timeout'), "
	         "current_setting('application_name'), "
	         "current_setting('search_path'), current_user, session_user, to_regclass('pg_temp.mine') is not null, "
	         "(select coalesce(string_agg(x, ','), '') from pg_catalog.pg_listening_channels() x), "
	         "(select count(*) from pg_catalog.pg_cursors where is_holdable), (select coalesce(string_agg(objid::text, ','), '') "
	         "from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()))",
	         c->id, n);
	char channel[16] = "", lock[16] = "";
	if (c->listening)
		snprintf(channel, sizeof channel, "ch%d", c->id);
	if (c->lock)
		snprintf(lock, sizeof lock, "%d", c->id);
	snprintf(want, want_size, "c%d:%u|%s|%s|%s|%s|%s|postgres|%s|%s|%d|%s", c->id, n, c->now.v[WORK_MEM], c->now.v[LOCK_TIMEOUT],
	         c->now.v[APP_NAME], c->now.v[SEARCH_PATH], c->now.v[ROLE], c->temp ? "t" : "f", channel, c->hold, lock);
}

/* Which part of the row differs. */
enum category model_probe_category(const char *got, const char *want)
{
	static const enum category of_field[] = { MIX_ROW,  MIX_SETTING, MIX_SETTING, MIX_SETTING, MIX_SETTING, MIX_ROLE,
		                                      MIX_ROLE, MIX_TEMP,    MIX_NOTIFY,  MIX_CURSOR,  MIX_LOCK };
	size_t field = 0;
	while (*got && *got == *want) {
		field += *got == '|';
		got++, want++;
	}
	return field < sizeof of_field / sizeof *of_field ? of_field[field] : MIX_LOCK;
}
