/*
 * patience — how long a session may stay as it is: one timer a session, looked at lazily.
 *
 * The timer may fire early, since what it was started for may have passed; then it is started again for what is due now.
 */
#include "priv.h"

static uint64_t min_nonzero(uint64_t a, uint64_t b)
{
	return !a ? b : !b || a < b ? a : b;
}

static uint64_t hold_timeout(const struct session *s)
{
	const struct conf_database *d = conf_database(session_conf(s), s->database);
	return d ? session_conf(s)->clusters[abroad_at(s, d->cluster_at)].hold_timeout : 1;
}

/* When transaction_timeout is over, or 0.  While a message waits for a server the waits' own limits hold. */
static uint64_t transaction_due_us(const struct session *s)
{
	uint64_t allowed = s->pool ? pool_conf(s->pool)->transaction_timeout : 0;
	if (!allowed || !s->tx_since_us || (s->state != SESSION_READY && s->state != SESSION_WAIT_QUIET))
		return 0;
	return s->tx_since_us + allowed;
}

static bool is_waiting(const struct session *s)
{
	return s->state == SESSION_WAIT_SERVER || s->state == SESSION_WAIT_PRIMARY || s->state == SESSION_WAIT_PAUSED ||
	       s->state == SESSION_WAIT_PIN;
}

/* Since when what is limited now has lasted: a message that was held keeps its age from one wait to the next. */
static uint64_t began_us(const struct session *s)
{
	if (s->state == SESSION_ASKING || s->state == SESSION_REFUSING)
		return s->since_us;
	if (!s->welcomed)
		return s->connected_us;
	return (is_waiting(s) || s->state == SESSION_WAIT_FACTS) && s->held_since_us ? s->held_since_us : s->since_us;
}

/* Microseconds that the present state may last; 0: for ever. */
static uint64_t allowed_us(const struct session *s)
{
	const struct conf *c = session_conf(s);
	const struct conf_effective *e = s->pool ? pool_conf(s->pool) : NULL;
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_AUTH:
	case SESSION_WELCOME:
		return c->limits.login_timeout;
	case SESSION_ASKING:
	case SESSION_REFUSING:
		return s->login->wait_us;
	case SESSION_WAIT_SERVER:
	case SESSION_WAIT_PAUSED:
	case SESSION_WAIT_PIN:
		return c->pool.query_wait_timeout;
	case SESSION_WAIT_FACTS:
		return c->catalog_wait;
	case SESSION_WAIT_PRIMARY:
		return min_nonzero(hold_timeout(s), c->pool.query_wait_timeout);
	case SESSION_READY:
	case SESSION_WAIT_QUIET:
		if (!e)
			return s->home->leave_idle_us;
		if (s->in_query)
			return s->timed_out ? e->query_timeout + c->pool.reset_timeout : e->query_timeout;
		return session_status(s) != 'I' ? e->idle_transaction_timeout
		                                : min_nonzero(e->client_idle_timeout, s->home->leave_idle_us);
	default:
		return 0;
	}
}

static void notice_wait(struct session *s)
{
	struct err e;
	err_set(&e, "00000", "waiting for a server connection of database \"%s\" and user \"%s\"", s->database, s->user);
	err_hint(&e, "All connections of the pool are in use; the statement goes on as soon as one is free.");
	s->noticed = 1;
	session_send_report(s, "NOTICE", 'N', &e);
}

static void login_too_long(struct session *s)
{
	struct err e;
	err_set(&e, "08006", "login took longer than login_timeout");
	session_fatal(s, CLOSE_LOGIN_TIMEOUT, &e);
}

static void query_too_long(struct session *s)
{
	if (!s->srv)
		return;
	if (s->timed_out) { /* the cancel did not help in reset_timeout: give the server up */
		struct server *srv = s->srv;
		struct err e;
		err_set(&e, "57014", "canceling statement due to query_timeout");
		err_detail(&e, "The server did not react to the cancel request; its connection was closed.");
		lost_server(s, &e);
		pool_close_server(srv, "query_timeout");
		return;
	}
	s->timed_out = 1;
	cancel_statement(s);
}

static void idle_too_long(struct session *s)
{
	struct err e;
	if (session_status(s) == 'I' && s->home->leave_idle_us) {
		err_set(&e, "57P01", "terminating connection due to administrator command");
		session_fatal(s, CLOSE_SHUTDOWN, &e);
	} else if (session_status(s) == 'I') {
		err_set(&e, "57P05", "terminating connection due to client_idle_timeout");
		session_fatal(s, CLOSE_IDLE_TIMEOUT, &e);
	} else {
		err_set(&e, "25P03", "terminating connection due to idle_transaction_timeout");
		session_fatal(s, CLOSE_IDLE_TRANSACTION, &e);
	}
}

