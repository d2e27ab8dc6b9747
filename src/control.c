/*
 * control — the control thread's work: who comes in, who is primary, what signals say, and the end of the program.
 *
 *   serving --a successor--> leaving --SIGTERM--> draining --SIGTERM--> stopping
 *      \---- SIGTERM ---------------------------------/
 *   leaving, draining --nobody left, drain_timeout--> stopping;   any --SIGINT--> stopping
 *
 * A client's descriptor is accepted here and mailed to the less loaded of two random workers, also when there are too many: only a
 * session can say so in the protocol's words.  While draining the port is free for a successor; while leaving it has it already, and clients may
 * stay until they have been idle for takeover_idle_timeout.
 */
#include "app/control.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "app/app.h"
#include "app/ceiling.h"
#include "app/heirs.h"
#include "app/listeners.h"
#include "app/monitor.h"
#include "app/nodeuse.h"
#include "app/orders.h"
#include "app/policies.h"
#include "app/successor.h"
#include "app/takeover.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "ha/journal.h"
#include "ha/loader.h"
#include "ha/powers.h"
#include "ha/roles.h"
#include "hooks/hooks.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "session/session.h"
#include "topo/topo.h"

#define COLLECT_US (20 * US_PER_MS)
#define DRAIN_US (20 * US_PER_MS)

enum control_state { CONTROL_SERVING, CONTROL_LEAVING, CONTROL_DRAINING, CONTROL_STOPPING };

struct control {
	struct app *app;
	enum control_state state;
	struct mailbox mailbox;
	struct listeners *listeners;
	struct heirs *heirs;
	struct takeover *takeover; /* NULL: we took nobody's place */
	struct roles *roles;
	struct keeper_pools of_pools;
	struct powers powers;
	struct journal *journal; /* NULL: there is no state_dir, or a successor has it */
	struct loader *loader;
	struct ceiling *ceiling;
	struct orders *orders;
	struct hooks *hooks;
	struct monitor *monitor;
	struct loop_timer collect, drain;
	uint64_t drain_until_us; /* 0: for as long as it takes */
	struct loop_signal hup, term, interrupt, usr2;
	struct successor successor;
	bool is_main;                        /* for systemd: no successor has become that */
	uint64_t shut_out, told_shut_out_us; /* connections closed since that was told */
};

static unsigned place(struct app *a)
{
	unsigned one = (unsigned)(rand_fast() % a->n_workers), two = (unsigned)(rand_fast() % a->n_workers);
	int64_t of_one = session_registry_clients_of(a->sessions, one), of_two = session_registry_clients_of(a->sessions, two);
	return of_one <= of_two ? one : two;
}

/* At most a line a second: whoever knocks a thousand times shall not fill the disk. */
static void shut_out(struct control *c, int fd, const struct addr *peer)
{
	uint64_t now = loop_now_us(c->app->loop);
	char text[ADDR_TEXT_MAX];
	close(fd);
	c->shut_out++;
	if (now - c->told_shut_out_us < US_PER_S)
		return;
	log_warn(NULL, "too_many_from_address", KV_STR("address", addr_text(peer, text)), KV_INT("closed", c->shut_out));
	c->told_shut_out_us = now;
	c->shut_out = 0;
}

static void on_client(void *arg, int fd, const struct addr *peer)
{
	struct control *c = arg;
	const struct conf *conf = topo_latest(c->app->board)->conf;
	enum session_gate gate = session_registry_admit(c->app->sessions, peer, conf->limits.max_clients_per_address);
	if (gate == SESSION_GATE_SHUT)
		shut_out(c, fd, peer);
	else
		worker_accept(c->app->workers[place(c->app)], fd, peer, gate);
}

/* Evidence from a worker that a node is not what the topology says. */
struct doubt {
	struct letter letter;
	uint32_t node_id;
};

static void doubt_deliver(struct letter *letter, void *receiver)
{
	struct doubt *d = CONTAINER_OF(letter, struct doubt, letter);
	struct control *c = receiver;
	if (c->roles)
		roles_doubt(c->roles, d->node_id);
	mem_free(d);
}

static void on_trouble(void *arg, uint32_t node_id)
{
	struct control *c = arg;
	struct doubt *d = mem_alloc(sizeof *d);
	d->letter.deliver = doubt_deliver;
	d->node_id = node_id;
	mailbox_send(&c->mailbox, &d->letter);
}

/* From any thread: some database's functions have to be read. */
static void look_deliver(struct letter *letter, void *receiver)
{
	struct control *c = receiver;
	if (c->loader)
		loader_look(c->loader);
	mem_free(letter);
}

