/*
 * child — a program that was started: read, waited for, and ended at its deadline.
 *
 *   running --deadline, nobody wants it--> asked (SIGTERM) --grace--> killed (SIGKILL) --grace--> stuck
 *      \______________________________________\____________________________\____________________\--it has ended--> gone
 *
 * It is done when the program has ended, not when its output has: a daemon that it left behind keeps the pipe.  A session of its own
 * makes it the leader of a process group, so that a deadline reaches whatever it has started and not sent away; and it has no terminal to
 * ask for a password on.  A pidfd tells of its end: SIGCHLD is not ours, since libraries wait for children of their own.
 *
 * Always: the process group is signalled only while its leader is not yet waited for, so its number belongs to nobody else;
 *         output is read as fast as it comes, also what is not kept, so that nobody hangs on a full pipe.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/mem.h"
#include "hooks/stage.h"
#include "leftover.h"

#define READ_BYTES 16384
#define PIPE_BYTES 65536 /* what a pipe holds */

enum child_state { CHILD_RUNNING, CHILD_IS_ASKED, CHILD_IS_KILLED, CHILD_IS_STUCK };

/* The first bytes, and the last. */
struct output {
	size_t max, n_head, n_tail, tail_at;
	uint64_t total;
	char *head, *tail;
};

struct child {
	struct dlist link;
	struct children *home;
	enum child_state state;
	pid_t pid;
	struct loop_io out, end; /* the pipe; the pidfd */
	struct loop_timer timer;
	struct output output;
	child_fn fn; /* NULL: nobody waits */
	void *arg;
	const char *entry; /* by which it is known to be at a node; NULL: at none */
};

/* ---- output ---------------------------------------------------------------------------------------------------------------- */

static void output_add(struct output *o, const char *at, size_t n)
{
	size_t half = o->max / 2, room = half - o->n_head, first = n < room ? n : room;
	o->total += n;
	if (first) {
		o->head = mem_grow(o->head, o->n_head + first);
		memcpy(o->head + o->n_head, at, first);
		o->n_head += first;
	}
	if (n == first)
		return;
	if (!o->tail)
		o->tail = mem_alloc(o->max - half);
	for (at += first, n -= first; n > 0;) {
		size_t size = o->max - half, left = size - o->tail_at, part = n < left ? n : left;
		memcpy(o->tail + o->tail_at, at, part);
		o->tail_at = (o->tail_at + part) % size;
		o->n_tail = o->n_tail + part < size ? o->n_tail + part : size;
		at += part;
		n -= part;
	}
}

/* All of it, with a line where something is missing.  Heap. */
static char *output_join(const struct output *o, size_t *len)
{
	size_t size = o->n_head + o->n_tail + 80, n = o->n_head;
	size_t from = o->n_tail < o->max - o->max / 2 ? 0 : o->tail_at;
	char *text = mem_alloc(size);
	if (n)
		memcpy(text, o->head, n);
	if (o->total > o->n_head + o->n_tail)
		n += (size_t)snprintf(text + n, size - n, "\n… %llu bytes are left out …\n",
		                      (unsigned long long)(o->total - o->n_head - o->n_tail));
	for (size_t i = 0; i < o->n_tail; i++)
		text[n++] = o->tail[(from + i) % (o->max - o->max / 2)];
	*len = n;
	return text;
}

