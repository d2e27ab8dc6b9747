/*
 * session — one client connection: its states, its door, its clock, its end.
 *
 *   startup -> auth -> welcome -> ready <-> waiting | no_primary | waiting_pin | settling
 *   startup -> cancelling;   auth -> console | replication;   any -> closed
 *
 * Bytes of the client come in at on_data(); the state's function takes whole messages (or the next piece of one that streams through) and
 * says how many bytes it took.  A message that must wait is not taken: the session stops reading and the same message is offered again
 * when it goes on, so that nothing is kept twice and a waiting client costs what it sent, no more.
 *
 * Always: a session in a waiting state has stopped reading; a closed session has no server, no timer, no place in any list but that of the
 * lingering (its last words are on the way) or the dead, and its memory goes when the callbacks of this turn have unwound.
 */
#include "session/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/secret.h"
#include "priv.h"

#define STATE_WORD(name, word, sentence) word,
const char *const session_state_names[] = { SESSION_STATES(STATE_WORD) };
#define CLOSE_WORD(name, word, sentence) word,
static const char *const close_words[] = { CLOSES(CLOSE_WORD) };

/* ---- small verbs that all of session/ uses -------------------------------------------------------------------------------- */

const struct conf *session_conf(const struct session *s)
{
	return s->home->topo->conf;
}

bool session_is_for_console(const struct session *s)
{
	return strcmp(s->database, "lunapool") == 0;
}

static struct loop *session_loop(const struct session *s)
{
	return engine_loop(s->home->env.upstream.engine);
}

void session_enter(struct session *s, enum session_state next)
{
	ASSERT(s->state != SESSION_CLOSED);
	s->state = (uint8_t)next;
	s->since_us = loop_now_us(session_loop(s));
	atomic_store_explicit(&s->shown_state, (uint8_t)next, memory_order_relaxed);
	atomic_store_explicit(&s->shown_since_us, s->since_us, memory_order_relaxed);
}

void session_send(struct session *s, struct writer *w)
{
	ASSERT(writer_ok(w));
	stream_send(&s->stream, writer_slice(w), NULL);
}

static void session_send_report(struct session *s, const char *severity, uint8_t type, const struct err *err)
{
	uint8_t space[2048];
	struct writer w;
	writer_init(&w, space, sizeof space);
	pgerr_write(&w, type, severity, err);
	session_send(s, &w);
}

void session_send_error(struct session *s, const struct err *err)
{
	session_send_report(s, "ERROR", 'E', err);
}

char session_status(const struct session *s)
{
	if (s->vtx != VTX_NONE)
		return s->vtx == VTX_DEFERRED ? 'T' : 'E';
	return s->srv ? (char)s->srv->tx_status : 'I';
}

void session_send_ready(struct session *s)
{
	uint8_t space[8];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, 'Z');
	writer_u8(&w, (uint8_t)session_status(s));
	writer_end(&w);
	session_send(s, &w);
}

void session_block(struct session *s, enum session_state why)
{
	session_enter(s, why);
	if (!s->held_since_us)
		s->held_since_us = s->since_us;
	stream_pause(&s->stream);
	session_watch_time(s);
}

void session_unblock(struct session *s)
{
	dlist_remove(&s->homeless);
	session_enter(s, s->welcomed ? SESSION_READY : SESSION_WELCOME);
	if (s->welcomed)
		stream_resume(&s->stream);
	else
		startup_welcome(s);
}

