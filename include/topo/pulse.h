/*
 * pulse — what is known of one node at this moment: is it fit for reads, how far has it replayed, how busy is it.
 *
 * One for each node id, shared by every snapshot that names the node and by whoever holds a reference.  The control thread writes what
 * probes say; any thread reads without locks, counts what it has in flight, and may say that the node failed (pulse_eject()).
 */
#ifndef TOPO_PULSE_H
#define TOPO_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tbl/nodestates.h"

#define NODE_STATE(id, ...) NODE_##id,
enum node_state { NODE_UNKNOWN, NODE_STATES(NODE_STATE) };
const char *node_state_word(enum node_state state); /* UNKNOWN: a cluster's only node, which is never asked, is up */

#define PULSE_UNKNOWN UINT64_MAX
#define PULSE_SAMPLES 16u /* three seconds of probes */

/* Read by everybody; the second half, which everybody writes, has cache lines of its own.  Only pulse.c and the functions below look inside. */
struct pulse {
	_Alignas(64) _Atomic uint64_t judgement; /* times it was ejected, shifted, and in the lowest bit whether it is fit */
	_Atomic(const char *) why, unseen, sync;
	_Atomic uint64_t since_us, warm_from_us;
	_Atomic uint64_t time_ns; /* that a statement takes, on average; 0: not known */
	_Atomic uint64_t replayed, lag_bytes, lag_us, latency_us;
	_Atomic uint64_t seq, written_us, written;
	struct pulse_sample { /* the last of these, sample N at N % PULSE_SAMPLES; the newest is number seq / 2 */
		_Atomic uint64_t asked_us, written;
	} samples[PULSE_SAMPLES];
	_Atomic uint64_t marked_us, marked; /* the first sample behind what was known to be written then */
	_Atomic uint32_t timeline;
	_Atomic uint32_t state; /* enum node_state */
	_Atomic uint64_t state_us;
	uint32_t id;
	void (*call)(void *arg, uint32_t id); /* set before anybody else sees it */
	void *call_arg;
	bool is_connected;
	uint64_t rolled_us, busy_us; /* the control thread's, as the next */
	double times, sum_of_logs;
	_Atomic uint32_t refs;
	atomic_bool is_wanted;

	_Alignas(64) _Atomic uint32_t in_flight;
	_Atomic uint32_t disk_errors;
	_Atomic uint64_t wrote_us;     /* when a client last wrote there, of those that count: pulse_note_write() */
	_Atomic uint64_t ended, reads; /* in this window: how many, and the sum of the logarithms of their times */
};

struct pulse *pulse_new(uint32_t id); /* one reference */
struct pulse *pulse_ref(struct pulse *p);
void pulse_unref(struct pulse *p); /* NULL is fine; any thread */

/* ---- any thread: what is known.  Times are clock_us(). */

/* It takes reads now: it is up, in recovery, receives what the primary of its cluster writes, and is not too far behind. */
static inline bool pulse_is_fit(const struct pulse *p)
{
	return atomic_load_explicit(&p->judgement, memory_order_acquire) & 1;
}
const char *pulse_why(const struct pulse *p);                           /* why it is not fit, static text; NULL: it is */
uint64_t pulse_since_us(const struct pulse *p);                         /* since when it is fit, or not, for this reason */
enum node_state pulse_state(const struct pulse *p, uint64_t *since_us); /* what it is to us; *SINCE_US 0: from the beginning */
const char *pulse_unseen(const struct pulse *p);  /* what the service role may not see there, static text; NULL: nothing */
const char *pulse_sync(const struct pulse *p);    /* of a standby: "sync", "quorum", "potential" or "async"; NULL: not known */
uint64_t pulse_timeline(const struct pulse *p);   /* 0: not known */
uint64_t pulse_lag_bytes(const struct pulse *p);  /* behind what the primary had written when it was last asked; PULSE_UNKNOWN */
uint64_t pulse_lag_us(const struct pulse *p);     /* age of what it shows; 0: everything; PULSE_UNKNOWN */
uint64_t pulse_latency_us(const struct pulse *p); /* of the last probe; PULSE_UNKNOWN: none was answered */

