/*
 * loader — which database is read when, and what becomes of it.
 *
 *   idle ──first look, DDL, age──► reading ──► published, or confirmed when nothing has changed ──► idle
 *                                     └─error─► what was known stays for a while; tried again after RETRY_US
 *
 * The connection is kept for KEEP_US, so that a series of DDL meets a warm one.
 *
 * Always: a database in use costs a connection only while it is read and shortly after;  at most LOADS_MAX are read at once;
 *         what is published was read after the count of DDL that is published with it.
 */
#include "ha/loader.h"

#include <string.h>

#include "base/clock.h"
#include "base/dlist.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/users.h"
#include "ha/reading.h"

#define LOADS_MAX 4u
#define RETRY_US (2 * US_PER_S)
#define KEEP_US (3 * US_PER_S)
#define TICK_US (250 * US_PER_MS)
#define UNUSED_MAX 10u   /* refreshes without anybody who looked: then all is forgotten */
#define FAILURES_MAX 10u /* refreshes that may fail before what was known is given up */

struct load {
	struct dlist link; /* in loader->all */
	struct loader *home;
	const char *cluster, *dbname, *user; /* the catalogue's */
	struct reading *reading;
	uint64_t wanted; /* DDL before the reading that runs */
	uint64_t began_us, ended_us;
	unsigned failures, unused;
	bool is_running, is_loaded, must_publish, has_warned;
	size_t told_functions, told_opaque; /* the log's last figures */
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

static void forget(struct load *d)
{
	reading_forget(d->reading);
	d->is_loaded = false;
}

static void warn(struct load *d, const struct err *err, bool keeps)
{
	log_write(d->has_warned ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, NULL, "catalog_unknown",
	          (struct log_kv[]){ KV_STR("cluster", d->cluster), KV_STR("database", d->dbname), KV_ERR(err),
	                             KV_STR("effect", keeps ? "what was known of its functions still counts"
	                                                    : "functions that are not PostgreSQL's own keep a session on its server"),
	                             KV_STR("hint", "let service_user connect to this database, or name them in safe_functions") },
	          5);
	d->has_warned = true;
}

static void fail(struct load *d, const struct err *err)
{
	struct loader *l = d->home;
	bool keeps = ++d->failures <= FAILURES_MAX && d->is_loaded;
	stop(d);
	warn(d, err, keeps);
	if (!keeps)
		forget(d);
	catalog_fail(l->catalog, d->cluster, d->dbname, keeps);
	l->on_publish(l->arg);
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
	size_t functions = learn_functions(reading_learn(d->reading)), opaque = learn_opaque(reading_learn(d->reading));
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
	struct facts *f = learn_end(reading_learn(d->reading), safe->at, safe->n);
	struct err err;
	if (!facts_is_known(f)) {
		facts_unref(f);
		err_set(&err, "54000", "there are too many functions and relations that depend on each other");
		fail(d, &err);
		return;
	}
	d->must_publish = false;
	tell(d);
	catalog_publish(l->catalog, d->cluster, d->dbname, f, d->wanted);
	succeed(d);
}

static void on_end(void *arg, enum reading_end how, const struct err *err)
{
	struct load *d = arg;
	switch (how) {
	case READING_SAME:
		catalog_confirm(d->home->catalog, d->cluster, d->dbname, d->wanted);
		succeed(d);
		break;
	case READING_NEW:
		publish(d);
		break;
	case READING_FAILED:
		fail(d, err);
		break;
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
	for (size_t i = 0; i < t->conf->n_databases; i++) /* one whose clients all come in as this user may say his password */
		if (strcmp(t->conf->databases[i].user, d->user) == 0 && *t->conf->databases[i].password)
			secret = t->conf->databases[i].password;
	bool is_service = c->service_user[0] != 0, is_clear = secret_kind(secret) == SECRET_CLEAR;
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
	struct service_target target = { .host = primary->host, .port = primary->port, .dbname = d->dbname, .cluster = c };
	choose_login(d, t, c, &target);
	d->is_running = true;
	d->wanted = wanted;
	d->began_us = loop_now_us(l->loop);
	l->n_running++;
	reading_begin(d->reading, &target, primary->id, d->must_publish || !d->is_loaded);
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
	d->reading = reading_new(l->loop, l->resolver, l->mailbox, on_end, d);
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
	d->unused = db->is_asked_for ? 0 : d->unused + looking->counts_use;
	if (!d->is_running && d->unused < UNUSED_MAX && l->n_running < LOADS_MAX && is_due(d, db, loop_now_us(l->loop)))
		begin(d, db->wanted);
}

static void forget_unused(struct loader *l)
{
	DLIST_EACH(it, &l->all)
	{
		struct load *d = CONTAINER_OF(it, struct load, link);
		if (!d->is_running && loop_now_us(l->loop) >= d->ended_us + KEEP_US)
			reading_hang_up(d->reading);
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
		reading_free(d->reading);
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
			reading_hang_up(d->reading);
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
