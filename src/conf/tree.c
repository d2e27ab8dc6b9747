/*
 * tree — the text of a configuration file as a tree of keys, values and blocks; it knows no setting.
 *
 *     items  = { item }
 *     item   = key "=" value | key [ title ] "{" items "}"
 *     value  = text | "{" [ text { "," text } [ "," ] ] "}"
 *     text   = word | "…${VAR}…" with \" \\ \n \t \$ | '…' as it stands          # to the end of the line is a comment
 *
 * ${VAR} and ${VAR:-default} are replaced from the environment in words and "…".  A text ends on the line that it began on, so that
 * a forgotten quote is reported where it is.  After an error parsing goes on at the next line, or behind the block that was skipped:
 * one run finds all that is wrong.  Texts may be secrets (service_password): all are wiped in the end.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

#define MAX_DEPTH 4u /* the deepest that means something is 2 */

enum token { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_EQUALS, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COMMA, TOKEN_BAD };

struct parser {
	struct conf_tree *tree;
	const char *at, *end;
	unsigned line;
	enum token token; /* the current one, its line and its text */
	unsigned token_line;
	struct buf text;
	unsigned value_line; /* where the last value stood */
};

static PRINTF_LIKE(3, 4) void report(struct parser *p, unsigned line, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char *where = item_where(p->tree, line);
	conf_errors_add(&p->tree->errors, where, "%s", text);
	mem_free(where);
}

static void text_add(struct parser *p, const char *from, size_t len)
{
	/* Room at once: growing leaves a copy behind that nobody wipes. */
	if ((buf_len(&p->text) == 0 && !buf_reserve(&p->text, 4096)) || !buf_append(&p->text, slice_of(from, len)))
		die("out of memory reading %s", p->tree->file);
}

static void text_drop(struct parser *p)
{
	secret_wipe(p->text.data, p->text.write);
	buf_fini(&p->text);
}

/* The current text, the caller's to free with secret_free_text(). */
static char *text_take(struct parser *p)
{
	struct slice text = buf_slice(&p->text);
	return mem_textn((const char *)text.at, text.len);
}

static size_t name_length(const char *at, const char *end)
{
	const char *p = at;
	while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
		p++;
	return (size_t)(p - at);
}

/* At "${": adds what the variable says, left behind the "}".  False: reported. */
static bool expand(struct parser *p)
{
	const char *name = p->at + 2;
	size_t len = name_length(name, p->end);
	const char *rest = name + len, *close = rest;
	while (close < p->end && *close != '}' && *close != '\n' && *close != '"')
		close++;
	bool has_default = p->end - rest >= 2 && rest[0] == ':' && rest[1] == '-';
	if (close == p->end || *close != '}' || len == 0 || (!has_default && close != rest)) {
		report(p, p->line, "after $ comes a variable as in ${NAME} or ${NAME:-default}; write \\$ for a dollar sign before {");
		p->at += 2;
		return false;
	}
	p->at = close + 1;
	char *variable = mem_textn(name, len);
	const char *value = getenv(variable);
	if (has_default && (!value || !*value))
		text_add(p, rest + 2, (size_t)(close - rest - 2));
	else if (value)
		text_add(p, value, strlen(value));
	else
		report(p, p->line, "the environment has no variable %.100s: set it, or give a default as in ${%.100s:-value}", variable,
		       variable);
	mem_free(variable);
	return value || has_default;
}

static bool is_at_variable(const struct parser *p)
{
	return p->end - p->at >= 2 && p->at[0] == '$' && p->at[1] == '{';
}

/* Behind a backslash in "…". */
static bool escape(struct parser *p)
{
	static const char from[] = "\"\\$nt", to[] = "\"\\$\n\t";
	const char *found = p->at < p->end && *p->at ? strchr(from, *p->at) : NULL;
	if (!found) {
		report(p, p->line, "\\ in a text must be followed by one of \" \\ $ n t; write \\\\ for a backslash");
		return false;
	}
	text_add(p, &to[found - from], 1);
	p->at++;
	return true;
}

static bool is_control(char c)
{
	return ((unsigned char)c < 32 && c != '\t' && c != '\n' && c != '\r') || c == 127;
}

