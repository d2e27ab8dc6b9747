/*
 * priv — what the parts of a stream share: stream.c (the interface, queueing), engine.c (what an owner hears and when), and the engines
 * epoll.c and uring.c, which talk to the kernel.
 */
#ifndef NET_PRIV_H
#define NET_PRIV_H

#include <sys/uio.h>

#include "net/stream.h"

/* A remainder up to this size is put before the received bytes instead of being grown into a buffer of its own. */
#define HEADROOM_BYTES (16u * 1024)
#define SCRATCH_BYTES (64u * 1024)
#define GATHER_MAX 64
/* Less than this in several pieces is joined before it is sent. */
#define JOIN_BYTES 1024u
/* One recv reads at most this much: what it wrote is still in the cache when it is sent.  Twice as much costs a third more for large results. */
#define RECV_BYTES (64u * 1024)
#define READS_MAX 4 /* of one stream before others have their turn */

/* Slices that one stream will write together; merged where they touch. */
struct stream_gather {
	struct stream_gather *next_free;
	size_t bytes;
	unsigned n;
	struct msghdr msg; /* of a write that is under way */
	struct iovec iov[GATHER_MAX];
	uint8_t joined[JOIN_BYTES];
};

/* Copies that live until the next flush of everything. */
struct scratch {
	struct scratch *next;
	size_t used, cap;
	uint8_t bytes[];
};

struct lent {
	struct engine *engine;
};

/* How an engine talks to the kernel.  None of these calls an owner back. */
struct engine_ops {
	bool has_one_buffer;                           /* which the next receive overwrites */
	void (*adopt)(struct stream *s, int fd);       /* FD may be -1 */
	void (*want)(struct stream *s);                /* s->wants has changed */
	void (*flush)(struct engine *e);               /* writes what the streams on `dirty` have gathered */
	bool (*can_flush_later)(struct engine *e);     /* as part of the wait that follows; NULL: never */
	void (*forget)(struct stream *s, bool closes); /* no more news of it; its descriptor is closed, or free to go elsewhere */
	bool (*settle)(struct stream *s); /* ends what is under way in the kernel; false: bytes came meanwhile, and it stays */
	void (*free)(struct engine *e);
};

struct engine {
	const struct engine_ops *ops;
	struct loop *loop;
	struct lent lent;
	struct stream *current; /* whose callback runs; NULL again if that closed it */
	bool is_lending;
	struct dlist dirty;     /* have a gather */
	struct dlist again;     /* have something to hear at the end of the turn */
	struct dlist lingering; /* close when flushed; older ones in `overdue` */
	struct dlist overdue;
	struct loop_timer linger_tick;
	struct loop_defer more; /* linked: another round of the turn's end is wanted */
	struct stream_gather *free_gathers;
	struct scratch *scratch;         /* newest first; the last one stays */
	uint8_t *recv_buf;               /* HEADROOM_BYTES + RECV_BYTES */
	const struct stream *tls_failed; /* the last one whose TLS did, and why */
	char tls_error[200];
};

/* Which news of its socket a stream wants: LOOP_READ, LOOP_WRITE. */
static inline void stream_want(struct stream *s, unsigned events)
{
	if (s->wants == events)
		return;
	s->wants = events;
	s->engine->ops->want(s);
}

/* stream.c */
void stream_drop(struct stream *s);                  /* unlinks, stops, closes, frees; no callback */
void stream_fail_write(struct stream *s, int error); /* no more output; the end is found by reading */
void stream_gather_get(struct stream *s);            /* has one from now on */
void stream_gather_put(struct stream *s);
bool stream_ready(
    struct stream *s); /* its gather is as it shall be sent: few small pieces are one; false: it has none any more */
void stream_sent(struct stream *s, ssize_t n); /* so much of its gather is written (-errno: none); the rest goes to s->out */
ssize_t stream_send_now(const struct stream *s, struct iovec *iov, unsigned n); /* bytes that the kernel took, or -errno */
uint8_t *engine_scratch(struct engine *engine, size_t len);
void engine_scratch_back(struct engine *engine, size_t len); /* so much of the end of what was taken last is not needed */

/* sealed.c: with TLS only.  The first calls owners back; false: the stream is gone */
bool engine_unseal(struct stream *s, struct slice sealed);
bool stream_seal(struct stream *s);     /* its gather becomes records; false: it has none any more */
void stream_unsealed(struct stream *s); /* its gather has been sent, or is in s->out */
void stream_end_tls(struct stream *s);

/* engine.c: the first six call owners back; a stream may be gone afterwards */
void engine_end(struct stream *s, int error);                            /* 0: EOF */
void engine_finish(struct stream *s, int error);                         /* as above, behind what is still to be shown */
bool engine_show(struct stream *s, struct slice bytes, struct buf from); /* false: the stream is gone */
void engine_paused_end(struct stream *s, int error);                     /* of a paused one */
bool engine_tell(struct stream *s, void (*fn)(struct stream *));         /* false: the stream is gone */
void engine_writable(struct stream *s);                                  /* or its connect is decided */
void engine_again(struct stream *s);                                     /* have it looked at when the turn ends */
void engine_flush(struct engine *e);
void engine_flushed(struct engine *e); /* what the gathers lay in may be used again */
void engine_init(struct engine *e, const struct engine_ops *ops, struct loop *loop);
void engine_fini(struct engine *e);

#endif
