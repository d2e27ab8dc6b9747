/*
 * console — answers who connected to the database "lunapool": the commands of tbl/commands.h, by simple Query or the extended protocol.
 *
 * Each worker has one.  SHOW reads counters of all workers, or asks each worker for rows of its own clients and servers, a piece at a time;
 * everything else is an order for the control thread (order.h).  So nothing here blocks.
 */
#ifndef ADMIN_CONSOLE_H
#define ADMIN_CONSOLE_H

#include "admin/order.h"
#include "pool/pool.h"
#include "session/session.h"
#include "topo/topo.h"

struct console {
	const struct topo *topo; /* this turn's: kept up to date by the owner */
	struct consoles *shared;
	struct pool_registry *pool_registry;
	struct session_registry *session_registry;
	unsigned worker, n_workers;
	/* this worker's */
	struct pools *pools;
	struct sessions *sessions;
	struct auth *auth;   /* NULL: nobody can fail */
	struct hooks *hooks; /* NULL: nothing runs */
	struct records *records;
	struct loop *loop;
	struct mailbox *mailbox;
};
/* Own thread: everything is set but the mailbox, which is opened here. */
void console_open(struct console *c);
void console_close(struct console *c);
struct session_console console_for_sessions(struct console *c);

void console_print_manual(int fd); /* markdown */

#endif
