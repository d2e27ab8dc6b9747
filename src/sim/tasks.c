/*
 * tasks — what an operator runs (lunapool ctl run), to its end: time goes on until then.
 */
#include <stdio.h>
#include <string.h>

#include "priv.h"

#define STEP_US (10 * US_PER_MS)

struct task {
	bool is_over;
	struct sim_task_end *end;
};

static void on_done(void *arg, const char *output, const struct err *err)
{
	struct task *t = arg;
	t->is_over = true;
	t->end->is_good = !err;
	snprintf(t->end->output, sizeof t->end->output, "%s", output);
	snprintf(t->end->why, sizeof t->end->why, "%s", err ? err->text : "");
}

bool sim_task(struct sim *s, const char *cluster, const char *name, const struct hook_arg *args, size_t n, uint64_t most_us,
              struct sim_task_end *end)
{
	struct task t = { .end = end };
	struct err err;
	uint64_t until = s->now_us + most_us, life = s->life.n;
	const struct hook_task task = { .name = name, .cluster = cluster, .n_args = n, .args = args };
	*end = (struct sim_task_end){ .why = "Lunapool does not run" };
	if (!s->life.is_on)
		return true;
	sim_say(s, "test: task %s", name);
	struct hook_run *run = hooks_run_task(s->life.hooks, &task, on_done, &t, &err);
	if (!run) {
		snprintf(end->why, sizeof end->why, "%s", err.text);
		return true;
	}
	while (!t.is_over && s->life.is_on && s->life.n == life && s->now_us < until)
		if (!sim_run(s, STEP_US))
			break;
	if (!t.is_over && s->life.is_on && s->life.n == life) {
		hooks_abandon(run);
		snprintf(end->why, sizeof end->why, "it did not end in time");
	}
	return !*s->violation;
}
