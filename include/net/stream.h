/*
 * stream — one connected socket, completion-shaped: nothing above this line knows about readiness.
 *
 * Bytes that arrive are lent to on_data() for the length of the call; it says how many it took, and the engine keeps a copy
 * of the rest and shows it again, with what came since, as one slice.  stream_send() queues: slices inside a lent buffer are
 * not copied; the engine writes everything that was queued with one writev when the callback that produced it has returned
 * (or at the end of the turn), and copies only what the kernel did not take.  A stream holds no memory while it is idle.
 *
 * With TLS (stream_start_tls) everything above this line stays as it is: what is lent was decrypted, what is sent leaves as full records.
 *
 * Always: after on_closed(), or once stream_close() was called, no callback of that stream runs again.
 *         Between stream_start_tls() and on_secured() nothing is shown, and what is sent is dropped: it can never leave in the clear.
 *         Callbacks run from the loop only, never from inside a stream_… call.
 * Thread: all functions belong to the thread of the engine.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/dlist.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/tls.h"

/* The engine of a thread: receive buffers, the list of streams with something to write. */
struct engine;
struct engine *engine_new(struct loop *loop); /* epoll through libev */
/* Linux 6.1 and newer, where it is allowed; else NULL, and WHY says what to do.  Called by the thread that will run LOOP. */
struct engine *engine_new_io_uring(struct loop *loop, struct err *why) MUST_CHECK;
bool engine_can_io_uring(struct err *why) MUST_CHECK;
void engine_free(struct engine *engine);
struct loop *engine_loop(struct engine *engine);

/* A receive buffer with a reference count.  Slices inside it may be sent without a copy while on_data() runs. */
struct lent;

enum stream_end {
	STREAM_END_EOF,   /* the peer closed */
	STREAM_END_ERROR, /* errno in `error`; EPROTO: TLS failed, stream_end_text() says why */
};

struct stream;
struct stream_ops {
	/* Returns how many bytes of BYTES it took (0..len).  If it took less than all and did not pause, it is called again
	 * when more bytes are there.  May pause, send, close this or other streams. */
	size_t (*on_data)(struct stream *s, struct slice bytes, struct lent *lent);
	/* The backlog had reached STREAM_HIGH and has now fallen below STREAM_LOW.  May be NULL. */
	void (*on_drained)(struct stream *s);
	/* EOF or error; bytes that were still unconsumed were shown before, except those of a paused stream that broke.
	 * The fd is closed.  Once.  A paused stream whose peer closed behind unread bytes is told after it was resumed. */
	void (*on_closed)(struct stream *s, enum stream_end why, int error);
	/* For streams from stream_connect(): the connection stands.  NULL otherwise. */
	void (*on_connected)(struct stream *s);
	/* The handshake of stream_start_tls() is done.  May be NULL. */
	void (*on_secured)(struct stream *s);
};

#define STREAM_HIGH (256u * 1024) /* bytes: whoever feeds this stream should stop */
#define STREAM_LOW (64u * 1024)
#define STREAM_LINGER_US 2000000ull

struct stream {
	struct loop_io io;
	struct engine *engine;
	const struct stream_ops *ops;
	void *owner;                  /* for the user's callbacks */
	struct buf in;                /* remainder that on_data() did not take */
	struct buf out;               /* remainder that the kernel did not take */
	struct dlist dirty;           /* in the engine's list while slices are queued */
	struct dlist again;           /* in the engine's list while on_data() must be shown its remainder again */
	struct stream_gather *gather; /* queued slices of this callback, lent by the engine; NULL mostly */
	struct tls *tls;              /* NULL: plain */
	unsigned is_open : 1, is_paused : 1, is_connecting : 1, was_high : 1, close_when_flushed : 1, has_eof : 1, is_patient : 1;
	unsigned is_tls : 1, is_securing : 1;
	unsigned wants : 2;           /* LOOP_READ, LOOP_WRITE: what the engine is to tell of the socket */
	unsigned error : 16;          /* errno of the write that failed; from then on nothing is sent */
	uint32_t slot;                /* the io_uring engine's name for it */
	uint32_t unread_max;          /* bytes that the peer may not have read yet, counted since stream_all_read() */
	uint32_t tcp_user_timeout_ms; /* to be set again when it has read all; 0: it is in force, or there is none */
};

