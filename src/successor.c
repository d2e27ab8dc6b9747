/*
 * successor — the program as it is on disk now, as a child of ours, so that it belongs to the same systemd unit.
 *
 * Its end is polled for, since SIGCHLD is not for us alone: libraries fork, too.
 */
#include "app/successor.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"

#define REAP_US (100 * US_PER_MS)

static void on_reap(struct loop_timer *t)
{
	struct successor *s = CONTAINER_OF(t, struct successor, reap);
	int status = 0;
	if (waitpid(s->pid, &status, WNOHANG) == 0) {
		loop_timer_start(s->app->loop, t, REAP_US);
		return;
	}
	if (s->is_awaited(s))
		log_error(NULL, "takeover_failed", KV_INT("pid", s->pid),
		          KV_STR("hint", "the successor has ended; its log says why; this process goes on serving"));
	s->pid = 0;
}

void successor_init(struct successor *s, struct app *a, bool (*is_awaited)(const struct successor *s))
{
	*s = (struct successor){ .app = a, .is_awaited = is_awaited };
	loop_timer_init(&s->reap, on_reap);
}

void successor_start(struct successor *s)
{
	extern char **environ;
	const struct app *a = s->app;
	char *args[] = { (char *)a->program, "--takeover", "-c", (char *)a->conf_path, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	if (s->pid)
		return;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int e = posix_spawnp(&s->pid, a->program, NULL, &attr, args, environ);
	posix_spawnattr_destroy(&attr);
	if (e) {
		s->pid = 0;
		log_error(NULL, "takeover_failed", KV_STR("program", a->program), KV_STR("error", strerror(e)));
		return;
	}
	log_info(NULL, "successor_started", KV_INT("pid", s->pid));
	loop_timer_start(a->loop, &s->reap, REAP_US);
}

void successor_stop(struct successor *s)
{
	loop_timer_stop(s->app->loop, &s->reap);
}
