/*
 * bind — trees into a struct conf: which names there are where, once each, and with which values.
 *
 * All trees together are one configuration, so a key, a plain block or a title stands once in all of them.  What is wrong is
 * reported and left at its default; binding goes on, so that one run finds everything.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "priv.h"

/*
 * Names: unknown ones, misplaced ones, repeated ones.
 */

/* What one block has had so far; keys "name" or "name\ntitle". */
struct seen_item {
	const struct conf_tree *tree;
	unsigned line;
};

static void seen_fini(struct map *seen)
{
	uint32_t at = 0;
	struct slice key;
	void *value;
	while (map_next(seen, &at, &key, &value))
		mem_free(value);
	map_fini(seen);
}

/* True once for each name and title; from then on reports. */
static bool is_first(struct conf_load *l, struct map *seen, const struct conf_tree *t, const struct conf_item *it)
{
	const char *title = it->title ? it->title : "";
	char *key = mem_alloc(strlen(it->key) + strlen(title) + 2);
	sprintf(key, "%s%s%s", it->key, *title ? "\n" : "", title);
	const struct seen_item *before = map_get(seen, slice_text(key));
	if (before)
		load_report(l, t, it->line, "%.60s%s%.60s%s is already set at %.200s:%u; leave one of them out", it->key,
		            *title ? " \"" : "", title, *title ? "\"" : "", before->tree->file, before->line);
	else
		map_put(seen, slice_text(key), mem_copy(&(struct seen_item){ t, it->line }, sizeof(struct seen_item)));
	mem_free(key);
	return !before;
}

static const struct param_block *block_with(const char *key)
{
	for (size_t i = 0; i < BLOCK_COUNT; i++)
		if (param_named(&param_blocks[i], key))
			return &param_blocks[i];
	return NULL;
}

/* It stands inside a cluster block. */
static bool is_inner(const struct param_block *b)
{
	return b == &param_blocks[BLOCK_node] || b == &param_blocks[BLOCK_redirect];
}

/* All names that may stand in B, for suggestions. */
static const char *near_in(const struct param_block *b, const char *key)
{
	const char *names[64];
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++)
		names[n++] = b->params[i].name;
	for (size_t i = BLOCK_global + 1; b == &param_blocks[BLOCK_global] && i < BLOCK_COUNT; i++)
		if (!is_inner(&param_blocks[i]))
			names[n++] = param_blocks[i].name;
	if (b == &param_blocks[BLOCK_cluster]) {
		names[n++] = param_blocks[BLOCK_node].name;
		names[n++] = param_blocks[BLOCK_redirect].name;
	}
	ASSERT(n <= ARRAY_LEN(names));
	return near_word(key, names, n);
}

static void report_unknown(struct conf_load *l, const struct conf_tree *t, const struct param_block *b,
                           const struct conf_item *it)
{
	bool is_global = b == &param_blocks[BLOCK_global];
	const char *place = is_global ? "at top level" : "in the block ";
	const char *name = is_global ? "" : b->name;
	const char *near = near_in(b, it->key);
	const struct param_block *other = block_with(it->key);
	if (it->kind == ITEM_BLOCK && is_inner(param_block_named(it->key)))
		load_report(l, t, it->line, "a %s block stands inside a cluster block, not %s%s", it->key, place, name);
	else if (it->kind == ITEM_BLOCK && param_block_named(it->key))
		load_report(l, t, it->line, "%s is a block of its own and cannot stand in the block %s: is a } missing above?", it->key,
		            name);
	else if (other == &param_blocks[BLOCK_global])
		load_report(l, t, it->line, "%s stands outside any block, not in the block %s", it->key, name);
	else if (other)
		load_report(l, t, it->line, "there is no %s %s%s; it belongs in the block %s", it->key, place, name, other->name);
	else if (near)
		load_report(l, t, it->line, "there is no %.60s %s%s; did you mean %s?", it->key, place, name, near);
	else
		load_report(l, t, it->line, "there is no %.60s %s%s; docs/parameters.md lists what there is", it->key, place, name);
}

/* A block that may stand in B. */
static bool is_block_of(const struct param_block *b, const struct param_block *child)
{
	return is_inner(child) ? b == &param_blocks[BLOCK_cluster] : b == &param_blocks[BLOCK_global];
}

static bool is_titled_well(struct conf_load *l, const struct conf_tree *t, const struct param_block *b,
                           const struct conf_item *it)
{
	if (b->is_titled && (!it->title || !*it->title))
		load_report(l, t, it->line, "a %s block needs a name: %s \"name\" { … }", b->name, b->name);
	else if (!b->is_titled && it->title)
		load_report(l, t, it->line, "a %s block has no name: write %s { … }", b->name, b->name);
	else
		return true;
	return false;
}

/*
 * Values.
 */

static void bind_value(struct conf_load *l, const struct conf_tree *t, const struct param *p, const struct conf_item *it,
                       void *base)
{
	struct err err;
	if (it->kind == ITEM_LIST && p->type != PARAM_LIST) {
		load_report(l, t, it->line, "%s takes one value, not a list", p->name);
		return;
	}
	if (!param_set(p, base, &it->texts, t->file, &err))
		load_report(l, t, it->line, "%s", err.text);
}

/* One item that is no block of B's own.  SEEN is B's. */
static void bind_setting(struct conf_load *l, const struct conf_tree *t, const struct param_block *b, const struct conf_item *it,
                         void *base, struct map *seen)
{
	const struct param *p = param_named(b, it->key);
	const struct param_block *child = param_block_named(it->key);
	if (it->kind == ITEM_BROKEN)
		is_first(l, seen, t, it);
	else if (!p && child && is_block_of(b, child))
		load_report(l, t, it->line, "%s is a block: write %s%s { … }", it->key, it->key, child->is_titled ? " \"name\"" : "");
	else if (!p)
		report_unknown(l, t, b, it);
	else if (it->kind == ITEM_BLOCK)
		load_report(l, t, it->line, "%s is a setting: write %s = value", it->key, it->key);
	else if (is_first(l, seen, t, it))
		bind_value(l, t, p, it, base);
}

