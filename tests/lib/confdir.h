/* confdir — a folder of configuration files for a test, with everything that a good one needs; gone after the test. */
#ifndef CONFDIR_H
#define CONFDIR_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "unit.h"

struct confdir {
	char path[64];
	char told[16384]; /* after confdir_load(): the errors, a line each, without the folder's name */
};

static inline void confdir_write(const struct confdir *d, const char *name, const char *text)
{
	char path[160];
	snprintf(path, sizeof path, "%s/%s", d->path, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline void confdir_init(struct confdir *d)
{
	mkdir("build", 0777);
	strcpy(d->path, "build/confdir-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	confdir_write(d, "rules", "local all all trust\n");
}

static inline void confdir_fini(struct confdir *d)
{
	DIR *dir = opendir(d->path);
	assert_non_null(dir);
	for (struct dirent *it; (it = readdir(dir));)
		if (strcmp(it->d_name, ".") != 0 && strcmp(it->d_name, "..") != 0)
			assert_int_equal(unlinkat(dirfd(dir), it->d_name, 0), 0);
	closedir(dir);
	assert_int_equal(rmdir(d->path), 0);
}

/* TEXT without each mention of the folder. */
static inline void confdir_strip(const struct confdir *d, char *text)
{
	size_t len = strlen(d->path);
	for (char *at = text; (at = strstr(at, d->path));)
		memmove(at, at + len + (at[len] == '/'), strlen(at + len + (at[len] == '/')) + 1);
}

static inline void confdir_tell(struct confdir *d, const struct conf_errors *e)
{
	size_t len = 0;
	d->told[0] = '\0';
	for (size_t i = 0; i < e->n; i++)
		len += (size_t)snprintf(d->told + len, sizeof d->told - len, "%s%s%s\n", e->at[i].where, *e->at[i].where ? ": " : "",
		                        e->at[i].text);
	assert_true(len < sizeof d->told);
	confdir_strip(d, d->told);
}

/* Loads the file NAME, or the whole folder if NULL. */
static inline struct conf *confdir_load(struct confdir *d, const char *name)
{
	char path[160];
	snprintf(path, sizeof path, "%s%s%s", d->path, name ? "/" : "", name ? name : "");
	struct conf_errors e = { 0 };
	struct conf *c = conf_load(path, &e);
	confdir_tell(d, &e);
	assert_true((c == NULL) == (e.n > 0));
	conf_errors_fini(&e);
	return c;
}

/* Loads TEXT as "c.conf". */
static inline struct conf *confdir_text(struct confdir *d, const char *text)
{
	confdir_write(d, "c.conf", text);
	return confdir_load(d, "c.conf");
}

/* What every good configuration has; more may follow. */
#define CONFDIR_LEAST                            \
	"auth { hba_file = rules }\n"                \
	"cluster main { node pg1 { host = db1 } }\n" \
	"database \"*\" {}\n"

#endif
