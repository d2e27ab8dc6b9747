/*
 * stream — the interface: queueing, pausing, closing.  When the kernel is ready is the engine's affair.
 *
 *   stream_send -> gather (slices, borrowed) --flush--> kernel
 *                                               \--rest--> s->out (copied) --writable--> kernel
 *
 * Always: a stream has a gather or an `out`, never both, so order is kept (with TLS it may: sealed.c adds to `out`); it is on `dirty`
 *         exactly while it has a gather.
 *         Nothing in this file calls an owner back.
 */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/log.h"
#include "base/mem.h"
#include "priv.h"
#include "tlspriv.h"

#define UNREAD_MAX (16u * 1024) /* less than any receive window that a server starts with */

static struct stream_gather *gather_get(struct engine *e)
{
	struct stream_gather *g = e->free_gathers;
	if (g)
		e->free_gathers = g->next_free;
	else
		g = mem_alloc(sizeof *g);
	g->bytes = g->n = 0;
	return g;
}

void stream_gather_get(struct stream *s)
{
	if (s->gather)
		return;
	s->gather = gather_get(s->engine);
	dlist_push_back(&s->engine->dirty, &s->dirty);
}

void stream_gather_put(struct stream *s)
{
	if (UNLIKELY(s->is_tls))
		stream_unsealed(s);
	s->gather->next_free = s->engine->free_gathers;
	s->engine->free_gathers = s->gather;
	s->gather = NULL;
	dlist_remove(&s->dirty);
}

/* BYTES go on where the last queued ones end: as they mostly do when messages are forwarded one by one. */
static inline bool gather_extend(struct stream_gather *g, struct slice bytes)
{
	struct iovec *last = &g->iov[g->n ? g->n - 1 : 0];
	if (!g->n || (const uint8_t *)last->iov_base + last->iov_len != bytes.at)
		return false;
	last->iov_len += bytes.len;
	g->bytes += bytes.len;
	return true;
}

/* Slices that touch become one: a burst of untouched messages is one iovec, and one iovec is a plain send(). */
static void gather_add(struct stream *s, struct slice bytes)
{
	if (s->gather && s->gather->n == GATHER_MAX)
		s->engine->ops->flush(s->engine);
	if (s->error)
		return;
	if (s->out.data && !s->is_tls) {
		if (!buf_append(&s->out, bytes))
			stream_fail_write(s, ENOMEM);
		return;
	}
	stream_gather_get(s);
	struct stream_gather *g = s->gather;
	if (gather_extend(g, bytes))
		return;
	g->bytes += bytes.len;
	g->iov[g->n++] = (struct iovec){ .iov_base = (void *)(uintptr_t)bytes.at, .iov_len = bytes.len };
}

static void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof value);
}

static void init(struct stream *s, struct engine *engine, const struct stream_ops *ops, void *owner)
{
	*s = (struct stream){ .engine = engine, .ops = ops, .owner = owner, .is_open = true };
	dlist_init(&s->dirty);
	dlist_init(&s->again);
}

static void drop(struct stream *s, bool closes)
{
	if (s->engine->current == s)
		s->engine->current = NULL;
	if (s->gather)
		stream_gather_put(s);
	dlist_remove(&s->again);
	if (s->is_tls)
		stream_end_tls(s);
	buf_fini(&s->in);
	buf_fini(&s->out);
	s->engine->ops->forget(s, closes);
	s->is_open = false;
	s->wants = 0;
	s->io.ev.fd = -1;
}

void stream_drop(struct stream *s)
{
	drop(s, true);
}

/*
 * What the peer said last (a server's FATAL) may still be unread, so the end is reported by the reading side.  The shutdown
 * makes sure that it comes: ENOMEM alone would not wake anybody.
 */
void stream_fail_write(struct stream *s, int error)
{
	s->error = error;
	if (s->gather)
		stream_gather_put(s);
	buf_fini(&s->out);
	shutdown(s->io.ev.fd, SHUT_RDWR);
	stream_want(s, s->close_when_flushed ? 0 : LOOP_READ);
	if (s->close_when_flushed)
		engine_again(s);
}

