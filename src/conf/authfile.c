/*
 * authfile — include, include_if_exists, include_dir and @file, as PostgreSQL reads them (hba.c, tokenize_auth_file).
 *
 * A path is seen from the folder of the file that names it.  A folder's *.conf are taken in the order of their bytes.
 * Always: files stand inside each other at most DEPTH_MAX deep, so that one which includes itself is an error and not the end.
 */
#include "authfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

#define DEPTH_MAX 10u
#define FILES_MAX 1000u
#define NAMES_MAX 100000u /* that the @files of one field may hold together */

struct reading {
	struct authfiles *files;
	struct conf_errors *errors;
	void (*fn)(void *arg, struct hbaline *l);
	void *arg;
	unsigned depth;
};

void authfiles_fini(struct authfiles *f)
{
	for (size_t i = 0; i < f->n; i++)
		mem_free(f->at[i]);
	mem_free(f->at);
	*f = (struct authfiles){ 0 };
}

/* The file's own copy of PATH. */
static const char *remember(struct authfiles *f, const char *path)
{
	f->at = mem_grow(f->at, (f->n + 1) * sizeof *f->at);
	return f->at[f->n++] = mem_text(path);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static void read_text(struct reading *r, const char *path, char *text, size_t len);

/* BY: the line that includes it. */
static void include_file(struct reading *r, struct hbaline *by, const char *path)
{
	char *text;
	size_t len;
	struct err err;
	if (r->depth == DEPTH_MAX || r->files->n == FILES_MAX) {
		hbaline_bad(by, "files include each other too deep, or are too many; does %.200s include itself?", path);
		return;
	}
	if (!file_read(path, &text, &len, &err)) {
		hbaline_bad(by, "%s", err.text);
		return;
	}
	r->depth++;
	read_text(r, remember(r->files, path), text, len);
	r->depth--;
}

static int is_conf_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void include_folder(struct reading *r, struct hbaline *by, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, is_conf_file, by_bytes);
	if (n < 0)
		hbaline_bad(by, "cannot read the folder %.200s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *file = mem_alloc(strlen(path) + strlen(names[i]->d_name) + 2);
		sprintf(file, "%s/%s", path, names[i]->d_name);
		include_file(r, by, file);
		mem_free(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* True: it was an include. */
static bool is_include(struct reading *r, struct hbaline *l)
{
	const char *word = hbaline_word(l, 0);
	if (!word || l->fields[0].at[0].is_quoted || strncmp(word, "include", 7) != 0)
		return false;
	const char *name = hbaline_word(l, 1);
	if (strcmp(word, "include") != 0 && strcmp(word, "include_if_exists") != 0 && strcmp(word, "include_dir") != 0)
		hbaline_bad(l, "%.60s is none of include, include_if_exists and include_dir", word);
	else if (!name || l->n != 2)
		hbaline_bad(l, "%s is followed by one path", word);
	else {
		char *path = path_beside(l->path, name);
		if (strcmp(word, "include_dir") == 0)
			include_folder(r, l, path);
		else if (strcmp(word, "include") == 0 || access(path, F_OK) == 0 || errno != ENOENT)
			include_file(r, l, path);
		mem_free(path);
	}
	return true;
}

/* Takes TEXT over. */
static void read_text(struct reading *r, const char *path, char *text, size_t len)
{
	struct hbaline_reader reader = { .errors = r->errors, .path = path, .at = text, .end = text + len, .lines = 1 };
	struct hbaline l;
	if (memchr(text, '\0', len))
		conf_errors_add(r->errors, path, "this is no text file");
	else
		while (hbaline_next(&reader, &l)) {
			if (!l.is_bad && !is_include(r, &l))
				r->fn(r->arg, &l);
			hbaline_fini(&l);
		}
	secret_wipe(text, len);
	mem_free(text);
}

void authfile_read(struct authfiles *f, const char *path, const char *key, struct conf_errors *errors,
                   void (*fn)(void *arg, struct hbaline *l), void *arg)
{
	struct reading r = { .files = f, .errors = errors, .fn = fn, .arg = arg };
	char *text;
	size_t len;
	struct err err;
	if (file_read(path, &text, &len, &err))
		read_text(&r, remember(f, path), text, len);
	else
		conf_errors_add(errors, "", "%s: %s", key, err.text);
}

/* ---- names --------------------------------------------------------------------------------------------- */

struct expansion {
	struct names out;
	unsigned depth, files;
};

static void expand(struct expansion *e, struct hbaline *by, struct names *in);

static void take_names(struct expansion *e, struct hbaline *by, const char *path, char *text, size_t len)
{
	struct hbaline_reader reader = { .errors = by->errors, .path = path, .at = text, .end = text + len, .lines = 1 };
	struct hbaline l;
	e->depth++;
	while (hbaline_next(&reader, &l)) {
		for (size_t i = 0; i < l.n && !l.is_bad; i++)
			expand(e, &l, &l.fields[i]);
		by->is_bad |= l.is_bad;
		hbaline_fini(&l);
	}
	e->depth--;
}

static void take_file(struct expansion *e, struct hbaline *by, const char *path)
{
	char *text;
	size_t len;
	struct err err;
	if (e->depth == DEPTH_MAX || ++e->files > FILES_MAX) {
		hbaline_bad(by, "files of names stand in each other too deep, or are too many; does %.200s name itself?", path);
		return;
	}
	if (!file_read(path, &text, &len, &err)) {
		hbaline_bad(by, "%s", err.text);
		return;
	}
	if (memchr(text, '\0', len))
		hbaline_bad(by, "%.200s is no text file", path);
	else
		take_names(e, by, path, text, len);
	mem_free(text);
}

/* Moves the names of IN, which stand on the line BY, to E. */
static void expand(struct expansion *e, struct hbaline *by, struct names *in)
{
	for (size_t i = 0; i < in->n && !by->is_bad; i++) {
		struct name *n = &in->at[i];
		if (e->out.n >= NAMES_MAX) {
			hbaline_bad(by, "more than %u names in one field", NAMES_MAX);
		} else if (!n->is_quoted && n->text[0] == '@' && n->text[1]) {
			char *path = path_beside(by->path, n->text + 1);
			take_file(e, by, path);
			mem_free(path);
		} else {
			e->out.at = mem_grow(e->out.at, (e->out.n + 1) * sizeof *e->out.at);
			e->out.at[e->out.n++] = *n;
			*n = (struct name){ 0 };
		}
	}
}

void authfile_expand(struct hbaline *l, struct names *names)
{
	struct expansion e = { 0 };
	expand(&e, l, names);
	names_fini(names);
	*names = e.out;
	if (e.out.n == 0 && !l->is_bad)
		hbaline_bad(l, "the file of names is empty, so this line could never match");
}
