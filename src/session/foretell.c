/*
 * foretell — what would become of a statement that came now: for EXPLAIN ROUTE.  As route.c decides, but nothing is changed by it.
 */
#include <stdio.h>

#include "choice.h"
#include "priv.h"

/* As far as weights decide. */
static void share_out(const struct topo_cluster *c, const struct choice *from, struct route_told *out)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < from->n; i++)
		sum += (uint64_t)from->candidates[i].weight * from->candidates[i].warmth;
	for (size_t i = 0; i < from->n && sum; i++)
		out->share[from->nodes[i] - c->nodes] =
		    (unsigned)((uint64_t)from->candidates[i].weight * from->candidates[i].warmth * 100 / sum);
}

/* A transaction on a standby that may write moves to the primary for it. */
static bool moves_home(const struct session *s, const struct unit *u)
{
	return s->away && !awaytx_is_home(s) && !u->is_read && !s->away->is_read_only;
}

/* What is for the primary waits while there is none. */
static const char *name_of_primary(const struct topo_cluster *c)
{
	return c->primary < 0 ? "nothing: no primary is known" : c->nodes[c->primary].name;
}

static void explain_kept(const struct session *s, const struct topo_cluster *c, const struct unit *u, struct route_told *out)
{
	*out = (struct route_told){ .cluster = c, .how = counted_undecided(s), .name = name_of_primary(c) };
	if (s->srv && !moves_home(s, u))
		out->name = route_name_of(s->home->topo, pool_node_id(s->srv->pool));
}

/* The policy may send it to another cluster, and there it cannot go. */
static void explain_elsewhere(struct session *s, const struct topo_cluster *home, const struct unit *u, struct policy_decision *d,
                              struct route_told *out)
{
	struct unit asked = *u;
	struct policy_decision said;
	struct err why;
	if (!abroad_is_asked(s) || !abroad_concerns(s, u, true))
		return;
	asked.tx = route_tx_of_tied(s, u);
	said = *steer(s, home, &asked);
	if (!said.names_place || !abroad_refuses(s, said.cluster_at, &why))
		return;
	*d = said;
	d->kind = POLICY_REJECT;
	snprintf(d->sqlstate, sizeof d->sqlstate, "%s", why.sqlstate);
	snprintf(d->text, sizeof d->text, "%.*s", (int)sizeof d->text - 1, why.text);
	out->how |= HOW_REFUSED;
}

/* Of what is not refused. */
static void explain_free(struct session *s, const struct topo_cluster *c, const struct unit *u, const struct policy_decision *d,
                         struct route_told *out)
{
	struct choice from;
	const struct topo_node *node = NULL;
	uint64_t turn = s->home->turn, primary = c->primary < 0 ? 0 : UINT64_C(1) << c->primary;
	uint32_t kept = s->kept_id;
	out->meant = choice_meant(c, d);
	choice_candidates(s, c, out->is_read ? out->meant : out->meant & primary, &from);
	out->may = from.bits;
	share_out(c, &from, out);
	if (out->is_read)
		node = choice_make(s, c, u, out->meant);
	s->home->turn = turn;
	s->kept_id = kept;
	out->how |= node ? HOW_AWAY : 0;
	out->name = node ? node->name : name_of_primary(c);
}

void foretell(struct session *s, const struct topo_cluster *c, const struct unit *u, struct policy_decision *d,
              struct route_told *out)
{
	*d = (struct policy_decision){ .by = DECIDER_SESSION };
	if (!route_is_free(s)) {
		const struct topo_cluster *here = route_cluster(s);
		explain_kept(s, here ? here : c, u, out);
		if (s->home->roams && route_is_tied(s))
			explain_elsewhere(s, c, u, d, out);
		return;
	}
	*d = *steer(s, c, u);
	c = &s->home->topo->clusters[d->cluster_at];
	*out = (struct route_told){ .cluster = c, .is_free = true, .how = route_how(s, c, u, d), .name = "" };
	out->is_read = u->is_read && choice_conf(s, c)->read_write_split;
	if (d->kind == POLICY_REJECT)
		out->how |= HOW_REFUSED;
	else
		explain_free(s, c, u, d, out);
}
