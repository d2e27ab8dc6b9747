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
	ss->loop = engine_loop(env->upstream.engine);
	dlist_init(&ss->all);
	dlist_init(&ss->homeless);
	dlist_init(&ss->wait_pin);
	dlist_init(&ss->wait_facts);
	dlist_init(&ss->dead);
	dlist_init(&ss->lingering);
	loop_defer_init(&ss->bury, sessions_bury);
	loop_defer_init(&ss->hearings, hearings_go_on);
	loop_timer_init(&ss->pin_retry, sessions_retry_pins);
	routes_init(ss);
	counted_begin(ss);
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
	loop_defer_cancel(&ss->hearings);
	loop_defer_cancel(&ss->bury);
	sessions_bury(&ss->bury);
	loop_timer_stop(ss->loop, &ss->pin_retry);
	routes_fini(ss);
	counted_end(ss);
	settings_unref(ss->dialect_of);
	welcomes_forget(ss);
	known_forget_all(ss);
	map_fini(&ss->statements);
	mem_free(ss->slots);
	mem_free(ss->free_slots);
	slab_fini(&ss->slab);
	mem_free(ss);
}

/* Who waits in a pool whose database is paused now waits for its end instead. */
static void hold_waiters(struct sessions *ss)
{
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		if (s->state != SESSION_WAIT_SERVER || !topo_holds(ss->topo, s->database, TOPO_PAUSED))
			continue;
		pool_withdraw(&s->wait);
		session_enter(s, SESSION_WAIT_PAUSED);
		dlist_push_back(&ss->homeless, &s->homeless);
	}
}

static bool answers(const struct topo *topo, const struct pulse *p)
{
	size_t cluster_at;
	const struct topo_node *n = topo_node(topo, p->id, &cluster_at);
	return n && n->is_reachable;
}

/* Reads whose standby does not answer go elsewhere, if nothing of their answer was told. */
static void call_back(struct sessions *ss)
{
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		if (trip_holds(s) && !answers(ss->topo, s->trip->pulse))
			trip_return(s, "the standby does not answer");
	}
}

void sessions_on_topology(struct sessions *ss, const struct topo *topo)
{
	const struct conf_limits *limits = &topo->conf->limits;
	struct dlist homeless, *it;
	ss->topo = topo;
	counted_on_topology(ss);
	ss->marks_writes = floor_marks_writes(topo);
	ss->roams = abroad_roams(topo);
	routes_on_topology(ss);
	ss->max_message = limits->max_message_size ? (uint32_t)limits->max_message_size : UINT32_MAX;
	ss->max_row = limits->max_row_size ? (uint32_t)limits->max_row_size : UINT32_MAX;
	welcomes_forget(ss);
	dlist_take(&homeless, &ss->homeless); /* some may come back at once */
	while ((it = dlist_first(&homeless)))
		session_unblock(CONTAINER_OF(it, struct session, homeless));
	if (topo->n_said)
		hold_waiters(ss);
	if (ss->routes)
		call_back(ss);
	hearing_on_topology(ss);
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

int64_t session_registry_welcomed(struct session_registry *r)
{
	int64_t n = 0;
	for (unsigned i = 0; i < r->n; i++)
		n += atomic_load_explicit(&r->worker[i].welcomed, memory_order_relaxed);
	return n;
}

/* ---- rows: what SHOW says of one worker's clients -------------------------------------------------------------------------------------- */

static enum session_doing session_doing(const struct session *s)
{
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_AUTH:
	case SESSION_ASKING:
	case SESSION_REFUSING:
		return SESSION_DOES_LOGIN;
	case SESSION_CANCELLING:
		return SESSION_DOES_CANCEL;
	case SESSION_READY:
		return s->srv ? SESSION_DOES_WORK : SESSION_DOES_NOTHING;
	case SESSION_LINK:
		return SESSION_DOES_WORK;
	case SESSION_WAIT_PRIMARY: /* one that listens has a server */
		return SESSION_DOES_WAIT;
	case SESSION_CONSOLE:
		return SESSION_DOES_NOTHING;
	default:
		return s->srv ? SESSION_DOES_WORK : SESSION_DOES_WAIT;
	}
}

static const char *session_pins(const struct session *s, char out[240])
{
	char pins[80];
	pins_text(s->pins, pins, sizeof pins);
	snprintf(out, 240, s->pinned_by ? "%s (%s)" : "%s", pins, s->pinned_by);
	return out;
}

static void session_show(const struct session *s, void (*fn)(void *arg, const struct session_row *row), void *arg)
{
	char pins[240];
	static const char *const replication[] = { "none", "logical", "physical" };
	const struct session_row row = {
		.id = session_shown_id(s),
		.user = s->user,
		.database = s->database,
		.state = session_state_names[s->state],
		.doing = session_doing(s),
		.replication = replication[s->replicates],
		.pin = session_pins(s, pins),
		.peer = addr_lengthen(&s->peer),
		.application = s->vars ? settings_get(s->vars, "application_name") : NULL,
		.connected_us = s->connected_us,
		.since_us = s->since_us,
		.waiting_since_us = s->held_since_us,
		.statements = s->names ? map_len(&s->names->by_name) : 0,
		.server = s->srv,
		.stream = &s->stream,
		.is_leaving = s->draining,
		.told = s->told,
	};
	fn(arg, &row);
}

