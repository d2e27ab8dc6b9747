/*
 * plan — what a flight holds, and what PostgreSQL answers to it.
 *
 * A segment is a Query or the messages up to a Sync.  Outside a transaction it is one by itself: at_begin_session is what a failure goes back to,
 * BEGIN in it takes along what came before, COMMIT and ROLLBACK start anew.  After an error in an extended segment nothing is looked at up to the
 * Sync; after one in a Query the rest of it is void.  Prepared statements stay whatever becomes of their transaction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flight.h"

enum kind {
	ECHO,
	PROBE,
	WHERE, /* a name that the search_path finds */
	SET,
	LOCAL,
	RESET,
	ZERO,
	NOPE,
	NOWHERE,
	BEGIN,
	COMMIT,
	ROLLBACK,
	SAVE,
	BACK,
	COUNT,
	PREPARE,
	EXECUTE,
	DEALLOCATE,
	COPY_OUT,
};

struct stmt {
	enum kind kind;
	unsigned n, k;
	enum setting setting;
	char sql[1024], value[64];

	/* what comes of it */
	char error[6], phase; /* of the extended protocol in which it fails: P, B or E */
	bool has_rows;
	char row[384], tag[24];
	enum category category;
};

static const char *where_of(const struct client *c)
{
	static char schema[16];
	const char *at = strstr(c->now.v[SEARCH_PATH], "mix_s");
	snprintf(schema, sizeof schema, "%s", at ? at : "public");
	return schema;
}

static enum kind pick_kind(const struct client *c)
{
	static const enum kind idle[] = { ECHO,    ECHO,    PROBE,      PROBE,    PROBE,  WHERE,    WHERE,  SET,   SET,
		                              RESET,   ZERO,    NOPE,       BEGIN,    BEGIN,  BEGIN,    COUNT,  COUNT, COUNT,
		                              PREPARE, EXECUTE, DEALLOCATE, COPY_OUT, COMMIT, ROLLBACK, NOWHERE },
	                       inside[] = { ECHO,   PROBE,    PROBE,    WHERE,   SET,     LOCAL,     LOCAL,  RESET,
		                                ZERO,   NOPE,     SAVE,     BACK,    COUNT,   COUNT,     COMMIT, COMMIT,
		                                COMMIT, ROLLBACK, ROLLBACK, PREPARE, EXECUTE, DEALLOCATE },
	                       broken[] = { ECHO, SET, COMMIT, COMMIT, ROLLBACK, ROLLBACK, BACK, EXECUTE };
	enum kind k = c->tx == 'I'   ? idle[rnd(sizeof idle / sizeof *idle)]
	              : c->tx == 'T' ? inside[rnd(sizeof inside / sizeof *inside)]
	                             : broken[rnd(sizeof broken / sizeof *broken)];
	if ((k == COUNT && c->counted) || k == RESET)
		return PROBE;
	return k == BACK && !c->has_save ? ROLLBACK : k;
}

static bool is_of_names(const struct stmt *st)
{
	return st->kind == PREPARE || st->kind == EXECUTE || st->kind == DEALLOCATE;
}

static bool is_end(const struct stmt *st)
{
	return st->kind == COMMIT || st->kind == ROLLBACK;
}

static void write_setting(struct client *c, struct stmt *st)
{
	st->setting = rnd(SETTINGS);
	setting_value(c, st->setting, st->value, sizeof st->value);
	snprintf(st->sql, sizeof st->sql, st->setting == SEARCH_PATH ? "set %s%s = %s" : "set %s%s = '%s'",
	         st->kind == LOCAL ? "local " : "", setting_name(st->setting), st->value);
}

