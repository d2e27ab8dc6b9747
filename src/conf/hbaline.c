/* hbaline — reading the lines of a pg_hba.conf, stricter than PostgreSQL where it would guess. */
#include "hbaline.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"

void hbaline_bad(struct hbaline *l, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char *where = mem_alloc(strlen(l->path) + 12);
	sprintf(where, "%s:%u", l->path, l->number);
	conf_errors_add(l->errors, where, "%s", text);
	mem_free(where);
	l->is_bad = true;
}

void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->n; i++)
		secret_free_text(n->at[i].text); /* an option may be a password */
	mem_free(n->at);
	*n = (struct names){ 0 };
}

/* Takes TEXT over. */
static void name_add(struct names *n, char *text, bool is_quoted)
{
	n->at = mem_grow(n->at, (n->n + 1) * sizeof *n->at);
	n->at[n->n++] = (struct name){ text, is_quoted };
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && isspace((unsigned char)*at))
		at++;
	return at;
}

/* Copies what stands between the quote at AT and the one that closes it, a doubled one being one.  NULL: nothing closes it. */
static const char *unquote(const char *at, const char *end, char **to)
{
	for (at++; at < end; at++) {
		if (*at == '"' && (at + 1 == end || at[1] != '"'))
			return at + 1;
		at += *at == '"';
		*(*to)++ = *at;
	}
	return NULL;
}

/* Up to what ends a name; a quote inside it may stand behind a = alone, as in ldapprefix="cn=". */
static const char *copy_name(const char *at, const char *end, char **to)
{
	const char *from = at;
	while (at < end && !isspace((unsigned char)*at) && *at != ',' && *at != '#') {
		if (*at == '"' && (at == from || at[-1] == '='))
			return unquote(at, end, to);
		if (*at == '"')
			return at;
		*(*to)++ = *at++;
	}
	return at;
}

/* One name of a field, at AT; returns what is behind it. */
static const char *read_name(struct hbaline *l, const char *at, const char *end, struct names *out)
{
	bool is_quoted = *at == '"';
	char *text = mem_alloc((size_t)(end - at) + 1), *to = text;
	at = copy_name(at, end, &to);
	*to = '\0';
	if (at && (at == end || isspace((unsigned char)*at) || *at == ',' || *at == '#')) {
		name_add(out, text, is_quoted);
		return at;
	}
	hbaline_bad(l, at ? "a name is quoted as a whole or not at all"
	                  : "a name begins with \" whose closing \" is missing on this line");
	mem_free(text);
	return end;
}

/* Names with commas between them; as in PostgreSQL a space may follow a comma. */
static const char *read_field(struct hbaline *l, const char *at, const char *end, struct names *out)
{
	for (;;) {
		if (*at == ',') {
			hbaline_bad(l, "a comma stands where a name should");
			return end;
		}
		at = read_name(l, at, end, out);
		if (at == end || *at != ',')
			return at;
		at = skip_space(at + 1, end);
		if (at == end || *at == '#') {
			hbaline_bad(l, "after the comma a name is missing");
			return end;
		}
	}
}

static void read_fields(struct hbaline *l, const char *at, const char *end)
{
	for (at = skip_space(at, end); at < end && *at != '#' && !l->is_bad; at = skip_space(at, end)) {
		if (l->n == HBALINE_FIELDS) {
			hbaline_bad(l, "this line has too many fields");
			return;
		}
		struct names *f = &l->fields[l->n++];
		*f = (struct names){ 0 };
		at = read_field(l, at, end, f);
	}
}

/* The end of a line; a backslash before it joins the next one, and is replaced by a space. */
static char *line_end(char *at, char *end, unsigned *lines)
{
	for (; at < end; at++) {
		if (*at != '\n')
			continue;
		(*lines)++;
		if (at[-1] != '\\')
			return at;
		at[-1] = at[0] = ' ';
	}
	return end;
}

bool hbaline_next(struct hbaline_reader *r, struct hbaline *l)
{
	while (r->at < r->end) {
		*l = (struct hbaline){ .errors = r->errors, .path = r->path, .number = r->lines };
		char *eol = *r->at == '\n' ? (r->lines++, r->at) : line_end(r->at, r->end, &r->lines);
		read_fields(l, r->at, eol);
		r->at = eol < r->end ? eol + 1 : r->end;
		if (l->n > 0)
			return true;
	}
	return false;
}

void hbaline_fini(struct hbaline *l)
{
	for (size_t i = 0; i < l->n; i++)
		names_fini(&l->fields[i]);
	l->n = 0;
}

/* A field that is one word, or NULL. */
const char *hbaline_word(const struct hbaline *l, size_t at)
{
	return at < l->n && l->fields[at].n == 1 ? l->fields[at].at[0].text : NULL;
}
