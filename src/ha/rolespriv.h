/*
 * roles' own.
 *
 *   roles.c    who is asked, by the configuration; the public calls
 *   probing.c  measuring: a node's questions and answers      settle.c  deciding what they come to, and publishing it
 */
#ifndef HA_ROLESPRIV_H
#define HA_ROLESPRIV_H

#include "base/dlist.h"
#include "ha/picture.h"
#include "ha/roles.h"
#include "ha/tell.h"
#include "ha/verdict.h"
#include "upstream/service.h"

struct watched {
	struct dlist link;
	char *name;
	bool is_kept;
	struct picture picture;
	struct keeper *keeper; /* NULL: nothing is remembered */
};

struct probed {
	struct dlist link;
	struct roles *roles;
	struct watched *cluster;
	uint64_t interval_us, began_us;
	struct service *service;
	struct loop_timer timer;
	bool is_asking, is_doubted, is_kept;
	bool was_connected; /* what it takes to answer is not what it takes to connect */
	struct told told;
	struct picture_node node;
};

struct roles {
	struct hooks *hooks; /* NULL: nobody is asked */
	struct loop *loop;
	struct resolver *resolver;
	struct mailbox *mailbox;
	struct topo_board *board;
	struct dlist nodes, clusters;
	struct journal *journal; /* NULL: none */
	struct records *records;
	const struct keeper_pools *pools;
};

/* ---- roles.c ------------------------------------------------------------------------------------------------------------- */

struct probed *probed_of(struct roles *r, uint32_t id); /* NULL: nobody asks it */

/* ---- probing.c ----------------------------------------------------------------------------------------------------------- */

struct probed *probing_new(struct roles *r, const struct topo_node *n);
void probing_free(struct probed *p);
/* By another login from now on: what was heard so far stays true. */
void probing_connect(struct probed *p, const struct service_target *target);
void probing_set_interval(struct probed *p, uint64_t us);
void probing_doubt(struct probed *p); /* it is asked now */

/* ---- settle.c ------------------------------------------------------------------------------------------------------------ */

/* What nodes have said last becomes the picture, if that changes it.  AT: the place of W in the topology.  ERR: of who was heard; NULL: none. */
void settle(struct roles *r, struct watched *w, size_t at, const struct err *err);
/* P has said something, or failed with ERR; WAS: what it had said before. */
void settle_heard(struct probed *p, enum verdict_answer was, const struct err *err);
void settle_judge(struct probed *p); /* how far P may be read from, by what it has said */
void settle_note_states(struct roles *r, const struct topo_cluster *c);

#endif
