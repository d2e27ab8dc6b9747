/* authfile — an hba or ident file with all that it includes, line by line, and the names that @file stands for. */
#ifndef CONF_AUTHFILE_H
#define CONF_AUTHFILE_H

#include "hbaline.h"

/* The paths of files that were read; they live as long as this. */
struct authfiles {
	size_t n;
	char **at;
};
void authfiles_fini(struct authfiles *f);

/* Calls FN for each good line of PATH and of what it includes; FN may take fields away.  What is wrong goes to ERRORS, which for PATH itself
 * (KEY is the setting that names it) have no place. */
void authfile_read(struct authfiles *f, const char *path, const char *key, struct conf_errors *errors,
                   void (*fn)(void *arg, struct hbaline *l), void *arg);
/* Puts what each @file among NAMES holds in its place. */
void authfile_expand(struct hbaline *l, struct names *names);

#endif
