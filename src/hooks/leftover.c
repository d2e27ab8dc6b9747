/*
 * leftover — see the header.  A table in shared memory, by the name of the state_dir, so that it outlives a SIGKILL but not the machine's end.
 *
 *   free --leftover_begin()--> intended --leftover_started()--> running --leftover_ended(), or whoever looks finds no such process--> free
 *
 * A place in it has the process and when that began, so that another with the same number is no other's.  If we were killed between the two, there
 * is the entry in its environment to find it by.  A daemon that a command has left behind is not waited for: it is another process.
 *
 * Not a file in state_dir: a disk that hangs must not stop the control thread.  systemd leaves the shared memory of system users alone (RemoveIPC=
 * in logind.conf); where it is gone, or is not ours, nothing is known of those before.
 *
 * Always: a place is intended before its command exists;  it is free only when that has ended.
 */
#include "leftover.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"

#define PLACES 256u
#define MAGIC UINT64_C(0x6c70726573743031) /* of this layout */
#define ENTRY "LUNAPOOL_COMMAND="
#define GRACE_US (10 * US_PER_S) /* behind its timeout */

struct place {
	uint64_t token;    /* 0: free */
	uint64_t where;    /* cluster and node */
	uint64_t until_us; /* CLOCK_BOOTTIME: it should have ended long before */
	uint64_t began;    /* as the kernel counts; 0: not known */
	int64_t pid;       /* 0: intended */
};
struct table {
	uint64_t magic;
	struct place places[PLACES];
};
/* What only this process knows. */
struct own {
	uint64_t token, run;
	char entry[sizeof ENTRY + 16];
};
struct leftovers {
	struct table *table;
	char name[64]; /* of the shared memory; "": none */
	bool is_anothers;
	struct own own[PLACES];
	uint64_t told; /* the token of the one that was told of last */
};

/* -- the table ---------------------------------------------------------------------------------------- */

/* FNV-1a: the same in every process. */
static uint64_t name_hash(uint64_t h, const char *text)
{
	for (const uint8_t *c = (const uint8_t *)text;; c++) {
		h = (h ^ *c) * UINT64_C(0x100000001b3);
		if (!*c)
			return h;
	}
}
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

static uint64_t where_of(const struct leftover_of *of)
{
	return name_hash(name_hash(FNV_BASIS, of->cluster), of->node);
}

static uint64_t boot_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * US_PER_S + (uint64_t)t.tv_nsec / 1000;
}

/* Anybody may make files there; NULL with errno: it is not ours alone. */
static struct table *map_shared(const char *name)
{
	struct stat st;
	void *at = MAP_FAILED;
	int fd = shm_open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		errno = EPERM;
	else if (st.st_size >= (off_t)sizeof(struct table) || posix_fallocate(fd, 0, sizeof(struct table)) == 0)
		at = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

struct leftovers *leftovers_new(const char *state_dir)
{
	struct leftovers *ls = mem_alloc(sizeof *ls);
	snprintf(ls->name, sizeof ls->name, "/lunapool.%u.%016llx", (unsigned)geteuid(),
	         (unsigned long long)name_hash(FNV_BASIS, state_dir));
	ls->table = *state_dir ? map_shared(ls->name) : NULL;
	if (*state_dir && !ls->table)
		log_warn(NULL, "leftovers_unknown", KV_STR("shared_memory", ls->name), KV_STR("error", strerror(errno)),
		         KV_STR("effect", "commands that an earlier Lunapool has left are not waited for"));
	if (!ls->table) {
		ls->name[0] = '\0';
		ls->table = mem_alloc(sizeof *ls->table);
	}
	if (ls->table->magic != MAGIC)
		*ls->table = (struct table){ .magic = MAGIC };
	return ls;
}

void leftovers_resign(struct leftovers *ls)
{
	ls->is_anothers = true;
}

static bool is_empty(const struct table *t)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (t->places[i].token)
			return false;
	return true;
}

void leftovers_free(struct leftovers *ls)
{
	if (!ls)
		return;
	if (*ls->name && !ls->is_anothers && is_empty(ls->table))
		shm_unlink(ls->name);
	if (*ls->name)
		munmap(ls->table, sizeof *ls->table);
	else
		mem_free(ls->table);
	mem_free(ls);
}

/* -- processes ---------------------------------------------------------------------------------------- */

