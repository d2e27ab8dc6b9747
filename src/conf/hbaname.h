/* hbaname — one entry in a list of databases or users: a name, a keyword, +role, or /regular expression. */
#ifndef CONF_HBANAME_H
#define CONF_HBANAME_H

#include <regex.h>

#include "conf/hba.h"
#include "hbaline.h"

/* What is not known yet: UNSURE. */
enum fit { FIT_NO, FIT_YES, FIT_UNSURE };

struct entry {
	char *text;
	bool is_quoted;
	regex_t *regex; /* NULL: it is none */
};
struct entries {
	size_t n;
	struct entry *at;
};
/* The field AT of L; what is wrong with it is reported. */
void entries_read(struct hbaline *l, size_t at, struct entries *out);
void entries_fini(struct entries *e);
bool entries_equal(const struct entries *a, const struct entries *b);
bool entries_use_roles(const struct entries *e, bool are_databases);
enum fit entries_fit_user(const struct entries *e, const char *user, const struct hba_facts *facts);
enum fit entries_fit_database(const struct entries *e, const struct hba_ask *ask);

/* Compiles TEXT (behind its slash) as POSIX extended; NULL: reported. */
regex_t *entry_compile(struct hbaline *l, const char *text, int flags);
void entry_free_regex(regex_t *regex);
enum fit entry_is_member(const struct hba_facts *facts, const char *role);

#endif
