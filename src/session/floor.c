/*
 * floor — what a session's reads elsewhere than on the primary must show: the primary's position when what was written was over.
 *
 *   none --a write is over--> a time --the first sample that was taken behind it--> a position
 *                               ^--------------another epoch of the cluster----------------'
 *
 * It is sampled, not asked for: until there is a sample, the primary takes the reads.  The first of them is what counts, however long ago it was
 * taken when the session reads: a later one has what others have written since, which no standby can show yet while they do not stop.  A position compares with nothing once the cluster has
 * another primary or timeline: what survived of the write is then in that one's next sample.
 *
 * Whose writes count says read_your_writes: its own session's; all clients' (the primary's pulse has their mark); nobody's.
 */
#include "base/clock.h"
#include "priv.h"

#define IS_TIME (UINT64_C(1) << 63) /* else a position; 0: none */

static void note_here(struct session *s, uint64_t now)
{
	const struct topo_node *n = topo_node(s->home->topo, pool_node_id(s->srv->pool), NULL);
	if (n)
		pulse_note_write(n->pulse, now);
}

void floor_note(struct session *s)
{
	uint64_t now = clock_us();
	s->floor.at = now | IS_TIME;
	s->wrote_ms = (uint32_t)(now / US_PER_MS) | 1;
	if (s->home->marks_writes)
		note_here(s, now);
}

/* The session's own. */
static bool settle_own(struct session *s, const struct topo_cluster *c, uint64_t *lsn)
{
	*lsn = 0;
	if (!s->floor.at)
		return true;
	if (!(s->floor.at & IS_TIME) && s->floor.cluster != c->id)
		return true;
	if (!(s->floor.at & IS_TIME) && s->floor.epoch != (uint32_t)c->epoch)
		s->floor.at = clock_us() | IS_TIME;
	if (s->floor.at & IS_TIME) {
		if (c->primary < 0 || !pulse_written_since(c->nodes[c->primary].pulse, s->floor.at & ~IS_TIME, lsn))
			return false;
		s->floor.at = *lsn;
		s->floor.epoch = (uint32_t)c->epoch;
		s->floor.cluster = c->id;
	}
	*lsn = s->floor.at;
	return true;
}

bool floor_settle_any(struct session *s, const struct topo_cluster *c, uint64_t *lsn)
{
	struct pulse *primary = c->primary < 0 ? NULL : c->nodes[c->primary].pulse;
	uint64_t all = 0;
	*lsn = 0;
	if (s->freshness == CONF_FRESH_OFF)
		return true;
	if (!settle_own(s, c, lsn) || (s->freshness == CONF_FRESH_CLUSTER && !(primary && pulse_marked(primary, &all)))) {
		if (primary)
			pulse_want(primary);
		return false;
	}
	*lsn = all > *lsn ? all : *lsn;
	return true;
}

bool floor_is_shown(struct session *s, const struct topo_cluster *c, const struct topo_node *n)
{
	uint64_t lsn;
	return floor_settle(s, c, &lsn) && pulse_replayed(n->pulse) >= lsn;
}

bool floor_marks_writes(const struct topo *topo)
{
	bool marks = false;
	for (size_t i = 0; i < topo->conf->n_clusters; i++)
		marks |= topo->conf->clusters[i].read_your_writes == CONF_FRESH_CLUSTER;
	for (size_t i = 0; i < topo->conf->n_databases; i++)
		marks |= topo->conf->databases[i].read_your_writes == CONF_FRESH_CLUSTER;
	return marks;
}

enum conf_freshness floor_whose(const struct conf *conf, const struct conf_database *d, size_t cluster_at)
{
	return d->read_your_writes != CONF_FRESH_UNSET ? d->read_your_writes : conf->clusters[cluster_at].read_your_writes;
}
