/*
 * console — answers psql that connected to the database "lunapool": SHOW commands, which tbl/commands.h lists.
 * Runs in any worker; reads snapshots and counters only, so it never blocks.
 */
#ifndef ADMIN_CONSOLE_H
#define ADMIN_CONSOLE_H

#include "base/slice.h"
#include "pool/pool.h"
#include "session/session.h"
#include "topo/topo.h"
#include "wire/writer.h"

struct console {
	const struct topo *topo; /* this turn's: kept up to date by the owner */
	struct pool_registry *pools;
	struct session_registry *sessions;
};
/* A session_console_fn; ARG is the struct console. */
void console_answer(void *arg, struct slice query, struct writer *w);
void console_print_manual(int fd); /* markdown */

#endif
