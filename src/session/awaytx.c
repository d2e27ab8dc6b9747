/*
 * awaytx — a transaction on a standby: how it gets there, how far it may go there, and how it moves to the primary so that nobody notices.
 *
 *   BEGIN was answered, its first unit reads and may go (route.c) -> free
 *     free  --a unit that reads-->  it runs there; until the client hears of it, there is a way back (trip.c)
 *           --a unit that answered with what only this snapshot knows-->  bound
 *           --anything else; a hint; the standby refuses, fails, is lost-->  home
 *     bound --anything-->  it runs there, and its error is what the client gets
 *     home  --the next statement-->  BEGIN and the notes travel ahead of it to the primary: an ordinary transaction, and this is over
 *
 * Free is only what is READ COMMITTED: each of its statements sees a snapshot of its own, so another node may take the next.
 *
 * Always: a transaction that writes has not told anything that hangs on the standby; what is home has no server.
 */
#include "priv.h"
#include "sql/hint.h"
#include "wire/reader.h"

#define NOTES_MAX 1000u /* of a transaction; with more it moves */

/* ---- its life ------------------------------------------------------------------------------------------------------------------------------------------- */

static void enter(struct session *s, enum awaytx_state next)
{
	static const char *const words[] = { [AWAYTX_FREE] = "free", [AWAYTX_BOUND] = "bound", [AWAYTX_HOME] = "home" };
	struct awaytx *a = s->away;
	ASSERT(a->state != AWAYTX_HOME);
	if (a->state != next)
		log_debug(&s->log, "transaction_away", KV_STR("from", words[a->state]), KV_STR("to", words[next]),
		          KV_INT("node_id", pool_node_id(a->pool)));
	a->state = (uint8_t)next;
}

/* Those of the unit that is about to run. */
static void await_notes(struct awaytx *a, struct unit *u)
{
	awaytx_notes_free(&a->pending);
	if (u->notes.next)
		dlist_take(&a->pending, &u->notes);
}

void awaytx_begin(struct session *s, struct pool *pool, struct pulse *pulse, struct unit *u)
{
	struct awaytx *a = mem_alloc(sizeof *a);
	uint8_t as = u->begins ? u->begin_modes : s->begin_modes, level = awaytx_level_of(s, as);
	a->is_read_only = u->tx == UNIT_TX_READS;
	a->knows_level = level;
	a->is_committed = !level || (level & (MODE_COMMITTED | MODE_UNCOMMITTED));
	a->begins_here = u->begins;
	a->unit_binds = u->binds;
	a->begin = u->begins ? awaytx_begin_text(as) : mem_text(s->begin);
	a->modes = as;
	a->pool = pool;
	pool_join(pool);
	a->pulse = pulse_ref(pulse);
	dlist_init(&a->notes);
	dlist_init(&a->pending);
	await_notes(a, u);
	s->away = a;
}

static void leave_node(struct awaytx *a)
{
	if (!a->pool)
		return;
	pool_part(a->pool);
	pulse_unref(a->pulse);
	a->pool = NULL;
}

void awaytx_end(struct session *s)
{
	struct awaytx *a = s->away;
	if (!a)
		return;
	s->away = NULL;
	leave_node(a);
	awaytx_notes_free(&a->notes);
	awaytx_notes_free(&a->pending);
	mem_free(a->begin);
	mem_free(a);
}

void awaytx_fail(struct session *s)
{
	if (awaytx_is_home(s))
		vars_on_lost(s);
	awaytx_end(s);
}

/* The transaction has no server any more, and the books are those of its last statement. */
static void begin_again(struct session *s)
{
	struct awaytx *a = s->away;
	enter(s, AWAYTX_HOME);
	leave_node(a);
	awaytx_notes_free(&a->pending);
	portals_forget(s);
	mem_free(s->begin);
	s->begin = a->begin;
	a->begin = NULL;
	s->begin_modes = a->modes;
	s->vtx = VTX_DEFERRED;
	s->begin_is = BEGIN_NONE;
	s->setup_again = s->setup_unsettled = s->setup_ahead = s->in_block = s->segment_open = 0;
}

/* The standby's answers to the unit under way, its first message included, never were. */
void awaytx_return(struct session *s)
{
	if (!s->away->begins_here) {
		begin_again(s);
		return;
	}
	awaytx_end(s);
	vars_on_lost(s);
	mem_free(s->begin);
	s->begin = NULL;
	s->vtx = VTX_NONE;
}

static void move(struct session *s, const char *why)
{
	log_debug(&s->log, "transaction_moves", KV_INT("node_id", pool_node_id(s->away->pool)), KV_STR("why", why));
	borrow_drop(s);
	begin_again(s);
}

/* ---- from unit to unit ------------------------------------------------------------------------------------------------------------------------------------ */

