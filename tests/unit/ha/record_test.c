/* record: what is written is read back, whatever is in it; what was damaged anywhere is not read at all; of other versions, what means the same. */
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
static bool is_strange;

static bool read_it(struct slice from, struct err *err)
{
	return record_read(&b, from, &is_strange, err);
}

static void what_is_written_is_read(void **state)
{
	struct err err;
	for (seed = 1; seed < 400; seed++) {
		uint64_t kept = seed;
		random_record(&a);
		size_t len = record_write(&a, text);
		assert_true(read_it(slice_of(text, len), &err));
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
	assert_true(read_it(slice_of(text, len), &err));
	for (size_t n = 0; n < len; n++)
		assert_false(read_it(slice_of(text, n), &err));
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1 << bit);
			assert_false(read_it(slice_of(text, len), &err));
			text[i] ^= (char)(1 << bit);
		}
	assert_false(read_it(slice_of("", 0), &err));
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
	assert_true(read_it(slice_of(text, len), &err));
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

/* -- other versions ----------------------------------------------------------------------------------- */

/* As the first version wrote it, that knew neither `loss` nor the steps work and verify. */
static const char first_version[] =
    "lunapool record 1\n"
    " cluster \"main\" system 7312 epoch 4 paused 0 operations 17\n"
    " primary \"pg2\" timeline 2 switch 50331816 sync \"ANY 1 (pg2, pg3)\"\n"
    " node \"pg1\" flags 1 alias \"pg1\" why \"a failover began in epoch 3\"\n"
    "now 17 epoch 3 kind failover step promote end - noreturn 1 attempt 1 source \"pg1\" target \"pg2\" began 1790000000 took 0 "
    "at 1 2 3 4 5 6 0 0 why \"it refuses \\22connections\\22\" judged \"pg3: behind\"\n"
    " past 16 epoch 2 kind switchover step follow end done noreturn 1 attempt 0 source \"pg3\" target \"pg1\" began 5 took 6 at "
    "0 0 1 0 0 0 0 9 why \"\" judged \"\"\n"
    "end 8343bd10\n";
/* As the one wrote it that came to know the steps of hooks. */
static const char with_steps[] = "lunapool record 1\n"
                                 " cluster \"main\" system 7312 epoch 4 paused 1 operations 17\n"
                                 " primary \"pg2\" timeline 2 switch 50331816 sync \"\"\n"
                                 " now 17 epoch 4 kind rejoin step work end - noreturn 0 attempt 0 source \"pg1\" target \"\" "
                                 "began 1790000000 took 0 at 1 0 0 0 0 0 0 0 8 0 why \"x\" judged \"\"\n"
                                 " step \"rejoin pg1 stop\" value \"true\"\n"
                                 "end ab254b6a\n";

static void what_an_older_version_wrote_is_read(void **state)
{
	struct err err;
	assert_true(read_it(slice_text(first_version), &err));
	assert_int_equal(b.epoch, 4);
	assert_true(record_is_barred(&b, "pg1"));
	assert_int_equal(b.op.kind, OPERATION_FAILOVER);
	assert_int_equal(b.op.step, STEP_PROMOTE);
	assert_true(b.op.has_no_return);
	assert_false(b.op.allows_loss);
	assert_string_equal(b.op.why, "it refuses \"connections\"");
	assert_string_equal(b.op.judged, "pg3: behind");
	assert_int_equal(b.op.at_ms[STEP_PROMOTE], 6);
	assert_int_equal(b.op.at_ms[STEP_VERIFY], 0);
	assert_int_equal(b.n_past, 1);
	assert_int_equal(b.past[0].end, END_DONE);
	assert_true(read_it(slice_text(with_steps), &err));
	assert_true(b.is_paused);
	assert_int_equal(b.op.step, STEP_WORK);
	assert_string_equal(record_step(&b, "rejoin pg1 stop"), "true");
}

/* BODY as one that has the right sum. */
static struct slice summed(const char *body)
{
	size_t len = (size_t)snprintf(text, sizeof text, "%s", body);
	len += (size_t)snprintf(text + len, sizeof text - len, "end %08x\n", record_sum(slice_of(text, len)));
	return slice_of(text, len);
}

