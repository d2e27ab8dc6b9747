/*
 * statement — what clients prepared, once per worker: text, parameter types, class and keys.
 *
 * All clients of a pool whose text and types are the same share one struct statement.  On servers it is known under a name made from its key,
 * from what the session's settings make of the text (search_path, role) and from the DDL generation, so that the name means the same on
 * every server and in every worker, and after DDL a statement is prepared anew under a new name.
 *
 * Always: a statement lives while a session's name, portal or reply entry refers to it; home->statements does not count.
 */
#include "base/hash.h"
#include "priv.h"

/* ---- the shared statements ------------------------------------------------------------------------------------------------------------ */

struct slice statement_text(const struct statement *st)
{
	return slice_of(st->body, st->text_len);
}

struct slice statement_types(const struct statement *st)
{
	return slice_of(st->body + st->text_len + 1, st->types_len);
}

static struct slice key_slice(const struct hash128 *key)
{
	return slice_of(key, sizeof *key);
}

static uint64_t ddl_generation(const struct session *s)
{
	return s->pool ? pool_ddl_generation(s->pool) : 0;
}

/* The generation is of the moment at which the client prepared it: a client that knows the columns of before an ALTER TABLE uses the plans of
 * before, and gets PostgreSQL's "cached plan must not change result type" (drivers wait for it), never rows of another shape.
 * What PREPARE made is one client's: each PREPARE must really run, so its key is like no other. */
static struct hash128 statement_key(struct session *s, struct slice text, struct slice types, bool by_sql)
{
	uint64_t pool = s->pool ? pool_id(s->pool) : 0, salt = by_sql ? ++s->home->salt : 0;
	uint64_t head[] = { pool, salt, salt ? s->home->env.worker : 0, text.len, ddl_generation(s) };
	struct hash128 a = hash128(text), b = hash128(types), c;
	c = hash128(slice_of(head, sizeof head));
	return (struct hash128){ .hi = a.hi ^ (b.hi << 1 | b.hi >> 63) ^ c.hi, .lo = a.lo ^ (b.lo << 1 | b.lo >> 63) ^ c.lo };
}

struct statement *statement_intern(struct session *s, struct slice text, struct slice types, bool by_sql)
{
	struct hash128 key = statement_key(s, text, types, by_sql);
	struct statement *st = map_get(&s->home->statements, key_slice(&key));
	if (st) {
		st->refs++;
		return st;
	}
	st = mem_alloc(sizeof *st + text.len + 1 + types.len);
	st->refs = 1;
	st->key = key;
	st->by_sql = by_sql;
	st->generation = ddl_generation(s);
	st->text_len = (uint32_t)text.len;
	st->types_len = (uint32_t)types.len;
	memcpy(st->body, text.at, text.len);
	if (types.len)
		memcpy(st->body + text.len + 1, types.at, types.len);
	if (!by_sql) {
		st->plain = sql_classify(s->home->env.cache, text, query_dialect(s));
		st->class = sql_class_ref(st->plain);
		st->names_statements = class_names_statements(st->class);
		st->asks = (uint8_t)(st->class->is_opaque || st->class->is_guess ? asks_of(text, &(struct slice){ 0 }) : ASKS_NOTHING);
	}
	map_put(&s->home->statements, key_slice(&key), st);
	return st;
}

void statement_free(struct session *s, struct statement *st)
{
	map_remove(&s->home->statements, key_slice(&st->key));
	sql_class_unref(st->class);
	sql_class_unref(st->plain);
	mem_free(st);
}

/* ---- on servers: keys ---------------------------------------------------------------------------------------------------- */

void statement_salt(struct hash128 *key, uint64_t what)
{
	key->hi ^= what * 0xff51afd7ed558ccdull;
	key->lo ^= what * 0x9e3779b97f4a7c15ull;
}

struct hash128 statement_server_key(const struct session *s, const struct statement *st)
{
	struct hash128 key = st->key;
	statement_salt(&key, settings_name_scope(s->vars));
	return key;
}

void statement_accept(struct statement *st, uint64_t generation, uint64_t scope)
{
	st->accepted_generation = generation + 1;
	st->accepted_scope = scope;
}
