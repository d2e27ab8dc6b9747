/*
 * answer — what a simulated server says to SQL: to what Lunapool itself asks, to what its library asks, and to what a test has taught it.
 *
 * A statement that nobody has taught it is an error, which says so.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ha/sample.h"
#include "priv.h"

enum { TYPE_BOOL = 16, TYPE_TEXT = 25 };
#define SYSTEM_ID "7300000000000000001"

static void add(struct answer *a, const char *name, unsigned type, const char *value)
{
	unsigned at = a->n_columns++;
	a->names[at] = name;
	a->types[at] = type;
	snprintf(a->text[at], sizeof a->text[at], "%s", value ? value : "");
	a->values[at] = value ? a->text[at] : NULL;
	a->n_rows = 1;
}

static void add_number(struct answer *a, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	add(a, "c", TYPE_TEXT, text);
}

static PRINTF_LIKE(3, 4) void fail(struct answer *a, const char *sqlstate, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	a->is_error = true;
	err_set(&a->err, sqlstate, "%s", text);
}

/* ---- the probe (ha/sample.c) ---------------------------------------------------------------------------------------------- */

/* "name TAB state" of those it streams to. */
static const char *peers_of(const struct sim *s, const struct node *n, char out[300])
{
	struct guard_sync sync = { 0 };
	size_t len = 0;
	const char *text = group_of(s, n)->sync;
	bool is_read = text && guard_read_sync(text, &sync);
	out[0] = 0;
	for (size_t i = 0; i < s->n; i++) {
		bool is_named = is_read && sync.is_any;
		if (s->nodes[i].source != (int)(n - s->nodes))
			continue;
		for (unsigned k = 0; is_read && k < sync.n; k++)
			is_named |= strcmp(sync.names[k], s->nodes[i].name) == 0;
		if (len < 300)
			len += (size_t)snprintf(out + len, 300 - len, "%s%s\t%s", len ? "\n" : "", s->nodes[i].name,
			                        is_named ? "quorum" : "async");
	}
	return len ? out : NULL;
}

static void sample(const struct sim *s, const struct node *n, struct answer *a)
{
	char peers[300], sender[100];
	bool r = n->in_recovery;
	const struct node *source = n->source < 0 ? NULL : &s->nodes[n->source];
	add(a, "c", TYPE_TEXT, r ? "t" : "f");
	if (r)
		add(a, "c", TYPE_TEXT, NULL);
	else
		add_number(a, n->lsn);
	add_number(a, n->lsn);
	if (r)
		add_number(a, n->replayed);
	else
		add(a, "c", TYPE_TEXT, NULL);
	if (r && !source)
		add(a, "c", TYPE_TEXT, NULL);
	else
		add_number(a, node_timeline(s, n));
	add(a, "c", TYPE_TEXT, r && source ? "streaming" : NULL);
	add_number(a, 8192);
	add_number(a, 16 << 20);
	add(a, "c", TYPE_TEXT, NULL);
	add(a, "c", TYPE_TEXT, SYSTEM_ID);
	add(a, "c", TYPE_TEXT, r ? source ? n->name : NULL : peers_of(s, n, peers));
	if (r)
		add_number(a, node_timeline(s, n));
	else
		add(a, "c", TYPE_TEXT, NULL);
	add(a, "c", TYPE_TEXT, r ? NULL : group_of(s, n)->sync ? group_of(s, n)->sync : "");
	if (source)
		snprintf(sender, sizeof sender, "%s:%u", source->host, source->port);
	add(a, "c", TYPE_TEXT, r && source ? sender : NULL);
	add(a, "c", TYPE_TEXT, r ? "0" : NULL);
}

/* ---- orders ------------------------------------------------------------------------------------------------------------------ */

static const enum hook_name hooks_of_acts[] = { HOOK_promote, HOOK_follow_primary };
static const char *const acts[] = { "promote", "follow_primary" };

/* Where the policy has a hook for it, that is what is called, and not this. */
static bool is_asked_for(struct sim *s, struct node *n, size_t act, struct answer *a)
{
	if (hooks_has(s->life.hooks, group_of(s, n)->name, hooks_of_acts[act]))
		return true;
	switch (act_begins(s, acts[act], (int)(n - s->nodes), n->is_promoting)) {
	case HOOK_RUNS:
		return true;
	case HOOK_FAILS:
		fail(a, "58000", "the test has it fail");
		return false;
	case HOOK_HANGS:
		a->is_silent = true;
		return false;
	}
	return false;
}

static void promote(struct sim *s, struct node *n, struct answer *a)
{
	if (!n->in_recovery) {
		fail(a, "55000", "recovery is not in progress");
		return;
	}
	if (!is_asked_for(s, n, 0, a))
		return;
	node_promote(s, n);
	add(a, "pg_promote", TYPE_BOOL, "t");
}

static void conninfo(struct sim *s, struct node *n, struct answer *a)
{
	char text[300] = "";
	if (!is_asked_for(s, n, 1, a))
		return;
	if (n->next_upstream >= 0)
		snprintf(text, sizeof text, "user=replicator application_name=%s host=%s port=%u", n->name,
		         s->nodes[n->next_upstream].host, s->nodes[n->next_upstream].port);
	add(a, "current_setting", TYPE_TEXT, text);
	add(a, "current_setting", TYPE_TEXT, "");
}

