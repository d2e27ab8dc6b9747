/*
 * obstacles — who is in the way of a switchover: asked of the workers while it waits for them, and told when it is given up, or when that was the question.
 *
 *   under way: asked ──every worker has answered──► known ──some time later──► asked …   given up: what is known goes with the error
 *
 * Always: what is told of a switchover was so while it waited: new transactions were not let in, so whoever had a connection was in its way.
 */
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/nodeorders.h"
#include "base/clock.h"
#include "base/mem.h"
#include "orderspriv.h"

#define ASK_US (50 * US_PER_MS)
#define TOLD_MAX 20 /* clients that are named */

struct findings {
	int64_t found, hear;
	bool is_parting; /* each worker has said so */
	unsigned n;
	char lines[TOLD_MAX][520];
};

struct obstacles {
	struct findings fresh, known; /* what comes in; what has come in from all */
	uint64_t asked_us;
};

static void ask(struct orders *os, struct order *o)
{
	if (!o->obstacles)
		o->obstacles = mem_alloc(sizeof *o->obstacles);
	memset(&o->obstacles->fresh, 0, sizeof o->obstacles->fresh);
	o->obstacles->fresh.is_parting = true;
	o->obstacles->asked_us = clock_us();
	orders_send_errands(os, o, ERRAND_OBSTACLES);
}

void obstacles_look(struct orders *os, struct order *o)
{
	bool is_soon = o->obstacles && clock_us() - o->obstacles->asked_us < ASK_US;
	if (o->kind == ORDER_switchover && o->node_id && o->cluster && !is_soon)
		ask(os, o);
}

static void take(struct findings *f, struct errand *e)
{
	f->found += e->found;
	f->hear += e->hear;
	f->is_parting &= e->is_parting;
	for (char *at = e->text, *end; at && *at && f->n < TOLD_MAX; at = end + 1) {
		end = strchr(at, '\n');
		snprintf(f->lines[f->n++], sizeof f->lines[0], "%.*s", (int)(end - at), at);
	}
}

void obstacles_hear(struct order *o, struct errand *e)
{
	if (e->kind != ERRAND_OBSTACLES || !o->obstacles)
		return;
	take(&o->obstacles->fresh, e);
	bool is_whole = o->outstanding == 1, is_asked_for = o->kind == ORDER_switchover_dry_run;
	if (is_whole && (o->obstacles->fresh.is_parting || is_asked_for))
		o->obstacles->known = o->obstacles->fresh;
}

/* As many as there is room for. */
static void tell_refused(struct order *o, const struct findings *f)
{
	char text[sizeof o->err.detail];
	size_t len = 0, told = 0, room = sizeof text - 20;
	for (; told < f->n && len + strlen(f->lines[told]) + 2 < room; told++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", told ? "; " : "", f->lines[told]);
	if (told < (size_t)f->found)
		snprintf(text + len, sizeof text - len, "%sand %lld more", told ? "; " : "", (long long)f->found - (long long)told);
	err_detail(&o->err, "%s", text);
	err_hint(&o->err, "SWITCHOVER … FORCE cuts them off.");
}

static void tell_lines(struct order *o, const struct findings *f)
{
	char line[600];
	for (unsigned i = 0; i < f->n; i++) {
		snprintf(line, sizeof line, "in the way: %s", f->lines[i]);
		order_add_line(o, line);
	}
	if (f->found > f->n)
		snprintf(line, sizeof line, "… and %lld more", (long long)f->found - f->n);
	else if (!f->found)
		snprintf(line, sizeof line, "no client is in the way");
	if (f->found > f->n || !f->found)
		order_add_line(o, line);
	if (f->hear) {
		snprintf(line, sizeof line,
		         f->hear == 1 ? "1 client only listens, and would be taken along"
		                      : "%lld clients only listen, and would be taken along",
		         (long long)f->hear);
		order_add_line(o, line);
	}
}

void obstacles_tell(struct order *o)
{
	const struct findings *f = o->obstacles ? &o->obstacles->known : NULL;
	if (!f)
		return;
	if (o->kind == ORDER_switchover_dry_run)
		tell_lines(o, f);
	else if (o->has_failed && f->found)
		tell_refused(o, f);
}

void obstacles_dry_run(struct orders *os, struct order *o)
{
	if (!nodeorders_try_switchover(os->app, o)) {
		orders_answer(o);
		return;
	}
	orders_wait(os, o);
	ask(os, o);
}
