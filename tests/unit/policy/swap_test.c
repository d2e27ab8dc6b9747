/* Workers that call while sets are replaced: each sees whole sets only, and an old one goes when the last of them has left it. */
#include <pthread.h>
#include <stdatomic.h>

#include "policyrig.h"

#define WORKERS 3u
#define SWAPS 200

struct world {
	struct policyrig rig;
	struct topo_board *board;
	atomic_bool is_over;
	atomic_ulong calls, wrong;
};
struct worker {
	struct world *world;
	unsigned index;
	pthread_t thread;
};

/* "generation N": what the policy of that generation answers. */
static bool is_right(const struct topo *t, unsigned worker, const struct policy_query *q)
{
	struct policy_decision d;
	char expected[40];
	struct policy_vm *vm = policy_set_vm(t->policies, worker, 0);
	policy_route(vm, t, 0, q, &d);
	snprintf(expected, sizeof expected, "generation %d", (int)policy_generation(vm));
	return d.kind == POLICY_STANDBYS && strcmp(d.reason, expected) == 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct sql_cache *cache = sql_cache_new(1 << 16);
	struct sql_class *class = sql_classify(cache, slice_text("SELECT 1"), (struct sql_dialect){ 0 });
	struct policy_query q = w->world->rig.query;
	q.class = class;
	q.text = slice_text("SELECT 1");
	while (!atomic_load(&w->world->is_over)) {
		const struct topo *t = topo_pick_up(w->world->board, w->index);
		for (int i = 0; i < 20; i++)
			atomic_fetch_add(&w->world->wrong, !is_right(t, w->index, &q));
		atomic_fetch_add(&w->world->calls, 20);
	}
	topo_leave(w->world->board, w->index);
	sql_class_unref(class);
	sql_cache_free(cache);
	return NULL;
}

static struct policy_set *set_of(struct world *w, int generation)
{
	struct err err;
	char text[300];
	snprintf(text, sizeof text,
	         "return { api = 1, route = function(query, cluster) return cluster.standbys, 'generation %d' end }", generation);
	confdir_write(&w->rig.dir, "main.lua", text);
	struct policy_set *set = policy_set_load(w->rig.topo->conf, WORKERS, w->rig.kv, (uint64_t)generation, &err);
	if (!set)
		fail_msg("%s", err.text);
	return set;
}

static void publish(struct world *w, struct policy_set *set)
{
	struct topo *t = topo_copy(w->rig.topo);
	t->policies = set;
	topo_publish(w->board, t);
}

static void sets_are_swapped_under_calls(void **state)
{
	static struct world w;
	struct worker workers[WORKERS];
	policyrig_open(&w.rig);
	w.board = topo_board_new(WORKERS);
	struct policy_set *now = set_of(&w, 1);
	publish(&w, now);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .world = &w, .index = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int generation = 2; generation <= SWAPS; generation++) {
		struct policy_set *next = set_of(&w, generation);
		publish(&w, next);
		while (!topo_collect(w.board))
			sched_yield();
		policy_set_free(now);
		now = next;
	}
	atomic_store(&w.is_over, true);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	assert_int_equal(atomic_load(&w.wrong), 0);
	assert_true(atomic_load(&w.calls) >= WORKERS * 20);
	topo_board_free(w.board);
	policy_set_free(now);
	policyrig_close(&w.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sets_are_swapped_under_calls) };
	return UNIT_RUN(tests);
}