static void stmt_pick(struct client *c, struct flight *f, struct stmt *st)
{
	static const char *const fixed[] = {
		[ZERO] = "select 1/0", [NOPE] = "select nope",  [NOWHERE] = "execute nowhere", [BEGIN] = "begin",
		[COMMIT] = "commit",   [ROLLBACK] = "rollback", [SAVE] = "savepoint x",        [BACK] = "rollback to x"
	};
	memset(st, 0, sizeof *st);
	st->kind = pick_kind(c);
	st->n = rnd(1000000);
	st->k = rnd(8);
	switch (st->kind) {
	case ECHO:
		snprintf(st->sql, sizeof st->sql, "select 'c%d:%u'", c->id, st->n);
		break;
	case PROBE:
		snprintf(st->sql, sizeof st->sql,
		         "select concat_ws('|', 'c%d:%u', current_setting('work_mem'), current_setting('lock_timeout'), "
		         "current_setting('application_name'), current_setting('search_path'), current_user, (select v from whoami))",
		         c->id, st->n);
		break;
	case WHERE:
		snprintf(st->sql, sizeof st->sql, "select 'c%d:' || v from whoami", c->id);
		break;
	case SET:
	case LOCAL:
		write_setting(c, st);
		break;
	case RESET:
		st->setting = rnd(SETTINGS);
		snprintf(st->sql, sizeof st->sql, "reset %s", setting_name(st->setting));
		break;
	case COUNT:
		f->counts++; /* also where it is skipped: after a cancel it may not be */
		snprintf(st->sql, sizeof st->sql, "update public.mix set n = n + 1 where id = %d and life = %u returning 'c%d:' || n",
		         c->id, c->life, c->id);
		break;
	case PREPARE:
		snprintf(st->sql, sizeof st->sql, "prepare s%u (text) as select 'c%d:%u:' || $1", st->k, c->id, st->n);
		break;
	case EXECUTE:
		snprintf(st->sql, sizeof st->sql, "execute s%u('%u')", st->k, st->n);
		break;
	case DEALLOCATE:
		snprintf(st->sql, sizeof st->sql, "deallocate s%u", st->k);
		break;
	case COPY_OUT:
		snprintf(st->sql, sizeof st->sql, "copy (select 'c%d' from generate_series(1, 3)) to stdout", c->id);
		break;
	default:
		snprintf(st->sql, sizeof st->sql, "%s", fixed[st->kind]);
	}
}

static void undo(struct client *c)
{
	model_rollback(c);
}

static void commit_here(struct client *c, struct flight *f)
{
	c->committed += c->counted;
	c->counted = c->has_save = false;
	c->portal = 0;
	c->tx = 'I';
	c->now = c->at_begin_session = c->session;
	if (f->marks == FLIGHT_MARKS)
		abort();
	f->mark[f->marks].at = f->out_len;
	f->mark[f->marks++].committed = c->committed;
}

static void stmt_fails(struct stmt *st, const char *state, char phase)
{
	memcpy(st->error, state, 6);
	st->phase = phase;
}

static void stmt_row(struct stmt *st, enum category category, const char *tag)
{
	st->has_rows = true;
	st->category = category;
	snprintf(st->tag, sizeof st->tag, "%s", tag);
}

static void stmt_tag(struct stmt *st, enum category category, const char *tag)
{
	st->category = category;
	snprintf(st->tag, sizeof st->tag, "%s", tag);
}

static void stmt_sets(struct client *c, struct stmt *st)
{
	const char *value = st->kind == RESET ? c->defaults.v[st->setting] : st->value;
	snprintf(c->now.v[st->setting], sizeof c->now.v[0], "%s", value);
	if (st->kind != LOCAL)
		snprintf(c->session.v[st->setting], sizeof c->session.v[0], "%s", value);
	stmt_tag(st, MIX_SETTING, st->kind == RESET ? "RESET" : "SET");
}

static void stmt_names(struct client *c, struct stmt *st)
{
	unsigned bit = 1u << st->k;
	bool exists = c->statements & bit;
	if (st->kind == PREPARE ? exists : !exists)
		stmt_fails(st, exists ? "42P05" : "26000", 'E');
	else if (st->kind == PREPARE) {
		c->statements |= bit;
		c->version[st->k] = st->n;
		stmt_tag(st, MIX_STATEMENT, "PREPARE");
	} else if (st->kind == EXECUTE) {
		snprintf(st->row, sizeof st->row, "c%d:%u:%u", c->id, c->version[st->k], st->n);
		stmt_row(st, MIX_STATEMENT, "SELECT 1");
	} else {
		c->statements &= ~bit;
		stmt_tag(st, MIX_STATEMENT, "DEALLOCATE");
	}
}

