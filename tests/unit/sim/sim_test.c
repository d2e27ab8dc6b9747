/* sim: a seed does the same again, another one does something else; and when a simulation ends, time is real. */
#include "sim/sim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "unit.h"

struct story {
	char text[400000];
	size_t len;
};

static void keep(void *arg, const char *line)
{
	struct story *t = arg;
	size_t n = strlen(line);
	assert_true(t->len + n + 2 < sizeof t->text);
	memcpy(t->text + t->len, line, n);
	t->len += n;
	t->text[t->len++] = '\n';
}

static void tell(uint64_t seed, struct story *out)
{
	static const struct sim_node nodes[] = { { "a", NULL }, { "b", NULL }, { "c", NULL } };
	struct err err;
	out->len = 0;
	struct sim *s = sim_new(seed);
	assert_true(sim_begin(s, &(struct sim_conf){ .n = 3, .nodes = nodes, .sync = "ANY 1 (b, c)" }, 1, &err));
	assert_true(sim_run(s, 300 * US_PER_MS));
	sim_lunapool_dies_at(s, "promote");
	sim_kill(s, 0);
	assert_true(sim_run(s, 5 * US_PER_S));
	assert_int_equal(sim_promotions(s, 0), 1);
	assert_int_equal(sim_lost_writes(s, 0), 0);
	assert_true(sim_writes(s, 0) > 300);
	sim_say(s, "%llu writes, outage %llu", (unsigned long long)sim_writes(s, 0), (unsigned long long)sim_write_outage_us(s, 0));
	sim_trace(s, keep, out);
	sim_free(s);
}

static void a_seed_does_the_same_again(void **state)
{
	struct story *one = test_malloc(sizeof *one), *two = test_malloc(sizeof *two);
	tell(7, one);
	tell(7, two);
	assert_int_equal(one->len, two->len);
	assert_memory_equal(one->text, two->text, one->len);
	tell(8, two);
	assert_true(one->len != two->len || memcmp(one->text, two->text, one->len) != 0);
	test_free(one);
	test_free(two);
}

static void time_is_real_behind_it(void **state)
{
	struct sim *s = sim_new(1);
	uint64_t then = clock_us();
	assert_int_equal(clock_us(), then);
	sim_free(s);
	uint64_t now = clock_us(), real = clock_real_us();
	assert_true(now != then && real - now < US_PER_S);
}

static void what_a_configuration_gets_wrong_is_said(void **state)
{
	static const struct sim_node nodes[] = { { "a", NULL }, { "b", "priority = many\n" } };
	struct err err;
	struct sim *s = sim_new(1);
	assert_false(sim_begin(s, &(struct sim_conf){ .n = 2, .nodes = nodes }, 1, &err));
	assert_non_null(strstr(err.text, "priority"));
	sim_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_does_the_same_again),
		cmocka_unit_test(time_is_real_behind_it),
		cmocka_unit_test(what_a_configuration_gets_wrong_is_said),
	};
	const uint8_t key[16] = { 1 };
	hash_init_key(key);
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return UNIT_RUN(tests);
}
