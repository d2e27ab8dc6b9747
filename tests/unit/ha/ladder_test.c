/* ladder: stories of what is heard of a primary, in milliseconds, and when it is dead; what is no evidence never kills, in any order. */
#include "ha/ladder.h"

#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "unit.h"

static const struct ladder_limits limits = { .restart_grace_us = 0,
	                                         .recovery_grace_us = 5 * US_PER_S,
	                                         .hung_us = 2 * US_PER_S,
	                                         .unreachable_us = 800 * US_PER_MS,
	                                         .unwritable_us = 5 * US_PER_S,
	                                         .deaf_us = 30 * US_PER_S,
	                                         .crash_budget = 3,
	                                         .crash_window_us = 60 * US_PER_S };

/* A tenth of a second after the start the last answer came.  Letters: A answered, s spoke, w worked, o opened, 5 starting, R refused, S silent,
 * L lost, b broke, t late, u ours, W wrote, f flushed, h a write hangs, d its disk refuses one. */
static const struct {
	const char *name;
	struct ladder_opinion standbys;
	struct {
		unsigned ms;
		char what;
	} at[24];
	unsigned ask_ms;
	enum ladder_state state;
} stories[] = {
	{ "nothing is wrong", { 2, 0 }, { { 300, 'A' } }, 90000, LADDER_ALIVE },
	{ "one connection broke", { 2, 0 }, { { 200, 'b' } }, 5000, LADDER_SUSPECT },
	{ "kill -9: three refusals in 60 ms",
	  { 0, 2 },
	  { { 200, 'b' }, { 201, 'R' }, { 231, 'R' }, { 262, 'R' } },
	  262,
	  LADDER_DEAD },
	{ "two refusals are not enough", { 0, 2 }, { { 200, 'b' }, { 201, 'R' }, { 262, 'R' } }, 900, LADDER_SUSPECT },
	{ "three in a moment are not", { 0, 2 }, { { 200, 'R' }, { 201, 'R' }, { 202, 'R' } }, 230, LADDER_SUSPECT },
	{ "the port has moved: the standbys go on", { 2, 0 }, { { 200, 'R' }, { 300, 'R' }, { 400, 'R' } }, 60000, LADDER_SUSPECT },
	{ "one of two standbys still streams", { 1, 1 }, { { 200, 'R' }, { 300, 'R' }, { 400, 'R' } }, 60000, LADDER_SUSPECT },
	{ "row 13: backends work on without their postmaster",
	  { 0, 2 },
	  { { 200, 'R' }, { 230, 'R' }, { 250, 'w' }, { 262, 'R' } },
	  300,
	  LADDER_SUSPECT },
	{ "… until they notice", { 0, 2 }, { { 200, 'R' }, { 230, 'R' }, { 250, 'w' }, { 262, 'R' } }, 400, LADDER_DEAD },
	{ "… but not for ever", { 0, 2 }, { { 200, 'R' }, { 700, 'R' }, { 1100, 'w' }, { 1200, 'R' } }, 1201, LADDER_DEAD },
	{ "row 14: a backend was killed, back in 120 ms",
	  { 0, 2 },
	  { { 200, 'b' }, { 207, '5' }, { 250, '5' }, { 320, 'A' } },
	  60000,
	  LADDER_ALIVE },
	{ "row 22: a recovery that lasts", { 0, 2 }, { { 200, '5' }, { 2000, '5' }, { 4000, '5' } }, 4900, LADDER_RESTARTING },
	{ "… too long", { 0, 2 }, { { 200, '5' }, { 2000, '5' }, { 5200, '5' } }, 5200, LADDER_DEAD },
	{ "row 15: stopped: it says so, then nobody listens",
	  { 0, 2 },
	  { { 200, '5' }, { 300, 'R' }, { 330, 'R' }, { 362, 'R' } },
	  362,
	  LADDER_DEAD },
	{ "row 16: all of it frozen", { 2, 0 }, { { 300, 't' }, { 600, 'S' }, { 1200, 'S' }, { 1800, 'S' } }, 2099, LADDER_HUNG },
	{ "… for hung_timeout", { 2, 0 }, { { 300, 't' }, { 600, 'S' }, { 1200, 'S' }, { 1800, 'S' } }, 2100, LADDER_DEAD },
	{ "row 17: only the postmaster is",
	  { 2, 0 },
	  { { 600, 'S' }, { 800, 'A' }, { 1200, 'S' }, { 1400, 'A' }, { 9000, 'S' }, { 9100, 'A' } },
	  9200,
	  LADDER_SICK },
	{ "… for long",
	  { 2, 0 },
	  { { 600, 'S' }, { 800, 'A' }, { 9000, 'S' }, { 9100, 'A' }, { 30500, 'S' }, { 30599, 'A' } },
	  30599,
	  LADDER_SICK },
	{ "… too long",
	  { 2, 0 },
	  { { 600, 'S' }, { 800, 'A' }, { 9000, 'S' }, { 9100, 'A' }, { 30500, 'S' }, { 30599, 'A' } },
	  30600,
	  LADDER_DEAD },
	{ "… and it goes on: it opens",
	  { 2, 0 },
	  { { 600, 'S' }, { 800, 'A' }, { 9000, 'S' }, { 9100, 'A' }, { 30000, 'o' }, { 30001, 'A' }, { 30500, 'S' } },
	  31000,
	  LADDER_SUSPECT },
	{ "row 25: commits hang, and everything else is answered",
	  { 2, 0 },
	  { { 300, 'h' }, { 400, 'A' }, { 2000, 'A' }, { 5200, 'A' } },
	  5299,
	  LADDER_SICK },
	{ "… for write_probe_timeout", { 2, 0 }, { { 300, 'h' }, { 400, 'A' }, { 2000, 'A' }, { 5200, 'A' } }, 5300, LADDER_DEAD },
	{ "… but one is committed", { 2, 0 }, { { 300, 'h' }, { 400, 'A' }, { 5299, 'W' }, { 5299, 'A' } }, 90000, LADDER_ALIVE },
	{ "… whoever's it is", { 2, 0 }, { { 300, 'h' }, { 400, 'A' }, { 5299, 'f' }, { 5299, 'A' } }, 90000, LADDER_ALIVE },
	{ "… but it was we who slept",
	  { 2, 0 },
	  { { 300, 'h' }, { 90000, 'u' }, { 90001, 'h' }, { 90002, 'A' } },
	  95000,
	  LADDER_SICK },
	{ "row 24: the disk is full, though WAL is written yet",
	  { 2, 0 },
	  { { 300, 'd' }, { 400, 'A' }, { 1300, 'd' }, { 1400, 'f' }, { 2300, 'd' }, { 5200, 'd' }, { 5210, 'A' } },
	  5300,
	  LADDER_DEAD },
	{ "… and somebody made room",
	  { 2, 0 },
	  { { 300, 'd' }, { 400, 'A' }, { 1300, 'd' }, { 2300, 'W' }, { 2310, 'A' } },
	  90000,
	  LADDER_ALIVE },
	{ "… now and again", { 2, 0 }, { { 300, 'd' }, { 1300, 'W' }, { 4000, 'd' }, { 4001, 'A' } }, 8999, LADDER_SICK },
	{ "only the postmaster is, and sessions work",
	  { 2, 0 },
	  { { 300, 't' }, { 600, 'S' }, { 1900, 'w' }, { 2500, 'S' } },
	  3800,
	  LADDER_SICK },
	{ "one backend hangs: a new connection answers",
	  { 2, 0 },
	  { { 300, 't' }, { 600, 'o' }, { 1200, 'o' }, { 2300, 'A' } },
	  60000,
	  LADDER_ALIVE },
	{ "row 25: it opens and nothing is answered",
	  { 2, 0 },
	  { { 300, 't' }, { 600, 'o' }, { 2400, 't' }, { 4500, 't' } },
	  6099,
	  LADDER_HUNG },
	{ "… for three times as long", { 2, 0 }, { { 300, 't' }, { 600, 'o' }, { 2400, 't' }, { 4500, 't' } }, 6100, LADDER_DEAD },
	{ "row 47: it crashes as often as it may",
	  { 2, 0 },
	  { { 200, '5' },
	    { 300, 'A' },
	    { 9000, '5' },
	    { 9100, '5' },
	    { 9200, 'R' },
	    { 9300, '5' },
	    { 9400, 'A' },
	    { 20000, '5' },
	    { 20100, 'A' } },
	  20100,
	  LADDER_ALIVE },
	{ "… once more",
	  { 1, 0 },
	  { { 200, '5' }, { 300, 'A' }, { 9000, '5' }, { 9400, 'A' }, { 20000, '5' }, { 20100, 'A' }, { 60199, '5' } },
	  60199,
	  LADDER_DEAD },
	{ "… and is back",
	  { 1, 1 },
	  { { 200, '5' },
	    { 300, 'A' },
	    { 9000, '5' },
	    { 9400, 'A' },
	    { 20000, '5' },
	    { 20100, 'A' },
	    { 60199, '5' },
	    { 60199, 'A' } },
	  60199,
	  LADDER_DEAD },
	{ "… but the first one was long ago",
	  { 2, 0 },
	  { { 200, '5' },
	    { 300, 'A' },
	    { 9000, '5' },
	    { 9400, 'A' },
	    { 20000, '5' },
	    { 20100, 'A' },
	    { 60200, '5' },
	    { 60300, 'A' } },
	  60300,
	  LADDER_ALIVE },
	{ "… and no standby streams from it yet",
	  { 0, 2 },
	  { { 200, '5' },
	    { 300, 'A' },
	    { 400, '5' },
	    { 500, 'A' },
	    { 600, '5' },
	    { 700, 'A' },
	    { 800, '5' },
	    { 900, 'A' },
	    { 1000, '5' },
	    { 1100, 'A' } },
	  1100,
	  LADDER_ALIVE },
	{ "… and we slept meanwhile",
	  { 2, 0 },
	  { { 200, '5' },
	    { 300, 'A' },
	    { 400, '5' },
	    { 500, 'A' },
	    { 600, '5' },
	    { 700, 'A' },
	    { 800, 'u' },
	    { 900, '5' },
	    { 1100, 'A' } },
	  1100,
	  LADDER_ALIVE },
	{ "row 18: the host has vanished, standbys lost it",
	  { 0, 2 },
	  { { 300, 't' }, { 500, 'L' }, { 800, 'L' } },
	  900,
	  LADDER_DEAD },
	{ "… not before unreachable_timeout", { 0, 2 }, { { 300, 't' }, { 500, 'L' }, { 800, 'L' } }, 899, LADDER_UNREACHABLE },
	{ "… standbys have not noticed", { 2, 0 }, { { 300, 't' }, { 500, 'L' }, { 900, 'L' } }, 3900, LADDER_UNREACHABLE },
	{ "… for long", { 2, 0 }, { { 300, 't' }, { 500, 'L' }, { 900, 'L' } }, 4100, LADDER_DEAD },
	{ "row 56: the way is cut, the standbys get on",
	  { 2, 0 },
	  { { 500, 'L' }, { 900, 'L' }, { 4000, 'w' }, { 4100, 'L' }, { 4300, 'L' } },
	  7000,
	  LADDER_UNREACHABLE },
	{ "we are cut off from everybody", { 0, 0 }, { { 300, 't' }, { 500, 'L' }, { 900, 'L' } }, 900000, LADDER_UNREACHABLE },
	{ "row 20: it is full", { 2, 0 }, { { 200, 's' }, { 400, 's' }, { 90000, 's' } }, 91000, LADDER_ALIVE },
	{ "row 21: a bad password", { 2, 0 }, { { 200, 'b' }, { 210, 's' } }, 90000, LADDER_ALIVE },
	{ "row 61, 64, 65: our own trouble starts anew",
	  { 0, 2 },
	  { { 200, 'R' }, { 230, 'R' }, { 240, 'u' }, { 262, 'R' } },
	  300,
	  LADDER_SUSPECT },
	{ "we slept for a minute", { 2, 0 }, { { 60000, 'u' }, { 60001, 't' }, { 60002, 'S' } }, 61900, LADDER_HUNG },
	{ "row 59: a second of latency everywhere", { 2, 0 }, { { 300, 't' }, { 600, 'S' }, { 1300, 'A' } }, 60000, LADDER_ALIVE },
	{ "row 26: slow to accept", { 2, 0 }, { { 600, 'L' }, { 900, 'A' }, { 1600, 'L' }, { 1900, 'A' } }, 60000, LADDER_ALIVE },
};

