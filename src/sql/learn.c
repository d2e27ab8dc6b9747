/*
 * learn — functions and who calls them: a graph, along which effects spread until nothing changes.
 *
 *        audit() ◄── trigger ── orders          outer() ──names──► audit()          v ──reads──► orders
 *           │                     │                │
 *           └─ set_config ────────┴─ on write ─────┴─ …                 each node: effects when read, effects when written
 *
 * Functions, operators and types have one set of effects, relations two.  Edges come from the catalogue's own books and, where a source
 * only names what it uses, from the names in it.  A function in C is judged by its extension (tbl/extensions.h); one in a language other
 * than SQL and PL/pgSQL is opaque, since such languages keep variables for the session.
 *
 * A function whose names would exceed NAMES_MAX is opaque, so that memory is bounded whatever the sources are.
 *
 * Always: a function's node stays until the round after the one that did not see it; edges and all other nodes live for one round, what is
 * behind them of PostgreSQL's own until it is told again.
 * No node goes while edges are there.
 */
#include "sql/learn.h"

#include <stdio.h>

#include "base/compiler.h"
#include "base/map.h"
#include "base/mem.h"
#include "builtins.h"
#include "sql/body.h"

#define EDGES_MAX 1000000u
#define NAMES_MAX 16000000u /* in all sources together: 64 MB */

struct node {
	char kind;
	bool is_seen;   /* in this round */
	bool is_wanted; /* its source is not known */
	bool is_tree;
	bool is_safe; /* the configuration says so */
	bool is_volatile;
	bool takes_row; /* a function that t.f may call */
	bool is_told;   /* though it has no effects */
	uint32_t oid, length;
	char *name;
	char version[16];
	uint32_t own;          /* effects by its own words; of a relation: when it is written to */
	uint32_t own_read;     /* of a relation or a type: when it is read */
	const char *own_cause; /* a name of tbl/builtins.h; NULL: its own */
	struct body body;      /* functions with a source */
	uint32_t read, write;
	const char *cause; /* the function that they come from: another node's name */
	uint32_t callers;  /* the first edge to it, plus 1 */
	bool is_queued;
	struct node *next;      /* in the queue */
	struct node *same_name; /* the next whose name has the same hash */
};

struct edge {
	struct node *from, *to;
	uint32_t next;             /* to the same node, plus 1 */
	bool only_write, by_write; /* … only when FROM is written to; what reading TO does belongs to it as well */
};

/* A function or view of PostgreSQL's own behind something. */
struct own {
	char kind;
	uint32_t oid, effects;
	char *from;
	const char *cause; /* a name of tbl/builtins.h, or NULL */
};

struct learn {
	struct map nodes; /* kind and oid -> struct node */
	struct map names; /* 32 bits of hash -> struct node */
	struct edge *edges;
	uint32_t n_edges, cap_edges;
	struct own *owns;
	uint32_t n_owns, cap_owns;
	size_t n_functions, n_opaque, n_names;
	struct map builtin_names; /* functions of PostgreSQL's own that tbl/builtins.h does not know */
};

struct node_key {
	uint32_t kind, oid;
};

#define EFFECTS_OPAQUE (SQL_OPAQUE_CALL | SQL_TEMP_OBJECT | SQL_ADVISORY_LOCK | SQL_HOLD_CURSOR)

struct learn *learn_new(void)
{
	return mem_alloc(sizeof(struct learn));
}

static void forget_source(struct learn *l, struct node *n)
{
	l->n_names -= n->body.n;
	body_fini(&n->body);
}

static void node_free(struct learn *l, struct node *n)
{
	forget_source(l, n);
	mem_free(n->name);
	mem_free(n);
}

static void forget_round(struct learn *l)
{
	map_fini(&l->names);
	mem_free(l->edges);
	l->edges = NULL;
	l->n_edges = l->cap_edges = 0;
}

