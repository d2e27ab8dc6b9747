/*
 * command — the text of a command: which row of tbl/commands.h it is, and with what.  Its words: phrase.c.
 *
 * "SELECT x" is "SHOW x", as in PgBouncer's console.
 *
 * What is not understood is 08P01, as it is there: pgcli knows by it that this is no database.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "phrase.h"
#include "priv.h"

#define QUOTED_MAX 60 /* bytes of a command that an error shows */

#define SHOW_ROW(id, words, level, sentence) { words, ARGS_NONE, LEVEL_##level, sentence, &show_##id, ORDER_COUNT, NULL },
#define DO_ROW(id, words, args, level, lines, sentence) { words, ARGS_##args, LEVEL_##level, sentence, NULL, ORDER_##id, lines },
const struct command commands[] = { COMMANDS(SHOW_ROW, DO_ROW) };
const size_t n_commands = ARRAY_LEN(commands);

enum set_rule { SET_ANY, SET_NEVER, SET_UTF8, SET_ISO, SET_ON };
static const struct session_setting {
	const char *name, *value;
	enum set_rule rule;
} session_settings[] = {
#define SETTING_ROW(name, value, rule) { name, value, SET_##rule },
	CONSOLE_SESSION(SETTING_ROW)
};

/* ---- arguments ------------------------------------------------------------------------------------------------------------ */

/* "30s", "500ms", "2min", "1h", or seconds without a unit; 0 is none that anybody could wait, and so is more than a year. */
#define TIME_MOST (365ull * 24 * 3600 * US_PER_S)
static bool is_time(const struct phrase *w, unsigned i, uint64_t *us)
{
	static const struct {
		const char *unit;
		uint64_t us;
	} units[] = { { "", US_PER_S }, { "ms", US_PER_MS }, { "s", US_PER_S }, { "min", 60 * US_PER_S }, { "h", 3600 * US_PER_S } };
	const char *text = phrase_word(w, i);
	char *end;
	if (w->at[i].is_quoted || *text < '0' || *text > '9')
		return false;
	unsigned long long n = strtoull(text, &end, 10);
	for (size_t k = 0; k < ARRAY_LEN(units); k++)
		if (strcasecmp(units[k].unit, end) == 0) {
			*us = n <= TIME_MOST / units[k].us ? n * units[k].us : 0;
			return true;
		}
	return false;
}

/* What looks like a time is one: a database of that name stands in quotes. */
static bool read_pause(const struct phrase *w, unsigned at, struct call *call)
{
	unsigned left = w->n - at;
	uint64_t us;
	if (left && is_time(w, w->n - 1, &call->timeout_us)) {
		left--;
		if (!call->timeout_us)
			return false;
	}
	if (left > 1 || (left && is_time(w, at, &us)))
		return false;
	call->name = left ? mem_text(phrase_word(w, at)) : NULL;
	return true;
}

static bool read_number(const char *text, uint64_t *out)
{
	char *end;
	if (*text < '0' || *text > '9' || strlen(text) > 18)
		return false;
	*out = strtoull(text, &end, 10);
	return *end == '\0';
}

static bool read_until(const struct phrase *w, unsigned at, struct call *call)
{
	call->until = phrase_is(w, at, "WAIT_FOR_SERVERS")   ? ORDER_WAIT_FOR_SERVERS
	              : phrase_is(w, at, "WAIT_FOR_CLIENTS") ? ORDER_WAIT_FOR_CLIENTS
	                                                     : ORDER_NOW;
	return w->n == at + (call->until != ORDER_NOW);
}

/* key = value [value …]; or key TO value. */
static bool read_setting(const struct phrase *w, unsigned at, struct call *call)
{
	if (w->n != at + 3 || !(phrase_is(w, at + 1, "=") || phrase_is(w, at + 1, "TO")))
		return false;
	call->name = mem_text(phrase_word(w, at));
	call->value = mem_text(phrase_word(w, at + 2));
	return true;
}

static void add_text(char **to, const char *text)
{
	size_t len = *to ? strlen(*to) : 0, more = strlen(text);
	*to = mem_grow(*to, len + more + 1);
	memcpy(*to + len, text, more + 1);
}

/* NAME [key [= value]]…: its value becomes a line "key=value" or "key" for each. */
static bool read_task(const struct phrase *w, unsigned at, struct call *call)
{
	if (at >= w->n || strchr(phrase_word(w, at), '\n'))
		return false;
	call->name = mem_text(phrase_word(w, at++));
	call->value = mem_text("");
	while (at < w->n) {
		const char *key = phrase_word(w, at);
		bool has_value = phrase_is(w, at + 1, "=");
		if (!*key || strpbrk(key, "=\n") || (has_value && (at + 2 >= w->n || strchr(phrase_word(w, at + 2), '\n'))))
			return false;
		add_text(&call->value, key);
		if (has_value)
			add_text(&call->value, "=");
		if (has_value)
			add_text(&call->value, phrase_word(w, at + 2));
		add_text(&call->value, "\n");
		at += has_value ? 3 : 1;
	}
	return true;
}

