/*
 * ladder — the rules, each with what it is for:
 *
 *   refused      three times over 60 ms, no statement ended for 150 ms, and no standby still streams: dead, after restart_grace
 *                (a restart looks the same for a moment; a port that moved, or a firewall, does not stop the standbys)
 *   starting     for recovery_grace: dead          (crash recovery loses nothing and is mostly quicker than a failover)
 *   no way       twice, for unreachable, if the standbys have lost it, too; for twice hung if they have not noticed: dead
 *   silent       to whoever knocks, no question answered, no statement ended, for hung: dead          (the host hangs, or all of it is stopped)
 *   half silent  it opens, but answers no question, not over a new connection either, and no statement ends, for three times hung: dead
 *                (one backend that hangs is not the server)
 *   sick         it answers, but what is written is not committed, or refused for its disk, for unwritable: dead
 *                (a disk that hangs, is full, is gone.  Who writes waits for no standby: that synchronous standbys are away is no sickness)
 *   deaf         its sessions work, but whoever knocks meets silence, for deaf: dead              (a postmaster that is stopped or stuck)
 *   crashing     it has started up again more often than crash_budget within crash_window: dead, whatever it says now, once a standby streams from it again
 *                (each time it is back, and each time all that runs there is lost)
 *
 * A sign of life takes back all that was said against it, but for the last three: sick and deaf only their own opposite takes back, crashes are forgotten.
 *
 * Always: but for those, LADDER_DEAD needs evidence that came after the last sign of life;  our own trouble starts every clock anew.
 */
#include "ha/ladder.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define REFUSALS 3u
#define REFUSED_FOR_US (60 * US_PER_MS)
#define QUIET_US (150 * US_PER_MS)
#define WORKS_ON_US US_PER_S /* sessions of a server that has lost its postmaster may work on for so long */
#define LOSSES 2u
#define HALF_SILENT 3u
#define PARTITION 2u

const char *ladder_word(enum ladder_state state)
{
	static const char *const words[] = { "alive", "suspect", "sick", "restarting", "refusing", "hung", "unreachable", "dead" };
	return words[state];
}

static void forget(struct ladder *l, enum ladder_event what)
{
	l->first[what] = 0;
	l->n[what] = 0;
}

/* What a sign of life speaks against. */
static void forget_most(struct ladder *l)
{
	for (unsigned i = 0; i < LADDER_OURS; i++)
		forget(l, (enum ladder_event)i);
	l->is_suspect = false;
}

static void forget_ailments(struct ladder *l)
{
	forget(l, LADDER_UNWRITTEN);
	forget(l, LADDER_UNWRITABLE);
	forget(l, LADDER_DEAF);
}

/* Who says one thing does not say the others. */
static void take_back(struct ladder *l, enum ladder_event what)
{
	static const enum ladder_event states[] = { LADDER_OPENED, LADDER_STARTING, LADDER_REFUSED, LADDER_SILENT, LADDER_LOST };
	bool is_state = false;
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		is_state |= states[i] == what;
	for (size_t i = 0; is_state && i < sizeof states / sizeof states[0]; i++)
		if (states[i] != what && !(what == LADDER_OPENED && states[i] == LADDER_STARTING))
			forget(l, states[i]);
}

static void count(struct ladder *l, enum ladder_event what, uint64_t now_us)
{
	l->last[what] = now_us;
	if (!l->n[what]++)
		l->first[what] = now_us;
}

static void note_knock(struct ladder *l, enum ladder_event what, uint64_t now_us)
{
	if (what == LADDER_SILENT)
		count(l, LADDER_DEAF, now_us);
	else if (what == LADDER_OPENED || what == LADDER_STARTING || what == LADDER_REFUSED || what == LADDER_SPOKE)
		forget(l, LADDER_DEAF);
}

/* Behind a sign of life it starts up again: it has crashed, or somebody has restarted it. */
static void note_start(struct ladder *l, enum ladder_event what, uint64_t now_us)
{
	if (what == LADDER_ANSWERED || what == LADDER_SPOKE)
		l->is_starting = false;
	if (what != LADDER_STARTING || l->is_starting)
		return;
	l->is_starting = true;
	if (l->last[LADDER_ANSWERED])
		l->crashed_us[l->n_crashes++ % LADDER_CRASHES] = now_us;
}

