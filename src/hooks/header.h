/* header — the lines of a head of HTTP, one after the other.  Pure. */
#ifndef HOOKS_HEADER_H
#define HOOKS_HEADER_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/slice.h"

#define HEADER_NAME_MAX 100
/* The next "Name: value" of HEAD, which goes on behind it: the name in small letters, the value, borrowed, without blanks around it.  Lines that are none, or
 * whose name is empty or too long, are passed over.  False: there is no other. */
bool header_next(struct slice *head, char name[HEADER_NAME_MAX], struct slice *value) MUST_CHECK;

#endif
