/* roles on a real primary with two standbys: finds it, follows a promotion that somebody else did, survives what it must. */
#include "ha/roles.h"

#include "base/hash.h"
#include "base/log.h"
#include "pgserver.h"
#include "unitloop.h"

static struct pgdir dir;
static struct pgserver pg[3];

struct scene {
	struct loop *loop;
	struct mailbox mailbox;
	struct resolver *resolver;
	struct topo_board *board;
	struct roles *roles;
	unsigned published;
	/* What is waited for. */
	int primary;
	int reachable, recovering; /* bits, by node */
};

static void on_publish(void *arg, unsigned reader)
{
	struct scene *s = arg;
	topo_pick_up(s->board, reader);
	topo_collect(s->board);
	s->published++;
}

static struct conf *configure(unsigned n_nodes, const char *user)
{
	char path[64], hba[64];
	snprintf(path, sizeof path, "%s/lunapool.conf", dir.path);
	snprintf(hba, sizeof hba, "%s/hba.conf", dir.path);
	FILE *f = fopen(hba, "w");
	assert_non_null(f);
	fputs("local all all trust\n", f);
	fclose(f);
	f = fopen(path, "w");
	fprintf(f, "auth { hba_file = \"%s\" }\n database \"*\" { }\ncluster main { service_user = %s probe_interval = 50ms\n", hba,
	        user);
	for (unsigned i = 0; i < n_nodes; i++)
		fprintf(f, "node n%u { host = \"%s\" port = %u }\n", i, dir.path, 5432 + i);
	fputs("}\n", f);
	fclose(f);
	struct conf_errors errors = { 0 };
	struct conf *c = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		print_error("%s: %s\n", errors.at[i].where, errors.at[i].text);
	assert_non_null(c);
	conf_errors_fini(&errors);
	return c;
}

static void publish(struct scene *s, unsigned n_nodes, const char *user)
{
	topo_publish(s->board, topo_build(configure(n_nodes, user), topo_latest(s->board)));
	roles_on_conf(s->roles);
}

static void begin(struct scene *s, unsigned n_nodes, const char *user)
{
	*s = (struct scene){ .loop = loop_new(false), .resolver = resolver_new(), .board = topo_board_new(1) };
	mailbox_open(&s->mailbox, s->loop, s);
	topo_on_publish(s->board, on_publish, s);
	s->roles = roles_new(s->loop, s->resolver, &s->mailbox, s->board);
	publish(s, n_nodes, user);
	s->published = 0;
}

static void end(struct scene *s)
{
	roles_free(s->roles);
	topo_leave(s->board, 0);
	topo_board_free(s->board);
	mailbox_close(&s->mailbox);
	resolver_free(s->resolver);
	loop_free(s->loop);
}

static bool is_as_expected(void *arg)
{
	struct scene *s = arg;
	const struct topo_cluster *c = &topo_latest(s->board)->clusters[0];
	int reachable = 0, recovering = 0;
	for (size_t i = 0; i < c->n_nodes; i++) {
		reachable |= c->nodes[i].is_reachable << i;
		recovering |= c->nodes[i].in_recovery << i;
	}
	return c->primary == s->primary && reachable == s->reachable && (recovering & reachable) == s->recovering;
}

/* RECOVERING counts among the reachable. */
static void expect(struct scene *s, int primary, int reachable, int recovering)
{
	s->primary = primary;
	s->reachable = reachable;
	s->recovering = recovering;
	run_until(s->loop, is_as_expected, s);
}

static void one_node_is_never_asked(void **state)
{
	struct scene s;
	begin(&s, 1, "nobody");
	assert_int_equal(topo_latest(s.board)->clusters[0].primary, 0);
	roles_doubt(s.roles, topo_latest(s.board)->clusters[0].nodes[0].id);
	run_turns(s.loop, 20);
	assert_int_equal(s.published, 0);
	end(&s);
}

static void finds_the_primary_and_then_is_quiet(void **state)
{
	struct scene s;
	begin(&s, 3, "postgres");
	assert_int_equal(topo_latest(s.board)->clusters[0].primary, -1);
	expect(&s, 0, 7, 6);
	unsigned published = s.published;
	for (unsigned i = 0; i < 50; i++) {
		roles_doubt(s.roles, topo_latest(s.board)->clusters[0].nodes[i % 3].id);
		run_turns(s.loop, 2);
	}
	assert_int_equal(s.published, published);
	end(&s);
}

static void a_refused_login_deposes_nobody(void **state)
{
	struct scene s;
	begin(&s, 3, "postgres");
	expect(&s, 0, 7, 6);
	unsigned published = s.published;
	publish(&s, 3, "not_a_role");
	published++;
	for (unsigned i = 0; i < 50; i++) {
		roles_doubt(s.roles, topo_latest(s.board)->clusters[0].nodes[0].id);
		run_turns(s.loop, 2);
	}
	assert_int_equal(s.published, published);
	expect(&s, 0, 7, 6);
	publish(&s, 3, "postgres");
	expect(&s, 0, 7, 6);
	end(&s);
}

static void follows_the_configuration(void **state)
{
	struct scene s;
	begin(&s, 2, "postgres");
	expect(&s, 0, 3, 2);
	publish(&s, 3, "postgres");
	assert_int_equal(topo_latest(s.board)->clusters[0].primary, 0);
	expect(&s, 0, 7, 6);
	publish(&s, 2, "postgres");
	expect(&s, 0, 3, 2);
	end(&s);
}

/* In one test because each step needs the one before: the cluster is never the same again. */
static void follows_a_death_a_promotion_and_a_return(void **state)
{
	struct scene s;
	begin(&s, 3, "postgres");
	expect(&s, 0, 7, 6);

	pgserver_stop(&pg[2], SIGQUIT);
	expect(&s, 0, 3, 2);
	pgserver_launch(&pg[2]);
	expect(&s, 0, 7, 6);

	pgserver_stop(&pg[0], SIGQUIT);
	expect(&s, -1, 6, 6);
	pgserver_launch(&pg[0]);
	expect(&s, 0, 7, 6);

	pgserver_stop(&pg[0], SIGQUIT);
	pgserver_sql(&pg[1], "select pg_promote()");
	expect(&s, 1, 6, 4);

	/* The old one is back and believes that nothing has happened: two claim it, the recorded one stays. */
	pgserver_launch(&pg[0]);
	expect(&s, 1, 7, 4);
	/* Whoever has not seen it happen cannot know. */
	struct scene newcomer;
	begin(&newcomer, 3, "postgres");
	expect(&newcomer, -1, 7, 4);
	end(&newcomer);
	expect(&s, 1, 7, 4);
	end(&s);
}

static int start(void **state)
{
	pgdir_init(&dir);
	pgserver_start(&pg[0], &dir, 0);
	pgserver_clone(&pg[1], &pg[0], 1);
	pgserver_clone(&pg[2], &pg[0], 2);
	return 0;
}

static int stop(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		pgserver_stop(&pg[i], SIGQUIT);
	pgdir_fini(&dir);
	return 0;
}

int main(void)
{
	hash_init();
	log_init(open("/dev/null", O_WRONLY));
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node_is_never_asked),
		cmocka_unit_test(finds_the_primary_and_then_is_quiet),
		cmocka_unit_test(a_refused_login_deposes_nobody),
		cmocka_unit_test(follows_the_configuration),
		cmocka_unit_test(follows_a_death_a_promotion_and_a_return),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
