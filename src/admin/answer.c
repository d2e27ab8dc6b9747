/*
 * answer — what a command answers, written some rows at a time, so that neither a large table nor a slow reader costs much at once.
 *
 *   begun --rows written, more are there--> MORE | LIMIT --> … --> DONE
 *     \----order or survey sent--> WAIT --letter--> as above
 *
 * Always: it waits for at most one letter.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "priv.h"
#include "wire/frame.h"

#define PIECE_ROWS 128u

void answer_init(struct answer *a, const struct console *c, const struct call *call, const struct console_place *place,
                 const char *user)
{
	*a = (struct answer){ .console = c, .place = *place, .user = user };
	call_copy(&a->call, call);
	const struct command *command = call->command;
	if (command && command->view) {
		a->columns = command->view->columns;
		a->n_columns = command->view->n_columns;
	} else if (call->kind == CALL_SESSION_SHOW || (command && command->lines)) {
		a->line = (struct column){ command ? command->lines : a->call.name, COLUMN_TEXT };
		a->columns = &a->line;
		a->n_columns = 1;
	}
	writer_init_grow(&a->rows);
}

void answer_fini(struct answer *a)
{
	if (a->is_waiting && a->call.command && !a->call.command->view)
		order_abandon(a->console->shared, &a->place, true);
	if (a->items.free)
		a->items.free(&a->items);
	order_free(a->order);
	writer_fini(&a->rows);
	call_fini(&a->call);
}

void answer_tag(const struct answer *a, char out[64])
{
	static const char *const tags[] = {
		[CALL_SESSION_SHOW] = "SHOW", [CALL_SESSION_SET] = "SET",   [CALL_BEGIN] = "BEGIN",
		[CALL_COMMIT] = "COMMIT",     [CALL_ROLLBACK] = "ROLLBACK", [CALL_DEALLOCATE] = "DEALLOCATE"
	};
	const struct command *c = a->call.command;
	snprintf(out, 64, "%s", !c ? tags[a->call.kind] : !c->view ? c->words : c->view->tag ? c->view->tag : "SHOW");
	if (a->call.kind == CALL_DEALLOCATE && !a->call.name)
		snprintf(out, 64, "DEALLOCATE ALL");
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

static unsigned piece(uint64_t limit)
{
	return limit < PIECE_ROWS ? (unsigned)limit : PIECE_ROWS;
}

static void count(struct answer *a, uint64_t *limit, uint64_t rows)
{
	a->n_rows += rows;
	if (*limit != UINT64_MAX)
		*limit -= rows;
}

static enum answer_step after_piece(bool has_more, uint64_t limit)
{
	return !has_more ? ANSWER_DONE : limit ? ANSWER_MORE : ANSWER_LIMIT;
}

/* Of rows that are all written already. */
static enum answer_step pass_written(struct answer *a, uint64_t *limit, struct writer *w)
{
	struct slice all = writer_slice(&a->rows);
	size_t begin = a->at;
	unsigned n = 0;
	if (!all.len)
		return ANSWER_DONE;
	for (unsigned most = piece(*limit); n < most && a->at < all.len; n++)
		a->at += FRAME_HEADER + frame_body_len(all.at + a->at);
	writer_bytes(w, slice_of(all.at + begin, a->at - begin));
	count(a, limit, n);
	return after_piece(a->at < all.len, *limit);
}

static enum answer_step write_items(struct answer *a, uint64_t *limit, struct writer *w)
{
	struct table t;
	table_init(&t, w, a->console, a->columns, a->n_columns, a->formats);
	for (unsigned n = 0, most = piece(*limit); n < most && a->at < a->items.n; n++)
		a->call.command->view->row(&t, &a->items, a->at++);
	table_end(&t);
	count(a, limit, t.n_rows);
	return after_piece(a->at < a->items.n, *limit);
}

static enum answer_step ask_worker(struct answer *a)
{
	struct survey *s = mem_alloc(sizeof *s);
	s->home = a->console->shared;
	s->from = a->place;
	s->view = a->call.command->view;
	s->formats = a->formats;
	s->worker = a->worker;
	s->at = a->survey_at;
	s->most = PIECE_ROWS;
	a->is_waiting = true;
	survey_send(s);
	return ANSWER_WAIT;
}

