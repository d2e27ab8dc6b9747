/*
 * roles — asks the nodes, lets verdict.c and picture.c decide, publishes.
 *
 * Measuring (a service connection and a timer for each node), deciding (verdict_primary, picture_judge) and acting (settle: copy the topology,
 * change it, publish) are three places.  Each node is asked by itself, so that a dead one delays nobody.
 *
 *   ask ──answer, error──► note: settle who is primary, then judge this node ──probe_interval──► ask
 *    └──no answer for LATE_US──► judge it late, and go on waiting                 doubts, a lost connection: ──GAP_US──► ask
 *
 * Always: a node is asked by one question at a time, and not again within GAP_US;  its timer runs, but while a question is late;
 *         nothing is published that does not differ from what was.
 */
#include "ha/roles.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "ha/picture.h"
#include "ha/sample.h"
#include "ha/tell.h"
#include "ha/verdict.h"
#include "upstream/service.h"

#define PROBE_TIMEOUT_US (2 * US_PER_S)
#define LATE_US (500 * US_PER_MS)
#define GAP_US (10 * US_PER_MS) /* doubts may come in floods */

struct watched {
	struct dlist link;
	char *name;
	bool is_kept;
	struct picture picture;
	struct keeper *keeper; /* NULL: nothing is remembered */
};

struct probed {
	struct dlist link;
	struct roles *roles;
	struct watched *cluster;
	uint64_t interval_us, began_us;
	struct service *service;
	struct loop_timer timer;
	bool is_asking, is_doubted, is_kept;
	bool was_connected; /* what it takes to answer is not what it takes to connect */
	struct told told;
	struct picture_node node;
};

struct roles {
	struct hooks *hooks; /* NULL: nobody is asked */
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct dlist nodes, clusters;
	struct journal *journal; /* NULL: none */
	struct records *records;
	const struct keeper_pools *pools;
};

static struct probed *probed_of(struct roles *r, uint32_t id)
{
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (p->node.id == id)
			return p;
	}
	return NULL;
}

/* -- deciding and acting ------------------------------------------------------------------------- */

static bool is_cut(const struct watched *w, const struct topo_node *n)
{
	return w->keeper ? keeper_is_cut(w->keeper, n->name) : n->is_cut;
}

/* What the nodes of C have said, each as PIC has it; NULL: as they said it.  Who is cut off has no say. */
static struct verdict_view *views_of(struct roles *r, const struct topo_cluster *c, const struct picture *pic)
{
	struct verdict_view *views = mem_alloc(c->n_nodes * sizeof *views);
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct probed *p = probed_of(r, c->nodes[i].id);
		if (!p)
			continue;
		views[i] = p->node.view;
		if (pic)
			views[i].last = is_cut(p->cluster, &c->nodes[i]) ? VERDICT_FOREIGN : picture_answer(pic, &p->node.view);
	}
	return views;
}

/* Who was it so far: the published one; if there is none, the recorded one once it says so itself. */
static int recorded_of(const struct watched *w, const struct topo_cluster *c, const struct verdict_view *views)
{
	const char *name = c->primary < 0 && w->keeper ? ops_primary(keeper_ops(w->keeper)) : "";
	for (size_t i = 0; *name && i < c->n_nodes; i++)
		if (strcmp(c->nodes[i].name, name) == 0 && views[i].last == VERDICT_PRIMARY)
			return (int)i;
	return c->primary;
}

static struct verdict decide(struct roles *r, const struct watched *w, const struct topo_cluster *c)
{
	struct verdict_view *views = views_of(r, c, &w->picture);
	struct verdict v = verdict_primary(views, c->n_nodes, recorded_of(w, c, views));
	if (w->keeper)
		v.primary = keeper_route(w->keeper, c, v.primary, &v.reason);
	mem_free(views);
	return v;
}

static void identify(struct roles *r, struct watched *w, const struct topo_cluster *c)
{
	struct picture *pic = &w->picture;
	struct verdict_view *views = views_of(r, c, NULL);
	uint64_t id = verdict_identity(views, c->n_nodes, pic->system_id);
	mem_free(views);
	if (pic->system_id && id != pic->system_id)
		tell_replaced(c, pic->system_id, id);
	pic->system_id = id;
}

