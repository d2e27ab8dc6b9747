/*
 * loader — one load at a time for each database, a few at once.
 *
 *   idle ──wanted, due──► fingerprint ──differs──► functions ──► sources, page by page ──► bodies ──► edges ──► published
 *    ▲                         └─the same─► confirmed                                                            │
 *    └──────────── done, or an error: tried again after RETRY_US ◄──────────────────────────────────────────────┘
 *
 * The fingerprint is a sum over the versions of the rows concerned: it costs the server some milliseconds, so that a database is only read
 * when something has changed.  It is asked first, so that what changes meanwhile is seen the next time.
 *
 * The connection is kept for KEEP_US, so that a series of DDL meets a warm one.
 *
 * Always: a database in use costs a connection only while it is read and shortly after;  at most LOADS_MAX run;
 *         what is published was read after the count of DDL that is published with it.
 */
#include "ha/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dlist.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/users.h"
#include "questions.h"
#include "sql/learn.h"
#include "upstream/service.h"

#define LOADS_MAX 4u
#define TIMEOUT_US (15 * US_PER_S) /* of one question */
#define RETRY_US (2 * US_PER_S)
#define KEEP_US (3 * US_PER_S)
#define TICK_US (250 * US_PER_MS)
#define FUNCTIONS_MAX 200000u /* beyond, nothing is learnt */
#define EDGES_MAX 500000u
#define PAGE 400u        /* sources in one question */
#define TREES 140000     /* the first server_version_num that has them */
#define UNUSED_MAX 10u   /* refreshes without anybody who looked: then all is forgotten */
#define FAILURES_MAX 10u /* refreshes that may fail before what was known is given up */

struct fingerprint {
	char functions[256], callers[768];
};

struct load {
	struct dlist link; /* in loader->all */
	struct loader *home;
	const char *cluster, *dbname, *user; /* the catalogue's */
	struct service *service;             /* NULL: not connected */
	uint32_t node_id;                    /* that it leads to */
	struct learn *learn;
	struct fingerprint fingerprint, next; /* of what is known, of what is being read */
	uint64_t wanted;                      /* DDL before the load that runs */
	uint64_t began_us, ended_us;
	unsigned failures, unused;
	bool is_running, is_loaded, must_publish, has_warned;
	size_t told_functions, told_opaque; /* the log's last figures */
	bool has_trees;                     /* the server keeps some sources as trees */
	unsigned n_page;
	uint32_t page[PAGE]; /* functions whose source was asked for */
};

struct loader {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct catalog *catalog;
	void (*on_publish)(void *arg);
	void *arg;
	struct dlist all;
	struct loop_timer tick;
	uint64_t cleared_us;
	unsigned n_running;
};

static uint64_t refresh_us(const struct loader *l)
{
	return topo_latest(l->board)->conf->catalog_refresh;
}

/* ---- the end of a load --------------------------------------------------------------------------------- */

static void stop(struct load *d)
{
	d->is_running = false;
	d->home->n_running--;
	d->ended_us = loop_now_us(d->home->loop);
}

static void hang_up(struct load *d)
{
	service_free(d->service);
	d->service = NULL;
}

static void forget(struct load *d)
{
	learn_free(d->learn);
	d->learn = NULL;
	d->fingerprint = (struct fingerprint){ 0 };
	d->is_loaded = false;
}

static void warn(struct load *d, const struct err *err)
{
	log_write(d->has_warned ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, NULL, "catalog_unknown",
	          (struct log_kv[]){ KV_STR("cluster", d->cluster), KV_STR("database", d->dbname), KV_ERR(err),
	                             KV_STR("effect", "functions that are not PostgreSQL's own keep a session on its server"),
	                             KV_STR("hint", "let service_user connect to this database, or name them in safe_functions") },
	          5);
	d->has_warned = true;
}

static void fail(struct load *d, const struct err *err)
{
	struct loader *l = d->home;
	bool keeps = ++d->failures <= FAILURES_MAX && d->is_loaded;
	stop(d);
	hang_up(d);
	warn(d, err);
	if (!keeps)
		forget(d);
	catalog_fail(l->catalog, d->cluster, d->dbname, keeps);
	l->on_publish(l->arg);
}

