/* packet — one datagram of a SOCK_SEQPACKET socket: sent and received whole, with the descriptors that belong to it. */
#include "app/packet.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

union control_space {
	char bytes[CMSG_SPACE(LISTENER_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

bool packet_send(int fd, const void *bytes, size_t len, const int *fds, unsigned n_fds)
{
	union control_space space = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;
	if (n_fds) {
		msg.msg_control = space.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do {
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)len;
}

bool packet_say(int fd, const char *fmt, ...)
{
	char text[PACKET_MAX];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return len > 0 && packet_send(fd, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1, NULL, 0);
}

static void take_fds(struct packet *p, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (p->n_fds < LISTENER_FDS_MAX)
				p->fds[p->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

enum packet_result packet_recv(int fd, struct packet *p)
{
	union control_space space;
	struct iovec iov = { .iov_base = p->text, .iov_len = PACKET_MAX };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space };
	ssize_t got;
	do {
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	p->len = got > 0 ? (size_t)got : 0;
	p->n_fds = 0;
	p->text[p->len] = '\0';
	if (got > 0)
		take_fds(p, &msg);
	if (got > 0 && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return PACKET_OK;
	packet_close_fds(p);
	return got < 0 && errno == EAGAIN ? PACKET_NONE : PACKET_END;
}

void packet_close_fds(struct packet *p)
{
	for (unsigned i = 0; i < p->n_fds; i++)
		close(p->fds[i]);
	p->n_fds = 0;
}

bool packet_is_over(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

const char *packet_after(const struct packet *p, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(p->text, word, len) != 0 || (p->text[len] != '\0' && p->text[len] != ' '))
		return NULL;
	return p->text + len + (p->text[len] == ' ');
}

/* Digits and nothing else, up to END; at most MOST. */
static bool read_number(const char **at, char end, unsigned long long most, unsigned long long *out)
{
	char *behind;
	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*out = strtoull(*at, &behind, 10);
	if (errno || *behind != end || *out > most)
		return false;
	*at = behind + 1;
	return true;
}

bool packet_read_door(const char *text, struct packet_door *out)
{
	unsigned long long fixed, port, real_port;
	if (!read_number(&text, ' ', 1, &fixed) || !read_number(&text, ' ', UINT16_MAX, &port) ||
	    !read_number(&text, ' ', UINT16_MAX, &real_port) || !*text)
		return false;
	*out = (struct packet_door){ (unsigned)fixed, (unsigned)port, (unsigned)real_port, text };
	return true;
}

bool packet_read_control(const char *text, struct packet_control *out)
{
	unsigned long long fixed;
	if (!read_number(&text, ' ', 1, &fixed))
		return false;
	*out = (struct packet_control){ fixed != 0, text };
	return true;
}

/* "n pid", a newline, the key. */
bool packet_read_cancel(const struct packet *p, struct packet_cancel *out)
{
	const char *text = packet_after(p, "CANCEL");
	unsigned long long pid;
	if (!text || !read_number(&text, ' ', ULLONG_MAX, &out->number) || !read_number(&text, '\n', UINT32_MAX, &pid))
		return false;
	out->pid = (uint32_t)pid;
	out->key = slice_of(text, p->len - (size_t)(text - p->text));
	return true;
}

char *packet_path(const struct conf *c)
{
	char *path = NULL;
	if (c->control_socket[0])
		return mem_text(c->control_socket);
	if (c->listen.unix_socket_dir[0] != '/')
		return mem_text("");
	size_t size = strlen(c->listen.unix_socket_dir) + sizeof "/.s.LUNAPOOL.65535";
	path = mem_alloc(size);
	snprintf(path, size, "%s/.s.LUNAPOOL.%u", c->listen.unix_socket_dir, (unsigned)c->listen.port);
	return path;
}

bool packet_addr(const char *path, struct sockaddr_un *out, struct err *err)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof out->sun_path)
		return err_set(err, "F0000", "the path of the control socket, %.200s, is longer than %zu bytes", path,
		               sizeof out->sun_path - 1);
	memcpy(out->sun_path, path, strlen(path) + 1);
	return true;
}
