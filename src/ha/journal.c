/*
 * journal — a helper thread that writes files, and the control thread that asks it to.
 *
 *   record_propose: job ──queue──► write NAME.new, fsync, rename to NAME, fsync the folder ──letter──► on_written: fn(committed or lost)
 *
 * A power failure leaves the old file or the new one.  An fsync that fails is not tried again on the same file (what the kernel has dropped would
 * seem to be there): the next write makes a new one.
 *
 * Always: files are written by the thread alone, one after the other;  a job belongs to the thread until its letter is delivered;
 *         what is in memory as committed was synced before.
 */
#include "ha/journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/dlist.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define CLOSE_PATIENCE_S 2

struct journal_write {
	struct letter letter;
	struct dlist link;          /* in journal->open; the control thread's */
	struct journal_write *next; /* in the queue */
	struct journal *journal;
	record_done_fn fn; /* NULL: nobody waits any more */
	void *arg;
	char *name; /* of the file, in the folder */
	char *text; /* NULL: it was refused before it was written */
	size_t len;
	uint64_t epoch;
	enum record_fate fate;
	struct err err;
};

struct known { /* by file name */
	uint64_t epoch;
	bool is_strange; /* what is in it must stay as it is */
};

struct journal {
	char *dir;
	int dir_fd, lock_fd;
	struct mailbox *reply_to;
	struct dlist open;
	struct map known;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct journal_write *first, **last;
	bool is_closing;
	struct journal_disk disk; /* of a simulation; without `write`: there are files */
};

/* -- files, in the helper thread (and at start) --------------------------------------------------------- */

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

static bool failed(struct err *err, const char *what, const char *name)
{
	return err_set(err, "58030", "cannot %s %.150s: %s", what, name, strerror(errno));
}

static bool write_file(int dir_fd, const char *name, const char *text, size_t len, struct err *err)
{
	char fresh[512];
	snprintf(fresh, sizeof fresh, "%s.new", name);
	int fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(err, "create", fresh);
	bool is_written = write_all(fd, text, len) && fsync(fd) == 0;
	if (!is_written)
		failed(err, "write", fresh);
	if (close(fd) != 0 && is_written)
		return failed(err, "write", fresh);
	if (!is_written)
		return false;
	if (renameat(dir_fd, fresh, dir_fd, name) != 0)
		return failed(err, "rename", fresh);
	return fsync(dir_fd) == 0 || failed(err, "sync the folder of", name);
}

static void on_written(struct letter *letter, void *receiver);
static void drop_job(struct letter *letter);

static struct journal_write *next_job(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	while (!j->first && !j->is_closing)
		pthread_cond_wait(&j->wake, &j->lock);
	struct journal_write *job = j->first;
	if (job && !(j->first = job->next))
		j->last = &j->first;
	pthread_mutex_unlock(&j->lock);
	return job;
}

static void *run(void *arg)
{
	struct journal *j = arg;
	for (struct journal_write *job; (job = next_job(j));) {
		if (job->text)
			job->fate = write_file(j->dir_fd, job->name, job->text, job->len, &job->err) ? RECORD_COMMITTED : RECORD_LOST;
		mailbox_send(j->reply_to, &job->letter);
	}
	return NULL;
}

/* -- the control thread --------------------------------------------------------------------------------- */

/* Whatever a cluster is called, its file's name has letters, digits and _ only; other bytes are %xx. */
static char *name_of(const char *cluster)
{
	char *name = mem_alloc(strlen(cluster) * 3 + sizeof ".record"), *to = name;
	for (const uint8_t *c = (const uint8_t *)cluster; *c; c++)
		to += isalnum(*c) || *c == '_' ? sprintf(to, "%c", *c) : sprintf(to, "%%%02x", *c);
	strcpy(to, ".record");
	return name;
}

static struct known *known_of(struct journal *j, const char *name)
{
	struct known *k = map_get(&j->known, slice_text(name));
	if (k)
		return k;
	k = mem_alloc(sizeof *k);
	map_put(&j->known, slice_text(name), k);
	return k;
}

static void job_free(struct journal_write *job)
{
	mem_free(job->name);
	mem_free(job->text);
	mem_free(job);
}

