/*
 * orders — what an administrator wants done, carried out in the control thread.
 *
 *   arrived --do_…()--> answered
 *              \--> under way: published, workers sent on errands --everybody has seen it, all errands are back, its condition holds--> answered
 *
 * An order that waits is looked at by a timer; a PAUSE that is given up (too late, cancelled, its client gone) is taken back.
 *
 * Always: an order is answered once, or dropped with its client; errands name an order that waits for them.
 */
#include "app/orders.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/order.h"
#include "app/app.h"
#include "app/control.h"
#include "app/nodeorders.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "hooks/hooks.h"
#include "net/loop.h"
#include "topo/topo.h"

#define LOOK_US (10 * US_PER_MS)
#define ALL "*"

struct orders {
	struct app *app;
	struct dlist under_way; /* struct order */
	struct dlist running;   /* those of tasks, which are answered when these end */
	struct loop_timer look, averages;
	bool ends_when_paused; /* SHUTDOWN WAIT_FOR_SERVERS */
	enum order_until ends; /* a SHUTDOWN that was answered */
};

/* ---- answers -------------------------------------------------------------------------------------------------------------- */

static void log_order(const struct order *o)
{
#define ORDER_NAME(id, words, ...) words,
	static const char *const names[] = { COMMANDS(ORDER_NO_VIEW, ORDER_NAME) };
	const struct log_kv what = o->key                       ? KV_STR("setting", o->key)
	                           : o->kind == ORDER_run       ? KV_STR("task", o->database)
	                           : o->kind == ORDER_stop_task ? KV_INT("task", o->number)
	                           : nodeorders_is_one(o)       ? KV_STR("of", o->database)
	                           : o->number                  ? KV_INT("client", o->number)
	                                                        : KV_STR("database", o->database);
	if (o->has_failed)
		log_info(NULL, "order_refused", KV_STR("order", names[o->kind]), what, KV_STR("by", o->user), KV_ERR(&o->err));
	else
		log_info(NULL, "order_done", KV_STR("order", names[o->kind]), what, KV_STR("by", o->user));
}

/* O is gone afterwards, or kept until its errands are back. */
static void answer(struct order *o)
{
	log_order(o);
	dlist_remove(&o->link);
	order_answer(o);
}

