/*
 * topo — building snapshots, and the board on which they hang.
 *
 * A snapshot's texts are its configuration's; several snapshots share one configuration, counted in a topo_share that only the
 * control thread touches.  Ids of nodes come from a counter that travels from snapshot to snapshot, so none is given twice.
 *
 * The board: `seen[r]` is the generation that reader r holds, stored by r alone after it has loaded the newer pointer.  Until it has
 * stored, the older number protects everything from there on, so a snapshot is freed only when no reader can still hold it:
 *
 *     control                                reader r
 *     current = new           ──load──►      t = current
 *     wake(r)                                seen[r] = t->generation    (release: it has done with what came before)
 *     collect: frees g if g < every seen[]   ◄──acquire──
 *
 * Always: latest is never freed;  seen[r] only grows;  a reader that left has seen everything there will ever be.
 */
#include "topo/topo.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define SEEN_ALL UINT64_MAX

struct topo_share {
	struct conf *conf;
	unsigned refs;
};

struct topo_said {
	char *database; /* "*" is for all */
	unsigned what;  /* enum topo_word bits; never 0 */
};

struct retired {
	struct topo *topo;
	struct retired *next; /* older */
};

/* A cache line of its own, so that acknowledging costs the other readers nothing. */
struct reader {
	_Alignas(64) _Atomic uint64_t seen;
};

struct topo_board {
	_Atomic(const struct topo *) current;
	struct topo *latest;
	struct retired *retired; /* newest first */
	void (*wake)(void *arg, unsigned reader);
	void *wake_arg;
	void (*want)(void *arg, uint32_t node_id);
	void *want_arg;
	unsigned n_readers;
	struct reader *readers;
};

static struct topo_share *share_ref(struct topo_share *s)
{
	s->refs++;
	return s;
}

static void share_unref(struct topo_share *s)
{
	if (--s->refs > 0)
		return;
	conf_free(s->conf);
	mem_free(s);
}

static const struct topo_cluster *cluster_named(const struct topo *t, const char *name)
{
	for (size_t i = 0; t && i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, name) == 0)
			return &t->clusters[i];
	return NULL;
}

static const struct topo_node *same_node(const struct topo_cluster *before, const struct conf_node *node)
{
	for (size_t i = 0; before && i < before->n_nodes; i++) {
		const struct topo_node *n = &before->nodes[i];
		if (strcmp(n->name, node->name) == 0 && strcmp(n->host, node->host) == 0 && n->port == node->port)
			return n;
	}
	return NULL;
}

static void build_node(struct topo *t, struct topo_node *n, const struct conf_node *conf, const struct topo_node *was)
{
	n->id = was ? was->id : t->next_id++;
	n->name = conf->name;
	n->host = conf->host;
	n->port = (uint16_t)conf->port;
	n->max_connections = conf->max_connections;
	n->weight = (uint32_t)conf->weight;
	n->pulse = was ? pulse_ref(was->pulse) : pulse_new(n->id);
	n->is_reachable = was ? was->is_reachable : true;
	n->in_recovery = was ? was->in_recovery : false;
	n->is_foreign = was ? was->is_foreign : false;
	n->is_cut = was ? was->is_cut : false;
	n->is_draining = was ? was->is_draining : false;
	n->parting = was ? was->parting : TOPO_STAYS;
	n->is_drained = was ? was->is_drained : false;
}

static void build_cluster(struct topo *t, struct topo_cluster *c, const struct conf_cluster *conf,
                          const struct topo_cluster *before)
{
	c->name = conf->name;
	c->id = before ? before->id : t->next_id++;
	c->n_nodes = conf->n_nodes;
	c->nodes = mem_alloc(c->n_nodes * sizeof *c->nodes);
	c->epoch = before ? before->epoch : 1;
	c->is_held = before && before->is_held;
	c->primary = c->n_nodes == 1 ? 0 : -1;
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct topo_node *was = same_node(before, &conf->nodes[i]);
		build_node(t, &c->nodes[i], &conf->nodes[i], was);
		if (was && before->primary >= 0 && was == &before->nodes[before->primary])
			c->primary = (int)i;
	}
}

