/*
 * names — where a text names a prepared statement.
 *
 *   PREPARE x …      EXECUTE x …      DEALLOCATE [PREPARE] x      EXPLAIN … EXECUTE x      … CREATE TABLE … AS EXECUTE x
 *
 * EXECUTE counts only where a statement can begin: first, behind EXPLAIN and its options, or behind AS at the top level of a CREATE
 * TABLE; elsewhere it may be a column's name (it is no reserved word) or belong to GRANT or CREATE TRIGGER.
 */
#include "base/compiler.h"
#include "lex.h"
#include "sql/classify.h"

struct finder {
	struct lex lex;
	struct lex_token token; /* the one looked at */
	const uint8_t *text;
	struct sql_name_at *out;
	unsigned max, n;
	uint32_t part; /* of the statement looked at */
};

static void next(struct finder *f)
{
	lex_next(&f->lex, &f->token);
}

static bool is_word(const struct finder *f, const char *word)
{
	size_t len = strlen(word);
	if (f->token.kind != LEX_WORD || f->token.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (lex_lower[f->token.at[i]] != (uint8_t)word[i])
			return false;
	return true;
}

static bool take(struct finder *f, const char *word)
{
	if (!is_word(f, word))
		return false;
	next(f);
	return true;
}

static bool is_punct(const struct finder *f, uint8_t c)
{
	return f->token.kind == LEX_PUNCT && *f->token.at == c;
}

static bool is_at_end(const struct finder *f)
{
	return f->token.kind == LEX_END || is_punct(f, ';');
}

static bool is_name(const struct finder *f)
{
	return f->token.kind == LEX_WORD || f->token.kind == LEX_QUOTED || f->token.kind == LEX_UQUOTED;
}

static void note(struct finder *f, struct lex_token name, enum sql_kind kind)
{
	if (f->n < f->max)
		f->out[f->n] = (struct sql_name_at){
			.at = (uint32_t)(name.at - f->text),
			.len = name.len,
			.part = f->part,
			.kind = (uint8_t)kind,
		};
	f->n++;
}

/* The name that is looked at; U&"…" takes its UESCAPE clause along, which a plain name could not bear. */
static void name(struct finder *f, enum sql_kind kind)
{
	if (!is_name(f))
		return;
	struct lex_token t = f->token;
	next(f);
	if (t.kind == LEX_UQUOTED && take(f, "uescape") && f->token.kind == LEX_STRING) {
		t.len = (uint32_t)(f->token.at + f->token.len - t.at);
		next(f);
	}
	note(f, t, kind);
}

/* Behind PREPARE.  TRANSACTION may also be a statement's name: what follows tells. */
static void prepare(struct finder *f)
{
	struct lex_token t = f->token;
	if (!take(f, "transaction")) {
		name(f, SQL_PREPARE);
		return;
	}
	if (f->token.kind != LEX_STRING && f->token.kind != LEX_USTRING && f->token.kind != LEX_DOLLAR)
		note(f, t, SQL_PREPARE);
}

/* Behind DEALLOCATE.  PREPARE may also be a statement's name. */
static void deallocate(struct finder *f)
{
	struct lex_token t = f->token;
	if (take(f, "prepare") && !is_name(f)) {
		note(f, t, SQL_DEALLOCATE);
		return;
	}
	if (!is_word(f, "all"))
		name(f, SQL_DEALLOCATE);
}

/* Behind CREATE, to the end of the statement or to AS EXECUTE. */
static void create(struct finder *f)
{
	unsigned depth = 0;
	bool is_table = false;
	while (f->token.kind != LEX_END && !(depth == 0 && is_punct(f, ';'))) {
		depth += is_punct(f, '(');
		depth -= is_punct(f, ')') && depth > 0;
		if (depth == 0 && take(f, "as")) {
			if (is_table && take(f, "execute"))
				name(f, SQL_EXECUTE);
			return;
		}
		is_table |= is_word(f, "table");
		next(f);
	}
}

static void skip_parentheses(struct finder *f)
{
	unsigned depth = 0;
	do {
		depth += is_punct(f, '(');
		depth -= is_punct(f, ')');
		next(f);
	} while (depth > 0 && f->token.kind != LEX_END);
}

static void statement(struct finder *f)
{
	if (take(f, "explain")) {
		if (is_punct(f, '('))
			skip_parentheses(f);
		while (take(f, "analyze") || take(f, "analyse") || take(f, "verbose"))
			;
	}
	if (take(f, "prepare"))
		prepare(f);
	else if (take(f, "execute"))
		name(f, SQL_EXECUTE);
	else if (take(f, "deallocate"))
		deallocate(f);
	else if (take(f, "create"))
		create(f);
}

unsigned sql_prepared_names(struct slice text, struct sql_dialect dialect, struct sql_name_at *out, unsigned max)
{
	struct finder f = { .text = text.at, .out = out, .max = max };
	lex_init(&f.lex, text, dialect.backslash_quotes);
	for (next(&f); f.token.kind != LEX_END; next(&f)) {
		unsigned first = f.n;
		if (is_at_end(&f)) /* an empty statement is no part */
			continue;
		statement(&f);
		while (!is_at_end(&f))
			next(&f);
		for (unsigned i = first; i < f.n && i < f.max; i++)
			f.out[i].end = (uint32_t)((f.token.kind == LEX_END ? f.lex.end : f.token.at) - f.text);
		f.part++;
	}
	return f.n;
}