static void on_catalog_wanted(void *arg)
{
	struct control *c = arg;
	struct letter *l = mem_alloc(sizeof *l);
	l->deliver = look_deliver;
	mailbox_send(&c->mailbox, l);
}

static void on_catalog_published(void *arg)
{
	struct control *c = arg;
	for (unsigned i = 0; i < c->app->n_workers; i++)
		worker_wake(c->app->workers[i]);
}

static void on_collect(struct loop_timer *t)
{
	struct control *c = CONTAINER_OF(t, struct control, collect);
	if (topo_collect(c->app->board))
		policies_collect(c->app->policies);
	else
		loop_timer_start(c->app->loop, t, COLLECT_US);
}

/* systemd hears of the service from its main process only: a predecessor that ends must not say that the service does. */
static PRINTF_LIKE(2, 3) void notify(const struct control *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (c->is_main)
		sd_notify(0, text);
}

void control_stop(struct control *c, const char *why)
{
	if (c->state == CONTROL_STOPPING)
		return;
	c->state = CONTROL_STOPPING;
	log_info(NULL, "stopping", KV_STR("why", why), KV_INT("clients", session_registry_clients(c->app->sessions)));
	notify(c, "STOPPING=1\nSTATUS=stopping");
	loop_stop(c->app->loop);
}

/* Who has not said hello yet may still come in while we leave, and not while we drain. */
static bool is_drained(const struct control *c)
{
	const struct app *a = c->app;
	int64_t clients = 0;
	for (unsigned i = 0; i < a->n_workers; i++) {
		if (!worker_is_draining(a->workers[i]))
			return false;
		clients += session_registry_clients_of(a->sessions, i);
	}
	return (c->state == CONTROL_LEAVING ? clients : session_registry_clients(a->sessions)) == 0;
}

static void on_drain(struct loop_timer *t)
{
	struct control *c = CONTAINER_OF(t, struct control, drain);
	if (is_drained(c))
		control_stop(c, "the last client has left");
	else if (c->drain_until_us != 0 && loop_now_us(c->app->loop) >= c->drain_until_us)
		control_stop(c, "drain_timeout is over");
	else
		loop_timer_start(c->app->loop, t, DRAIN_US);
}

static void begin_to_end(struct control *c, enum control_state state, const char *event, const char *why)
{
	uint64_t timeout_us = topo_latest(c->app->board)->conf->drain_timeout;
	c->state = state;
	c->drain_until_us = timeout_us ? loop_now_us(c->app->loop) + timeout_us : 0;
	log_info(NULL, event, KV_STR("why", why), KV_INT("clients", session_registry_clients(c->app->sessions)),
	         KV_INT("timeout_ms", timeout_us / US_PER_MS));
	loop_timer_start(c->app->loop, &c->drain, 0);
	monitor_leave(c->monitor);
}

void control_drain(struct control *c, const char *why)
{
	if (c->state != CONTROL_SERVING && c->state != CONTROL_LEAVING)
		return;
	begin_to_end(c, CONTROL_DRAINING, "draining", why);
	notify(c, "STOPPING=1\nSTATUS=waiting for clients to leave");
	listeners_close(c->listeners);
	for (unsigned i = 0; i < c->app->n_workers; i++)
		worker_drain(c->app->workers[i]);
	heirs_close(c->heirs);
}

/* A successor goes on with what was begun. */
static void give_up_journal(struct control *c)
{
	roles_resign(c->roles);
	hooks_resign(c->hooks);
	journal_close(c->journal);
	c->journal = NULL;
}

/* A successor has all our sockets. */
static bool hand_over(void *arg, pid_t to)
{
	struct control *c = arg;
	uint64_t idle_us = topo_latest(c->app->board)->conf->takeover_idle_timeout;
	if (c->state != CONTROL_SERVING)
		return false;
	log_info(NULL, "handed_over", KV_INT("pid", to));
	listeners_abandon(c->listeners);
	give_up_journal(c);
	notify(c, "MAINPID=%lld\nSTATUS=a successor serves", (long long)to);
	c->is_main = false;
	for (unsigned i = 0; i < c->app->n_workers; i++)
		worker_leave(c->app->workers[i], idle_us);
	begin_to_end(c, CONTROL_LEAVING, "leaving", "a successor serves");
	return true;
}

static void on_takeover_failed(void *arg, pid_t pid)
{
	log_error(NULL, "takeover_failed", KV_INT("pid", pid),
	          KV_STR("hint", "this process goes on serving; the other one's log says why"));
}

static bool plan_reload(void *arg, change_fn fn, void *fn_arg, struct conf_errors *errors)
{
	struct control *c = arg;
	return app_plan_reload(c->app, fn, fn_arg, errors);
}

