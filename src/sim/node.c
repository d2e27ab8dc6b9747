/*
 * node — simulated servers: how far their WAL goes on which timeline, whom they receive from, what becomes of them.
 *
 *   down ──node_begin──► starting ──► standby ──attach──► receives ──its source dies──► looks for it again, every few seconds
 *                              └────► primary        └──node_promote──► primary, on a branch of its own
 *
 * A write is a place on a branch, and a server has it if its own branch comes from there behind that place.  Branches are not told apart by their
 * timeline's number, since two servers may be promoted to the same.
 *
 * Always: who receives is a standby, and what it has is part of what its source has;  a primary receives from nobody.
 */
#include <stdio.h>
#include <string.h>

#include "priv.h"

bool node_answers(const struct node *n)
{
	return n->is_alive && !n->is_frozen && !n->is_starting;
}

bool node_is_writable(const struct node *n)
{
	return n->is_alive && !n->in_recovery;
}

uint64_t node_timeline(const struct sim *s, const struct node *n)
{
	return s->branches[n->branch].timeline;
}

bool node_holds(const struct sim *s, int branch, uint64_t upto, int of_branch, uint64_t lsn)
{
	while (branch >= 0 && branch != of_branch) {
		upto = s->branches[branch].fork < upto ? s->branches[branch].fork : upto;
		branch = s->branches[branch].parent;
	}
	return branch == of_branch && lsn <= upto;
}

/* ---- replication ------------------------------------------------------------------------------------------------------- */

static int at_of(const struct sim *s, const struct node *n)
{
	return (int)(n - s->nodes);
}

bool node_has_way(const struct sim *s, const struct node *a, const struct node *b)
{
	return !a->is_apart && !b->is_apart && !(a->cut_from >> at_of(s, b) & 1);
}

static bool have_contact(const struct sim *s, const struct node *a, const struct node *b)
{
	return node_answers(a) && node_answers(b) && node_has_way(s, a, b);
}

static void ship(struct sim *s, struct node *n);

static void on_replayed(struct sim *s, struct happening *h)
{
	struct node *n = &s->nodes[h->node];
	if (n->replayed < h->a && n->is_alive && n->branch == (int)h->b)
		n->replayed = h->a < n->lsn ? h->a : n->lsn;
}

/* What its source had when it was sent, but for what it is behind. */
static void receive(struct sim *s, struct node *n, int branch, uint64_t lsn)
{
	lsn = lsn > n->lag_bytes ? lsn - n->lag_bytes : 0;
	n->branch = branch;
	n->lsn = lsn > n->lsn ? lsn : n->lsn;
	if (n->lag_us)
		sim_later(s, n->lag_us, on_replayed, NULL, at_of(s, n), n->lsn, (uint64_t)branch);
	else
		n->replayed = n->lsn;
	ship(s, n);
}

static void on_shipped(struct sim *s, struct happening *h)
{
	struct node *n = &s->nodes[h->node];
	if (n->source >= 0 && n->attached == h->b >> 16 && have_contact(s, n, &s->nodes[n->source]))
		receive(s, n, (int)(h->b & 0xffff), h->a);
}

static void send_to(struct sim *s, struct node *n, const struct node *source)
{
	sim_later(s, sim_way_us(s), on_shipped, NULL, at_of(s, n), source->lsn, n->attached << 16 | (uint64_t)source->branch);
}

static void ship(struct sim *s, struct node *n)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].source == at_of(s, n))
			send_to(s, &s->nodes[i], n);
}

static void on_attach(struct sim *s, struct happening *h);

/* PostgreSQL tries again wal_retrieve_retry_interval after its last try. */
static void attach_after(struct sim *s, struct node *n, uint64_t least_us, uint64_t most_us)
{
	n->source = SIM_NONE;
	n->attached++;
	sim_later(s, sim_between(s, least_us, most_us), on_attach, NULL, at_of(s, n), n->attached, 0);
}

