/* verdict as a table: what the nodes said, who was recorded, who is primary. */
#include "ha/verdict.h"

#include <ctype.h>
#include <string.h>

#include "base/compiler.h"
#include "unit.h"

/* A letter a node: P primary, s standby, ? unknown, r refused, F of another cluster, 1 failed once, 2 failed twice, 9 failed often. */
static const struct {
	const char *nodes;
	int recorded, primary;
	bool has_conflict;
} rows[] = {
	/* at start */
	{ "???", -1, -1, false },
	{ "s??", -1, -1, false },
	{ "?Ps", -1, -1, false },
	{ "1Ps", -1, 1, false },
	{ "sPs", -1, 1, false },
	{ "P11", -1, 0, false },
	{ "rrr", -1, -1, false },
	{ "PsP", -1, -1, true },
	/* all is well */
	{ "Pss", 0, 0, false },
	{ "Ps9", 0, 0, false },
	{ "Prr", 0, 0, false },
	/* one bad probe is no reason, nor is a server that answers with an error */
	{ "1ss", 0, 0, false },
	{ "rss", 0, 0, false },
	{ "?ss", 0, 0, false },
	{ "111", 0, 0, false },
	/* gone */
	{ "2ss", 0, -1, false },
	{ "9ss", 0, -1, false },
	{ "sss", 0, -1, false },
	{ "222", 0, -1, false },
	/* promoted by somebody */
	{ "2Ps", 0, 1, false },
	{ "1Ps", 0, 1, false },
	{ "1P?", 0, 1, false },
	{ "sPs", 0, 1, false },
	{ "rPs", 0, 1, false },
	{ "ssP", -1, 2, false },
	/* back again */
	{ "Pss", -1, 0, false },
	/* two claim it */
	{ "PPs", 0, 0, true },
	{ "PPs", 1, 1, true },
	{ "PPs", 2, -1, true },
	{ "PP2", 2, -1, true },
	{ "PPP", -1, -1, true },
	/* another cluster's */
	{ "FPs", -1, 1, false },
	{ "FPs", 0, 1, false },
	{ "Fss", 0, -1, false },
	{ "F2s", 1, -1, false },
	{ "F1s", 1, 1, false },
};

static struct verdict_view view_of(char c)
{
	if (isdigit((unsigned char)c))
		return (struct verdict_view){ .last = VERDICT_FAILED, .failures = (unsigned)(c - '0') };
	return (struct verdict_view){ .last = c == 'P'   ? VERDICT_PRIMARY
		                                  : c == 's' ? VERDICT_STANDBY
		                                  : c == 'r' ? VERDICT_REFUSED
		                                  : c == 'F' ? VERDICT_FOREIGN
		                                             : VERDICT_UNKNOWN };
}

static void table(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict_view nodes[3];
		for (size_t k = 0; k < 3; k++)
			nodes[k] = view_of(rows[i].nodes[k]);
		struct verdict v = verdict_primary(nodes, 3, rows[i].recorded);
		if (v.primary != rows[i].primary || v.has_conflict != rows[i].has_conflict)
			fail_msg("%s, recorded %d: primary %d%s because %s", rows[i].nodes, rows[i].recorded, v.primary,
			         v.has_conflict ? " (conflict)" : "", v.reason);
	}
}

/* Whatever was said: a primary is never one that is in recovery, and never a claimant while another, unrecorded one could be it. */
static void never_a_standby(void **state)
{
	static const char said[] = "P?srF129";
	enum { N = sizeof said - 1 };
	for (unsigned i = 0; i < N * N * N; i++)
		for (int recorded = -1; recorded < 3; recorded++) {
			struct verdict_view nodes[3] = { view_of(said[i % N]), view_of(said[i / N % N]), view_of(said[i / N / N]) };
			struct verdict v = verdict_primary(nodes, 3, recorded);
			assert_true(v.primary == -1 || nodes[v.primary].last != VERDICT_STANDBY);
			assert_true(v.primary == -1 || nodes[v.primary].last != VERDICT_FOREIGN);
			assert_true(v.primary == -1 || v.primary == recorded || nodes[v.primary].last == VERDICT_PRIMARY);
			assert_true(!v.has_conflict || v.primary == -1 || v.primary == recorded);
			assert_non_null(v.reason);
		}
}

static void a_cluster_is_what_most_of_its_nodes_are(void **state)
{
	/* As above, each with its identifier behind it: 0 is not visible. */
	static const struct {
		const char *nodes;
		uint64_t known, identity;
	} all[] = {
		{ "P1s1s1", 0, 1 }, { "P1s1?0", 0, 0 },                     /* another may be the cluster's */
		{ "P1s1P2", 0, 1 },                                         /* one has strayed in */
		{ "10P2s1", 0, 2 },                                         /* as many of each: who is out of recovery tells */
		{ "10P2P1", 0, 0 },                                         /* … unless both are */
		{ "P0s0s0", 0, 0 },                                         /* not visible */
		{ "P0s1s0", 0, 1 }, { "P1s2s2", 0, 2 }, { "P2s2s1", 1, 1 }, /* known stays known */
		{ "P2s210", 1, 1 }, { "P2s2s2", 1, 2 },                     /* but all of it may be another */
		{ "P2s2r0", 1, 1 }, { "P0s0s0", 1, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct verdict_view nodes[3];
		for (size_t k = 0; k < 3; k++) {
			nodes[k] = view_of(all[i].nodes[2 * k]);
			nodes[k].system_id = (uint64_t)(all[i].nodes[2 * k + 1] - '0');
		}
		uint64_t got = verdict_identity(nodes, 3, all[i].known);
		if (got != all[i].identity)
			fail_msg("%s, known %d: %d", all[i].nodes, (int)all[i].known, (int)got);
	}
}

static void errors_are_failures_or_refusals(void **state)
{
	static const struct {
		const char *sqlstate;
		enum verdict_answer answer;
	} errors[] = { { "08001", VERDICT_FAILED },  { "08006", VERDICT_FAILED },  { "57P03", VERDICT_FAILED },
		           { "57P01", VERDICT_FAILED },  { "53300", VERDICT_REFUSED }, { "28P01", VERDICT_REFUSED },
		           { "3D000", VERDICT_REFUSED }, { "57014", VERDICT_REFUSED }, { "XX000", VERDICT_REFUSED } };
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct err err = { 0 };
		memcpy(err.sqlstate, errors[i].sqlstate, 6);
		assert_int_equal(verdict_of_error(&err), errors[i].answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(never_a_standby),
		cmocka_unit_test(a_cluster_is_what_most_of_its_nodes_are),
		cmocka_unit_test(errors_are_failures_or_refusals),
	};
	return UNIT_RUN(tests);
}
