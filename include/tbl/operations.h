/*
 * operations — what Lunapool does with a cluster by itself or by order, step by step.  The words stand in the journal, the log and SHOW OPERATIONS.
 *
 *   KIND(id, word, sentence)   STEP(id, word, sentence)   END(id, word, sentence)
 */
#ifndef TBL_OPERATIONS_H
#define TBL_OPERATIONS_H

#define OPERATION_KINDS(KIND)                                                                             \
	KIND(FAILOVER, "failover", "The primary is lost: another node takes its place.")                      \
	KIND(SWITCHOVER, "switchover", "Another node takes the primary's place by order.")                    \
	KIND(REJOIN, "rejoin", "A node in quarantine is made a standby of the primary again, by the policy.") \
	KIND(RECOVER, "recover", "A node is built anew from the primary, by the policy and by order.")        \
	KIND(DRAIN, "drain", "A standby is detached when nobody uses it any more, by order.")

#define OPERATION_STEPS(STEP)                                                                         \
	STEP(CONFIRM, "confirm", "Is the primary lost?  Or, if it is to be stopped, a checkpoint.")       \
	STEP(HOLD, "hold", "Nobody has a connection to it any more; what would write waits.")             \
	STEP(DRAIN, "drain", "Transactions that run end; what would begin one waits, or goes elsewhere.") \
	STEP(FENCE, "fence", "The old primary is kept from writing.")                                     \
	STEP(CHOOSE, "choose", "Who may, and who is best?")                                               \
	STEP(PROMOTE, "promote", "The candidate is promoted; from here on there is no way back.")         \
	STEP(PUBLISH, "publish", "It has proved that it is the primary, and is about to be recorded.")    \
	STEP(FOLLOW, "follow", "Statements run there; the other nodes are told to follow it.")            \
	STEP(WORK, "work", "The policy's hook works at the node.")                                        \
	STEP(VERIFY, "verify", "Does it receive what the primary writes, on its timeline?")

#define OPERATION_ENDS(END)                  \
	END(DONE, "done", "All of it was done.") \
	END(ABORTED, "aborted", "It was given up; whoever was the primary goes on.")

#endif