static PRINTF_LIKE(3, 4) void refuse(struct order *o, const char *sqlstate, const char *fmt, ...)
{
	char text[sizeof o->err.text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	o->has_failed = true;
	err_set(&o->err, sqlstate, "%s", text);
	answer(o);
}

static void wait(struct orders *os, struct order *o)
{
	dlist_push_back(&os->under_way, &o->link);
	if (!loop_timer_is_running(&os->look))
		loop_timer_start(os->app->loop, &os->look, 0);
}

static void send_errands(struct orders *os, struct order *o, enum errand_kind kind)
{
	for (unsigned i = 0; i < os->app->n_workers; i++)
		consoles_send_errand(os->app->consoles, o, kind, i);
}

/* ---- what is said of databases ------------------------------------------------------------------------------------------- */

static const struct topo *latest(const struct orders *os)
{
	return topo_latest(os->app->board);
}

static const char *name_of(const struct order *o)
{
	return o->database ? o->database : ALL;
}

static bool is_said(const struct orders *os, const struct order *o, enum topo_word word)
{
	return topo_said_of(latest(os), name_of(o)) & word;
}

/* The order waits until every worker knows. */
static void say(struct orders *os, struct order *o, unsigned set, unsigned clear)
{
	struct topo *t = topo_copy(latest(os));
	topo_say(t, name_of(o), set, clear);
	topo_publish(os->app->board, t);
	o->generation = latest(os)->generation;
}

/* "*" is all of them, as nothing is. */
static bool knows_database(struct orders *os, struct order *o)
{
	const struct conf *conf = latest(os)->conf;
	if (!o->database || strcmp(o->database, ALL) == 0)
		return true;
	if (console_is_named(conf, o->database))
		err_set(&o->err, "0A000", "the console itself is always there");
	else if (conf_database(conf, o->database))
		return true;
	else
		err_set(&o->err, "3D000", "database \"%s\" does not exist", o->database);
	o->has_failed = true;
	answer(o);
	return false;
}

static void do_pause(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	if (is_said(os, o, TOPO_PAUSED)) {
		refuse(o, "55000", o->database ? "the database \"%s\" is paused already" : "everything is paused already", o->database);
		return;
	}
	say(os, o, TOPO_PAUSED, 0);
	o->due_us = o->timeout_us ? clock_us() + o->timeout_us : 0;
	wait(os, o);
}

static void take_all_back(struct orders *os, struct order *o)
{
	struct topo *t = topo_copy(latest(os));
	for (const char *name; (name = topo_any(t, TOPO_PAUSED));)
		topo_say(t, name, 0, TOPO_PAUSED);
	topo_publish(os->app->board, t);
	o->generation = latest(os)->generation;
}

static struct order *pause_under_way(struct orders *os, const struct order *resume)
{
	DLIST_EACH(it, &os->under_way)
	{
		struct order *o = CONTAINER_OF(it, struct order, link);
		if (o->kind == ORDER_pause && (!resume->database || strcmp(name_of(o), name_of(resume)) == 0))
			return o;
	}
	return NULL;
}

/* RESUME of all takes back what was said of single databases, too. */
static void do_resume(struct orders *os, struct order *o)
{
	if (!(o->database ? is_said(os, o, TOPO_PAUSED) : topo_any(latest(os), TOPO_PAUSED) != NULL)) {
		bool is_held = o->database && (topo_said_of(latest(os), ALL) & TOPO_PAUSED);
		refuse(o, "55000",
		       is_held       ? "the database \"%s\" is not paused by its name; everything is: RESUME"
		       : o->database ? "the database \"%s\" is not paused"
		                     : "nothing is paused",
		       o->database);
		return;
	}
	for (struct order *paused; (paused = pause_under_way(os, o));)
		refuse(paused, "57014", "canceling PAUSE due to RESUME");
	if (o->database) {
		say(os, o, 0, TOPO_PAUSED);
	} else {
		os->ends_when_paused = false;
		take_all_back(os, o);
	}
	wait(os, o);
}

static void do_disable(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	say(os, o, TOPO_DISABLED, 0);
	wait(os, o);
}

static void do_enable(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	say(os, o, 0, TOPO_DISABLED);
	wait(os, o);
}

/* ---- clients and servers --------------------------------------------------------------------------------------------------- */

static void do_kill(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	say(os, o, TOPO_PAUSED, 0); /* a worker picks that up before it reads the errand */
	wait(os, o);
	send_errands(os, o, ERRAND_KILL);
}

static void do_kill_client(struct orders *os, struct order *o)
{
	wait(os, o);
	send_errands(os, o, ERRAND_KILL_CLIENT);
}

static void do_reconnect(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	wait(os, o);
	send_errands(os, o, ERRAND_RECONNECT);
}

static void do_wait_close(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	wait(os, o);
	send_errands(os, o, ERRAND_COUNT_STALE);
}

/* ---- configuration ------------------------------------------------------------------------------------------------------------ */

static void do_reload(struct orders *os, struct order *o)
{
	if (!control_reload(os->app->control, &o->err)) {
		o->has_failed = true;
		answer(o);
		return;
	}
	o->generation = latest(os)->generation;
	wait(os, o);
}

static void add_change(void *arg, const struct change *c)
{
	char text[600];
	snprintf(text, sizeof text, "%s%s", c->text, c->needs_restart ? " (needs a restart)" : "");
	order_add_line(arg, text);
}

static void do_reload_dry_run(struct orders *os, struct order *o)
{
	struct conf_errors errors = { 0 };
	if (!app_plan_reload(os->app, add_change, o, &errors)) {
		o->has_failed = true;
		conf_errors_to_err(&errors, &o->err);
	}
	conf_errors_fini(&errors);
	answer(o);
}

static const char *own_name_of(const char *key)
{
#define ALIAS(name, of) { name, of },
	static const char *const aliases[][2] = { CONSOLE_ALIASES(ALIAS) };
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (strcmp(aliases[i][0], key) == 0)
			return aliases[i][1];
	return key;
}

static void do_set(struct orders *os, struct order *o)
{
	if (!app_set(os->app, own_name_of(o->key), o->value, &o->err)) {
		o->has_failed = true;
		answer(o);
		return;
	}
	o->generation = latest(os)->generation;
	wait(os, o);
}

/* ---- tasks -------------------------------------------------------------------------------------------------------------------- */

/* "key=value" and "key", a line each, are taken apart where they stand. */
static void read_arguments(char *text, struct hook_task *task, struct hook_arg *args, size_t most)
{
	for (char *line = text; *line && task->n_args < most;) {
		char *end = strchr(line, '\n'), *value = memchr(line, '=', (size_t)(end - line));
		*end = '\0';
		if (value)
			*value++ = '\0';
		if (value && strcmp(line, "cluster") == 0)
			task->cluster = value;
		else
			args[task->n_args++] = (struct hook_arg){ line, value };
		line = end + 1;
	}
}

static void add_lines(struct order *o, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		char *line = mem_textn(text, n);
		order_add_line(o, line);
		mem_free(line);
		text += n + (text[n] == '\n');
	}
}

