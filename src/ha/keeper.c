/*
 * keeper — the program's side of ops.c: real time, real nodes, the topology.
 *
 *   keeper_heard ──► ladder ──suspect──► tick, every TICK_US: look at all, knock at the primary, judge ──► ops_go_on
 *   ops: propose ──► journal;  route ──► settle, then wait until everybody has seen it;  act ──► deeds
 *
 * Always: the ladder is about the recorded primary, and begins anew with another;  while it is suspected the tick runs;
 *         a proposal's end is heard by the ops that made it.
 */
#include "ha/keeper.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/deeds.h"
#include "ha/knock.h"

#define TICK_US (20 * US_PER_MS)
#define KNOCK_TIMEOUT_US (300 * US_PER_MS)
#define SEEN_US (1 * US_PER_MS)
#define PULSE_US (200 * US_PER_MS) /* how often we notice that we slept */
#define SLEPT_US (500 * US_PER_MS)
#define RATE_US (100 * US_PER_MS)

struct undertaking { /* a deed for an act */
	struct dlist link;
	struct keeper *keeper;
	uint64_t id, timeout_us;
	enum ops_act what;
	char node[RECORD_NAME_MAX], primary[RECORD_NAME_MAX];
	struct deed *deed;
	struct hook_run *run; /* in its stead, or before it: fence() */
	struct loop_defer refused;
	struct err why;
};

struct keeper {
	struct keeper_env env;
	char *cluster;
	struct ops *ops;
	struct ladder ladder;
	char suspect[RECORD_NAME_MAX]; /* whom the ladder is about */
	uint64_t suspect_us, progress;
	enum ladder_state told;
	struct knock *knock;
	struct loop_timer tick, alarm, seen, pulse;
	uint64_t pulsed_us, generation; /* generation: to be seen by everybody */
	struct dlist undertakings;
	uint64_t fenced; /* the operation whose source was fenced last */
	/* the last picture that was asked for */
	struct ops_picture picture;
	struct ops_node nodes[RECORD_NODES_MAX];
	uint64_t timelines[RECORD_NODES_MAX]; /* last known, by place in the cluster */
	uint64_t receiveds[RECORD_NODES_MAX];
	char story[RECORD_WHY_MAX], sync[256];
	uint64_t written, written_us, written_per_s;
};

static const struct topo_cluster *cluster_of(const struct keeper *k, const struct conf_cluster **conf)
{
	const struct topo *t = topo_latest(k->env.board);
	for (size_t i = 0; i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, k->cluster) == 0) {
			*conf = &t->conf->clusters[i];
			return &t->clusters[i];
		}
	return NULL;
}

static const struct topo_node *node_named(const struct topo_cluster *c, const char *name)
{
	for (size_t i = 0; c && i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, name) == 0)
			return &c->nodes[i];
	return NULL;
}

static const struct picture_node *heard_of(const struct keeper *k, const struct topo_node *n)
{
	return k->env.node(k->env.arg, n->id);
}

/* -- the ladder ------------------------------------------------------------------------------------------ */

static bool has_said(const struct picture_node *n)
{
	return n && !n->is_late && (n->view.last == VERDICT_PRIMARY || n->view.last == VERDICT_STANDBY);
}

/* One that has its WAL from another standby says nothing of the primary. */
static bool is_cascaded(const struct topo_cluster *c, const struct picture_node *n, const char *primary)
{
	char address[256];
	for (size_t i = 0; i < c->n_nodes; i++) {
		snprintf(address, sizeof address, "%.240s:%u", c->nodes[i].host, c->nodes[i].port);
		if (strcmp(address, n->sample.sender) == 0)
			return strcmp(c->nodes[i].name, primary) != 0;
	}
	return false;
}

static struct ladder_opinion opinion_of(const struct keeper *k, const struct topo_cluster *c)
{
	struct ladder_opinion o = { 0 };
	for (size_t i = 0; c && i < c->n_nodes; i++) {
		const struct picture_node *n = heard_of(k, &c->nodes[i]);
		if (!has_said(n) || n->view.last != VERDICT_STANDBY || n->answered_us < k->suspect_us ||
		    strcmp(c->nodes[i].name, k->suspect) == 0 || is_cascaded(c, n, k->suspect))
			continue;
		if (n->sample.receiver == SAMPLE_NO_RECEIVER)
			o.lost++;
		else
			o.streaming++;
	}
	return o;
}

