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

struct topo_node {
	uint32_t id;        /* unique in the process's life; the same while cluster, name, host and port stay the same */
	char *name, *host;
	uint16_t port;
	int64_t max_connections;
	bool is_reachable;   /* last probe answered (true while unknown) */
	bool in_recovery;
};
struct topo_cluster {
	char *name;
	size_t n_nodes;
	struct topo_node *nodes;
	int primary; /* index into nodes; -1: not known now.  A cluster of one node: always 0 */
};
struct topo {
	uint64_t generation; /* grows with each publish */
	struct conf *conf;   /* shared between snapshots by reference count (inside topo.c) */
	size_t n_clusters;
	struct topo_cluster *clusters; /* same order as conf->clusters */
	unsigned shared_conf_refs_;    /* topo.c's */
};

/* A snapshot for CONF, which it takes over; node ids, roles and primaries carried over from BEFORE (NULL at start) where the node is the same. */
struct topo *topo_build(struct conf *conf, const struct topo *before);
/* A copy of BEFORE that the caller may change (roles) before publishing; shares its conf. */
struct topo *topo_copy(const struct topo *before);
void topo_free(struct topo *t); /* one that was never published */
const struct topo_node *topo_primary(const struct topo *t, size_t cluster_at); /* NULL: not known */
const struct topo_node *topo_node(const struct topo *t, uint32_t id, size_t *cluster_at); /* NULL: gone */

/* The board: one per process; READERS threads pick snapshots up. */
struct topo_board;
struct topo_board *topo_board_new(unsigned readers);
void topo_board_free(struct topo_board *b); /* after all readers ended */
/* Control thread.  Takes T over, gives it the next generation, calls WAKE(arg, reader) for each reader (from this thread). */
void topo_publish(struct topo_board *b, struct topo *t);
void topo_on_publish(struct topo_board *b, void (*wake)(void *arg, unsigned reader), void *arg);
/* Control thread's own view: valid until its next topo_publish(). */
const struct topo *topo_latest(const struct topo_board *b);
/* Reader: at the top of a turn.  Returns the current snapshot, valid until this reader's next call; acknowledges it. */
const struct topo *topo_pick_up(struct topo_board *b, unsigned reader);
/* A reader that has ended for good (it counts as having acknowledged everything). */
void topo_leave(struct topo_board *b, unsigned reader);
/* Control thread: frees what everybody has left behind; true when all readers have the latest. */
bool topo_collect(struct topo_board *b);

#endif
