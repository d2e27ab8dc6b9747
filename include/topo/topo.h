/*
 * topo — the shared picture: configuration, nodes, who is primary, epoch; immutable, published behind one atomic pointer.
 *
 * The control thread builds a new snapshot and publishes it; each worker picks it up at the top of its loop turn and acknowledges
 * by doing so; the board frees the old one when all have.  Nobody keeps a snapshot pointer across a turn: keep (node id, generation).
 */
#ifndef TOPO_TOPO_H
#define TOPO_TOPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "topo/pulse.h"

struct policy_set; /* policy/set.h; for whoever puts it here and whoever asks it, nothing to this layer */

/* The primary, during a switchover: new transactions wait, and so do those of sessions that only listen; then these leave. */
enum topo_parting { TOPO_STAYS, TOPO_WILL_PART, TOPO_PARTS };
struct topo_node {
	uint32_t id;             /* unique in the process's life; the same while cluster, name, host and port stay the same */
	const char *name, *host; /* the configuration's */
	uint16_t port;
	int64_t max_connections;
	uint32_t weight;
	struct pulse *pulse; /* never NULL; the same in every snapshot with this id */
	bool is_reachable;   /* last probe answered (true while unknown) */
	bool in_recovery;
	bool is_foreign;  /* it has another system identifier than its cluster: nothing may be sent there */
	bool is_cut;      /* in quarantine, detached, or being replaced: nobody may have a connection to it */
	bool is_draining; /* as the next, by order */
	enum topo_parting parting;
	bool is_drained; /* a policy keeps new transactions away from it; those that run go on */
};
struct topo_cluster {
	const char *name;
	uint32_t id; /* unique in the process's life, among nodes', too; the same while the name stays */
	size_t n_nodes;
	struct topo_node *nodes;
	uint64_t
	    epoch; /* grows when another node becomes primary, or the primary's timeline does: positions of before compare with nothing */
	int primary;  /* index into nodes; -1: not known now.  A cluster of one node: always 0 */
	bool is_held; /* a policy lets nothing begin on the primary; what runs there goes on */
};
struct topo {
	uint64_t generation; /* grows with each publish */
	const struct conf *conf;
	size_t n_clusters;
	struct topo_cluster *clusters;     /* same order as conf->clusters */
	const struct policy_set *policies; /* in force with this topology; NULL: none.  As in the one before unless it is set */
	struct topo_share *share;          /* topo.c's: the reference on conf */
	size_t n_said;                     /* topo.c's: what administrators have said of databases; mostly nothing */
	struct topo_said *said;
	uint32_t next_id; /* topo.c's: the first node id that was never given */
};

/* All of these: control thread only.
 * A snapshot for CONF, which it takes over; node ids, roles and primaries carried over from BEFORE (NULL at start) where the node is the same. */
struct topo *topo_build(struct conf *conf, const struct topo *before);
/* A copy of BEFORE that the caller may change (roles) before publishing; shares its conf. */
struct topo *topo_copy(const struct topo *before);
void topo_free(struct topo *t); /* one that was never published */
/* What an administrator says of a database, or of all ("*"), until it is taken back; survives reloads. */
enum topo_word {
	TOPO_PAUSED = 1,   /* its statements get no server */
	TOPO_DISABLED = 2, /* it takes no new clients */
};
void topo_say(struct topo *t, const char *database, unsigned set, unsigned clear); /* T was not published yet */
unsigned topo_said_of(const struct topo *t, const char *database);                 /* of just this name, or of "*" */
unsigned topo_said_here(const struct topo *t, const char *database);
/* Whether WORD holds for DATABASE, as said of it or of all. */
static inline bool topo_holds(const struct topo *t, const char *database, enum topo_word word)
{
	return t->n_said && (topo_said_here(t, database) & word);
}
const char *topo_any(const struct topo *t, enum topo_word word); /* a database, or "*", of which it was said; NULL: none */
const struct topo_node *topo_primary(const struct topo *t, size_t cluster_at);            /* NULL: not known */
const struct topo_node *topo_node(const struct topo *t, uint32_t id, size_t *cluster_at); /* NULL: gone */

/* The board: one per process; READERS threads pick snapshots up. */
struct topo_board;
struct topo_board *topo_board_new(unsigned readers);
void topo_board_free(struct topo_board *b); /* after all readers ended */
/* Control thread.  Takes T over, gives it the next generation, calls WAKE(arg, reader) for each reader (from this thread). */
void topo_publish(struct topo_board *b, struct topo *t);
/* FN(arg, node id), from any thread: somebody said pulse_want() or pulse_eject().  Before the first publish. */
void topo_on_want(struct topo_board *b, void (*fn)(void *arg, uint32_t node_id), void *arg);
void topo_on_publish(struct topo_board *b, void (*wake)(void *arg, unsigned reader), void *arg);
/* Control thread's own view: valid until its next topo_publish(); NULL before the first. */
const struct topo *topo_latest(const struct topo_board *b);
/* Reader: at the top of a turn.  Returns the current snapshot (NULL before the first), valid until this reader's next call;
 * acknowledges it.  A reader that has never called holds back every snapshot: call once before waiting for the first wake. */
const struct topo *topo_pick_up(struct topo_board *b, unsigned reader);
/* A reader that has ended for good (it counts as having acknowledged everything). */
void topo_leave(struct topo_board *b, unsigned reader);
/* Control thread: frees what everybody has left behind; true when all readers have the latest. */
bool topo_collect(struct topo_board *b);
/* Control thread: every reader has picked up GENERATION or a later one. */
bool topo_is_seen(const struct topo_board *b, uint64_t generation);

#endif