static unsigned session_who(const struct log *log, struct log_kv *out, unsigned max)
{
	const struct session *s = CONTAINER_OF(log, struct session, log);
	const struct log_kv all[] = { KV_INT("client", s->id), KV_STR("user", s->user), KV_STR("database", s->database) };
	unsigned n = 0;
	for (; n < ARRAY_LEN(all) && n < max; n++)
		out[n] = all[n];
	return n;
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static void session_free(struct session *s)
{
	struct sessions *ss = s->home;
	mem_free(s->user);
	mem_free(s->owed);
	mem_free(s->wait_failed);
	mem_free(s->begin);
	mem_free(s->pinned_by);
	mem_free(s->scan);
	secret_wipe(s->key, sizeof s->key);
	slab_put(&ss->slab, s);
}

static void sessions_bury(struct loop_defer *d)
{
	struct sessions *ss = CONTAINER_OF(d, struct sessions, bury);
	struct dlist *dead;
	while ((dead = dlist_pop_front(&ss->dead)))
		session_free(CONTAINER_OF(dead, struct session, link));
}

static void session_unlink(struct session *s)
{
	struct sessions *ss = s->home;
	struct session_registry *r = ss->env.registry;
	pthread_mutex_lock(&r->worker[ss->env.worker].lock);
	dlist_remove(&s->shown);
	pthread_mutex_unlock(&r->worker[ss->env.worker].lock);
	dlist_remove(&s->link);
	dlist_remove(&s->homeless);
	ss->count--;
	if (s->is_counted)
		atomic_fetch_sub_explicit(&r->clients, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&r->worker[ss->env.worker].clients, 1, memory_order_relaxed);
	if (s->by_user)
		limit_give(s->by_user);
	if (s->by_database)
		limit_give(s->by_database);
}

static void session_log_end(struct session *s, enum close_reason why)
{
	if (s->welcomed && session_conf(s)->log_connections)
		log_info(&s->log, "client_closed", KV_STR("reason", close_words[why]),
		         KV_INT("ms", (loop_now_us(session_loop(s)) - s->connected_us) / US_PER_MS));
	else
		log_debug(&s->log, "client_closed", KV_STR("reason", close_words[why]));
}

/* Everything but the socket. */
static void session_end(struct session *s, enum close_reason why)
{
	session_log_end(s, why);
	session_unlink(s);
	pool_withdraw(&s->wait);
	borrow_drop(s);
	if (s->link_up)
		link_end(s);
	cancel_retire(s);
	vars_end_life(s);
	statement_forget_all(s);
	statement_forget_portals(s);
	startup_free(s);
	if (s->pool)
		pool_part(s->pool);
	s->pool = NULL;
	loop_timer_stop(session_loop(s), &s->timer);
	session_enter(s, SESSION_CLOSED);
}

static void session_bury(struct session *s)
{
	stream_close(&s->stream);
	dlist_remove(&s->link);
	dlist_push_back(&s->home->dead, &s->link);
	loop_defer(session_loop(s), &s->home->bury);
}

void session_close(struct session *s, enum close_reason why)
{
	if (s->state == SESSION_CLOSED)
		return;
	session_end(s, why);
	session_bury(s);
}

void session_fatal(struct session *s, enum close_reason why, const struct err *err)
{
	if (s->state == SESSION_CLOSED)
		return;
	log_info(&s->log, "client_refused", KV_STR("reason", close_words[why]), KV_ERR(err));
	if (!s->reply_left) /* in the middle of a message nothing can be said */
		session_send_report(s, "FATAL", 'E', err);
	session_end(s, why);
	dlist_push_back(&s->home->lingering, &s->link);
	stream_close_after_flush(&s->stream); /* a plain close with unread input would take the last words back (RST) */
}

/* ---- the clock: one timer a session, looked at lazily ------------------------------------------------------------------------- */

static uint64_t min_nonzero(uint64_t a, uint64_t b)
{
	return !a ? b : !b || a < b ? a : b;
}

static uint64_t session_hold_timeout(const struct session *s)
{
	const struct conf_database *d = conf_database(session_conf(s), s->database);
	return d ? session_conf(s)->clusters[d->cluster_at].hold_timeout : 1;
}

static bool session_is_waiting(const struct session *s)
{
	return s->state == SESSION_WAIT_SERVER || s->state == SESSION_WAIT_PRIMARY || s->state == SESSION_WAIT_PIN;
}

/* Since when what is limited now has lasted: a message that was held keeps its age from one wait to the next. */
static uint64_t session_began_us(const struct session *s)
{
	if (!s->welcomed)
		return s->connected_us;
	return (session_is_waiting(s) || s->state == SESSION_WAIT_FACTS) && s->held_since_us ? s->held_since_us : s->since_us;
}

/* Microseconds that the present state may last; 0: for ever. */
static uint64_t session_patience(const struct session *s)
{
	const struct conf *c = session_conf(s);
	const struct conf_effective *e = s->pool ? pool_conf(s->pool) : NULL;
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_AUTH:
	case SESSION_WELCOME:
		return c->limits.login_timeout;
	case SESSION_WAIT_SERVER:
	case SESSION_WAIT_PIN:
		return c->pool.query_wait_timeout;
	case SESSION_WAIT_FACTS:
		return c->catalog_wait;
	case SESSION_WAIT_PRIMARY:
		return min_nonzero(session_hold_timeout(s), c->pool.query_wait_timeout);
	case SESSION_READY:
	case SESSION_WAIT_QUIET:
		if (!e)
			return 0;
		if (s->in_query)
			return s->timed_out ? e->query_timeout + c->pool.reset_timeout : e->query_timeout;
		return session_status(s) == 'I' ? e->client_idle_timeout : e->idle_transaction_timeout;
	default:
		return 0;
	}
}

