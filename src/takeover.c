/*
 * takeover — the side of the new process; packet.h has the conversation, heirs.c the other side.
 *
 *   begin: connect, take the doors ─► commit: READY, YOURS ─► cancels go there ─► its end
 *
 * Until YOURS nothing is ours: whatever fails before, the other process has never stopped to serve, and no file of its sockets is touched.  But if
 * it dies once we have all its sockets, we serve: nobody else would.  The first part waits for the other one, DEADLINE_S at most for each answer;
 * what follows is done by the loop.
 */
#include "app/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define DEADLINE_S 30

struct takeover {
	int fd; /* -1: the other one has ended */
	struct loop *loop;
	struct loop_io io;
	struct listeners *listeners;
	struct heirs *heirs;
	bool keeps_file; /* the control socket is ours, too */
	unsigned long long number;
	struct map cancels; /* number -> struct session_cancel */
};

/* -- asking ---------------------------------------------------------------------------------------- */

static int dial(const struct conf *c, struct err *err)
{
	struct sockaddr_un at;
	char *path = packet_path(c);
	int fd = -1;
	if (!*path)
		err_set(err, "F0000", "the configuration has no control socket: set control_socket or unix_socket_dir");
	else if (packet_addr(path, &at, err)) {
		const struct timeval deadline = { .tv_sec = DEADLINE_S };
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd >= 0) {
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
		}
		if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) < 0) {
			err_set(err, "08001", "no Lunapool answers at the control socket %s: %s", path, strerror(errno));
			if (fd >= 0)
				close(fd);
			fd = -1;
		}
	}
	mem_free(path);
	return fd;
}

static bool has_heard(enum packet_result r, const struct packet *p, struct err *err)
{
	const char *why = r == PACKET_OK ? packet_after(p, "NO") : NULL;
	if (r == PACKET_NONE)
		return err_set(err, "08006", "the other Lunapool did not answer for %d s", DEADLINE_S);
	if (r == PACKET_END)
		return err_set(err, "08006", "the other Lunapool has hung up; its log may say why");
	if (why)
		return err_set(err, "55000", "the other Lunapool refuses: %.200s", why);
	return true;
}

/* The next packet; false with ERR when there is none, or it is a refusal. */
static bool hear(int fd, struct packet *p, struct err *err)
{
	return has_heard(packet_recv(fd, p), p, err);
}

static bool take_door(struct takeover *t, struct packet *p, const char *text)
{
	struct listeners_door door = { .n_fds = p->n_fds };
	struct packet_door said;
	if (!p->n_fds || !packet_read_door(text, &said))
		return false;
	door.is_fixed = said.is_fixed;
	door.port = (uint16_t)said.port;
	door.real_port = (uint16_t)said.real_port;
	door.address = said.address;
	memcpy(door.fds, p->fds, p->n_fds * sizeof p->fds[0]);
	p->n_fds = 0;
	listeners_adopt(t->listeners, &door, true);
	return true;
}

static bool take_control(struct takeover *t, struct packet *p, const char *text, const char *wanted)
{
	struct packet_control said;
	if (p->n_fds != 1 || !packet_read_control(text, &said))
		return false;
	t->keeps_file = said.is_fixed || strcmp(said.path, wanted) == 0;
	if (t->keeps_file) {
		heirs_adopt(t->heirs, said.path, p->fds[0], said.is_fixed);
		p->n_fds = 0;
	}
	return true;
}

static bool take_all(struct takeover *t, const char *wanted, struct err *err)
{
	struct packet p;
	const char *rest;
	while (hear(t->fd, &p, err)) {
		bool is_good = packet_after(&p, "END") != NULL;
		if (is_good)
			return true;
		if ((rest = packet_after(&p, "DOOR")))
			is_good = take_door(t, &p, rest);
		else if ((rest = packet_after(&p, "CONTROL")))
			is_good = take_control(t, &p, rest, wanted);
		packet_close_fds(&p);
		if (!is_good)
			return err_set(err, "08P01", "the other Lunapool says something that this version does not understand");
	}
	return false;
}

struct takeover *takeover_begin(const struct conf *c, struct listeners *listeners, struct heirs *heirs, struct err *err)
{
	int fd = dial(c, err);
	if (fd < 0)
		return NULL;
	struct takeover *t = mem_alloc(sizeof *t);
	*t = (struct takeover){ .fd = fd, .listeners = listeners, .heirs = heirs };
	char *wanted = packet_path(c);
	bool is_good =
	    packet_say(fd, "TAKEOVER 1") ? take_all(t, wanted, err) : err_set(err, "08006", "the other Lunapool has hung up");
	mem_free(wanted);
	if (is_good)
		return t;
	takeover_free(t);
	return NULL;
}

/* -- afterwards: cancels --------------------------------------------------------------------------- */

static struct slice key_of(const unsigned long long *number)
{
	return slice_of((const uint8_t *)number, sizeof *number);
}