static void write_all(struct answer *a)
{
	struct table t;
	table_init(&t, &a->rows, a->console, a->columns, a->n_columns, a->formats);
	t.call = &a->call;
	t.user = a->user;
	if (a->call.kind == CALL_SESSION_SHOW) {
		table_row(&t);
		table_text(&t, a->call.value);
	} else if (a->order) {
		for (size_t i = 0; i < a->order->n_lines; i++) {
			table_row(&t);
			table_text(&t, a->order->lines[i]);
		}
	} else {
		a->call.command->view->rows(&t);
	}
	table_end(&t);
}

static void begin_view(struct answer *a)
{
	const struct view *v = a->call.command ? a->call.command->view : NULL;
	if (!v || v->rows)
		write_all(a);
	else if (v->gather && !v->collect)
		v->gather(a->console, slice_of(NULL, 0), &a->items);
}

/* What a worker has written, then the next one is asked. */
static enum answer_step go_on_survey(struct answer *a, uint64_t *limit, struct writer *w)
{
	if (a->at == a->rows.len)
		return ask_worker(a);
	enum answer_step step = pass_written(a, limit, w);
	return step != ANSWER_DONE ? step : after_piece(a->worker < a->console->n_workers, *limit);
}

static enum answer_step go_on_view(struct answer *a, uint64_t *limit, struct writer *w)
{
	const struct view *v = a->call.command ? a->call.command->view : NULL;
	if (!v || v->rows)
		return pass_written(a, limit, w);
	if (v->collect && a->worker < a->console->n_workers)
		return ask_worker(a);
	return v->gather ? write_items(a, limit, w) : go_on_survey(a, limit, w);
}

/* ---- orders -------------------------------------------------------------------------------------------------------------------- */

static enum answer_step give_order(struct answer *a)
{
	const struct call *call = &a->call;
	struct order *o = order_new(a->console->shared, call->command->order);
	o->from = a->place;
	o->user = mem_text(a->user);
	if (call->command->args == ARGS_SETTING)
		o->key = mem_text(call->name);
	else
		o->database = mem_text(call->name);
	o->value = mem_text(call->value);
	o->number = call->number;
	o->timeout_us = call->timeout_us;
	o->until = call->until;
	a->is_waiting = true;
	order_send(o);
	return ANSWER_WAIT;
}

static enum answer_step take_order(struct answer *a, struct order *o, uint64_t *limit, struct writer *w, struct err *err)
{
	a->order = o;
	if (o->has_failed) {
		*err = o->err;
		return ANSWER_FAILED;
	}
	if (!a->n_columns)
		return ANSWER_DONE;
	begin_view(a);
	return go_on_view(a, limit, w);
}

/* ---- both ------------------------------------------------------------------------------------------------------------------------ */

/* What a worker has told; when all have, the rows are gathered. */
static enum answer_step take_collected(struct answer *a, struct survey *s, uint64_t *limit, struct writer *w)
{
	writer_bytes(&a->rows, writer_slice(&s->rows));
	survey_free(s);
	if (++a->worker == a->console->n_workers)
		a->call.command->view->gather(a->console, writer_slice(&a->rows), &a->items);
	return go_on_view(a, limit, w);
}

static enum answer_step take_survey(struct answer *a, struct survey *s, uint64_t *limit, struct writer *w)
{
	if (s->view->collect)
		return take_collected(a, s, limit, w);
	writer_fini(&a->rows);
	a->rows = s->rows;
	a->at = 0;
	writer_init_grow(&s->rows);
	a->survey_at = s->has_more ? s->at : 0;
	a->worker += !s->has_more;
	survey_free(s);
	return a->rows.len ? go_on_survey(a, limit, w) : after_piece(a->worker < a->console->n_workers, *limit);
}

enum answer_step answer_go_on(struct answer *a, uint64_t *limit, struct writer *w, struct err *err)
{
	bool is_order = a->call.command && !a->call.command->view;
	if (a->is_over || (!a->n_columns && !is_order))
		return ANSWER_DONE;
	if (!a->is_begun) {
		a->is_begun = true;
		if (is_order)
			return give_order(a);
		begin_view(a);
	}
	enum answer_step step = is_order ? pass_written(a, limit, w) : go_on_view(a, limit, w);
	a->is_over = step == ANSWER_DONE;
	return step;
}

enum answer_step answer_on_letter(struct answer *a, struct reply_letter *l, uint64_t *limit, struct writer *w, struct err *err)
{
	a->is_waiting = false;
	enum answer_step step =
	    l->is == REPLY_IS_ORDER ? take_order(a, l->order, limit, w, err) : take_survey(a, l->survey, limit, w);
	a->is_over = step == ANSWER_DONE || step == ANSWER_FAILED;
	return step;
}