static struct ladder_limits limits_of(const struct conf_cluster *conf)
{
	return (struct ladder_limits){ .restart_grace_us = conf->restart_grace,
		                           .recovery_grace_us = conf->recovery_grace,
		                           .hung_us = conf->hung_timeout,
		                           .unreachable_us = conf->unreachable_timeout };
}

static enum ladder_state judge(struct keeper *k)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = cluster_of(k, &conf);
	if (!c || !*k->suspect)
		return LADDER_ALIVE;
	struct ladder_limits limits = limits_of(conf);
	struct ladder_opinion opinion = opinion_of(k, c);
	uint64_t now = clock_us();
	enum ladder_state is = ladder_judge(&k->ladder, &limits, opinion, now);
	ladder_explain(&k->ladder, opinion, now, k->story, sizeof k->story);
	if (is != k->told && (is > LADDER_SUSPECT || k->told > LADDER_SUSPECT))
		log_warn(NULL, "primary_state", KV_STR("cluster", k->cluster), KV_STR("node", k->suspect),
		         KV_STR("state", ladder_word(is)), KV_STR("evidence", is > LADDER_ALIVE ? k->story : NULL));
	k->told = is;
	return is;
}

static void note(struct keeper *k, enum ladder_event what)
{
	bool was = k->ladder.is_suspect;
	ladder_note(&k->ladder, what, clock_us());
	if (k->ladder.is_suspect && !was) {
		k->suspect_us = clock_us();
		k->progress = 0;
	}
	if (k->ladder.is_suspect && !loop_timer_is_running(&k->tick))
		loop_timer_start(k->env.loop, &k->tick, 0);
}

/* Another primary is another story. */
static void follow_record(struct keeper *k)
{
	const char *primary = ops_primary(k->ops);
	if (strcmp(primary, k->suspect) == 0)
		return;
	k->ladder = (struct ladder){ 0 };
	k->told = LADDER_ALIVE;
	k->written = k->written_us = k->written_per_s = 0;
	k->sync[0] = 0;
	snprintf(k->suspect, sizeof k->suspect, "%s", primary);
}

static void on_knocked(void *arg, enum ladder_event how)
{
	struct keeper *k = arg;
	note(k, how);
	judge(k);
	ops_go_on(k->ops);
}

static void look_at_progress(struct keeper *k, const struct topo_node *n)
{
	uint64_t is = k->env.pools->progress(k->env.pools->arg, n->id);
	if (is != k->progress && k->progress)
		note(k, LADDER_WORKED);
	k->progress = is;
}

/* While the primary is suspected, and while an operation waits for what nodes say. */
static void on_tick(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, tick);
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = node_named(cluster_of(k, &conf), k->suspect);
	if (!n || !k->ladder.is_suspect)
		return;
	loop_timer_start(k->env.loop, t, TICK_US);
	look_at_progress(k, n);
	k->env.look(k->env.arg, k->cluster);
	if (!knock_is_under_way(k->knock))
		knock_begin(k->knock, n->host, n->port, KNOCK_TIMEOUT_US);
	judge(k);
	ops_go_on(k->ops);
}

/* Who sleeps for half a second hears of everything late, and may not hold that against anybody. */
static void on_pulse(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, pulse);
	uint64_t now = clock_us();
	if (k->pulsed_us && now - k->pulsed_us > PULSE_US + SLEPT_US) {
		log_warn(NULL, "we_slept", KV_STR("cluster", k->cluster), KV_INT("ms", (now - k->pulsed_us) / US_PER_MS));
		note(k, LADDER_OURS);
	}
	k->pulsed_us = now;
	loop_timer_start(k->env.loop, t, PULSE_US);
}

static enum ladder_event event_of(const struct picture_node *n, const struct err *err)
{
	if (n->view.last == VERDICT_PRIMARY || n->view.last == VERDICT_STANDBY)
		return LADDER_ANSWERED;
	if (n->view.last == VERDICT_REFUSED)
		return LADDER_SPOKE;
	return err && strncmp(err->sqlstate, "57P0", 4) == 0 ? LADDER_STARTING : LADDER_BROKE;
}

