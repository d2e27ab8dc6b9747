/*
 * metrics — numbers that policies have measured, for SHOW METRICS: written by the control thread, read by any.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "priv.h"

#define METRICS_MAX 1000u

void metrics_init(struct metrics *ms)
{
	pthread_mutex_init(&ms->lock, NULL);
}

void metrics_fini(struct metrics *ms)
{
	for (size_t i = 0; i < ms->n; i++) {
		mem_free((void *)(uintptr_t)ms->at[i].cluster);
		mem_free((void *)(uintptr_t)ms->at[i].name);
	}
	mem_free(ms->at);
	pthread_mutex_destroy(&ms->lock);
}

static int compare(const char *cluster, const char *name, const struct hook_metric *m)
{
	int is = strcmp(cluster, m->cluster);
	return is ? is : strcmp(name, m->name);
}

static bool set(struct metrics *ms, const char *cluster, const char *name, double value)
{
	size_t at = 0;
	while (at < ms->n && compare(cluster, name, &ms->at[at]) > 0)
		at++;
	if (at == ms->n || compare(cluster, name, &ms->at[at]) != 0) {
		if (ms->n == METRICS_MAX)
			return false;
		ms->at = mem_grow(ms->at, (ms->n + 1) * sizeof *ms->at);
		memmove(&ms->at[at + 1], &ms->at[at], (ms->n - at) * sizeof *ms->at);
		ms->at[at] = (struct hook_metric){ .cluster = mem_text(cluster), .name = mem_text(name) };
		ms->n++;
	}
	ms->at[at].value = value;
	ms->at[at].set_at = time(NULL);
	return true;
}

bool metrics_set(struct metrics *ms, const char *cluster, const char *name, double value)
{
	pthread_mutex_lock(&ms->lock);
	bool is_set = set(ms, cluster, name, value);
	pthread_mutex_unlock(&ms->lock);
	return is_set;
}

void hooks_each_metric(struct hooks *h, void (*fn)(void *arg, const struct hook_metric *m), void *arg)
{
	struct metrics *ms = &h->metrics;
	pthread_mutex_lock(&ms->lock);
	for (size_t i = 0; i < ms->n; i++)
		fn(arg, &ms->at[i]);
	pthread_mutex_unlock(&ms->lock);
}
