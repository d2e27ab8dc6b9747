/*
 * ops in a world of its own: a clock, nodes that die, freeze and come back, a journal that is slow or fails, and Lunapool itself killed at any moment.
 * Thousands of orders of events; what must never be is looked at after each, and in the end, when nothing fails any more, all must be well.
 */
#include "ha/ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "unit.h"

#define NODES 3
#define EVENTS 64
#define MS US_PER_MS

static uint64_t seed;
static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

enum what { NOTHING, WRITTEN, ROUTED, ACTED, ALARM, SAMPLE };
struct event {
	uint64_t at;
	enum what what;
	uint64_t id; /* of the act; of the node */
	bool is_good;
	uint64_t life; /* of Lunapool: what was meant for one that is dead reaches nobody */
};

struct server {
	const char *name;
	bool is_alive, is_primary, is_frozen; /* frozen: it is not alive, and its port is taken */
	uint64_t timeline, lsn;
	bool fails; /* its promotions do */
	bool lies;  /* … make it writable on the timeline that it was on, and say that they are done */
	unsigned promotions;
	uint64_t next_timeline, streams_at; /* told to follow, it does so from then on; 0: it was not */
	unsigned told;                      /* to follow, and it said that it would */
	unsigned restored, hooks;           /* by a rejoin or a recovery; how often one was begun */
};

static struct world {
	uint64_t now, life, seed;
	struct event events[EVENTS];
	struct server servers[NODES];
	struct ops_node seen[NODES];
	uint64_t lost_since[NODES];
	struct ops_picture picture;
	struct record durable, writing;
	bool is_writing;
	struct ops *ops;
	/* routes: as ordered, as seen by everybody */
	bool has_cut[NODES], is_cut[NODES];
	unsigned disk_fails; /* of a hundred */
	const char *until;   /* a step at which Lunapool is killed; NULL: by chance only */
	unsigned kills, acts;
	uint64_t receiver_us; /* until who was told to follow streams */
	uint64_t busy_until;  /* of who is drained */
	/* the policy */
	enum ops_returning returning;
	bool has_hooks;
	uint64_t hook_us;               /* that rejoin takes; 0: a while */
	unsigned hook_fails, hook_lies; /* of a hundred */
	unsigned asked, hooks_run;
	enum ops_condition asked_of;
	uint64_t written; /* by the primary, as it said last */
	const char *sync; /* synchronous_standby_names there; who has one calls himself by his name */
	uint64_t greatest_epoch;
	/* steps of hooks: of which operation which were found in the record */
	bool takes_steps, has_step[3];
	uint64_t steps_of;
	unsigned steps;
} w;

static void later(uint64_t after, enum what what, uint64_t id, bool is_good)
{
	for (int i = 0; i < EVENTS; i++)
		if (w.events[i].what == NOTHING) {
			w.events[i] = (struct event){ w.now + after, what, id, is_good, w.life };
			return;
		}
	fail_msg("too many events");
}

static int index_of(const char *name)
{
	for (int i = 0; i < NODES; i++)
		if (strcmp(w.servers[i].name, name) == 0)
			return i;
	return -1;
}

/* ---- the environment */

static uint64_t on_now(void *arg)
{
	return w.now;
}

static void on_alarm(void *arg, uint64_t after_us)
{
	for (int i = 0; i < EVENTS; i++)
		if (w.events[i].what == ALARM)
			w.events[i].what = NOTHING;
	later(after_us, ALARM, 0, true);
}

static void on_propose(void *arg, uint64_t expected_epoch, const struct record *next)
{
	assert_false(w.is_writing);
	assert_int_equal(expected_epoch, w.durable.epoch);
	assert_true(next->epoch == w.durable.epoch || next->epoch == w.durable.epoch + 1);
	w.is_writing = true;
	w.writing = *next;
	later(rnd(10) ? rnd(5) * MS : rnd(400) * MS, WRITTEN, 0, rnd(100) >= w.disk_fails);
}

static void on_route(void *arg)
{
	for (int i = 0; i < NODES; i++)
		w.has_cut[i] = ops_is_cut(w.ops, w.servers[i].name);
	later(rnd(5) * MS, ROUTED, 0, true);
}

static unsigned on_busy(void *arg, const char *node)
{
	if (w.durable.op.kind == OPERATION_DRAIN) {
		assert_true(ops_is_draining(w.ops, node));
		assert_false(ops_is_cut(w.ops, node)); /* what runs there runs on */
		return w.now < w.busy_until;
	}
	return rnd(3) == 0;
}

/* Who only listens leaves when nobody else is there. */
static struct ops_rests on_rests(void *arg, const char *node)
{
	assert_int_equal(w.durable.op.kind, OPERATION_SWITCHOVER);
	assert_int_not_equal(ops_parting(w.ops, node), OPS_STAYS);
	assert_false(ops_is_cut(w.ops, node));
	return (struct ops_rests){ .keep = rnd(2), .hear = rnd(2) };
}

static void on_look(void *arg)
{
	for (int i = 0; i < EVENTS; i++) /* as often as it is asked, a node answers once at a time */
		if (w.events[i].what == SAMPLE)
			return;
	for (uint64_t i = 0; i < NODES; i++)
		later(1 + rnd(15) * MS, SAMPLE, i, true);
}

static const struct ops_picture *on_picture(void *arg)
{
	int primary = index_of(ops_primary(w.ops)), writable = -1, n = 0;
	for (int i = 0; i < NODES; i++)
		if (w.seen[i].guard.has_answered && !w.seen[i].guard.in_recovery &&
		    !record_is_barred(ops_record(w.ops), w.servers[i].name)) {
			writable = writable == primary && n ? writable : i;
			n++;
		}
	w.picture = (struct ops_picture){ .n_nodes = NODES, .nodes = w.seen, .story = "it is gone", .system_id = 7 };
	w.picture.writable = n == 1 || writable == primary ? writable : -1;
	w.picture.written = w.written;
	w.picture.sync = w.sync;
	w.picture.is_lost = primary >= 0 && w.lost_since[primary] && w.now - w.lost_since[primary] >= 60 * MS;
	return &w.picture;
}

