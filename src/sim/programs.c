/*
 * programs — what hooks run and ask for in a simulation: ssh to a node's machine, and there pg_ctl, pg_rewind, pg_basebackup and the scripts of the
 * stock library; whatever else ends well after a moment, without an effect.
 *
 * A machine is there as long as there is a way to it, also when its server is down or frozen.  Which node a program is about it says by its machine
 * or, run here, by its data directory, as -D or --target-pgdata.
 */
#include <stdio.h>
#include <string.h>

#include "priv.h"

#define WORDS_MAX 40
#define TEXT_MAX 4096

struct play {
	struct dlist link;
	struct child *child;
	int status;
	char said[200];
	/* What it will have done when it ends. */
	enum { DOES_NOTHING, DOES_STOP, DOES_START, DOES_PROMOTE, DOES_COPY, DOES_WRITE } does;
	int node, other;
};

struct words {
	size_t n;
	const char *at[WORDS_MAX];
	char text[TEXT_MAX];
};

/* ---- what was run ----------------------------------------------------------------------------------------------------------- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool has_word(const struct words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->at[i], word) == 0)
			return true;
	return false;
}

/* As a shell would read words in single quotes (lua/lunapool/control.lua writes them so). */
static void split(const char *text, struct words *out)
{
	char *to = out->text, *end = out->text + sizeof out->text - 1;
	out->n = 0;
	while (*text && out->n < WORDS_MAX) {
		while (*text == ' ')
			text++;
		if (!*text)
			break;
		out->at[out->n++] = to;
		for (bool is_quoted = false; *text && (is_quoted || *text != ' ') && to < end; text++)
			if (*text == '\'')
				is_quoted = !is_quoted;
			else if (!is_quoted && *text == '\\' && text[1])
				*to++ = *++text;
			else
				*to++ = *text;
		if (to >= end)
			break;
		*to++ = 0;
	}
	*to = 0;
}

static void copy(const char *const *argv, struct words *out)
{
	out->n = 0;
	for (; argv[out->n] && out->n < WORDS_MAX; out->n++)
		out->at[out->n] = argv[out->n];
}

/* Its data directory, or that with .copy behind it, which is one in the making. */
static bool is_dir_of(const struct node *n, const char *path)
{
	size_t len = strlen(n->data_dir);
	return len && strncmp(path, n->data_dir, len) == 0 && (!path[len] || strcmp(path + len, ".copy") == 0);
}

static bool names_dir_of(const struct words *w, const struct node *n)
{
	for (size_t i = 1; i < w->n; i++) {
		const char *path = strchr(w->at[i], '/');
		if (path && is_dir_of(n, path))
			return true;
	}
	return false;
}

/* The node at the machine HOST (NULL: any) whose directory the words name; the one that is alone there needs none. */
static int node_meant(const struct sim *s, const char *host, const struct words *w)
{
	int alone = SIM_NONE, n = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (host && strcmp(s->nodes[i].ssh_host, host) != 0)
			continue;
		if (names_dir_of(w, &s->nodes[i]))
			return (int)i;
		alone = (int)i;
		n++;
	}
	return host && n == 1 ? alone : SIM_NONE;
}

/* ---- what comes of it -------------------------------------------------------------------------------------------------------- */

static void say(struct play *p, int status, const char *text)
{
	p->status = status;
	snprintf(p->said, sizeof p->said, "%s", text);
}

/* It hangs if its server is frozen: signals wait. */
static uint64_t pg_ctl(struct sim *s, struct play *p, const struct words *w)
{
	const struct node *n = &s->nodes[p->node];
	if (has_word(w, "status")) {
		say(p, n->is_alive ? 0 : 3, n->is_alive ? "pg_ctl: server is running\n" : "pg_ctl: no server running\n");
		return sim_between(s, 5 * MS, 20 * MS);
	}
	if (has_word(w, "start")) {
		p->does = DOES_START;
		return sim_between(s, 200 * MS, 600 * MS);
	}
	if (!n->is_alive)
		say(p, 1, "pg_ctl: PID file does not exist\n");
	else if (has_word(w, "promote") && !n->in_recovery)
		say(p, 1, "pg_ctl: cannot promote server; server is not in standby mode\n");
	else
		p->does = has_word(w, "promote") ? DOES_PROMOTE : has_word(w, "stop") ? DOES_STOP : DOES_NOTHING;
	if (p->does != DOES_NOTHING && n->is_frozen)
		return 3600 * US_PER_S;
	if (p->does == DOES_PROMOTE) { /* it waits for that */
		node_promote(s, &s->nodes[p->node]);
		return sim_between(s, 100 * MS, 200 * MS);
	}
	return sim_between(s, 30 * MS, 150 * MS);
}

/* From the server that its connection string names: what it had, N has. */
static uint64_t copy_server(struct sim *s, struct play *p, const struct words *w)
{
	for (size_t i = 0; i < w->n && p->other < 0; i++)
		p->other = node_in_conninfo(s, w->at[i]);
	if (s->nodes[p->node].is_alive)
		say(p, 1, "fatal: target server must be shut down cleanly\n");
	else if (p->other < 0 || !node_answers(&s->nodes[p->other]) || !node_has_way(s, &s->nodes[p->node], &s->nodes[p->other]))
		say(p, 1, "fatal: could not connect to server\n");
	else
		p->does = DOES_COPY;
	return sim_between(s, 100 * MS, 500 * MS);
}