static void stmt_ends(struct client *c, struct flight *f, struct stmt *st)
{
	bool commits = st->kind == COMMIT && c->tx != 'E';
	if (commits)
		commit_here(c, f);
	else
		undo(c);
	stmt_tag(st, MIX_TRANSACTION, commits ? "COMMIT" : "ROLLBACK");
}

/* What PostgreSQL makes of it now. */
static void stmt_run(struct client *c, struct flight *f, struct stmt *st)
{
	if (failed(c) && st->kind != COMMIT && st->kind != ROLLBACK && st->kind != BACK) {
		stmt_fails(st, "25P02", 'P');
		return;
	}
	switch (st->kind) {
	case ECHO:
		snprintf(st->row, sizeof st->row, "c%d:%u", c->id, st->n);
		stmt_row(st, MIX_ROW, "SELECT 1");
		break;
	case PROBE:
		snprintf(st->row, sizeof st->row, "c%d:%u|%s|%s|%s|%s|%s|%s", c->id, st->n, c->now.v[WORK_MEM], c->now.v[LOCK_TIMEOUT],
		         c->now.v[APP_NAME], c->now.v[SEARCH_PATH], c->now.v[ROLE], where_of(c));
		stmt_row(st, MIX_SETTING, "SELECT 1");
		break;
	case WHERE:
		snprintf(st->row, sizeof st->row, "c%d:%s", c->id, where_of(c));
		stmt_row(st, MIX_SETTING, "SELECT 1");
		break;
	case SET:
	case LOCAL:
	case RESET:
		stmt_sets(c, st);
		break;
	case ZERO: /* folded when it is planned */
		st->has_rows = true;
		stmt_fails(st, "22012", 'B');
		break;
	case NOPE:
		stmt_fails(st, "42703", 'P');
		break;
	case NOWHERE:
		stmt_fails(st, "26000", 'E');
		break;
	case BEGIN:
		c->tx = 'T';
		c->has_save = false;
		tally.transactions++;
		stmt_tag(st, MIX_TRANSACTION, "BEGIN");
		break;
	case COMMIT:
	case ROLLBACK:
		stmt_ends(c, f, st);
		break;
	case SAVE:
		model_save(c);
		stmt_tag(st, MIX_TRANSACTION, "SAVEPOINT");
		break;
	case BACK:
		model_back_to_save(c);
		stmt_tag(st, MIX_TRANSACTION, "ROLLBACK");
		break;
	case COUNT:
		c->counted = true;
		snprintf(st->row, sizeof st->row, "c%d:%ld", c->id, c->committed + 1);
		stmt_row(st, MIX_COMMIT, "UPDATE 1");
		break;
	case COPY_OUT:
		stmt_tag(st, MIX_ROW, "COPY 3");
		break;
	default:
		stmt_names(c, st);
	}
}

static void want_copy(struct client *c, struct flight *f)
{
	flight_want(f, 'H', MIX_ROW, "%s", "");
	for (int i = 0; i < 3; i++)
		flight_want(f, 'd', MIX_ROW, "c%d\n", c->id);
	flight_want(f, 'c', MIX_ROW, "%s", "");
}

/* An error undoes what is not inside BEGIN. */
static void fails(struct client *c, struct flight *f, const char *state)
{
	flight_want(f, 'E', MIX_TRANSACTION, "%s", state);
	if (c->tx == 'I')
		undo(c);
	else
		c->tx = 'E';
}

/* -- a Query */

static void query_stmt(struct client *c, struct flight *f, struct stmt *st)
{
	stmt_run(c, f, st);
	if (st->error[0]) {
		f->is_skipping = true;
		fails(c, f, st->error);
		return;
	}
	if (st->has_rows) {
		flight_want(f, 'T', st->category, "%s", "");
		flight_want(f, 'D', st->category, "%s", st->row);
	} else if (st->kind == COPY_OUT)
		want_copy(c, f);
	flight_want(f, 'C', st->category, "%s", st->tag);
}

/* Lines that come when no COPY began are not looked at. */
static void plan_copy_in(struct client *c, struct flight *f)
{
	char line[24];
	snprintf(line, sizeof line, "c%d\n", c->id);
	flight_put_query(f, "copy public.mix_copy from stdin");
	flight_put_copy(f, line);
	if (failed(c))
		fails(c, f, "25P02");
	else {
		flight_want(f, 'G', MIX_ROW, "%s", "");
		flight_want(f, 'C', MIX_ROW, "COPY 1");
	}
}