/* Its data are being changed: it is down, and of no use, until that has ended. */
static void on_hook(struct server *s, uint64_t id, enum ops_act what)
{
	const struct record_operation *op = &w.durable.op;
	assert_int_equal(op->kind, what == OPS_ACT_REJOIN ? OPERATION_REJOIN : OPERATION_RECOVER);
	assert_string_equal(op->target, s->name);
	assert_true(record_is_barred(&w.durable, s->name));
	assert_string_not_equal(w.durable.primary, s->name);
	w.hooks_run++;
	s->hooks++;
	s->is_alive = s->is_primary = false;
	later(w.hook_us ? w.hook_us : rnd(2000) * MS, ACTED, id, rnd(100) >= w.hook_fails);
}

static void on_restored(struct server *s)
{
	if (rnd(100) < w.hook_lies)
		return;
	s->is_alive = true;
	s->restored++;
	s->timeline = 1;
	s->next_timeline = w.servers[index_of(w.durable.primary)].timeline;
	s->streams_at = w.now + w.receiver_us;
}

static bool on_can(void *arg, enum ops_act what)
{
	return w.has_hooks;
}

static enum ops_returning on_returning(void *arg, const struct ops_returned *it)
{
	const struct server *s = &w.servers[index_of(it->node)];
	assert_true(record_is_barred(&w.durable, it->node));
	assert_true(it->is != OPS_AWAY);
	if (s->is_alive && it->is != OPS_DOWN)
		assert_int_equal(it->is, s->is_primary ? OPS_WRITABLE : OPS_STANDBY);
	w.asked++;
	w.asked_of = it->is;
	return w.returning;
}

static void on_act(void *arg, uint64_t id, enum ops_act what, const char *node, const char *primary, uint64_t timeout_us)
{
	struct server *s = &w.servers[index_of(node)];
	w.acts++;
	if (what == OPS_ACT_PROMOTE) {
		const struct record_operation *op = &w.durable.op;
		assert_true(op->id && op->has_no_return); /* I13: it is remembered before it is done */
		assert_string_equal(op->target, node);
		assert_true(w.is_cut[index_of(op->source)]); /* I2: nobody has a connection to the old one */
	}
	if (what == OPS_ACT_SETTLE) {
		assert_true(w.is_cut[index_of(node)]);
		later(rnd(20) * MS, ACTED, id, s->is_alive && rnd(10));
		return;
	}
	if (what == OPS_ACT_REJOIN || what == OPS_ACT_RECOVER) {
		on_hook(s, id, what);
		return;
	}
	if (s->lies && s->is_alive && what == OPS_ACT_PROMOTE) {
		s->is_primary = true;
		later(rnd(40) * MS, ACTED, id, true);
		return;
	}
	bool happens = s->is_alive && !s->fails && (what == OPS_ACT_FOLLOW || rnd(8));
	if (happens && what == OPS_ACT_PROMOTE && !s->is_primary) {
		s->is_primary = true;
		s->timeline++;
		s->promotions++;
	}
	bool says_so = happens ? rnd(6) > 0 : rnd(6) == 0; /* it may say otherwise */
	if (happens && what == OPS_ACT_FOLLOW) {
		s->next_timeline = w.servers[index_of(primary)].timeline;
		s->streams_at = w.now + w.receiver_us;
		s->told += says_so;
	}
	later(rnd(40) * MS, ACTED, id, says_so);
}

static void on_forget_act(void *arg, uint64_t id)
{
	for (int i = 0; i < EVENTS; i++)
		if (w.events[i].what == ACTED && w.events[i].id == id)
			w.events[i].what = NOTHING;
}

/* ---- Lunapool's life */

static const struct ops_env env = { .now_us = on_now,
	                                .wall_s = on_now,
	                                .alarm = on_alarm,
	                                .propose = on_propose,
	                                .route = on_route,
	                                .busy = on_busy,
	                                .rests = on_rests,
	                                .look = on_look,
	                                .picture = on_picture,
	                                .act = on_act,
	                                .forget_act = on_forget_act,
	                                .can = on_can,
	                                .returning = on_returning };
static struct ops_conf conf;
static const struct ops_conf usual = { .is_automatic = true,
	                                   .promote_timeout_us = 2 * US_PER_S,
	                                   .switchover_timeout_us = US_PER_S,
	                                   .rejoin_timeout_us = 3600 * US_PER_S,
	                                   .recover_timeout_us = 3600 * US_PER_S,
	                                   .drain_timeout_us = 10 * US_PER_S };

static void born(void)
{
	memset(w.seen, 0, sizeof w.seen);
	for (int i = 0; i < NODES; i++) {
		w.seen[i].guard = (struct guard_node){ .name = w.servers[i].name, .alias = "", .priority = 100 };
		w.is_cut[i] = true; /* who is born has no connections */
		w.lost_since[i] = 0;
	}
	w.ops = ops_new(&env, &conf, &w.durable);
	later(MS, SAMPLE, 0, true);
	later(MS, SAMPLE, 1, true);
	later(MS, SAMPLE, 2, true);
}

/* What was being written may have got there, or not. */
static void die_and_be_born(void)
{
	ops_free(w.ops);
	if (w.is_writing && rnd(2))
		w.durable = w.writing;
	w.is_writing = false;
	w.life++;
	w.kills++;
	for (int i = 0; i < EVENTS; i++)
		w.events[i].what = NOTHING;
	born();
}

/* ---- what happens */

static void sample(int i)
{
	struct ops_node *n = &w.seen[i];
	struct server *s = &w.servers[i];
	if (s->next_timeline && w.now >= s->streams_at) {
		s->timeline = s->next_timeline;
		s->next_timeline = 0;
	}
	if (!s->is_alive) {
		n->guard.has_answered = false;
		n->failed_us = w.now;
		n->is_down = !s->is_frozen;
		w.lost_since[i] = w.lost_since[i] ? w.lost_since[i] : w.now;
	} else {
		w.lost_since[i] = 0;
		n->is_down = false;
		n->asked_us = w.now;
		n->guard = (struct guard_node){ .name = s->name,
			                            .alias = w.sync ? s->name : "",
			                            .priority = 100,
			                            .has_answered = true,
			                            .in_recovery = !s->is_primary,
			                            .system_id = 7,
			                            .timeline = s->timeline,
			                            .received = s->lsn };
		int primary = index_of(w.durable.primary);
		n->is_streaming =
		    !s->is_primary && primary >= 0 && w.servers[primary].is_alive && s->timeline == w.servers[primary].timeline;
	}
	ops_go_on(w.ops);
}