void learn_free(struct learn *l)
{
	uint32_t it = 0;
	void *n;
	if (!l)
		return;
	while (map_next(&l->nodes, &it, NULL, &n))
		node_free(l, n);
	map_fini(&l->nodes);
	map_fini(&l->builtin_names);
	forget_round(l);
	learn_forget_own(l);
	mem_free(l);
}

void learn_begin(struct learn *l, bool with_functions)
{
	struct slice key;
	void *value;
	forget_round(l);
	for (uint32_t it = 0; map_next(&l->nodes, &it, &key, &value);) {
		struct node *n = value;
		if (n->kind != 'f' || !n->is_seen) {
			map_remove(&l->nodes, key);
			node_free(l, n);
		} else {
			n->is_seen = !with_functions;
		}
	}
	l->n_opaque = 0;
	if (with_functions)
		l->n_functions = 0;
}

static struct slice key_of(struct node_key *key, char kind, uint32_t oid)
{
	*key = (struct node_key){ .kind = (uint8_t)kind, .oid = oid };
	return slice_of(key, sizeof *key);
}

static struct node *node_at(const struct learn *l, char kind, uint32_t oid)
{
	struct node_key key;
	return map_get(&l->nodes, key_of(&key, kind, oid));
}

static struct node *node_make(struct learn *l, char kind, uint32_t oid)
{
	struct node_key key;
	struct node *n = node_at(l, kind, oid);
	if (n)
		return n;
	n = mem_alloc(sizeof *n);
	n->kind = kind;
	n->oid = oid;
	map_put(&l->nodes, key_of(&key, kind, oid), n);
	return n;
}

static void node_rename(struct node *n, const char *name)
{
	if (n->name && strcmp(n->name, name) == 0)
		return;
	mem_free(n->name);
	n->name = mem_text(name);
}

/* ---- functions ------------------------------------------------------------------------------------- */

static bool extension_is_harmless(const char *extension)
{
#define HARMLESS(name) name,
	static const char *const names[] = {
#include "tbl/extensions.h"
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], extension) == 0)
			return true;
	return false;
}

static bool is_exception(const char *extension, const char *function)
{
#define OPAQUE(name, function) { name, function },
	static const char *const rows[][2] = {
#include "tbl/extensions.h"
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i][0], extension) == 0 && strcmp(rows[i][1], function) == 0)
			return true;
	return false;
}

static bool has_readable_source(const struct learn_function *f)
{
	return strcmp(f->language, "sql") == 0 || strcmp(f->language, "plpgsql") == 0;
}

/* Forgets what was known of an earlier version. */
static void node_update(struct learn *l, struct node *n, const struct learn_function *f)
{
	bool is_trusted = extension_is_harmless(f->extension);
	node_rename(n, f->name);
	snprintf(n->version, sizeof n->version, "%s", f->version);
	forget_source(l, n);
	n->is_volatile = f->volatility == 'v';
	n->takes_row = f->takes_row;
	n->own = 0;
	n->is_wanted = false;
	n->is_tree = f->is_tree;
	n->length = f->length;
	if (is_exception(f->extension, f->name))
		n->own = SQL_OPAQUE_CALL;
	else if (!is_trusted && !f->is_aggregate && has_readable_source(f))
		n->is_wanted = true;
	else if (!is_trusted && !f->is_aggregate)
		n->own = SQL_OPAQUE_CALL;
}

/* What a newer server brings along is a read only if it cannot be anything else. */
static void learn_builtin(struct learn *l, const struct learn_function *f)
{
	static const uint32_t none = 0, writes = SQL_WRITES;
	struct slice name = slice_text(f->name);
	if (f->volatility != 'i')
		map_put(&l->builtin_names, name, (void *)(uintptr_t)&writes);
	else if (!map_get(&l->builtin_names, name))
		map_put(&l->builtin_names, name, (void *)(uintptr_t)&none);
}

