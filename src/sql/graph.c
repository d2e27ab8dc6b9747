/*
 * graph — effects spread along edges, from what is called to what calls it, until nothing changes.
 *
 *        audit() ◄── trigger ── orders          outer() ──names──► audit()          v ──reads──► orders
 *           │                     │                │
 *           └─ set_config ────────┴─ on write ─────┴─ …                 each node: effects when read, effects when written
 *
 * Functions, operators and types have one set of effects, relations two.  Edges come from the catalogue's own books and, where a source only
 * names what it uses, from the names in it.
 *
 * Always: no node goes while edges are there.
 */
#include "graph.h"

#include "base/mem.h"

#define EDGES_MAX 1000000u

bool graph_add(struct graph *g, struct edge e)
{
	if (g->n_edges == g->cap_edges) {
		if (g->n_edges >= EDGES_MAX)
			return false;
		g->cap_edges = g->cap_edges ? g->cap_edges * 2 : 256;
		g->edges = mem_grow(g->edges, g->cap_edges * sizeof *g->edges);
	}
	g->edges[g->n_edges++] = e;
	return true;
}

/* ---- what sources name ----------------------------------------------------------------------------------- */

static bool can_be_named(const struct node *n)
{
	return n->name && (n->kind == 'f' ? n->is_seen : n->kind == 'r' || n->kind == 'o' || n->kind == 't');
}

/* Functions by the hash of a call, all else by that of a name. */
static void index_names(struct graph *g)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&g->nodes, &it, NULL, &value)) {
		struct node *n = value;
		if (!can_be_named(n))
			continue;
		uint32_t hash = body_hash(slice_text(n->name), n->kind == 'f');
		n->same_name = map_put(&g->names, slice_of(&hash, sizeof hash), n);
	}
}

/* ROWS_ONLY: of functions, those that t.f may call. */
static bool link_names(struct graph *g, struct node *from, uint32_t hash, bool rows_only)
{
	bool fits = true;
	for (struct node *to = map_get(&g->names, slice_of(&hash, sizeof hash)); to && fits; to = to->same_name)
		if (to != from && (!rows_only || to->takes_row))
			fits = graph_add(g, (struct edge){ .from = from, .to = to, .by_write = to->kind == 'r' && from->body.changes });
	return fits;
}

/* What a source names.  A relation may stand in front of a parenthesis too: INSERT INTO t (…); and a function without one: t.f. */
static bool link_bodies(struct graph *g)
{
	uint32_t it = 0;
	void *value;
	bool fits = true;
	while (fits && map_next(&g->nodes, &it, NULL, &value)) {
		struct node *n = value;
		for (uint32_t i = 0; fits && i < n->body.n; i++) {
			uint32_t hash = n->body.words[i];
			fits = link_names(g, n, hash, false) && link_names(g, n, hash ^ 1u, !(hash & 1));
		}
	}
	return fits;
}

/* ---- spreading ------------------------------------------------------------------------------------------- */

static bool gain(struct node *n, uint32_t read, uint32_t write, const char *cause)
{
	if ((n->read | read) == n->read && (n->write | write) == n->write)
		return false;
	if (!((n->read | n->write) & EFFECTS_OPAQUE))
		n->cause = cause;
	n->read |= read;
	n->write |= write;
	return true;
}

static bool spread_along(const struct edge *e)
{
	const struct node *to = e->to;
	uint32_t written = to->write | (e->by_write ? to->read : 0);
	if (e->from->kind == 'r')
		return gain(e->from, e->only_write ? 0 : to->read, written, to->cause);
	uint32_t effects = e->by_write || to->kind != 'r' ? written : to->read;
	return gain(e->from, effects, effects, to->cause);
}

static void begin_spreading(struct graph *g, char *const *safe, size_t n_safe)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&g->nodes, &it, NULL, &value)) {
		struct node *n = value;
		uint32_t own = n->own | (n->is_volatile ? SQL_WRITES : 0);
		n->read = n->kind == 'r' ? n->own_read : own | n->own_read;
		n->write = own;
		n->cause = n->own_cause ? n->own_cause : n->name;
		n->callers = 0;
		n->is_safe = false;
		for (size_t i = 0; i < n_safe && n->kind == 'f' && n->name; i++)
			n->is_safe |= strcmp(safe[i], n->name) == 0;
		if (n->is_safe)
			n->read = n->write = own & SQL_WRITES;
	}
}

static void queue(struct node **queued, struct node *n)
{
	if (n->is_queued)
		return;
	n->is_queued = true;
	n->next = *queued;
	*queued = n;
}

/* Whoever reads what calls a function may so ask when the transaction began. */
static void bind_readers(struct graph *g)
{
	for (uint32_t i = 0; i < g->n_edges; i++)
		if (g->edges[i].to->kind == 'f' && !strchr("fv", g->edges[i].from->kind) && !g->edges[i].only_write)
			g->edges[i].from->read |= SQL_TX_BOUND;
}

static void chain_callers(struct graph *g)
{
	for (uint32_t i = 0; i < g->n_edges; i++) {
		struct node *to = g->edges[i].to;
		g->edges[i].next = to->callers;
		to->callers = i + 1;
	}
}

/* From every node that has one of these effects to its callers, and on from those that gain some.  A node gains each effect once. */
static void spread(struct graph *g, uint32_t effects)
{
	struct node *queued = NULL;
	for (uint32_t i = 0; i < g->n_edges; i++)
		if ((g->edges[i].to->read | g->edges[i].to->write) & effects)
			queue(&queued, g->edges[i].to);
	while (queued) {
		struct node *n = queued;
		queued = n->next;
		n->is_queued = false;
		for (uint32_t i = n->callers; i; i = g->edges[i - 1].next)
			if (!g->edges[i - 1].from->is_safe && spread_along(&g->edges[i - 1]))
				queue(&queued, g->edges[i - 1].from);
	}
}

/* Planning calls what is not volatile, and whoever may be folded into the statement calls it from there. */
static void mark_planned(struct graph *g)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&g->nodes, &it, NULL, &value)) {
		struct node *n = value;
		if (n->kind == 'f' && !n->is_volatile && (n->read & EFFECTS_OPAQUE)) {
			n->read |= SQL_PLANNED;
			n->write |= SQL_PLANNED;
		}
	}
	spread(g, SQL_PLANNED);
}

bool graph_spread(struct graph *g, char *const *safe, size_t n_safe)
{
	index_names(g);
	begin_spreading(g, safe, n_safe);
	if (!link_bodies(g))
		return false;
	bind_readers(g);
	chain_callers(g);
	spread(g, ~0u);
	mark_planned(g);
	return true;
}

void graph_forget_edges(struct graph *g)
{
	map_fini(&g->names);
	mem_free(g->edges);
	g->edges = NULL;
	g->n_edges = g->cap_edges = 0;
}