static void happen(const struct event *e)
{
	switch (e->what) {
	case WRITTEN:
		w.is_writing = false;
		if (e->is_good)
			w.durable = w.writing;
		ops_on_record(w.ops, e->is_good ? RECORD_COMMITTED : RECORD_LOST,
		              e->is_good ? NULL : &(struct err){ .text = "the disk is full" });
		break;
	case ROUTED:
		memcpy(w.is_cut, w.has_cut, sizeof w.is_cut);
		ops_on_routed(w.ops);
		break;
	case ACTED:
		if (e->is_good && (w.durable.op.kind == OPERATION_REJOIN || w.durable.op.kind == OPERATION_RECOVER) &&
		    w.durable.op.step == STEP_WORK)
			on_restored(&w.servers[index_of(w.durable.op.target)]);
		ops_on_act(w.ops, e->id, e->is_good, e->is_good ? NULL : &(struct err){ .text = "it did not work" });
		break;
	case ALARM:
		ops_go_on(w.ops);
		break;
	case SAMPLE:
		sample((int)e->id);
		break;
	default:
		break;
	}
}

static void look_at_what_must_be(void)
{
	const struct record *r = ops_record(w.ops);
	assert_true(w.durable.epoch >= w.greatest_epoch); /* I11 */
	w.greatest_epoch = w.durable.epoch;
	assert_string_equal(r->primary, w.durable.primary); /* nobody acts on what is not committed */
	assert_int_equal(r->epoch, w.durable.epoch);
	if (*r->primary && !ops_holds(w.ops))
		assert_false(record_is_barred(r, r->primary)); /* I8 */
	if (r->op.id && (r->op.kind == OPERATION_REJOIN || r->op.kind == OPERATION_RECOVER)) {
		assert_true(ops_is_cut(w.ops, r->op.target)); /* I8 */
		assert_string_not_equal(r->op.target, r->primary);
		assert_false(ops_holds(w.ops)); /* nobody waits for it */
	}
	for (int i = 0; i < NODES; i++) /* I1: who is not the recorded primary and was it, is cut off once another one is */
		if (r->op.id && r->op.step == STEP_FOLLOW && strcmp(r->op.source, w.servers[i].name) == 0)
			assert_true(ops_is_cut(w.ops, w.servers[i].name));
}

static bool next(void)
{
	int first = -1;
	for (int i = 0; i < EVENTS; i++)
		if (w.events[i].what != NOTHING && (first < 0 || w.events[i].at < w.events[first].at))
			first = i;
	if (first < 0)
		return false;
	if (w.events[first].at > w.now + 200 * MS) { /* nodes are asked every now and then */
		w.now += 200 * MS;
		on_look(NULL);
		return true;
	}
	struct event e = w.events[first];
	w.events[first].what = NOTHING;
	w.now = e.at > w.now ? e.at : w.now;
	happen(&e);
	look_at_what_must_be();
	return true;
}

/* A hook has finished something now and then; what was recorded of it once stays, whoever is killed, until its operation is over. */
static void take_steps(void)
{
	static const char *const keys[] = { "promote a one", "promote a two", "follow_primary b one" };
	uint64_t operation = ops_record(w.ops)->op.id;
	struct err err;
	if (operation != w.steps_of)
		memset(w.has_step, 0, sizeof w.has_step);
	w.steps_of = operation;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *known = ops_step(w.ops, operation, keys[i]);
		if (known)
			assert_string_equal(known, keys[i]);
		assert_true(known || !w.has_step[i]);
		w.steps += known && !w.has_step[i];
		w.has_step[i] = known != NULL;
		if (rnd(30) == 0 && !ops_finish_step(w.ops, operation, keys[i], keys[i], &err))
			assert_true(strcmp(err.sqlstate, operation ? "55006" : "55000") == 0);
		if (ops_record(w.ops)->op.id != operation)
			return;
	}
}

static void run(uint64_t us, bool with_faults)
{
	for (uint64_t until = w.now + us; w.now < until;) {
		if (!next() || rnd(20) == 0)
			on_look(NULL);
		if (w.takes_steps)
			take_steps();
		const struct record_operation *op = &ops_record(w.ops)->op;
		if (with_faults && w.until && op->id && strcmp(operation_step_word(op->step), w.until) == 0) {
			w.until = NULL;
			die_and_be_born();
		}
		if (with_faults && rnd(120) == 0)
			die_and_be_born();
	}
}

static void begin(uint64_t s)
{
	static const char *const names[NODES] = { "a", "b", "c" };
	seed = s;
	conf = usual;
	w = (struct world){ .now = US_PER_S, .seed = s };
	for (int i = 0; i < NODES; i++)
		w.servers[i] = (struct server){ .name = names[i], .is_alive = true, .is_primary = i == 0, .timeline = 1, .lsn = 1000 };
	snprintf(w.durable.cluster, sizeof w.durable.cluster, "main");
	born();
	run(US_PER_S, false);
	assert_string_equal(w.durable.primary, "a");
	assert_int_equal(w.durable.epoch, 1);
}

static unsigned promotions(void)
{
	unsigned n = 0;
	for (int i = 0; i < NODES; i++)
		n += w.servers[i].promotions;
	return n;
}

/* Nothing fails any more: the operation has ended, and who is recorded can be written to. */
static void expect_all_well(void)
{
	w.disk_fails = 0;
	for (int i = 0; i < NODES; i++)
		w.servers[i].fails = false;
	run(30 * US_PER_S, false);
	for (int i = 0; i < 100 && w.durable.op.kind == OPERATION_REJOIN; i++)
		run(US_PER_S, false);
	int p = index_of(w.durable.primary);
	if (w.durable.op.id || !w.servers[p].is_alive || !w.servers[p].is_primary)
		fail_msg("%llu: operation %llu at %s (%s), primary %s", (unsigned long long)w.seed, (unsigned long long)w.durable.op.id,
		         operation_step_word(w.durable.op.step), ops_stuck(w.ops) ? ops_stuck(w.ops) : "-", w.durable.primary);
	ops_free(w.ops);
}