/* How far a standby has replayed: all before this is visible there.  0: not known. */
static inline uint64_t pulse_replayed(const struct pulse *p)
{
	return atomic_load_explicit(&p->replayed, memory_order_acquire);
}
/* Of a primary: LSN is at or behind all that it had written, committed without waiting or not, at the time *ASKED_US: a standby that has
 * replayed LSN shows every change that had ended by then.  False: never asked. */
bool pulse_written(const struct pulse *primary, uint64_t *asked_us, uint64_t *lsn);
/* Of the samples that were asked for at SINCE_US or later the first that is still known.  False: there is none. */
bool pulse_written_since(const struct pulse *primary, uint64_t since_us, uint64_t *lsn);
/* … and all that pulse_note_write() told of; *LSN 0: nothing.  False: no sample was taken behind the last of it. */
bool pulse_marked(const struct pulse *primary, uint64_t *lsn);

/* ---- any thread: what is said of it */

/* A connection to it failed or broke: not fit before it has answered a probe sent after this, which comes soon. */
void pulse_eject(struct pulse *p);
/* The same if SQLSTATE, which a connection failed with, speaks against the node and not against who wanted it, or how many did. */
void pulse_eject_for(struct pulse *p, const char *sqlstate);
/* Of a primary: what a client wrote there was over at NOW_US. */
void pulse_note_write(struct pulse *p, uint64_t now_us);
void pulse_note_disk(struct pulse *p); /* a statement failed there for its disk */
/* Somebody waits for what it will say: all nodes of its cluster are asked soon.  Cheap when often: asked for once until they are. */
void pulse_want(struct pulse *p);

static inline void pulse_begin(struct pulse *p, bool is_read) /* a statement was sent to it */
{
	atomic_fetch_add_explicit(&p->in_flight, 1, memory_order_relaxed);
	if (is_read)
		atomic_fetch_add_explicit(&p->reads, 1, memory_order_relaxed);
}
/* … and has been answered after TOOK_US; PULSE_UNKNOWN: that says nothing of how quick the node is. */
void pulse_end(struct pulse *p, uint64_t took_us);
uint32_t pulse_in_flight(const struct pulse *p);
uint64_t pulse_time_ns(const struct pulse *p); /* that its statements take, about; 0: too few ran lately */
uint64_t pulse_reads(const struct pulse *p);   /* since the program began */

/* ---- control thread */

/* CALL(arg, id), from any thread: at pulse_want() and pulse_eject().  Only the first time counts: before other threads see it. */
void pulse_connect(struct pulse *p, void (*call)(void *arg, uint32_t id), void *arg);
void pulse_note_asked(struct pulse *p); /* who wants something from here on wants another probe */
uint64_t pulse_ejections(const struct pulse *p);
uint32_t pulse_disk_errors(const struct pulse *p); /* that were noted, ever */
void pulse_note_written(struct pulse *p, uint64_t asked_us, uint64_t lsn);
void pulse_note_replayed(struct pulse *p, uint64_t lsn);
void pulse_note_unseen(struct pulse *p, const char *what); /* static text, or NULL */
void pulse_note_sync(struct pulse *p, const char *sync);   /* the same */
void pulse_note_state(struct pulse *p, enum node_state state, uint64_t now_us);
void pulse_note_timeline(struct pulse *p, uint32_t timeline);
void pulse_note_lag(struct pulse *p, uint64_t bytes, uint64_t us);
/* PULSE_UNKNOWN: it did not answer.  Of a node that was idle for a second nobody knows how quick it is, so that a slow one is tried again. */
void pulse_note_latency(struct pulse *p, uint64_t us, uint64_t now_us);
/* WHY: NULL for fit.  EJECTIONS: as they were when the probe was sent; if there were more since, it stays unfit and false is returned.
 * WARM_UP: it takes its share slowly from now on. */
bool pulse_judge(struct pulse *p, uint64_t ejections, const char *why, bool warm_up, uint64_t now_us);

#endif