static void measure(struct keeper *k, const struct picture_node *n)
{
	const struct sample *s = &n->sample;
	if (n->view.last != VERDICT_PRIMARY)
		return;
	if (k->written && s->flushed >= k->written && n->answered_us - k->written_us >= RATE_US)
		k->written_per_s = (s->flushed - k->written) * US_PER_S / (n->answered_us - k->written_us);
	k->written = s->flushed;
	k->written_us = n->answered_us;
	memcpy(k->sync, s->names, sizeof k->sync);
}

/* A standby that has got more is the primary's sign of life. */
static void note_received(struct keeper *k, const struct topo_cluster *c, size_t at, const struct picture_node *n)
{
	bool is_more =
	    has_said(n) && n->sample.receiver == SAMPLE_STREAMING && k->receiveds[at] && n->sample.received > k->receiveds[at];
	if (is_more && !is_cascaded(c, n, k->suspect) && k->ladder.is_suspect)
		note(k, LADDER_WORKED);
	k->receiveds[at] = n->sample.received;
}

void keeper_heard(struct keeper *k, const struct picture_node *node, const struct err *err)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = cluster_of(k, &conf);
	for (size_t i = 0; c && i < c->n_nodes && i < RECORD_NODES_MAX; i++) {
		if (c->nodes[i].id != node->id)
			continue;
		if (strcmp(c->nodes[i].name, k->suspect) == 0) {
			note(k, event_of(node, err));
			measure(k, node);
		} else if (has_said(node)) {
			note_received(k, c, i, node);
		}
		if (has_said(node) && (node->sample.timeline || node->sample.reached))
			k->timelines[i] = node->sample.timeline ? node->sample.timeline : node->sample.reached;
	}
	judge(k);
	ops_go_on(k->ops);
}

void keeper_on_late(struct keeper *k, const struct picture_node *node)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = node_named(cluster_of(k, &conf), k->suspect);
	if (n && n->id == node->id)
		note(k, LADDER_LATE);
}

/* -- what ops sees --------------------------------------------------------------------------------------- */

static void paint_node(struct keeper *k, size_t at, const struct topo_node *n, const struct conf_node *conf)
{
	const struct picture_node *heard = heard_of(k, n);
	struct ops_node *out = &k->nodes[at];
	*out =
	    (struct ops_node){ .guard = { .name = n->name, .alias = "", .priority = conf->priority }, .is_foreign = n->is_foreign };
	if (!heard)
		return;
	bool is_standby = heard->view.last == VERDICT_STANDBY;
	out->asked_us = heard->answered_us;
	out->failed_us = heard->failed_us;
	out->guard.has_answered = has_said(heard);
	out->is_refusing = heard->view.last == VERDICT_REFUSED;
	if (!out->guard.has_answered)
		return;
	out->guard.in_recovery = is_standby;
	out->guard.system_id = heard->view.system_id;
	out->guard.timeline = is_standby ? k->timelines[at] : heard->sample.timeline;
	out->guard.received = is_standby ? heard->sample.received : heard->sample.flushed;
	out->guard.alias = is_standby && heard->sample.n_peers ? heard->sample.peers[0].name : "";
	out->is_streaming = is_standby && (heard->sample.receiver == SAMPLE_STREAMING || heard->sample.receiver == SAMPLE_HIDDEN);
}

/* Who is out of recovery, of those that may be: by the verdict on what they have said. */
static int writable_of(struct keeper *k, const struct topo_cluster *c)
{
	struct verdict_view views[RECORD_NODES_MAX] = { 0 };
	const struct picture *pic = k->env.picture(k->env.arg, k->cluster);
	int recorded = -1;
	for (size_t i = 0; i < k->picture.n_nodes; i++) {
		const struct picture_node *n = heard_of(k, &c->nodes[i]);
		if (!n || !pic)
			return -1;
		views[i] = n->view;
		views[i].last = record_is_barred(ops_record(k->ops), c->nodes[i].name) ? VERDICT_FOREIGN : picture_answer(pic, &n->view);
		if (strcmp(c->nodes[i].name, ops_primary(k->ops)) == 0)
			recorded = (int)i;
	}
	struct verdict v = verdict_primary(views, k->picture.n_nodes, recorded);
	return v.primary >= 0 && views[v.primary].last == VERDICT_PRIMARY ? v.primary : -1;
}

