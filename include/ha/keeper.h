/*
 * keeper — one cluster's memory and will: the journal's record, the operations (ha/ops.h) and what they need to act, and the ladder that says whether
 * the recorded primary is lost.  settle.c tells it what nodes have said, and heeds what it says of routing.
 */
#ifndef HA_KEEPER_H
#define HA_KEEPER_H

#include "ha/journal.h"
#include "ha/ops.h"
#include "ha/picture.h"
#include "ha/records.h"
#include "ha/verdict.h"
#include "hooks/hooks.h"
#include "net/resolve.h"
#include "topo/topo.h"

/* What the pools know of a node; outlives the keepers. */
struct keeper_pools {
	void *arg;
	uint64_t (*progress)(void *arg, uint32_t node_id);      /* grows when it has sent something to a client */
	unsigned (*busy)(void *arg, uint32_t node_id);          /* connections to it that clients use now */
	unsigned (*opening)(void *arg, uint32_t node_id);       /* … that are not open yet */
	unsigned (*wanted)(void *arg, uint32_t node_id);        /* clients that wait for one */
	struct ops_rests (*rests)(void *arg, uint32_t node_id); /* of `busy`; NULL: all are in transactions */
};
struct keeper_env {
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct journal *journal;
	struct hooks *hooks; /* policies that are asked; outlives the keeper; NULL: none */
	struct records *records;
	void *arg;
	void (*look)(void *arg, const char *cluster);   /* every node is asked now */
	void (*settle)(void *arg, const char *cluster); /* what keeper_route() says may be another thing now: publishes it if it is */
	const struct picture_node *(*node)(void *arg, uint32_t id); /* NULL: it is not asked */
	const struct picture *(*picture)(void *arg, const char *cluster);
	const struct keeper_pools *pools;
};
struct keeper;
/* CLUSTER has a topology on the board; what the journal has of it is read. */
struct keeper *keeper_new(const struct keeper_env *env, const char *cluster);
void keeper_free(struct keeper *k); /* NULL is fine */
void keeper_on_conf(struct keeper *k);
/* NODE has answered, or not: ERR, which may be NULL.  After the topology was settled with it. */
void keeper_heard(struct keeper *k, const struct picture_node *node, const struct err *err);
void keeper_on_late(struct keeper *k, const struct picture_node *node); /* its answer does not come */

/* Of what nodes say, VERDICT, what is to be routed: the index of the primary in C, or -1; WHY for the log. */
int keeper_route(const struct keeper *k, const struct topo_cluster *c, int verdict, const char **why);
bool keeper_is_cut(const struct keeper *k, const char *node);
bool keeper_suspects(const struct keeper *k, const char *node); /* the primary: something speaks against it */
bool keeper_is_draining(const struct keeper *k, const char *node);
enum topo_parting keeper_parting(const struct keeper *k, const char *node);
struct ops *keeper_ops(const struct keeper *k);

#endif
