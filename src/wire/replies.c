/*
 * replies — a ring of entries, and a small automaton for the reply to the one at its head.
 *
 *   EXECUTE   START --D--> ROWS        QUERY   START --T--> ROWS --C--> PARTS --Z--> done
 *             START --G--> copy in             START --C--> PARTS          any --E--> failed --Z--> done
 *             START --H--> copy out            START --I--> ENDED
 *             copy out --c--> COPIED           START --G,H,W--> copy --C--> PARTS
 *             C, I, s, E end it                copy --c--> COPIED --C--> PARTS      PARTS goes on as START
 *
 * Always: stage, copy, failed and parts are about the head entry;  no COPY_END is at the head between calls;  syncs and doubtful count
 * what their names say;  while skipping, what stands before the first SYNC is void.
 *
 * Doubt.  A COPY IN that fails has eaten some first ones of the Syncs that were sent behind it, nobody knows how many.  So after its 'E' there are
 * D doubtful and, directly behind them, C certain Syncs, and the server will say 'Z' at least C and at most D + C times.  Each
 * 'Z' takes the first entry and turns the first certain one of that run into a doubtful one, which keeps both bounds true.  Any
 * other reply is of an entry behind the run: the doubtful ones were eaten.  Where even that cannot be told apart, because other messages stand
 * between doubtful and certain Syncs and it depends on them whether those are skipped, the connection is given up.
 */
#include "wire/replies.h"

#include "base/log.h"
#include "base/mem.h"

#define CAP_FIRST 8u
#define CAP_KEPT 256u /* a longer ring is given back when it is empty */

enum stage {
	STAGE_START,
	STAGE_PARTS,  /* QUERY: a part is complete; another one or 'Z' comes */
	STAGE_TYPED,  /* DESCRIBE_STATEMENT: 't' was seen */
	STAGE_ROWS,   /* rows are coming */
	STAGE_COPIED, /* the server's CopyDone was seen */
	STAGE_ENDED,  /* only 'Z' is missing (or an 'E' before it) */
	STAGE_COUNT,
};

/* What a message does to the reply at the head outside a COPY: ends it, or leads to a stage (the lowest three bits), perhaps by completing a part,
 * perhaps into a COPY (the highest two bits).  0: it must not come. */
enum { DONE = 8, GOES_ON = 16, PART_ENDED = 32, COPY_SHIFT = 6 };
#define TO(stage) (GOES_ON | (stage))
#define PART_TO(stage) (GOES_ON | PART_ENDED | (stage))
#define COPY(how) (GOES_ON | (how) << COPY_SHIFT)
#define COPIES ['G'] = COPY(REPLY_COPY_IN), ['H'] = COPY(REPLY_COPY_OUT)

