/* orderspriv — what the files that carry out orders share: orders.c has them all, dborders.c and taskorders.c know single kinds. */
#ifndef ORDERSPRIV_H
#define ORDERSPRIV_H

#include "admin/order.h"
#include "base/compiler.h"
#include "net/loop.h"

struct app;
struct orders {
	struct app *app;
	struct dlist under_way; /* struct order */
	struct dlist running;   /* those of tasks, which are answered when these end */
	struct loop_timer look, averages;
	bool ends_when_paused; /* SHUTDOWN WAIT_FOR_SERVERS */
	enum order_until ends; /* a SHUTDOWN that was answered */
};

/* orders.c */
void orders_answer(struct order *o); /* O is gone afterwards, or kept until its errands are back */
void orders_refuse(struct order *o, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4);
void orders_wait(struct orders *os,
                 struct order *o); /* until everybody has seen what it published, and more if its kind wants it */
void orders_send_errands(struct orders *os, struct order *o, enum errand_kind kind);
const struct topo *orders_topo(const struct orders *os);

/* dborders.c */
void dborders_say(struct orders *os, struct order *o, unsigned set,
                  unsigned clear); /* enum topo_word; the order waits until every worker knows */
void dborders_pause(struct orders *os, struct order *o);
void dborders_resume(struct orders *os, struct order *o);
void dborders_disable(struct orders *os, struct order *o);
void dborders_enable(struct orders *os, struct order *o);
void dborders_kill(struct orders *os, struct order *o);
void dborders_kill_client(struct orders *os, struct order *o);
void dborders_reconnect(struct orders *os, struct order *o);
void dborders_wait_close(struct orders *os, struct order *o);
bool dborders_has_held(struct orders *os, struct order *o); /* false: not yet */
void dborders_end_pause(struct orders *os, struct order *o, const char *why);

/* obstacles.c */
void obstacles_dry_run(struct orders *os, struct order *o);
void obstacles_look(struct orders *os, struct order *o); /* while it is under way */
void obstacles_hear(struct order *o, struct errand *e);
void obstacles_tell(struct order *o); /* it is going to be answered */

/* taskorders.c */
void taskorders_run(struct orders *os, struct order *o);
void taskorders_stop_task(struct orders *os, struct order *o);

#endif
