/*
 * mailbox — letters from any thread to one loop.  The sender embeds struct letter in what it sends and gives
 * it away; the receiver's loop calls letter->deliver, which owns it from then on.  Letters from one sender arrive in
 * order; a burst costs one wake-up.  A letter sent to a closed mailbox is handed to its `refuse` (sender's thread).
 */
#ifndef NET_MAILBOX_H
#define NET_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "base/dlist.h"
#include "net/loop.h"

struct letter {
	struct letter *next;
	void (*deliver)(struct letter *letter, void *receiver);
	void (*refuse)(struct letter *letter); /* NULL: mem_free(letter) */
};

struct mailbox {
	pthread_mutex_t lock;
	struct letter *first, **last;
	bool is_open;
	struct loop_async wake;
	void *receiver;
};

void mailbox_open(struct mailbox *m, struct loop *loop, void *receiver);
void mailbox_close(struct mailbox *m);                       /* receiver's thread: refuses what is inside and all that comes */
void mailbox_send(struct mailbox *m, struct letter *letter); /* any thread */

#endif
