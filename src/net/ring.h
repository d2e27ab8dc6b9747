/* ring — an io_uring and the buffers that it receives into; private to the io_uring engine, and its thread's alone. */
#ifndef NET_RING_H
#define NET_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

/* One receive fills at most one buffer.  As many as that may be filled before their bytes are taken, of all streams together. */
#define RING_BUFFER_BYTES (16u * 1024)
#define RING_BUFFERS 32u
#define RING_GROUP 0

/* For a send that never waits (DONTWAIT).  One that left whole has no completion; one that did not (WAITALL) has, with what left of it. */
#define RING_SEND_FLAGS (MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL)
#define RING_SEND_SQE IOSQE_CQE_SKIP_SUCCESS

struct ring {
	struct io_uring io;
	struct io_uring_buf_ring *offered; /* shared with the kernel: buffers that it may fill */
	uint8_t *memory;
	uint16_t used[RING_BUFFERS]; /* filled, shown, and not yet offered again */
	unsigned n_used;
};

/* Whether there could be one, tried out: for the start of the program. */
bool ring_can(struct err *why) MUST_CHECK;
/* Made by the thread that will use it.  False: the kernel does not grant all that we need; ERR says what to do. */
bool ring_open(struct ring *r, struct err *err) MUST_CHECK;
void ring_close(struct ring *r);
/* An empty order, never NULL: what was ordered before is submitted when there is no room. */
struct io_uring_sqe *ring_order(struct ring *r);
/* Submits all orders; what can be done at once is done. */
void ring_submit(struct ring *r);
/* As above, and lets the kernel complete what it can of earlier ones: only here and in ring_wait() it receives. */
void ring_poll(struct ring *r);
/* As above, and sleeps until there is a completion, TIMEOUT_US at most (UINT64_MAX: without end). */
void ring_wait(struct ring *r, uint64_t timeout_us);
/* A filled buffer; HEADROOM_BYTES in front of it are writable too. */
uint8_t *ring_buffer(const struct ring *r, unsigned id);
void ring_used(struct ring *r, unsigned id); /* the kernel gets it back with ring_offer() */
void ring_offer(struct ring *r);

#endif
