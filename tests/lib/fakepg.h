/*
 * fakepg — a "PostgreSQL" for tests of the pool: a thread behind a unix socket that lets everybody in, keeps transaction status and
 * answers by the words of a statement:
 *
 *   BEGIN, COMMIT, ROLLBACK, DISCARD ALL    as the real one does
 *   hold        answers when it is cancelled (57014)        fail   an ERROR
 *   copy        CopyIn until CopyDone or CopyFail           mute   nothing, ever
 *   anything else completes at once
 *
 * Counters are atomics; what statements came is in a log that fakepg_saw() searches.
 */
#ifndef FAKEPG_H
#define FAKEPG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/compiler.h"
#include "unit.h"

#define FAKEPG_CONNS 64

struct fakepg_conn {
	int fd; /* -1: free */
	uint32_t pid;
	bool is_in, is_copying, is_extended, is_skipping, is_holding, is_mute;
	uint8_t tx;
	uint8_t in[8192];
	size_t len;
};

struct fakepg {
	char dir[64], path[96];
	int listen_fd, wake[2];
	pthread_t thread;
	_Atomic bool is_ending, drop_all;
	_Atomic(const char *) refuse; /* SQLSTATE of a FATAL for new logins, or NULL */
	_Atomic int now, most, logins, cancels, terminates;
	uint32_t last_pid;
	struct fakepg_conn conn[FAKEPG_CONNS];
	pthread_mutex_t lock;
	char log[1 << 16];
	size_t log_len;
};

static inline void fakepg_note(struct fakepg *f, const char *what)
{
	pthread_mutex_lock(&f->lock);
	size_t len = strlen(what);
	if (f->log_len + len + 2 < sizeof f->log) {
		memcpy(f->log + f->log_len, what, len);
		f->log_len += len;
		f->log[f->log_len++] = ';';
		f->log[f->log_len] = '\0';
	}
	pthread_mutex_unlock(&f->lock);
}

/* "a;b;" came in this order, with nothing between. */
static inline bool fakepg_saw(struct fakepg *f, const char *what)
{
	pthread_mutex_lock(&f->lock);
	bool saw = strstr(f->log, what) != NULL;
	pthread_mutex_unlock(&f->lock);
	return saw;
}

static inline void fakepg_put(struct fakepg_conn *c, uint8_t type, const void *body, uint32_t len)
{
	uint8_t m[256] = { type, 0, 0, 0, (uint8_t)(len + 4) };
	assert_true(len + 5 <= sizeof m);
	if (len)
		memcpy(m + 5, body, len);
	if (send(c->fd, m, len + 5, MSG_NOSIGNAL) < 0)
		c->is_mute = true; /* the peer has gone: its EOF comes */
}

static inline void fakepg_ready(struct fakepg_conn *c)
{
	fakepg_put(c, 'Z', &c->tx, 1);
}

static inline void fakepg_error(struct fakepg_conn *c, const char *severity, const char *state)
{
	char body[128];
	int len = snprintf(body, sizeof body, "S%s%cV%s%cC%s%cMas the test wished%c%c", severity, 0, severity, 0, state, 0, 0, 0);
	if (c->tx == 'T')
		c->tx = 'E';
	fakepg_put(c, 'E', body, (uint32_t)len);
}

static inline void fakepg_complete(struct fakepg_conn *c, const char *tag)
{
	fakepg_put(c, 'C', tag, (uint32_t)strlen(tag) + 1);
}

static inline void fakepg_end(struct fakepg *f, struct fakepg_conn *c)
{
	if (c->is_in)
		atomic_fetch_sub(&f->now, 1);
	close(c->fd);
	c->fd = -1;
}

