/*
 * body — the words of a function's source.
 *
 *   source --lex--> tokens --feed()--> each word is held back until what follows it is known --judge()--> effects, names
 *                      \-- strings: their words too, since EXECUTE may run them; a quote in them begins a statement
 *
 * A word such as SET counts only where a statement can begin: behind ';', BEGIN, THEN, ELSE, LOOP, a label or a quote.  Comments count
 * for nothing, unless they are inside a string.  EXECUTE of something that is neither a literal nor assigned in the source itself could be
 * anything.
 */
#include "sql/body.h"

#include <stdlib.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "builtins.h"
#include "lex.h"
#include "priv.h"

#define NAME_MAX_BYTES 63u /* PostgreSQL's NAMEDATALEN - 1 */
#define EXECUTED_MAX 16u
#define ASSIGNED_MAX 256u

enum what { WHAT_WORD, WHAT_QUOTED, WHAT_OPEN, WHAT_CLOSE, WHAT_PUNCT, WHAT_ASSIGN, WHAT_OTHER };

struct token {
	enum what what;
	uint8_t c;    /* WHAT_PUNCT */
	bool has_gap; /* white space before it; inside strings only */
	uint8_t len;  /* of a name, cut as PostgreSQL cuts it */
	char name[NAME_MAX_BYTES + 1];
};

/* What the token before was, as far as it matters. */
enum before { BEFORE_OTHER, BEFORE_START, BEFORE_CREATE, BEFORE_INTO, BEFORE_WITH, BEFORE_COMMIT };

/* set_config(a, b, true): which argument is being read. */
struct config_call {
	bool is_pending; /* its '(' comes next */
	bool in_text;
	unsigned depth, commas;
	enum { THIRD_NONE, THIRD_TRUE, THIRD_OTHER } third;
};

struct reading {
	struct body *b;
	bool in_text; /* inside a string */
	bool has_word;
	struct token word;                 /* held back */
	bool word_is_method, point, close; /* (x).f calls f; a point behind a parenthesis, a parenthesis came last */
	enum before before_word, before;
	bool shows, names_servers; /* current_setting(), and in some text the name of a setting that is the server's own */
	bool makes_temp;           /* in the statement at hand; ON COMMIT DROP may still come */
	bool set_is_clause;        /* UPDATE, ALTER or ON DELETE came before: the next SET belongs to it */
	struct config_call config;
	enum { EXECUTE_NONE, EXECUTE_WHAT, EXECUTE_FORMAT, EXECUTE_NAME } execute;
	uint32_t last[2]; /* names before the present token: what ':=' assigns to */
	unsigned n_executed, n_assigned;
	uint32_t executed[EXECUTED_MAX], assigned[ASSIGNED_MAX];
};

uint32_t body_hash(struct slice name, bool is_call)
{
	return ((uint32_t)hash64(name) & ~1u) | is_call;
}

static bool is(const struct token *t, const char *word)
{
	return t->what == WHAT_WORD && strcmp(t->name, word) == 0;
}

static bool is_one_of(const struct token *t, const char *const *words)
{
	for (; *words; words++)
		if (is(t, *words))
			return true;
	return false;
}

static bool is_punct(const struct token *t, uint8_t c)
{
	return t->what == WHAT_PUNCT && t->c == c;
}

static struct slice name_of(const struct token *t)
{
	return slice_of(t->name, t->len);
}

/* ---- names ------------------------------------------------------------------------------------- */

static void keep_name(struct body *b, uint32_t hash)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 32;
		b->words = mem_grow(b->words, b->cap * sizeof *b->words);
	}
	b->words[b->n++] = hash;
}

