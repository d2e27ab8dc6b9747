/*
 * app — the program's parts and their lifetimes: what starts in which order, reloads, and ends in the opposite one.
 *
 * Always: parts that threads share (board, registries, resolver) are made before the first worker and freed after the last one.
 * Signals are blocked from the start in every thread but the control thread.
 */
#include "app/app.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/control.h"
#include "app/policies.h"
#include "auth/auth.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "conf/changes.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/stream.h"
#include "session/session.h"

/* Descriptors that clients never get: listeners, probes, configuration files, the resolver; a worker's loop and its letters. */
#define FDS_FOR_CONTROL 64
#define FDS_PER_WORKER 16

static unsigned count_cores(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Of what is left to data, servers may need up to a quarter. */
static int64_t clients_that_fit(const struct app *a)
{
	uint64_t kept = FDS_FOR_CONTROL + (uint64_t)FDS_PER_WORKER * a->n_workers;
	uint64_t data = a->n_fds > kept ? a->n_fds - kept : 0;
	return data >= 4 ? (int64_t)(data / 4 * 3) : 1;
}

static void fit_to_fds(const struct app *a, struct conf *conf)
{
	int64_t fit = clients_that_fit(a);
	if (conf->limits.max_clients <= fit)
		return;
	log_warn(NULL, "max_clients_lowered", KV_INT("configured", conf->limits.max_clients), KV_INT("effective", fit),
	         KV_INT("descriptors", a->n_fds), KV_STR("hint", "raise the limit of open files (ulimit -n, LimitNOFILE)"));
	conf->limits.max_clients = fit;
}

static void log_change(void *arg, const struct change *c)
{
	if (c->needs_restart)
		log_warn(NULL, "needs_restart", KV_STR("what", c->text));
	else
		log_info(NULL, "changed", KV_STR("what", c->text));
}

static void on_publish(void *arg, unsigned reader)
{
	struct app *a = arg;
	worker_wake(a->workers[reader]);
	control_on_publish(a->control);
}

/* The first thing that is wrong goes into ERR, too. */
static struct conf *load_conf(const char *path, struct err *err)
{
	struct conf_errors errors = { 0 };
	struct conf *conf = conf_load(path, &errors);
	for (size_t i = 0; i < errors.n; i++)
		log_error(NULL, "config_error", KV_STR("where", errors.at[i].where), KV_STR("error", errors.at[i].text));
	if (errors.n)
		conf_errors_to_err(&errors, err);
	conf_errors_fini(&errors);
	return conf;
}

struct conf *app_load_conf(const char *path)
{
	struct err err;
	return load_conf(path, &err);
}

static void make_shared(struct app *a, struct conf *conf, struct policy_set *policies)
{
	a->loop = loop_new(true);
	a->board = topo_board_new(a->n_workers);
	struct topo *topo = topo_build(conf, NULL);
	topo->policies = policies_apply(a->policies, policies);
	topo_publish(a->board, topo);
	a->resolver = resolver_new();
	a->keyring = keyring_new();
	a->pools = pool_registry_new(a->n_workers);
	a->sessions = session_registry_new(a->n_workers);
	a->consoles = consoles_new(a->n_workers, a->pools);
	pthread_barrier_init(&a->end, NULL, a->n_workers);
}

/* What the workers are to use: never auto where the kernel refuses io_uring. */
static bool choose_engine(struct app *a, enum conf_engine wanted)
{
	struct err why;
	a->engine = wanted;
	if (wanted == CONF_ENGINE_EPOLL || engine_can_io_uring(&why))
		return true;
	a->engine = CONF_ENGINE_EPOLL;
	if (wanted == CONF_ENGINE_AUTO)
		log_info(NULL, "epoll_instead_of_io_uring", KV_ERR(&why));
	else
		log_error(NULL, "start_failed", KV_ERR(&why));
	return wanted == CONF_ENGINE_AUTO;
}

static void start_workers(struct app *a)
{
	struct worker_env env = { a->board,    a->resolver, a->pools,   a->sessions, a->catalog,   a->keyring, a->auth,
		                      a->consoles, a->hooks,    a->records, a->engine,   a->n_workers, &a->end };
	a->workers = mem_alloc(a->n_workers * sizeof *a->workers);
	for (unsigned i = 0; i < a->n_workers; i++)
		a->workers[i] = worker_new(&env, i);
	for (unsigned i = 0; i < a->n_workers; i++)
		worker_start(a->workers[i]);
	topo_on_publish(a->board, on_publish, a);
}

/* Until the last step everything can be taken back. */
static bool begin_to_serve(struct app *a, const struct conf *conf, bool takes_over, struct err *err)
{
	struct keyring_plan *keys = keyring_plan(a->keyring, conf, err);
	if (!keys)
		return false;
	keyring_apply(a->keyring, keys);
	if (!control_adopt(a->control, err) || (takes_over && !control_take_over(a->control, conf, err)) ||
	    !control_listen(a->control, conf, err))
		return false;
	start_workers(a);
	if (!control_commit(a->control, err))
		return false;
	control_begin(a->control);
	return true;
}

/* Nothing was made yet but the policies' place. */
static bool give_up_start(struct app *a, struct conf *conf)
{
	policies_free(a->policies);
	conf_free(conf);
	return false;
}

bool app_start(struct app *a, const struct app_options *o, struct conf *conf)
{
	struct err err;
	*a = (struct app){ .conf_path = o->conf_path, .program = o->program, .n_fds = listen_raise_nofile() };
	a->n_workers = conf->workers ? (unsigned)conf->workers : count_cores();
	fit_to_fds(a, conf);
	a->policies = policies_new(a->n_workers);
	if (!choose_engine(a, conf->engine))
		return give_up_start(a, conf);
	struct policy_set *policies = policies_plan(a->policies, conf, &err);
	if (!policies) {
		log_error(NULL, "start_failed", KV_ERR(&err));
		return give_up_start(a, conf);
	}
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* threads made below inherit it */
	make_shared(a, conf, policies);
	a->control = control_new(a);
	bool is_serving = begin_to_serve(a, conf, o->takes_over, &err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!is_serving) {
		log_error(NULL, "start_failed", KV_ERR(&err));
		app_stop(a);
		return false;
	}
	log_info(NULL, "started", KV_STR("version", LUNAPOOL_VERSION), KV_INT("pid", getpid()), KV_INT("workers", a->n_workers),
	         KV_STR("engine", a->engine == CONF_ENGINE_EPOLL ? "epoll" : "io_uring"), KV_INT("descriptors", a->n_fds),
	         KV_INT("max_clients", conf->limits.max_clients));
	return true;
}

void app_run(struct app *a)
{
	loop_run(a->loop);
}

static void end_workers(struct app *a)
{
	if (!a->workers)
		return;
	topo_on_publish(a->board, NULL, NULL);
	for (unsigned i = 0; i < a->n_workers; i++)
		worker_stop(a->workers[i]);
	for (unsigned i = 0; i < a->n_workers; i++)
		worker_join(a->workers[i]);
	auth_free(a->auth); /* its helpers write to the workers */
	a->auth = NULL;
	for (unsigned i = 0; i < a->n_workers; i++)
		worker_free(a->workers[i]);
	mem_free(a->workers);
}

void app_stop(struct app *a)
{
	control_shut(a->control);
	end_workers(a);
	control_free(a->control);
	catalog_free(a->catalog);
	auth_free(a->auth);
	consoles_free(a->consoles);
	resolver_free(a->resolver);
	keyring_free(a->keyring);
	session_registry_free(a->sessions);
	pool_registry_free(a->pools);
	topo_board_free(a->board);
	policies_free(a->policies);
	loop_free(a->loop);
	pthread_barrier_destroy(&a->end);
}

static bool refuse_reload(struct app *a, struct conf *conf, const struct err *why)
{
	policies_note_refusal(a->policies, why->text);
	if (conf)
		log_error(NULL, "reload_refused", KV_STR("path", a->conf_path), KV_ERR(why));
	else /* the log has all that is wrong */
		log_error(NULL, "reload_refused", KV_STR("path", a->conf_path), KV_STR("hint", "everything stays as it was"));
	conf_free(conf);
	return false;
}

static void log_other_policy(void *arg, const char *cluster)
{
	log_info(NULL, "policy_changed", KV_STR("cluster", cluster));
}

/* Another configuration, or policies in other words.  POLICIES: those for CONF. */
static void publish(struct app *a, struct conf *conf, struct policy_set *policies)
{
	struct topo *t = topo_build(conf, topo_latest(a->board));
	t->policies = policies_apply(a->policies, policies);
	topo_publish(a->board, t);
}

/* CONF is good in every respect: from here on nothing can fail. */
static void put_in_force(struct app *a, struct conf *conf, struct keyring_plan *keys, struct policy_set *policies)
{
	const struct topo *before = topo_latest(a->board);
	unsigned parts = conf_changes(before->conf, conf, log_change, NULL);
	bool has_renewed = keyring_apply(a->keyring, keys); /* before anybody can see the configuration that it belongs to */
	bool has_other_policies = policies_differ(a->policies, policies, log_other_policy, NULL);
	if (parts || has_renewed || has_other_policies) {
		conf_keep_restart(conf, before->conf); /* so that SHOW CONFIG tells the truth, and the next reload reports it again */
		log_configure(conf->log_level, conf->log_format);
		publish(a, conf, policies);
		control_on_conf(a->control, parts);
	} else {
		policy_set_free(policies);
		conf_free(conf);
	}
}

/* What else there is to make of CONF, all of it or nothing. */
static struct policy_set *plan(struct app *a, const struct conf *conf, struct keyring_plan **keys, struct err *err)
{
	struct policy_set *policies = policies_plan(a->policies, conf, err);
	*keys = policies ? keyring_plan(a->keyring, conf, err) : NULL;
	if (*keys)
		return policies;
	policy_set_free(policies);
	return NULL;
}

bool app_set(struct app *a, const char *name, const char *value, struct err *err)
{
	const struct topo *before = topo_latest(a->board);
	struct conf *conf = conf_with((struct conf *)before->conf, name, value, err);
	if (!conf)
		return false;
	struct keyring_plan *keys;
	struct policy_set *policies = plan(a, conf, &keys, err);
	if (!policies)
		return refuse_reload(a, conf, err);
	fit_to_fds(a, conf);
	put_in_force(a, conf, keys, policies);
	return true;
}

bool app_reload(struct app *a, struct err *err)
{
	struct conf *conf = load_conf(a->conf_path, err);
	if (!conf)
		return refuse_reload(a, NULL, err);
	struct keyring_plan *keys;
	struct policy_set *policies = plan(a, conf, &keys, err);
	if (!policies || !control_listen(a->control, conf, err)) {
		keyring_drop(keys);
		policy_set_free(policies);
		return refuse_reload(a, conf, err);
	}
	fit_to_fds(a, conf);
	put_in_force(a, conf, keys, policies);
	policies_note_refusal(a->policies, "");
	policies_forgive(a->policies);
	log_info(NULL, "reloaded", KV_STR("path", a->conf_path), KV_INT("generation", topo_latest(a->board)->generation));
	return true;
}

struct teller {
	change_fn fn;
	void *arg;
};

static void tell_renewed(void *arg, const char *block)
{
	const struct teller *t = arg;
	char text[300];
	bool is_listen = strcmp(block, "listen") == 0;
	snprintf(text, sizeof text, "%s%.200s: TLS is another, by its settings or files; %s", is_listen ? "" : "cluster ", block,
	         is_listen ? "it holds for clients from now on" : "its servers are replaced as they come back");
	t->fn(t->arg, &(struct change){ .part = is_listen ? CHANGE_listen : CHANGE_cluster, .text = text });
}

static void tell_other_policy(void *arg, const char *cluster)
{
	const struct teller *t = arg;
	char text[300];
	snprintf(text, sizeof text, "cluster %.200s: its policy has other words; they hold from now on", cluster);
	t->fn(t->arg, &(struct change){ .part = CHANGE_cluster, .text = text });
}

bool app_plan_reload(struct app *a, change_fn fn, void *arg, struct conf_errors *errors)
{
	struct conf *conf = conf_load(a->conf_path, errors);
	if (!conf)
		return false;
	struct err err;
	struct keyring_plan *keys;
	struct teller teller = { fn, arg };
	struct policy_set *policies = plan(a, conf, &keys, &err);
	if (policies) {
		fit_to_fds(a, conf);
		conf_changes(topo_latest(a->board)->conf, conf, fn, arg);
		keyring_differs(a->keyring, keys, tell_renewed, &teller);
		policies_differ(a->policies, policies, tell_other_policy, &teller);
	} else
		conf_errors_add(errors, "", "%s", err.text);
	bool is_good = policies != NULL;
	keyring_drop(keys);
	policy_set_free(policies);
	conf_free(conf);
	return is_good;
}
