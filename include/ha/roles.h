/*
 * roles — who is primary: asks each node of a cluster whether it is in recovery and publishes the answer.
 *
 * A cluster of one node is never asked.  Asked every probe_interval, and at once when a worker reports evidence
 * (roles_doubt(): a connection failed, or a statement got 25006).  Roles follow what nodes say: exactly one node out of recovery is the
 * primary; two of them: the recorded one stays (nobody is, if it is not among them), and it is logged; none: primary -1 after the recorded
 * one was seen in recovery or failed twice.  A node that refuses the service role, or is full, has not failed (ha/verdict.h).
 */
#ifndef HA_ROLES_H
#define HA_ROLES_H

#include "ha/journal.h"
#include "ha/keeper.h"
#include "net/mailbox.h"
#include "net/resolve.h"
#include "topo/topo.h"

struct roles;
struct roles *roles_new(struct loop *loop, struct resolver *resolver, struct mailbox *mailbox, struct topo_board *board);
void roles_free(struct roles *r);
/* Before roles_on_conf(): from now on each cluster has a keeper, whose record in J says who may be primary.  All of them outlive R. */
void roles_remember(struct roles *r, struct journal *j, struct records *records, const struct keeper_pools *pools);
/* Before roles_on_conf(), too: operations ask these policies, which outlive R. */
void roles_ask(struct roles *r, struct hooks *hooks);
/* Another process has J's place: what is cut off stays so, and nothing more is decided. */
void roles_resign(struct roles *r);
/* The keeper of the cluster at this place in the topology; NULL: it has none. */
const struct keeper *roles_keeper(const struct roles *r, const char *cluster);
/* After each publish with another configuration, the first included: asks the new nodes, forgets those that went. */
void roles_on_conf(struct roles *r);
/* For policies.  False: there is no such cluster, or node.
 * HOLD: nothing begins on its primary, what would waits;  DRAIN: it takes no new reads. */
bool roles_hold(struct roles *r, const char *cluster, bool is_held) MUST_CHECK;
bool roles_drain(struct roles *r, uint32_t node_id, bool is_drained) MUST_CHECK;
void roles_doubt(struct roles *r, uint32_t node_id); /* asks all nodes of its cluster now; floods cost little.  Control thread */

#endif
