/*
 * priv — what stream.c (queueing, the interface) and epoll.c (the engine) share.
 */
#ifndef NET_PRIV_H
#define NET_PRIV_H

#include <sys/uio.h>

#include "net/stream.h"

/* One recv reads at most this much: what it wrote is still in the cache when it is sent.  Twice as much costs a third more for large results. */
#define RECV_BYTES (64u * 1024)
/* A remainder up to this size is put before the received bytes instead of being grown into a buffer of its own. */
#define HEADROOM_BYTES (16u * 1024)
#define SCRATCH_BYTES (64u * 1024)
#define GATHER_MAX 64
/* Less than this in several pieces is joined before it is sent. */
#define JOIN_BYTES 1024u

/* Slices that one stream will write together; merged where they touch. */
struct stream_gather {
	struct stream_gather *next_free;
	size_t bytes;
	unsigned n;
	struct iovec iov[GATHER_MAX];
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

struct engine {
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
	struct scratch *scratch; /* newest first; the last one stays */
	uint8_t *recv_buf;       /* HEADROOM_BYTES + RECV_BYTES */
};

/* stream.c */
void stream_init(struct stream *s, struct engine *engine, const struct stream_ops *ops, void *owner);
void stream_drop(struct stream *s);                                   /* unlinks, stops, closes, frees; no callback */
void stream_fail_write(struct stream *s, int error);                  /* no more output; the end is found by reading */
void stream_flush(struct stream *s);                                  /* writes its gather; the rest goes to s->out */
size_t stream_write(struct stream *s, struct iovec *iov, unsigned n); /* 0: would block or s->error */
uint8_t *engine_scratch(struct engine *engine, size_t len);

/* epoll.c */
void engine_ready(struct loop_io *io, unsigned events);
void engine_again(struct stream *s); /* have it looked at when the turn ends */

#endif