/* T has none yet. */
static void take_over_said(struct topo *t, const struct topo *before)
{
	t->n_said = before ? before->n_said : 0;
	t->said = t->n_said ? mem_alloc(t->n_said * sizeof *t->said) : NULL;
	for (size_t i = 0; i < t->n_said; i++)
		t->said[i] = (struct topo_said){ mem_text(before->said[i].database), before->said[i].what };
}

struct topo *topo_build(struct conf *conf, const struct topo *before)
{
	struct topo *t = mem_alloc(sizeof *t);
	t->share = mem_alloc(sizeof *t->share);
	t->share->conf = conf;
	t->share->refs = 1;
	t->conf = conf;
	t->next_id = before ? before->next_id : 1;
	t->policies = before ? before->policies : NULL;
	t->n_clusters = conf->n_clusters;
	t->clusters = mem_alloc(t->n_clusters * sizeof *t->clusters);
	for (size_t i = 0; i < t->n_clusters; i++)
		build_cluster(t, &t->clusters[i], &conf->clusters[i], cluster_named(before, conf->clusters[i].name));
	take_over_said(t, before);
	return t;
}

struct topo *topo_copy(const struct topo *before)
{
	struct topo *t = mem_copy(before, sizeof *before);
	share_ref(t->share);
	t->clusters = mem_copy(before->clusters, before->n_clusters * sizeof *before->clusters);
	for (size_t i = 0; i < t->n_clusters; i++) {
		struct topo_cluster *c = &t->clusters[i];
		c->nodes = mem_copy(c->nodes, c->n_nodes * sizeof *c->nodes);
		for (size_t n = 0; n < c->n_nodes; n++)
			pulse_ref(c->nodes[n].pulse);
	}
	take_over_said(t, before);
	return t;
}

void topo_free(struct topo *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_clusters; i++) {
		for (size_t n = 0; n < t->clusters[i].n_nodes; n++)
			pulse_unref(t->clusters[i].nodes[n].pulse);
		mem_free(t->clusters[i].nodes);
	}
	mem_free(t->clusters);
	for (size_t i = 0; i < t->n_said; i++)
		mem_free(t->said[i].database);
	mem_free(t->said);
	share_unref(t->share);
	mem_free(t);
}

static struct topo_said *said_of(const struct topo *t, const char *database)
{
	for (size_t i = 0; i < t->n_said; i++)
		if (strcmp(t->said[i].database, database) == 0)
			return &t->said[i];
	return NULL;
}

static void unsay(struct topo *t, struct topo_said *s)
{
	mem_free(s->database);
	*s = t->said[--t->n_said];
}

void topo_say(struct topo *t, const char *database, unsigned set, unsigned clear)
{
	struct topo_said *s = said_of(t, database);
	if (!s) {
		t->said = mem_grow(t->said, (t->n_said + 1) * sizeof *t->said);
		s = &t->said[t->n_said++];
		*s = (struct topo_said){ .database = mem_text(database) };
	}
	s->what = (s->what & ~clear) | set;
	if (!s->what)
		unsay(t, s);
}

unsigned topo_said_of(const struct topo *t, const char *database)
{
	const struct topo_said *s = said_of(t, database);
	return s ? s->what : 0;
}

unsigned topo_said_here(const struct topo *t, const char *database)
{
	return topo_said_of(t, database) | topo_said_of(t, "*");
}

const char *topo_any(const struct topo *t, enum topo_word word)
{
	for (size_t i = 0; i < t->n_said; i++)
		if (t->said[i].what & word)
			return t->said[i].database;
	return NULL;
}

const struct topo_node *topo_primary(const struct topo *t, size_t cluster_at)
{
	ASSERT(cluster_at < t->n_clusters);
	const struct topo_cluster *c = &t->clusters[cluster_at];
	return c->primary < 0 ? NULL : &c->nodes[c->primary];
}

