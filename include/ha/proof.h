/*
 * proof — does a primary that answers also commit?  Something is written there that leaves nothing behind, and its commit is awaited.
 *
 * Its commit waits for no standby: that those are away is no sickness of the primary's.
 */
#ifndef HA_PROOF_H
#define HA_PROOF_H

#include "upstream/service.h"

enum proof_end {
	PROOF_WROTE,
	PROOF_REFUSED, /* for its disk: full, or not readable or writable any more */
	PROOF_NOTHING, /* it could not be asked, or has not said: that is for others to judge */
};
struct proof;
/* FN comes from the loop; ERR is NULL where it wrote. */
struct proof *proof_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                        void (*fn)(void *arg, enum proof_end how, const struct err *err), void *arg);
void proof_free(struct proof *p); /* NULL is fine */
bool proof_is_under_way(const struct proof *p);
void proof_begin(struct proof *p, const struct service_target *node, uint64_t timeout_us); /* not while one is under way */
/* Since when what was written there waits to be committed; 0: nothing does. */
uint64_t proof_waits_since(const struct proof *p);
/* What is under way is of no interest any more. */
void proof_drop(struct proof *p);
enum proof_end proof_end_of(const struct err *err);

#endif
