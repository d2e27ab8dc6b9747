/*
 * keeper — the program's side of ops.c: real time, the journal, the topology.  watch.c is what it knows, undertake.c what it does.
 *
 *   ops: propose ──► journal;  route ──► settle, then wait until everybody has seen it;  act ──► undertake.c
 *
 * Always: a proposal's end is heard by the ops that made it.
 */
#include "keeperpriv.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/news.h"

#define SEEN_US (1 * US_PER_MS)

const struct topo_cluster *keeper_cluster(const struct keeper *k, const struct conf_cluster **conf)
{
	const struct topo *t = topo_latest(k->env.board);
	for (size_t i = 0; i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, k->cluster) == 0) {
			*conf = &t->conf->clusters[i];
			return &t->clusters[i];
		}
	return NULL;
}

const struct topo_node *keeper_node(const struct topo_cluster *c, const char *name)
{
	for (size_t i = 0; c && i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, name) == 0)
			return &c->nodes[i];
	return NULL;
}

const struct picture_node *keeper_heard_of(const struct keeper *k, const struct topo_node *n)
{
	return k->env.node(k->env.arg, n->id);
}

static uint64_t on_now(void *arg)
{
	return clock_us();
}

static uint64_t on_wall(void *arg)
{
	return (uint64_t)time(NULL);
}

static void on_alarm_wanted(void *arg, uint64_t after_us)
{
	struct keeper *k = arg;
	loop_timer_start(k->env.loop, &k->alarm, after_us);
}

static void show(const struct keeper *k)
{
	records_put(k->env.records, ops_record(k->ops), ops_stuck(k->ops), ops_age_ms(k->ops));
}

static void on_alarm(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, alarm);
	ops_go_on(k->ops);
	show(k);
}

static unsigned on_busy(void *arg, const char *node)
{
	struct keeper *k = arg;
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), node);
	return n ? k->env.pools->busy(k->env.pools->arg, n->id) : 0;
}

static struct ops_rests on_rests(void *arg, const char *node)
{
	struct keeper *k = arg;
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), node);
	return n && k->env.pools->rests ? k->env.pools->rests(k->env.pools->arg, n->id) : (struct ops_rests){ 0 };
}

static unsigned on_wanted(void *arg, const char *node)
{
	struct keeper *k = arg;
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), node);
	return n ? k->env.pools->wanted(k->env.pools->arg, n->id) : 0;
}

static void on_look(void *arg)
{
	struct keeper *k = arg;
	k->env.look(k->env.arg, k->cluster);
}

static void on_news(void *arg, const struct hook_event *e)
{
	const struct keeper *k = arg;
	hooks_happened(k->env.hooks, k->cluster, e);
}

static void on_proposed(void *arg, enum record_fate fate, const struct err *err)
{
	struct keeper *k = arg;
	ops_on_record(k->ops, fate, err);
	if (fate == RECORD_COMMITTED && k->env.hooks) {
		news_tell(k->told_record, ops_record(k->ops), on_news, k);
		*k->told_record = *ops_record(k->ops);
	}
	watch_follow(k);
	show(k);
}

static void on_propose(void *arg, uint64_t expected_epoch, const struct record *next)
{
	struct keeper *k = arg;
	record_propose(k->env.journal, expected_epoch, next, on_proposed, k);
}

static void on_seen(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, seen);
	if (topo_is_seen(k->env.board, k->generation))
		ops_on_routed(k->ops);
	else
		loop_timer_start(k->env.loop, t, SEEN_US);
}

static void on_route(void *arg)
{
	struct keeper *k = arg;
	watch_follow(k);
	k->env.settle(k->env.arg, k->cluster);
	k->generation = topo_latest(k->env.board)->generation;
	loop_timer_start(k->env.loop, &k->seen, 0);
}

int keeper_route(const struct keeper *k, const struct topo_cluster *c, int verdict, const char **why)
{
	const char *primary = ops_primary(k->ops);
	if (ops_holds(k->ops)) {
		*why = "an operation is under way";
		return -1;
	}
	for (size_t i = 0; i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, primary) == 0) {
			const struct picture_node *n = keeper_heard_of(k, &c->nodes[i]);
			bool is_there = n && (n->view.last == VERDICT_REFUSED || (n->view.last == VERDICT_FAILED && watch_works(k)));
			bool stays = c->primary == (int)i && is_there; /* what others say is no reason */
			if (verdict != (int)i && verdict >= 0)
				*why = "another node is out of recovery than the recorded one";
			return verdict == (int)i || stays ? (int)i : -1;
		}
	*why = *primary ? "the recorded one is not configured" : "none is recorded yet";
	return -1;
}

bool keeper_is_cut(const struct keeper *k, const char *node)
{
	return ops_is_cut(k->ops, node);
}

