/*
 * sim — time, chance, what is under way, and the trace; faults are in node.c, lunapool.c and links.c, where what they break is.
 *
 *   sim_run: [ the loop's turn at the time of what comes next ──► must_look() ──► Lunapool dies, if it is to ]*
 *
 * Always: nothing happens outside the loop but what a test does between two sim_run();  clock_us() is s->now_us as long as s is there;
 *         all chance comes from the seed, by two generators: ours, and base/rand's, which the shipped code asks.
 */
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rand.h"
#include "priv.h"

#define EPOCH_US (1000 * US_PER_S) /* the time at which each simulation begins */

/* ---- chance -------------------------------------------------------------------------------------------------------- */

uint32_t sim_random(struct sim *s, uint32_t below)
{
	s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(s->random >> 33) % below;
}

uint64_t sim_between(struct sim *s, uint64_t least_us, uint64_t most_us)
{
	return least_us + sim_random(s, (uint32_t)(most_us - least_us) + 1);
}

uint64_t sim_way_us(struct sim *s)
{
	return sim_between(s, 50, 400);
}

/* ---- what is under way ----------------------------------------------------------------------------------------------- */

static void on_time(struct loop_timer *t)
{
	struct happening *h = CONTAINER_OF(t, struct happening, timer);
	dlist_remove(&h->link);
	h->fn(h->sim, h);
	mem_free(h);
}

struct happening *sim_later(struct sim *s, uint64_t us, void (*fn)(struct sim *s, struct happening *h), void *who, int node,
                            uint64_t a, uint64_t b)
{
	struct happening *h = mem_alloc(sizeof *h);
	*h = (struct happening){ .sim = s, .fn = fn, .who = who, .node = node, .a = a, .b = b };
	loop_timer_init(&h->timer, on_time);
	loop_timer_start(s->loop, &h->timer, us);
	dlist_push_back(&s->under_way, &h->link);
	return h;
}

void sim_drop(struct sim *s, const void *who)
{
	DLIST_EACH(it, &s->under_way)
	{
		struct happening *h = CONTAINER_OF(it, struct happening, link);
		if (who && h->who != who)
			continue;
		loop_timer_stop(s->loop, &h->timer);
		dlist_remove(&h->link);
		mem_free(h);
	}
}

/* ---- the trace ------------------------------------------------------------------------------------------------------- */