/* How many in the window; the first of them. */
static unsigned crashes(const struct ladder *l, const struct ladder_limits *limits, uint64_t now_us, uint64_t *first_us)
{
	unsigned n = 0;
	*first_us = now_us;
	for (unsigned i = 0; i < l->n_crashes && i < LADDER_CRASHES; i++) {
		if (now_us - l->crashed_us[i] >= limits->crash_window_us)
			continue;
		n++;
		*first_us = l->crashed_us[i] < *first_us ? l->crashed_us[i] : *first_us;
	}
	return n;
}

bool ladder_is_ailing(const struct ladder *l)
{
	return l->n[LADDER_UNWRITTEN] || l->n[LADDER_UNWRITABLE] || l->n[LADDER_DEAF];
}

void ladder_note(struct ladder *l, enum ladder_event what, uint64_t now_us)
{
	bool was_suspect = l->is_suspect;
	note_knock(l, what, now_us);
	note_start(l, what, now_us);
	switch (what) {
	case LADDER_ANSWERED:
	case LADDER_SPOKE:
		forget_most(l);
		l->last[what] = now_us;
		return;
	case LADDER_WROTE:
		forget(l, LADDER_UNWRITABLE);
		/* fall through */
	case LADDER_FLUSHED: /* a full disk may have room for WAL yet */
		forget(l, LADDER_UNWRITTEN);
		l->last[what] = now_us;
		return;
	case LADDER_UNWRITTEN:
	case LADDER_UNWRITABLE:
	case LADDER_DEAF:
		count(l, what, now_us);
		return;
	case LADDER_OURS:
		forget_most(l);
		forget_ailments(l);
		l->n_crashes = 0;
		l->is_suspect = was_suspect;
		l->last[LADDER_OURS] = now_us;
		return;
	case LADDER_WORKED: /* what is refused or silent to others may work on for those who are in */
		l->last[what] = now_us;
		forget(l, LADDER_SILENT);
		forget(l, LADDER_LOST);
		forget(l, LADDER_LATE);
		return;
	default:
		take_back(l, what);
		count(l, what, now_us);
		l->is_suspect = true;
	}
}

