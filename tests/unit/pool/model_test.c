/*
 * All interleavings of the protocol of src/pool/queue.c on a small model: whatever the order of steps, when everything has come to rest
 * nobody waits while a server is idle, and no server is lost.
 *
 * A worker is a program counter; one step touches shared state once (or is a critical section).  Clients check out, withdraw and give back
 * whenever they like, once each.  The same search finds the lost wake-up in three protocols that are broken on purpose.
 */
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "unit.h"

#define WORKERS_MAX 3
#define CLIENTS_MAX 4

enum pc {
	REST,
	CHECKOUT_LOOK,
	CHECKOUT_POP, /* the fast path */
	JOIN,
	JOIN_LOOK, /* enqueue, then look at the own idle list */
	SCAN,
	MARK, /* look at others' idle counts, mark and ask one */
	GIVE_PUSH,
	GIVE_LOOK, /* idle++, then look at waiters */
	ASK_CLEAR,
	ASK_LOOK,
	ASK_AGAIN, /* reading an "ask" */
	DISPATCH,
	DISPATCH_PUSH,
	DISPATCH_LOOK,
};

enum client_state { OUTSIDE, BUSY, QUEUED, PROMISED, LENT, DONE };

enum fault { SOUND, LOOKS_BEFORE_GIVING, SCANS_BEFORE_JOINING, CLEARS_AFTER_LOOKING };

struct worker {
	uint8_t pc, after, client, scan;      /* after: where a dispatch returns to */
	uint8_t idle, handing, asks, parcels; /* letters by kind */
	uint8_t asked, saw_waiters;
};

struct model {
	struct worker w[WORKERS_MAX];
	uint8_t client[CLIENTS_MAX];
	uint8_t queue[CLIENTS_MAX], waiters;
};

struct shape {
	unsigned workers, clients, servers;
	uint8_t home[CLIENTS_MAX]; /* the client's worker */
	enum fault fault;
};

static struct shape shape;
static struct map seen;
static struct model *todo;
static size_t n_todo, cap_todo;
static unsigned lost;

static void visit(const struct model *m)
{
	if (map_get(&seen, slice_of(m, sizeof *m)))
		return;
	map_put(&seen, slice_of(m, sizeof *m), &shape);
	if (n_todo == cap_todo) {
		cap_todo = cap_todo ? cap_todo * 2 : 1024;
		todo = realloc(todo, cap_todo * sizeof *todo);
		assert_non_null(todo);
	}
	todo[n_todo++] = *m;
}

static void unqueue(struct model *m, unsigned at)
{
	m->waiters--;
	memmove(&m->queue[at], &m->queue[at + 1], m->waiters - at);
	m->queue[m->waiters] = 0;
}

static void go(struct worker *w, enum pc pc)
{
	w->pc = (uint8_t)pc;
	if (pc == REST)
		w->client = w->scan = w->after = w->saw_waiters = 0;
}

static void start_scan(struct worker *w)
{
	w->scan = 1;
	go(w, SCAN);
}

/* -- one step of a worker in the middle of something ------------------------------------------------ */

static void step_checkout(struct model *m, struct worker *w)
{
	if (w->pc == CHECKOUT_LOOK) {
		go(w, m->waiters == 0 ? CHECKOUT_POP : shape.fault == SCANS_BEFORE_JOINING ? JOIN_LOOK : JOIN);
	} else if (w->idle) {
		w->idle--;
		m->client[w->client] = LENT;
		go(w, REST);
	} else {
		go(w, shape.fault == SCANS_BEFORE_JOINING ? JOIN_LOOK : JOIN);
	}
}

static void join(struct model *m, struct worker *w)
{
	m->client[w->client] = QUEUED;
	m->queue[m->waiters++] = w->client;
}

static void step_join(struct model *m, struct worker *w)
{
	bool is_broken = shape.fault == SCANS_BEFORE_JOINING;
	if (w->pc == JOIN) {
		join(m, w);
		go(w, is_broken ? REST : JOIN_LOOK);
	} else if (w->idle && !is_broken) {
		w->idle--;
		w->handing++;
		go(w, REST);
	} else {
		start_scan(w);
	}
}

static void end_scan(struct worker *w)
{
	go(w, shape.fault == SCANS_BEFORE_JOINING && !w->saw_waiters ? JOIN : REST);
}

static void step_scan(struct model *m, unsigned me)
{
	struct worker *w = &m->w[me], *other = &m->w[(me + w->scan) % shape.workers];
	if (w->scan >= shape.workers) {
		end_scan(w);
	} else if (w->pc == SCAN && other->idle) {
		go(w, MARK);
	} else if (w->pc == MARK && !other->asked) {
		other->asked = 1;
		other->asks++;
		end_scan(w);
	} else {
		w->scan++;
		go(w, SCAN);
	}
}

