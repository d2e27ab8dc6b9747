/* loader on a real server: reads, reads again what changed, stays calm when it may not, forgets what nobody uses. */
#include "ha/loader.h"

#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "pgserver.h"
#include "unitloop.h"

static struct pgdir dir;
static struct pgserver pg;

struct scene {
	struct loop *loop;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct topo_board *board;
	struct catalog *catalog;
	struct loader *loader;
	struct catalog_view *view;
	enum catalog_look expected;
	unsigned published;
	uint64_t known;
};

static struct conf *configure(const char *user, const char *refresh, const char *safe)
{
	char path[64], hba[64];
	snprintf(path, sizeof path, "%s/lunapool.conf", dir.path);
	snprintf(hba, sizeof hba, "%s/hba.conf", dir.path);
	FILE *f = fopen(hba, "w");
	assert_non_null(f);
	fputs("local all all trust\n", f);
	fclose(f);
	f = fopen(path, "w");
	fprintf(f, "catalog_refresh = %s\nauth { hba_file = \"%s\" }\npool { safe_functions = { %s } }\ndatabase \"*\" { }\n",
	        refresh, hba, safe);
	fprintf(f, "cluster main { service_user = \"%s\"\nnode n { host = \"%s\" port = %u } }\n", user, dir.path, pg.port);
	fclose(f);
	struct conf_errors errors = { 0 };
	struct conf *c = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		print_error("%s: %s\n", errors.at[i].where, errors.at[i].text);
	assert_non_null(c);
	conf_errors_fini(&errors);
	return c;
}

static void on_published(void *arg)
{
	((struct scene *)arg)->published++;
}

static void on_wanted(void *arg)
{
	loader_look(((struct scene *)arg)->loader);
}

static void publish_conf(struct scene *s, const char *user, const char *refresh, const char *safe)
{
	topo_publish(s->board, topo_build(configure(user, refresh, safe), topo_latest(s->board)));
	topo_pick_up(s->board, 0);
	topo_collect(s->board);
	loader_on_conf(s->loader);
}

static void begin(struct scene *s, const char *user, const char *refresh, const char *client)
{
	*s = (struct scene){ .loop = loop_new(false), .resolver = resolver_new(), .board = topo_board_new(1) };
	mailbox_open(&s->mailbox, s->loop, s);
	s->catalog = catalog_new(on_wanted, s);
	topo_publish(s->board, topo_build(configure(user, refresh, ""), NULL));
	topo_pick_up(s->board, 0);
	s->loader = loader_new(s->loop, s->resolver, &s->mailbox, s->board, s->catalog, on_published, s);
	loader_on_conf(s->loader);
	s->view = catalog_view_new(s->catalog, "main", "postgres", client);
}

static void end(struct scene *s)
{
	loader_free(s->loader);
	catalog_view_free(s->view);
	catalog_free(s->catalog);
	topo_leave(s->board, 0);
	topo_board_free(s->board);
	mailbox_close(&s->mailbox);
	resolver_free(s->resolver);
	loop_free(s->loop);
}

static bool is_as_expected(void *arg)
{
	struct scene *s = arg;
	enum catalog_look how;
	catalog_look(s->view, &how);
	return how == s->expected;
}

static void expect(struct scene *s, enum catalog_look how)
{
	s->expected = how;
	run_until(s->loop, is_as_expected, s);
}

static void expect_function(struct scene *s, const char *name, int64_t effects)
{
	enum catalog_look how;
	uint32_t is = 0;
	const char *cause;
	bool is_there = facts_find(catalog_look(s->view, &how), FACTS_FUNCTION, name, &is, &cause);
	is &= ~(uint32_t)(SQL_WRITES | SQL_TX_BOUND | SQL_NO_STANDBY); /* tests/pg/reach.t has those */
	assert_int_equal(is_there ? (int64_t)is : -1, effects);
}

