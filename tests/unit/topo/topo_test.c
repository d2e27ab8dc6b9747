/* What a new snapshot keeps of the old one, and that the board frees nothing that a reader may hold. */
#include "topo/topo.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"
#include "unit.h"

/* One cluster "main" of the nodes in SPEC: "name@host:port …". */
static struct conf *conf_of(const char *spec)
{
	struct conf *c = mem_alloc(sizeof *c);
	c->n_clusters = 1;
	c->clusters = mem_alloc(sizeof *c->clusters);
	struct conf_cluster *cluster = c->clusters;
	cluster->name = mem_text("main");
	char name[32], host[32];
	int port, len;
	for (; sscanf(spec, " %31[^@]@%31[^:]:%d%n", name, host, &port, &len) == 3; spec += len) {
		cluster->nodes = mem_grow(cluster->nodes, (cluster->n_nodes + 1) * sizeof *cluster->nodes);
		cluster->nodes[cluster->n_nodes++] = (struct conf_node){ .name = mem_text(name), .host = mem_text(host), .port = port };
	}
	return c;
}

static void one_node_is_the_primary(void **state)
{
	struct topo *t = topo_build(conf_of("a@h1:5432"), NULL);
	assert_string_equal(topo_primary(t, 0)->name, "a");
	assert_true(t->clusters[0].nodes[0].is_reachable);
	topo_free(t);
}

static void of_two_nodes_none_is_the_primary_until_somebody_says_so(void **state)
{
	struct topo *t = topo_build(conf_of("a@h1:5432 b@h2:5432"), NULL);
	assert_null(topo_primary(t, 0));
	t->clusters[0].primary = 1;
	assert_string_equal(topo_primary(t, 0)->name, "b");
	topo_free(t);
}

static void ids_and_roles_stay_with_the_node(void **state)
{
	struct topo *t = topo_build(conf_of("a@h1:5432 b@h2:5432"), NULL);
	uint32_t a = t->clusters[0].nodes[0].id, b = t->clusters[0].nodes[1].id;
	assert_int_not_equal(a, b);
	t->clusters[0].primary = 1;
	t->clusters[0].nodes[0].in_recovery = true;
	t->clusters[0].nodes[0].is_reachable = false;

	struct topo *moved = topo_build(conf_of("c@h3:5432 b@h2:5432 a@h1:5432"), t);
	assert_string_equal(topo_primary(moved, 0)->name, "b");
	assert_int_equal(moved->clusters[0].nodes[1].id, b);
	assert_int_equal(moved->clusters[0].nodes[2].id, a);
	assert_true(moved->clusters[0].nodes[2].in_recovery);
	assert_false(moved->clusters[0].nodes[2].is_reachable);
	size_t cluster_at = 7;
	assert_string_equal(topo_node(moved, a, &cluster_at)->name, "a");
	assert_int_equal(cluster_at, 0);
	topo_free(t);
	topo_free(moved);
}

static void a_node_that_moves_is_a_new_one_and_ids_are_never_given_twice(void **state)
{
	struct topo *one = topo_build(conf_of("a@h1:5432 b@h2:5432"), NULL);
	one->clusters[0].primary = 1;
	uint32_t b = one->clusters[0].nodes[1].id;
	struct topo *two = topo_build(conf_of("a@h1:5432 b@h2:5433"), one);
	assert_null(topo_primary(two, 0));
	assert_null(topo_node(two, b, NULL));
	struct topo *three = topo_build(conf_of("a@h1:5432"), two);
	struct topo *four = topo_build(conf_of("a@h1:5432 b@h2:5433"), three);
	uint32_t again = four->clusters[0].nodes[1].id;
	assert_int_not_equal(again, b);
	assert_int_not_equal(again, two->clusters[0].nodes[1].id);
	assert_string_equal(topo_primary(four, 0)->name, "a"); /* it was while it was alone */
	topo_free(one);
	topo_free(two);
	topo_free(three);
	topo_free(four);
}

static void a_copy_changes_alone(void **state)
{
	struct topo *t = topo_build(conf_of("a@h1:5432 b@h2:5432"), NULL);
	struct topo *copy = topo_copy(t);
	copy->clusters[0].primary = 0;
	copy->clusters[0].nodes[1].in_recovery = true;
	assert_null(topo_primary(t, 0));
	assert_false(t->clusters[0].nodes[1].in_recovery);
	topo_free(t);
	assert_string_equal(topo_primary(copy, 0)->host, "h1"); /* the configuration lives on */
	topo_free(copy);
}

static unsigned woken[2];

