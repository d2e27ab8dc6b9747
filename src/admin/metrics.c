/*
 * metrics — what the program knows of itself, in Prometheus' text format.
 *
 * A metric's samples stand together, but what they are about is walked once, under its own lock: so each row's values are taken first, then written
 * metric by metric.
 */
#include "admin/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "ha/records.h"
#include "hooks/hooks.h"
#include "policy/set.h"
#include "priv.h"
#include "tbl/metrics.h"

/* ---- rows of tbl/metrics.h ------------------------------------------------------------------------------------------ */

struct program_metrics {
	double clients, max_clients, generation, listens_moved;
	struct session_held_sum held;
};
struct node_metrics {
	const struct topo_node *node;
	bool is_primary;
};

static double known(uint64_t value, double unit)
{
	return value == PULSE_UNKNOWN ? NAN : (double)value / unit;
}

struct metric {
	const char *name, *type, *sentence;
};
#define VALUES_MAX 16
struct values {
	char *labels; /* {…}, or nothing */
	double at[VALUES_MAX];
};
#define METRIC(name, type, value, sentence) { name, #type, sentence },
#define VALUE(name, type, value, sentence) (double)(value),
#define TABLE(ID, row_type, labels)                                       \
	static const struct metric ID##_metrics[] = { METRICS_##ID(METRIC) }; \
	_Static_assert(ARRAY_LEN(ID##_metrics) <= VALUES_MAX, "more values"); \
	static void ID##_values(const row_type *m, struct values *out)        \
	{                                                                     \
		const double all[] = { METRICS_##ID(VALUE) };                     \
		memcpy(out->at, all, sizeof all);                                 \
	}
METRICS(TABLE)

/* ---- a table's rows: labels and values ------------------------------------------------------------------------------- */

/* LABELS: names and values in turn, up to NULL.  A value's backslashes, quotes and ends of lines are escaped. */
static struct values *add_row(struct items *rows, const char *const *labels)
{
	struct values *v = items_add(rows, sizeof *v);
	size_t len;
	FILE *to = open_memstream(&v->labels, &len);
	if (!to)
		die("out of memory: a metric's labels");
	for (size_t i = 0; labels[i]; i += 2) {
		fprintf(to, "%c%s=\"", i ? ',' : '{', labels[i]);
		for (const char *c = labels[i + 1]; *c; c++)
			if (*c == '\n')
				fputs("\\n", to);
			else
				fprintf(to, *c == '\\' || *c == '"' ? "\\%c" : "%c", *c);
		fputc('"', to);
	}
	fputs(labels[0] ? "}" : "", to);
	fclose(to);
	return v;
}
#define ROW(rows, ...) add_row(rows, (const char *const[]){ __VA_ARGS__, NULL })

static void add_pool(void *arg, const struct pool_row *row)
{
	POOL_values(row, ROW(arg, "database", row->database, "user", row->user, "node", row->node));
}

static void add_record(void *arg, const struct records_view *v)
{
	RECORD_values(v, ROW(arg, "cluster", v->record->cluster));
}

static void add_policy(void *arg, const struct policy_status *s)
{
	POLICY_values(s, ROW(arg, "cluster", s->cluster));
}

static void add_measured(void *arg, const struct hook_metric *m)
{
	MEASURED_values(m, ROW(arg, "cluster", m->cluster, "name", m->name));
}

static void gather_PROGRAM(const struct console *c, struct items *rows)
{
	struct program_metrics m = { .clients = (double)session_registry_clients(c->session_registry),
		                         .max_clients = (double)c->topo->conf->limits.max_clients,
		                         .listens_moved = (double)session_registry_listens_moved(c->session_registry),
		                         .generation = (double)c->topo->generation };
	session_registry_held(c->session_registry, &m.held);
	PROGRAM_values(&m, ROW(rows, NULL));
}

static void gather_DATABASE(const struct console *c, struct items *rows)
{
	struct tallies all;
	tallies_gather(c, TALLY_DATABASES, &all);
	for (size_t i = 0; i < all.n; i++)
		DATABASE_values(&all.at[i], ROW(rows, "database", all.at[i].name));
	tallies_fini(&all);
}

static void gather_POOL(const struct console *c, struct items *rows)
{
	pool_registry_each(c->pool_registry, add_pool, rows);
}

static void gather_NODE(const struct console *c, struct items *rows)
{
	for (size_t i = 0; i < c->topo->n_clusters; i++)
		for (size_t k = 0; k < c->topo->clusters[i].n_nodes; k++) {
			const struct topo_cluster *cluster = &c->topo->clusters[i];
			const struct node_metrics m = { &cluster->nodes[k], cluster->primary == (int)k };
			NODE_values(&m, ROW(rows, "cluster", cluster->name, "node", cluster->nodes[k].name));
		}
}

static void gather_RECORD(const struct console *c, struct items *rows)
{
	records_each(c->records, add_record, rows);
}

static void gather_POLICY(const struct console *c, struct items *rows)
{
	policy_set_each(c->topo->policies, add_policy, rows);
}

static void gather_MEASURED(const struct console *c, struct items *rows)
{
	hooks_each_metric(c->hooks, add_measured, rows);
}

/* ---- the page -------------------------------------------------------------------------------------------------------- */

static void write_metric(FILE *to, const struct metric *m, const struct values *rows, size_t n, size_t at)
{
	fprintf(to, "# HELP lunapool_%s %s\n# TYPE lunapool_%s %s\n", m->name, m->sentence, m->name, m->type);
	for (size_t i = 0; i < n; i++) {
		double value = rows[i].at[at];
		if (isnan(value))
			continue;
		fprintf(to, value == floor(value) ? "lunapool_%s%s %.0f\n" : "lunapool_%s%s %.9g\n", m->name, rows[i].labels, value);
	}
}

static void write_table(FILE *to, const struct metric *metrics, size_t n_metrics, struct items *items)
{
	struct values *rows = items->at;
	for (size_t i = 0; i < n_metrics; i++)
		write_metric(to, &metrics[i], rows, items->n, i);
	for (size_t i = 0; i < items->n; i++)
		free(rows[i].labels);
	mem_free(rows);
}

char *metrics_page(const struct console *c, size_t *len)
{
	char *page = NULL;
	FILE *to = open_memstream(&page, len);
	if (!to)
		die("out of memory: the metrics");
#define WRITE(ID, ...)                                                 \
	{                                                                  \
		struct items rows = { 0 };                                     \
		gather_##ID(c, &rows);                                         \
		write_table(to, ID##_metrics, ARRAY_LEN(ID##_metrics), &rows); \
	}
	METRICS(WRITE)
	fclose(to);
	return page;
}

static void print_rows(int fd, const struct metric *m, size_t n, const char *labels)
{
	for (size_t i = 0; i < n; i++)
		dprintf(fd, "| `lunapool_%s` | %s | %s | %s |\n", m[i].name, m[i].type, labels, m[i].sentence);
}

void metrics_print_manual(int fd)
{
	dprintf(fd,
	        "# Metrics\n\n"
	        "With `http_port` set, `GET /metrics` answers in Prometheus' text format, and `GET /health` with status 200 while "
	        "Lunapool serves, 503 while it lets its clients go. There is no login: whoever reaches the port may look, so "
	        "`http_address` is `127.0.0.1` unless it is told otherwise. Generated by `lunapool --docs metrics`.\n\n"
	        "| metric | type | labels | what |\n|---|---|---|---|\n");
#define PRINT(ID, row_type, labels) print_rows(fd, ID##_metrics, ARRAY_LEN(ID##_metrics), labels);
	METRICS(PRINT)
}
