/*
 * awaymodes — what BEGIN and the session say of a transaction, and where it may run by that.
 *
 *   SERIALIZABLE, READ WRITE, or REPEATABLE READ that may write -> on the primary
 *   READ ONLY -> on a standby;   else -> on a standby until it writes, if the database says so or somebody asks for it
 *
 * What nobody has said is the server's own default: of read-only it is told, of the isolation it is asked when the transaction is there (awaytx.c).
 */
#include <strings.h>

#include "priv.h"
#include "sql/hint.h"
#include "wire/reader.h"

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

uint8_t awaytx_level_of(const struct session *s, uint8_t begins_as)
{
	const char *value = settings_len(s->vars) ? settings_get(s->vars, "default_transaction_isolation") : NULL;
	const struct mode *mode = value ? mode_of("transaction_isolation", value) : NULL;
	if (begins_as & MODE_LEVELS)
		return begins_as & MODE_LEVELS;
	return !value ? 0 : mode ? mode->bit : MODE_SERIALIZABLE;
}

void awaytx_judge(struct session *s, uint8_t begins_as, struct unit *u)
{
	uint8_t level = awaytx_level_of(s, begins_as);
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
