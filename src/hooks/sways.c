/*
 * sways — what a run does to a cluster or a node for as long as it runs: holds what would write, keeps reads away.
 *
 *   begun ──released, its run is over, too long──► ended: taken back, unless another run wants the same
 *
 * Always: a sway has a run, and ends with it at the latest;  what nobody wants any more is taken back at once.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

struct sway {
	struct dlist link;
	struct hook_run *run;
	uint64_t id;
	enum sway_kind kind;
	char *cluster;
	uint32_t node_id;
	struct loop_timer timer;
};

static bool act_on(struct hooks *h, const struct sway *e, bool is_on, struct err *err)
{
	const struct hooks_powers *p = h->env.powers;
	if (!p)
		return err_set(err, "55000", "nothing can be done to nodes here");
	return e->kind == SWAY_HOLD ? p->hold(p->arg, e->cluster, is_on, err) : p->drain(p->arg, e->node_id, is_on, err);
}

static bool is_same(const struct sway *a, const struct sway *b)
{
	return a->kind == b->kind && strcmp(a->cluster, b->cluster) == 0 && a->node_id == b->node_id;
}

static bool is_wanted(const struct hooks *h, const struct sway *like)
{
	DLIST_EACH(it, &h->sways)
	if (is_same(CONTAINER_OF(it, struct sway, link), like))
		return true;
	return false;
}

static void free_sway(struct sway *e)
{
	loop_timer_stop(e->run->hooks->env.loop, &e->timer);
	dlist_remove(&e->link);
	mem_free(e->cluster);
	mem_free(e);
}

/* Who is gone by now needs nothing taken back. */
static void end(struct sway *e)
{
	struct hooks *h = e->run->hooks;
	struct err err;
	dlist_remove(&e->link);
	if (e->kind == SWAY_HOLD)
		log_info(NULL, "hold_ended", KV_STR("cluster", e->cluster), KV_STR("task", e->run->past->name));
	if (!is_wanted(h, e) && !act_on(h, e, false, &err))
		log_debug(NULL, "sway_not_ended", KV_STR("cluster", e->cluster), KV_ERR(&err));
	free_sway(e);
}

static void on_too_long(struct loop_timer *t)
{
	struct sway *e = CONTAINER_OF(t, struct sway, timer);
	log_warn(NULL, "hold_too_long", KV_STR("cluster", e->cluster), KV_STR("task", e->run->past->name),
	         KV_STR("effect", "it has ended, before what waits fails by hold_timeout"));
	end(e);
}

uint64_t sway_begin(struct hook_run *run, enum sway_kind kind, const char *cluster, uint32_t node_id, uint64_t for_us,
                    struct err *err)
{
	struct hooks *h = run->hooks;
	struct sway *e = mem_alloc(sizeof *e);
	*e = (struct sway){ .run = run, .id = ++h->last_sway, .kind = kind, .cluster = mem_text(cluster), .node_id = node_id };
	dlist_init(&e->link);
	loop_timer_init(&e->timer, on_too_long);
	if (!is_wanted(h, e) && !act_on(h, e, true, err)) {
		free_sway(e);
		return 0;
	}
	dlist_push_back(&h->sways, &e->link);
	if (kind == SWAY_HOLD)
		log_info(NULL, "hold_began", KV_STR("cluster", cluster), KV_STR("task", run->past->name));
	if (for_us)
		loop_timer_start(h->env.loop, &e->timer, for_us);
	return e->id;
}

bool sway_end(struct hook_run *run, uint64_t id)
{
	DLIST_EACH(it, &run->hooks->sways)
	{
		struct sway *e = CONTAINER_OF(it, struct sway, link);
		if (e->run != run || e->id != id)
			continue;
		end(e);
		return true;
	}
	return false;
}

void sway_end_drains(struct hooks *h, uint32_t node_id)
{
	DLIST_EACH(it, &h->sways)
	{
		struct sway *e = CONTAINER_OF(it, struct sway, link);
		if (e->kind == SWAY_DRAIN && e->node_id == node_id)
			end(e);
	}
}

void sways_end(struct hook_run *run)
{
	DLIST_EACH(it, &run->hooks->sways)
	{
		struct sway *e = CONTAINER_OF(it, struct sway, link);
		if (e->run == run)
			end(e);
	}
}
