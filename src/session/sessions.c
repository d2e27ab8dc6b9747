/*
 * sessions — all sessions of a worker, and the registry of those of all workers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "priv.h"

static void sessions_retry_pins(struct loop_timer *t)
{
	struct sessions *ss = CONTAINER_OF(t, struct sessions, pin_retry);
	DLIST_EACH(it, &ss->wait_pin)
	session_unblock(CONTAINER_OF(it, struct session, homeless));
}

struct sessions *sessions_new(const struct session_env *env)
{
	struct sessions *ss = mem_alloc(sizeof *ss);
	ss->env = *env;
	dlist_init(&ss->all);
	dlist_init(&ss->shown);
	dlist_init(&ss->homeless);
	dlist_init(&ss->wait_pin);
	dlist_init(&ss->wait_facts);
	dlist_init(&ss->dead);
	dlist_init(&ss->lingering);
	loop_defer_init(&ss->bury, sessions_bury);
	loop_timer_init(&ss->pin_retry, sessions_retry_pins);
	slab_init(&ss->slab, sizeof(struct session));
	struct session_registry_worker *w = &env->registry->worker[env->worker];
	pthread_mutex_lock(&w->lock);
	w->sessions = ss;
	w->mailbox = env->upstream.mailbox;
	pthread_mutex_unlock(&w->lock);
	return ss;
}

void sessions_free(struct sessions *ss)
{
	struct err e;
	struct session_registry_worker *w = &ss->env.registry->worker[ss->env.worker];
	pthread_mutex_lock(&w->lock);
	w->sessions = NULL;
	pthread_mutex_unlock(&w->lock);
	err_set(&e, "57P01", "terminating connection due to administrator command");
	DLIST_EACH(it, &ss->all)
	session_fatal(CONTAINER_OF(it, struct session, link), CLOSE_SHUTDOWN, &e);
	DLIST_EACH(it, &ss->lingering)
	session_bury(CONTAINER_OF(it, struct session, link));
	loop_defer_cancel(&ss->bury);
	sessions_bury(&ss->bury);
	loop_timer_stop(engine_loop(ss->env.upstream.engine), &ss->pin_retry);
	settings_unref(ss->dialect_of);
	welcomes_forget(ss);
	known_forget_all(ss);
	map_fini(&ss->statements);
	mem_free(ss->slots);
	mem_free(ss->free_slots);
	slab_fini(&ss->slab);
	mem_free(ss);
}

void sessions_on_topology(struct sessions *ss, const struct topo *topo)
{
	const struct conf_limits *limits = &topo->conf->limits;
	ss->topo = topo;
	ss->max_message = limits->max_message_size ? (uint32_t)limits->max_message_size : UINT32_MAX;
	ss->max_row = limits->max_row_size ? (uint32_t)limits->max_row_size : UINT32_MAX;
	welcomes_forget(ss);
	DLIST_EACH(it, &ss->homeless)
	session_unblock(CONTAINER_OF(it, struct session, homeless));
}

static bool session_is_idle(const struct session *s)
{
	return s->state == SESSION_CONSOLE ||
	       (s->state == SESSION_READY && session_status(s) == 'I' && !s->in_query && !s->segment_open);
}

void sessions_drain(struct sessions *ss)
{
	struct err e;
	ss->is_draining = true;
	err_set(&e, "57P01", "terminating connection due to administrator command");
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		s->draining = 1;
		if (session_is_idle(s))
			session_fatal(s, CLOSE_SHUTDOWN, &e);
	}
}

void sessions_leave(struct sessions *ss, uint64_t idle_us)
{
	struct err e;
	ss->leave_idle_us = idle_us;
	err_set(&e, "57P01", "terminating connection due to administrator command");
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		if (s->state == SESSION_CONSOLE)
			session_fatal(s, CLOSE_SHUTDOWN, &e);
		else
			patience_watch(s);
	}
}

unsigned sessions_count(const struct sessions *ss)
{
	return ss->count;
}

/* ---- the registry: what all workers share ------------------------------------------------------------------------------------------ */

struct session_registry *session_registry_new(unsigned workers)
{
	size_t size = sizeof(struct session_registry) + workers * sizeof(struct session_registry_worker);
	struct session_registry *r = aligned_alloc(128, (size + 127) & ~(size_t)127);
	if (!r)
		die("out of memory");
	memset(r, 0, size);
	r->n = workers;
	pthread_mutex_init(&r->addresses.lock, NULL);
	for (unsigned i = 0; i < workers; i++)
		pthread_mutex_init(&r->worker[i].lock, NULL);
	return r;
}

void session_registry_free(struct session_registry *r)
{
	for (unsigned i = 0; i < r->n; i++)
		pthread_mutex_destroy(&r->worker[i].lock);
	pthread_mutex_destroy(&r->addresses.lock);
	map_fini(&r->addresses.clients);
	free(r);
}

int64_t session_registry_clients(struct session_registry *r)
{
	return atomic_load_explicit(&r->clients, memory_order_relaxed);
}

int64_t session_registry_clients_of(struct session_registry *r, unsigned worker)
{
	return atomic_load_explicit(&r->worker[worker].clients, memory_order_relaxed);
}

static void session_show(struct session *s, void (*fn)(void *arg, const struct session_row *row), void *arg)
{
	char pins[80], reason[160], address[ADDR_TEXT_MAX];
	const struct addr peer = addr_lengthen(&s->peer);
	struct session_row row = {
		.id = s->id,
		.user = s->user,
		.database = s->database,
		.state = session_state_names[atomic_load_explicit(&s->shown_state, memory_order_relaxed)],
		.pin = pins_text(atomic_load_explicit(&s->shown_pins, memory_order_relaxed), pins, sizeof pins),
		.address = addr_text(&peer, address),
		.application = settings_get(s->defaults, "application_name"),
		.connected_us = s->connected_us,
		.state_since_us = atomic_load_explicit(&s->shown_since_us, memory_order_relaxed),
	};
	if (row.pin[0] && s->pinned_by) {
		snprintf(reason, sizeof reason, "%s (%s)", row.pin, s->pinned_by);
		row.pin = reason;
	}
	fn(arg, &row);
}

void session_registry_each(struct session_registry *r, void (*fn)(void *arg, const struct session_row *row), void *arg)
{
	for (unsigned i = 0; i < r->n; i++) {
		pthread_mutex_lock(&r->worker[i].lock);
		if (r->worker[i].sessions)
			DLIST_EACH(it, &r->worker[i].sessions->shown)
		session_show(CONTAINER_OF(it, struct session, shown), fn, arg);
		pthread_mutex_unlock(&r->worker[i].lock);
	}
}