static void session_notice_wait(struct session *s)
{
	struct err e;
	err_set(&e, "00000", "waiting for a server connection of database \"%s\" and user \"%s\"", s->database, s->user);
	err_hint(&e, "All connections of the pool are in use; the statement goes on as soon as one is free.");
	s->noticed = 1;
	session_send_report(s, "NOTICE", 'N', &e);
}

void session_fail_wait(struct session *s, const char *sqlstate, const char *text, const char *hint)
{
	pool_withdraw(&s->wait);
	if (!s->wait_failed)
		s->wait_failed = mem_alloc(sizeof *s->wait_failed);
	err_set(s->wait_failed, sqlstate, "%s", text);
	if (hint)
		err_hint(s->wait_failed, "%s", hint);
	session_unblock(s);
}

static void session_login_too_long(struct session *s)
{
	struct err e;
	err_set(&e, "08006", "login took longer than login_timeout");
	session_fatal(s, CLOSE_LOGIN_TIMEOUT, &e);
}

static void session_query_too_long(struct session *s)
{
	if (!s->srv)
		return;
	if (s->timed_out) { /* the cancel did not help in reset_timeout: give the server up */
		struct server *srv = s->srv;
		struct err e;
		err_set(&e, "57014", "canceling statement due to query_timeout");
		err_detail(&e, "The server did not react to the cancel request; its connection was closed.");
		relay_user.on_gone(srv, &e);
		pool_close_server(srv, "query_timeout");
		return;
	}
	s->timed_out = 1;
	cancel_statement(s);
}

static void session_idle_too_long(struct session *s)
{
	struct err e;
	if (session_status(s) == 'I') {
		err_set(&e, "57P05", "terminating connection due to client_idle_timeout");
		session_fatal(s, CLOSE_IDLE_TIMEOUT, &e);
	} else {
		err_set(&e, "25P03", "terminating connection due to idle_transaction_timeout");
		session_fatal(s, CLOSE_IDLE_TRANSACTION, &e);
	}
}

static void session_time_is_up(struct session *s)
{
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_AUTH:
	case SESSION_WELCOME:
		session_login_too_long(s);
		break;
	case SESSION_WAIT_SERVER:
		session_fail_wait(s, "53300", "no server connection became free within query_wait_timeout",
		                  "Raise the pool's size, or find out with SHOW POOLS what keeps its servers busy.");
		break;
	case SESSION_WAIT_PRIMARY:
		session_fail_wait(s, "08006", "no primary server is available",
		                  "The cluster has no reachable server out of recovery; try again later.");
		break;
	case SESSION_WAIT_FACTS:
		known_give_up(s);
		break;
	case SESSION_WAIT_PIN:
		session_fail_wait(
		    s, "53400", "too many sessions keep a server connection of their own (max_pinned)",
		    "The statement creates session state that cannot be moved; see SHOW PINS for who holds such state and why.");
		break;
	case SESSION_READY:
	case SESSION_WAIT_QUIET:
		if (s->in_query)
			session_query_too_long(s);
		else
			session_idle_too_long(s);
		break;
	default:
		break;
	}
}