static const uint8_t next_of[REPLY_COPY_END][STAGE_COUNT][256] = {
	[REPLY_PARSE] = { [STAGE_START] = { ['1'] = DONE } },
	[REPLY_BIND] = { [STAGE_START] = { ['2'] = DONE } },
	[REPLY_CLOSE] = { [STAGE_START] = { ['3'] = DONE } },
	[REPLY_DESCRIBE_PORTAL] = { [STAGE_START] = { ['T'] = DONE, ['n'] = DONE } },
	[REPLY_DESCRIBE_STATEMENT] = { [STAGE_START] = { ['t'] = TO(STAGE_TYPED) }, [STAGE_TYPED] = { ['T'] = DONE, ['n'] = DONE } },
	[REPLY_EXECUTE] = { [STAGE_START] = { ['D'] = TO(STAGE_ROWS), ['C'] = DONE, ['I'] = DONE, ['s'] = DONE, COPIES },
	                    [STAGE_ROWS] = { ['D'] = TO(STAGE_ROWS), ['C'] = DONE, ['s'] = DONE },
	                    [STAGE_COPIED] = { ['C'] = DONE } },
	[REPLY_SYNC] = { [STAGE_START] = { ['Z'] = DONE } },
	[REPLY_QUERY] = { [STAGE_START] = { ['T'] = TO(STAGE_ROWS),
	                                    ['C'] = PART_TO(STAGE_PARTS),
	                                    ['I'] = PART_TO(STAGE_ENDED),
	                                    ['W'] = COPY(REPLY_COPY_BOTH),
	                                    COPIES },
	                  [STAGE_PARTS] = { ['T'] = TO(STAGE_ROWS),
	                                    ['C'] = PART_TO(STAGE_PARTS),
	                                    ['Z'] = DONE,
	                                    ['W'] = COPY(REPLY_COPY_BOTH),
	                                    COPIES },
	                  /* a rule's DO ALSO SELECT gives a second 'T' with its rows and only one 'C' */
	                  [STAGE_ROWS] = { ['D'] = TO(STAGE_ROWS), ['T'] = TO(STAGE_ROWS), ['C'] = PART_TO(STAGE_PARTS) },
	                  /* replication commands go on with rows or the next stream without a 'C' */
	                  [STAGE_COPIED] = { ['C'] = PART_TO(STAGE_PARTS), ['T'] = TO(STAGE_ROWS), ['H'] = COPY(REPLY_COPY_OUT) },
	                  [STAGE_ENDED] = { ['Z'] = DONE } },
	[REPLY_FUNCTION] = { [STAGE_START] = { ['V'] = TO(STAGE_ENDED) }, [STAGE_ENDED] = { ['Z'] = DONE } },
};

static struct reply *at(const struct replies *q, uint32_t i)
{
	return &q->ring[(q->head + i) & (q->cap - 1)];
}

static bool is_real_sync(const struct reply *e)
{
	return e->kind == REPLY_SYNC && e->fate != REPLY_LOCAL;
}

static bool is_marker_or_doubtful(const struct reply *e)
{
	return e->kind == REPLY_COPY_END || e->kind == REPLY_SYNC_DOUBTFUL;
}

/* How many ReadyForQuery an entry is sure to bring. */
static uint32_t syncs_of(const struct reply *e)
{
	return e->fate != REPLY_LOCAL && (e->kind == REPLY_SYNC || e->kind == REPLY_QUERY || e->kind == REPLY_FUNCTION);
}

/* The one door through which a SYNC becomes doubtful or eaten. */
static void turn(struct replies *q, struct reply *e, enum reply_kind kind)
{
	q->syncs -= syncs_of(e);
	q->doubtful -= e->kind == REPLY_SYNC_DOUBTFUL;
	e->kind = (uint8_t)kind;
	q->doubtful += kind == REPLY_SYNC_DOUBTFUL;
}

static void grow(struct replies *q)
{
	uint32_t cap = q->cap ? q->cap * 2 : CAP_FIRST;
	struct reply *ring = mem_alloc(cap * sizeof *ring);
	for (uint32_t i = 0; i < q->len; i++)
		ring[i] = *at(q, i);
	mem_free(q->ring);
	q->ring = ring;
	q->head = 0;
	q->cap = cap;
}

static NOT_INLINE void give_back_long_ring(struct replies *q)
{
	mem_free(q->ring);
	q->ring = NULL;
	q->head = q->cap = 0;
}

static inline struct reply take_head(struct replies *q)
{
	struct reply e = *at(q, 0);
	q->syncs -= syncs_of(&e);
	q->doubtful -= e.kind == REPLY_SYNC_DOUBTFUL;
	q->head++;
	q->len--;
	if (UNLIKELY(q->len == 0 && q->cap > CAP_KEPT))
		give_back_long_ring(q);
	if (UNLIKELY(e.kind == REPLY_SYNC_DOUBTFUL || e.kind == REPLY_SYNC_EATEN))
		e.kind = REPLY_SYNC;
	return e;
}

/* Takes entry I out of the ring; those before it move up. */
static struct reply take(struct replies *q, uint32_t i)
{
	struct reply e = *at(q, i);
	for (; i > 0; i--)
		*at(q, i) = *at(q, i - 1);
	*at(q, 0) = e;
	return take_head(q);
}

