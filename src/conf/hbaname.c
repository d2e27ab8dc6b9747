/*
 * hbaname — whether a database or a user is among those that a line names (PostgreSQL, hba.c: check_db, check_role).
 *
 * Quotes take their meaning from keywords and +; a / at the beginning makes a regular expression with or without them, since one with a comma
 * or a space in it needs them.
 */
#include "hbaname.h"

#include <string.h>

#include "authfile.h"
#include "base/mem.h"

/* A name that came in is at most as long as PostgreSQL's names: matching takes its time by that. */
#define REGEX_MAX 1000u
/* And what is repeated is copied when it is compiled, so nested repetitions multiply: ((x{1,255}){1,255}){1,255} takes gigabytes. */
#define REGEX_COST_MAX 20000u

void entry_free_regex(regex_t *regex)
{
	if (regex)
		regfree(regex);
	mem_free(regex);
}

static const char *skip_bracket(const char *c)
{
	c += c[1] == '^' ? 2 : 1;
	for (c += *c == ']'; *c && *c != ']'; c++)
		if (*c == '[' && c[1] && strchr(":.=", c[1])) {
			const char end[] = { c[1], ']', 0 }, *at = strstr(c + 2, end);
			c = at ? at + 1 : c;
		}
	return *c ? c : c - 1;
}

/* How often {m,n} repeats; *C moves to its end. */
static uint64_t repeats(const char **c)
{
	uint64_t most = 1, n = 0;
	for (; **c && **c != '}'; ++*c) {
		n = **c >= '0' && **c <= '9' ? (n * 10 + (uint64_t)(**c - '0')) % REGEX_COST_MAX : 0;
		most = n > most ? n : most;
	}
	*c -= !**c;
	return most + 1;
}

/* No less than the nodes that regcomp() will make of TEXT, in a scale of its own. */
static bool regex_is_cheap(const char *text)
{
	uint64_t outer[REGEX_MAX + 1], sum = 0, last = 0;
	unsigned depth = 0;
	for (const char *c = text; *c && sum + last <= REGEX_COST_MAX; c++) {
		if (*c == '+')
			last *= 2;
		else if (*c == '{')
			last *= repeats(&c);
		else if (*c == '(') {
			outer[depth++] = sum + last;
			sum = last = 0;
		} else if (*c == ')' && depth) {
			last += sum + 1;
			sum = outer[--depth];
		} else if (*c != '*' && *c != '?') {
			sum += last;
			last = 1;
			c = *c == '[' ? skip_bracket(c) : *c == '\\' && c[1] ? c + 1 : c;
		}
	}
	return sum + last <= REGEX_COST_MAX;
}

regex_t *entry_compile(struct hbaline *l, const char *text, int flags)
{
	char why[200];
	if (strlen(text) > REGEX_MAX) {
		hbaline_bad(l, "a regular expression of more than %u bytes", REGEX_MAX);
		return NULL;
	}
	if (!regex_is_cheap(text)) {
		hbaline_bad(l, "\"/%.100s\" repeats too much in too many ways", text);
		return NULL;
	}
	regex_t *regex = mem_alloc(sizeof *regex);
	int rc = regcomp(regex, text, REG_EXTENDED | flags);
	if (rc == 0)
		return regex;
	regerror(rc, regex, why, sizeof why);
	mem_free(regex);
	hbaline_bad(l, "\"/%.100s\" is no regular expression (POSIX extended): %s", text, why);
	return NULL;
}

static void add(struct hbaline *l, struct entries *out, struct name *n)
{
	struct entry e = { .text = n->text, .is_quoted = n->is_quoted };
	n->text = NULL;
	if (e.text[0] == '/')
		e.regex = entry_compile(l, e.text + 1, REG_NOSUB);
	else if (!e.is_quoted && strcmp(e.text, "+") == 0)
		hbaline_bad(l, "behind + stands the name of a role");
	out->at = mem_grow(out->at, (out->n + 1) * sizeof *out->at);
	out->at[out->n++] = e;
}

void entries_read(struct hbaline *l, size_t at, struct entries *out)
{
	struct names *names = &l->fields[at];
	authfile_expand(l, names);
	for (size_t i = 0; i < names->n; i++)
		add(l, out, &names->at[i]);
}

void entries_fini(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++) {
		mem_free(e->at[i].text);
		entry_free_regex(e->at[i].regex);
	}
	mem_free(e->at);
	*e = (struct entries){ 0 };
}

bool entries_equal(const struct entries *a, const struct entries *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->at[i].is_quoted != b->at[i].is_quoted || strcmp(a->at[i].text, b->at[i].text) != 0)
			return false;
	return true;
}

static bool is_keyword(const struct entry *e, const char *keyword)
{
	return !e->is_quoted && strcmp(e->text, keyword) == 0;
}

static bool is_samerole(const struct entry *e)
{
	return is_keyword(e, "samerole") || is_keyword(e, "samegroup");
}

bool entries_use_roles(const struct entries *e, bool are_databases)
{
	for (size_t i = 0; i < e->n; i++)
		if (are_databases ? is_samerole(&e->at[i]) : !e->at[i].is_quoted && e->at[i].text[0] == '+')
			return true;
	return false;
}

enum fit entry_is_member(const struct hba_facts *facts, const char *role)
{
	if (!facts->has_roles)
		return FIT_UNSURE;
	for (size_t i = 0; i < facts->n_roles; i++)
		if (strcmp(facts->roles[i], role) == 0)
			return FIT_YES;
	return FIT_NO;
}

static enum fit fit_of(bool is)
{
	return is ? FIT_YES : FIT_NO;
}

static enum fit fit_user(const struct entry *e, const char *user, const struct hba_facts *facts)
{
	if (e->regex)
		return fit_of(regexec(e->regex, user, 0, NULL, 0) == 0);
	if (!e->is_quoted && e->text[0] == '+')
		return entry_is_member(facts, e->text + 1);
	return fit_of(is_keyword(e, "all") || strcmp(e->text, user) == 0);
}

/* A physical replication connection fits the keyword for it and nothing else. */
static enum fit fit_database(const struct entry *e, const struct hba_ask *ask)
{
	if (ask->is_replication || is_keyword(e, "replication"))
		return fit_of(ask->is_replication && is_keyword(e, "replication"));
	if (is_keyword(e, "all"))
		return FIT_YES;
	if (is_keyword(e, "sameuser"))
		return fit_of(strcmp(ask->database, ask->user) == 0);
	if (is_samerole(e))
		return entry_is_member(&ask->facts, ask->database);
	if (e->regex)
		return fit_of(regexec(e->regex, ask->database, 0, NULL, 0) == 0);
	return fit_of(strcmp(e->text, ask->database) == 0);
}

/* One that fits is enough; one that may fit makes the whole unsure. */
static bool is_settled(enum fit one, enum fit *all)
{
	if (one != FIT_NO)
		*all = one;
	return one == FIT_YES;
}

enum fit entries_fit_user(const struct entries *e, const char *user, const struct hba_facts *facts)
{
	enum fit all = FIT_NO;
	for (size_t i = 0; i < e->n; i++)
		if (is_settled(fit_user(&e->at[i], user, facts), &all))
			break;
	return all;
}

enum fit entries_fit_database(const struct entries *e, const struct hba_ask *ask)
{
	enum fit all = FIT_NO;
	for (size_t i = 0; i < e->n; i++)
		if (is_settled(fit_database(&e->at[i], ask), &all))
			break;
	return all;
}