static void show_obstacle(const struct session *s, void (*fn)(void *arg, const struct session_obstacle *it), void *arg)
{
	char pins[240], why[300];
	bool is_in_transaction = session_status(s) != 'I' || !borrow_is_over(s);
	session_pins(s, pins);
	snprintf(why, sizeof why, "%s%s%s", is_in_transaction ? "in a transaction" : "", is_in_transaction && *pins ? ", " : "",
	         pins);
	fn(arg, &(struct session_obstacle){ .id = session_shown_id(s),
	                                    .user = s->user,
	                                    .database = s->database,
	                                    .why = why,
	                                    .only_hears = s->srv->rests == SERVER_HEARS });
}

bool sessions_each_obstacle(struct sessions *ss, uint32_t node_id, void (*fn)(void *arg, const struct session_obstacle *it),
                            void *arg)
{
	const struct topo_node *n = topo_node(ss->topo, node_id, NULL);
	DLIST_EACH(it, &ss->all)
	{
		const struct session *s = CONTAINER_OF(it, struct session, link);
		if (s->srv && pool_node_id(s->srv->pool) == node_id)
			show_obstacle(s, fn, arg);
	}
	return n && n->parting != TOPO_STAYS;
}

bool sessions_each(struct sessions *ss, uint32_t *at, unsigned most, void (*fn)(void *arg, const struct session_row *row),
                   void *arg)
{
	for (; *at < ss->n_slots && most; ++*at) {
		if (!ss->slots[*at])
			continue;
		session_show(ss->slots[*at], fn, arg);
		most--;
	}
	return *at < ss->n_slots;
}

uint64_t sessions_id_of(const struct server *srv)
{
	return srv->user == &relay_user ? session_shown_id(srv->borrower) : 0;
}

uint64_t sessions_since_us_of(const struct server *srv)
{
	return srv->user == &relay_user ? ((const struct session *)srv->borrower)->since_us : 0;
}

const struct stream *sessions_stream_of(const struct server *srv)
{
	return srv->user == &relay_user ? &((const struct session *)srv->borrower)->stream : NULL;
}

struct held_walk {
	const struct topo *topo;
	void (*fn)(void *arg, const struct session_held *held);
	void *arg;
};

static void show_held(struct dlist *all, const struct held_walk *walk)
{
	DLIST_EACH(it, all)
	{
		const struct session *s = CONTAINER_OF(it, struct session, homeless);
		const struct conf_database *d = conf_database(walk->topo->conf, s->database);
		if (!s->srv)
			walk->fn(walk->arg, &(struct session_held){ .database = s->database,
			                                            .user = d && *d->user ? d->user : s->user,
			                                            .has_pool = s->pool != NULL,
			                                            .since_us = s->held_since_us });
	}
}

void sessions_each_held(struct sessions *ss, void (*fn)(void *arg, const struct session_held *held), void *arg)
{
	const struct held_walk walk = { ss->topo, fn, arg };
	show_held(&ss->homeless, &walk);
	show_held(&ss->wait_pin, &walk);
	show_held(&ss->wait_facts, &walk);
}

void sessions_memory(const struct sessions *ss, struct session_memory *out)
{
	*out = (struct session_memory){ .session_bytes = ss->slab.size,
		                            .sessions = ss->slab.in_use,
		                            .sessions_free = slab_free_count(&ss->slab),
		                            .statements = map_len(&ss->statements) };
	struct slice key;
	void *value;
	for (uint32_t it = 0; map_next(&ss->statements, &it, &key, &value);) {
		const struct statement *st = value;
		out->statement_bytes += sizeof *st + st->text_len + 1 + st->types_len;
	}
}

/* ---- orders of the administrator ---------------------------------------------------------------------------------------------------------- */

static void session_kill(struct session *s)
{
	struct err e;
	err_set(&e, "57P01", "terminating connection due to administrator command");
	session_fatal(s, CLOSE_KILLED, &e);
}

unsigned sessions_kill(struct sessions *ss, const char *database)
{
	unsigned n = 0;
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		if (!s->user || session_aside(s)->talk || (database && strcmp(s->database, database) != 0))
			continue;
		session_kill(s);
		n++;
	}
	return n;
}

bool sessions_kill_client(struct sessions *ss, uint64_t id)
{
	for (uint32_t at = 0; at < ss->n_slots; at++) {
		if (!ss->slots[at] || session_shown_id(ss->slots[at]) != id)
			continue;
		session_kill(ss->slots[at]);
		return true;
	}
	return false;
}
