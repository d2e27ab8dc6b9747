/*
 * redirect — whom a redirect block concerns.
 *
 * A list is empty, and so about everybody, or one of its patterns must match.  In a pattern * is any run of characters, none included; everything
 * else is itself.  What stands between two stars is looked for once, from where the one before it ended, so the work grows with
 * the lengths of both, whatever the pattern is.
 */
#include <string.h>

#include "conf/conf.h"

/* Behind the first place at or behind AT where the LEN bytes of PIECE stand; NULL: nowhere. */
static const char *behind_piece(const char *at, const char *end, const char *piece, size_t len)
{
	const char *found = len ? memmem(at, (size_t)(end - at), piece, len) : at;
	return found ? found + len : NULL;
}

bool conf_pattern_matches(const char *pattern, const char *name)
{
	const char *star = strchr(pattern, '*'), *last = strrchr(pattern, '*'), *end = name + strlen(name);
	if (!star)
		return strcmp(pattern, name) == 0;
	size_t head = (size_t)(star - pattern), tail = strlen(last + 1);
	if ((size_t)(end - name) < head + tail || strncmp(pattern, name, head) != 0 || memcmp(last + 1, end - tail, tail) != 0)
		return false;
	name += head;
	for (const char *piece = star + 1, *next; name && piece <= last; piece = next + 1) {
		next = strchr(piece, '*');
		name = behind_piece(name, end - tail, piece, (size_t)(next - piece));
	}
	return name != NULL;
}

static bool list_matches(const struct conf_list *patterns, const char *name)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (conf_pattern_matches(patterns->at[i], name))
			return true;
	return patterns->n == 0;
}

bool conf_redirect_concerns(const struct conf_redirect *r, const char *database, const char *user, const char *application)
{
	return list_matches(&r->database, database) && list_matches(&r->user, user) && list_matches(&r->application, application);
}
