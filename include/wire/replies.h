/*
 * replies — the FIFO of replies that one server connection still owes us.
 *
 * Every message sent to a server that will be answered adds an entry; every message that the server sends is judged against
 * the head.  It decides release, statistics, prepared statements, cancel and COPY.  Pure: no sockets, no time.
 *
 * Rules (PostgreSQL protocol, "Extended Query", "COPY Operations"; tcop/postgres.c):
 *   - PARSE ends with '1', BIND '2', CLOSE '3', DESCRIBE_STATEMENT 't' then 'T'|'n', DESCRIBE_PORTAL 'T'|'n',
 *     EXECUTE 'D'* then 'C'|'I'|'s' (with 'G'|'H' before and 'd'*,'c' inside a COPY), SYNC 'Z', QUERY anything of T D C I E G H d c
 *     and then 'Z', FUNCTION 'V' or 'E', then 'Z'.
 *   - 'E' in a reply to an extended message (PARSE … CLOSE): that entry failed, and everything behind it up to the next SYNC is
 *     skipped by the server (QUERY and FUNCTION too).  Without a SYNC in the queue the skipping goes on for entries that are pushed later.
 *   - 'E' inside QUERY/FUNCTION: the entry goes on to its 'Z'.
 *   - 'G' (CopyIn): from then on the server ignores Sync and Flush until CopyDone/CopyFail.  SYNC entries that stand directly behind the
 *     copying EXECUTE (in front of a COPY_END marker) will never be answered and are dropped (reported as skipped); SYNCs pushed before
 *     a COPY_END marker while copying likewise.  For QUERY the same.  A COPY_END marker that reaches the head is popped silently.
 *   - 'N' NoticeResponse, 'S' ParameterStatus, 'A' NotificationResponse come at any time and belong to nobody.
 *   - an 'E' whose severity is FATAL or PANIC may come at any time (the caller says so).
 *   - a LOCAL entry is answered by us when it reaches the head; it is dropped when the server skips it.
 */
#ifndef WIRE_REPLIES_H
#define WIRE_REPLIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum reply_kind {
	REPLY_PARSE,
	REPLY_BIND,
	REPLY_DESCRIBE_STATEMENT,
	REPLY_DESCRIBE_PORTAL,
	REPLY_EXECUTE,
	REPLY_CLOSE,
	REPLY_SYNC,
	REPLY_QUERY,
	REPLY_FUNCTION,
	REPLY_COPY_END, /* CopyDone or CopyFail was sent: not answered, a place in the order */
};
enum reply_fate {
	REPLY_FORWARD, /* the client waits for it */
	REPLY_SWALLOW, /* ours: the client must not see it (errors are the caller's decision) */
	REPLY_LOCAL,   /* nothing was sent to the server for it: we answer in its place */
};

struct reply {
	uint8_t kind, fate;
	uint16_t tag;   /* the caller's: what this was for */
	uint32_t number; /* the caller's */
	void *ref;      /* the caller's; ends with exactly one of: done, failed, skipped, local, cleared */
};

struct replies {
	struct reply *ring;
	uint32_t head, len, cap; /* cap is a power of two, 0 at first */
	uint32_t syncs;          /* SYNC, QUERY and FUNCTION entries inside: ReadyForQuery messages still to come */
	uint8_t skipping;        /* an extended message failed; everything up to the next SYNC is void */
	uint8_t copy;            /* enum reply_copy of the head entry */
	uint8_t failed;          /* the head QUERY/FUNCTION had an ErrorResponse */
	uint8_t described;       /* DESCRIBE_STATEMENT: 't' was seen */
	uint32_t parts;          /* QUERY: parts completed so far ('C' or 'I') */
};
enum reply_copy { REPLY_COPY_NONE, REPLY_COPY_IN, REPLY_COPY_OUT };

void replies_fini(struct replies *q);

/* Adds an entry.  Returns false when it will never be answered (pushed while skipping, or a SYNC that an open CopyIn eats): it was not
 * added, and its ref is the caller's to drop.  A SYNC pushed while skipping is added and ends the skipping when its 'Z' comes;
 * what is pushed behind that SYNC is valid again. */
bool replies_push(struct replies *q, struct reply entry) MUST_CHECK;

enum reply_verdict {
	REPLY_PART,       /* belongs to the head entry, which goes on */
	REPLY_DONE,       /* completes the head entry: popped into *entry */
	REPLY_FAILED,     /* 'E' that ends the head entry (extended): popped into *entry; then ask replies_skipped() until it says no */
	REPLY_ASYNC,      /* 'N', 'S', 'A': belongs to nobody */
	REPLY_UNEXPECTED, /* the server broke the protocol: close it, tell the client 08P01 */
};
/* Judges one message of the server by its type.  *ENTRY is a copy of the head entry for PART, DONE and FAILED.
 * Precondition: LOCAL entries at the head were taken with replies_local() first (asserted). */
enum reply_verdict replies_on_message(struct replies *q, uint8_t type, struct reply *entry);

/* Pops the next entry at the head that is LOCAL (COPY_END markers before it vanish); false when the head is not local or nothing is there.
 * Call after every push and after every judged message. */
bool replies_local(struct replies *q, struct reply *entry) MUST_CHECK;
/* After FAILED, or after 'G': pops the next entry that the server will skip; false when there is none (left). */
bool replies_skipped(struct replies *q, struct reply *entry) MUST_CHECK;
/* Pops anything, from the head: for a connection that died.  False when empty. */
bool replies_clear(struct replies *q, struct reply *entry) MUST_CHECK;

static inline bool replies_is_empty(const struct replies *q)
{
	return q->len == 0;
}
/* True when the client must send Sync (or has one to send) before the server answers anything again. */
static inline bool replies_is_skipping(const struct replies *q)
{
	return q->skipping;
}
static inline enum reply_copy replies_copy(const struct replies *q)
{
	return (enum reply_copy)q->copy;
}
/* The head entry, or NULL. */
const struct reply *replies_head(const struct replies *q);

#endif
