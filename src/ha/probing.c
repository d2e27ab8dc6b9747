/*
 * probing — the questions to one node: by a service connection and a timer of its own, so that a dead one delays nobody.
 *
 *   ask ──answer, error──► settle_heard() ──probe_interval──► ask
 *    └──no answer for LATE_US──► judge it late, and go on waiting                 doubts, a lost connection: ──GAP_US──► ask
 *
 * Always: a node is asked by one question at a time, and not again within GAP_US;  its timer runs, but while a question is late.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/sample.h"
#include "rolespriv.h"

#define PROBE_TIMEOUT_US (2 * US_PER_S)
#define LATE_US (500 * US_PER_MS)
#define GAP_US (10 * US_PER_MS) /* doubts may come in floods */

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

static void note(struct probed *p, const char *const *values, unsigned n, const struct err *err)
{
	enum verdict_answer was = p->node.view.last;
	read_answer(p, values, n, err);
	settle_heard(p, was, err);
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
	settle_judge(p);
	if (p->cluster->keeper)
		keeper_on_late(p->cluster->keeper, &p->node);
}

void probing_doubt(struct probed *p)
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
	probing_doubt(p);
}

struct probed *probing_new(struct roles *r, const struct topo_node *n)
{
	struct probed *p = mem_alloc(sizeof *p);
	p->roles = r;
	p->node.id = n->id;
	p->node.pulse = pulse_ref(n->pulse);
	loop_timer_init(&p->timer, on_timer);
	dlist_push_back(&r->nodes, &p->link);
	return p;
}

void probing_free(struct probed *p)
{
	dlist_remove(&p->link);
	loop_timer_stop(p->roles->loop, &p->timer);
	service_free(p->service);
	pulse_unref(p->node.pulse);
	mem_free(p);
}

void probing_connect(struct probed *p, const struct service_target *target)
{
	struct roles *r = p->roles;
	service_free(p->service);
	p->service = service_new(r->loop, r->resolver, r->mailbox, target);
	service_on_lost(p->service, on_lost, p);
	p->is_asking = p->is_doubted = p->was_connected = p->node.sees_less = false;
	loop_timer_start(r->loop, &p->timer, 0);
}

void probing_set_interval(struct probed *p, uint64_t us)
{
	if (p->interval_us != us && loop_timer_is_running(&p->timer) && !p->is_asking)
		ask_after(p, us);
	p->interval_us = us;
}
