/*
 * hint — what the comments in front of a statement ask of the router:
 *
 *   lunapool: route=standby, node=pg2, class=batch        and        NO LOAD BALANCE, as users of Pgpool-II write it
 */
#ifndef SQL_HINT_H
#define SQL_HINT_H

#include <stdbool.h>

#include "base/slice.h"

#define HINT_REACH 1024u /* so many bytes of the text are looked at */

/* Slices of the text; empty: not asked for. */
struct sql_hint {
	bool wants_primary; /* route=primary, or NO LOAD BALANCE */
	struct slice route; /* as written; who routes says which words there are */
	struct slice node, class;
	struct slice strange; /* what is no such pair: its name, or what stands there */
};
/* False: no comment in front of TEXT asks for anything; it may say something strange.  Costs a look at the first byte when there is none. */
bool sql_hint(struct slice text, struct sql_hint *out);
/* The look at the first byte: false, as nearly always, when sql_hint() would say so. */
static inline bool sql_may_hint(struct slice text)
{
	return !text.len || *text.at <= '/'; /* white space, '-' and '/' */
}

#endif
