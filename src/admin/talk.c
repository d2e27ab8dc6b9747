/*
 * talk — one client's conversation with the console: simple Query here, the extended protocol with prepared.c.
 *
 *   reading --Query, Execute--> answering --rows, letters--> reading;   an error in an extended message: skipping --Sync--> reading
 *
 * A transaction is what drivers wrap everything in: BEGIN and COMMIT are remembered for ReadyForQuery, what was ordered in between has happened.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "priv.h"
#include "wire/frame.h"
#include "wire/pgerr.h"
#include "wire/reader.h"

/* ---- small messages ------------------------------------------------------------------------------------------------------------- */

void talk_say(struct writer *w, uint8_t type)
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

bool talk_may(const struct talk *t, const struct call *call, struct err *err)
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
		return prepared_deallocate(t, a->call.name, err);
	if (transact(t, a->call.kind))
		snprintf(tag, 64, "ROLLBACK"); /* so does PostgreSQL answer the COMMIT of what has failed */
	return true;
}

static void stop_running(struct talk *t)
{
	if (t->is_query)
		prepared_free(t->running);
	t->running = NULL;
}

static enum console_next complete(struct talk *t, struct writer *w)
{
	char tag[64];
	struct err err;
	if (t->running->answer.call.kind == CALL_NOTHING) {
		talk_say(w, 'I');
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
		talk_say(w, 's'); /* PortalSuspended */
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

static enum console_next take_query(struct talk *t, struct slice body, struct writer *w)
{
	struct reader r;
	struct call call;
	struct err err;
	reader_init(&r, body);
	struct slice text = reader_text(&r);
	t->is_query = true;
	if (!reader_ok(&r))
		text = body; /* without its NUL: read as far as it goes */
	prepared_forget_unnamed(t);
	if (!call_parse(text, &call, &err)) {
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	if (!talk_may(t, &call, &err)) {
		call_fini(&call);
		fail(t, &err, w);
		return CONSOLE_READ;
	}
	t->running = prepared_portal(t, &call);
	call_fini(&call);
	t->limit = UINT64_MAX;
	const struct answer *a = &t->running->answer;
	if (a->call.command && a->call.command->view == &show_help)
		say_usage(w);
	if (a->n_columns)
		table_describe(w, a->columns, a->n_columns, a->formats);
	return go_on(t, w);
}

static enum console_next take_sync(struct talk *t, struct writer *w)
{
	t->skips_to_sync = false;
	if (t->status == 'I')
		prepared_forget_portals(t); /* they live as long as a transaction */
	say_ready(t, w);
	return CONSOLE_READ;
}

/* Flush: nothing is held back.  What belongs to a COPY that is over: PostgreSQL passes over it, too. */
static bool is_idle_talk(uint8_t type)
{
	return type == 'H' || type == 'd' || type == 'c' || type == 'f';
}

static enum console_next talk_take(void *talk, const struct frame *f, struct writer *w)
{
	struct talk *t = talk;
	struct err err;
	t->is_cancelled = false;
	if (f->type == 'X')
		return CONSOLE_END;
	if (f->type == 'S')
		return take_sync(t, w);
	if (t->skips_to_sync || is_idle_talk(f->type)) /* a Query, too, as PostgreSQL does it */
		return CONSOLE_READ;
	if (f->type == 'Q')
		return take_query(t, f->body, w);
	t->is_query = f->type == 'F'; /* a FunctionCall is answered with its own ReadyForQuery */
	if (!prepared_take(t, f, w, &err)) {
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
	prepared_forget_portals(t);
	prepared_forget_statements(t);
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
