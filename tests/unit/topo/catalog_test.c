/* What a view sees of its database as loads come, fail and are given up; and that fresh facts are never older than the DDL before them. */
#include "topo/catalog.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "unit.h"

static void on_wanted(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static struct facts *facts_with(uint32_t effects)
{
	struct facts *f = facts_new(true);
	facts_add(f, FACTS_FUNCTION, "f", effects, NULL);
	return facts_seal(f);
}

static uint32_t effects_in(const struct facts *f)
{
	uint32_t effects = 0;
	const char *cause;
	return facts_find(f, FACTS_FUNCTION, "f", &effects, &cause) ? effects : 0;
}

static uint32_t look(struct catalog_view *v, enum catalog_look expected)
{
	enum catalog_look how;
	const struct facts *f = catalog_look(v, &how);
	assert_int_equal(how, expected);
	return effects_in(f);
}

static void note_db(void *arg, struct catalog_db *db)
{
	*(struct catalog_db *)arg = *db;
}

static struct catalog_db only_db(struct catalog *c, bool clear)
{
	struct catalog_db db = { 0 };
	catalog_walk(c, clear, note_db, &db);
	assert_non_null(db.dbname);
	return db;
}

static void the_life_of_an_entry(void **state)
{
	_Atomic int wanted = 0;
	struct catalog *c = catalog_new(on_wanted, (void *)&wanted);
	struct catalog_view *v = catalog_view_new(c, "main", "shop", "app"), *w = catalog_view_new(c, "main", "shop", "other");
	assert_false(only_db(c, false).is_asked_for);
	assert_int_equal(look(v, CATALOG_LOADING), 0);
	assert_int_equal(look(w, CATALOG_LOADING), 0);
	assert_int_equal(wanted, 1);
	struct catalog_db db = only_db(c, true);
	assert_true(db.is_asked_for && db.known == 0);
	assert_string_equal(db.user, "app");
	assert_false(only_db(c, false).is_asked_for);

	catalog_publish(c, "main", "shop", facts_with(1), db.wanted);
	assert_int_equal(look(v, CATALOG_FRESH), 1);
	catalog_note_ddl(w);
	assert_int_equal(wanted, 2);
	assert_int_equal(look(v, CATALOG_LOADING), 1);
	catalog_confirm(c, "main", "shop", only_db(c, false).wanted);
	assert_int_equal(look(w, CATALOG_FRESH), 1);

	catalog_note_ddl(w);
	catalog_fail(c, "main", "shop", true);
	assert_int_equal(look(v, CATALOG_FAILED), 1);
	catalog_fail(c, "main", "shop", false);
	assert_int_equal(look(v, CATALOG_FAILED), 0);
	assert_int_equal(only_db(c, false).known, 0);
	catalog_publish(c, "main", "shop", facts_with(2), only_db(c, false).wanted);
	assert_int_equal(look(v, CATALOG_FRESH), 2);
	uint64_t generation = catalog_generation(c);
	catalog_forget(c, "main", "shop");
	assert_true(catalog_generation(c) > generation);
	assert_int_equal(look(v, CATALOG_LOADING), 0);
	catalog_view_free(v);
	catalog_view_free(w);
	catalog_free(c);
}

static void nothing_is_what_the_configuration_says(void **state)
{
	struct catalog *c = catalog_new(NULL, NULL);
	struct catalog_view *v = catalog_view_new(c, "main", "shop", "app"), *w = catalog_view_new(c, "main", "other", "app");
	catalog_publish(c, "main", "other", facts_with(1), 1);
	assert_int_equal(effects_in(catalog_nothing(v)), 0);
	struct facts *nothing = facts_new(false);
	facts_add(nothing, FACTS_FUNCTION, "f", 4, NULL);
	catalog_set_nothing(c, facts_seal(nothing));
	assert_int_equal(effects_in(catalog_nothing(v)), 4);
	assert_int_equal(look(v, CATALOG_LOADING), 4);
	assert_int_equal(look(w, CATALOG_FRESH), 1);
	assert_int_equal(effects_in(catalog_nothing(w)), 4);
	catalog_view_free(v);
	catalog_view_free(w);
	catalog_free(c);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

enum { READERS = 3, CHANGES = 2000 };

struct race {
	struct catalog *catalog;
	_Atomic uint32_t made; /* changes */
	_Atomic int running;
};

/* Changes something, then waits until it is known: what is fresh by then holds the change. */
static void *reader(void *arg)
{
	struct race *r = arg;
	struct catalog_view *v = catalog_view_new(r->catalog, "main", "shop", "app");
	enum catalog_look how;
	for (int i = 0; i < CHANGES; i++) {
		uint32_t mine = atomic_fetch_add(&r->made, 1) + 1;
		catalog_note_ddl(v);
		const struct facts *f = catalog_look(v, &how);
		while (how != CATALOG_FRESH) {
			sched_yield();
			f = catalog_look(v, &how);
		}
		if (effects_in(f) < mine)
			return "old facts passed for fresh ones";
	}
	catalog_view_free(v);
	atomic_fetch_sub(&r->running, 1);
	return NULL;
}

static void fresh_facts_are_not_older_than_ddl(void **state)
{
	struct race r = { .catalog = catalog_new(NULL, NULL), .running = READERS };
	pthread_t threads[READERS];
	struct catalog_view *v = catalog_view_new(r.catalog, "main", "shop", "app");
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &r), 0);
	while (atomic_load(&r.running)) {
		struct catalog_db db = only_db(r.catalog, false);
		uint32_t now = atomic_load(&r.made); /* after the count, as a load asks after it */
		if (db.known != db.wanted)
			catalog_publish(r.catalog, "main", "shop", facts_with(now), db.wanted);
		else
			sched_yield();
	}
	for (int i = 0; i < READERS; i++) {
		void *trouble;
		pthread_join(threads[i], &trouble);
		if (trouble)
			fail_msg("%s", (char *)trouble);
	}
	catalog_view_free(v);
	catalog_free(r.catalog);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_life_of_an_entry),
		cmocka_unit_test(nothing_is_what_the_configuration_says),
		cmocka_unit_test(fresh_facts_are_not_older_than_ddl),
	};
	hash_init();
	return UNIT_RUN(tests);
}
