/*
 * heirs — who asks over the control socket: a successor that takes our place, or somebody who wants to know what a reload would change.
 * Only our own user, and root, may.  All of this is the control thread's.
 */
#ifndef APP_HEIRS_H
#define APP_HEIRS_H

#include <sys/types.h>

#include "app/listeners.h"
#include "app/packet.h"
#include "conf/changes.h"
#include "net/mailbox.h"
#include "session/session.h"

struct heirs_env {
	struct loop *loop;
	struct mailbox *mailbox;
	struct listeners *listeners;
	struct session_registry *sessions;
	void *arg;
	/* A successor has all that it needs: false if it must not have our place now.  From here on we accept nobody. */
	bool (*hand_over)(void *arg, pid_t to);
	void (*failed)(void *arg, pid_t pid); /* a successor that had begun has gone */
	bool (*plan)(void *arg, change_fn fn, void *fn_arg, struct conf_errors *errors);
};
struct heirs;
struct heirs *heirs_new(const struct heirs_env *env);
void heirs_free(struct heirs *h); /* after the mailbox was closed */
/* Opens the control socket at PATH ("": none).  Where there is another one, it stays, too, until heirs_settle(). */
bool heirs_listen(struct heirs *h, const char *path, struct err *err) MUST_CHECK;
void heirs_settle(struct heirs *h, bool is_good); /* the new one, or the old one, goes on alone */
/* One that is open already.  IS_FIXED: systemd's, which stays whatever the configuration says. */
void heirs_adopt(struct heirs *h, const char *path, int fd, bool is_fixed);
void heirs_own(struct heirs *h);   /* the process that had it has let go of it */
void heirs_close(struct heirs *h); /* the socket, with its file; who has come in by it stays */

#endif
