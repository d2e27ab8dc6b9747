/*
 * deeds — what an operation does to a node, by SQL alone: promote it, make it follow another, drop slots that it does not need any more.
 *
 * The promotion is fired, looked for every few ms and fired again: one that meets the moment in which the receiver goes away is noticed by PostgreSQL
 * only wal_retrieve_retry_interval later.
 */
#ifndef HA_DEEDS_H
#define HA_DEEDS_H

#include "base/err.h"
#include "upstream/service.h"

struct deed;
/* FN comes from the loop, once, never from inside deed_…(), and not after deed_drop(); the deed is gone then. */
typedef void (*deed_fn)(void *arg, bool is_done, const struct err *err);
struct deed_env {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
};
/* Done when the node says that it is out of recovery. */
struct deed *deed_promote(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                          void *arg);
/* Done when its settings name PRIMARY and it was told to read them; WITH_SLOT: the slot that they name is made there before. */
struct deed *deed_follow(const struct deed_env *env, const struct service_target *node, const struct service_target *primary,
                         bool with_slot, uint64_t timeout_us, deed_fn fn, void *arg);
/* A standby that may have been primary drops the slots that its standbys had there: those with which USERS, N application_names, receive from PRIMARY. */
struct deed *deed_tidy(const struct deed_env *env, const struct service_target *node, const struct service_target *primary,
                       const char *const *users, size_t n, uint64_t timeout_us, deed_fn fn, void *arg);
/* Done when all that was committed there is on its disk, and so is sent to its standbys. */
struct deed *deed_settle(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                         void *arg);
/* Done when a checkpoint is. */
struct deed *deed_checkpoint(const struct deed_env *env, const struct service_target *node, uint64_t timeout_us, deed_fn fn,
                             void *arg);
void deed_drop(struct deed *d); /* NULL is fine */

/* A standby's primary_conninfo with another host and port, all else as it was; false: it is neither a list of key = value nor a URI, or too long. */
bool deed_conninfo(const char *was, const char *host, uint16_t port, char *out, size_t room) MUST_CHECK;

#endif
