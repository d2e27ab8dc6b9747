/*
 * changes — what a reload changes, in words.
 *
 *   blocks of before ──► map by name
 *   blocks of after:  not in the map -> new;   in it, other values -> different;   what stays in the map -> gone
 *
 * A sentence says what becomes of clients and servers where that is more than the new value.  Secrets are "changed" and no more.
 */
#include "conf/changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "conf/ident.h"
#include "priv.h"

struct comparison {
	const struct conf *conf; /* after */
	change_fn fn;
	void *arg;
	struct map before; /* block's name -> its struct */
	unsigned parts;
};

/* A sentence that is being put together. */
struct sentence {
	FILE *f;
	char *text;
	size_t len;
};

static void sentence_begin(struct sentence *s)
{
	s->f = open_memstream(&s->text, &s->len);
	if (!s->f)
		die("out of memory");
}

static void sentence_end(struct sentence *s)
{
	if (fclose(s->f) != 0)
		die("out of memory");
}

static void tell(struct comparison *c, enum change_part part, bool needs_restart, const char *text)
{
	const struct change change = { .part = part, .text = text, .needs_restart = needs_restart };
	if (!needs_restart)
		c->parts |= 1u << part;
	if (c->fn)
		c->fn(c->arg, &change);
}

/* "database.app" is read as "database app", "cluster.main.node.pg1" as "node pg1 of cluster main"; NAME is blocks_each()'s. */
static void name_block(FILE *f, const struct param_block *b, const char *name)
{
	static const char cluster[] = "cluster.";
	char mark[32] = "";
	if (b == &param_blocks[BLOCK_node] || b == &param_blocks[BLOCK_redirect])
		snprintf(mark, sizeof mark, ".%s.", b->name);
	const char *at = *mark ? strstr(name, mark) : NULL;
	for (const char *next; at && (next = strstr(at + 1, mark));) /* a cluster's title may hold anything */
		at = next;
	if (at)
		fprintf(f, "%s %s of cluster %.*s", b->name, at + strlen(mark), (int)(at - name - (long)strlen(cluster)),
		        name + strlen(cluster));
	else if (b->is_titled)
		fprintf(f, "%s %s", b->name, name + strlen(b->name) + 1);
	else
		fputs(*name ? b->name : "settings", f);
}

static void put_value(FILE *f, const struct param *p, const void *base)
{
	char *value = p->type == PARAM_SECRET ? mem_text("********") : param_show(p, base);
	fputs(*value ? value : "\"\"", f);
	secret_free_text(value);
}

static bool is_default(const struct param *p, const void *base)
{
	char *value = param_show(p, base);
	bool is = strcmp(value, p->dflt) == 0;
	secret_free_text(value);
	return is;
}

/* -- what follows from it -------------------------------------------------------------------------- */

static bool has_any_database(const struct conf *c)
{
	return conf_database(c, "*") != NULL;
}

static const char *fate_of_gone(const struct comparison *c, const struct param_block *b)
{
	if (b == &param_blocks[BLOCK_node])
		return "its servers are closed as they come back";
	if (b == &param_blocks[BLOCK_database])
		return has_any_database(c->conf) ? "\"*\" holds for its clients" : "its clients are refused";
	if (b == &param_blocks[BLOCK_user])
		return "what holds for all holds for it";
	return NULL;
}

static bool param_is_one_of(const struct param *p, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(p->name, names[i]) == 0)
			return true;
	return false;
}

/* Servers that were opened under other values of these do not go on. */
static bool replaces_servers(const struct param_block *b, const struct param *p)
{
	static const char *const of_node[] = { "host", "port" }, *const of_database[] = { "cluster", "dbname", "user" };
	if (b == &param_blocks[BLOCK_node])
		return param_is_one_of(p, of_node, ARRAY_LEN(of_node));
	if (b == &param_blocks[BLOCK_cluster])
		return strncmp(p->name, "tls", 3) == 0;
	return b == &param_blocks[BLOCK_database] && param_is_one_of(p, of_database, ARRAY_LEN(of_database));
}

/* -- blocks ---------------------------------------------------------------------------------------- */

static void note_block(void *arg, const struct param_block *b, const char *name, const void *base)
{
	struct comparison *c = arg;
	map_put(&c->before, slice_text(name), (void *)base);
}

static void tell_new(struct comparison *c, const struct param_block *b, const char *name, const void *is)
{
	struct sentence s;
	const char *mark = ": ";
	sentence_begin(&s);
	name_block(s.f, b, name);
	fputs(" is new", s.f);
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		if (is_default(p, is))
			continue;
		fprintf(s.f, "%s%s = ", mark, p->name);
		put_value(s.f, p, is);
		mark = ", ";
	}
	sentence_end(&s);
	tell(c, (enum change_part)(b - param_blocks), false, s.text);
	free(s.text);
}