bool learn_function(struct learn *l, const struct learn_function *f)
{
	if (f->oid < FIRST_OWN_OID) {
		if (builtin_find(slice_text(f->name)) == BUILTIN_UNKNOWN)
			learn_builtin(l, f);
		return false;
	}
	struct node *n = node_make(l, 'f', f->oid);
	if (!n->name || strcmp(n->version, f->version) != 0)
		node_update(l, n, f);
	n->is_seen = true;
	l->n_functions++;
	return n->is_wanted;
}

unsigned learn_wanted(const struct learn *l, bool tree, uint32_t *oids, unsigned max)
{
	uint32_t it = 0;
	unsigned found = 0;
	uint32_t bytes = 0;
	void *value;
	while (found < max && bytes < LEARN_PAGE_BYTES && map_next(&l->nodes, &it, NULL, &value)) {
		const struct node *n = value;
		if (n->is_wanted && n->is_seen && n->is_tree == tree) {
			oids[found++] = n->oid;
			bytes += n->length;
		}
	}
	return found;
}

void learn_source(struct learn *l, uint32_t oid, struct slice source)
{
	struct node *n = node_at(l, 'f', oid);
	if (!n || !n->is_wanted)
		return;
	body_read(&n->body, source);
	n->own = n->body.effects;
	n->is_wanted = false;
	if (l->n_names + n->body.n > NAMES_MAX) {
		body_fini(&n->body);
		n->own |= SQL_OPAQUE_CALL;
	}
	l->n_names += n->body.n;
}

void learn_no_source(struct learn *l, uint32_t oid)
{
	struct node *n = node_at(l, 'f', oid);
	if (!n || !n->is_wanted)
		return;
	n->own = SQL_OPAQUE_CALL;
	n->is_wanted = false;
}

/* ---- edges ------------------------------------------------------------------------------------------- */

static bool edge_add(struct learn *l, struct edge e)
{
	if (l->n_edges == l->cap_edges) {
		if (l->n_edges >= EDGES_MAX)
			return false;
		l->cap_edges = l->cap_edges ? l->cap_edges * 2 : 256;
		l->edges = mem_grow(l->edges, l->cap_edges * sizeof *l->edges);
	}
	l->edges[l->n_edges++] = e;
	return true;
}

bool learn_edge(struct learn *l, const struct learn_edge *e)
{
	struct node *from = node_make(l, e->from_kind, e->from), *to = node_make(l, e->to_kind, e->to);
	if (from->kind != 'f')
		node_rename(from, e->from_name);
	if (to->kind == 'f' && !to->is_seen) /* made, or dropped, while we were asking */
		to->own = SQL_OPAQUE_CALL;
	return edge_add(l, (struct edge){ .from = from, .to = to, .only_write = e->only_write, .by_write = e->reads_on_write });
}

void learn_sequence(struct learn *l, uint32_t relation, const char *name)
{
	struct node *n = node_make(l, 'r', relation);
	node_rename(n, name);
	n->own = SQL_NEXTVAL;
}

void learn_no_standby(struct learn *l, uint32_t relation, const char *name)
{
	struct node *n = node_make(l, 'r', relation);
	node_rename(n, name);
	n->own_read |= SQL_NO_STANDBY;
}

void learn_exists(struct learn *l, char kind, uint32_t oid, const char *name)
{
	struct node *n = node_make(l, kind, oid);
	node_rename(n, name);
	n->is_told = true;
}

static uint32_t effects_of_own(const struct learn_own *o)
{
	struct slice name = slice_text(o->name);
	if (o->what == 'l')
		return SQL_WRITES;
	if (o->what == 'r')
		return builtin_is_servers_view(name) ? SQL_WRITES : 0;
	enum builtin kind = builtin_find(name);
	return kind == BUILTIN_SET_CONFIG ? SQL_WRITES | SQL_OPAQUE_CALL : builtin_effects(kind);
}

