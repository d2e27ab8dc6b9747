/*
 * replies — a ring of entries, and a small automaton for the reply to the one at its head.
 *
 *   EXECUTE   START --D--> ROWS        QUERY   START --T--> ROWS --C--> START --Z--> done
 *             START --G--> copy in             START --C--> START (a part)     any --E--> failed --Z--> done
 *             START --H--> copy out            START --I--> ENDED
 *             copy out --c--> COPIED           START --G,H,W--> copy --C--> START
 *             C, I, s, E end it                copy --c--> COPIED --C--> START
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
	STAGE_TYPED,  /* DESCRIBE_STATEMENT: 't' was seen */
	STAGE_ROWS,   /* rows are coming */
	STAGE_COPIED, /* the server's CopyDone was seen */
	STAGE_ENDED,  /* only 'Z' is missing (or an 'E' before it) */
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

static void give_back_long_ring(struct replies *q)
{
	mem_free(q->ring);
	q->ring = NULL;
	q->head = q->cap = 0;
}

/* Takes entry I out of the ring; those before it move up. */
static struct reply take(struct replies *q, uint32_t i)
{
	struct reply e = *at(q, i);
	q->syncs -= syncs_of(&e);
	q->doubtful -= e.kind == REPLY_SYNC_DOUBTFUL;
	for (; i > 0; i--)
		*at(q, i) = *at(q, i - 1);
	q->head++;
	q->len--;
	if (UNLIKELY(q->len == 0 && q->cap > CAP_KEPT))
		give_back_long_ring(q);
	if (e.kind == REPLY_SYNC_DOUBTFUL || e.kind == REPLY_SYNC_EATEN)
		e.kind = REPLY_SYNC;
	return e;
}

static void drop_markers(struct replies *q)
{
	while (q->len && at(q, 0)->kind == REPLY_COPY_END)
		take(q, 0);
}

static void pop_head(struct replies *q, struct reply *entry)
{
	*entry = take(q, 0);
	q->copy = REPLY_COPY_NONE;
	q->failed = 0;
	q->stage = STAGE_START;
	q->parts = 0;
	drop_markers(q);
}

/* -- COPY IN and the Syncs behind it ---------------------------------------------------------- */

/* The COPY at the head succeeded: the server has read all up to the first COPY_END, and Syncs before that are eaten.  False when no
 * CopyDone was sent, or something in front of it that a COPY does not survive. */
static bool eat_syncs(struct replies *q)
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
static void doubt_syncs(struct replies *q)
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
static enum reply_verdict on_doubtful_ready(struct replies *q, struct reply *entry)
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
static bool settle_doubt(struct replies *q)
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

static enum reply_verdict next_stage(struct replies *q, enum stage stage)
{
	q->stage = (uint8_t)stage;
	return REPLY_PART;
}

static enum reply_verdict start_copy(struct replies *q, enum reply_copy copy)
{
	q->copy = (uint8_t)copy;
	return REPLY_PART;
}

static enum reply_verdict end_copy_out(struct replies *q)
{
	q->copy = REPLY_COPY_NONE;
	return next_stage(q, STAGE_COPIED);
}

static enum reply_verdict end_part(struct replies *q, enum stage stage)
{
	q->copy = REPLY_COPY_NONE;
	q->parts++;
	return next_stage(q, stage);
}

static enum reply_verdict judge_one(uint8_t type, uint8_t wanted)
{
	return type == wanted ? REPLY_DONE : type == 'E' ? REPLY_FAILED : REPLY_UNEXPECTED;
}

static enum reply_verdict judge_describe(struct replies *q, uint8_t type, bool is_statement)
{
	if (type == 'E')
		return REPLY_FAILED;
	if (is_statement && q->stage == STAGE_START)
		return type == 't' ? next_stage(q, STAGE_TYPED) : REPLY_UNEXPECTED;
	return type == 'T' || type == 'n' ? REPLY_DONE : REPLY_UNEXPECTED;
}

static enum reply_verdict judge_sync(uint8_t type)
{
	return type == 'Z' ? REPLY_DONE : type == 'E' ? REPLY_PART : REPLY_UNEXPECTED;
}

static enum reply_verdict judge_execute_start(struct replies *q, uint8_t type)
{
	switch (type) {
	case 'D':
		return next_stage(q, STAGE_ROWS);
	case 'C':
	case 'I':
	case 's':
		return REPLY_DONE;
	case 'G':
		return start_copy(q, REPLY_COPY_IN);
	case 'H':
		return start_copy(q, REPLY_COPY_OUT);
	}
	return REPLY_UNEXPECTED;
}

static enum reply_verdict judge_execute(struct replies *q, uint8_t type)
{
	if (type == 'E') {
		if (q->copy == REPLY_COPY_IN)
			doubt_syncs(q);
		return REPLY_FAILED;
	}
	if (q->copy == REPLY_COPY_IN)
		return type == 'C' && eat_syncs(q) ? REPLY_DONE : REPLY_UNEXPECTED;
	if (q->copy == REPLY_COPY_OUT)
		return type == 'd' ? REPLY_PART : type == 'c' ? end_copy_out(q) : REPLY_UNEXPECTED;
	if (q->stage == STAGE_START)
		return judge_execute_start(q, type);
	if (q->stage == STAGE_ROWS && (type == 'D' || type == 's'))
		return type == 'D' ? REPLY_PART : REPLY_DONE;
	return type == 'C' ? REPLY_DONE : REPLY_UNEXPECTED;
}