static void hand_if(struct worker *w, bool somebody_waits)
{
	if (somebody_waits) {
		w->idle--;
		w->handing++;
	}
	go(w, REST);
}

static void step_give(struct model *m, struct worker *w)
{
	bool is_broken = shape.fault == LOOKS_BEFORE_GIVING;
	if (w->pc == GIVE_PUSH) {
		w->idle++;
		m->client[w->client] = DONE;
		if (is_broken)
			hand_if(w, w->saw_waiters);
		else
			go(w, GIVE_LOOK);
	} else if (is_broken) {
		w->saw_waiters = m->waiters > 0;
		go(w, GIVE_PUSH);
	} else {
		hand_if(w, m->waiters > 0);
	}
}

static void step_ask(struct model *m, struct worker *w)
{
	bool is_broken = shape.fault == CLEARS_AFTER_LOOKING;
	if (w->pc == ASK_CLEAR) {
		w->asked = 0;
		go(w, is_broken ? REST : ASK_LOOK);
	} else if (w->pc == ASK_LOOK && m->waiters && w->idle) {
		w->idle--;
		w->after = ASK_LOOK;
		go(w, DISPATCH);
	} else if (w->pc == ASK_LOOK) {
		go(w, ASK_AGAIN);
	} else if (m->waiters && !is_broken) {
		w->saw_waiters = 1;
		start_scan(w);
	} else {
		go(w, is_broken ? ASK_CLEAR : REST);
	}
}

static void serve(struct model *m, unsigned me)
{
	unsigned c = m->queue[0], home = shape.home[c];
	unqueue(m, 0);
	m->client[c] = home == me ? LENT : PROMISED;
	m->w[home].parcels += home != me;
	go(&m->w[me], (enum pc)m->w[me].after);
}

static void step_dispatch(struct model *m, unsigned me)
{
	struct worker *w = &m->w[me];
	if (w->pc == DISPATCH) {
		if (m->waiters)
			serve(m, me);
		else
			go(w, DISPATCH_PUSH);
	} else if (w->pc == DISPATCH_PUSH) {
		w->idle++;
		go(w, DISPATCH_LOOK);
	} else if (m->waiters) {
		w->idle--;
		go(w, DISPATCH);
	} else {
		go(w, (enum pc)w->after);
	}
}

static void step(struct model *m, unsigned me)
{
	struct worker *w = &m->w[me];
	switch ((enum pc)w->pc) {
	case CHECKOUT_LOOK:
	case CHECKOUT_POP:
		step_checkout(m, w);
		break;
	case JOIN:
	case JOIN_LOOK:
		step_join(m, w);
		break;
	case SCAN:
	case MARK:
		step_scan(m, me);
		break;
	case GIVE_PUSH:
	case GIVE_LOOK:
		step_give(m, w);
		break;
	case ASK_CLEAR:
	case ASK_LOOK:
	case ASK_AGAIN:
		step_ask(m, w);
		break;
	case DISPATCH:
	case DISPATCH_PUSH:
	case DISPATCH_LOOK:
		step_dispatch(m, me);
		break;
	case REST:
		fail();
	}
	visit(m);
}

/* -- what a worker at rest may begin ---------------------------------------------------------------- */

static void withdraw(struct model *m, unsigned c)
{
	for (unsigned at = 0; at < m->waiters; at++)
		if (m->queue[at] == c) {
			unqueue(m, at);
			break;
		}
	m->client[c] = DONE;
}

static void begin_client(struct model m, unsigned c)
{
	struct worker *w = &m.w[shape.home[c]];
	uint8_t was = m.client[c];
	if (was == QUEUED || was == PROMISED) {
		withdraw(&m, c);
	} else if (was == OUTSIDE || was == LENT) {
		w->client = (uint8_t)c;
		go(w, was == OUTSIDE ? CHECKOUT_LOOK : shape.fault == LOOKS_BEFORE_GIVING ? GIVE_LOOK : GIVE_PUSH);
		m.client[c] = BUSY;
	} else {
		return;
	}
	visit(&m);
}

static void begin_handing(struct model m, unsigned me)
{
	if (!m.w[me].handing)
		return;
	m.w[me].handing--;
	go(&m.w[me], DISPATCH);
	visit(&m);
}

static void begin_ask(struct model m, unsigned me)
{
	if (!m.w[me].asks)
		return;
	m.w[me].asks--;
	go(&m.w[me], shape.fault == CLEARS_AFTER_LOOKING ? ASK_LOOK : ASK_CLEAR);
	visit(&m);
}

static int promised(const struct model *m, unsigned me)
{
	for (unsigned c = 0; c < shape.clients; c++)
		if (m->client[c] == PROMISED && shape.home[c] == me)
			return (int)c;
	return -1;
}