/* Of NAME=value, with or without quotes, as deep as they may be. */
static bool value_in(const char *text, const char *name, char *out, size_t room)
{
	const char *at = strstr(text, name);
	if (!at)
		return false;
	at += strlen(name);
	at += strspn(at, "'\\\"");
	snprintf(out, room, "%.*s", (int)strcspn(at, "'\\\" "), at);
	return true;
}

int node_in_conninfo(const struct sim *s, const char *text)
{
	char host[300], port[20] = "5432";
	if (!value_in(text, "host=", host, sizeof host))
		return SIM_NONE;
	value_in(text, "port=", port, sizeof port);
	return node_listening(s, host, (unsigned)strtoul(port, NULL, 10));
}

static void write_settings(struct sim *s, struct node *n, const char *sql, struct answer *a)
{
	if (n->has_full_disk)
		fail(a, "53100", "could not write to file: No space left on device");
	else
		n->next_upstream = node_in_conninfo(s, sql);
}

/* ---- all of it ----------------------------------------------------------------------------------------------------------------- */

static bool has(const char *sql, const char *what)
{
	return strcasestr(sql, what) != NULL;
}

/* "select pg_is_in_recovery() as NAME" */
static void say_recovery(struct node *n, const char *sql, struct answer *a)
{
	const char *as = strcasestr(sql, " as ");
	char name[64] = "pg_is_in_recovery";
	if (as)
		sscanf(as + 4, "%63[A-Za-z0-9_]", name);
	add(a, "c", TYPE_BOOL, n->in_recovery ? "t" : "f");
	snprintf(a->text[15], sizeof a->text[15], "%s", name);
	a->names[0] = a->text[15];
}

static bool taught(const struct sim *s, const struct node *n, const char *sql, struct answer *a)
{
	for (size_t i = s->n_lessons; i-- > 0;) {
		const struct lesson *l = &s->lessons[i];
		if ((l->node != SIM_ALL && &s->nodes[l->node] != n) || !has(sql, l->sql))
			continue;
		a->given = &l->reply;
		return true;
	}
	return false;
}

void answer_sql(struct sim *s, struct node *n, const char *sql, struct answer *a)
{
	if (taught(s, n, sql, a))
		return;
	a->is_silent = n->is_hung && (has(sql, "pg_logical_emit_message") || has(sql, "alter system") || has(sql, "checkpoint"));
	if (strcmp(sql, sample_sql(SAMPLE_ALL)) == 0)
		sample(s, n, a);
	else if (has(sql, "pg_promote("))
		promote(s, n, a);
	else if (has(sql, "current_setting('primary_conninfo')"))
		conninfo(s, n, a);
	else if (has(sql, "current_setting('primary_slot_name')"))
		add(a, "name", TYPE_TEXT, "");
	else if (has(sql, "alter system set primary_conninfo"))
		write_settings(s, n, sql, a);
	else if (has(sql, "pg_reload_conf()"))
		node_follow(s, n);
	else if (has(sql, "pg_logical_emit_message") && n->in_recovery)
		fail(a, "25006", "cannot execute it during recovery");
	else if (has(sql, "pg_logical_emit_message") && n->has_full_disk)
		fail(a, "53100", "could not write to file: No space left on device");
	else if (has(sql, "set_config('synchronous_commit'") && !has(sql, "pg_logical_emit_message"))
		add(a, "set_config", TYPE_TEXT, "local");
	else if (has(sql, "pg_is_in_recovery()"))
		say_recovery(n, sql, a);
	else if (!has(sql, "pg_logical_emit_message") && !has(sql, "pg_replication_slots") && strcasecmp(sql, "checkpoint") != 0)
		fail(a, "0A000", "a simulated server does not know this statement: teach it with sim:answers()");
}

/* ---- lessons -------------------------------------------------------------------------------------------------------------------- */

static void *copy(const void *from, size_t n, size_t size)
{
	void *to = mem_alloc((n + 1) * size);
	if (n)
		memcpy(to, from, n * size);
	return to;
}

static void copy_texts(const char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		texts[i] = texts[i] ? mem_text(texts[i]) : NULL;
}

static void free_texts(const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_free((void *)(uintptr_t)texts[i]);
	mem_free((void *)(uintptr_t)texts);
}

bool sim_teach(struct sim *s, int node, const char *sql, const struct world_reply *reply)
{
	size_t n_values = (size_t)reply->n_columns * reply->n_rows;
	if (s->n_lessons == LESSONS_MAX)
		return false;
	const char **names = copy(reply->names, reply->n_columns, sizeof *names),
	           **values = copy(reply->values, n_values, sizeof *values);
	copy_texts(names, reply->n_columns);
	copy_texts(values, n_values);
	struct lesson *l = &s->lessons[s->n_lessons++];
	*l = (struct lesson){ .node = node, .sql = mem_text(sql), .reply = *reply };
	l->reply.names = names;
	l->reply.values = values;
	l->reply.types = copy(reply->types, reply->n_columns, sizeof *reply->types);
	return true;
}

void lessons_forget(struct sim *s)
{
	while (s->n_lessons > 0) {
		struct lesson *l = &s->lessons[--s->n_lessons];
		free_texts(l->reply.names, l->reply.n_columns);
		free_texts(l->reply.values, (size_t)l->reply.n_columns * l->reply.n_rows);
		mem_free((void *)(uintptr_t)l->reply.types);
		mem_free(l->sql);
	}
}
