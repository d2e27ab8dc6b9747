/* users — name and secret, PgBouncer's userlist syntax: "name" "secret" (doubled quotes inside); ';' and '#' begin comments.  Immutable. */
#ifndef CONF_USERS_H
#define CONF_USERS_H

#include "conf/conf.h"

struct users *users_load(const char *path, struct conf_errors *errors) MUST_CHECK; /* path "": an empty set */
void users_free(struct users *u);                                                  /* wipes */
/* The secret: clear text or "SCRAM-SHA-256$…"; NULL when the user is not listed or has none ("").  Borrowed. */
const char *users_secret(const struct users *u, const char *name);

#endif