/* Of node N, as P has it. */
static struct topo_node as_it_is_now(const struct probed *p, const struct topo_node *n)
{
	struct topo_node now = *n;
	enum verdict_answer answer = p->node.view.last;
	now.is_reachable = answer != VERDICT_FAILED;
	now.in_recovery = answer == VERDICT_STANDBY || (answer != VERDICT_PRIMARY && n->in_recovery);
	enum verdict_answer seen = picture_answer(&p->cluster->picture, &p->node.view);
	now.is_cut = is_cut(p->cluster, n);
	now.is_draining = p->cluster->keeper && keeper_is_draining(p->cluster->keeper, n->name);
	now.is_foreign = seen == VERDICT_FOREIGN || (seen != VERDICT_PRIMARY && seen != VERDICT_STANDBY && n->is_foreign);
	return now;
}

static bool is_same(const struct topo_node *a, const struct topo_node *b)
{
	return a->is_reachable == b->is_reachable && a->in_recovery == b->in_recovery && a->is_foreign == b->is_foreign &&
	       a->is_cut == b->is_cut && a->is_draining == b->is_draining;
}

/* What a cluster was found to be may change what its other nodes are. */
static bool take_over_nodes(struct roles *r, struct topo_cluster *next, const struct watched *w, const struct err *err)
{
	bool has_changed = false;
	for (size_t i = 0; i < next->n_nodes; i++) {
		struct probed *other = probed_of(r, next->nodes[i].id);
		if (!other)
			continue;
		struct topo_node was = next->nodes[i], now = as_it_is_now(other, &was);
		has_changed |= !is_same(&was, &now);
		if (now.is_reachable != was.is_reachable)
			tell_reachable(next, &was, now.is_reachable, err);
		if (now.is_foreign != was.is_foreign)
			tell_foreign(next, &was, now.is_foreign, other->node.view.system_id, w->picture.system_id);
		other->node.is_cut = now.is_cut;
		other->node.is_drained = now.is_drained || now.is_draining;
		if ((now.is_cut && !was.is_cut) ||
		    (now.is_draining && !was.is_draining)) /* readers heed that, before anybody sees the topology */
			pulse_eject(now.pulse);
		next->nodes[i] = now;
	}
	return has_changed;
}

static enum node_state state_of(const struct probed *p, const struct topo_node *n, bool is_primary)
{
	const struct keeper *k = p->cluster->keeper;
	const struct record_node *said = k ? record_node(ops_record(keeper_ops(k)), n->name) : NULL;
	if (said && said->flags & RECORD_DETACHED)
		return NODE_DETACHED;
	if (n->is_drained || n->is_draining)
		return NODE_DRAINING;
	if (said && said->flags & RECORD_QUARANTINED)
		return NODE_QUARANTINED;
	if (!n->is_reachable)
		return NODE_DOWN;
	if (p->node.is_late || (k && keeper_suspects(k, n->name)))
		return NODE_SUSPECT;
	return is_primary || pulse_is_fit(n->pulse) ? NODE_UP : NODE_WAITING;
}

static void note_states(struct roles *r, const struct topo_cluster *c)
{
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct probed *p = probed_of(r, c->nodes[i].id);
		if (p)
			pulse_note_state(p->node.pulse, state_of(p, &c->nodes[i], c->primary == (int)i), clock_us());
	}
}

/* Before anybody reads by the new epoch: who was fit for reads of the timeline before may be ahead of this one, and lack what is written now. */
static void judge_others(struct roles *r, struct watched *w, const struct topo_cluster *c, const struct conf_cluster *conf)
{
	for (size_t i = 0; i < c->n_nodes; i++) {
		struct probed *p = probed_of(r, c->nodes[i].id);
		if (p && (int)i != c->primary)
			picture_judge(&w->picture, &p->node, conf, clock_us());
	}
}

/* What nodes said last becomes the picture, if that changes it. */
static void settle(struct roles *r, struct watched *w, size_t at, const struct err *err)
{
	struct topo *next = topo_copy(topo_latest(r->board));
	struct topo_cluster *c = &next->clusters[at];
	identify(r, w, c);
	struct verdict v = decide(r, w, c);
	const struct probed *primary = v.primary < 0 ? NULL : probed_of(r, c->nodes[v.primary].id);
	bool has_moved = picture_follow(&w->picture, primary ? &primary->node : NULL);
	bool has_changed = take_over_nodes(r, c, w, err);
	if (v.primary == c->primary && !has_changed && !has_moved) {
		topo_free(next);
		return;
	}
	bool is_news = v.primary != c->primary;
	if (is_news)
		tell_primary(c, &v);
	c->primary = v.primary;
	c->epoch += has_moved;
	if (primary &&
	    (is_news || has_moved)) /* what was written before is to be seen, too, and nobody knows how far that is there */
		pulse_note_write(c->nodes[v.primary].pulse, clock_us());
	if (has_moved)
		judge_others(r, w, c, &next->conf->clusters[at]);
	topo_publish(r->board, next);
	if (is_news) /* what the others have said was judged by another primary */
		roles_doubt(r, topo_latest(r->board)->clusters[at].nodes[0].id);
}