static void end_cancel(struct takeover *t, unsigned long long number)
{
	struct session_cancel *c = map_remove(&t->cancels, key_of(&number));
	if (c)
		session_cancel_done(c);
}

static void on_end(struct takeover *t)
{
	struct slice key;
	void *cancel;
	log_info(NULL, "predecessor_ended");
	loop_io_set(t->loop, &t->io, 0);
	close(t->fd);
	t->fd = -1;
	for (uint32_t it = 0; map_next(&t->cancels, &it, &key, &cancel);)
		session_cancel_done(cancel);
	map_fini(&t->cancels);
}

static void on_said(struct loop_io *io, unsigned events)
{
	struct takeover *t = CONTAINER_OF(io, struct takeover, io);
	struct packet p;
	const char *rest;
	enum packet_result r = packet_recv(t->fd, &p);
	packet_close_fds(&p);
	if (r == PACKET_END)
		on_end(t);
	else if (r == PACKET_OK && (rest = packet_after(&p, "CANCELLED")))
		end_cancel(t, strtoull(rest, NULL, 10));
}

void takeover_cancel(void *arg, struct session_cancel *cancel, uint32_t pid, struct slice key)
{
	struct takeover *t = arg;
	char text[512];
	int len = snprintf(text, sizeof text, "CANCEL %llu %u\n", ++t->number, pid);
	ASSERT(len > 0 && (size_t)len + key.len <= sizeof text);
	if (key.len)
		memcpy(text + len, key.at, key.len);
	if (t->fd < 0 || !packet_send(t->fd, text, (size_t)len + key.len, NULL, 0)) {
		session_cancel_done(cancel);
		return;
	}
	map_put(&t->cancels, key_of(&t->number), cancel);
}

static void listen_for_answers(struct takeover *t, struct loop *loop)
{
	t->loop = loop;
	fcntl(t->fd, F_SETFL, fcntl(t->fd, F_GETFL) | O_NONBLOCK);
	loop_io_init(&t->io, t->fd, on_said);
	loop_io_set(loop, &t->io, LOOP_READ);
	log_info(NULL, "taken_over");
}

/* It went without a word: it has died. */
static void inherit(struct takeover *t)
{
	close(t->fd);
	t->fd = -1;
	log_warn(NULL, "taken_over", KV_STR("why", "the other Lunapool has died"));
}

bool takeover_commit(struct takeover *t, struct loop *loop, struct err *err)
{
	struct packet p;
	bool is_said = packet_say(t->fd, "READY %s", t->keeps_file ? "keep" : "drop");
	enum packet_result r = packet_recv(t->fd, &p); /* what it said before may be there in any case */
	if (r != PACKET_END && !has_heard(r, &p, err))
		return false;
	packet_close_fds(&p);
	if (r == PACKET_OK && (!is_said || !packet_after(&p, "YOURS")))
		return err_set(err, "08P01", "the other Lunapool says something that this version does not understand");
	listeners_settle(t->listeners);
	heirs_own(t->heirs);
	if (r == PACKET_OK)
		listen_for_answers(t, loop);
	else
		inherit(t);
	return true;
}

void takeover_free(struct takeover *t)
{
	if (!t)
		return;
	if (t->loop && t->fd >= 0)
		loop_io_set(t->loop, &t->io, 0);
	if (t->fd >= 0)
		close(t->fd);
	map_fini(&t->cancels);
	mem_free(t);
}

/* -- a dry run ------------------------------------------------------------------------------------- */

/* False: it is empty. */
static bool print_file(int from, int to)
{
	char bytes[8192];
	off_t at = 0;
	for (ssize_t n; (n = pread(from, bytes, sizeof bytes, at)) > 0 && write(to, bytes, (size_t)n) == n;)
		at += n;
	return at > 0;
}

static bool print_plan(struct packet *p, int to, struct err *err)
{
	const char *how = packet_after(p, "PLAN");
	bool is_good = how && strcmp(how, "good") == 0;
	if (!how || p->n_fds != 1)
		return err_set(err, "08P01", "the other Lunapool says something that this version does not understand");
	if (!print_file(p->fds[0], is_good ? to : STDERR_FILENO) && is_good)
		dprintf(to, "nothing would change\n");
	return is_good || err_set(err, "F0000", "a reload would be refused");
}

bool takeover_print_plan(const struct conf *c, int fd)
{
	struct err err;
	int from = dial(c, &err);
	struct packet p = { .n_fds = 0 };
	bool is_good = from >= 0 && (packet_say(from, "PLAN") || err_set(&err, "08006", "the other Lunapool has hung up")) &&
	               hear(from, &p, &err) && print_plan(&p, fd, &err);
	packet_close_fds(&p);
	if (from >= 0)
		close(from);
	if (!is_good)
		dprintf(STDERR_FILENO, "lunapool: %s\n", err.text);
	return is_good;
}