void learn_own(struct learn *l, const struct learn_own *o)
{
	uint32_t effects = effects_of_own(o);
	if (!effects)
		return;
	if (l->n_owns == l->cap_owns) {
		l->cap_owns = l->cap_owns ? l->cap_owns * 2 : 64;
		l->owns = mem_grow(l->owns, l->cap_owns * sizeof *l->owns);
	}
	l->owns[l->n_owns++] = (struct own){ .kind = o->from_kind,
		                                 .oid = o->from,
		                                 .from = mem_text(o->from_name),
		                                 .cause = builtin_name(slice_text(o->name)),
		                                 .effects = effects };
}

void learn_calls_own(struct learn *l, const struct learn_own *o)
{
	struct node *n = node_make(l, o->from_kind, o->from);
	if (n->kind == 'f' && !n->is_seen)
		return;
	node_rename(n, o->from_name);
	n->own |= effects_of_own(o);
}

void learn_forget_own(struct learn *l)
{
	for (uint32_t i = 0; i < l->n_owns; i++)
		mem_free(l->owns[i].from);
	mem_free(l->owns);
	l->owns = NULL;
	l->n_owns = l->cap_owns = 0;
}

static void apply_own(struct learn *l, const struct own *o)
{
	struct node *n = node_make(l, o->kind, o->oid);
	node_rename(n, o->from);
	if (!((n->own | n->own_read) & EFFECTS_OPAQUE))
		n->own_cause = o->cause;
	if (n->kind == 't')
		n->own |= o->effects;
	else
		n->own_read |= o->effects;
}

static bool can_be_named(const struct node *n)
{
	return n->name && (n->kind == 'f' ? n->is_seen : n->kind == 'r' || n->kind == 'o' || n->kind == 't');
}

/* Functions by the hash of a call, all else by that of a name. */
static void index_names(struct learn *l)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&l->nodes, &it, NULL, &value)) {
		struct node *n = value;
		if (!can_be_named(n))
			continue;
		uint32_t hash = body_hash(slice_text(n->name), n->kind == 'f');
		n->same_name = map_put(&l->names, slice_of(&hash, sizeof hash), n);
	}
}

/* ROWS_ONLY: of functions, those that t.f may call. */
static bool link_names(struct learn *l, struct node *from, uint32_t hash, bool rows_only)
{
	bool fits = true;
	for (struct node *to = map_get(&l->names, slice_of(&hash, sizeof hash)); to && fits; to = to->same_name)
		if (to != from && (!rows_only || to->takes_row))
			fits = edge_add(l, (struct edge){ .from = from, .to = to, .by_write = to->kind == 'r' && from->body.changes });
	return fits;
}

/* What a source names.  A relation may stand in front of a parenthesis too: INSERT INTO t (…); and a function without one: t.f. */
static bool link_bodies(struct learn *l)
{
	uint32_t it = 0;
	void *value;
	bool fits = true;
	while (fits && map_next(&l->nodes, &it, NULL, &value)) {
		struct node *n = value;
		for (uint32_t i = 0; fits && i < n->body.n; i++) {
			uint32_t hash = n->body.words[i];
			fits = link_names(l, n, hash, false) && link_names(l, n, hash ^ 1u, !(hash & 1));
		}
	}
	return fits;
}

/* ---- spreading ----------------------------------------------------------------------------------------- */

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

