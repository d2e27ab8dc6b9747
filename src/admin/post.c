/*
 * post — letters of the console: orders to the control thread and back, errands of the control thread to the workers and back, surveys from worker to
 * worker and back.
 *
 *   talk --order--> control --errand--> each worker --errand--> control --order--> talk's worker --> talk, if it is still there
 *   talk --survey--> a worker: writes rows of its own --survey--> talk's worker --> talk, if it is still there
 *
 * Always: a letter that cannot be delivered (a thread has ended) is freed by who refuses it, or comes back with nothing in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/loop.h"
#include "priv.h"

struct consoles {
	unsigned n;
	struct mailbox control, *workers;
	const struct orders_ops *ops;
	void *ops_arg;
	struct averages *averages;
};

/* ---- back to a conversation ------------------------------------------------------------------------------------------------- */

static void to_talk(struct console *c, const struct console_place *place, struct reply_letter *l)
{
	if (sessions_console_go_on(c->sessions, place, l))
		return;
	if (l->is == REPLY_IS_ORDER)
		order_free(l->order);
	else
		survey_free(l->survey);
}

/* ---- orders ------------------------------------------------------------------------------------------------------------------ */

struct order *order_new(struct consoles *home, enum order_kind kind)
{
	struct order *o = mem_alloc(sizeof *o);
	o->home = home;
	o->kind = kind;
	dlist_init(&o->link);
	return o;
}

void order_free(struct order *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_lines; i++)
		mem_free(o->lines[i]);
	mem_free(o->lines);
	mem_free(o->user);
	mem_free(o->database);
	mem_free(o->cluster);
	mem_free(o->key);
	mem_free(o->value);
	mem_free(o->obstacles);
	mem_free(o);
}

void order_add_line(struct order *o, const char *text)
{
	o->lines = mem_grow(o->lines, (o->n_lines + 1) * sizeof *o->lines);
	o->lines[o->n_lines++] = mem_text(text);
}

static void order_refuse(struct letter *letter)
{
	order_free(CONTAINER_OF(letter, struct order, letter));
}

static void order_deliver(struct letter *letter, void *receiver)
{
	struct consoles *cs = receiver;
	cs->ops->on_order(cs->ops_arg, CONTAINER_OF(letter, struct order, letter));
}

static void order_deliver_answer(struct letter *letter, void *receiver)
{
	struct order *o = CONTAINER_OF(letter, struct order, letter);
	to_talk(receiver, &o->from, &(struct reply_letter){ .is = REPLY_IS_ORDER, .order = o });
}

void order_send(struct order *o)
{
	o->letter = (struct letter){ .deliver = order_deliver, .refuse = order_refuse };
	mailbox_send(&o->home->control, &o->letter);
}

void order_answer(struct order *o)
{
	o->letter = (struct letter){ .deliver = order_deliver_answer, .refuse = order_refuse };
	mailbox_send(&o->home->workers[o->from.worker], &o->letter);
}

struct abandonment {
	struct letter letter;
	struct console_place from;
	bool is_gone;
};

static void abandonment_deliver(struct letter *letter, void *receiver)
{
	struct abandonment *a = CONTAINER_OF(letter, struct abandonment, letter);
	struct consoles *cs = receiver;
	cs->ops->on_abandoned(cs->ops_arg, &a->from, a->is_gone);
	mem_free(a);
}

void order_abandon(struct consoles *cs, const struct console_place *from, bool is_gone)
{
	struct abandonment *a = mem_alloc(sizeof *a);
	a->letter.deliver = abandonment_deliver;
	a->from = *from;
	a->is_gone = is_gone;
	mailbox_send(&cs->control, &a->letter);
}

/* ---- errands ------------------------------------------------------------------------------------------------------------------- */

static void errand_free(struct errand *e)
{
	mem_free(e->database);
	mem_free(e->text);
	mem_free(e);
}

static void errand_refuse(struct letter *letter)
{
	errand_free(CONTAINER_OF(letter, struct errand, letter));
}

static void errand_deliver_back(struct letter *letter, void *receiver)
{
	struct errand *e = CONTAINER_OF(letter, struct errand, letter);
	struct consoles *cs = receiver;
	cs->ops->on_errand(cs->ops_arg, e);
	errand_free(e);
}

static void count_stale(void *arg, const struct server_row *row)
{
	struct errand *e = arg;
	e->found += row->must_close && (!e->database || strcmp(e->database, row->database) == 0);
}

static void add_obstacle(void *arg, const struct session_obstacle *it)
{
	struct errand *e = arg;
	char line[600];
	if (it->only_hears) {
		e->hear++;
		return;
	}
	if (e->found++ >= ERRAND_LINES_MAX)
		return;
	int n = snprintf(line, sizeof line, "client %llu, user %.64s, database %.64s: %.300s\n", (unsigned long long)it->id, it->user,
	                 it->database, it->why);
	size_t len = e->text ? strlen(e->text) : 0;
	e->text = mem_grow(e->text, len + (size_t)n + 1);
	memcpy(e->text + len, line, (size_t)n + 1);
}