/* The mailbox was closed: nobody waits, and the list is not ours to touch. */
static void drop_job(struct letter *letter)
{
	job_free(CONTAINER_OF(letter, struct journal_write, letter));
}

static void on_written(struct letter *letter, void *receiver)
{
	struct journal_write *job = CONTAINER_OF(letter, struct journal_write, letter);
	if (job->journal) { /* NULL: it was closed meanwhile */
		dlist_remove(&job->link);
		if (job->fate == RECORD_COMMITTED)
			known_of(job->journal, job->name)->epoch = job->epoch;
	}
	if (job->fn)
		job->fn(job->arg, job->fate, job->fate == RECORD_COMMITTED ? NULL : &job->err);
	job_free(job);
}

static bool lock_dir(struct journal *j, struct err *err)
{
	struct stat st;
	if (mkdir(j->dir, 0700) != 0 && errno != EEXIST)
		return failed(err, "create", j->dir);
	j->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->dir_fd < 0 || fstat(j->dir_fd, &st) != 0)
		return failed(err, "open", j->dir);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(err, "F0000", "state_dir %.200s must belong to who runs Lunapool, and nobody else may write to it",
		               j->dir);
	j->lock_fd = openat(j->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (j->lock_fd < 0)
		return failed(err, "open the lock in", j->dir);
	if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(err, "F0000", "state_dir %.200s is in use by another process", j->dir);
	return true;
}

static void free_all(struct journal *j)
{
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&j->known, &it, &key, &value);)
		mem_free(value);
	map_fini(&j->known);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	mem_free(j->dir);
	mem_free(j);
}

struct journal *journal_open(const char *dir, struct mailbox *reply_to, struct err *err)
{
	struct journal *j = mem_alloc(sizeof *j);
	j->dir = mem_text(dir);
	j->dir_fd = j->lock_fd = -1;
	j->reply_to = reply_to;
	dlist_init(&j->open);
	if (!lock_dir(j, err)) {
		free_all(j);
		return NULL;
	}
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->wake, NULL);
	j->last = &j->first;
	int e = pthread_create(&j->thread, NULL, run, j);
	if (e != 0)
		die("the journal's thread cannot start: %s", strerror(e));
	return j;
}

struct journal *journal_simulated(const struct journal_disk *disk)
{
	struct journal *j = mem_alloc(sizeof *j);
	j->disk = *disk;
	j->dir_fd = j->lock_fd = -1;
	dlist_init(&j->open);
	return j;
}

void journal_on_written(struct journal_write *w, bool is_written)
{
	if (w->text) {
		w->fate = is_written ? RECORD_COMMITTED : RECORD_LOST;
		err_set(&w->err, "58030", "the disk is full");
	}
	on_written(&w->letter, NULL);
}

void journal_close(struct journal *j)
{
	struct timespec until;
	if (!j)
		return;
	for (struct dlist *it; (it = dlist_pop_front(&j->open));) {
		struct journal_write *job = CONTAINER_OF(it, struct journal_write, link);
		job->fn = NULL;
		job->journal = NULL;
	}
	if (j->disk.write) {
		free_all(j);
		return;
	}
	pthread_mutex_lock(&j->lock);
	j->is_closing = true;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_PATIENCE_S;
	if (pthread_clockjoin_np(j->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
		log_error(NULL, "journal_hangs", KV_STR("dir", j->dir), KV_STR("effect", "its last change may be lost"));
		pthread_detach(j->thread); /* it still uses what is j's; the program ends */
		return;
	}
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->wake);
	free_all(j);
}

