/*
 * taskorders — RUN and STOP_TASK: a task of a policy is begun, and the order is answered with what it has said when it ends.
 */
#include <string.h>

#include "app/app.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "hooks/hooks.h"
#include "orderspriv.h"

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
	orders_answer(o);
}

void taskorders_run(struct orders *os, struct order *o)
{
	struct hook_arg args[32];
	struct hook_task task = { .name = o->database, .args = args };
	read_arguments(o->value, &task, args, ARRAY_LEN(args));
	dlist_push_back(&os->running, &o->link);
	o->run = hooks_run_task(os->app->hooks, &task, on_task_done, o, &o->err);
	if (o->run)
		return;
	o->has_failed = true;
	orders_answer(o);
}

void taskorders_stop_task(struct orders *os, struct order *o)
{
	if (hooks_stop(os->app->hooks, o->number, o->user))
		orders_answer(o);
	else
		orders_refuse(o, "42704", "no task with this id is running");
}
