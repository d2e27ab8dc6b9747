/* sample — what a node says of itself in answer to a probe: the statement, and how its row is read.  Pure. */
#ifndef HA_SAMPLE_H
#define HA_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define SAMPLE_UNKNOWN UINT64_MAX

enum sample_receiver {
	SAMPLE_NO_RECEIVER,
	SAMPLE_STREAMING,
	SAMPLE_CATCHING_UP, /* it has one, which does not stream */
	SAMPLE_HIDDEN,      /* it has one, and the service role may not see what it does */
};
#define SAMPLE_NAME_MAX 64u /* NAMEDATALEN: PostgreSQL cuts longer ones */
#define SAMPLE_PEERS_MAX 32u
enum sample_sync { SAMPLE_SYNC_UNKNOWN, SAMPLE_ASYNC, SAMPLE_POTENTIAL, SAMPLE_SYNC, SAMPLE_QUORUM };
struct sample_peer {
	char name[SAMPLE_NAME_MAX];
	enum sample_sync sync;
};
struct sample {
	bool in_recovery;
	uint64_t system_id; /* 0: not visible */
	uint64_t timeline;  /* that it writes, or receives; 0: not known */
	/* Positions.  Of a primary: what it has written, and what of that is safe on disk, which is what standbys may get. */
	uint64_t written, flushed;
	uint64_t replayed;
	uint64_t received;      /* of a standby: what it has, replayed or not */
	uint64_t reached;       /* of a standby: the timeline that its control file tells, where it receives none; 0: not known */
	uint64_t replay_age_us; /* of the last transaction that was replayed, by the node's clock; SAMPLE_UNKNOWN */
	enum sample_receiver receiver;
	bool is_delayed; /* of a standby: it replays late on purpose */
	/* Of a primary: those it streams to.  Of a standby: one, itself, by the name that its receiver gives there; "" is not known. */
	char names[256];  /* of a primary: its synchronous_standby_names */
	char sender[256]; /* of a standby: "host:port" that its receiver has its WAL from; "" is not known */
	size_t n_peers;
	struct sample_peer peers[SAMPLE_PEERS_MAX];
};
const char *sample_sync_name(enum sample_sync sync); /* NULL: not known */

enum sample_scope {
	SAMPLE_ALL,
	SAMPLE_LESS, /* without what only a member of pg_monitor may ask where administrators have said so */
};
const char *sample_sql(enum sample_scope scope);
/* SQLSTATE of an answer to SAMPLE_ALL means: ask for less. */
bool sample_is_denied(const char *sqlstate);
/* The row; false: that is none. */
bool sample_read(struct sample *out, const char *const *values, unsigned n) MUST_CHECK;
/* The place just behind a page's header is the page's start. */
uint64_t sample_position(uint64_t lsn, uint64_t block_size, uint64_t segment_size);

#endif
