/*
 * record — what must be remembered of a cluster, whatever happens to this program: who is primary, in which epoch, which nodes are kept away and why,
 * and the operation under way.  A value; pure.
 *
 * It is written whole, as text that people can read, with a checksum.  Whoever changes it proposes a copy (record_keeper, ha/journal.h) and acts
 * when that is durable.
 */
#ifndef HA_RECORD_H
#define HA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/slice.h"
#include "tbl/operations.h"

#define RECORD_VERSION 1
#define RECORD_NAME_MAX 128u /* of clusters and nodes, with the NUL */
#define RECORD_NODES_MAX 32u
#define RECORD_WHY_MAX 200u
#define RECORD_PAST_MAX 20u
#define RECORD_TEXT_MAX (192u * 1024)
#define RECORD_STEPS_MAX (12u * 1024) /* what the hooks of an operation may keep */
#define RECORD_STEPS_N_MAX 64u
#define RECORD_KEY_MAX 256u
#define RECORD_VALUE_MAX 4097u /* with the NUL */

#define OPERATION_KIND(id, ...) OPERATION_##id,
enum operation_kind { OPERATION_NONE, OPERATION_KINDS(OPERATION_KIND) OPERATION_KIND_COUNT };
#define OPERATION_STEP(id, ...) STEP_##id,
enum operation_step { STEP_NONE, OPERATION_STEPS(OPERATION_STEP) STEP_COUNT };
#define OPERATION_END(id, ...) END_##id,
enum operation_end { END_NONE, OPERATION_ENDS(OPERATION_END) END_COUNT };
const char *operation_kind_word(enum operation_kind kind);
const char *operation_step_word(enum operation_step step);
const char *operation_end_word(enum operation_end end);

enum record_flag {
	RECORD_QUARANTINED = 1, /* takes nothing and is no candidate until it has proved itself */
	RECORD_DETACHED = 2,    /* the same, until an administrator takes it back */
};
struct record_node {
	char name[RECORD_NAME_MAX];
	unsigned flags;
	char why[RECORD_WHY_MAX]; /* of the flags */
	char alias[64];           /* what its receiver calls itself at the primary; "" is not known */
};
struct record_operation {
	uint64_t id;    /* 0: there is none */
	uint64_t epoch; /* in which it began */
	enum operation_kind kind;
	enum operation_step step; /* the last one that was made durable */
	enum operation_end end;
	bool has_no_return; /* a promotion may have happened */
	bool allows_loss;   /* whoever ordered it has said so */
	unsigned attempt;   /* candidates that were tried */
	char source[RECORD_NAME_MAX], target[RECORD_NAME_MAX];
	uint64_t reached;                /* how far its target had come when it was chosen; 0: it was none, or is not known */
	char why[RECORD_WHY_MAX];        /* why it began; behind the end, why that */
	char judged[2 * RECORD_WHY_MAX]; /* the candidates, and why those who may not may not */
	uint64_t began_s, took_ms;       /* seconds since 1970, for people only */
	uint32_t at_ms[STEP_COUNT];      /* when each step began, since the operation did, and 1; 0: it did not */
};
struct record {
	char cluster[RECORD_NAME_MAX];
	uint64_t system_id; /* 0: not known */
	uint64_t epoch;     /* grows whenever another primary is recorded; 0: none ever was */
	char primary[RECORD_NAME_MAX];
	uint64_t timeline;   /* the primary's */
	uint64_t switch_lsn; /* where its timeline began, as far as is known */
	char sync[256];      /* synchronous_standby_names there */
	bool is_paused;      /* nothing is done without an order */
	uint64_t last_id;    /* of operations */
	size_t n_nodes;      /* those of which there is something to say */
	struct record_node nodes[RECORD_NODES_MAX];
	struct record_operation op;
	size_t steps_len; /* what its hooks have finished: key NUL value NUL … */
	char steps[RECORD_STEPS_MAX];
	size_t n_past; /* newest first */
	struct record_operation past[RECORD_PAST_MAX];
};

const struct record_node *record_node(const struct record *r, const char *name); /* NULL: nothing is said of it */
bool record_is_barred(const struct record *r, const char *name);                 /* by any flag */
/* Sets and clears flags; WHY is kept while there are any.  False: there are too many nodes. */
bool record_flag(struct record *r, const char *name, unsigned set, unsigned clear, const char *why);
bool record_alias(struct record *r, const char *name, const char *alias); /* true: it was another */
/* Opens an operation, which gets the next id; moves the one under way to the past. */
void record_open(struct record *r, enum operation_kind kind, const char *source, const char *why, uint64_t now_s);
void record_close(struct record *r, enum operation_end end, const char *why, uint64_t took_ms);

/* What a step of the operation under way came to; NULL: it is not finished. */
const char *record_step(const struct record *r, const char *key);
bool record_has_room(const struct record *r, const char *key, const char *value); /* for one more that is finished */
bool record_finish_step(struct record *r, const char *key, const char *value);    /* false: it is already, or there is no room */

/* Each of them in turn, from *AT = 0; false: there are no more. */
bool record_next_step(const struct record *r, size_t *at, const char **key, const char **value);

uint32_t record_sum(struct slice text); /* CRC-32C */
/* As text; returns its length, below RECORD_TEXT_MAX. */
size_t record_write(const struct record *r, char *out);
/* False with ERR: it is none, or was cut off, or is damaged; or *IS_STRANGE: it is whole, but says what this version does not know. */
bool record_read(struct record *out, struct slice text, bool *is_strange, struct err *err) MUST_CHECK;

#endif
