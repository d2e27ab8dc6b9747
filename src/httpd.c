/*
 * httpd — answers GET over HTTP, for monitoring.
 *
 *   listener ──a connection──► libmicrohttpd, which waits in an epoll of its own ──readable──► MHD_run() ──► page ──► answered
 *
 * Always: while it is told a port it is open, or opened again soon: another process may still have it;
 *         a page is made in one go and belongs to its answer.
 */
#include "app/httpd.h"

#include <microhttpd.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/listen.h"

#define AGAIN_US US_PER_S
#define BACKLOG 16
#define CONNECTIONS_MAX 32u
#define TIMEOUT_S 10u
#define MEMORY_MAX ((size_t)16 * 1024) /* of a connection, for its head */

struct httpd {
	struct loop *loop;
	httpd_page_fn fn;
	void *arg;
	char *address; /* NULL: it shall not listen */
	int port;
	struct listener *listener; /* NULL: not open */
	struct MHD_Daemon *daemon; /* NULL: nobody ever asked */
	struct loop_io io;
	struct loop_timer due, again;
	bool has_told;
};

/* -- answers --------------------------------------------------------------------------------------------- */

static enum MHD_Result say(struct MHD_Connection *to, unsigned status, struct MHD_Response *r, const char *type)
{
	if (!r)
		return MHD_NO;
	if (type)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result is = MHD_queue_response(to, status, r);
	MHD_destroy_response(r);
	return is;
}

static enum MHD_Result refuse(struct MHD_Connection *to, unsigned status, const char *text)
{
	return say(to, status, MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT), "text/plain");
}

/* libmicrohttpd calls it twice: with the head, and when all has been read; what is sent with it is passed over. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *from, const char *url, const char *method,
                                  const char *version, const char *body, size_t *body_size, void **state)
{
	static const char seen;
	struct httpd *h = arg;
	const char *type = "text/plain";
	unsigned status = MHD_HTTP_OK;
	size_t len;
	if (!*state) {
		*state = (void *)&seen;
		return MHD_YES;
	}
	*body_size = 0;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(from, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	char *page = h->fn(h->arg, url, &len, &type, &status);
	if (!page)
		return refuse(from, MHD_HTTP_NOT_FOUND, "there is no such page\n");
	return say(from, status, MHD_create_response_from_buffer(len, page, MHD_RESPMEM_MUST_FREE), type);
}

/* -- libmicrohttpd in our loop ----------------------------------------------------------------------------- */

static void run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG ms;
	MHD_run(h->daemon);
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		loop_timer_start(h->loop, &h->due, (uint64_t)ms * US_PER_MS);
	else
		loop_timer_stop(h->loop, &h->due);
}

static void on_io(struct loop_io *io, unsigned events)
{
	run(CONTAINER_OF(io, struct httpd, io));
}

static void on_due(struct loop_timer *t)
{
	run(CONTAINER_OF(t, struct httpd, due));
}

static bool start(struct httpd *h)
{
	if (h->daemon)
		return true;
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, h,
	                             MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
	                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_MAX, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return false;
	loop_io_init(&h->io, info->epoll_fd, on_io);
	loop_io_set(h->loop, &h->io, LOOP_READ);
	return true;
}

static void on_client(void *arg, int fd, const struct addr *peer)
{
	struct httpd *h = arg;
	if (!start(h)) {
		close(fd);
		return;
	}
	MHD_add_connection(h->daemon, fd, (const struct sockaddr *)&peer->sa, peer->len); /* which closes it if there are too many */
	run(h);
}

/* -- the port ------------------------------------------------------------------------------------------------ */

static void on_again(struct loop_timer *t)
{
	struct httpd *h = CONTAINER_OF(t, struct httpd, again);
	struct err err;
	h->listener = listener_open(h->loop, h->address, (uint16_t)h->port, BACKLOG, on_client, h, &err);
	if (h->listener) {
		log_info(NULL, "http_listening", KV_STR("address", h->address), KV_INT("port", listener_port(h->listener)));
		return;
	}
	if (!h->has_told)
		log_error(NULL, "http_not_listening", KV_ERR(&err), KV_STR("effect", "it is tried again each second"));
	h->has_told = true;
	loop_timer_start(h->loop, t, AGAIN_US);
}

static void stop_listening(struct httpd *h)
{
	loop_timer_stop(h->loop, &h->again);
	if (h->listener)
		listener_close(h->listener);
	h->listener = NULL;
	mem_free(h->address);
	h->address = NULL;
}

void httpd_apply(struct httpd *h, const char *address, int port)
{
	if (h->address && strcmp(h->address, address) == 0 && h->port == port)
		return;
	stop_listening(h);
	if (port < 0)
		return;
	h->address = mem_text(address);
	h->port = port;
	h->has_told = false;
	on_again(&h->again);
}

struct httpd *httpd_new(struct loop *loop, httpd_page_fn fn, void *arg)
{
	struct httpd *h = mem_alloc(sizeof *h);
	h->loop = loop;
	h->fn = fn;
	h->arg = arg;
	loop_timer_init(&h->due, on_due);
	loop_timer_init(&h->again, on_again);
	return h;
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	stop_listening(h);
	loop_timer_stop(h->loop, &h->due);
	if (h->daemon) {
		loop_io_set(h->loop, &h->io, 0);
		MHD_stop_daemon(h->daemon);
	}
	mem_free(h);
}