/* For people, when what a node says is new. */
static void tell_change(struct probed *p, const struct topo_cluster *c, const struct topo_node *n, const struct err *err)
{
	if (p->node.view.last == VERDICT_REFUSED)
		tell_refused(c, n, err);
	if (decide(p->roles, p->cluster, c).has_conflict)
		tell_conflict(c, n);
}

static void judge(struct probed *p)
{
	size_t at;
	const struct topo *now = topo_latest(p->roles->board);
	const struct topo_node *n = topo_node(now, p->node.id, &at);
	if (!n)
		return;
	p->node.is_drained = n->is_drained || n->is_draining;
	picture_judge(&p->cluster->picture, &p->node, &now->conf->clusters[at], clock_us());
	tell_pulse(&p->told, &now->clusters[at], n);
	note_states(p->roles, &now->clusters[at]);
}

/* -- measuring ----------------------------------------------------------------------------------- */

static void ask_after(struct probed *p, uint64_t gap_us)
{
	uint64_t now = loop_now_us(p->roles->loop), at = p->began_us + gap_us;
	loop_timer_start(p->roles->loop, &p->timer, at > now ? at - now : 0);
}

static void read_answer(struct probed *p, const char *const *values, unsigned n, const struct err *err)
{
	struct picture_node *node = &p->node;
	struct verdict_view *view = &node->view;
	uint64_t now = clock_us();
	node->is_late = false;
	if (err)
		view->last = verdict_of_error(err);
	else if (!sample_read(&node->sample, values, n))
		view->last = VERDICT_REFUSED;
	else
		view->last = node->sample.in_recovery ? VERDICT_STANDBY : VERDICT_PRIMARY;
	bool has_answered = view->last == VERDICT_PRIMARY || view->last == VERDICT_STANDBY;
	*(has_answered ? &node->answered_us : &node->failed_us) = has_answered ? node->asked_us : now;
	if (has_answered)
		view->system_id = node->sample.system_id;
	if (view->last == VERDICT_FAILED)
		node->sees_less = false; /* who comes back may be asked for all again */
	view->failures = view->last == VERDICT_FAILED ? view->failures + 1 : 0;
	pulse_note_latency(node->pulse, has_answered && p->was_connected ? now - node->asked_us : PULSE_UNKNOWN, now);
	p->was_connected = has_answered;
}

/* P has said something. */
static void note(struct probed *p, const char *const *values, unsigned n, const struct err *err)
{
	static const struct err no_sample = { .sqlstate = "08P01", .text = "the node's answer to a probe cannot be read" };
	enum verdict_answer was = p->node.view.last;
	size_t at;
	read_answer(p, values, n, err);
	if (!topo_node(topo_latest(p->roles->board), p->node.id, &at))
		return; /* another configuration was published; roles_on_conf() will forget it */
	settle(p->roles, p->cluster, at, err);
	const struct topo_cluster *c = &topo_latest(p->roles->board)->clusters[at];
	if (p->node.view.last != was)
		tell_change(p, c, topo_node(topo_latest(p->roles->board), p->node.id, NULL), err ? err : &no_sample);
	judge(p);
	if (p->cluster->keeper)
		keeper_heard(p->cluster->keeper, &p->node, err);
}

static void on_answer(void *arg, const char *const *values, unsigned n, const struct err *err)
{
	struct probed *p = arg;
	p->is_asking = false;
	if (err && !p->node.sees_less && sample_is_denied(err->sqlstate)) {
		p->node.sees_less = true;
		ask_after(p, GAP_US);
		return;
	}
	ask_after(p, p->is_doubted ? GAP_US : p->interval_us);
	p->is_doubted = false;
	note(p, values, n, err);
}

