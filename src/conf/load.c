/*
 * load — files into a struct conf, or into a list of everything that is wrong with them.
 *
 *     files ──tree_parse──► trees ──load_bind──► conf ──load_check, hba_load, ident_load, users_load──► conf, or errors
 *
 * A folder's *.conf are taken in name order.  The files that auth names as hba_file, ident_file and users_file may end in .conf and stand among
 * them, so trees are made of all first and those are put aside.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/secret.h"
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/users.h"
#include "priv.h"

void load_report(struct conf_load *l, const struct conf_tree *t, unsigned line, const char *fmt, ...)
{
	char text[800];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char *where = item_where(t, line);
	conf_errors_add(l->errors, where, "%s", text);
	mem_free(where);
}

static const struct conf_item *find_in(const struct conf_item *block, const char *key, const char *title)
{
	for (size_t i = 0; i < block->n_items; i++) {
		const struct conf_item *it = &block->items[i];
		if (strcmp(it->key, key) == 0 && (!title || (it->title && strcmp(it->title, title) == 0)))
			return it;
	}
	return NULL;
}

const struct conf_item *load_find(const struct conf_load *l, const struct conf_item *within, const char *key, const char *title,
                                  const struct conf_tree **tree)
{
	if (within)
		return find_in(within, key, title);
	for (size_t i = 0; i < l->n_trees; i++) {
		const struct conf_item *it = find_in(&l->trees[i].root, key, title);
		if (it && tree)
			*tree = &l->trees[i];
		if (it)
			return it;
	}
	return NULL;
}

static void add_file(struct conf_load *l, const char *path)
{
	char *text;
	size_t len;
	struct err err;
	if (!file_read(path, &text, &len, &err)) {
		conf_errors_add(l->errors, "", "%s", err.text);
		return;
	}
	l->trees = mem_grow(l->trees, (l->n_trees + 1) * sizeof *l->trees);
	tree_parse(&l->trees[l->n_trees++], path, text, len);
	secret_wipe(text, len);
	mem_free(text);
}

static int is_conf_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* alphasort() would follow the locale */
}

static void add_folder(struct conf_load *l, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, is_conf_file, by_bytes);
	if (n < 0) {
		conf_errors_add(l->errors, "", "cannot read the folder %s: %s", path, strerror(errno));
		return;
	}
	if (n == 0)
		conf_errors_add(l->errors, "", "the folder %s holds no *.conf; lunapool --docs sample BLOCK prints one to begin with",
		                path);
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	for (int i = 0; i < n; i++) {
		char *file = mem_alloc(len + strlen(names[i]->d_name) + 2);
		sprintf(file, "%.*s/%s", (int)len, path, names[i]->d_name);
		add_file(l, file);
		mem_free(file);
		free(names[i]);
	}
	free(names);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Takes the tree of the file that auth's KEY names out of the configuration. */
static void put_aside(struct conf_load *l, const char *key)
{
	const struct conf_tree *of = NULL;
	const struct conf_item *auth = load_find(l, NULL, "auth", NULL, &of);
	const struct conf_item *it = auth ? load_find(l, auth, key, NULL, NULL) : NULL;
	if (!it || it->kind != ITEM_VALUE)
		return;
	char *path = path_beside(of->file, it->texts.at[0]);
	for (size_t i = 0; i < l->n_trees; i++) {
		if (&l->trees[i] == of || !is_same_file(l->trees[i].file, path))
			continue;
		tree_fini(&l->trees[i]);
		memmove(&l->trees[i], &l->trees[i + 1], (l->n_trees - i - 1) * sizeof *l->trees);
		l->n_trees--;
		break;
	}
	mem_free(path);
}

static void take_syntax_errors(struct conf_load *l)
{
	for (size_t i = 0; i < l->n_trees; i++)
		for (size_t j = 0; j < l->trees[i].errors.n; j++)
			conf_errors_add(l->errors, l->trees[i].errors.at[j].where, "%s", l->trees[i].errors.at[j].text);
}

