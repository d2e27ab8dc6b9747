/*
 * watch — what a keeper knows: the ladder that says whether the recorded primary is lost, and the picture that operations are decided by.
 *
 *   keeper_heard ──► ladder ──suspect──► tick, every TICK_US: look at all, knock at the primary, judge ──► ops_go_on
 *
 * Always: the ladder is about the recorded primary, and begins anew with another;  while it is suspected the tick runs.
 */
#include "keeperpriv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define TICK_US (20 * US_PER_MS)
#define KNOCK_TIMEOUT_US (300 * US_PER_MS)
#define PULSE_US (200 * US_PER_MS) /* how often we notice that we slept */
#define SLEPT_US (500 * US_PER_MS)
#define RATE_US (100 * US_PER_MS)

static bool has_said(const struct picture_node *n)
{
	return n && !n->is_late && (n->view.last == VERDICT_PRIMARY || n->view.last == VERDICT_STANDBY);
}

/* The node that N has its WAL from; NULL: it has it from none, or from an address that no node has here. */
static const char *upstream_of(const struct topo_cluster *c, const struct picture_node *n)
{
	char address[256];
	for (size_t i = 0; i < c->n_nodes; i++) {
		snprintf(address, sizeof address, "%.240s:%u", c->nodes[i].host, c->nodes[i].port);
		if (strcmp(address, n->sample.sender) == 0)
			return c->nodes[i].name;
	}
	return NULL;
}

/* One that has its WAL from another standby says nothing of the primary. */
static bool is_cascaded(const struct topo_cluster *c, const struct picture_node *n, const char *primary)
{
	const char *upstream = upstream_of(c, n);
	return upstream && strcmp(upstream, primary) != 0;
}

static struct ladder_opinion opinion_of(const struct keeper *k, const struct topo_cluster *c)
{
	struct ladder_opinion o = { 0 };
	for (size_t i = 0; c && i < c->n_nodes; i++) {
		const struct picture_node *n = keeper_heard_of(k, &c->nodes[i]);
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
		                           .unreachable_us = conf->unreachable_timeout,
		                           .unwritable_us = conf->write_probe_timeout,
		                           .deaf_us = conf->hung_accept_timeout,
		                           .crash_budget = (unsigned)conf->crash_budget,
		                           .crash_window_us = conf->crash_window };
}

enum ladder_state watch_judge(struct keeper *k)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	if (!c || !*k->suspect)
		return LADDER_ALIVE;
	struct ladder_limits limits = limits_of(conf);
	struct ladder_opinion opinion = opinion_of(k, c);
	uint64_t now = clock_us();
	enum ladder_state is = ladder_judge(&k->ladder, &limits, opinion, now);
	ladder_explain(&k->ladder, &limits, opinion, now, k->story, sizeof k->story);
	if (is != k->told && (is > LADDER_SUSPECT || k->told > LADDER_SUSPECT))
		log_warn(NULL, "primary_state", KV_STR("cluster", k->cluster), KV_STR("node", k->suspect),
		         KV_STR("state", ladder_word(is)), KV_STR("evidence", is > LADDER_ALIVE ? k->story : NULL));
	k->told = is;
	return is;
}

bool watch_works(const struct keeper *k)
{
	const struct conf_cluster *conf = NULL;
	const struct ladder *l = &k->ladder;
	bool is_open = !l->n[LADDER_REFUSED] && !l->n[LADDER_STARTING];
	return l->is_suspect && is_open && k->worked_us && keeper_cluster(k, &conf) && clock_us() - k->worked_us < conf->hung_timeout;
}

void watch_note(struct keeper *k, enum ladder_event what, uint64_t at_us)
{
	bool was = k->ladder.is_suspect;
	ladder_note(&k->ladder, what, at_us);
	if (k->ladder.is_suspect && !was) {
		k->suspect_us = clock_us();
		k->progress = 0;
	}
	if (k->ladder.is_suspect && !loop_timer_is_running(&k->tick))
		loop_timer_start(k->env.loop, &k->tick, 0);
}

static void note(struct keeper *k, enum ladder_event what)
{
	watch_note(k, what, clock_us());
}

/* Another primary is another story. */
void watch_follow(struct keeper *k)
{
	const char *primary = ops_primary(k->ops);
	if (strcmp(primary, k->suspect) == 0)
		return;
	k->ladder = (struct ladder){ 0 };
	k->told = LADDER_ALIVE;
	k->written = k->written_us = k->written_per_s = 0;
	k->worked_us = 0;
	k->sync[0] = 0;
	ailing_follow(k);
	snprintf(k->suspect, sizeof k->suspect, "%s", primary);
}

static void on_knocked(void *arg, enum ladder_event how)
{
	struct keeper *k = arg;
	note(k, how);
	watch_judge(k);
	ops_go_on(k->ops);
}

void watch_knock(struct keeper *k, const struct topo_node *n)
{
	if (!knock_is_under_way(k->knock))
		knock_begin(k->knock, n->host, n->port, KNOCK_TIMEOUT_US);
}

static void look_at_progress(struct keeper *k, const struct topo_node *n)
{
	uint64_t is = k->env.pools->progress(k->env.pools->arg, n->id);
	if (is != k->progress && k->progress) {
		k->worked_us = clock_us();
		note(k, LADDER_WORKED);
	}
	k->progress = is;
}

