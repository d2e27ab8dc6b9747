/*
 * reading — one database's catalogue, read by a series of questions to a node; only what has changed since the last time is read again.
 */
#ifndef HA_READING_H
#define HA_READING_H

#include "sql/learn.h"
#include "upstream/service.h"

enum reading_end {
	READING_SAME,  /* nothing has changed since the last reading that was complete */
	READING_NEW,   /* learn_end() will tell */
	READING_FAILED /* ERR says why; the connection is closed */
};
struct reading;
/* FN comes from the loop, never from inside reading_begin(), and may begin another or free R. */
struct reading *reading_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox,
                            void (*fn)(void *arg, enum reading_end how, const struct err *err), void *arg);
void reading_free(struct reading *r);
/* One at a time.  NODE_ID: whom TARGET leads to; a connection to another node, or one that was told to hang up, is made anew.
 * EVEN_IF_SAME: the end is never READING_SAME. */
void reading_begin(struct reading *r, const struct service_target *target, uint32_t node_id, bool even_if_same);
struct learn *reading_learn(struct reading *r); /* at READING_NEW, and as long as nothing was forgotten */
void reading_hang_up(struct reading *r);        /* not while one runs; the connection is made anew by the next */
void reading_forget(struct reading *r);         /* not while one runs: the next one reads all */

#endif