static enum ladder_event event_of(char letter)
{
	static const char letters[] = "Aswo5RSLbtuWfhd";
	return (enum ladder_event)(strchr(letters, letter) - letters);
}

static void every_story_ends_as_it_should(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
		struct ladder l = { 0 };
		ladder_note(&l, LADDER_ANSWERED, 100 * US_PER_MS);
		for (size_t k = 0; k < ARRAY_LEN(stories[i].at) && stories[i].at[k].what; k++)
			ladder_note(&l, event_of(stories[i].at[k].what), stories[i].at[k].ms * US_PER_MS);
		enum ladder_state is = ladder_judge(&l, &limits, stories[i].standbys, stories[i].ask_ms * US_PER_MS);
		if (is != stories[i].state)
			fail_msg("%s: %s, not %s", stories[i].name, ladder_word(is), ladder_word(stories[i].state));
	}
}

static void a_grace_is_given(void **state)
{
	struct ladder l = { 0 };
	struct ladder_limits patient = limits;
	char out[300];
	patient.restart_grace_us = 5 * US_PER_S;
	ladder_note(&l, LADDER_ANSWERED, 1);
	for (uint64_t ms = 100; ms < 5100; ms += 100) {
		ladder_note(&l, LADDER_REFUSED, ms * US_PER_MS);
		assert_int_not_equal(ladder_judge(&l, &patient, (struct ladder_opinion){ 0, 1 }, ms * US_PER_MS), LADDER_DEAD);
	}
	assert_int_equal(ladder_judge(&l, &patient, (struct ladder_opinion){ 0, 1 }, 5100 * US_PER_MS), LADDER_DEAD);
	assert_string_equal(ladder_explain(&l, &patient, (struct ladder_opinion){ 0, 1 }, 5100 * US_PER_MS, out, sizeof out),
	                    "refused connections 50 times in 5000 ms, last sign of life 5099 ms ago; standbys: 1 lost it, 0 did not");
	ladder_note(&l, LADDER_STARTING, 5100 * US_PER_MS);
	ladder_note(&l, LADDER_ANSWERED, 5200 * US_PER_MS);
	assert_string_equal(ladder_explain(&l, &patient, (struct ladder_opinion){ 0, 1 }, 5200 * US_PER_MS, out, sizeof out),
	                    "crashed 1 times in 100 ms, last sign of life 0 ms ago; standbys: 1 lost it, 0 did not");
}