static bool is_serving(const struct successor *s)
{
	return CONTAINER_OF(s, struct control, successor)->state == CONTROL_SERVING;
}

static void on_usr2(struct loop_signal *s, int signum)
{
	struct control *c = CONTAINER_OF(s, struct control, usr2);
	if (c->state == CONTROL_SERVING)
		successor_start(&c->successor);
}

static void on_term(struct loop_signal *s, int signum)
{
	struct control *c = CONTAINER_OF(s, struct control, term);
	if (c->state == CONTROL_SERVING || c->state == CONTROL_LEAVING)
		control_drain(c, "SIGTERM");
	else
		control_stop(c, "SIGTERM came twice");
}

static void on_interrupt(struct loop_signal *s, int signum)
{
	control_stop(CONTAINER_OF(s, struct control, interrupt), "SIGINT");
}

bool control_reload(struct control *c, struct err *err)
{
	if (c->state != CONTROL_SERVING)
		return err_set(err, "57P03", "Lunapool is shutting down");
	notify(c, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_us());
	bool is_applied = app_reload(c->app, err);
	notify(c, "READY=1\nSTATUS=%s", is_applied ? "serving" : "serving; the last reload was refused, see the log");
	return is_applied;
}

static void on_hup(struct loop_signal *s, int signum)
{
	struct err err; /* which was logged */
	bool is_applied = control_reload(CONTAINER_OF(s, struct control, hup), &err);
	(void)is_applied;
}

struct control *control_new(struct app *a)
{
	struct control *c = mem_alloc(sizeof *c);
	c->app = a;
	mailbox_open(&c->mailbox, a->loop, c);
	c->is_main = true;
	c->listeners = listeners_new(a->loop, on_client, c);
	c->heirs = heirs_new(&(struct heirs_env){ .loop = a->loop,
	                                          .mailbox = &c->mailbox,
	                                          .listeners = c->listeners,
	                                          .sessions = a->sessions,
	                                          .arg = c,
	                                          .hand_over = hand_over,
	                                          .failed = on_takeover_failed,
	                                          .plan = plan_reload });
	loop_timer_init(&c->collect, on_collect);
	loop_timer_init(&c->drain, on_drain);
	successor_init(&c->successor, a, is_serving);
	pool_registry_on_trouble(a->pools, on_trouble, c);
	topo_on_want(a->board, on_trouble, c);
	c->roles = roles_new(a->loop, a->resolver, &c->mailbox, a->board);
	a->catalog = catalog_new(on_catalog_wanted, c);
	unsigned threads = (unsigned)topo_latest(a->board)->conf->auth_threads;
	a->auth = auth_new(a->loop, a->resolver, &c->mailbox, a->board, threads);
	a->records = records_new();
	c->orders = orders_new(a);
	powers_init(&c->powers, &c->roles, nodeuse_connections, a);
	c->hooks = a->hooks = hooks_new(&(struct hooks_env){ a->loop, a->resolver, &c->mailbox, a->board, &c->powers.hooks, NULL,
	                                                     topo_latest(a->board)->conf->state_dir });
	c->loader = loader_new(a->loop, a->resolver, &c->mailbox, a->board, a->catalog, on_catalog_published, c);
	c->monitor = monitor_new(a);
	c->ceiling = ceiling_new(a->loop, &c->mailbox, a->sessions);
	return c;
}

bool control_listen(struct control *c, const struct conf *conf, struct err *err)
{
	char *path = packet_path(conf);
	bool is_good = heirs_listen(c->heirs, path, err) && listeners_apply(c->listeners, &conf->listen, err);
	heirs_settle(c->heirs, is_good);
	mem_free(path);
	return is_good;
}

bool control_take_over(struct control *c, const struct conf *conf, struct err *err)
{
	c->takeover = takeover_begin(conf, c->listeners, c->heirs, err);
	if (c->takeover)
		session_registry_on_unknown_cancel(c->app->sessions, &c->mailbox, takeover_cancel, c->takeover);
	return c->takeover != NULL;
}

static bool knows_all(struct journal *j, const struct conf *conf, struct err *err)
{
	for (size_t i = 0; i < conf->n_clusters; i++)
		if (!journal_knows(j, conf->clusters[i].name, err))
			return false;
	return true;
}

