/*
 * keeper's own.
 *
 *   keeper.c   its life, records and routes     watch.c   what it knows     undertake.c   what it does
 *                                               ailing.c  … of a primary that answers
 */
#ifndef HA_KEEPERPRIV_H
#define HA_KEEPERPRIV_H

#include "base/dlist.h"
#include "ha/keeper.h"
#include "ha/knock.h"
#include "ha/ladder.h"
#include "ha/proof.h"

struct keeper {
	struct keeper_env env;
	char *cluster;
	struct ops *ops;
	struct record *told_record; /* as policies have heard of it */
	struct ladder ladder;
	char suspect[RECORD_NAME_MAX];            /* whom the ladder is about */
	uint64_t suspect_us, progress, worked_us; /* worked_us: a session of ours has got on there, while it is suspected */
	enum ladder_state told;
	struct knock *knock;
	struct knock *door;              /* at nodes in quarantine that do not answer */
	size_t door_at;                  /* whose it is, by place in the cluster */
	bool are_down[RECORD_NODES_MAX]; /* nobody listens there */
	struct loop_timer tick, alarm, seen, pulse, look;
	uint64_t pulsed_us, generation; /* generation: to be seen by everybody */
	struct proof *proof;
	uint64_t flushed_us, proved_us; /* when somebody was seen to commit; when it was last asked whether it does */
	uint32_t disk_errors;           /* that were known when it was asked */
	bool was_opening, has_told_proof;
	struct dlist undertakings;
	uint64_t fenced; /* the operation whose source was fenced last */
	/* the last picture that was asked for */
	struct ops_picture picture;
	struct ops_node nodes[RECORD_NODES_MAX];
	uint64_t timelines[RECORD_NODES_MAX]; /* last known, by place in the cluster */
	uint64_t receiveds[RECORD_NODES_MAX];
	char upstreams[RECORD_NODES_MAX][RECORD_NAME_MAX]; /* whom each had its WAL from last; "": not known */
	char story[RECORD_WHY_MAX], sync[256];
	uint64_t written, written_us, written_per_s;
};

/* ---- keeper.c ------------------------------------------------------------------------------------------------------------- */

const struct topo_cluster *keeper_cluster(const struct keeper *k, const struct conf_cluster **conf); /* NULL: it is gone */
const struct topo_node *keeper_node(const struct topo_cluster *c, const char *name);
const struct picture_node *keeper_heard_of(const struct keeper *k, const struct topo_node *n);

/* ---- watch.c -------------------------------------------------------------------------------------------------------------- */

void watch_init(struct keeper *k);
void watch_stop(struct keeper *k);
void watch_follow(struct keeper *k);      /* another primary may be recorded, and is another story */
bool watch_works(const struct keeper *k); /* the primary does not answer us, but serves the sessions that are there */
const struct ops_picture *watch_picture(void *keeper);
void watch_note(struct keeper *k, enum ladder_event what, uint64_t at_us);
enum ladder_state watch_judge(struct keeper *k);
void watch_knock(struct keeper *k, const struct topo_node *n); /* unless somebody does */

/* ---- ailing.c ------------------------------------------------------------------------------------------------------------- */

void ailing_init(struct keeper *k);
void ailing_stop(struct keeper *k);
void ailing_follow(struct keeper *k); /* another primary */
void ailing_hear_flushed(struct keeper *k);

/* ---- undertake.c ---------------------------------------------------------------------------------------------------------- */

/* As struct ops_env has them. */
void undertake_act(void *keeper, uint64_t id, enum ops_act what, const char *node, const char *primary, uint64_t timeout_us);
void undertake_forget(void *keeper, uint64_t id);
size_t undertake_choose(void *keeper, const struct guard_verdict *verdicts, size_t *order, size_t n, char *why, size_t room);
bool undertake_can(void *keeper, enum ops_act what);
enum ops_returning undertake_returning(void *keeper, const struct ops_returned *it);
void undertake_none(struct keeper *k); /* whatever is under way is dropped */

#endif
