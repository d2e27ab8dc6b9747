/*
 * explained — EXPLAIN ROUTE [FOR database [AS user]] statement, on the console: the text of the command, and its answer.
 *
 * A session of that user is imagined, by the worker that has the console's client, as if it had just begun.
 */
#include <string.h>
#include <strings.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "phrase.h"
#include "priv.h"

/* ---- the command ---------------------------------------------------------------------------------------------------------------------------- */

static bool ends_word(uint8_t c)
{
	return c <= ' ' || c == '"' || c == '\'' || c == '(' || c == ';' || c == '/' || c == '-';
}

/* Past WORD, if TEXT begins with it. */
static bool takes(struct slice *text, const char *word)
{
	struct slice t = phrase_skip_blank(*text);
	size_t len = strlen(word);
	if (t.len < len || strncasecmp((const char *)t.at, word, len) != 0 || (t.len > len && !ends_word(t.at[len])))
		return false;
	*text = slice_skip(t, len);
	return true;
}

/* A word, or what stands in "quotes", where "" is a quote. */
static char *take_name(struct slice *text)
{
	struct slice t = phrase_skip_blank(*text);
	char *name = mem_alloc(t.len + 1), *to = name;
	bool is_quoted = t.len && t.at[0] == '"', is_closed = false;
	size_t i = is_quoted;
	for (; i < t.len && !is_closed; i++) {
		bool is_quote = is_quoted && t.at[i] == '"';
		is_closed = is_quoted ? is_quote && !(i + 1 < t.len && t.at[i + 1] == '"') : ends_word(t.at[i]) && t.at[i] != '-';
		i += is_quote && !is_closed;
		if (!is_closed)
			*to++ = (char)t.at[i];
	}
	*text = slice_skip(t, i - (is_closed && !is_quoted));
	if (to > name && (is_closed || !is_quoted))
		return name;
	mem_free(name);
	return NULL;
}

bool explained_is_asked(struct slice text)
{
	return takes(&text, "EXPLAIN") && takes(&text, "ROUTE");
}

bool explained_parse(struct slice text, struct call *call)
{
	bool is_good = takes(&text, "EXPLAIN") && takes(&text, "ROUTE");
	if (is_good && takes(&text, "FOR")) {
		call->name = take_name(&text);
		is_good = call->name;
		if (is_good && takes(&text, "AS")) {
			call->value = take_name(&text);
			is_good = call->value;
		}
	}
	while (text.len && text.at[0] <= ' ') /* comments are the statement's: there may be a hint in them */
		text = slice_skip(text, 1);
	if (!is_good || !text.len || text.at[0] == ';')
		return false;
	call->text = mem_textn((const char *)text.at, text.len);
	return true;
}

/* ---- the answer ----------------------------------------------------------------------------------------------------------------------------- */

/* The one that has a block of its own, if there is no other. */
static const char *only_database(const struct conf *conf)
{
	const char *name = conf->n_databases == 1 ? conf->databases[0].name : NULL;
	return name && strcmp(name, "*") != 0 ? name : NULL;
}

static void add_pair(void *arg, const char *what, const char *answer)
{
	struct table *t = arg;
	table_row(t);
	table_text(t, what);
	table_text(t, answer);
}

static void explained_rows(struct table *t)
{
	const struct call *call = t->call;
	const struct conf *conf = t->console->topo->conf;
	const char *database = call->name ? call->name : only_database(conf);
	if (!database)
		add_pair(t, "error", "in which database? EXPLAIN ROUTE FOR database statement");
	else if (!conf_database(conf, database))
		add_pair(t, "error", "there is no such database");
	else
		sessions_explain(t->console->sessions, database, call->value ? call->value : t->user, slice_text(call->text), add_pair,
		                 t);
}

static const struct column explain_route_columns[] = { { "what", COLUMN_TEXT }, { "answer", COLUMN_TEXT } };
const struct view show_explain_route = { .columns = explain_route_columns,
	                                     .n_columns = ARRAY_LEN(explain_route_columns),
	                                     .rows = explained_rows,
	                                     .syntax = " [FOR database [AS user]] statement",
	                                     .tag = "EXPLAIN" };
