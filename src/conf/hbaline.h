/* hbaline — the lines of a pg_hba.conf as fields, each a list of names; knows quotes, commas, comments and continued lines. */
#ifndef CONF_HBALINE_H
#define CONF_HBALINE_H

#include "conf/conf.h"

#define HBALINE_FIELDS 64u

struct name {
	char *text;
	bool is_quoted; /* it means itself, even if it looks like a keyword */
};
struct names {
	size_t n;
	struct name *at;
};
void names_fini(struct names *n);

struct hbaline {
	struct conf_errors *errors;
	const char *path;
	unsigned number;
	bool is_bad;
	size_t n;
	struct names fields[HBALINE_FIELDS];
};
/* The text of a file; it is changed on the way (continued lines are joined). */
struct hbaline_reader {
	struct conf_errors *errors;
	const char *path;
	char *at, *end;
	unsigned lines; /* that begin up to AT */
};
/* The next line that has fields; false: there is none.  It may be bad, then that is reported.  hbaline_fini() each. */
bool hbaline_next(struct hbaline_reader *r, struct hbaline *l);
void hbaline_fini(struct hbaline *l);
const char *hbaline_word(const struct hbaline *l, size_t at); /* a field that is one name; NULL: not so */
void hbaline_bad(struct hbaline *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
