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
 * The notes are what the transaction has set and the savepoints that it has, in order; what was rolled back or released leaves none.
 * They are taken when a statement completes, as the session's books are (vars.c), which go on as they are when the transaction moves.
 *
 * Always: a transaction that writes has not told anything that hangs on the standby; what is home has no server.
 */
#include <strings.h>

#include "priv.h"
#include "sql/hint.h"
#include "wire/reader.h"

#define NOTES_MAX 1000u        /* of a transaction; with more it moves */
#define NOTE_BYTES_MAX 8192u   /* of one */
#define SETTINGS_AWAY_MAX 400u /* a session with too many would be pinned to the standby (vars.c) */

/* ---- what BEGIN says ------------------------------------------------------------------------------------------------------------------------ */

static const struct mode {
	uint8_t bit, instead_of;
	const char *setting, *value, *words;
} modes[] = {
	{ MODE_READ_ONLY, MODE_READ_WRITE, "transaction_read_only", "on", "READ ONLY" },
	{ MODE_READ_WRITE, MODE_READ_ONLY, "transaction_read_only", "off", "READ WRITE" },
	{ MODE_DEFERRABLE, MODE_NOT_DEFERRABLE, "transaction_deferrable", "on", "DEFERRABLE" },
	{ MODE_NOT_DEFERRABLE, MODE_DEFERRABLE, "transaction_deferrable", "off", "NOT DEFERRABLE" },
	{ MODE_UNCOMMITTED, MODE_LEVELS, "transaction_isolation", "read uncommitted", "ISOLATION LEVEL READ UNCOMMITTED" },
	{ MODE_COMMITTED, MODE_LEVELS, "transaction_isolation", "read committed", "ISOLATION LEVEL READ COMMITTED" },
	{ MODE_REPEATABLE, MODE_LEVELS, "transaction_isolation", "repeatable read", "ISOLATION LEVEL REPEATABLE READ" },
	{ MODE_SERIALIZABLE, MODE_LEVELS, "transaction_isolation", "serializable", "ISOLATION LEVEL SERIALIZABLE" },
};

static const struct mode *mode_of(const char *setting, const char *value)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(modes[i].setting, setting) == 0 && strcasecmp(modes[i].value, value) == 0)
			return &modes[i];
	return NULL;
}

/* FROM with those of BEGIN or SET TRANSACTION; false: one of them is not known. */
static bool read_modes(const struct sql_part *p, uint8_t *out)
{
	for (char **m = p->more_settings; m && m[0] && m[1]; m += 2) {
		const struct mode *mode = mode_of(m[0], m[1]);
		if (!mode)
			return false;
		*out = (uint8_t)((*out & ~mode->instead_of) | mode->bit);
	}
	return true;
}

uint8_t awaytx_modes(const struct sql_class *class)
{
	uint8_t found = 0;
	return read_modes(&class->part[0], &found) ? found : MODE_SERIALIZABLE;
}

char *awaytx_begin_text(uint8_t of)
{
	struct writer w;
	char *text;
	writer_init_grow(&w);
	writer_bytes(&w, slice_text("BEGIN"));
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (of & modes[i].bit) {
			writer_bytes(&w, slice_text(" "));
			writer_bytes(&w, slice_text(modes[i].words));
		}
	text = mem_textn((const char *)writer_slice(&w).at, w.len);
	writer_fini(&w);
	return text;
}

bool awaytx_joins_begin(struct session *s, const struct sql_class *class)
{
	const struct sql_part *p = &class->part[0];
	uint8_t all = s->begin_modes;
	if (s->away || class->n != 1 || p->kind != SQL_SET_TRANSACTION || p->name || !p->more_settings || !read_modes(p, &all))
		return false;
	s->begin_modes = all;
	mem_free(s->begin);
	s->begin = awaytx_begin_text(all);
	return true;
}

