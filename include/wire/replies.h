/*
 * replies — the FIFO of replies that one server connection still owes us.
 *
 * Every message sent to a server that will be answered adds an entry; every message that the server sends is judged against
 * the head.  It decides release, statistics, prepared statements, cancel and COPY.  Pure: no sockets, no time.
 *
 * After every push and every judged message:
 *     while (replies_skipped(q, &e)) drop e.ref;   while (replies_local(q, &e)) answer e;
 *
 * Rules (PostgreSQL protocol, "Extended Query", "COPY Operations"; tcop/postgres.c, commands/copyfromparse.c):
 *   - PARSE ends with '1', BIND '2', CLOSE '3', DESCRIBE_STATEMENT 't' then 'T'|'n', DESCRIBE_PORTAL 'T'|'n',
 *     EXECUTE 'D'* then 'C'|'I'|'s' (with 'G'|'H' before and 'd'*,'c' inside a COPY), SYNC 'Z', QUERY anything of T D C I E G H W d c
 *     and then 'Z', FUNCTION 'V' or 'E', then 'Z'.
 *   - 'E' in a reply to an extended message (PARSE … CLOSE): that entry failed, and everything behind it up to the next SYNC is
 *     skipped by the server (QUERY and FUNCTION too).  Without a SYNC in the queue the skipping goes on for entries that are pushed later.
 *   - 'E' inside QUERY/FUNCTION: the entry goes on to its 'Z'.  So does SYNC: a deferred constraint fails there, 'E' then 'Z'.
 *   - 'E' when nothing is expected inside an open segment is statement_timeout noticed at a Flush: ASYNC, and the server skips from there on.
 *   - 'G' (CopyIn): from then on the server eats Sync and Flush until CopyDone/CopyFail (COPY_END), or until the COPY fails.  So SYNC entries
 *     between a copying EXECUTE or QUERY and its COPY_END stay in the queue until that is known: its 'C' proves them eaten (reported
 *     as skipped); an 'E' proves nothing, since a COPY can fail before it reads ("cannot copy to view").  Then they are *doubtful*: a 'Z' may
 *     come for each of them, or not; any other reply settles it.  See replies_is_doubtful().
 *   - A COPY_END marker that reaches the head is popped silently.
 *   - 'N' NoticeResponse, 'S' ParameterStatus, 'A' NotificationResponse come at any time and belong to nobody.
 *   - an 'E' whose severity is FATAL or PANIC may come at any time (the caller says so).
 *   - a LOCAL entry is answered by us when it reaches the head; it is dropped when the server skips it.  A LOCAL SYNC does not end the
 *     server's skipping: after anything extended was sent, send a real one.
 */
#ifndef WIRE_REPLIES_H
#define WIRE_REPLIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "wire/frame.h"

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
	REPLY_COPY_END, /* CopyDone or CopyFail was sent: not answered, a place in the order; has no ref */
	/* Inside the queue only: a SYNC that may or may not be answered, and one that will not be. */
	REPLY_SYNC_DOUBTFUL,
	REPLY_SYNC_EATEN,
};
enum reply_fate {
	REPLY_FORWARD, /* the client waits for it */
	REPLY_SWALLOW, /* ours: the client must not see it (errors are the caller's decision) */
	REPLY_LOCAL,   /* nothing was sent to the server for it: we answer in its place */
};

struct reply {
	uint8_t kind, fate;
	uint16_t tag;    /* the caller's: what this was for */
	uint32_t number; /* the caller's */
	void *ref;       /* the caller's; ends with exactly one of: done, failed, skipped, local, cleared */
};

enum reply_copy { REPLY_COPY_NONE, REPLY_COPY_IN, REPLY_COPY_OUT, REPLY_COPY_BOTH };

struct replies {
	struct reply *ring;
	uint32_t head, len, cap; /* cap is a power of two, 0 at first */
	uint32_t syncs;          /* SYNC (not doubtful), QUERY and FUNCTION entries inside: ReadyForQuery messages still to come */
	uint32_t doubtful;       /* SYNC entries that may or may not be answered */
	uint8_t skipping;        /* an extended message failed; everything up to the next SYNC is void */
	uint8_t open;            /* extended messages were sent since the last SYNC */
	/* About the head entry; reset when it ends. */
	uint8_t copy;   /* enum reply_copy */
	uint8_t failed; /* the QUERY/FUNCTION had an ErrorResponse */
	uint8_t stage;  /* how far its reply has come, see replies.c */
	uint32_t parts; /* QUERY: parts completed so far ('C' or 'I') */
};

