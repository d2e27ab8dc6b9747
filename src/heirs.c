/*
 * heirs — the control socket of a process that serves.
 *
 *   asked --TAKEOVER: doors--> is taking --READY: hand_over--> successor: asks for cancels until we end
 *     \--PLAN: a file            \--its end, a reload--> nothing has changed for us
 *
 * Always: what is sent fits into the socket's buffer, or the other end is given up: the control thread waits for nobody.
 */
#include "app/heirs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct control_door {
	struct loop_io io;
	struct heirs *heirs;
	char *path;
	int fd;
	bool is_fixed; /* systemd's: it stays, whatever the configuration says */
	bool is_ours;  /* its file goes with it */
	dev_t dev;
	ino_t ino;
};

struct heirs {
	struct heirs_env env;
	struct control_door *door, *next; /* NULL: none; next: until heirs_settle() */
	struct dlist all;
};

struct heir {
	struct dlist link;
	struct heirs *heirs;
	struct loop_io io;
	int fd;
	pid_t pid;
	struct dlist cancels; /* under way for it */
	bool is_taking, is_stale, is_successor, is_closed;
};

/* -- one of them ----------------------------------------------------------------------------------- */

static void heir_free(struct heir *heir)
{
	dlist_remove(&heir->link);
	mem_free(heir);
}

static void heir_close(struct heir *heir)
{
	if (heir->is_closed)
		return;
	heir->is_closed = true;
	loop_io_set(heir->heirs->env.loop, &heir->io, 0);
	close(heir->fd);
	if (heir->is_taking && !heir->is_successor)
		heir->heirs->env.failed(heir->heirs->env.arg, heir->pid);
	if (dlist_is_empty(&heir->cancels))
		heir_free(heir);
}

struct door_list {
	struct heir *heir;
	bool is_good;
};

static void send_door(void *arg, const struct listeners_door *door)
{
	struct door_list *l = arg;
	char text[PACKET_MAX];
	int len = snprintf(text, sizeof text, "DOOR %d %u %u %s", door->is_fixed, door->port, door->real_port, door->address);
	l->is_good =
	    l->is_good && len > 0 && (size_t)len < sizeof text && packet_send(l->heir->fd, text, (size_t)len, door->fds, door->n_fds);
}

static bool send_control(struct heir *heir)
{
	const struct control_door *door = heir->heirs->door;
	char text[PACKET_MAX];
	int len = snprintf(text, sizeof text, "CONTROL %d %s", door->is_fixed, door->path);
	return len > 0 && (size_t)len < sizeof text && packet_send(heir->fd, text, (size_t)len, &door->fd, 1);
}

static bool give_doors(struct heir *heir)
{
	struct door_list list = { heir, true };
	listeners_each(heir->heirs->env.listeners, send_door, &list);
	heir->is_taking = true;
	return list.is_good && (!heir->heirs->door || send_control(heir)) && packet_say(heir->fd, "END");
}

static bool hand_over(struct heir *heir, bool keeps_file)
{
	struct heirs *h = heir->heirs;
	if (!heir->is_taking || heir->is_successor)
		return packet_say(heir->fd, "NO it has not asked for the sockets");
	if (heir->is_stale)
		return packet_say(heir->fd, "NO the configuration was read again meanwhile");
	if (packet_is_over(heir->fd))
		return false; /* it has said that it is ready, and died, or waits no longer: nobody must get what we have */
	if (!h->env.hand_over(h->env.arg, heir->pid))
		return packet_say(heir->fd, "NO it is about to end");
	heir->is_successor = true;
	if (h->door && keeps_file)
		h->door->is_ours = false;
	heirs_close(h);
	return packet_say(heir->fd, "YOURS");
}

/* -- a plan ---------------------------------------------------------------------------------------- */

static void put_change(void *arg, const struct change *c)
{
	fprintf(arg, "%s\n", c->text);
}

