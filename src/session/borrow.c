/*
 * borrow — a server for the statement at hand, set up as this session expects to find it, and its way back.
 *
 *   no server --pool_checkout--> attached --setup--> ready for the statement --> ReadyForQuery, idle, no pin --> given back
 */
#include <string.h>

#include "priv.h"

void borrow_send(struct session *s, struct writer *w)
{
	ASSERT(writer_ok(w));
	stream_send(&s->srv->up.stream, writer_slice(w), NULL);
}

void borrow_push_any(struct session *s, struct reply entry)
{
	if (!replies_push(&s->srv->replies, entry))
		outcome_book(s, &entry, ENDED_SKIPPED, slice_of(NULL, 0));
	if (!replies_is_settled(&s->srv->replies))
		relay_settle(s);
}

bool borrow_is_owed(const struct session *s)
{
	return s->srv && (!replies_is_empty(&s->srv->replies) || replies_is_skipping(&s->srv->replies));
}

bool borrow_earlier_is_under_way(const struct session *s)
{
	return s->srv && (s->srv->replies.syncs || s->srv->replies.doubtful);
}

void borrow_wait_for_earlier(struct session *s)
{
	s->waits_for_earlier = 1;
	session_block(s, SESSION_WAIT_QUIET);
}

/* ---- where to ------------------------------------------------------------------------------------------------------------------------ */

/* Where the session is at home, the primary; while nobody is, where it was, or anywhere: it counts there, and its reads set out from there. */
static const struct topo_node *borrow_home(const struct session *s, const struct topo *topo, size_t cluster_at)
{
	const struct topo_node *primary = topo_primary(topo, cluster_at);
	size_t at;
	if (LIKELY(primary))
		return primary;
	const struct topo_node *was = s->pool ? topo_node(topo, pool_node_id(s->pool), &at) : NULL;
	return was && at == cluster_at ? was : &topo->clusters[cluster_at].nodes[0];
}

void borrow_pool_anew(struct session *s)
{
	const struct topo *topo = s->home->topo;
	const struct conf_database *d;
	struct pool *pool = NULL;
	size_t at = 0;
	abroad_on_topology(s);
	d = conf_database(topo->conf, s->database);
	if (d) {
		s->home_at = (uint16_t)d->cluster_at;
		at = abroad_at(s, d->cluster_at);
		s->freshness = floor_whose(topo->conf, d, at);
	}
	if (d) {
		struct pool_key key = { .node_id = borrow_home(s, topo, at)->id,
			                    .database = s->database,
			                    .user = *d->user ? d->user : s->user };
		pool = pools_get(s->home->env.pools, topo, &key);
	}
	s->topo_generation = topo->generation;
	if (pool == s->pool)
		return;
	s->catalog = NULL;
	if (s->pin_counted && !s->srv) { /* it waits, and asks again there */
		pool_unpin(s->pool);
		s->pin_counted = 0;
	}
	if (pool)
		pool_join(pool);
	if (s->pool)
		pool_part(s->pool);
	s->pool = pool;
}

static void borrow_on_server(struct pool_wait *w, struct server *srv);
static void borrow_on_failed(struct pool_wait *w, const struct err *err);

void borrow_attach(struct session *s, struct server *srv)
{
	s->srv = srv;
	srv->user = &relay_user;
	srv->borrower = s;
	s->is_away = s->trip && s->trip->pool;
	if (UNLIKELY(s->is_away) && s->told != srv->up.reported)
		told_as_at_home(s);
	if (pool_conf(s->pool)->mode == POOL_MODE_SESSION && (s->welcomed || !s->home->roams)) /* its first statement says where */
		pins_set(s, s->pins | PIN_MODE);
}

static void borrow_on_server(struct pool_wait *w, struct server *srv)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	borrow_attach(s, srv);
	POOL_COUNT(s->pool, wait_us, loop_now_us(session_loop(s)) - s->held_since_us);
	session_unblock(s);
}

static void borrow_on_failed(struct pool_wait *w, const struct err *err)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	if (s->trip && s->trip->pool) {
		pulse_eject_for(s->trip->pulse, err->sqlstate);
		trip_return(s, err->text);
		return;
	}
	if (strcmp(err->sqlstate, "LP001") != 0) { /* LP001: the primary is another node now; look again */
		s->wait_failed = s->wait_failed ? s->wait_failed : mem_alloc(sizeof *s->wait_failed);
		*s->wait_failed = *err;
	}
	session_unblock(s);
}

/* ---- the way there --------------------------------------------------------------------------------------------------------------------- */

