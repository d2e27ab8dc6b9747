/* tell — what the log says of nodes and clusters: an event when something is new, in words for people. */
#ifndef HA_TELL_H
#define HA_TELL_H

#include "base/err.h"
#include "ha/verdict.h"
#include "topo/topo.h"

void tell_reachable(const struct topo_cluster *c, const struct topo_node *n, bool is_reachable, const struct err *err);
void tell_foreign(const struct topo_cluster *c, const struct topo_node *n, bool is_foreign, uint64_t id, uint64_t of_cluster);
void tell_replaced(const struct topo_cluster *c, uint64_t from, uint64_t to);
void tell_primary(const struct topo_cluster *c, const struct verdict *v);
void tell_refused(const struct topo_cluster *c, const struct topo_node *n, const struct err *err);
void tell_conflict(const struct topo_cluster *c, const struct topo_node *n);
/* What has been said of a node's pulse, so that it is not said again. */
struct told {
	bool is_fit, is_unseen;
	uint64_t ejections;
	int certificate_days; /* 0: nothing yet; else one more than it had left */
};
void tell_pulse(struct told *told, const struct topo_cluster *c, const struct topo_node *n);

/* Its certificate has so many days left; less than 0: none. */
void tell_certificate(struct told *told, const struct topo_cluster *c, const struct topo_node *n, int days);

#endif
