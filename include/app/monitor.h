/* monitor — what monitoring may ask for over HTTP: /metrics and /health. */
#ifndef APP_MONITOR_H
#define APP_MONITOR_H

#include <stdbool.h>

struct app;
struct monitor;
struct monitor *monitor_new(struct app *a);
void monitor_free(struct monitor *m); /* NULL is fine */
void monitor_on_conf(struct monitor *m);
void monitor_leave(struct monitor *m); /* clients are let go: a successor may have the port; who is connected is told */

#endif