static const struct ops_picture *on_picture(void *arg)
{
	struct keeper *k = arg;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = cluster_of(k, &conf);
	const struct picture *pic = k->env.picture(k->env.arg, k->cluster);
	k->picture = (struct ops_picture){ .nodes = k->nodes, .writable = -1, .story = k->story };
	if (!c || !pic)
		return &k->picture;
	k->picture.n_nodes = c->n_nodes < RECORD_NODES_MAX ? c->n_nodes : RECORD_NODES_MAX;
	for (size_t i = 0; i < k->picture.n_nodes; i++)
		paint_node(k, i, &c->nodes[i], &conf->nodes[i]);
	k->picture.writable = writable_of(k, c);
	k->picture.system_id = pic->system_id;
	k->picture.is_lost = judge(k) == LADDER_DEAD;
	k->picture.written = k->written;
	k->picture.written_age_us = k->written ? clock_us() - k->written_us : 0;
	k->picture.written_per_s = k->written_per_s;
	k->picture.sync = k->written ? k->sync : NULL;
	return &k->picture;
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

static void show(const struct keeper *k);

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
	const struct topo_node *n = node_named(cluster_of(k, &conf), node);
	return n ? k->env.pools->busy(k->env.pools->arg, n->id) : 0;
}

static void on_look(void *arg)
{
	struct keeper *k = arg;
	k->env.look(k->env.arg, k->cluster);
}

/* -- records --------------------------------------------------------------------------------------------- */

static void show(const struct keeper *k)
{
	records_put(k->env.records, ops_record(k->ops), ops_stuck(k->ops), ops_age_ms(k->ops));
}

static void on_proposed(void *arg, enum record_fate fate, const struct err *err)
{
	struct keeper *k = arg;
	ops_on_record(k->ops, fate, err);
	follow_record(k);
	show(k);
}

static void on_propose(void *arg, uint64_t expected_epoch, const struct record *next)
{
	struct keeper *k = arg;
	record_propose(k->env.journal, expected_epoch, next, on_proposed, k);
}

/* -- routes ---------------------------------------------------------------------------------------------- */

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
	follow_record(k);
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
			const struct picture_node *n = heard_of(k, &c->nodes[i]);
			bool stays = c->primary == (int)i && n && n->view.last == VERDICT_REFUSED; /* what others say is no reason */
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

struct ops *keeper_ops(const struct keeper *k)
{
	return k->ops;
}

/* -- acts ------------------------------------------------------------------------------------------------ */

static void undertaking_free(struct undertaking *u)
{
	dlist_remove(&u->link);
	deed_drop(u->deed);
	hooks_abandon(u->run);
	loop_defer_cancel(&u->refused);
	mem_free(u);
}

static void on_deed(void *arg, bool is_done, const struct err *err)
{
	struct undertaking *u = arg;
	struct keeper *k = u->keeper;
	uint64_t id = u->id;
	u->deed = NULL;
	undertaking_free(u);
	ops_on_act(k->ops, id, is_done, err);
}

static void on_hook(void *arg, const char *output, const struct err *err)
{
	struct undertaking *u = arg;
	struct keeper *k = u->keeper;
	uint64_t id = u->id;
	u->run = NULL;
	undertaking_free(u);
	ops_on_act(k->ops, id, !err, err);
}

static struct hook_operation about(const struct keeper *k)
{
	const struct record_operation *op = &ops_record(k->ops)->op;
	return (struct hook_operation){ .id = op->id,
		                            .epoch = op->epoch,
		                            .kind = operation_kind_word(op->kind),
		                            .attempt = op->attempt,
		                            .old_primary = op->source,
		                            .evidence = op->why };
}

/* By the policy, if it has a hook for that. */
static bool run_hook(struct undertaking *u)
{
	const struct keeper *k = u->keeper;
	enum hook_name hook = u->what == OPS_ACT_PROMOTE ? HOOK_promote : HOOK_follow_primary;
	const struct hook_operation op = about(k);
	struct err err;
	if (!k->env.hooks || !hooks_has(k->env.hooks, k->cluster, hook))
		return false;
	const char *primary = u->what == OPS_ACT_PROMOTE ? NULL : u->primary;
	u->run = hooks_run(k->env.hooks, k->cluster, hook, &op, u->node, primary, u->timeout_us, on_hook, u, &err);
	if (!u->run)
		log_warn(NULL, "hook_not_run", KV_STR("cluster", k->cluster), KV_STR("node", u->node), KV_ERR(&err),
		         KV_STR("effect", "it is done by SQL"));
	return u->run != NULL;
}