static void load_trees(struct conf_load *l, const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		add_folder(l, path);
	else
		add_file(l, path);
	put_aside(l, "hba_file");
	put_aside(l, "users_file");
	put_aside(l, "ident_file");
	take_syntax_errors(l);
}

/* The errors from BEFORE on that have no place are about the file that auth's KEY names: KEY is their place. */
static void place_errors(struct conf_load *l, size_t before, const char *key)
{
	const struct conf_tree *of = NULL;
	const struct conf_item *auth = load_find(l, NULL, "auth", NULL, &of);
	const struct conf_item *it = auth ? load_find(l, auth, key, NULL, NULL) : NULL;
	for (size_t i = before; it && i < l->errors->n; i++) {
		if (*l->errors->at[i].where)
			continue;
		mem_free(l->errors->at[i].where);
		l->errors->at[i].where = item_where(of, it->line);
	}
}

static void rule_error(struct conf_load *l, const struct hba_rule *r, const char *text)
{
	char *where = mem_alloc(strlen(r->file) + 12);
	sprintf(where, "%s:%u", r->file, r->line);
	conf_errors_add(l->errors, where, "%s", text);
	mem_free(where);
}

static void check_map(void *arg, const struct hba_rule *r)
{
	struct conf_load *l = arg;
	char text[200];
	if (ident_has(l->conf->maps, r->map))
		return;
	snprintf(text, sizeof text, "there is no line of the map \"%.60s\" in auth.ident_file, so nobody could come in by this rule",
	         r->map);
	rule_error(l, r, text);
}

static bool has_asker(const struct conf *c)
{
	for (size_t i = 0; i < c->n_clusters; i++)
		if (!*c->auth.query_user && !*c->clusters[i].service_user)
			return false;
	return true;
}

/* What the rules need of the rest. */
static void check_rules(struct conf_load *l)
{
	const struct conf *c = l->conf;
	const struct hba_rule *first;
	hba_each_map(c->hba, check_map, l);
	if (c->listen.tls == CONF_CLIENT_TLS_OFF && hba_uses_tls(c->hba, &first))
		rule_error(l, first, "hostssl: this line could never match, since listen.tls is off");
	else if (!*c->listen.tls_ca && hba_uses_certificates(c->hba, &first))
		rule_error(l, first, "clients' certificates are checked with listen.tls_ca: set it");
	if ((hba_uses_roles(c->hba) || ident_uses_roles(c->maps)) && !has_asker(c))
		conf_errors_add(
		    l->errors, c->auth.hba_file,
		    "whose member a user is (+role, samerole) is asked of the servers: set auth.query_user, or service_user in each "
		    "cluster");
}

static void load_auth_files(struct conf_load *l)
{
	const struct conf_auth *auth = &l->conf->auth;
	size_t before = l->errors->n;
	if (*auth->hba_file)
		l->conf->hba = hba_load(auth->hba_file, l->errors);
	place_errors(l, before, "hba_file");
	before = l->errors->n;
	l->conf->maps = ident_load(auth->ident_file, l->errors);
	place_errors(l, before, "ident_file");
	before = l->errors->n;
	l->conf->secrets = users_load(auth->users_file, l->errors);
	place_errors(l, before, "users_file");
	if (l->conf->hba && l->conf->maps)
		check_rules(l);
}

struct conf *conf_load(const char *path, struct conf_errors *errors)
{
	struct conf_load l = { .conf = mem_alloc(sizeof *l.conf), .errors = errors };
	size_t before = errors->n;
	load_trees(&l, path);
	load_bind(&l);
	if (l.n_trees > 0)
		load_check(&l);
	load_auth_files(&l);
	for (size_t i = 0; i < l.n_trees; i++)
		tree_fini(&l.trees[i]);
	mem_free(l.trees);
	if (errors->n == before)
		return l.conf;
	conf_free(l.conf);
	return NULL;
}
