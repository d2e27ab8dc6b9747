/*
 * knock — resolving, connecting, asking, one after the other under one deadline.
 *
 *   resolve ──► connect ──► SSLRequest ──► a byte: opened        no SYN-ACK, no route: lost      connected and nothing comes: silent
 *      └─ no address, no descriptor: ours      └─ refused, or reset at once: refused
 */
#include "ha/knock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/world.h"

struct knock {
	struct loop *loop;
	struct resolver *resolver;
	const struct world *world; /* of a simulation; NULL: the network is real */
	struct mailbox *mailbox;
	void (*fn)(void *arg, enum ladder_event how);
	void *arg;
	struct resolve_question *question;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_defer tell;
	int fd;
	bool is_under_way, is_connected;
	enum ladder_event how;
};

static void stop(struct knock *k)
{
	resolve_forget(k->question);
	k->question = NULL;
	loop_timer_stop(k->loop, &k->timer);
	if (k->world)
		k->world->unknock(k->world->arg, k);
	if (k->fd >= 0) {
		loop_io_set(k->loop, &k->io, 0);
		close(k->fd);
	}
	k->fd = -1;
}

static void end(struct knock *k, enum ladder_event how)
{
	stop(k);
	k->how = how;
	loop_defer(k->loop, &k->tell);
}

static void on_tell(struct loop_defer *d)
{
	struct knock *k = CONTAINER_OF(d, struct knock, tell);
	k->is_under_way = false;
	k->fn(k->arg, k->how);
}

static void on_timeout(struct loop_timer *t)
{
	struct knock *k = CONTAINER_OF(t, struct knock, timer);
	end(k, k->question ? LADDER_OURS : k->is_connected ? LADDER_SILENT : LADDER_LOST);
}

static enum ladder_event how_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOENT: /* the unix socket's file */
	case EPIPE:
		return LADDER_REFUSED;
	case EAGAIN: /* a unix socket's queue is full */
		return LADDER_SILENT;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
		return LADDER_LOST;
	default:
		return LADDER_OURS;
	}
}

static void ask(struct knock *k)
{
	static const uint8_t ssl_request[] = { 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f };
	k->is_connected = true;
	if (send(k->fd, ssl_request, sizeof ssl_request, MSG_NOSIGNAL) != (ssize_t)sizeof ssl_request)
		end(k, how_of(errno));
	else
		loop_io_set(k->loop, &k->io, LOOP_READ);
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct knock *k = CONTAINER_OF(io, struct knock, io);
	int error = 0;
	socklen_t len = sizeof error;
	uint8_t answer;
	if (!k->is_connected) {
		if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
			end(k, how_of(error));
		else
			ask(k);
		return;
	}
	ssize_t n = recv(k->fd, &answer, 1, 0);
	if (n > 0)
		end(k, LADDER_OPENED);
	else if (n == 0)
		end(k, LADDER_REFUSED); /* taken and dropped without a word */
	else if (errno != EAGAIN && errno != EINTR)
		end(k, how_of(errno));
}

static void connect_to(struct knock *k, const struct addr *a)
{
	k->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd < 0) {
		end(k, LADDER_OURS);
		return;
	}
	loop_io_init(&k->io, k->fd, on_io);
	if (connect(k->fd, (const struct sockaddr *)&a->sa, a->len) == 0)
		ask(k);
	else if (errno == EINPROGRESS)
		loop_io_set(k->loop, &k->io, LOOP_WRITE);
	else
		end(k, how_of(errno));
}

static void on_answer(void *arg, const struct resolve_answer *answer)
{
	struct knock *k = arg;
	k->question = NULL;
	if (answer->n)
		connect_to(k, &answer->at[0]);
	else
		end(k, LADDER_OURS);
}

struct knock *knock_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                        void (*fn)(void *arg, enum ladder_event how), void *arg)
{
	struct knock *k = mem_alloc(sizeof *k);
	*k = (struct knock){
		.loop = loop, .resolver = resolver, .world = resolver_world(resolver), .mailbox = mailbox, .fn = fn, .arg = arg, .fd = -1
	};
	loop_timer_init(&k->timer, on_timeout);
	loop_defer_init(&k->tell, on_tell);
	return k;
}

void knock_free(struct knock *k)
{
	if (!k)
		return;
	stop(k);
	loop_defer_cancel(&k->tell);
	mem_free(k);
}

bool knock_is_under_way(const struct knock *k)
{
	return k->is_under_way;
}

void knock_begin(struct knock *k, const char *host, uint16_t port, uint64_t timeout_us)
{
	struct addr a;
	struct err err;
	ASSERT(!k->is_under_way);
	k->is_under_way = true;
	k->is_connected = false;
	loop_timer_start(k->loop, &k->timer, timeout_us);
	if (k->world) {
		k->world->knock(k->world->arg, k, host, port);
	} else if (host[0] == '/' || host[0] == '@') {
		if (addr_from_socket_dir(&a, host, port, &err))
			connect_to(k, &a);
		else
			end(k, LADDER_OURS);
	} else if (addr_from_numeric(&a, host, port)) {
		connect_to(k, &a);
	} else {
		k->question = resolve_ask(k->resolver, host, port, k->mailbox, on_answer, k);
	}
}

void knock_on_taken(struct knock *k)
{
	k->is_connected = true;
}

void knock_on_end(struct knock *k, enum ladder_event how)
{
	end(k, how);
}
