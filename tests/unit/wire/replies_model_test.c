/*
 * replies against a model of the server.
 *
 * The model is PostgreSQL's message loop reduced to what it answers: skipping till Sync, COPY IN that eats Sync and Flush, simple Query in
 * parts, errors at any point, an early death in COPY.  Client messages ("letters") go through it in order; each answer carries the number of
 * the message that caused it.  The queue sees only types, and must give every answer to the right entry and end every entry as the model says,
 * however sending, serving and reading are interleaved.
 */
#include "wire/replies.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

#include "base/compiler.h"
#include "base/mem.h"

/* A letter: what the client sends, and what the server will say to it if it gets that far.  In a script '<' waits for the client's CopyDone. */
struct letter {
	const char *name;
	char type;          /* P B D C E S Q F d c f H */
	uint8_t kind;       /* enum reply_kind */
	const char *script; /* for 'd': "!" is bad data */
};
static const struct letter alphabet[] = {
	{ "Parse", 'P', REPLY_PARSE, "1" },
	{ "Bind", 'B', REPLY_BIND, "2" },
	{ "Execute", 'E', REPLY_EXECUTE, "DC" },
	{ "Sync", 'S', REPLY_SYNC, "" },
	{ "Parse!", 'P', REPLY_PARSE, "E" },
	{ "ExecuteCopyIn", 'E', REPLY_EXECUTE, "G<C" },
	{ "ExecuteCopyInEarly!", 'E', REPLY_EXECUTE, "GE" },
	{ "CopyDone", 'c', REPLY_COPY_END, "" },
	{ "CopyData!", 'd', 0, "!" },
	{ "Query", 'Q', REPLY_QUERY, "TDDC" },
	{ "Query!", 'Q', REPLY_QUERY, "TDE" },
	{ "QueryCopyIn", 'Q', REPLY_QUERY, "G<C" },
	{ "QueryCopyInTwice", 'Q', REPLY_QUERY, "CG<CG<CTC" },
	/* The core ends here: all words of it up to length 5 are tried, of the whole alphabet up to length 3. */
	{ "Bind!", 'B', REPLY_BIND, "E" },
	{ "DescribeStatement", 'D', REPLY_DESCRIBE_STATEMENT, "tT" },
	{ "DescribeStatementNoData", 'D', REPLY_DESCRIBE_STATEMENT, "tn" },
	{ "DescribeStatement!", 'D', REPLY_DESCRIBE_STATEMENT, "E" },
	{ "DescribePortal", 'D', REPLY_DESCRIBE_PORTAL, "T" },
	{ "DescribePortal!", 'D', REPLY_DESCRIBE_PORTAL, "E" },
	{ "Execute!", 'E', REPLY_EXECUTE, "E" },
	{ "ExecuteRows!", 'E', REPLY_EXECUTE, "DDE" },
	{ "ExecuteSuspended", 'E', REPLY_EXECUTE, "DDs" },
	{ "ExecuteEmpty", 'E', REPLY_EXECUTE, "I" },
	{ "ExecuteCopyOut", 'E', REPLY_EXECUTE, "HddcC" },
	{ "ExecuteCopyOut!", 'E', REPLY_EXECUTE, "HdE" },
	{ "Close", 'C', REPLY_CLOSE, "3" },
	{ "Close!", 'C', REPLY_CLOSE, "E" },
	{ "Sync!", 'S', REPLY_SYNC, "E" },
	{ "QueryParts", 'Q', REPLY_QUERY, "CTDCTDTDC" },
	{ "QueryParts!", 'Q', REPLY_QUERY, "CTDCE" },
	{ "QueryEmpty", 'Q', REPLY_QUERY, "I" },
	{ "QueryCopyInEarly!", 'Q', REPLY_QUERY, "GE" },
	{ "QueryCopyInThen!", 'Q', REPLY_QUERY, "G<CE" },
	{ "QueryCopyOut", 'Q', REPLY_QUERY, "HddcCC" },
	{ "QueryCopyOut!", 'Q', REPLY_QUERY, "HE" },
	{ "Function", 'F', REPLY_FUNCTION, "V" },
	{ "Function!", 'F', REPLY_FUNCTION, "E" },
	{ "FunctionCommit!", 'F', REPLY_FUNCTION, "VE" },
	{ "CopyFail", 'f', REPLY_COPY_END, "" },
	{ "CopyData", 'd', 0, "" },
	{ "Flush", 'H', 0, "" },
};
#define CORE 13
#define ALL ((int)ARRAY_LEN(alphabet))
#define WORD 32
#define FATAL '#'