static uint64_t least_nonzero(uint64_t a, uint64_t b)
{
	return !a ? b : !b || a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool is_since(uint64_t at_us, uint64_t for_us, uint64_t now_us)
{
	return at_us && now_us >= at_us && now_us - at_us >= for_us;
}

/* Since when nothing at all was heard that could be called life; 0: never. */
static uint64_t quiet_since(const struct ladder *l)
{
	uint64_t life = most(most(l->last[LADDER_ANSWERED], l->last[LADDER_SPOKE]), l->last[LADDER_WORKED]);
	uint64_t doubt = least_nonzero(least_nonzero(l->first[LADDER_SILENT], l->first[LADDER_LATE]), l->first[LADDER_BROKE]);
	return most(most(life, l->last[LADDER_OURS]), life ? 0 : doubt);
}

static enum ladder_state judge_refused(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                                       uint64_t now_us)
{
	uint64_t since = l->first[LADDER_REFUSED];
	if (l->n[LADDER_REFUSED] < REFUSALS || !is_since(since, REFUSED_FOR_US, now_us) || standbys.streaming)
		return LADDER_SUSPECT;
	bool works = l->last[LADDER_WORKED] >= since && !is_since(l->last[LADDER_WORKED], QUIET_US, now_us);
	if (works && !is_since(since, WORKS_ON_US, now_us))
		return LADDER_SUSPECT;
	return is_since(since, limits->restart_grace_us, now_us) ? LADDER_DEAD : LADDER_REFUSING;
}

/* A host that has vanished leaves its standbys waiting for a minute: what they say is that they have not noticed.  But when none can be asked,
 * it is we who have no way to anybody. */
static enum ladder_state judge_lost(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                                    uint64_t now_us)
{
	uint64_t allowed = standbys.streaming ? PARTITION * limits->hung_us : limits->unreachable_us;
	bool is_dead =
	    l->n[LADDER_LOST] >= LOSSES && standbys.streaming + standbys.lost > 0 && is_since(quiet_since(l), allowed, now_us);
	return is_dead ? LADDER_DEAD : LADDER_UNREACHABLE;
}

static enum ladder_state judge_silent(const struct ladder *l, const struct ladder_limits *limits, uint64_t now_us)
{
	bool is_half = l->n[LADDER_OPENED] > 0;
	if (!l->n[LADDER_LATE] && !l->n[LADDER_BROKE]) /* questions are answered all the same */
		return LADDER_SUSPECT;
	uint64_t allowed = is_half ? HALF_SILENT * limits->hung_us : limits->hung_us;
	return is_since(quiet_since(l), allowed, now_us) ? LADDER_DEAD : LADDER_HUNG;
}

/* A knock that nobody answers happens. */
static enum ladder_state judge_deaf(const struct ladder *l, const struct ladder_limits *limits, uint64_t now_us)
{
	uint64_t since = l->first[LADDER_DEAF];
	if (l->n[LADDER_DEAF] < 2 || !is_since(since, US_PER_S, now_us))
		return LADDER_ALIVE;
	return limits->deaf_us && is_since(since, limits->deaf_us, now_us) ? LADDER_DEAD : LADDER_SICK;
}

static enum ladder_state judge_unwritable(const struct ladder *l, const struct ladder_limits *limits, uint64_t now_us)
{
	uint64_t since = least_nonzero(l->first[LADDER_UNWRITTEN], l->first[LADDER_UNWRITABLE]);
	if (!since)
		return LADDER_ALIVE;
	return limits->unwritable_us && is_since(since, limits->unwritable_us, now_us) ? LADDER_DEAD : LADDER_SICK;
}

/* It lives: nobody takes its place who does not get what it writes. */
static enum ladder_state judge_crashes(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                                       uint64_t now_us)
{
	uint64_t first_us;
	bool is_over = limits->crash_budget && crashes(l, limits, now_us, &first_us) > limits->crash_budget;
	return is_over && standbys.streaming > 0 ? LADDER_DEAD : LADDER_ALIVE;
}

static enum ladder_state worse(enum ladder_state a, enum ladder_state b)
{
	return a > b ? a : b;
}

static enum ladder_state judge_suspect(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                                       uint64_t now_us)
{
	if (!l->is_suspect)
		return LADDER_ALIVE;
	if (l->n[LADDER_REFUSED])
		return judge_refused(l, limits, standbys, now_us);
	if (l->n[LADDER_STARTING])
		return is_since(l->first[LADDER_STARTING], limits->recovery_grace_us, now_us) ? LADDER_DEAD : LADDER_RESTARTING;
	if (l->n[LADDER_LOST])
		return judge_lost(l, limits, standbys, now_us);
	if (l->n[LADDER_SILENT] || (l->n[LADDER_OPENED] && l->n[LADDER_LATE]))
		return judge_silent(l, limits, now_us);
	return LADDER_SUSPECT;
}

enum ladder_state ladder_judge(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                               uint64_t now_us)
{
	enum ladder_state is = judge_suspect(l, limits, standbys, now_us);
	enum ladder_state ails = worse(judge_unwritable(l, limits, now_us), judge_deaf(l, limits, now_us));
	return worse(worse(is, ails), judge_crashes(l, limits, standbys, now_us));
}

static const char *event_words(enum ladder_event what)
{
	static const char *const words[LADDER_EVENT_COUNT] = {
		[LADDER_OPENED] = "opened to a knock",    [LADDER_STARTING] = "said that it starts or stops",
		[LADDER_REFUSED] = "refused connections", [LADDER_LOST] = "could not be reached",
		[LADDER_BROKE] = "lost connections",      [LADDER_LATE] = "left questions unanswered",
		[LADDER_UNWRITTEN] = "did not commit",    [LADDER_UNWRITABLE] = "refused a write for its disk",
		[LADDER_DEAF] = "was silent to a knock"
	};
	return words[what];
}

const char *ladder_explain(const struct ladder *l, const struct ladder_limits *limits, struct ladder_opinion standbys,
                           uint64_t now_us, char *out, size_t room)
{
	uint64_t first_us;
	unsigned n_crashes = crashes(l, limits, now_us, &first_us);
	size_t len = 0;
	out[0] = 0;
	if (n_crashes)
		len = (size_t)snprintf(out, room, "crashed %u times in %llu ms, ", n_crashes,
		                       (unsigned long long)((now_us - first_us) / US_PER_MS));
	for (unsigned i = 0; i < LADDER_EVENT_COUNT && len < room; i++) {
		const char *words = l->n[i] ? event_words((enum ladder_event)i) : NULL;
		if (words)
			len += (size_t)snprintf(out + len, room - len, "%s %u times in %llu ms, ", words, l->n[i],
			                        (unsigned long long)((now_us - l->first[i]) / US_PER_MS));
	}
	if (len < room)
		snprintf(out + len, room - len, "last sign of life %llu ms ago; standbys: %u lost it, %u did not",
		         (unsigned long long)((now_us - quiet_since(l)) / US_PER_MS), standbys.lost, standbys.streaming);
	return out;
}
