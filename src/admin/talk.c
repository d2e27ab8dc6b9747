/*
 * talk — one client's conversation with the console: simple Query, and the extended protocol without parameters.
 *
 *   reading --Query, Execute--> answering --rows, letters--> reading;   an error in an extended message: skipping --Sync--> reading
 *
 * Statements and portals are commands that were understood; a portal may be executed a few rows at a time.  A transaction is what drivers wrap
 * everything in: BEGIN and COMMIT are remembered for ReadyForQuery, what was ordered in between has happened.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "priv.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

#define NAMED_MAX 64u /* statements, and portals, of one client */

struct portal {
	struct answer answer;
	bool is_described; /* the client knows its columns */
};

struct talk {
	struct console *console;
	struct console_place place;
	char *user;
	bool is_owner, skips_to_sync, is_query, is_cancelled;
	char status;                    /* I, T or E */
	struct map statements, portals; /* struct call, struct portal; "" is the unnamed one */
	struct portal *running;         /* one of the portals, or a Query's own */
	uint64_t limit;                 /* rows that this Execute may still give */
};

/* ---- small messages ------------------------------------------------------------------------------------------------------------- */

static void say(struct writer *w, uint8_t type)
{
	writer_begin(w, type);
	writer_end(w);
}

static void say_ready(struct talk *t, struct writer *w)
{
	writer_begin(w, 'Z');
	writer_u8(w, (uint8_t)t->status);
	writer_end(w);
}

static void say_complete(const char *tag, struct writer *w)
{
	writer_begin(w, 'C');
	writer_text(w, tag);
	writer_end(w);
}

static void fail(struct talk *t, const struct err *err, struct writer *w)
{
	pgerr_write(w, 'E', "ERROR", err);
	if (t->status == 'T')
		t->status = 'E';
	if (t->is_query)
		say_ready(t, w);
	else
		t->skips_to_sync = true;
}

/* ---- who may -------------------------------------------------------------------------------------------------------------------- */

static bool is_listed(const struct conf_list *list, const char *user)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->at[i], user) == 0)
			return true;
	return false;
}

/* By the configuration of now: who was taken off the list may nothing from then on. */
static enum level level_of(const struct console *c, const char *user, bool is_owner)
{
	const struct conf_auth *auth = &c->topo->conf->auth;
	if (is_owner || is_listed(&auth->admin_users, user))
		return LEVEL_ADMIN;
	return is_listed(&auth->stats_users, user) ? LEVEL_STATS : LEVEL_NONE;
}

static bool may(const struct talk *t, const struct call *call, struct err *err)
{
	enum level has = level_of(t->console, t->user, t->is_owner);
	if (has == LEVEL_NONE || (call->command && call->command->level > has)) {
		err_set(err, "42501", "permission denied for %s", call->command ? call->command->words : "the console");
		err_hint(err, has == LEVEL_NONE ? "The user is not listed in auth stats_users or admin_users."
		                                : "This takes a user who is listed in auth admin_users.");
		return false;
	}
	if (t->status == 'E' && call->kind != CALL_COMMIT && call->kind != CALL_ROLLBACK && call->kind != CALL_NOTHING)
		return err_set(err, "25P02", "current transaction is aborted, commands ignored until end of transaction block");
	return true;
}

/* ---- statements and portals ------------------------------------------------------------------------------------------------------ */

static struct slice key_of(struct slice name)
{
	return slice_of(name.at, name.len + 1); /* with its NUL: no key is empty */
}

static void statement_free(struct call *call)
{
	if (!call)
		return;
	call_fini(call);
	mem_free(call);
}

static void portal_free(struct portal *p)
{
	if (!p)
		return;
	answer_fini(&p->answer);
	mem_free(p);
}

static void forget_portals(struct talk *t)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&t->portals, &it, &key, &value);)
		portal_free(value);
	map_fini(&t->portals);
}

static void forget_statements(struct talk *t)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&t->statements, &it, &key, &value);)
		statement_free(value);
	map_fini(&t->statements);
}

static bool deallocate(struct talk *t, const char *name, struct err *err)
{
	if (!name) {
		forget_statements(t);
		return true;
	}
	struct call *call = map_remove(&t->statements, key_of(slice_text(name)));
	statement_free(call);
	return call ? true : err_set(err, "26000", "prepared statement \"%s\" does not exist", name);
}

/* ---- running ----------------------------------------------------------------------------------------------------------------------- */

