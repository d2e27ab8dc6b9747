/*
 * dborders — what is said of databases, their clients and their servers: PAUSE, RESUME, DISABLE, ENABLE, KILL, KILL_CLIENT, RECONNECT, WAIT_CLOSE.
 *
 * A word about a database is published with the topology: every worker picks it up before it reads an errand of the same order.
 */
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "orderspriv.h"
#include "topo/topo.h"

#define ALL "*"

static const char *name_of(const struct order *o)
{
	return o->database ? o->database : ALL;
}

static bool is_said(const struct orders *os, const struct order *o, enum topo_word word)
{
	return topo_said_of(orders_topo(os), name_of(o)) & word;
}

void dborders_say(struct orders *os, struct order *o, unsigned set, unsigned clear)
{
	struct topo *t = topo_copy(orders_topo(os));
	topo_say(t, name_of(o), set, clear);
	topo_publish(os->app->board, t);
	o->generation = orders_topo(os)->generation;
}

/* "*" is all of them, as nothing is. */
static bool knows_database(struct orders *os, struct order *o)
{
	const struct conf *conf = orders_topo(os)->conf;
	if (!o->database || strcmp(o->database, ALL) == 0)
		return true;
	if (console_is_named(conf, o->database))
		err_set(&o->err, "0A000", "the console itself is always there");
	else if (conf_database(conf, o->database))
		return true;
	else
		err_set(&o->err, "3D000", "database \"%s\" does not exist", o->database);
	o->has_failed = true;
	orders_answer(o);
	return false;
}

void dborders_pause(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	if (is_said(os, o, TOPO_PAUSED)) {
		orders_refuse(o, "55000", o->database ? "the database \"%s\" is paused already" : "everything is paused already",
		              o->database);
		return;
	}
	dborders_say(os, o, TOPO_PAUSED, 0);
	o->due_us = o->timeout_us ? clock_us() + o->timeout_us : 0;
	orders_wait(os, o);
}

static void take_all_back(struct orders *os, struct order *o)
{
	struct topo *t = topo_copy(orders_topo(os));
	for (const char *name; (name = topo_any(t, TOPO_PAUSED));)
		topo_say(t, name, 0, TOPO_PAUSED);
	topo_publish(os->app->board, t);
	o->generation = orders_topo(os)->generation;
}

void dborders_end_pause(struct orders *os, struct order *o, const char *why)
{
	long long left = pool_registry_servers(os->app->pools, o->database);
	dborders_say(os, o, 0, TOPO_PAUSED);
	orders_refuse(o, "57014", "PAUSE was taken back: %s; %lld server connection%s still in use", why, left,
	              left == 1 ? " was" : "s were");
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
void dborders_resume(struct orders *os, struct order *o)
{
	if (!(o->database ? is_said(os, o, TOPO_PAUSED) : topo_any(orders_topo(os), TOPO_PAUSED) != NULL)) {
		bool is_held = o->database && (topo_said_of(orders_topo(os), ALL) & TOPO_PAUSED);
		orders_refuse(o, "55000",
		              is_held       ? "the database \"%s\" is not paused by its name; everything is: RESUME"
		              : o->database ? "the database \"%s\" is not paused"
		                            : "nothing is paused",
		              o->database);
		return;
	}
	for (struct order *paused; (paused = pause_under_way(os, o));)
		orders_refuse(paused, "57014", "canceling PAUSE due to RESUME");
	if (o->database) {
		dborders_say(os, o, 0, TOPO_PAUSED);
	} else {
		os->ends_when_paused = false;
		take_all_back(os, o);
	}
	orders_wait(os, o);
}

void dborders_disable(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	dborders_say(os, o, TOPO_DISABLED, 0);
	orders_wait(os, o);
}

void dborders_enable(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	dborders_say(os, o, 0, TOPO_DISABLED);
	orders_wait(os, o);
}

/* ---- clients and servers --------------------------------------------------------------------------------------------------- */

void dborders_kill(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	dborders_say(os, o, TOPO_PAUSED, 0); /* a worker picks that up before it reads the errand */
	orders_wait(os, o);
	orders_send_errands(os, o, ERRAND_KILL);
}

void dborders_kill_client(struct orders *os, struct order *o)
{
	orders_wait(os, o);
	orders_send_errands(os, o, ERRAND_KILL_CLIENT);
}

void dborders_reconnect(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	orders_wait(os, o);
	orders_send_errands(os, o, ERRAND_RECONNECT);
}

void dborders_wait_close(struct orders *os, struct order *o)
{
	if (!knows_database(os, o))
		return;
	orders_wait(os, o);
	orders_send_errands(os, o, ERRAND_COUNT_STALE);
}

bool dborders_has_held(struct orders *os, struct order *o)
{
	if (o->kind == ORDER_pause)
		return pool_registry_servers(os->app->pools, o->database) == 0;
	if (o->kind != ORDER_wait_close || o->found == 0)
		return true;
	o->found = 0;
	orders_send_errands(os, o, ERRAND_COUNT_STALE);
	return false;
}