static void on_attach(struct sim *s, struct happening *h)
{
	struct node *n = &s->nodes[h->node], *source = n->upstream < 0 ? NULL : &s->nodes[n->upstream];
	if (n->attached != h->a || !n->is_alive || !n->in_recovery || n->source >= 0)
		return;
	if (!source || source == n || !have_contact(s, n, source) || !node_holds(s, source->branch, source->lsn, n->branch, n->lsn)) {
		attach_after(s, n, US_PER_S, 5 * US_PER_S);
		return;
	}
	n->source = n->upstream;
	sim_later(s, sim_between(s, 2 * MS, 20 * MS), on_shipped, NULL, h->node, source->lsn,
	          n->attached << 16 | (uint64_t)source->branch);
}

static void detach(struct sim *s, struct node *n)
{
	n->source = SIM_NONE;
	n->attached++;
	(void)s;
}

/* Those who received from N notice that it is gone. */
static void lose_receivers(struct sim *s, const struct node *n)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].source == at_of(s, n))
			attach_after(s, &s->nodes[i], 100 * MS, 5 * US_PER_S);
}

/* Frozen or away for a while: what it has missed comes now, in both directions. */
static void catch_up(struct sim *s, struct node *n)
{
	for (size_t i = 0; i < s->n; i++) {
		struct node *m = &s->nodes[i];
		if (m->source >= 0 && (m == n || m->source == at_of(s, n)))
			send_to(s, m, &s->nodes[m->source]);
	}
}

/* ---- writes -------------------------------------------------------------------------------------------------------------- */

void node_write(struct sim *s, struct node *n, uint64_t bytes)
{
	n->lsn = n->replayed = n->lsn + bytes;
	ship(s, n);
}

bool node_is_acknowledged(const struct sim *s, const struct node *n, int branch, uint64_t lsn)
{
	struct guard_sync sync;
	unsigned have = 0;
	const char *text = group_of(s, n)->sync;
	if (!text)
		return true;
	if (!guard_read_sync(text, &sync) || sync.k == 0)
		return sync.k == 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct node *m = &s->nodes[i];
		bool is_named = sync.is_any;
		for (unsigned k = 0; k < sync.n; k++)
			is_named |= strcmp(sync.names[k], m->name) == 0;
		have += is_named && m->source == at_of(s, n) && node_holds(s, m->branch, m->lsn, branch, lsn);
	}
	return have >= sync.k;
}

/* ---- promotion ------------------------------------------------------------------------------------------------------------- */

static int add_branch(struct sim *s, const struct node *n)
{
	if (s->n_branches == s->cap_branches) {
		s->cap_branches = s->cap_branches ? 2 * s->cap_branches : 8;
		s->branches = mem_grow(s->branches, s->cap_branches * sizeof *s->branches);
	}
	uint64_t timeline = s->n_branches ? s->branches[n->branch].timeline + 1 : 1;
	s->branches[s->n_branches] = (struct branch){ s->n_branches ? n->branch : SIM_NONE, n->lsn, timeline };
	return (int)s->n_branches++;
}

static void on_promoted(struct sim *s, struct happening *h)
{
	struct node *n = &s->nodes[h->node];
	if (!n->is_promoting)
		return;
	if (n->is_frozen) { /* it goes on when it is thawed */
		sim_later(s, 10 * MS, on_promoted, NULL, h->node, 0, 0);
		return;
	}
	n->is_promoting = n->in_recovery = n->has_signal = false;
	detach(s, n);
	n->replayed = n->lsn;
	if (n->promotes_amiss) {
		sim_say(s, "%s is out of recovery, on the timeline that it was on", n->name);
		return;
	}
	n->branch = add_branch(s, n);
	n->promotions++;
	group_of(s, n)->promotions++;
	sim_say(s, "%s is out of recovery, on timeline %llu", n->name, (unsigned long long)node_timeline(s, n));
	must_on_promoted(s, n);
	n->is_by_others = false;
	node_write(s, n, 200);
}

void node_promote(struct sim *s, struct node *n)
{
	if (n->is_promoting || !n->in_recovery)
		return;
	n->is_promoting = true;
	sim_later(s, sim_between(s, 5 * MS, 60 * MS), on_promoted, NULL, at_of(s, n), 0, 0);
}