enum outcome { NOTHING, DONE, FAILED, SKIPPED, LOCAL };
static const char *const outcome_names[] = { "nothing", "done", "failed", "skipped", "local" };

struct message {
	const struct letter *letter;
	bool is_local, is_swallowed;
	enum outcome model, queue;
};

struct run {
	struct message word[WORD];
	int len, sent, served;
	/* the server */
	bool ignore_till_sync, in_copy, is_dead, has_work; /* has_work: something that a Sync would commit */
	int current;
	const char *script;
	int held[WORD], held_len; /* local messages inside a COPY: their fate is that COPY's */
	/* on the wire */
	struct {
		char type;
		int id;
	} out[WORD * 12];
	int out_len, judged;
	/* us */
	struct replies q;
	bool had_doubt, gave_up;
	unsigned random;
};

static unsigned long runs, given_up, left_doubtful, pass_count;

static unsigned next_random(struct run *r)
{
	r->random = r->random * 1664525u + 1013904223u;
	return r->random >> 8;
}

NORETURN static void explain(const struct run *r, const char *what)
{
	for (int i = 0; i < r->len; i++)
		fprintf(stderr, "#  %d %s%s: model %s, queue %s%s\n", i, r->word[i].letter->name, r->word[i].is_local ? " (local)" : "",
		        outcome_names[r->word[i].model], outcome_names[r->word[i].queue], i >= r->sent ? " (not sent)" : "");
	fprintf(stderr, "#  said:");
	for (int i = 0; i < r->out_len; i++)
		fprintf(stderr, " %c%d%s", r->out[i].type, r->out[i].id, i == r->judged - 1 ? " <--" : "");
	fprintf(stderr, "\n#  %s; queue len %u syncs %u doubtful %u skipping %u copy %u\n", what, r->q.len, r->q.syncs, r->q.doubtful,
	        r->q.skipping, r->q.copy);
	fail();
	abort();
}

static void check(const struct run *r, bool ok, const char *what)
{
	if (!ok)
		explain(r, what);
}

/* -- the server ------------------------------------------------------------------------------- */

static bool is_extended(char type)
{
	return strchr("PBDCE", type) != NULL;
}

static void say(struct run *r, char type)
{
	r->out[r->out_len].type = type;
	r->out[r->out_len++].id = r->current;
}

static void server_decide_held(struct run *r)
{
	for (int i = 0; i < r->held_len; i++)
		r->word[r->held[i]].model = r->ignore_till_sync ? SKIPPED : LOCAL;
	r->held_len = 0;
}

static void server_finish(struct run *r, bool has_failed)
{
	struct message *m = &r->word[r->current];
	r->in_copy = false;
	if (is_extended(m->letter->type)) {
		m->model = has_failed ? FAILED : DONE;
		r->ignore_till_sync = has_failed;
		r->has_work = !has_failed && (r->has_work || m->letter->type == 'E');
	} else {
		m->model = DONE;
		r->has_work = false;
		say(r, 'Z');
	}
	server_decide_held(r);
}

static void server_run_script(struct run *r)
{
	for (; *r->script; r->script++) {
		if (*r->script == '<') {
			r->in_copy = true;
			r->script++;
			return;
		}
		say(r, *r->script);
		if (*r->script == 'E') {
			server_finish(r, true);
			return;
		}
	}
	server_finish(r, false);
}