/* Takes over the connected, non-blocking FD; reading starts (TCP_NODELAY is set here, keepalive as configured by the caller). */
void stream_open(struct stream *s, struct engine *engine, int fd, const struct stream_ops *ops, void *owner);
/* Starts a non-blocking connect; on_connected() or on_closed() follows, from the loop.  TCP_USER_TIMEOUT_MS 0: system default. */
void stream_connect(struct stream *s, struct engine *engine, const struct addr *to, unsigned tcp_user_timeout_ms,
                    const struct stream_ops *ops, void *owner);
/* Queues BYTES.  LENT: the buffer that they lie in (from on_data()), or NULL: they are copied now.  Order is kept.
 * Sending to a closed stream is a no-op. */
void stream_send(struct stream *s, struct slice bytes, struct lent *lent);
size_t stream_backlog(const struct stream *s); /* bytes queued and not yet in the kernel */
static inline bool stream_is_high(const struct stream *s)
{
	return s->was_high && stream_backlog(s) >= STREAM_HIGH; /* it grows in stream_send() only, which notes it */
}
/* The peer's answers tell that it has read everything.  Until then one that reads slowly is no dead one: see stream.c:be_patient. */
void stream_hurry(struct stream *s);
static inline void stream_all_read(struct stream *s)
{
	s->unread_max = 0;
	if (s->is_patient)
		stream_hurry(s);
}
size_t stream_memory(const struct stream *s);  /* bytes of its own that it keeps for what was not read or not written */
bool stream_is_open(const struct stream *s);
int stream_fd(const struct stream *s); /* for socket options only; -1 when closed */
void stream_pause(struct stream *s);   /* no on_data() until resumed; idempotent */
void stream_resume(struct stream *s);  /* shows the remainder again, from the loop; idempotent */
/* Bytes that the owner has not taken yet (0 while on_data() shows them). */
size_t stream_unread(const struct stream *s);
/* Closes now; queued bytes get one last try.  No callback afterwards.  Idempotent. */
void stream_close(struct stream *s);
/* Closes when everything queued is written (at most STREAM_LINGER_US later); input is ignored.  on_closed() is still called. */
void stream_close_after_flush(struct stream *s);
/* Gives the fd away: for handing a connection to another thread.  Only with no backlog and no remainder; returns the fd
 * (caller's now), or -1 when that does not hold.  No callback afterwards.  *TLS: goes with it, to stream_put_tls(); NULL: plain. */
int stream_detach(struct stream *s, struct tls **tls) MUST_CHECK;
/* Behind stream_open() of such a descriptor: goes on where the other thread left off.  Takes TLS over; NULL is fine. */
void stream_put_tls(struct stream *s, struct tls *tls);
void stream_drop_tls(struct tls *tls); /* the descriptor went nowhere; NULL is fine */

/* What was queued leaves in the clear; all that comes from now on is TLS.  on_secured() or on_closed() follows, from the loop.  The
 * configuration says which end we are.  EARLY: bytes that were shown already and belong to the handshake: the caller takes them. */
struct tls_start {
	struct tls_conf *conf;
	const char *host; /* the server's name, to be told and verified; NULL where we are the server */
	bool is_direct;   /* no SSLRequest went before: ALPN must say "postgresql" */
	struct slice early;
};
void stream_start_tls(struct stream *s, const struct tls_start *start);
static inline struct tls *stream_tls(const struct stream *s)
{
	return s->is_securing ? NULL : s->tls; /* not before it holds */
}
/* For on_closed(): why, in words. */
const char *stream_end_text(const struct stream *s, enum stream_end why, int error);

#endif
