/*
 * clients — one who writes, again and again, and one session's reads, where the routing sends them.
 *
 *   writer: idle ──a primary is known──► sent ──it arrives──► written ──its synchronous standbys have it──► acknowledged ──► idle
 *             ▲          └── refused, lost, or the topology has cut it off: nobody knows what became of it ──► idle
 *             └── a moment later
 *   reader: a standby that is fit and shows what the writer has written, by what Lunapool knows of it; or nobody, and then the primary would
 *
 * Always: at most one write is under way;  what is acknowledged was written where it was sent.
 */
#include <string.h>

#include "priv.h"

#define WRITE_US (5 * US_PER_MS)
#define READ_US (23 * US_PER_MS)
#define AGAIN_US (2 * US_PER_MS)
#define SYNC_US (1 * US_PER_MS)

const struct topo_cluster *group_seen(const struct sim *s, const struct group *g)
{
	const struct topo *t = s->life.is_on ? s->life.seen : NULL;
	for (size_t i = 0; t && i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, g->name) == 0)
			return &t->clusters[i];
	return NULL;
}

static const char *primary_of(const struct topo_cluster *c)
{
	return c && c->primary >= 0 && !c->nodes[c->primary].is_cut ? c->nodes[c->primary].name : NULL;
}

const char *sim_primary(const struct sim *s, int cluster)
{
	return primary_of(group_seen(s, &s->groups[cluster]));
}

/* ---- the writer ------------------------------------------------------------------------------------------------------------ */

static void on_write(struct sim *s, struct happening *h);

static void again(struct sim *s, struct clients *c, uint64_t us)
{
	c->writer = WRITER_IDLE;
	c->turn++;
	sim_later(s, us, on_write, c, SIM_NONE, c->turn, 0);
}

/* A worker says that a connection failed (control.c:on_trouble). */
static void on_doubt(struct sim *s, struct happening *h)
{
	const struct topo_node *n = life_node(s, h->node);
	if (n)
		roles_doubt(s->life.roles, n->id);
}

static void fail_write(struct sim *s, struct clients *c, bool is_broken)
{
	const struct topo_node *n = life_node(s, c->node);
	if (n && is_broken)
		pulse_eject(n->pulse);
	if (n)
		sim_later(s, sim_way_us(s), on_doubt, NULL, c->node, 0, 0);
	again(s, c, AGAIN_US);
}

static void note_acknowledged(struct clients *c, uint64_t now)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 256;
		c->acknowledged = mem_grow(c->acknowledged, c->cap * sizeof *c->acknowledged);
	}
	c->acknowledged[c->n++] = (struct written){ c->branch, c->lsn };
	if (now - c->last_us > c->outage_us)
		c->outage_us = now - c->last_us;
	c->last_us = now;
}

static void on_acknowledged(struct sim *s, struct happening *h)
{
	struct clients *c = h->who;
	if (c->turn != h->a || s->nodes[c->node].is_away)
		return;
	note_acknowledged(c, s->now_us);
	must_on_acknowledged(s, &s->nodes[c->node]);
	again(s, c, WRITE_US);
}

static void on_synced(struct sim *s, struct happening *h)
{
	struct clients *c = h->who;
	const struct node *n = &s->nodes[c->node];
	if (c->turn != h->a)
		return;
	if (node_answers(n) && !n->is_hung && node_is_acknowledged(s, n, c->branch, c->lsn))
		sim_later(s, sim_way_us(s) + n->slow_us, on_acknowledged, c, SIM_NONE, c->turn, 0);
	else
		sim_later(s, SYNC_US, on_synced, c, SIM_NONE, c->turn, 0);
}

static void on_arrived(struct sim *s, struct happening *h)
{
	struct clients *c = h->who;
	struct node *n = &s->nodes[c->node];
	if (c->turn != h->a)
		return;
	if (n->is_away || (n->is_alive && (n->is_frozen || n->is_hung))) {
		sim_later(s, AGAIN_US, on_arrived, c, SIM_NONE, c->turn, 0);
		return;
	}
	if (!n->is_alive || n->is_starting || n->in_recovery || n->has_full_disk) {
		fail_write(s, c, !n->is_alive || n->is_starting);
		return;
	}
	node_write(s, n, 100 + sim_random(s, 400));
	c->branch = n->branch;
	c->lsn = n->lsn;
	c->writer = WRITER_WRITTEN;
	sim_later(s, sim_way_us(s), on_synced, c, SIM_NONE, c->turn, 0);
}

static void on_write(struct sim *s, struct happening *h)
{
	struct clients *c = h->who;
	const struct topo_cluster *t = group_seen(s, CONTAINER_OF(c, struct group, clients));
	const char *primary = primary_of(t);
	if (c->turn != h->a)
		return;
	if (!primary || t->is_held) {
		sim_later(s, AGAIN_US, on_write, c, SIM_NONE, c->turn, 0);
		return;
	}
	c->node = sim_node_named(s, primary);
	c->writer = WRITER_SENT;
	sim_later(s, sim_way_us(s), on_arrived, c, SIM_NONE, c->turn, 0);
}