static enum reply_verdict fail_query(struct replies *q)
{
	if (q->copy == REPLY_COPY_IN)
		doubt_syncs(q);
	q->copy = REPLY_COPY_NONE;
	q->failed = 1;
	return next_stage(q, STAGE_ENDED);
}

static enum reply_verdict judge_query_copy(struct replies *q, uint8_t type)
{
	if (q->copy == REPLY_COPY_IN)
		return type == 'C' && eat_syncs(q) ? end_part(q, STAGE_START) : REPLY_UNEXPECTED;
	if (type == 'd')
		return REPLY_PART;
	if (type == 'c')
		return end_copy_out(q);
	/* A walsender that shuts down ends its stream without CopyDone. */
	return type == 'C' && q->copy == REPLY_COPY_BOTH ? end_part(q, STAGE_START) : REPLY_UNEXPECTED;
}

static enum reply_verdict judge_query_start(struct replies *q, uint8_t type)
{
	switch (type) {
	case 'T':
		return next_stage(q, STAGE_ROWS);
	case 'C':
		return end_part(q, STAGE_START);
	case 'I':
		return q->parts ? REPLY_UNEXPECTED : end_part(q, STAGE_ENDED);
	case 'G':
		return start_copy(q, REPLY_COPY_IN);
	case 'H':
		return start_copy(q, REPLY_COPY_OUT);
	case 'W':
		return start_copy(q, REPLY_COPY_BOTH);
	case 'Z':
		return q->parts ? REPLY_DONE : REPLY_UNEXPECTED;
	}
	return REPLY_UNEXPECTED;
}

static enum reply_verdict judge_query(struct replies *q, uint8_t type)
{
	if (type == 'E')
		return fail_query(q);
	if (q->copy != REPLY_COPY_NONE)
		return judge_query_copy(q, type);
	switch ((enum stage)q->stage) {
	case STAGE_START:
		return judge_query_start(q, type);
	case STAGE_ROWS: /* a rule's DO ALSO SELECT gives a second 'T' with its rows and only one 'C' */
		return type == 'D' || type == 'T' ? REPLY_PART : type == 'C' ? end_part(q, STAGE_START) : REPLY_UNEXPECTED;
	case STAGE_COPIED: /* replication commands go on with rows or the next stream without a 'C' */
		return type == 'C'   ? end_part(q, STAGE_START)
		       : type == 'T' ? next_stage(q, STAGE_ROWS)
		       : type == 'H' ? start_copy(q, REPLY_COPY_OUT)
		                     : REPLY_UNEXPECTED;
	case STAGE_TYPED:
	case STAGE_ENDED:
		break;
	}
	return type == 'Z' ? REPLY_DONE : REPLY_UNEXPECTED;
}

static enum reply_verdict judge_function(struct replies *q, uint8_t type)
{
	if (type == 'E')
		return fail_query(q);
	if (q->stage == STAGE_ENDED)
		return type == 'Z' ? REPLY_DONE : REPLY_UNEXPECTED;
	return type == 'V' ? next_stage(q, STAGE_ENDED) : REPLY_UNEXPECTED;
}

static enum reply_verdict judge(struct replies *q, uint8_t type)
{
	switch ((enum reply_kind)at(q, 0)->kind) {
	case REPLY_PARSE:
		return judge_one(type, '1');
	case REPLY_BIND:
		return judge_one(type, '2');
	case REPLY_CLOSE:
		return judge_one(type, '3');
	case REPLY_DESCRIBE_STATEMENT:
		return judge_describe(q, type, true);
	case REPLY_DESCRIBE_PORTAL:
		return judge_describe(q, type, false);
	case REPLY_EXECUTE:
		return judge_execute(q, type);
	case REPLY_SYNC:
		return judge_sync(type);
	case REPLY_QUERY:
		return judge_query(q, type);
	case REPLY_FUNCTION:
		return judge_function(q, type);
	case REPLY_COPY_END:
	case REPLY_SYNC_DOUBTFUL:
	case REPLY_SYNC_EATEN:
		break;
	}
	die("replies: an entry of kind %u reached the head", at(q, 0)->kind);
}

static enum reply_verdict on_empty(struct replies *q, uint8_t type)
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

bool replies_push(struct replies *q, struct reply entry)
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
	if (LIKELY(type == 'D' && q->stage == STAGE_ROWS)) {
		*entry = *at(q, 0);
		return REPLY_PART;
	}
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

uint8_t replies_streams(const struct replies *q)
{
	return q->stage == STAGE_ROWS ? 'D' : q->copy == REPLY_COPY_OUT ? 'd' : 0;
}
