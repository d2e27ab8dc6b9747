/*
 * tell — the configuration told setting by setting: SHOW CONFIG.  Secrets leave this file only as "********".
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

#define HIDDEN "********"

static void named(blocks_fn fn, void *arg, enum block_id id, const char *prefix, const char *title, const void *base)
{
	const char *block = param_blocks[id].name;
	char *name = mem_alloc(strlen(prefix) + strlen(block) + strlen(title) + 2);
	sprintf(name, "%s%s%s%s", prefix, block, *title ? "." : "", title);
	fn(arg, &param_blocks[id], name, base);
	mem_free(name);
}

static void each_cluster(const struct conf_cluster *c, blocks_fn fn, void *arg)
{
	named(fn, arg, BLOCK_cluster, "", c->name, c);
	char *prefix = mem_alloc(strlen("cluster.") + strlen(c->name) + 2);
	sprintf(prefix, "cluster.%s.", c->name);
	for (size_t i = 0; i < c->n_nodes; i++)
		named(fn, arg, BLOCK_node, prefix, c->nodes[i].name, &c->nodes[i]);
	for (size_t i = 0; i < c->n_redirects; i++)
		named(fn, arg, BLOCK_redirect, prefix, c->redirects[i].name, &c->redirects[i]);
	mem_free(prefix);
}

void blocks_each(const struct conf *c, blocks_fn fn, void *arg)
{
	fn(arg, &param_blocks[BLOCK_global], "", c);
	named(fn, arg, BLOCK_listen, "", "", &c->listen);
	named(fn, arg, BLOCK_auth, "", "", &c->auth);
	for (size_t i = 0; i < c->n_clusters; i++)
		each_cluster(&c->clusters[i], fn, arg);
	named(fn, arg, BLOCK_pool, "", "", &c->pool);
	for (size_t i = 0; i < c->n_databases; i++)
		named(fn, arg, BLOCK_database, "", c->databases[i].name, &c->databases[i]);
	for (size_t i = 0; i < c->n_users; i++)
		named(fn, arg, BLOCK_user, "", c->users[i].name, &c->users[i]);
	named(fn, arg, BLOCK_limits, "", "", &c->limits);
}

static char *full_name(const char *block, const struct param *p)
{
	char *name = mem_alloc(strlen(block) + strlen(p->name) + 2);
	sprintf(name, "%s%s%s", block, *block ? "." : "", p->name);
	return name;
}

/* Not shown is also whether a secret's text is long; shown is whether there is one. */
static char *show_value(const struct param *p, const void *base)
{
	char *value = param_show(p, base);
	if (p->type != PARAM_SECRET || !*value)
		return value;
	secret_free_text(value);
	return mem_text(HIDDEN);
}

struct each {
	void (*fn)(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart);
	void *arg;
};

static void each_block(void *arg, const struct param_block *b, const char *block, const void *base)
{
	const struct each *e = arg;
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		char *name = full_name(block, p), *value = show_value(p, base);
		e->fn(e->arg, name, value, p->dflt, p->needs_restart);
		mem_free(name);
		mem_free(value);
	}
}

void conf_each(const struct conf *c,
               void (*fn)(void *arg, const char *name, const char *value, const char *dflt, bool needs_restart), void *arg)
{
	struct each e = { fn, arg };
	blocks_each(c, each_block, &e);
}