static void undertake(struct undertaking *u)
{
	struct keeper *k = u->keeper;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = cluster_of(k, &conf);
	const struct topo_node *n = node_named(c, u->node), *p = node_named(c, u->primary);
	const struct deed_env env = { k->env.loop, k->env.resolver, k->env.mailbox };
	if (!n || (u->what == OPS_ACT_FOLLOW && !p)) {
		err_set(&u->why, "42704", "%.100s is not configured any more", n ? u->primary : u->node);
		loop_defer(k->env.loop, &u->refused);
		return;
	}
	const struct service_target target = { .host = n->host,
		                                   .port = n->port,
		                                   .dbname = conf->service_dbname,
		                                   .user = conf->service_user,
		                                   .password = conf->service_password,
		                                   .cluster = conf };
	if (u->what != OPS_ACT_SETTLE && run_hook(u))
		return;
	u->deed = u->what == OPS_ACT_SETTLE    ? deed_settle(&env, &target, u->timeout_us, on_deed, u)
	          : u->what == OPS_ACT_PROMOTE ? deed_promote(&env, &target, u->timeout_us, on_deed, u)
	                                       : deed_follow(&env, &target, p->host, p->port, u->timeout_us, on_deed, u);
}

/* -- the fence: once for each operation, before anybody is promoted --------------------------------------- */

static void on_refused(struct loop_defer *d)
{
	struct undertaking *u = CONTAINER_OF(d, struct undertaking, refused);
	struct keeper *k = u->keeper;
	struct err why = u->why;
	uint64_t id = u->id;
	undertaking_free(u);
	ops_on_act(k->ops, id, false, &why);
}

/* ERR: the fence did not do it, which forbids the promotion or does not. */
static void go_on_unfenced(struct undertaking *u, const struct err *err)
{
	struct keeper *k = u->keeper;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = cluster_of(k, &conf);
	const char *source = ops_record(k->ops)->op.source;
	if (c && !conf->fence_required) {
		log_warn(NULL, "not_fenced", KV_STR("cluster", k->cluster), KV_STR("node", source), KV_ERR(err),
		         KV_STR("effect", "the promotion goes on, since fence_required does not forbid that"));
		undertake(u);
		return;
	}
	err_set(&u->why, "55000", "the old primary is not fenced: %.300s", err->text);
	loop_defer(k->env.loop, &u->refused);
}

static void on_fenced(void *arg, const char *output, const struct err *err)
{
	struct undertaking *u = arg;
	u->run = NULL;
	if (err) {
		go_on_unfenced(u, err);
		return;
	}
	u->keeper->fenced = ops_record(u->keeper->ops)->op.id;
	undertake(u);
}

/* True: that comes first. */
static bool begin_fence(struct undertaking *u)
{
	const struct keeper *k = u->keeper;
	const struct hook_operation op = about(k);
	struct err err;
	if (u->what != OPS_ACT_PROMOTE || k->fenced == op.id || !k->env.hooks || !hooks_has(k->env.hooks, k->cluster, HOOK_fence))
		return false;
	u->run = hooks_run(k->env.hooks, k->cluster, HOOK_fence, &op, op.old_primary, NULL, u->timeout_us, on_fenced, u, &err);
	if (!u->run)
		go_on_unfenced(u, &err);
	return true;
}

static void on_act(void *arg, uint64_t id, enum ops_act what, const char *node, const char *primary, uint64_t timeout_us)
{
	struct keeper *k = arg;
	struct undertaking *u = mem_alloc(sizeof *u);
	*u = (struct undertaking){ .keeper = k, .id = id, .what = what, .timeout_us = timeout_us };
	snprintf(u->node, sizeof u->node, "%s", node);
	snprintf(u->primary, sizeof u->primary, "%s", primary);
	loop_defer_init(&u->refused, on_refused);
	dlist_push_back(&k->undertakings, &u->link);
	if (!begin_fence(u))
		undertake(u);
}

static void on_forget_act(void *arg, uint64_t id)
{
	struct keeper *k = arg;
	DLIST_EACH(it, &k->undertakings)
	{
		struct undertaking *u = CONTAINER_OF(it, struct undertaking, link);
		if (u->id == id)
			undertaking_free(u);
	}
}

