/*
 * acts — what operations have asked the environment to do at nodes: one thing at a node at a time, by its name.
 *
 *   none ──op_start_act()──► runs ──ops_on_act()──► done, failed;   runs ──it is not wanted any more──► none
 *
 * Always: what is not wanted any more is forgotten there, too: an answer to it never comes.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "opspriv.h"

/* More names than places come of reloads only: of those whose act is over, who was told first is forgotten. */
static struct act *oldest_act(struct ops *o)
{
	struct act *oldest = NULL;
	for (size_t i = 0; i < o->n_acts; i++)
		if (o->acts[i].state != ACT_RUNS && (!oldest || o->acts[i].ended_us < oldest->ended_us))
			oldest = &o->acts[i];
	if (oldest)
		return oldest;
	o->env.forget_act(o->env.arg, o->acts[0].id);
	return &o->acts[0];
}

struct act *op_act_of(struct ops *o, const char *node)
{
	for (size_t i = 0; i < o->n_acts; i++)
		if (strcmp(o->acts[i].node, node) == 0)
			return &o->acts[i];
	struct act *a = o->n_acts < ACTS_MAX ? &o->acts[o->n_acts++] : oldest_act(o);
	*a = (struct act){ .state = ACT_NONE };
	snprintf(a->node, sizeof a->node, "%s", node);
	return a;
}

void op_forget_acts(struct ops *o)
{
	for (size_t i = 0; i < o->n_acts; i++)
		if (o->acts[i].state == ACT_RUNS)
			o->env.forget_act(o->env.arg, o->acts[i].id);
	o->n_acts = 0;
}

static void stop_act(struct ops *o, struct act *a)
{
	if (a->state != ACT_RUNS)
		return;
	o->env.forget_act(o->env.arg, a->id);
	a->state = ACT_NONE;
	a->ended_us = op_now(o);
}

/* What is over stays known, so that who was told just now is not told again at once. */
static void forget_running_acts(struct ops *o)
{
	for (size_t i = 0; i < o->n_acts; i++)
		stop_act(o, &o->acts[i]);
}

void op_settle_acts(struct ops *o, const struct record_operation *is, const struct record_operation *was)
{
	if (is->id && !op_is_background(is)) {
		op_forget_acts(o);
	} else if (is->id || op_is_background(was)) {
		struct act *a = op_act_of(o, is->id ? is->target : was->target);
		stop_act(o, a);
		a->state = ACT_NONE;
	} else {
		forget_running_acts(o);
	}
}

void op_start_act(struct ops *o, struct act *a, enum ops_act what, const char *primary, uint64_t timeout_us)
{
	a->state = ACT_RUNS;
	a->id = ++o->act_ids;
	a->tries++;
	o->env.act(o->env.arg, a->id, what, a->node, primary, timeout_us);
}

void ops_on_act(struct ops *o, uint64_t id, bool is_done, const struct err *err)
{
	for (size_t i = 0; i < o->n_acts; i++) {
		struct act *a = &o->acts[i];
		if (a->id != id || a->state != ACT_RUNS)
			continue;
		a->state = is_done ? ACT_DONE : ACT_FAILED;
		a->ended_us = op_now(o);
		if (!is_done) {
			a->err = *err;
			log_warn(NULL, "action_failed", KV_STR("cluster", o->record.cluster), KV_INT("operation", o->record.op.id),
			         KV_STR("node", a->node), KV_STR("step", operation_step_word(o->step)), KV_ERR(err));
		}
	}
	o->env.look(o->env.arg);
	ops_go_on(o);
}