static bool read_file(struct journal *j, const char *name, char *text, size_t *len, struct err *err)
{
	if (j->disk.read) {
		*len = j->disk.read(j->disk.arg, name, text);
		return true;
	}
	int fd = openat(j->dir_fd, name, O_RDONLY | O_CLOEXEC);
	*len = 0;
	if (fd < 0)
		return failed(err, "open", name);
	for (ssize_t n; *len < RECORD_TEXT_MAX && (n = read(fd, text + *len, RECORD_TEXT_MAX - *len)) != 0;) {
		if (n < 0 && errno != EINTR) {
			failed(err, "read", name);
			close(fd);
			return false;
		}
		*len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return true;
}

static bool is_there(const struct journal *j, const char *name, char *text)
{
	return j->disk.read ? j->disk.read(j->disk.arg, name, text) > 0 : faccessat(j->dir_fd, name, F_OK, 0) == 0;
}

static void set_aside(struct journal *j, const char *name)
{
	char aside[512];
	snprintf(aside, sizeof aside, "%s.damaged", name);
	if (renameat(j->dir_fd, name, j->dir_fd, aside) != 0)
		log_warn(NULL, "journal_not_set_aside", KV_STR("file", name), KV_STR("error", strerror(errno)));
}

/* TEXT is room for it. */
static enum journal_found look(struct journal *j, const char *name, const char *cluster, char *text, struct record *out,
                               struct err *err)
{
	size_t len;
	bool is_strange = false;
	if (!is_there(j, name, text))
		return JOURNAL_NONE;
	if (!read_file(j, name, text, &len, err) || !record_read(out, slice_of(text, len), &is_strange, err))
		return is_strange ? JOURNAL_STRANGE : JOURNAL_DAMAGED;
	if (strcmp(out->cluster, cluster) == 0)
		return JOURNAL_FOUND;
	err_set(err, "F0000", "it is of the cluster %.100s", out->cluster);
	return JOURNAL_DAMAGED;
}

enum journal_found journal_load(struct journal *j, const char *cluster, struct record *out, struct err *err)
{
	char *name = name_of(cluster), *text = mem_alloc(RECORD_TEXT_MAX);
	*out = (struct record){ 0 };
	enum journal_found found = look(j, name, cluster, text, out, err);
	if (found == JOURNAL_DAMAGED || found == JOURNAL_STRANGE)
		*out = (struct record){ 0 };
	if (found == JOURNAL_DAMAGED)
		set_aside(j, name);
	snprintf(out->cluster, sizeof out->cluster, "%s", cluster);
	*known_of(j, name) = (struct known){ .epoch = out->epoch, .is_strange = found == JOURNAL_STRANGE };
	mem_free(name);
	mem_free(text);
	return found;
}

bool journal_knows(struct journal *j, const char *cluster, struct err *err)
{
	char *name = name_of(cluster), *text = mem_alloc(RECORD_TEXT_MAX);
	struct record *record = mem_alloc(sizeof *record);
	struct err why;
	bool is_strange = look(j, name, cluster, text, record, &why) == JOURNAL_STRANGE;
	if (is_strange)
		err_set(err, "F0000", "%s/%s is from another version of Lunapool: %s", j->dir, name, why.text);
	mem_free(record);
	mem_free(name);
	mem_free(text);
	return !is_strange;
}

void record_propose(struct journal *j, uint64_t expected_epoch, const struct record *next, record_done_fn fn, void *arg)
{
	struct journal_write *job = mem_alloc(sizeof *job);
	*job = (struct journal_write){ .letter = { .deliver = on_written, .refuse = drop_job },
		                           .journal = j,
		                           .fn = fn,
		                           .arg = arg,
		                           .name = name_of(next->cluster),
		                           .epoch = next->epoch };
	dlist_push_back(&j->open, &job->link);
	const struct known *known = known_of(j, job->name);
	if (known->is_strange) {
		job->fate = RECORD_LOST;
		err_set(&job->err, "F0000", "%s is from another version of Lunapool, and is left as it is", job->name);
	} else if (known->epoch == expected_epoch) {
		job->text = mem_alloc(RECORD_TEXT_MAX);
		job->len = record_write(next, job->text);
	} else {
		job->fate = RECORD_REFUSED;
		err_set(&job->err, "55000", "epoch %llu is recorded, not %llu", (unsigned long long)known->epoch,
		        (unsigned long long)expected_epoch);
	}
	if (j->disk.write) {
		j->disk.write(j->disk.arg, job->name, job, job->text, job->len);
		return;
	}
	pthread_mutex_lock(&j->lock);
	*j->last = job;
	j->last = &job->next;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

void journal_forget(struct journal *j, const void *arg)
{
	DLIST_EACH(it, &j->open)
	{
		struct journal_write *job = CONTAINER_OF(it, struct journal_write, link);
		if (job->arg == arg)
			job->fn = NULL;
	}
}