/* -- who shall be primary -------------------------------------------------------------------------------- */

static size_t on_choose(void *arg, const struct guard_verdict *verdicts, size_t *order, size_t n, char *why, size_t room)
{
	struct keeper *k = arg;
	const struct record_operation *op = &ops_record(k->ops)->op;
	struct hook_candidate candidates[RECORD_NODES_MAX];
	size_t places[RECORD_NODES_MAX], all = 0;
	struct hook_choice choice;
	if (!k->env.hooks)
		return n;
	for (size_t i = 0; i < n; i++, all++) {
		places[all] = order[i];
		candidates[all] = (struct hook_candidate){ k->nodes[order[i]].guard.name, NULL };
	}
	for (size_t i = 0; i < k->picture.n_nodes; i++) {
		if (verdicts[i].may)
			continue;
		places[all] = i;
		candidates[all++] = (struct hook_candidate){ k->nodes[i].guard.name, verdicts[i].why };
	}
	hooks_choose(k->env.hooks, k->cluster, op->source, op->why, candidates, all, &choice);
	snprintf(why, room, "%s", choice.why);
	if (choice.n == 0)
		return choice.is_nobody ? 0 : n;
	for (size_t i = 0; i < choice.n; i++)
		order[i] = places[choice.order[i]];
	return choice.n;
}

/* -- life ------------------------------------------------------------------------------------------------ */

static struct ops_conf ops_conf_of(const struct conf_cluster *conf)
{
	return (struct ops_conf){ .is_automatic = conf->failover == CONF_FAILOVER_AUTO,
		                      .promote_timeout_us = conf->promote_timeout,
		                      .follow_timeout_us = conf->follow_timeout,
		                      .switchover_timeout_us = conf->switchover_timeout,
		                      .max_loss = conf->max_loss };
}

static void tell_found(const struct keeper *k, enum journal_found found, const struct record *r, const struct err *err)
{
	if (found == JOURNAL_DAMAGED)
		log_error(NULL, "journal_damaged", KV_STR("cluster", k->cluster), KV_ERR(err),
		          KV_STR("effect", "it was set aside; what nodes say is recorded anew"));
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
		                             .look = on_look,
		                             .picture = on_picture,
		                             .act = on_act,
		                             .forget_act = on_forget_act,
		                             .choose = on_choose };
	const struct conf_cluster *conf = NULL;
	k->env = *env;
	k->cluster = mem_text(cluster);
	dlist_init(&k->undertakings);
	loop_timer_init(&k->tick, on_tick);
	loop_timer_init(&k->alarm, on_alarm);
	loop_timer_init(&k->seen, on_seen);
	loop_timer_init(&k->pulse, on_pulse);
	k->knock = knock_new(env->loop, env->resolver, env->mailbox, on_knocked, k);
	tell_found(k, journal_load(env->journal, cluster, record, &err), record, &err);
	const struct topo_cluster *c = cluster_of(k, &conf);
	ASSERT(c);
	struct ops_conf ops_conf = ops_conf_of(conf);
	k->ops = ops_new(&ops_env, &ops_conf, record);
	mem_free(record);
	follow_record(k);
	show(k);
	loop_timer_start(env->loop, &k->pulse, PULSE_US);
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	journal_forget(k->env.journal, k);
	records_drop(k->env.records, k->cluster);
	ops_free(k->ops);
	for (struct dlist *it; (it = dlist_first(&k->undertakings));)
		undertaking_free(CONTAINER_OF(it, struct undertaking, link));
	knock_free(k->knock);
	loop_timer_stop(k->env.loop, &k->tick);
	loop_timer_stop(k->env.loop, &k->alarm);
	loop_timer_stop(k->env.loop, &k->seen);
	loop_timer_stop(k->env.loop, &k->pulse);
	mem_free(k->cluster);
	mem_free(k);
}

void keeper_on_conf(struct keeper *k)
{
	const struct conf_cluster *conf = NULL;
	if (!cluster_of(k, &conf))
		return;
	struct ops_conf ops_conf = ops_conf_of(conf);
	memset(k->timelines, 0, sizeof k->timelines);
	memset(k->receiveds, 0, sizeof k->receiveds);
	ops_configure(k->ops, &ops_conf);
	ops_go_on(k->ops);
}