/* ---- where it may run ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_on(const char *value)
{
	static const char *const words[] = { "on", "true", "yes", "1" };
	for (size_t i = 0; value && i < ARRAY_LEN(words); i++)
		if (strcasecmp(value, words[i]) == 0)
			return true;
	return false;
}

enum default_access { ACCESS_UNKNOWN, ACCESS_WRITES, ACCESS_READS };

/* Whether BEGIN that does not say begins what only reads. */
static NOT_INLINE bool learn_default(struct session *s)
{
	static const char name[] = "default_transaction_read_only";
	const char *told = s->told ? settings_get(s->told, name) : NULL;
	bool reads = is_on(told ? told : settings_get(s->vars, name));
	if (told) /* PostgreSQL 14 on: whenever it is another, the client is told */
		s->default_access = reads ? ACCESS_READS : ACCESS_WRITES;
	return reads;
}

static bool is_read_only(struct session *s, uint8_t begins_as)
{
	if (begins_as & (MODE_READ_ONLY | MODE_READ_WRITE))
		return begins_as & MODE_READ_ONLY;
	if (UNLIKELY(s->default_access == ACCESS_UNKNOWN))
		return learn_default(s);
	return s->default_access == ACCESS_READS;
}

/* 0: the server's own default, which nobody knows here. */
static uint8_t level_of(const struct session *s, uint8_t begins_as)
{
	const char *value = settings_len(s->vars) ? settings_get(s->vars, "default_transaction_isolation") : NULL;
	const struct mode *mode = value ? mode_of("transaction_isolation", value) : NULL;
	if (begins_as & MODE_LEVELS)
		return begins_as & MODE_LEVELS;
	return !value ? 0 : mode ? mode->bit : MODE_SERIALIZABLE;
}

void awaytx_judge(struct session *s, uint8_t begins_as, struct unit *u)
{
	uint8_t level = level_of(s, begins_as);
	u->read_only = is_read_only(s, begins_as);
	if ((level & MODE_SERIALIZABLE) || (begins_as & MODE_READ_WRITE) || (!u->read_only && (level & MODE_REPEATABLE)))
		u->tx = UNIT_TX_STAYS;
	else if (u->read_only)
		u->tx = UNIT_TX_READS;
	else
		u->tx = pool_conf(s->pool)->read_until_write ? UNIT_TX_READS_FIRST : UNIT_TX_IF_ASKED;
}

/* The text that IN begins with; empty: it has none, or is not here. */
static struct slice first_text(struct session *s, struct slice in)
{
	struct frame f;
	struct reader r;
	struct slice name;
	const struct statement *st;
	if (frame_next(in, FRAME_FROM_CLIENT, &f) != FRAME_OK)
		return slice_of(NULL, 0);
	if (f.type == 'Q')
		return f.body;
	reader_init(&r, f.body);
	name = reader_text(&r);
	if (f.type == 'P')
		return slice_of(r.at, reader_left(&r));
	name = f.type == 'B' ? reader_text(&r) : slice_of(NULL, 0);
	st = f.type == 'B' && reader_ok(&r) ? names_find(s, name) : NULL;
	return st ? statement_text(st) : slice_of(NULL, 0);
}

/* Nearly always: nobody asks, and it is known at a glance. */
static bool has_asked(struct session *s, struct slice in)
{
	struct sql_hint hint;
	if (s->home->topo->policies || (settings_len(s->vars) && settings_get(s->vars, "lunapool.route")))
		return true;
	return sql_hint(first_text(s, in), &hint);
}

bool awaytx_is_asked(struct session *s, struct slice in)
{
	return s->pool && (is_read_only(s, s->begin_modes) || pool_conf(s->pool)->read_until_write || has_asked(s, in));
}

/* ---- notes ------------------------------------------------------------------------------------------------------------------------------------------- */

