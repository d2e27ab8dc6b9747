/*
 * tell — the configuration told setting by setting: SHOW CONFIG, and what a reload changed.
 *
 * Secrets leave this file only as "********" and "changed".
 */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
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

typedef void (*diff_fn)(void *arg, const char *name, const char *was, const char *is, bool needs_restart);
struct diff {
	diff_fn fn;
	void *arg;
	struct map before; /* block's name -> its struct */
};

static void note_block(void *arg, const struct param_block *b, const char *block, const void *base)
{
	struct diff *d = arg;
	map_put(&d->before, slice_text(block), (void *)base);
}

/* WAS or IS may be NULL: then there is no such block on that side. */
static void diff_param(const struct diff *d, const struct param *p, const char *block, const void *was, const void *is)
{
	if (was && is && param_equal(p, was, is))
		return;
	char *name = full_name(block, p);
	char *from = was ? show_value(p, was) : NULL, *to = is ? show_value(p, is) : NULL;
	bool is_hidden = p->type == PARAM_SECRET && was && is;
	d->fn(d->arg, name, from, is_hidden ? "changed" : to, p->needs_restart);
	mem_free(name);
	mem_free(from);
	mem_free(to);
}

/* What is new or different; takes the blocks it has seen off the map, so that what stays there is gone. */
static void diff_block(void *arg, const struct param_block *b, const char *block, const void *is)
{
	struct diff *d = arg;
	const void *was = map_remove(&d->before, slice_text(block));
	for (size_t i = 0; i < b->n; i++)
		diff_param(d, &b->params[i], block, was, is);
}

static void diff_gone(void *arg, const struct param_block *b, const char *block, const void *was)
{
	struct diff *d = arg;
	if (!map_remove(&d->before, slice_text(block)))
		return;
	for (size_t i = 0; i < b->n; i++)
		diff_param(d, &b->params[i], block, was, NULL);
}

void conf_diff(const struct conf *before, const struct conf *after, diff_fn fn, void *arg)
{
	struct diff d = { .fn = fn, .arg = arg };
	blocks_each(before, note_block, &d);
	blocks_each(after, diff_block, &d);
	blocks_each(before, diff_gone, &d);
	map_fini(&d.before);
	if (!hba_equal(before->hba, after->hba))
		fn(arg, "auth.hba_file content", "", "changed", false);
	if (!users_equal(before->secrets, after->secrets))
		fn(arg, "auth.users_file content", "", "changed", false);
}