/* Who is cut off has no connection any more; who may be sent statements has one from now on. */
static void note_used(struct sim *s, const struct topo_cluster *t)
{
	for (size_t i = 0; i < t->n_nodes; i++) {
		struct node *n = &s->nodes[sim_node_named(s, t->nodes[i].name)];
		n->is_used = !t->nodes[i].is_cut && (n->is_used || t->primary == (int)i || pulse_is_fit(t->nodes[i].pulse));
	}
}

void clients_on_topology(struct sim *s, struct group *g)
{
	struct clients *c = &g->clients;
	const struct topo_cluster *t = group_seen(s, g);
	const char *primary = primary_of(t);
	if (!t)
		return;
	note_used(s, t);
	if (t->epoch != c->epoch) {
		c->epoch = t->epoch;
		c->epoch_us = s->now_us;
	}
	if (!c->is_quiet && c->writer != WRITER_IDLE && (!primary || sim_node_named(s, primary) != c->node))
		again(s, c, AGAIN_US);
}

void clients_on_death(struct sim *s, int node)
{
	struct clients *c = &group_of(s, &s->nodes[node])->clients;
	if (!c->is_quiet && c->writer != WRITER_IDLE && c->node == node && !s->nodes[node].is_away)
		fail_write(s, c, true);
}

/* Their connections to Lunapool are gone, with all that was under way. */
void clients_on_our_death(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++)
		s->nodes[i].is_used = false;
	for (size_t i = 0; i < s->n_groups; i++)
		if (s->has_begun && !s->groups[i].clients.is_quiet)
			again(s, &s->groups[i].clients, AGAIN_US);
}

unsigned clients_busy(const struct sim *s, int node)
{
	const struct clients *c = node < 0 ? NULL : &group_of(s, &s->nodes[node])->clients;
	return c ? (c->writer != WRITER_IDLE && c->node == node) + (s->now_us < s->nodes[node].busy_until_us) : 0;
}

void sim_keep_busy(struct sim *s, int node, uint64_t us)
{
	s->nodes[node].busy_until_us = s->now_us + us;
}

/* ---- the reader ------------------------------------------------------------------------------------------------------------- */

static bool may_read(const struct topo_node *n, uint64_t floor)
{
	return pulse_is_fit(n->pulse) && pulse_replayed(n->pulse) >= floor && !n->is_cut;
}

/* As floor.c has it: from the first sample that was taken behind the session's last write, in this epoch. */
static bool floor_of(const struct clients *c, const struct topo_cluster *t, uint64_t *floor)
{
	uint64_t since = c->last_us > c->epoch_us ? c->last_us : c->epoch_us;
	return c->n > 0 && t->primary >= 0 && pulse_written_since(t->nodes[t->primary].pulse, since, floor);
}

static void on_read(struct sim *s, struct happening *h)
{
	struct clients *c = h->who;
	const struct topo_cluster *t = group_seen(s, CONTAINER_OF(c, struct group, clients));
	uint64_t floor = 0;
	sim_later(s, READ_US, on_read, c, SIM_NONE, 0, 0);
	if (!t || !floor_of(c, t, &floor))
		return;
	for (size_t i = 0; i < t->n_nodes; i++) {
		const struct node *n = &s->nodes[sim_node_named(s, t->nodes[i].name)];
		if ((int)i != t->primary && may_read(&t->nodes[i], floor) && node_answers(n) && !n->is_away)
			must_on_read(s, n, &c->acknowledged[c->n - 1]);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

void clients_begin(struct sim *s, struct group *g)
{
	struct clients *c = &g->clients;
	c->last_us = s->now_us;
	if (c->is_quiet)
		return;
	again(s, c, AGAIN_US);
	sim_later(s, READ_US, on_read, c, SIM_NONE, 0, 0);
}

uint64_t sim_write_outage_us(const struct sim *s, int cluster)
{
	const struct clients *c = &s->groups[cluster].clients;
	uint64_t open = s->now_us - c->last_us;
	return open > c->outage_us ? open : c->outage_us;
}

uint64_t sim_writes(const struct sim *s, int cluster)
{
	return s->groups[cluster].clients.n;
}

uint64_t sim_lost_writes(const struct sim *s, int cluster)
{
	const struct group *g = &s->groups[cluster];
	int at = sim_node_named(s, g->record.primary);
	uint64_t lost = 0;
	for (size_t i = 0; at >= 0 && i < g->clients.n; i++) {
		const struct written *w = &g->clients.acknowledged[i];
		lost += !node_holds(s, s->nodes[at].branch, s->nodes[at].lsn, w->branch, w->lsn);
	}
	return lost;
}
