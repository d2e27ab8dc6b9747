/*
 * deciders — who decided where a statement runs, as SHOW ROUTES and EXPLAIN ROUTE name him.  DECIDER(id, name)
 */
#ifndef DECIDER
#define DECIDER(id, name)
#endif
DECIDER(SESSION, "session")   /* nobody had to: its transaction, its pins, or that there is one node only */
DECIDER(HINT, "hint")         /* in the statement's own comment */
DECIDER(SETTING, "setting")   /* the session's lunapool.route */
DECIDER(LIST, "list")         /* the configuration's redirect lists */
DECIDER(PLAN, "plan")         /* the policy's */
DECIDER(ROUTE, "route")       /* the policy's */
DECIDER(BUILT_IN, "built-in routing") /* reads to the standbys, everything else to the primary */
#undef DECIDER
