/*
 * roles — asks the nodes, lets verdict.c decide, publishes.
 *
 * Measuring (a service connection and a timer for each node), deciding (verdict_primary) and acting (settle: copy the topology, change
 * it, publish) are three places.  Each node is asked by itself, so that a dead one delays nobody.
 *
 * Always: a node is asked by one question at a time, and not again within GAP_US; while it is not being asked, its timer runs;
 *         nothing is published that does not differ from what was.
 */
#include "ha/roles.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "ha/verdict.h"
#include "upstream/service.h"

/* Whether it is in recovery is asked once: a promotion may come in between. */
#define PROBE_SQL                                                                                       \
	"select r, case when r then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end - '0/0'," \
	" current_setting('wal_block_size'), pg_size_bytes(current_setting('wal_segment_size'))"            \
	" from (select pg_is_in_recovery() offset 0) _(r)"
#define PROBE_TIMEOUT_US (2 * US_PER_S)
#define GAP_US (10 * US_PER_MS) /* doubts may come in floods */

struct probed {
	struct dlist link;
	struct roles *roles;
	uint32_t id;
	struct pulse *pulse;
	uint64_t interval_us, began_us, asked_us, ejections;
	struct service *service;
	struct loop_timer timer;
	bool is_asking, is_doubted, is_kept;
	struct verdict_view view;
};

struct roles {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct dlist nodes;
};

static struct probed *probed_of(struct roles *r, uint32_t id)
{
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (p->id == id)
			return p;
	}
	return NULL;
}

/* -- deciding and acting ------------------------------------------------------------------------- */

static struct verdict decide(struct roles *r, const struct topo_cluster *c)
{
	struct verdict_view *views = mem_alloc(c->n_nodes * sizeof *views);
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct probed *p = probed_of(r, c->nodes[i].id);
		if (p)
			views[i] = p->view;
	}
	struct verdict v = verdict_primary(views, c->n_nodes, c->primary);
	mem_free(views);
	return v;
}

static const char *name_of(const struct topo_cluster *c, int i)
{
	return i < 0 ? NULL : c->nodes[i].name;
}

static void log_node(const struct topo_cluster *c, const struct topo_node *n, bool is_reachable, const struct err *err)
{
	if (is_reachable)
		log_info(NULL, "node_up", KV_STR("cluster", c->name), KV_STR("node", n->name));
	else
		log_warn(NULL, "node_down", KV_STR("cluster", c->name), KV_STR("node", n->name), KV_ERR(err));
}

static void log_primary(const struct topo_cluster *c, const struct verdict *v)
{
	log_write(v->primary < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, NULL, "primary_changed",
	          (struct log_kv[]){ KV_STR("cluster", c->name), KV_STR("from", name_of(c, c->primary)),
	                             KV_STR("to", name_of(c, v->primary)), KV_STR("reason", v->reason) },
	          4);
}

/* What P said last becomes the picture, if that changes it. */
static void settle(struct probed *p, const struct err *err)
{
	struct roles *r = p->roles;
	const struct topo *now = topo_latest(r->board);
	size_t at;
	const struct topo_node *node = topo_node(now, p->id, &at);
	if (!node)
		return; /* another configuration was published; roles_on_conf() will forget it */
	const struct topo_cluster *c = &now->clusters[at];
	struct verdict v = decide(r, c);
	bool is_reachable = p->view.last != VERDICT_FAILED;
	bool in_recovery = p->view.last == VERDICT_STANDBY || (p->view.last != VERDICT_PRIMARY && node->in_recovery);
	if (v.primary == c->primary && is_reachable == node->is_reachable && in_recovery == node->in_recovery)
		return;
	if (is_reachable != node->is_reachable)
		log_node(c, node, is_reachable, err);
	if (v.primary != c->primary)
		log_primary(c, &v);
	struct topo *next = topo_copy(now);
	next->clusters[at].epoch += v.primary != c->primary && v.primary >= 0;
	struct topo_node *changed = &next->clusters[at].nodes[node - c->nodes];
	changed->is_reachable = is_reachable;
	changed->in_recovery = in_recovery;
	next->clusters[at].primary = v.primary;
	topo_publish(r->board, next);
}

/* For people, when what a node says is new. */
static void log_change(struct probed *p, const struct err *err)
{
	size_t at;
	const struct topo *now = topo_latest(p->roles->board);
	const struct topo_node *node = topo_node(now, p->id, &at);
	if (!node)
		return;
	const struct topo_cluster *c = &now->clusters[at];
	if (p->view.last == VERDICT_REFUSED)
		log_warn(NULL, "probe_refused", KV_STR("cluster", c->name), KV_STR("node", node->name), KV_ERR(err));
	if (decide(p->roles, c).has_conflict)
		log_error(NULL, "several_primaries", KV_STR("cluster", c->name), KV_STR("node", node->name),
		          KV_STR("primary", name_of(c, c->primary)));
}

/* -- measuring ----------------------------------------------------------------------------------- */

static void ask_after(struct probed *p, uint64_t gap_us)
{
	uint64_t now = loop_now_us(p->roles->loop), at = p->began_us + gap_us;
	loop_timer_start(p->roles->loop, &p->timer, at > now ? at - now : 0);
}

static enum verdict_answer answer_of(const char *const *values, unsigned n, const struct err *err)
{
	if (err)
		return verdict_of_error(err);
	if (n != 4 || !values[0])
		return VERDICT_REFUSED;
	return values[0][0] == 't' ? VERDICT_STANDBY : VERDICT_PRIMARY;
}

/* The place behind a page's header is the page's start: a server that has written all up to a page's end says the former, one that has replayed it the
 * latter, and an idle cluster would never agree. */