void node_follow(struct sim *s, struct node *n)
{
	if (n->upstream == n->next_upstream)
		return;
	n->upstream = n->next_upstream;
	sim_say(s, "%s follows %s", n->name, n->upstream < 0 ? "nobody" : s->nodes[n->upstream].name);
	if (n->in_recovery)
		attach_after(s, n, 5 * MS, 200 * MS);
}

/* ---- coming and going ---------------------------------------------------------------------------------------------------------- */

void node_stop(struct sim *s, struct node *n)
{
	if (!n->is_alive)
		return;
	n->is_alive = n->is_starting = n->is_frozen = n->is_promoting = false;
	detach(s, n);
	lose_receivers(s, n);
	links_break(s, n);
	clients_on_death(s, at_of(s, n));
}

static void on_started(struct sim *s, struct happening *h)
{
	struct node *n = &s->nodes[h->node];
	if (!n->is_starting)
		return;
	n->is_starting = false;
	sim_say(s, "%s is up, %s", n->name, n->in_recovery ? "as a standby" : "out of recovery");
	if (n->in_recovery)
		attach_after(s, n, 1 * MS, 50 * MS);
}

void node_begin(struct sim *s, struct node *n, bool is_standby)
{
	if (n->is_alive)
		return;
	n->is_alive = n->is_starting = true;
	n->in_recovery = n->has_signal = is_standby;
	n->upstream = n->next_upstream;
	n->replayed = n->lsn;
	sim_later(s, sim_between(s, 50 * MS, 300 * MS), on_started, NULL, at_of(s, n), 0, 0);
}

void node_copy(struct node *n, const struct node *of)
{
	n->branch = of->branch;
	n->lsn = n->replayed = of->lsn;
}

/* ---- faults ------------------------------------------------------------------------------------------------------------------- */

struct group *group_of(const struct sim *s, const struct node *n)
{
	return &s->groups[n->group];
}

int sim_cluster_named(const struct sim *s, const char *name)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (strcmp(s->groups[i].name, name) == 0)
			return (int)i;
	return SIM_NONE;
}

int sim_cluster_of(const struct sim *s, int node)
{
	return s->nodes[node].group;
}

int sim_node_named(const struct sim *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->nodes[i].name, name) == 0)
			return (int)i;
	return SIM_NONE;
}

void sim_kill(struct sim *s, int node)
{
	sim_say(s, "test: kill %s", s->nodes[node].name);
	node_stop(s, &s->nodes[node]);
}

void sim_start(struct sim *s, int node)
{
	sim_say(s, "test: start %s", s->nodes[node].name);
	node_begin(s, &s->nodes[node], s->nodes[node].has_signal);
}

void sim_return_as_primary(struct sim *s, int node)
{
	sim_say(s, "test: %s returns as a primary", s->nodes[node].name);
	node_stop(s, &s->nodes[node]);
	if (s->nodes[node].has_signal) /* who takes standby.signal away has a primary on the same timeline */
		s->nodes[node].has_signal = false;
	node_begin(s, &s->nodes[node], false);
}

void sim_freeze(struct sim *s, int node)
{
	sim_say(s, "test: freeze %s", s->nodes[node].name);
	s->nodes[node].is_frozen = s->nodes[node].is_alive;
}

void sim_thaw(struct sim *s, int node)
{
	sim_say(s, "test: thaw %s", s->nodes[node].name);
	s->nodes[node].is_frozen = false;
	catch_up(s, &s->nodes[node]);
	links_go_on(s, &s->nodes[node]);
}

void sim_partition(struct sim *s, int node)
{
	sim_say(s, "test: partition %s", s->nodes[node].name);
	s->nodes[node].is_away = s->nodes[node].is_apart = true;
}