/* As PostgreSQL 17 does it: FATAL, whether a statement runs or not.  What runs is cancelled when the pool gets the server back. */
static void transaction_too_long(struct session *s)
{
	struct err e;
	err_set(&e, "25P04", "terminating connection due to transaction_timeout");
	session_fatal(s, CLOSE_TRANSACTION, &e);
}

static void time_is_up(struct session *s)
{
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_AUTH:
	case SESSION_WELCOME:
		login_too_long(s);
		break;
	case SESSION_ASKING:
		clientauth_give_up(s);
		break;
	case SESSION_REFUSING:
		session_fatal(s, CLOSE_REFUSED, &s->login->refusal);
		break;
	case SESSION_WAIT_SERVER:
		session_fail_wait(s, "53300", "no server connection became free within query_wait_timeout",
		                  "Raise the pool's size, or find out with SHOW POOLS what keeps its servers busy.");
		break;
	case SESSION_WAIT_PRIMARY:
		session_fail_wait(s, "08006", "no primary server is available",
		                  "The cluster has no reachable server out of recovery; try again later.");
		break;
	case SESSION_WAIT_PAUSED:
		session_fail_wait(s, "57P03", "the database is paused, and was not resumed within query_wait_timeout", NULL);
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
			query_too_long(s);
		else
			idle_too_long(s);
		break;
	default:
		break;
	}
}

/* The next moment at which something but the end of the transaction is due, or 0. */
static uint64_t state_due_us(const struct session *s)
{
	uint64_t patience = allowed_us(s), notify = session_conf(s)->pool.query_wait_notify;
	if (is_waiting(s) && !s->noticed && notify && s->welcomed)
		patience = min_nonzero(patience, notify);
	return patience ? began_us(s) + patience : 0;
}

void patience_watch(struct session *s)
{
	uint64_t due = min_nonzero(state_due_us(s), transaction_due_us(s)), now = loop_now_us(session_loop(s));
	if (!due || (loop_timer_is_running(&s->timer) && s->timer_due_us <= due)) /* it fires early enough, and looks again then */
		return;
	s->timer_due_us = due;
	loop_timer_start(session_loop(s), &s->timer, due > now ? due - now : 1);
}

void patience_note(struct session *s)
{
	if (session_status(s) == 'I')
		s->tx_since_us = 0;
	else if (!s->tx_since_us)
		s->tx_since_us = loop_now_us(session_loop(s));
	patience_watch(s);
}

void patience_begin_statement(struct session *s)
{
	const struct conf_effective *e = s->pool ? pool_conf(s->pool) : NULL;
	if (s->in_query)
		return;
	s->in_query = 1;
	s->timed_out = 0;
	s->since_us = loop_now_us(session_loop(s));
	if (!s->tx_since_us)
		s->tx_since_us = s->since_us;
	if (e && (e->query_timeout || e->transaction_timeout))
		patience_watch(s);
}

/* Where more was sent already, the next statement begins now. */
void patience_end_statement(struct session *s)
{
	const struct conf_effective *e = pool_conf(s->srv->pool);
	bool goes_on = s->segment_open || !replies_is_empty(&s->srv->replies);
	uint64_t now = loop_now_us(session_loop(s));
	struct pool_tally *tally = pool_tally(s->srv->pool);
	pool_tally_add(&tally->query_us, now - s->since_us);
	if (s->timed)
		counted_took(s, now - s->since_us);
	s->in_query = goes_on;
	s->timed_out = 0;
	s->since_us = now;
	if (s->srv->tx_status == 'I') {
		pool_tally_add(&tally->xact_us, s->tx_since_us ? now - s->tx_since_us : 0);
		s->tx_since_us = goes_on ? now : 0;
	}
	if (!goes_on && (e->client_idle_timeout || e->idle_transaction_timeout || s->home->leave_idle_us))
		patience_watch(s);
}

void patience_on_timer(struct loop_timer *t)
{
	struct session *s = CONTAINER_OF(t, struct session, timer);
	uint64_t due = state_due_us(s), now = loop_now_us(session_loop(s)), patience = allowed_us(s), end = transaction_due_us(s);
	if (end && end <= now)
		transaction_too_long(s);
	else if (due && due <= now) {
		if (patience && began_us(s) + patience <= now)
			time_is_up(s);
		else
			notice_wait(s);
	}
	if (s->state != SESSION_CLOSED)
		patience_watch(s);
}
