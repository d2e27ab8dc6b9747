/* ceiling — memory_limit: looks twice a second how much memory is in use, and closes the clients that hold most of it when that is too much. */
#ifndef APP_CEILING_H
#define APP_CEILING_H

#include <stddef.h>

#include "net/loop.h"
#include "net/mailbox.h"
#include "session/session.h"

struct ceiling;
/* MAILBOX: of LOOP's thread, whose all of this is. */
struct ceiling *ceiling_new(struct loop *loop, struct mailbox *mailbox, struct session_registry *sessions);
void ceiling_set(struct ceiling *c, size_t limit); /* 0: looks no more */
void ceiling_free(struct ceiling *c);              /* after the mailbox was closed */

#endif
