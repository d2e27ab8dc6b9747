/*
 * run — lunapool test: each file's cases, each with every seed, as TAP.
 *
 *   1..N     a line for each case:  ok 3 - name      not ok 4 - name, then the seed, what was wrong and where, and what had happened
 *
 * A case that fails with one seed is not run with the next ones: that one is what has to be looked at.
 */
#include "sim/run.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "script.h"

enum { EXIT_USAGE = 2 };
#define WHY_MAX 6000

static const char usage[] =
    "usage: lunapool test [-c PATH] [--seeds N] [--seed S] FILE…\n"
    "\n"
    "Runs the cases of each FILE (policies/main_test.lua) in simulated clusters and prints TAP.\n"
    "\n"
    "  -c PATH     the configuration that sim:configured() begins with\n"
    "  --seeds N   each case N times, with the seeds S, S+1, …: another order of what happens at once (1)\n"
    "  --seed S    the first seed (1); one that failed does the same again\n";

struct run {
	uint64_t seed, n_seeds;
	const char *conf; /* NULL: none */
	unsigned n, failed;
};

/* Each line of it behind "# ". */
static void print_comment(const char *before, const char *text)
{
	for (const char *at = text; *at;) {
		size_t n = strcspn(at, "\n");
		printf("# %s%.*s\n", before, (int)n, at);
		at += n + (at[n] == '\n');
	}
}

static void print_trace(void *arg, const char *line)
{
	print_comment("  ", line);
}

struct trace {
	char *text;
	size_t len;
};

/* Kept, since it stands behind what was wrong. */
static void keep_line(void *arg, const char *line)
{
	struct trace *t = arg;
	size_t n = strlen(line);
	t->text = mem_grow(t->text, t->len + n + 2);
	memcpy(t->text + t->len, line, n);
	memcpy(t->text + t->len + n, "\n", 2);
	t->len += n + 1;
}

/* '#' would begin a directive. */
static void print_point(struct run *r, bool is_good, const char *name)
{
	printf("%s %u - ", is_good ? "ok" : "not ok", ++r->n);
	for (const char *c = name; *c; c++)
		putchar(*c == '#' || *c == '\n' ? ' ' : *c);
	putchar('\n');
	r->failed += !is_good;
}

static void run_case(struct run *r, struct script *sc, size_t at, const char *path)
{
	char why[WHY_MAX];
	struct trace trace = { 0 };
	for (uint64_t i = 0; i < r->n_seeds; i++) {
		if (script_run(sc, at, r->seed + i, why, sizeof why, keep_line, &trace))
			continue;
		print_point(r, false, script_name(sc, at));
		print_comment("", why);
		printf("# seed %" PRIu64 "; the same again: lunapool test %s%s%s--seed %" PRIu64 " %s\n", r->seed + i,
		       r->conf ? "-c " : "", r->conf ? r->conf : "", r->conf ? " " : "", r->seed + i, path);
		if (trace.text)
			print_trace(NULL, trace.text);
		mem_free(trace.text);
		return;
	}
	print_point(r, true, script_name(sc, at));
}

static void run_file(struct run *r, struct script *sc, const char *path, const char *why)
{
	if (!sc || script_cases(sc) == 0) {
		print_point(r, false, path);
		print_comment("", sc ? "it has no case: t.case(\"…\", function(sim) … end)" : why);
		return;
	}
	for (size_t i = 0; i < script_cases(sc); i++) {
		run_case(r, sc, i, path);
		fflush(stdout);
	}
}

static int run_files(struct run *r, int n, char **paths)
{
	struct script **scripts = mem_alloc((size_t)n * sizeof *scripts);
	char(*whys)[WHY_MAX] = mem_alloc((size_t)n * sizeof *whys);
	size_t planned = 0;
	for (int i = 0; i < n; i++) {
		scripts[i] = script_load(paths[i], r->conf, whys[i], sizeof whys[i]);
		planned += scripts[i] && script_cases(scripts[i]) ? script_cases(scripts[i]) : 1;
	}
	printf("1..%zu\n", planned);
	for (int i = 0; i < n; i++) {
		run_file(r, scripts[i], paths[i], whys[i]);
		script_free(scripts[i]);
	}
	mem_free(scripts);
	mem_free(whys);
	return r->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool read_number(const char *text, uint64_t least, uint64_t *out)
{
	char *end;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *out >= least;
}

int run_tests(int argc, char **argv)
{
	static const struct option known[] = { { "seeds", required_argument, NULL, 'n' },
		                                   { "seed", required_argument, NULL, 's' },
		                                   { "help", no_argument, NULL, 'h' },
		                                   { 0 } };
	static const uint8_t key[16] = { 7 }; /* nobody attacks; the same every time */
	struct run r = { .seed = 1, .n_seeds = 1 };
	bool is_good = true;
	for (int c; (c = getopt_long(argc, argv, "hc:", known, NULL)) != -1;) {
		if (c == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (c == 'c') {
			r.conf = optarg;
			continue;
		}
		is_good = is_good && (c == 'n' ? read_number(optarg, 1, &r.n_seeds) : c == 's' && read_number(optarg, 0, &r.seed));
	}
	if (!is_good || optind == argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	hash_init_key(key);
	return run_files(&r, argc - optind, argv + optind);
}
