/*
 * ledger — see the header.  What is hot stays: each use warms a row, each newcomer cools its set, and takes the place of the coldest.
 *
 * Always: what was counted stands in a row or in `forgotten`, once.
 */
#include "ledger.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

struct ledger *ledger_new(void)
{
	return mem_alloc(sizeof(struct ledger));
}

static void row_free(struct ledger_row *r)
{
	sql_class_unref(r->class);
	mem_free(r->database);
}

void ledger_free(struct ledger *l)
{
	for (unsigned i = 0; l && i < LEDGER_ROWS; i++)
		row_free(&l->rows[i]);
	mem_free(l);
}

static struct ledger_row *place_in(struct ledger_row *set)
{
	struct ledger_row *found = &set[0];
	for (unsigned i = 0; i < LEDGER_WAYS; i++)
		if (!set[i].number)
			return &set[i];
	for (unsigned i = 0; i < LEDGER_WAYS; i++) {
		if (set[i].heat < found->heat)
			found = &set[i];
		set[i].heat /= 2;
	}
	return found;
}

/* Another one for each use of the place AT; 0 is none's. */
static uint32_t number_of(struct ledger *l, uint32_t at, uint32_t places)
{
	uint32_t number;
	do
		number = ++l->uses * places + at;
	while (number == 0);
	return number;
}

struct ledger_row *ledger_add(struct ledger *l, const struct ledger_key *key)
{
	uint64_t shape_id = key->class ? key->class->shape_id : 0;
	struct ledger_row *r = place_in(ledger_set(l, shape_id, key->pool_id, key->how));
	l->forgotten += r->count;
	l->forgotten_us += r->time_us;
	row_free(r);
	*r = (struct ledger_row){ .shape_id = shape_id,
		                      .pool_id = key->pool_id,
		                      .how = key->how,
		                      .number = number_of(l, (uint32_t)(r - l->rows), LEDGER_ROWS),
		                      .node_id = key->node_id,
		                      .class = key->class ? sql_class_ref(key->class) : NULL,
		                      .database = mem_text(key->database) };
	return r;
}

uint32_t ledger_note(struct ledger *l, uint64_t generation, const char *place, const char *text)
{
	uint64_t hash = hash_place(slice_text(text)) ^ hash_place(slice_text(place)) ^ generation * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(hash >> 32) & (LEDGER_REASONS - 1);
	struct ledger_reason *r = &l->reasons[at];
	if (r->number && r->hash == hash && r->generation == generation && strcmp(r->text, text) == 0)
		return r->number;
	*r = (struct ledger_reason){ .number = number_of(l, at, LEDGER_REASONS), .hash = hash, .generation = generation };
	snprintf(r->place, sizeof r->place, "%s", place);
	snprintf(r->text, sizeof r->text, "%s", text);
	return r->number;
}
