/*
 * listen — listening sockets of one configured address.
 *
 * Readable -> accept up to BATCH, give each away.  When the process is out of descriptors the spare one is closed to accept
 * and drop one connection (the peer sees a close instead of a hang, and the loop does not spin on a readiness that it cannot
 * serve); without a spare the sockets rest for REST_US.
 *
 * Always: a listener closed by its own callback lives until that callback has unwound.
 */
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define SOCKETS_MAX LISTENER_FDS_MAX
#define BATCH 64
#define REST_US (100 * US_PER_MS)
#define PORT_TRIES 16

struct listen_socket {
	struct loop_io io;
	struct listener *listener;
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" unless a socket file was made */
	dev_t dev; /* which file that was: another process may have put its own there since */
	ino_t ino;
};

struct listener {
	struct loop *loop;
	listen_client_fn on_client;
	void *arg;
	struct loop_timer rest;
	int spare_fd;
	uint64_t shed, told_us; /* connections shed since that was told */
	unsigned n;
	bool is_accepting, is_closed;
	struct listen_socket sockets[SOCKETS_MAX];
};

/* Fills ERR from errno and keeps errno. */
static bool fail(struct err *err, const struct addr *a, const char *doing)
{
	char text[ADDR_TEXT_MAX];
	int e = errno;
	err_set(err, e == EADDRINUSE ? "55006" : "58000", "could not %s %s: %s", doing, addr_text(a, text), strerror(e));
	errno = e; /* add_all() looks at it */
	return false;
}

static void open_spare(struct listener *l)
{
	if (l->spare_fd < 0)
		l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void watch_all(struct listener *l, unsigned events)
{
	for (unsigned i = 0; i < l->n; i++)
		loop_io_set(l->loop, &l->sockets[i].io, events);
}

static void rested(struct loop_timer *t)
{
	struct listener *l = CONTAINER_OF(t, struct listener, rest);
	open_spare(l);
	watch_all(l, LOOP_READ);
}

/* Out of descriptors: true when one connection was shed and accepting may go on. */
static bool shed_one(struct listener *l, struct listen_socket *s, unsigned *shed)
{
	bool had_spare = l->spare_fd >= 0;
	if (had_spare)
		close(l->spare_fd);
	l->spare_fd = -1;
	int fd = had_spare ? accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
	if (fd >= 0) {
		++*shed;
		close(fd);
	}
	open_spare(l);
	if (l->spare_fd >= 0)
		return fd >= 0; /* else nobody was waiting: accept() finds the limit before it looks */
	watch_all(l, 0);
	loop_timer_start(l->loop, &l->rest, REST_US);
	return false;
}

/* False: nothing more to accept now. */
static bool accept_one(struct listener *l, struct listen_socket *s, unsigned *shed)
{
	struct addr peer = { .len = sizeof peer.sa };
	int fd = accept4(s->fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		l->on_client(l->arg, fd, &peer);
		return !l->is_closed;
	}
	if (errno == EMFILE || errno == ENFILE)
		return shed_one(l, s, shed);
	/* accept(2): errors of the connection that died in the queue are reported here; the next may be fine. */
	return errno != EAGAIN && errno != EBADF && errno != EINVAL && errno != ENOBUFS && errno != ENOMEM;
}

/* At most a line a second: whoever exhausts our descriptors shall not fill the disk too. */
static void tell_shed(struct listener *l, unsigned shed)
{
	uint64_t now = loop_now_us(l->loop);
	l->shed += shed;
	if (now - l->told_us < US_PER_S)
		return;
	log_warn(NULL, "out_of_descriptors", KV_INT("shed", l->shed), KV_INT("limit", listen_raise_nofile()));
	l->told_us = now;
	l->shed = 0;
}

static void free_if_closed(struct listener *l)
{
	l->is_accepting = false;
	if (l->is_closed)
		mem_free(l);
}

static void on_ready(struct loop_io *io, unsigned events)
{
	struct listen_socket *s = CONTAINER_OF(io, struct listen_socket, io);
	struct listener *l = s->listener;
	unsigned shed = 0;
	l->is_accepting = true;
	for (int i = 0; i < BATCH && accept_one(l, s, &shed); i++) {
	}
	if (shed)
		tell_shed(l, shed);
	free_if_closed(l);
}

/* A socket file that nobody answers on was left by a process that died.  What is no socket is never ours to remove. */
static bool is_stale(const struct addr *a, const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_refused = fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0 && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return is_refused;
}

/* Remembers the file at PATH as the socket's own. */
static bool own_file(struct listen_socket *s, const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return false;
	memcpy(s->path, path, sizeof s->path);
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return true;
}

static bool bind_unix(struct listen_socket *s, const struct addr *a, struct err *err)
{
	const char *path = ((const struct sockaddr_un *)(const void *)&a->sa)->sun_path;
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;
	if (path[0] == '\0')
		return bind(s->fd, sa, a->len) == 0 || fail(err, a, "listen on");
	if (bind(s->fd, sa, a->len) < 0) {
		if (errno != EADDRINUSE)
			return fail(err, a, "listen on");
		if (!is_stale(a, path)) {
			errno = EADDRINUSE;
			fail(err, a, "listen on");
			err_hint(err, "Another process listens there; if not, remove the file.");
			return false;
		}
		unlink(path);
		if (bind(s->fd, sa, a->len) < 0)
			return fail(err, a, "listen on");
	}
	if (own_file(s, path))
		return true;
	fail(err, a, "look at");
	unlink(path);
	return false;
}

static bool bind_tcp(struct listen_socket *s, const struct addr *a, struct err *err)
{
	const int on = 1;
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->sa.ss_family == AF_INET6)
		setsockopt(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	return bind(s->fd, (const struct sockaddr *)&a->sa, a->len) == 0 || fail(err, a, "listen on");
}

static void close_socket(struct listen_socket *s)
{
	struct stat st;
	if (s->path[0] && stat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
}

static bool add_socket(struct listener *l, const struct addr *a, int backlog, struct err *err)
{
	struct listen_socket *s = &l->sockets[l->n];
	*s = (struct listen_socket){ .listener = l };
	s->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return fail(err, a, "make a socket for");
	bool is_bound = addr_is_unix(a) ? bind_unix(s, a, err) : bind_tcp(s, a, err);
	if (!is_bound || (listen(s->fd, backlog) < 0 && !fail(err, a, "listen on"))) {
		int e = errno;
		close_socket(s);
		errno = e;
		return false;
	}
	loop_io_init(&s->io, s->fd, on_ready);
	l->n++;
	return true;
}

static void drop_sockets(struct listener *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		loop_io_set(l->loop, &l->sockets[i].io, 0);
		close_socket(&l->sockets[i]);
	}
	l->n = 0;
}

static void set_port(struct addr *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&a->sa)->sin_port = htons(port);
	else if (a->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)&a->sa)->sin6_port = htons(port);
}

