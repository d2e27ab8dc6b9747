/* users — name and secret, PgBouncer's userlist syntax: "name" "secret" (doubled quotes inside); ';' and '#' begin comments.  Immutable. */
#ifndef CONF_USERS_H
#define CONF_USERS_H

#include "conf/conf.h"

struct users *users_load(const char *path, struct conf_errors *errors) MUST_CHECK; /* path "": an empty set */
void users_free(struct users *u);                                                  /* wipes */
/* A stored secret is clear text, "md5" and 32 digits, or "SCRAM-SHA-256$…". */
enum secret_kind { SECRET_NONE, SECRET_CLEAR, SECRET_MD5, SECRET_SCRAM };
enum secret_kind secret_kind(const char *secret); /* NULL: SECRET_NONE */
/* As whom the method md5 shall treat a user who has no secret: SECRET_MD5, as those with an MD5 or a clear one, or SECRET_SCRAM, each as often as among
 * the others.  DRAW: a random number that is always the same for a name. */
enum secret_kind users_likely_kind(const struct users *u, uint64_t draw);
bool users_has(const struct users *u, const char *name); /* listed, with a secret or without */
/* The secret: as it stands in the file; NULL when the user is not listed or has none ("").  Borrowed. */
const char *users_secret(const struct users *u, const char *name);

#endif