void sim_say(struct sim *s, const char *fmt, ...)
{
	uint64_t ms = sim_now_us(s) / US_PER_MS;
	char *line = s->lines[s->n_lines++ % TRACE_LINES];
	int n = snprintf(line, TRACE_BYTES, "%llu.%03llu ", (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + n, TRACE_BYTES - (size_t)n, fmt, ap);
	va_end(ap);
}

/* What the shipped code logs is told there, too, and by it the steps of operations are known. */
static void on_log(void *arg, const char *line, size_t len)
{
	struct sim *s = arg;
	char step[sizeof s->dies_at + 8];
	sim_say(s, "%.*s", (int)len, line);
	if (!*s->dies_at || strncmp(line, "operation_step ", 15) != 0)
		return;
	snprintf(step, sizeof step, " step=%s ", s->dies_at);
	s->dies_now |= memmem(line, len, step, strlen(step)) != NULL;
}

void sim_trace(const struct sim *s, void (*fn)(void *arg, const char *line), void *arg)
{
	for (uint64_t i = s->n_lines > TRACE_LINES ? s->n_lines - TRACE_LINES : 0; i < s->n_lines; i++)
		fn(arg, s->lines[i % TRACE_LINES]);
}

void sim_violate(struct sim *s, const char *fmt, ...)
{
	va_list ap;
	if (*s->violation)
		return;
	va_start(ap, fmt);
	vsnprintf(s->violation, sizeof s->violation, fmt, ap);
	va_end(ap);
	sim_say(s, "VIOLATED: %s", s->violation);
}

const char *sim_violation(const struct sim *s)
{
	return *s->violation ? s->violation : NULL;
}

/* ---- acts -------------------------------------------------------------------------------------------------------------- */

static void count_act(struct sim *s, const char *act, int node)
{
	for (size_t i = 0; i < s->n_counts; i++)
		if (s->counts[i].node == node && strcmp(s->counts[i].act, act) == 0) {
			s->counts[i].n++;
			return;
		}
	if (s->n_counts == ARRAY_LEN(s->counts))
		return;
	struct act_count *c = &s->counts[s->n_counts++];
	*c = (struct act_count){ .node = node, .n = 1 };
	snprintf(c->act, sizeof c->act, "%s", act);
}

enum hook_fate act_begins(struct sim *s, const char *act, int node, bool is_again)
{
	if (!is_again) {
		count_act(s, act, node);
		if (strcmp(act, "failover") != 0) /* that is asked again and again */
			sim_say(s, "%s at %s", act, s->nodes[node].name);
		must_on_act(s, act, &s->nodes[node]);
	}
	for (size_t i = 0; i < s->n_faults; i++) {
		struct act_fault *f = &s->faults[i];
		if (!f->left || (f->node != node && f->node != SIM_ALL) || strcmp(f->act, act) != 0)
			continue;
		f->left--;
		return f->hangs ? HOOK_HANGS : HOOK_FAILS;
	}
	return HOOK_RUNS;
}

static void add_fault(struct sim *s, const char *act, int node, unsigned n, bool hangs)
{
	if (s->n_faults == ARRAY_LEN(s->faults))
		die("more than %u faults of hooks", ACTS_MAX);
	struct act_fault *f = &s->faults[s->n_faults++];
	*f = (struct act_fault){ .node = node, .left = n, .hangs = hangs };
	snprintf(f->act, sizeof f->act, "%s", act);
}

void sim_act_fails(struct sim *s, const char *act, int node, unsigned n)
{
	add_fault(s, act, node, n, false);
}

void sim_act_hangs(struct sim *s, const char *act, int node, unsigned n)
{
	add_fault(s, act, node, n, true);
}

unsigned sim_called(const struct sim *s, const char *act, const char *node)
{
	unsigned n = 0;
	for (size_t i = 0; i < s->n_counts; i++)
		if (strcmp(s->counts[i].act, act) == 0 && (!node || strcmp(s->nodes[s->counts[i].node].name, node) == 0))
			n += s->counts[i].n;
	return n;
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

struct sim *sim_new(uint64_t seed)
{
	struct sim *s = mem_alloc(sizeof *s);
	s->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	s->now_us = s->began_us = EPOCH_US;
	s->conf_fd = s->hba_fd = -1;
	s->lines = mem_alloc(TRACE_LINES * sizeof *s->lines);
	dlist_init(&s->under_way);
	dlist_init(&s->links);
	dlist_init(&s->plays);
	dlist_init(&s->writes);
	clock_simulate(&s->now_us);
	rand_seed(seed);
	log_divert(on_log, s);
	s->loop = loop_new_simulated(&s->now_us);
	return s;
}

static void free_node(struct node *n)
{
	mem_free(n->name);
	mem_free(n->host);
	mem_free(n->ssh_host);
	mem_free(n->data_dir);
}

static void free_group(struct group *g)
{
	mem_free(g->name);
	mem_free(g->sync);
	mem_free(g->file);
	mem_free(g->durable);
	mem_free(g->clients.acknowledged);
}

void sim_free(struct sim *s)
{
	if (!s)
		return;
	life_end(s);
	sim_drop(s, NULL);
	loop_free(s->loop);
	clock_simulate(NULL);
	log_divert(NULL, NULL);
	for (size_t i = 0; i < s->n; i++)
		free_node(&s->nodes[i]);
	mem_free(s->nodes);
	lessons_forget(s);
	mem_free(s->branches);
	for (size_t i = 0; i < s->n_groups; i++)
		free_group(&s->groups[i]);
	mem_free(s->groups);
	mem_free(s->lines);
	if (s->conf_fd >= 0)
		close(s->conf_fd);
	if (s->hba_fd >= 0)
		close(s->hba_fd);
	mem_free(s);
}

bool sim_has_begun(const struct sim *s)
{
	return s->has_begun;
}

uint64_t sim_now_us(const struct sim *s)
{
	return s->now_us - s->began_us;
}

static void on_rebirth(struct sim *s, struct happening *h)
{
	struct err err;
	if (!life_begin(s, &err))
		die("what could be loaded before cannot be any more: %s", err.text);
}

void sim_lunapool_dies(struct sim *s)
{
	s->dies_now = false;
	s->dies_at[0] = 0;
	if (!s->life.is_on)
		return;
	sim_say(s, "Lunapool is killed");
	life_end(s);
	sim_later(s, sim_between(s, 20 * MS, 400 * MS), on_rebirth, NULL, SIM_NONE, 0, 0);
}

void sim_lunapool_dies_at(struct sim *s, const char *step)
{
	snprintf(s->dies_at, sizeof s->dies_at, "%s", step);
}

bool sim_run(struct sim *s, uint64_t us)
{
	uint64_t until = s->now_us + us;
	while (loop_turn_simulated(s->loop, until)) {
		must_look(s);
		if (s->dies_now)
			sim_lunapool_dies(s);
		if (*s->violation)
			return false;
	}
	return !*s->violation;
}
