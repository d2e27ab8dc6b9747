/*
 * settle — what nodes have said, decided upon and published: who is primary, what each node is, who may be read from.
 *
 * Deciding is verdict.c's and picture.c's, and the keeper's; acting is a copy of the topology, changed and published.
 *
 * Always: nothing is published that does not differ from what was.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rolespriv.h"

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
	now.parting = p->cluster->keeper ? keeper_parting(p->cluster->keeper, n->name) : TOPO_STAYS;
	now.is_foreign = seen == VERDICT_FOREIGN || (seen != VERDICT_PRIMARY && seen != VERDICT_STANDBY && n->is_foreign);
	return now;
}

static bool is_same(const struct topo_node *a, const struct topo_node *b)
{
	return a->is_reachable == b->is_reachable && a->in_recovery == b->in_recovery && a->is_foreign == b->is_foreign &&
	       a->is_cut == b->is_cut && a->is_draining == b->is_draining && a->parting == b->parting;
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

void settle_note_states(struct roles *r, const struct topo_cluster *c)
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

void settle(struct roles *r, struct watched *w, size_t at, const struct err *err)
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

void settle_judge(struct probed *p)
{
	size_t at;
	const struct topo *now = topo_latest(p->roles->board);
	const struct topo_node *n = topo_node(now, p->node.id, &at);
	if (!n)
		return;
	p->node.is_drained = n->is_drained || n->is_draining;
	picture_judge(&p->cluster->picture, &p->node, &now->conf->clusters[at], clock_us());
	tell_pulse(&p->told, &now->clusters[at], n);
	settle_note_states(p->roles, &now->clusters[at]);
}

void settle_heard(struct probed *p, enum verdict_answer was, const struct err *err)
{
	static const struct err no_sample = { .sqlstate = "08P01", .text = "the node's answer to a probe cannot be read" };
	size_t at;
	int days;
	if (!topo_node(topo_latest(p->roles->board), p->node.id, &at))
		return; /* another configuration was published; roles_on_conf() will forget it */
	settle(p->roles, p->cluster, at, err);
	const struct topo_cluster *c = &topo_latest(p->roles->board)->clusters[at];
	if (p->node.view.last != was)
		tell_change(p, c, topo_node(topo_latest(p->roles->board), p->node.id, NULL), err ? err : &no_sample);
	if (!err && service_certificate_days(p->service, &days))
		tell_certificate(&p->told, c, topo_node(topo_latest(p->roles->board), p->node.id, NULL), days);
	settle_judge(p);
	if (p->cluster->keeper)
		keeper_heard(p->cluster->keeper, &p->node, err);
}