/* Whose place we have taken has given it up by now; then nobody else serves, and we must, with it or without. */
static bool open_journal(struct control *c, struct err *err)
{
	const struct conf *conf = topo_latest(c->app->board)->conf;
	if (!*conf->state_dir)
		return true;
	c->journal = journal_open(conf->state_dir, &c->mailbox, err);
	if (c->journal && !knows_all(c->journal, conf, err)) {
		journal_close(c->journal);
		c->journal = NULL;
	}
	c->of_pools = nodeuse_pools(c->app);
	if (c->journal)
		roles_remember(c->roles, c->journal, c->app->records, &c->of_pools);
	else if (c->takeover)
		log_error(NULL, "state_dir_unusable", KV_ERR(err), KV_STR("effect", "there is no failover until a restart"));
	return c->journal || c->takeover;
}

bool control_commit(struct control *c, struct err *err)
{
	return (!c->takeover || takeover_commit(c->takeover, c->app->loop, err)) && open_journal(c, err);
}

static bool adopt_from_systemd(struct control *c, int fd, const char *name, struct err *err)
{
	struct addr a = { .len = sizeof a.sa };
	char text[ADDR_TEXT_MAX];
	if (sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 1) > 0) {
		heirs_adopt(c->heirs, name, fd, true);
		return true;
	}
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 || getsockname(fd, (struct sockaddr *)&a.sa, &a.len) < 0)
		return err_set(err, "F0000", "descriptor %d (%.100s) from systemd is no listening stream socket", fd, name);
	struct listeners_door door = { .address = addr_text(&a, text), .is_fixed = true, .n_fds = 1, .fds = { fd } };
	door.port = door.real_port = addr_port(&a);
	listeners_adopt(c->listeners, &door, false);
	return true;
}

bool control_adopt(struct control *c, struct err *err)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	bool is_good = true;
	for (int i = 0; i < n; i++) {
		is_good = is_good && adopt_from_systemd(c, SD_LISTEN_FDS_START + i, names && names[i] ? names[i] : "", err);
		if (names)
			free(names[i]);
	}
	free(names);
	return is_good;
}

struct roles *control_roles(struct control *c)
{
	return c->roles;
}

void control_begin(struct control *c)
{
	hooks_apply(c->hooks, policies_take_hooks(c->app->policies));
	hooks_on_publish(c->hooks);
	roles_ask(c->roles, c->hooks);
	roles_on_conf(c->roles);
	loader_on_conf(c->loader);
	ceiling_set(c->ceiling, topo_latest(c->app->board)->conf->memory_limit);
	monitor_on_conf(c->monitor);
	loop_signal_start(c->app->loop, &c->hup, SIGHUP, on_hup);
	loop_signal_start(c->app->loop, &c->term, SIGTERM, on_term);
	loop_signal_start(c->app->loop, &c->interrupt, SIGINT, on_interrupt);
	loop_signal_start(c->app->loop, &c->usr2, SIGUSR2, on_usr2);
	notify(c, "READY=1\nSTATUS=serving");
}

void control_on_publish(struct control *c)
{
	if (!loop_timer_is_running(&c->collect))
		loop_timer_start(c->app->loop, &c->collect, COLLECT_US);
	hooks_on_publish(c->hooks);
}

void control_on_conf(struct control *c, unsigned parts)
{
	const unsigned logins = 1u << CHANGE_cluster | 1u << CHANGE_node | 1u << CHANGE_database | 1u << CHANGE_users_file;
	struct hook_set *hooks = policies_take_hooks(c->app->policies);
	if (hooks)
		hooks_apply(c->hooks, hooks);
	roles_on_conf(c->roles);
	ceiling_set(c->ceiling, topo_latest(c->app->board)->conf->memory_limit);
	if (parts & (logins | 1u << CHANGE_pool)) /* of these it makes connections, and of safe_functions */
		loader_on_conf(c->loader);
	orders_on_conf(c->orders);
	monitor_on_conf(c->monitor);
}

void control_shut(struct control *c)
{
	monitor_free(c->monitor);
	c->monitor = NULL;
	listeners_close(c->listeners);
	heirs_close(c->heirs);
	orders_shut(c->orders);
	roles_free(c->roles);
	c->roles = NULL;
	hooks_shut(c->hooks); /* behind whoever asks for something */
	journal_close(c->journal);
	c->journal = NULL;
	loader_free(c->loader);
	c->loader = NULL;
	ceiling_set(c->ceiling, 0);
	auth_shut(c->app->auth);
	loop_timer_stop(c->app->loop, &c->collect);
	loop_timer_stop(c->app->loop, &c->drain);
	successor_stop(&c->successor);
}

void control_free(struct control *c)
{
	orders_free(c->orders);
	hooks_free(c->hooks);
	records_free(c->app->records);
	mailbox_close(&c->mailbox);
	listeners_free(c->listeners);
	ceiling_free(c->ceiling);
	heirs_free(c->heirs);
	takeover_free(c->takeover);
	mem_free(c);
}
