/*
 * hearing — a session that only LISTENs can have another server: what that must be told first is known.
 *
 *   hears ──its server is lost──► deaf ──there is a primary, by itself or for the client's next statement──► tells a server: settings, LISTEN … ──► hears
 *
 * In a switchover it stays on the old primary while others end their transactions there, hears what these notify, and leaves last.
 *
 * What is notified while it is deaf nobody hears, as with PostgreSQL, where the connection ends and the client knows by that.  So this client gets a
 * WARNING (01000) when it hears again.  If it cannot be made to hear again it is closed: it must not believe that it listens.
 *
 * Always: a deaf session has no server, or one that has not answered to its LISTENs; nothing of the client's is sent there before it has;
 *         home->n_deaf counts the deaf.
 */
#include <string.h>
#include <strings.h>

#include "priv.h"

bool hearing_can_move(const struct session *s)
{
	return (s->pins & PIN_STATE) == PIN_LISTEN && (!(s->base_pins & PIN_LISTEN) || channels_are_known(s));
}

static void hearing_fail(struct session *s, const struct err *why)
{
	struct err e;
	err_set(&e, "57P01", "the server on which this session listened was lost, and LISTEN cannot be repeated: %s", why->text);
	session_fatal(s, CLOSE_LOST_PIN, &e);
}

static void hearing_begin(struct session *s)
{
	if (!s->pin_counted)
		s->pin_counted = pool_pin(s->pool, true);
	pool_keep(s->srv, true);
	setup_channels(s, s->aside->base_channels);
}

enum borrow hearing_first(struct session *s)
{
	hearing_begin(s);
	session_block(s, SESSION_WAIT_QUIET);
	return BORROW_BLOCKED;
}

/* ---- by itself --------------------------------------------------------------------------------------------------------- */

static void hearing_on_server(struct pool_wait *w, struct server *srv)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	borrow_attach(s, srv);
	session_enter(s, SESSION_WAIT_QUIET); /* and holds no message */
	stream_pause(&s->stream);
	hearing_begin(s);
}

static void hearing_on_failed(struct pool_wait *w, const struct err *err)
{
	struct session *s = CONTAINER_OF(w, struct session, wait);
	if (strcmp(err->sqlstate, "LP001") == 0) /* the primary is another node now */
		loop_defer(session_loop(s), &s->home->hearings);
	else
		hearing_fail(s, err);
}

static const struct pool_wait_ops hearing_ops = { .on_server = hearing_on_server, .on_failed = hearing_on_failed };

/* Where nobody is the primary, or nothing may begin, the next topology comes back to it. */
static void hearing_look(struct session *s)
{
	pool_withdraw(&s->wait);
	if (!borrow_may_begin(s))
		return;
	s->wait.ops = &hearing_ops;
	struct server *srv = pool_checkout(s->pool, &s->wait);
	if (srv)
		hearing_on_server(&s->wait, srv);
}

/* ---- its server is to be left ------------------------------------------------------------------------------------------ */

static enum topo_parting parting_of(const struct session *s)
{
	const struct topo_node *n = topo_node(s->home->topo, pool_node_id(s->srv->pool), NULL);
	return n ? n->parting : TOPO_STAYS;
}

void hearing_rest(struct session *s)
{
	bool only_hears = s->pins == PIN_LISTEN && !s->deaf && channels_are_known(s);
	pool_rest(s->srv, only_hears ? SERVER_HEARS : SERVER_KEEPS);
	if (UNLIKELY(s->home->has_parting) && only_hears)
		loop_defer(session_loop(s), &s->home->hearings);
}

bool hearing_must_wait(struct session *s)
{
	if (s->srv->rests == SERVER_HEARS && parting_of(s) != TOPO_STAYS)
		return true;
	pool_rest(s->srv, SERVER_WORKS);
	return false;
}