static void begin_spreading(struct learn *l, char *const *safe, size_t n_safe)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&l->nodes, &it, NULL, &value)) {
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
static void bind_readers(struct learn *l)
{
	for (uint32_t i = 0; i < l->n_edges; i++)
		if (l->edges[i].to->kind == 'f' && !strchr("fv", l->edges[i].from->kind) && !l->edges[i].only_write)
			l->edges[i].from->read |= SQL_TX_BOUND;
}

static void chain_callers(struct learn *l)
{
	for (uint32_t i = 0; i < l->n_edges; i++) {
		struct node *to = l->edges[i].to;
		l->edges[i].next = to->callers;
		to->callers = i + 1;
	}
}

/* From every node that has one of these effects to its callers, and on from those that gain some.  A node gains each effect once. */
static void spread(struct learn *l, uint32_t effects)
{
	struct node *queued = NULL;
	for (uint32_t i = 0; i < l->n_edges; i++)
		if ((l->edges[i].to->read | l->edges[i].to->write) & effects)
			queue(&queued, l->edges[i].to);
	while (queued) {
		struct node *n = queued;
		queued = n->next;
		n->is_queued = false;
		for (uint32_t i = n->callers; i; i = l->edges[i - 1].next)
			if (!l->edges[i - 1].from->is_safe && spread_along(&l->edges[i - 1]))
				queue(&queued, l->edges[i - 1].from);
	}
}

/* Planning calls what is not volatile, and whoever may be folded into the statement calls it from there. */
static void mark_planned(struct learn *l)
{
	uint32_t it = 0;
	void *value;
	while (map_next(&l->nodes, &it, NULL, &value)) {
		struct node *n = value;
		if (n->kind == 'f' && !n->is_volatile && (n->read & EFFECTS_OPAQUE)) {
			n->read |= SQL_PLANNED;
			n->write |= SQL_PLANNED;
		}
	}
	spread(l, SQL_PLANNED);
}

/* ---- the outcome ----------------------------------------------------------------------------------------- */

static void tell(struct learn *l, struct facts *f, const struct node *n)
{
	char key[FACTS_FIELD_KEY];
	switch (n->kind) {
	case 'f':
		facts_add(f, FACTS_FUNCTION, n->name, n->read, n->cause);
		if (n->takes_row && n->read)
			facts_add(f, FACTS_FIELD, facts_field_key(facts_field(n->name), key), n->read, n->cause);
		l->n_opaque += (n->read & EFFECTS_OPAQUE) != 0;
		break;
	case 'r':
		if (n->read || n->is_told)
			facts_add(f, FACTS_READ, n->name, n->read, n->cause);
		if ((n->write & ~(uint32_t)(SQL_WRITES | SQL_TX_BOUND | SQL_NO_STANDBY)) || n->is_told) /* a write is one in any case */
			facts_add(f, FACTS_WRITE, n->name, n->write, n->cause);
		break;
	case 'v': /* nobody names it */
		break;
	default: /* the same letters */
		if (n->read || n->is_told)
			facts_add(f, (enum facts_kind)n->kind, n->name, n->read, n->cause);
		break;
	}
}

static void tell_all(struct learn *l, struct facts *f)
{
	struct slice name;
	void *value;
	for (uint32_t it = 0; map_next(&l->builtin_names, &it, &name, &value);) {
		char text[FACTS_NAME_MAX];
		snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.at);
		facts_add(f, FACTS_FUNCTION, text, *(const uint32_t *)value, NULL);
	}
	for (uint32_t it = 0; map_next(&l->nodes, &it, NULL, &value);) {
		const struct node *n = value;
		if (n->name && (n->kind != 'f' || n->is_seen))
			tell(l, f, n);
	}
}

struct facts *learn_end(struct learn *l, char *const *safe, size_t n_safe)
{
	for (uint32_t i = 0; i < l->n_owns; i++)
		apply_own(l, &l->owns[i]);
	index_names(l);
	begin_spreading(l, safe, n_safe);
	bool is_known = link_bodies(l);
	struct facts *f = facts_new(is_known);
	if (is_known) { /* else there are too many: better to know nothing than half of it */
		bind_readers(l);
		chain_callers(l);
		spread(l, ~0u);
		mark_planned(l);
		tell_all(l, f);
	}
	for (size_t i = 0; i < n_safe; i++)
		facts_forgive(f, safe[i]);
	forget_round(l);
	return facts_seal(f);
}

size_t learn_functions(const struct learn *l)
{
	return l->n_functions;
}

size_t learn_opaque(const struct learn *l)
{
	return l->n_opaque;
}