static void begin_parcel(struct model m, unsigned me)
{
	if (!m.w[me].parcels)
		return;
	int c = promised(&m, me);
	m.w[me].parcels--;
	if (c >= 0)
		m.client[c] = LENT;
	else
		go(&m.w[me], DISPATCH);
	visit(&m);
}

/* -- the search ------------------------------------------------------------------------------------- */

static unsigned count_servers(const struct model *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < shape.workers; i++) {
		const struct worker *w = &m->w[i];
		n += w->idle + w->handing + w->parcels + (w->pc == DISPATCH || w->pc == DISPATCH_PUSH);
		n += w->pc == GIVE_PUSH || (w->pc == GIVE_LOOK && shape.fault == LOOKS_BEFORE_GIVING);
	}
	for (unsigned c = 0; c < shape.clients; c++)
		n += m->client[c] == LENT;
	return n;
}

static bool is_at_rest(const struct model *m)
{
	for (unsigned i = 0; i < shape.workers; i++)
		if (m->w[i].pc != REST || m->w[i].handing || m->w[i].asks || m->w[i].parcels)
			return false;
	return true;
}

static void check(const struct model *m)
{
	unsigned idle = 0;
	assert_int_equal(count_servers(m), shape.servers);
	if (!is_at_rest(m))
		return;
	for (unsigned i = 0; i < shape.workers; i++) {
		idle += m->w[i].idle;
		assert_int_equal(promised(m, i), -1);
	}
	lost += m->waiters && idle;
}

static void expand(const struct model *m)
{
	for (unsigned me = 0; me < shape.workers; me++) {
		struct model next = *m;
		if (m->w[me].pc != REST) {
			step(&next, me);
			continue;
		}
		begin_handing(next, me);
		begin_ask(next, me);
		begin_parcel(next, me);
	}
	for (unsigned c = 0; c < shape.clients; c++)
		if (m->w[shape.home[c]].pc == REST)
			begin_client(*m, c);
}

/* Returns how many states were seen. */
static uint32_t search(struct shape with, const uint8_t idle[WORKERS_MAX])
{
	struct model m;
	memset(&m, 0, sizeof m);
	hash_init();
	shape = with;
	lost = 0;
	n_todo = 0;
	for (unsigned i = 0; i < shape.workers; i++) {
		m.w[i].idle = idle[i];
		shape.servers += idle[i];
	}
	visit(&m);
	while (n_todo) {
		struct model at = todo[--n_todo];
		check(&at);
		expand(&at);
	}
	uint32_t states = map_len(&seen);
	map_fini(&seen);
	free(todo);
	todo = NULL;
	cap_todo = 0;
	return states;
}

static void two_workers_two_servers_four_clients(void **state)
{
	const struct shape s = { .workers = 2, .clients = 4, .home = { 0, 0, 1, 1 } };
	assert_true(search(s, (uint8_t[]){ 1, 1, 0 }) > 1000);
	assert_int_equal(lost, 0);
	search(s, (uint8_t[]){ 2, 0, 0 });
	assert_int_equal(lost, 0);
	search(s, (uint8_t[]){ 0, 1, 0 });
	assert_int_equal(lost, 0);
}

static void three_workers_two_servers_three_clients(void **state)
{
	const struct shape s = { .workers = 3, .clients = 3, .home = { 0, 1, 2 } };
	search(s, (uint8_t[]){ 1, 1, 0 });
	assert_int_equal(lost, 0);
	search(s, (uint8_t[]){ 2, 0, 0 });
	assert_int_equal(lost, 0);
	search(s, (uint8_t[]){ 1, 0, 0 });
	assert_int_equal(lost, 0);
}

/* Two wait in one worker while the idle ones are in the two others: one letter must reach both. */
static void three_workers_and_waiters_in_one(void **state)
{
	const struct shape s = { .workers = 3, .clients = 3, .home = { 0, 0, 1 } };
	search(s, (uint8_t[]){ 0, 1, 1 });
	assert_int_equal(lost, 0);
}

static void broken_protocols_are_found_out(void **state)
{
	struct shape s = { .workers = 2, .clients = 3, .home = { 0, 1, 1 } };
	s.fault = LOOKS_BEFORE_GIVING;
	search(s, (uint8_t[]){ 1, 0, 0 });
	assert_true(lost > 0);
	s.fault = SCANS_BEFORE_JOINING;
	search(s, (uint8_t[]){ 1, 0, 0 });
	assert_true(lost > 0);
	s.fault = CLEARS_AFTER_LOOKING;
	search(s, (uint8_t[]){ 1, 0, 0 });
	assert_true(lost > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_workers_two_servers_four_clients),
		cmocka_unit_test(three_workers_two_servers_three_clients),
		cmocka_unit_test(three_workers_and_waiters_in_one),
		cmocka_unit_test(broken_protocols_are_found_out),
	};
	return UNIT_RUN(tests);
}