void sim_cut(struct sim *s, int node, int other)
{
	struct node *n = &s->nodes[node];
	sim_say(s, "test: cut %s from %s", n->name, other < 0 ? "Lunapool" : s->nodes[other].name);
	if (other < 0) {
		n->is_away = true;
		return;
	}
	n->cut_from |= UINT64_C(1) << other;
	s->nodes[other].cut_from |= UINT64_C(1) << node;
}

void sim_heal(struct sim *s, int node)
{
	struct node *n = &s->nodes[node];
	sim_say(s, "test: heal %s", n->name);
	for (size_t i = 0; i < s->n; i++)
		s->nodes[i].cut_from &= ~(UINT64_C(1) << node);
	n->cut_from = 0;
	n->is_away = n->is_apart = n->is_full = n->is_hung = n->has_full_disk = false;
	n->slow_us = n->lag_bytes = n->lag_us = 0;
	catch_up(s, n);
	links_go_on(s, n);
}

void sim_promotes_amiss(struct sim *s, int node)
{
	s->nodes[node].promotes_amiss = true;
}

void sim_refuse(struct sim *s, int node)
{
	sim_say(s, "test: refuse %s", s->nodes[node].name);
	s->nodes[node].is_full = true;
}

void sim_hang(struct sim *s, int node)
{
	sim_say(s, "test: hang %s", s->nodes[node].name);
	s->nodes[node].is_hung = true;
}

void sim_fill_disk(struct sim *s, int node)
{
	sim_say(s, "test: disk_full %s", s->nodes[node].name);
	s->nodes[node].has_full_disk = true;
}

void sim_promote(struct sim *s, int node)
{
	sim_say(s, "test: promote %s", s->nodes[node].name);
	s->nodes[node].is_by_others = !s->nodes[node].is_promoting && !s->on_program_runs;
	if (s->nodes[node].is_alive)
		node_promote(s, &s->nodes[node]);
}

void sim_follow(struct sim *s, int node, int primary)
{
	sim_say(s, "test: %s is to follow %s", s->nodes[node].name, s->nodes[primary].name);
	s->nodes[node].next_upstream = primary;
	node_follow(s, &s->nodes[node]);
}

void sim_rebuild(struct sim *s, int node)
{
	const struct record *r = &group_of(s, &s->nodes[node])->record;
	int primary = sim_node_named(s, r->primary);
	sim_say(s, "test: rebuild %s from %s", s->nodes[node].name, r->primary);
	ASSERT(!s->nodes[node].is_alive && primary >= 0);
	node_copy(&s->nodes[node], &s->nodes[primary]);
	s->nodes[node].next_upstream = primary;
	node_begin(s, &s->nodes[node], true);
}

void sim_slow(struct sim *s, int node, uint64_t us)
{
	sim_say(s, "test: slow %s", s->nodes[node].name);
	s->nodes[node].slow_us = us;
}

/* The primary writes so much at once that NODE stays behind by that. */
void sim_lag_bytes(struct sim *s, int node, uint64_t bytes)
{
	struct node *n = &s->nodes[node];
	sim_say(s, "test: lag %s %llu bytes", n->name, (unsigned long long)bytes);
	n->lag_bytes = bytes;
	for (; n->source >= 0; n = &s->nodes[n->source]) /* a standby may receive from another one */
		;
	if (node_is_writable(n))
		node_write(s, n, bytes);
}

void sim_lag_time(struct sim *s, int node, uint64_t us)
{
	sim_say(s, "test: lag %s %llu ms", s->nodes[node].name, (unsigned long long)(us / US_PER_MS));
	s->nodes[node].lag_us = us;
}

bool sim_is_writable(const struct sim *s, int node)
{
	return node_is_writable(&s->nodes[node]);
}

bool sim_is_streaming(const struct sim *s, int node)
{
	return s->nodes[node].is_alive && s->nodes[node].source >= 0;
}

bool sim_is_down(const struct sim *s, int node)
{
	return !s->nodes[node].is_alive;
}

bool sim_is_up(const struct sim *s, int node)
{
	return node_answers(&s->nodes[node]);
}

unsigned sim_promotions(const struct sim *s, int cluster)
{
	return s->groups[cluster].promotions;
}
