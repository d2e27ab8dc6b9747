/*
 * pulse — a node's figures, each an atomic; three things need more than that.
 *
 * The primary's sample is a pair (when, how far) under a sequence number: odd while the one writer is at it.  Readers load the pair with
 * acquire, so that who sees a new half sees the odd number, too, and tries again.
 *
 * The judgement is one word, so that an ejection between a probe and its verdict is not lost: the verdict is set by compare-and-swap, which
 * fails when the count of ejections has grown.
 *
 * How quick a node is: the geometric mean of its statements' times, window by window.  It shows a node that is twice as slow at everything, and hardly
 * a single statement that takes a thousand times as long; the mean of times would do the opposite, and two nodes would be left alone in turn.
 *
 * Always: why is NULL exactly when it is fit, but for the moment between two stores;  what the control thread alone writes only grows older.
 */
#include "topo/pulse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define WINDOW_US (200 * US_PER_MS)
#define FORGET_US US_PER_S
#define FEW 16u                   /* statements that may all have been unusual ones: over new connections, say */
#define COUNT (UINT64_C(1) << 40) /* of statements, above the sum of their logarithms */
#define LOG_UNIT 256u

static const char not_asked[] = "not asked yet";
static const char ejected[] = "a connection to it failed";

struct pulse *pulse_new(uint32_t id)
{
	struct pulse *p = aligned_alloc(_Alignof(struct pulse), sizeof *p);
	if (!p)
		die("out of memory: a node's pulse wanted");
	*p = (struct pulse){ .id = id, .refs = 1, .why = not_asked, .since_us = clock_us() };
	p->lag_bytes = p->lag_us = p->latency_us = PULSE_UNKNOWN;
	return p;
}