static uint64_t seed = 7;
static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* I15: whatever the order and the pauses.  Late questions and broken connections are allowed if an answer comes in time. */
static void what_is_no_evidence_never_kills(void **state)
{
	static const enum ladder_event harmless[] = { LADDER_ANSWERED, LADDER_SPOKE, LADDER_WORKED,
		                                          LADDER_BROKE,    LADDER_OURS,  LADDER_LATE };
	for (int run = 0; run < 3000; run++) {
		struct ladder l = { 0 };
		uint64_t now = 1 + rnd(1000), heard = now;
		for (int i = 0; i < 60; i++) {
			enum ladder_event what = harmless[rnd(ARRAY_LEN(harmless))];
			now += rnd(400) * US_PER_MS;
			if (now - heard > US_PER_S)
				what = rnd(2) ? LADDER_ANSWERED : LADDER_SPOKE;
			if (what <= LADDER_SPOKE)
				heard = now;
			ladder_note(&l, what, now);
			struct ladder_opinion any = { rnd(3), rnd(3) };
			assert_int_not_equal(ladder_judge(&l, &limits, any, now), LADDER_DEAD);
		}
	}
}

/* Whatever else is heard, in any order: it is dead if no write went through for so long, and not before. */
static void a_write_that_does_not_come_through_is_a_death_in_time(void **state)
{
	static const enum ladder_event others[] = { LADDER_ANSWERED, LADDER_SPOKE, LADDER_WORKED, LADDER_OPENED, LADDER_BROKE };
	for (int run = 0; run < 3000; run++) {
		struct ladder l = { 0 };
		uint64_t now = US_PER_S, since = 0;
		for (int i = 0; i < 60; i++) {
			now += rnd(1000) * US_PER_MS;
			if (rnd(3) == 0) {
				bool is_refused = rnd(2);
				ladder_note(&l, is_refused ? LADDER_UNWRITABLE : LADDER_UNWRITTEN, now);
				since = since ? since : now;
			} else if (rnd(12) == 0) {
				ladder_note(&l, LADDER_WROTE, now);
				since = 0;
			} else {
				ladder_note(&l, others[rnd(ARRAY_LEN(others))], now);
			}
			ladder_note(&l, LADDER_ANSWERED, now);
			enum ladder_state is = ladder_judge(&l, &limits, (struct ladder_opinion){ rnd(3), rnd(3) }, now);
			enum ladder_state want = !since ? LADDER_ALIVE : now - since >= limits.unwritable_us ? LADDER_DEAD : LADDER_SICK;
			assert_int_equal(is, want);
		}
	}
}

