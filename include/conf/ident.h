/*
 * ident — user-name maps in pg_ident.conf's syntax: which name of the system or of a certificate may come in as which user.
 * Immutable, any thread.
 */
#ifndef CONF_IDENT_H
#define CONF_IDENT_H

#include "conf/conf.h"

struct ident *ident_load(const char *path, struct conf_errors *errors) MUST_CHECK; /* path "": an empty set */
void ident_free(struct ident *i);
bool ident_has(const struct ident *i, const char *map);
enum ident_answer { IDENT_NO, IDENT_YES, IDENT_NEEDS_ROLES };
/* MAP NULL: SYSTEM must equal USER.  ROLES: as in struct hba_facts; needed for lines with +role only. */
struct hba_facts;
enum ident_answer ident_match(const struct ident *i, const char *map, const char *system, const char *user,
                              const struct hba_facts *facts);
bool ident_uses_roles(const struct ident *i);
bool ident_equal(const struct ident *a, const struct ident *b);

#endif