static bool put_plan(const struct heirs_env *env, FILE *to)
{
	struct conf_errors errors = { 0 };
	bool is_loaded = env->plan(env->arg, put_change, to, &errors);
	for (size_t i = 0; i < errors.n && !is_loaded; i++)
		fprintf(to, "%s%s%s\n", errors.at[i].where, errors.at[i].where[0] ? ": " : "", errors.at[i].text);
	conf_errors_fini(&errors);
	return is_loaded;
}

/* As a file, since thousands of lines would not fit into the socket's buffer. */
static bool send_plan(struct heir *heir)
{
	int fd = memfd_create("plan", MFD_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!f) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return packet_say(heir->fd, "NO it has no file to write its plan to: %s", strerror(e));
	}
	const char *text = put_plan(&heir->heirs->env, f) ? "PLAN good" : "PLAN bad";
	bool is_sent = fflush(f) == 0 && packet_send(heir->fd, text, strlen(text), &fd, 1);
	fclose(f);
	return is_sent;
}

/* -- cancels --------------------------------------------------------------------------------------- */

struct heir_cancel {
	struct dlist link;
	struct heir *heir;
	unsigned long long number;
};

static void on_cancelled(void *arg)
{
	struct heir_cancel *c = arg;
	struct heir *heir = c->heir;
	unsigned long long number = c->number;
	dlist_remove(&c->link);
	mem_free(c);
	if (heir->is_closed && dlist_is_empty(&heir->cancels))
		heir_free(heir);
	else if (!heir->is_closed && !packet_say(heir->fd, "CANCELLED %llu", number))
		heir_close(heir);
}

static bool cancel(struct heir *heir, const struct packet *p)
{
	struct packet_cancel asked;
	if (!packet_read_cancel(p, &asked))
		return false;
	struct heir_cancel *c = mem_alloc(sizeof *c);
	c->heir = heir;
	c->number = asked.number;
	dlist_push_back(&heir->cancels, &c->link);
	const struct heirs_env *env = &heir->heirs->env;
	session_registry_cancel(env->sessions, asked.pid, asked.key, env->mailbox, on_cancelled, c);
	return true;
}

/* -- what they say --------------------------------------------------------------------------------- */

static bool answer(struct heir *heir, const struct packet *p)
{
	const char *rest;
	if ((rest = packet_after(p, "TAKEOVER")))
		return strcmp(rest, "1") == 0 ? give_doors(heir) : packet_say(heir->fd, "NO it is of another version");
	if ((rest = packet_after(p, "READY")))
		return hand_over(heir, strcmp(rest, "keep") == 0);
	if (packet_after(p, "CANCEL"))
		return heir->is_successor && cancel(heir, p);
	return packet_after(p, "PLAN") && send_plan(heir);
}

static void on_said(struct loop_io *io, unsigned events)
{
	struct heir *heir = CONTAINER_OF(io, struct heir, io);
	struct packet p;
	enum packet_result r = packet_recv(heir->fd, &p);
	if (r == PACKET_NONE)
		return;
	packet_close_fds(&p); /* we asked for none */
	if (r == PACKET_END || !answer(heir, &p))
		heir_close(heir);
}

static bool may_ask(int fd, pid_t *pid)
{
	struct ucred who;
	socklen_t len = sizeof who;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	*pid = who.pid;
	if (who.uid == geteuid() || who.uid == 0)
		return true;
	log_warn(NULL, "control_socket_refused", KV_INT("uid", who.uid), KV_INT("pid", who.pid));
	return false;
}

static void on_asked(struct loop_io *io, unsigned events)
{
	struct control_door *door = CONTAINER_OF(io, struct control_door, io);
	struct heirs *h = door->heirs;
	pid_t pid = 0;
	int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (!may_ask(fd, &pid)) {
		close(fd);
		return;
	}
	struct heir *heir = mem_alloc(sizeof *heir);
	*heir = (struct heir){ .heirs = h, .fd = fd, .pid = pid };
	dlist_init(&heir->cancels);
	dlist_push_back(&h->all, &heir->link);
	loop_io_init(&heir->io, fd, on_said);
	loop_io_set(h->env.loop, &heir->io, LOOP_READ);
}

/* -- the socket ------------------------------------------------------------------------------------ */

