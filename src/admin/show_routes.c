/*
 * show_routes — SHOW ROUTES: what ran where, busiest shapes first, and each shape's nodes together.
 *
 *   each worker: its ledger, row by row, as bytes ──► gathered: rows that differ in counts only are one
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "policy/set.h"
#include "priv.h"
#include "wire/reader.h"

static const struct column routes_columns[] = {
	{ "statement", COLUMN_TEXT },  { "database", COLUMN_TEXT }, { "node", COLUMN_TEXT },     { "count", COLUMN_INT8 },
	{ "total_us", COLUMN_INT8 },   { "mean_us", COLUMN_INT8 },  { "kind", COLUMN_TEXT },     { "is_read", COLUMN_TEXT },
	{ "decided_by", COLUMN_TEXT }, { "because", COLUMN_TEXT },  { "reason", COLUMN_TEXT },   { "policy", COLUMN_TEXT },
	{ "generation", COLUMN_INT8 }, { "cached", COLUMN_TEXT },   { "shape_id", COLUMN_TEXT },
};

/* ---- from a worker ----------------------------------------------------------------------------------------------------------------------- */

static void write_u64(struct writer *w, uint64_t v)
{
	writer_u32(w, (uint32_t)(v >> 32));
	writer_u32(w, (uint32_t)v);
}

static uint64_t read_u64(struct reader *r)
{
	uint64_t high = reader_u32(r);
	return high << 32 | reader_u32(r);
}

static void write_route(void *arg, const struct session_route *r)
{
	struct writer *w = arg;
	const char *const texts[] = { r->shape, r->database, r->kind, r->by, r->because, r->reason, r->place };
	writer_u8(w, !r->shape);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		writer_text(w, texts[i] ? texts[i] : "");
	writer_u8(w, r->is_read);
	writer_u16(w, r->cached_by);
	writer_u32(w, r->node_id);
	write_u64(w, r->shape_id);
	write_u64(w, r->generation);
	write_u64(w, r->count);
	write_u64(w, r->timed);
	write_u64(w, r->time_us);
}

static void routes_collect(const struct console *c, struct writer *w)
{
	sessions_each_route(c->sessions, write_route, w);
}

/* ---- together ---------------------------------------------------------------------------------------------------------------------------- */

#define WORKERS_MAX 256u /* tbl/params.h */

struct route_sum {
	const char *shape, *database, *kind, *by, *because, *reason, *place;
	bool is_forgotten, is_read;
	uint64_t cached[WORKERS_MAX / 64]; /* by which workers; bits */
	uint32_t node_id;
	uint64_t shape_id, generation, count, timed, time_us;
	uint64_t of_shape; /* count, on all nodes */
	const char *node;
};

static const char *text_of(struct reader *r)
{
	return (const char *)reader_text(r).at;
}

static struct route_sum read_route(struct reader *r)
{
	struct route_sum s = { .is_forgotten = reader_u8(r) };
	const char **const texts[] = { &s.shape, &s.database, &s.kind, &s.by, &s.because, &s.reason, &s.place };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = text_of(r);
	s.is_read = reader_u8(r);
	unsigned cached_by = reader_u16(r);
	if (cached_by)
		s.cached[(cached_by - 1) / 64 % ARRAY_LEN(s.cached)] |= UINT64_C(1) << (cached_by - 1) % 64;
	s.node_id = reader_u32(r);
	s.shape_id = read_u64(r);
	s.generation = read_u64(r);
	s.count = read_u64(r);
	s.timed = read_u64(r);
	s.time_us = read_u64(r);
	return s;
}

/* Of one statement. */
static int by_shape(const struct route_sum *x, const struct route_sum *y)
{
	int order = x->is_forgotten - y->is_forgotten;
	order = order ? order : x->shape_id < y->shape_id ? -1 : x->shape_id > y->shape_id;
	return order ? order : strcmp(x->database, y->database);
}

/* Whose counts are one row's; the latest policy's reason first. */
static int by_row(const void *a, const void *b)
{
	const struct route_sum *x = a, *y = b;
	int order = by_shape(x, y);
	order = order ? order : x->node_id < y->node_id ? -1 : x->node_id > y->node_id;
	order = order ? order : strcmp(x->by, y->by);
	order = order ? order : strcmp(x->because, y->because);
	return order ? order : x->generation > y->generation ? -1 : x->generation < y->generation;
}

static bool is_same_row(const struct route_sum *x, const struct route_sum *y)
{
	return by_shape(x, y) == 0 && x->node_id == y->node_id && strcmp(x->by, y->by) == 0 && strcmp(x->because, y->because) == 0;
}