static void errand_run(struct errand *e, struct console *c)
{
	switch (e->kind) {
	case ERRAND_KILL:
		e->found = sessions_kill(c->sessions, e->database);
		break;
	case ERRAND_KILL_CLIENT:
		e->found = sessions_kill_client(c->sessions, e->number);
		break;
	case ERRAND_RECONNECT:
		pools_reconnect(c->pools, e->database);
		break;
	case ERRAND_COUNT_STALE:
		pools_each_server(c->pools, count_stale, e);
		break;
	case ERRAND_OBSTACLES:
		e->is_parting = sessions_each_obstacle(c->sessions, (uint32_t)e->number, add_obstacle, e);
		break;
	case ERRAND_ECHO:
		break;
	}
}

static void errand_deliver(struct letter *letter, void *receiver)
{
	struct errand *e = CONTAINER_OF(letter, struct errand, letter);
	errand_run(e, receiver);
	e->letter = (struct letter){ .deliver = errand_deliver_back, .refuse = errand_refuse };
	mailbox_send(&e->home->control, &e->letter);
}

void consoles_send_errand(struct consoles *cs, struct order *o, enum errand_kind kind, unsigned worker)
{
	struct errand *e = mem_alloc(sizeof *e);
	*e = (struct errand){ .letter = { .deliver = errand_deliver, .refuse = errand_refuse },
		                  .order = o,
		                  .kind = kind,
		                  .database = mem_text(o->database),
		                  .number = kind == ERRAND_OBSTACLES ? o->node_id : o->number,
		                  .home = cs };
	o->outstanding++;
	mailbox_send(&cs->workers[worker], &e->letter);
}

void consoles_send_echo(struct consoles *cs, unsigned worker)
{
	struct errand *e = mem_alloc(sizeof *e);
	*e = (struct errand){ .letter = { .deliver = errand_deliver, .refuse = errand_refuse }, .kind = ERRAND_ECHO, .home = cs };
	mailbox_send(&cs->workers[worker], &e->letter);
}

/* ---- surveys -------------------------------------------------------------------------------------------------------------------- */

static void survey_refuse(struct letter *letter)
{
	survey_free(CONTAINER_OF(letter, struct survey, letter));
}

static void survey_deliver_back(struct letter *letter, void *receiver)
{
	struct survey *s = CONTAINER_OF(letter, struct survey, letter);
	to_talk(receiver, &s->from, &(struct reply_letter){ .is = REPLY_IS_SURVEY, .survey = s });
}

static void survey_return(struct survey *s)
{
	s->letter = (struct letter){ .deliver = survey_deliver_back, .refuse = survey_refuse };
	mailbox_send(&s->home->workers[s->from.worker], &s->letter);
}

/* The worker has ended, and so will we: it has nothing to tell. */
static void survey_bounce(struct letter *letter)
{
	survey_return(CONTAINER_OF(letter, struct survey, letter));
}

static void survey_deliver(struct letter *letter, void *receiver)
{
	struct survey *s = CONTAINER_OF(letter, struct survey, letter);
	struct table t;
	if (s->view->collect) {
		s->view->collect(receiver, &s->rows);
		survey_return(s);
		return;
	}
	table_init(&t, &s->rows, receiver, s->view->columns, s->view->n_columns, s->formats);
	s->has_more = s->view->survey(&t, &s->at, s->most);
	table_end(&t);
	survey_return(s);
}

void survey_send(struct survey *s)
{
	writer_init_grow(&s->rows);
	s->letter =
	    (struct letter){ .deliver = survey_deliver, .refuse = s->worker == s->from.worker ? survey_refuse : survey_bounce };
	mailbox_send(&s->home->workers[s->worker], &s->letter);
}

void survey_free(struct survey *s)
{
	writer_fini(&s->rows);
	mem_free(s);
}

/* ---- lives ------------------------------------------------------------------------------------------------------------------------ */

struct consoles *consoles_new(unsigned workers, struct pool_registry *pools)
{
	struct consoles *cs = mem_alloc(sizeof *cs);
	cs->n = workers;
	cs->workers = mem_alloc(workers * sizeof *cs->workers);
	cs->averages = averages_new(pools);
	return cs;
}

void consoles_free(struct consoles *cs)
{
	averages_free(cs->averages);
	mem_free(cs->workers);
	mem_free(cs);
}

void consoles_hear(struct consoles *cs, struct loop *loop, const struct orders_ops *ops, void *arg)
{
	cs->ops = ops;
	cs->ops_arg = arg;
	mailbox_open(&cs->control, loop, cs);
}

void consoles_deafen(struct consoles *cs)
{
	mailbox_close(&cs->control);
}

void consoles_turn_averages(struct consoles *cs)
{
	averages_turn(cs->averages);
}

struct averages *consoles_averages(struct consoles *cs)
{
	return cs->averages;
}

void console_open(struct console *c)
{
	c->mailbox = &c->shared->workers[c->worker];
	mailbox_open(c->mailbox, c->loop, c);
}

void console_close(struct console *c)
{
	mailbox_close(c->mailbox);
}