static void expect_promoted_once(const char *name)
{
	expect_all_well();
	assert_int_equal(w.durable.epoch, 2);
	assert_int_equal(promotions(), 1);
	if (name && w.durable.past[0].attempt == 1)
		assert_string_equal(w.durable.primary, name);
}

static void a_death_is_followed_by_one_promotion(void **state)
{
	for (uint64_t s = 1; s <= 300; s++) {
		begin(s);
		w.servers[0].is_alive = false;
		for (int i = 1; i < NODES; i++)
			w.servers[i].lsn += rnd(2) * 8;
		expect_all_well();
		assert_int_equal(w.durable.epoch, 2);
		assert_int_equal(promotions(), 1);
		assert_true(record_is_barred(&w.durable, "a"));
		const struct server *p = &w.servers[index_of(w.durable.primary)];
		if (w.durable.past[0].attempt == 1) /* else the best one could not be promoted */
			assert_true(p->lsn >= w.servers[1].lsn && p->lsn >= w.servers[2].lsn);
		assert_int_equal(w.durable.past[0].end, END_DONE);
	}
}

static void what_hooks_have_finished_is_not_forgotten(void **state)
{
	unsigned steps = 0;
	for (uint64_t s = 1; s <= 300; s++) {
		begin(s);
		w.takes_steps = true;
		w.disk_fails = s % 3 ? 0 : 20;
		w.servers[0].is_alive = false;
		run(5 * US_PER_S, true);
		w.disk_fails = 0;
		steps += w.steps;
		expect_all_well();
		assert_int_equal(promotions(), 1);
		assert_int_equal(w.durable.steps_len, 0);
	}
	assert_true(steps > 100);
}

/* It takes a while until its receiver tries again: that is no reason to do all that follow_primary() does once more. */
static void who_has_been_told_is_not_told_again_at_once(void **state)
{
	for (uint64_t s = 1; s <= 100; s++) {
		begin(s);
		w.receiver_us = 5 * US_PER_S;
		w.servers[0].is_alive = false;
		expect_all_well();
		for (int i = 0; i < NODES; i++)
			assert_true(w.servers[i].told <= 1);
	}
}

/* I13: at each step that is recorded, and anywhere else. */
static void whoever_is_killed_goes_on(void **state)
{
	static const char *const steps[] = { "confirm", "choose", "promote", "follow", NULL };
	for (uint64_t s = 1; s <= 300; s++) {
		begin(s);
		w.until = steps[s % ARRAY_LEN(steps)];
		w.disk_fails = s % 3 ? 0 : 20;
		w.servers[0].is_alive = false;
		run(US_PER_S, true);
		expect_all_well();
		assert_int_equal(w.durable.epoch, 2);
		assert_int_equal(promotions(), 1);
	}
}

/* I14: a primary that is back before the point of no return goes on; behind it, it is in quarantine.  Never are two of them used. */
static void who_comes_back_is_primary_or_in_quarantine(void **state)
{
	unsigned aborted = 0, done = 0;
	for (uint64_t s = 1; s <= 300; s++) {
		begin(s);
		w.servers[0].is_alive = false;
		run(rnd(250) * MS, s % 2);
		w.servers[0].is_alive = true;
		run(US_PER_S, s % 2);
		expect_all_well();
		bool is_a = strcmp(w.durable.primary, "a") == 0;
		assert_true(is_a ? promotions() == 0 && w.durable.epoch == 1 : record_is_barred(&w.durable, "a") && w.durable.epoch == 2);
		aborted += is_a;
		done += !is_a;
	}
	assert_true(aborted > 10 && done > 10);
}

/* Whatever fails, for as long as it likes; then all is well again. */
static void anything_goes(void **state)
{
	for (uint64_t s = 1; s <= 200; s++) {
		begin(s);
		w.disk_fails = rnd(2) * 30;
		for (int i = 0; i < 30; i++) {
			struct server *one = &w.servers[rnd(NODES)];
			one->is_alive = rnd(3) > 0;
			one->fails = rnd(4) == 0;
			run(rnd(2) ? rnd(300) * MS : rnd(3) * US_PER_S, true);
		}
		for (int i = 0; i < NODES; i++)
			w.servers[i].is_alive = true;
		expect_all_well();
	}
}

/* Row 33: the recorded one keeps.  Row 34 and a promotion by somebody else: followed if the timeline is behind the recorded one. */
static void what_others_promote(void **state)
{
	begin(1);
	w.servers[1].is_primary = true;
	w.servers[1].timeline = 2;
	expect_all_well();
	assert_string_equal(w.durable.primary, "a");
	assert_true(record_is_barred(&w.durable, "b"));
	begin(2);
	w.servers[0].is_primary = false; /* it follows already */
	w.servers[1].is_primary = true;
	w.servers[1].timeline = w.servers[0].timeline = 2;
	expect_all_well();
	assert_string_equal(w.durable.primary, "b");
	assert_int_equal(w.durable.epoch, 2);
}

static void begin_manual(uint64_t s)
{
	begin(s);
	conf.is_automatic = false;
	conf.is_manual = true;
	ops_configure(w.ops, &conf);
}

/* failover = manual: a death is told of and waits for the order, which is done once, whoever is killed meanwhile. */
static void a_manual_failover_waits_for_its_order(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 200; s++) {
		begin_manual(s);
		assert_int_equal(ops_order(w.ops, OPS_ORDER_FAILOVER, "", "somebody", &err), 0);
		assert_non_null(strstr(err.text, "SWITCHOVER"));
		w.servers[0].is_alive = false;
		run(5 * US_PER_S, s % 2);
		run(US_PER_S, false);
		assert_int_equal(promotions(), 0);
		assert_int_equal(w.durable.last_id, 0);
		assert_non_null(strstr(ops_stuck(w.ops), "FAILOVER is awaited"));
		assert_int_equal(ops_order(w.ops, OPS_ORDER_FAILOVER, "a", "somebody", &err), 0);
		uint64_t order = ops_order(w.ops, OPS_ORDER_FAILOVER, s % 3 ? "c" : "", "somebody", &err);
		assert_int_not_equal(order, 0);
		run(US_PER_S, s % 2);
		unsigned kills = w.kills;
		expect_promoted_once(s % 3 ? "c" : NULL);
		assert_true(kills || strstr(w.durable.past[0].why, "by order of somebody: it is gone"));
	}
}

