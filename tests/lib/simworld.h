/*
 * simworld — for tests in simulated clusters (sim/sim.h) of three nodes, a, b and c, of which a is the primary: they begin, are looked at, and end.
 *
 * Each case begins clusters with one seed after the other; what is wrong is told with the seed and with all that had happened.
 */
#ifndef SIMWORLD_H
#define SIMWORLD_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "sim/sim.h"
#include "unit.h"

#define NODES 3
#define MS US_PER_MS
/* Of events: so many, and ten times as many in check-long. */
#define ORDERS(n) (getenv("LUNAPOOL_LONG") ? 10u * (n) : (n))

static struct sim *s;
static uint64_t seed;

static void print_line(void *arg, const char *line)
{
	printf("# %s\n", line);
}

static inline void give_up(const char *what)
{
	sim_trace(s, print_line, NULL);
	fail_msg("seed %llu: %s", (unsigned long long)seed, what);
}

static inline void expect(bool is_so, const char *what)
{
	if (!is_so)
		give_up(what);
}

static inline void expect_text(const char *text, const char *has)
{
	if (!text || !strstr(text, has))
		give_up(text ? text : has);
}

static inline uint32_t rnd(uint32_t n)
{
	return sim_random(s, n);
}

static inline void run(uint64_t us)
{
	if (!sim_run(s, us))
		give_up(sim_violation(s));
}

/* Lunapool dies now and then, too. */
static inline void run_with_deaths(uint64_t us)
{
	for (uint64_t until = sim_now_us(s) + us; sim_now_us(s) < until;) {
		run(1 + rnd(300) * MS);
		if (rnd(3) == 0)
			sim_lunapool_dies(s);
	}
}

static inline bool is_primary(const char *name)
{
	return strcmp(sim_record(s, 0)->primary, name) == 0;
}

static inline int primary_now(void)
{
	return sim_node_named(s, sim_record(s, 0)->primary);
}

static inline void begin_as(uint64_t n, const struct sim_conf *like)
{
	static const struct sim_node nodes[NODES] = { { "a", NULL }, { "b", NULL }, { "c", NULL } };
	struct sim_conf conf = *like;
	struct err err;
	seed = n;
	s = sim_new(n);
	conf.n = NODES;
	conf.nodes = nodes;
	if (!sim_begin(s, &conf, 1, &err))
		give_up(err.text);
	expect(is_primary("a") && sim_record(s, 0)->epoch == 1, "a is recorded");
	run(100 * MS);
}

static inline void end(void)
{
	sim_free(s);
	s = NULL;
}

/* Nothing fails any more: the operation has ended, and who is recorded can be written to. */
static inline void expect_all_well(void)
{
	sim_journal_fails(s, 0);
	for (int i = 0; i < 60 || (i < 300 && sim_record(s, 0)->op.kind == OPERATION_REJOIN); i++) {
		run(500 * MS);
		if (i >= 6 && !sim_record(s, 0)->op.id && sim_primary(s, 0) && sim_is_writable(s, primary_now()) &&
		    sim_is_up(s, primary_now()))
			break;
	}
	expect(!sim_record(s, 0)->op.id, "an operation has not ended");
	expect(sim_is_writable(s, primary_now()) && sim_is_up(s, primary_now()), "who is recorded cannot be written to");
	expect(sim_primary(s, 0) && is_primary(sim_primary(s, 0)), "who is recorded is not where writes are sent");
}

static inline bool has_past(enum operation_kind kind, enum operation_end how)
{
	for (size_t i = 0; i < sim_record(s, 0)->n_past; i++)
		if (sim_record(s, 0)->past[i].kind == kind && sim_record(s, 0)->past[i].end == how)
			return true;
	return false;
}

/* ---- orders */

static inline uint64_t order(enum ops_order what, const char *node)
{
	struct err err = { .text = "" };
	uint64_t id = sim_order(s, 0, what, node, &err);
	if (!id)
		give_up(err.text);
	return id;
}

static inline void refused(enum ops_order what, const char *node, const char *why)
{
	struct err err = { .text = "" };
	expect(!sim_order(s, 0, what, node, &err), "the order is taken");
	expect_text(err.text, why);
}

static inline void finish(uint64_t id, enum ops_answer wanted)
{
	struct err err = { .text = "" };
	for (int i = 0; i < 4000 && sim_answer(s, 0, id, &err) == OPS_WAITS; i++)
		run(10 * MS);
	if (sim_answer(s, 0, id, &err) != wanted)
		give_up(*err.text ? err.text : "the order has another end");
}

static inline void done(enum ops_order what, const char *node)
{
	finish(order(what, node), OPS_DONE);
}

/* ---- policies: the path of a file that has this text, for as long as the program runs */

static inline const char *policy_of(const char *text)
{
	static char path[40];
	static int fd = -1;
	if (fd >= 0)
		close(fd);
	fd = memfd_create("policy", MFD_CLOEXEC);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return path;
}

static inline int run_cases(const struct CMUnitTest *cases, size_t n)
{
	const uint8_t key[16] = { 1 };
	hash_init_key(key);
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC));
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("simulated", cases, n, NULL, NULL);
}

#endif