static bool asks_for_primary(struct slice text)
{
	struct sql_hint hint = { 0 };
	return sql_hint(text, &hint) && hint.wants_primary;
}

static const char *why_it_moves(const struct awaytx *a, const struct unit *u)
{
	if (!u->is_read)
		return "not a read";
	if (asks_for_primary(u->text))
		return "a hint";
	return a->n_notes > NOTES_MAX ? "too much to be repeated" : NULL;
}

static bool take_unit(struct session *s, struct slice in, struct unit *u)
{
	struct awaytx *a = s->away;
	bool has_failed = s->srv->tx_status == 'E';
	const char *why;
	if (!unit_look(s, in, u))
		return false;
	why = has_failed ? NULL : why_it_moves(a, u);
	if (why) {
		move(s, why);
		return true;
	}
	await_notes(a, u);
	a->unit_binds = u->binds;
	a->begins_here = false;
	if (!has_failed) /* a failed one's answers are nobody else's */
		trip_begin(s, a->pool, a->pulse, slice_of(in.at, u->len));
	return true;
}

/* Between two statements: the next one finds it on the primary.  A server that ended it for being idle has ended it. */
bool awaytx_outlives(struct session *s)
{
	const struct awaytx *a = s->away;
	bool is_idle = replies_is_empty(&s->srv->replies) && !s->segment_open && !s->reply_left && s->srv->tx_status == 'T';
	return a->state == AWAYTX_FREE && is_idle && !s->timed_out && !(s->owed && memcmp(s->owed->sqlstate, "25", 2) == 0);
}

/* The server has said why it is about to close the connection. */
static bool leave_in_time(struct session *s)
{
	if (awaytx_outlives(s)) {
		s->srv->must_close = 1;
		move(s, s->owed->text);
		mem_free(s->owed);
		s->owed = NULL;
	}
	return true;
}

bool awaytx_unit(struct session *s, struct slice in, struct unit *u)
{
	if (s->away->state != AWAYTX_FREE || s->wait_failed)
		return true;
	if (borrow_is_owed(s)) {
		borrow_wait_for_earlier(s);
		return false;
	}
	if (s->owed)
		return leave_in_time(s);
	return take_unit(s, in, u);
}

bool awaytx_has_not_begun(const struct session *s)
{
	return s->away->state != AWAYTX_HOME && !s->srv;
}

void awaytx_on_ready(struct session *s)
{
	struct awaytx *a = s->away;
	if (s->srv->tx_status == 'I') {
		awaytx_end(s);
		return;
	}
	if (a->has_ended)
		a->state = AWAYTX_FREE;
	else if (a->state == AWAYTX_FREE && (a->unit_binds || !a->is_committed))
		enter(s, AWAYTX_BOUND);
	a->has_ended = a->begins_here = a->unit_binds = false;
	awaytx_notes_free(&a->pending);
}

void awaytx_on_lost(struct session *s)
{
	log_debug(&s->log, "transaction_moves", KV_INT("node_id", pool_node_id(s->away->pool)), KV_STR("why", "the server was lost"));
	begin_again(s);
	mem_free(s->owed);
	s->owed = NULL;
}

/* ---- what its server is told, and tells -------------------------------------------------------------------------------------------------------------------- */

bool awaytx_asks_level(const struct session *s)
{
	return s->away->state == AWAYTX_FREE && !s->away->knows_level && !s->srv->is_read_committed;
}

bool awaytx_level(struct session *s, const struct frame *f)
{
	struct reader r;
	struct slice level;
	bool is_committed;
	reader_init(&r, f->body);
	reader_u16(&r);
	level = reader_bytes(&r, reader_u32(&r));
	is_committed = reader_ok(&r) && slice_equal(level, slice_text("read committed"));
	s->srv->is_read_committed = is_committed;
	if (s->away)
		s->away->is_committed = is_committed;
	return is_committed || !s->away || s->away->is_read_only;
}

/* What would leave something in the session, or means the primary although a standby does it without a word. */
bool awaytx_refuses(struct session *s, const struct sql_class *class, struct err *err)
{
	bool is_for_primary = !class || pins_of_class(s, class);
	if (s->away->state != AWAYTX_BOUND)
		return false;
	for (uint32_t i = 0; class && i < class->n; i++)
		is_for_primary |= class->part[i].why == SQL_WHY_ADVISORY ||
		                  (awaytx_is_noted(&class->part[i]) && settings_len(s->vars) >= SETTINGS_AWAY_MAX);
	if (!is_for_primary)
		return false;
	err_set(err, "25006", "cannot execute this statement in a transaction that reads from a standby");
	err_hint(err, "Begin the transaction with the hint /* lunapool: route=primary */ in front of its first statement.");
	return true;
}