/* While the primary is suspected, and while an operation waits for what nodes say. */
static void on_tick(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, tick);
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), k->suspect);
	if (!n || !k->ladder.is_suspect)
		return;
	loop_timer_start(k->env.loop, t, TICK_US);
	look_at_progress(k, n);
	k->env.look(k->env.arg, k->cluster);
	watch_knock(k, n);
	watch_judge(k);
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
	if (s->flushed > k->written)
		ailing_hear_flushed(k);
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

/* Without a receiver the control file tells it, which is behind until the next restart point: what was received before counts, until the node
 * has been away and may be another one. */
static void note_timeline(struct keeper *k, size_t at, const struct picture_node *n)
{
	const struct sample *s = &n->sample;
	if (n->view.last == VERDICT_FAILED)
		k->timelines[at] = 0;
	else if (has_said(n) && s->timeline)
		k->timelines[at] = s->timeline;
	else if (has_said(n) && s->reached > k->timelines[at])
		k->timelines[at] = s->reached;
}

/* One that is in quarantine and does not answer: is its PostgreSQL not there, or is nothing known? */
static void knock_at_door(struct keeper *k, const struct topo_cluster *c, size_t at, const struct picture_node *n)
{
	const struct topo_node *t = &c->nodes[at];
	bool is_silent = n->view.last == VERDICT_FAILED && record_is_barred(ops_record(k->ops), t->name);
	k->are_down[at] &= is_silent;
	if (!is_silent || knock_is_under_way(k->door))
		return;
	k->door_at = at;
	knock_begin(k->door, t->host, t->port, KNOCK_TIMEOUT_US);
}

static void on_door(void *arg, enum ladder_event how)
{
	struct keeper *k = arg;
	if (how != LADDER_OURS && k->door_at < RECORD_NODES_MAX)
		k->are_down[k->door_at] = how == LADDER_REFUSED;
	ops_go_on(k->ops);
}

static void note_upstream(struct keeper *k, const struct topo_cluster *c, size_t at, const struct picture_node *n)
{
	const char *upstream = upstream_of(c, n);
	if (has_said(n) && *n->sample.sender)
		snprintf(k->upstreams[at], sizeof k->upstreams[at], "%s", upstream ? upstream : "");
}

void keeper_heard(struct keeper *k, const struct picture_node *node, const struct err *err)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	for (size_t i = 0; c && i < c->n_nodes && i < RECORD_NODES_MAX; i++) {
		if (c->nodes[i].id != node->id)
			continue;
		if (strcmp(c->nodes[i].name, k->suspect) == 0) {
			note(k, event_of(node, err));
			measure(k, node);
		} else if (has_said(node)) {
			note_received(k, c, i, node);
		}
		knock_at_door(k, c, i, node);
		note_timeline(k, i, node);
		note_upstream(k, c, i, node);
	}
	watch_judge(k);
	ops_go_on(k->ops);
}

void keeper_on_late(struct keeper *k, const struct picture_node *node)
{
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), k->suspect);
	if (n && n->id == node->id)
		note(k, LADDER_LATE);
}

static void paint_node(struct keeper *k, size_t at, const struct topo_node *n, const struct conf_node *conf)
{
	const struct picture_node *heard = keeper_heard_of(k, n);
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
	out->is_down = k->are_down[at] && !out->guard.has_answered;
	if (!out->guard.has_answered)
		return;
	out->guard.in_recovery = is_standby;
	out->guard.is_delayed = is_standby && heard->sample.is_delayed;
	out->upstream = k->upstreams[at];
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
		const struct picture_node *n = keeper_heard_of(k, &c->nodes[i]);
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

const struct ops_picture *watch_picture(void *arg)
{
	struct keeper *k = arg;
	const struct conf_cluster *conf = NULL;
	const struct topo_cluster *c = keeper_cluster(k, &conf);
	const struct picture *pic = k->env.picture(k->env.arg, k->cluster);
	k->picture = (struct ops_picture){ .nodes = k->nodes, .writable = -1, .story = k->story };
	if (!c || !pic)
		return &k->picture;
	k->picture.n_nodes = c->n_nodes < RECORD_NODES_MAX ? c->n_nodes : RECORD_NODES_MAX;
	for (size_t i = 0; i < k->picture.n_nodes; i++)
		paint_node(k, i, &c->nodes[i], &conf->nodes[i]);
	k->picture.writable = writable_of(k, c);
	k->picture.system_id = pic->system_id;
	k->picture.is_lost = watch_judge(k) == LADDER_DEAD;
	k->picture.written = k->written;
	k->picture.written_age_us = k->written ? clock_us() - k->written_us : 0;
	k->picture.written_per_s = k->written_per_s;
	k->picture.sync = k->written ? k->sync : NULL;
	return &k->picture;
}

void watch_init(struct keeper *k)
{
	loop_timer_init(&k->tick, on_tick);
	loop_timer_init(&k->pulse, on_pulse);
	k->knock = knock_new(k->env.loop, k->env.resolver, k->env.mailbox, on_knocked, k);
	k->door = knock_new(k->env.loop, k->env.resolver, k->env.mailbox, on_door, k);
	loop_timer_start(k->env.loop, &k->pulse, PULSE_US);
	ailing_init(k);
}

void watch_stop(struct keeper *k)
{
	ailing_stop(k);
	knock_free(k->knock);
	knock_free(k->door);
	loop_timer_stop(k->env.loop, &k->tick);
	loop_timer_stop(k->env.loop, &k->pulse);
}
