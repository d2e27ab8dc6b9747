/*
 * ailing — a primary that answers, and is of no use: nothing is committed there, or nobody new is let in.
 *
 *   on_look, every LOOK_US:  connections that do not get open ──► knock ──► ladder (deaf)
 *                            nobody has committed for write_probe_interval though clients are there, or one failed for its disk ──► proof ──► ladder
 *
 * Where somebody commits all the time nothing is written by us, nor where nobody is: what the primary says of its WAL at each question tells.
 *
 * Always: only an automatic or manual failover's primary is looked at, and only while it says that it is one.
 */
#include "keeperpriv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOOK_US (500 * US_PER_MS)
#define LATE_US (500 * US_PER_MS) /* that a commit may take before it is talked about */
#define CONNECT_US (2 * US_PER_S)

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void on_proof(void *arg, enum proof_end how, const struct err *err)
{
	struct keeper *k = arg;
	k->proved_us = clock_us();
	if (how == PROOF_WROTE)
		watch_note(k, LADDER_WROTE, clock_us());
	else if (how == PROOF_REFUSED)
		watch_note(k, LADDER_UNWRITABLE, clock_us());
	if (how == PROOF_NOTHING && !k->has_told_proof)
		log_warn(NULL, "write_probe_failed", KV_STR("cluster", k->cluster), KV_STR("node", k->suspect), KV_ERR(err),
		         KV_STR("effect", "nobody knows whether it commits"));
	k->has_told_proof = how == PROOF_NOTHING;
	watch_judge(k);
	ops_go_on(k->ops);
}

static void begin_proof(struct keeper *k, const struct topo_node *n, const struct conf_cluster *conf)
{
	const struct service_target target = { .host = n->host,
		                                   .port = n->port,
		                                   .dbname = conf->service_dbname,
		                                   .user = conf->service_user,
		                                   .password = conf->service_password,
		                                   .cluster = conf };
	k->disk_errors = pulse_disk_errors(n->pulse);
	proof_begin(k->proof, &target, conf->write_probe_timeout + CONNECT_US);
}

/* Since the last of: it was asked, we slept, somebody else's commit. */
static void look_at_commit(struct keeper *k)
{
	const uint64_t *last = k->ladder.last;
	uint64_t since = proof_waits_since(k->proof), now = clock_us();
	since = since ? later(since, later(last[LADDER_OURS], last[LADDER_FLUSHED])) : now;
	if (now - since >= LATE_US && !k->ladder.n[LADDER_UNWRITTEN])
		watch_note(k, LADDER_UNWRITTEN, since);
}

static void look_at_writes(struct keeper *k, const struct topo_node *n, const struct conf_cluster *conf)
{
	uint64_t now = clock_us(), interval = conf->write_probe_interval;
	if (proof_is_under_way(k->proof)) {
		look_at_commit(k);
		return;
	}
	if (!interval || now - k->proved_us < interval)
		return;
	bool is_in_doubt =
	    k->disk_errors != pulse_disk_errors(n->pulse) || k->ladder.n[LADDER_UNWRITABLE] || k->ladder.n[LADDER_UNWRITTEN];
	bool is_quiet = now - k->flushed_us >= interval;
	if (is_in_doubt || (is_quiet && k->env.pools->busy(k->env.pools->arg, n->id)))
		begin_proof(k, n, conf);
}

static void look_at_door(struct keeper *k, const struct topo_node *n)
{
	bool is_opening = k->env.pools->opening(k->env.pools->arg, n->id) > 0;
	bool must = k->ladder.n[LADDER_DEAF] || (is_opening && k->was_opening);
	k->was_opening = is_opening;
	if (must)
		watch_knock(k, n);
}

static void on_look(struct loop_timer *t)
{
	struct keeper *k = CONTAINER_OF(t, struct keeper, look);
	const struct conf_cluster *conf = NULL;
	const struct topo_node *n = keeper_node(keeper_cluster(k, &conf), k->suspect);
	const struct picture_node *heard = n ? keeper_heard_of(k, n) : NULL;
	loop_timer_start(k->env.loop, t, LOOK_US);
	if (!heard || heard->view.last != VERDICT_PRIMARY || conf->failover == CONF_FAILOVER_EXTERNAL)
		return;
	look_at_door(k, n);
	look_at_writes(k, n, conf);
	if (ladder_is_ailing(&k->ladder)) {
		watch_judge(k);
		ops_go_on(k->ops);
	}
}

void ailing_follow(struct keeper *k)
{
	proof_drop(k->proof);
	k->flushed_us = k->proved_us = clock_us();
	k->was_opening = k->has_told_proof = false;
}

void ailing_hear_flushed(struct keeper *k)
{
	k->flushed_us = clock_us();
	if (k->ladder.n[LADDER_UNWRITTEN])
		watch_note(k, LADDER_FLUSHED, k->flushed_us);
}

void ailing_init(struct keeper *k)
{
	loop_timer_init(&k->look, on_look);
	k->proof = proof_new(k->env.loop, k->env.resolver, k->env.mailbox, on_proof, k);
	loop_timer_start(k->env.loop, &k->look, LOOK_US);
}

void ailing_stop(struct keeper *k)
{
	proof_free(k->proof);
	loop_timer_stop(k->env.loop, &k->look);
}
