/*
 * orders — what an administrator wants done, carried out in the control thread.
 *
 *   arrived --do_…()--> answered
 *              \--> under way: published, workers sent on errands --everybody has seen it, all errands are back, its condition holds--> answered
 *
 * An order that waits is looked at by a timer; a PAUSE that is given up (too late, cancelled, its client gone) is taken back.  What concerns
 * databases, nodes and tasks is in dborders.c, nodeorders.c and taskorders.c, and who is in the way of a switchover in obstacles.c.
 *
 * Always: an order is answered once, or dropped with its client; errands name an order that waits for them.
 */
#include "app/orders.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/control.h"
#include "app/nodeorders.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "hooks/hooks.h"
#include "orderspriv.h"
#include "topo/topo.h"

#define LOOK_US (10 * US_PER_MS)

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

void orders_answer(struct order *o)
{
	log_order(o);
	dlist_remove(&o->link);
	order_answer(o);
}

void orders_refuse(struct order *o, const char *sqlstate, const char *fmt, ...)
{
	char text[sizeof o->err.text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	o->has_failed = true;
	err_set(&o->err, sqlstate, "%s", text);
	orders_answer(o);
}

void orders_wait(struct orders *os, struct order *o)
{
	dlist_push_back(&os->under_way, &o->link);
	if (!loop_timer_is_running(&os->look))
		loop_timer_start(os->app->loop, &os->look, 0);
}

void orders_send_errands(struct orders *os, struct order *o, enum errand_kind kind)
{
	for (unsigned i = 0; i < os->app->n_workers; i++)
		consoles_send_errand(os->app->consoles, o, kind, i);
}

const struct topo *orders_topo(const struct orders *os)
{
	return topo_latest(os->app->board);
}

/* ---- configuration ------------------------------------------------------------------------------------------------------------ */

static void do_reload(struct orders *os, struct order *o)
{
	if (!control_reload(os->app->control, &o->err)) {
		o->has_failed = true;
		orders_answer(o);
		return;
	}
	o->generation = orders_topo(os)->generation;
	orders_wait(os, o);
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
	orders_answer(o);
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
		orders_answer(o);
		return;
	}
	o->generation = orders_topo(os)->generation;
	orders_wait(os, o);
}

/* ---- clusters and nodes ----------------------------------------------------------------------------------------------- */

static void order_of_node(struct orders *os, struct order *o)
{
	if (nodeorders_begin(os->app, o))
		orders_wait(os, o);
	else
		orders_answer(o);
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
		dborders_say(os, o, TOPO_PAUSED, 0);
		os->ends_when_paused = true;
		orders_wait(os, o); /* answered when everybody knows; the end comes when the servers are gone */
		return;
	}
	unsigned worker = o->from.worker;
	orders_answer(o); /* the client shall hear it first: on_errand() */
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

/* False: not yet. */
static bool has_held(struct orders *os, struct order *o)
{
	return nodeorders_is_one(o) ? nodeorders_has_ended(os->app, o) : dborders_has_held(os, o);
}

static void look_at(struct orders *os, struct order *o)
{
	if (o->due_us && clock_us() >= o->due_us && !o->outstanding) {
		if (o->kind == ORDER_pause)
			dborders_end_pause(os, o, "the time is over");
		else
			orders_refuse(o, "57014", "canceling statement due to user request");
		return;
	}
	if (o->outstanding || !topo_is_seen(os->app->board, o->generation))
		return;
	if (!has_held(os, o)) {
		obstacles_look(os, o);
		return;
	}
	obstacles_tell(o);
	if (o->kind == ORDER_kill_client && !o->found)
		orders_refuse(o, "42704", "there is no client with this id");
	else
		orders_answer(o);
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
	obstacles_hear(o, e);
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
		dborders_say(os, o, 0, TOPO_PAUSED);
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
		dborders_end_pause(os, o, "canceled on user request");
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

/* Carried out elsewhere. */
#define do_pause dborders_pause
#define do_resume dborders_resume
#define do_disable dborders_disable
#define do_enable dborders_enable
#define do_kill dborders_kill
#define do_switchover_dry_run obstacles_dry_run
#define do_kill_client dborders_kill_client
#define do_reconnect dborders_reconnect
#define do_wait_close dborders_wait_close
#define do_run taskorders_run
#define do_stop_task taskorders_stop_task

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
	loop_timer_start(os->app->loop, &os->averages, orders_topo(os)->conf->stats_period);
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
