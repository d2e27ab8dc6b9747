/*
 * loader — reads what the functions of each database in use do, and publishes it (topo/catalog.h).
 *
 * Asks the primary as service_user, or, where there is none, as the user who came first, with the users file's clear password.
 * A database is read at its first use, after DDL that passed, and every catalog_refresh; only what has changed is read again.
 */
#ifndef HA_LOADER_H
#define HA_LOADER_H

#include "net/mailbox.h"
#include "net/resolve.h"
#include "topo/catalog.h"
#include "topo/topo.h"

struct loader;
/* ON_PUBLISH: something is known that was not; called from the loop. */
struct loader *loader_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board,
                          struct catalog *catalog, void (*on_publish)(void *arg), void *arg);
void loader_free(struct loader *l);    /* NULL is fine */
void loader_on_conf(struct loader *l); /* after each publish with another configuration, the first included */
void loader_look(struct loader *l);    /* somebody wants something: control thread */

#endif