static uint64_t position_of(const char *const *values)
{
	uint64_t lsn = values[1] ? strtoull(values[1], NULL, 10) : 0;
	uint64_t block = strtoull(values[2], NULL, 10), segment = strtoull(values[3], NULL, 10);
	bool is_long = segment && lsn / block * block % segment == 0;
	return block && lsn % block == (is_long ? 40 : 24) ? lsn - lsn % block : lsn;
}

static void note(struct probed *p, const char *const *values)
{
	bool answered = p->view.last == VERDICT_PRIMARY || p->view.last == VERDICT_STANDBY;
	uint64_t now = clock_us();
	pulse_note_latency(p->pulse, answered ? now - p->asked_us : PULSE_UNKNOWN);
	if (p->view.last == VERDICT_PRIMARY)
		pulse_note_written(p->pulse, p->asked_us, position_of(values));
	if (p->view.last == VERDICT_STANDBY)
		pulse_note_replayed(p->pulse, position_of(values));
	const char *why = p->view.last == VERDICT_STANDBY ? NULL : answered ? "it is not in recovery" : "it does not answer";
	pulse_judge(p->pulse, p->ejections, why, false, now);
}

static void on_answer(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	static const struct err no_value = { .sqlstate = "08P01", .text = "the node did not say whether it is in recovery" };
	struct probed *p = arg;
	enum verdict_answer was = p->view.last;
	p->view.last = answer_of(values, n, err);
	p->view.failures = p->view.last == VERDICT_FAILED ? p->view.failures + 1 : 0;
	p->is_asking = false;
	note(p, values);
	ask_after(p, p->is_doubted ? GAP_US : p->interval_us);
	p->is_doubted = false;
	if (p->view.last != was)
		log_change(p, err ? err : &no_value);
	settle(p, err);
}

static void ask(struct loop_timer *t)
{
	struct probed *p = CONTAINER_OF(t, struct probed, timer);
	p->began_us = loop_now_us(p->roles->loop);
	pulse_note_asked(p->pulse);
	p->ejections = pulse_ejections(p->pulse);
	p->asked_us = clock_us();
	p->is_asking = service_ask(p->service, PROBE_SQL, PROBE_TIMEOUT_US, on_answer, p);
	ASSERT(p->is_asking);
}

static void doubt(struct probed *p)
{
	if (p->is_asking)
		p->is_doubted = true; /* the answer under way may be older than the doubt */
	else
		ask_after(p, GAP_US);
}

/* -- who is asked -------------------------------------------------------------------------------- */

static struct service_target target_of(const struct topo_node *n, const struct conf_cluster *c)
{
	return (struct service_target){ .host = n->host,
		                            .port = n->port,
		                            .dbname = c->service_dbname,
		                            .user = c->service_user,
		                            .password = c->service_password,
		                            .cluster = c };
}

static struct probed *probed_new(struct roles *r, const struct topo_node *n, const struct conf_cluster *c)
{
	struct probed *p = mem_alloc(sizeof *p);
	const struct service_target target = target_of(n, c);
	p->roles = r;
	p->id = n->id;
	p->pulse = pulse_ref(n->pulse);
	p->service = service_new(r->loop, r->resolver, r->mailbox, &target);
	loop_timer_init(&p->timer, ask);
	dlist_push_back(&r->nodes, &p->link);
	loop_timer_start(r->loop, &p->timer, 0);
	return p;
}

static void probed_free(struct probed *p)
{
	dlist_remove(&p->link);
	loop_timer_stop(p->roles->loop, &p->timer);
	service_free(p->service);
	pulse_unref(p->pulse);
	mem_free(p);
}

/* Probed as C says from now on; what was heard from it before stays true when only the login changed. */
static void keep_or_make(struct roles *r, const struct topo_node *n, const struct conf_cluster *c)
{
	struct probed *p = probed_of(r, n->id);
	struct verdict_view view = p ? p->view : (struct verdict_view){ 0 };
	const struct service_target target = target_of(n, c);
	if (p && !service_is_for(p->service, &target)) {
		probed_free(p);
		p = NULL;
	}
	if (!p)
		p = probed_new(r, n, c);
	p->view = view;
	p->interval_us = c->probe_interval;
	p->is_kept = true;
}

/* -- public -------------------------------------------------------------------------------------- */

struct roles *roles_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board)
{
	struct roles *r = mem_alloc(sizeof *r);
	*r = (struct roles){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .board = board };
	dlist_init(&r->nodes);
	return r;
}

void roles_free(struct roles *r)
{
	if (!r)
		return;
	DLIST_EACH(l, &r->nodes)
	probed_free(CONTAINER_OF(l, struct probed, link));
	mem_free(r);
}

void roles_on_conf(struct roles *r)
{
	const struct topo *t = topo_latest(r->board);
	DLIST_EACH(l, &r->nodes)
	CONTAINER_OF(l, struct probed, link)->is_kept = false;
	for (size_t i = 0; i < t->n_clusters; i++)
		for (size_t k = 0; k < t->clusters[i].n_nodes && t->clusters[i].n_nodes > 1; k++)
			keep_or_make(r, &t->clusters[i].nodes[k], &t->conf->clusters[i]);
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (!p->is_kept)
			probed_free(p);
	}
}

void roles_doubt(struct roles *r, uint32_t node_id)
{
	const struct topo *t = topo_latest(r->board);
	size_t at;
	if (!t || !topo_node(t, node_id, &at))
		return;
	for (size_t i = 0; i < t->clusters[at].n_nodes; i++) {
		struct probed *p = probed_of(r, t->clusters[at].nodes[i].id);
		if (p)
			doubt(p);
	}
}
