/*
 * record — what runs and what has run, for SHOW TASKS: written by the control thread, read by any.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "priv.h"

#define KEPT 100u

void records_init(struct records *rs)
{
	pthread_mutex_init(&rs->lock, NULL);
	dlist_init(&rs->all);
}

static void free_record(struct record *r)
{
	dlist_remove(&r->link);
	mem_free(r->cluster);
	mem_free(r->name);
	mem_free(r);
}

void records_fini(struct records *rs)
{
	DLIST_EACH(it, &rs->all) free_record(CONTAINER_OF(it, struct record, link));
	pthread_mutex_destroy(&rs->lock);
}

struct record *record_begin(struct records *rs, const char *cluster, const char *kind, const char *name)
{
	struct record *r = mem_alloc(sizeof *r);
	r->cluster = mem_text(cluster);
	r->name = mem_text(name);
	r->began_us = clock_us();
	r->row = (struct hook_row){ .cluster = r->cluster, .kind = kind, .name = r->name, .began_at = time(NULL) };
	pthread_mutex_lock(&rs->lock);
	r->row.id = ++rs->last_id;
	dlist_push_front(&rs->all, &r->link);
	pthread_mutex_unlock(&rs->lock);
	return r;
}

void record_waits(struct records *rs, struct record *r, const char *what)
{
	pthread_mutex_lock(&rs->lock);
	snprintf(r->row.waits_for, sizeof r->row.waits_for, "%s", what);
	pthread_mutex_unlock(&rs->lock);
}

void record_line(struct records *rs, struct record *r, struct slice line)
{
	pthread_mutex_lock(&rs->lock);
	snprintf(r->row.last_line, sizeof r->row.last_line, "%.*s", (int)(line.len < 190 ? line.len : 190), (const char *)line.at);
	pthread_mutex_unlock(&rs->lock);
}

/* The oldest that is over. */
static void forget_one(struct records *rs)
{
	for (struct dlist *it = rs->all.prev; it != &rs->all; it = it->prev) {
		struct record *r = CONTAINER_OF(it, struct record, link);
		if (r->row.state == HOOK_RUNNING)
			continue;
		free_record(r);
		rs->n_over--;
		return;
	}
}

/* A timer that goes well again and again is one row. */
static void forget_like(struct records *rs, const struct record *r)
{
	DLIST_EACH(it, &rs->all)
	{
		struct record *other = CONTAINER_OF(it, struct record, link);
		if (other == r || other->row.state != HOOK_DONE || strcmp(other->row.kind, r->row.kind) != 0 ||
		    strcmp(other->name, r->name) != 0 || strcmp(other->cluster, r->cluster) != 0)
			continue;
		free_record(other);
		rs->n_over--;
		return;
	}
}

void record_end(struct records *rs, struct record *r, enum hook_state state, const char *error)
{
	pthread_mutex_lock(&rs->lock);
	r->row.state = state;
	r->row.took_us = clock_us() - r->began_us;
	r->row.waits_for[0] = '\0';
	snprintf(r->row.error, sizeof r->row.error, "%s", error);
	if (state == HOOK_DONE && strcmp(r->row.kind, "every") == 0)
		forget_like(rs, r);
	if (++rs->n_over > KEPT)
		forget_one(rs);
	pthread_mutex_unlock(&rs->lock);
}

void hooks_each(struct hooks *h, void (*fn)(void *arg, const struct hook_row *row), void *arg)
{
	struct records *rs = &h->records;
	pthread_mutex_lock(&rs->lock);
	DLIST_EACH(it, &rs->all)
	{
		struct record *r = CONTAINER_OF(it, struct record, link);
		if (r->row.state == HOOK_RUNNING)
			r->row.took_us = clock_us() - r->began_us;
		fn(arg, &r->row);
	}
	pthread_mutex_unlock(&rs->lock);
}
