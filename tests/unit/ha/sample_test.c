/* A probe's row: what is read, what is no row, and the place behind a page's header. */
#include "ha/sample.h"

#include <string.h>

#include "base/compiler.h"
#include "unit.h"

#define ROW 15

static const char *const primary[ROW] = { "f",
	                                      "67108904",
	                                      "67108864",
	                                      NULL,
	                                      "1",
	                                      NULL,
	                                      "8192",
	                                      "16777216",
	                                      NULL,
	                                      "7711213085820907155",
	                                      "n1\tsync\nwalreceiver\tasync\nn3\t\nn4",
	                                      NULL,
	                                      "ANY 1 (n1, n4)",
	                                      NULL,
	                                      NULL };
static const char *const standby[ROW] = { "t",      NULL, "67108900", "67108864", "2",  "streaming",     "8192", "16777216",
	                                      "531822", NULL, "n1",       "1",        NULL, "10.0.0.1:5432", "1h" };

static void rows_are_read(void **state)
{
	struct sample s;
	assert_true(sample_read(&s, primary, ROW));
	assert_false(s.in_recovery);
	assert_int_equal(s.written, 67108864); /* 0/4000028: behind the header of a segment's first page */
	assert_int_equal(s.flushed, 67108864);
	assert_int_equal(s.timeline, 1);
	assert_int_equal(s.system_id, 7711213085820907155);
	assert_int_equal(s.n_peers, 4);
	assert_string_equal(s.peers[0].name, "n1");
	assert_int_equal(s.peers[0].sync, SAMPLE_SYNC);
	assert_int_equal(s.peers[1].sync, SAMPLE_ASYNC);
	assert_string_equal(s.peers[2].name, "n3");
	assert_int_equal(s.peers[2].sync, SAMPLE_SYNC_UNKNOWN);
	assert_string_equal(s.peers[3].name, "n4");
	assert_string_equal(s.names, "ANY 1 (n1, n4)");
	assert_true(sample_read(&s, standby, ROW));
	assert_true(s.in_recovery);
	assert_int_equal(s.replayed, 67108864);
	assert_int_equal(s.received, 67108900);
	assert_int_equal(s.reached, 1);
	assert_string_equal(s.sender, "10.0.0.1:5432");
	assert_true(s.is_delayed);
	assert_int_equal(s.receiver, SAMPLE_STREAMING);
	assert_int_equal(s.timeline, 2);
	assert_int_equal(s.replay_age_us, 531822);
	assert_int_equal(s.n_peers, 1);
	assert_string_equal(s.peers[0].name, "n1");
	assert_int_equal(s.system_id, 0);
}

static void a_receiver_has_its_state(void **state)
{
	static const struct {
		const char *status;
		enum sample_receiver receiver;
	} all[] = { { NULL, SAMPLE_NO_RECEIVER },
		        { "", SAMPLE_HIDDEN },
		        { "streaming", SAMPLE_STREAMING },
		        { "waiting", SAMPLE_CATCHING_UP },
		        { "starting", SAMPLE_CATCHING_UP } };
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const char *row[ROW];
		struct sample s;
		for (size_t k = 0; k < ROW; k++)
			row[k] = standby[k];
		row[5] = all[i].status;
		assert_true(sample_read(&s, row, ROW));
		assert_int_equal(s.receiver, all[i].receiver);
	}
}

static void an_age_may_be_negative_or_absent(void **state)
{
	const char *row[ROW];
	struct sample s;
	for (size_t k = 0; k < ROW; k++)
		row[k] = standby[k];
	row[8] = "-1200";
	assert_true(sample_read(&s, row, ROW));
	assert_int_equal(s.replay_age_us, 0);
	row[8] = NULL;
	assert_true(sample_read(&s, row, ROW));
	assert_int_equal(s.replay_age_us, SAMPLE_UNKNOWN);
}

static void names_are_bounded(void **state)
{
	const char *row[ROW];
	char many[4000] = "";
	struct sample s;
	for (size_t k = 0; k < ROW; k++)
		row[k] = primary[k];
	for (size_t i = 0; i < 100; i++)
		strcat(many, "some_standby\tasync\n");
	row[10] = many;
	assert_true(sample_read(&s, row, ROW));
	assert_int_equal(s.n_peers, SAMPLE_PEERS_MAX);
	memset(many, 'x', 64);
	many[64] = 0;
	assert_true(sample_read(&s, row, ROW));
	assert_string_equal(s.peers[0].name, "");
	row[10] = "'a b'\tsync";
	assert_true(sample_read(&s, row, ROW));
	assert_string_equal(s.peers[0].name, "");
	row[10] = "";
	assert_true(sample_read(&s, row, ROW));
	assert_int_equal(s.n_peers, 0);
}

static void what_is_no_row_is_refused(void **state)
{
	static const struct {
		unsigned at;
		const char *value;
	} wrong[] = { { 0, NULL }, { 0, "" },    { 0, "true" }, { 1, "0/4000028" },           { 2, "-1" },
		          { 3, "" },   { 3, "1.5" }, { 9, "abc" },  { 4, "18446744073709551616" } };
	struct sample s;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		const char *row[ROW];
		for (size_t k = 0; k < ROW; k++)
			row[k] = standby[k];
		row[wrong[i].at] = wrong[i].value;
		assert_false(sample_read(&s, row, ROW));
	}
	assert_false(sample_read(&s, standby, ROW - 1));
	assert_false(sample_read(&s, NULL, 0));
}

static void a_place_behind_a_header_is_the_page_s_start(void **state)
{
	const uint64_t page = 8192, segment = 16 << 20;
	assert_int_equal(sample_position(5 * page + 24, page, segment), 5 * page);
	assert_int_equal(sample_position(7 * segment + 40, page, segment), 7 * segment);
	/* Ends of records, which are left alone: 40 is one where the header has 24. */
	assert_int_equal(sample_position(5 * page + 40, page, segment), 5 * page + 40);
	assert_int_equal(sample_position(5 * page + 32, page, segment), 5 * page + 32);
	assert_int_equal(sample_position(7 * segment + 24, page, segment), 7 * segment + 24);
	assert_int_equal(sample_position(5 * page, page, segment), 5 * page);
	/* Another build of PostgreSQL. */
	assert_int_equal(sample_position(3 * 65536 + 24, 65536, 1 << 30), 3 * 65536);
	assert_int_equal(sample_position(3 * 65536 + 8192 + 24, 65536, 1 << 30), 3 * 65536 + 8192 + 24);
	assert_int_equal(sample_position(24, 0, 0), 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_read),
		cmocka_unit_test(a_receiver_has_its_state),
		cmocka_unit_test(an_age_may_be_negative_or_absent),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(what_is_no_row_is_refused),
		cmocka_unit_test(a_place_behind_a_header_is_the_page_s_start),
	};
	return UNIT_RUN(tests);
}