static void server_in_copy(struct run *r, int id)
{
	const struct letter *l = r->word[id].letter;
	if (r->word[id].is_local) {
		r->held[r->held_len++] = id;
	} else if (l->type == 'S') {
		r->word[id].model = SKIPPED;
	} else if (l->type == 'f' || (l->type == 'd' && *l->script == '!')) {
		say(r, 'E');
		server_finish(r, true);
	} else if (l->type == 'c') {
		r->in_copy = false;
		server_run_script(r);
	} else if (l->type != 'H' && l->type != 'd') {
		say(r, 'E');
		say(r, FATAL);
		r->is_dead = true;
	}
}

static void serve_one(struct run *r)
{
	int id = r->served++;
	struct message *m = &r->word[id];
	if (r->is_dead)
		return;
	if (r->in_copy) {
		server_in_copy(r, id);
	} else if (r->ignore_till_sync && (m->is_local || m->letter->type != 'S')) {
		m->model = strchr("dcfH", m->letter->type) ? NOTHING : SKIPPED;
	} else if (m->is_local) {
		m->model = LOCAL;
	} else if (!strchr("dcfH", m->letter->type)) {
		r->current = id;
		r->script = m->letter->type == 'S' && !r->has_work ? "" : m->letter->script;
		r->ignore_till_sync = false;
		server_run_script(r);
	}
}

/* -- us --------------------------------------------------------------------------------------- */

static void end(struct run *r, const struct reply *e, enum outcome how)
{
	struct message *m = &r->word[e->number];
	check(r, e->ref == m, "a ref that is another's");
	check(r, m->queue == NOTHING, "an entry ended twice");
	check(r, e->kind == m->letter->kind, "an entry changed its kind");
	m->queue = how;
}

/* A local answer must come behind all answers to earlier messages. */
static void check_order_of_local(const struct run *r, uint32_t id)
{
	for (uint32_t i = 0; i < id && !r->had_doubt; i++)
		check(r, r->word[i].queue != NOTHING || strchr("dcfH", r->word[i].letter->type), "a local answer came too early");
}

static void drain(struct run *r)
{
	struct reply e;
	bool is_settled = replies_is_settled(&r->q);
	uint32_t before = r->q.len;
	while (replies_skipped(&r->q, &e))
		end(r, &e, SKIPPED);
	while (replies_local(&r->q, &e)) {
		check_order_of_local(r, e.number);
		end(r, &e, LOCAL);
		while (replies_skipped(&r->q, &e))
			end(r, &e, SKIPPED);
	}
	check(r, !is_settled || r->q.len == before, "a queue that called itself settled was not");
	r->had_doubt |= r->q.doubtful > 0;
}

static void give_up(struct run *r)
{
	struct reply e;
	while (replies_clear(&r->q, &e))
		;
	r->gave_up = true;
	given_up++;
}

static void send_one(struct run *r)
{
	int id = r->sent++;
	struct message *m = &r->word[id];
	if (m->letter->type == 'd' || m->letter->type == 'H')
		return;
	struct reply e = {
		.kind = m->letter->kind,
		.fate = m->is_local       ? REPLY_LOCAL
		        : m->is_swallowed ? REPLY_SWALLOW
		                          : REPLY_FORWARD,
		.tag = id % 4 == 3,
		.number = (uint32_t)id,
		.ref = m,
	};
	if (!replies_push(&r->q, e) && e.kind != REPLY_COPY_END)
		end(r, &e, SKIPPED);
	drain(r);
}

static struct replies copy_of(const struct replies *q)
{
	struct replies copy = *q;
	copy.ring = q->cap ? mem_copy(q->ring, q->cap * sizeof *q->ring) : NULL;
	return copy;
}