bool awaytx_is_noted(const struct sql_part *p)
{
	switch (p->kind) {
	case SQL_SAVEPOINT:
	case SQL_RELEASE:
	case SQL_ROLLBACK_TO:
	case SQL_SET:
	case SQL_SET_LOCAL:
	case SQL_RESET:
	case SQL_RESET_ALL:
		return true;
	default:
		return p->effects & SQL_SET_CONFIG;
	}
}

struct awaytx_note *awaytx_note_new(const struct sql_part *p, struct slice text, struct slice types, struct slice bound)
{
	struct slice name = slice_text(p->name && p->kind != SQL_SET ? p->name : "");
	struct awaytx_note *n = mem_alloc(sizeof *n + name.len + 1 + text.len + types.len + bound.len);
	uint8_t *to = n->body;
	n->kind = p->kind;
	n->name_len = (uint32_t)name.len;
	n->text_len = (uint32_t)text.len;
	n->types_len = (uint32_t)types.len;
	n->bound_len = (uint32_t)bound.len;
	to = mempcpy(to, name.at, name.len);
	*to++ = 0;
	to = mempcpy(to, text.at, text.len);
	if (types.len)
		to = mempcpy(to, types.at, types.len);
	if (bound.len)
		memcpy(to, bound.at, bound.len);
	return n;
}

bool awaytx_may_note(const struct session *s, struct slice text, struct slice bound)
{
	return text.len + bound.len <= NOTE_BYTES_MAX && settings_len(s->vars) < SETTINGS_AWAY_MAX;
}

void awaytx_notes_free(struct dlist *notes)
{
	struct dlist *n;
	while ((n = dlist_pop_front(notes)))
		mem_free(CONTAINER_OF(n, struct awaytx_note, link));
}

static void forget(struct awaytx *a, struct awaytx_note *n)
{
	dlist_remove(&n->link);
	mem_free(n);
	a->n_notes--;
}

static struct awaytx_note *savepoint_of(struct awaytx *a, const char *name)
{
	for (struct dlist *at = a->notes.prev; at != &a->notes; at = at->prev) {
		struct awaytx_note *n = CONTAINER_OF(at, struct awaytx_note, link);
		if (n->kind == SQL_SAVEPOINT && strcmp((const char *)n->body, name) == 0)
			return n;
	}
	return NULL;
}

/* What was set behind SP is set no more, or only the savepoints there are not. */
static void forget_behind(struct awaytx *a, struct awaytx_note *sp, bool savepoints_only)
{
	for (struct dlist *at = sp->link.next; at != &a->notes;) {
		struct awaytx_note *n = CONTAINER_OF(at, struct awaytx_note, link);
		at = at->next;
		if (n->kind == SQL_SAVEPOINT || !savepoints_only)
			forget(a, n);
	}
}

static void take_note(struct awaytx *a, struct awaytx_note *n)
{
	bool ends = n->kind == SQL_RELEASE, undoes = n->kind == SQL_ROLLBACK_TO;
	struct awaytx_note *sp = ends || undoes ? savepoint_of(a, (const char *)n->body) : NULL;
	if (sp)
		forget_behind(a, sp, ends);
	if (sp && ends)
		forget(a, sp);
	if (ends || undoes) {
		mem_free(n);
		return;
	}
	dlist_push_back(&a->notes, &n->link);
	a->n_notes++;
}

void awaytx_completed(struct session *s, const struct sql_part *p)
{
	struct awaytx *a = s->away;
	struct dlist *first;
	if (p->kind == SQL_COMMIT || p->kind == SQL_ROLLBACK) { /* behind AND CHAIN another one begins, with the same modes */
		awaytx_notes_free(&a->notes);
		a->n_notes = 0;
		a->has_ended = true;
	}
	if (awaytx_is_noted(p) && (first = dlist_pop_front(&a->pending)))
		take_note(a, CONTAINER_OF(first, struct awaytx_note, link));
}

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
	uint8_t as = u->begins ? u->begin_modes : s->begin_modes, level = level_of(s, as);
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
