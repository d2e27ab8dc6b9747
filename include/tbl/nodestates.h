/*
 * nodestates — what a node is to us, as SHOW NODES has it; of several the first that is true.
 *
 *   STATE(id, word, sentence)
 */
#ifndef TBL_NODESTATES_H
#define TBL_NODESTATES_H

#define NODE_STATES(STATE)                                                                 \
	STATE(DETACHED, "detached", "By order, until ATTACH: it has no connections.")          \
	STATE(DRAINING, "draining", "Nothing new begins there; what runs goes on.")            \
	STATE(QUARANTINED, "quarantined", "It has no connections until it has proved itself.") \
	STATE(DOWN, "down", "It does not answer.")                                             \
	STATE(SUSPECT, "suspect", "It has not answered as it should, and may yet.")            \
	STATE(WAITING, "waiting", "A standby that is up and takes no reads now.")              \
	STATE(UP, "up", "It takes what it is there for.")

#endif
