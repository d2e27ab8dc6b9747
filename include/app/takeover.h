/*
 * takeover — a new process takes the place of one that serves: its sockets, and the CancelRequests for clients that it still has.
 */
#ifndef APP_TAKEOVER_H
#define APP_TAKEOVER_H

#include "app/heirs.h"
#include "app/listeners.h"
#include "session/session.h"

struct takeover;
/* Asks who serves at C's control socket for its sockets, and gives them to LISTENERS and HEIRS.  NULL with ERR: nothing has changed.  May take
 * seconds where the other one does not answer. */
struct takeover *takeover_begin(const struct conf *c, struct listeners *listeners, struct heirs *heirs,
                                struct err *err) MUST_CHECK;
/* We can serve: from here on we do, and the other one accepts nobody.  False with ERR: it goes on, as if we had not been. */
bool takeover_commit(struct takeover *t, struct loop *loop, struct err *err) MUST_CHECK;
/* A session_elsewhere_fn: a CancelRequest for a client of the other process; ARG is the struct takeover. */
void takeover_cancel(void *arg, struct session_cancel *cancel, uint32_t pid, struct slice key);
void takeover_free(struct takeover *t); /* after the mailboxes were closed */

/* What a reload of who serves at C's control socket would change, a line each on FD.  False: it is not there, or says what is wrong, on stderr. */
bool takeover_print_plan(const struct conf *c, int fd) MUST_CHECK;

#endif