/* True when a ReadyForQuery ends it. */
static inline bool fakepg_run(struct fakepg_conn *c, const char *sql)
{
	if (strcmp(sql, "hold") == 0) {
		c->is_holding = true;
	} else if (strcmp(sql, "mute") == 0) {
		c->is_mute = true;
	} else if (strcmp(sql, "copy") == 0) {
		c->is_copying = true;
		fakepg_put(c, 'G', "\0\0\0", 3);
	} else if (strcmp(sql, "fail") == 0) {
		fakepg_error(c, "ERROR", "22012");
		return true;
	} else if (!*sql) {
		fakepg_put(c, 'I', NULL, 0);
		return true;
	} else {
		c->tx = strcmp(sql, "BEGIN") == 0 ? 'T' : strcmp(sql, "COMMIT") == 0 || strcmp(sql, "ROLLBACK") == 0 ? 'I' : c->tx;
		fakepg_complete(c, sql);
		return true;
	}
	return false;
}

static inline void fakepg_end_copy(struct fakepg_conn *c, bool is_good)
{
	c->is_copying = false;
	if (is_good)
		fakepg_complete(c, "COPY 0");
	else
		fakepg_error(c, "ERROR", "57014");
	if (c->is_extended)
		c->is_skipping = !is_good;
	else
		fakepg_ready(c);
}

static inline void fakepg_extended(struct fakepg_conn *c, uint8_t type)
{
	c->is_extended = true;
	if (c->is_skipping)
		return;
	if (type == 'E')
		fakepg_complete(c, "EXECUTE");
	else
		fakepg_put(c, type == 'P' ? '1' : type == 'B' ? '2' : type == 'C' ? '3' : 'n', NULL, 0);
}

static inline void fakepg_message(struct fakepg *f, struct fakepg_conn *c, uint8_t type, const char *body)
{
	char name[2] = { (char)type, 0 };
	fakepg_note(f, type == 'Q' ? body : name);
	if (type == 'X') {
		atomic_fetch_add(&f->terminates, 1);
		fakepg_end(f, c);
	} else if (c->is_mute) {
	} else if (c->is_copying) {
		if (type == 'c' || type == 'f')
			fakepg_end_copy(c, type == 'c');
	} else if (type == 'Q' && !c->is_skipping) {
		c->is_extended = false;
		if (fakepg_run(c, body))
			fakepg_ready(c);
	} else if (type == 'S') {
		c->is_extended = c->is_skipping = false;
		fakepg_ready(c);
	} else if (strchr("PBDEC", type)) {
		/* An Execute of portal "copy" begins a COPY. */
		if (type == 'E' && strcmp(body, "copy") == 0)
			c->is_extended = true, fakepg_run(c, body);
		else
			fakepg_extended(c, type);
	}
}

static inline void fakepg_cancel(struct fakepg *f, uint32_t pid)
{
	atomic_fetch_add(&f->cancels, 1);
	for (struct fakepg_conn *c = f->conn; c < f->conn + FAKEPG_CONNS; c++)
		if (c->fd >= 0 && c->is_in && c->pid == pid && c->is_holding) {
			c->is_holding = false;
			fakepg_error(c, "ERROR", "57014");
			fakepg_ready(c);
		}
}

static inline uint32_t fakepg_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void fakepg_login(struct fakepg *f, struct fakepg_conn *c)
{
	const char *refuse = atomic_load(&f->refuse);
	if (refuse) {
		fakepg_error(c, "FATAL", refuse);
		fakepg_end(f, c);
		return;
	}
	uint8_t key[8] = { 0 };
	c->is_in = true;
	c->tx = 'I';
	c->pid = ++f->last_pid;
	key[2] = (uint8_t)(c->pid >> 8);
	key[3] = (uint8_t)c->pid;
	atomic_fetch_add(&f->logins, 1);
	int now = atomic_fetch_add(&f->now, 1) + 1;
	if (now > atomic_load(&f->most))
		atomic_store(&f->most, now);
	fakepg_put(c, 'R', "\0\0\0", 4);
	fakepg_put(c, 'S', "server_version\00015.0", 20);
	fakepg_put(c, 'K', key, 8);
	fakepg_ready(c);
}