static NOT_INLINE void drop_these_markers(struct replies *q)
{
	while (q->len && at(q, 0)->kind == REPLY_COPY_END)
		take_head(q);
}

static inline void drop_markers(struct replies *q)
{
	if (UNLIKELY(q->len && at(q, 0)->kind == REPLY_COPY_END))
		drop_these_markers(q);
}

static void pop_head(struct replies *q, struct reply *entry)
{
	*entry = take_head(q);
	q->copy = REPLY_COPY_NONE;
	q->failed = 0;
	q->stage = STAGE_START;
	q->parts = 0;
	drop_markers(q);
}

/* The same for an entry that brings no ReadyForQuery, outside a COPY.  A COPY_END behind it stays. */
static inline void drop_plain_head(struct replies *q)
{
	q->head++;
	q->stage = STAGE_START;
	q->parts = 0;
	if (--q->len == 0 && UNLIKELY(q->cap > CAP_KEPT))
		give_back_long_ring(q);
}

/* -- COPY IN and the Syncs behind it ---------------------------------------------------------- */

/* The COPY at the head succeeded: the server has read all up to the first COPY_END, and Syncs before that are eaten.  False when no
 * CopyDone was sent, or something in front of it that a COPY does not survive. */
static NOT_INLINE bool eat_syncs(struct replies *q)
{
	for (uint32_t i = 1; i < q->len; i++) {
		struct reply *e = at(q, i);
		if (e->kind == REPLY_COPY_END) {
			take(q, i);
			return true;
		}
		if (is_real_sync(e))
			turn(q, e, REPLY_SYNC_EATEN);
		else if (e->fate != REPLY_LOCAL && e->kind != REPLY_SYNC_EATEN)
			return false;
	}
	return false;
}

/* The COPY at the head failed: nobody knows which of those Syncs it had eaten. */
static NOT_INLINE void doubt_syncs(struct replies *q)
{
	for (uint32_t i = 1; i < q->len; i++) {
		struct reply *e = at(q, i);
		if (is_real_sync(e))
			turn(q, e, REPLY_SYNC_DOUBTFUL);
		else if (e->fate != REPLY_LOCAL && e->kind != REPLY_SYNC_EATEN)
			return;
	}
}

/* Index of the first entry that is neither doubtful nor a marker; len when there is none. */
static uint32_t end_of_doubt(const struct replies *q)
{
	uint32_t i = 0;
	while (i < q->len && is_marker_or_doubtful(at(q, i)))
		i++;
	return i;
}

/* 'Z' while the head is doubtful: see the opening paragraph. */
static NOT_INLINE enum reply_verdict on_doubtful_ready(struct replies *q, struct reply *entry)
{
	uint32_t end = end_of_doubt(q);
	bool has_certain = end < q->len && is_real_sync(at(q, end));
	if (q->skipping && end < q->len && !has_certain)
		return REPLY_UNEXPECTED;
	if (has_certain)
		turn(q, at(q, end), REPLY_SYNC_DOUBTFUL);
	pop_head(q, entry);
	q->skipping = 0;
	return REPLY_DONE;
}

/* Another reply than 'Z' while the head is doubtful: moves the entry that it must belong to in front, and those Syncs were eaten.  False when
 * no such entry is there. */
static NOT_INLINE bool settle_doubt(struct replies *q)
{
	uint32_t end = end_of_doubt(q);
	if (q->skipping || end == q->len || is_real_sync(at(q, end)))
		return false;
	ASSERT(at(q, end)->fate != REPLY_LOCAL && at(q, end)->kind != REPLY_SYNC_EATEN);
	struct reply live = *at(q, end);
	for (uint32_t i = end; i > 0; i--) {
		*at(q, i) = *at(q, i - 1);
		if (at(q, i)->kind == REPLY_SYNC_DOUBTFUL)
			turn(q, at(q, i), REPLY_SYNC_EATEN);
	}
	*at(q, 0) = live;
	return true;
}