/* Row 47: dead with more crashes in the window than the budget has, and not before; whatever it says in between. */
static void a_budget_of_crashes_is_kept(void **state)
{
	struct ladder_limits patient = limits;
	patient.recovery_grace_us = 3600 * US_PER_S;
	for (int run = 0; run < 3000; run++) {
		struct ladder l = { 0 };
		uint64_t now = US_PER_S, crashed[40] = { 0 };
		ladder_note(&l, LADDER_ANSWERED, now);
		patient.crash_budget = 1 + rnd(15);
		for (unsigned i = 0; i < 40; i++) {
			now += rnd(8000) * US_PER_MS;
			crashed[i] = now;
			for (unsigned k = 0; k <= rnd(3); k++)
				ladder_note(&l, rnd(2) ? LADDER_STARTING : LADDER_BROKE, now);
			ladder_note(&l, LADDER_STARTING, now);
			ladder_note(&l, rnd(2) ? LADDER_ANSWERED : LADDER_SPOKE, now);
			unsigned n = 0;
			for (unsigned k = 0; k <= i; k++)
				n += now - crashed[k] < patient.crash_window_us;
			enum ladder_state is = ladder_judge(&l, &patient, (struct ladder_opinion){ 1, 0 }, now);
			assert_int_equal(is, n > patient.crash_budget ? LADDER_DEAD : LADDER_ALIVE);
		}
	}
}

