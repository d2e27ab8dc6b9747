/* hooksrig — policyrig's cluster with a loop and a control plane: policies whose tasks, events and timers run for real. */
#ifndef HOOKSRIG_H
#define HOOKSRIG_H

#include "hooks/hooks.h"
#include "policyrig.h"
#include "unitloop.h"

struct hooksrig {
	struct policyrig policy;
	struct loop *loop;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct topo_board *board;
	struct hooks *hooks;
	const struct hooks_powers *powers; /* set before hooksrig_open(); NULL: none */
	bool is_done, was_good;
	char output[70000], error[420], sqlstate[6];
	struct hook_row row; /* hooksrig_row() */
};

static inline void hooksrig_open(struct hooksrig *r)
{
	policyrig_open(&r->policy);
	r->loop = loop_new(false);
	mailbox_open(&r->mailbox, r->loop, r);
	r->resolver = resolver_new();
	r->board = topo_board_new(0);
	topo_publish(r->board, r->policy.topo);
	r->hooks = hooks_new(&(struct hooks_env){ r->loop, r->resolver, &r->mailbox, r->board, r->powers, NULL, "" });
	r->is_done = false;
}

static inline void hooksrig_close(struct hooksrig *r)
{
	hooks_shut(r->hooks);
	hooks_free(r->hooks);
	resolver_free(r->resolver);
	mailbox_close(&r->mailbox);
	loop_free(r->loop);
	r->policy.topo = NULL; /* the board's */
	policy_set_free(r->policy.set);
	policy_kv_free(r->policy.kv);
	sql_class_unref(r->policy.class);
	sql_cache_free(r->policy.cache);
	facts_unref(r->policy.facts);
	topo_board_free(r->board);
	confdir_fini(&r->policy.dir);
}

/* Another configuration, TEXT, whose node AT is the primary. */
static inline void hooksrig_configure(struct hooksrig *r, const char *text, int at)
{
	struct conf_errors errors = { 0 };
	char path[200];
	confdir_write(&r->policy.dir, "lunapool.conf", text);
	snprintf(path, sizeof path, "%s/lunapool.conf", r->policy.dir.path);
	struct conf *conf = conf_load(path, &errors);
	if (!conf)
		fail_msg("%s: %s", errors.at[0].where, errors.at[0].text);
	struct topo *t = topo_build(conf, topo_latest(r->board));
	t->clusters[0].primary = at;
	topo_publish(r->board, t);
	topo_collect(r->board);
	r->policy.topo = t;
}

/* False: it is refused, r->policy.error says why, and what was in force stays. */
static inline bool hooksrig_try(struct hooksrig *r, const char *text)
{
	struct err err;
	if (!policyrig_try(&r->policy, text))
		return false;
	struct hook_set *set = hook_set_load(topo_latest(r->board)->conf, r->policy.set, r->policy.kv, &err);
	if (set) {
		hooks_apply(r->hooks, set);
		return true;
	}
	snprintf(r->policy.error, sizeof r->policy.error, "%s", err.text);
	confdir_strip(&r->policy.dir, r->policy.error);
	return false;
}

static inline void hooksrig_load(struct hooksrig *r, const char *text)
{
	if (!hooksrig_try(r, text))
		fail_msg("%s", r->policy.error);
}

/* "return { api = 1, tasks = { t = function(task, cluster) BODY end } }" */
static inline void hooksrig_load_task(struct hooksrig *r, const char *body)
{
	static char text[20000];
	int n = snprintf(text, sizeof text,
	                 "local lp = require 'lunapool' return { api = 1, tasks = { t = function(task, cluster) %s end } }", body);
	assert_true(n < (int)sizeof text);
	hooksrig_load(r, text);
}

static inline void hooksrig_on_done(void *arg, const char *output, const struct err *err)
{
	struct hooksrig *r = arg;
	r->is_done = true;
	r->was_good = !err;
	snprintf(r->output, sizeof r->output, "%s", output);
	snprintf(r->error, sizeof r->error, "%s", err ? err->text : "");
	snprintf(r->sqlstate, sizeof r->sqlstate, "%s", err ? err->sqlstate : "");
	confdir_strip(&r->policy.dir, r->error);
	confdir_strip(&r->policy.dir, r->output);
}

static inline void hooksrig_begin(struct hooksrig *r, const char *name)
{
	struct err err;
	r->is_done = false;
	if (!hooks_run_task(r->hooks, &(struct hook_task){ .name = name }, hooksrig_on_done, r, &err))
		fail_msg("%s", err.text);
}

static inline void hooksrig_wait(struct hooksrig *r)
{
	run_until(r->loop, is_flag_set, &r->is_done);
}

/* Runs the body as a task, to its end: its output, or "error: …". */
static inline const char *hooksrig_run(struct hooksrig *r, const char *body)
{
	static char text[71000];
	hooksrig_load_task(r, body);
	hooksrig_begin(r, "t");
	hooksrig_wait(r);
	size_t len = strlen(r->output);
	if (len && r->output[len - 1] == '\n')
		r->output[len - 1] = '\0';
	snprintf(text, sizeof text, "%s%s%s", r->output,
	         r->was_good  ? ""
	         : *r->output ? "\nerror: "
	                      : "error: ",
	         r->was_good ? "" : r->error);
	return text;
}

struct hooksrig_seek {
	const char *name;
	struct hook_row *row;
	bool is_found;
};

static inline void hooksrig_see(void *arg, const struct hook_row *row)
{
	struct hooksrig_seek *s = arg;
	if (s->is_found || strcmp(row->name, s->name) != 0)
		return;
	*s->row = *row;
	s->is_found = true;
}

/* The newest of that name. */
static inline struct hook_row *hooksrig_row(struct hooksrig *r, const char *name)
{
	struct hooksrig_seek s = { name, &r->row, false };
	hooks_each(r->hooks, hooksrig_see, &s);
	return s.is_found ? &r->row : NULL;
}

#endif