/* The next moment at which something is due, or 0. */
static uint64_t session_due(const struct session *s)
{
	uint64_t patience = session_patience(s), notify = session_conf(s)->pool.query_wait_notify;
	if (session_is_waiting(s) && !s->noticed && notify && s->welcomed)
		patience = min_nonzero(patience, notify);
	return patience ? session_began_us(s) + patience : 0;
}

void session_watch_time(struct session *s)
{
	uint64_t due = session_due(s), now = loop_now_us(session_loop(s));
	if (!due || (loop_timer_is_running(&s->timer) && s->timer_due_us <= due)) /* it fires early enough, and looks again then */
		return;
	s->timer_due_us = due;
	loop_timer_start(session_loop(s), &s->timer, due > now ? due - now : 1);
}

void session_end_statement(struct session *s)
{
	const struct conf_effective *e = pool_conf(s->srv->pool);
	s->in_query = 0;
	s->since_us = loop_now_us(session_loop(s));
	if (e->client_idle_timeout || e->idle_transaction_timeout)
		session_watch_time(s);
}

static void session_on_timer(struct loop_timer *t)
{
	struct session *s = CONTAINER_OF(t, struct session, timer);
	uint64_t due = session_due(s), now = loop_now_us(session_loop(s)), patience = session_patience(s);
	if (due && due <= now) {
		if (patience && session_began_us(s) + patience <= now)
			session_time_is_up(s);
		else
			session_notice_wait(s);
	}
	if (s->state != SESSION_CLOSED)
		session_watch_time(s);
}

/* ---- the client's bytes ---------------------------------------------------------------------------------------------------------- */

static void session_break(struct session *s, const char *what)
{
	struct err e;
	err_set(&e, "08P01", "%s", what);
	session_fatal(s, CLOSE_PROTOCOL, &e);
}

static size_t session_take_message(struct session *s, const struct frame *f, struct slice in, struct lent *lent)
{
	switch (f->type) {
	case 'Q':
		return query_take(s, f, in, lent);
	case 'P':
	case 'B':
	case 'D':
	case 'E':
	case 'C':
	case 'S':
	case 'H':
	case 'F':
		return extended_take(s, f, in, lent);
	case 'd':
	case 'c':
	case 'f':
		return copyio_take(s, f, in, lent);
	case 'X':
		session_close(s, CLOSE_TERMINATE);
		return in.len;
	default:
		session_break(s, "unexpected message from the client");
		return 0;
	}
}

static size_t ready_take(struct session *s, struct slice in, struct lent *lent)
{
	struct frame f;
	size_t taken;
	if (s->body_left)
		return copyio_body(s, in, lent);
	if (UNLIKELY(s->srv && s->srv->replies.doubtful && !s->segment_open && !replies_is_skipping(&s->srv->replies) &&
	             replies_copy(&s->srv->replies) == REPLY_COPY_NONE)) {
		session_block(s, SESSION_WAIT_QUIET); /* until it is known whether a Sync sent during a COPY will be answered */
		relay_resolve_doubt(s);
		return 0;
	}
	switch (frame_next(in, FRAME_FROM_CLIENT, &f)) {
	case FRAME_SHORT:
		return 0;
	case FRAME_BAD:
		session_break(s, "invalid frontend message type or length");
		return 0;
	case FRAME_OK:
		break;
	}
	taken = session_take_message(s, &f, in, lent);
	if (taken && s->held_since_us && s->state == SESSION_READY) { /* it waited for a server and then needed none */
		s->held_since_us = 0;
		borrow_give_back(s);
	}
	return taken;
}