/* Behind a run a sign may belong to what follows it. */
static void keep_operator(struct body *b, const uint8_t *run, size_t len)
{
	for (; len > 0 && len <= NAME_MAX_BYTES; len--) {
		keep_name(b, body_hash(slice_of(run, len), false));
		if (run[len - 1] != '-' && run[len - 1] != '+')
			break;
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void sort_names(struct body *b)
{
	uint32_t n = 0;
	if (b->n)
		qsort(b->words, b->n, sizeof *b->words, compare);
	for (uint32_t i = 0; i < b->n; i++)
		if (n == 0 || b->words[n - 1] != b->words[i])
			b->words[n++] = b->words[i];
	b->n = n;
	if (n > BODY_WORDS_MAX)
		b->effects |= SQL_OPAQUE_CALL;
	b->n = n > BODY_WORDS_MAX ? 0 : n;
	b->cap = b->n;
	b->words = b->n ? mem_grow(b->words, b->n * sizeof *b->words) : (mem_free(b->words), NULL);
}

/* ---- EXECUTE ------------------------------------------------------------------------------------- */

static void note_executed(struct reading *r, const struct token *t)
{
	if (r->n_executed == EXECUTED_MAX)
		r->b->effects |= SQL_OPAQUE_CALL;
	else
		r->executed[r->n_executed++] = body_hash(name_of(t), false);
}

static void note_assigned(struct reading *r)
{
	for (unsigned i = 0; i < 2 && r->n_assigned < ASSIGNED_MAX; i++)
		r->assigned[r->n_assigned++] = r->last[i];
}

static void judge_executed(struct reading *r)
{
	for (unsigned i = 0; i < r->n_executed; i++) {
		bool is_made_here = false;
		for (unsigned k = 0; k < r->n_assigned && !is_made_here; k++)
			is_made_here = r->assigned[k] == r->executed[i];
		if (!is_made_here)
			r->b->effects |= SQL_OPAQUE_CALL;
	}
}

/* Behind EXECUTE: a literal, format() of one, or a name that is assigned somewhere; else it may be anything. */
static void track_execute(struct reading *r, const struct token *t)
{
	static const char *const no_statement[] = { "on", "function", "procedure",
		                                        NULL }; /* GRANT EXECUTE ON, EXECUTE FUNCTION f() */
	bool was_name = r->execute == EXECUTE_NAME;
	if (r->execute == EXECUTE_NONE || (r->execute != EXECUTE_NAME && is_punct(t, '(')))
		return;
	bool may_be_format = r->execute == EXECUTE_WHAT;
	r->execute = EXECUTE_NONE;
	if (was_name) {
		if (is_punct(t, '(') || is_punct(t, '.'))
			r->b->effects |= SQL_OPAQUE_CALL;
	} else if (t->what == WHAT_WORD && !is_one_of(t, no_statement)) {
		r->execute = may_be_format && is(t, "format") ? EXECUTE_FORMAT : EXECUTE_NAME;
		if (r->execute == EXECUTE_NAME)
			note_executed(r, t);
	} else if (t->what != WHAT_OPEN && t->what != WHAT_WORD) {
		r->b->effects |= SQL_OPAQUE_CALL;
	}
}

/* ---- set_config() ---------------------------------------------------------------------------------- */

static void config_end(struct reading *r)
{
	bool is_local = r->config.commas == 2 && r->config.third == THIRD_TRUE;
	r->b->effects |= is_local ? SQL_WRITES | SQL_SET_CONFIG | SQL_IS_LOCAL : SQL_OPAQUE_CALL;
	r->config = (struct config_call){ 0 };
}

static void config_third(struct config_call *c, const struct token *t)
{
	c->third = c->third == THIRD_NONE && is(t, "true") ? THIRD_TRUE : THIRD_OTHER;
}

static void track_config(struct reading *r, const struct token *t)
{
	struct config_call *c = &r->config;
	if (c->is_pending) {
		*c = (struct config_call){ .in_text = r->in_text, .depth = 1 };
		return;
	}
	if (c->depth == 0 || (r->in_text && !c->in_text && t->what != WHAT_OPEN))
		return;
	if (is_punct(t, '('))
		c->depth++;
	if (is_punct(t, ')') && --c->depth == 0)
		config_end(r);
	else if (t->what == WHAT_CLOSE && c->in_text)
		config_end(r);
	else if (c->depth == 1 && is_punct(t, ','))
		c->commas++;
	else if (c->commas == 2)
		config_third(c, t);
}

/* ---- words ----------------------------------------------------------------------------------------- */

static void judge_temp(struct reading *r, const struct token *next)
{
	bool is_into = r->before_word == BEFORE_INTO && (next->what == WHAT_WORD || next->what == WHAT_QUOTED) && !is(next, "from");
	if (r->before_word == BEFORE_CREATE || is_into || (r->before_word == BEFORE_START && is(next, "table")))
		r->makes_temp = true;
}

/* A temporary table that goes with its transaction leaves nothing behind. */
static void end_statement(struct reading *r)
{
	if (r->makes_temp)
		r->b->effects |= SQL_TEMP_OBJECT;
	r->makes_temp = r->set_is_clause = false;
}

static void judge_set(struct reading *r, const struct token *next)
{
	bool is_clause = r->set_is_clause;
	r->set_is_clause = false;
	if (is_clause || r->before_word != BEFORE_START || is(next, "constraints") || is(next, "transaction"))
		return;
	if (is(next, "local"))
		r->b->effects |= SQL_SET_CONFIG | SQL_IS_LOCAL;
	else if (next->what == WHAT_WORD || next->what == WHAT_QUOTED || (next->what == WHAT_CLOSE && next->has_gap))
		r->b->effects |= SQL_OPAQUE_CALL;
}

/* A statement that changes the session, where one begins: RESET x, LISTEN x, LOAD 'x' … */
static void judge_statement(struct reading *r, const struct token *next)
{
	static const char *const statements[] = { "reset", "listen", "unlisten", "discard", "load", "prepare", "deallocate", NULL };
	bool goes_on = next->what == WHAT_WORD || next->what == WHAT_QUOTED || next->what == WHAT_OPEN ||
	               (next->what == WHAT_CLOSE && next->has_gap);
	if (r->before_word == BEFORE_START && goes_on && is_one_of(&r->word, statements))
		r->b->effects |= SQL_OPAQUE_CALL;
}

static void judge_call(struct reading *r)
{
	enum builtin kind = builtin_find(name_of(&r->word));
	r->config.is_pending = kind == BUILTIN_SET_CONFIG && r->config.depth == 0 && !r->word_is_method;
	if (kind == BUILTIN_SET_CONFIG && !r->config.is_pending)
		r->b->effects |= SQL_OPAQUE_CALL;
	else if (kind != BUILTIN_UNKNOWN) /* of others the catalogue tells */
		r->b->effects |= builtin_effects(kind);
	if (builtin_is_dblink(name_of(&r->word)))
		r->b->effects |= SQL_OPAQUE_CALL;
}

static void judge_keyword(struct reading *r, const struct token *next)
{
	static const char *const changes[] = { "insert", "update", "delete", "merge", "truncate", "copy", NULL };
	static const char *const before_set[] = { "update", "alter", "delete", NULL };
	const struct token *w = &r->word;
	if (is(w, "temp") || is(w, "temporary"))
		judge_temp(r, next);
	else if (is(w, "set"))
		judge_set(r, next);
	else if (is(w, "drop") && r->before_word == BEFORE_COMMIT)
		r->makes_temp = false;
	else if (is(w, "hold") && r->before_word == BEFORE_WITH)
		r->b->effects |= SQL_HOLD_CURSOR;
	else
		judge_statement(r, next);
	r->set_is_clause |= is_one_of(w, before_set);
	r->b->changes |= is_one_of(w, changes);
}

static void judge(struct reading *r, const struct token *next)
{
	const struct token *w = &r->word;
	bool is_call = is_punct(next, '(') || r->word_is_method;
	if (strncmp(w->name, "pg_temp", 7) == 0)
		r->b->effects |= SQL_TEMP_OBJECT;
	if (r->b->changes && builtin_is_settings_view(name_of(w)))
		r->b->effects |= SQL_OPAQUE_CALL;
	if (builtin_is_servers_view(name_of(w)))
		r->b->effects |= SQL_WRITES;
	r->shows |= is_call && slice_equal(name_of(w), slice_text("current_setting"));
	r->names_servers |= (r->in_text || next->what == WHAT_CLOSE) && reads_of_setting(w->name) == SQL_WHY_SERVER;
	if (w->what == WHAT_WORD)
		judge_keyword(r, next);
	if (is_call)
		judge_call(r);
	keep_name(r->b, body_hash(name_of(w), is_call)); /* key words too: some may name functions */
	r->last[1] = r->last[0];
	r->last[0] = body_hash(name_of(w), false);
}

static enum before before_next(const struct reading *r, const struct token *t)
{
	static const char *const starts[] = { "begin", "then", "else", "loop", "atomic", NULL };
	static const char *const creates[] = { "create", "local", "global", "replace", NULL };
	if (t->what == WHAT_OPEN || is_punct(t, ';') || is_punct(t, '>'))
		return BEFORE_START;
	if (is_one_of(t, starts))
		return BEFORE_START;
	if (is_one_of(t, creates))
		return BEFORE_CREATE;
	if (is(t, "commit"))
		return BEFORE_COMMIT;
	return is(t, "into") ? BEFORE_INTO : is(t, "with") ? BEFORE_WITH : BEFORE_OTHER;
}

static void feed(struct reading *r, const struct token *t)
{
	if (r->has_word)
		judge(r, t);
	r->has_word = false;
	track_config(r, t);
	track_execute(r, t);
	if (t->what == WHAT_ASSIGN || (is_punct(t, '=') && r->before_word == BEFORE_START))
		note_assigned(r);
	if (is_punct(t, ';'))
		end_statement(r);
	if (is(t, "execute"))
		r->execute = EXECUTE_WHAT;
	r->before_word = r->before;
	r->before = before_next(r, t);
	r->word_is_method = r->point;
	r->point = r->close && is_punct(t, '.');
	r->close = is_punct(t, ')') || is_punct(t, ']');
	if (t->what != WHAT_WORD && t->what != WHAT_QUOTED)
		return;
	r->word = *t;
	r->has_word = true;
}

/* ---- tokens ---------------------------------------------------------------------------------------- */

static void feed_plain(struct reading *r, enum what what, uint8_t c, bool has_gap)
{
	feed(r, &(struct token){ .what = what, .c = c, .has_gap = has_gap });
}

static void feed_name(struct reading *r, enum what what, const uint8_t *at, size_t len)
{
	struct token t = { .what = what, .len = (uint8_t)(len < NAME_MAX_BYTES ? len : NAME_MAX_BYTES) };
	for (size_t i = 0; i < t.len; i++)
		t.name[i] = (char)(what == WHAT_WORD ? lex_lower[at[i]] : at[i]);
	feed(r, &t);
}

/* The inside of a string. */
static void feed_text(struct reading *r, const uint8_t *at, const uint8_t *end)
{
	bool has_gap = false, is_behind_operator = false;
	r->in_text = true;
	feed_plain(r, WHAT_OPEN, 0, false);
	while (at < end) {
		const uint8_t *from = at++;
		if ((lex_class[*from] & LEX_IS_OP) && !is_behind_operator) {
			while (at < end && (lex_class[*at] & LEX_IS_OP))
				at++;
			keep_operator(r->b, from, (size_t)(at - from));
			at = from + 1;
		}
		is_behind_operator = lex_class[*from] & LEX_IS_OP;
		if (lex_class[*from] & LEX_IS_SPACE) {
			has_gap = true;
			continue;
		}
		if (lex_class[*from] & LEX_IS_START) {
			while (at < end && (lex_class[*at] & LEX_IS_NAME))
				at++;
			feed_name(r, WHAT_WORD, from, (size_t)(at - from));
		} else {
			feed_plain(r, *from == '\'' ? WHAT_OPEN : WHAT_PUNCT, *from, has_gap);
		}
		has_gap = false;
	}
	feed_plain(r, WHAT_CLOSE, 0, has_gap);
	r->in_text = false;
}

static void feed_string(struct reading *r, const struct lex_token *t, uint8_t quote)
{
	const uint8_t *end = t->at + t->len, *at = memchr(t->at, quote, t->len);
	ASSERT(at && end[-1] == quote && at < end - 1);
	if (quote == '$') { /* its tag goes to the next dollar sign, and ends it as well */
		const uint8_t *tag_end = memchr(at + 1, '$', (size_t)(end - at - 1));
		size_t tag_len = (size_t)(tag_end + 1 - at);
		feed_text(r, at + tag_len, end - tag_len);
		return;
	}
	feed_text(r, at + 1, end - 1);
}

static void feed_token(struct reading *r, const struct lex_token *t)
{
	switch (t->kind) {
	case LEX_WORD:
		feed_name(r, WHAT_WORD, t->at, t->len);
		break;
	case LEX_QUOTED:
		feed_name(r, WHAT_QUOTED, t->at + 1, t->len - 2);
		break;
	case LEX_UQUOTED:
	case LEX_USTRING: /* what they say is not in the text as it stands */
		r->b->effects |= SQL_OPAQUE_CALL;
		feed_plain(r, WHAT_OTHER, 0, false);
		break;
	case LEX_STRING:
		feed_string(r, t, '\'');
		break;
	case LEX_DOLLAR:
		feed_string(r, t, '$');
		break;
	case LEX_OP:
		keep_operator(r->b, t->at, t->len);
		if (t->len == 2 && t->at[0] == ':' && t->at[1] == '=')
			feed_plain(r, WHAT_ASSIGN, 0, false);
		else
			feed_plain(r, WHAT_PUNCT, t->at[t->len - 1], false);
		break;
	case LEX_PUNCT:
		feed_plain(r, WHAT_PUNCT, *t->at, false);
		break;
	default:
		feed_plain(r, WHAT_OTHER, 0, false);
		break;
	}
}

/* ---- public ---------------------------------------------------------------------------------------- */

void body_read(struct body *b, struct slice source)
{
	struct lex lex;
	struct lex_token t;
	*b = (struct body){ 0 };
	struct reading r = { .b = b, .before = BEFORE_START };
	lex_init(&lex, source, false);
	for (lex_next(&lex, &t); t.kind != LEX_END; lex_next(&lex, &t))
		feed_token(&r, &t);
	feed_plain(&r, WHAT_CLOSE, 0, false);
	end_statement(&r);
	judge_executed(&r);
	if (r.shows && r.names_servers)
		b->effects |= SQL_WRITES;
	if (lex.is_broken || r.config.depth > 0 || r.config.is_pending)
		b->effects |= SQL_OPAQUE_CALL;
	sort_names(b);
}

void body_fini(struct body *b)
{
	mem_free(b->words);
	*b = (struct body){ 0 };
}

bool body_names(const struct body *b, uint32_t hash)
{
	return b->n && bsearch(&hash, b->words, b->n, sizeof *b->words, compare);
}
