/*
 * knock — is somebody there?  A TCP connection and an SSLRequest, answered with one byte by any PostgreSQL in any state, also one that is full or in
 * recovery; it needs no login and is not logged there.
 */
#ifndef HA_KNOCK_H
#define HA_KNOCK_H

#include "ha/ladder.h"
#include "net/mailbox.h"
#include "net/resolve.h"

struct knock;
/* FN comes from the loop, never from inside knock_begin(): LADDER_OPENED, _REFUSED, _SILENT, _LOST, or _OURS where it was our own fault. */
struct knock *knock_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                        void (*fn)(void *arg, enum ladder_event how), void *arg);
void knock_free(struct knock *k); /* NULL is fine */
bool knock_is_under_way(const struct knock *k);
void knock_begin(struct knock *k, const char *host, uint16_t port, uint64_t timeout_us); /* not while one is under way */

/* What a simulated world tells (upstream/world.h): it is connected; that is the end. */
void knock_on_taken(struct knock *k);
void knock_on_end(struct knock *k, enum ladder_event how);

#endif
