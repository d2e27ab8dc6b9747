/*
 * records — copies under a lock: they change seldom and are read when somebody asks.
 */
#include "ha/records.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/dlist.h"
#include "base/mem.h"

struct copy {
	struct dlist link;
	struct record record;
	char stuck[2 * RECORD_WHY_MAX];
	uint64_t now_ms;
};

struct records {
	pthread_mutex_t lock;
	struct dlist all;
};

struct records *records_new(void)
{
	struct records *rs = mem_alloc(sizeof *rs);
	pthread_mutex_init(&rs->lock, NULL);
	dlist_init(&rs->all);
	return rs;
}

void records_free(struct records *rs)
{
	if (!rs)
		return;
	for (struct dlist *it; (it = dlist_pop_front(&rs->all));)
		mem_free(CONTAINER_OF(it, struct copy, link));
	pthread_mutex_destroy(&rs->lock);
	mem_free(rs);
}

static struct copy *find(struct records *rs, const char *cluster)
{
	DLIST_EACH(it, &rs->all)
	{
		struct copy *c = CONTAINER_OF(it, struct copy, link);
		if (strcmp(c->record.cluster, cluster) == 0)
			return c;
	}
	return NULL;
}

void records_put(struct records *rs, const struct record *r, const char *stuck, uint64_t now_ms)
{
	pthread_mutex_lock(&rs->lock);
	struct copy *c = find(rs, r->cluster);
	if (!c) {
		c = mem_alloc(sizeof *c);
		dlist_push_back(&rs->all, &c->link);
	}
	c->record = *r;
	snprintf(c->stuck, sizeof c->stuck, "%s", stuck ? stuck : "");
	c->now_ms = now_ms;
	pthread_mutex_unlock(&rs->lock);
}

void records_drop(struct records *rs, const char *cluster)
{
	pthread_mutex_lock(&rs->lock);
	struct copy *c = find(rs, cluster);
	if (c)
		dlist_remove(&c->link);
	pthread_mutex_unlock(&rs->lock);
	mem_free(c);
}

void records_each(struct records *rs, void (*fn)(void *arg, const struct records_view *view), void *arg)
{
	if (!rs)
		return;
	pthread_mutex_lock(&rs->lock);
	DLIST_EACH(it, &rs->all)
	{
		struct copy *c = CONTAINER_OF(it, struct copy, link);
		fn(arg, &(struct records_view){ &c->record, *c->stuck ? c->stuck : NULL, c->now_ms });
	}
	pthread_mutex_unlock(&rs->lock);
}