static void fail_because(struct load *d, const char *text)
{
	struct err err;
	err_set(&err, "54000", "%s", text);
	fail(d, &err);
}

static void succeed(struct load *d)
{
	d->failures = 0;
	d->has_warned = false;
	d->is_loaded = true;
	stop(d);
	d->home->on_publish(d->home->arg);
	loader_look(d->home); /* DDL may have passed meanwhile, and others wait for their turn */
}

/* For people, when the figures are new: DDL may come often. */
static void tell(struct load *d)
{
	size_t functions = learn_functions(d->learn), opaque = learn_opaque(d->learn);
	bool is_news = functions != d->told_functions || opaque != d->told_opaque;
	d->told_functions = functions;
	d->told_opaque = opaque;
	log_write(is_news ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, NULL, "catalog_loaded",
	          (struct log_kv[]){ KV_STR("cluster", d->cluster), KV_STR("database", d->dbname), KV_INT("functions", functions),
	                             KV_INT("opaque", opaque), KV_INT("ms", (loop_now_us(d->home->loop) - d->began_us) / US_PER_MS) },
	          5);
}

static void publish(struct load *d)
{
	struct loader *l = d->home;
	const struct conf_list *safe = &topo_latest(l->board)->conf->pool.safe_functions;
	struct facts *f = learn_end(d->learn, safe->at, safe->n);
	if (!facts_is_known(f)) {
		facts_unref(f);
		fail_because(d, "there are too many functions and relations that depend on each other");
		return;
	}
	d->fingerprint = d->next;
	d->must_publish = false;
	tell(d);
	catalog_publish(l->catalog, d->cluster, d->dbname, f, d->wanted);
	succeed(d);
}

/* ---- the questions, last first ------------------------------------------------------------------------- */

static void ask(struct load *d, const char *sql, service_rows_fn fn)
{
	bool is_asking = service_ask_rows(d->service, sql, TIMEOUT_US, fn, d);
	ASSERT(is_asking);
}

static uint32_t number_at(const struct service_rows *rows, unsigned row, unsigned column)
{
	return (uint32_t)strtoul(service_value(rows, row, column), NULL, 10);
}

static void on_edges(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct load *d = arg;
	bool fits = true;
	if (err) {
		fail(d, err);
		return;
	}
	unsigned n = service_rows_n(rows);
	for (unsigned i = 0; i < n && fits; i++) {
		char how = service_value(rows, i, 0)[0];
		struct learn_edge e = {
			.from_kind = service_value(rows, i, 1)[0],
			.from = number_at(rows, i, 2),
			.from_name = service_value(rows, i, 3),
			.to_kind = service_value(rows, i, 4)[0],
			.to = number_at(rows, i, 5),
			.only_write = how == 'w',
		};
		if (how == 's')
			learn_sequence(d->learn, e.from, e.from_name);
		else
			fits = learn_edge(d->learn, &e);
	}
	if (!fits || n > EDGES_MAX)
		fail_because(d, "there are too many relations");
	else
		publish(d);
}

static void ask_edges(struct load *d)
{
	char sql[sizeof question_edges + 16];
	snprintf(sql, sizeof sql, question_edges, EDGES_MAX + 1);
	ask(d, sql, on_edges);
}

static void ask_sources(struct load *d);

static void on_sources(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct load *d = arg;
	if (err) {
		fail(d, err);
		return;
	}
	for (unsigned i = 0; i < service_rows_n(rows); i++)
		if (!service_is_null(rows, i, 1))
			learn_source(d->learn, number_at(rows, i, 0), slice_of(service_value(rows, i, 1), service_value_len(rows, i, 1)));
	for (unsigned i = 0; i < d->n_page; i++) /* too long, or dropped meanwhile */
		learn_no_source(d->learn, d->page[i]);
	ask_sources(d);
}

static void ask_page(struct load *d, const char *before, const char *behind)
{
	char sql[512 + PAGE * 12];
	size_t len = (size_t)snprintf(sql, sizeof sql, "%s", before);
	for (unsigned i = 0; i < d->n_page; i++)
		len += (size_t)snprintf(sql + len, sizeof sql - len, "%s%u", i ? "," : "", d->page[i]);
	snprintf(sql + len, sizeof sql - len, "%s", behind);
	ask(d, sql, on_sources);
}