static bool borrow_failed(struct err **why, struct err *err)
{
	if (!*why)
		return false;
	*err = **why;
	mem_free(*why);
	*why = NULL;
	return true;
}

static enum borrow borrow_wait(struct session *s, enum session_state why, struct dlist *queue)
{
	if (queue)
		dlist_push_back(queue, &s->homeless);
	session_block(s, why);
	return BORROW_BLOCKED;
}

/* A statement that will pin needs a place under max_pinned before it gets a server; inside a transaction it is counted over. */
static bool borrow_may_pin(struct session *s, const struct sql_class *class)
{
	if (!class || class->is_plain || s->pin_counted || !pins_of_class(s, class))
		return true;
	bool in_transaction = s->vtx == VTX_DEFERRED || s->srv || (class->n > 1 && class->part[0].kind == SQL_BEGIN);
	s->pin_counted = pool_pin(s->pool, in_transaction || pool_conf(s->pool)->mode == POOL_MODE_SESSION);
	return s->pin_counted;
}

static enum borrow borrow_no_pool(struct session *s, struct err *err)
{
	if (conf_database(session_conf(s), s->database))
		return borrow_wait(s, SESSION_WAIT_PRIMARY, &s->home->homeless);
	err_set(err, "3D000", "database \"%s\" does not exist", s->database);
	err_hint(err, "It was removed from Lunapool's configuration.");
	return BORROW_FAILED;
}

static enum borrow borrow_wait_pin(struct session *s)
{
	if (!loop_timer_is_running(&s->home->pin_retry))
		loop_timer_start(session_loop(s), &s->home->pin_retry, 20 * 1000);
	return borrow_wait(s, SESSION_WAIT_PIN, &s->home->wait_pin);
}

/* It is for the primary, and there is none, or a policy lets nothing begin there. */
static bool borrow_is_held(const struct session *s)
{
	const struct topo_cluster *c = &s->home->topo->clusters[pool_cluster_at(s->pool)];
	return !(s->trip && s->trip->pool) && (c->is_held || c->primary < 0);
}

bool borrow_may_begin(struct session *s)
{
	if (topo_holds(s->home->topo, s->database, TOPO_PAUSED))
		return false;
	borrow_pool(s);
	return s->pool && !borrow_is_held(s);
}

/* Nothing may begin there now. */
static enum borrow borrow_hold(struct session *s, struct err *err)
{
	if (s->welcomed && !hold_enter(s, err))
		return BORROW_FAILED;
	return borrow_wait(s, SESSION_WAIT_PRIMARY, &s->home->homeless);
}

static const struct pool_wait_ops wait_ops = { .on_server = borrow_on_server, .on_failed = borrow_on_failed };

enum borrow borrow_server(struct session *s, const struct sql_class *class, struct err *err)
{
	struct server *srv;
	if (borrow_failed(&s->wait_failed, err) || borrow_failed(&s->owed, err))
		return BORROW_FAILED;
	if (!s->srv) {
		if (UNLIKELY(s->deaf)) /* it may wait by itself */
			pool_withdraw(&s->wait);
		if (UNLIKELY(topo_holds(s->home->topo, s->database, TOPO_PAUSED)))
			return borrow_wait(s, SESSION_WAIT_PAUSED, &s->home->homeless);
		borrow_pool(s);
		if (!s->pool)
			return borrow_no_pool(s, err);
		if (UNLIKELY(borrow_is_held(s)))
			return borrow_hold(s, err);
		hold_leave(s);
		if (!borrow_may_pin(s, class))
			return borrow_wait_pin(s);
		s->wait.ops = &wait_ops;
		srv = pool_checkout(UNLIKELY(s->trip && s->trip->pool) ? s->trip->pool : s->pool, &s->wait);
		if (!srv)
			return borrow_wait(s, SESSION_WAIT_SERVER, NULL);
		borrow_attach(s, srv);
	} else {
		if (UNLIKELY(s->srv->rests) && hearing_must_wait(s))
			return borrow_hold(s, err);
		hold_leave(s);
		if (!borrow_may_pin(s, class))
			return borrow_wait_pin(s);
	}
	if (UNLIKELY(s->deaf))
		return hearing_first(s);
	if (UNLIKELY(s->home->routes) && !(class && class->is_idle) && !s->is_away)
		s->unit_wrote = 1;
	s->held_since_us = 0;
	s->noticed = 0;
	if (s->srv->cancels && replies_is_empty(&s->srv->replies)) /* a cancel on its way must not meet the next statement */
		return borrow_wait(s, SESSION_WAIT_QUIET, NULL);
	return setup_is_needed(s) ? setup_server(s, class) : BORROW_OK;
}

