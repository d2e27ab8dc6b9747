/* powers — what policies' actions do to clusters and nodes: by roles, by operations' orders, by what the pools know. */
#ifndef HA_POWERS_H
#define HA_POWERS_H

#include "ha/roles.h"
#include "hooks/hooks.h"

struct powers {
	struct hooks_powers hooks; /* for hooks_new() */
	struct roles *const *roles;
	unsigned (*in_use)(void *arg, uint32_t node_id);
	void *arg;
};
/* ROLES: where they are; NULL there: Lunapool is shutting down.  IN_USE: connections that clients use or wait for. */
void powers_init(struct powers *p, struct roles *const *roles, unsigned (*in_use)(void *arg, uint32_t node_id), void *arg);

#endif
