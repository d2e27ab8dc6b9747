/* powers — what policies' actions do to clusters and nodes: by roles, by operations' orders, by what the pools know. */
#ifndef APP_POWERS_H
#define APP_POWERS_H

#include "hooks/hooks.h"

struct app;
void powers_init(struct hooks_powers *p, struct app *a);

#endif