bool keeper_suspects(const struct keeper *k, const char *node)
{
	return k->ladder.is_suspect && strcmp(k->suspect, node) == 0;
}

bool keeper_is_draining(const struct keeper *k, const char *node)
{
	return ops_is_draining(k->ops, node);
}

enum topo_parting keeper_parting(const struct keeper *k, const char *node)
{
	enum ops_parting p = ops_parting(k->ops, node);
	return p == OPS_STAYS ? TOPO_STAYS : p == OPS_WILL_PART ? TOPO_WILL_PART : TOPO_PARTS;
}

struct ops *keeper_ops(const struct keeper *k)
{
	return k->ops;
}

static struct ops_conf ops_conf_of(const struct conf_cluster *conf)
{
	return (struct ops_conf){ .is_automatic = conf->failover == CONF_FAILOVER_AUTO,
		                      .is_manual = conf->failover == CONF_FAILOVER_MANUAL,
		                      .promote_timeout_us = conf->promote_timeout,
		                      .follow_timeout_us = conf->follow_timeout,
		                      .rejoin_timeout_us = conf->rejoin_timeout,
		                      .recover_timeout_us = conf->recover_timeout,
		                      .drain_timeout_us = conf->node_drain_timeout,
		                      .switchover_timeout_us = conf->switchover_timeout,
		                      .max_loss = conf->max_loss };
}

static void tell_found(const struct keeper *k, enum journal_found found, const struct record *r, const struct err *err)
{
	if (found == JOURNAL_DAMAGED)
		log_error(NULL, "journal_damaged", KV_STR("cluster", k->cluster), KV_ERR(err),
		          KV_STR("effect", "it was set aside; what nodes say is recorded anew"));
	else if (found == JOURNAL_STRANGE)
		log_error(NULL, "journal_strange", KV_STR("cluster", k->cluster), KV_ERR(err),
		          KV_STR("effect", "it is left as it is; no node is taken for the primary, and nothing is done"));
	else if (found == JOURNAL_FOUND)
		log_info(NULL, "journal_read", KV_STR("cluster", k->cluster), KV_STR("maintenance", r->is_paused ? "on" : NULL),
		         KV_STR("primary", r->primary), KV_INT("epoch", r->epoch), KV_INT("timeline", r->timeline));
}

struct keeper *keeper_new(const struct keeper_env *env, const char *cluster)
{
	struct record *record = mem_alloc(sizeof *record);
	struct keeper *k = mem_alloc(sizeof *k);
	struct err err;
	const struct ops_env ops_env = { .arg = k,
		                             .now_us = on_now,
		                             .wall_s = on_wall,
		                             .alarm = on_alarm_wanted,
		                             .propose = on_propose,
		                             .route = on_route,
		                             .busy = on_busy,
		                             .rests = on_rests,
		                             .wanted = on_wanted,
		                             .look = on_look,
		                             .picture = watch_picture,
		                             .act = undertake_act,
		                             .forget_act = undertake_forget,
		                             .choose = undertake_choose,
		                             .can = undertake_can,
		                             .returning = undertake_returning };
	const struct conf_cluster *conf = NULL;
	k->env = *env;
	k->cluster = mem_text(cluster);
	dlist_init(&k->undertakings);
	loop_timer_init(&k->alarm, on_alarm);
	loop_timer_init(&k->seen, on_seen);
	tell_found(k, journal_load(env->journal, cluster, record, &err), record, &err);
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	ASSERT(c);
	struct ops_conf ops_conf = ops_conf_of(conf);
	k->ops = ops_new(&ops_env, &ops_conf, record);
	k->told_record = record;
	watch_init(k);
	watch_follow(k);
	show(k);
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	journal_forget(k->env.journal, k);
	records_drop(k->env.records, k->cluster);
	ops_free(k->ops);
	undertake_none(k);
	watch_stop(k);
	loop_timer_stop(k->env.loop, &k->alarm);
	loop_timer_stop(k->env.loop, &k->seen);
	mem_free(k->told_record);
	mem_free(k->cluster);
	mem_free(k);
}

void keeper_on_conf(struct keeper *k)
{
	const struct conf_cluster *conf = NULL;
	if (!keeper_cluster(k, &conf))
		return;
	struct ops_conf ops_conf = ops_conf_of(conf);
	memset(k->timelines, 0, sizeof k->timelines);
	memset(k->receiveds, 0, sizeof k->receiveds);
	memset(k->are_down, 0, sizeof k->are_down);
	k->door_at = RECORD_NODES_MAX; /* places may have changed */
	memset(k->upstreams, 0, sizeof k->upstreams);
	ops_configure(k->ops, &ops_conf);
	ops_go_on(k->ops);
}
