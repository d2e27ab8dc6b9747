/*
 * divert — the cluster's redirects: which of them concern a session, and where the first of these sends a read.
 *
 * Whom they concern follows from database, user and application_name, so it is worked out once, and again when the session's settings or the
 * configuration have changed.
 */
#include <stdio.h>

#include "base/rand.h"
#include "policy/policy.h"
#include "priv.h"

struct diverted {
	uint64_t generation;   /* of the topology */
	struct settings *vars; /* a reference: what they were worked out for */
	uint64_t concerned;    /* bit i: redirects[i] */
};

static uint64_t concerned(const struct session *s, const struct conf_cluster *c)
{
	const char *application = settings_get(s->vars, "application_name");
	uint64_t bits = 0;
	for (size_t i = 0; i < c->n_redirects; i++)
		if (conf_redirect_concerns(&c->redirects[i], s->database, s->user, application ? application : ""))
			bits |= UINT64_C(1) << i;
	return bits;
}

static uint64_t concerned_now(struct session *s, const struct conf_cluster *c)
{
	struct diverted *a = session_aside(s)->diverted;
	if (LIKELY(a && a->vars == s->vars && a->generation == s->home->topo->generation))
		return a->concerned;
	if (!a)
		a = session_aside_of(s)->diverted = mem_alloc(sizeof *a);
	settings_unref(a->vars);
	*a = (struct diverted){ s->home->topo->generation, settings_ref(s->vars), concerned(s, c) };
	return a->concerned;
}

void divert_forget(struct session *s)
{
	struct diverted *a = session_aside(s)->diverted;
	if (!a)
		return;
	settings_unref(a->vars);
	mem_free(a);
	s->aside->diverted = NULL;
}

/* Whether this read, or this session, is one of those of a hundred. */
static bool is_drawn(const struct session *s, const struct conf_cluster *c, size_t at)
{
	uint64_t by_session = (s->id + at * 0x9e3779b9) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t drawn = c->balance_scope == CONF_SCOPE_SESSION ? by_session ^ by_session >> 32 : rand_fast();
	return (int64_t)((drawn & UINT32_MAX) * 100 >> 32) < c->redirects[at].share;
}

static void decide(const struct conf_redirect *r, const struct topo_cluster *c, struct policy_decision *d)
{
	uint64_t primary = c->primary < 0 ? 0 : UINT64_C(1) << c->primary, standbys = r->to_standby || r->to_any ? ~primary : 0;
	d->nodes = r->nodes | standbys | (r->to_primary || r->to_any ? primary : 0);
	d->kind = d->nodes == UINT64_MAX ? POLICY_ANY
	          : d->nodes == primary  ? POLICY_PRIMARY
	          : d->nodes == ~primary ? POLICY_STANDBYS
	                                 : POLICY_NODES;
	d->by = DECIDER_LIST;
	snprintf(d->reason, sizeof d->reason, "redirect %.100s", r->name);
}

bool divert(struct session *s, const struct topo_cluster *c, struct policy_decision *d)
{
	const struct conf_cluster *conf = &session_conf(s)->clusters[c - s->home->topo->clusters];
	if (LIKELY(!conf->n_redirects))
		return false;
	for (uint64_t left = concerned_now(s, conf); left; left &= left - 1) {
		size_t at = (size_t)__builtin_ctzll(left);
		if (conf->redirects[at].share < 100 && !is_drawn(s, conf, at))
			continue;
		decide(&conf->redirects[at], c, d);
		return true;
	}
	return false;
}