/* All addresses on one port.  What this machine has no such family for is left out, as long as one remains. */
static bool add_all(struct listener *l, const struct addr *at, unsigned n, uint16_t port, int backlog, struct err *err)
{
	for (unsigned i = 0; i < n; i++) {
		struct addr a = at[i];
		set_port(&a, l->n && port == 0 ? listener_port(l) : port);
		if (!add_socket(l, &a, backlog, err) && (n == 1 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)))
			return false;
	}
	return l->n > 0;
}

/* A port that the kernel chose for the first address may be taken on the second: then another is tried. */
static bool add_sockets(struct listener *l, const struct addr *at, unsigned n, uint16_t port, int backlog, struct err *err)
{
	for (int tries = port == 0 && n > 1 ? PORT_TRIES : 1; tries > 0; tries--) {
		if (add_all(l, at, n, port, backlog, err))
			return true;
		drop_sockets(l);
	}
	return false;
}

static bool is_among(const struct addr *at, unsigned n, const struct addrinfo *f)
{
	for (unsigned i = 0; i < n; i++)
		if (at[i].len == f->ai_addrlen && memcmp(&at[i].sa, f->ai_addr, f->ai_addrlen) == 0)
			return true;
	return false;
}

/* A name may stand for one address twice (localhost in /etc/hosts often does). */
static unsigned look_up(const char *host, struct addr *at, struct err *err)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	unsigned n = 0;
	int rc = getaddrinfo(host, "0", &want, &found);
	if (rc) {
		err_set(err, "58000", "could not find the address of \"%s\" to listen on: %s", host,
		        rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return 0;
	}
	for (struct addrinfo *f = found; f && n < SOCKETS_MAX; f = f->ai_next) {
		if (is_among(at, n, f))
			continue;
		memcpy(&at[n].sa, f->ai_addr, f->ai_addrlen);
		at[n++].len = f->ai_addrlen;
	}
	freeaddrinfo(found);
	return n;
}