/* I5: what max_loss forbids an order may allow, before it has begun and while it waits; nothing else. */
static void an_order_may_allow_a_loss(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 100; s++) {
		if (s % 2)
			begin(s);
		else
			begin_manual(s);
		conf.max_loss = 100;
		ops_configure(w.ops, &conf);
		w.written = 5000;
		w.servers[0].is_alive = false;
		run(5 * US_PER_S, false);
		assert_int_equal(promotions(), 0);
		assert_int_equal(ops_order(w.ops, OPS_ORDER_FAILOVER, "", "somebody", &err), 0);
		assert_non_null(strstr(err.text, "max_loss is 100"));
		uint64_t order = ops_order(w.ops, OPS_ORDER_FAILOVER_WITH_LOSS, "", "somebody", &err);
		assert_int_not_equal(order, 0);
		run(2 * US_PER_S, false);
		expect_promoted_once(NULL);
		assert_true(w.durable.past[0].allows_loss);
		assert_non_null(strstr(w.durable.past[0].why, "by order of somebody, data loss allowed"));
	}
}

static void expect_order(enum ops_order what, const char *node, const char *refusal)
{
	struct err err = { .text = "" };
	uint64_t order = ops_order(w.ops, what, node, "somebody", &err);
	if ((order == 0) != (refusal != NULL) || (refusal && !strstr(err.text, refusal)))
		fail_msg("%llu: %s", (unsigned long long)w.seed, err.text);
}

/* Row 39: the primary and the synchronous standby are lost; who is named with the loss takes its place, also where a promotion has failed before. */
static void a_named_node_may_lack_what_was_acknowledged(void **state)
{
	unsigned joined = 0;
	for (uint64_t s = 1; s <= 120; s++) {
		begin(s);
		if (s % 3 == 0)
			begin_manual(s);
		w.sync = "b";
		run(US_PER_S, false);
		assert_string_equal(w.durable.sync, "b");
		w.servers[1].fails = true;
		w.servers[1].is_alive = s % 2; /* else it dies when it is being promoted, in vain */
		w.servers[0].is_alive = false;
		run(US_PER_S / 4, false);
		if (s % 3 == 0 && s % 2)
			expect_order(OPS_ORDER_FAILOVER, "", NULL);
		for (int i = 0; i < 3000 && s % 2 && !w.durable.op.has_no_return; i++)
			run(MS, false);
		w.servers[1].is_alive = false;
		run(6 * US_PER_S, false);
		joined += w.durable.op.has_no_return;
		assert_int_equal(promotions(), 0);
		expect_order(OPS_ORDER_FAILOVER, "", "acknowledged may be");
		expect_order(OPS_ORDER_FAILOVER, "c", "acknowledged may be");
		expect_order(OPS_ORDER_FAILOVER_WITH_LOSS, "", "acknowledged may be");
		expect_order(OPS_ORDER_FAILOVER_WITH_LOSS, "c", NULL);
		expect_promoted_once("c");
		assert_string_equal(w.durable.primary, "c");
		assert_non_null(strstr(w.durable.past[0].judged, "c: commits that were acknowledged may be lost"));
		assert_true(w.durable.past[0].allows_loss);
	}
	assert_true(joined > 20);
}

/* A promotion begins a timeline: who is writable on the recorded one was none.  Another takes its place, or the old primary goes on. */
static void who_is_writable_on_the_recorded_timeline_was_not_promoted(void **state)
{
	for (uint64_t s = 1; s <= 120; s++) {
		begin(s);
		w.servers[1].lies = true;
		w.servers[1].lsn += 8;
		w.servers[2].lies = s % 2;
		w.servers[0].is_alive = false;
		run(8 * US_PER_S, s % 3 == 0);
		w.servers[0].is_alive = s % 2;
		expect_all_well();
		assert_string_equal(w.durable.primary, s % 2 ? "a" : "c");
		assert_int_equal(w.durable.epoch, s % 2 ? 1 : 2);
		assert_int_equal(w.durable.past[0].end, s % 2 ? END_ABORTED : END_DONE);
		assert_true(record_is_barred(&w.durable, "b"));
		assert_non_null(strstr(record_node(&w.durable, "b")->why, "that is no promotion"));
	}
}

/* Who has given the order has an answer. */
static void an_order_in_vain_is_answered(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 40; s++) {
		begin_manual(s);
		w.servers[1].lies = w.servers[2].lies = true;
		w.servers[0].is_alive = false;
		run(2 * US_PER_S, false);
		uint64_t order = ops_order(w.ops, OPS_ORDER_FAILOVER, s % 2 ? "" : "b", "somebody", &err);
		for (int i = 0; i < 20 && ops_answer(w.ops, order, &err) == OPS_WAITS; i++)
			run(US_PER_S, false);
		assert_int_equal(ops_answer(w.ops, order, &err), OPS_FAILED);
		assert_non_null(strstr(err.text, "no node may take its place"));
		assert_int_equal(w.durable.epoch, 1);
		ops_free(w.ops);
	}
}

/* The one who was named dies on the way: before the point of no return nobody else is taken in his place. */
static void nobody_else_than_the_named_one(void **state)
{
	struct err err;
	unsigned aborted = 0;
	for (uint64_t s = 1; s <= 100; s++) {
		begin_manual(s);
		w.servers[0].is_alive = false;
		run(2 * US_PER_S, false);
		uint64_t order = ops_order(w.ops, OPS_ORDER_FAILOVER, "b", "somebody", &err);
		assert_int_not_equal(order, 0);
		w.servers[1].is_alive = false;
		run(5 * US_PER_S, false);
		const struct record_operation *op = &w.durable.past[0];
		if (!w.durable.op.id && op->end == END_ABORTED) {
			assert_int_equal(promotions(), 0);
			assert_int_equal(ops_answer(w.ops, order, &err), OPS_FAILED);
			assert_non_null(strstr(err.text, "b cannot be primary"));
			aborted++;
		}
		ops_free(w.ops);
	}
	assert_true(aborted > 50);
}

