/*
 * ident — lines of pg_ident.conf (PostgreSQL, hba.c: parse_ident_line, check_ident_usermap).
 *
 *     map  system-name  user
 *
 * A system name that begins with / is a regular expression; what its first parentheses caught stands for \1 in the user.  The user may be all,
 * +role, or, when the system name is none, a regular expression itself.  A line that fits is enough.
 */
#include "conf/ident.h"

#include <stdio.h>
#include <string.h>

#include "authfile.h"
#include "base/mem.h"
#include "hbaname.h"
#include "priv.h"

struct line {
	char *map, *system, *user;
	bool is_user_quoted;
	regex_t *system_regex, *user_regex;
};
struct ident {
	size_t n;
	struct line *lines;
	struct authfiles files;
};

static void line_fini(struct line *l)
{
	mem_free(l->map);
	mem_free(l->system);
	mem_free(l->user);
	entry_free_regex(l->system_regex);
	entry_free_regex(l->user_regex);
}

static bool has_words(struct hbaline *l)
{
	return l->n == 3 && hbaline_word(l, 0) && hbaline_word(l, 1) && hbaline_word(l, 2);
}

static void compile(struct hbaline *l, struct line *line)
{
	bool refers = strstr(line->user, "\\1") != NULL;
	if (line->system[0] == '/')
		line->system_regex = entry_compile(l, line->system + 1, 0);
	if (line->user[0] == '/' && !l->is_bad)
		line->user_regex = entry_compile(l, line->user + 1, REG_NOSUB);
	if (refers && !line->user_regex && line->system_regex && line->system_regex->re_nsub == 0)
		hbaline_bad(l, "the user has \\1 in it, but the regular expression has no parentheses");
}

static void add_line(void *arg, struct hbaline *l)
{
	struct ident *i = arg;
	if (!has_words(l)) {
		hbaline_bad(l, "a line is: map system-name user; each is one name");
		return;
	}
	struct line line = { .map = mem_text(hbaline_word(l, 0)),
		                 .system = mem_text(hbaline_word(l, 1)),
		                 .user = mem_text(hbaline_word(l, 2)) };
	line.is_user_quoted = l->fields[2].at[0].is_quoted;
	compile(l, &line);
	if (l->is_bad) {
		line_fini(&line);
		return;
	}
	i->lines = mem_grow(i->lines, (i->n + 1) * sizeof *i->lines);
	i->lines[i->n++] = line;
}

struct ident *ident_load(const char *path, struct conf_errors *errors)
{
	size_t before = errors->n;
	struct ident *i = mem_alloc(sizeof *i);
	if (*path)
		authfile_read(&i->files, path, "ident_file", errors, add_line, i);
	if (errors->n == before)
		return i;
	ident_free(i);
	return NULL;
}

void ident_free(struct ident *i)
{
	if (!i)
		return;
	for (size_t at = 0; at < i->n; at++)
		line_fini(&i->lines[at]);
	mem_free(i->lines);
	authfiles_fini(&i->files);
	mem_free(i);
}

bool ident_has(const struct ident *i, const char *map)
{
	for (size_t at = 0; at < i->n; at++)
		if (strcmp(i->lines[at].map, map) == 0)
			return true;
	return false;
}

/* USER with what the parentheses caught in place of its first \1; heap. */
static char *resolve(const char *user, const char *system, const regmatch_t *caught)
{
	const char *at = strstr(user, "\\1");
	size_t len = caught->rm_so < 0 ? 0 : (size_t)(caught->rm_eo - caught->rm_so);
	if (!at)
		return mem_text(user);
	char *out = mem_alloc(strlen(user) + len + 1);
	sprintf(out, "%.*s%.*s%s", (int)(at - user), user, (int)len, caught->rm_so < 0 ? "" : system + caught->rm_so, at + 2);
	return out;
}

static enum fit fit_user(const struct line *l, const char *wanted, bool is_resolved, const char *user,
                         const struct hba_facts *facts)
{
	/* What a regular expression has put together is a name, whatever it looks like: a stranger chose part of it. */
	bool is_plain = is_resolved || l->is_user_quoted;
	if (!is_plain && strcmp(wanted, "all") == 0)
		return FIT_YES;
	if (!is_plain && wanted[0] == '+' && wanted[1])
		return entry_is_member(facts, wanted + 1);
	if (l->user_regex && !is_resolved)
		return regexec(l->user_regex, user, 0, NULL, 0) == 0 ? FIT_YES : FIT_NO;
	return strcmp(wanted, user) == 0 ? FIT_YES : FIT_NO;
}

static enum fit fit_line(const struct line *l, const char *system, const char *user, const struct hba_facts *facts)
{
	regmatch_t caught[2] = { { -1, -1 }, { -1, -1 } };
	if (!l->system_regex)
		return strcmp(l->system, system) == 0 ? fit_user(l, l->user, false, user, facts) : FIT_NO;
	if (regexec(l->system_regex, system, 2, caught, 0) != 0)
		return FIT_NO;
	bool refers = !l->user_regex && strstr(l->user, "\\1");
	char *wanted = refers ? resolve(l->user, system, &caught[1]) : mem_text(l->user);
	enum fit fit = fit_user(l, wanted, refers, user, facts);
	mem_free(wanted);
	return fit;
}

enum ident_answer ident_match(const struct ident *i, const char *map, const char *system, const char *user,
                              const struct hba_facts *facts)
{
	enum ident_answer answer = IDENT_NO;
	if (!map)
		return strcmp(system, user) == 0 ? IDENT_YES : IDENT_NO;
	for (size_t at = 0; at < i->n; at++) {
		const struct line *l = &i->lines[at];
		enum fit fit = strcmp(l->map, map) == 0 ? fit_line(l, system, user, facts) : FIT_NO;
		if (fit == FIT_YES)
			return IDENT_YES;
		if (fit == FIT_UNSURE)
			answer = IDENT_NEEDS_ROLES;
	}
	return answer;
}

bool ident_uses_roles(const struct ident *i)
{
	for (size_t at = 0; at < i->n; at++)
		if (!i->lines[at].is_user_quoted && i->lines[at].user[0] == '+')
			return true;
	return false;
}

bool ident_equal(const struct ident *a, const struct ident *b)
{
	if (!a || !b || a->n != b->n)
		return a == b;
	for (size_t i = 0; i < a->n; i++) {
		const struct line *x = &a->lines[i], *y = &b->lines[i];
		if (strcmp(x->map, y->map) != 0 || strcmp(x->system, y->system) != 0 || strcmp(x->user, y->user) != 0 ||
		    x->is_user_quoted != y->is_user_quoted)
			return false;
	}
	return true;
}
