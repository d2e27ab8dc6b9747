/* record: what is written is read back, whatever is in it; what was damaged anywhere is not read at all. */
#include "ha/record.h"

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "unit.h"

static uint64_t seed;
static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void random_text(char *out, size_t room)
{
	size_t len = rnd(4) ? rnd(12) : rnd((uint32_t)room);
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(1 + rnd(255));
	out[len] = 0;
}

static void random_operation(struct record_operation *op)
{
	*op = (struct record_operation){ .id = 1 + rnd(1000),
		                             .epoch = rnd(9),
		                             .kind = 1 + rnd(OPERATION_KIND_COUNT - 1),
		                             .step = 1 + rnd(STEP_COUNT - 1),
		                             .end = rnd(END_COUNT),
		                             .has_no_return = rnd(2),
		                             .allows_loss = rnd(2),
		                             .attempt = rnd(5),
		                             .began_s = rnd(1u << 30),
		                             .took_ms = rnd(99999) };
	random_text(op->source, sizeof op->source);
	random_text(op->target, sizeof op->target);
	random_text(op->why, sizeof op->why);
	random_text(op->judged, sizeof op->judged);
	for (int i = 1; i < STEP_COUNT; i++)
		op->at_ms[i] = rnd(2) ? rnd(UINT32_MAX) : 0;
}

/* Of those that are too many nothing is kept. */
static void random_step(struct record *r)
{
	char key[RECORD_KEY_MAX], value[RECORD_VALUE_MAX];
	random_text(key, sizeof key);
	random_text(value, rnd(8) ? 100 : sizeof value);
	bool was_there = record_step(r, key) != NULL;
	if (record_finish_step(r, key, value))
		assert_string_equal(record_step(r, key), value);
	else
		assert_true(was_there == (record_step(r, key) != NULL));
}

static void random_record(struct record *r)
{
	*r = (struct record){ .system_id = ((uint64_t)rnd(UINT32_MAX) << 32) + rnd(UINT32_MAX),
		                  .epoch = rnd(100),
		                  .timeline = rnd(9),
		                  .switch_lsn = UINT64_MAX - rnd(5),
		                  .is_paused = rnd(2),
		                  .last_id = rnd(50) };
	random_text(r->cluster, sizeof r->cluster);
	random_text(r->primary, sizeof r->primary);
	random_text(r->sync, sizeof r->sync);
	r->n_nodes = rnd(RECORD_NODES_MAX + 1);
	for (size_t i = 0; i < r->n_nodes; i++) {
		r->nodes[i].flags = rnd(4);
		random_text(r->nodes[i].name, sizeof r->nodes[i].name);
		random_text(r->nodes[i].why, sizeof r->nodes[i].why);
		random_text(r->nodes[i].alias, sizeof r->nodes[i].alias);
	}
	if (rnd(2))
		random_operation(&r->op);
	for (uint32_t n = r->op.id ? rnd(70) : 0; n > 0; n--)
		random_step(r);
	r->n_past = rnd(RECORD_PAST_MAX + 1);
	for (size_t i = 0; i < r->n_past; i++)
		random_operation(&r->past[i]);
}

static char text[RECORD_TEXT_MAX], again[RECORD_TEXT_MAX];
static struct record a, b;

static void what_is_written_is_read(void **state)
{
	struct err err;
	for (seed = 1; seed < 400; seed++) {
		uint64_t kept = seed;
		random_record(&a);
		size_t len = record_write(&a, text);
		assert_true(record_read(&b, slice_of(text, len), &err));
		assert_int_equal(record_write(&b, again), len);
		assert_memory_equal(text, again, len);
		seed = kept;
	}
}

static void every_cut_and_every_other_byte_is_noticed(void **state)
{
	struct err err;
	a = (struct record){ .system_id = 7, .epoch = 3, .cluster = "main", .primary = "pg2", .timeline = 2, .last_id = 4 };
	record_open(&a, OPERATION_FAILOVER, "pg1", "it refuses connections", 1790000000);
	assert_true(record_flag(&a, "pg1", RECORD_QUARANTINED, 0, "it was the \"primary\"\n"));
	size_t len = record_write(&a, text);
	assert_true(record_read(&b, slice_of(text, len), &err));
	for (size_t n = 0; n < len; n++)
		assert_false(record_read(&b, slice_of(text, n), &err));
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1 << bit);
			assert_false(record_read(&b, slice_of(text, len), &err));
			text[i] ^= (char)(1 << bit);
		}
	assert_false(record_read(&b, slice_of("", 0), &err));
	assert_string_equal(err.text, "it is empty");
}