/* [[TO] node] [ALLOW DATA LOSS]: number is 1 behind that. */
static bool read_failover(const struct phrase *w, unsigned at, struct call *call)
{
	unsigned end = w->n;
	if (end > at && phrase_is(w, end - 1, "ALLOW_DATA_LOSS"))
		end -= 1;
	else if (end > at + 2 && phrase_spells(w, end - 3, "ALLOW DATA LOSS"))
		end -= 3;
	else if (end == at + 3 && phrase_spells(w, at, "ALLOW DATA LOSS"))
		end = at;
	call->number = end != w->n;
	at += end == at + 2 && phrase_is(w, at, "TO");
	call->name = end == at + 1 ? mem_text(phrase_word(w, at)) : NULL;
	return end <= at + 1;
}

static const struct command *row_of(enum order_kind kind)
{
	const struct command *c = commands;
	while (c->order != kind)
		c++;
	return c;
}

/* [[TO] node] [FORCE] [DRY_RUN]: number is 1 with FORCE; DRY_RUN is a command of its own. */
static bool read_switchover(const struct phrase *w, unsigned at, struct call *call)
{
	unsigned end = w->n;
	for (;; end--) {
		if (end > at && phrase_is(w, end - 1, "FORCE"))
			call->number = 1;
		else if (end > at && phrase_is(w, end - 1, "DRY_RUN"))
			call->command = row_of(ORDER_switchover_dry_run);
		else
			break;
	}
	at += end == at + 2 && phrase_is(w, at, "TO");
	call->name = end == at + 1 ? mem_text(phrase_word(w, at)) : NULL;
	return end <= at + 1;
}

static bool read_args(const struct phrase *w, unsigned at, struct call *call)
{
	unsigned left = w->n - at;
	switch (call->command->args) {
	case ARGS_NONE:
		return left == 0;
	case ARGS_DATABASE:
	case ARGS_A_DATABASE:
	case ARGS_CLUSTER:
		call->name = left == 1 ? mem_text(phrase_word(w, at)) : NULL;
		return left == 1 || (left == 0 && (call->command->args == ARGS_DATABASE || call->command->args == ARGS_CLUSTER));
	case ARGS_NODE_TIME:
		at += left > 1 && phrase_is(w, at, "NODE");
		call->name = at < w->n ? mem_text(phrase_word(w, at++)) : NULL;
		return call->name && (at == w->n || (at + 1 == w->n && is_time(w, at, &call->timeout_us) && call->timeout_us));
	case ARGS_NODE:
		at += left == 2 && phrase_is(w, at, "NODE");
		call->name = w->n == at + 1 ? mem_text(phrase_word(w, at)) : NULL;
		return w->n == at + 1;
	case ARGS_LOSS:
		return read_failover(w, at, call);
	case ARGS_CANDIDATE:
		return read_switchover(w, at, call);
	case ARGS_PAUSE:
		return read_pause(w, at, call);
	case ARGS_CLIENT:
		return left == 1 && read_number(phrase_word(w, at), &call->number);
	case ARGS_UNTIL:
		return read_until(w, at, call);
	case ARGS_SETTING:
		return read_setting(w, at, call);
	case ARGS_TASK:
		return read_task(w, at, call);
	}
	return false;
}

/* ---- commands ------------------------------------------------------------------------------------------------------------- */

static const struct command *find_command(const struct phrase *w, unsigned *n)
{
	const struct command *found = NULL;
	*n = 0;
	for (size_t i = 0; i < n_commands; i++) {
		unsigned matched = phrase_spells(w, 0, commands[i].words);
		if (matched > *n) {
			*n = matched;
			found = &commands[i];
		}
	}
	return found;
}

static const struct session_setting *find_setting(const struct phrase *w, unsigned at, unsigned *n)
{
	for (size_t i = 0; i < ARRAY_LEN(session_settings); i++)
		if ((*n = phrase_spells(w, at, session_settings[i].name)))
			return &session_settings[i];
	return NULL;
}

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* A value that makes this console behave otherwise than its client would think is refused. */
static bool may_set(const struct session_setting *s, const char *value, struct err *err)
{
	static const char *const utf8[] = { "utf8", "utf-8", "unicode", "sql_ascii" }, *const on[] = { "on", "true", "yes", "1" };
	if (s->rule == SET_ANY || (s->rule == SET_UTF8 && is_one_of(value, utf8, ARRAY_LEN(utf8))) ||
	    (s->rule == SET_ON && is_one_of(value, on, ARRAY_LEN(on))) || (s->rule == SET_ISO && strncasecmp(value, "iso", 3) == 0) ||
	    strcasecmp(value, "default") == 0)
		return true;
	return err_set(err, "22023", "the console's %s is always \"%s\"", s->name, s->value);
}

