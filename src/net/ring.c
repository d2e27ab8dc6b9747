/*
 * ring — an io_uring of one thread, and the buffers that it receives into.
 *
 * SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1): the kernel receives only while we are inside io_uring_enter, never in between, so a turn
 * is interrupted by nothing.  Whoever has both has multishot receives and buffer rings (6.0), too.  The buffers are in a mapping of
 * their own: what was never filled takes no memory.  Neither ring nor buffers are inherited by a child.
 */
#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "priv.h"

#define ORDERS 256
#define COMPLETIONS 4096
#define STRIDE (HEADROOM_BYTES + RING_BUFFER_BYTES)

static bool refused(struct err *err, const char *what, int error)
{
	err_set(err, "58000", "the kernel does not grant io_uring: %s: %s", what, strerror(error));
	if (error == EPERM || error == EACCES)
		err_hint(err, "Allow it (sysctl kernel.io_uring_disabled = 0, the container's seccomp profile), or set engine = epoll.");
	else if (error == ENOMEM)
		err_hint(err, "Raise the limit of locked memory (ulimit -l, LimitMEMLOCK), or set engine = epoll.");
	else
		err_hint(err, "It takes Linux 6.1 or newer; or set engine = epoll.");
	return false;
}

static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, bytes, MADV_DONTFORK);
	return at;
}

static bool offer_buffers(struct ring *r, struct err *err)
{
	r->offered = map(RING_BUFFERS * sizeof(struct io_uring_buf));
	r->memory = map(RING_BUFFERS * STRIDE);
	if (!r->offered || !r->memory)
		return refused(err, "buffers", ENOMEM);
	struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)r->offered, .ring_entries = RING_BUFFERS, .bgid = RING_GROUP };
	int e = io_uring_register_buf_ring(&r->io, &reg, 0);
	if (e < 0)
		return refused(err, "a ring of buffers", -e);
	io_uring_buf_ring_init(r->offered);
	for (unsigned id = 0; id < RING_BUFFERS; id++)
		ring_used(r, id);
	ring_offer(r);
	return true;
}

bool ring_open(struct ring *r, struct err *err)
{
	const unsigned needed =
	    IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
		.cq_entries = COMPLETIONS,
	};
	*r = (struct ring){ 0 };
	int e = io_uring_queue_init_params(ORDERS, &r->io, &params);
	if (e < 0)
		return refused(err, "a ring with deferred work", -e);
	if ((params.features & needed) != needed || !offer_buffers(r, err)) {
		if ((params.features & needed) != needed)
			refused(err, "its features", ENOSYS);
		ring_close(r);
		return false;
	}
	io_uring_register_ring_fd(&r->io); /* a table look-up less at each call; all is well without it */
	io_uring_ring_dontfork(&r->io);
	return true;
}

void ring_close(struct ring *r)
{
	io_uring_queue_exit(&r->io);
	if (r->offered)
		munmap(r->offered, RING_BUFFERS * sizeof(struct io_uring_buf));
	if (r->memory)
		munmap(r->memory, RING_BUFFERS * STRIDE);
}

/* The one completion of what was submitted; -ENODATA: there is none. */
static int only_result(struct ring *r)
{
	struct io_uring_cqe *cqe;
	io_uring_submit_and_get_events(&r->io);
	if (io_uring_peek_cqe(&r->io, &cqe) < 0)
		return -ENODATA;
	int result = cqe->res;
	io_uring_cqe_seen(&r->io, cqe);
	return result;
}

static int try_send(struct ring *r, int fd, const void *bytes, size_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->io);
	io_uring_prep_send(sqe, fd, bytes, len, RING_SEND_FLAGS);
	sqe->flags |= RING_SEND_SQE;
	return only_result(r);
}

static int try_receive(struct ring *r, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->io);
	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_GROUP;
	return only_result(r);
}

/* What all depends on is tried out on two sockets: a wrong guess about a send that did not leave whole would lose bytes. */
static bool try_out(struct ring *r, struct err *err)
{
	size_t much = (size_t)RING_BUFFERS * STRIDE;
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return refused(err, "two sockets", errno);
	int whole = try_send(r, fds[0], "x", 1), part = try_send(r, fds[0], r->memory, much), none = try_send(r, fds[0], "x", 1);
	int received = try_receive(r, fds[1]);
	close(fds[0]);
	close(fds[1]);
	if (whole != -ENODATA || part <= 0 || (size_t)part >= much || none != -EAGAIN)
		return refused(err, "sends that do not wait", ENOSYS);
	if (received <= 0)
		return refused(err, "multishot receives", received < 0 ? -received : EIO);
	return true;
}

bool ring_can(struct err *err)
{
	struct ring r;
	if (!ring_open(&r, err))
		return false;
	bool can = try_out(&r, err);
	ring_close(&r);
	return can;
}

struct io_uring_sqe *ring_order(struct ring *r)
{
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(&r->io)))
		ring_submit(r);
	return sqe;
}

/* EBUSY, EAGAIN: completions must be taken, or memory be freed, before more can be submitted; orders stay until then. */
static void check(int e)
{
	if (e < 0 && e != -EINTR && e != -ETIME && e != -EBUSY && e != -EAGAIN)
		die("io_uring_enter: %s", strerror(-e));
}

void ring_submit(struct ring *r)
{
	check(io_uring_submit(&r->io));
}

void ring_poll(struct ring *r)
{
	check(io_uring_submit_and_get_events(&r->io));
}

void ring_wait(struct ring *r, uint64_t timeout_us)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts = { .tv_sec = (long long)(timeout_us / US_PER_S),
		                            .tv_nsec = (long long)(timeout_us % US_PER_S) * 1000 };
	if (timeout_us == UINT64_MAX)
		check(io_uring_submit_and_wait(&r->io, 1));
	else
		check(io_uring_submit_and_wait_timeout(&r->io, &cqe, 1, &ts, NULL));
}

uint8_t *ring_buffer(const struct ring *r, unsigned id)
{
	return r->memory + (size_t)id * STRIDE + HEADROOM_BYTES;
}

void ring_used(struct ring *r, unsigned id)
{
	ASSERT(r->n_used < RING_BUFFERS);
	r->used[r->n_used++] = (uint16_t)id;
}

void ring_offer(struct ring *r)
{
	for (unsigned i = 0; i < r->n_used; i++)
		io_uring_buf_ring_add(r->offered, ring_buffer(r, r->used[i]), RING_BUFFER_BYTES, r->used[i], (int)RING_BUFFERS - 1,
		                      (int)i);
	io_uring_buf_ring_advance(r->offered, (int)r->n_used);
	r->n_used = 0;
}
