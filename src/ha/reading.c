/*
 * reading — the questions, and what becomes of their answers.
 *
 *   fingerprint ──functions differ──► functions ──► sources, page by page ──► trees ──► edges ──► own ──► READING_NEW
 *        ├───────only their callers differ────────────────────────────────────────────────┘
 *        └───────nothing differs────────────────────────────────────────────────────────────────────────► READING_SAME
 *
 * The fingerprint is a sum over the versions of the rows concerned: it costs the server some milliseconds, so that a database is only read
 * when something has changed.  It is asked first, so that what changes meanwhile is seen the next time.
 */
#include "ha/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "questions.h"

#define TIMEOUT_US (15 * US_PER_S) /* of one question */
#define FUNCTIONS_MAX 200000u      /* beyond, nothing is learnt */
#define EDGES_MAX 500000u
#define PAGE 400u    /* sources in one question */
#define TREES 140000 /* the first server_version_num that has them */

struct fingerprint {
	char functions[256], callers[768], own[256];
};

struct reading {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	void (*fn)(void *arg, enum reading_end how, const struct err *err);
	void *arg;
	struct service *service; /* NULL: not connected */
	uint32_t node_id;        /* that it leads to */
	struct learn *learn;
	struct fingerprint known, next;            /* of the last reading that was complete, of the one that runs */
	char own[256];                             /* fingerprint of the answer to question_own that is kept; "": none */
	bool is_complete, even_if_same, has_trees; /* has_trees: the server keeps some sources as trees */
	unsigned n_page;
	uint32_t page[PAGE]; /* functions whose source was asked for */
};

/* ---- the end --------------------------------------------------------------------------------------------- */

static void fail(struct reading *r, const struct err *err)
{
	struct err copy = *err;
	reading_hang_up(r);
	r->fn(r->arg, READING_FAILED, &copy);
}

static void fail_because(struct reading *r, const char *text)
{
	struct err err;
	err_set(&err, "54000", "%s", text);
	fail(r, &err);
}

static void complete(struct reading *r)
{
	r->known = r->next;
	r->is_complete = true;
	r->fn(r->arg, READING_NEW, NULL);
}

/* ---- the questions, last first ------------------------------------------------------------------------- */

static void ask(struct reading *r, const char *sql, service_rows_fn fn)
{
	bool is_asking = service_ask_rows(r->service, sql, TIMEOUT_US, fn, r);
	ASSERT(is_asking);
}

static uint32_t number_at(const struct service_rows *rows, unsigned row, unsigned column)
{
	return (uint32_t)strtoul(service_value(rows, row, column), NULL, 10);
}

static void on_own(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct reading *r = arg;
	if (err) {
		fail(r, err);
		return;
	}
	unsigned n = service_rows_n(rows);
	if (n > EDGES_MAX) {
		fail_because(r, "there are too many views");
		return;
	}
	for (unsigned i = 0; i < n; i++)
		learn_own(r->learn, &(struct learn_own){ .from_kind = service_value(rows, i, 0)[0],
		                                         .from = number_at(rows, i, 1),
		                                         .from_name = service_value(rows, i, 2),
		                                         .what = service_value(rows, i, 3)[0],
		                                         .name = service_value(rows, i, 4) });
	snprintf(r->own, sizeof r->own, "%s", r->next.own);
	complete(r);
}

/* It costs the server most, and what it reads seldom changes. */
static void ask_own(struct reading *r)
{
	char sql[sizeof question_own + 16];
	if (strcmp(r->own, r->next.own) == 0) {
		complete(r);
		return;
	}
	r->own[0] = 0;
	learn_forget_own(r->learn);
	snprintf(sql, sizeof sql, question_own, EDGES_MAX + 1);
	ask(r, sql, on_own);
}

static bool learn_edge_of(struct reading *r, const struct service_rows *rows, unsigned row)
{
	struct learn_edge e = {
		.from_kind = service_value(rows, row, 1)[0],
		.from = number_at(rows, row, 2),
		.from_name = service_value(rows, row, 3),
		.to_kind = service_value(rows, row, 4)[0],
		.to = number_at(rows, row, 5),
	};
	switch (service_value(rows, row, 0)[0]) {
	case 's':
		learn_sequence(r->learn, e.from, e.from_name);
		return true;
	case 'n':
		learn_no_standby(r->learn, e.from, e.from_name);
		return true;
	case 'k':
		learn_exists(r->learn, e.from_kind, e.from, e.from_name);
		return true;
	case 'x':
		learn_calls_own(r->learn, &(struct learn_own){ .from_kind = e.from_kind,
		                                               .from = e.from,
		                                               .from_name = e.from_name,
		                                               .what = 'f',
		                                               .name = service_value(rows, row, 6) });
		return true;
	case 'm':
		e.reads_on_write = true;
		/* fall through */
	case 'w':
		e.only_write = true;
		return learn_edge(r->learn, &e);
	default:
		return learn_edge(r->learn, &e);
	}
}

static void on_edges(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct reading *r = arg;
	bool fits = true;
	if (err) {
		fail(r, err);
		return;
	}
	unsigned n = service_rows_n(rows);
	for (unsigned i = 0; i < n && fits; i++)
		fits = learn_edge_of(r, rows, i);
	if (!fits || n > EDGES_MAX)
		fail_because(r, "there are too many relations");
	else
		ask_own(r);
}

static void ask_edges(struct reading *r)
{
	char sql[sizeof question_edges + 16];
	snprintf(sql, sizeof sql, question_edges, EDGES_MAX + 1);
	ask(r, sql, on_edges);
}

