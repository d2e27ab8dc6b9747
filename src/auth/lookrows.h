/* lookrows — what servers told of a user. */
#ifndef AUTH_LOOKROWS_H
#define AUTH_LOOKROWS_H

#include "base/err.h"
#include "upstream/service.h"

#define LOOKUP_ALWAYS INT64_MAX

struct lookup_facts {
	char *secret;          /* NULL: there is no such user, or none with a password */
	int64_t valid_until_s; /* of the epoch; LOOKUP_ALWAYS: it is */
	size_t n_roles;
	char **roles;
};
/* F is empty before.  False with ERR when the answer is none that can be believed; then F may hold something all the same. */
bool lookup_take_secret(struct lookup_facts *f, const struct service_rows *rows, const char *name, struct err *err) MUST_CHECK;
bool lookup_take_roles(struct lookup_facts *f, const struct service_rows *rows, const char *name, struct err *err) MUST_CHECK;
void lookup_facts_fini(struct lookup_facts *f); /* wipes, and empties */

#endif