static void the_largest_fits(void **state)
{
	struct err err;
	memset(&a, 0, sizeof a);
#define FILL(field) memset(field, 1, sizeof(field) - 1)
	FILL(a.cluster);
	FILL(a.primary);
	FILL(a.sync);
	a.system_id = a.epoch = a.timeline = a.switch_lsn = a.last_id = UINT64_MAX;
	a.n_nodes = RECORD_NODES_MAX;
	a.n_past = RECORD_PAST_MAX;
	for (size_t i = 0; i < a.n_nodes; i++) {
		FILL(a.nodes[i].name);
		FILL(a.nodes[i].why);
		FILL(a.nodes[i].alias);
		a.nodes[i].flags = 3;
	}
	for (size_t i = 0; i <= a.n_past; i++) {
		struct record_operation *op = i < a.n_past ? &a.past[i] : &a.op;
		*op = (struct record_operation){ .id = UINT64_MAX,
			                             .epoch = UINT64_MAX,
			                             .kind = 1,
			                             .step = STEP_PROMOTE,
			                             .end = END_ABORTED,
			                             .attempt = UINT32_MAX,
			                             .began_s = UINT64_MAX,
			                             .took_ms = UINT64_MAX };
		FILL(op->source);
		FILL(op->target);
		FILL(op->why);
		FILL(op->judged);
	}
	static char value[RECORD_VALUE_MAX];
	memset(value, 1, 185);
	for (char key[] = "\1\1"; record_finish_step(&a, key, value); key[1]++)
		;
	assert_true(a.steps_len > RECORD_STEPS_MAX - 300);
	size_t len = record_write(&a, text);
	assert_true(record_read(&b, slice_of(text, len), &err));
}

static void flags_and_names(void **state)
{
	a = (struct record){ 0 };
	assert_true(record_flag(&a, "x", RECORD_QUARANTINED, 0, "one"));
	assert_true(record_flag(&a, "x", RECORD_DETACHED, 0, "two"));
	assert_true(record_is_barred(&a, "x"));
	assert_true(record_flag(&a, "x", 0, RECORD_QUARANTINED, ""));
	assert_true(record_is_barred(&a, "x"));
	assert_true(record_flag(&a, "x", 0, RECORD_DETACHED, ""));
	assert_false(record_is_barred(&a, "x"));
	assert_int_equal(a.n_nodes, 0);
	assert_true(record_alias(&a, "y", "walreceiver"));
	assert_false(record_alias(&a, "y", "walreceiver"));
	assert_true(record_flag(&a, "y", 0, 3, ""));
	assert_int_equal(a.n_nodes, 1);
	for (unsigned i = 0; i < RECORD_NODES_MAX; i++) {
		char name[8];
		snprintf(name, sizeof name, "n%u", i);
		assert_int_equal(record_flag(&a, name, RECORD_DETACHED, 0, ""), i + 1 < RECORD_NODES_MAX);
	}
}

static void operations_become_past(void **state)
{
	a = (struct record){ .epoch = 5 };
	for (unsigned i = 0; i < RECORD_PAST_MAX + 3; i++) {
		record_open(&a, OPERATION_FAILOVER, "a", "lost", 1);
		record_close(&a, i % 2 ? END_DONE : END_ABORTED, "", 10 + i);
	}
	record_close(&a, END_DONE, "there is none", 0);
	assert_int_equal(a.n_past, RECORD_PAST_MAX);
	assert_int_equal(a.past[0].id, RECORD_PAST_MAX + 3);
	assert_int_equal(a.past[RECORD_PAST_MAX - 1].id, 4);
	assert_int_equal(a.op.id, 0);
	assert_string_equal(a.past[0].why, "lost");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(every_cut_and_every_other_byte_is_noticed),
		cmocka_unit_test(the_largest_fits),        cmocka_unit_test(flags_and_names),
		cmocka_unit_test(operations_become_past),
	};
	return UNIT_RUN(tests);
}
