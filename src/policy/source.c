/*
 * source — a policy's files as they were read: the policy itself, and the modules below its folder that it asked for.
 *
 * The control thread reads while it runs the policy for the first time; then the source is sealed, and the VMs of all workers are made
 * from the same text.  So workers read no files, and a file that changes meanwhile changes nothing.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"

#define FILE_MAX (1u << 20)
#define FILES_MAX 100u

static bool read_all(int fd, struct source_file *f, size_t size, struct err *err)
{
	f->text = mem_alloc(size + 1);
	while (f->len < size) {
		ssize_t n = read(fd, f->text + f->len, size - f->len);
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return err_set(err, "58030", "%.250s: cannot read it: %s", f->path, strerror(errno));
		f->len += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool read_file(struct source_file *f, struct err *err)
{
	struct stat st;
	bool is_good = false;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not hold us up */
	if (fd < 0 || fstat(fd, &st) < 0)
		err_set(err, "58030", "%.250s: cannot open it: %s", f->path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(err, "58030", "%.250s: it is not a regular file", f->path);
	else if ((size_t)st.st_size > FILE_MAX)
		err_set(err, "58030", "%.250s: a policy's file may have %u kB", f->path, FILE_MAX >> 10);
	else
		is_good = read_all(fd, f, (size_t)st.st_size, err);
	if (fd >= 0)
		close(fd);
	return is_good;
}

static void file_free(struct source_file *f)
{
	mem_free(f->name);
	mem_free(f->path);
	mem_free(f->text);
	mem_free(f);
}

/* Takes PATH over. */
static const struct source_file *add_file(struct source *s, const char *name, char *path, struct err *err)
{
	struct source_file *f = mem_alloc(sizeof *f);
	f->name = mem_text(name);
	f->path = path;
	if (!read_file(f, err)) {
		file_free(f);
		return NULL;
	}
	s->files = mem_grow(s->files, (s->n + 1) * sizeof *s->files);
	s->files[s->n++] = f;
	return f;
}

/* Words of letters, digits, _ and - with single dots in between: nothing that leads out of the folder. */
static bool is_module_name(const char *name)
{
	bool is_after_dot = true;
	for (const char *c = name; *c; c++) {
		if (*c == '.' ? is_after_dot : !isalnum((unsigned char)*c) && *c != '_' && *c != '-')
			return false;
		is_after_dot = *c == '.';
	}
	return !is_after_dot && strlen(name) <= 100;
}

static char *path_of(const struct source *s, const char *name)
{
	const char *policy = s->files[0]->path, *slash = strrchr(policy, '/');
	size_t folder = slash ? (size_t)(slash - policy) + 1 : 0, size = folder + strlen(name) + sizeof ".lua";
	char *path = mem_alloc(size);
	snprintf(path, size, "%.*s%s.lua", (int)folder, policy, name);
	for (char *c = path + folder; c < path + size - sizeof ".lua"; c++)
		*c = *c == '.' ? '/' : *c;
	return path;
}

struct source *source_open(const char *path, struct err *err)
{
	struct source *s = mem_alloc(sizeof *s);
	s->refs = 1;
	if (add_file(s, "", mem_text(path), err))
		return s;
	source_free(s);
	return NULL;
}

void source_seal(struct source *s)
{
	s->is_sealed = true;
}

struct source *source_ref(struct source *s)
{
	s->refs++;
	return s;
}

struct source *source_of_stock(const char *module)
{
	struct source *s = mem_alloc(sizeof *s);
	struct source_file stock, *f = mem_alloc(sizeof *f);
	if (!stock_find(module, &stock))
		die("there is no module %s", module);
	s->refs = 1;
	s->is_sealed = true;
	f->name = mem_text("");
	f->path = mem_text(stock.path);
	f->text = mem_alloc(stock.len + 1);
	memcpy(f->text, stock.text, stock.len);
	f->len = stock.len;
	s->files = mem_alloc(sizeof(struct source_file *));
	s->files[s->n++] = f;
	return s;
}

void source_free(struct source *s)
{
	if (!s || --s->refs > 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		file_free(s->files[i]);
	mem_free(s->files);
	mem_free(s);
}

const struct source_file *source_find(struct source *s, const char *name, struct err *err)
{
	if (!is_module_name(name)) {
		err_set(err, "42704", "\"%.100s\" is no name of a module: words of letters, digits, _ and -, with dots between them",
		        name);
		return NULL;
	}
	for (size_t i = 1; i < s->n; i++)
		if (strcmp(s->files[i]->name, name) == 0)
			return s->files[i];
	if (s->is_sealed || s->n >= FILES_MAX) {
		err_set(err, "42704",
		        s->is_sealed ? "module %.100s: require it where the policy is loaded, not in a hook"
		                     : "module %.100s: a policy may have 100 files",
		        name);
		return NULL;
	}
	return add_file(s, name, path_of(s, name), err);
}

bool source_equal(const struct source *a, const struct source *b)
{
	bool is_equal = a->n == b->n;
	for (size_t i = 0; is_equal && i < a->n; i++) {
		const struct source_file *x = a->files[i], *y = b->files[i];
		is_equal = strcmp(x->name, y->name) == 0 && strcmp(x->path, y->path) == 0 && x->len == y->len &&
		           memcmp(x->text, y->text, x->len) == 0;
	}
	return is_equal;
}
