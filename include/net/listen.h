/*
 * listen — sockets that wait for clients.  Accepts in the loop that opened it and gives each descriptor away.
 * Reserve descriptors: listen_reserve_fds() raises RLIMIT_NOFILE to its hard limit; when accept() hits the limit, the
 * listener sheds one connection through a spare descriptor rather than spinning.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include "base/err.h"
#include "net/addr.h"
#include "net/loop.h"

struct listener;
/* FD is non-blocking and close-on-exec; ownership passes to ON_CLIENT. */
typedef void (*listen_client_fn)(void *arg, int fd, const struct addr *peer);
/* ADDRESS: "*" (v6 and v4 wildcard), a numeric address, a host name (resolved now, may block: start-up and reload only), or a
 * unix-socket directory ("/…" or "@…").  PORT 0: the kernel chooses; listener_port() tells.  On failure NULL and ERR.
 * "*" may open two sockets behind one listener.  A stale unix socket file of a dead process is replaced, a live one is an error; the file
 * gets the permissions that umask leaves. */
struct listener *listener_open(struct loop *loop, const char *address, uint16_t port, int backlog, listen_client_fn on_client,
                               void *arg, struct err *err) MUST_CHECK;
/* Sockets that are listening already, from another process: takes FDS over (at most LISTENER_FDS_MAX).  It removes no socket file of theirs
 * when it is closed, unless listener_own_files() was called. */
#define LISTENER_FDS_MAX 8
struct listener *listener_adopt(struct loop *loop, const int *fds, unsigned n, listen_client_fn on_client, void *arg);
void listener_own_files(struct listener *l);
unsigned listener_fds(const struct listener *l, int out[LISTENER_FDS_MAX]); /* how many; they stay the listener's */
void listener_abandon(struct listener *l); /* closes it, but leaves its socket files to who has its sockets, too */
uint16_t listener_port(const struct listener *l);
/* Changes what can be changed while it is open.  MODE: permissions of the socket file, if it has one. */
void listener_adjust(struct listener *l, int backlog, unsigned mode);
void listener_close(struct listener *l); /* removes the unix socket file it made */
/* Raises RLIMIT_NOFILE; returns how many descriptors there are. */
uint64_t listen_raise_nofile(void);

#endif
