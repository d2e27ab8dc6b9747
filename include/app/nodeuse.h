/* nodeuse — what all workers' pools do with a node, summed up for those who decide about it. */
#ifndef APP_NODEUSE_H
#define APP_NODEUSE_H

#include "ha/keeper.h"

struct app;
struct keeper_pools nodeuse_pools(struct app *a);
unsigned nodeuse_connections(void *app, uint32_t node_id); /* that clients use or wait for */

#endif