static void bind_settings(struct conf_load *l, const struct conf_tree *t, const struct param_block *b,
                          const struct conf_item *block, void *base)
{
	struct map seen = { 0 };
	for (size_t i = 0; i < block->n_items; i++)
		bind_setting(l, t, b, &block->items[i], base, &seen);
	seen_fini(&seen);
}

/*
 * Blocks.
 */

static void *array_add(void **array, size_t *n, size_t size)
{
	*array = mem_grow(*array, (*n + 1) * size);
	void *at = (char *)*array + *n * size;
	memset(at, 0, size);
	(*n)++;
	return at;
}

static void bind_node(struct conf_load *l, const struct conf_tree *t, const struct conf_item *it, struct conf_cluster *c)
{
	struct conf_node *n = array_add((void **)&c->nodes, &c->n_nodes, sizeof *n);
	n->name = mem_text(it->title);
	params_init(&param_blocks[BLOCK_node], n);
	bind_settings(l, t, &param_blocks[BLOCK_node], it, n);
}

static void bind_redirect(struct conf_load *l, const struct conf_tree *t, const struct conf_item *it, struct conf_cluster *c)
{
	struct conf_redirect *r = array_add((void **)&c->redirects, &c->n_redirects, sizeof *r);
	r->name = mem_text(it->title);
	params_init(&param_blocks[BLOCK_redirect], r);
	bind_settings(l, t, &param_blocks[BLOCK_redirect], it, r);
}

static void bind_cluster(struct conf_load *l, const struct conf_tree *t, const struct conf_item *it)
{
	const struct param_block *b = &param_blocks[BLOCK_cluster];
	struct conf_cluster *c = array_add((void **)&l->conf->clusters, &l->conf->n_clusters, sizeof *c);
	c->name = mem_text(it->title);
	params_init(b, c);
	struct map seen = { 0 };
	for (size_t i = 0; i < it->n_items; i++) {
		const struct conf_item *inner = &it->items[i];
		const struct param_block *block = inner->kind == ITEM_BLOCK ? param_block_named(inner->key) : NULL;
		if (!is_inner(block))
			bind_setting(l, t, b, inner, c, &seen);
		else if (is_titled_well(l, t, block, inner) && is_first(l, &seen, t, inner))
			(block == &param_blocks[BLOCK_node] ? bind_node : bind_redirect)(l, t, inner, c);
	}
	seen_fini(&seen);
}

static void bind_database(struct conf_load *l, const struct conf_tree *t, const struct conf_item *it)
{
	struct conf_database *d = array_add((void **)&l->conf->databases, &l->conf->n_databases, sizeof *d);
	d->name = mem_text(it->title);
	params_init(&param_blocks[BLOCK_database], d);
	bind_settings(l, t, &param_blocks[BLOCK_database], it, d);
}

static void bind_user(struct conf_load *l, const struct conf_tree *t, const struct conf_item *it)
{
	struct conf_user *u = array_add((void **)&l->conf->users, &l->conf->n_users, sizeof *u);
	u->name = mem_text(it->title);
	params_init(&param_blocks[BLOCK_user], u);
	bind_settings(l, t, &param_blocks[BLOCK_user], it, u);
}

static void bind_block(struct conf_load *l, const struct conf_tree *t, const struct param_block *b, const struct conf_item *it)
{
	struct conf *c = l->conf;
	switch ((enum block_id)(b - param_blocks)) {
	case BLOCK_listen:
		bind_settings(l, t, b, it, &c->listen);
		return;
	case BLOCK_auth:
		bind_settings(l, t, b, it, &c->auth);
		return;
	case BLOCK_cluster:
		bind_cluster(l, t, it);
		return;
	case BLOCK_pool:
		bind_settings(l, t, b, it, &c->pool);
		return;
	case BLOCK_database:
		bind_database(l, t, it);
		return;
	case BLOCK_user:
		bind_user(l, t, it);
		return;
	case BLOCK_limits:
		bind_settings(l, t, b, it, &c->limits);
		return;
	case BLOCK_global:
	case BLOCK_node:
	case BLOCK_redirect:
	case BLOCK_COUNT:
		break;
	}
	die("the block %s has no place in a configuration", b->name);
}

static void bind_tree(struct conf_load *l, const struct conf_tree *t, struct map *seen)
{
	const struct param_block *global = &param_blocks[BLOCK_global];
	for (size_t i = 0; i < t->root.n_items; i++) {
		const struct conf_item *it = &t->root.items[i];
		const struct param_block *b = param_block_named(it->key);
		if (it->kind != ITEM_BLOCK || !b || !is_block_of(global, b))
			bind_setting(l, t, global, it, l->conf, seen);
		else if (is_titled_well(l, t, b, it) && is_first(l, seen, t, it))
			bind_block(l, t, b, it);
	}
}

void load_bind(struct conf_load *l)
{
	params_init(&param_blocks[BLOCK_global], l->conf);
	params_init(&param_blocks[BLOCK_listen], &l->conf->listen);
	params_init(&param_blocks[BLOCK_auth], &l->conf->auth);
	params_init(&param_blocks[BLOCK_pool], &l->conf->pool);
	params_init(&param_blocks[BLOCK_limits], &l->conf->limits);
	struct map seen = { 0 };
	for (size_t i = 0; i < l->n_trees; i++)
		bind_tree(l, &l->trees[i], &seen);
	seen_fini(&seen);
}