static struct control_door *door_new(struct heirs *h, const char *path, int fd)
{
	struct control_door *d = mem_alloc(sizeof *d);
	*d = (struct control_door){ .heirs = h, .path = mem_text(path), .fd = fd };
	loop_io_init(&d->io, fd, on_asked);
	loop_io_set(h->env.loop, &d->io, LOOP_READ);
	return d;
}

static void own_file(struct control_door *d)
{
	struct stat st;
	d->is_ours = stat(d->path, &st) == 0;
	d->dev = d->is_ours ? st.st_dev : 0;
	d->ino = d->is_ours ? st.st_ino : 0;
}

static void door_close(struct control_door *d)
{
	struct stat st;
	if (!d)
		return;
	loop_io_set(d->heirs->env.loop, &d->io, 0);
	if (d->is_ours && stat(d->path, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino)
		unlink(d->path);
	close(d->fd);
	mem_free(d->path);
	mem_free(d);
}

/* A file that nobody answers on was left by a process that died. */
static void remove_stale(const struct sockaddr_un *at)
{
	struct stat st;
	if (lstat(at->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 && errno == ECONNREFUSED)
		unlink(at->sun_path);
	if (fd >= 0)
		close(fd);
}

static int open_socket(const char *path, struct err *err)
{
	struct sockaddr_un at;
	if (!packet_addr(path, &at, err))
		return -1;
	remove_stale(&at);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0177);
	bool is_open = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0;
	int e = errno;
	umask(before);
	if (is_open)
		return fd;
	if (fd >= 0)
		close(fd);
	err_set(err, e == EADDRINUSE ? "55006" : "58000", "could not make the control socket %s: %s", path, strerror(e));
	if (e == EADDRINUSE)
		err_hint(err, "Another Lunapool serves there: --takeover takes its place.");
	return -1;
}

bool heirs_listen(struct heirs *h, const char *path, struct err *err)
{
	if (h->door && (h->door->is_fixed || strcmp(h->door->path, path) == 0)) {
		h->next = h->door;
		return true;
	}
	h->next = NULL;
	if (!*path)
		return true;
	int fd = open_socket(path, err);
	if (fd < 0) {
		h->next = h->door;
		return false;
	}
	h->next = door_new(h, path, fd);
	own_file(h->next);
	return true;
}

void heirs_settle(struct heirs *h, bool is_good)
{
	if (h->next == h->door) {
		/* the same */
	} else if (is_good) {
		door_close(h->door);
		h->door = h->next;
	} else
		door_close(h->next);
	h->next = NULL;
	DLIST_EACH(it, &h->all)
	{
		struct heir *heir = CONTAINER_OF(it, struct heir, link);
		heir->is_stale = heir->is_taking; /* it has what was open before */
	}
}

void heirs_adopt(struct heirs *h, const char *path, int fd, bool is_fixed)
{
	door_close(h->door);
	h->door = door_new(h, path, fd);
	h->door->is_fixed = is_fixed;
}

void heirs_own(struct heirs *h)
{
	if (h->door && !h->door->is_fixed)
		own_file(h->door);
}

void heirs_close(struct heirs *h)
{
	door_close(h->door);
	h->door = NULL;
}

struct heirs *heirs_new(const struct heirs_env *env)
{
	struct heirs *h = mem_alloc(sizeof *h);
	h->env = *env;
	dlist_init(&h->all);
	return h;
}

void heirs_free(struct heirs *h)
{
	heirs_close(h);
	DLIST_EACH(it, &h->all)
	{
		struct heir *heir = CONTAINER_OF(it, struct heir, link);
		bool waits = !heir->is_closed && heir->is_taking && !heir->is_successor;
		bool is_told = waits && packet_say(heir->fd, "NO it was told to end");
		(void)is_told; /* else it has gone, too */
		heir->is_taking = false;
		for (struct dlist *c; (c = dlist_pop_front(&heir->cancels));) /* the mailbox is closed: nobody will speak of them */
			mem_free(CONTAINER_OF(c, struct heir_cancel, link));
		if (heir->is_closed)
			heir_free(heir);
		else
			heir_close(heir);
	}
	mem_free(h);
}