struct pulse *pulse_ref(struct pulse *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void pulse_unref(struct pulse *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		free(p);
}

/* ---- what is known */

static uint64_t load(const _Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void store(_Atomic uint64_t *at, uint64_t value)
{
	atomic_store_explicit(at, value, memory_order_relaxed);
}

const char *pulse_why(const struct pulse *p)
{
	return atomic_load_explicit(&p->why, memory_order_relaxed);
}

uint64_t pulse_since_us(const struct pulse *p)
{
	return load(&p->since_us);
}

const char *node_state_word(enum node_state state)
{
#define NODE_STATE_WORD(id, word, ...) word,
	static const char *const words[] = { "up", NODE_STATES(NODE_STATE_WORD) };
	return words[state];
}

enum node_state pulse_state(const struct pulse *p, uint64_t *since_us)
{
	*since_us = atomic_load_explicit(&p->state_us, memory_order_relaxed);
	return (enum node_state)atomic_load_explicit(&p->state, memory_order_relaxed);
}

void pulse_note_state(struct pulse *p, enum node_state state, uint64_t now_us)
{
	if (atomic_load_explicit(&p->state, memory_order_relaxed) == (uint32_t)state)
		return;
	atomic_store_explicit(&p->state_us, now_us, memory_order_relaxed);
	atomic_store_explicit(&p->state, (uint32_t)state, memory_order_relaxed);
}

const char *pulse_unseen(const struct pulse *p)
{
	return atomic_load_explicit(&p->unseen, memory_order_relaxed);
}

const char *pulse_sync(const struct pulse *p)
{
	return atomic_load_explicit(&p->sync, memory_order_relaxed);
}

uint64_t pulse_timeline(const struct pulse *p)
{
	return atomic_load_explicit(&p->timeline, memory_order_relaxed);
}

uint64_t pulse_lag_bytes(const struct pulse *p)
{
	return load(&p->lag_bytes);
}

uint64_t pulse_lag_us(const struct pulse *p)
{
	return load(&p->lag_us);
}

uint64_t pulse_latency_us(const struct pulse *p)
{
	return load(&p->latency_us);
}

bool pulse_written(const struct pulse *primary, uint64_t *asked_us, uint64_t *lsn)
{
	for (;;) {
		uint64_t seq = atomic_load_explicit(&primary->seq, memory_order_acquire);
		*asked_us = atomic_load_explicit(&primary->written_us, memory_order_acquire);
		*lsn = atomic_load_explicit(&primary->written, memory_order_acquire);
		if (!(seq & 1) && load(&primary->seq) == seq)
			return seq != 0;
	}
}

/* The newest sample is number LAST; *LSN 0: none of those that are left is so new. */
static void first_since(const struct pulse *p, uint64_t last, uint64_t since_us, uint64_t *lsn)
{
	*lsn = 0;
	for (uint64_t n = last; n > 0 && last - n < PULSE_SAMPLES; n--) {
		const struct pulse_sample *s = &p->samples[n % PULSE_SAMPLES];
		if (atomic_load_explicit(&s->asked_us, memory_order_acquire) < since_us)
			return;
		*lsn = atomic_load_explicit(&s->written, memory_order_acquire);
	}
}

bool pulse_written_since(const struct pulse *primary, uint64_t since_us, uint64_t *lsn)
{
	for (;;) {
		uint64_t seq = atomic_load_explicit(&primary->seq, memory_order_acquire);
		first_since(primary, seq / 2, since_us, lsn);
		if (!(seq & 1) && load(&primary->seq) == seq)
			return *lsn != 0;
	}
}

bool pulse_marked(const struct pulse *primary, uint64_t *lsn)
{
	uint64_t wrote_us = atomic_load_explicit(&primary->wrote_us, memory_order_acquire);
	*lsn = 0;
	while (wrote_us) {
		uint64_t seq = atomic_load_explicit(&primary->seq, memory_order_acquire);
		uint64_t marked_us = atomic_load_explicit(&primary->marked_us, memory_order_acquire);
		*lsn = atomic_load_explicit(&primary->marked, memory_order_acquire);
		if (!(seq & 1) && load(&primary->seq) == seq)
			return marked_us >= wrote_us;
	}
	return true;
}

/* ---- what is said of it */

void pulse_note_write(struct pulse *p, uint64_t now_us)
{
	uint64_t old = load(&p->wrote_us);
	while (old < now_us &&
	       !atomic_compare_exchange_weak_explicit(&p->wrote_us, &old, now_us, memory_order_release, memory_order_relaxed))
		;
}

void pulse_eject(struct pulse *p)
{
	uint64_t old = atomic_load_explicit(&p->judgement, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&p->judgement, &old, ((old >> 1) + 1) << 1, memory_order_acq_rel,
	                                              memory_order_relaxed))
		;
	if (old & 1) {
		atomic_store_explicit(&p->why, ejected, memory_order_relaxed);
		store(&p->since_us, clock_us());
	}
	pulse_want(p);
}

void pulse_eject_for(struct pulse *p, const char *sqlstate)
{
	bool is_lost = strncmp(sqlstate, "08", 2) == 0 && strcmp(sqlstate, "08P01") != 0;
	if (is_lost || strncmp(sqlstate, "57P0", 4) == 0) /* shutting down, crashed, starting up */
		pulse_eject(p);
}

void pulse_want(struct pulse *p)
{
	if (!atomic_load_explicit(&p->is_wanted, memory_order_relaxed) && !atomic_exchange(&p->is_wanted, true) && p->call)
		p->call(p->call_arg, p->id);
}

/* log2(N) in 1/256, a straight line between powers of two. */
static uint64_t logarithm(uint64_t n)
{
	unsigned places = 63u - (unsigned)__builtin_clzll(n | 1);
	return places * LOG_UNIT + (n << (63u - places) >> 55 & (LOG_UNIT - 1));
}

void pulse_end(struct pulse *p, uint64_t took_us)
{
	atomic_fetch_sub_explicit(&p->in_flight, 1, memory_order_relaxed);
	if (took_us != PULSE_UNKNOWN)
		atomic_fetch_add_explicit(&p->ended, COUNT + logarithm(took_us), memory_order_relaxed);
}

uint32_t pulse_in_flight(const struct pulse *p)
{
	return atomic_load_explicit(&p->in_flight, memory_order_relaxed);
}

uint64_t pulse_time_ns(const struct pulse *p)
{
	return load(&p->time_ns);
}

uint64_t pulse_reads(const struct pulse *p)
{
	return load(&p->reads);
}

/* ---- the control thread */

void pulse_connect(struct pulse *p, void (*call)(void *arg, uint32_t id), void *arg)
{
	if (p->is_connected)
		return;
	p->is_connected = true;
	p->call = call;
	p->call_arg = arg;
}

void pulse_note_asked(struct pulse *p)
{
	atomic_store(&p->is_wanted, false);
}

void pulse_note_disk(struct pulse *p)
{
	atomic_fetch_add_explicit(&p->disk_errors, 1, memory_order_relaxed);
}

uint32_t pulse_disk_errors(const struct pulse *p)
{
	return atomic_load_explicit(&p->disk_errors, memory_order_relaxed);
}

uint64_t pulse_ejections(const struct pulse *p)
{
	return atomic_load_explicit(&p->judgement, memory_order_acquire) >> 1;
}

void pulse_note_written(struct pulse *p, uint64_t asked_us, uint64_t lsn)
{
	uint64_t seq = load(&p->seq), wrote_us = atomic_load_explicit(&p->wrote_us, memory_order_acquire);
	store(&p->seq, seq + 1);
	if (load(&p->marked_us) < wrote_us && wrote_us <= asked_us) {
		atomic_store_explicit(&p->marked_us, asked_us, memory_order_release);
		atomic_store_explicit(&p->marked, lsn, memory_order_release);
	}
	struct pulse_sample *s = &p->samples[(seq / 2 + 1) % PULSE_SAMPLES];
	atomic_store_explicit(&s->asked_us, asked_us, memory_order_release);
	atomic_store_explicit(&s->written, lsn, memory_order_release);
	atomic_store_explicit(&p->written_us, asked_us, memory_order_release);
	atomic_store_explicit(&p->written, lsn, memory_order_release);
	atomic_store_explicit(&p->seq, seq + 2, memory_order_release);
}

void pulse_note_replayed(struct pulse *p, uint64_t lsn)
{
	atomic_store_explicit(&p->replayed, lsn, memory_order_release);
}

void pulse_note_unseen(struct pulse *p, const char *what)
{
	atomic_store_explicit(&p->unseen, what, memory_order_relaxed);
}

void pulse_note_sync(struct pulse *p, const char *sync)
{
	atomic_store_explicit(&p->sync, sync, memory_order_relaxed);
}

void pulse_note_timeline(struct pulse *p, uint32_t timeline)
{
	atomic_store_explicit(&p->timeline, timeline, memory_order_relaxed);
}

void pulse_note_lag(struct pulse *p, uint64_t bytes, uint64_t us)
{
	store(&p->lag_bytes, bytes);
	store(&p->lag_us, us);
}

/* The windows before count half of what they did: as many statements in a new one weigh as much as all of them. */
static void roll(struct pulse *p, uint64_t ended)
{
	p->times = p->times / 2 + (double)(ended / COUNT);
	p->sum_of_logs = p->sum_of_logs / 2 + (double)(ended % COUNT) / LOG_UNIT;
	if (p->times >= FEW)
		store(&p->time_ns, (uint64_t)(exp2(p->sum_of_logs / p->times) * 1000) + 1);
}

static void forget_time(struct pulse *p)
{
	p->times = p->sum_of_logs = 0;
	store(&p->time_ns, 0);
}

void pulse_note_latency(struct pulse *p, uint64_t us, uint64_t now_us)
{
	store(&p->latency_us, us);
	if (now_us - p->rolled_us < WINDOW_US)
		return;
	uint64_t ended = atomic_exchange_explicit(&p->ended, 0, memory_order_relaxed);
	p->rolled_us = now_us;
	if (ended)
		roll(p, ended);
	if (ended || pulse_in_flight(p))
		p->busy_us = now_us;
	else if (now_us - p->busy_us >= FORGET_US)
		forget_time(p);
}

bool pulse_judge(struct pulse *p, uint64_t ejections, const char *why, bool warm_up, uint64_t now_us)
{
	uint64_t old = ejections << 1 | (pulse_is_fit(p) ? 1 : 0);
	const char *was = pulse_why(p);
	if (warm_up)
		store(&p->warm_from_us, now_us);
	if (!atomic_compare_exchange_strong(&p->judgement, &old, ejections << 1 | (why ? 0 : 1)))
		return false;
	if (why != was) {
		atomic_store_explicit(&p->why, why, memory_order_relaxed);
		store(&p->since_us, now_us);
	}
	return true;
}