/* The stock library's scripts take a directory and, if they run a program, that and its words. */
static const char *program_of(const struct words *w)
{
	const char *name = base_of(w->at[0]), *inner = w->n > 6 ? base_of(w->at[5]) : "";
	return strcmp(name, "sh") == 0 && strcmp(inner, "pg_rewind") == 0 ? inner : name;
}

static uint64_t run_at(struct sim *s, struct play *p, const struct words *w)
{
	const char *name = program_of(w);
	if (strcmp(name, "pg_ctl") == 0)
		return pg_ctl(s, p, w);
	if (strcmp(name, "pg_rewind") == 0 || strcmp(name, "pg_basebackup") == 0)
		return copy_server(s, p, w);
	if (w->n > 2 && strcmp(name, "sh") == 0 && strstr(w->at[2], "standby.signal")) {
		p->does = DOES_WRITE;
		p->other = node_in_conninfo(s, w->at[w->n - 1]);
	}
	return sim_between(s, 5 * MS, 50 * MS);
}

static bool is_known_to_test(struct sim *s, struct play *p, const char *const *argv)
{
	char line[TEXT_MAX];
	size_t len = 0;
	for (size_t i = 0; argv[i] && len < sizeof line; i++)
		len += (size_t)snprintf(line + len, sizeof line - len, "%s%s", i ? " " : "", argv[i]);
	s->on_program_runs = true;
	bool is_known = s->on_program && s->on_program(s->on_program_arg, line, &p->status, p->said, sizeof p->said);
	s->on_program_runs = false;
	return is_known;
}

void sim_on_program(struct sim *s, sim_program_fn fn, void *arg)
{
	s->on_program = fn;
	s->on_program_arg = arg;
}

static uint64_t run(struct sim *s, struct play *p, const char *const *argv)
{
	struct words w;
	size_t at = 0;
	if (is_known_to_test(s, p, argv))
		return sim_between(s, 5 * MS, 50 * MS);
	copy(argv, &w);
	if (strcmp(base_of(argv[0]), "ssh") != 0) {
		p->node = node_meant(s, NULL, &w);
		return p->node < 0 ? sim_between(s, 5 * MS, 50 * MS) : run_at(s, p, &w);
	}
	while (argv[at] && strcmp(argv[at], "--") != 0)
		at++;
	bool is_whole = argv[at] && argv[at + 1] && argv[at + 2];
	if (is_whole)
		split(argv[at + 2], &w);
	p->node = is_whole ? node_meant(s, argv[at + 1], &w) : SIM_NONE;
	if (p->node < 0 || s->nodes[p->node].is_away) {
		say(p, 255, "ssh: connect to host: Connection timed out\n");
		return 10 * US_PER_S;
	}
	return w.n ? run_at(s, p, &w) : 10 * MS;
}

void sim_on_request(struct sim *s, sim_request_fn fn, void *arg)
{
	s->on_request = fn;
	s->on_request_arg = arg;
}

uint64_t programs_request(void *arg, const struct stage_request *q, struct stage_reply *out)
{
	struct sim *s = arg;
	sim_say(s, "%s %.200s", q->method, q->url);
	s->on_program_runs = true;
	uint64_t us = s->on_request ? s->on_request(s->on_request_arg, q, out) : 0;
	s->on_program_runs = false;
	return sim_between(s, 500, 20 * MS) + us;
}

static void take_effect(struct sim *s, const struct play *p)
{
	struct node *n = p->node < 0 ? NULL : &s->nodes[p->node];
	switch (p->does) {
	case DOES_STOP:
		node_stop(s, n);
		break;
	case DOES_START:
		node_begin(s, n, n->has_signal);
		break;
	case DOES_COPY:
		node_copy(n, &s->nodes[p->other]);
		break;
	case DOES_WRITE:
		n->has_signal = true;
		n->next_upstream = p->other;
		break;
	case DOES_PROMOTE:
	case DOES_NOTHING:
		break;
	}
}

static void play_free(struct play *p)
{
	dlist_remove(&p->link);
	mem_free(p);
}

static void on_ended(struct sim *s, struct happening *h)
{
	DLIST_EACH(it, &s->plays)
	{
		struct play *p = CONTAINER_OF(it, struct play, link);
		if (p->child != h->who)
			continue;
		struct play copied = *p;
		play_free(p);
		take_effect(s, &copied);
		child_ends(copied.child, copied.status, copied.said);
		return;
	}
}

void programs_exec(void *arg, struct child *c, const char *const *argv)
{
	struct sim *s = arg;
	struct play *p = mem_alloc(sizeof *p);
	*p = (struct play){ .child = c, .node = SIM_NONE, .other = SIM_NONE };
	dlist_push_back(&s->plays, &p->link);
	uint64_t us = run(s, p, argv);
	sim_say(s, "runs %s%s%s", base_of(argv[0]), p->node < 0 ? "" : " at ", p->node < 0 ? "" : s->nodes[p->node].name);
	sim_later(s, us, on_ended, c, p->node, 0, 0);
}

void programs_stop(void *arg, struct child *c)
{
	struct sim *s = arg;
	sim_drop(s, c);
	DLIST_EACH(it, &s->plays)
	{
		struct play *p = CONTAINER_OF(it, struct play, link);
		if (p->child == c)
			play_free(p);
	}
}