/* ---- refusals ---------------------------------------------------------------------------------------------------------------------------- */

static void refuse_on_server(struct session *s, bool is_query, const struct err *err)
{
	uint8_t space[128];
	struct writer w;
	writer_init(&w, space, sizeof space);
	writer_begin(&w, is_query ? 'Q' : 'P');
	if (!is_query)
		writer_text(&w, "");
	writer_text(&w, BORROW_REFUSED_TEXT);
	if (!is_query)
		writer_u16(&w, 0);
	writer_end(&w);
	borrow_push(s, is_query ? REPLY_QUERY : REPLY_PARSE, REPLY_FORWARD, TAG_REFUSAL, mem_copy(err, sizeof *err));
	borrow_send(s, &w);
	if (!is_query)
		s->segment_open = 1;
}

void borrow_refuse(struct session *s, bool is_query, const struct err *err)
{
	s->held_since_us = 0;
	hold_leave(s);
	if (is_query)
		names_drop_unnamed(s);
	if (borrow_is_owed(s) || (s->srv && (s->srv->tx_status != 'I' || s->segment_open))) {
		refuse_on_server(s, is_query, err);
		return;
	}
	session_send_error(s, err);
	if (s->vtx == VTX_DEFERRED) {
		s->vtx = VTX_FAILED;
		mem_free(s->begin);
		s->begin = NULL;
		awaytx_fail(s);
	}
	if (is_query)
		session_send_ready(s);
	else
		s->skip_to_sync = 1;
	borrow_give_back(s);
}

/* ---- the way back ------------------------------------------------------------------------------------------------------------------------ */

static void borrow_unpin(struct session *s)
{
	if (s->pin_counted)
		pool_unpin(s->srv->pool);
	s->pin_counted = 0;
}

bool borrow_is_over(const struct session *s)
{
	return !borrow_is_owed(s) && s->srv->tx_status == 'I' && !s->segment_open && !s->setup_ahead &&
	       !(s->body_left && !s->body_drop) && !s->reply_left;
}

void borrow_give_back(struct session *s)
{
	struct server *srv = s->srv;
	struct err e;
	if (!srv || !borrow_is_over(s))
		return;
	s->in_query = 0;
	if (!s->pins) {
		borrow_unpin(s);
		s->srv = NULL;
		s->names_doubtful = 0;
		stream_resume(&srv->up.stream);
		portals_forget(s);
		pool_give_back(srv);
	} else
		hearing_rest(s);
	if (s->draining && s->state == SESSION_READY && session_status(s) == 'I' && !stream_unread(&s->stream)) {
		err_set(&e, "57P01", "terminating connection due to administrator command");
		session_fatal(s, CLOSE_SHUTDOWN, &e);
	}
}

/* Lets go of what the queue's entries point at; the entries stay, so that the pool can drain them.  True when nothing but plain statements
 * was under way. */
static bool borrow_release_entries(struct session *s)
{
	struct replies *q = &s->srv->replies;
	bool all_plain = true;
	for (uint32_t i = 0; i < q->len; i++) {
		struct reply *entry = &q->ring[(q->head + i) & (q->cap - 1)];
		all_plain = all_plain && entry->tag == TAG_PLAIN;
		outcome_book(s, entry, ENDED_LOST, slice_of(NULL, 0));
		entry->tag = TAG_PLAIN;
		entry->ref = NULL;
		entry->fate = entry->fate == REPLY_LOCAL ? REPLY_LOCAL : REPLY_SWALLOW;
	}
	return all_plain;
}

void borrow_drop(struct session *s)
{
	struct server *srv = s->srv;
	bool half_sent = s->body_left && !s->body_drop;
	if (s->pin_counted && !srv)
		pool_unpin(s->pool);
	if (!srv) {
		s->pin_counted = 0;
		return;
	}
	if (!borrow_release_entries(s) || (s->pins & PIN_STATE))
		srv->needs_discard = 1;
	if (s->pins & PIN_OPAQUE) /* dblink's connections and what LOAD brought survive DISCARD ALL */
		srv->must_close = 1;
	borrow_unpin(s);
	srv->skip = s->reply_left;
	srv->in_copy_in = replies_copy(&srv->replies) == REPLY_COPY_IN;
	srv->needs_sync = s->segment_open;
	s->srv = NULL;
	srv->user = NULL;
	srv->borrower = NULL;
	stream_resume(&srv->up.stream);
	if (half_sent)
		pool_close_server(srv, "client left in the middle of a message");
	else
		pool_give_back(srv);
}