ssize_t stream_send_now(const struct stream *s, struct iovec *iov, unsigned n)
{
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent;
	do {
		sent = n == 1 ? send(s->io.ev.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : sendmsg(s->io.ev.fd, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

bool stream_ready(struct stream *s)
{
	struct stream_gather *g = s->gather;
	if (UNLIKELY(s->is_tls))
		return stream_seal(s);
	if (g->n == 1 || g->bytes > JOIN_BYTES)
		return true;
	size_t at = 0;
	for (unsigned i = 0; i < g->n; i++) {
		memcpy(g->joined + at, g->iov[i].iov_base, g->iov[i].iov_len);
		at += g->iov[i].iov_len;
	}
	g->iov[0] = (struct iovec){ .iov_base = g->joined, .iov_len = at };
	g->n = 1;
	return true;
}

/*
 * TCP_USER_TIMEOUT also ends a connection whose peer acknowledges all but keeps its window closed (tcp_timer.c:tcp_probe_timer): a server that
 * waits for a lock in the middle of a COPY.  So it is in force only while all that may be unread fits into the smallest window.
 */
static NOT_INLINE void be_patient(struct stream *s)
{
	int ms = 0;
	socklen_t len = sizeof ms;
	s->is_patient = true;
	if (getsockopt(s->io.ev.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len) < 0 || ms <= 0)
		return;
	s->tcp_user_timeout_ms = (uint32_t)ms;
	set_int(s->io.ev.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
}

void stream_hurry(struct stream *s)
{
	s->is_patient = false;
	if (s->tcp_user_timeout_ms && s->is_open)
		set_int(s->io.ev.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)s->tcp_user_timeout_ms);
	s->tcp_user_timeout_ms = 0;
}

void stream_sent(struct stream *s, ssize_t n)
{
	struct stream_gather *g = s->gather;
	size_t sent = n > 0 ? (size_t)n : 0;
	s->unread_max += (uint32_t)g->bytes;
	if (UNLIKELY(s->unread_max > UNREAD_MAX) && !s->is_patient)
		be_patient(s);
	if (n < 0 && n != -EAGAIN && n != -EINTR) {
		stream_fail_write(s, (int)-n);
		return;
	}
	size_t left = g->bytes - sent;
	bool has_room = left == 0 || buf_reserve(&s->out, left);
	for (unsigned i = 0; i < g->n && left && has_room; i++) {
		struct slice part = slice_of(g->iov[i].iov_base, g->iov[i].iov_len);
		size_t skip = sent < part.len ? sent : part.len;
		sent -= skip;
		has_room = buf_append(&s->out, slice_skip(part, skip));
	}
	stream_gather_put(s);
	if (!has_room)
		stream_fail_write(s, ENOMEM);
	else if (left)
		stream_want(s, s->wants | LOOP_WRITE);
	else if (s->was_high || s->close_when_flushed)
		engine_again(s);
}

uint8_t *engine_scratch(struct engine *e, size_t len)
{
	struct scratch *c = e->scratch;
	if (!c || len > c->cap - c->used) {
		size_t cap = len > SCRATCH_BYTES ? len : SCRATCH_BYTES;
		c = mem_try(sizeof *c + cap);
		if (!c)
			return NULL;
		*c = (struct scratch){ .next = e->scratch, .cap = cap };
		e->scratch = c;
	}
	uint8_t *at = c->bytes + c->used;
	c->used += len;
	return at;
}

void engine_scratch_back(struct engine *e, size_t len)
{
	e->scratch->used -= len;
}

void stream_open(struct stream *s, struct engine *engine, int fd, const struct stream_ops *ops, void *owner)
{
	init(s, engine, ops, owner);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* a unix socket refuses, which is fine */
	engine->ops->adopt(s, fd);
	stream_want(s, LOOP_READ);
}

void stream_connect(struct stream *s, struct engine *engine, const struct addr *to, unsigned tcp_user_timeout_ms,
                    const struct stream_ops *ops, void *owner)
{
	init(s, engine, ops, owner);
	s->is_connecting = true;
	int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	engine->ops->adopt(s, fd);
	if (fd >= 0 && !addr_is_unix(to)) {
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		if (tcp_user_timeout_ms)
			set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)tcp_user_timeout_ms);
	}
	if (fd >= 0 && (connect(fd, (const struct sockaddr *)&to->sa, to->len) == 0 || errno == EINPROGRESS)) {
		stream_want(s, LOOP_WRITE);
		return;
	}
	s->error = errno;
	engine_again(s);
}

static NOT_INLINE void send_any(struct stream *s, struct slice bytes, struct lent *lent)
{
	if (!s->is_open || s->error || bytes.len == 0 || s->close_when_flushed || s->is_securing)
		return;
	if (s->is_connecting || (s->out.data && !s->is_tls)) {
		if (!buf_append(&s->out, bytes))
			stream_fail_write(s, ENOMEM);
	} else {
		ASSERT(!lent || lent->engine->is_lending);
		uint8_t *copy = lent ? NULL : engine_scratch(s->engine, bytes.len);
		if (copy)
			bytes.at = memcpy(copy, bytes.at, bytes.len);
		if (copy || lent)
			gather_add(s, bytes);
		else
			stream_fail_write(s, ENOMEM);
	}
	if (stream_backlog(s) >= STREAM_HIGH)
		s->was_high = true;
}

void stream_send(struct stream *s, struct slice bytes, struct lent *lent)
{
	struct stream_gather *g = s->gather;
	if (lent && g && !s->close_when_flushed && g->bytes + bytes.len < STREAM_HIGH && gather_extend(g, bytes))
		return;
	send_any(s, bytes, lent);
}

size_t stream_backlog(const struct stream *s)
{
	return buf_len(&s->out) + (s->gather ? s->gather->bytes : 0);
}

size_t stream_memory(const struct stream *s)
{
	return (size_t)s->in.cap + s->out.cap;
}

bool stream_is_open(const struct stream *s)
{
	return s->is_open;
}

int stream_fd(const struct stream *s)
{
	return s->is_open ? s->io.ev.fd : -1;
}

/* The watcher stays: most pauses end before anything arrives, and then have cost nothing. */
void stream_pause(struct stream *s)
{
	s->is_paused = true;
}

void stream_resume(struct stream *s)
{
	if (!s->is_open || !s->is_paused)
		return;
	s->is_paused = false;
	if (s->is_connecting || s->close_when_flushed)
		return;
	if (!s->has_eof)
		stream_want(s, s->out.data ? LOOP_READ | LOOP_WRITE : LOOP_READ);
	if (s->in.data || s->has_eof)
		engine_again(s);
}

size_t stream_unread(const struct stream *s)
{
	return buf_len(&s->in);
}

/* With TLS a goodbye follows. */
static void begin_close(struct stream *s)
{
	s->close_when_flushed = true;
	if (s->is_tls && !s->is_securing && !s->error)
		stream_gather_get(s);
}

void stream_close(struct stream *s)
{
	if (!s->is_open)
		return;
	begin_close(s);
	struct iovec rest = { .iov_base = s->out.data + s->out.read, .iov_len = buf_len(&s->out) };
	if (rest.iov_len && !s->is_connecting)
		stream_send_now(s, &rest, 1);
	else if (s->gather && stream_ready(s))
		stream_send_now(s, s->gather->iov, s->gather->n);
	stream_drop(s);
}

void stream_close_after_flush(struct stream *s)
{
	if (!s->is_open || s->close_when_flushed)
		return;
	begin_close(s);
	buf_fini(&s->in);
	if (!s->is_connecting)
		stream_want(s, s->out.data ? LOOP_WRITE : 0);
	engine_again(s);
}

int stream_detach(struct stream *s, struct tls **tls)
{
	if (!s->is_open || s->is_connecting || s->error || s->has_eof || stream_backlog(s) || stream_unread(s))
		return -1;
	if (s->is_tls && (!tls || !tls_is_quiet(s->tls)))
		return -1;
	if (!s->engine->ops->settle(s))
		return -1;
	int fd = s->io.ev.fd;
	if (tls)
		*tls = s->tls;
	s->tls = NULL;
	s->is_tls = false;
	drop(s, false);
	return fd;
}
