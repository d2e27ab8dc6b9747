/* nodeorders — what an administrator wants of a cluster or its nodes: given to the cluster's keeper (ha/ops.h), which records it. */
#ifndef APP_NODEORDERS_H
#define APP_NODEORDERS_H

#include "admin/order.h"

struct app;
bool nodeorders_is_one(const struct order *o);
/* O waits from now on, until nodeorders_has_ended(); false: it has failed at once, and says why. */
bool nodeorders_begin(struct app *a, struct order *o) MUST_CHECK;
/* SWITCHOVER DRY_RUN: what is found becomes its lines; false: it would be refused. */
bool nodeorders_try_switchover(struct app *a, struct order *o) MUST_CHECK;
/* It is recorded and everybody knows, or it has failed. */
bool nodeorders_has_ended(struct app *a, struct order *o);

#endif