static bool transact(struct talk *t, enum call_kind kind)
{
	if (kind == CALL_BEGIN)
		t->status = 'T';
	else if (kind == CALL_COMMIT || kind == CALL_ROLLBACK) {
		bool was_failed = t->status == 'E';
		t->status = 'I';
		return was_failed;
	}
	return false;
}

static bool carry_out(struct talk *t, struct answer *a, char tag[64], struct err *err)
{
	answer_tag(a, tag);
	if (a->call.kind == CALL_DEALLOCATE)
		return deallocate(t, a->call.name, err);
	if (transact(t, a->call.kind))
		snprintf(tag, 64, "ROLLBACK"); /* so does PostgreSQL answer the COMMIT of what has failed */
	return true;
}

static void stop_running(struct talk *t)
{
	if (t->is_query)
		portal_free(t->running);
	t->running = NULL;
}

static enum console_next complete(struct talk *t, struct writer *w)
{
	char tag[64];
	struct err err;
	if (t->running->answer.call.kind == CALL_NOTHING) {
		say(w, 'I');
	} else if (carry_out(t, &t->running->answer, tag, &err)) {
		say_complete(tag, w);
	} else {
		stop_running(t);
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	stop_running(t);
	if (t->is_query)
		say_ready(t, w);
	return CONSOLE_READ;
}

static enum console_next after(struct talk *t, enum answer_step step, const struct err *err, struct writer *w)
{
	switch (step) {
	case ANSWER_MORE:
		return CONSOLE_MORE;
	case ANSWER_WAIT:
		return CONSOLE_WAIT;
	case ANSWER_LIMIT:
		say(w, 's'); /* PortalSuspended */
		stop_running(t);
		return CONSOLE_READ;
	case ANSWER_DONE:
		return complete(t, w);
	case ANSWER_FAILED:
		stop_running(t);
		fail(t, err, w);
		return CONSOLE_READ;
	}
	return CONSOLE_READ;
}

static enum console_next give_up(struct talk *t, struct writer *w)
{
	struct err err;
	t->is_cancelled = false;
	err_set(&err, "57014", "canceling statement due to user request");
	return after(t, ANSWER_FAILED, &err, w);
}

static enum console_next go_on(struct talk *t, struct writer *w)
{
	struct err err;
	return after(t, answer_go_on(&t->running->answer, &t->limit, w, &err), &err, w);
}

static enum console_next talk_more(void *talk, struct writer *w)
{
	struct talk *t = talk;
	return t->is_cancelled ? give_up(t, w) : go_on(t, w);
}

static enum console_next talk_on_letter(void *talk, void *letter, struct writer *w)
{
	struct talk *t = talk;
	struct err err;
	return after(t, answer_on_letter(&t->running->answer, letter, &t->limit, w, &err), &err, w);
}

/* PgBouncer's console tells its commands by a NOTICE, and pgcli shows nothing else of SHOW HELP. */
static void say_usage(struct writer *w)
{
	char syntax[160];
	writer_begin(w, 'N');
	writer_text(w, "SNOTICE");
	writer_text(w, "VNOTICE");
	writer_text(w, "C00000");
	writer_text(w, "MConsole usage");
	writer_u8(w, 'D');
	for (size_t i = 0; i < n_commands; i++) {
		writer_bytes(w, slice_text("\n\t"));
		writer_bytes(w, slice_text(command_syntax(&commands[i], syntax, sizeof syntax)));
	}
	writer_u8(w, 0);
	writer_u8(w, 0);
	writer_end(w);
}

/* ---- simple Query ----------------------------------------------------------------------------------------------------------------------- */

static struct portal *portal_new(struct talk *t, const struct call *call)
{
	struct portal *p = mem_alloc(sizeof *p);
	answer_init(&p->answer, t->console, call, &t->place, t->user);
	return p;
}

static enum console_next take_query(struct talk *t, struct slice body, struct writer *w)
{
	struct reader r;
	struct call call;
	struct err err;
	reader_init(&r, body);
	struct slice text = reader_text(&r);
	t->is_query = true;
	t->skips_to_sync = false;
	if (!reader_ok(&r))
		text = body; /* without its NUL: read as far as it goes */
	portal_free(map_remove(&t->portals, slice_of("", 1)));
	statement_free(map_remove(&t->statements, slice_of("", 1)));
	if (!call_parse(text, &call, &err)) {
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	if (!may(t, &call, &err)) {
		call_fini(&call);
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	t->running = portal_new(t, &call);
	call_fini(&call);
	t->limit = UINT64_MAX;
	const struct answer *a = &t->running->answer;
	if (a->call.command && a->call.command->view == &show_help)
		say_usage(w);
	if (a->n_columns)
		table_describe(w, a->columns, a->n_columns, a->formats);
	return go_on(t, w);
}

/* ---- the extended protocol ----------------------------------------------------------------------------------------------------------------- */

static bool malformed(struct err *err, const char *what)
{
	return err_set(err, "08P01", "malformed %s message", what);
}

static bool take_parse(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r), text = reader_text(&r);
	unsigned types = reader_u16(&r);
	reader_bytes(&r, 4u * types);
	if (!reader_done(&r))
		return malformed(err, "Parse");
	if (name.len && map_get(&t->statements, key_of(name)))
		return err_set(err, "42P05", "prepared statement \"%.*s\" already exists", (int)name.len, (const char *)name.at);
	if (types)
		return err_set(err, "0A000", "the console's commands have no parameters");
	if (map_len(&t->statements) >= NAMED_MAX && name.len)
		return err_set(err, "53400", "the console keeps at most %u prepared statements of a client", NAMED_MAX);
	struct call call, *kept;
	if (!call_parse(text, &call, err))
		return false;
	kept = mem_alloc(sizeof *kept);
	*kept = call;
	statement_free(map_put(&t->statements, key_of(name), kept));
	say(w, '1');
	return true;
}

/* Format codes: none, one for all columns, or one for each (PostgreSQL protocol, Bind). */
static bool read_formats(struct reader *r, unsigned n_columns, struct formats *out, struct err *err)
{
	unsigned n = reader_u16(r);
	out->binary = 0;
	for (unsigned i = 0; i < n && reader_ok(r); i++) {
		uint16_t code = reader_u16(r);
		if (code > 1)
			return err_set(err, "22023", "unsupported format code: %u", code);
		if (code && n > 1 && i < COLUMNS_MAX)
			out->binary |= 1ull << i;
		else if (code && n == 1)
			out->binary = UINT64_MAX;
	}
	if (reader_ok(r) && n > 1 && n != n_columns)
		return err_set(err, "08P01", "bind message has %u result formats but query has %u columns", n, n_columns);
	return true;
}

static bool read_bind(struct reader *r, struct portal *p, struct err *err)
{
	unsigned codes = reader_u16(r);
	reader_bytes(r, 2u * codes);
	unsigned params = reader_u16(r);
	if (!reader_ok(r))
		return malformed(err, "Bind");
	if (params || codes > 1)
		return err_set(err, "08P01", "bind message supplies %u parameters, but the console's commands have none", params);
	if (!read_formats(r, p->answer.n_columns, &p->answer.formats, err))
		return false;
	return reader_done(r) || malformed(err, "Bind");
}

static bool no_statement(struct slice name, struct err *err)
{
	if (!name.len)
		return err_set(err, "26000", "unnamed prepared statement does not exist");
	return err_set(err, "26000", "prepared statement \"%.*s\" does not exist", (int)name.len, (const char *)name.at);
}

static bool no_portal(struct slice name, struct err *err)
{
	return err_set(err, "34000", "portal \"%.*s\" does not exist", (int)name.len, (const char *)name.at);
}

static bool take_bind(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice portal = reader_text(&r), name = reader_text(&r);
	if (!reader_ok(&r))
		return malformed(err, "Bind");
	const struct call *call = map_get(&t->statements, key_of(name));
	if (!call)
		return no_statement(name, err);
	if (portal.len && map_get(&t->portals, key_of(portal)))
		return err_set(err, "42P03", "cursor \"%.*s\" already exists", (int)portal.len, (const char *)portal.at);
	if (map_len(&t->portals) >= NAMED_MAX && portal.len)
		return err_set(err, "53400", "the console keeps at most %u portals of a client", NAMED_MAX);
	struct portal *p = portal_new(t, call);
	if (!read_bind(&r, p, err)) {
		portal_free(p);
		return false;
	}
	portal_free(map_put(&t->portals, key_of(portal), p));
	say(w, '2');
	return true;
}

static void describe(const struct answer *a, struct formats formats, struct writer *w)
{
	if (a->n_columns)
		table_describe(w, a->columns, a->n_columns, formats);
	else
		say(w, 'n');
}

static bool describe_statement(struct talk *t, struct slice name, struct writer *w, struct err *err)
{
	const struct call *call = map_get(&t->statements, key_of(name));
	struct answer a;
	if (!call)
		return no_statement(name, err);
	writer_begin(w, 't');
	writer_u16(w, 0);
	writer_end(w);
	answer_init(&a, t->console, call, &t->place, t->user);
	describe(&a, (struct formats){ 0 }, w);
	answer_fini(&a);
	return true;
}

static bool take_describe(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	uint8_t what = reader_u8(&r);
	struct slice name = reader_text(&r);
	if (!reader_done(&r) || (what != 'S' && what != 'P'))
		return malformed(err, "Describe");
	if (what == 'S')
		return describe_statement(t, name, w, err);
	const struct portal *p = map_get(&t->portals, key_of(name));
	if (!p)
		return no_portal(name, err);
	describe(&p->answer, p->answer.formats, w);
	return true;
}

static bool take_close(struct talk *t, struct slice body, struct writer *w, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	uint8_t what = reader_u8(&r);
	struct slice name = reader_text(&r);
	if (!reader_done(&r) || (what != 'S' && what != 'P'))
		return malformed(err, "Close");
	if (what == 'S')
		statement_free(map_remove(&t->statements, key_of(name)));
	else
		portal_free(map_remove(&t->portals, key_of(name)));
	say(w, '3');
	return true;
}

/* Sets t->running. */
static bool take_execute(struct talk *t, struct slice body, struct err *err)
{
	struct reader r;
	reader_init(&r, body);
	struct slice name = reader_text(&r);
	int32_t limit = reader_i32(&r);
	if (!reader_done(&r))
		return malformed(err, "Execute");
	struct portal *p = map_get(&t->portals, key_of(name));
	if (!p)
		return no_portal(name, err);
	if (!may(t, &p->answer.call, err))
		return false;
	if (p->answer.is_over && !p->answer.n_columns)
		return err_set(err, "55000", "portal \"%.*s\" cannot be run", (int)name.len, (const char *)name.at);
	t->running = p;
	t->limit = limit > 0 ? (uint64_t)limit : UINT64_MAX;
	return true;
}

static bool take_extended(struct talk *t, const struct frame *f, struct writer *w, struct err *err)
{
	switch (f->type) {
	case 'P':
		return take_parse(t, f->body, w, err);
	case 'B':
		return take_bind(t, f->body, w, err);
	case 'D':
		return take_describe(t, f->body, w, err);
	case 'C':
		return take_close(t, f->body, w, err);
	case 'E':
		return take_execute(t, f->body, err);
	default:
		return err_set(err, "0A000", "the console does not take %s messages", frame_name(FRAME_FROM_CLIENT, f->type));
	}
}

static enum console_next talk_take(void *talk, const struct frame *f, struct writer *w)
{
	struct talk *t = talk;
	struct err err;
	t->is_cancelled = false;
	switch (f->type) {
	case 'Q':
		return take_query(t, f->body, w);
	case 'X':
		return CONSOLE_END;
	case 'S':
		t->skips_to_sync = false;
		if (t->status == 'I')
			forget_portals(t); /* they live as long as a transaction */
		say_ready(t, w);
		return CONSOLE_READ;
	case 'H':
		return CONSOLE_READ;
	default:
		break;
	}
	t->is_query = f->type == 'F'; /* a FunctionCall is answered with its own ReadyForQuery */
	if (t->skips_to_sync && !t->is_query)
		return CONSOLE_READ;
	if (!take_extended(t, f, w, &err)) {
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	return t->running ? go_on(t, w) : CONSOLE_READ;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------- */

static void *talk_begin(void *arg, const char *user, bool is_owner, const struct console_place *place, struct err *err)
{
	struct console *c = arg;
	if (level_of(c, user, is_owner) == LEVEL_NONE) {
		err_set(err, "42501", "permission denied for database \"%s\"", CONSOLE_DATABASE);
		return NULL;
	}
	struct talk *t = mem_alloc(sizeof *t);
	t->console = c;
	t->place = *place;
	t->user = mem_text(user);
	t->is_owner = is_owner;
	t->status = 'I';
	return t;
}

static void talk_cancel(void *talk)
{
	struct talk *t = talk;
	if (!t->running)
		return;
	if (t->running->answer.is_waiting && !t->running->answer.call.command->view)
		order_abandon(t->console->shared, &t->place, false); /* its answer says what became of it */
	else
		t->is_cancelled = true;
}

static void talk_end(void *talk)
{
	struct talk *t = talk;
	stop_running(t);
	forget_portals(t);
	forget_statements(t);
	mem_free(t->user);
	mem_free(t);
}

const struct session_console talk_ops = {
	.begin = talk_begin,
	.take = talk_take,
	.more = talk_more,
	.on_letter = talk_on_letter,
	.cancel = talk_cancel,
	.end = talk_end,
};

struct session_console console_for_sessions(struct console *c)
{
	struct session_console ops = talk_ops;
	ops.arg = c;
	return ops;
}
