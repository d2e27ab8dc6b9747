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
void listeners_close(struct listeners *l); /* all of them; listeners_apply() may follow */

#endif
