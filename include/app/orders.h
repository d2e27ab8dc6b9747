/* orders — what an administrator wants done, carried out in the control thread (admin/order.h). */
#ifndef APP_ORDERS_H
#define APP_ORDERS_H

#include <stdbool.h>

struct app;
struct orders;
struct orders *orders_new(struct app *a); /* hears orders from now on; the workers do not run yet */
void orders_shut(struct orders *os);      /* not any more; what was under way is dropped */
void orders_free(struct orders *os);
void orders_on_conf(struct orders *os); /* another configuration is published */

#endif
