/*
 * picture — what a cluster's nodes have said, put together: which cluster it is, where its primary is, and so each standby's lag and fitness.
 * Pure but for the pulses that it writes.
 */
#ifndef HA_PICTURE_H
#define HA_PICTURE_H

#include "ha/fitness.h"
#include "ha/verdict.h"
#include "topo/topo.h"

struct picture {
	uint64_t system_id;  /* 0: not known yet */
	uint32_t primary_id; /* the last one that was known; 0: none ever */
	uint64_t timeline;   /* its; 0: not known */
	bool has_primary;    /* now */
	bool has_moved;      /* to another timeline */
	struct lag_track track;
	size_t n_peers; /* as the primary said last */
	struct sample_peer peers[SAMPLE_PEERS_MAX];
};
/* One node, as it was asked last. */
struct picture_node {
	uint32_t id;
	struct pulse *pulse;
	struct sample sample;
	uint64_t asked_us, ejections; /* when that question was sent */
	uint64_t answered_us;         /* when the question was sent whose answer `sample` is */
	uint64_t failed_us;           /* when a question failed last */
	bool is_cut, is_drained;      /* as topo_node has them */
	bool is_late;                 /* no answer for LATE_US */
	bool sees_less;               /* SAMPLE_LESS */
	struct verdict_view view;
	struct fitness fitness;
};

/* NODE is the primary now, or NULL: nobody knows who is.  True: positions of before compare with nothing any more. */
bool picture_follow(struct picture *pic, const struct picture_node *node);
/* VIEW's answer, unless it is of another cluster. */
enum verdict_answer picture_answer(const struct picture *pic, const struct verdict_view *view);
/* NODE has answered, or not, or is late: its pulse says so from now on. */
void picture_judge(struct picture *pic, struct picture_node *node, const struct conf_cluster *conf, uint64_t now_us);

#endif
