/*
 * users — names and secrets in PgBouncer's userlist syntax.
 *
 *     "name" "secret"          # a doubled quote inside is one quote; ; and # begin comments
 *
 * A secret is clear text, md5… or SCRAM-SHA-256$…; an empty one is none.  No message quotes a line: it may hold a secret.
 */
#include "conf/users.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "priv.h"

struct entry {
	unsigned line;
	char *secret;
};
struct users {
	struct map entries; /* name -> struct entry */
	uint32_t n_of[SECRET_SCRAM + 1];
};

struct reader {
	struct users *users;
	struct conf_errors *errors;
	const char *path;
	unsigned line;
};

static PRINTF_LIKE(2, 3) void bad(struct reader *r, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char *where = mem_alloc(strlen(r->path) + 12);
	sprintf(where, "%s:%u", r->path, r->line);
	conf_errors_add(r->errors, where, "%s", text);
	mem_free(where);
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && isspace((unsigned char)*at))
		at++;
	return at;
}

/* A quoted text at *AT, left behind it; heap.  NULL: there is none. */
static char *read_quoted(const char **at, const char *end)
{
	const char *from = *at;
	if (from == end || *from != '"')
		return NULL;
	char *out = mem_alloc((size_t)(end - from)), *to = out;
	for (const char *p = from + 1; p < end; p++) {
		if (*p == '"' && (p + 1 == end || p[1] != '"')) {
			*at = p + 1;
			*to = '\0';
			return out;
		}
		p += *p == '"';
		*to++ = *p;
	}
	secret_free_text(out);
	return NULL;
}

static size_t span(const char **at, const char *of, size_t at_most)
{
	size_t n = strspn(*at, of);
	*at += n <= at_most ? n : at_most;
	return n;
}

static bool take(const char **at, char c)
{
	return **at == c && (*at)++;
}

/* SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, the last three in base64 (RFC 5803; keys of 32 bytes). */
static bool is_scram_secret(const char *text)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	const char *at = text + strlen("SCRAM-SHA-256$");
	return span(&at, "0123456789", 9) > 0 && take(&at, ':') && span(&at, base64, 400) > 0 && take(&at, '$') &&
	       span(&at, base64, 44) == 44 && take(&at, ':') && span(&at, base64, 44) == 44 && *at == '\0';
}

/* "md5" and the hexadecimal digits of MD5(password, name), as pg_authid has it. */
static bool is_md5_secret(const char *text)
{
	return strncmp(text, "md5", 3) == 0 && strlen(text) == 35 && strspn(text + 3, "0123456789abcdef") == 32;
}

enum secret_kind secret_kind(const char *secret)
{
	if (!secret)
		return SECRET_NONE;
	if (is_md5_secret(secret))
		return SECRET_MD5;
	return strncmp(secret, "SCRAM-SHA-256$", 14) == 0 ? SECRET_SCRAM : SECRET_CLEAR;
}

static void add(struct reader *r, const char *name, const char *secret)
{
	const struct entry *before = map_get(&r->users->entries, slice_text(name));
	if (!*name)
		bad(r, "the name is empty");
	else if (before)
		bad(r, "the user \"%.100s\" is already on line %u; leave one of them out", name, before->line);
	else if (strncmp(secret, "SCRAM-SHA-256$", 14) == 0 && !is_scram_secret(secret))
		bad(r,
		    "the secret of \"%.100s\" begins as SCRAM-SHA-256$ but is cut or damaged: copy rolpassword from pg_authid once more",
		    name);
	else {
		struct entry *e = mem_alloc(sizeof *e);
		e->line = r->line;
		e->secret = mem_text(secret);
		map_put(&r->users->entries, slice_text(name), e);
		r->users->n_of[secret_kind(*secret ? secret : NULL)]++;
	}
}

static void read_line(struct reader *r, const char *at, const char *end)
{
	at = skip_space(at, end);
	if (at == end || *at == ';' || *at == '#')
		return;
	char *name = read_quoted(&at, end), *secret = NULL;
	if (name) {
		at = skip_space(at, end);
		secret = read_quoted(&at, end);
		at = skip_space(at, end);
	}
	if (!secret)
		bad(r, "a line is \"name\" \"secret\", each in double quotes; a quote inside is written twice");
	else if (at < end && *at != ';' && *at != '#')
		bad(r, "nothing may follow the secret; a quote inside it is written twice");
	else
		add(r, name, secret);
	secret_free_text(name);
	secret_free_text(secret);
}

static void read_all(struct reader *r, const char *text, size_t len)
{
	const char *end = text + len;
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		eol = eol ? eol : end;
		r->line++;
		read_line(r, text, eol);
		text = eol < end ? eol + 1 : end;
	}
}

struct users *users_load(const char *path, struct conf_errors *errors)
{
	char *text;
	size_t len, before = errors->n;
	struct err err;
	struct users *u = mem_alloc(sizeof *u);
	if (!*path)
		return u;
	if (!file_read(path, &text, &len, &err)) {
		conf_errors_add(errors, "", "users_file: %s", err.text);
		users_free(u);
		return NULL;
	}
	if (memchr(text, '\0', len))
		conf_errors_add(errors, path, "this is no text file");
	else
		read_all(&(struct reader){ u, errors, path, 0 }, text, len);
	secret_wipe(text, len);
	mem_free(text);
	if (errors->n == before)
		return u;
	users_free(u);
	return NULL;
}

void users_free(struct users *u)
{
	uint32_t at = 0;
	struct slice name;
	void *value;
	while (u && map_next(&u->entries, &at, &name, &value)) {
		secret_free_text(((struct entry *)value)->secret);
		mem_free(value);
	}
	if (u)
		map_fini(&u->entries);
	mem_free(u);
}

const char *users_secret(const struct users *u, const char *name)
{
	const struct entry *e = map_get(&u->entries, slice_text(name));
	return e && *e->secret ? e->secret : NULL;
}

bool users_has(const struct users *u, const char *name)
{
	return map_get(&u->entries, slice_text(name)) != NULL;
}

enum secret_kind users_likely_kind(const struct users *u, uint64_t draw)
{
	uint32_t n = u->n_of[SECRET_CLEAR] + u->n_of[SECRET_MD5] + u->n_of[SECRET_SCRAM];
	uint32_t at = n ? (uint32_t)(draw % n) : n;
	return at < n - u->n_of[SECRET_SCRAM] ? SECRET_MD5 : SECRET_SCRAM;
}

bool users_equal(const struct users *a, const struct users *b)
{
	uint32_t at = 0;
	struct slice name;
	void *value;
	if (map_len(&a->entries) != map_len(&b->entries))
		return false;
	while (map_next(&a->entries, &at, &name, &value)) {
		const struct entry *other = map_get(&b->entries, name);
		if (!other || strcmp(other->secret, ((struct entry *)value)->secret) != 0)
			return false;
	}
	return true;
}
