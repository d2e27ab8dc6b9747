/* listeners — the sockets that the configuration asks for, and how they change on reload. */
#ifndef APP_LISTENERS_H
#define APP_LISTENERS_H

#include "conf/conf.h"
#include "net/listen.h"

struct listeners;
struct listeners *listeners_new(struct loop *loop, listen_client_fn on_client, void *arg);
void listeners_free(struct listeners *l); /* closes all */

/* Opens what C asks for and is not open yet, then closes what C does not ask for.  When something cannot be opened: false with ERR,
 * and what was open before still is. */
bool listeners_apply(struct listeners *l, const struct conf_listen *c, struct err *err) MUST_CHECK;
/* A door that is open already. */
struct listeners_door {
	const char *address;
	uint16_t port, real_port; /* as asked for; as it is */
	bool is_fixed;            /* systemd's */
	unsigned n_fds;
	int fds[LISTENER_FDS_MAX];
};
/* Takes its sockets over; before listeners_apply().  IS_INHERITED: another process has them, too, until listeners_settle(). */
void listeners_adopt(struct listeners *l, const struct listeners_door *from, bool is_inherited);
void listeners_settle(struct listeners *l); /* that process has let go of them */
void listeners_each(struct listeners *l, void (*fn)(void *arg, const struct listeners_door *door), void *arg);
void listeners_abandon(struct listeners *l); /* another process goes on with them: closes all, leaves the files */
void listeners_close(struct listeners *l);   /* all of them; listeners_apply() may follow */

#endif