static inline void fakepg_startup(struct fakepg *f, struct fakepg_conn *c)
{
	uint32_t code = fakepg_u32(c->in + 4);
	if (code == 80877102) {
		fakepg_cancel(f, fakepg_u32(c->in + 8));
		fakepg_end(f, c);
	} else {
		fakepg_login(f, c);
	}
}

static inline void fakepg_read(struct fakepg *f, struct fakepg_conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->len, sizeof c->in - c->len - 1, 0);
	if (n <= 0) {
		fakepg_end(f, c);
		return;
	}
	c->len += (size_t)n;
	while (c->fd >= 0 && !c->is_holding) {
		size_t head = c->is_in ? 1 : 0, size = c->len >= head + 4 ? head + fakepg_u32(c->in + head) : SIZE_MAX;
		if (c->len < size)
			return;
		if (c->is_in) {
			uint8_t next = c->in[size]; /* bodies without a NUL of their own are texts too */
			c->in[size] = 0;
			fakepg_message(f, c, c->in[0], (const char *)c->in + 5);
			c->in[size] = next;
		} else {
			fakepg_startup(f, c);
		}
		c->len -= size;
		memmove(c->in, c->in + size, c->len);
	}
}

static inline void fakepg_accept(struct fakepg *f)
{
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	struct fakepg_conn *c = f->conn;
	while (c < f->conn + FAKEPG_CONNS && c->fd >= 0)
		c++;
	assert_true(c < f->conn + FAKEPG_CONNS);
	memset(c, 0, sizeof *c);
	c->fd = fd;
}

static inline void fakepg_drop_all(struct fakepg *f)
{
	for (struct fakepg_conn *c = f->conn; c < f->conn + FAKEPG_CONNS; c++)
		if (c->fd >= 0)
			fakepg_end(f, c);
}

static inline void *fakepg_thread(void *arg)
{
	struct fakepg *f = arg;
	while (!atomic_load(&f->is_ending)) {
		struct pollfd p[FAKEPG_CONNS + 2] = { { .fd = f->listen_fd, .events = POLLIN }, { .fd = f->wake[0], .events = POLLIN } };
		for (unsigned i = 0; i < FAKEPG_CONNS; i++)
			p[i + 2] = (struct pollfd){ .fd = f->conn[i].fd, .events = POLLIN };
		if (poll(p, FAKEPG_CONNS + 2, -1) < 0 && errno != EINTR)
			break;
		char c;
		if (p[1].revents && read(f->wake[0], &c, 1) == 1 && atomic_exchange(&f->drop_all, false))
			fakepg_drop_all(f);
		for (unsigned i = 0; i < FAKEPG_CONNS; i++)
			if (p[i + 2].revents && f->conn[i].fd == p[i + 2].fd)
				fakepg_read(f, &f->conn[i]);
		if (p[0].revents)
			fakepg_accept(f);
	}
	fakepg_drop_all(f);
	return NULL;
}

static inline void fakepg_wake(struct fakepg *f)
{
	assert_int_equal(write(f->wake[1], "x", 1), 1);
}

static inline void fakepg_drop(struct fakepg *f)
{
	atomic_store(&f->drop_all, true);
	fakepg_wake(f);
}

/* A node with host f->dir and the default port. */
static inline void fakepg_start(struct fakepg *f)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	memset(f, 0, sizeof *f);
	for (unsigned i = 0; i < FAKEPG_CONNS; i++)
		f->conn[i].fd = -1;
	pthread_mutex_init(&f->lock, NULL);
	strcpy(f->dir, "/tmp/fakepg-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/.s.PGSQL.5432", f->dir);
	strcpy(sa.sun_path, f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(f->listen_fd, 128), 0);
	assert_int_equal(pipe2(f->wake, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, fakepg_thread, f), 0);
}

static inline void fakepg_stop(struct fakepg *f)
{
	atomic_store(&f->is_ending, true);
	fakepg_wake(f);
	pthread_join(f->thread, NULL);
	close(f->listen_fd);
	close(f->wake[0]);
	close(f->wake[1]);
	unlink(f->path);
	rmdir(f->dir);
}

#endif