#define HEAD "lunapool record 1\n"
#define CLUSTER " cluster \"main\" system 7 epoch 4 paused 0 operations 17\n primary \"pg2\" timeline 2 switch 9 sync \"\"\n"
#define WORK(kind, step)               \
	"epoch 3 kind " kind " step " step \
	" end - noreturn 0 attempt 1 source \"a\" target \"b\" began 5 took 6 at 0 why \"\" judged \"\""

static void what_a_newer_version_added_is_passed_over(void **state)
{
	struct err err;
	assert_true(read_it(summed(HEAD CLUSTER), &err));
	size_t len = record_write(&b, again);
	static const char *const added[] = {
		HEAD " later 1 cluster \"main\" words \"two \\22words\\22\" system 7 epoch 4 paused 0 operations 17 last x\n"
		     " primary \"pg2\" timeline 2 switch 9 sync \"\"\n",
		HEAD CLUSTER " lease \"lp1\" until 5\n",
		HEAD CLUSTER " past 16 " WORK("upgrade", "work") "\n past 15 " WORK("drain", "rest") "\n",
		HEAD " operations 17 epoch 4 paused 0 system 7 cluster \"main\"\n sync \"\" switch 9 timeline 2 primary \"pg2\"\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(added); i++) {
		assert_true(read_it(summed(added[i]), &err));
		assert_int_equal(record_write(&b, text), len);
		assert_memory_equal(text, again, len);
	}
	assert_true(read_it(summed(HEAD CLUSTER " now 17 " WORK("drain", "work") " at 1 2 3 4 5 6 7 8 9 10 11 12\n"), &err) == false);
	assert_non_null(strstr(err.text, "\"at\" is there twice"));
}

static void what_changes_the_meaning_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
		bool is_strange;
	} cases[] = {
		{ "lunapool record 2\n" CLUSTER, "line 1: it is of version 2, and this Lunapool knows 1", true },
		{ "lunapool record 0\n" CLUSTER, "of version 0", false },
		{ HEAD " !quorum 2" CLUSTER, "line 2: \"!quorum\" is not known here, and changes what the rest means", true },
		{ HEAD CLUSTER " !lease \"lp1\"\n", "line 4: \"!lease\" is not known here", true },
		{ HEAD CLUSTER " node \"pg1\" flags 4 alias \"\" why \"\"\n", "line 4: a node's flags 4 are not known here", true },
		{ HEAD CLUSTER " now 17 " WORK("upgrade", "work") "\n", "of which \"upgrade\" is not known here", true },
		{ HEAD CLUSTER " now 17 " WORK("drain", "rest") "\n", "of which \"rest\" is not known here", true },
		{ HEAD CLUSTER " now 17 epoch 3 kind drain\n", "line 4: \"step\" is missing", false },
		{ HEAD " cluster \"main\" system 7 epoch 4 paused 0 operations 17\n", "\"primary\" is missing", false },
		{ HEAD CLUSTER CLUSTER, "line 4: \"cluster\" is there twice", false },
		{ HEAD CLUSTER " node \"pg1\" flags 1 alias \"\"\n", "line 4: \"why\" is missing", false },
		{ HEAD CLUSTER " now 17 " WORK("drain", "work") "\n now 18 " WORK("drain", "work") "\n", "one operation too many",
		  false },
		{ HEAD CLUSTER " step \"a\" value \"b\"\n", "of no operation", false },
		{ HEAD CLUSTER " later \"cut off\n", "a text is cut off", false },
		{ HEAD CLUSTER " \"x\" 1\n", "a key is none", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { 0 };
		assert_false(read_it(summed(cases[i].text), &err));
		assert_non_null(strstr(err.text, cases[i].why));
		assert_int_equal(is_strange, cases[i].is_strange);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(every_cut_and_every_other_byte_is_noticed),
		cmocka_unit_test(the_largest_fits),
		cmocka_unit_test(flags_and_names),
		cmocka_unit_test(operations_become_past),
		cmocka_unit_test(what_an_older_version_wrote_is_read),
		cmocka_unit_test(what_a_newer_version_added_is_passed_over),
		cmocka_unit_test(what_changes_the_meaning_is_refused),
	};
	return UNIT_RUN(tests);
}