static void plan_statements(struct client *c, struct flight *f)
{
	char sql[4096] = "";
	bool was_failed = failed(c);
	for (unsigned n = rnd(3) ? 1 : 1 + rnd(4); n > 0; n--) {
		struct stmt st;
		stmt_pick(c, f, &st);
		if (sql[0] && (st.kind == SAVE || st.kind == BACK))
			break;
		if (sql[0] && was_failed && is_of_names(&st)) /* docs/limits.md: 25P02 */
			break;
		if (sql[0])
			strcat(sql, "; ");
		strcat(sql, st.sql);
		if (!f->is_skipping)
			query_stmt(c, f, &st);
		if (is_end(&st))
			break;
	}
	flight_put_query(f, sql);
}

static void plan_query(struct client *c, struct flight *f)
{
	unsigned what = rnd(30);
	if (what == 0)
		plan_copy_in(c, f);
	else if (what == 1) {
		flight_put_query(f, "");
		flight_want(f, 'I', MIX_ROW, "%s", "");
	} else
		plan_statements(c, f);
	f->is_skipping = false;
	if (c->tx == 'I')
		commit_here(c, f);
	flight_want(f, 'Z', MIX_TRANSACTION, "%c", c->tx);
}

/* -- an extended segment; what is planned while it skips is sent, and nothing comes of it */

static void want(struct flight *f, char type, enum category category, const char *text)
{
	if (!f->is_skipping)
		flight_want(f, type, category, "%s", text);
}

static void extended_fails(struct client *c, struct flight *f, const char *state)
{
	if (!f->is_skipping)
		fails(c, f, state);
	f->is_skipping = true;
}

/* False: it ends the segment. */
static bool extended_stmt(struct client *c, struct flight *f)
{
	struct stmt st;
	bool describes = rnd(2);
	stmt_pick(c, f, &st);
	flight_put_parse(f, "", st.sql);
	flight_put_bind(f, "", "", NULL);
	if (describes)
		flight_put_named(f, 'D', 'P', "");
	flight_put_execute(f, "", 0);
	if (f->is_skipping)
		return !is_end(&st);
	stmt_run(c, f, &st);
	if (st.phase != 'P')
		want(f, '1', MIX_STATEMENT, "");
	if (st.phase != 'P' && st.phase != 'B') {
		want(f, '2', MIX_STATEMENT, "");
		if (describes)
			want(f, st.has_rows ? 'T' : 'n', MIX_STATEMENT, "");
	}
	if (st.error[0]) {
		extended_fails(c, f, st.error);
		return true;
	}
	if (st.has_rows)
		want(f, 'D', st.category, st.row);
	else if (st.kind == COPY_OUT)
		want_copy(c, f);
	want(f, 'C', st.category, st.tag);
	return !is_end(&st);
}

static void named_parse(struct client *c, struct flight *f)
{
	unsigned k = rnd(8), version = rnd(1000);
	char name[8], sql[64];
	snprintf(name, sizeof name, "s%u", k);
	snprintf(sql, sizeof sql, "select 'c%d:%u:' || $1::text", c->id, version);
	flight_put_parse(f, name, sql);
	if (f->is_skipping)
		return;
	if (failed(c) || c->statements & 1u << k) {
		extended_fails(c, f, failed(c) ? "25P02" : "42P05");
		return;
	}
	want(f, '1', MIX_STATEMENT, "");
	c->statements |= 1u << k;
	c->version[k] = version;
}

static void named_execute(struct client *c, struct flight *f)
{
	unsigned k = rnd(8), n = rnd(1000000);
	char name[8], param[16], row[64];
	snprintf(name, sizeof name, "s%u", k);
	snprintf(param, sizeof param, "%u", n);
	flight_put_bind(f, "", name, param);
	flight_put_execute(f, "", 0);
	if (f->is_skipping)
		return;
	if (!(c->statements & 1u << k) || failed(c)) {
		extended_fails(c, f, c->statements & 1u << k ? "25P02" : "26000");
		return;
	}
	snprintf(row, sizeof row, "c%d:%u:%u", c->id, c->version[k], n);
	want(f, '2', MIX_STATEMENT, "");
	want(f, 'D', MIX_STATEMENT, row);
	want(f, 'C', MIX_STATEMENT, "SELECT 1");
}