/* -- judging ---------------------------------------------------------------------------------- */

/* Outside a COPY. */
static inline enum reply_verdict follow(struct replies *q, unsigned next)
{
	if (next == DONE)
		return REPLY_DONE;
	if (!next)
		return REPLY_UNEXPECTED;
	q->stage = next & 7;
	q->parts += (next & PART_ENDED) != 0;
	q->copy = (uint8_t)(next >> COPY_SHIFT);
	return REPLY_PART;
}

static inline unsigned next_at_head(const struct replies *q, uint8_t type)
{
	return next_of[at(q, 0)->kind][q->stage][type];
}

static enum reply_verdict end_copy(struct replies *q, enum stage stage, bool is_part)
{
	q->copy = REPLY_COPY_NONE;
	q->stage = (uint8_t)stage;
	q->parts += is_part;
	return REPLY_PART;
}

/* Its 'C' ends an EXECUTE, and a part of a QUERY. */
static enum reply_verdict end_copy_in(struct replies *q)
{
	return at(q, 0)->kind == REPLY_EXECUTE ? REPLY_DONE : end_copy(q, STAGE_PARTS, true);
}

static NOT_INLINE enum reply_verdict judge_copy(struct replies *q, uint8_t type)
{
	if (q->copy == REPLY_COPY_IN)
		return type == 'C' && eat_syncs(q) ? end_copy_in(q) : REPLY_UNEXPECTED;
	if (type == 'd')
		return REPLY_PART;
	if (type == 'c')
		return end_copy(q, STAGE_COPIED, false);
	/* A walsender that shuts down ends its stream without CopyDone. */
	return type == 'C' && q->copy == REPLY_COPY_BOTH ? end_copy(q, STAGE_PARTS, true) : REPLY_UNEXPECTED;
}

static NOT_INLINE enum reply_verdict judge_error(struct replies *q)
{
	enum reply_kind kind = at(q, 0)->kind;
	if (q->copy == REPLY_COPY_IN)
		doubt_syncs(q);
	if (kind == REPLY_SYNC)
		return REPLY_PART;
	if (kind != REPLY_QUERY && kind != REPLY_FUNCTION)
		return REPLY_FAILED;
	q->failed = 1;
	return end_copy(q, STAGE_ENDED, false);
}

static enum reply_verdict judge(struct replies *q, uint8_t type)
{
	ASSERT(at(q, 0)->kind < REPLY_COPY_END);
	if (type == 'E')
		return judge_error(q);
	if (q->copy != REPLY_COPY_NONE)
		return judge_copy(q, type);
	return follow(q, next_at_head(q, type));
}

static NOT_INLINE enum reply_verdict on_empty(struct replies *q, uint8_t type)
{
	if (type != 'E' || !q->open || q->skipping)
		return REPLY_UNEXPECTED;
	q->skipping = 1;
	return REPLY_ASYNC;
}

/* -- public ----------------------------------------------------------------------------------- */

void replies_fini(struct replies *q)
{
	mem_free(q->ring);
	*q = (struct replies){ 0 };
}

/* While skipping: was anything sent that may end it? */
static bool has_sync(const struct replies *q)
{
	for (uint32_t i = 0; i < q->len; i++)
		if (is_real_sync(at(q, i)) || at(q, i)->kind == REPLY_SYNC_DOUBTFUL)
			return true;
	return false;
}

bool replies_push_any(struct replies *q, struct reply entry)
{
	ASSERT(entry.kind <= REPLY_COPY_END);
	if (UNLIKELY(q->skipping) && !is_real_sync(&entry) && !has_sync(q))
		return false;
	if (entry.kind == REPLY_COPY_END && q->len == 0)
		return false;
	if (q->len == q->cap)
		grow(q);
	*at(q, q->len++) = entry;
	q->syncs += syncs_of(&entry);
	if (entry.fate != REPLY_LOCAL && entry.kind != REPLY_COPY_END)
		q->open = entry.kind < REPLY_SYNC;
	return true;
}

