/*
 * routes — where a statement would run now, by what the worker sees: EXPLAIN ROUTE of the shipped code (session/explain.c), with its classifier, its
 * router and the policy.
 *
 * The session layer wants a loop, connections' pools and a cache; it is given them for as long as the question takes, and opens nothing.
 */
#include <stdio.h>
#include <string.h>

#include "pool/pool.h"
#include "priv.h"
#include "session/session.h"
#include "sql/classify.h"

struct desk {
	struct loop *loop;
	struct mailbox mailbox;
	struct engine *engine;
	struct settings_table *settings;
	struct sql_cache *cache;
	struct pool_registry *pool_registry;
	struct pools *pools;
	struct session_registry *registry;
	struct sessions *sessions;
};

static void open_desk(struct desk *d, const struct sim *s)
{
	d->loop = loop_new(false);
	mailbox_open(&d->mailbox, d->loop, d);
	d->engine = engine_new(d->loop);
	d->settings = settings_table_new();
	d->cache = sql_cache_new(1u << 20);
	d->pool_registry = pool_registry_new(1);
	d->registry = session_registry_new(1);
	struct upstream_env up = {
		.engine = d->engine, .resolver = s->life.resolver, .mailbox = &d->mailbox, .settings = d->settings
	};
	d->pools = pools_new(d->pool_registry, 0, &up);
	d->sessions = sessions_new(&(struct session_env){
	    .upstream = up, .pools = d->pools, .pool_registry = d->pool_registry, .registry = d->registry, .cache = d->cache });
	pools_on_topology(d->pools, s->life.seen);
	sessions_on_topology(d->sessions, s->life.seen);
}

static void close_desk(struct desk *d)
{
	sessions_free(d->sessions);
	pools_free(d->pools);
	mailbox_close(&d->mailbox);
	session_registry_free(d->registry);
	pool_registry_free(d->pool_registry);
	sql_cache_free(d->cache);
	settings_table_free(d->settings);
	engine_free(d->engine);
	loop_free(d->loop);
}

static void on_told(void *arg, const char *what, const char *answer)
{
	struct sim_route *out = arg;
	size_t len = strlen(out->story);
	if (strcmp(what, "runs on") == 0)
		snprintf(out->node, sizeof out->node, "%s", answer);
	if (strcmp(what, "error") == 0)
		snprintf(out->error, sizeof out->error, "%s", answer);
	snprintf(out->story + len, sizeof out->story - len, "%s%s: %s", len ? "\n" : "", what, answer);
}

bool sim_route(struct sim *s, const char *database, const char *user, const char *sql, unsigned times, struct sim_route *out)
{
	struct desk d;
	if (!s->life.is_on)
		return false;
	open_desk(&d, s);
	for (unsigned i = 0; i < times; i++) {
		out[i] = (struct sim_route){ 0 };
		sessions_explain(d.sessions, database, user, slice_text(sql), on_told, &out[i]);
	}
	close_desk(&d);
	return true;
}