static void ask_sources(struct reading *r);

static void on_sources(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct reading *r = arg;
	if (err) {
		fail(r, err);
		return;
	}
	for (unsigned i = 0; i < service_rows_n(rows); i++)
		if (!service_is_null(rows, i, 1))
			learn_source(r->learn, number_at(rows, i, 0), slice_of(service_value(rows, i, 1), service_value_len(rows, i, 1)));
	for (unsigned i = 0; i < r->n_page; i++) /* too long, or dropped meanwhile */
		learn_no_source(r->learn, r->page[i]);
	ask_sources(r);
}

static void ask_page(struct reading *r, const char *before, const char *behind)
{
	char sql[512 + PAGE * 12];
	size_t len = (size_t)snprintf(sql, sizeof sql, "%s", before);
	for (unsigned i = 0; i < r->n_page; i++)
		len += (size_t)snprintf(sql + len, sizeof sql - len, "%s%u", i ? "," : "", r->page[i]);
	snprintf(sql + len, sizeof sql - len, "%s", behind);
	ask(r, sql, on_sources);
}

/* An empty source that cannot be a tree is an empty source. */
static void take_empty(struct reading *r)
{
	while (!r->has_trees && (r->n_page = learn_wanted(r->learn, true, r->page, PAGE)))
		for (unsigned i = 0; i < r->n_page; i++)
			learn_source(r->learn, r->page[i], slice_of("", 0));
}

static void ask_sources(struct reading *r)
{
	if ((r->n_page = learn_wanted(r->learn, false, r->page, PAGE)))
		ask_page(r, question_sources, QUESTION_END);
	else if ((r->n_page = learn_wanted(r->learn, true, r->page, PAGE)))
		ask_page(r, question_trees, QUESTION_END);
	else
		ask_edges(r);
}

static void learn_row(struct reading *r, const struct service_rows *rows, unsigned row)
{
	struct learn_function f = {
		.oid = number_at(rows, row, 0),
		.version = service_value(rows, row, 1),
		.name = service_value(rows, row, 2),
		.language = service_value(rows, row, 3),
		.extension = service_value(rows, row, 4),
		.is_aggregate = service_value(rows, row, 5)[0] == 't',
		.is_tree = service_value(rows, row, 6)[0] == 't',
		.length = number_at(rows, row, 7),
		.volatility = service_value(rows, row, 8)[0],
		.takes_row = service_value(rows, row, 9)[0] == 't',
	};
	learn_function(r->learn, &f);
}

static void on_functions(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct reading *r = arg;
	if (err) {
		fail(r, err);
		return;
	}
	if (service_rows_n(rows) > FUNCTIONS_MAX) {
		fail_because(r, "there are too many functions");
		return;
	}
	r->learn = r->learn ? r->learn : learn_new();
	learn_begin(r->learn, true);
	for (unsigned i = 0; i < service_rows_n(rows); i++)
		learn_row(r, rows, i);
	take_empty(r);
	ask_sources(r);
}

static void ask_functions(struct reading *r)
{
	char sql[sizeof question_functions + 16];
	snprintf(sql, sizeof sql, question_functions, r->learn ? FIRST_OWN_OID : 0, FUNCTIONS_MAX + 1);
	ask(r, sql, on_functions);
}

static void on_fingerprint(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct reading *r = arg;
	if (err) {
		fail(r, err);
		return;
	}
	snprintf(r->next.functions, sizeof r->next.functions, "%s", service_value(rows, 0, 0));
	snprintf(r->next.callers, sizeof r->next.callers, "%s", service_value(rows, 0, 1));
	snprintf(r->next.own, sizeof r->next.own, "%s", service_value(rows, 0, 2));
	r->has_trees = strtoul(service_value(rows, 0, 3), NULL, 10) >= TREES;
	bool same_functions = r->is_complete && strcmp(r->known.functions, r->next.functions) == 0;
	if (same_functions && !r->even_if_same && strcmp(r->known.callers, r->next.callers) == 0) {
		r->fn(r->arg, READING_SAME, NULL);
	} else if (same_functions) {
		learn_begin(r->learn, false);
		ask_edges(r);
	} else {
		r->is_complete = false; /* until it is: what was learnt is being changed */
		ask_functions(r);
	}
}

/* ---- public ---------------------------------------------------------------------------------------------- */

struct reading *reading_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                            void (*fn)(void *arg, enum reading_end how, const struct err *err), void *arg)
{
	struct reading *r = mem_alloc(sizeof *r);
	*r = (struct reading){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .fn = fn, .arg = arg };
	return r;
}

void reading_free(struct reading *r)
{
	reading_hang_up(r);
	reading_forget(r);
	mem_free(r);
}

void reading_begin(struct reading *r, const struct service_target *target, uint32_t node_id, bool even_if_same)
{
	if (r->node_id != node_id || (r->service && !service_is_for(r->service, target)))
		reading_hang_up(r);
	if (!r->service)
		r->service = service_new(r->loop, r->resolver, r->mailbox, target);
	r->node_id = node_id;
	r->even_if_same = even_if_same;
	ask(r, question_fingerprint, on_fingerprint);
}

struct learn *reading_learn(struct reading *r)
{
	return r->learn;
}

void reading_hang_up(struct reading *r)
{
	service_free(r->service);
	r->service = NULL;
}

void reading_forget(struct reading *r)
{
	learn_free(r->learn);
	r->learn = NULL;
	r->own[0] = 0;
	r->is_complete = false;
}
