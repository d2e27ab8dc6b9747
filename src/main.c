/*
 * main — the command line, and the table of contents of a start.
 *
 *   lunapool -c PATH            serve in the foreground
 *   lunapool --check -c PATH    say whether the configuration is good
 *   lunapool --takeover -c PATH take the place of the one that serves, without a client noticing
 *   lunapool --dry-run -c PATH  say what a reload of the one that serves would change
 *   lunapool test FILE…         tests of policies (src/sim/run.c)
 *   lunapool --docs WHAT        print what the tables know: params, commands, statements, meta, sample BLOCK
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/console.h"
#include "admin/metrics.h"
#include "app/app.h"
#include "app/ctl.h"
#include "app/policies.h"
#include "app/takeover.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/version.h"
#include "policy/meta.h"
#include "sim/run.h"
#include "sql/matrix.h"
#include "upstream/keyring.h"

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "lunapool " LUNAPOOL_VERSION " - pools PostgreSQL connections\n"
    "\n"
    "  lunapool -c PATH           serve in the foreground; PATH is a file, or a directory whose *.conf are read in name order\n"
    "  lunapool --check -c PATH   check the configuration, then exit\n"
    "  lunapool ctl COMMAND…      one command of the console, as in `lunapool ctl show pools`; ctl --help tells more\n"
    "  lunapool test FILE…        tests of policies, in simulated clusters; test --help tells more\n"
    "  lunapool --takeover -c PATH\n"
    "                             serve in the place of the Lunapool that does so now, which lets its clients finish and ends\n"
    "  lunapool --dry-run -c PATH print what SIGHUP would change in the Lunapool that serves now\n"
    "  lunapool --docs params     print the parameter reference (markdown)\n"
    "  lunapool --docs commands   print the console's commands (markdown)\n"
    "  lunapool --docs statements print where each kind of statement may run (markdown)\n"
    "  lunapool --docs meta       print what policies may use (LuaLS annotations)\n"
    "  lunapool --docs sample BLOCK\n"
    "                             print a sample file for one block (global, listen, auth, cluster, …)\n"
    "  lunapool --version\n"
    "  lunapool --help\n"
    "\n"
    "Signals: SIGHUP reads the configuration again, SIGTERM lets clients finish, SIGINT (or SIGTERM again) stops at once,\n"
    "SIGUSR2 starts the program anew with --takeover.\n";

struct options {
	const char *conf_path, *docs;
	bool is_check, is_dry_run, takes_over;
};

/* libpq reads PG* variables behind our back: our connections are described by the configuration alone. */
static void clear_pg_environment(void)
{
	extern char **environ;
	for (char **e = environ; *e;) {
		size_t n = strcspn(*e, "=");
		char name[256];
		if (strncmp(*e, "PG", 2) != 0 || n >= sizeof name) {
			e++;
			continue;
		}
		memcpy(name, *e, n);
		name[n] = '\0';
		unsetenv(name); /* closes the gap: E stands at the next one */
	}
}

static int print_docs(const char *what, const char *block)
{
	if (strcmp(what, "params") == 0 && !block)
		conf_print_manual(STDOUT_FILENO);
	else if (strcmp(what, "commands") == 0 && !block)
		console_print_manual(STDOUT_FILENO);
	else if (strcmp(what, "metrics") == 0 && !block)
		metrics_print_manual(STDOUT_FILENO);
	else if (strcmp(what, "statements") == 0 && !block)
		matrix_print(STDOUT_FILENO);
	else if (strcmp(what, "meta") == 0 && !block)
		policy_print_meta(STDOUT_FILENO);
	else if (strcmp(what, "sample") == 0 && block) {
		if (!conf_print_sample(STDOUT_FILENO, block)) {
			fprintf(stderr, "lunapool: there is no block %s; --docs params lists them\n", block);
			return EXIT_USAGE;
		}
	} else {
		fprintf(stderr, "lunapool: --docs takes params, commands, statements, metrics, meta or sample BLOCK\n");
		return EXIT_USAGE;
	}
	return EXIT_SUCCESS;
}

/* NULL: what is wrong stands on stderr. */
static struct conf *load(const char *path)
{
	struct conf_errors errors = { 0 };
	struct conf *conf = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		fprintf(stderr, "%s%s%s\n", errors.at[i].where, errors.at[i].where[0] ? ": " : "", errors.at[i].text);
	conf_errors_fini(&errors);
	return conf;
}

static int dry_run(const char *path)
{
	struct conf *conf = load(path);
	bool is_good = conf && takeover_print_plan(conf, STDOUT_FILENO);
	conf_free(conf);
	return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int check(const char *path)
{
	struct conf *conf = load(path);
	if (!conf)
		return EXIT_FAILURE;
	struct err err;
	struct policies *policies = policies_new(1);
	struct policy_set *set = policies_plan(policies, conf, &err);
	struct keyring_plan *keys = set ? keyring_plan(NULL, conf, &err) : NULL;
	if (!keys)
		fprintf(stderr, "%s\n", err.text);
	else
		printf("%s: good\n", path);
	bool is_good = keys != NULL;
	keyring_drop(keys);
	policy_set_free(set);
	policies_free(policies);
	conf_free(conf);
	return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(const struct app_options *o)
{
	static struct app app;
	signal(SIGPIPE, SIG_IGN);
	struct conf *conf = app_load_conf(o->conf_path);
	if (!conf)
		return EXIT_FAILURE;
	log_configure(conf->log_level, conf->log_format);
	if (geteuid() == 0)
		log_warn(NULL, "running_as_root", KV_STR("hint", "lunapool needs no privileges: run it as a user of its own"));
	if (!app_start(&app, o, conf))
		return EXIT_FAILURE;
	app_run(&app);
	app_stop(&app);
	log_info(NULL, "stopped");
	return EXIT_SUCCESS;
}

/* -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "check", no_argument, NULL, 'k' },
		{ "docs", required_argument, NULL, 'd' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "takeover", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	for (int c; (c = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'k':
			o->is_check = true;
			break;
		case 'n':
			o->is_dry_run = true;
			break;
		case 't':
			o->takes_over = true;
			break;
		case 'd':
			o->docs = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case 'v':
			puts("lunapool " LUNAPOOL_VERSION);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	if (argc > 1 && strcmp(argv[1], "ctl") == 0) {
		hash_init();
		log_init(STDERR_FILENO);
		return ctl_run(argc - 1, argv + 1);
	}
	if (argc > 1 && strcmp(argv[1], "test") == 0) {
		log_init(STDERR_FILENO);
		return run_tests(argc - 1, argv + 1);
	}
	int status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	clear_pg_environment();
	hash_init();
	log_init(STDERR_FILENO);
	if (o.docs && argc - optind <= 1)
		return print_docs(o.docs, argv[optind]);
	if (!o.conf_path || optind != argc || o.docs || o.is_check + o.is_dry_run + o.takes_over > 1) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (o.is_check)
		return check(o.conf_path);
	if (o.is_dry_run)
		return dry_run(o.conf_path);
	return serve(&(struct app_options){ .conf_path = o.conf_path, .program = argv[0], .takes_over = o.takes_over });
}