static size_t session_take(struct session *s, struct slice in, struct lent *lent)
{
	switch (s->state) {
	case SESSION_STARTUP:
		return startup_take(s, in);
	case SESSION_AUTH:
		return clientauth_take(s, in);
	case SESSION_READY:
		return ready_take(s, in, lent);
	case SESSION_CONSOLE:
		return console_take(s, in);
	case SESSION_LINK:
		return link_take(s, in, lent);
	case SESSION_CANCELLING:
		return in.len; /* nothing that it could say matters any more */
	default:
		return 0;
	}
}

static size_t session_on_data(struct stream *stream, struct slice bytes, struct lent *lent)
{
	struct session *s = stream->owner;
	size_t taken = 0;
	while (taken < bytes.len) {
		size_t n = session_take(s, slice_skip(bytes, taken), lent);
		if (s->state == SESSION_CLOSED)
			return bytes.len;
		if (!n || (s->srv && stream_is_high(&s->srv->up.stream))) {
			taken += n;
			break;
		}
		taken += n;
	}
	if (s->srv && stream_is_high(&s->srv->up.stream))
		stream_pause(&s->stream);
	return taken;
}

static void session_on_drained(struct stream *stream)
{
	struct session *s = stream->owner;
	if (s->srv)
		stream_resume(&s->srv->up.stream);
	if (s->link_up)
		link_drained(s);
}

static void session_on_closed(struct stream *stream, enum stream_end why, int error)
{
	struct session *s = stream->owner;
	if (s->state == SESSION_CLOSED)
		session_bury(s);
	else
		session_close(s, why == STREAM_END_EOF ? CLOSE_EOF : CLOSE_ERROR);
}

static const struct stream_ops session_stream_ops = {
	.on_data = session_on_data,
	.on_drained = session_on_drained,
	.on_closed = session_on_closed,
};

/* ---- all sessions of a worker ---------------------------------------------------------------------------------------------------- */

void sessions_accept(struct sessions *ss, int fd, const struct addr *peer)
{
	struct session *s = slab_get(&ss->slab);
	s->home = ss;
	s->id = (++ss->next_id << 8) | ss->env.worker;
	addr_shorten(&s->peer, peer);
	s->log.who = session_who;
	s->connected_us = loop_now_us(engine_loop(ss->env.upstream.engine));
	dlist_init(&s->homeless);
	dlist_init(&s->shown);
	dlist_init(&s->wait.link);
	dlist_push_back(&ss->all, &s->link);
	loop_timer_init(&s->timer, session_on_timer);
	ss->count++;
	atomic_fetch_add_explicit(&ss->env.registry->worker[ss->env.worker].clients, 1, memory_order_relaxed);
	s->slot = UINT32_MAX;
	session_enter(s, SESSION_STARTUP);
	stream_open(&s->stream, ss->env.upstream.engine, fd, &session_stream_ops, s);
	session_watch_time(s);
}

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

static void sessions_forget_welcomes(struct sessions *ss)
{
	uint32_t it = 0;
	void *told;
	while (map_next(&ss->welcomes, &it, NULL, &told))
		settings_unref(told);
	map_fini(&ss->welcomes);
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
	sessions_forget_welcomes(ss);
	known_forget_all(ss);
	map_fini(&ss->statements);
	mem_free(ss->slots);
	mem_free(ss->free_slots);
	slab_fini(&ss->slab);
	mem_free(ss);
}

void sessions_on_topology(struct sessions *ss, const struct topo *topo)
{
	ss->topo = topo;
	sessions_forget_welcomes(ss);
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
	for (unsigned i = 0; i < workers; i++)
		pthread_mutex_init(&r->worker[i].lock, NULL);
	return r;
}

void session_registry_free(struct session_registry *r)
{
	for (unsigned i = 0; i < r->n; i++)
		pthread_mutex_destroy(&r->worker[i].lock);
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
		.pin = vars_pin_text(atomic_load_explicit(&s->shown_pins, memory_order_relaxed), pins, sizeof pins),
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
