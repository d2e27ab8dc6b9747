/* The picture of a cluster, from answers at simulated times: whose positions count, and when those of before do not. */
#include "ha/picture.h"

#include <string.h>

#include "base/clock.h"
#include "unit.h"

#define TICK (200 * US_PER_MS)

static struct picture pic;
static struct picture_node a, b; /* the primary and its standby */
static struct conf_cluster conf = { .probe_interval = TICK, .max_lag = 1 << 20, .max_lag_time = 10 * US_PER_S };
static uint64_t now;

static struct picture_node node(uint32_t id)
{
	return (struct picture_node){ .id = id, .pulse = pulse_new(id), .view = { .system_id = 77 } };
}

static void writes(struct picture_node *n, uint64_t timeline, uint64_t lsn)
{
	n->sample = (struct sample){ .timeline = timeline, .written = lsn + 100, .flushed = lsn, .system_id = 77 };
	n->view.last = VERDICT_PRIMARY;
}

static void replays(struct picture_node *n, uint64_t timeline, uint64_t lsn)
{
	n->sample = (struct sample){
		.in_recovery = true, .timeline = timeline, .replayed = lsn, .receiver = SAMPLE_STREAMING, .replay_age_us = SAMPLE_UNKNOWN
	};
	n->view.last = VERDICT_STANDBY;
}

static int begin(void **state)
{
	pic = (struct picture){ .system_id = 77 };
	a = node(1);
	b = node(2);
	now = 1000 * US_PER_S;
	assert_false(picture_follow(&pic, &a));
	writes(&a, 1, 5000);
	replays(&b, 1, 4000);
	return 0;
}

static int end(void **state)
{
	pulse_unref(a.pulse);
	pulse_unref(b.pulse);
	return 0;
}

static void hear(struct picture_node *n)
{
	now += TICK / 2;
	n->ejections = pulse_ejections(n->pulse);
	n->asked_us = now - 5;
	picture_judge(&pic, n, &conf, now);
}

static void assert_why(const struct picture_node *n, const char *part)
{
	if (!pulse_why(n->pulse) || !strstr(pulse_why(n->pulse), part))
		fail_msg("\"%s\", not \"%s\"", pulse_why(n->pulse), part);
	assert_false(pulse_is_fit(n->pulse));
}

static void a_standby_is_measured_by_its_primary(void **state)
{
	uint64_t when, lsn;
	hear(&b);
	assert_why(&b, "not known yet");
	hear(&a);
	hear(&b);
	assert_int_equal(pulse_lag_bytes(b.pulse), 1000);
	assert_int_equal(pulse_lag_us(b.pulse), PULSE_UNKNOWN); /* it has been behind since before we began */
	assert_why(&b, "max_lag_time");
	replays(&b, 1, 5000);
	for (unsigned i = 0; i < 3; i++)
		hear(&b);
	assert_true(pulse_is_fit(b.pulse));
	assert_int_equal(pulse_lag_bytes(b.pulse), 0);
	assert_int_equal(pulse_replayed(b.pulse), 5000);
	assert_true(pulse_written(a.pulse, &when, &lsn));
	assert_int_equal(when, a.asked_us);
	assert_int_equal(lsn, 5100); /* also what is not on disk yet */
	assert_why(&a, "primary");
	assert_int_equal(pulse_timeline(a.pulse), 1);
}

static void the_primary_tells_who_is_synchronous(void **state)
{
	struct sample_peer peers[] = { { "x", SAMPLE_ASYNC }, { "b", SAMPLE_SYNC }, { "x", SAMPLE_SYNC } };
	hear(&a);
	hear(&b);
	assert_null(pulse_sync(b.pulse));
	memcpy(a.sample.peers, peers, sizeof peers);
	a.sample.n_peers = 3;
	hear(&a);
	b.sample.n_peers = 1;
	strcpy(b.sample.peers[0].name, "b");
	hear(&b);
	assert_string_equal(pulse_sync(b.pulse), "sync");
	strcpy(b.sample.peers[0].name, "x"); /* which of them? */
	hear(&b);
	assert_null(pulse_sync(b.pulse));
}

static void of_another_cluster(void **state)
{
	hear(&a);
	replays(&b, 1, 5000);
	b.view.system_id = 78;
	hear(&b);
	assert_int_equal(picture_answer(&pic, &b.view), VERDICT_FOREIGN);
	assert_why(&b, "another cluster");
	writes(&b, 1, 9000);
	hear(&b);
	assert_why(&b, "another cluster");
	b.view.system_id = 0; /* not to be seen is no proof */
	assert_int_equal(picture_answer(&pic, &b.view), VERDICT_PRIMARY);
}

