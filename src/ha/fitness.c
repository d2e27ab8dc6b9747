/*
 * fitness — a standby between fit and not fit.
 *
 *   not asked ──good──► fit ──bad, ejected──► out ──good GOOD times, below half of the limits──► fit
 *                                              └──ejected, but good ever since: at the next good probe; the wait doubles with each
 *                                                 ejection that comes soon after the one before
 *
 * The first answer decides alone, so that a program that starts does not send everything to the primary.
 *
 * Always: fit means that the last probe found nothing, at limits no wider than configured.
 */
#include "ha/fitness.h"

#include "base/clock.h"

#define GOOD 3u
#define OUT_FOR_LONG_US (2 * US_PER_S)
#define SOON_US (10 * US_PER_S) /* an ejection this long after the last one is a new story */
#define STAY_OUT_US (100 * US_PER_MS)
#define STAY_OUT_SHIFT_MAX 7u /* 12.8 s */

static const char cut[] = "it is cut off: in quarantine, or being replaced";
static const char drained[] = "it is being drained";
static const char dead[] = "it does not answer";
static const char refused[] = "it refuses the service role";
static const char foreign[] = "it is of another cluster: its system identifier is not the primary's";
static const char promoted[] = "it is not in recovery";
static const char stray[] = "it is on another timeline than the primary";
static const char cut_off[] = "it does not receive what the primary writes";
static const char nothing_known[] = "how far the primary has written is not known yet";
static const char far_behind[] = "its lag is above max_lag";
static const char late[] = "its lag is above max_lag_time";
static const char unsteady[] = "connections to it have failed several times";
static const char proving[] = "it has come back and proves itself";

/* Something that is not known is not within a limit. */
static bool is_within(uint64_t lag, uint64_t limit, bool was_fit)
{
	return limit == 0 || lag <= (was_fit ? limit : limit / 2);
}

/* One that is fed from an archive is as good as the limits that it keeps; without any, only who has it all. */
static bool is_fed(const struct fitness_view *v, const struct fitness_limits *limits)
{
	if (v->sample->receiver == SAMPLE_STREAMING || v->sample->receiver == SAMPLE_HIDDEN)
		return true;
	return v->lag.bytes == 0 || (!v->has_moved && (limits->max_lag || limits->max_lag_us));
}

static const char *objection(const struct fitness_view *v, const struct fitness_limits *limits, bool was_fit)
{
	if (v->is_cut)
		return cut;
	if (v->is_drained)
		return drained;
	if (!v->is_alive)
		return v->is_refused ? refused : dead;
	if (v->is_foreign)
		return foreign;
	if (!v->sample->in_recovery)
		return promoted;
	if (v->is_stray)
		return stray;
	if (v->lag.bytes == LAG_UNKNOWN)
		return nothing_known;
	if (!is_fed(v, limits))
		return cut_off;
	if (!is_within(v->lag.bytes, limits->max_lag, was_fit))
		return far_behind;
	return is_within(v->lag.us, limits->max_lag_us, was_fit) ? NULL : late;
}

static void note_ejection(struct fitness *f, uint64_t ejections, uint64_t now_us)
{
	if (ejections == f->ejections)
		return;
	bool is_soon = f->strikes > 0 && now_us - f->ejected_us < SOON_US + f->stay_out_us;
	f->strikes = is_soon ? f->strikes + 1 : 1;
	f->ejections = ejections;
	f->ejected_us = now_us;
	unsigned shift = f->strikes - 1 < STAY_OUT_SHIFT_MAX ? f->strikes - 1 : STAY_OUT_SHIFT_MAX;
	f->stay_out_us = f->strikes > 1 ? STAY_OUT_US << shift : 0;
}

static void say(struct fitness *f, const char *why, uint64_t now_us)
{
	f->must_warm_up = f->was_asked && f->why && !why && now_us - f->since_us >= OUT_FOR_LONG_US;
	if (!f->was_asked || !f->why != !why)
		f->since_us = now_us;
	f->why = why;
	f->was_asked = f->was_asked || why != nothing_known;
}

void fitness_judge(struct fitness *f, const struct fitness_view *view, const struct fitness_limits *limits, uint64_t now_us)
{
	bool was_out = f->was_asked && f->why;
	note_ejection(f, view->ejections, now_us);
	const char *why = objection(view, limits, !was_out);
	f->good = why ? 0 : f->good + 1;
	if (!why && was_out && f->why != unsteady && f->good < GOOD)
		why = proving;
	if (!why && now_us < f->ejected_us + f->stay_out_us)
		why = unsteady;
	say(f, why, now_us);
}
