/*
 * changes — what a reload changes, in words: one sentence for each block that is new, gone or different, and for each file behind it.
 * The same sentences are the plan of a dry run and the log of a reload.
 */
#ifndef CONF_CHANGES_H
#define CONF_CHANGES_H

#include "conf/conf.h"

/* What a change belongs to: the blocks of tbl/params.h, and the files that auth names. */
enum change_part {
#define CHANGE_PART(block, rows, title, sentence) CHANGE_##block,
	PARAMS_BLOCKS(CHANGE_PART)
#undef CHANGE_PART
	    CHANGE_hba_file,
	CHANGE_ident_file,
	CHANGE_users_file,
	CHANGE_PART_COUNT
};

struct change {
	enum change_part part;
	const char *text;   /* "database app: pool_size 20 -> 50"; until the callback returns; never holds a secret */
	bool needs_restart; /* it stays as it is */
};
typedef void (*change_fn)(void *arg, const struct change *c);

/* Calls FN for each; returns which parts a reload to AFTER changes: bits 1u << enum change_part, 0: nothing. */
unsigned conf_changes(const struct conf *before, const struct conf *after, change_fn fn, void *arg);

#endif