static void named_close(struct client *c, struct flight *f)
{
	unsigned k = rnd(8);
	char name[8];
	snprintf(name, sizeof name, "s%u", k);
	flight_put_named(f, 'C', 'S', name);
	if (f->is_skipping)
		return;
	want(f, '3', MIX_STATEMENT, "");
	c->statements &= ~(1u << k);
}

#define PORTAL_ROWS 20

static void portal_fetch(struct client *c, struct flight *f, unsigned limit)
{
	char portal[16], row[32], tag[24];
	snprintf(portal, sizeof portal, "p%u", c->portal);
	flight_put_execute(f, portal, limit);
	if (f->is_skipping)
		return;
	if (failed(c)) {
		extended_fails(c, f, "25P02");
		return;
	}
	unsigned n = 0;
	for (; c->portal_at < PORTAL_ROWS && (!limit || n < limit); n++) {
		snprintf(row, sizeof row, "c%d:%u", c->id, ++c->portal_at);
		want(f, 'D', MIX_CURSOR, row);
	}
	snprintf(tag, sizeof tag, "SELECT %u", n);
	if (limit && n == limit)
		want(f, 's', MIX_CURSOR, "");
	else
		want(f, 'C', MIX_CURSOR, tag);
}

static void portal_open(struct client *c, struct flight *f)
{
	static unsigned portals;
	char portal[16], sql[128];
	unsigned number = ++portals;
	snprintf(portal, sizeof portal, "p%u", number);
	snprintf(sql, sizeof sql, "select 'c%d:' || g from generate_series(1, %d) g", c->id, PORTAL_ROWS);
	flight_put_parse(f, "", sql);
	flight_put_bind(f, portal, "", NULL);
	if (f->is_skipping)
		return;
	if (failed(c)) {
		extended_fails(c, f, "25P02");
		return;
	}
	want(f, '1', MIX_CURSOR, "");
	want(f, '2', MIX_CURSOR, "");
	c->portal = number;
	c->portal_at = 0;
	portal_fetch(c, f, 1 + rnd(9));
}

static void plan_portal(struct client *c, struct flight *f)
{
	char portal[16];
	if (!c->portal)
		portal_open(c, f);
	else if (rnd(4))
		portal_fetch(c, f, rnd(9));
	else {
		snprintf(portal, sizeof portal, "p%u", c->portal);
		flight_put_named(f, 'C', 'P', portal);
		if (f->is_skipping)
			return;
		want(f, '3', MIX_CURSOR, "");
		c->portal = 0;
	}
}

static void plan_extended(struct client *c, struct flight *f, bool has_sync)
{
	for (unsigned n = 1 + rnd(5); n > 0; n--) {
		unsigned what = rnd(20);
		if (what < 10 && !extended_stmt(c, f))
			break;
		if (what < 10)
			continue;
		if (what < 12)
			named_parse(c, f);
		else if (what < 15)
			named_execute(c, f);
		else if (what < 16)
			named_close(c, f);
		else if (what < 18)
			plan_portal(c, f);
		else
			flight_put_bare(f, 'H');
	}
	if (!has_sync) {
		flight_put_bare(f, 'H');
		return;
	}
	flight_put_bare(f, 'S');
	f->is_skipping = false;
	if (c->tx == 'I')
		commit_here(c, f);
	flight_want(f, 'Z', MIX_TRANSACTION, "%c", c->tx);
}

/* One that leaves does so before the last Sync. */
void plan_flight(struct client *c, struct flight *f)
{
	for (unsigned segments = 1 + rnd(6); segments > 0; segments--) {
		bool is_last = segments == 1;
		if (c->tx == 'I')
			c->at_begin_session = c->session;
		if ((is_last && f->leaves) || rnd(2))
			plan_extended(c, f, !(is_last && f->leaves));
		else
			plan_query(c, f);
	}
}