/* Ordered, with or without faults: it is done, once, or nothing has happened. */
static void a_switchover_is_whole_or_nothing(void **state)
{
	unsigned done = 0, not_done = 0;
	struct err err;
	for (uint64_t s = 1; s <= 300; s++) {
		begin(s);
		uint64_t order = ops_order(w.ops, OPS_ORDER_SWITCHOVER, s % 2 ? "b" : "", "somebody", &err);
		assert_true(order != 0);
		assert_int_equal(ops_order(w.ops, OPS_ORDER_DETACH, "c", "somebody", &err), 0); /* I12 */
		w.disk_fails = s % 5 ? 0 : 20;
		w.servers[1].fails = s % 7 == 0;
		run(US_PER_S * 3, s % 3 == 0);
		if (!w.kills && !w.durable.op.id && w.durable.last_id)
			assert_int_equal(ops_answer(w.ops, order, &err), w.durable.past[0].end == END_DONE ? OPS_DONE : OPS_FAILED);
		expect_all_well();
		bool is_a = strcmp(w.durable.primary, "a") == 0;
		assert_int_equal(w.durable.epoch, is_a ? 1 : 2);
		assert_true(promotions() <= 1 || w.durable.past[0].attempt > 1);
		assert_true(!is_a || promotions() == 0);
		done += !is_a;
		not_done += is_a;
	}
	assert_true(done > 100 && not_done > 20);
}

/* I28. */
static void failovers_are_damped(void **state)
{
	begin(3);
	for (int i = 0; i < 5; i++) {
		int p = index_of(w.durable.primary);
		w.servers[p].is_alive = false;
		run(20 * US_PER_S, false);
		for (int k = 0; k < NODES; k++) { /* rebuilt from the new primary by somebody */
			int is = index_of(w.durable.primary);
			w.servers[k].is_alive = w.servers[k].is_alive || is != p;
			if (k != is && is != p) {
				w.servers[k].is_primary = false;
				w.servers[k].timeline = w.servers[is].timeline;
			}
		}
		run(5 * US_PER_S, false);
	}
	assert_int_equal(w.durable.epoch, 4);
	run(700 * US_PER_S, false);
	assert_int_equal(w.durable.epoch, 5);
	ops_free(w.ops);
}

/* ---- nodes that come back ---- */

static void begin_with(uint64_t s, enum ops_returning returning)
{
	begin(s);
	w.returning = returning;
	w.has_hooks = true;
}

static bool has_past(enum operation_kind kind, enum operation_end end)
{
	for (size_t i = 0; i < w.durable.n_past; i++)
		if (w.durable.past[i].kind == kind && w.durable.past[i].end == end)
			return true;
	return false;
}

static void expect_restored(const char *node)
{
	int i = index_of(node);
	assert_false(record_is_barred(&w.durable, node));
	assert_true(w.servers[i].is_alive && !w.servers[i].is_primary);
	assert_int_equal(w.servers[i].timeline, w.servers[index_of(w.durable.primary)].timeline);
}

/* Down or writable, with Lunapool killed at each step or nowhere, with a disk that fails: the hook runs until it is a standby again. */
static void who_was_primary_rejoins(void **state)
{
	static const char *const steps[] = { "work", "verify", NULL, "promote", NULL };
	for (uint64_t s = 1; s <= 300; s++) {
		begin_with(s, OPS_REJOIN);
		w.receiver_us = rnd(2) * 3 * US_PER_S;
		w.until = steps[s % ARRAY_LEN(steps)];
		w.disk_fails = s % 4 ? 0 : 20;
		w.servers[0].is_alive = false;
		w.servers[0].is_frozen = s % 2;
		run(5 * US_PER_S, s % 3 > 0);
		if (s % 2 && w.durable.epoch == 2) { /* nobody touches one that is frozen */
			assert_int_equal(w.servers[0].hooks, 0);
			w.servers[0].is_alive = true;
			w.servers[0].is_frozen = false;
		}
		expect_all_well();
		assert_int_equal(w.durable.epoch, 2);
		assert_int_equal(promotions(), 1);
		if (w.durable.past[0].kind == OPERATION_REJOIN)
			assert_int_equal(w.durable.past[0].end, END_DONE);
		assert_true(has_past(OPERATION_REJOIN, END_DONE));
		expect_restored("a");
	}
}

/* Without a word from the policy, and without a hook, it stays in quarantine. */
static void who_is_not_wanted_stays_in_quarantine(void **state)
{
	for (uint64_t s = 1; s <= 60; s++) {
		begin_with(s, s % 3 == 0 ? OPS_QUARANTINE : s % 3 == 1 ? OPS_REJOIN : OPS_ATTACH);
		w.has_hooks = s % 3 != 1;
		w.servers[0].is_alive = false;
		run(5 * US_PER_S, false);
		assert_int_equal(w.asked, 1); /* it is down */
		w.servers[0].is_alive = true;
		expect_all_well();
		assert_int_equal(w.asked_of, OPS_WRITABLE);
		assert_int_equal(w.asked, 2);
		assert_int_equal(w.hooks_run, 0);
		assert_true(record_is_barred(&w.durable, "a"));
	}
}

