/* roles on a real primary with two standbys: finds it, follows a promotion that somebody else did, survives what it must. */
#include "ha/roles.h"

#include "base/hash.h"
#include "base/log.h"
#include "pgserver.h"
#include "unitloop.h"

static struct pgdir dir;
static struct pgserver pg[3];
static const char *interval = "50ms";

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

static void on_want(void *arg, uint32_t node_id)
{
	struct scene *s = arg;
	roles_doubt(s->roles, node_id);
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
	fprintf(f, "auth { hba_file = \"%s\" }\n database \"*\" { }\ncluster main { service_user = %s probe_interval = %s\n", hba,
	        user, interval);
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
	topo_on_want(s->board, on_want, s);
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

static struct pulse *pulse_at(const struct scene *s, unsigned i)
{
	return topo_latest(s->board)->clusters[0].nodes[i].pulse;
}

static bool are_both_fit(void *arg)
{
	return pulse_is_fit(pulse_at(arg, 1)) && pulse_is_fit(pulse_at(arg, 2));
}

static bool is_one_unfit(void *arg)
{
	return !pulse_is_fit(pulse_at(arg, 2));
}

/* As a session that has written waits: for the primary's position asked after that, then for a standby that has it; asks for both. */
struct wait {
	const struct scene *scene;
	uint64_t written_us, floor;
};

static bool is_fresh(void *arg)
{
	struct wait *w = arg;
	uint64_t asked_us, lsn;
	if (!w->floor && pulse_written(pulse_at(w->scene, 0), &asked_us, &lsn) && asked_us > w->written_us)
		w->floor = lsn;
	if (w->floor && pulse_replayed(pulse_at(w->scene, 1)) >= w->floor)
		return true;
	pulse_want(pulse_at(w->scene, 1));
	return false;
}

static void who_waits_is_not_kept_for_an_interval(void **state)
{
	struct scene s;
	interval = "60s";
	begin(&s, 3, "postgres");
	for (unsigned i = 0; i < 3; i++)
		pulse_want(pulse_at(&s, 0)); /* the standbys may have been asked before the primary */
	expect(&s, 0, 7, 6);
	pulse_want(pulse_at(&s, 0));
	run_until(s.loop, are_both_fit, &s);
	for (unsigned i = 0; i < 5; i++) {
		pgserver_sql(&pg[0], "select pg_logical_emit_message(true, 'a', 'b')");
		struct wait w = { .scene = &s, .written_us = clock_us() };
		run_until(s.loop, is_fresh, &w);
	}
	assert_true(are_both_fit(&s));

	/* A broken connection is said by somebody who noticed, … */
	pulse_eject(pulse_at(&s, 2));
	assert_true(is_one_unfit(&s));
	run_until(s.loop, are_both_fit, &s);
	/* … and seen by ourselves. */
	pgserver_stop(&pg[2], SIGKILL);
	run_until(s.loop, is_one_unfit, &s);
	pgserver_launch(&pg[2]);
	interval = "50ms";
	publish(&s, 3, "postgres");
	run_until(s.loop, are_both_fit, &s);
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
		cmocka_unit_test(who_waits_is_not_kept_for_an_interval),
		cmocka_unit_test(follows_a_death_a_promotion_and_a_return),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