/* N messages of TYPE, as short as they may be.  All pass, or none. */
static bool pass(struct replies *q, uint8_t type, unsigned n)
{
	uint8_t in[64] = { 0 };
	size_t size = FRAME_HEADER + frame_bounds[FRAME_FROM_SERVER][type].least, passed;
	for (unsigned i = 0; i < n; i++) {
		in[i * size] = type;
		in[i * size + 4] = (uint8_t)(size - 1);
	}
	passed = replies_pass(q, slice_of(in, n * size), SIZE_MAX);
	assert_true(passed == 0 || passed == n * size);
	return passed > 0;
}

static bool is_same(const struct replies *a, const struct replies *b)
{
	bool same = a->head == b->head && a->len == b->len && a->syncs == b->syncs && a->doubtful == b->doubtful &&
	            a->skipping == b->skipping && a->open == b->open && a->copy == b->copy && a->failed == b->failed &&
	            a->stage == b->stage && a->parts == b->parts;
	for (uint32_t i = 0; same && i < a->len; i++)
		same = memcmp(&a->ring[(a->head + i) & (a->cap - 1)], &b->ring[(b->head + i) & (b->cap - 1)], sizeof *a->ring) == 0;
	return same;
}

static void judge_one(struct run *r)
{
	char type = r->out[r->judged].type;
	int id = r->out[r->judged++].id;
	struct reply e;
	if (type == FATAL) {
		give_up(r);
		return;
	}
	if (next_random(r) % 16 == 0)
		check(r, replies_on_message(&r->q, (uint8_t) "NSA"[next_random(r) % 3], &e) == REPLY_ASYNC,
		      "an asynchronous message was judged");
	bool in_doubt = r->q.doubtful > 0 && r->q.skipping;
	struct replies passed = copy_of(&r->q);
	bool passes = pass(&passed, (uint8_t)type, 1);
	check(r, passes || is_same(&passed, &r->q), "a message that does not pass did something");
	enum reply_verdict v = replies_on_message(&r->q, (uint8_t)type, &e);
	check(r,
	      !passes || ((v == REPLY_PART || v == REPLY_DONE) && e.fate == REPLY_FORWARD && (!e.tag || v == REPLY_PART) &&
	                  is_same(&passed, &r->q)),
	      "a message passed that is not a mere forwarded one");
	if (passes && (type == 'D' || type == 'd'))
		check(r, pass(&passed, (uint8_t)type, 3) && is_same(&passed, &r->q), "what merely streams did something");
	replies_fini(&passed);
	pass_count += passes;
	if (v == REPLY_UNEXPECTED && in_doubt && type == 'Z') {
		give_up(r);
		return;
	}
	check(r, v != REPLY_UNEXPECTED && v != REPLY_ASYNC, "an answer was not expected");
	check(r, (int)e.number == id || (type == 'Z' && r->had_doubt), "an answer went to the wrong entry");
	check(r, (v == REPLY_FAILED) == (type == 'E' && is_extended(r->word[id].letter->type)), "failed or not");
	if (v != REPLY_PART)
		end(r, &e, v == REPLY_DONE ? DONE : FAILED);
	drain(r);
}

/* All that was sent was served and judged. */
static void check_quiet(const struct run *r)
{
	if (r->in_copy) {
		check(r, r->q.copy == REPLY_COPY_IN && r->q.len > 0, "the server waits for CopyData");
		return;
	}
	if (r->q.doubtful && r->q.skipping)
		return;
	check(r, r->q.syncs == 0, "ReadyForQuery is still expected");
	check(r, r->q.len == 0 || replies_is_doubtful(&r->q), "the server has said all, but the queue is not empty");
	check(r, r->had_doubt || (r->q.len == 0 && r->q.skipping == r->ignore_till_sync), "skipping or not");
}

static void check_outcomes(const struct run *r)
{
	for (int i = 0; i < r->len; i++) {
		const struct message *m = &r->word[i];
		if (r->had_doubt && (m->letter->type == 'S' || m->queue == NOTHING))
			continue;
		if (r->in_copy && i >= r->current)
			break;
		check(r, m->model == m->queue, "an entry ended otherwise");
	}
}