/* How many addresses TEXT means; 0: none, and ERR. */
static unsigned addresses(const char *text, uint16_t port, struct addr *at, struct err *err)
{
	if (strcmp(text, "*") == 0)
		return addr_from_numeric(&at[0], "::", port) && addr_from_numeric(&at[1], "0.0.0.0", port) ? 2 : 0;
	if (text[0] == '/' || text[0] == '@')
		return addr_from_socket_dir(&at[0], text, port, err) ? 1 : 0;
	if (addr_from_numeric(&at[0], text, port))
		return 1;
	return look_up(text, at, err);
}

static struct listener *listener_new(struct loop *loop, listen_client_fn on_client, void *arg)
{
	struct listener *l = mem_alloc(sizeof *l);
	*l = (struct listener){ .loop = loop, .on_client = on_client, .arg = arg, .spare_fd = -1 };
	loop_timer_init(&l->rest, rested);
	return l;
}

static void begin(struct listener *l)
{
	open_spare(l);
	watch_all(l, LOOP_READ);
}

struct listener *listener_open(struct loop *loop, const char *address, uint16_t port, int backlog, listen_client_fn on_client,
                               void *arg, struct err *err)
{
	struct addr at[SOCKETS_MAX] = { 0 };
	unsigned n = addresses(address, port, at, err);
	if (n == 0)
		return NULL;
	struct listener *l = listener_new(loop, on_client, arg);
	if (!add_sockets(l, at, n, port, backlog, err)) {
		mem_free(l);
		return NULL;
	}
	begin(l);
	return l;
}

struct listener *listener_adopt(struct loop *loop, const int *fds, unsigned n, listen_client_fn on_client, void *arg)
{
	struct listener *l = listener_new(loop, on_client, arg);
	ASSERT(n > 0 && n <= SOCKETS_MAX);
	for (unsigned i = 0; i < n; i++) {
		struct listen_socket *s = &l->sockets[l->n++];
		*s = (struct listen_socket){ .listener = l, .fd = fds[i] };
		fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
		fcntl(fds[i], F_SETFD, FD_CLOEXEC);
		loop_io_init(&s->io, s->fd, on_ready);
	}
	begin(l);
	return l;
}

void listener_own_files(struct listener *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct addr a = { .len = sizeof a.sa };
		const struct sockaddr_un *un = (const void *)&a.sa;
		if (getsockname(l->sockets[i].fd, (struct sockaddr *)&a.sa, &a.len) == 0 && addr_is_unix(&a) && un->sun_path[0] &&
		    !own_file(&l->sockets[i], un->sun_path))
			log_warn(NULL, "socket_file_lost", KV_STR("path", un->sun_path), KV_STR("why", strerror(errno)));
	}
}

unsigned listener_fds(const struct listener *l, int out[LISTENER_FDS_MAX])
{
	for (unsigned i = 0; i < l->n; i++)
		out[i] = l->sockets[i].fd;
	return l->n;
}

void listener_abandon(struct listener *l)
{
	for (unsigned i = 0; i < l->n; i++)
		l->sockets[i].path[0] = '\0';
	listener_close(l);
}

uint16_t listener_port(const struct listener *l)
{
	struct addr a = { .len = sizeof a.sa };
	getsockname(l->sockets[0].fd, (struct sockaddr *)&a.sa, &a.len);
	return addr_port(&a);
}

void listener_adjust(struct listener *l, int backlog, unsigned mode)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct listen_socket *s = &l->sockets[i];
		if (listen(s->fd, backlog) < 0 || (s->path[0] && chmod(s->path, mode) < 0))
			log_warn(NULL, "listening_not_adjusted", KV_STR("path", s->path), KV_STR("why", strerror(errno)));
	}
}

void listener_close(struct listener *l)
{
	if (!l || l->is_closed)
		return;
	loop_timer_stop(l->loop, &l->rest);
	drop_sockets(l);
	if (l->spare_fd >= 0)
		close(l->spare_fd);
	l->is_closed = true;
	if (!l->is_accepting)
		mem_free(l);
}

uint64_t listen_raise_nofile(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur;
}