/* An empty source that cannot be a tree is an empty source. */
static void take_empty(struct load *d)
{
	while (!d->has_trees && (d->n_page = learn_wanted(d->learn, true, d->page, PAGE)))
		for (unsigned i = 0; i < d->n_page; i++)
			learn_source(d->learn, d->page[i], slice_of("", 0));
}

static void ask_sources(struct load *d)
{
	if ((d->n_page = learn_wanted(d->learn, false, d->page, PAGE)))
		ask_page(d, question_sources, QUESTION_END);
	else if ((d->n_page = learn_wanted(d->learn, true, d->page, PAGE)))
		ask_page(d, question_trees, QUESTION_END);
	else
		ask_edges(d);
}

static void learn_row(struct load *d, const struct service_rows *rows, unsigned row)
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
	};
	learn_function(d->learn, &f);
}

static void on_functions(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct load *d = arg;
	if (err) {
		fail(d, err);
		return;
	}
	if (service_rows_n(rows) > FUNCTIONS_MAX) {
		fail_because(d, "there are too many functions");
		return;
	}
	d->learn = d->learn ? d->learn : learn_new();
	learn_begin(d->learn, true);
	for (unsigned i = 0; i < service_rows_n(rows); i++)
		learn_row(d, rows, i);
	take_empty(d);
	ask_sources(d);
}

static void ask_functions(struct load *d)
{
	char sql[sizeof question_functions + 16];
	snprintf(sql, sizeof sql, question_functions, d->learn ? FIRST_OWN_OID : 0, FUNCTIONS_MAX + 1);
	ask(d, sql, on_functions);
}

static void on_fingerprint(void *arg, const struct service_rows *rows, const struct err *err)
{
	struct load *d = arg;
	struct loader *l = d->home;
	if (err) {
		fail(d, err);
		return;
	}
	snprintf(d->next.functions, sizeof d->next.functions, "%s", service_value(rows, 0, 0));
	snprintf(d->next.callers, sizeof d->next.callers, "%s", service_value(rows, 0, 1));
	d->has_trees = strtoul(service_value(rows, 0, 2), NULL, 10) >= TREES;
	bool same_functions = d->is_loaded && strcmp(d->fingerprint.functions, d->next.functions) == 0;
	if (same_functions && !d->must_publish && strcmp(d->fingerprint.callers, d->next.callers) == 0) {
		catalog_confirm(l->catalog, d->cluster, d->dbname, d->wanted);
		succeed(d);
	} else if (same_functions) {
		learn_begin(d->learn, false);
		ask_edges(d);
	} else {
		ask_functions(d);
	}
}

/* ---- the beginning of a load --------------------------------------------------------------------------- */

static const struct conf_cluster *cluster_named(const struct topo *t, const char *name, const struct topo_node **primary)
{
	for (size_t i = 0; i < t->n_clusters; i++)
		if (strcmp(t->clusters[i].name, name) == 0) {
			*primary = topo_primary(t, i);
			return &t->conf->clusters[i];
		}
	return NULL;
}

/* The service role, or else who came first, if there is a clear password or none is needed. */
static void choose_login(const struct load *d, const struct topo *t, const struct conf_cluster *c, struct service_target *target)
{
	const char *secret = users_secret(t->conf->secrets, d->user);
	bool is_service = c->service_user[0] != 0, is_clear = secret && strncmp(secret, "SCRAM-SHA-256$", 14) != 0;
	target->user = is_service ? c->service_user : d->user;
	target->password = is_service ? c->service_password : is_clear ? secret : "";
}

static void begin(struct load *d, uint64_t wanted)
{
	struct loader *l = d->home;
	const struct topo *t = topo_latest(l->board);
	const struct topo_node *primary = NULL;
	const struct conf_cluster *c = cluster_named(t, d->cluster, &primary);
	if (!primary)
		return; /* none is known now, or the cluster is not configured any more */
	struct service_target target = { .host = primary->host, .port = primary->port, .dbname = d->dbname };
	choose_login(d, t, c, &target);
	if (d->service && d->node_id != primary->id)
		hang_up(d);
	if (!d->service)
		d->service = service_new(l->loop, l->resolver, l->mailbox, &target);
	d->node_id = primary->id;
	d->is_running = true;
	d->wanted = wanted;
	d->began_us = loop_now_us(l->loop);
	l->n_running++;
	ask(d, question_fingerprint, on_fingerprint);
}