/* True: there may be more.  MOST bytes at once, for others want to be heard, too. */
static bool read_output(struct child *c, size_t most)
{
	char bytes[READ_BYTES];
	ssize_t n = 1;
	for (size_t got = 0; got < most && n > 0; got += (size_t)(n > 0 ? n : 0)) {
		n = read(c->out.ev.fd, bytes, sizeof bytes);
		if (n > 0)
			output_add(&c->output, bytes, (size_t)n);
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void close_output(struct child *c)
{
	int fd = c->out.ev.fd;
	if (fd < 0)
		return;
	loop_io_release(c->home->loop, &c->out);
	close(fd);
	loop_io_init(&c->out, -1, NULL);
}

static void on_output(struct loop_io *io, unsigned events)
{
	struct child *c = CONTAINER_OF(io, struct child, out);
	if (!read_output(c, PIPE_BYTES))
		close_output(c);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------- */

static void free_child(struct child *c)
{
	close_output(c);
	if (c->end.ev.fd >= 0) {
		loop_io_release(c->home->loop, &c->end);
		close(c->end.ev.fd);
	}
	loop_timer_stop(c->home->loop, &c->timer);
	dlist_remove(&c->link);
	mem_free(c->output.head);
	mem_free(c->output.tail);
	mem_free(c);
}

static void tell(struct child *c, enum child_how how, int status)
{
	child_fn fn = c->fn;
	struct child_end end = { .how = how, .status = status };
	if (!fn)
		return;
	char *text = output_join(&c->output, &end.output.len);
	end.output.at = (const uint8_t *)text;
	c->fn = NULL;
	fn(c->arg, &end);
	mem_free(text);
}

static void signal_group(const struct child *c, int sig)
{
	kill(-c->pid, sig);
}

static void on_end(struct loop_io *io, unsigned events)
{
	struct child *c = CONTAINER_OF(io, struct child, end);
	siginfo_t info = { 0 };
	if (c->state != CHILD_RUNNING)
		signal_group(c, SIGKILL); /* those of it that did not heed SIGTERM; its number is still its own */
	if (waitid(P_PIDFD, (id_t)c->end.ev.fd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	if (c->entry)
		leftover_ended(c->home->left, c->entry);
	if (c->out.ev.fd >= 0)
		read_output(c, PIPE_BYTES);
	loop_io_set(c->home->loop, &c->end, 0);
	if (c->state != CHILD_RUNNING)
		tell(c, CHILD_TIMED_OUT, 0);
	else
		tell(c, info.si_code == CLD_EXITED ? CHILD_EXITED : CHILD_KILLED, info.si_status);
	free_child(c);
}

static void ask_to_end(struct child *c)
{
	c->state = CHILD_IS_ASKED;
	signal_group(c, SIGTERM);
	loop_timer_start(c->home->loop, &c->timer, CHILD_GRACE_US);
}

static void on_timer(struct loop_timer *t)
{
	struct child *c = CONTAINER_OF(t, struct child, timer);
	switch (c->state) {
	case CHILD_RUNNING:
		ask_to_end(c);
		break;
	case CHILD_IS_ASKED:
		c->state = CHILD_IS_KILLED;
		signal_group(c, SIGKILL);
		loop_timer_start(c->home->loop, t, CHILD_GRACE_US);
		break;
	case CHILD_IS_KILLED:
		c->state = CHILD_IS_STUCK;
		log_error(NULL, "child_is_stuck", KV_INT("pid", c->pid), KV_STR("hint", "SIGKILL did not end it; the disk may hang"));
		tell(c, CHILD_STUCK, 0);
		break;
	case CHILD_IS_STUCK:
		break;
	}
}

/* ---- played ones: no process, the same deadlines ------------------------------------------------------------------------------------ */

static void on_played_too_long(struct loop_timer *t)
{
	struct child *c = CONTAINER_OF(t, struct child, timer);
	c->home->stage->stop(c->home->stage->arg, c);
	tell(c, CHILD_TIMED_OUT, 0);
	free_child(c);
}

static struct child *play(struct children *cs, const struct child_spec *spec, child_fn fn, void *arg)
{
	struct child *c = mem_alloc(sizeof *c);
	*c = (struct child){ .home = cs, .fn = fn, .arg = arg, .output = { .max = spec->output_max } };
	loop_io_init(&c->out, -1, NULL);
	loop_io_init(&c->end, -1, NULL);
	loop_timer_init(&c->timer, on_played_too_long);
	loop_timer_start(cs->loop, &c->timer, spec->timeout_us);
	dlist_push_back(&cs->all, &c->link);
	cs->stage->exec(cs->stage->arg, c, spec->argv);
	return c;
}

void child_ends(struct child *c, int status, const char *output)
{
	output_add(&c->output, output, strlen(output));
	tell(c, CHILD_EXITED, status);
	free_child(c);
}

/* ---- the beginning ------------------------------------------------------------------------------------------------------------ */

/* What of our environment a child sees: not what was meant for us, nor secrets that the configuration took from there. */
static bool is_passed_on(const char *entry)
{
	static const char *const names[] = { "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "SSH_AUTH_SOCK" };
	size_t len = strcspn(entry, "=");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == len && memcmp(names[i], entry, len) == 0)
			return true;
	return strncmp(entry, "LC_", 3) == 0;
}

/* Heap; the texts are borrowed.  ENTRY may be NULL. */
static char **environment(const char *const *more, const char *entry)
{
	extern char **environ;
	size_t n = 0, at = 0;
	for (char **e = environ; *e; e++)
		n++;
	for (const char *const *e = more; e && *e; e++)
		n++;
	char **all = mem_alloc((n + 2) * sizeof *all);
	if (entry)
		all[at++] = (char *)(uintptr_t)entry;
	for (const char *const *e = more; e && *e; e++) /* the first of a name counts */
		all[at++] = (char *)(uintptr_t)*e;
	for (char **e = environ; *e; e++)
		if (is_passed_on(*e))
			all[at++] = *e;
	return all;
}

static int open_input(struct slice input)
{
	if (!input.len)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd >= 0 && (write(fd, input.at, input.len) != (ssize_t)input.len || lseek(fd, 0, SEEK_SET) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int spawn(const struct child_spec *spec, const char *entry, int in, int out, pid_t *pid)
{
	posix_spawnattr_t attr;
	posix_spawn_file_actions_t files;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, out, 2);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (spec->cwd)
		posix_spawn_file_actions_addchdir_np(&files, spec->cwd);
	char **env = environment(spec->env, entry);
	int e = posix_spawnp(pid, spec->argv[0], &files, &attr, (char *const *)(uintptr_t)spec->argv, env);
	mem_free(env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return e;
}

/* Started, but nobody listens yet.  Returns errno. */
static int launch(const struct child_spec *spec, const char *entry, pid_t *pid, int *out, int *end)
{
	int pipes[2], in = open_input(spec->input), e = 0;
	if (in < 0)
		return errno;
	if (pipe2(pipes, O_CLOEXEC) < 0) {
		e = errno;
		close(in);
		return e;
	}
	e = spawn(spec, entry, in, pipes[1], pid);
	close(in);
	close(pipes[1]);
	*out = pipes[0];
	*end = e ? -1 : pidfd_open(*pid, 0);
	if (!e && *end < 0) { /* without it we would not hear of its end */
		e = errno;
		kill(-*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	if (e)
		close(pipes[0]);
	return e;
}

struct child *child_start(struct children *cs, const struct child_spec *spec, child_fn fn, void *arg, struct err *err)
{
	if (cs->stage)
		return play(cs, spec, fn, arg);
	pid_t pid = 0;
	const char *entry = spec->of ? leftover_begin(cs->left, spec->of) : NULL;
	int out = -1, end = -1, e = spec->of && !entry ? EAGAIN : launch(spec, entry, &pid, &out, &end);
	if (entry && e)
		leftover_ended(cs->left, entry);
	else if (entry)
		leftover_started(cs->left, entry, pid);
	if (e) {
		err_set(err, "58000", "cannot run %.100s: %s", spec->argv[0], strerror(e));
		return NULL;
	}
	struct child *c = mem_alloc(sizeof *c);
	*c = (struct child){ .home = cs, .pid = pid, .fn = fn, .arg = arg, .output = { .max = spec->output_max }, .entry = entry };
	fcntl(out, F_SETFL, O_NONBLOCK);
	loop_io_init(&c->out, out, on_output);
	loop_io_init(&c->end, end, on_end);
	loop_io_set(cs->loop, &c->out, LOOP_READ);
	loop_io_set(cs->loop, &c->end, LOOP_READ);
	loop_timer_init(&c->timer, on_timer);
	loop_timer_start(cs->loop, &c->timer, spec->timeout_us);
	dlist_push_back(&cs->all, &c->link);
	return c;
}

void child_forget(struct child *c)
{
	c->fn = NULL;
	if (c->home->stage) {
		c->home->stage->stop(c->home->stage->arg, c);
		free_child(c);
	} else if (c->state == CHILD_RUNNING)
		ask_to_end(c);
}

void children_init(struct children *cs, struct loop *loop, const struct hooks_stage *stage, struct leftovers *left)
{
	cs->left = left;
	cs->loop = loop;
	cs->stage = stage;
	dlist_init(&cs->all);
}

void children_fini(struct children *cs)
{
	DLIST_EACH(it, &cs->all)
	{
		struct child *c = CONTAINER_OF(it, struct child, link);
		if (cs->stage) {
			cs->stage->stop(cs->stage->arg, c);
		} else {
			signal_group(c, SIGKILL);
			waitpid(c->pid, NULL, WNOHANG); /* whom that leaves is init's */
		}
		free_child(c);
	}
}