enum reply_verdict replies_on_message(struct replies *q, uint8_t type, struct reply *entry)
{
	if (type == 'N' || type == 'S' || type == 'A')
		return REPLY_ASYNC;
	if (q->len == 0)
		return on_empty(q, type);
	if (UNLIKELY(at(q, 0)->kind == REPLY_SYNC_DOUBTFUL)) {
		if (type == 'Z')
			return on_doubtful_ready(q, entry);
		if (!settle_doubt(q))
			return REPLY_UNEXPECTED;
	}
	ASSERT(at(q, 0)->fate != REPLY_LOCAL && at(q, 0)->kind != REPLY_SYNC_EATEN);
	enum reply_verdict verdict = judge(q, type);
	if (verdict == REPLY_PART) {
		*entry = *at(q, 0);
	} else if (verdict != REPLY_UNEXPECTED) {
		pop_head(q, entry);
		if (entry->kind == REPLY_SYNC)
			q->skipping = 0;
		else if (verdict == REPLY_FAILED)
			q->skipping = 1;
	}
	return verdict;
}

static inline bool streams(const struct replies *q, uint8_t type)
{
	return (type == 'D' && q->stage == STAGE_ROWS) || (type == 'd' && q->copy == REPLY_COPY_OUT);
}

/* A message of TYPE is forwarded and that is all.  False: nothing was done. */
static inline bool pass(struct replies *q, const struct reply *head, uint8_t type)
{
	if (head->tag || q->copy != REPLY_COPY_NONE)
		return streams(q, type);
	unsigned next = next_of[head->kind][q->stage][type];
	if (next == DONE && head->kind < REPLY_SYNC) /* else it is a 'Z' */
		drop_plain_head(q);
	else if (next & GOES_ON)
		follow(q, next);
	else
		return false;
	return true;
}

size_t replies_pass(struct replies *q, struct slice in, size_t most)
{
	size_t passed = 0;
	const struct reply *head = NULL;
	if (q->skipping || q->doubtful)
		return 0;
	while (q->len && (head = at(q, 0))->fate == REPLY_FORWARD && head->kind < REPLY_COPY_END) {
		struct slice rest = slice_skip(in, passed);
		size_t size = frame_whole(rest, FRAME_FROM_SERVER);
		if (!size || size > most || !pass(q, head, rest.at[0]))
			break;
		passed += size;
		if ((rest.at[0] == 'D' || rest.at[0] == 'd') && size < rest.len && rest.at[size] == rest.at[0])
			passed += frame_run(slice_skip(rest, size), FRAME_FROM_SERVER, rest.at[0], most);
	}
	drop_markers(q);
	return passed;
}

bool replies_skipped(struct replies *q, struct reply *entry)
{
	drop_markers(q);
	uint32_t i = q->skipping ? 0 : end_of_doubt(q);
	if (i == q->len)
		return false;
	const struct reply *e = at(q, i);
	if (e->kind != REPLY_SYNC_EATEN && (!q->skipping || is_real_sync(e) || e->kind == REPLY_SYNC_DOUBTFUL))
		return false;
	*entry = take(q, i);
	drop_markers(q);
	return true;
}

/* Looks past doubtful Syncs: the client has what it waits for, and nothing else would settle them. */
bool replies_local(struct replies *q, struct reply *entry)
{
	drop_markers(q);
	uint32_t i = end_of_doubt(q);
	if (q->skipping || i == q->len || at(q, i)->fate != REPLY_LOCAL)
		return false;
	*entry = take(q, i);
	drop_markers(q);
	return true;
}

bool replies_clear(struct replies *q, struct reply *entry)
{
	drop_markers(q);
	if (q->len) {
		pop_head(q, entry);
		return true;
	}
	q->skipping = q->open = 0;
	return false;
}

bool replies_is_doubtful(const struct replies *q)
{
	return q->doubtful > 0 && !q->skipping && end_of_doubt(q) == q->len;
}

const struct reply *replies_head(const struct replies *q)
{
	return q->len ? at(q, 0) : NULL;
}
