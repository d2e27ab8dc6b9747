/* sim: one simulated cluster after the other, each with another seed. */
#include "sim/sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "unit.h"

#define MS US_PER_MS
static struct sim *s;

static void print_line(void *arg, const char *line)
{
	printf("# %s\n", line);
}

static void give_up(uint64_t seed, const char *what)
{
	printf("# seed %llu: %s\n", (unsigned long long)seed, what);
	sim_trace(s, print_line, NULL);
	fail_msg("seed %llu: %s", (unsigned long long)seed, what);
}

static void begin(uint64_t seed, const char *sync)
{
	static const struct sim_node nodes[] = { { "a", NULL }, { "b", NULL }, { "c", NULL } };
	const struct sim_conf conf = { .n = 3, .nodes = nodes, .sync = sync };
	struct err err;
	s = sim_new(seed);
	if (!sim_begin(s, &conf, &err))
		give_up(seed, err.text);
}

static void run(uint64_t seed, uint64_t us)
{
	if (!sim_run(s, us))
		give_up(seed, sim_violation(s));
}

static void a_death_is_followed_by_one_promotion(void **state)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		begin(seed, NULL);
		run(seed, 300 * MS);
		sim_kill(s, 0);
		run(seed, 5 * US_PER_S);
		if (!sim_primary(s) || strcmp(sim_primary(s), "a") == 0 || sim_promotions(s) != 1 || sim_write_outage_us(s) > US_PER_S)
			give_up(seed, "nobody took its place in time");
		if (getenv("SHOW") && seed == 1)
			sim_trace(s, print_line, NULL),
			    printf("# outage %llu writes %llu lost %llu\n", (unsigned long long)sim_write_outage_us(s),
			           (unsigned long long)sim_writes(s), (unsigned long long)sim_lost_writes(s));
		sim_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_death_is_followed_by_one_promotion),
	};
	const uint8_t key[16] = { 1 };
	hash_init_key(key);
	log_init(2);
	return UNIT_RUN(tests);
}
