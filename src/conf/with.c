/*
 * with — a copy of the configuration with one setting changed: SET in the console.
 *
 * What stands outside the settings (rules, secrets, whatever was made from files) is borrowed from the original, which is freed after its copies.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "priv.h"

static void copy_cluster(struct conf_cluster *to, const struct conf_cluster *from)
{
	params_own(&param_blocks[BLOCK_cluster], to);
	to->name = mem_text(from->name);
	to->nodes = mem_copy(from->nodes, from->n_nodes * sizeof *from->nodes);
	for (size_t i = 0; i < to->n_nodes; i++) {
		params_own(&param_blocks[BLOCK_node], &to->nodes[i]);
		to->nodes[i].name = mem_text(from->nodes[i].name);
	}
	to->redirects = mem_copy(from->redirects, from->n_redirects * sizeof *from->redirects);
	for (size_t i = 0; i < to->n_redirects; i++) {
		params_own(&param_blocks[BLOCK_redirect], &to->redirects[i]);
		to->redirects[i].name = mem_text(from->redirects[i].name);
	}
}

static void copy_databases(struct conf *to, const struct conf *from)
{
	to->databases = mem_copy(from->databases, from->n_databases * sizeof *from->databases);
	for (size_t i = 0; i < to->n_databases; i++) {
		params_own(&param_blocks[BLOCK_database], &to->databases[i]);
		to->databases[i].name = mem_text(from->databases[i].name);
	}
}

static void copy_users(struct conf *to, const struct conf *from)
{
	to->users = mem_copy(from->users, from->n_users * sizeof *from->users);
	for (size_t i = 0; i < to->n_users; i++) {
		params_own(&param_blocks[BLOCK_user], &to->users[i]);
		to->users[i].name = mem_text(from->users[i].name);
	}
}

static struct conf *copy(struct conf *from)
{
	struct conf *to = mem_copy(from, sizeof *from);
	params_own(&param_blocks[BLOCK_global], to);
	params_own(&param_blocks[BLOCK_listen], &to->listen);
	params_own(&param_blocks[BLOCK_auth], &to->auth);
	params_own(&param_blocks[BLOCK_pool], &to->pool);
	params_own(&param_blocks[BLOCK_limits], &to->limits);
	to->clusters = mem_copy(from->clusters, from->n_clusters * sizeof *from->clusters);
	for (size_t i = 0; i < to->n_clusters; i++)
		copy_cluster(&to->clusters[i], &from->clusters[i]);
	copy_databases(to, from);
	copy_users(to, from);
	to->lender = from->lender ? from->lender : from; /* the original itself: chains would never end */
	to->lender->borrowers++;
	to->borrowers = 0;
	return to;
}

/* ---- the one setting --------------------------------------------------------------------------------------------------- */

struct search {
	const char *name, *value;
	const struct param *found;
	const struct param_block *block;
	bool is_set;
	struct err *err;
};

/* What is read, opened or made when a configuration is loaded, and what must not be seen on its way. */
static bool may_set(const struct param_block *b, const struct param *p, struct err *err)
{
	const char *why = NULL;
	if (p->needs_restart)
		why = "it needs a restart";
	else if (p->type == PARAM_SECRET)
		why = "it is a secret, and what is sent can be seen; RELOAD reads it from the configuration";
	else if (p->type == PARAM_PATH)
		why = "it names a file, which RELOAD reads";
	else if (b == &param_blocks[BLOCK_listen] && strncmp(p->name, "tls", 3) != 0)
		why = "it belongs to sockets, which RELOAD opens";
	return why ? err_set(err, "55P02", "\"%s\" cannot be changed by SET: %s", p->name, why) : true;
}

/* "a, b": as SHOW CONFIG has it. */
static bool set_list(const struct param *p, void *base, const char *value, struct err *err)
{
	char *text = mem_text(value), *rest = text;
	struct conf_list list = { 0, mem_alloc((strlen(value) / 2 + 1) * sizeof *list.at) };
	for (char *word; (word = strsep(&rest, ","));) {
		word += strspn(word, " \t");
		size_t len = strlen(word);
		while (len && (word[len - 1] == ' ' || word[len - 1] == '\t'))
			word[--len] = '\0';
		if (len)
			list.at[list.n++] = word;
	}
	bool is_set = param_set(p, base, &list, NULL, err);
	mem_free(list.at);
	mem_free(text);
	return is_set;
}

static bool set(const struct param *p, void *base, const char *value, struct err *err)
{
	char *text = (char *)value;
	return p->type == PARAM_LIST ? set_list(p, base, value, err) : param_set(p, base, &(struct conf_list){ 1, &text }, NULL, err);
}

static void set_here(void *arg, const struct param_block *b, const char *block, const void *base)
{
	struct search *s = arg;
	size_t len = strlen(block);
	if (s->found || strncmp(s->name, block, len) != 0 || (len && s->name[len] != '.'))
		return;
	const struct param *p = param_named(b, s->name + len + (len > 0));
	if (!p)
		return;
	s->found = p;
	if (may_set(b, p, s->err))
		s->is_set = set(p, (void *)base, s->value, s->err);
}

/* As a file's settings must together. */
static bool makes_sense(struct conf *c, struct err *err)
{
	struct conf_errors errors = { 0 };
	load_check(&(struct conf_load){ .conf = c, .errors = &errors });
	bool is_good = errors.n == 0;
	if (!is_good)
		conf_errors_to_err(&errors, err);
	conf_errors_fini(&errors);
	return is_good;
}

struct conf *conf_with(struct conf *c, const char *name, const char *value, struct err *err)
{
	struct conf *with = copy(c);
	struct search s = { .name = name, .value = value, .err = err };
	blocks_each(with, set_here, &s);
	if (!s.found)
		err_set(err, "42704", "unrecognized configuration parameter \"%s\"", name);
	else if (s.is_set && makes_sense(with, err))
		return with;
	if (strcmp(err->sqlstate, "F0000") == 0) /* as for a file */
		memcpy(err->sqlstate, "22023", 6);
	conf_free(with);
	return NULL;
}