static void ask(struct probed *p)
{
	p->began_us = loop_now_us(p->roles->loop);
	pulse_note_asked(p->node.pulse);
	p->node.ejections = pulse_ejections(p->node.pulse);
	p->node.asked_us = clock_us();
	p->is_asking =
	    service_ask(p->service, sample_sql(p->node.sees_less ? SAMPLE_LESS : SAMPLE_ALL), PROBE_TIMEOUT_US, on_answer, p);
	ASSERT(p->is_asking);
	loop_timer_start(p->roles->loop, &p->timer, LATE_US);
}

static void on_timer(struct loop_timer *t)
{
	struct probed *p = CONTAINER_OF(t, struct probed, timer);
	if (!p->is_asking) {
		ask(p);
		return;
	}
	p->node.is_late = true;
	p->node.ejections = pulse_ejections(p->node.pulse);
	judge(p);
	if (p->cluster->keeper)
		keeper_on_late(p->cluster->keeper, &p->node);
}

static void doubt(struct probed *p)
{
	if (p->is_asking)
		p->is_doubted = true; /* the answer under way may be older than the doubt */
	else
		ask_after(p, GAP_US);
}

static void on_lost(void *arg)
{
	struct probed *p = arg;
	p->was_connected = false;
	doubt(p);
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

static struct watched *watched_of(struct roles *r, const char *name)
{
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (strcmp(w->name, name) == 0)
			return w;
	}
	struct watched *w = mem_alloc(sizeof *w);
	w->name = mem_text(name);
	dlist_push_back(&r->clusters, &w->link);
	return w;
}

static void watched_free(struct watched *w)
{
	dlist_remove(&w->link);
	keeper_free(w->keeper);
	mem_free(w->name);
	mem_free(w);
}

static struct probed *probed_new(struct roles *r, const struct topo_node *n)
{
	struct probed *p = mem_alloc(sizeof *p);
	p->roles = r;
	p->node.id = n->id;
	p->node.pulse = pulse_ref(n->pulse);
	loop_timer_init(&p->timer, on_timer);
	dlist_push_back(&r->nodes, &p->link);
	return p;
}

static void probed_free(struct probed *p)
{
	dlist_remove(&p->link);
	loop_timer_stop(p->roles->loop, &p->timer);
	service_free(p->service);
	pulse_unref(p->node.pulse);
	mem_free(p);
}

/* Another login: what was heard so far stays true. */
static void connect_as(struct probed *p, const struct service_target *target)
{
	struct roles *r = p->roles;
	service_free(p->service);
	p->service = service_new(r->loop, r->resolver, r->mailbox, target);
	service_on_lost(p->service, on_lost, p);
	p->is_asking = p->is_doubted = p->was_connected = p->node.sees_less = false;
	loop_timer_start(r->loop, &p->timer, 0);
}

/* Probed as C says from now on. */
static void keep_or_make(struct roles *r, const struct topo_node *n, const struct conf_cluster *c)
{
	struct probed *p = probed_of(r, n->id);
	const struct service_target target = target_of(n, c);
	if (!p)
		p = probed_new(r, n);
	if (!p->service || !service_is_for(p->service, &target))
		connect_as(p, &target);
	p->cluster = watched_of(r, c->name);
	p->cluster->is_kept = true;
	if (p->interval_us != c->probe_interval && loop_timer_is_running(&p->timer) && !p->is_asking)
		ask_after(p, c->probe_interval);
	p->interval_us = c->probe_interval;
	p->is_kept = true;
}

/* -- memory -------------------------------------------------------------------------------------- */

/* Its place in the topology; false: it has none any more. */
static bool place_of(const struct roles *r, const char *cluster, size_t *at)
{
	const struct topo *t = topo_latest(r->board);
	for (*at = 0; *at < t->n_clusters; ++*at)
		if (strcmp(t->clusters[*at].name, cluster) == 0)
			return true;
	return false;
}

static void on_look(void *arg, const char *cluster)
{
	struct roles *r = arg;
	size_t at;
	if (place_of(r, cluster, &at))
		roles_doubt(r, topo_latest(r->board)->clusters[at].nodes[0].id);
}

static void on_settle(void *arg, const char *cluster)
{
	struct roles *r = arg;
	size_t at;
	if (!place_of(r, cluster, &at))
		return;
	settle(r, watched_of(r, cluster), at, NULL);
	note_states(r, &topo_latest(r->board)->clusters[at]);
}

