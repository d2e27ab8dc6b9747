/*
 * learn — what was read of a database's catalogue, kept from round to round as the nodes of a graph (graph.c).
 *
 * A function in C is judged by its extension (tbl/extensions.h), one in SQL or PL/pgSQL by its source (body.c); one in another language is
 * opaque, since such languages keep variables for the session.
 *
 * A function whose names would exceed NAMES_MAX is opaque, so that memory is bounded whatever the sources are.
 *
 * Always: a function's node stays until the round after the one that did not see it; edges and all other nodes live for one round, what is
 * behind them of PostgreSQL's own until it is told again.
 */
#include "sql/learn.h"

#include <stdio.h>

#include "base/compiler.h"
#include "base/map.h"
#include "base/mem.h"
#include "builtins.h"
#include "graph.h"

#define NAMES_MAX 16000000u /* in all sources together: 64 MB */

/* A function or view of PostgreSQL's own behind something. */
struct own {
	char kind;
	uint32_t oid, effects;
	char *from;
	const char *cause; /* a name of tbl/builtins.h, or NULL */
};

struct learn {
	struct graph graph;
	struct own *owns;
	uint32_t n_owns, cap_owns;
	size_t n_functions, n_opaque, n_names;
	struct map builtin_names; /* functions of PostgreSQL's own that tbl/builtins.h does not know */
};

struct node_key {
	uint32_t kind, oid;
};

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

void learn_free(struct learn *l)
{
	uint32_t it = 0;
	void *n;
	if (!l)
		return;
	while (map_next(&l->graph.nodes, &it, NULL, &n))
		node_free(l, n);
	map_fini(&l->graph.nodes);
	map_fini(&l->builtin_names);
	graph_forget_edges(&l->graph);
	learn_forget_own(l);
	mem_free(l);
}

void learn_begin(struct learn *l, bool with_functions)
{
	struct slice key;
	void *value;
	graph_forget_edges(&l->graph);
	for (uint32_t it = 0; map_next(&l->graph.nodes, &it, &key, &value);) {
		struct node *n = value;
		if (n->kind != 'f' || !n->is_seen) {
			map_remove(&l->graph.nodes, key);
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
	return map_get(&l->graph.nodes, key_of(&key, kind, oid));
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
	map_put(&l->graph.nodes, key_of(&key, kind, oid), n);
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
	while (found < max && bytes < LEARN_PAGE_BYTES && map_next(&l->graph.nodes, &it, NULL, &value)) {
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

bool learn_edge(struct learn *l, const struct learn_edge *e)
{
	struct node *from = node_make(l, e->from_kind, e->from), *to = node_make(l, e->to_kind, e->to);
	if (from->kind != 'f')
		node_rename(from, e->from_name);
	if (to->kind == 'f' && !to->is_seen) /* made, or dropped, while we were asking */
		to->own = SQL_OPAQUE_CALL;
	return graph_add(&l->graph,
	                 (struct edge){ .from = from, .to = to, .only_write = e->only_write, .by_write = e->reads_on_write });
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
	for (uint32_t it = 0; map_next(&l->graph.nodes, &it, NULL, &value);) {
		const struct node *n = value;
		if (n->name && (n->kind != 'f' || n->is_seen))
			tell(l, f, n);
	}
}

struct facts *learn_end(struct learn *l, char *const *safe, size_t n_safe)
{
	for (uint32_t i = 0; i < l->n_owns; i++)
		apply_own(l, &l->owns[i]);
	bool is_known = graph_spread(&l->graph, safe, n_safe);
	struct facts *f = facts_new(is_known);
	if (is_known) /* else there are too many: better to know nothing than half of it */
		tell_all(l, f);
	for (size_t i = 0; i < n_safe; i++)
		facts_forgive(f, safe[i]);
	graph_forget_edges(&l->graph);
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