static bool read_proc(pid_t pid, const char *what, char *out, size_t room, size_t *len)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	*len = 0;
	for (ssize_t n; *len + 1 < room && (n = read(fd, out + *len, room - 1 - *len)) > 0;)
		*len += (size_t)n;
	out[*len] = '\0';
	close(fd);
	return true;
}

/* When it began, in ticks since the machine did: proc(5), field 22 of stat; 0: there is none.  IS_OVER: no more than its status is left. */
static uint64_t began_of(pid_t pid, bool *is_over)
{
	char text[1024];
	size_t len;
	const char *at =
	    read_proc(pid, "stat", text, sizeof text, &len) ? strrchr(text, ')') : NULL; /* its name may have any bytes */
	if (!at || !at[1])
		return 0;
	*is_over = at[2] == 'Z' || at[2] == 'X';
	for (unsigned field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

static bool has_entry(pid_t pid, uint64_t token)
{
	char want[sizeof ENTRY + 16], text[65536];
	size_t len;
	snprintf(want, sizeof want, ENTRY "%016llx", (unsigned long long)token);
	if (!read_proc(pid, "environ", text, sizeof text, &len))
		return false;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		if (strcmp(text + at, want) == 0)
			return true;
	return false;
}

static bool is_anywhere(uint64_t token)
{
	bool is_found = false;
	DIR *dir = opendir("/proc");
	for (const struct dirent *e; dir && !is_found && (e = readdir(dir));)
		is_found = isdigit((unsigned char)e->d_name[0]) && has_entry((pid_t)strtol(e->d_name, NULL, 10), token);
	if (dir)
		closedir(dir);
	return is_found;
}

static bool is_running(const struct place *p)
{
	if (!p->pid)
		return is_anywhere(p->token);
	bool is_over = true;
	return p->began && began_of((pid_t)p->pid, &is_over) == p->began && !is_over;
}

/* -- public ------------------------------------------------------------------------------------------- */

static bool is_own(const struct leftovers *ls, unsigned i)
{
	return ls->table->places[i].token && ls->own[i].token == ls->table->places[i].token;
}

/* Somebody's before us.  True: it still works. */
static bool is_left(struct leftovers *ls, struct place *p, const struct leftover_of *of)
{
	if (!is_running(p)) {
		*p = (struct place){ 0 };
		return false;
	}
	if (ls->told != p->token)
		log_warn(NULL, "command_left", KV_STR("cluster", of->cluster), KV_STR("node", of->node), KV_INT("pid", p->pid),
		         KV_STR("effect", "an earlier Lunapool has started it; its end is waited for"));
	ls->told = p->token;
	if (p->pid && boot_us() > p->until_us) /* as who started it would have done */
		kill(-(pid_t)p->pid, SIGKILL);
	return true;
}

pid_t leftovers_at(struct leftovers *ls, const struct leftover_of *of)
{
	uint64_t where = where_of(of);
	for (unsigned i = 0; i < PLACES; i++) {
		struct place *p = &ls->table->places[i];
		if (!p->token || p->where != where || (is_own(ls, i) && ls->own[i].run == of->run))
			continue;
		if (is_own(ls, i) || is_left(ls, p, of))
			return p->pid ? (pid_t)p->pid : -1;
	}
	return 0;
}

const char *leftover_begin(struct leftovers *ls, const struct leftover_of *of)
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct place *p = &ls->table->places[i];
		if (p->token && (is_own(ls, i) || is_running(p)))
			continue;
		*p = (struct place){ .where = where_of(of), .until_us = boot_us() + of->timeout_us + GRACE_US };
		ls->own[i] = (struct own){ .token = rand_fast() | 1, .run = of->run };
		snprintf(ls->own[i].entry, sizeof ls->own[i].entry, ENTRY "%016llx", (unsigned long long)ls->own[i].token);
		p->token = ls->own[i].token;
		return ls->own[i].entry;
	}
	return NULL;
}

static unsigned place_of(const struct leftovers *ls, const char *entry)
{
	return (unsigned)(CONTAINER_OF(entry, struct own, entry) - ls->own);
}

void leftover_started(struct leftovers *ls, const char *entry, pid_t pid)
{
	struct place *p = &ls->table->places[place_of(ls, entry)];
	bool is_over;
	p->began = began_of(pid, &is_over);
	p->pid = pid;
}

void leftover_ended(struct leftovers *ls, const char *entry)
{
	unsigned i = place_of(ls, entry);
	if (is_own(ls, i)) /* a successor may have it by now */
		ls->table->places[i] = (struct place){ 0 };
	ls->own[i].token = 0;
}
