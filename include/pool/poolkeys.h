/*
 * poolkeys — what clients have shown at their logins that opens servers for them, by database and user: the pools of all nodes look here, so a new
 * primary is opened with the keys that the old one was.
 *
 * There for as long as a session has a reference, or a pool that has used them.  Any thread.
 */
#ifndef POOL_POOLKEYS_H
#define POOL_POOLKEYS_H

#include "pool/pool.h"

struct poolkeys;
/* These hold from now on, in place of older ones.  A reference. */
struct poolkeys *poolkeys_learn(struct pool_registry *r, const char *database, const char *user,
                                const struct upstream_keys *keys);
void poolkeys_drop(struct poolkeys *k); /* the last one wipes; NULL is fine */

#endif