static void a_promotion_makes_old_positions_void(void **state)
{
	hear(&a);
	replays(&b, 1, 5000);
	hear(&b);
	assert_true(pulse_is_fit(b.pulse));
	a.view.last = VERDICT_FAILED;
	assert_false(picture_follow(&pic, NULL));
	hear(&a);
	now += 60 * US_PER_S;
	hear(&b);
	assert_true(pulse_is_fit(b.pulse)); /* nobody writes: it shows all that there is */
	struct picture_node c = node(3);
	writes(&c, 2, 4900);
	assert_true(picture_follow(&pic, &c));
	hear(&b);
	assert_why(&b, "timeline");
	hear(&c);
	replays(&b, 2, 4950);
	for (unsigned i = 0; i < 3; i++)
		hear(&b);
	assert_true(pulse_is_fit(b.pulse));
	/* The same node, promoted again after it was thrown back. */
	assert_false(picture_follow(&pic, &c));
	writes(&c, 3, 4800);
	assert_true(picture_follow(&pic, &c));
	pulse_unref(c.pulse);
}

/* It has more than the new primary ever had, and receives nothing: no lag, and yet it lacks all that is written now. */
static void who_is_ahead_on_the_old_timeline_takes_no_reads(void **state)
{
	hear(&a);
	assert_false(picture_follow(&pic, &a)); /* on its timeline */
	replays(&b, 1, 9000);
	hear(&b);
	struct picture_node c = node(3);
	writes(&c, 2, 4900);
	assert_true(picture_follow(&pic, &c));
	replays(&b, 0, 9000);
	b.sample.receiver = SAMPLE_NO_RECEIVER;
	b.sample.reached = 1;
	hear(&c);
	for (unsigned i = 0; i < 4; i++)
		hear(&b);
	assert_why(&b, "timeline");
	b.sample.reached = 0; /* nobody may ask for that */
	for (unsigned i = 0; i < 4; i++)
		hear(&b);
	assert_why(&b, "timeline");
	b.sample.reached = 2;
	for (unsigned i = 0; i < 4; i++)
		hear(&b);
	assert_true(pulse_is_fit(b.pulse));
	pulse_unref(c.pulse);
}

static void a_silent_primary_makes_lag(void **state)
{
	hear(&a);
	replays(&b, 1, 5000);
	hear(&b);
	now += 9 * US_PER_S;
	hear(&b);
	assert_true(pulse_is_fit(b.pulse));
	assert_true(pulse_lag_us(b.pulse) > 9 * US_PER_S);
	now += US_PER_S;
	hear(&b);
	assert_why(&b, "max_lag_time");
}

static void one_that_is_late_is_out(void **state)
{
	hear(&a);
	replays(&b, 1, 5000);
	hear(&b);
	b.is_late = true;
	hear(&b);
	assert_why(&b, "does not answer");
	b.is_late = false;
	hear(&b);
	assert_why(&b, "proves itself");
}

static void an_ejected_one_waits_for_a_probe_that_was_sent_later(void **state)
{
	hear(&a);
	replays(&b, 1, 5000);
	hear(&b);
	b.ejections = pulse_ejections(b.pulse);
	pulse_eject(b.pulse);
	picture_judge(&pic, &b, &conf, ++now);
	assert_why(&b, "connection to it failed");
	hear(&b);
	assert_true(pulse_is_fit(b.pulse));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_standby_is_measured_by_its_primary, begin, end),
		cmocka_unit_test_setup_teardown(the_primary_tells_who_is_synchronous, begin, end),
		cmocka_unit_test_setup_teardown(of_another_cluster, begin, end),
		cmocka_unit_test_setup_teardown(a_promotion_makes_old_positions_void, begin, end),
		cmocka_unit_test_setup_teardown(who_is_ahead_on_the_old_timeline_takes_no_reads, begin, end),
		cmocka_unit_test_setup_teardown(a_silent_primary_makes_lag, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_late_is_out, begin, end),
		cmocka_unit_test_setup_teardown(an_ejected_one_waits_for_a_probe_that_was_sent_later, begin, end),
	};
	return UNIT_RUN(tests);
}