/* Each pause is twice the one before: 5, 10, 20, 40 … s. */
static void a_rejoin_that_fails_comes_again_later_and_later(void **state)
{
	for (uint64_t s = 1; s <= 40; s++) {
		begin_with(s, OPS_REJOIN);
		w.hook_fails = s % 2 ? 100 : 0;
		w.hook_lies = 100; /* it says that it is done */
		w.servers[0].is_alive = false;
		run(s % 2 ? 80 * US_PER_S : 64 * US_PER_S, false);
		assert_in_range(w.hooks_run, 1, s % 2 ? 5 : 1);
		assert_true(s % 2 == 0 || w.hooks_run >= 4);
		run(s % 2 ? US_PER_S : 10 * US_PER_S, false);
		const struct record_node *a = record_node(&w.durable, "a");
		assert_int_equal(a->flags, RECORD_QUARANTINED);
		assert_non_null(
		    strstr(a->why, s % 2 ? "its rejoin failed, try" : "its rejoin failed, try 1: the hook says that it is done"));
		w.hook_fails = w.hook_lies = 0;
		run(200 * US_PER_S, false);
		expect_all_well();
		expect_restored("a");
	}
}

/* A failover waits for nothing: as quick as without, and the rejoin begins anew. */
static void a_failover_ends_a_rejoin(void **state)
{
	for (uint64_t s = 1; s <= 100; s++) {
		begin_with(s, OPS_REJOIN);
		w.hook_us = 3000 * US_PER_S;
		w.servers[0].is_alive = false;
		run(5 * US_PER_S, false);
		assert_int_equal(w.durable.op.kind, OPERATION_REJOIN);
		w.servers[index_of(w.durable.primary)].is_alive = false;
		for (int i = 0; i < 100 && w.durable.epoch == 2; i++)
			run(100 * MS, s % 2);
		assert_int_equal(w.durable.epoch, 3);
		assert_true(has_past(OPERATION_REJOIN, END_ABORTED));
		w.hook_us = 0;
		w.returning = OPS_REJOIN;
		run(10 * US_PER_S, false); /* one of both has its hook for 3000 s, if it has begun by now */
		if (w.durable.op.kind != OPERATION_REJOIN) {
			expect_all_well();
			for (int i = 0; i < NODES; i++)
				assert_false(record_is_barred(&w.durable, w.servers[i].name));
		} else {
			ops_free(w.ops);
		}
	}
}

static void finish(uint64_t order, enum ops_answer wanted)
{
	struct err err = { .text = "" };
	for (int i = 0; i < 400 && ops_answer(w.ops, order, &err) == OPS_WAITS; i++)
		run(100 * MS, false);
	if (ops_answer(w.ops, order, &err) != wanted)
		fail_msg("%llu: %s", (unsigned long long)w.seed, err.text);
}

static void refused(enum ops_order what, const char *node, const char *why)
{
	struct err err = { .text = "" };
	assert_int_equal(ops_order(w.ops, what, node, "somebody", &err), 0);
	if (!strstr(err.text, why))
		fail_msg("%s", err.text);
}

static void nodes_are_restored_by_order(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 100; s++) {
		begin_with(s, OPS_QUARANTINE);
		refused(OPS_ORDER_RECOVER, "a", "is the primary");
		refused(OPS_ORDER_REJOIN, "c", "follows the primary already");
		w.has_hooks = false;
		refused(OPS_ORDER_RECOVER, "b", "the policy has no hook recover");
		w.has_hooks = true;
		w.hook_fails = s % 4 ? 0 : 100;
		if (s % 3 == 0)
			finish(ops_order(w.ops, OPS_ORDER_DETACH, "b", "somebody", &err), OPS_DONE);
		if (s % 3 == 1)
			w.servers[1].is_alive = false;
		run(100 * MS, false);
		bool can_rejoin = s % 3 == 1;
		uint64_t order = ops_order(w.ops, can_rejoin && s % 2 ? OPS_ORDER_REJOIN : OPS_ORDER_RECOVER, "b", "somebody", &err);
		assert_true(order != 0);
		finish(order, w.hook_fails ? OPS_FAILED : OPS_DONE);
		if (w.hook_fails) {
			assert_int_equal(ops_answer(w.ops, order, &err), OPS_FAILED);
			assert_non_null(strstr(err.text, "was given up: it did not work"));
			assert_int_equal(record_node(&w.durable, "b")->flags, RECORD_QUARANTINED);
			ops_free(w.ops);
			continue;
		}
		expect_all_well();
		expect_restored("b");
		assert_int_equal(w.durable.epoch, 1);
	}
}

/* What takes long is in nobody's way. */
static void orders_beside_a_rejoin(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 40; s++) {
		begin_with(s, OPS_REJOIN);
		w.hook_us = 3000 * US_PER_S;
		bool is_recover = s % 2;
		if (is_recover) {
			assert_true(ops_order(w.ops, OPS_ORDER_RECOVER, "b", "somebody", &err) != 0);
			run(US_PER_S, false);
		} else {
			w.servers[0].is_alive = false;
			run(5 * US_PER_S, false);
		}
		assert_int_equal(w.durable.op.kind, is_recover ? OPERATION_RECOVER : OPERATION_REJOIN);
		unsigned runs = w.hooks_run;
		const char *other = index_of(w.durable.primary) == 2 ? "b" : "c";
		finish(ops_order(w.ops, OPS_ORDER_DETACH, other, "somebody", &err), OPS_DONE);
		refused(OPS_ORDER_RECOVER, other, "is under way");
		finish(ops_order(w.ops, OPS_ORDER_PAUSE, "", "somebody", &err), OPS_DONE);
		finish(ops_order(w.ops, OPS_ORDER_RESUME, "", "somebody", &err), OPS_DONE);
		finish(ops_order(w.ops, OPS_ORDER_ATTACH, other, "somebody", &err), OPS_DONE);
		assert_int_equal(w.hooks_run, runs); /* it was not begun again */
		assert_int_equal(w.durable.op.step, STEP_WORK);
		if (is_recover) {
			refused(OPS_ORDER_SWITCHOVER, "", "is under way");
		} else {
			w.hook_us = 0;
			uint64_t order = ops_order(w.ops, OPS_ORDER_SWITCHOVER, other, "somebody", &err);
			assert_true(order != 0);
			run(10 * US_PER_S, false);
			assert_true(has_past(OPERATION_REJOIN, END_ABORTED));
			assert_int_equal(ops_answer(w.ops, order, &err), has_past(OPERATION_SWITCHOVER, END_DONE) ? OPS_DONE : OPS_FAILED);
		}
		ops_free(w.ops);
	}
}