static void reads_at_the_first_look_and_after_ddl(void **state)
{
	struct scene s;
	pgserver_sql(&pg, "create or replace function f() returns int language sql as 'select 1';"
	                  "create or replace function empty() returns void language sql as ''");
	begin(&s, "postgres", "1h", "nobody");
	run_turns(s.loop, 5);
	assert_int_equal(s.published, 0); /* nobody has looked */
	expect(&s, CATALOG_FRESH);
	expect_function(&s, "f", 0);
	expect_function(&s, "empty", 0);
	expect_function(&s, "int4eq", 0);
	expect_function(&s, "made_later", -1);
	pgserver_sql(&pg,
	             "drop function f(); create function f() returns text language sql as $$ select set_config('a.b', 'c', false) $$;"
	             "create sequence q; create function made_later() returns bigint begin atomic select nextval('q'); end");
	catalog_note_ddl(s.view);
	expect(&s, CATALOG_FRESH);
	expect_function(&s, "f", SQL_OPAQUE_CALL);
	expect_function(&s, "made_later", SQL_NEXTVAL);
	catalog_note_ddl(s.view); /* for nothing */
	expect(&s, CATALOG_FRESH);
	expect_function(&s, "f", SQL_OPAQUE_CALL);
	publish_conf(&s, "postgres", "1h", "f");
	s.published = 0;
	while (s.published == 0)
		run_turns(s.loop, 10);
	expect_function(&s, "f", 0);
	end(&s);
}

static uint32_t effects_of_reading(struct scene *s, const char *relation)
{
	enum catalog_look how;
	uint32_t effects = 0;
	const char *cause;
	facts_find(catalog_look(s->view, &how), FACTS_READ, relation, &effects, &cause);
	return effects;
}

/* What PostgreSQL's own functions and views are behind is not asked again when nothing of it has changed, and stays known. */
static void knows_what_is_behind_relations(void **state)
{
	struct scene s;
	static const struct {
		const char *sql;
		uint32_t pid, unlogged;
	} steps[] = {
		{ "create view behind_pid as select pg_backend_pid()", SQL_WRITES, 0 },
		{ "create unlogged table behind_u (i int)", SQL_WRITES, SQL_NO_STANDBY },
		{ "alter table behind_u set logged", SQL_WRITES, 0 },
		{ "alter view behind_pid rename to behind_other", 0, 0 },
		{ "alter view behind_other rename to behind_pid", SQL_WRITES, 0 },
		{ "create or replace view behind_pid as select 1 as pg_backend_pid", 0, 0 },
		{ "create table behind_t (i int)", 0, 0 },
	};
	begin(&s, "postgres", "1h", "nobody");
	expect(&s, CATALOG_FRESH);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		pgserver_sql(&pg, steps[i].sql);
		catalog_note_ddl(s.view);
		expect(&s, CATALOG_FRESH);
		assert_int_equal(effects_of_reading(&s, "behind_pid"), steps[i].pid);
		assert_int_equal(effects_of_reading(&s, "behind_u"), steps[i].unlogged);
	}
	end(&s);
}

static void says_when_it_may_not(void **state)
{
	struct scene s;
	begin(&s, "no_such_role", "1h", "postgres");
	expect(&s, CATALOG_FAILED);
	publish_conf(&s, "", "1h", ""); /* the client's own name will do */
	expect(&s, CATALOG_FRESH);
	end(&s);
}

static void note_known(void *arg, struct catalog_db *db)
{
	((struct scene *)arg)->known = db->known;
}

static bool is_forgotten(void *arg)
{
	struct scene *s = arg;
	catalog_walk(s->catalog, false, note_known, s);
	return s->known == 0;
}

static void forgets_what_nobody_uses(void **state)
{
	struct scene s;
	begin(&s, "postgres", "100ms", "nobody");
	expect(&s, CATALOG_FRESH);
	run_until(s.loop, is_forgotten, &s);
	expect(&s, CATALOG_FRESH);
	end(&s);
}

static void a_server_that_goes_fails_a_load_only_after_ddl(void **state)
{
	struct scene s;
	begin(&s, "postgres", "1h", "nobody");
	expect(&s, CATALOG_FRESH);
	pgserver_stop(&pg, SIGINT);
	expect(&s, CATALOG_FRESH);
	catalog_note_ddl(s.view);
	expect(&s, CATALOG_FAILED);
	pgserver_start(&pg, &dir, 0);
	expect(&s, CATALOG_FRESH);
	end(&s);
}

static int start(void **state)
{
	pgdir_init(&dir);
	pgserver_start(&pg, &dir, 0);
	return 0;
}

static int stop(void **state)
{
	pgserver_stop(&pg, SIGQUIT);
	pgdir_fini(&dir);
	return 0;
}

int main(void)
{
	hash_init();
	log_init(open("/dev/null", O_WRONLY));
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_at_the_first_look_and_after_ddl),
		cmocka_unit_test(knows_what_is_behind_relations),
		cmocka_unit_test(says_when_it_may_not),
		cmocka_unit_test(forgets_what_nobody_uses),
		cmocka_unit_test(a_server_that_goes_fails_a_load_only_after_ddl),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
