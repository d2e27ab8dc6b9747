/*
 * app — the program's parts and their lifetimes: what starts in which order, reloads, and ends in the opposite one.
 */
#ifndef APP_APP_H
#define APP_APP_H

#include "app/worker.h"
#include "conf/changes.h"
#include "conf/conf.h"

struct app {
	const char *conf_path, *program;
	uint64_t n_fds; /* descriptors that the process may have */
	unsigned n_workers;
	enum conf_engine engine; /* of the workers; not auto where the kernel refuses io_uring */
	struct worker **workers;
	pthread_barrier_t end;
	struct loop *loop; /* the control thread's */
	struct topo_board *board;
	struct resolver *resolver;
	struct pool_registry *pools;
	struct session_registry *sessions;
	struct catalog *catalog;
	struct keyring *keyring;
	struct auth *auth;
	struct consoles *consoles;
	struct policies *policies;
	struct hooks *hooks;
	struct records *records;
	struct control *control;
};

/* Loads PATH; what is wrong goes to stderr, a line each.  NULL: something was. */
struct conf *app_load_conf(const char *path) MUST_CHECK;
struct app_options {
	const char *conf_path;
	const char *program; /* as it was called: SIGUSR2 starts it anew */
	bool takes_over;     /* from the Lunapool that serves by this configuration's control socket */
};
/* Makes everything but threads, opens the listeners, then starts the workers.  Takes CONF over.  False: logged, and A is as after app_stop(). */
bool app_start(struct app *a, const struct app_options *o, struct conf *conf) MUST_CHECK;
void app_run(struct app *a);  /* the control thread's loop, until the program shall end */
void app_stop(struct app *a); /* closes every client, joins every thread, frees everything */

/* Control thread: reads the configuration again.  False with ERR: it is bad or cannot be applied, which was logged, and nothing has changed. */
bool app_reload(struct app *a, struct err *err);
/* Control thread: changes one setting until the next reload.  False with ERR: nothing has changed. */
bool app_set(struct app *a, const char *name, const char *value, struct err *err) MUST_CHECK;
/* Control thread: what app_reload() would do now, and would not; nothing changes.  False: ERRORS say what is wrong with the file. */
bool app_plan_reload(struct app *a, change_fn fn, void *arg, struct conf_errors *errors) MUST_CHECK;

#endif