static enum token quoted(struct parser *p, char quote)
{
	bool is_good = true;
	p->at++;
	for (;;) {
		if (p->at == p->end || *p->at == '\n' || is_control(*p->at)) {
			report(p, p->line, "a text begins here whose closing %c is missing on this line", quote);
			return TOKEN_BAD;
		}
		if (*p->at == quote)
			break;
		if (quote == '"' && is_at_variable(p)) {
			is_good &= expand(p);
		} else if (quote == '"' && *p->at == '\\') {
			p->at++;
			is_good &= escape(p);
		} else {
			text_add(p, p->at++, 1);
		}
	}
	p->at++;
	return is_good ? TOKEN_QUOTED : TOKEN_BAD;
}

static bool is_word_byte(char c)
{
	return (unsigned char)c > ' ' && c != 127 && !strchr("\"'{}=,;#", c);
}

static enum token word(struct parser *p)
{
	bool is_good = true;
	/* Inside a word # is no comment: else a password that has one would be cut without a word. */
	while (p->at < p->end && (is_word_byte(*p->at) || *p->at == '#')) {
		if (is_at_variable(p))
			is_good &= expand(p);
		else
			text_add(p, p->at++, 1);
	}
	return is_good ? TOKEN_WORD : TOKEN_BAD;
}

static void skip_space(struct parser *p)
{
	for (; p->at < p->end; p->at++) {
		if (*p->at == '#')
			while (p->at + 1 < p->end && p->at[1] != '\n')
				p->at++;
		else if (*p->at == '\n')
			p->line++;
		else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r')
			return;
	}
}

static enum token bad_byte(struct parser *p)
{
	if (*p->at == ';')
		report(p, p->line, "there is no ; in this file: leave it out (a comment begins with #)");
	else
		report(p, p->line, "a byte 0x%02x stands here; is this a configuration file?", (unsigned char)*p->at);
	p->at++;
	return TOKEN_BAD;
}

static void next(struct parser *p)
{
	text_drop(p);
	skip_space(p);
	p->token_line = p->line;
	if (p->at == p->end) {
		p->token = TOKEN_END;
		return;
	}
	static const char marks[] = "={},";
	static const enum token tokens[] = { TOKEN_EQUALS, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COMMA };
	const char *mark = *p->at ? strchr(marks, *p->at) : NULL;
	if (mark) {
		p->token = tokens[mark - marks];
		p->at++;
	} else if (*p->at == '"' || *p->at == '\'') {
		p->token = quoted(p, *p->at);
	} else {
		p->token = is_word_byte(*p->at) ? word(p) : bad_byte(p);
	}
}

/* After an error on line LINE: on to what begins on a later line, over blocks that open on the way, up to the end of this block. */
static void recover(struct parser *p, unsigned line)
{
	for (unsigned depth = 0; p->token != TOKEN_END; next(p)) {
		if (depth == 0 && (p->token == TOKEN_CLOSE || p->token_line > line))
			return;
		if (p->token == TOKEN_OPEN)
			depth++;
		else if (p->token == TOKEN_CLOSE && --depth == 0)
			line = p->token_line;
	}
}

static bool is_text(const struct parser *p)
{
	return p->token == TOKEN_WORD || p->token == TOKEN_QUOTED;
}

static void list_add(struct parser *p, struct conf_list *l)
{
	l->at = mem_grow(l->at, (l->n + 1) * sizeof *l->at);
	l->at[l->n++] = text_take(p);
}

static void broken(struct parser *p, struct conf_item *it, unsigned line)
{
	it->kind = ITEM_BROKEN;
	recover(p, line);
}

/* At the "{" of a list. */
static void parse_list(struct parser *p, struct conf_item *it)
{
	it->kind = ITEM_LIST;
	for (next(p); p->token != TOKEN_CLOSE; next(p)) {
		if (!is_text(p))
			break;
		list_add(p, &it->texts);
		next(p);
		if (p->token != TOKEN_COMMA)
			break;
	}
	if (p->token == TOKEN_CLOSE) {
		next(p);
		return;
	}
	unsigned line = p->token_line;
	it->kind = ITEM_BROKEN;
	if (p->token != TOKEN_BAD)
		report(p, p->token_line, "the list of %.60s should go on with a comma or end with }, as in { \"a\", \"b\" }", it->key);
	while (is_text(p) || p->token == TOKEN_COMMA || p->token == TOKEN_BAD)
		next(p);
	if (p->token == TOKEN_CLOSE)
		next(p);
	else
		recover(p, line);
}