void replies_fini(struct replies *q); /* refs of entries that are left are not touched: replies_clear() first */

/* Adds an entry.  Returns false when it will never be answered (pushed while skipping with no SYNC behind the failure; or a COPY_END with
 * nothing before it): it was not added, and its ref is the caller's to drop.  A SYNC pushed while skipping is added and ends the skipping
 * when its 'Z' comes; what is pushed behind that SYNC is valid again.  Nothing bounds the length: that is the caller's. */
bool replies_push_any(struct replies *q, struct reply entry) MUST_CHECK;
/* The same for what most entries are: sent, and in a queue that skips nothing.  Leaves nothing to settle.  False: nothing was done. */
static inline bool replies_push_sent(struct replies *q, struct reply entry)
{
	if (q->skipping || q->len == q->cap || entry.fate == REPLY_LOCAL || entry.kind >= REPLY_COPY_END)
		return false;
	q->ring[(q->head + q->len++) & (q->cap - 1)] = entry;
	q->syncs += entry.kind >= REPLY_SYNC;
	q->open = entry.kind < REPLY_SYNC;
	return true;
}
static inline bool replies_push(struct replies *q, struct reply entry)
{
	return replies_push_sent(q, entry) || replies_push_any(q, entry);
}

enum reply_verdict {
	REPLY_PART,       /* belongs to the head entry, which goes on */
	REPLY_DONE,       /* completes the head entry: popped into *entry */
	REPLY_FAILED,     /* 'E' that ends the head entry (extended): popped into *entry */
	REPLY_ASYNC,      /* 'N', 'S', 'A' (and an 'E' at a Flush): belongs to nobody */
	REPLY_UNEXPECTED, /* the server broke the protocol or we lost count: close it, tell the client 08P01 */
};
/* Judges one message of the server by its type.  *ENTRY is a copy of the head entry for PART, DONE and FAILED.
 * Precondition: skipped and local entries were taken, as above (asserted). */
enum reply_verdict replies_on_message(struct replies *q, uint8_t type, struct reply *entry);

/* Pops the next entry that the server has skipped or eaten; false when there is none (left). */
bool replies_skipped(struct replies *q, struct reply *entry) MUST_CHECK;
/* Pops the next entry at the head that is LOCAL; false when the head is not local or nothing is there. */
bool replies_local(struct replies *q, struct reply *entry) MUST_CHECK;
/* Pops anything, from the head: for a connection that died.  False when empty; then the queue is as new. */
bool replies_clear(struct replies *q, struct reply *entry) MUST_CHECK;

static inline bool replies_is_empty(const struct replies *q)
{
	return q->len == 0;
}
/* Nothing is left but SYNC entries that may never be answered: the server is in fact idle, or will say 'Z' once more.  Do not lend it to anybody
 * else: send an empty Query (SWALLOW), whose 'I' settles it, or close. */
bool replies_is_doubtful(const struct replies *q);
/* True when the client must send Sync before the server answers anything again. */
static inline bool replies_is_skipping(const struct replies *q)
{
	return q->skipping && q->len == 0;
}
static inline enum reply_copy replies_copy(const struct replies *q)
{
	return (enum reply_copy)q->copy;
}
/* Nothing is there for replies_skipped() or replies_local(): nearly always, and known without a call. */
static inline bool replies_is_settled(const struct replies *q)
{
	if (q->len == 0)
		return true;
	const struct reply *head = &q->ring[q->head & (q->cap - 1)];
	return !q->skipping && !q->doubtful && head->fate != REPLY_LOCAL && head->kind < REPLY_COPY_END;
}

/* Bytes of the messages that IN begins with and that are merely forwarded: whole, expected, of FORWARD entries, and nothing follows from them,
 * since their entry has tag 0 or goes on with rows.  They were judged.  It stops in front of E, Z, what belongs to nobody, a message of more than
 * MOST bytes, and whenever the queue is empty or must be settled. */
size_t replies_pass(struct replies *q, struct slice in, size_t most);

/* The head entry, or NULL. */
const struct reply *replies_head(const struct replies *q);

#endif