enum found { FOUND_NOT, FOUND, FOUND_WRONG };
static enum found find_session_set(const struct phrase *w, struct call *call, struct err *err)
{
	unsigned at = 1, n;
	if (!phrase_is(w, 0, "SET"))
		return FOUND_NOT;
	const struct session_setting *s = find_setting(w, at, &n);
	if (!s && (phrase_is(w, 1, "SESSION") || phrase_is(w, 1, "LOCAL")))
		s = find_setting(w, ++at, &n);
	if (!s)
		return FOUND_NOT;
	at += n;
	at += phrase_is(w, at, "=") || phrase_is(w, at, "TO");
	if (at >= w->n)
		return FOUND_NOT;
	call->kind = CALL_SESSION_SET;
	return may_set(s, phrase_word(w, at), err) ? FOUND : FOUND_WRONG;
}

static bool find_session_show(const struct phrase *w, struct call *call)
{
	unsigned n;
	const struct session_setting *s = phrase_is(w, 0, "SHOW") ? find_setting(w, 1, &n) : NULL;
	if (!s || w->n != 1 + n)
		return false;
	call->kind = CALL_SESSION_SHOW;
	call->name = mem_text(s->name);
	call->value = mem_text(s->value);
	return true;
}

/* The words that begin and end transactions, in which drivers wrap everything. */
static bool find_transaction(const struct phrase *w, struct call *call)
{
	static const struct {
		const char *words;
		enum call_kind kind;
		bool may_go_on; /* BEGIN ISOLATION LEVEL … */
	} known[] = {
		{ "BEGIN", CALL_BEGIN, true },
		{ "START TRANSACTION", CALL_BEGIN, true },
		{ "COMMIT", CALL_COMMIT, false },
		{ "COMMIT TRANSACTION", CALL_COMMIT, false },
		{ "END", CALL_COMMIT, false },
		{ "ROLLBACK", CALL_ROLLBACK, false },
		{ "ROLLBACK TRANSACTION", CALL_ROLLBACK, false },
		{ "ABORT", CALL_ROLLBACK, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		unsigned n = phrase_spells(w, 0, known[i].words);
		if (!n || (n != w->n && !known[i].may_go_on))
			continue;
		call->kind = known[i].kind;
		return true;
	}
	return false;
}

static bool find_deallocate(const struct phrase *w, struct call *call)
{
	unsigned at = 1 + (w->n == 3 && phrase_is(w, 1, "PREPARE"));
	if (!phrase_is(w, 0, "DEALLOCATE") || w->n != at + 1)
		return false;
	call->kind = CALL_DEALLOCATE;
	call->name = phrase_is(w, at, "ALL") ? NULL : mem_text(phrase_word(w, at));
	return true;
}

/* What PgBouncer has and we do not. */
static bool refuse_suspend(struct err *err)
{
	err_set(err, "0A000", "there is no SUSPEND");
	err_hint(err,
	         "Nothing has to stand still for a new version: lunapool --takeover. To keep statements from the servers: PAUSE.");
	return false;
}

static bool refuse(struct slice text, struct call *call, struct err *err)
{
	size_t n = text.len;
	if (n > QUOTED_MAX)
		for (n = QUOTED_MAX; n > 0 && (text.at[n] & 0xc0) == 0x80;) /* not inside a character */
			n--;
	char syntax[160] = "";
	if (call->command)
		command_syntax(call->command, syntax, sizeof syntax);
	err_set(err, "08P01", "the console does not understand \"%.*s\"", (int)n, (const char *)text.at);
	err_hint(err, call->command ? "It should be: %s" : "SHOW HELP lists the commands.%s", syntax);
	call_fini(call);
	return false;
}

static const struct command *command_of(const struct view *view)
{
	size_t i = 0;
	while (commands[i].view != view)
		i++;
	return &commands[i];
}

static bool parse(struct phrase *w, struct slice text, struct call *call, struct err *err)
{
	unsigned n;
	if (!phrase_read(text, w))
		return refuse(text, call, err);
	if (w->n == 0)
		return true; /* CALL_NOTHING */
	if (phrase_is(w, 0, "SELECT"))
		memcpy(w->space, "SHOW", 5);
	w->at[0].text.len = strlen(phrase_word(w, 0));
	switch (find_session_set(w, call, err)) {
	case FOUND:
		return true;
	case FOUND_WRONG:
		call_fini(call);
		return false;
	case FOUND_NOT:
		break;
	}
	if (find_session_show(w, call) || find_transaction(w, call) || find_deallocate(w, call))
		return true;
	if (w->n == 1 && phrase_is(w, 0, "SUSPEND"))
		return refuse_suspend(err);
	call->command = find_command(w, &n);
	call->kind = CALL_COMMAND;
	return call->command && read_args(w, n, call) ? true : refuse(text, call, err);
}

bool call_parse(struct slice text, struct call *call, struct err *err)
{
	*call = (struct call){ 0 };
	if (text.len > COMMAND_MAX || memchr(text.at, 0, text.len))
		return refuse(text.len > COMMAND_MAX ? slice_of(text.at, QUOTED_MAX) : slice_text((const char *)text.at), call, err);
	if (explained_is_asked(text)) {
		call->kind = CALL_COMMAND;
		call->command = command_of(&show_explain_route);
		return explained_parse(text, call) ? true : refuse(text, call, err);
	}
	struct phrase *w = mem_alloc(sizeof *w);
	bool is_good = parse(w, text, call, err);
	mem_free(w);
	return is_good;
}

void call_fini(struct call *call)
{
	mem_free(call->name);
	mem_free(call->value);
	mem_free(call->text);
	*call = (struct call){ 0 };
}

void call_copy(struct call *to, const struct call *from)
{
	*to = *from;
	to->name = mem_text(from->name);
	to->value = mem_text(from->value);
	to->text = mem_text(from->text);
}

/* ---- what there is -------------------------------------------------------------------------------------------------------------- */

const char *command_syntax(const struct command *c, char *out, size_t size)
{
	static const char *const args[] = {
		[ARGS_NONE] = "",
		[ARGS_DATABASE] = " [database]",
		[ARGS_A_DATABASE] = " database",
		[ARGS_PAUSE] = " [database] [time]",
		[ARGS_CLIENT] = " id",
		[ARGS_UNTIL] = " [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
		[ARGS_SETTING] = " key = value",
		[ARGS_TASK] = " task [key [= value]]…",
		[ARGS_NODE_TIME] = " [NODE] node [time]",
		[ARGS_NODE] = " [NODE] node",
		[ARGS_CANDIDATE] = " [[TO] node] [FORCE]",
		[ARGS_LOSS] = " [[TO] node] [ALLOW_DATA_LOSS]",
		[ARGS_CLUSTER] = " [cluster]",
	};
	snprintf(out, size, "%s%s", c->words, c->view && c->view->syntax ? c->view->syntax : args[c->args]);
	return out;
}

static void print_columns(int fd, const struct view *v)
{
	for (unsigned k = 0; v && k < v->n_columns; k++)
		dprintf(fd, "%s%s", k ? ", " : "", v->columns[k].name);
}

static const char manual[] =
    "# Console commands\n\n"
    "Connect to the database `lunapool` with psql (`pgbouncer` is the same, unless a database block has that name), or use "
    "`lunapool ctl COMMAND` on the machine itself. Generated by `lunapool --docs commands`.\n\n"
    "Who may look is in `auth { stats_users }`, who may do anything in `auth { admin_users }`. Whoever runs Lunapool (and root) "
    "may do anything over the unix socket, as user `lunapool`, without a password. He comes in even when `max_clients` or "
    "`memory_limit` is reached; beyond `max_clients`, eight others may come in to the console, too.\n\n"
    "Columns have PgBouncer's names, types and order; our own come behind them. The console's own clients are in SHOW CLIENTS, "
    "SOCKETS, LISTS and LIMITS, but it is no database: it has no row in SHOW POOLS, DATABASES and STATS, and cannot be paused. "
    "A client that waits is counted in `cl_waiting`, and its wait in `maxwait`, whatever it waits for: a server, RESUME, a "
    "primary, `max_pinned`.\n\n"
    "A database named `*` means all of them. A time is `500ms`, `30s`, `2min`, `1h`, or a number of seconds; a database whose "
    "name "
    "looks like one, or has other characters than letters, digits and `_`, stands in quotes.\n\n"
    "| command | may | what | columns |\n|---|---|---|---|\n";

void console_print_manual(int fd)
{
	char syntax[160];
	dprintf(fd, "%s", manual);
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		dprintf(fd, "| %s | %s | %s | ", command_syntax(c, syntax, sizeof syntax), c->level == LEVEL_ADMIN ? "admin" : "stats",
		        c->sentence);
		print_columns(fd, c->view);
		dprintf(fd, "%s |\n", c->lines ? c->lines : "");
	}
}