static void put_difference(FILE *f, const struct param *p, const void *was, const void *is)
{
	fprintf(f, "%s ", p->name);
	if (p->type == PARAM_SECRET) {
		fputs("changed", f);
		return;
	}
	put_value(f, p, was);
	fputs(" -> ", f);
	put_value(f, p, is);
}

static void tell_different(struct comparison *c, const struct param_block *b, const char *name, const void *was, const void *is)
{
	struct sentence s;
	bool any = false, replaces = false;
	sentence_begin(&s);
	name_block(s.f, b, name);
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		if (p->needs_restart || param_equal(p, was, is))
			continue;
		fputs(any ? ", " : ": ", s.f);
		put_difference(s.f, p, was, is);
		any = true;
		replaces |= replaces_servers(b, p);
	}
	if (replaces)
		fputs("; its servers are replaced as they come back", s.f);
	sentence_end(&s);
	if (any)
		tell(c, (enum change_part)(b - param_blocks), false, s.text);
	free(s.text);
}

static void tell_restart(struct comparison *c, const struct param_block *b, const void *was, const void *is)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct param *p = &b->params[i];
		struct sentence s;
		if (!p->needs_restart || param_equal(p, was, is))
			continue;
		sentence_begin(&s);
		fprintf(s.f, "%s stays ", p->name);
		put_value(s.f, p, was);
		fputs(" until a restart; the file says ", s.f);
		put_value(s.f, p, is);
		sentence_end(&s);
		tell(c, (enum change_part)(b - param_blocks), true, s.text);
		free(s.text);
	}
}

/* Takes the blocks that it has seen off the map, so that what stays there is gone. */
static void compare_block(void *arg, const struct param_block *b, const char *name, const void *is)
{
	struct comparison *c = arg;
	const void *was = map_remove(&c->before, slice_text(name));
	if (!was) {
		tell_new(c, b, name, is);
		return;
	}
	tell_different(c, b, name, was, is);
	tell_restart(c, b, was, is);
}

static void tell_gone(void *arg, const struct param_block *b, const char *name, const void *was)
{
	struct comparison *c = arg;
	const char *fate = fate_of_gone(c, b);
	struct sentence s;
	if (!map_remove(&c->before, slice_text(name)))
		return;
	sentence_begin(&s);
	name_block(s.f, b, name);
	fprintf(s.f, " is gone%s%s", fate ? ": " : "", fate ? fate : "");
	sentence_end(&s);
	tell(c, (enum change_part)(b - param_blocks), false, s.text);
	free(s.text);
}

static bool has_redirect(const struct conf_cluster *c, const char *name)
{
	for (size_t i = 0; i < c->n_redirects; i++)
		if (strcmp(c->redirects[i].name, name) == 0)
			return true;
	return false;
}

/* The same ones, but of two that are both about a read another may be the first. */
static bool has_other_order(const struct conf_cluster *was, const struct conf_cluster *is)
{
	bool are_same = was->n_redirects == is->n_redirects, differs = false;
	for (size_t i = 0; are_same && i < is->n_redirects; i++) {
		are_same = has_redirect(was, is->redirects[i].name);
		differs |= strcmp(was->redirects[i].name, is->redirects[i].name) != 0;
	}
	return are_same && differs;
}

static void compare_order(struct comparison *c, const struct conf *before, const struct conf_cluster *is)
{
	struct sentence s;
	for (size_t i = 0; i < before->n_clusters; i++) {
		const struct conf_cluster *was = &before->clusters[i];
		if (strcmp(was->name, is->name) != 0 || !has_other_order(was, is))
			continue;
		sentence_begin(&s);
		fprintf(s.f, "redirects of cluster %s are in another order", is->name);
		sentence_end(&s);
		tell(c, CHANGE_redirect, false, s.text);
		free(s.text);
	}
}

unsigned conf_changes(const struct conf *before, const struct conf *after, change_fn fn, void *arg)
{
	struct comparison c = { .conf = after, .fn = fn, .arg = arg };
	blocks_each(before, note_block, &c);
	blocks_each(after, compare_block, &c);
	blocks_each(before, tell_gone, &c);
	for (size_t i = 0; i < after->n_clusters; i++)
		compare_order(&c, before, &after->clusters[i]);
	map_fini(&c.before);
	if (!hba_equal(before->hba, after->hba))
		tell(&c, CHANGE_hba_file, false, "hba_file has other rules: they hold for logins from now on");
	if (!ident_equal(before->maps, after->maps))
		tell(&c, CHANGE_ident_file, false, "ident_file has other maps: they hold for logins from now on");
	if (!users_equal(before->secrets, after->secrets))
		tell(&c, CHANGE_users_file, false, "users_file has other users or secrets: they hold for logins from now on");
	return c.parts;
}