typedef void (*step_fn)(struct run *r);

static step_fn one_message_at_a_time(bool can_send, bool can_serve, bool can_judge)
{
	return can_judge ? judge_one : can_serve ? serve_one : send_one;
}

static step_fn all_is_sent_first(bool can_send, bool can_serve, bool can_judge)
{
	return can_send ? send_one : can_judge ? judge_one : serve_one;
}

static step_fn all_is_served_first(bool can_send, bool can_serve, bool can_judge)
{
	return can_serve ? serve_one : can_send ? send_one : judge_one;
}

static step_fn (*const paces[])(bool, bool, bool) = { one_message_at_a_time, all_is_sent_first, all_is_served_first };
enum { PACES = ARRAY_LEN(paces), PACE_RANDOM };

static void play(struct run *r, int pace)
{
	runs++;
	while (!r->gave_up) {
		bool can_send = r->sent < r->len, can_serve = r->served < r->sent, can_judge = r->judged < r->out_len;
		if (!can_serve && !can_judge)
			check_quiet(r);
		if (!can_send && !can_serve && !can_judge)
			break;
		step_fn step = paces[pace == PACE_RANDOM ? next_random(r) % PACES : (unsigned)pace](can_send, can_serve, can_judge);
		step(r);
	}
	if (!r->gave_up)
		check_outcomes(r);
	struct reply e;
	left_doubtful += r->q.len > 0;
	while (replies_clear(&r->q, &e))
		;
	replies_fini(&r->q);
}

static void spell(struct run *r, const int *letters, int len, unsigned seed)
{
	memset(r, 0, sizeof *r);
	r->random = seed;
	for (int i = 0; i < len; i++)
		r->word[r->len++].letter = &alphabet[letters[i]];
}

static void play_all_paces(const int *letters, int len)
{
	static struct run r;
	for (int pace = 0; pace < PACES; pace++) {
		spell(&r, letters, len, 1);
		play(&r, pace);
	}
}

static void all_words(int letters, int len)
{
	int word[WORD] = { 0 };
	for (;;) {
		play_all_paces(word, len);
		int i = len - 1;
		while (i >= 0 && ++word[i] == letters)
			word[i--] = 0;
		if (i < 0)
			return;
	}
}

static void every_short_word_of_the_whole_alphabet(void **state)
{
	for (int len = 1; len <= 3; len++)
		all_words(ALL, len);
}

static void every_word_of_the_core(void **state)
{
	all_words(CORE, 5);
}

/* Only what never reaches the server in front of a Sync of its own may be answered by us. */
static void choose_fates(struct run *r)
{
	for (int i = 0; i < r->len; i++) {
		r->word[i].is_local = strchr("PBDC", r->word[i].letter->type) && next_random(r) % 4 == 0;
		r->word[i].is_swallowed = next_random(r) % 4 == 0;
	}
}

static void long_words_at_random(void **state)
{
	static struct run r;
	unsigned seed = 12345;
	for (int n = 0; n < 150000; n++) {
		int letters[WORD], len = 4 + (int)(seed >> 20) % (WORD - 4);
		for (int i = 0; i < len; i++) {
			seed = seed * 1103515245u + 12345u;
			letters[i] = (int)(seed >> 16) % (seed & 0x1000000 ? CORE : ALL);
		}
		spell(&r, letters, len, seed);
		choose_fates(&r);
		play(&r, PACE_RANDOM);
	}
	printf("# %lu runs, %lu ended by FATAL or doubt, %lu left in doubt\n", runs, given_up, left_doubtful);
	assert_true(given_up < runs / 2);
	assert_true(pass_count > runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_short_word_of_the_whole_alphabet),
		cmocka_unit_test(every_word_of_the_core),
		cmocka_unit_test(long_words_at_random),
	};
	return UNIT_RUN(tests);
}
