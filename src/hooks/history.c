/*
 * history — what runs and what has run, for SHOW TASKS: written by the control thread, read by any.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "priv.h"

#define KEPT 100u

void history_init(struct history *hs)
{
	pthread_mutex_init(&hs->lock, NULL);
	dlist_init(&hs->all);
}

static void forget(struct past_run *r)
{
	dlist_remove(&r->link);
	mem_free(r->cluster);
	mem_free(r->name);
	mem_free(r);
}

void history_fini(struct history *hs)
{
	DLIST_EACH(it, &hs->all) forget(CONTAINER_OF(it, struct past_run, link));
	pthread_mutex_destroy(&hs->lock);
}

struct past_run *history_begin(struct history *hs, const char *cluster, const char *kind, const char *name)
{
	struct past_run *r = mem_alloc(sizeof *r);
	r->cluster = mem_text(cluster);
	r->name = mem_text(name);
	r->began_us = clock_us();
	r->row = (struct hook_row){ .cluster = r->cluster, .kind = kind, .name = r->name, .began_at = time(NULL) };
	pthread_mutex_lock(&hs->lock);
	r->row.id = ++hs->last_id;
	dlist_push_front(&hs->all, &r->link);
	pthread_mutex_unlock(&hs->lock);
	return r;
}

void history_waits(struct history *hs, struct past_run *r, const char *what)
{
	pthread_mutex_lock(&hs->lock);
	snprintf(r->row.waits_for, sizeof r->row.waits_for, "%s", what);
	pthread_mutex_unlock(&hs->lock);
}

void history_line(struct history *hs, struct past_run *r, struct slice line)
{
	pthread_mutex_lock(&hs->lock);
	snprintf(r->row.last_line, sizeof r->row.last_line, "%.*s", (int)(line.len < 190 ? line.len : 190), (const char *)line.at);
	pthread_mutex_unlock(&hs->lock);
}

/* The oldest that is over. */
static void forget_one(struct history *hs)
{
	for (struct dlist *it = hs->all.prev; it != &hs->all; it = it->prev) {
		struct past_run *r = CONTAINER_OF(it, struct past_run, link);
		if (r->row.state == HOOK_RUNNING)
			continue;
		forget(r);
		hs->n_over--;
		return;
	}
}

/* A timer that goes well again and again is one row. */
static void forget_like(struct history *hs, const struct past_run *r)
{
	DLIST_EACH(it, &hs->all)
	{
		struct past_run *other = CONTAINER_OF(it, struct past_run, link);
		if (other == r || other->row.state != HOOK_DONE || strcmp(other->row.kind, r->row.kind) != 0 ||
		    strcmp(other->name, r->name) != 0 || strcmp(other->cluster, r->cluster) != 0)
			continue;
		forget(other);
		hs->n_over--;
		return;
	}
}

void history_end(struct history *hs, struct past_run *r, enum hook_state state, const char *error)
{
	pthread_mutex_lock(&hs->lock);
	r->row.state = state;
	r->row.took_us = clock_us() - r->began_us;
	r->row.waits_for[0] = '\0';
	snprintf(r->row.error, sizeof r->row.error, "%s", error);
	if (state == HOOK_DONE && strcmp(r->row.kind, "every") == 0)
		forget_like(hs, r);
	if (++hs->n_over > KEPT)
		forget_one(hs);
	pthread_mutex_unlock(&hs->lock);
}

void hooks_each(struct hooks *h, void (*fn)(void *arg, const struct hook_row *row), void *arg)
{
	struct history *hs = &h->history;
	pthread_mutex_lock(&hs->lock);
	DLIST_EACH(it, &hs->all)
	{
		struct past_run *r = CONTAINER_OF(it, struct past_run, link);
		if (r->row.state == HOOK_RUNNING)
			r->row.took_us = clock_us() - r->began_us;
		fn(arg, &r->row);
	}
	pthread_mutex_unlock(&hs->lock);
}
