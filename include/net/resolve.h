/*
 * resolve — host names to addresses without stalling a loop: getaddrinfo runs on one helper thread, answers come
 * back through the asking loop's mailbox.  Numeric hosts and socket directories are answered at once by the caller
 * with addr_from_numeric()/addr_from_socket_dir(); this is for names.  A name that was found before is answered from memory, and looked up
 * meanwhile for the next time.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/addr.h"
#include "net/mailbox.h"

#define RESOLVE_MAX 8
struct resolve_answer {
	unsigned n;
	struct addr at[RESOLVE_MAX];
	struct err err; /* when n == 0 */
};
struct resolver; /* one per process */
struct resolver *resolver_new(void);
/* For simulations: nobody looks anything up; who makes connections finds WORLD here (upstream/world.h), and asks that instead. */
struct resolver *resolver_new_simulated(const void *world);
const void *resolver_world(const struct resolver *r); /* NULL: there are real networks */
void resolver_free(struct resolver *r); /* joins the thread; questions that are open are dropped */

struct resolve_question; /* opaque ticket, owned by the resolver */
/* Asks for HOST:PORT (SOCK_STREAM).  FN runs once in the loop of REPLY_TO; not after resolve_forget().  The ticket is
 * void when FN has run or REPLY_TO was closed; the memory of REPLY_TO must outlive the resolver. */
struct resolve_question *resolve_ask(struct resolver *r, const char *host, uint16_t port, struct mailbox *reply_to,
                                     void (*fn)(void *arg, const struct resolve_answer *answer), void *arg);
void resolve_forget(struct resolve_question *q); /* asking thread; FN will not run */

#endif
