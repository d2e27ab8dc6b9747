/*
 * rewrite — SQL about prepared statements: PREPARE, EXECUTE and DEALLOCATE say the client's names, the server gets its own.
 *
 * The text becomes longer or shorter by it, so positions in errors are counted back (rewrite_position).
 */
#include "priv.h"

#define NAMES_MAX 32

/* The name as PostgreSQL folds it. */
static struct slice fold_name(struct slice raw, char *out, size_t size)
{
	size_t n = 0;
	bool quoted = raw.len >= 2 && raw.at[0] == '"';
	for (size_t i = quoted; i < raw.len - quoted && n < size; i++) {
		uint8_t c = raw.at[i];
		if (quoted && c == '"')
			i++;
		out[n++] = (char)(!quoted && c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	return slice_of(out, n);
}

/* What the text itself has done to the name so far: made it (st), or freed it; NULL: nothing. */
static const struct effect_name *last_in_this_text(const struct effect *e, struct slice folded)
{
	for (unsigned i = e ? e->n_names : 0; i-- > 0;)
		if (slice_equal(slice_text(e->names[i].name), folded))
			return &e->names[i];
	return NULL;
}

/* PREPARE x AS …: a statement of its own on the server, known to it under its own name.  Where x is taken, the server shall say so, after it
 * has looked at the text: it gets the name that x has there. */
static void name_prepared(struct session *s, struct slice text, const struct sql_name_at *at, struct effect *e,
                          struct slice folded, char *name)
{
	const struct effect_name *before = last_in_this_text(e, folded);
	struct statement *taken = before ? NULL : names_meant(s, folded), *st;
	struct hash128 key;
	if (before && before->st) {
		stmts_name(before->key, name);
		return;
	}
	if (taken) {
		prepare_statement(s, taken, name);
		return;
	}
	st = statement_intern(s, slice_of(text.at + at->at + at->len, at->end - at->at - at->len), slice_of(NULL, 0), true);
	key = statement_server_key(s, st);
	stmts_name(key, name);
	prepare_make_room(s);
	effect_add_name(e, at->part, folded, st, key);
}

/* EXECUTE x, DEALLOCATE x.  False: there is no x, and the server may say so. */
static bool name_used(struct session *s, const struct sql_name_at *at, struct effect *e, struct slice folded, char *name)
{
	const struct effect_name *before = last_in_this_text(e, folded);
	struct statement *st = before ? before->st : names_meant(s, folded);
	struct hash128 key;
	if (!st)
		return false;
	key = before ? before->key : statement_server_key(s, st);
	if (before)
		stmts_name(key, name);
	else
		prepare_statement(s, st, name);
	if (at->kind == SQL_DEALLOCATE)
		effect_add_name(e, at->part, folded, NULL, key);
	return true;
}

static uint32_t characters(struct slice text)
{
	uint32_t n = 0;
	for (size_t i = 0; i < text.len; i++)
		n += (text.at[i] & 0xc0) != 0x80; /* UTF-8; of other encodings that we parse, each byte is one but for a few */
	return n;
}

/* From the end of the name on, what was at character X of TEXT is now at X + by. */
static void note_shift(struct effect *e, struct slice text, const struct sql_name_at *at, const char *name)
{
	struct effect_shift *before = e->n_shifts ? &e->shifts[e->n_shifts - 1] : NULL;
	uint32_t start = characters(slice_of(text.at, at->at)), len = characters(slice_of(text.at + at->at, at->len));
	int32_t by = (before ? before->by : 0) + (int32_t)(strlen(name) + 2) - (int32_t)len;
	e->shifts = mem_grow(e->shifts, (e->n_shifts + 1) * sizeof *e->shifts);
	e->shifts[e->n_shifts++] = (struct effect_shift){ .from = start + len, .by = by };
}

uint32_t rewrite_position(const struct effect *e, uint32_t position)
{
	int32_t by = 0;
	for (unsigned i = 0; i < e->n_shifts; i++)
		if ((int64_t)position > (int64_t)e->shifts[i].from + e->shifts[i].by)
			by = e->shifts[i].by;
	return (int64_t)position > by ? (uint32_t)((int64_t)position - by) : 1;
}

void rewrite_names(struct session *s, struct slice text, struct writer *w, struct effect *e)
{
	struct sql_name_at at[NAMES_MAX];
	unsigned n = sql_prepared_names(text, query_dialect(s), at, NAMES_MAX);
	size_t done = 0;
	for (unsigned i = 0; i < n && i < NAMES_MAX; i++) {
		char name[STMTS_NAME_MAX], space[256];
		struct slice folded = fold_name(slice_of(text.at + at[i].at, at[i].len), space, sizeof space);
		if (at[i].kind == SQL_PREPARE)
			name_prepared(s, text, &at[i], e, folded, name);
		else if (!name_used(s, &at[i], e, folded, name))
			continue;
		writer_bytes(w, slice_of(text.at + done, at[i].at - done));
		prepare_write_name(w, name);
		done = at[i].at + at[i].len;
		if (e && e->is_query)
			note_shift(e, text, &at[i], name);
	}
	writer_bytes(w, slice_skip(text, done));
}