/* At what follows "key =". */
static void parse_value(struct parser *p, struct conf_item *it)
{
	if (p->token == TOKEN_OPEN) {
		parse_list(p, it);
		return;
	}
	if (is_text(p) && p->token_line == it->line) {
		it->kind = ITEM_VALUE;
		list_add(p, &it->texts);
		p->value_line = it->line;
		next(p);
		return;
	}
	if (p->token == TOKEN_BAD)
		next(p); /* the rest of the line may be good */
	else
		report(p, it->line, "%.60s lacks its value: write %.60s = value on one line", it->key, it->key);
	it->kind = ITEM_BROKEN;
	if (!is_text(p) && p->token != TOKEN_CLOSE)
		recover(p, it->line);
}

static void parse_items(struct parser *p, struct conf_item *block, unsigned depth);

/* At the "{" of a block. */
static void parse_block(struct parser *p, struct conf_item *it, unsigned depth)
{
	it->kind = ITEM_BLOCK;
	if (depth == MAX_DEPTH) {
		report(p, it->line, "blocks stand inside each other too deeply: is a } missing above?");
		broken(p, it, it->line);
		return;
	}
	next(p);
	parse_items(p, it, depth + 1);
	if (p->token == TOKEN_CLOSE)
		next(p);
	else
		report(p, it->line, "the block %.60s is opened here and never closed: a } is missing", it->key);
}

static void parse_item(struct parser *p, struct conf_item *it, unsigned depth)
{
	it->line = p->token_line;
	it->key = text_take(p);
	next(p);
	if (p->token == TOKEN_EQUALS) {
		next(p);
		parse_value(p, it);
		return;
	}
	if (is_text(p) && p->token_line == it->line) {
		it->title = text_take(p);
		next(p);
	}
	if (p->token == TOKEN_OPEN) {
		parse_block(p, it, depth);
		return;
	}
	if (p->token != TOKEN_BAD && p->value_line == it->line) /* IT may be half of a password: not named */
		report(p, it->line, "a value is one word here; put a text with spaces into quotes");
	else if (p->token != TOKEN_BAD)
		report(p, it->line, "after %.60s comes = and a value, or { and a block", it->key);
	broken(p, it, it->line);
}

static struct conf_item *item_add(struct conf_item *block)
{
	/* Doubling, without a field for it: the room is the next power of two. */
	if ((block->n_items & (block->n_items - 1)) == 0)
		block->items = mem_grow(block->items, (block->n_items ? block->n_items * 2 : 1) * sizeof *block->items);
	struct conf_item *it = &block->items[block->n_items++];
	*it = (struct conf_item){ 0 };
	return it;
}

static void parse_items(struct parser *p, struct conf_item *block, unsigned depth)
{
	while (p->token != TOKEN_END) {
		if (p->token == TOKEN_WORD) {
			parse_item(p, item_add(block), depth);
			continue;
		}
		if (p->token == TOKEN_CLOSE) {
			if (depth > 0)
				return;
			report(p, p->token_line, "this } closes nothing");
			next(p);
			continue;
		}
		unsigned line = p->token_line;
		if (p->token != TOKEN_BAD)
			report(p, line, "here comes the name of a setting or a block, a word without quotes");
		next(p);
		recover(p, line);
	}
}

char *item_where(const struct conf_tree *t, unsigned line)
{
	char *where = mem_alloc(strlen(t->file) + 12);
	sprintf(where, "%s:%u", t->file, line);
	return where;
}

void tree_parse(struct conf_tree *t, const char *file, const char *text, size_t len)
{
	*t = (struct conf_tree){ .file = mem_text(file), .root = { .kind = ITEM_BLOCK } };
	struct parser p = { .tree = t, .at = text, .end = text + len, .line = 1 };
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		p.at += 3; /* an editor's byte order mark */
	next(&p);
	parse_items(&p, &t->root, 0);
	text_drop(&p);
	buf_fini(&p.text);
}

static void item_fini(struct conf_item *it)
{
	for (size_t i = 0; i < it->n_items; i++)
		item_fini(&it->items[i]);
	for (size_t i = 0; i < it->texts.n; i++)
		secret_free_text(it->texts.at[i]);
	mem_free(it->texts.at);
	mem_free(it->items);
	mem_free(it->title);
	mem_free(it->key);
}

void tree_fini(struct conf_tree *t)
{
	item_fini(&t->root);
	conf_errors_fini(&t->errors);
	mem_free(t->file);
}
