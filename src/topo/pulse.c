/*
 * pulse — a node's figures, each an atomic; two things need more than that.
 *
 * The primary's sample is a pair (when, how far) under a sequence number: odd while the one writer is at it.  Readers load the pair with
 * acquire, so that who sees a new half sees the odd number, too, and tries again.
 *
 * The judgement is one word, so that an ejection between a probe and its verdict is not lost: the verdict is set by compare-and-swap, which
 * fails when the count of ejections has grown.
 *
 * Always: why is NULL exactly when it is fit, but for the moment between two stores;  what the control thread alone writes only grows older.
 */
#include "topo/pulse.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define EWMA_UNIT 256u
#define EWMA_WEIGHT 8u /* what is new counts an eighth */
#define EWMA_MAX_US 60000000u
#define FADE 8u /* an idle node's ewma loses an eighth with each probe */

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

/* ---- what is said of it */

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

void pulse_want(struct pulse *p)
{
	if (!atomic_load_explicit(&p->is_wanted, memory_order_relaxed) && !atomic_exchange(&p->is_wanted, true) && p->call)
		p->call(p->call_arg, p->id);
}

static uint64_t ewma_after(uint64_t old, uint64_t took_us)
{
	uint64_t new = (took_us < EWMA_MAX_US ? took_us : EWMA_MAX_US) * EWMA_UNIT;
	if (old == 0)
		return new ? new : 1;
	old = old - old / EWMA_WEIGHT + new / EWMA_WEIGHT;
	return old ? old : 1;
}

/* Of two that end at once one may be lost: it is an average. */
void pulse_end(struct pulse *p, uint64_t took_us)
{
	atomic_fetch_sub_explicit(&p->in_flight, 1, memory_order_relaxed);
	if (took_us == PULSE_UNKNOWN)
		return;
	store(&p->ewma, ewma_after(load(&p->ewma), took_us));
	store(&p->ended, load(&p->ended) + 1);
}

uint32_t pulse_in_flight(const struct pulse *p)
{
	return atomic_load_explicit(&p->in_flight, memory_order_relaxed);
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

uint64_t pulse_ejections(const struct pulse *p)
{
	return atomic_load_explicit(&p->judgement, memory_order_acquire) >> 1;
}

void pulse_note_written(struct pulse *p, uint64_t asked_us, uint64_t lsn)
{
	uint64_t seq = load(&p->seq);
	store(&p->seq, seq + 1);
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

void pulse_note_latency(struct pulse *p, uint64_t us)
{
	uint64_t ended = atomic_exchange_explicit(&p->ended, 0, memory_order_relaxed), ewma = load(&p->ewma);
	store(&p->latency_us, us);
	if (ewma == 0 && us != PULSE_UNKNOWN)
		store(&p->ewma, ewma_after(0, us));
	else if (ended == 0 && pulse_in_flight(p) == 0)
		store(&p->ewma, ewma - ewma / FADE);
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