/* An error has no rows: the end of what the task said goes with it. */
static void on_task_done(void *arg, const char *output, const struct err *err)
{
	struct order *o = arg;
	size_t len = strlen(output), most = sizeof o->err.detail - 1;
	o->run = NULL;
	if (err) {
		o->has_failed = true;
		o->err = *err;
		len -= len && output[len - 1] == '\n';
		const char *from = len > most ? output + len - most : output;
		err_detail(&o->err, "%.*s", (int)(output + len - from), from);
	} else
		add_lines(o, output);
	answer(o);
}

static void do_run(struct orders *os, struct order *o)
{
	struct hook_arg args[32];
	struct hook_task task = { .name = o->database, .args = args };
	read_arguments(o->value, &task, args, ARRAY_LEN(args));
	dlist_push_back(&os->running, &o->link);
	o->run = hooks_run_task(os->app->hooks, &task, on_task_done, o, &o->err);
	if (o->run)
		return;
	o->has_failed = true;
	answer(o);
}

static void do_stop_task(struct orders *os, struct order *o)
{
	if (hooks_stop(os->app->hooks, o->number, o->user))
		answer(o);
	else
		refuse(o, "42704", "no task with this id is running");
}

/* ---- clusters and nodes ----------------------------------------------------------------------------------------------- */

static void order_of_node(struct orders *os, struct order *o)
{
	if (nodeorders_begin(os->app, o))
		wait(os, o);
	else
		answer(o);
}
#define do_switchover order_of_node
#define do_failover order_of_node
#define do_attach order_of_node
#define do_detach order_of_node
#define do_drain order_of_node
#define do_rejoin order_of_node
#define do_recover order_of_node
#define do_maintenance_on order_of_node
#define do_maintenance_off order_of_node

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static void do_shutdown(struct orders *os, struct order *o)
{
	enum order_until until = o->until;
	if (until == ORDER_WAIT_FOR_SERVERS) {
		o->database = NULL;
		say(os, o, TOPO_PAUSED, 0);
		os->ends_when_paused = true;
		wait(os, o); /* answered when everybody knows; the end comes when the servers are gone */
		return;
	}
	unsigned worker = o->from.worker;
	answer(o); /* the client shall hear it first: on_errand() */
	os->ends = until;
	consoles_send_echo(os->app->consoles, worker);
}

static void end(struct orders *os)
{
	if (os->ends == ORDER_WAIT_FOR_CLIENTS)
		control_drain(os->app->control, "SHUTDOWN WAIT_FOR_CLIENTS");
	else
		control_stop(os->app->control, "SHUTDOWN");
}

/* ---- what is under way ---------------------------------------------------------------------------------------------------------- */

static void end_pause(struct orders *os, struct order *o, const char *why)
{
	long long left = pool_registry_servers(os->app->pools, o->database);
	say(os, o, 0, TOPO_PAUSED);
	refuse(o, "57014", "PAUSE was taken back: %s; %lld server connection%s still in use", why, left,
	       left == 1 ? " was" : "s were");
}

/* False: not yet. */
static bool has_held(struct orders *os, struct order *o)
{
	switch (o->kind) {
	case ORDER_switchover:
	case ORDER_drain:
	case ORDER_rejoin:
	case ORDER_recover:
	case ORDER_failover:
	case ORDER_attach:
	case ORDER_detach:
	case ORDER_maintenance_on:
	case ORDER_maintenance_off:
		return nodeorders_has_ended(os->app, o);
	case ORDER_pause:
		return pool_registry_servers(os->app->pools, o->database) == 0;
	case ORDER_wait_close:
		if (o->found == 0)
			return true;
		o->found = 0;
		send_errands(os, o, ERRAND_COUNT_STALE);
		return false;
	default:
		return true;
	}
}

static void look_at(struct orders *os, struct order *o)
{
	if (o->due_us && clock_us() >= o->due_us && !o->outstanding) {
		if (o->kind == ORDER_pause)
			end_pause(os, o, "the time is over");
		else
			refuse(o, "57014", "canceling statement due to user request");
		return;
	}
	if (o->outstanding || !topo_is_seen(os->app->board, o->generation) || !has_held(os, o))
		return;
	if (o->kind == ORDER_kill_client && !o->found)
		refuse(o, "42704", "there is no client with this id");
	else
		answer(o);
}

