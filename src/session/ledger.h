/*
 * ledger — what ran where: for each shape, pool and way of deciding how often it ran, how long, and why it ran there last.
 *
 * One for each worker, of a size that never changes.  Rows stand in sets of LEDGER_WAYS; a shape that finds its set full takes the place of the
 * coldest there, whose counts are then known in sum only.  Reasons have places of their own and are told by number.  What a number meant may be
 * forgotten; it is never 0, and comes again only after millions of others.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include "base/compiler.h"
#include "policy/policy.h"
#include "sql/class.h"

#define LEDGER_WAYS 4u
#define LEDGER_ROWS 1024u   /* a power of 2 */
#define LEDGER_REASONS 128u /* a power of 2 */
#define LEDGER_PLACE_MAX 120u

struct ledger_row {
	uint64_t shape_id, pool_id;
	uint32_t how;    /* the caller's, as the next */
	uint32_t reason; /* of the last time; 0: none */
	uint32_t number; /* 0: free */
	uint32_t heat;
	uint64_t count;
	uint64_t timed, time_us; /* of those whose time was taken */
	uint32_t node_id;
	struct sql_class *class; /* a reference; NULL: nobody knows */
	char *database;
};

struct ledger_reason {
	uint32_t number; /* 0: free */
	uint64_t hash, generation;
	char place[LEDGER_PLACE_MAX], text[POLICY_REASON_MAX];
};

struct ledger {
	uint64_t forgotten, forgotten_us;
	uint32_t uses;
	struct ledger_row rows[LEDGER_ROWS];
	struct ledger_reason reasons[LEDGER_REASONS];
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l); /* NULL is fine */

static inline struct ledger_row *ledger_set(struct ledger *l, uint64_t shape_id, uint64_t pool_id, uint32_t how)
{
	uint64_t h = (shape_id ^ pool_id * UINT64_C(0xc2b2ae3d27d4eb4f) ^ how) * UINT64_C(0x9e3779b97f4a7c15);
	return &l->rows[(h >> 40 & (LEDGER_ROWS / LEDGER_WAYS - 1)) * LEDGER_WAYS];
}

struct ledger_key {
	uint64_t pool_id;
	uint32_t node_id, how;
	struct sql_class *class; /* NULL: nobody knows */
	const char *database;
};
struct ledger_row *ledger_add(struct ledger *l, const struct ledger_key *key);

/* The row of KEY's shape, pool and way. */
static inline struct ledger_row *ledger_row(struct ledger *l, const struct ledger_key *key)
{
	uint64_t shape_id = key->class ? key->class->shape_id : 0;
	struct ledger_row *r = ledger_set(l, shape_id, key->pool_id, key->how);
	for (unsigned i = 0; i < LEDGER_WAYS; i++)
		if (r[i].shape_id == shape_id && r[i].pool_id == key->pool_id && r[i].how == key->how && r[i].number)
			return &r[i];
	return ledger_add(l, key);
}

static inline struct ledger_row *ledger_numbered(struct ledger *l, uint32_t number) /* NULL: forgotten */
{
	struct ledger_row *r = &l->rows[number & (LEDGER_ROWS - 1)];
	return number && r->number == number ? r : NULL;
}

static inline const struct ledger_reason *ledger_reason(const struct ledger *l, uint32_t number) /* NULL: forgotten */
{
	const struct ledger_reason *r = &l->reasons[number & (LEDGER_REASONS - 1)];
	return number && r->number == number ? r : NULL;
}

/* Its number.  PLACE: file and line, or "".  GENERATION: the policy's, 0: none. */
uint32_t ledger_note(struct ledger *l, uint64_t generation, const char *place, const char *text);

#endif