static void merge_rows(struct items *items)
{
	struct route_sum *at = items->at;
	size_t n = 0;
	for (size_t i = 0; i < items->n; i++) {
		if (n == 0 || !is_same_row(&at[n - 1], &at[i])) {
			at[n++] = at[i];
			continue;
		}
		for (size_t k = 0; k < ARRAY_LEN(at->cached); k++)
			at[n - 1].cached[k] |= at[i].cached[k];
		at[n - 1].count += at[i].count;
		at[n - 1].timed += at[i].timed;
		at[n - 1].time_us += at[i].time_us;
	}
	items->n = n;
}

static void sum_shapes(struct items *items)
{
	struct route_sum *at = items->at;
	for (size_t i = 0, next; i < items->n; i = next) {
		uint64_t sum = 0;
		for (next = i; next < items->n && by_shape(&at[i], &at[next]) == 0; next++)
			sum += at[next].count;
		for (size_t k = i; k < next; k++)
			at[k].of_shape = sum;
	}
}

static int busiest_first(const void *a, const void *b)
{
	const struct route_sum *x = a, *y = b;
	int order = x->is_forgotten - y->is_forgotten;
	order = order ? order : x->of_shape > y->of_shape ? -1 : x->of_shape < y->of_shape;
	order = order ? order : by_shape(x, y);
	order = order ? order : x->count > y->count ? -1 : x->count < y->count;
	return order ? order : by_row(a, b);
}

static const char *node_of(const struct console *c, uint32_t id)
{
	size_t cluster_at;
	const struct topo_node *n = id ? topo_node(c->topo, id, &cluster_at) : NULL;
	return !id ? NULL : n ? n->name : "(gone)";
}

static void free_routes(struct items *items)
{
	mem_free(items->at);
}

/* COLLECTED stays as long as ITEMS. */
static void routes_gather(const struct console *c, struct slice collected, struct items *items)
{
	struct reader r;
	items->free = free_routes;
	for (reader_init(&r, collected); reader_left(&r);) {
		struct route_sum one = read_route(&r);
		one.node = node_of(c, one.node_id);
		*(struct route_sum *)items_add(items, sizeof one) = one;
	}
	if (!items->n)
		return;
	qsort(items->at, items->n, sizeof(struct route_sum), by_row);
	merge_rows(items);
	sum_shapes(items);
	qsort(items->at, items->n, sizeof(struct route_sum), busiest_first);
}

static const char *statement_of(const struct route_sum *s)
{
	return s->is_forgotten ? "(forgotten: too many others)" : *s->shape ? s->shape : "(too long, or not understood)";
}

static unsigned n_cached(const struct route_sum *s)
{
	unsigned n = 0;
	for (size_t k = 0; k < ARRAY_LEN(s->cached); k++)
		n += (unsigned)__builtin_popcountll(s->cached[k]);
	return n;
}

static void text_cell(struct table *t, const struct route_sum *s, const char *text)
{
	table_text(t, s->is_forgotten ? NULL : or_null(text));
}

static void routes_row(struct table *t, const struct items *items, size_t i)
{
	const struct route_sum *s = &((const struct route_sum *)items->at)[i];
	char cached[40], id[20];
	snprintf(cached, sizeof cached, "%u of %u", n_cached(s), t->console->n_workers);
	snprintf(id, sizeof id, "%016llx", (unsigned long long)s->shape_id);
	table_row(t);
	table_text(t, statement_of(s));
	text_cell(t, s, s->database);
	table_text(t, s->node);
	table_int(t, (int64_t)s->count);
	table_int(t, (int64_t)s->time_us);
	if (s->timed)
		table_int(t, (int64_t)(s->time_us / s->timed));
	else
		table_null(t);
	text_cell(t, s, s->kind);
	text_cell(t, s, s->is_read ? "yes" : "no");
	text_cell(t, s, s->by);
	text_cell(t, s, s->because);
	text_cell(t, s, s->reason);
	text_cell(t, s, s->place);
	if (s->generation)
		table_int(t, (int64_t)s->generation);
	else
		table_null(t);
	text_cell(t, s, *s->shape ? cached : NULL);
	text_cell(t, s, *s->shape ? id : NULL);
}

const struct view show_routes = { .columns = routes_columns,
	                              .n_columns = ARRAY_LEN(routes_columns),
	                              .collect = routes_collect,
	                              .gather = routes_gather,
	                              .row = routes_row };