static const struct picture_node *on_node(void *arg, uint32_t id)
{
	const struct probed *p = probed_of(arg, id);
	return p ? &p->node : NULL;
}

static const struct picture *on_picture(void *arg, const char *cluster)
{
	return &watched_of(arg, cluster)->picture;
}

static void remember(struct roles *r, struct watched *w)
{
	const struct keeper_env env = { .loop = r->loop,
		                            .resolver = r->resolver,
		                            .mailbox = r->mailbox,
		                            .board = r->board,
		                            .journal = r->journal,
		                            .hooks = r->hooks,
		                            .records = r->records,
		                            .arg = r,
		                            .look = on_look,
		                            .settle = on_settle,
		                            .node = on_node,
		                            .picture = on_picture,
		                            .pools = r->pools };
	if (w->keeper)
		keeper_on_conf(w->keeper);
	else if (r->journal)
		w->keeper = keeper_new(&env, w->name);
}

/* -- public -------------------------------------------------------------------------------------- */

struct roles *roles_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board)
{
	struct roles *r = mem_alloc(sizeof *r);
	*r = (struct roles){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .board = board };
	dlist_init(&r->nodes);
	dlist_init(&r->clusters);
	return r;
}

void roles_ask(struct roles *r, struct hooks *hooks)
{
	r->hooks = hooks;
}

void roles_free(struct roles *r)
{
	if (!r)
		return;
	DLIST_EACH(l, &r->nodes)
	probed_free(CONTAINER_OF(l, struct probed, link));
	DLIST_EACH(l, &r->clusters)
	watched_free(CONTAINER_OF(l, struct watched, link));
	mem_free(r);
}

static void unkeep_all(struct roles *r)
{
	DLIST_EACH(l, &r->nodes)
	CONTAINER_OF(l, struct probed, link)->is_kept = false;
	DLIST_EACH(l, &r->clusters)
	CONTAINER_OF(l, struct watched, link)->is_kept = false;
}

static void free_unkept(struct roles *r)
{
	DLIST_EACH(l, &r->nodes)
	{
		struct probed *p = CONTAINER_OF(l, struct probed, link);
		if (!p->is_kept)
			probed_free(p);
	}
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (!w->is_kept)
			watched_free(w);
	}
}

void roles_on_conf(struct roles *r)
{
	const struct topo *t = topo_latest(r->board);
	unkeep_all(r);
	for (size_t i = 0; i < t->n_clusters; i++)
		for (size_t k = 0; k < t->clusters[i].n_nodes && t->clusters[i].n_nodes > 1; k++)
			keep_or_make(r, &t->clusters[i].nodes[k], &t->conf->clusters[i]);
	free_unkept(r);
	DLIST_EACH(l, &r->clusters)
	remember(r, CONTAINER_OF(l, struct watched, link));
}

void roles_remember(struct roles *r, struct journal *j, struct records *records, const struct keeper_pools *pools)
{
	r->journal = j;
	r->records = records;
	r->pools = pools;
}

void roles_resign(struct roles *r)
{
	r->journal = NULL;
	DLIST_EACH(l, &r->clusters)
	{
		struct watched *w = CONTAINER_OF(l, struct watched, link);
		keeper_free(w->keeper);
		w->keeper = NULL;
	}
}

const struct keeper *roles_keeper(const struct roles *r, const char *cluster)
{
	DLIST_EACH(l, &r->clusters)
	{
		const struct watched *w = CONTAINER_OF(l, struct watched, link);
		if (strcmp(w->name, cluster) == 0)
			return w->keeper;
	}
	return NULL;
}

bool roles_hold(struct roles *r, const char *cluster, bool is_held)
{
	size_t at;
	if (!place_of(r, cluster, &at))
		return false;
	struct topo *next = topo_copy(topo_latest(r->board));
	next->clusters[at].is_held = is_held;
	topo_publish(r->board, next);
	return true;
}

bool roles_drain(struct roles *r, uint32_t node_id, bool is_drained)
{
	size_t at;
	struct topo *next = topo_copy(topo_latest(r->board));
	struct topo_node *n = (struct topo_node *)topo_node(next, node_id, &at);
	if (!n) {
		topo_free(next);
		return false;
	}
	n->is_drained = is_drained;
	topo_publish(r->board, next);
	struct probed *p = probed_of(r, node_id);
	if (p)
		judge(p);
	return true;
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