/* It is detached when nobody uses it any more, and not before; in the end it is in use, or detached. */
static void a_drain_ends_detached_or_as_before(void **state)
{
	struct err err;
	unsigned done = 0, not_done = 0;
	for (uint64_t s = 1; s <= 200; s++) {
		begin_with(s, OPS_QUARANTINE);
		refused(OPS_ORDER_DRAIN, "a", "is the primary");
		w.disk_fails = s % 5 ? 0 : 20;
		w.busy_until = w.now + rnd(20) * US_PER_S;
		uint64_t timeout = rnd(2) * 15 * US_PER_S, until = w.busy_until, began = w.now;
		uint64_t order = ops_order_drain(w.ops, "b", timeout, "somebody", &err);
		assert_true(order != 0);
		w.until = s % 4 ? NULL : "drain";
		run(US_PER_S, s % 4 == 0);
		for (int i = 0; i < 60 && w.durable.op.id; i++)
			run(US_PER_S, false);
		w.disk_fails = 0;
		run(3 * US_PER_S, false);
		const struct record_node *b = record_node(&w.durable, "b");
		bool is_detached = b && b->flags & RECORD_DETACHED;
		if (is_detached)
			assert_true(w.now >= until);
		if (!w.kills && until - began < (timeout ? timeout : 10 * US_PER_S) - 5 * US_PER_S && w.durable.last_id && s % 5)
			assert_true(is_detached);
		if (!w.kills && w.durable.last_id && s % 5) {
			assert_int_equal(ops_answer(w.ops, order, &err), is_detached ? OPS_DONE : OPS_FAILED);
			assert_true(is_detached || strstr(err.text, "the drain was given up: 1 connections to \"b\" are in use"));
		}
		done += is_detached;
		not_done += !is_detached;
		assert_false(ops_is_draining(w.ops, "b"));
		ops_free(w.ops);
	}
	assert_true(done > 30 && not_done > 30);
}

static void what_ends_a_drain(void **state)
{
	struct err err;
	for (uint64_t s = 1; s <= 60; s++) {
		begin_with(s, OPS_QUARANTINE);
		w.busy_until = w.now + 3000 * US_PER_S;
		uint64_t order = ops_order_drain(w.ops, "b", 1000 * US_PER_S, "somebody", &err);
		run(US_PER_S, false);
		assert_true(ops_is_draining(w.ops, "b"));
		refused(OPS_ORDER_DRAIN, "c", "is under way");
		if (s % 3 == 0) {
			finish(ops_order(w.ops, OPS_ORDER_ATTACH, "b", "somebody", &err), OPS_DONE);
			finish(order, OPS_FAILED);
			assert_false(record_is_barred(&w.durable, "b"));
		} else if (s % 3 == 1) {
			finish(ops_order(w.ops, OPS_ORDER_DETACH, "b", "somebody", &err), OPS_DONE);
			finish(order, OPS_DONE);
			assert_true(record_is_barred(&w.durable, "b"));
		} else {
			w.servers[0].is_alive = false;
			for (int i = 0; i < 50 && w.durable.epoch == 1; i++)
				run(100 * MS, false);
			assert_int_equal(w.durable.epoch, 2);
			finish(order, OPS_FAILED);
		}
		run(US_PER_S, false);
		assert_false(ops_is_draining(w.ops, "b"));
		ops_free(w.ops);
	}
}

/* As anything_goes, where nodes come back by themselves. */
static void anything_goes_with_rejoins(void **state)
{
	unsigned restored = 0;
	for (uint64_t s = 1; s <= 200; s++) {
		begin_with(s, OPS_REJOIN);
		w.disk_fails = rnd(2) * 30;
		w.hook_fails = rnd(2) * 30;
		w.hook_lies = rnd(2) * 10;
		for (int i = 0; i < 30; i++) {
			struct server *one = &w.servers[rnd(NODES)];
			one->is_alive = rnd(3) > 0;
			one->is_frozen = rnd(4) == 0;
			one->fails = rnd(4) == 0;
			run(rnd(2) ? rnd(300) * MS : rnd(10) * US_PER_S, true);
		}
		w.hook_fails = w.hook_lies = 0;
		for (int i = 0; i < NODES; i++)
			w.servers[i].is_alive = true;
		expect_all_well();
		for (int i = 0; i < NODES; i++)
			restored += w.servers[i].restored;
	}
	assert_true(restored > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_death_is_followed_by_one_promotion),
		cmocka_unit_test(who_has_been_told_is_not_told_again_at_once),
		cmocka_unit_test(whoever_is_killed_goes_on),
		cmocka_unit_test(who_comes_back_is_primary_or_in_quarantine),
		cmocka_unit_test(anything_goes),
		cmocka_unit_test(what_others_promote),
		cmocka_unit_test(a_manual_failover_waits_for_its_order),
		cmocka_unit_test(an_order_may_allow_a_loss),
		cmocka_unit_test(a_named_node_may_lack_what_was_acknowledged),
		cmocka_unit_test(who_is_writable_on_the_recorded_timeline_was_not_promoted),
		cmocka_unit_test(an_order_in_vain_is_answered),
		cmocka_unit_test(nobody_else_than_the_named_one),
		cmocka_unit_test(a_switchover_is_whole_or_nothing),
		cmocka_unit_test(failovers_are_damped),
		cmocka_unit_test(who_was_primary_rejoins),
		cmocka_unit_test(who_is_not_wanted_stays_in_quarantine),
		cmocka_unit_test(a_rejoin_that_fails_comes_again_later_and_later),
		cmocka_unit_test(a_failover_ends_a_rejoin),
		cmocka_unit_test(nodes_are_restored_by_order),
		cmocka_unit_test(orders_beside_a_rejoin),
		cmocka_unit_test(what_hooks_have_finished_is_not_forgotten),
		cmocka_unit_test(a_drain_ends_detached_or_as_before),
		cmocka_unit_test(what_ends_a_drain),
		cmocka_unit_test(anything_goes_with_rejoins),
	};
	hash_init();
	log_init(getenv("SHOW") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC));
	return UNIT_RUN(tests);
}