/* What was committed before has been notified when the server is ready for the next query (async.c, ProcessNotifyInterrupt). */
static void hearing_part(struct session *s)
{
	static const uint8_t sync[] = { 'S', 0, 0, 0, 4 };
	bool may_go = (s->state == SESSION_READY || s->state == SESSION_WAIT_PRIMARY) && borrow_is_over(s);
	if (s->srv->rests != SERVER_HEARS || !may_go || parting_of(s) != TOPO_PARTS)
		return;
	dlist_remove(&s->homeless);
	session_enter(s, SESSION_WAIT_QUIET);
	stream_pause(&s->stream);
	borrow_push(s, REPLY_SYNC, REPLY_SWALLOW, TAG_PART, NULL);
	stream_send(&s->srv->up.stream, slice_of(sync, sizeof sync), NULL);
}

void hearing_parted(struct session *s)
{
	struct server *srv = s->srv;
	if (s->pin_counted)
		pool_unpin(srv->pool);
	s->pin_counted = 0;
	s->srv = NULL;
	hearing_lost(s);
	portals_forget(s);
	pool_close_server(srv, "its client listens elsewhere");
	session_unblock(s);
}

void hearings_go_on(struct loop_defer *d)
{
	struct sessions *ss = CONTAINER_OF(d, struct sessions, hearings);
	if (!ss->n_deaf && !ss->has_parting)
		return;
	DLIST_EACH(it, &ss->all)
	{
		struct session *s = CONTAINER_OF(it, struct session, link);
		if (ss->has_parting && s->srv)
			hearing_part(s);
		if (s->deaf && !s->srv && s->state == SESSION_READY) /* else its statement will */
			hearing_look(s);
	}
}

void hearing_on_topology(struct sessions *ss)
{
	const struct topo *topo = ss->topo;
	ss->has_parting = false;
	for (size_t i = 0; i < topo->n_clusters; i++)
		for (size_t n = 0; n < topo->clusters[i].n_nodes; n++)
			ss->has_parting |= topo->clusters[i].nodes[n].parting != TOPO_STAYS;
	if (ss->n_deaf || ss->has_parting)
		loop_defer(ss->loop, &ss->hearings);
}

/* ---- what happens to it ------------------------------------------------------------------------------------------------ */

void hearing_lost(struct session *s)
{
	if (!(s->pins & PIN_LISTEN))
		return;
	if (!s->deaf) {
		s->home->n_deaf++;
		log_info(&s->log, "listen_lost", KV_INT("channels", channels_count(s->aside->base_channels)));
	}
	s->deaf = 1;
	loop_defer(session_loop(s), &s->home->hearings);
}

/* As the server would, were the WARNING its own. */
static bool wants_warnings(const struct session *s)
{
	const char *least = settings_get(s->vars, "client_min_messages");
	return !least || (strcasecmp(least, "error") != 0 && strcasecmp(least, "fatal") != 0 && strcasecmp(least, "panic") != 0);
}

static void hearing_tell(struct session *s)
{
	struct err e;
	const struct topo_node *n = topo_node(s->home->topo, pool_node_id(s->srv->pool), NULL);
	log_info(&s->log, "listen_moved", KV_STR("node", n ? n->name : NULL),
	         KV_INT("channels", channels_count(s->aside->base_channels)));
	err_set(&e, "01000", "LISTEN has moved to another server connection");
	err_detail(&e, "Notifications that were sent meanwhile may be missing.");
	if (wants_warnings(s))
		session_send_report(s, "WARNING", 'N', &e);
}

void hearing_answered(struct session *s)
{
	struct err why;
	s->setup_ahead = 0;
	if (s->wait_failed) {
		why = *s->wait_failed;
		hearing_fail(s, &why);
		return;
	}
	s->deaf = 0;
	s->home->n_deaf--;
	atomic_fetch_add_explicit(&s->home->env.registry->listens_moved, 1, memory_order_relaxed);
	hearing_tell(s);
	session_unblock(s);
}

uint64_t session_registry_listens_moved(struct session_registry *r)
{
	return atomic_load_explicit(&r->listens_moved, memory_order_relaxed);
}

void hearing_end_life(struct session *s)
{
	s->home->n_deaf -= s->deaf;
	s->deaf = 0;
}