/* ---- which ones ------------------------------------------------------------------------------------------ */

static struct load *load_of(struct loader *l, struct catalog_db *db)
{
	struct load *d = db->loader;
	if (d)
		return d;
	d = mem_alloc(sizeof *d);
	d->home = l;
	d->cluster = db->cluster;
	d->dbname = db->dbname;
	d->user = db->user;
	dlist_push_back(&l->all, &d->link);
	db->loader = d;
	return d;
}

static bool is_due(const struct load *d, const struct catalog_db *db, uint64_t now)
{
	if (d->failures && now < d->ended_us + RETRY_US)
		return false;
	if (db->known != db->wanted)
		return db->is_asked_for;
	return d->must_publish || now >= d->ended_us + refresh_us(d->home);
}

struct looking {
	struct loader *loader;
	bool counts_use;
};

/* Runs under the catalogue's lock: nothing here publishes. */
static void look_at(void *arg, struct catalog_db *db)
{
	const struct looking *looking = arg;
	struct loader *l = looking->loader;
	struct load *d = load_of(l, db);
	if (looking->counts_use)
		d->unused = db->is_asked_for ? 0 : d->unused + 1;
	if (!d->is_running && d->unused < UNUSED_MAX && l->n_running < LOADS_MAX && is_due(d, db, loop_now_us(l->loop)))
		begin(d, db->wanted);
}

static void forget_unused(struct loader *l)
{
	DLIST_EACH(it, &l->all)
	{
		struct load *d = CONTAINER_OF(it, struct load, link);
		if (d->service && !d->is_running && loop_now_us(l->loop) >= d->ended_us + KEEP_US)
			hang_up(d);
		if (d->unused < UNUSED_MAX || !d->is_loaded || d->is_running)
			continue;
		forget(d);
		catalog_forget(l->catalog, d->cluster, d->dbname);
	}
}

static void on_tick(struct loop_timer *t)
{
	struct loader *l = CONTAINER_OF(t, struct loader, tick);
	loader_look(l);
	loop_timer_start(l->loop, t, TICK_US);
}

/* ---- public ------------------------------------------------------------------------------------------------ */

struct loader *loader_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board,
                          struct catalog *catalog, void (*on_publish)(void *arg), void *arg)
{
	struct loader *l = mem_alloc(sizeof *l);
	*l = (struct loader){ .loop = loop, .resolver = resolver, .mailbox = mailbox, .board = board, .catalog = catalog };
	l->on_publish = on_publish;
	l->arg = arg;
	dlist_init(&l->all);
	loop_timer_init(&l->tick, on_tick);
	loop_timer_start(loop, &l->tick, TICK_US);
	return l;
}

void loader_free(struct loader *l)
{
	if (!l)
		return;
	loop_timer_stop(l->loop, &l->tick);
	DLIST_EACH(it, &l->all)
	{
		struct load *d = CONTAINER_OF(it, struct load, link);
		service_free(d->service);
		learn_free(d->learn);
		mem_free(d);
	}
	mem_free(l);
}

void loader_on_conf(struct loader *l)
{
	const struct conf_list *safe = &topo_latest(l->board)->conf->pool.safe_functions;
	struct facts *nothing = facts_new(false);
	for (size_t i = 0; i < safe->n; i++)
		facts_forgive(nothing, safe->at[i]);
	catalog_set_nothing(l->catalog, facts_seal(nothing));
	DLIST_EACH(it, &l->all)
	{
		struct load *d = CONTAINER_OF(it, struct load, link);
		if (!d->is_running) /* the login may be another now */
			hang_up(d);
		d->must_publish = true;
		d->failures = 0;
		d->has_warned = false;
	}
}

void loader_look(struct loader *l)
{
	uint64_t now = loop_now_us(l->loop);
	struct looking looking = { l, now >= l->cleared_us + refresh_us(l) };
	if (looking.counts_use)
		l->cleared_us = now;
	catalog_walk(l->catalog, looking.counts_use, look_at, &looking);
	forget_unused(l);
}