/* A death is never called within 60 ms of a sign of life, nor of our own trouble. */
static void no_death_without_time(void **state)
{
	struct ladder_limits forbearing = limits;
	forbearing.crash_budget = 0;
	for (int run = 0; run < 20000; run++) {
		struct ladder l = { 0 };
		uint64_t now = US_PER_S, heard = 0;
		for (int i = 0; i < 40; i++) {
			enum ladder_event what = (enum ladder_event)rnd(LADDER_WROTE);
			now += rnd(rnd(2) ? 20 : 900) * US_PER_MS;
			ladder_note(&l, what, now);
			if (what == LADDER_ANSWERED || what == LADDER_SPOKE || what == LADDER_OURS)
				heard = now;
			if (ladder_judge(&l, &forbearing, (struct ladder_opinion){ rnd(2), rnd(2) }, now) == LADDER_DEAD)
				assert_true(now - heard >= 60 * US_PER_MS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_story_ends_as_it_should),
		cmocka_unit_test(a_grace_is_given),
		cmocka_unit_test(what_is_no_evidence_never_kills),
		cmocka_unit_test(a_write_that_does_not_come_through_is_a_death_in_time),
		cmocka_unit_test(a_budget_of_crashes_is_kept),
		cmocka_unit_test(no_death_without_time),
	};
	return UNIT_RUN(tests);
}