static void on_look(struct loop_timer *t)
{
	struct orders *os = CONTAINER_OF(t, struct orders, look);
	DLIST_EACH(it, &os->under_way)
	look_at(os, CONTAINER_OF(it, struct order, link));
	if (os->ends_when_paused && dlist_is_empty(&os->under_way) && pool_registry_servers(os->app->pools, NULL) == 0)
		control_stop(os->app->control, "SHUTDOWN WAIT_FOR_SERVERS");
	else if (os->ends_when_paused || !dlist_is_empty(&os->under_way))
		loop_timer_start(os->app->loop, t, LOOK_US);
}

static void on_errand(void *arg, struct errand *e)
{
	struct order *o = e->order;
	if (!o) {
		end(arg);
		return;
	}
	o->found += e->found;
	if (--o->outstanding == 0 && o->is_answered)
		order_free(o);
}

static bool is_from(const struct order *o, const struct console_place *from)
{
	return o->from.worker == from->worker && o->from.slot == from->slot && o->from.id == from->id;
}

/* Nobody waits for the answer any more: what it did stays, but a PAUSE that nobody knows of is none. */
static void drop(struct orders *os, struct order *o)
{
	if (o->kind == ORDER_pause)
		say(os, o, 0, TOPO_PAUSED);
	o->has_failed = o->kind == ORDER_pause || o->kind == ORDER_wait_close;
	if (o->has_failed)
		err_set(&o->err, "57014", "who gave it has gone");
	hooks_forget(o->run); /* it goes on */
	log_order(o);
	dlist_remove(&o->link);
	o->is_answered = true;
	if (!o->outstanding)
		order_free(o);
}

static void give_up(struct orders *os, struct order *o)
{
	if (o->kind == ORDER_pause)
		end_pause(os, o, "canceled on user request");
	else if (o->kind == ORDER_wait_close)
		o->due_us = 1; /* when its errands are back */
}

static void on_abandoned(void *arg, const struct console_place *from, bool is_gone)
{
	struct orders *os = arg;
	DLIST_EACH(it, &os->under_way)
	{
		struct order *o = CONTAINER_OF(it, struct order, link);
		if (!is_from(o, from))
			continue;
		if (is_gone)
			drop(os, o);
		else
			give_up(os, o);
	}
	DLIST_EACH(it, &os->running)
	{
		struct order *o = CONTAINER_OF(it, struct order, link);
		if (!is_from(o, from))
			continue;
		if (is_gone)
			drop(os, o);
		else
			hooks_stop_run(o->run, "who gave RUN, who has cancelled it");
		return;
	}
}

static void on_order(void *arg, struct order *o)
{
	static void (*const handlers[])(struct orders *, struct order *) = {
#define ORDER_HANDLER(id, ...) [ORDER_##id] = do_##id,
		COMMANDS(ORDER_NO_VIEW, ORDER_HANDLER)
	};
	handlers[o->kind](arg, o);
}

/* ---- averages ----------------------------------------------------------------------------------------------------------------------- */

static void start_averages(struct orders *os)
{
	loop_timer_start(os->app->loop, &os->averages, latest(os)->conf->stats_period);
}

static void on_averages(struct loop_timer *t)
{
	struct orders *os = CONTAINER_OF(t, struct orders, averages);
	consoles_turn_averages(os->app->consoles);
	start_averages(os);
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------------- */

struct orders *orders_new(struct app *a)
{
	static const struct orders_ops ops = { .on_order = on_order, .on_abandoned = on_abandoned, .on_errand = on_errand };
	struct orders *os = mem_alloc(sizeof *os);
	os->app = a;
	dlist_init(&os->under_way);
	dlist_init(&os->running);
	loop_timer_init(&os->look, on_look);
	loop_timer_init(&os->averages, on_averages);
	consoles_hear(a->consoles, a->loop, &ops, os);
	start_averages(os);
	return os;
}

void orders_on_conf(struct orders *os)
{
	start_averages(os);
}

void orders_shut(struct orders *os)
{
	loop_timer_stop(os->app->loop, &os->look);
	loop_timer_stop(os->app->loop, &os->averages);
}

void orders_free(struct orders *os)
{
	consoles_deafen(os->app->consoles);
	for (struct dlist *it; (it = dlist_pop_front(&os->under_way)) || (it = dlist_pop_front(&os->running));)
		order_free(CONTAINER_OF(it, struct order, link));
	mem_free(os);
}