static void wake(void *arg, unsigned reader)
{
	assert_ptr_equal(arg, woken);
	woken[reader]++;
}

static void the_board_waits_for_every_reader(void **state)
{
	struct topo_board *b = topo_board_new(2);
	woken[0] = woken[1] = 0;
	topo_on_publish(b, wake, woken);
	assert_null(topo_latest(b));
	assert_null(topo_pick_up(b, 0));
	assert_true(topo_collect(b));
	topo_publish(b, topo_build(conf_of("a@h1:5432 b@h2:5432"), NULL));
	assert_int_equal(woken[0] + woken[1], 2);
	assert_false(topo_collect(b));
	const struct topo *first = topo_pick_up(b, 0);
	assert_int_equal(first->generation, 1);
	topo_pick_up(b, 1);
	assert_true(topo_collect(b));

	struct topo *next = topo_copy(topo_latest(b));
	next->clusters[0].primary = 1;
	topo_publish(b, next);
	assert_int_equal(topo_latest(b)->generation, 2);
	assert_string_equal(topo_primary(topo_pick_up(b, 1), 0)->name, "b");
	assert_false(topo_collect(b));
	assert_null(topo_primary(first, 0)); /* reader 0 may still read what it holds */
	assert_int_equal(topo_pick_up(b, 0)->generation, 2);
	assert_true(topo_collect(b));
	topo_board_free(b);
}

static void who_left_holds_nothing_and_is_not_woken(void **state)
{
	struct topo_board *b = topo_board_new(2);
	woken[0] = woken[1] = 0;
	topo_on_publish(b, wake, woken);
	topo_publish(b, topo_build(conf_of("a@h1:5432"), NULL));
	topo_pick_up(b, 0);
	topo_leave(b, 1);
	assert_true(topo_collect(b));
	topo_publish(b, topo_copy(topo_latest(b)));
	assert_int_equal(woken[0], 2);
	assert_int_equal(woken[1], 1);
	topo_board_free(b);
}

#define READERS 4u
#define PUBLISHED 3000u

struct reading {
	pthread_t thread;
	struct topo_board *board;
	unsigned at;
	_Atomic unsigned wrong;
};

/* Each snapshot has its generation in its first node's limit and its parity as primary: a torn or freed one would not fit. */
static void *read_all(void *arg)
{
	struct reading *r = arg;
	uint64_t last = 0;
	while (last < PUBLISHED) {
		const struct topo *t = topo_pick_up(r->board, r->at);
		if (!t || t->generation == last) {
			sched_yield();
			continue;
		}
		const struct topo_node *primary = topo_primary(t, 0);
		bool is_right = t->generation > last && t->clusters[0].nodes[0].max_connections == (int64_t)t->generation &&
		                strcmp(primary->name, t->generation % 2 ? "b" : "a") == 0 &&
		                strcmp(t->conf->clusters[0].name, "main") == 0;
		r->wrong += !is_right;
		last = t->generation;
	}
	topo_leave(r->board, r->at);
	return NULL;
}

static void readers_never_see_a_freed_or_half_made_snapshot(void **state)
{
	struct topo_board *b = topo_board_new(READERS);
	struct reading r[READERS] = { 0 };
	for (unsigned i = 0; i < READERS; i++) {
		r[i].board = b;
		r[i].at = i;
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_all, &r[i]), 0);
	}
	for (unsigned g = 1; g <= PUBLISHED; g++) {
		const struct topo *latest = topo_latest(b);
		struct topo *t = g % 7 == 1 ? topo_build(conf_of("a@h1:5432 b@h2:5432"), latest) : topo_copy(latest);
		t->clusters[0].nodes[0].max_connections = g;
		t->clusters[0].primary = g % 2;
		topo_publish(b, t);
		if (g % 16 == 0)
			topo_collect(b);
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].wrong, 0);
	}
	assert_true(topo_collect(b));
	topo_board_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node_is_the_primary),
		cmocka_unit_test(of_two_nodes_none_is_the_primary_until_somebody_says_so),
		cmocka_unit_test(ids_and_roles_stay_with_the_node),
		cmocka_unit_test(a_node_that_moves_is_a_new_one_and_ids_are_never_given_twice),
		cmocka_unit_test(a_copy_changes_alone),
		cmocka_unit_test(the_board_waits_for_every_reader),
		cmocka_unit_test(who_left_holds_nothing_and_is_not_woken),
		cmocka_unit_test(readers_never_see_a_freed_or_half_made_snapshot),
	};
	return UNIT_RUN(tests);
}
