/* news — what has happened between two records of a cluster, in the words of policies' events (tbl/policy.h).  Pure. */
#ifndef HA_NEWS_H
#define HA_NEWS_H

#include "ha/record.h"
#include "hooks/hooks.h"

/* FN for each; its texts are the records'. */
void news_tell(const struct record *was, const struct record *is, void (*fn)(void *arg, const struct hook_event *e), void *arg);

#endif
