/* guard: each rule by itself, and for every set of synchronous standbys that whoever may be primary has all that was acknowledged. */
#include "ha/guard.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "unit.h"

static struct record record;
static struct guard_node nodes[6];
static struct guard_verdict verdicts[6];
static size_t order[6];

static struct guard_view view_of(size_t n)
{
	static const char *const names[] = { "p", "a", "b", "c", "d", "e" };
	record = (struct record){ .system_id = 7, .epoch = 1, .timeline = 3, .primary = "p" };
	for (size_t i = 0; i < n; i++)
		nodes[i] = (struct guard_node){ .name = names[i],
			                            .alias = names[i],
			                            .has_answered = i > 0,
			                            .in_recovery = i > 0,
			                            .system_id = 7,
			                            .timeline = 3,
			                            .received = 1000,
			                            .priority = 100 };
	return (struct guard_view){ .record = &record, .n_nodes = n, .nodes = nodes };
}

static void expect_refused(const struct guard_view *view, size_t at, const char *why)
{
	guard_judge(view, verdicts, order);
	assert_false(verdicts[at].may);
	if (!strstr(verdicts[at].why, why))
		fail_msg("%s", verdicts[at].why);
}

static void each_rule_refuses(void **state)
{
	struct guard_view v = view_of(3);
	assert_int_equal(guard_judge(&v, verdicts, order), 2);
	expect_refused(&v, 0, "to be replaced");
	nodes[1].has_answered = false;
	expect_refused(&v, 1, "does not answer");
	v = view_of(3);
	nodes[1].in_recovery = false;
	expect_refused(&v, 1, "not in recovery");
	v = view_of(3);
	nodes[1].system_id = 8;
	expect_refused(&v, 1, "another cluster");
	v = view_of(3);
	nodes[1].timeline = 4; /* row 34: a fork, further than anybody */
	nodes[1].received = 99999;
	expect_refused(&v, 1, "timeline 4");
	nodes[1].timeline = 0;
	expect_refused(&v, 1, "timeline is not known");
	v = view_of(3);
	nodes[1].is_delayed = true; /* row 42 */
	expect_refused(&v, 1, "with a delay");
	v = view_of(3);
	nodes[1].priority = 0;
	expect_refused(&v, 1, "priority");
	v = view_of(3);
	assert_true(record_flag(&record, "a", RECORD_QUARANTINED, 0, "it was primary"));
	expect_refused(&v, 1, "quarantine: it was primary");
	assert_true(record_flag(&record, "a", RECORD_DETACHED, 0, "by order"));
	expect_refused(&v, 1, "detached: by order");
	v = view_of(3);
	nodes[1].received = 0;
	expect_refused(&v, 1, "not known");
}

static void loss_is_bounded(void **state)
{
	struct guard_view v = view_of(3);
	v.written = 1500;
	v.max_loss = 400;
	nodes[2].received = 1200;
	expect_refused(&v, 1, "500 bytes of WAL would be lost");
	assert_true(verdicts[2].may);
	v.written_age_us = US_PER_S / 2; /* it may have gone on for half a second */
	v.written_per_s = 1000;
	expect_refused(&v, 2, "800 bytes");
	v.forgiven = nodes[1].name;
	expect_refused(&v, 2, "800 bytes");
	assert_int_equal(guard_judge(&v, verdicts, order), 1);
	assert_int_equal(order[0], 1);
}

/* Row 39, row 42: an administrator has named a node and said so; what has nothing to do with loss stays forbidden. */
static void who_says_so_may_lose_what_was_acknowledged(void **state)
{
	struct guard_view v = view_of(3);
	snprintf(record.sync, sizeof record.sync, "%s", nodes[1].name);
	nodes[1].has_answered = false;
	nodes[2].is_delayed = true;
	expect_refused(&v, 2, "with a delay");
	nodes[2].is_delayed = false;
	expect_refused(&v, 2, "acknowledged");
	v.forgiven = nodes[1].name;
	expect_refused(&v, 2, "acknowledged");
	v.forgiven = nodes[2].name;
	nodes[2].is_delayed = true;
	assert_int_equal(guard_judge(&v, verdicts, order), 1);
	assert_int_equal(order[0], 2);
	assert_string_equal(verdicts[2].why, "commits that were acknowledged may be lost");
	nodes[2].timeline++;
	expect_refused(&v, 2, "timeline");
}

static void the_best_is_first(void **state)
{
	struct guard_view v = view_of(5);
	nodes[3].received = 1001;
	nodes[2].priority = 200;
	assert_int_equal(guard_judge(&v, verdicts, order), 4);
	assert_memory_equal(order, ((size_t[]){ 3, 2, 1, 4 }), 4 * sizeof *order);
}

