/* successor — the program as it is on disk now, started by us to take our place (SIGUSR2). */
#ifndef APP_SUCCESSOR_H
#define APP_SUCCESSOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "net/loop.h"

struct app;
struct successor {
	struct app *app;
	struct loop_timer reap;
	pid_t pid; /* a child of ours; 0: none */
	bool (*is_awaited)(const struct successor *s);
};
/* IS_AWAITED: its end, as long as we serve, is worth a word. */
void successor_init(struct successor *s, struct app *a, bool (*is_awaited)(const struct successor *s));
void successor_start(struct successor *s); /* unless there is one */
void successor_stop(struct successor *s);  /* it goes on; nobody waits for its end */

#endif