const struct topo_node *topo_node(const struct topo *t, uint32_t id, size_t *cluster_at)
{
	for (size_t i = 0; i < t->n_clusters; i++) {
		const struct topo_cluster *c = &t->clusters[i];
		for (size_t j = 0; j < c->n_nodes; j++) {
			if (c->nodes[j].id != id)
				continue;
			if (cluster_at)
				*cluster_at = i;
			return &c->nodes[j];
		}
	}
	return NULL;
}

/* The least generation that some reader may still hold. */
static uint64_t least_seen(const struct topo_board *b)
{
	uint64_t least = SEEN_ALL;
	for (unsigned i = 0; i < b->n_readers; i++) {
		uint64_t seen = atomic_load_explicit(&b->readers[i].seen, memory_order_acquire);
		least = seen < least ? seen : least;
	}
	return least;
}

static void free_retired_before(struct topo_board *b, uint64_t generation)
{
	struct retired **at = &b->retired;
	while (*at) {
		struct retired *r = *at;
		if (r->topo->generation >= generation) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		topo_free(r->topo);
		mem_free(r);
	}
}

struct topo_board *topo_board_new(unsigned readers)
{
	struct topo_board *b = mem_alloc(sizeof *b);
	b->n_readers = readers;
	b->readers = aligned_alloc(_Alignof(struct reader), (readers + 1) * sizeof *b->readers);
	if (!b->readers)
		die("out of memory: a board for %u readers wanted", readers);
	for (unsigned i = 0; i < readers; i++)
		atomic_init(&b->readers[i].seen, 0);
	return b;
}

void topo_board_free(struct topo_board *b)
{
	if (!b)
		return;
	free_retired_before(b, SEEN_ALL);
	topo_free(b->latest);
	free(b->readers);
	mem_free(b);
}

void topo_on_publish(struct topo_board *b, void (*wake)(void *arg, unsigned reader), void *arg)
{
	b->wake = wake;
	b->wake_arg = arg;
}

void topo_on_want(struct topo_board *b, void (*fn)(void *arg, uint32_t node_id), void *arg)
{
	b->want = fn;
	b->want_arg = arg;
}

/* Those that nobody else has seen yet. */
static void connect_pulses(const struct topo_board *b, const struct topo *t)
{
	for (size_t i = 0; i < t->n_clusters; i++)
		for (size_t n = 0; n < t->clusters[i].n_nodes; n++)
			pulse_connect(t->clusters[i].nodes[n].pulse, b->want, b->want_arg);
}

void topo_publish(struct topo_board *b, struct topo *t)
{
	connect_pulses(b, t);
	t->generation = b->latest ? b->latest->generation + 1 : 1;
	if (b->latest) {
		struct retired *r = mem_alloc(sizeof *r);
		*r = (struct retired){ .topo = b->latest, .next = b->retired };
		b->retired = r;
	}
	b->latest = t;
	atomic_store_explicit(&b->current, t, memory_order_release);
	for (unsigned i = 0; b->wake && i < b->n_readers; i++)
		if (atomic_load_explicit(&b->readers[i].seen, memory_order_relaxed) != SEEN_ALL)
			b->wake(b->wake_arg, i);
	topo_collect(b);
}

const struct topo *topo_latest(const struct topo_board *b)
{
	return b->latest;
}

const struct topo *topo_pick_up(struct topo_board *b, unsigned reader)
{
	ASSERT(reader < b->n_readers);
	const struct topo *t = atomic_load_explicit(&b->current, memory_order_acquire);
	_Atomic uint64_t *seen = &b->readers[reader].seen;
	if (t && atomic_load_explicit(seen, memory_order_relaxed) != t->generation)
		atomic_store_explicit(seen, t->generation, memory_order_release);
	return t;
}

void topo_leave(struct topo_board *b, unsigned reader)
{
	ASSERT(reader < b->n_readers);
	atomic_store_explicit(&b->readers[reader].seen, SEEN_ALL, memory_order_release);
}

bool topo_collect(struct topo_board *b)
{
	uint64_t least = least_seen(b);
	free_retired_before(b, least);
	return !b->latest || least >= b->latest->generation;
}

bool topo_is_seen(const struct topo_board *b, uint64_t generation)
{
	return least_seen(b) >= generation;
}