static void settings_are_read(void **state)
{
	static const struct {
		const char *text;
		bool is_good, is_any;
		unsigned k, n;
	} rows[] = {
		{ "", true, false, 1, 0 },
		{ "a", true, false, 1, 1 },
		{ " a , \"b \"\"c\" ", true, false, 1, 2 },
		{ "*", true, true, 1, 1 },
		{ "2 (a, b, c)", true, false, 2, 3 },
		{ "FIRST 1 (a,b)", true, false, 1, 2 },
		{ "any 2(a,b,c,d)", true, false, 2, 4 },
		{ "ANY 1 (*)", true, true, 1, 1 },
		{ "first", true, false, 1, 1 },
		{ "ANY 0 (a)", false, false, 0, 0 },
		{ "ANY 1 (a", false, false, 0, 0 },
		{ "a,,b", false, false, 0, 0 },
		{ "\"a", false, false, 0, 0 },
		{ "a b", false, false, 0, 0 },
	};
	struct guard_sync s;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(guard_read_sync(rows[i].text, &s), rows[i].is_good);
		if (rows[i].is_good)
			assert_true(s.is_any == rows[i].is_any && s.k == rows[i].k && s.n == rows[i].n);
	}
	struct guard_view v = view_of(2);
	snprintf(record.sync, sizeof record.sync, "a b");
	expect_refused(&v, 1, "acknowledged");
}

/* Its position counts all the same: it may be the one who has acknowledged. */
static void who_is_never_primary_is_asked(void **state)
{
	struct guard_view v = view_of(3);
	snprintf(record.sync, sizeof record.sync, "ANY 1 (a, b)");
	nodes[2].priority = 0;
	assert_int_equal(guard_judge(&v, verdicts, order), 1);
	assert_int_equal(order[0], 1);
	nodes[2].received = 1001;
	expect_refused(&v, 1, "1 bytes behind");
	expect_refused(&v, 2, "priority");
	nodes[2].priority = 100;
	record_flag(&record, "b", RECORD_DETACHED, 0, "by order");
	expect_refused(&v, 1, "1 bytes behind");
	expect_refused(&v, 2, "detached");
	assert_int_equal(verdicts[1].source, 2);
	nodes[2].received = 1000;
	assert_int_equal(guard_judge(&v, verdicts, order), 1);
	record_flag(&record, "b", RECORD_QUARANTINED, RECORD_DETACHED, "its promotion failed");
	expect_refused(&v, 1, "1 of 2 needed");
	nodes[2].was_tried = true;
	assert_int_equal(guard_judge(&v, verdicts, order), 1);
	expect_refused(&v, 2, "quarantine");
	assert_int_equal(verdicts[2].source, -1);
}

/*
 * I4, in full for up to 5 standbys: any K of them have a commit that was acknowledged (those of BITS), the others are behind; any set of them
 * answers.  Whoever may be primary has it; and if all answer, somebody may.
 */
static void nobody_without_what_was_acknowledged(void **state)
{
	for (unsigned n = 1; n <= 5; n++)
		for (unsigned k = 1; k <= n; k++)
			for (unsigned has = 0; has < 1u << n; has++)
				for (unsigned answers = 0; answers < 1u << n && (unsigned)__builtin_popcount(has) >= k; answers++) {
					struct guard_view v = view_of(n + 1);
					int len = snprintf(record.sync, sizeof record.sync, "%s %u (", has & 1 ? "ANY" : "FIRST", k);
					for (unsigned i = 1; i <= n; i++) {
						nodes[i].received = has & 1u << (i - 1) ? 2000 : 1000;
						nodes[i].has_answered = answers & 1u << (i - 1);
						len += snprintf(record.sync + len, sizeof record.sync - (size_t)len, "%s%s", i > 1 ? ", " : "",
						                nodes[i].name);
					}
					snprintf(record.sync + len, sizeof record.sync - (size_t)len, ")");
					size_t may = guard_judge(&v, verdicts, order);
					for (size_t i = 0; i < may; i++)
						assert_int_equal(nodes[order[i]].received, 2000);
					assert_true(may > 0 || (unsigned)__builtin_popcount(answers) < n - k + 1);
				}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_refuses),
		cmocka_unit_test(loss_is_bounded),
		cmocka_unit_test(who_says_so_may_lose_what_was_acknowledged),
		cmocka_unit_test(the_best_is_first),
		cmocka_unit_test(settings_are_read),
		cmocka_unit_test(who_is_never_primary_is_asked),
		cmocka_unit_test(nobody_without_what_was_acknowledged),
	};
	return UNIT_RUN(tests);
}
